"""The manifest of a result: versions, code, fingerprints, machine, seeds, devices, the tie policy."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank.component import Component
from nirank.data.collection import Collection
from nirank.data.prints import print_of_judgments, print_of_queries
from nirank.environment import installed
from nirank.experiments.machine import describe_machine
from nirank.pipeline.algebra import Ranking
from nirank.plugins.loading import active
from nirank.source import files_digest

if TYPE_CHECKING:
    from nirank.evaluation.evaluating import Ties

_SEARCH = "falling score, then rising ordinal of the document"
_MEASURES = {
    "falling": "falling score (float32), then falling document id, as trec_eval",
    "rising": "falling score (float32), then rising document id, as Anserini",
}


def describe(
    rankings: Mapping[str, Ranking], collection: Collection, seed: int, ties: Ties = "falling"
) -> dict[str, Any]:
    """The manifest of what came of pipelines on a collection, as written to `manifest.json`."""
    components = {component.name: component for ranking in rankings.values() for component in ranking.components()}
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": installed(),
        "plugins": {plugin.name: plugin.version for plugin in active().known if not plugin.blocked},
        "code": describe_code(),
        "platform": {"system": platform.system(), "machine": platform.machine()},
        "machine": describe_machine(),
        "seed": seed,
        "ties": {"search": _SEARCH, "measures": _MEASURES[ties]},
        "collection": describe_collection(collection),
        "pipelines": {name: repr(ranking) for name, ranking in rankings.items()},
        "components": {name: describe_component(component) for name, component in components.items()},
    }


def describe_collection(collection: Collection) -> dict[str, Any]:
    """Describe a collection: its sizes, and fingerprints of documents, queries and judgments."""
    corpus, queries, judgments = collection.corpus, collection.queries, collection.judgments
    return {
        "name": collection.name,
        "documents": len(corpus),
        "queries": len(queries),
        "judgments": judgments.pairs,
        "corpus": corpus.fingerprint,
        "queries_fingerprint": print_of_queries(queries),
        "judgments_fingerprint": print_of_judgments(judgments, queries.ids, corpus.ids),
    }


def describe_code() -> dict[str, str]:
    """A hash of the code of nirank, and of each plugin that is loaded; one in a file goes by the file's name."""
    loaded = {plugin.name: plugin.module for plugin in active().known if plugin.module is not None}
    modules = {Path(name).name: getattr(module, "__name__", "") for name, module in loaded.items()}
    apart = {name: module for name, module in modules.items() if module.partition(".")[0] != "nirank"}
    return {
        name: files_digest(module) for name, module in {"nirank": "nirank", **apart}.items() if module in sys.modules
    }


def describe_component(component: Component) -> dict[str, Any]:
    """Describe a component: its plugin, its settings, its model's fingerprint, the device it runs on."""
    return {
        "use": component.spec,
        "plugin": component.origin,
        "settings": component.settings,
        "fingerprint": component.fingerprint,
        "device": str(getattr(component.target, "device", "cpu")),
    }
