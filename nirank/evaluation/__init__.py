"""Measures over judged queries, and the comparison of systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.evaluation.evaluating import MEASURES as MEASURES
    from nirank.evaluation.evaluating import Evaluation as Evaluation
    from nirank.evaluation.evaluating import check_measures as check_measures
    from nirank.evaluation.evaluating import evaluate as evaluate
    from nirank.evaluation.overlap import rank_biased_overlap as rank_biased_overlap
    from nirank.evaluation.power import detectable_difference as detectable_difference
    from nirank.evaluation.significance import Comparison as Comparison
    from nirank.evaluation.significance import compare as compare
    from nirank.evaluation.significance import confidence_intervals as confidence_intervals

_HOMES = {
    "nirank.evaluation.evaluating": ["Evaluation", "MEASURES", "check_measures", "evaluate"],
    "nirank.evaluation.overlap": ["rank_biased_overlap"],
    "nirank.evaluation.power": ["detectable_difference"],
    "nirank.evaluation.significance": ["Comparison", "compare", "confidence_intervals"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)
