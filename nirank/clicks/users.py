"""Users to simulate: where they look, and what they click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nirank.clicks.log import ClickLog, refuse_other_corpus
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.errors import BadInput

Kind = Literal["position", "cascade"]


@dataclass(frozen=True)
class UserModel:
    """A user who clicks a document if they look at it and it attracts them.

    Where a user looks is decided by `kind`:

        "position"  at rank k with probability k ** -`eta`, whatever is clicked: the position-based model (Craswell et
                    al., An Experimental Comparison of Click Position-Bias Models, WSDM 2008), with eta as Joachims,
                    Swaminathan and Schnabel have it (Unbiased Learning-to-Rank with Biased Feedback, WSDM 2017)
        "cascade"   from the first rank down to the first click, and no further: the cascade model of the same paper

    A document of grade y attracts with probability `lowest` + (`highest` - `lowest`) (2^y - 1) / (2^Y - 1), Y being the
    highest grade (Chapelle et al. 2009; noise as in Ai et al., Unbiased Learning to Rank with Unbiased Propensity
    Estimation, SIGIR 2018).

    Raises `BadInput` for numbers that make no sense.
    """

    kind: Kind = "position"
    eta: float = 1.0
    lowest: float = 0.1
    highest: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("position", "cascade"):
            raise BadInput(f'kind = {self.kind!r}; "position" or "cascade" is expected.')
        if not 0 <= self.lowest < self.highest <= 1 or not 0 <= self.eta < np.inf:
            raise BadInput(
                f"lowest = {self.lowest}, highest = {self.highest}, eta = {self.eta}: probabilities, the lowest below "
                "the highest, and an eta from 0 are expected."
            )

    def attraction(self, grades: NDArray[np.floating], most: float) -> NDArray[np.float64]:
        """The probability that documents of these grades attract, of the same shape; `most` is the highest grade."""
        gains = np.exp2(np.clip(grades, 0, None), dtype=np.float64) - 1
        return self.lowest + (self.highest - self.lowest) * gains / max(np.exp2(most) - 1, 1e-9)

    def examination(self, attraction: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """The probability that a user looks at each document, `[pairs]`, of lists that begin at `offsets`."""
        starts = np.repeat(offsets[:-1], np.diff(offsets))
        if self.kind == "position":
            return np.asarray(np.arange(1, len(starts) + 1) - starts, np.float64) ** -self.eta
        certain = attraction >= 1
        passed = np.exp(_before(np.log1p(-np.where(certain, 0, attraction)), starts))
        return np.where(_before(certain.astype(np.float64), starts) > 0, 0.0, passed)

    def clicks(
        self, attraction: NDArray[np.float64], offsets: NDArray[np.int64], random: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Draw the clicks of users in lists that begin at `offsets`, `[pairs]`."""
        attracted: NDArray[np.bool_] = random.random(len(attraction)) < attraction
        if self.kind == "position":
            return attracted & (random.random(len(attraction)) < self.examination(attraction, offsets))
        starts = np.repeat(offsets[:-1], np.diff(offsets))
        return attracted & (_before(attracted.astype(np.int64), starts) == 0)


def simulate(
    collection: Collection,
    shown: Candidates,
    users: UserModel,
    *,
    sessions: int = 1,
    shuffled: float = 0.0,
    seed: int = 0,
) -> ClickLog:
    """The clicks of simulated users, who see the rankings `shown` and judge by the grades of the collection.

    `shown` has a row for each query of the collection, best first, as a search returns it; each is shown in so many
    `sessions`. In a share of them, `shuffled`, the documents come in an order that is drawn by chance. What is not
    judged has the grade 0. The log has the propensities that the users really have. Equal seeds give equal logs.

    Raises `BadInput` for rankings of other queries or of another corpus, and for users who never look at some document.
    """
    if not isinstance(sessions, (int, np.integer)) or sessions < 1 or not 0 <= shuffled <= 1:
        raise BadInput(
            f"sessions = {sessions!r}, shuffled = {shuffled}: a whole number from 1, and a share, are expected."
        )
    ids = [*collection.queries.ids]
    if [*(shown.query_ids or ids)] != ids or len(shown) != len(ids):
        raise BadInput(f"these rankings are not of the queries of {collection.name}: search with these.")
    refuse_other_corpus(shown, collection, "this ranking")
    random = np.random.default_rng(seed)
    grades = shown.lookup(collection.judgments, 0)
    most = float(collection.judgments.scores.max(initial=0))
    rows = np.repeat(np.arange(len(ids)), sessions)
    lists = shown.with_scores(users.attraction(grades, most)).take(rows).for_queries([ids[row] for row in rows])
    lists = _shuffled(lists, random.random(len(rows)) < shuffled, random)
    attraction = lists.scores.astype(np.float64)
    clicks = users.clicks(attraction, lists.offsets, random)
    return ClickLog(lists.with_scores(clicks), users.examination(attraction, lists.offsets).astype(np.float32))


def _shuffled(lists: Candidates, chosen: NDArray[np.bool_], random: np.random.Generator) -> Candidates:
    """The lists with the documents of the chosen ones in an order drawn by chance."""
    if not chosen.any():
        return lists
    places = np.arange(lists.pairs, dtype=np.float64)
    drawn = random.random(lists.pairs)
    order = np.lexsort((np.where(chosen[lists.rows], drawn, places), lists.rows))
    return Candidates(lists.offsets, lists.docs[order], lists.scores[order], lists.corpus, query_ids=lists.query_ids)


def _before(values: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
    """The sum of the values before each one in its list, which begins at `starts`, all `[pairs]`."""
    running = np.concatenate([np.zeros(1, values.dtype), np.cumsum(values)])
    return running[:-1] - running[starts]
