"""The manifest of a result: versions, fingerprints, seeds, devices, the tie policy."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nirank.component import Component
from nirank.data.collection import Collection
from nirank.environment import versions
from nirank.pipeline.algebra import Ranking
from nirank.plugins.loading import active

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
        "versions": versions(),
        "plugins": {plugin.name: plugin.version for plugin in active().known if not plugin.blocked},
        "platform": {"system": platform.system(), "machine": platform.machine()},
        "seed": seed,
        "ties": {"search": _SEARCH, "measures": _MEASURES[ties]},
        "collection": {
            "name": collection.name,
            "documents": len(collection.corpus),
            "queries": len(collection.queries),
            "judgments": collection.judgments.pairs,
            "corpus": collection.corpus.fingerprint,
        },
        "pipelines": {name: repr(ranking) for name, ranking in rankings.items()},
        "components": {name: describe_component(component) for name, component in components.items()},
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
