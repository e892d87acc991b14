"""Numbers in the files of an index that lead out of it are told, with the file, before anything follows them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from nirank.errors import DamagedFile, NirankError
from nirank.kit import bounded, ragged_files
from tests.fuzz import damage

FAR = 1 << 30


def _set(place, value):
    def change(numbers):
        numbers.flat[place] = value
        return numbers

    return change


#: Of an index, a file, and what is done to its numbers.
LIES = [
    ("bm25", "docs_high.npy", lambda words: ~words),
    ("bm25", "docs_low.npy", lambda words: ~words),
    ("bm25", "docs_low.npy", lambda words: words * 0),
    ("bm25", "docs_low.npy", lambda words: words.astype(np.int64)),
    ("bm25", "docs_low.npy", lambda words: words.reshape(1, -1)),
    ("bm25", "starts.npy", lambda starts: _set(1, FAR)(starts.astype(np.uint32))),
    ("bm25", "starts.npy", lambda starts: _set(-1, FAR)(starts.astype(np.uint32))),
    ("bm25", "frequencies.npy", lambda counts: _set(0, 2**64 - 2)(counts.astype(np.uint64))),
    ("bm25", "counts.npy", lambda words: words[:-1]),
    ("bm25", "counts.npy", lambda words: words * 0),
    ("bm25", "lengths.npy", lambda lengths: lengths.astype(np.int16)),
    ("bm25", "term_offsets.npy", lambda offsets: _set(1, -FAR)(offsets.astype(np.int64))),
    ("bm25f", "docs_high.npy", lambda words: ~words),
    ("bm25f", "counts.npy", lambda words: words * 0),
    ("bm25f", "lengths.npy", lambda lengths: lengths[:, :1].copy()),
    ("sdm", "addresses.npy", _set(0, 60_000)),
    ("sdm", "addresses.npy", lambda addresses: addresses[::-1].copy()),
    ("sdm", "lengths.npy", _set(0, 100)),
    ("impact", "docs.npy", _set(0, FAR)),
    ("impact", "starts.npy", _set(1, -FAR)),
    ("impact", "weights.npy", lambda weights: weights[:-1]),
    ("plaid", "codes.npy", _set(0, FAR)),
    ("plaid", "codes.npy", _set(0, -1)),
    ("plaid", "docs.npy", _set(0, FAR)),
    ("plaid", "offsets.npy", _set(1, FAR)),
    ("plaid", "starts.npy", _set(1, FAR)),
    ("plaid", "residuals.npy", lambda residuals: np.asfortranarray(residuals)),
    ("plaid", "centroids.npy", lambda centroids: centroids[:-1]),
    ("plaid", "levels.npy", lambda levels: levels[:-1]),
    ("plaid", "scales.npy", lambda scales: scales[:-1]),
    ("k_reciprocal", "mean-indices.npy", _set(0, FAR)),
    ("k_reciprocal", "half-indptr.npy", _set(1, FAR)),
    ("k_reciprocal", "encoded-data.npy", lambda data: data[:-1]),
    ("k_reciprocal", "last.npy", lambda last: last[:-1]),
    ("alpha_qe", "moved.npy", lambda moved: moved[:-1]),
    ("dba", "moved.npy", lambda moved: moved.astype(np.float64)),
    ("exact", "codes.npy", lambda codes: codes[:, :-1]),
    ("exact", "bounds.npy", lambda bounds: bounds[:2]),
    ("exact", "centre.npy", lambda centre: centre[:-1]),
    ("exact", "vectors.npy", lambda vectors: np.asfortranarray(vectors)),
    ("flat", "keys.npy", _set(0, FAR)),
    ("flat", "keys.npy", _set(0, 1)),
]


def _resaved(folder, name, change):
    np.save(folder / name, change(np.load(folder / name)))
    damage._reseal(folder, folder / name)


@pytest.mark.parametrize(("kind", "name", "change"), LIES, ids=[f"{kind}-{name}" for kind, name, _ in LIES])
def test_a_number_that_leads_out_of_an_index_is_told_with_its_file(kind, name, change, tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    opened = damage.made(f"index:generator/{kind}", tmp_path / "whole")
    before = opened(shutil.copytree(tmp_path / "whole", tmp_path / "copied"))
    assert np.array_equal(opened(tmp_path / "whole"), before)
    _resaved(tmp_path / "copied", name, change)
    for _ in range(2):  # what is wrong once is not taken for right afterwards
        with pytest.raises(DamagedFile, match=r"\.npy: is damaged: "):
            opened(tmp_path / "copied")


def _far_neighbour(index, faiss):
    graph = faiss.downcast_index(index.index).hnsw
    neighbours = faiss.vector_to_array(graph.neighbors)
    neighbours[0] = FAR
    faiss.copy_array_to_vector(neighbours, graph.neighbors)


def _far_entry(index, faiss):
    faiss.downcast_index(index.index).hnsw.entry_point = FAR


@pytest.mark.parametrize("change", [_far_neighbour, _far_entry])
def test_a_graph_that_leads_out_of_itself_is_told(change, tmp_path, monkeypatch):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    opened, path = damage.made("index:generator/hnsw", tmp_path / "whole"), tmp_path / "whole" / "index.faiss"
    index = faiss.read_index(str(path))
    change(index, faiss)
    faiss.write_index(index, str(path))
    damage._reseal(tmp_path / "whole", path)
    with pytest.raises(NirankError, match=r"index\.faiss: is damaged"):
        opened(tmp_path / "whole")


@pytest.mark.parametrize("end", [27, 48, 100])
@pytest.mark.parametrize("kind", ["flat", "sq8", "hnsw", "ivf_flat", "ivf_pq"])
def test_an_index_of_faiss_that_is_cut_short_is_told_and_ends_nothing(kind, end, tmp_path, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    opened, path = damage.made(f"index:generator/{kind}", tmp_path / "whole"), tmp_path / "whole" / "index.faiss"
    path.write_bytes(path.read_bytes()[:end])
    damage._reseal(tmp_path / "whole", path)
    with pytest.raises(DamagedFile, match=r"index\.faiss: is damaged: faiss cannot use it"):
        opened(tmp_path / "whole")


def test_columns_of_addresses_are_never_read(tmp_path):
    (tmp_path / ragged_files.LENGTHS).write_bytes(b"\1\0\0\0")
    (tmp_path / "tokens").write_bytes(b"\1" * 8)
    (tmp_path / ragged_files.ABOUT).write_text('{"tokens": ["|O", []]}')
    with pytest.raises(NirankError, match="incomplete"):
        ragged_files.read(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 17])
def test_blocks_miss_nothing_at_their_borders(size, monkeypatch, tmp_path):
    monkeypatch.setattr(bounded, "_BLOCK", 8)
    rising = np.arange(size + 1)
    bounded.rising(tmp_path, rising, size)
    bounded.rows_rising(tmp_path, rising, np.array([0, size + 1]))
    for place in range(1, size):
        lie = rising.copy()
        lie[place] = place - 2 if place > 1 else FAR
        with pytest.raises(DamagedFile, match="do not rise"):
            bounded.rising(tmp_path, lie, size)
        lie[place] = rising[place - 1]
        with pytest.raises(DamagedFile, match="a row do not rise"):
            bounded.rows_rising(tmp_path, lie, np.array([0, size + 1]))
        bounded.rows_rising(tmp_path, lie, np.array([0, place, size + 1]))
        with pytest.raises(DamagedFile, match="has the number -1"):
            bounded.within(tmp_path, np.where(rising == place, -1, rising), size + 1)


def test_what_an_index_holds_is_looked_at_once_and_not_at_every_opening(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    looked, real = [], bounded.rising
    monkeypatch.setattr(bounded, "rising", lambda path, *given: looked.append(path.name) or real(path, *given))
    opened = damage.made("index:generator/bm25", tmp_path / "whole")
    looked.clear()
    opened(tmp_path / "whole")
    assert looked == []
    shutil.copytree(tmp_path / "whole", tmp_path / "copied")
    for _ in range(3):
        opened(tmp_path / "copied")
    assert sorted(looked) == ["starts.npy", "term_offsets.npy"]
