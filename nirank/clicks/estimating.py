"""Propensities of ranks, estimated from a log; that of the first rank is 1, for only their relations can be known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nirank.clicks.log import ClickLog
from nirank.errors import BadInput

#: A block of ranks that share a propensity has so many clicks.
_LEAST = 10


def from_shuffled(log: ClickLog, least: int = _LEAST) -> NDArray[np.float64]:
    """The propensity of each rank, `[ranks]`, from sessions whose documents were shown in an order drawn by chance.

    There documents of any rank attract alike, so that the share of clicks of a rank is proportional to its propensity
    (Joachims, Swaminathan and Schnabel, WSDM 2017, section 5.3; Wang et al., SIGIR 2016). Of a list the first ranks are
    shown more often, so each rank is compared over the lists that have it. Ranks with fewer than `least` clicks share a
    propensity with those after them. All sessions of the log must be shuffled ones: of others, what the ranker put
    first attracts more, which would be taken for where users look. Raises `BadInput` where every document was shown at
    one rank only, which is no chance, and for a log without clicks at its first ranks.
    """
    _refuse_still(_pairs(log), log.ranks)
    blocks, lengths = _blocks(log, least), log.shown.lengths
    clicks = np.bincount(log.ranks, log.clicked)
    first = np.zeros(len(lengths))
    first[log.shown.rows[(log.ranks == 0) & log.clicked]] = 1
    beside = np.bincount(lengths, first, len(clicks) + 1)[::-1].cumsum()[::-1][1:]  # of the lists that have the rank
    return _relative(np.bincount(blocks, clicks) / np.maximum(np.bincount(blocks, beside), 1e-12))[blocks]


def by_expectation_maximisation(log: ClickLog, rounds: int = 200, least: int = _LEAST) -> NDArray[np.float64]:
    """The propensity of each rank, `[ranks]`, from documents that were shown at several ranks to the same query.

    Expectation maximisation of the position-based model, with an attraction for each query and document and a
    propensity for each rank (Chuklin, Markov and de Rijke, Click Models for Web Search, 2015, section 4.1.3; regression
    EM of Wang et al., WSDM 2018, without its regression). Ranks with few clicks are joined as in `from_shuffled`.
    Raises `BadInput` where no document was shown at two ranks: then nothing tells rank from attraction.
    """
    blocks = _blocks(log, least)
    places, pairs = blocks[log.ranks], _pairs(log)
    _refuse_still(pairs, log.ranks)
    clicked = log.clicked
    share = np.full(places.max(initial=0) + 1, 0.5)
    attraction = np.full(pairs.max(initial=0) + 1, 0.5)
    shown, appeared = np.bincount(places), np.bincount(pairs)
    for _ in range(rounds):
        looked, liked = share[places], attraction[pairs]
        no_click = np.maximum(1 - looked * liked, 1e-12)
        share = np.bincount(places, np.where(clicked, 1.0, looked * (1 - liked) / no_click)) / shown
        attraction = np.bincount(pairs, np.where(clicked, 1.0, liked * (1 - looked) / no_click)) / appeared
    return _relative(share)[blocks]


def _blocks(log: ClickLog, least: int) -> NDArray[np.int64]:
    """The block of each rank, `[ranks]`: ranks in a row with at least so many clicks together."""
    clicks = np.bincount(log.ranks, log.clicked, log.shown.longest)
    if clicks.sum() < least:
        raise BadInput(f"the log has {int(clicks.sum())} clicks, too few to know where users look; {least} are needed.")
    blocks, gathered, number = np.zeros(len(clicks), np.int64), 0.0, 0
    for rank, count in enumerate(clicks.tolist()):
        blocks[rank], gathered = number, gathered + count
        if gathered >= least:
            number, gathered = number + 1, 0.0
    last = number - 1 if gathered < least else number
    return np.minimum(blocks, max(last, 0))


def _pairs(log: ClickLog) -> NDArray[np.int64]:
    """The number of the query and document of each shown one, `[pairs]`."""
    ids = [*(log.shown.query_ids or ())]
    numbers = {query: number for number, query in enumerate(dict.fromkeys(ids))}
    return log.pairs_of(np.array([numbers[query] for query in ids], np.int64))[2]


def _refuse_still(pairs: NDArray[np.int64], ranks: NDArray[np.int64]) -> None:
    first = np.zeros(pairs.max(initial=0) + 1, np.int64)
    first[pairs] = ranks
    if (first[pairs] == ranks).all():
        raise BadInput(
            "every document was shown at one rank only, so that nothing tells where users look from what they like: "
            "log sessions with other rankings, or shuffled ones."
        )


def _relative(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares as parts of the first, none above it."""
    if not shares[0]:
        raise BadInput("nothing was clicked at the first ranks, and so no propensity can be compared with theirs.")
    return np.minimum(shares / shares[0], 1.0)
