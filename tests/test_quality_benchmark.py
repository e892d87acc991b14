"""What `benchmarks/quality.py` saves: every table with the run that it is of, and no table lost to a part of it."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def tables(benchmark):
    return benchmark("quality_table")


@pytest.fixture
def measured(tables):
    """Makes a table of a run: its rows have a name, and the number of their place."""

    def of(run, title, *names):
        rows = [[name, tables.Figure(place / 8, p=0.5)] for place, name in enumerate(names)]
        return tables.Measured([run, "a machine"], tables.Table(title, "How.", ["system", "AP"], rows, ["A note."]))

    return of


def test_a_part_takes_the_place_of_its_table_and_others_stay(tables, measured, tmp_path):
    both = [measured("first", "One", "a", "b"), measured("first", "Two", "c")]
    path = tables.save("work", both, tmp_path)
    assert path.read_text().count("first") == 1
    again, new = measured("second", "One", "b", "a", "d"), measured("second", "Three", "e")
    assert tables.save("work", [again, new], tmp_path, ["one", "three"]) == path
    assert tables.read(path.with_suffix(".json")) == [again, both[1], new]
    text = path.read_text()
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Quality: work",
        *_titles("One Two Three"),
    ]
    assert [text.count(run) for run in ("first", "second", "a machine")] == [1, 2, 3]
    assert text.index("## Two") < text.index("first") < text.index("| c |")


def _titles(names):
    return [f"## {name}" for name in names.split()]


def test_all_of_it_takes_the_place_of_everything(tables, measured, tmp_path):
    tables.save("work", [measured("first", "One", "a"), measured("first", "Gone", "b")], tmp_path)
    now = [measured("second", "One", "c")]
    tables.save("work", now, tmp_path)
    assert tables.read(tmp_path / "quality_work.json") == now


def test_some_rows_of_a_table_are_written_beside_it(tables, measured, tmp_path, capsys):
    whole, some = [measured("first", "One", "a", "b", "c")], [measured("second", "One", "b", "d")]
    tables.save("work", whole, tmp_path)
    path = tables.save("work", some, tmp_path, ["b", "d"])
    assert path.name == "quality_work-b-d.md"
    assert "quality_work.json has more rows (a, c), and stays as it is" in capsys.readouterr().err
    assert tables.read(tmp_path / "quality_work.json") == whole
    assert tables.read(path.with_suffix(".json")) == some
    tables.save("work", [measured("third", "One", "b", "d")], tmp_path, ["b", "d"])
    assert "third" in path.read_text()


def test_a_file_with_one_heading_for_all_tables_is_read(tables, measured, tmp_path):
    whole = [measured("first", "One", "a"), measured("first", "Two", "b")]
    tables.save("work", whole, tmp_path)
    path = tmp_path / "quality_work.json"
    parts = json.loads(path.read_text())["tables"]
    for part in parts:
        del part["heading"]
    path.write_text(json.dumps({"heading": ["first", "a machine"], "tables": parts}))
    assert tables.read(path) == whole


def test_what_is_kept_of_results_is_what_can_be_read(tables, benchmark):
    results = benchmark("quality").RESULTS
    for path in sorted(results.glob("quality_*.json")):
        text = path.with_suffix(".md").read_text(encoding="utf-8")
        work = text.partition("\n")[0].removeprefix("# Quality: ")
        assert tables.markdown(work, tables.read(path)) == text
