"""Sets of instructions of x86-64 processors: how libraries are kept from using them, and which they do use.

A library is told by an environment variable of its own, before it is imported. numba takes the features of the
processor at hand along with another one's name, so that `NUMBA_CPU_NAME` alone hides nothing: `NUMBA_CPU_FEATURES` has
to be set too. What it names comes to those of the name; our own code looks there for what it may compile.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

#: From the least that libraries run on here, each with all before it. The second has FMA.
LEVELS = ("SSE4.2", "AVX2", "AVX-512", "AVX-512 VNNI")
SSE, AVX2, AVX512, VNNI = range(len(LEVELS))
_AVX512 = "+avx2,+avx512f,+avx512bw,+avx512vl"
#: What the levels are called, from the least on, by numba (processors; features), OpenBLAS, torch, oneDNN, MKL, faiss.
_NAMES = {
    "NUMBA_CPU_NAME": ("nehalem", "haswell", "skylake-avx512", "icelake-server"),
    "NUMBA_CPU_FEATURES": ("", "+avx2", _AVX512, f"{_AVX512},+avx512vnni"),
    "OPENBLAS_CORETYPE": ("Nehalem", "Haswell", "SkylakeX", "SkylakeX"),
    "ATEN_CPU_CAPABILITY": ("default", "avx2", "avx512", "avx512"),
    "ONEDNN_MAX_CPU_ISA": ("SSE41", "AVX2", "AVX512_CORE", "AVX512_CORE_VNNI"),
    "MKL_ENABLE_INSTRUCTIONS": ("SSE4_2", "AVX2", "AVX512", "AVX512"),
    "FAISS_SIMD_LEVEL": ("NONE", "AVX2", "AVX512", "AVX512"),
}
#: Variables that hide instructions, which no one else is to have set.
VARIABLES = (*_NAMES, "NPY_DISABLE_CPU_FEATURES", "GLIBC_TUNABLES")
#: What glibc calls the instructions of each level beyond the one before; its logarithms have a version with FMA.
_GLIBC = ((), ("AVX", "AVX2", "FMA"), ("AVX512F", "AVX512VL", "AVX512BW", "AVX512DQ", "AVX512CD"), ())
#: Where glibc's loader tells of them: the number of a register of `cpuid`, and of a bit in it.
_BITS = {AVX2: (r"features\[0x1\].active\[0x1\]", 5), AVX512: (r"features\[0x1\].active\[0x1\]", 16)}
_LOADER = "/lib64/ld-linux-x86-64.so.2"
#: Sixteen products and sums in the language of LLVM, which may be made one.
_PROBE = """
define <16 x float> @probe(<16 x float> %one, <16 x float> %other, <16 x float> %sum) {
  %product = fmul contract <16 x float> %one, %other
  %added = fadd contract <16 x float> %product, %sum
  ret <16 x float> %added
}
"""


@dataclass(frozen=True)
class Processor:
    """A processor that has no more than a level; `variables` make libraries take the one at hand for it."""

    name: str
    level: int
    variables: dict[str, str]


def processors(level: int) -> list[Processor]:
    """The processor at hand, which is of a level, as it is; and those that it can stand for, from this level down."""
    lesser = [Processor(f"{LEVELS[less]} ({_NAMES['NUMBA_CPU_NAME'][less]})", less, hiding(less, level))
              for less in reversed(range(level + 1))]  # fmt: skip
    return [Processor(f"{LEVELS[level]}, as it is", level, {}), *lesser]


def hiding(level: int, real: int) -> dict[str, str]:
    """The variables that leave a processor of the level `real` no more than `level`."""
    found = {name: names[level] for name, names in _NAMES.items()}
    hidden = ",".join(f"-{name}" for names in _GLIBC[level + 1 : real + 1] for name in names)
    disabled = [name for name in _of_numpy() if _level_of_numpy(name) > level]
    found |= {"NPY_DISABLE_CPU_FEATURES": " ".join(disabled)}
    return found | {"GLIBC_TUNABLES": f"glibc.cpu.hwcaps={hidden}"} if hidden else found


def used() -> dict[str, int]:
    """The level that each library of this process uses, as far as it tells; compiled code by what is in it."""
    found = {"compiled code": _of_code(), "numpy": max(map(_level_of_numpy, _of_numpy()), default=SSE)}
    return found | _of_libraries() | _of_glibc()


def seen(used: dict[str, int], processor: Processor) -> list[str]:
    """The libraries that use more than a processor has, a sentence each."""
    return [
        f"{processor.name}: {library} uses {LEVELS[level]}, which was to be hidden."
        for library, level in used.items()
        if level > processor.level
    ]


def hides_nothing(whole: dict[str, int], part: dict[str, int], processor: Processor, lesser: Processor) -> list[str]:
    """The libraries that use no less where instructions were hidden, a sentence each: of these nothing was learnt."""
    return [
        f"{lesser.name}: {library} uses as much as with {processor.name}, so nothing was learnt of it."
        for library, level in part.items()
        if lesser.level < processor.level and level >= whole[library]
    ]


def _of_code() -> int:
    """The level of what numba compiles: sixteen products and sums at once, translated for its processor."""
    from llvmlite import binding
    from numba.core.registry import cpu_target

    from nirank_dense.exact import instructions

    code = cpu_target.target_context.codegen()._tm.emit_assembly(binding.parse_assembly(_PROBE))
    if "%zmm" in code:
        return VNNI if instructions.HAS_VNNI else AVX512
    return AVX2 if "vfmadd" in code else SSE


def _of_numpy() -> list[str]:
    """What numpy has found beyond its least, and was not told to leave alone."""
    import numpy as np

    return list((np.show_config(mode="dicts") or {}).get("SIMD Extensions", {}).get("found", []))


def _level_of_numpy(name: str) -> int:
    if name in ("X86_V4", "AVX512F", "AVX512CD", "AVX512_SKX", "AVX512_CLX"):
        return AVX512
    return VNNI if name.startswith("AVX512") else AVX2 if name in ("X86_V3", "AVX", "F16C", "FMA3", "AVX2") else SSE


def _of_libraries() -> dict[str, int]:
    """The levels of torch, faiss and OpenBLAS, where they are installed."""
    import faiss
    import torch
    from threadpoolctl import threadpool_info

    blas = [pool["architecture"] for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    return {
        "torch": _named(torch.backends.cpu.get_cpu_capability(), {"AVX512": AVX512, "AVX2": AVX2}),
        "faiss": _named(faiss.SIMDConfig.get_level_name(), {"AVX512": AVX512, "AVX2": AVX2}),
        "OpenBLAS": max(_named(name, {"Nehalem": SSE, "Zen": AVX2, "Haswell": AVX2}, AVX512) for name in blas),
    }


def _named(name: str, levels: dict[str, int], other: int = SSE) -> int:
    return next((level for known, level in levels.items() if name.startswith(known)), other)


def _of_glibc() -> dict[str, int]:
    """The level of the C library, which computes logarithms; nothing where its loader does not tell."""
    try:
        told = subprocess.run([_LOADER, "--list-diagnostics"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"glibc": max((level for level, (name, bit) in _BITS.items() if _bit(told, name, bit)), default=SSE)}


def _bit(told: str, name: str, bit: int) -> bool:
    found = re.search(rf"cpu_features\.{name}=0x([0-9a-f]+)", told)
    return bool(found and int(found[1], 16) >> bit & 1)


def at_hand(told: Iterable[int]) -> int:
    """The level of the processor at hand: the highest that a library uses."""
    return max(told)
