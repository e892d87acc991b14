"""The machine that results come from, as far as numbers depend on it: processor, threads, libraries of linear algebra.

The same matrix product has other last digits with another instruction set, library or number of threads, and a rank
may hang on these. Nothing is imported to find this out but `threadpoolctl`, where it is installed: it looks at the
libraries that are loaded.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from nirank.threads import processors

#: Environment variables that set threads, instruction sets, precision and determinism; nirank's own are besides.
_VARIABLES = re.compile(
    r"(OMP|MKL|OPENBLAS|GOTO|BLIS|VECLIB|NUMEXPR|NUMBA|NPY|ATEN|DNNL|ONEDNN|CUBLAS|TORCH|PYTORCH|NVIDIA_TF32)_?.*"
    r"|CUDA_VISIBLE_DEVICES|PYTHONHASHSEED|TOKENIZERS_PARALLELISM|NIRANK_.*"
)
#: Where something is, or how it is shown: no number depends on it.
_NO_MATTER = re.compile(
    r"NIRANK_(CACHE|DEBUG|PROGRESS|PYTHON|FUZZ.*)|TORCH_HOME|NUMBA_CACHE_DIR|\w*(KEY|TOKEN|SECRET|PASSWORD)\w*"
)
_POOL = ("internal_api", "version", "architecture", "threading_layer", "num_threads")


def describe_machine() -> dict[str, Any]:
    """Describe processor, threads, libraries and environment variables, for a manifest."""
    return {
        "cpu": {"model": _processor(), "features": _features(), "processors": processors()},
        "compiled": _compiled_for(),
        "blas": _built_with(),
        "threads": _threads(),
        "environment": variables(),
    }


def variables() -> dict[str, str]:
    """The environment variables that may change a number, as they are set; no secrets."""
    chosen = (name for name in sorted(os.environ) if _VARIABLES.fullmatch(name) and not _NO_MATTER.fullmatch(name))
    return {name: os.environ[name] for name in chosen}


@functools.cache
def _processor() -> str:
    """The model of the processor, as the system calls it."""
    with suppress(OSError, subprocess.SubprocessError):
        if sys.platform == "darwin":
            asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            told = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
            return told.stdout.strip()
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _features() -> list[str]:
    """The instruction sets beyond the least that numpy has found, and not been told to leave alone."""
    return list(_configuration().get("SIMD Extensions", {}).get("found", []))


def _compiled_for() -> dict[str, Any]:
    """The processor and instructions that code of nirank's is compiled for; nothing where none was loaded."""
    if "llvmlite" not in sys.modules:
        return {}
    from nirank.kit.native import compiled_for

    return compiled_for()


def _built_with() -> dict[str, str]:
    """The library of linear algebra that numpy was built with."""
    blas = _configuration().get("Build Dependencies", {}).get("blas", {})
    return {name: str(blas[name]) for name in ("name", "version") if name in blas}


def _configuration() -> dict[str, Any]:
    return np.show_config(mode="dicts") or {}  # type: ignore[return-value]


def _threads() -> dict[str, Any]:
    """The pools of threads in use, and how many threads torch and numba take, where they are in use."""
    counts: dict[str, Any] = {}
    if torch := sys.modules.get("torch"):
        counts["torch"] = torch.get_num_threads()
    if numba := sys.modules.get("numba"):
        counts["numba"] = numba.config.NUMBA_NUM_THREADS
    return counts | _pools()


def _pools() -> dict[str, Any]:
    """The thread pools of the loaded libraries, by library and version; none without threadpoolctl."""
    with suppress(ImportError):
        from threadpoolctl import threadpool_info

        found = sorted(({name: pool[name] for name in _POOL if name in pool} for pool in threadpool_info()), key=repr)
        return {"pools": {f"{pool.get('internal_api')} {pool.get('version') or ''}".strip(): pool for pool in found}}
    return {}
