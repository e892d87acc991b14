"""nirank: a plugin-based neural search-engine library.

    import nirank

    emoji = nirank.collection("emoji")
    bm25, minilm = nirank.load("bm25"), nirank.load("minilm")
    found = (bm25 % 100 >> minilm).search(emoji.queries, emoji.corpus)
    print(nirank.evaluate(found, emoji.judgments, ["nDCG@10"]))

Every public name is imported when it is first used, so that `import nirank` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nirank.corpus import ArrowCorpus as ArrowCorpus
    from nirank.corpus import Documents as Documents
    from nirank.data import Candidates as Candidates
    from nirank.data import Collection as Collection
    from nirank.data import Corpus as Corpus
    from nirank.data import Queries as Queries
    from nirank.errors import NirankError as NirankError
    from nirank.evaluation import Evaluation as Evaluation
    from nirank.evaluation import evaluate as evaluate
    from nirank.experiment import run as run
    from nirank.expression import parse as parse
    from nirank.featuring import features as features
    from nirank.hooks import hookimpl as hookimpl
    from nirank.pipeline import Ranking as Ranking
    from nirank.pipeline import Scoring as Scoring
    from nirank.pipeline import fuse as fuse
    from nirank.pipeline import load as load
    from nirank.plugins import collection as collection
    from nirank.reranking import others as others
    from nirank.reranking import top as top
    from nirank.significance import compare as compare
    from nirank.training.fitting import fit as fit
    from nirank.training.run import train as train
    from nirank.trec import read_qrels as read_qrels
    from nirank.trec import read_run as read_run
    from nirank.trec import write_run as write_run

_HOMES = {
    "ArrowCorpus": "corpus",
    "Candidates": "data",
    "Collection": "data",
    "Corpus": "data",
    "Documents": "corpus",
    "Evaluation": "evaluation",
    "NirankError": "errors",
    "Queries": "data",
    "Ranking": "pipeline",
    "Scoring": "pipeline",
    "collection": "plugins",
    "compare": "significance",
    "evaluate": "evaluation",
    "features": "featuring",
    "fit": "training.fitting",
    "fuse": "pipeline",
    "hookimpl": "hooks",
    "load": "pipeline",
    "others": "reranking",
    "parse": "expression",
    "read_qrels": "trec",
    "read_run": "trec",
    "run": "experiment",
    "top": "reranking",
    "train": "training.run",
    "write_run": "trec",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("nirank")
    if name not in _HOMES:
        raise AttributeError(f"module 'nirank' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nirank.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
