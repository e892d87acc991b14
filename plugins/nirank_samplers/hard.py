"""Hard negatives: judged so, or found by a ranking and not judged relevant, from a file or searched in training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Collection, Ints
from nirank.errors import BadInput
from nirank.formats import Run, read_run
from nirank.pipeline import Ranking, Stage, as_ranking, parse
from nirank.training import Each, Sample
from nirank_samplers import ranked
from nirank_samplers.bounds import at_least
from nirank_samplers.lists import joined
from nirank_samplers.relevance import Relevance


@dataclass(kw_only=True, eq=False)
class Hard:
    """Negatives drawn, each at most once in a list, from what a run found for the query.

    `negatives` is how many a list has, or as many as there are: those on the ranks `skip` + 1 to `top` that are not
    judged relevant. `below`, at most 1, keeps away from documents that may be relevant though nobody judged them:
    only what scores at most `below` times the best relevant document found may be drawn. Where that score s is not
    positive the limit is (2 - `below`) s, which lies as far below it; where no relevant document was found there is
    no limit. A query without candidates has its positives alone.

    The expected count of a negative is k/n, for k drawn of the n that can be; that of a positive, which is always
    there and never drawn, is 1.
    """

    negatives: int = 8
    top: int = 100
    skip: int = 0
    below: float | None = None
    each: Each = "positive"

    def __post_init__(self) -> None:
        at_least(1, self.negatives, "negatives")
        at_least(0, self.skip, "skip")
        at_least(self.skip + 1, self.top, "top")
        if self.below is not None and not 0 < self.below <= 1:
            raise BadInput(f"below = {self.below}; a share above 0 and at most 1 is expected.")

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:
        """The positives of each list, and what was drawn for it.

        Raises `BadInput` for a positive that is not judged relevant.
        """
        self._relevance.of(rows, positives)
        return drawn_beside(positives, self._pool, rows, self.negatives, random)

    def _learn(self, collection: Collection) -> None:
        self._relevance = Relevance(collection)

    def _draw_from(self, run: Candidates) -> None:
        """From now on draw from `run`, one row a query of the collection."""
        self._pool = ranked.pool(run, self._relevance.pairs, self.skip, self.top, self.below)


@dataclass(kw_only=True, eq=False)
class JudgedNegatives:
    """Negatives drawn, each at most once in a list, from the documents that are judged not relevant to the query.

    `negatives` is how many a list has, or as many as there are. The expected counts are those of `Hard`.
    """

    negatives: int = 8
    each: Each = "positive"

    def __post_init__(self) -> None:
        at_least(1, self.negatives, "negatives")

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:  # noqa: ARG002 (what samplers get)
        """Learn what is judged. Raises `BadInput` where nothing is judged not relevant."""
        self._relevance = Relevance(collection)
        judged = collection.judgments.over(collection.corpus)
        self._pool = judged.where((judged.scores <= 0) & (judged.docs < len(collection.corpus)))
        if not self._pool.pairs:
            raise BadInput(
                "no document is judged not relevant (label 0): take a sampler that finds negatives, such as mined.",
                collection.name,
            )

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:
        """The positives of each list, and what was drawn for it. Raises `BadInput` as `Hard.sample` does."""
        self._relevance.of(rows, positives)
        return drawn_beside(positives, self._pool, rows, self.negatives, random)


@dataclass(eq=False)
class FromRun(Hard):
    """Hard negatives from a run: the path of a TREC run over the collection, or a `nirank.formats.trec.Run`.

    The other settings are those of `Hard`.
    """

    run: str | Path | Run

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:  # noqa: ARG002 (what samplers get)
        """Read the run; queries that it lacks have no negatives.

        Raises `BadInput`, with the file, for a run with queries or documents that the collection lacks.
        """
        self._learn(collection)
        run = self.run if isinstance(self.run, Run) else read_run(self.run)
        strangers, missing = run.other_queries(collection.queries.ids), run.unknown_documents(collection.corpus.ids)
        path = None if isinstance(self.run, Run) else self.run
        if strangers:
            few = ", ".join(map(repr, strangers[:3]))
            raise BadInput(
                f"{len(strangers)} of {len(run)} queries of the run are not in {collection.name}, such as {few}: "
                "use a run of this collection.",
                path,
            )
        if missing:
            raise BadInput(
                f"{missing} of {len(run.ids)} documents of the run are not in the corpus of {collection.name}: "
                "use a run of this collection.",
                path,
            )
        self._draw_from(run.align(collection.queries.ids, collection.corpus.ids).over(collection.corpus))


@dataclass(eq=False)
class Mined(Hard):
    """Hard negatives that a pipeline finds for the training queries, at the depth `top`.

    `pipeline` is an expression, in which the stages that training names may stand, or a `Ranking`. It searches when
    negatives are first needed, and again before each step that is a multiple of `every` (0: never again), with
    whatever its components have learned by then. The other settings are those of `Hard`; a relevant document below
    the rank `top` sets no limit.
    """

    pipeline: str | Ranking
    every: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, self.every, "every")

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:
        """Put the pipeline together. Raises `CompositionError` for one that does not rank documents."""
        self._learn(collection)
        pipeline = parse(self.pipeline, stages) if isinstance(self.pipeline, str) else self.pipeline
        self._ranking = as_ranking(pipeline) % self.top
        self._collection = collection
        self._mined: Candidates | None = None

    def refresh(self, step: int) -> None:
        """Search, if it is time to: before step 0, 1, ..."""
        if self._mined is None or (self.every and step % self.every == 0):
            self._take(self._ranking.search(self._collection.queries, self._collection.corpus))

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:
        """The positives of each list, and what was drawn for it. Raises `BadInput` as `Hard.sample` does."""
        if self._mined is None:
            self.refresh(0)
        return super().sample(rows, positives, random)

    def state(self) -> dict[str, NDArray[Any]]:
        """The negatives found last: `offsets` `[queries + 1]`, `docs` and `scores` `[pairs]`; empty before a search."""
        found = self._mined
        return {} if found is None else {"offsets": found.offsets, "docs": found.docs, "scores": found.scores}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Draw from the negatives that `state` returned. Raises `BadInput` where that was for other queries."""
        if not state:
            self._mined = None
            return
        found = Candidates(state["offsets"], state["docs"], state["scores"], self._collection.corpus)
        if len(found) != len(self._collection.queries):
            raise BadInput(
                f"the saved negatives are of {len(found)} queries, but the collection has "
                f"{len(self._collection.queries)}: resume with the queries that training began with."
            )
        self._take(found)

    def _take(self, found: Candidates) -> None:
        self._mined = found
        self._draw_from(found)


def drawn_beside(
    positives: Candidates, pool: Candidates, rows: Ints, negatives: int, random: np.random.Generator
) -> Sample:
    """Lists of positives and of what is drawn from the pool for each; the count of a negative is k/n, drawn of all."""
    drawn = ranked.draw(pool, rows, negatives, random)
    lists = joined(positives, drawn)
    sizes = pool.offsets[rows + 1] - pool.offsets[rows]
    counts = np.zeros(lists.pairs, np.float32)
    counts[lists.scores <= 0] = np.log(drawn.lengths[drawn.rows] / sizes[drawn.rows])
    return Sample(lists, counts)
