"""The importance of features: by permutation, by the gains of trees, and by ablation (training without them).

    permutation_importance(scoring, collection)     what is lost when the values of a feature are shuffled
    gains(ranker)                                   how much each has lowered the objective of LightGBM's trees
    ablation(features, ranker, loss, train, test)   what is lost when a ranker is trained without it

Each returns plain rows, the most important first, which `nirank.experiments.report.rows_table` prints. Where two
features say the same, shuffling or leaving out either costs little: `groups` take several together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nirank
from nirank import confidence_intervals
from nirank.data import Candidates, Collection, Features, Floats
from nirank.errors import BadInput, UnknownName
from nirank.kit import score
from nirank.pipeline import Featured, FeatureSet, Scoring, Stage
from nirank_ltr.letor_features import GivenFeatures

Groups = Mapping[str, Sequence[str]]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Permuted:
    """The fall of a measure when a feature, or a group, is shuffled: the mean over shuffles, and their deviation."""

    feature: str
    drop: float
    deviation: float


@dataclass(frozen=True)
class Gain:
    """The sum by which the splits by a feature have lowered the objective, and its share of all that was gained."""

    feature: str
    gain: float
    share: float


@dataclass(frozen=True)
class Ablated:
    """The measure of a ranker that was trained without a feature, or a group; `without` is empty for that with all.

    `drop` is how much better the one with all is, `low` and `high` the 95 % bootstrap confidence interval of that over
    queries.
    """

    without: str
    value: float
    drop: float
    low: float
    high: float


def permutation_importance(
    scoring: Featured,
    collection: Collection,
    measure: str = "nDCG@10",
    repeats: int = 5,
    groups: Groups | None = None,
    seed: int = 0,
) -> list[Permuted]:
    """The fall of the measure of `features(...) >> ranker` on judged documents when a feature, or a group, is shuffled.

    Its values are shuffled `repeats` times among the documents of each query (Breiman, Random Forests, Machine Learning
    45, 2001; there among all), so that they keep the range that the query gives them: a feature that is the same for
    all documents of a query is worth nothing. The members of a group are shuffled together.

    Raises `UnknownName` for a feature in a group that there is not.
    """
    described = _described(scoring.features, collection)
    features = _features(described)

    def measured(values: Floats) -> float:
        pairs = described.with_features(Features(features.names, values))
        scores = score(scoring.ranker, collection.queries, pairs)
        return _mean(described.with_scores(scores), collection, measure)

    whole, random = measured(features.values), np.random.default_rng(seed)
    rows = []
    for name, members in _groups(groups, features.names).items():
        columns = [features.names.index(member) for member in members]
        drops = [whole - measured(_shuffled(features.values, columns, described, random)) for _ in range(repeats)]
        rows.append(Permuted(name, float(np.mean(drops)), float(np.std(drops))))
    return sorted(rows, key=lambda row: -row.drop)


def gains(ranker: Any) -> list[Gain]:
    """The gains of the features of a ranker of trees, `nirank.load("lightgbm")` or the object itself."""
    component = (ranker if isinstance(ranker, Stage) else nirank.load(ranker)).component
    of_features = component.method("gains")
    if of_features is None:
        raise BadInput(f"{component} has no trees and so no gains: use permutation_importance, or a ranker of trees.")
    found: dict[str, float] = of_features()
    whole = sum(found.values()) or 1.0
    return sorted((Gain(name, gain, gain / whole) for name, gain in found.items()), key=lambda row: -row.gain)


def ablation(
    features: FeatureSet,
    ranker: Callable[[], Any],
    loss: Any,
    train: Collection,
    test: Collection,
    dev: Collection | None = None,
    measure: str = "nDCG@10",
    groups: Groups | None = None,
    **options: Any,
) -> list[Ablated]:
    """Train a new ranker without each feature, or without each group, and with all of them; the last comes first.

    Features are computed once. `ranker` makes a new ranker each time it is called; `loss` (None for trees), `dev` and
    `options` are those of `nirank.fit`. What is ranked are the judged documents of `test`. Raises `UnknownName` for a
    feature in a group that there is not, `BadInput` where a group has all of them.
    """
    train, test = with_features(train, features), with_features(test, features)
    dev = dev and with_features(dev, features)
    names = _names(train)

    def values(without: Sequence[str]) -> Doubles:
        reading = nirank.features(GivenFeatures(_left(names, without)))
        fitted = nirank.fit(reading >> nirank.load(ranker()), loss, train, dev=dev, **options)
        return _values(reading >> fitted.stage, test, measure)

    left_out, whole = _groups(groups, names), values(())
    rows = [_ablated(name, values(members), whole) for name, members in left_out.items()]
    return [_ablated("", whole, whole), *sorted(rows, key=lambda row: -row.drop)]


def with_features(collection: Collection, features: FeatureSet) -> Collection:
    """The collection with its judged documents as `queries.found`, and their features: `given >> features(letor)`.

    So features that take long to compute are computed once.
    """
    described = _described(features, collection)
    return replace(collection, queries=collection.queries.with_found(described))


def _described(features: FeatureSet, collection: Collection) -> Candidates:
    """The judged documents with features, and without their labels."""
    judged = _within(collection)
    judged = judged.with_scores(np.zeros(judged.pairs))
    return judged.with_features(features.of(collection.queries, judged))


def _within(collection: Collection) -> Candidates:
    judged = collection.judgments.over(collection.corpus)
    return judged.where(judged.docs < len(collection.corpus))


def _names(collection: Collection) -> tuple[str, ...]:
    found = collection.queries.found
    return _features(found).names if found else ()


def _features(described: Candidates) -> Features:
    if described.features is None:
        raise BadInput("these pairs have no features: compute them with `with_features`.")
    return described.features


def _groups(groups: Groups | None, names: Sequence[str]) -> Groups:
    """The groups; by default every feature for itself."""
    chosen = groups if groups is not None else {name: (name,) for name in names}
    for member in (member for members in chosen.values() for member in members):
        if member not in names:
            raise UnknownName("feature", member, names)
    return chosen


def _left(names: Sequence[str], without: Sequence[str]) -> list[str]:
    kept = [name for name in names if name not in without]
    if not kept:
        raise BadInput(f"without {', '.join(without)} no feature is left: give smaller groups.")
    return kept


def _values(scoring: Scoring, collection: Collection, measure: str) -> Doubles:
    """The measure of each query, of its judged documents."""
    judged = _within(collection)
    ranked = judged.with_scores(scoring.score(collection.queries, judged)).ranked()
    return next(iter(nirank.evaluate(ranked, collection.judgments, [measure]).values.values()))


def _shuffled(values: Floats, columns: Sequence[int], pairs: Candidates, random: np.random.Generator) -> Floats:
    """The values with some columns in another order within each list, the same for all of them."""
    order = np.lexsort((random.random(pairs.pairs), pairs.rows))
    made = values.copy()
    made[:, columns] = values[order][:, columns]
    return made


def _mean(scored: Candidates, collection: Collection, measure: str) -> float:
    found: Iterable[float] = nirank.evaluate(scored.ranked(), collection.judgments, [measure]).mean.values()
    return next(iter(found))


def _ablated(name: str, values: Doubles, whole: Doubles) -> Ablated:
    drops = whole - values
    low, high = confidence_intervals(drops[None]).tolist()[0]
    return Ablated(name, float(values.mean()), float(drops.mean()), low, high)
