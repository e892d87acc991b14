"""Tuning: what a table [tune] may say, what is tried in which order, what is shared, and what a kill leaves."""

from __future__ import annotations

import itertools
import json
import math
import time
import tomllib
from dataclasses import replace

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, NirankError, UnknownName
from nirank.experiments.experiment import Experiment
from nirank.experiments.journal import Journal
from nirank.experiments.space import Choice, Range
from nirank.experiments.trials import parts_of
from nirank.pipeline.named_numbers import with_numbers
from tests.named_toys import named

QUERIES = 40
CALLS: list[tuple[str, float]] = []


def toy(split="test", count=QUERIES):
    """Query n of a split is about document n; the scorer below finds it where its settings are right for n."""
    corpus = Documents([f"d{n}" for n in range(QUERIES)], [f"text {n}" for n in range(QUERIES)])
    ids = [f"{split}{n}" for n in range(count)]
    queries = Queries(ids, [str(n) for n in range(count)])
    return Collection(f"toy/{split}", corpus, queries, Candidates.of([[n] for n in range(count)], [[1]] * count))


class Finds:
    """Finds ten documents, the right one first where `a` is near 3 by the number of the query, else last."""

    def __init__(self, a: float = 0.0, b: int = 0, mode: str = "x") -> None:
        if a > 50:
            raise BadInput(f"a = {a}; it must be 50 or less.")
        self.a, self.b, self.mode = a, b, mode

    def generate(self, queries, k):
        CALLS.append(("generate", self.a))
        rows = []
        for text in queries.contents:
            n = int(text)
            wrong = abs(self.a - 3) * 10 + abs(self.b - 2) > n % 37
            others = [doc for doc in range(QUERIES) if doc != n][:9]
            rows.append([*others, n] if wrong else [n, *others])
        return Candidates.of(rows, [[10.0 - rank for rank in range(10)]] * len(rows)).top(k)


class Scores:
    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def score(self, queries, candidates):
        CALLS.append(("score", self.sign))
        return self.sign * candidates.scores


@pytest.fixture(autouse=True)
def _registered():
    CALLS.clear()
    with named({"collection/tunetoy": toy, "generator/finds": Finds, "scorer/scores": Scores}):
        yield


def _table(tune, **more):
    dev = {"collection": {"use": "tunetoy", "split": "dev"}}
    return {
        "collection": "tunetoy", "pipeline": "finds", "evaluate": {"measures": ["RR@10", "AP"]},
        "tune": dev | tune, **more
    }  # fmt: skip


GRID = {"finds": {"a": [0.0, 2.0, 3.0], "b": {"low": 0, "high": 4}}}


def _slowly(a, b):
    """The mean reciprocal rank, query by query."""
    return sum(0.1 if abs(a - 3) * 10 + abs(b - 2) > n % 37 else 1.0 for n in range(QUERIES)) / QUERIES


def test_a_grid_tries_every_combination_and_keeps_every_value(tmp_path):
    tuned = nirank.tune(_table(GRID), tmp_path / "out")
    assert [tuple(trial.settings.values()) for trial in tuned.trials] == list(
        itertools.product([0.0, 2.0, 3.0], range(5))
    )
    for trial in tuned.trials:
        assert trial.mean("RR@10") == pytest.approx(_slowly(*trial.settings.values()))
    assert tuned.best.settings == {"finds.a": 3.0, "finds.b": 2}
    assert tuned.values().shape == (15, QUERIES)
    assert tuned.values("AP").mean(axis=1)[tuned.best.number] == tuned.best.mean("AP")
    with pytest.raises(UnknownName, match=r"measure.*P@5"):
        tuned.values("P@5")
    lines = (tmp_path / "out" / "trials.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["trial", "finds.a", "finds.b", "RR@10", "AP", "queries", "error"]
    assert len(lines) == 16
    assert "3.0 is the largest value that was tried" in " ".join(tuned.notes())
    assert "b = 2" not in " ".join(tuned.notes())


def test_the_best_settings_are_an_experiment_that_runs(tmp_path):
    tuned = nirank.tune(_table(GRID), tmp_path / "out")
    written = tmp_path / "out" / "experiment.toml"
    assert tomllib.loads(written.read_text())["stage"] == {"finds": {"a": 3.0, "b": 2}}
    run = nirank.run(written)
    assert run.systems["tuned" if "tuned" in run.systems else next(iter(run.systems))].evaluation["RR@10"] == _slowly(
        3, 2
    )
    assert nirank.run(tuned.resolved).measures() is not None
    with pytest.raises(BadInput, match="nirank tune"):
        nirank.run(_table(GRID))
    with pytest.raises(BadInput, match="nothing to tune"):
        nirank.tune(written)


def test_a_killed_study_goes_on_and_ends_as_if_it_had_not_been_killed(tmp_path):
    for options in ({}, {"method": "random", "trials": 9}, {"halving": 2}):
        name = "-".join(options) or "grid"
        whole = nirank.tune(_table(GRID | options), tmp_path / f"{name}-whole")
        lines = (tmp_path / f"{name}-whole" / "trials.jsonl").read_text().splitlines(keepends=True)
        for kept in (1, 4, len(lines)):
            folder = tmp_path / f"{name}-{kept}"
            folder.mkdir()
            torn = "" if kept == len(lines) else lines[kept][:20]  # as a kill in the middle of a line leaves it
            (folder / "trials.jsonl").write_text("".join(lines[:kept]) + torn)
            CALLS.clear()
            again = nirank.tune(_table(GRID | options), folder)
            assert len(CALLS) == len(lines) - kept or (options.get("method") == "random" and len(CALLS) < len(lines))
            assert again.best.settings == whole.best.settings
            np.testing.assert_array_equal(again.values("AP"), whole.values("AP"))
            assert len((folder / "trials.jsonl").read_text().splitlines()) == len(lines)


def test_a_folder_of_another_study_is_refused_and_so_is_a_damaged_one(tmp_path):
    nirank.tune(_table(GRID), tmp_path / "out")
    with pytest.raises(BadInput, match="another tuning: tune differ"):
        nirank.tune(_table({"finds": {"a": [0.0, 1.0]}}), tmp_path / "out")
    journal = tmp_path / "out" / "trials.jsonl"
    journal.write_text(journal.read_text().replace('"part"', '"pat"', 1))
    with pytest.raises(BadInput, match="is damaged"):
        nirank.tune(_table(GRID), tmp_path / "out")


@pytest.mark.parametrize("kept", [0, 1, 30])
def test_a_study_that_was_killed_in_its_first_line_begins_anew(tmp_path, kept):
    whole = nirank.tune(_table(GRID), tmp_path / "whole")
    written = (tmp_path / "whole" / "trials.jsonl").read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trials.jsonl").write_bytes(written[:kept])
    again = nirank.tune(_table(GRID), tmp_path / "out")
    assert again.best.settings == whole.best.settings
    assert len((tmp_path / "out" / "trials.jsonl").read_bytes().splitlines()) == len(written.splitlines())


def test_a_journal_holds_every_text_and_is_read_up_to_a_letter_that_was_cut(tmp_path):
    texts = ["a\x85b", "c\u2028d", "\udc80", "größer"]  # of which the first two end a line for Python
    journal = Journal(tmp_path / "j", {"head": texts})
    for number, text in enumerate(texts):
        journal.keep(number, 0, {"error": text})
    written = (tmp_path / "j").read_bytes()
    assert [record["error"] for record in Journal(tmp_path / "j", {"head": texts}).known.values()] == texts
    cut = written.rindex("ö".encode()) + 1  # in the middle of two bytes
    (tmp_path / "j").write_bytes(written[:cut])
    assert [record["error"] for record in Journal(tmp_path / "j", {"head": texts}).known.values()] == texts[:3]
    assert (tmp_path / "j").read_bytes() == written[: written.rindex(b"\n", 0, cut) + 1]


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "experiment.toml").write_text("of a run\n")
    with pytest.raises(BadInput, match="exists already"):
        nirank.tune(_table(GRID), tmp_path / "out")
    assert (tmp_path / "out" / "experiment.toml").read_text() == "of a run\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("changed", ["judgments", "queries"])
def test_a_study_of_other_judgments_or_texts_of_queries_is_refused(tmp_path, monkeypatch, changed):
    opened = toy("dev")
    monkeypatch.setattr(Experiment, "opened", lambda experiment, table: opened)
    nirank.tune(_table(GRID), tmp_path / "out")
    if changed == "judgments":
        opened = replace(opened, judgments=Candidates.of([[0]] * QUERIES, [[1]] * QUERIES))
    else:
        opened = replace(opened, queries=Queries(opened.queries.ids, [*opened.queries.contents[1:], "0"]))
    with pytest.raises(BadInput, match="another tuning: judgments differ"):
        nirank.tune(_table(GRID), tmp_path / "out")


def test_a_trial_that_fails_is_told_with_its_settings_and_the_others_go_on(tmp_path, caplog):
    tuned = nirank.tune(_table({"finds": {"a": [3.0, 99.0, 1.0]}}), tmp_path / "out")
    assert [trial.error is None for trial in tuned.trials] == [True, False, True]
    assert "trial 1 (finds.a = 99.0) failed" in caplog.text
    assert "it must be 50 or less" in caplog.text
    assert tuned.best.number == 0
    assert "1 of them failed." in tuned.notes()
    assert "50 or less" in (tmp_path / "out" / "trials.tsv").read_text()
    assert math.isnan(tuned.values()[1, 0])
    with pytest.raises(BadInput, match=r"every trial failed.*finds.a = 98.0.*50 or less"):
        nirank.tune(_table({"finds": {"a": [99.0, 98.0]}}))


def test_a_trial_that_has_failed_is_tried_again_when_the_study_goes_on(tmp_path, monkeypatch):
    generate = Finds.generate

    def failing(self, queries, k):
        if self.a == 2.0:
            raise OSError("no network")
        return generate(self, queries, k)

    with monkeypatch.context() as patched:
        patched.setattr(Finds, "generate", failing)
        before = nirank.tune(_table(GRID), tmp_path / "out")
    assert sum(trial.error is not None for trial in before.trials) == 5
    CALLS.clear()
    again = nirank.tune(_table(GRID), tmp_path / "out")
    assert CALLS == [("generate", 2.0)] * 5, "and nothing else is"
    assert not any(trial.error for trial in again.trials)
    np.testing.assert_array_equal(again.values(), nirank.tune(_table(GRID)).values())


def test_a_record_of_other_settings_is_not_taken_for_those_of_the_trial(tmp_path):
    """Another version of what draws or proposes settings may do so otherwise."""
    whole = nirank.tune(_table(GRID), tmp_path / "out")
    journal = tmp_path / "out" / "trials.jsonl"
    journal.write_text(journal.read_text().replace('{"finds.a": 3.0, "finds.b": 2}', '{"finds.a": 7.0, "finds.b": 2}'))
    CALLS.clear()
    assert nirank.tune(_table(GRID), tmp_path / "out").best.settings == whole.best.settings
    assert CALLS == [("generate", 3.0)]


def test_queries_of_dev_that_are_asked_under_another_id_are_told(caplog):
    nirank.tune(_table({"finds": {"a": [1.0]}}))
    assert "40 queries that choose the settings have the text of one that measures them, such as 'dev0'" in caplog.text


def test_the_first_of_equals_is_the_best():
    tuned = nirank.tune(_table({"finds": {"mode": ["x", "y", "z"]}}))
    assert tuned.best.number == 0
    assert "3 of them are equally good; the first of these is taken." in tuned.notes()
    assert "equally" not in " ".join(nirank.tune(_table(GRID)).notes())


def test_random_settings_are_those_of_the_seed_and_within_their_ranges():
    space = {"finds": {"a": {"low": 0.5, "high": 8.0, "log": True}, "b": {"low": 1, "high": 3}, "mode": ["x", "y"]}}
    one, same, other = (
        nirank.tune(_table(space | {"method": "random", "trials": 60}, seed=seed)) for seed in (1, 1, 2)
    )
    settings = [[trial.settings for trial in tuned.trials] for tuned in (one, same, other)]
    assert settings[0] == settings[1] != settings[2]
    values = np.array([row["finds.a"] for row in settings[0]])
    assert values.min() >= 0.5
    assert values.max() <= 8
    assert 0.3 < np.mean(values < 2) < 0.7, "half of the logarithms lie below 2"
    assert {row["finds.b"] for row in settings[0]} == {1, 2, 3}
    assert {row["finds.mode"] for row in settings[0]} == {"x", "y"}


def test_halving_measures_few_queries_first_and_only_the_best_share_on_all():
    tuned = nirank.tune(_table({"finds": {"a": [float(n) for n in range(8)]}, "halving": 2}))
    counts = [len(trial) for trial in tuned.trials]
    assert sorted(counts) == [20, 20, 20, 20, 40, 40, 40, 40]
    full = [trial.number for trial in tuned.trials if len(trial) == QUERIES]
    first = {n: tuned.values()[n, :20].mean() for n in range(8)}
    assert set(full) == set(sorted(first, key=lambda n: -first[n])[:4])
    assert tuned.best.settings["finds.a"] == 3.0
    assert np.isnan(tuned.values()[[n for n in range(8) if n not in full], 20:]).all()


def test_the_rounds_of_halving_grow_by_the_share_and_hold_every_query_once():
    tuning = Experiment.of(_table({"finds": {"a": {"low": 0, "high": 80}}, "halving": 2})).tuning()
    parts = parts_of(toy("dev", 40), tuning, 0)
    assert [len(part.queries) for part in parts] == [20, 20]
    assert sorted(name for part in parts for name in part.queries.ids) == sorted(toy("dev").queries.ids)
    assert parts_of(toy("dev", 40), tuning, 0)[0].queries.ids == parts[0].queries.ids


def test_what_does_not_depend_on_a_setting_is_done_once():
    table = _table({"scores.sign": [1.0, -1.0], "numbers.w": [0.1, 0.2, 0.3]}, numbers={"w": 0.5})
    table["pipeline"] = "finds % 7 >> w * scores"
    tuned = nirank.tune(table)
    assert len(tuned.trials) == 6
    assert CALLS == [("generate", 0.0), ("score", 1.0), ("score", -1.0)]


def test_numbers_of_an_expression_are_tuned_and_written():
    table = _table({"numbers": {"depth": [3, 10], "w": {"low": -1.0, "high": 1.0, "step": 0.5}}})
    table |= {"pipeline": "finds % depth >> (1 - w) * scores", "numbers": {"depth": 5, "w": 0.5}}
    tuned = nirank.tune(table)
    assert [trial.settings["numbers.w"] for trial in tuned.trials[:5]] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert tuned.resolved.numbers == {name: tuned.best.settings[f"numbers.{name}"] for name in ("depth", "w")}
    assert tuned.resolved.expressions["experiment"].startswith(f"finds % {tuned.best.settings['numbers.depth']} >> ")


@pytest.mark.parametrize(
    ("text", "numbers", "expected"),
    [
        ("a % k >> w * b", {"k": 10, "w": 0.5}, "a % 10 >> 0.5 * b"),
        ("a >> w * b + (1 - w) * c", {"w": 0.25}, "a >> 0.25 * b + 0.75 * c"),
        ("fuse(a, b, weights=[w, 2 * w])", {"w": 0.5}, "fuse(a, b, weights=[0.5, 1.0])"),
        ("a % (k / 0)", {"k": 10}, "a % (10 / 0)"),
        ("a >> (", {"k": 1}, "a >> ("),
        ("a", {}, "a"),
    ],
)
def test_numbers_take_the_place_of_their_names(text, numbers, expected):
    assert with_numbers(text, numbers) == expected


@pytest.mark.parametrize(
    ("tune", "error", "message"),
    [
        ({}, BadInput, "nothing to tune"),
        ({"find": {"a": [1.0]}}, UnknownName, "stage 'find'. Did you mean 'finds'"),
        ({"finds": {"aa": [1.0]}}, UnknownName, "setting of finds 'aa'. Did you mean 'a'"),
        ({"finds": {"a": []}}, BadInput, "no value to try"),
        ({"finds": {"a": [1.0, 1.0]}}, BadInput, "stands twice"),
        ({"finds": {"a": 1.0}}, BadInput, "a list of values"),
        ({"finds": {"a": "text"}}, BadInput, "a list of values"),
        ({"finds": {"a": ["text"]}}, BadInput, "not of the type float"),
        ({"finds": {"b": {"low": 1.5, "high": 2}}, "method": "random", "trials": 2}, BadInput, "not of the type int"),
        ({"finds": {"a": {"low": 1}}}, BadInput, "low and high"),
        ({"finds": {"a": {"low": 2, "high": 1}}}, BadInput, "the lower one first"),
        ({"finds": {"a": {"low": 0, "high": 1, "stop": 1}}}, UnknownName, "Did you mean 'step'"),
        ({"finds": {"a": {"low": 0.0, "high": 1.0}}}, BadInput, "a grid needs a step"),
        ({"finds": {"a": {"low": 0.0, "high": 1.0, "log": True}}}, BadInput, "log = true is for a range above 0"),
        ({"finds": {"a": [1.0]}, "method": "grit"}, UnknownName, "Did you mean 'grid'"),
        ({"finds": {"a": [1.0]}, "method": "random"}, BadInput, "trials = None"),
        ({"finds": {"a": [1.0]}, "trials": 3}, BadInput, "a grid tries all 1"),
        ({"finds": {"a": [1.0]}, "halving": 1}, BadInput, "halving = 1"),
        ({"finds": {"a": [1.0]}, "measure": "nDGC@10"}, NirankError, "nDGC"),
        ({"finds": {"a": [1.0]}, "metod": "grid"}, UnknownName, "Did you mean 'method'"),
        ({"finds": {"a": [1.0]}, "pipeline": "other"}, UnknownName, "pipeline 'other'"),
        ({"numbers": {"w": [1.0]}}, UnknownName, "number 'w'"),
        ({"finds": {"a": {"low": 0, "high": 10**9}}}, BadInput, "more than 100,000"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused_with_what_is_accepted(tune, error, message):
    with pytest.raises(error, match=message):
        nirank.tune(_table(tune))
    assert CALLS == []


def test_tuning_on_the_queries_that_measure_is_refused(caplog):
    space = {"finds": {"a": [1.0]}}
    same = "40 of the 40 queries that would choose the settings are also those that measure them, such as 'test0'"
    with pytest.raises(BadInput, match=same):
        nirank.tune(_table(space | {"collection": "tunetoy"}))
    table = _table(space)
    del table["tune"]["collection"]
    with pytest.raises(BadInput, match="is missing"):
        nirank.tune(table)
    nirank.tune(_table(space | {"collection": "tunetoy"}, collection={"use": "tunetoy", "split": "dev"}))
    assert "called test" in caplog.text


@pytest.mark.parametrize(
    ("low", "high", "step", "values"), [(0.0, 1.0, 0.25, 5), (0.1, 0.9, 0.1, 9), (1, 9, 3, 3), (1, 4, None, 4)]
)
def test_a_range_has_its_ends_and_no_noise(low, high, step, values):
    found = Range(low, high, step).values()
    assert len(found) == values
    assert found[0] == low
    assert all(len(str(value)) <= 4 for value in found)
    assert {Range(low, high, step).draw(np.random.default_rng(n)) for n in range(200)} == set(found)


def test_values_at_an_edge_are_told_of_numbers_alone():
    assert Choice((1, 2, 3)).edge(3) == "largest"
    assert Choice((1, 2, 3)).edge(2) is None
    assert Choice(("a", "b", "c")).edge("c") is None
    assert Choice((True, False)).edge(True) is None


def test_optuna_proposes_and_a_killed_study_goes_on_alike(tmp_path):
    pytest.importorskip("optuna")
    table = _table(
        {
            "finds": {"a": {"low": 0.0, "high": 9.0}, "b": {"low": 0, "high": 9}, "mode": ["x", "y"]},
            "method": "tpe",
            "trials": 25,
        }
    )
    whole = nirank.tune(table, tmp_path / "whole")
    lines = (tmp_path / "whole" / "trials.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "trials.jsonl").write_text("".join(lines[:14]))
    CALLS.clear()
    again = nirank.tune(table, tmp_path / "again")
    assert len(CALLS) == 12
    assert [trial.settings for trial in again.trials] == [trial.settings for trial in whole.trials]
    drawn = nirank.tune(table | {"tune": table["tune"] | {"method": "random"}})
    assert whole.best.mean("RR@10") >= drawn.best.mean("RR@10") - 0.2
    assert abs(whole.best.settings["finds.a"] - 3) < 1.5


def test_without_optuna_its_method_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(nirank.NirankError, match=r"nirank\[tune\]"):
        nirank.tune(_table({"finds": {"a": {"low": 0.0, "high": 9.0}}, "method": "tpe", "trials": 2}))


def test_a_picture_is_drawn_of_a_grid_of_two_and_of_points(tmp_path):
    pytest.importorskip("matplotlib")
    for name, tune in (("map", GRID), ("points", {"finds": {"a": [1.0, 3.0], "mode": ["x", "y"], "b": [1, 2]}})):
        nirank.tune(_table(tune), tmp_path / name)
        drawn = (tmp_path / name / "tuning.svg").read_text()
        assert "finds.b" in drawn
        nirank.tune(_table(tune), tmp_path / f"{name}-again")
        assert (tmp_path / f"{name}-again" / "tuning.svg").read_text() == drawn


def test_the_result_is_json():
    told = json.loads(json.dumps(nirank.tune(_table({"finds": {"a": [3.0, 99.0]}})).to_dict()))
    assert told["best"] == 0
    assert told["trials"][1]["measures"] == {}


def test_an_experiment_searches_a_common_first_stage_once_and_times_each_system_as_if_alone(monkeypatch):
    generate = Finds.generate
    monkeypatch.setattr(Finds, "generate", lambda *given: time.sleep(0.05) or generate(*given))
    texts = ["finds % 7 >> scores", "finds % 7 >> 0.5 * scores", "finds % 7 >> scores + scores", "finds % 7"]
    results = nirank.run({"collection": "tunetoy", "pipelines": {f"p{n}": text for n, text in enumerate(texts)}})
    assert CALLS == [("generate", 0.0), ("score", 1.0)]
    seconds = [system.seconds for system in results.systems.values()]
    assert min(seconds) >= 0.05, "with the seconds of the search that the first one did"
    CALLS.clear()
    latency = {"latency": 2, "measures": ["RR@10"]}
    nirank.run({"collection": "tunetoy", "pipelines": {"a": texts[0], "b": texts[1]}, "evaluate": latency})
    assert len(CALLS) == 2 + 2 * 3 * 2, "latencies share nothing: two queries, and the first once before"
