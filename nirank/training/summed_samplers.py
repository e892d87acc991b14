"""Several samplers for one list: `in_batch + mined("bm25 % 50", negatives=4)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.types import Ints
from nirank.errors import BadInput
from nirank.hashing import digest
from nirank.pipeline.algebra import Stage
from nirank.training.sampling import Each, Sample


class SummedSampler:
    """Lists with the negatives of several samplers.

    Where one of them shares its documents among the lists of a batch (it has `share`, as `in_batch` does), what the
    others draw for any list of the batch becomes a document of all lists, masked where it is relevant: the usual lists
    of bi-encoders. Otherwise a list has the positives, and behind them what each sampler drew for it. How often a
    document was to be expected is not known. Raises `BadInput` for two that share, and for lists that are not made for
    the same thing.
    """

    def __init__(self, samplers: Sequence[Component], weights: Sequence[float] = ()) -> None:
        if any(weight != 1 for weight in weights):
            raise BadInput("a sampler has no weight: say how many documents it draws, `mined(PIPELINE, negatives=4)`.")
        self.samplers = tuple(samplers)
        sharing = [sampler for sampler in samplers if sampler.can("share")]
        if len(sharing) > 1:
            names = " and ".join(sampler.name for sampler in sharing)
            raise BadInput(f"{names} both share their documents in a batch: one sampler that does is expected.")
        self._sharing = sharing[0] if sharing else None
        self.each: Each = self._one_each()
        #: What a training notes of it, so that only the very same one goes on.
        self.composition = digest([sampler.fingerprint for sampler in samplers])

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:
        """Let each sampler learn what there is to draw from."""
        for sampler in self.samplers:
            sampler.target.begin(collection, stages)

    def refresh(self, step: int) -> None:
        """Let those that depend on the component search again, if it is time to."""
        for sampler in self.samplers:
            if refresh := sampler.method("refresh"):
                refresh(step)

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:
        """The lists with what all samplers draw, each after the other from the same stream of chance."""
        drawn = [
            sampler.target.sample(rows, positives, random) for sampler in self.samplers if sampler is not self._sharing
        ]
        negatives = [_negatives(sample) for sample in drawn]
        if self._sharing:
            more = np.unique(np.concatenate([lists.docs for lists in negatives]))
            shared: Sample = self._sharing.target.share(rows, positives, random, more)
            return shared
        return Sample(reduce(_beside, negatives, positives))

    def state(self) -> dict[str, NDArray[Any]]:
        """The states of the samplers that have one, by their places."""
        return {
            f"{place}.{name}": value
            for place, sampler in enumerate(self.samplers)
            if (state := sampler.method("state"))
            for name, value in state().items()
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Give each sampler the state that it had."""
        for place, sampler in enumerate(self.samplers):
            if restore := sampler.method("restore"):
                prefix = f"{place}."
                restore({name.removeprefix(prefix): kept for name, kept in state.items() if name.startswith(prefix)})

    def _one_each(self) -> Each:
        kinds = {sampler.traits.each for sampler in self.samplers}
        if len(kinds) != 1 or None in kinds:
            shown = ", ".join(f"{sampler.name} for each {sampler.traits.each}" for sampler in self.samplers)
            raise BadInput(f"the samplers make lists for different things ({shown}): set `each` alike.")
        each: Each = kinds.pop()  # type: ignore[assignment]
        return each


def _negatives(sample: Sample) -> Candidates:
    """The documents of each list that are not relevant, and count."""
    negative = sample.candidates.scores <= 0
    return sample.candidates.where(negative if sample.mask is None else negative & sample.mask)


def _beside(first: Candidates, second: Candidates) -> Candidates:
    """The lists of both, those of the second behind those of the first, as they are labelled."""
    rows = np.concatenate([first.rows, second.rows])
    order = np.argsort(rows, kind="stable")
    docs = np.concatenate([first.docs, second.docs])[order]
    labels = np.concatenate([first.scores, second.scores])[order]
    return Candidates(first.offsets + second.offsets, docs, labels, second.corpus)
