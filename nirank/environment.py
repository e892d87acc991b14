"""The environment of a result: versions of libraries, and random numbers."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import random
import sys
from collections.abc import Mapping

import numpy as np

#: Packages whose version may change a score; told where they were imported.
_LIBRARIES = ("numpy", "numba", "torch", "transformers", "sentence_transformers", "faiss", "pytrec_eval", "ir_measures")


def versions() -> dict[str, str]:
    """Versions of Python, nirank and those libraries in use that may change a score."""
    known = _distributions()
    used = [name for name in _LIBRARIES if name in sys.modules and name in known]
    return {"python": platform.python_version(), "nirank": importlib.metadata.version("nirank")} | {
        name: importlib.metadata.version(known[name][0]) for name in used
    }


#: Packages that a score, a rank or a measure may depend on, by the name they are imported by; the distributions that
#: bring them, where these are called otherwise.
_THAT_MATTER: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in (
        "numpy", "scipy", "numba", "pyarrow", "torch", "transformers", "tokenizers", "safetensors", "accelerate",
        "peft", "gensim", "lightgbm", "openvino", "pyserini", "rapidfuzz", "regex", "timm", "torchvision", "xxhash",
    )},
    "sentence_transformers": ("sentence-transformers",),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss"),
    "PIL": ("pillow",),
    "Stemmer": ("PyStemmer",),
    "ir_measures": ("ir-measures",),
    "open_clip": ("open_clip_torch",),
    "pytrec_eval": ("pytrec-eval-terrier", "pytrec_eval"),
}  # fmt: skip


def installed() -> dict[str, str]:
    """Versions of Python, nirank, and of all that is installed and may change a result; nothing is imported for it."""
    found = {name: next(filter(None, map(_version, brought)), "") for name, brought in _THAT_MATTER.items()}
    plain = {"python": platform.python_version(), "nirank": _version("nirank")}
    return plain | {name: version for name, version in found.items() if version}


def _version(distribution: str) -> str:
    """The version of a distribution; nothing where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache  # all that is installed is read for it: a third of a second
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and, where it is in use, torch's random numbers."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries that draw from the global state are meant
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
