"""The table [folds] of an experiment: stages are trained, and settings chosen, anew for every part of the queries.

[folds]
count = 5               # parts of the queries; fold f is measured on part f, and chooses by the next one
by = "hash"             # of the queries' ids, or "collection": its own folds, by its settings `fold` and `split`
seed = 0                # of the hash
seeds = [0, 1, 2]       # everything is done with each of these seeds; the experiment's own unless given
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from nirank.build import collection
from nirank.data.collection import Collection
from nirank.data.folds import Fold, folds, folds_of
from nirank.errors import BadInput, UnknownName

By = Literal["hash", "collection"]


@dataclass(frozen=True)
class Folding:
    """A table [folds], checked."""

    count: int
    by: str
    seed: int
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, table: Mapping[str, Any], seed: int) -> Folding:
        """From a table as TOML gives it; `seed` is the experiment's."""
        known = ("count", "by", "seed", "seeds")
        for key in table:
            if key not in known:
                raise UnknownName("key", key, known)
        by = table.get("by", "hash")
        if by not in get_args(By):
            raise UnknownName("kind of folds", str(by), get_args(By))
        seeds = table.get("seeds", [seed])
        if not isinstance(seeds, Sequence) or not seeds or len({*map(str, seeds)}) < len(seeds):
            raise BadInput(f"seeds = {seeds!r}: a list of different whole numbers is expected.")
        for name, number, least in (
            ("count", table.get("count", 5), 2),
            ("seed", table.get("seed", 0), 0),
            *(("seeds", each, 0) for each in seeds),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise BadInput(f"{name} = {number!r}: a whole number from {least} on is expected.")
        return cls(table.get("count", 5), by, table.get("seed", 0), tuple(seeds))

    def folds(self, opened: Collection, described: Mapping[str, Any]) -> list[Fold]:
        """The folds of an open collection, `described` as an experiment has it. Raises `BadInput` for no such folds."""
        if self.by == "hash":
            return folds(opened, self.count, self.seed)
        return folds_of(opened, self._splits(described))

    def _splits(self, described: Mapping[str, Any]) -> Iterator[tuple[Sequence[str], ...]]:
        """The ids of the queries of each fold, as the collection itself has them."""
        given = {key: value for key, value in described.items() if key not in ("use", "split", "fold")}
        for number in range(1, self.count + 1):
            parts = (
                collection(described["use"], **given, fold=number, split=split) for split in ("train", "vali", "test")
            )
            yield tuple(part.queries.ids for part in parts)
