"""Samplers: they draw the documents that a query is trained with from the corpus, the batch, or a ranking's results."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_SAMPLERS = {
    "uniform": "drawn:Uniform",
    "frequency": "drawn:Frequency",
    "in_batch": "in_batch:InBatch",
    "positives": "positives:Positives",
    "judged_negatives": "hard:JudgedNegatives",
    "from_run": "hard:FromRun",
    "mined": "hard:Mined",
}


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name every sampler, and the core's own, which draws nothing."""
    registry.add("sampler", "judged", "nirank.training.sampling:Judged", tiny="nirank.training.sampling:Judged")
    for name, sampler in _SAMPLERS.items():
        registry.add("sampler", name, f"nirank_samplers.{sampler}", tiny=f"nirank_samplers.tiny:{name}")
