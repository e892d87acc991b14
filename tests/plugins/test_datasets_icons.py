"""Icons with tags: who is searched, what is asked, and what is wrong with a folder."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

pytest.importorskip("PIL")

from nirank.build import collection
from nirank.data import images
from nirank.errors import BadInput, UnknownName

ICONS = [
    {"id": "a/house", "set": "a", "name": "house", "tags": ["Home", "real-estate"]},
    {"id": "a/key", "set": "a", "name": "key", "tags": ["door", "home"]},
    {"id": "b/home", "set": "b", "name": "home", "tags": ["house", "living"], "category": "buildings"},
    {"id": "b/hut", "set": "b", "name": "hut", "tags": ["house", "living", "cold-place", "HUT"]},
    {"id": "b/tent", "set": "b", "name": "tent", "tags": ["camp", "living", "cold_place"]},
]


@pytest.fixture
def folder(tmp_path):
    """Two sets of icons with their pictures in an archive; the set b is searched."""
    return _write(tmp_path, ICONS)


def _write(folder, icons):
    rows = [{"file": f"{icon['id']}.png", **icon} for icon in icons]
    (folder / "index.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for number, row in enumerate({row["file"]: row for row in rows}.values()):
            images.drawn(number).save(folder / "one.png")
            archive.write(folder / "one.png", row["file"])
    return folder


def _judged(found):
    return {
        text: set(found.corpus.ids.take(found.judgments[row][0])) for row, text in enumerate(found.queries.contents)
    }


def test_training_asks_for_the_other_sets_by_every_name_and_tag(folder):
    found = collection(f"icons:{folder}", split="train", searched="b")
    assert _judged(found) == {
        "door": {"a/key"},
        "home": {"a/house", "a/key"},
        "house": {"a/house"},
        "key": {"a/key"},
        "real estate": {"a/house"},
    }
    assert found.queries.ids[-1] == "real_estate"
    assert np.array_equal(images.read(found.corpus[1]), images.drawn(1))


def test_a_tag_that_several_icons_carry_is_a_query_and_an_icons_own_name_is_none(folder):
    both = [_judged(collection(f"icons:{folder}", split=split, searched="b")) for split in ("dev", "test")]
    assert not both[0].keys() & both[1].keys()
    assert both[0] | both[1] == {
        "cold place": {"b/hut", "b/tent"},
        "house": {"b/home", "b/hut"},
        "living": {"b/home", "b/hut", "b/tent"},
    }


def test_queries_and_judgments_in_the_folder_are_taken_and_name_the_set(folder):
    (folder / "queries.test.jsonl").write_text('{"id": "q1", "text": "a place to live"}\n')
    (folder / "qrels.test.txt").write_text("q1 0 b/hut 1\n")
    assert _judged(collection(f"icons:{folder}")) == {"a place to live": {"b/hut"}}
    assert len(collection(f"icons:{folder}", split="train").corpus) == 2
    with pytest.raises(UnknownName, match="no set of icons 'c'"):
        collection(f"icons:{folder}", searched="c")
    other = collection(f"icons:{folder}", searched="a")  # of which these judgments say nothing
    assert "a place to live" not in other.queries.contents


def test_names_are_fields_and_contents_and_tags_are_neither(folder):
    found = collection(f"icons:{folder}", content="text", searched="b")
    assert found.corpus[:] == found.corpus.column("name", slice(None)) == ["home", "hut", "tent"]
    assert found.corpus.fields == ("name", "set", "category")
    assert found.corpus.column("category", [0, 1]) == ["buildings", ""]


def test_pictures_in_a_folder_need_no_archive(folder):
    with zipfile.ZipFile(folder / "images.zip") as archive:
        archive.extractall(folder / "images")
    (folder / "images.zip").unlink()
    found = collection(f"icons:{folder}", searched="b")
    assert found.corpus[0] == folder / "images" / "b/home.png"
    found.corpus[0].unlink()
    with pytest.raises(BadInput, match=r"home\.png: 1 pictures"):
        collection(f"icons:{folder}", searched="b")


def test_what_is_wrong_with_a_folder_is_told(folder, tmp_path_factory):
    with pytest.raises(BadInput, match="say which set is searched: searched = one of a, b"):
        collection(f"icons:{folder}")
    with pytest.raises(BadInput, match=r"index\.jsonl"):
        collection(f"icons:{tmp_path_factory.mktemp('empty')}")
    one = _write(tmp_path_factory.mktemp("one"), ICONS[:2])
    with pytest.raises(BadInput, match="there is none to train with"):
        collection(f"icons:{one}", split="train", searched="a")
    for row, message in (
        ({"id": "a/house", "set": "a", "name": "x"}, "'a/house' comes a second time"),
        ({"id": "a/x", "set": "a", "name": 1}, "'name' has none"),
        ({"id": "a/x", "set": "a", "name": "x", "tags": "y"}, "tags is not a list"),
    ):
        bad = _write(tmp_path_factory.mktemp("bad"), [ICONS[0], row])
        with pytest.raises(BadInput, match=rf"index\.jsonl:2: .*{message}"):
            collection(f"icons:{bad}", searched="a")


def test_an_archive_that_is_damaged_lacks_a_picture_or_leads_elsewhere_is_refused(folder, tmp_path_factory):
    (folder / "images.zip").write_bytes((folder / "images.zip").read_bytes()[:-40])
    with pytest.raises(BadInput, match=r"images\.zip: is not a complete zip file"):
        collection(f"icons:{folder}", searched="b")
    lacking = _write(tmp_path_factory.mktemp("lacking"), ICONS)
    with zipfile.ZipFile(lacking / "images.zip", "w"):
        pass
    with pytest.raises(BadInput, match=r"'a/house\.png', which index\.jsonl names, is not in it"):
        collection(f"icons:{lacking}", searched="b")
    outside = _write(tmp_path_factory.mktemp("outside"), [{**ICONS[0], "file": "../../out.png"}])
    with pytest.raises(BadInput, match="leads out of the archive"):
        collection(f"icons:{outside}", searched="a")
    assert not (outside.parent / "out.png").exists()


def test_the_real_icons_are_those_of_their_source(shared):
    folder = shared("icons")
    sizes = {
        split: (len(found.corpus), len(found.queries), found.judgments.pairs)
        for split in ("train", "dev", "test")
        for found in [collection(f"icons:{folder}", split=split, content="text")]
    }
    assert sizes["dev"] == (1908, 708, 3916)
    assert sizes["test"] == (1908, 1527, 9400)
    assert sizes["train"] == (8515, 13572, 80280)
