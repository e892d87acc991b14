"""The collection `clicked`: another one, with clicks in the place of its judgments.

    [train.ranker.collection]
    use = "clicked"
    of = { use = "letor", path = "MQ2008", split = "train", fold = 1 }
    run = "production.run"
    sessions = 100

A log of real users stands in the place of `run`: `log = "clicks.jsonl"`. A training on it has `loss =
"weighted(ranknet)"`, for instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nirank.build import opened_of, table_of
from nirank.clicks.estimating import by_expectation_maximisation, from_shuffled
from nirank.clicks.log import ClickLog, read_clicks
from nirank.clicks.users import UserModel, simulate
from nirank.clicks.weighing import collection_of
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.corpus import Documents
from nirank.data.queries import Queries
from nirank.errors import BadInput
from nirank.formats.trec import read_run

Propensities = Literal["known", "shuffled", "em", "none"]


@dataclass(frozen=True)
class Sessions:
    """Sessions to simulate: the number for each ranking, the share of shuffled ones, and the seed of all chance."""

    sessions: int = 100
    shuffled: float = 0.0
    seed: int = 0


_USERS, _SESSIONS = UserModel(), Sessions()


def clicked(
    of: str | dict[str, Any],
    run: str | Path | None = None,
    log: str | Path | None = None,
    propensities: Propensities = "known",
    largest_weight: float | None = None,
    users: UserModel = _USERS,
    shown: Sessions = _SESSIONS,
) -> Collection:
    """A collection with clicks in the place of its judgments, weighed as `propensities` says.

    `of` is a collection by its name, or as a table with `use`. `log` is a file of sessions as
    `nirank.clicks.read_clicks` has it; or `run` is a TREC run whose rankings are shown to simulated users, who judge by
    the judgments of the collection. `propensities` are those that the log has ("known"), estimates from a log of
    shuffled sessions ("shuffled") or by expectation maximisation ("em"); or all clicks count alike ("none").
    `largest_weight` cuts off weights.

    Raises `BadInput` for both a log and a run, or neither, for "shuffled" of simulated sessions that are not all
    shuffled, and as the parts do.
    """
    collection = opened_of(table_of(of, "of"))
    if (run is None) == (log is None):
        raise BadInput("give a `log` of clicks, or a `run` whose rankings simulated users see: one of both.")
    if propensities == "shuffled" and run is not None and shown.shuffled != 1:
        raise BadInput(
            f'propensities = "shuffled" needs sessions that are all shuffled, and here shuffled = {shown.shuffled:g}: '
            'in the others the best documents stand first. Set shuffled = 1, or take propensities = "em".'
        )
    sessions = read_clicks(log, collection.corpus) if log else _simulated(collection, Path(str(run)), users, shown)
    if propensities in ("shuffled", "em"):
        estimate = from_shuffled if propensities == "shuffled" else by_expectation_maximisation
        sessions = sessions.with_propensities(estimate(sessions))
    return collection_of(sessions, collection, weighed=propensities != "none", largest_weight=largest_weight)


def _simulated(collection: Collection, path: Path, users: UserModel, shown: Sessions) -> ClickLog:
    run = read_run(path)
    if run.unknown_documents(collection.corpus.ids):
        raise BadInput(f"the run has documents that {collection.name} lacks: use a run of this collection.", path)
    found = run.align(collection.queries.ids, collection.corpus.ids).over(collection.corpus)
    ranked = found.ranked().for_queries(collection.queries.ids)
    return simulate(collection, ranked, users, sessions=shown.sessions, shuffled=shown.shuffled, seed=shown.seed)


def tiny() -> Collection:
    """Two queries with a click each."""
    corpus = Documents(["1", "2", "3"], ["a cat", "a small bus", "a wheel"])
    judged = Candidates.of([[0], [1]], [[1], [1]], corpus)
    collection = Collection("tiny", corpus, Queries(["1", "2"], ["cat", "bus"]), judged)
    log = ClickLog.of(["1", "2"], [[0, 1], [2, 1]], [[0], [1]], corpus)
    return collection_of(log.with_propensities([1.0, 0.5]), collection)
