"""The parts of benchmarks/speed.py that could mislead: ratios, verdicts, taking turns, engines that fail."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(benchmark, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{BENCHMARKS}:{Path(__file__).parent}")


def _module(name):
    return importlib.import_module(name)


def _report(**times):
    report, lap = _module("speed_table").Report(), _module("speed_worker").Lap
    laps = {name: [lap(wall, wall / 2) for wall in walls] for name, walls in times.items()}
    report.times("work", laps, {"slow": 3.0, "quick": 0.5}, dict.fromkeys(laps, 100), "things", {"slow": 10})
    return report


def test_ratios_are_of_medians_and_of_the_same_amount():
    report = _report(nirank=[1, 2, 9], slow=[40, 10, 60], quick=[0.5, 0.5, 7])
    ours, slow, quick = report.rows
    assert report.ratio(ours) is None
    assert report.ratio(slow) == pytest.approx(4 / 2)  # its laps did ten things
    assert report.ratio(quick) == pytest.approx(0.5 / 2)
    assert report.ratio(slow, cpu=True) == pytest.approx(2)


def test_what_was_wanted_and_not_reached_is_told():
    report = _report(nirank=[2], slow=[40], quick=[0.5])
    assert report.missed() == ["work: 2.00 times slow, wanted 3.", "work: 0.25 times quick, wanted 0.5."]
    assert _report(nirank=[0.5], slow=[40], quick=[0.5]).missed() == []
    assert _report(slow=[40]).missed() == []


def test_a_saved_table_has_all_rows_and_the_figures_beside_it(tmp_path):
    table = _module("speed_table")
    report = _report(nirank=[2], slow=[40], quick=[0.5])
    report.note("a note")
    path = table.save(report, ["the command"], tmp_path / "results")
    text, figures = path.read_text(), json.loads(path.with_suffix(".json").read_text())
    assert "| slow | 4.00 s |" in text
    assert text.count("\n| ") == len(report.rows) + 2  # the header and its rule
    assert [row["engine"] for row in figures["rows"]] == ["nirank", "slow", "quick"]
    assert sorted(path.parent.iterdir()) == sorted([path, path.with_suffix(".json")])


def test_what_is_measured_again_is_left_to_the_newer_file(tmp_path):
    table = _module("speed_table")
    both = _report(nirank=[2], slow=[40])
    both.rows.append(table.Row("another", "nirank", [1.0]))
    both.note("told of both")
    older = table.save(both, ["the whole"], tmp_path)
    again = _report(nirank=[1], slow=[40])
    again.note("told of both")
    newer = table.save(again, ["a part"], tmp_path, ["part"])
    kept = json.loads(older.with_suffix(".json").read_text())
    assert [row["work"] for row in kept["rows"]] == ["another"]
    assert kept["heading"] == ["the whole"]
    assert kept["notes"] == [f"What was measured again is in {newer.name}, and left out here."]
    assert "\n| work | nirank |" not in older.read_text()
    assert "\n| work | nirank |" in newer.read_text()
    assert len(json.loads(newer.with_suffix(".json").read_text())["rows"]) == 2


def test_no_row_of_the_results_stands_in_two_files(benchmark):
    seen = {}
    for path in sorted(benchmark("speed").RESULTS.glob("*.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(figures.get("rows"), list):  # the others are of quality and of losses
            machine = next((line.partition(" cores")[0] for line in figures["heading"] if " cores" in line), "")
            rows = {(machine, row["work"], row["engine"]) for row in figures["rows"]}
            assert {row: seen[row] for row in rows & seen.keys()} == {}
            seen |= dict.fromkeys(rows, path.name)
    assert any(row[1:] == ("BM25 k=10, one by one, numbers", "nirank") for row in seen)


def test_processors_of_one_name_and_other_generations_have_files_of_their_own(monkeypatch):
    table = _module("speed_table")
    told = {"model name": "AMD EPYC", "cpu family": "25", "model": "17"}
    monkeypatch.setattr(table, "_processor", lambda: told)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert table.machine_kind() == "amd-epyc-25-17-linux"
    told["model"] = "1"
    assert table.machine_kind() == "amd-epyc-25-1-linux"
    assert table.machine() == "AMD EPYC (family 25, model 1)"


def test_a_work_that_fails_loses_nothing_but_its_own_rows(benchmark, monkeypatch, capsys, tmp_path):
    speed = benchmark("speed")

    def broken(run, report):
        report.sizes("measured before it failed", {"nirank": [1e6]})
        raise RuntimeError("out of luck")

    works = {"broken": broken, "fine": lambda run, report: report.sizes("measured after", {"nirank": [2e6]})}
    monkeypatch.setattr(speed, "WORKS", works)
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setattr(speed, "_same_for_all", lambda threads: None)
    monkeypatch.setattr("sys.argv", ["speed.py", "--save"])
    monkeypatch.setenv("NIRANK_CACHE", "")
    with pytest.raises(SystemExit) as ended:
        speed.main()
    assert ended.value.code == 1
    (saved,) = tmp_path.glob("*.json")
    figures = json.loads(saved.read_text())
    assert [row["work"] for row in figures["rows"]] == ["measured before it failed", "measured after"]
    assert figures["notes"] == ["broken failed, and lacks the rows that were to come: RuntimeError: out of luck"]
    assert "out of luck" in capsys.readouterr().out


class Sleeper:
    """An engine for these tests, found by its worker through the path."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def work(self):
        import time

        if self.seconds < 0:
            raise ValueError("cannot sleep backwards")
        time.sleep(self.seconds)
        print("chatter on stdout does no harm")  # noqa: T201

    def die(self):
        import os

        os._exit(1)


def test_engines_take_turns_and_one_that_fails_leaves_the_rest_alone():
    worker, told = _module("speed_worker"), []
    target = f"{Path(__file__).stem}:Sleeper"
    engines = [
        worker.Engine("short", target, settings={"seconds": 0.01}),
        worker.Engine("long", target, settings={"seconds": 0.25}),
        worker.Engine("broken", target, settings={"seconds": -1}),
        worker.Engine("absent", target, ["a_package_that_is_not_there"]),
    ]
    with worker.working(engines, told.append) as workers:
        laps = worker.contest(workers, told.append, 2, "work")
        with pytest.raises(worker.EngineFailed):
            workers["short"].call("die")
    assert {name: len(found) for name, found in laps.items()} == {"short": 2, "long": 2}
    assert 0.01 <= laps["short"][0].wall < 0.25 <= laps["long"][0].wall
    assert laps["long"][0].cpu < 0.2
    assert told == [
        "absent is left out: a_package_that_is_not_there is not installed.",
        "broken failed and is left out: ValueError: cannot sleep backwards",
    ]


def test_the_synthetic_corpus_is_seeded_and_its_queries_are_words_of_a_document():
    synthetic = _module("speed_texts").synthetic
    documents, queries = synthetic(40, 5)
    assert synthetic(40, 5) == (documents, queries)
    assert (len(documents[0]), len(queries[0]), len(set(documents[0]))) == (40, 5, 40)
    bags = [set(text.split()) for text in documents[1]]
    assert all(any(set(query.split()) <= bag for bag in bags) for query in queries[1])


def test_growth_is_told_as_a_power_of_the_size():
    growth = _module("growth")
    linear, square = growth.Figure("index", "s", [1, 10, 100]), growth.Figure("open", "s", [2, 200, 20_000])
    assert [linear.exponent([10, 100, 1000], place) for place in (1, 2)] == pytest.approx([1, 1])
    assert square.exponent([10, 100, 1000], 1) == pytest.approx(2)
    table = growth._table([10, 100, 1000], [linear, square])
    assert "| index | s | 1 | 10 (^+1.00) | 100 (^+1.00) |" in table.splitlines()


def test_what_grows_is_seeded(tmp_path):
    bm25, dense = _module("growth_bm25"), _module("growth_dense")
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        bm25.write_corpus(tmp_path / name, 300, 20)
    for file in ("documents.arrow", "queries.jsonl"):
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert len((tmp_path / "once" / "queries.jsonl").read_text().splitlines()) == 20
    vectors = dense._vectors(["7", "8"], 2)
    np.testing.assert_array_equal(vectors, dense._vectors(["7", "8"], 2))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_numpy_by_hand_and_nirank_measure_the_same_pipeline():
    pipeline = _module("speed_pipeline")
    by_hand, ours = pipeline.ByHand(20).measure(), pipeline.Nirank(20).measure()
    np.testing.assert_allclose(by_hand, ours, rtol=1e-9)
    assert min(by_hand) > 0


def test_features_by_hand_are_those_of_nirank(tmp_path):
    pytest.importorskip("numba")
    features, run = _module("speed_features"), _module("speed_run").Run(tmp_path, small=True)
    engines = [engine(str(run.texts().folder), every=10) for engine in (features.Nirank, features.ByHand)]
    for engine in engines:
        engine.open()
    ours, by_hand = (engine.few() for engine in engines)
    assert ours.shape == (engines[0].pairs(), len(features.BY_HAND))
    np.testing.assert_allclose(ours, by_hand, rtol=1e-5)
    assert engines[0].tokens() == pytest.approx(by_hand[:, -1].mean())


def test_the_round_of_boosting_is_taken_off_those_it_is_part_of():
    less, lap = _module("speed_losses").less, _module("speed_worker").Lap
    laps = {"nirank": [lap(1, 1)], "booster": [lap(5, 4), lap(6, 5)], "round": [lap(2, 1), lap(1, 3)]}
    assert less(laps, "round", ["booster"]) == {"nirank": [lap(1, 1)], "booster": [lap(3, 3), lap(5, 2)]}
    del laps["round"]
    assert less(laps, "round", ["booster"]) == {"nirank": [lap(1, 1)]}


def test_outcomes_that_point_elsewhere_differ():
    differences = _module("speed_losses").differences
    assert differences(np.array([2, 3, 4]), np.array([3, 3, 4])) == (0.5, 0)
    assert differences(np.array([2, 3, 4]), np.array([2, -3, -4])) == (0, 2)


def test_nirank_and_allrank_are_asked_for_the_same_losses():
    losses, worker, told = _module("speed_losses"), _module("speed_worker"), []
    engines = losses.engines(3, 12, 1)[:2]
    with worker.working(engines, told.append) as workers:
        found = {
            name: worker.each(workers, told.append, lambda each, name=name: np.array(each.call("outcome", name)))
            for name in losses.LOSSES
        }
    missing = engines[1].missing()
    assert told == ([f"allRank is left out: {', '.join(missing)} is not installed."] if missing else [])
    np.testing.assert_allclose(found["RankNet"]["nirank"][0], _ranknet(losses.Lists(3, 12)), rtol=1e-6)
    for outcome in found.values():
        assert len(outcome["nirank"]) == 1 + 3 * 12
        assert max(losses.differences(outcome["nirank"], outcome.get("allRank", outcome["nirank"]))) < 1e-5


def _ranknet(lists):
    costs = [
        np.log1p(np.exp(other - score))
        for scores, labels in zip(lists.scores, lists.labels, strict=True)
        for score, label in zip(scores, labels, strict=True)
        for other, worse in zip(scores, labels, strict=True)
        if label > worse
    ]
    return np.mean(costs)


def test_memory_that_is_held_for_a_moment_is_seen_again_and_again():
    losses = _module("speed_losses")
    if not losses._FORGET.exists():
        pytest.skip("the kernel does not let a process forget the most that it has held")
    found = [losses.memory_of(lambda: b"x" * 30_000_000) for _ in range(2)]
    assert all(29_000_000 < size < 40_000_000 for size in found)
    assert losses.memory_of(lambda: None) < 2_000_000
