"""Lists with the features that a ranker reads: of judged pairs computed once, of others as they come.

Features that depend on the list, such as normalised scores, are computed anew for every list, of all of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.features import Features
from nirank.data.queries import Queries
from nirank.data.types import Ints
from nirank.pipeline.feature_ranking import FeatureSet
from nirank.training.batch import unlabelled


class Describer:
    """Gives lists of a collection their features; `collection` is that collection, its judged pairs described."""

    def __init__(self, features: FeatureSet, collection: Collection) -> None:
        self.features, self.whole = features, features.listwise
        self.collection = replace(collection, judgments=described(features, collection.queries, collection.judgments))

    def __call__(self, rows: Ints, queries: Queries, candidates: Candidates) -> Candidates:
        """The lists of `queries`, which are the given `rows` of the collection, with features."""
        if self.whole:
            return described(self.features, queries, candidates)
        judged = self.collection.judgments.take(rows)
        places = candidates.places(judged)
        known = places >= 0
        if known.all():
            return candidates.with_features(judged.features and judged.features.take(places))
        others = self.features.of(queries, unlabelled(candidates.where(~known)))
        values = np.empty((candidates.pairs, len(others.names)), np.float32)
        values[~known] = others.values
        if judged.features:
            values[known] = judged.features.values[places[known]]
        return candidates.with_features(Features(others.names, values))


def described(features: FeatureSet, queries: Queries, candidates: Candidates) -> Candidates:
    """The pairs with their features, which do not see what is a label here."""
    return candidates.with_features(features.of(queries, unlabelled(candidates)))
