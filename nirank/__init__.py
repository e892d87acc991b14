"""nirank: a plugin-based neural search-engine library.

    import nirank

    emoji = nirank.collection("emoji")
    bm25, minilm = nirank.load("bm25"), nirank.load("minilm")
    found = (bm25 % 100 >> minilm).search(emoji.queries, emoji.corpus)
    print(nirank.evaluate(found, emoji.judgments, ["nDCG@10"]))

Every public name is imported when it is first used, so that `import nirank` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nirank import faces, moved

if TYPE_CHECKING:
    from nirank.build import collection as collection
    from nirank.data.candidates import Candidates as Candidates
    from nirank.data.collection import Collection as Collection
    from nirank.data.corpus import ArrowCorpus as ArrowCorpus
    from nirank.data.corpus import Documents as Documents
    from nirank.data.folds import Fold as Fold
    from nirank.data.folds import folds as folds
    from nirank.data.queries import Queries as Queries
    from nirank.data.types import Corpus as Corpus
    from nirank.differences.found import Differences as Differences
    from nirank.differences.why import why_different as why_different
    from nirank.errors import NirankError as NirankError
    from nirank.evaluation.evaluating import Evaluation as Evaluation
    from nirank.evaluation.evaluating import evaluate as evaluate
    from nirank.evaluation.significance import compare as compare
    from nirank.evaluation.significance import confidence_intervals as confidence_intervals
    from nirank.experiments.results import Results as Results
    from nirank.experiments.results import System as System
    from nirank.experiments.run import run as run
    from nirank.experiments.train import train as train
    from nirank.experiments.tune import tune as tune
    from nirank.experiments.tuned import Tuned as Tuned
    from nirank.formats.subtopics import read_subtopics as read_subtopics
    from nirank.formats.topics import read_topics as read_topics
    from nirank.formats.trec import read_qrels as read_qrels
    from nirank.formats.trec import read_run as read_run
    from nirank.formats.trec import write_run as write_run
    from nirank.hooks import hookimpl as hookimpl
    from nirank.pipeline.algebra import Ranking as Ranking
    from nirank.pipeline.algebra import Scoring as Scoring
    from nirank.pipeline.algebra import Stage as Stage
    from nirank.pipeline.algebra import concatenate as concatenate
    from nirank.pipeline.algebra import fuse as fuse
    from nirank.pipeline.algebra import load as load
    from nirank.pipeline.expanded import expanded as expanded
    from nirank.pipeline.expanded import write as write
    from nirank.pipeline.expression import parse as parse
    from nirank.pipeline.feature_ranking import features as features
    from nirank.pipeline.filtering import where as where
    from nirank.pipeline.functions import apply as apply
    from nirank.pipeline.functions import describe_by as describe_by
    from nirank.pipeline.functions import score_by as score_by
    from nirank.pipeline.normalising import normalise as normalise
    from nirank.pipeline.passages import passages as passages
    from nirank.pipeline.ranking_scores import scores as scores
    from nirank.pipeline.reranking import others as others
    from nirank.pipeline.reranking import top as top
    from nirank.pipeline.rewriting import rewrite as rewrite
    from nirank.pipeline.rewriting import route as route
    from nirank.pipeline.rewriting import variants as variants
    from nirank.pipeline.sharding import sharded as sharded
    from nirank.pipeline.snippets import snippets as snippets
    from nirank.pipeline.vector_files import export_vectors as export_vectors
    from nirank.pipeline.vector_files import import_vectors as import_vectors
    from nirank.training.fitting import fit as fit
    from nirank.training.fused import FittedFusion as FittedFusion
    from nirank.training.fused import fit_fusion as fit_fusion

_HOMES = {
    "nirank.build": ["collection"],
    "nirank.data.candidates": ["Candidates"],
    "nirank.data.collection": ["Collection"],
    "nirank.data.corpus": ["ArrowCorpus", "Documents"],
    "nirank.data.folds": ["Fold", "folds"],
    "nirank.data.queries": ["Queries"],
    "nirank.data.types": ["Corpus"],
    "nirank.differences.found": ["Differences"],
    "nirank.differences.why": ["why_different"],
    "nirank.errors": ["NirankError"],
    "nirank.evaluation.evaluating": ["Evaluation", "evaluate"],
    "nirank.evaluation.significance": ["compare", "confidence_intervals"],
    "nirank.experiments.results": ["Results", "System"],
    "nirank.experiments.run": ["run"],
    "nirank.experiments.train": ["train"],
    "nirank.experiments.tune": ["tune"],
    "nirank.experiments.tuned": ["Tuned"],
    "nirank.formats.subtopics": ["read_subtopics"],
    "nirank.formats.topics": ["read_topics"],
    "nirank.formats.trec": ["read_qrels", "read_run", "write_run"],
    "nirank.hooks": ["hookimpl"],
    "nirank.pipeline.algebra": ["Ranking", "Scoring", "Stage", "concatenate", "fuse", "load"],
    "nirank.pipeline.expanded": ["expanded", "write"],
    "nirank.pipeline.expression": ["parse"],
    "nirank.pipeline.feature_ranking": ["features"],
    "nirank.pipeline.ranking_scores": ["scores"],
    "nirank.pipeline.normalising": ["normalise"],
    "nirank.pipeline.passages": ["passages"],
    "nirank.pipeline.reranking": ["others", "top"],
    "nirank.pipeline.sharding": ["sharded"],
    "nirank.pipeline.snippets": ["snippets"],
    "nirank.pipeline.vector_files": ["export_vectors", "import_vectors"],
    "nirank.pipeline.filtering": ["where"],
    "nirank.pipeline.functions": ["apply", "describe_by", "score_by"],
    "nirank.pipeline.rewriting": ["rewrite", "route", "variants"],
    "nirank.training.fitting": ["fit"],
    "nirank.training.fused": ["FittedFusion", "fit_fusion"],
}
_public, __dir__, __all__ = faces.lazily(__name__, _HOMES)

moved.install()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("nirank")
    return _public(name)
