"""What features are worth, where it is known: the first tells the label, the second half of it, the third nothing."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("lightgbm")

from rich.console import Console

import nirank
from nirank.data import Candidates, Collection, Documents, Features, Queries
from nirank.errors import BadInput, UnknownName
from nirank.experiments.report import rows_table
from nirank_ltr.importance import ablation, gains, permutation_importance, with_features
from nirank_ltr.letor_features import GivenFeatures
from nirank_ltr.linear import Linear
from nirank_ltr.ranker import RankerSettings

NAMES = ("good", "fair", "noise", "query", "twin")


def _collection(seed, queries=60, length=12):
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, 3, queries * length).astype(np.float32)
    good = labels + chance.normal(0, 0.3, len(labels))
    fair = labels + chance.normal(0, 3, len(labels))
    same = np.repeat(chance.random(queries), length)  # of a query, and so without use
    values = np.column_stack([good, fair, chance.random(len(labels)), same, good])
    docs = np.tile(np.arange(length), queries)
    corpus = Documents([f"d{doc}" for doc in range(length)], ["text"] * length)
    judged = Candidates(np.arange(queries + 1) * length, docs, labels, corpus)
    found = judged.with_scores(labels * 0).with_features(Features(NAMES, values))
    asked = Queries.of([f"query {number}" for number in range(queries)]).with_found(found)
    return Collection(f"made {seed}", corpus, asked, judged)


def _features(names):
    return nirank.features(GivenFeatures(names))


@pytest.fixture(scope="module")
def scoring():
    fitted = nirank.fit(
        _features(NAMES[:4]) >> Linear(RankerSettings(device="cpu")),
        "ranknet",
        _collection(0),
        epochs=20,
        batch_size=20,
        learning_rate=0.05,
        schedule="constant",
    )
    return _features(NAMES[:4]) >> fitted.stage


def test_what_is_lost_by_shuffling_follows_what_a_feature_says(scoring):
    rows = permutation_importance(scoring, _collection(1), repeats=3)
    drops = {row.feature: row.drop for row in rows}
    assert rows[0].feature == "good"
    assert drops["good"] > 0.2
    assert abs(drops["noise"]) < 0.03
    assert drops["query"] == 0  # within a query it is the same
    assert [row.drop for row in rows] == sorted(drops.values(), reverse=True)
    assert rows == permutation_importance(scoring, _collection(1), repeats=3)
    assert rows != permutation_importance(scoring, _collection(1), repeats=3, seed=1)


def test_a_group_is_shuffled_together(scoring):
    groups = {"signals": ["good", "fair"], "rest": ["noise", "query"]}
    rows = permutation_importance(scoring, _collection(1), groups=groups, measure="AP")
    assert [row.feature for row in rows] == ["signals", "rest"]
    with pytest.raises(UnknownName, match=r"no feature 'godo'. Did you mean 'good'"):
        permutation_importance(scoring, _collection(1), groups={"x": ["godo"]})


def test_shuffling_moves_values_within_lists_alone():
    from nirank_ltr.importance import _shuffled

    pairs = Candidates.of([[0, 1, 2], [], [0, 1]])
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    made = _shuffled(values, [0, 2], pairs, np.random.default_rng(1))
    np.testing.assert_array_equal(made[:, 1], values[:, 1])
    np.testing.assert_array_equal(made[:, 2] - made[:, 0], [2] * 5)
    for part in (slice(0, 3), slice(3, 5)):
        assert sorted(made[part, 0]) == values[part, 0].tolist()
    assert (made != values).any()


def test_gains_are_those_of_the_trees():
    ranker = nirank.load("lightgbm", trees=20, threads=1)
    nirank.fit(_features(NAMES[:4]) >> ranker, None, _collection(0))
    rows = gains(ranker)
    assert rows[0].feature == "good"
    assert rows[0].share > 0.5
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert rows == gains(ranker.component.target)
    with pytest.raises(BadInput, match="has no trees"):
        gains(nirank.load("linear"))


def test_what_is_lost_without_a_feature_is_what_no_other_says():
    options = {"epochs": 10, "batch_size": 20, "learning_rate": 0.1, "schedule": "constant"}
    groups = {"good": ["good"], "both": ["good", "twin"], "noise": ["noise"]}
    rows = ablation(
        _features(NAMES),
        lambda: Linear(RankerSettings(device="cpu")),
        "ranknet",
        _collection(0),
        _collection(1),
        groups=groups,
        **options,
    )
    found = {row.without: row for row in rows}
    assert [row.without for row in rows][:2] == ["", "both"]
    assert (found[""].drop, found[""].low, found[""].high) == (0, 0, 0)
    assert found["both"].low > 0.1
    assert abs(found["good"].drop) < 0.02 > abs(found["noise"].drop)
    for row in rows:
        assert row.value == pytest.approx(found[""].value - row.drop)
        assert row.low <= row.drop <= row.high
    with pytest.raises(BadInput, match="no feature is left"):
        ablation(_features(["good"]), Linear, "ranknet", _collection(0), _collection(1))


def test_described_once_a_collection_brings_its_features():
    class Length:
        names = ("length",)
        asked = 0

        def extract(self, queries, candidates):
            self.asked += 1
            return np.ones((candidates.pairs, 1), np.float32) * candidates.docs[:, None]

    extractor, made = Length(), _collection(2)
    described = with_features(made, nirank.features(extractor))
    assert described.judgments is made.judgments
    for _ in range(3):
        values = nirank.features(GivenFeatures()).of(described.queries, made.judgments).values
    np.testing.assert_array_equal(values[:, 0], made.judgments.docs)
    assert extractor.asked == 1


def test_rows_are_printed_as_a_table():
    console = Console(file=StringIO(), width=80)
    ranker = nirank.load("lightgbm", trees=3, threads=1)
    nirank.fit(_features(NAMES[:2]) >> ranker, None, _collection(0))
    rows = gains(ranker)
    console.print(rows_table(rows, "Gains"))
    told = console.file.getvalue()
    assert "Gains" in told
    assert all(word in told for word in ("feature", "share", "good", f"{rows[0].gain:.4f}"))
    console.print(rows_table([]))
