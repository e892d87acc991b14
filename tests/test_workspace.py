"""Folders that can be searched: what goes into them, and what is never lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nirank import files
from nirank.errors import BadInput
from nirank.experiments import workspace
from nirank.pipeline import Ranking

pytest.importorskip("numba")


@pytest.fixture
def documents(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(["red fox", "dog"]))
    )
    return f"jsonl:{path}"


def _found(made):
    return made.corpus.ids.take(made.search("fox", 5)[0])


def test_a_folder_holds_documents_index_and_description_and_nothing_else(tmp_path, documents):
    partial = tmp_path / ".made.partial"
    for leftover in ("postings-0.partial", "postings-1"):
        (partial / leftover).mkdir(parents=True)
        (partial / leftover / "half").write_text("x")
    for leftover in ("postings-0.lock", "postings-0.building.json"):
        (partial / leftover).write_text("{}")
    assert _found(workspace.create(tmp_path / "made", documents, "bm25")) == ["d0"]
    names = sorted(path.name for path in (tmp_path / "made").iterdir())
    assert names[0] == "documents.arrow"
    assert names[1].startswith("postings-")
    assert names[2:] == ["seal.json", "search.toml"]
    assert not partial.exists()


def test_an_empty_folder_is_filled(tmp_path, documents):
    (tmp_path / "made").mkdir()
    assert _found(workspace.create(tmp_path / "made", documents, "bm25")) == ["d0"]


def test_a_folder_that_is_filled_meanwhile_is_kept_and_so_is_the_index(tmp_path, documents, monkeypatch):
    folder, index = tmp_path / "made", Ranking.index

    def slow(*arguments):
        index(*arguments)
        folder.mkdir()
        (folder / "precious").write_text("keep")

    monkeypatch.setattr(Ranking, "index", slow)
    with pytest.raises(BadInput, match=r"made: cannot be created .* the finished index is in .*made\.partial"):
        workspace.create(folder, documents, "bm25")
    assert (folder / "precious").read_text() == "keep"
    assert (tmp_path / ".made.partial" / "documents.arrow").exists()


def test_the_current_folder_is_refused(tmp_path, documents, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(BadInput, match="is the current folder"):
        workspace.create(Path(), documents, "bm25")


def test_a_second_writer_is_refused_while_the_first_one_writes(tmp_path, documents):
    with (
        files.alone(tmp_path / "made", "nirank index"),
        pytest.raises(BadInput, match="another nirank index is writing"),
    ):
        workspace.create(tmp_path / "made", documents, "bm25")
    assert _found(workspace.create(tmp_path / "made", documents, "bm25")) == ["d0"]
    with pytest.raises(BadInput, match="exists already"):
        workspace.create(tmp_path / "made", documents, "bm25")
