"""The environment of a result: versions of libraries, and random numbers."""

from __future__ import annotations

import importlib.metadata
import platform
import random
import sys

import numpy as np

#: Packages whose version may change a score; told where they were imported.
_LIBRARIES = ("numpy", "numba", "torch", "transformers", "sentence_transformers", "faiss", "pytrec_eval", "ir_measures")


def versions() -> dict[str, str]:
    """Versions of Python, nirank and those libraries in use that may change a score."""
    known = importlib.metadata.packages_distributions()
    used = [name for name in _LIBRARIES if name in sys.modules and name in known]
    return {"python": platform.python_version(), "nirank": importlib.metadata.version("nirank")} | {
        name: importlib.metadata.version(known[name][0]) for name in used
    }


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and, where it is in use, torch's random numbers."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries that draw from the global state are meant
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
