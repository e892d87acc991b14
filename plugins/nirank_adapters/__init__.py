"""Adapters to other libraries, a module for each: `from nirank_adapters.langchain import Retriever`.

    beir, mteb, pyterrier            nirank's pipelines in these, and PyTerrier's transformers in nirank
    langchain, llamaindex            retrievers and rerankers
    ranx, dictionaries               runs and judgments of ranx, pytrec_eval and ir_measures, both ways
    sentence_transformers            an evaluator by nirank's measures
    mlflow, wandb                    observers that log experiments and trainings
    ir_metadata                      the headers of runs
    hub                              models and indexes on the Hugging Face hub

Each module imports its library when it is imported itself, and says which extra brings it where it is missing.
"""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the observers; all else is imported by its module."""
    registry.add(
        "observer", "mlflow", "nirank_adapters.mlflow:Logger", tiny="nirank_adapters.mlflow:tiny", extra="mlflow"
    )
    registry.add("observer", "wandb", "nirank_adapters.wandb:Logger", tiny="nirank_adapters.wandb:tiny", extra="wandb")
