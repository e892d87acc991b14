"""Runs and judgments of ranx (https://amenra.github.io/ranx), both ways.

ranx sorts equal scores in no order that it promises, and trec_eval by falling id. What is made here for ranx stands in
trec_eval's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nirank import Candidates
from nirank.formats import Run
from nirank_adapters import dictionaries
from nirank_adapters.needing import needing

with needing("ranx"):
    import ranx


def to_run(found: Candidates | Run, name: str | None = None) -> ranx.Run:
    """What a search found as ranx's run. Raises `BadInput` as `dictionaries.run_to_dict` does."""
    lists = dictionaries.run_to_dict(found)
    return ranx.Run({query: _in_order(scores) for query, scores in lists.items() if scores}, name=name)


def to_qrels(judgments: Candidates | Run, name: str | None = None) -> ranx.Qrels:
    """Judgments as ranx's. Raises `BadInput` as `dictionaries.judgments_to_dict` does."""
    graded = dictionaries.judgments_to_dict(judgments)
    return ranx.Qrels({query: grades for query, grades in graded.items() if grades}, name=name)


def from_ranx(run: ranx.Run | ranx.Qrels) -> Run:
    """The run of ranx, or its judgments, as nirank reads one from a file."""
    lists: Any = run.qrels if isinstance(run, ranx.Qrels) else run.run
    return dictionaries.from_dict({query: dict(documents) for query, documents in lists.items()}, tag=run.name or "")


def _in_order(scores: dict[str, float]) -> dict[str, float]:
    """Scores by falling number, equal ones by falling id."""
    names = sorted(scores, reverse=True)
    values = np.array([scores[name] for name in names])
    return {names[place]: float(values[place]) for place in np.argsort(-values, kind="stable").tolist()}
