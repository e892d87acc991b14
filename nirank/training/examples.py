"""The examples of training and their order, which a step and a seed decide, so that no state has to be kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.errors import BadInput
from nirank.training.options import Options
from nirank.training.sampling import Each

#: A stream of chance of its own: numpy takes [0, 3] and [0, 3, 0] for one seed.
_ORDER = 1
#: The fewest lists in a batch that `epoch_steps` makes smaller.
_LEAST = 4


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples that lists are made for: the query (a row of the collection) and the relevant documents of each."""

    rows: NDArray[np.int64]
    positives: Candidates

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: NDArray[np.int64] | slice) -> Examples:
        """The chosen ones, in that order."""
        return Examples(self.rows[chosen], self.positives.take(chosen))

    @classmethod
    def of(cls, collection: Collection, each: Each) -> Examples:
        """One for each judgment above 0, or one for each query that has a judgment.

        Raises `BadInput` where there is none.
        """
        judged = collection.judgments
        relevant = judged.where(judged.scores > 0)
        if each == "positive":
            one_each = Candidates(np.arange(relevant.pairs + 1), relevant.docs, relevant.scores, judged.corpus)
            examples = cls(relevant.rows, one_each)
        else:
            rows = np.flatnonzero(judged.lengths)
            examples = cls(rows, relevant.take(rows))
        if not len(examples):
            raise BadInput(f"nothing to learn from in {collection!r}: it has no judgments with a grade above 0.")
        return examples


@dataclass(frozen=True)
class Timetable:
    """Which examples each step sees: a new order every epoch, the last step of an epoch with what is left."""

    examples: int
    step_size: int
    options: Options

    @classmethod
    def of(cls, examples: int, processes: int, options: Options) -> Timetable:
        """The order of a number of examples, trained by a number of processes."""
        passes, size = options.accumulate * processes, options.batch_size
        if options.epoch_steps:
            size = min(size, max(_LEAST, examples // (options.epoch_steps * passes)))
        return cls(examples, size * passes, options)

    @property
    def per_epoch(self) -> int:
        """Steps an epoch."""
        return -(-self.examples // self.step_size)

    @property
    def steps(self) -> int:
        """All steps."""
        return self.options.steps or self.options.epochs * self.per_epoch

    def epoch(self, step: int) -> float:
        """The number of epochs that are over after `step` steps."""
        return step / self.per_epoch

    def batches(self, step: int) -> Iterator[NDArray[np.int64]]:
        """The examples of each forward pass of step 0, 1, ..., those of all processes."""
        epoch, place = divmod(step, self.per_epoch)
        chosen = _order(self.examples, self.options.seed, epoch)[place * self.step_size : (place + 1) * self.step_size]
        size = self.step_size // self.options.accumulate
        yield from (chosen[start : start + size] for start in range(0, len(chosen), size))

    def evaluates(self, step: int) -> bool:
        """True where dev is evaluated after `step` steps."""
        return step == self.steps or step % (self.options.evaluate_every or self.per_epoch) == 0


@lru_cache(maxsize=1)  # asked for in every step of an epoch
def _order(examples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([_ORDER, seed, epoch]).permutation(examples)


def within_corpus(collection: Collection) -> Collection:
    """The collection without judgments of documents that its corpus lacks, which have no contents."""
    judged = collection.judgments.over(collection.corpus)
    return replace(collection, judgments=judged.where(judged.docs < len(collection.corpus)))
