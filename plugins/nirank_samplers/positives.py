"""Lists without negatives, for losses that ask for none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nirank.data import Candidates, Collection, Ints
from nirank.pipeline import Stage
from nirank.training import Each, Sample
from nirank_samplers.relevance import Relevance


@dataclass(kw_only=True, eq=False)
class Positives:
    """Lists of positives alone: one for each of them, or with `each = "query"` all of a query in one.

    Nothing is drawn. For the loss `likelihood`, to which negatives mean nothing.
    """

    each: Each = "positive"

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:  # noqa: ARG002 (what samplers get)
        """Learn what is relevant. Raises `BadInput` for an empty corpus."""
        self._relevance = Relevance(collection)

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:  # noqa: ARG002
        """The positives as they are. Raises `BadInput` for one that is not judged relevant."""
        self._relevance.of(rows, positives)
        return Sample(positives.over(self._relevance.pairs.corpus_for("positives")))
