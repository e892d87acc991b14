"""Learning from clicks on LETOR's MQ2008: simulated users, weighted and naive estimates beside the true labels.

A ranker that learned from few queries (the *production* ranker) shows its rankings of the training queries to simulated
users, whose clicks are then all that another ranker learns from. How it is trained was chosen for the true labels, by
MAP on validation, and is the same in every row.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from quality_mq2008 import FOLDS, MEASURES, Fold, Folds
from quality_rows import Row
from quality_table import Cell, Figure, Table

import nirank
from nirank.clicks import UserModel, collection_of, simulate
from nirank.data import Candidates, Collection
from nirank.evaluation import confidence_intervals
from nirank.pipeline import Scoring

SESSIONS, SHOWN_BY, ETAS, LARGEST = 300, 5, (1.0, 2.0), (20.0, 80.0)
PRODUCTION = "production ranker"
TRUE = "true labels"
#: MQ2008 has 470 training queries a fold, which are four steps an epoch.
_PLAIN = {"batch_size": 128, "schedule": "constant", "warmup": 0.0, "clip": 0.0, "measure": "AP"}
_TEACHING = {**_PLAIN, "learning_rate": 0.03, "epochs": 20}

_UNTIL = {"epochs": 40, "evaluate_every": 8, "patience": 8}

#: How each ranker is trained: its loss and the options of `nirank.fit`.
RANKERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "linear": ("weighted(softmax_cross_entropy)", {**_PLAIN, **_UNTIL, "learning_rate": 0.03}),
    "mlp": ("weighted(softmax_cross_entropy)", {**_PLAIN, **_UNTIL, "learning_rate": 0.003}),
}


@dataclass(frozen=True)
class Labels:
    """What is learned from: the true labels where there are no `users`, else clicks, `weighed` or not.

    A click counts `largest` times at most.
    """

    users: UserModel | None = None
    weighed: bool = True
    largest: float | None = None

    def of(self, train: Collection, shown: Candidates, seed: int, sessions: int) -> Collection:
        """The training queries with these labels, each with its weight."""
        if self.users is None:
            judged = train.judgments
            return replace(train, weights=judged.with_features(None).with_scores(np.ones(judged.pairs)))
        log = simulate(train, shown, self.users, sessions=sessions, seed=seed)
        return collection_of(log, train, weighed=self.weighed, largest_weight=self.largest)


def labels() -> dict[str, Labels]:
    """The rows of each ranker."""
    rows = {TRUE: Labels()}
    for eta in ETAS:
        users = UserModel(eta=eta)
        rows[f"clicks weighted, eta {eta:g}"] = Labels(users)
        for largest in LARGEST:
            rows[f"clicks weighted, at most {largest:g}, eta {eta:g}"] = Labels(users, largest=largest)
        rows[f"clicks as they are, eta {eta:g}"] = Labels(users, weighed=False)
    return rows


@dataclass(frozen=True, eq=False)
class Clicks(Folds):
    """Rankers on the folds that learn from so many `sessions` of users a training query."""

    sessions: int = SESSIONS

    def production(self) -> Row:
        """What the users saw, on the test queries."""
        told = {"shown by": SHOWN_BY, "options": _TEACHING}
        return self._row(PRODUCTION, told, lambda seed: partial(self._shown_only, seed), f"{SHOWN_BY} queries")

    def row(self, ranker: str, name: str, learned: Labels) -> Row:
        """A ranker that learned from some labels, with all seeds."""
        loss, options = RANKERS[ranker]
        told = {"loss": loss, "options": options, "labels": asdict(learned), "sessions": self.sessions}
        told["production"] = {"shown by": SHOWN_BY, "options": _TEACHING}
        return self._row(f"{ranker}, {name}", told, lambda seed: partial(self._measured, ranker, learned, seed), loss)

    def _row(self, name: str, told: Mapping[str, Any], made: Callable[[int], Any], how: str) -> Row:
        outcomes = []
        for seed in range(self.seeds):
            known = {**told, "seed": seed, "folds": self.folds, "limits": self.limits, "measures": MEASURES}
            outcomes.append(self.cells.get("clicks", name, known, made(seed)))
        return Row(name, outcomes, how)

    def _shown_only(self, seed: int) -> Outcome:
        return self.tested(lambda fold, number: (None, self._producer(seed, number)))

    def _measured(self, ranker: str, learned: Labels, seed: int) -> Outcome:
        def trained(fold: Fold, number: int) -> tuple[Any, Scoring]:
            collection = learned.of(fold.train, self._shown(seed, number), seed, self.sessions)
            loss, options = RANKERS[ranker]
            return self._fitted(ranker, loss, collection, seed, {**options, "dev": fold.vali})

        return self.tested(trained)

    @functools.cached_property
    def _producers(self) -> dict[tuple[int, int], Scoring]:
        return {}

    def _producer(self, seed: int, number: int) -> Scoring:
        """The ranker that learned from a few training queries of a fold, other ones with each seed."""
        if (seed, number) not in self._producers:
            train = self.read[number].train
            few = np.random.default_rng([seed, number]).permutation(len(train.queries))[:SHOWN_BY]
            self._producers[seed, number] = self._fitted(
                "linear", "ranknet", train.take(np.sort(few)), seed, _TEACHING
            )[1]
        return self._producers[seed, number]

    def _shown(self, seed: int, number: int) -> Candidates:
        train = self.read[number].train
        judged = train.judgments.with_features(None)
        return judged.with_scores(self._producer(seed, number).score(train.queries, judged)).ranked()

    def _fitted(
        self, ranker: str, loss: str, collection: Collection, seed: int, options: Mapping[str, Any]
    ) -> tuple[Any, Scoring]:
        scorer = nirank.load(f"scorer/{ranker}", device="cpu", seed=seed)
        scoring = nirank.features(nirank.load("extractor/letor")) >> scorer
        return nirank.fit(scoring, loss, collection, seed=seed, **{**options, **(self.limits or {})}), scoring


def tables(asked: argparse.Namespace) -> list[Table]:
    """A table for each ranker that is asked for."""
    limits = {"epochs": 1, "steps": 2} if asked.quick else None
    seeds, folds, sessions = (1, 1, 5) if asked.quick else (asked.seeds, FOLDS, SESSIONS)
    work = Clicks(asked.data / "ltr_mq2008", Cells(asked.cells), seeds, folds, limits, sessions)
    return [_table(work, ranker) for ranker in RANKERS if not asked.only or ranker in asked.only]


def _table(work: Clicks, ranker: str) -> Table:
    rows = [work.row(ranker, name, learned) for name, learned in labels().items()]
    return Table(
        title=f"MQ2008, clicks, {ranker}",
        about=(
            f"LETOR 4.0, five folds, all test queries together. A linear ranker that learned from {SHOWN_BY} training "
            f"queries ranks the others; each ranking is shown to {work.sessions} simulated users, who look at rank k "
            "with probability k^-eta and click what they look at with probability .1, .4 or 1 by its grade. Then a "
            "ranker learns from clicks alone, weighted by inverse propensity, or by that up to a number, or as they "
            "are, or from the true labels, "
            f"always by `{RANKERS[ranker][0]}`. The true labels of the validation queries say when training ends, in "
            "every row. Each seed has its own production ranker, clicks and first weights. Means over "
            f"{work.seeds} seeds ± their standard deviation, 95 % bootstrap intervals over queries (10,000 resamples)."
        ),
        columns=["learned from", "MAP", "nDCG@10", f"MAP above {TRUE}", "MAP on validation", "seconds"],
        rows=[*_cells([work.production()], rows[0]), *_cells(rows, rows[0])],
    )


def _cells(rows: list[Row], reference: Row) -> Iterator[list[Cell]]:
    for row in rows:
        ahead = None if row is reference else _ahead(row, reference)
        yield [row.name, row.figure("AP"), row.figure("nDCG@10"), ahead, row.dev, row.seconds]


def _ahead(row: Row, reference: Row) -> Figure:
    """How much better the one is than the other in MAP, on the same queries."""
    differences = row.values("AP") - reference.values("AP")
    low, high = confidence_intervals(differences)[0].tolist()
    return Figure(float(differences.mean()), None, low, high)
