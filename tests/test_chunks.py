"""Ragged columns on disk: read back as written, gone on with after an interruption, refused where cut short."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nirank.data import Documents
from nirank.errors import StaleIndex
from nirank.kit import ragged_files

TEXTS = ["abc", "", "z", "abcdefgh", "yy", "", "q" * 30]
CORPUS = Documents([str(place) for place in range(len(TEXTS))], TEXTS)


def _split(texts):
    letters = np.frombuffer("".join(texts).encode(), np.uint8)
    columns = {"letters": letters, "pairs": np.stack([letters, letters + 1], axis=1).astype(np.float32)}
    return np.array([len(text) for text in texts]), columns


def _read(folder):
    offsets, columns = ragged_files.read(folder)
    texts = [columns["letters"][a:b].tobytes().decode() for a, b in itertools.pairwise(offsets)]
    assert columns["pairs"].dtype == np.float32
    assert np.array_equal(columns["pairs"], np.stack([columns["letters"], columns["letters"] + 1], axis=1))
    return texts


class Encoder:
    """Returns texts as they are; dies at the given call."""

    def __init__(self, dies_at=None):
        self.dies_at, self.calls = dies_at, []

    def __call__(self, texts):
        if len(self.calls) == self.dies_at:
            raise KeyboardInterrupt
        self.calls.append(list(texts))
        return texts


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_what_is_written_is_read(tmp_path, chunk):
    ragged_files.write(CORPUS, tmp_path, Encoder(), _split, chunk)
    assert _read(tmp_path) == TEXTS


@pytest.mark.parametrize("torn", [{}, {"letters": 1}, {"pairs": 5}, {"letters": 3, "pairs": 8, "lengths": 2}])
@pytest.mark.parametrize("dies_at", [0, 1, 2, 3])
def test_an_interrupted_build_goes_on_from_the_last_whole_chunk(tmp_path, dies_at, torn):
    with pytest.raises(KeyboardInterrupt):
        ragged_files.write(CORPUS, tmp_path, Encoder(dies_at), _split, 2)
    for name, extra in torn.items() if dies_at else ():
        with (tmp_path / name).open("ab") as file:
            file.write(b"x" * extra)
    again = Encoder()
    ragged_files.write(CORPUS, tmp_path, again, _split, 2)
    assert _read(tmp_path) == TEXTS
    assert [text for call in again.calls for text in call] == TEXTS[2 * dies_at :]


def test_lengths_without_their_rows_are_begun_anew(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ragged_files.write(CORPUS, tmp_path, Encoder(2), _split, 2)
    (tmp_path / "letters").write_bytes(b"a")
    again = Encoder()
    ragged_files.write(CORPUS, tmp_path, again, _split, 2)
    assert _read(tmp_path) == TEXTS
    assert len(again.calls) == 4


def test_columns_without_a_row_are_read(tmp_path):
    ragged_files.write(Documents(["a"], [""]), tmp_path, Encoder(), _split, 2)
    assert _read(tmp_path) == [""]


@pytest.mark.parametrize("broken", ["letters", "lengths", "columns.json"])
def test_what_is_cut_short_or_missing_is_refused(tmp_path, broken):
    ragged_files.write(CORPUS, tmp_path, Encoder(), _split, 2)
    path = tmp_path / broken
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StaleIndex, match="incomplete"):
        ragged_files.read(tmp_path)
    path.unlink()
    with pytest.raises(StaleIndex, match="incomplete"):
        ragged_files.read(tmp_path)


def test_removed_is_all_that_was_written(tmp_path):
    ragged_files.write(CORPUS, tmp_path, Encoder(), _split, 2)
    ragged_files.remove(tmp_path)
    assert list(tmp_path.iterdir()) == []
