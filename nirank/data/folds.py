"""Folds of a collection by queries: each query is measured by what was learned and chosen on others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirank.data.collection import Collection
from nirank.errors import BadInput
from nirank.hashing import place_of

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """One fold, its number from 1 on: what is learned from, what chooses (weights, settings), and what is measured.

    Raises `BadInput` where a query is in two of them.
    """

    number: int
    train: Collection
    dev: Collection
    test: Collection

    def __post_init__(self) -> None:
        seen = {*self.train.queries.ids, *self.dev.queries.ids}
        if own := [name for name in self.test.queries.ids if name in seen]:
            raise BadInput(
                f"fold {self.number} would be measured on {len(own):,} queries that it learns from or chooses by, such "
                f"as {own[0]!r}."
            )
        if both := {*self.train.queries.ids} & {*self.dev.queries.ids}:
            raise BadInput(f"fold {self.number} would choose by {len(both):,} queries that it learns from.")


def folds(collection: Collection, count: int = 5, seed: int = 0) -> list[Fold]:
    """Deal the queries of a collection into folds, by a hash of their ids.

    A query's fold depends on its id, `count` and `seed` alone: where queries are added, the others stay. Fold f is
    measured on part f, chooses by the part after it, and learns from the others (all but its own, of two). Raises
    `BadInput` for fewer than two folds, and where a part has no judged query, of too few.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise BadInput(f"count = {count!r}: a whole number of folds from 2 on is expected.")
    parts = np.array([place_of(name, seed) % count for name in collection.queries.ids], np.int64)
    rows = [np.flatnonzero(parts == part) for part in range(count)]
    if empty := [part + 1 for part, own in enumerate(rows) if not collection.judgments.lengths[own].any()]:
        raise BadInput(
            f"part {empty[0]} of {count} has no judged query: {len(parts):,} queries are too few for so many folds."
        )
    return [_fold(collection, rows, number) for number in range(count)]


def _fold(collection: Collection, rows: Sequence[Rows], number: int) -> Fold:
    """A fold of parts in turns: of two parts the same one would learn and choose, and then nothing chooses."""
    chooses = (number + 1) % len(rows) if len(rows) > 2 else None
    learns = [part for part in range(len(rows)) if part not in (number, chooses)]
    train = np.sort(np.concatenate([rows[part] for part in learns]))
    dev = rows[chooses] if chooses is not None else np.empty(0, np.int64)
    return Fold(number + 1, *(collection.take(part) for part in (train, dev, rows[number])))


def folds_of(collection: Collection, splits: Iterable[Sequence[Sequence[str]]]) -> list[Fold]:
    """Folds whose queries are known: the ids of those that are learned from, that choose, and that are measured.

    Raises `BadInput` for a query that the collection lacks, and unless each one is measured in one fold.
    """
    row = {name: place for place, name in enumerate(collection.queries.ids)}
    made: list[Fold] = []
    measured: set[str] = set()
    for number, split in enumerate(splits, start=1):
        if strange := [name for names in split for name in names if name not in row]:
            raise BadInput(f"fold {number} has the query {strange[0]!r}, which is not in {collection.name}.")
        train, dev, test = (collection.take(np.array([row[name] for name in names], np.int64)) for names in split)
        made.append(Fold(number, train, dev, test))
        if twice := measured & {*split[2]}:
            raise BadInput(f"the query {min(twice)!r} is measured in two folds.")
        measured |= {*split[2]}
    if missing := row.keys() - measured:
        raise BadInput(f"{len(missing):,} queries are measured in no fold, such as {min(missing)!r}.")
    return made
