"""The parts of benchmarks/speed.py that could mislead: ratios, verdicts, taking turns, engines that fail."""

from __future__ import annotations

import importlib
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


def _measured(works, report, date="2026-01-02"):
    return _module("speed_saved").Measured(works, [f"`the command`, {date}", "the machine"], report)


def test_a_saved_table_has_all_rows_with_their_dates_and_the_figures_beside_it(tmp_path):
    saved, path = _module("speed_saved"), tmp_path / "results" / "machine.md"
    report = _report(nirank=[2], slow=[40], quick=[0.5])
    report.note("a note")
    saved.add(_measured(["one"], report), path)
    text = path.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(report.rows) + 2  # the header and its rule
    assert rows[0].endswith("| date |")
    assert all(row.endswith("| 2026-01-02 |") for row in rows[2:])
    assert "| slow | 4.00 s |" in text
    assert text.index("## one, 2026-01-02") < text.index("the machine") < text.index("a note")
    (read,) = saved.read(path)
    assert (read.works, read.date, read.report) == (["one"], "2026-01-02", report)
    assert sorted(path.parent.iterdir()) == sorted([path, path.with_suffix(".json")])


def test_what_is_measured_again_takes_the_place_of_what_was(tmp_path):
    saved, path = _module("speed_saved"), tmp_path / "machine.md"
    both = _report(nirank=[2], slow=[40])
    both.rows.append(_module("speed_table").Row("another", "nirank", [1.0]))
    both.note("told of both")
    both.note("told again")
    saved.add(_measured(["one", "another"], both), path)
    again = _report(nirank=[1], slow=[40])
    again.note("told again")
    saved.add(_measured(["one"], again, "2026-02-03"), path)
    older, newer = saved.read(path)
    assert [row.work for row in older.report.rows] == ["another"]
    assert older.report.notes == ["told of both"]
    assert newer.report.notes == ["told again"]
    assert [row.engine for row in newer.report.rows] == ["nirank", "slow"]
    assert "| 2026-01-02 |" in path.read_text()
    assert "| 2026-02-03 |" in path.read_text()
    third = _module("speed_table").Report([_module("speed_table").Row("another", "nirank", [2.0])])
    saved.add(_measured(["another"], third, "2026-03-04"), path)
    assert [each.works for each in saved.read(path)] == [["one"], ["another"]]  # nothing is left of the first


def test_no_row_of_the_results_stands_in_two_places(benchmark):
    saved, seen = _module("speed_saved"), set()
    tables = [path for path in benchmark("speed").RESULTS.glob("*.json") if '"measured"' in path.read_text()[:20]]
    for path in tables:
        rows = [(path.name, row.work, row.engine) for each in saved.read(path) for row in each.report.rows]
        assert len(set(rows)) == len(rows)
        seen |= {row[1:] for row in rows}
    assert ("BM25 k=10, one by one, numbers", "nirank") in seen


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
    monkeypatch.setattr(speed, "_load", lambda: 0.0)
    monkeypatch.setattr("sys.argv", ["speed.py", "--save"])
    monkeypatch.setenv("NIRANK_CACHE", "")
    with pytest.raises(SystemExit) as ended:
        speed.main()
    assert ended.value.code == 1
    (table,) = tmp_path.glob("*.json")
    broken, fine = _module("speed_saved").read(table)
    assert [row.work for each in (broken, fine) for row in each.report.rows] == [
        "measured before it failed",
        "measured after",
    ]
    assert broken.report.notes == ["broken failed, and lacks the rows that were to come: RuntimeError: out of luck"]
    assert "out of luck" in capsys.readouterr().out


def test_works_of_today_are_left_out_where_a_run_goes_on(benchmark, monkeypatch, tmp_path):
    speed, ran = benchmark("speed"), []

    def work(name):
        def measure(run, report):
            ran.append(name)
            report.sizes(f"measured by {name}", {"nirank": [1e6]})

        return measure

    monkeypatch.setattr(speed, "WORKS", {"one": work("one"), "two": work("two")})
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setattr(speed, "_same_for_all", lambda threads: None)
    monkeypatch.setenv("NIRANK_CACHE", "")
    for arguments in (["two", "--save"], ["--save", "--resume"], ["--save"]):
        monkeypatch.setattr("sys.argv", ["speed.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            speed.main()
        assert ended.value.code == 0
    assert ran == ["two", "one", "one", "two"]


@pytest.mark.parametrize(("load", "told"), [(0.2, False), (1.3, False), (4.2, True)])
def test_a_busy_machine_is_told_of(benchmark, monkeypatch, tmp_path, load, told):
    speed = benchmark("speed")
    monkeypatch.setattr(speed, "WORKS", {"fine": lambda run, report: None})
    monkeypatch.setattr(speed.os, "getloadavg", lambda: (load, 0, 0))
    report = _module("speed_table").Report()
    assert speed._measure("fine", _module("speed_run").Run(tmp_path), report)
    assert report.notes == ["fine: the machine was busy, with a load of 4.2 when it began: times are too long."] * told


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
    bm25, vectors = _module("growth_bm25"), _module("growth_vectors")
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        bm25.write_corpus(tmp_path / name, 300, 20)
    for file in ("documents.arrow", "queries.jsonl"):
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert len((tmp_path / "once" / "queries.jsonl").read_text().splitlines()) == 20
    drawn = vectors.dense(["7", "8"], 2)
    np.testing.assert_array_equal(drawn, vectors.dense(["7", "8"], 2))
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, rtol=1e-6)
    for draw in (vectors.sparse, vectors.tokens):
        once, again = draw(["7", "8", "9"], 2), draw(["7", "8", "9"], 2)
        np.testing.assert_array_equal(once.offsets, again.offsets)
        assert once.lengths.min() >= 20


@pytest.mark.parametrize("work", ["EXACT", "IMPACT", "MAXSIM", "PLAID"])
def test_an_index_whose_growth_is_measured_is_made_once_and_searched(work, tmp_path):
    pytest.importorskip("numba")
    vectors = _module("growth_vectors")
    index, kind, asked, settings = getattr(vectors, work).measure.args
    engines = [vectors.Nirank(index, kind, settings, str(tmp_path), 80, 1) for _ in range(2)]
    for engine in engines:
        engine.open()
        engine.search(asked[0][0], 10)
        written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
        if engine is engines[0]:
            before = written
    assert written == before
    assert engines[0].size() > 0


def test_lists_and_corpora_whose_growth_is_measured_are_right(tmp_path):
    lists = _module("growth_lists").Nirank(str(tmp_path), 10_000)
    for method in ("cut", "ranks", "scores", "evaluate", "write", "read", "evaluate_files"):
        getattr(lists, method)()
    assert len(lists.run.read_text().splitlines()) == 10_000
    corpus = _module("growth_corpus").Nirank(str(tmp_path), 300)
    corpus.make()
    corpus.write()
    corpus.open()
    corpus.find(20)
    corpus.read(20)
    assert len(corpus.corpus) == 300


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
