"""Images in categories: IDX files as of Fashion-MNIST, and Omniglot's drawings."""

from __future__ import annotations

import gzip
import struct
import zipfile

import numpy as np
import pytest

pytest.importorskip("PIL")

from nirank.build import collection
from nirank.data import images
from nirank.errors import BadInput

LABELS = [2, 0, 2, 1, 0, 2]


def _written(path, values, *dimensions):
    path.write_bytes(
        gzip.compress(struct.pack(f">4B{len(dimensions)}I", 0, 0, 8, len(dimensions), *dimensions) + values)
    )


@pytest.fixture
def folder(tmp_path):
    """Six images of 2 x 3 pixels, image n with the brightness 10 n, in both splits."""
    for split in ("train", "t10k"):
        pixels = b"".join(bytes([10 * number] * 6) for number in range(6))
        _written(tmp_path / f"{split}-images-idx3-ubyte.gz", pixels, 6, 2, 3)
        _written(tmp_path / f"{split}-labels-idx1-ubyte.gz", bytes(LABELS), 6)
    return tmp_path


def test_images_of_a_class_are_relevant_to_one_another(folder):
    found = collection(f"idx:{folder}", split="train")
    assert found.corpus.ids[:] == found.queries.ids == [f"train-{number}" for number in range(6)]
    assert [found.judgments[row][0].tolist() for row in range(6)] == [[2, 5], [4], [0, 5], [], [1], [0, 2]]
    assert np.asarray(found.corpus[3]).tolist() == [[30] * 3] * 2


def test_parts_of_a_split_are_some_classes_and_do_not_overlap(folder):
    def ids(**settings):
        return collection(f"idx:{folder}", **settings).queries.ids

    assert ids(classes=[0, 2], limit=3) == ["test-0", "test-1", "test-2"]
    assert ids(classes=[0, 2], skip=3) == ["test-4", "test-5"]
    assert ids(skip=1, limit=2) == ["test-1", "test-2"]
    assert ids(skip=4, limit=9) == ["test-4", "test-5"]
    for settings in ({"skip": -1}, {"limit": -1}):
        with pytest.raises(BadInput, match="a number from 0"):
            ids(**settings)
    with pytest.raises(BadInput, match="there are no images"):
        ids(classes=[7])
    with pytest.raises(BadInput, match=r"'train' \| 'test'"):
        ids(split="dev")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.unlink(), "is expected here"),
        (lambda path: path.write_bytes(b"no gzip"), "not a complete gzip file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-12]), "not a complete gzip file"),
        (lambda path: path.write_bytes(path.read_bytes()[:12] + bytes(9) + path.read_bytes()[21:]), "complete gzip"),
        (lambda path: _written(path, bytes(30), 2**31, 2**31, 2**31), "the limit is 17,179,869,184"),
        (lambda path: _written(path, bytes(40), 6, 2, 3), "has more than 36 bytes .* 36 bytes are expected"),
        (lambda path: path.write_bytes(gzip.compress(bytes(20))), "not an IDX file"),
        (lambda path: _written(path, bytes(30), 6, 2, 3), "30 bytes .* 36 bytes are expected"),
        (lambda path: _written(path, bytes(30), 5, 2, 3), "5 images and 6 labels"),
    ],
)
def test_files_that_are_none_are_told(folder, damage, told):
    path = folder / "t10k-images-idx3-ubyte.gz"
    damage(path)
    with pytest.raises(BadInput, match=told) as raised:
        collection(f"idx:{folder}")
    assert str(folder) in str(raised.value)


def test_fashion_mnist_is_whole(shared):
    found = collection(f"idx:{shared('fashion_mnist')}", split="test")
    assert len(found.corpus) == 10_000
    assert set(found.judgments.lengths.tolist()) == {999}  # of ten classes of a thousand
    assert np.asarray(found.corpus[0]).shape == (28, 28)


def test_drawings_go_into_splits_by_alphabet_and_are_turned_as_other_characters(tmp_path):
    drawing = images.drawn(0, 10, 10).convert("L")
    with zipfile.ZipFile(tmp_path / "images_some.zip", "w") as archive:
        for name in ("Korean/character01/0001", "Korean/character01/0002", "Greek/character01/0003"):
            drawing.save(tmp_path / "one.png")
            archive.write(tmp_path / "one.png", f"images_some/{name}.png")
    train = collection(f"omniglot:{tmp_path}", split="train", side=5, rotations=True)
    assert len(train.corpus) == 8
    assert train.judgments.lengths.tolist() == [1] * 8
    plain, quarter = (np.asarray(train.corpus[place]) for place in (0, 2))
    assert train.queries.ids[2].startswith("90:Korean")
    assert quarter.tolist() == np.rot90(plain).tolist()
    assert collection(f"omniglot:{tmp_path}").queries.ids == ["Greek/character01/0003"]
    with pytest.raises(BadInput, match="no drawings of the split dev"):
        collection(f"omniglot:{tmp_path}", split="dev")


@pytest.mark.parametrize("damage", [slice(0, -40), slice(60, None), slice(0, 30)])
def test_an_archive_of_drawings_that_is_not_whole_is_named(tmp_path, damage):
    with zipfile.ZipFile(tmp_path / "images_some.zip", "w") as archive:
        archive.writestr("images_some/Greek/character01/0001.png", b"no drawing" * 9)
    whole = (tmp_path / "images_some.zip").read_bytes()
    with pytest.raises(BadInput, match=r"0001\.png: cannot be read as a drawing"):
        collection(f"omniglot:{tmp_path}")
    (tmp_path / "images_some.zip").write_bytes(whole[damage])
    with pytest.raises(BadInput, match=r"images_some\.zip: is not a complete zip file"):
        collection(f"omniglot:{tmp_path}")


def test_a_drawing_that_is_a_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "images_some.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images_some/Greek/character01/0001.png", bytes(1 << 25))
        archive.writestr("////a.png", b"")
    with pytest.raises(BadInput, match="33,554,432 bytes; a drawing has at most"):
        collection(f"omniglot:{tmp_path}")


def test_no_alphabet_of_omniglot_is_in_two_splits(shared):
    splits = [collection(f"omniglot:{shared('omniglot_small')}", split=split) for split in ("train", "dev", "test")]
    alphabets = [{name.partition("/")[0] for name in split.queries.ids} for split in splits]
    assert [len(each) for each in alphabets] == [4, 1, 3]
    assert len(set.union(*alphabets)) == 8
    assert [len(split.corpus) for split in splits] == [2920, 440, 1480]
    assert all(set(split.judgments.lengths.tolist()) == {19} for split in splits)
