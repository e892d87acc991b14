"""Machine code that is kept: made by numba once, loaded without it, and never taken for what it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from array import array

import pytest

pytest.importorskip("numba")

from nirank.kit import Native

_MODULE = """
import numpy as np
from nirank.kit import column_at, inner

_column = column_at()
FACTOR = {factor}


@inner
def _times(numbers, factor):
    for place in range(len(numbers)):
        numbers[place] *= factor


def run(frame):
    _times(_column(frame[0], frame[1], np.int64), FACTOR)


def takes_memory(frame):
    frame[0] = np.zeros(frame[1]).sum()


def reduces(frame):
    frame[0] = _column(frame[0], frame[1], np.int64).min()
"""
_PROGRAM = """
import sys
from array import array
from nirank.kit import Native
native = Native("kept_here", "run")
kept, numbers = native.is_kept, array("q", [3, 4])
frame = array("q", numbers.buffer_info())
native.call(frame.buffer_info()[0])
print(kept, numbers.tolist(), "numba" in sys.modules)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A folder with the module `kept_here`, which has no compiled code yet."""
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    (tmp_path / "kept_here.py").write_text(_MODULE.format(factor=10))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("kept_here", None)


def _run(folder):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [folder, *filter(None, sys.path)]))}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _files(folder):
    return sorted(folder.rglob("*.code"))


def test_a_second_process_loads_the_code_without_numba_and_another_text_has_its_own(module):
    assert _run(module) == "False [30, 40] True"
    assert _run(module) == "True [30, 40] False"
    assert len(_files(module)) == 1
    (module / "kept_here.py").write_text(_MODULE.format(factor=7))
    assert _run(module) == "False [21, 28] True"
    assert len(_files(module)) == 2


_DAMAGES = [lambda data: data[:-100], lambda data: data[:-1] + b"?", lambda data: b"{}\n", bytes.upper]


@pytest.mark.parametrize("damage", _DAMAGES, ids=["cut", "changed", "empty", "upper"])
def test_code_that_is_not_what_was_written_is_compiled_again(module, damage):
    _run(module)
    (file,) = _files(module)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert _run(module) == "True [30, 40] True"
    assert len(file.read_bytes()) == len(whole)


def test_code_lies_in_the_cache_where_the_module_has_no_folder_to_write_in(module):
    (module / "__pycache__").write_text("a file in the place of the folder")
    _run(module)
    assert [file.parent for file in _files(module)] == [module / "cache" / "code"]
    assert _run(module) == "True [30, 40] False"


@pytest.mark.parametrize("name", ["takes_memory", "reduces"])
def test_what_calls_numbas_own_library_is_refused_when_it_is_compiled(module, name):
    with pytest.raises(TypeError, match=f"{name} is to run without numba, and calls .*(NRT_|numba_)"):
        Native("kept_here", name).call(array("q", [0, 0]).buffer_info()[0])


def test_settings_of_numba_and_its_processor_are_part_of_the_name(module, monkeypatch):
    from nirank.kit import native

    names = set()
    for cpu in ("generic", "x86-64-v3"):
        monkeypatch.setenv("NUMBA_CPU_NAME", cpu)
        native._processor.cache_clear()
        names.update(path.name for path in Native("kept_here", "run")._places)
    native._processor.cache_clear()
    assert len(names) == 2
