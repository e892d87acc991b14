"""Features that come with queries: those of a LETOR file, or features computed once and used again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nirank.data import Candidates, Floats, Pairs, Queries
from nirank.errors import BadInput, UnknownName


class GivenFeatures:
    """The features that came with the queries, in `queries.found`, by the names they have there.

    `names` chooses some. A pair that did not come with its query has missing values, NaN. Raises `BadInput` for queries
    that came without features, `UnknownName` for a feature that they lack.
    """

    known_as = "nirank_ltr.given:GivenFeatures"  # where it was when indexes were first made with it

    def __init__(self, names: Sequence[str] | None = None) -> None:
        if isinstance(names, str) or (names is not None and not names):
            raise BadInput(f"names = {names!r}: a list of features is expected.")
        self._chosen = names
        self.names: tuple[str, ...] = () if names is None else tuple(names)

    def __repr__(self) -> str:
        return f"GivenFeatures({'all' if self._chosen is None else list(self._chosen)})"

    def extract(self, queries: Queries, candidates: Candidates) -> Floats:
        """The features of each pair, float32 `[pairs, names]`."""
        found = queries.found
        if found is None or found.features is None:
            raise BadInput("these queries bring no features: open their collection with `letor`.")
        known = found.features
        if self._chosen is None:
            self.names = known.names
        for name in self.names:
            if name not in known.names:
                raise UnknownName("feature of these queries", name, known.names)
        values = _of(candidates, found, known.values)
        whole = self.names == known.names
        return values if whole else values.take([known.names.index(name) for name in self.names], axis=1)


def _of(candidates: Candidates, found: Candidates, values: Floats) -> Floats:
    """The rows of `found` that belong to some pairs; most often these are the very same."""
    if np.array_equal(candidates.docs, found.docs) and np.array_equal(candidates.offsets, found.offsets):
        return values
    places = candidates.places(found)
    made = np.full((candidates.pairs, values.shape[1]), np.nan, np.float32)
    made[places >= 0] = values[places[places >= 0]]
    return made


class _Sample(GivenFeatures):
    """For queries that came without: features made of the ids of a pair."""

    def extract(self, queries: Queries, candidates: Candidates) -> Floats:
        from nirank.testing import samples

        described = candidates.with_features(samples.features(Pairs(queries, candidates), self.names))
        return super().extract(queries.with_found(described), candidates)


def tiny() -> GivenFeatures:
    """Three features."""
    return _Sample(names=["1", "2", "3"])
