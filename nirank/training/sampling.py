"""Training lists: the documents that a query is trained with, and the samplers that choose them.

A sampler is registered as kind "sampler", and is a plain object with two methods:

    begin(collection, stages)               once: learn what there is to draw from
    sample(rows, positives, random)         for each step: the lists to train with

Lists are made round positives, documents that are judged relevant: `each = "positive"` asks for one list a
positive, `each = "query"` for one list a query, with all its positives. A sampler whose lists depend on the
component in training has `refresh(step)`, called before each step, and `state()` and `restore(state)` (a mapping of
names to numpy arrays), so that training can go on after an interruption as if nothing had happened. All randomness
comes from the generator `random`: the same one gives the same lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.types import Floats, Ints
from nirank.errors import BadInput

if TYPE_CHECKING:
    from nirank.pipeline.algebra import Stage

Each = Literal["positive", "query"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Lists to train with: one row of `candidates` a list, whose scores are labels (0: not relevant).

    A document may stand several times in a row where a sampler draws with replacement. `log_expected_count`,
    float32 `[pairs]`, says for each pair how often the sample was expected to hold its document, relevant ones
    included; None where the sampler cannot say. Pairs that are False in `mask`, bool `[pairs]`, keep their place and
    do not count. `shared` tells that all rows hold the same documents in the same order, as those of a batch whose
    queries share their negatives do.
    """

    candidates: Candidates
    log_expected_count: Floats | None = None
    mask: NDArray[np.bool_] | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        for name in ("log_expected_count", "mask"):
            column = getattr(self, name)
            if column is not None and column.shape != (self.candidates.pairs,):
                raise BadInput(
                    f"{name} has the shape {column.shape} for {self.candidates.pairs} pairs; each pair needs one value."
                )

    def take(self, lists: slice) -> Sample:
        """Some of the lists, one after the other."""
        inside = slice(*self.candidates.offsets[[*lists.indices(len(self.candidates))[:2]]].tolist())
        counts = None if self.log_expected_count is None else self.log_expected_count[inside]
        mask = None if self.mask is None else self.mask[inside]
        return Sample(self.candidates.take(lists), counts, mask, self.shared)


@runtime_checkable
class Sampler(Protocol):
    """Chooses the documents that queries are trained with. `each` says what a list is made for."""

    each: Each

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:
        """Learn what there is to draw from. `stages` are those that a pipeline in the settings may name."""

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:
        """One list for each row of `positives` (labels above 0); `rows` are their queries in the collection."""


class Judged:
    """The lists as they are judged: all documents of a query that have a label, relevant or not."""

    each: Each = "query"

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:  # noqa: ARG002 (what samplers get)
        """Take note of the judgments."""
        self._judgments = collection.judgments.over(collection.corpus)

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:  # noqa: ARG002
        """The judged documents of each query; nothing is drawn."""
        return Sample(self._judgments.take(rows))
