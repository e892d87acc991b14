"""What `benchmarks/quality.py` saves: every table with the run that it is of, and no table lost to a part of it."""

from __future__ import annotations

import json
import sys
from types import ModuleType

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


def test_rows_of_one_system_on_other_collections_are_other_rows(tables, tmp_path):
    def of(*collections):
        rows = [["KNRM", name, "257", tables.Figure(0.5)] for name in collections]
        return [tables.Measured(["run"], tables.Table("One", "How.", ["model", "collection", "lists", "AP"], rows))]

    tables.save("work", of("WikiQA", "Vaswani"), tmp_path)
    assert tables.save("work", of("SciFact"), tmp_path, ["SciFact"]).name == "quality_work-SciFact.md"
    assert tables.read(tmp_path / "quality_work.json") == of("WikiQA", "Vaswani")


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


# What is kept of other code


@pytest.fixture
def code(benchmark):
    code = benchmark("losses_code")
    code.OLDER.keep = False
    code.OLDER.taken.clear()
    return code


@pytest.fixture
def cells(code, benchmark, tmp_path):
    """Gets an outcome, and tells whether it was made now."""
    module = benchmark("losses_cells")
    kept, made = module.Cells(tmp_path / "cells"), []

    def get(settings=1):
        def make():
            made.append(settings)
            return module.Outcome({"AP": [float(len(made))]}, None, [], 1.0)

        before = len(made)
        return kept.get("work", "line", {"settings": settings}, make).mean("AP"), len(made) > before

    return get


def _as_of_other_code(tmp_path, *modules):
    (path,) = (tmp_path / "cells").iterdir()
    figures = json.loads(path.read_text())
    for module in modules:
        assert module in figures["code"]
        figures["code"][module] = "0" * 10
    path.write_text(json.dumps(figures))
    return path


def test_a_cell_is_kept_while_its_code_does_the_same(cells, tmp_path, capsys):
    assert [cells(), cells(), cells()] == [(1.0, True), (1.0, False), (1.0, False)]
    assert capsys.readouterr().err == ""


def test_a_cell_of_other_code_is_made_anew_and_that_is_told(cells, tmp_path, capsys):
    cells()
    path = _as_of_other_code(tmp_path, "nirank.data.candidates")
    assert cells() == (2.0, True)
    assert f"{path.stem} is of other code (nirank.data.candidates) and is made anew; --keep" in capsys.readouterr().err
    assert cells() == (2.0, False)


def test_a_cell_from_before_code_was_noted_is_of_unknown_code(cells, tmp_path, capsys):
    cells()
    path = _as_of_other_code(tmp_path)
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "code"}))
    assert cells() == (2.0, True)
    assert "(code that was not noted)" in capsys.readouterr().err


def test_a_cell_of_other_code_is_taken_where_one_says_so_and_the_heading_tells(cells, code, tmp_path, benchmark):
    cells()
    path = _as_of_other_code(tmp_path, "nirank.data.candidates", "nirank.data.queries")
    code.OLDER.keep = True
    assert cells() == (1.0, False)
    told = f"1 outcomes or models are older than changes of nirank.data.candidates, nirank.data.queries: {path.stem}."
    assert benchmark("quality")._heading(["work", "--keep"])[-1] == told


def test_a_module_that_is_gone_has_changed(code):
    assert code.changed({"nirank.gone": "1", "nirank_gone.more": "2"}) == ["nirank.gone", "nirank_gone.more"]
    known = code.loaded()
    assert "nirank.files" in known
    assert not [name for name in known if not name.startswith("nirank")]
    assert code.changed(known) == []


def test_a_module_whose_file_was_removed_since_is_not_noted(code, monkeypatch, tmp_path):
    module = ModuleType("nirank_plugin")
    module.__file__ = str(tmp_path / "nirank_plugin.py")
    monkeypatch.setitem(sys.modules, "nirank_plugin", module)
    assert "nirank_plugin" not in code.loaded()
    (tmp_path / "nirank_plugin.py").write_text("x = 1")
    assert "nirank_plugin" in code.loaded()


def test_only_what_a_module_does_counts(code, tmp_path):
    def digest(name, text):
        (tmp_path / name).write_text(text)
        return code._hash(tmp_path / name)

    plain = digest("a.py", "def f(x):\n    return x + 1\n")
    assert digest("c.py", "# why\ndef f(x):\n    return (x\n            + 1)\n") == plain
    assert digest("d.py", '"""A module."""\n\ndef f(x):\n    """Add."""\n    return x + 1\n') == plain
    assert digest("b.py", "def f(x):\n    return x + 2\n") != plain


def test_files_are_noted_as_cells_are(code, tmp_path):
    path = tmp_path / "model"
    assert not code.takes_file(path)
    path.mkdir()
    assert not code.takes_file(path)
    code.note(path)
    assert code.takes_file(path)
    (tmp_path / "model.code.json").write_text(json.dumps({"nirank.files": "0"}))
    assert not code.takes_file(path)
