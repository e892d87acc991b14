"""Folds by queries: how they are dealt, that no query is seen in its own, and one table of all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.data.folds import Fold, folds_of
from nirank.errors import BadInput, DamagedFile, UnknownName
from tests.named_toys import named

COUNT = 60
SEARCHED: list[list[str]] = []


def toy(fold=None, split=None, count=COUNT):
    """Query n has the relevant document n; the collection's own folds are by n modulo 3."""
    corpus = Documents([f"d{n}" for n in range(COUNT)], [f"text {n}" for n in range(COUNT)])
    rows = range(count)
    if split:
        own = {"test": fold - 1, "vali": fold % 3, "train": (fold + 1) % 3}[split]
        rows = [n for n in rows if n % 3 == own]
    return Collection(
        "folded",
        corpus,
        Queries([f"q{n}" for n in rows], [str(n) for n in rows]),
        Candidates.of([[n] for n in rows], [[1]] * len(rows)),
    )


class Shifts:
    """Puts the right document at a rank that depends on the setting and on the query: even and odd ones disagree."""

    def __init__(self, at: int = 0) -> None:
        self.at = at

    def generate(self, queries, k):
        SEARCHED.append(list(queries.ids))
        rows = []
        for text in queries.contents:
            n = int(text)
            rank = self.at if n % 4 else 3 - self.at
            others = [doc for doc in range(COUNT) if doc != n][:9]
            rows.append(others[:rank] + [n] + others[rank:])
        return Candidates.of(rows, [[10.0 - rank for rank in range(10)]] * len(rows)).top(k)


@pytest.fixture(autouse=True)
def _registered():
    SEARCHED.clear()
    with named({"collection/foldtoy": toy, "generator/shifts": Shifts}):
        yield


def _interrupted(monkeypatch, at):
    """Interrupt the training of this number; returns the folds in which something was trained, as they come."""
    from nirank.experiments.recipe import Recipe

    fit, numbers = Recipe.fit, []

    def failing(self, stages, rankings, out, fold=None):
        numbers.append(fold.number)
        if len(numbers) == at:
            raise KeyboardInterrupt
        return fit(self, stages, rankings, out, fold)

    monkeypatch.setattr(Recipe, "fit", failing)
    return numbers


def _ids(part):
    return set(part.queries.ids)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_query_is_measured_once_and_never_in_what_its_fold_has_seen(count):
    collection = toy()
    made = nirank.folds(collection, count)
    assert [fold.number for fold in made] == list(range(1, count + 1))
    assert sorted(name for fold in made for name in fold.test.queries.ids) == sorted(collection.queries.ids)
    for fold in made:
        parts = [_ids(part) for part in (fold.train, fold.dev, fold.test)]
        assert set.union(*parts) == _ids(collection)
        assert sum(map(len, parts)) == COUNT
        assert bool(parts[1]) == (count > 2)
    following = made[1:] + made[:1]
    if count > 2:
        assert all(_ids(fold.dev) == _ids(after.test) for fold, after in zip(made, following, strict=True))


def test_queries_that_are_added_move_no_others():
    few, many = nirank.folds(toy(count=40), 4), nirank.folds(toy(count=60), 4)
    for one, other in zip(few, many, strict=True):
        assert _ids(one.test) == {name for name in _ids(other.test) if int(name[1:]) < 40}
    assert {frozenset(_ids(fold.test)) for fold in nirank.folds(toy(), 4, seed=1)} != {
        frozenset(_ids(fold.test)) for fold in many
    }
    reverse = toy().take(np.arange(COUNT)[::-1])
    assert [_ids(fold.test) for fold in nirank.folds(reverse, 4)] == [_ids(fold.test) for fold in many]


def test_a_query_that_is_seen_in_its_own_fold_is_refused():
    collection = toy()
    part = [collection.take(np.arange(start, start + 20)) for start in (0, 20, 40)]
    Fold(1, *part)
    overlapping = collection.take(np.arange(10, 30))
    for train, dev in ((part[0], overlapping), (overlapping, part[1])):
        with pytest.raises(BadInput, match="fold 1 would choose by 10 queries that it learns from"):
            Fold(1, train, dev, part[2])
    with pytest.raises(BadInput, match="measured on 20 queries that it learns from or chooses by, such as 'q0'"):
        Fold(1, part[0], part[1], part[0])


def test_known_folds_must_measure_every_query_once():
    ids = toy().queries.ids
    first, second = ids[:30], ids[30:]
    assert len(folds_of(toy(), [(first, [], second), (second, [], first)])) == 2
    with pytest.raises(BadInput, match="30 queries are measured in no fold"):
        folds_of(toy(), [(first, [], second)])
    with pytest.raises(BadInput, match="is measured in two folds"):
        folds_of(toy(), [(first, [], second), (first, [], second)])
    with pytest.raises(BadInput, match="'other', which is not in folded"):
        folds_of(toy(), [(["other"], [], second)])


@pytest.mark.parametrize("count", [1, 0, True, 2.5, 50])
def test_folds_that_make_no_sense_are_refused(count):
    with pytest.raises(BadInput, match=r"folds from 2 on|too few for so many"):
        nirank.folds(toy(), count)


def _table(**more):
    tune = {"shifts": {"at": [0, 1, 2, 3]}}
    return {
        "collection": "foldtoy", "pipeline": "shifts", "evaluate": {"measures": ["RR@10"]},
        "tune": tune, "folds": {"count": 4}, **more,
    }  # fmt: skip


def _reciprocal(n, at):
    return 1 / (1 + (at if n % 4 else 3 - at))


def test_settings_are_chosen_by_the_queries_of_other_folds_and_all_queries_are_in_one_table(tmp_path):
    results = nirank.run(_table(), tmp_path / "out")
    evaluation = next(iter(results.systems.values())).evaluation
    assert evaluation.query_ids == toy().queries.ids
    expected = {}
    for fold, row in zip(nirank.folds(toy(), 4), results.folds, strict=True):
        others = [int(name[1:]) for name in [*fold.train.queries.ids, *fold.dev.queries.ids]]
        best = max(range(4), key=lambda at: (np.mean([_reciprocal(n, at) for n in others]), -at))
        assert row.settings == {"shifts.at": best}
        assert (row.train, row.dev, row.test) == tuple(len(part.queries) for part in (fold.train, fold.dev, fold.test))
        expected |= {name: _reciprocal(int(name[1:]), best) for name in fold.test.queries.ids}
    assert evaluation.values["RR@10"].tolist() == [expected[name] for name in evaluation.query_ids]
    assert json.loads((tmp_path / "out" / "folds.json").read_text())[0]["settings"] == results.folds[0].settings
    assert len(nirank.read_run(next((tmp_path / "out").glob("*.run"))).query_ids) == COUNT
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "the folder to work in goes"
    trials = [asked for asked in SEARCHED if len(asked) == COUNT]
    assert len(trials) == 4, "each setting is tried once, for all folds"


def test_folds_of_the_collection_are_used_as_they_are():
    results = nirank.run(_table(folds={"by": "collection", "count": 3}))
    assert [(row.train, row.dev, row.test) for row in results.folds] == [(20, 20, 20)] * 3
    with pytest.raises(BadInput, match="measured in no fold"):
        nirank.run(_table(folds={"by": "collection", "count": 2}))


def test_several_seeds_have_a_mean_with_an_interval(tmp_path):
    tune = {"shifts": {"at": {"low": 0, "high": 3}}, "method": "random", "trials": 2}
    results = nirank.run(_table(tune=tune, folds={"count": 3, "seeds": [1, 2, 3, 4]}), tmp_path / "out")
    (row,) = results.over_seeds()
    values = [each.systems["experiment"].evaluation["RR@10"] for each in (results, *results.repeated)]
    assert list(row.values) == values
    from scipy import stats

    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (row.mean, row.low, row.high) == pytest.approx((np.mean(values), low, high))
    assert {path.name for path in (tmp_path / "out").glob("seed-*")} == {"seed-2", "seed-3", "seed-4"}
    assert json.loads((tmp_path / "out" / "seeds.json").read_text())[0]["measure"] == "RR@10"
    assert nirank.run(_table()).over_seeds() == []


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"folds": {"count": 1}}, BadInput, "from 2 on"),
        ({"folds": {"cont": 4}}, UnknownName, "Did you mean 'count'"),
        ({"folds": {"by": "hsh"}}, UnknownName, "Did you mean 'hash'"),
        ({"folds": {"seeds": [0, 0]}}, BadInput, "different whole numbers"),
        ({"tune": {}}, BadInput, "nothing is trained or tuned"),
        ({"tune": {"shifts": {"at": [1]}, "collection": "foldtoy"}}, BadInput, "given by .folds.: leave it out"),
        (
            {"tune": {"shifts": {"at": [1, 2]}, "halving": 2}},
            BadInput,
            "would choose by the queries of the fold itself",
        ),
    ],
)
def test_a_wrong_table_is_refused(more, error, message):
    with pytest.raises(error, match=message):
        nirank.run(_table(**more))


def test_the_command_that_fits_is_told():
    with pytest.raises(BadInput, match="nirank run"):
        nirank.tune(_table())


LETOR = """
1 qid:{q} 1:{a} 2:0.{n} # docid = d{q}a
0 qid:{q} 1:{b} 2:0.{n} # docid = d{q}b
"""


def _letor(folder, queries=60):
    """Five parts as LETOR has them; the first feature is right, where it is learned with a positive weight."""
    folder.mkdir()
    for part in range(5):
        rows = range(part, queries, 5)
        lines = [LETOR.format(q=n, a=2 + n % 3, b=1 + n % 3, n=n).strip() for n in rows]
        (folder / f"S{part + 1}.txt").write_text("\n".join([*lines, ""]))
    return f"letor:{folder}"


def test_stages_are_trained_in_each_fold_without_its_own_queries(tmp_path, monkeypatch):
    from nirank.experiments.recipe import Recipe

    fitted = []
    fit = Recipe.fit

    def noting(self, stages, rankings, out, fold=None):
        fitted.append((fold.number, _ids(fold.train), _ids(fold.dev)))
        return fit(self, stages, rankings, out, fold)

    monkeypatch.setattr(Recipe, "fit", noting)
    table = {
        "collection": _letor(tmp_path / "data"), "pipeline": "given >> features(letor) >> linear",
        "stage": {"letor": {"use": "extractor/letor"}},
        "train": {"linear": {"loss": "ranknet", "epochs": 2, "learning_rate": 0.1}},
        "folds": {"by": "collection"}, "evaluate": {"measures": ["RR@10"]},
    }  # fmt: skip
    results = nirank.train(table, tmp_path / "out")
    assert [number for number, _, _ in fitted] == [1, 2, 3, 4, 5]
    for number, train, dev in fitted:
        own = {str(n) for n in range(60) if n % 5 == (number + 3) % 5}
        assert not own & (train | dev)
        assert len(train) == 36
    evaluation = next(iter(results.systems.values())).evaluation
    assert len(evaluation) == 60
    assert (tmp_path / "out" / "results" / "folds.json").exists()
    assert len(list((tmp_path / "out").glob("fold-*/*/linear"))) == 5
    with pytest.raises(BadInput, match=r"collection is given by \[folds\]"):
        nirank.train(table | {"train": {"linear": {"loss": "ranknet", "collection": "x"}}}, tmp_path / "no")


def test_settings_of_trained_stages_are_chosen_on_dev_and_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    count = _interrupted(monkeypatch, at=5)
    table = {
        "collection": _letor(tmp_path / "data"), "pipeline": "given >> features(letor) >> trees",
        "stage": {"letor": {"use": "extractor/letor"}, "trees": {"use": "scorer/lightgbm", "trees": 3}},
        "train": {"trees": {}}, "tune": {"trees": {"leaves": [2, 3]}},
        "folds": {"count": 3}, "evaluate": {"measures": ["RR@10"]},
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        nirank.train(table, tmp_path / "out")
    results = nirank.train(table, tmp_path / "out")
    assert count == [1, 1, 2, 2, 3, 3, 3], "two settings a fold; what was trained is not trained again"
    assert [set(row.settings) for row in results.folds] == [{"trees.leaves"}] * 3


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize(
    "change",
    [
        {"folds": {"count": 3, "seed": 7}},  # other folds: what was trained has seen queries that are measured now
        {"folds": {"count": 3, "seeds": [3]}},
        {"seed": 5},
        {"train": {"linear": {"loss": "listnet", "learning_rate": 0.1}}},
    ],
)
def test_what_was_trained_in_other_folds_or_otherwise_is_not_gone_on_with(tmp_path, monkeypatch, command, change):
    numbers = _interrupted(monkeypatch, at=2)
    table = {
        "collection": _letor(tmp_path / "data"), "pipeline": "given >> features(letor) >> linear",
        "stage": {"letor": {"use": "extractor/letor"}},
        "train": {"linear": {"loss": "ranknet", "learning_rate": 0.1}},
        "folds": {"count": 3}, "evaluate": {"measures": ["RR@10"]},
    }  # fmt: skip
    do = nirank.run if command == "run" else nirank.train
    with pytest.raises(KeyboardInterrupt):
        do(table, tmp_path / "out")
    with pytest.raises(BadInput, match=f"another experiment.*: {next(iter(change))} differ"):
        do(table | change, tmp_path / "out")
    do(table, tmp_path / "out")
    assert numbers == [1, 2, 2, 3]


def test_folds_of_a_collection_that_has_changed_are_not_gone_on_with(tmp_path, monkeypatch):
    from nirank.experiments import cross_validation

    def interrupted(*given):
        raise KeyboardInterrupt

    table = _table(collection={"use": "foldtoy", "count": 60})
    with monkeypatch.context() as patched:
        patched.setattr(cross_validation, "run_systems", interrupted)
        with pytest.raises(KeyboardInterrupt):
            nirank.run(table, tmp_path / "out")
    with pytest.raises(BadInput, match=r"another experiment.*: queries, judgments differ"):
        nirank.run(table | {"collection": {"use": "foldtoy", "count": 40}}, tmp_path / "out")
    (tmp_path / ".out.folds" / "work.json").write_text("[")
    with pytest.raises(DamagedFile, match="is damaged"):
        nirank.run(table, tmp_path / "out")
