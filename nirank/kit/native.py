"""Machine code that numba has made, kept on disk and loaded without numba.

To import numba takes a third of a second, and each call of a function that it compiled looks at the types of all
arguments. A function here has one argument, where in memory its columns are told of. It is compiled once; later
processes load the code by llvmlite alone, in some hundredths of a second, and call it in half a microsecond.

The code is kept beside the module, as Python keeps its own, or where that cannot be written in the cache; by the
processor, the versions and settings of numba, and the text of the module and of those that are named beside it. A
processor with other instructions has its own.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from nirank.files import beside, cache_folder
from nirank.hashing import digest

log = logging.getLogger("nirank")

#: Of the file that code is kept in, and of how it is called.
_VERSION = 1
#: What numba has called where memory of its own is free, of which such code takes none.
_NEVER_CALLED = "NRT_MemInfo_call_dtor"
#: The places of a result and of an exception, of which such code has none.
_UNUSED = ctypes.create_string_buffer(16)


class Code(NamedTuple):
    """The code of an object file, and the name of the function in it."""

    symbol: str
    data: bytes


class Native:
    """The function `name` of `module`, of one address (`nirank.kit.column_at`); nothing is imported before it is used.

    `others` are the modules that have constants of it, or functions that it calls.
    """

    def __init__(self, module: str, name: str, *others: str) -> None:
        self.module, self.name, self.others = module, name, others
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Native({self.module!r}, {self.name!r})"

    @property
    def is_kept(self) -> bool:
        """True where it need not be compiled: it is loaded already, or its code lies on disk."""
        return "call" in vars(self) or any(path.exists() for path in self._places)

    @functools.cached_property
    def call(self) -> Callable[[int], None]:
        """The function, called with an address; loaded, or first compiled. Raises `RuntimeError` where it fails."""
        with self._lock:  # so that threads do not compile the same
            code = next(filter(None, map(_read, self._places)), None) or self._compiled()
        return _callable(code, repr(self))

    def _compiled(self) -> Code:
        from nirank.kit.numba import machine_code

        code = Code(*machine_code(getattr(importlib.import_module(self.module), self.name)))
        for path in self._places:
            try:
                _write(code, path)
                break
            except OSError as error:  # every process compiles anew
                log.debug("The code of %r cannot be kept in %s: %s", self, path.parent, error)
        return code

    @functools.cached_property
    def _places(self) -> list[Path]:
        """The files that the code may be kept in, the first that can be written."""
        name = f"{self.module}.{self.name}-{digest([_processor(), *self._texts()])[:16]}.code"
        beside_it = Path(importlib.util.cache_from_source(str(_origin(self.module)))).parent
        return [beside_it / name, cache_folder() / "code" / name]

    def _texts(self) -> list[str]:
        """The hashes of what is compiled."""
        origins = map(_origin, (self.module, *self.others, "nirank.kit.numba"))
        return [hashlib.blake2b(origin.read_bytes()).hexdigest() for origin in origins]


@functools.cache
def _processor() -> list[Any]:
    """The versions, processor and settings that code for this process depends on, besides its own text."""
    from llvmlite import binding

    told = {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    numba = {name: told[name] for name in told.keys() - {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"}}  # not of the code
    versions = [importlib.metadata.version(package) for package in ("numba", "llvmlite")]
    features = binding.get_host_cpu_features().flatten()
    return [_VERSION, versions, binding.get_process_triple(), binding.get_host_cpu_name(), features, numba]


#: Instructions that change how fast compiled code is, or how it rounds, as LLVM calls them.
_OF_NOTE = ("avx2", "fma", "avx512f", "avx512vnni", "neon", "dotprod", "sve")


def compiled_for() -> dict[str, Any]:
    """The processor that code is compiled for, and which instructions of note are asked for beside its own."""
    from llvmlite import binding

    told = os.environ.get("NUMBA_CPU_FEATURES")
    features = (binding.get_host_cpu_features().flatten() if told is None else told).split(",")
    processor = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    return {"processor": processor, "instructions": [name for name in _OF_NOTE if f"+{name}" in features]}


def _origin(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{module} is no module in a file.", name=module)
    return Path(spec.origin)


def _write(code: Code, path: Path) -> None:
    told = {"symbol": code.symbol, "hash": hashlib.blake2b(code.data).hexdigest()}
    with beside(path) as unfinished:
        unfinished.write_bytes(json.dumps(told).encode() + b"\n" + code.data)


def _read(path: Path) -> Code | None:
    """The code that was kept; None where there is none, or it is not what was written."""
    with suppress(OSError, ValueError, KeyError):
        told, _, data = path.read_bytes().partition(b"\n")
        values = json.loads(told)
        if hashlib.blake2b(data).hexdigest() == values["hash"]:
            return Code(str(values["symbol"]), data)
    return None


def _callable(code: Code, name: str) -> Callable[[int], None]:
    """The function as Python calls it, without the interpreter's lock; numba's returns 0 where all is well."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    function = kind(_engine().address(code))
    result, raised = ctypes.addressof(_UNUSED), ctypes.addressof(_UNUSED) + 8

    def call(address: int) -> None:
        if status := function(result, raised, address):
            raise RuntimeError(f"{name} failed with the status {status}; please report this.")

    return call


@functools.cache
def _engine() -> _Engine:
    return _Engine()


class _Engine:
    """The loader of code; it lives as long as the process."""

    def __init__(self) -> None:
        from llvmlite import binding

        if os.name == "nt":  # where code needs what numba puts there
            importlib.import_module("numba")
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        if binding.address_of_symbol(_NEVER_CALLED) is None:  # numba puts its own there when it is imported
            binding.add_symbol(_NEVER_CALLED, ctypes.cast(ctypes.pythonapi.Py_FatalError, ctypes.c_void_p).value)
        machine = binding.Target.from_default_triple().create_target_machine()
        self._binding, self._lock = binding, threading.Lock()
        self._jit = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)

    def address(self, code: Code) -> int:
        """Load an object file, and find the function in it."""
        with self._lock:
            self._jit.add_object_file(self._binding.ObjectFileRef.from_data(code.data))
            self._jit.finalize_object()
            address: int = self._jit.get_function_address(code.symbol)
        if not address:
            raise RuntimeError(f"{code.symbol} is not in its own code; please report this.")
        return address
