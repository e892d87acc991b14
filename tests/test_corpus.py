"""Ids, documents in memory and documents in Arrow files."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nirank.data import (
    ArrowCorpus,
    Corpus,
    Documents,
    Ids,
    RepeatedId,
    cached_corpus,
    content_bytes,
    gather,
    integers_to_numpy,
    join_texts,
    same_documents,
    to_array,
    to_column,
    write_corpus,
)
from nirank.data.fingerprint import Fingerprint
from nirank.errors import BadInput, DamagedFile
from nirank.kit import cache_folder

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ODD = ["d1", "d 2", "é", "e\u0301", "😀", "🧔‍♂️", "\x00", "#", '"', "\\", "日本", "\u2028"]


def batch(ids, titles, texts):
    return {"id": ids, "title": titles, "text": texts}


@pytest.fixture
def arrow(tmp_path):
    """Five documents in three batches, one of them empty."""
    batches = [
        batch(["a", "b"], ["Title", ""], ["text", "only text"]),
        batch([], [], []),
        batch(["c", "d", "😀"], ["only title", "", "é"], ["", "", "ü"]),
    ]
    return write_corpus(tmp_path / "corpus.arrow", batches)


CONTENTS = ["Title text", "only text", "only title", "", "é ü"]


# Ids


def test_ids_are_a_sequence_of_strings():
    ids = Ids(ODD)
    assert len(ids) == len(ODD)
    assert list(ids) == ODD
    assert [ids[number] for number in range(len(ODD))] == ODD
    assert ids[-1] == ODD[-1]
    assert ids[np.int64(4)] == "😀"
    assert ids[2:9:3] == ODD[2:9:3]
    assert ids[::-1] == ODD[::-1]
    assert "😀" in ids
    assert ids.index("é") == 2


def test_ids_print_their_number_and_the_first_few():
    assert repr(Ids(["a", "b", "c", "d"])) == "<4 ids: a, b, c, ...>"
    assert repr(Ids(["a"])) == "<1 ids: a>"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_ids_come_from_any_arrow_column_of_strings(kind):
    chunks = pa.chunked_array([pa.array(["a", "b"]).cast(kind), pa.array(["c"]).cast(kind)])
    assert list(Ids(chunks)) == ["a", "b", "c"]
    assert list(Ids(chunks.chunk(0))) == ["a", "b"]


def test_ids_refuse_the_first_repetition_and_name_it():
    with pytest.raises(BadInput, match="documents 2 and 4 both have the id 'b'") as caught:
        Ids(["a", "b", "c", "b", "a"])
    assert isinstance(caught.value, RepeatedId)
    assert caught.value.ordinals == (1, 3)


@pytest.mark.parametrize("chunk", [1, 7, 5000])
def test_a_repetition_among_ids_that_have_ends_and_length_in_common_is_found(chunk):
    names = [f"collection-{number:05}-00000000" for number in range(3000)] + ["", "short", "é", "a" * 40]

    def chunked(ids):
        return pa.chunked_array([pa.array(ids[start : start + chunk]) for start in range(0, len(ids), chunk)])

    assert list(Ids(chunked(names))) == names
    for again in ("collection-02999-00000000", "collection-00000-00000000", "", "é", "a" * 40):
        with pytest.raises(RepeatedId) as caught:
            Ids(chunked([*names, "new", again, names[5]]))
        assert caught.value.ordinals == (names.index(again), len(names) + 1)
        assert caught.value.repeated == again
    assert list(Ids(pa.chunked_array([pa.array([""])]))) == [""]
    with pytest.raises(RepeatedId):
        Ids(pa.chunked_array([pa.array([""]), pa.array([], pa.string()), pa.array([""])]))


def test_ids_refuse_nulls_numbers_and_half_surrogates():
    with pytest.raises(BadInput, match="1 of 2 ids are null"):
        Ids(pa.array(["a", None]))
    with pytest.raises(BadInput, match="strings are expected, not a column of int64"):
        Ids(pa.array([1, 2]))
    with pytest.raises(BadInput, match="strings of valid Unicode"):
        Ids(["a", 2])
    with pytest.raises(BadInput, match="strings of valid Unicode"):
        Ids(["\ud83d"])


def test_find_gives_the_ordinal_or_minus_one():
    ids = Ids(ODD)
    assert ids.find(["😀", "unknown", "d1", "😀"]).tolist() == [4, -1, 0, 4]
    assert ids.find(["e\u0301", "é"]).tolist() == [3, 2], "normal forms of Unicode are different ids"
    assert ids.find([]).tolist() == []
    assert Ids([]).find(["a"]).tolist() == [-1]
    assert Ids([]).find([]).tolist() == []
    assert ids.find(pa.array(["é", None])).tolist() == [2, -1]
    assert ids.find(["é"]).dtype == np.int64


@given(st.lists(TEXT, unique=True), st.lists(TEXT))
def test_find_agrees_with_a_dictionary_whichever_side_is_longer(known, wanted):
    place = {string: number for number, string in enumerate(known)}
    wanted += known[::2]
    assert Ids(known).find(wanted).tolist() == [place.get(string, -1) for string in wanted]


def test_find_looks_through_all_chunks():
    ids = Ids(pa.chunked_array([pa.array(["a"]), pa.array([], pa.string()), pa.array(["b", "c"])]))
    assert ids.find(["c", "a", "z"]).tolist() == [2, 0, -1]
    assert ids.take([2, 0, 2]) == ["c", "a", "c"]


def test_take_refuses_what_is_no_ordinal():
    ids = Ids(["a", "b"])
    assert ids.take([]) == []
    assert ids.take(np.array([1, 0], np.int32)) == ["b", "a"]
    for wrong in ([2], [-1], [0.5], [[0]], [True, False]):
        with pytest.raises(IndexError):
            ids.take(wrong)


# Columns of strings


@given(st.lists(st.lists(TEXT, max_size=4), max_size=5), st.data())
def test_gather_takes_the_same_strings_however_they_are_cut(chunks, data):
    flat = [string for chunk in chunks for string in chunk]
    wanted = data.draw(st.lists(st.integers(0, len(flat) - 1))) if flat else []
    column = pa.chunked_array([pa.array(chunk, pa.large_string()) for chunk in chunks], pa.large_string())
    assert gather(column, np.array(wanted, np.int64)).to_pylist() == [flat[number] for number in wanted]


def test_gather_reads_a_chunk_that_is_a_slice():
    column = pa.chunked_array([pa.array(["x", "a", "b"], pa.large_string())[1:]])
    assert gather(column, np.array([1, 0])).to_pylist() == ["b", "a"]


@given(st.lists(TEXT))
def test_strings_go_into_arrow_and_back(texts):
    array = to_array(texts)
    assert array.to_pylist() == texts
    assert to_column(texts).type == pa.large_string()
    array.validate(full=True)


def test_null_becomes_minus_one():
    numbers = pa.chunked_array([pa.array([3, None], pa.int32()), pa.array([1], pa.int32())])
    assert integers_to_numpy(numbers).tolist() == [3, -1, 1]


def test_join_leaves_out_what_is_empty_or_null():
    columns = [pa.array(column, pa.large_string()) for column in (["a", "", "a", ""], ["b", "b", None, ""])]
    assert join_texts(columns).to_pylist() == ["a b", "b", "a", ""]


# Documents


def test_documents_give_contents_by_ordinals_slice_and_number():
    corpus = Documents(["a", "b", "c"], ["A", "B", "C"])
    assert isinstance(corpus, Corpus)
    assert corpus[np.array([2, 0, 2])] == ["C", "A", "C"]
    assert corpus[1:] == ["B", "C"]
    assert corpus[1] == corpus[np.int32(1)] == "B"
    assert corpus[-1] == "C"
    assert corpus[[]] == []
    assert list(corpus) == ["A", "B", "C"]
    assert len(corpus) == 3
    assert list(corpus.ids) == ["a", "b", "c"]


@pytest.mark.parametrize("wrong", [[3], [-1], 3, [[0]]])
def test_an_ordinal_out_of_range_is_an_index_error(wrong, arrow):
    small = Documents(["a", "b", "c"], ["A", "B", "C"])
    beyond = [5] if wrong == [3] else 5 if wrong == 3 else wrong
    with pytest.raises(IndexError):
        small[wrong]
    with pytest.raises(IndexError):
        arrow[beyond]


def test_documents_need_one_id_each():
    with pytest.raises(BadInput, match="1 ids for 2 documents"):
        Documents(["a"], ["A", "B"])


def test_fingerprints_differ_where_ids_contents_order_or_cuts_differ():
    corpora = [
        Documents([], []),
        Documents(["a", "b"], ["x", "y"]),
        Documents(["a", "b"], ["y", "x"]),
        Documents(["b", "a"], ["x", "y"]),
        Documents(["a", "b"], ["xy", ""]),
        Documents(["a", "b"], ["", "xy"]),
        Documents(["ab", "c"], ["x", "y"]),
        Documents(["a", "bc"], ["x", "y"]),
        Documents(["a", "b", "c"], ["x", "y", ""]),
    ]
    prints = {corpus.fingerprint for corpus in corpora}
    assert len(prints) == len(corpora)
    assert all(len(fingerprint) == 32 for fingerprint in prints)


def test_a_fingerprint_is_the_same_on_every_machine():
    # noted when the format was made: where this changes, every index on disk becomes stale
    assert Documents(["a", "😀"], ["x", "é"]).fingerprint == "c2810bd47201421293e24d9c3aa84ada"


def test_texts_are_hashed_together_as_one_by_one(tmp_path):
    (tmp_path / "file").write_bytes(b"from a file")
    kinds = ["", "plain", "é", "\ud800", b"bytes", tmp_path / "file", "x" * 300]
    several = np.random.default_rng(3).choice(len(kinds), 3_000, p=[0.1, 0.85, 0.01, 0.01, 0.01, 0.01, 0.01])
    for contents in ([kinds[number] for number in several], ["plain"] * 256, ["plain"] * 257 + ["é"] * 600, []):
        together, lengths, bytes_ = Fingerprint().contents, hashlib.blake2b(), hashlib.blake2b()
        together.add_each(iter(contents))
        for content in map(content_bytes, contents):
            lengths.update(len(content).to_bytes(8, "little"))
            bytes_.update(content)
        assert together.digest() == lengths.digest() + bytes_.digest()


def test_the_fingerprint_of_pictures_is_that_of_their_bytes(tmp_path):
    from PIL import Image

    for name, data in (("one", b"1"), ("copy", b"1"), ("other", b"2")):
        (tmp_path / name).write_bytes(data)
    one, copy, other = (Documents(["a"], [tmp_path / name]).fingerprint for name in ("one", "copy", "other"))
    assert one == copy != other
    images = [
        Image.new("RGB", (2, 3)),
        Image.new("RGB", (3, 2)),
        Image.new("RGB", (2, 3), "red"),
        Image.new("L", (6, 3)),
    ]
    assert len({Documents(["a"], [image]).fingerprint for image in images}) == 4
    with pytest.raises(BadInput, match="not int"):
        _ = Documents(["a"], [3]).fingerprint


# Arrow files


def test_an_arrow_corpus_joins_title_and_text(arrow):
    assert isinstance(arrow, Corpus)
    assert len(arrow) == 5
    assert arrow[:] == CONTENTS
    assert list(arrow) == CONTENTS
    assert arrow[np.array([4, 0, 4])] == ["é ü", "Title text", "é ü"]
    assert arrow[1:4:2] == ["only text", ""]
    assert arrow[4] == "é ü"
    assert arrow[-5] == "Title text"
    assert arrow[[]] == []
    assert list(arrow.ids) == ["a", "b", "c", "d", "😀"]
    assert repr(arrow) == "<ArrowCorpus corpus.arrow: 5 documents>"


def test_an_arrow_corpus_gives_its_fields_one_by_one(arrow):
    assert arrow.fields == ("title", "text")
    assert arrow.column("title", [2, 1]) == ["only title", ""]
    assert arrow.column("text", slice(0, 2)) == ["text", "only text"]
    with pytest.raises(BadInput, match="no field 'url'; there are title, text"):
        arrow.column("url", [0])


def test_memory_and_file_have_one_fingerprint(arrow):
    in_memory = Documents(["a", "b", "c", "d", "😀"], CONTENTS)
    assert arrow.fingerprint == in_memory.fingerprint
    assert arrow._computed_fingerprint() == in_memory.fingerprint, "the stamp in the file is what its columns say"


def test_an_arrow_corpus_travels_as_its_path(arrow):
    assert len(pickle.dumps(arrow)) < 400
    assert pickle.loads(pickle.dumps(arrow))[:] == CONTENTS


def test_other_fields_can_be_written(tmp_path):
    corpus = write_corpus(tmp_path / "x", [{"id": ["1"], "a": ["A"], "b": [""], "c": ["C"]}], fields=("a", "b", "c"))
    assert corpus.fields == ("a", "b", "c")
    assert corpus[0] == "A C"


def test_an_arrow_file_of_someone_else_is_a_corpus_too(tmp_path):
    table = pa.table({"number": [1, 2], "id": ["a", "b"], "body": ["B", None]})
    with pa.ipc.new_file(str(tmp_path / "foreign.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    corpus = ArrowCorpus(tmp_path / "foreign.arrow")
    assert corpus.fields == ("body",)
    assert corpus[:] == ["B", ""]
    assert corpus.column("body", [1]) == [""]
    assert corpus.fingerprint == Documents(["a", "b"], ["B", ""]).fingerprint


def test_what_is_no_corpus_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match=r"nothing: cannot be read as an Arrow file"):
        ArrowCorpus(tmp_path / "nothing")
    (tmp_path / "text").write_text("text")
    with pytest.raises(BadInput, match="cannot be read as an Arrow file"):
        ArrowCorpus(tmp_path / "text")
    table = pa.table({"id": [1], "text": ["a"]})
    with pa.ipc.new_file(str(tmp_path / "numbers"), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(BadInput, match="'id' and 'text' are expected; the columns are id, text"):
        ArrowCorpus(tmp_path / "numbers")


def test_repeated_ids_in_another_batch_are_found_and_nothing_is_left(tmp_path):
    with pytest.raises(RepeatedId, match="documents 1 and 3"):
        write_corpus(tmp_path / "x", [batch(["a", "b"], ["", ""], ["", ""]), batch(["a"], [""], [""])])
    with pytest.raises(BadInput, match="x: a corpus without documents"):
        write_corpus(tmp_path / "x", [])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_fails_halfway_leaves_the_old_one(tmp_path):
    def failing():
        yield batch(["b"], [""], ["new"])
        raise OSError(28, "No space left on device")

    write_corpus(tmp_path / "x", [batch(["a"], [""], ["old"])])
    with pytest.raises(OSError, match="No space left"):
        write_corpus(tmp_path / "x", failing())
    assert ArrowCorpus(tmp_path / "x")[:] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.seal.json"]


def test_a_damaged_corpus_is_told_and_one_of_the_cache_is_made_again(tmp_path, caplog):
    def documents():
        return [batch(["a", "b"], ["", ""], ["one two", "three"])]

    made = cached_corpus("small", [1], documents, cache=tmp_path)
    expected = made[:]
    content = bytearray(made.path.read_bytes())
    content[content.index(b"three")] ^= 1
    del made
    (path,) = (tmp_path / "corpora").glob("*.arrow")
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match="its contents are not those that were written"):
        ArrowCorpus(path)
    assert cached_corpus("small", [1], documents, cache=tmp_path)[:] == expected
    assert "It is now made again." in caplog.text


def test_the_cache_is_asked_before_anything_is_read(tmp_path):
    def unread():
        raise AssertionError("read again")

    first = cached_corpus("c", ["source", 1], lambda: [batch(["a"], [""], ["A"])], cache=tmp_path)
    assert cached_corpus("c", ["source", 1], unread, cache=tmp_path).path == first.path
    with pytest.raises(AssertionError, match="read again"):
        cached_corpus("c", ["source", 2], unread, cache=tmp_path)


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("NIRANK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/nirank")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "nirank"


def test_a_corpus_is_used_without_pandas(arrow):
    program = f"""
import sys
from nirank.data import ArrowCorpus, Documents
corpus = ArrowCorpus({str(arrow.path)!r})
assert corpus[[4, 0]] and corpus.ids.find(["c"]).tolist() == [2] and corpus.fingerprint
assert Documents(["a", "b"], ["A", "B"]).fingerprint
sys.exit(len({{"pandas", "scipy", "torch"}} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_file_of_large_strings_is_opened_without_the_functions_of_arrow(arrow):
    program = f"""
import sys
from nirank.data import ArrowCorpus
corpus = ArrowCorpus({str(arrow.path)!r})
assert corpus.ids.take([2, 0]) == {arrow.ids.take([2, 0])!r}
sys.exit("pyarrow.compute" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_documents_are_the_same_by_id_and_content_wherever_they_stand():
    before = Documents(["a", "b", "c", "d"], ["one", "two", "three", ""])
    after = Documents(["d", "x", "b", "a"], ["", "one", "2", "one"])
    assert same_documents(after, before).tolist() == [3, -1, -1, 0]
    assert same_documents(before, after).tolist() == [3, -1, -1, 0]
    assert same_documents(before, before).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [0, 1, 64, 65, 300])
def test_few_ids_are_read_as_many_are(count):
    names = ["", "é", *(f"d{number}" for number in range(198))]
    whole = Documents(names, names).ids
    sliced = Ids(to_array(["before", *names]).slice(1))
    ordinals = np.random.default_rng(count).integers(0, 200, count)
    expected = [names[place] for place in ordinals]
    assert whole.take(ordinals) == whole.gather(ordinals).to_pylist() == expected
    assert sliced.take(ordinals) == expected
    for wrong in ([200], [-1]):
        with pytest.raises(IndexError, match="there is no document"):
            whole.take(wrong)
