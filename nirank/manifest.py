"""What a result depends on: versions, fingerprints, seeds, devices, the tie policy."""

from __future__ import annotations

import importlib.metadata
import platform
import random
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.plugins import Component, active

if TYPE_CHECKING:
    from nirank.results import Results

TIES = {
    "search": "falling score, then rising ordinal of the document",
    "measures": "falling score (float32), then falling document id, as trec_eval",
}
#: Packages whose version may change a score; told where they were imported.
_LIBRARIES = ("numpy", "numba", "torch", "transformers", "sentence_transformers", "faiss", "pytrec_eval", "ir_measures")


def describe(results: Results) -> dict[str, Any]:
    """The manifest of an experiment's results, as written to `manifest.json`."""
    components = {
        component.name: component for system in results.systems.values() for component in system.ranking.components()
    }
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "plugins": {plugin.name: plugin.version for plugin in active().known if not plugin.blocked},
        "platform": {"system": platform.system(), "machine": platform.machine()},
        "seed": results.experiment.seed,
        "ties": TIES,
        "collection": {
            "name": results.collection.name,
            "documents": len(results.collection.corpus),
            "queries": len(results.collection.queries),
            "judgments": results.collection.judgments.pairs,
            "corpus": results.collection.corpus.fingerprint,
        },
        "pipelines": {name: repr(system.ranking) for name, system in results.systems.items()},
        "components": {name: describe_component(component) for name, component in components.items()},
    }


def describe_component(component: Component) -> dict[str, Any]:
    """Where a component comes from, its settings, its model's fingerprint, the device it runs on."""
    return {
        "use": component.spec,
        "plugin": component.origin,
        "settings": component.settings,
        "fingerprint": component.fingerprint,
        "device": str(getattr(component.target, "device", "cpu")),
    }


def versions() -> dict[str, str]:
    """Of Python, nirank and of those libraries in use that may change a score."""
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
