"""Lists that a first stage confuses: its own best documents, right and wrong, as they will be reranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nirank.data import Candidates, Collection, Ints, Queries
from nirank.errors import BadInput
from nirank.pipeline import Ranking, Stage, as_ranking, load, parse
from nirank.training import Each, Sample


@dataclass(eq=False)
class Confused:
    """The list of a query are the best `top` documents that a pipeline finds for it, labelled as they are judged.

    `pipeline` is an expression, in which the stages that training names may stand, or a `Ranking`; it searches once,
    when lists are first needed, with whatever its components are by then. Where queries are documents,
    `others(siamese >> exact)` leaves them out of their own lists. Nothing is drawn, and what was not found is not
    missed: a list in which nothing is relevant teaches nothing.

    Raises `BadInput` for a `top` below 2.
    """

    pipeline: str | Ranking
    top: int = field(default=10, kw_only=True)
    each: Each = field(default="query", kw_only=True)
    #: Of the documents relevant to a query only some are in its list.
    positives = "some"

    def __post_init__(self) -> None:
        if self.top < 2:
            raise BadInput(f"top = {self.top}: at least 2 documents are expected in a list.")

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:
        """Put the pipeline together. Raises `CompositionError` for one that does not rank documents."""
        pipeline = parse(self.pipeline, stages) if isinstance(self.pipeline, str) else self.pipeline
        self._ranking, self._collection = as_ranking(pipeline) % self.top, collection
        self._found: Candidates | None = None

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:  # noqa: ARG002
        """The documents that were found for each query."""
        if self._found is None:
            self._found = self._labelled()
        return Sample(self._found.take(rows))

    def _labelled(self) -> Candidates:
        found = self._ranking.search(self._collection.queries, self._collection.corpus)
        labels = found.lookup(self._collection.judgments, default=0)
        return found.with_scores(np.maximum(labels, 0)).over(self._collection.corpus)


class _Backwards:
    """Finds the same for every query: the first documents, the last of them first."""

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The documents 0 to `k` - 1, scored by their ordinals."""
        docs = np.arange(k)[::-1]
        return Candidates.of([docs] * len(queries), [docs] * len(queries))


def tiny() -> Confused:
    """The lists of a stand-in for a search."""
    return Confused(load(_Backwards()), top=8)
