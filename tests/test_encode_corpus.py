"""Ranges of a corpus that are encoded elsewhere: out of order, twice, never, cut wrongly, and after an interruption."""

from __future__ import annotations

import numpy as np
import pytest

from nirank.data import Documents
from nirank.errors import BadInput, ComponentError
from nirank.execution import indexes, stages
from nirank.hooks import hookimpl
from nirank.kit import chunks, ragged_files
from nirank.plugins import Component, build
from nirank.plugins.observers import switched_on
from nirank_dense import stored

CHUNK = 4
TEXTS = ["x" * (number % 7) + chr(97 + number % 26) for number in range(30)]
CORPUS = Documents([str(number) for number in range(len(TEXTS))], TEXTS)


class Letters:
    """Encodes a text by its length, its first letter and the length of its batch: one cut otherwise is another."""

    vectors = "dense"
    fingerprint = "letters by batch"

    def __init__(self):
        self.texts = []

    def encode_documents(self, contents):
        self.texts += contents
        return np.array([[len(text), ord(text[-1]), len(contents)] for text in contents], np.float32)

    encode = encode_documents


class Elsewhere:
    """Answers with ranges as `change` arranges them: pairs of a range and its vectors."""

    def __init__(self, change):
        self.change, self.asked, self.closed = change, [], False

    @hookimpl
    def nirank_encode_corpus(self, encoder, corpus, ranges):
        self.asked += ranges
        return self._answer(encoder, corpus, ranges)

    def _answer(self, encoder, corpus, ranges):
        made = [(one, stages.encode_documents(encoder, corpus[one.start : one.stop])) for one in ranges]
        try:
            yield from self.change(made)
        finally:
            self.closed = True


def _write(folder, plugin=None, corpus=CORPUS, encoder=None, known=None):
    encoding = stages.Encoding(Component("letters", encoder or Letters()))
    with switched_on([plugin] if plugin else []):
        return np.array(stored.write(corpus, folder, encoding, CHUNK, known))


def _shuffled(made):
    return [made[place] for place in np.random.default_rng(3).permutation(len(made))]


def _dying(made):
    yield from made[:-4:-1]
    yield made[0]
    yield made[2]
    raise KeyboardInterrupt


@pytest.fixture
def expected(tmp_path):
    (tmp_path / "expected").mkdir()
    return _write(tmp_path / "expected")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "growing").mkdir()
    return tmp_path / "growing"


@pytest.mark.parametrize("change", [list, _shuffled, lambda made: made[::-1]], ids=["in order", "shuffled", "reversed"])
def test_vectors_stand_where_their_documents_do_whatever_the_order(folder, expected, change):
    plugin = Elsewhere(change)
    assert np.array_equal(_write(folder, plugin), expected)
    assert plugin.asked == [range(start, min(start + CHUNK, len(TEXTS))) for start in range(0, len(TEXTS), CHUNK)]
    assert [path.name for path in folder.iterdir()] == [stored.VECTORS]


def test_a_plugin_that_returns_none_leaves_it_to_the_core(folder, expected):
    class Silent:
        @hookimpl
        def nirank_encode_corpus(self, encoder, corpus, ranges):
            return None

    assert np.array_equal(_write(folder, Silent()), expected)


_FAULTS = {
    "twice": (lambda made: [made[0], made[0], *made[1:]], "documents 0 up to 4 came, and was not asked for, or came"),
    "twice before its turn": (lambda made: [made[3], made[3], *made], "documents 12 up to 16 came, and was not"),
    "twice at the end": (lambda made: [*made, made[2]], "documents 8 up to 12 came when all had come"),
    "never": (lambda made: made[:2] + made[3:], "documents 8 up to 12 never came"),
    "nothing": (lambda made: [], "documents 0 up to 4 never came"),
    "cut wrongly": (lambda made: [(range(2), made[0][1][:2]), *made], "documents 0 up to 2 came, and was not asked"),
    "too few vectors": (lambda made: [(made[0][0], made[0][1][:3])], "documents 0 up to 4 came with 3 vectors"),
    "not a number": (lambda made: [(made[0][0], made[0][1] * np.nan)], "4 of the 4 vectors .* contain NaN"),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_range_that_comes_otherwise_than_once_and_whole_is_told(folder, fault):
    change, message = _FAULTS[fault]
    plugin = Elsewhere(change)
    with pytest.raises(ComponentError, match=message):
        _write(folder, plugin)
    assert plugin.closed


def test_after_an_interruption_only_what_is_missing_is_encoded(folder, expected):
    with pytest.raises(KeyboardInterrupt):
        _write(folder, Elsewhere(_dying))
    resumed, encoder = Elsewhere(_shuffled), Letters()
    assert np.array_equal(_write(folder, resumed, encoder=encoder), expected)
    assert resumed.asked == [range(4, 8), range(12, 16), range(16, 20)]  # 0 is written; 8 and the last three wait
    assert sorted(encoder.texts) == sorted(TEXTS[4:8] + TEXTS[12:20])
    assert [path.name for path in folder.iterdir()] == [stored.VECTORS]


def test_a_damaged_file_of_a_range_that_waits_is_not_used(folder, expected):
    with pytest.raises(KeyboardInterrupt):
        _write(folder, Elsewhere(_dying))
    path = folder / chunks.WAITING / "24-28.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    (folder / chunks.WAITING / "8-12.npz").write_bytes(b"")
    resumed = Elsewhere(list)
    assert np.array_equal(_write(folder, resumed), expected)
    assert {range(24, 28), range(8, 12)} < set(resumed.asked)


def test_files_that_wait_for_other_ranges_are_left_and_removed(folder, expected):
    (folder / chunks.WAITING).mkdir()
    np.savez(folder / chunks.WAITING / "8-11.npz", vectors=np.zeros((3, 3), np.float32))
    assert np.array_equal(_write(folder), expected)
    assert not (folder / chunks.WAITING).exists()


def _known(rows):
    vectors = np.arange(30, dtype=np.float32).reshape(10, 3)
    return stored.KnownVectors(vectors, np.array(rows))


def test_of_a_changed_corpus_ranges_that_are_all_new_are_encoded_elsewhere_too(folder, tmp_path):
    rows = [0, 1, 2, 3, 4, -1, 5, -1, *[-1] * 22]
    plugin = Elsewhere(_shuffled)
    found = _write(folder, plugin, known=_known(rows))
    assert plugin.asked == [range(start, min(start + 4, 30)) for start in range(8, 30, 4)]
    (tmp_path / "here").mkdir()
    assert np.array_equal(found, _write(tmp_path / "here", known=_known(rows)))
    assert np.array_equal(found[[0, 6]], _known(rows).vectors[[0, 5]])
    assert found[5].tolist() == [len(TEXTS[5]), ord(TEXTS[5][-1]), 2]


@pytest.mark.parametrize("change", [_shuffled, _dying], ids=["shuffled", "interrupted"])
def test_ragged_columns_are_the_same_in_any_order(folder, tmp_path, change):
    def split(vectors):
        lengths = vectors[:, 0].astype(np.int32)
        return lengths, {"letters": np.repeat(vectors[:, 1], lengths)}

    def written(folder, plugin):
        with switched_on([plugin] if plugin else []):
            ragged_files.write(CORPUS, folder, stages.Encoding(Component("letters", Letters())), split, CHUNK)
        offsets, columns = ragged_files.read(folder)
        return offsets, columns["letters"]

    (tmp_path / "here").mkdir()
    expected = written(tmp_path / "here", None)
    if change is _dying:
        with pytest.raises(KeyboardInterrupt):
            written(folder, Elsewhere(change))
    for found, wanted in zip(written(folder, Elsewhere(_shuffled)), expected, strict=True):
        assert np.array_equal(found, wanted)


def test_an_index_is_built_and_sealed_from_ranges_of_any_order(folder, tmp_path):
    encoder, files = Component("letters", Letters()), {}
    for name, observers in (("here", []), ("elsewhere", [Elsewhere(_shuffled)])):
        with switched_on(observers):
            made = indexes.prepare(build("exact", {"chunk": CHUNK}), CORPUS, encoder, tmp_path / name)
        files[name] = {path.name: path.read_bytes() for path in made.iterdir()}
    assert files["here"] == files["elsewhere"]


class Wider(Letters):
    """Has a dimension more from the second chunk on, and one less in the third."""

    def encode_documents(self, contents):
        made = super().encode_documents(contents)
        batch = len(self.texts) // CHUNK
        return {2: np.pad(made, ((0, 0), (0, 1))), 3: made[:, :2]}.get(batch, made)


def test_chunks_of_other_dimensions_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"shape \(4, 4\) from document 5 on; those before it have 3 dimensions"):
        _write(tmp_path, encoder=Wider())


def test_an_interrupted_build_goes_on_with_the_dimensions_that_it_had(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _write(tmp_path, Elsewhere(_dying))
    other = Wider()
    other.texts = ["before"] * CHUNK
    with pytest.raises(BadInput, match="those before it have 3 dimensions"):
        _write(tmp_path, encoder=other)


def test_ragged_rows_of_another_shape_are_refused(tmp_path):
    def split(vectors):
        return np.ones(len(vectors), np.int64), {"rows": vectors}

    with pytest.raises(BadInput, match="another shape or type from document 5 on"):
        ragged_files.write(CORPUS, tmp_path, Wider().encode_documents, split, CHUNK)


@pytest.mark.parametrize("odd", [None, (1, 2, 3), ("1", np.ones((4, 3))), (range(4), None), (range(4), np.array(1.0))])
def test_what_is_no_range_with_vectors_is_told(tmp_path, odd):
    with pytest.raises(ComponentError, match=r"a range and its vectors|and no vectors|never came"):
        _write(tmp_path, Elsewhere(lambda made: [odd, *made[1:]]))


def test_a_waiting_file_under_another_name_is_made_again(tmp_path, expected):
    (folder := tmp_path / "index").mkdir()
    with pytest.raises(KeyboardInterrupt):
        _write(folder, Elsewhere(_dying))
    first, second = sorted((folder / chunks.WAITING).glob("*.npz"))[:2]
    first.write_bytes(second.read_bytes())
    np.testing.assert_array_equal(_write(folder), expected)
