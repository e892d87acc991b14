"""Pipelines: rankings and scorings, the operators between them, and expressions that say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.pipeline.algebra import Generated as Generated
    from nirank.pipeline.algebra import PartialPipeline as PartialPipeline
    from nirank.pipeline.algebra import Pipeline as Pipeline
    from nirank.pipeline.algebra import Ranking as Ranking
    from nirank.pipeline.algebra import Scoring as Scoring
    from nirank.pipeline.algebra import Stage as Stage
    from nirank.pipeline.algebra import as_ranking as as_ranking
    from nirank.pipeline.algebra import as_scoring as as_scoring
    from nirank.pipeline.algebra import concatenate as concatenate
    from nirank.pipeline.algebra import fuse as fuse
    from nirank.pipeline.algebra import load as load
    from nirank.pipeline.expanded import Writing as Writing
    from nirank.pipeline.expanded import expanded as expanded
    from nirank.pipeline.expanded import write as write
    from nirank.pipeline.expanded import writer_of as writer_of
    from nirank.pipeline.expression import parse as parse
    from nirank.pipeline.feature_ranking import Featured as Featured
    from nirank.pipeline.feature_ranking import FeatureSet as FeatureSet
    from nirank.pipeline.feature_ranking import features as features
    from nirank.pipeline.filtering import where as where
    from nirank.pipeline.functions import apply as apply
    from nirank.pipeline.functions import describe_by as describe_by
    from nirank.pipeline.functions import score_by as score_by
    from nirank.pipeline.normalising import Normalised as Normalised
    from nirank.pipeline.normalising import normalise as normalise
    from nirank.pipeline.passages import passages as passages
    from nirank.pipeline.ranking_scores import scores as scores
    from nirank.pipeline.reranking import others as others
    from nirank.pipeline.reranking import own_documents as own_documents
    from nirank.pipeline.reranking import top as top
    from nirank.pipeline.rewriting import rewrite as rewrite
    from nirank.pipeline.rewriting import route as route
    from nirank.pipeline.rewriting import variants as variants
    from nirank.pipeline.sharding import sharded as sharded
    from nirank.pipeline.snippets import Snippet as Snippet
    from nirank.pipeline.snippets import snippets as snippets

_HOMES = {
    "nirank.pipeline.algebra": [
        "Generated",
        "PartialPipeline",
        "Pipeline",
        "Ranking",
        "Scoring",
        "Stage",
        "as_ranking",
        "as_scoring",
        "concatenate",
        "fuse",
        "load",
    ],
    "nirank.pipeline.expanded": ["Writing", "expanded", "write", "writer_of"],
    "nirank.pipeline.expression": ["parse"],
    "nirank.pipeline.feature_ranking": ["FeatureSet", "Featured", "features"],
    "nirank.pipeline.ranking_scores": ["scores"],
    "nirank.pipeline.normalising": ["Normalised", "normalise"],
    "nirank.pipeline.passages": ["passages"],
    "nirank.pipeline.reranking": ["others", "own_documents", "top"],
    "nirank.pipeline.sharding": ["sharded"],
    "nirank.pipeline.snippets": ["Snippet", "snippets"],
    "nirank.pipeline.filtering": ["where"],
    "nirank.pipeline.functions": ["apply", "describe_by", "score_by"],
    "nirank.pipeline.rewriting": ["rewrite", "route", "variants"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)
