"""A table [train.NAME] of an experiment: how the stage NAME is trained.

    [train.tuned]
    loss = { use = "softmax_cross_entropy", gamma = 20.0 }     # a name, a table with its settings, a sum, or a list
    sampler = "in_batch + mined(bm25 % 50, negatives=2)"       # likewise; the judged lists unless given
    collection = { use = "emoji", split = "train" }            # what is learned from; a setting may name a stage
    dev = { use = "emoji", split = "dev" }                     # what chooses the best weights, if anything is to
    epochs = 1                                                 # and every option of nirank.training.options

The pipeline that is measured on dev is the first one of the experiment in which the stage stands, unless `pipeline`
says otherwise; there a ranker over features also finds what it reads. `teacher` is a scoring for losses that learn from
one. Without `loss`, trees and the like learn in a way of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank.build import opened_of, table_of
from nirank.errors import BadInput, UnknownName
from nirank.experiments import named_stages
from nirank.pipeline.algebra import Ranking, Stage, as_ranking, load
from nirank.pipeline.expression import parse
from nirank.training.options import Options
from nirank.training.parts import built_loss, built_sampler

if TYPE_CHECKING:
    from nirank.build import Open
    from nirank.data.folds import Fold
    from nirank.training.assignment import Fitted

_OWN = ("loss", "sampler", "collection", "dev", "pipeline", "teacher")


@dataclass(frozen=True)
class Recipe:
    """One table [train.NAME], checked; only sampler and collection are always there.

    Loss and sampler are each a name, a table with `use`, a sum as text, or a list of these. `open` opens a collection.
    """

    name: str
    loss: Any
    sampler: Any
    collection: dict[str, Any]
    dev: dict[str, Any] | None
    pipeline: str | None
    teacher: str | None
    options: Options
    open: Open = dataclasses.field(default=opened_of, compare=False)

    @classmethod
    def of(
        cls, name: str, table: Mapping[str, Any], seed: int = 0, measure: str = "nDCG@10", folded: bool = False
    ) -> Recipe:
        """From a table as TOML gives it; `seed` and `measure` are the experiment's.

        Where the experiment is `folded`, each fold brings what is learned from, and the table must not.

        Raises `UnknownName` for a key that is none, `BadInput` for a value that does not fit.
        """
        known = [*_OWN, *(option.name for option in dataclasses.fields(Options))]
        for key in table:
            if key not in known:
                raise UnknownName("key", key, known)
            if folded and key in ("collection", "dev"):
                raise BadInput(f"{key} is given by [folds]: leave it out.")
        options = {key: value for key, value in table.items() if key not in _OWN}
        return cls(
            name,
            _parts(table, "loss") if "loss" in table else None,
            _parts(table, "sampler", "judged"),
            {} if folded else _part(table, "collection"),
            _part(table, "dev") if "dev" in table else None,
            _text(table, "pipeline"),
            _text(table, "teacher"),
            Options(**{"seed": seed, "measure": measure, **options}),
        )

    def check(self) -> None:
        """Raise for wrong names or settings of the parts."""
        if self.loss:
            built_loss(self.loss)
        built_sampler(self.sampler)
        for table in filter(None, (self.collection, self.dev)):
            if not named_stages.named_by(table):  # else it needs what is trained before
                self.open(table)

    def fit(
        self, stages: Mapping[str, Stage], rankings: Mapping[str, Ranking], out: Path, fold: Fold | None = None
    ) -> Fitted:
        """Train the stage in `out`, on a fold if one is given."""
        from nirank.training.fitting import fit

        def opened(table: Mapping[str, Any]) -> Any:
            return self.open(named_stages.given(table, lambda name: stages[name] if name in stages else load(name)))

        train, dev = (fold.train, fold.dev) if fold else (opened(self.collection), self.dev and opened(self.dev))
        return fit(
            stages[self.name],
            self.loss,
            train,
            sampler=self.sampler,
            dev=dev if dev and len(dev.queries) else None,
            pipeline=self._ranking(stages, rankings),
            teacher=self.teacher,
            stages=stages,
            out=out,
            **dataclasses.asdict(self.options),
        )

    def _ranking(self, stages: Mapping[str, Stage], rankings: Mapping[str, Ranking]) -> Ranking | None:
        if self.pipeline:
            return as_ranking(parse(self.pipeline, stages))
        component = stages[self.name].component
        return next((ranking for ranking in rankings.values() if component in ranking.components()), None)


def _parts(table: Mapping[str, Any], key: str, default: str | None = None) -> Any:
    """A loss or a sampler: one part, or the list of those that make a sum."""
    given = table.get(key, default)
    if isinstance(given, list) and given:
        return [_part({key: part}, key) for part in given]
    return _part(table, key, default)


def _part(table: Mapping[str, Any], key: str, default: str | None = None) -> dict[str, Any]:
    return table_of(table.get(key, default), key)


def _text(table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise BadInput(f"{key} = {value!r} is not an expression.")
    return value
