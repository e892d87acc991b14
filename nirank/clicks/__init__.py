"""Clicks: logs of what was shown and clicked, users to simulate, propensities, and collections to learn from clicks.

    log = simulate(train, shown, UserModel(eta=1.0), sessions=100)
    clicked = collection_of(log, train)
    nirank.fit(ranker, "weighted(ranknet)", clicked)

The labels of `clicked` are clicks, its weights inverse propensities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.clicks.estimating import by_expectation_maximisation as by_expectation_maximisation
    from nirank.clicks.estimating import from_shuffled as from_shuffled
    from nirank.clicks.log import ClickLog as ClickLog
    from nirank.clicks.log import read_clicks as read_clicks
    from nirank.clicks.log import write_clicks as write_clicks
    from nirank.clicks.users import UserModel as UserModel
    from nirank.clicks.users import simulate as simulate
    from nirank.clicks.weighing import collection_of as collection_of

_HOMES = {
    "nirank.clicks.estimating": ["by_expectation_maximisation", "from_shuffled"],
    "nirank.clicks.log": ["ClickLog", "read_clicks", "write_clicks"],
    "nirank.clicks.users": ["UserModel", "simulate"],
    "nirank.clicks.weighing": ["collection_of"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)
