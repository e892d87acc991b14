"""LETOR's files: what is read, what is refused with its line, what is written and read again, folds, given features."""

from __future__ import annotations

import bz2
import gzip
import lzma

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("torch")

import nirank
from nirank.data import Candidates, Features, Queries
from nirank.errors import BadInput, UnknownName
from nirank_ltr.letor_features import GivenFeatures
from nirank_ltr.letor_files import read_letor, write_letor

FILE = """\
# a comment, and then an empty line

2 qid:10 1:0.5 2:-1e-3 3:7 # docid = GX-1 inc = 1 prob = 0.5
0 qid:10 1:1 3:.25 #docid=GX-2
1.0 qid:b 2:NULL 3:nan
 0\tqid:b  1:3E2 \t #GX-1
0 qid:b 1:+4. # this is no name\r
"""


def _file(tmp_path, text, name="file.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_lines_become_lists_with_features(tmp_path):
    found = read_letor(_file(tmp_path, FILE))
    assert found.queries == ["10", "b"]
    assert found.offsets.tolist() == [0, 2, 5]
    assert found.labels.tolist() == [2, 0, 1, 0, 0]
    assert found.documents == ["GX-1", "GX-2", "b-1", "GX-1", "b-3"]
    assert found.names == ("1", "2", "3")
    nan = np.nan
    expected = [[0.5, -0.001, 7], [1, 0, 0.25], [0, nan, nan], [300, 0, 0], [4, 0, 0]]
    np.testing.assert_array_equal(found.values, np.array(expected, np.float32))
    assert np.isnan(read_letor(tmp_path / "file.txt", absent=np.nan).values).sum() == 2 + 6


def test_how_many_features_there_are_may_be_said(tmp_path):
    path = _file(tmp_path, FILE)
    assert read_letor(path, features=5).values.shape == (5, 5)
    with pytest.raises(BadInput, match=r"file.txt: has a feature 3, but features = 2"):
        read_letor(path, features=2)
    assert read_letor(_file(tmp_path, "1 qid:1 0:5 2:6\n", "zero.txt")).names == ("0", "1", "2")
    assert read_letor(_file(tmp_path, "1 qid:1\n", "bare.txt")).values.shape == (1, 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x qid:1 1:2", "the label at the beginning is not a number"),
        ("nan qid:1 1:2", "the label at the beginning is not a number"),
        ("1qid:1 1:2", "the label at the beginning is not a number"),
        ("1 qid:1 2", "INDEX:VALUE"),
        ("1 qid:1 a:2", "INDEX:VALUE"),
        ("1 qid:1 -1:2", "INDEX:VALUE"),
        ("1 qid:1 :2", "INDEX:VALUE"),
        ("1 qid:1 1:2 1:3", "has to be larger"),
        ("1 qid:1 2:2 1:3", "has to be larger"),
        ("1 qid:1 99999999999999999999:2", "beyond 1,000,000"),
        ("1 qid:1 1:", "the value of a feature is not a number"),
        ("1 qid:1 1:2x", "the value of a feature is not a number"),
        ("1 qid:1 1:1e", "the value of a feature is not a number"),
        ("1 qid:1 1:.", "the value of a feature is not a number"),
        ("1 qid:1 1:inf", "the value of a feature is not a number"),
        ("1 qid:1 1:1e999", "the value of a feature is not a number"),
        ("1 1:2", "this line has no qid:QUERY"),
        ("1 qid: 1:2", "this line has no qid:QUERY"),
    ],
)
def test_a_line_of_another_layout_is_told_with_its_number(tmp_path, line, message):
    path = _file(tmp_path, f"0 qid:1 1:2\n# a comment\n{line}\n")
    with pytest.raises(BadInput, match=f"file.txt:3: .*{message}"):
        read_letor(path)


def test_lists_that_are_not_whole_and_documents_that_come_twice_are_told(tmp_path):
    with pytest.raises(BadInput, match=r"file.txt:3: the lines of the query '7' are not consecutive"):
        read_letor(_file(tmp_path, "0 qid:7 1:1\n0 qid:8 1:1\n0 qid:7 1:1\n"))
    with pytest.raises(BadInput, match=r"file.txt:2: the document 'a' is listed twice for the query '7'"):
        read_letor(_file(tmp_path, "0 qid:7 1:1 # a\n0 qid:7 1:1 # a\n"))
    with pytest.raises(BadInput, match="the file has no lines"):
        read_letor(_file(tmp_path, "\n# nothing\n"))
    with pytest.raises(BadInput, match="must be UTF-8"):
        read_letor(_file(tmp_path, b"0 qid:\xff\xfe 1:1\n"))
    with pytest.raises(BadInput, match="cannot be read"):
        read_letor(tmp_path / "missing.txt")


def test_numbers_are_read_as_python_reads_them(tmp_path):
    chance = np.random.default_rng(0)
    numbers = [f"{x:.{digits}{kind}}" for kind in "feg" for digits in (1, 6, 17, 25) for x in chance.normal(size=30)]
    numbers += ["0", "-0", "00012", "1e-40", "3.4e38", "1e+05", "123456789012345678901234567890e-20", "5e-324", "1E-5"]
    lines = "".join(f"0 qid:{row} 1:{number}\n" for row, number in enumerate(numbers))
    found = read_letor(_file(tmp_path, lines)).values[:, 0]
    np.testing.assert_array_equal(found, np.array(list(map(float, numbers))).astype(np.float32))


@pytest.mark.parametrize(("ending", "pack"), [("bz2", bz2.compress), ("xz", lzma.compress)])
def test_other_packings_are_read(tmp_path, ending, pack):
    path = tmp_path / f"file.txt.{ending}"
    path.write_bytes(pack(b"1 qid:1 1:2\n0 qid:1 1:3"))
    assert read_letor(path).values.tolist() == [[2.0], [3.0]]


def test_gzip_and_a_byte_order_mark_and_a_last_line_without_an_end(tmp_path):
    path = tmp_path / "file.txt.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf1 qid:1 1:2\n0 qid:1 1:3"))
    assert read_letor(path).values.tolist() == [[2], [3]]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadInput, match="not a complete gzip file"):
        read_letor(path)


def test_lengths_of_lists_may_stand_beside(tmp_path):
    path = _file(tmp_path, "1 1:1\n0 1:2\n0 1:3\n", "rank.train")
    with pytest.raises(BadInput, match=r"no line has a qid:QUERY, and there is no file rank.train.query or"):
        read_letor(path)
    _file(tmp_path, "1\n2\n", "rank.train.query")
    found = read_letor(path)
    assert (found.queries, found.offsets.tolist()) == (["1", "2"], [0, 1, 3])
    for wrong, message in (("1\n1\n", "add up to 2, but"), ("3\n0\n", "numbers from 1"), ("x", "whole number")):
        _file(tmp_path, wrong, "rank.train.query")
        with pytest.raises(BadInput, match=f"rank.train.query: .*{message}"):
            read_letor(path)


def _pairs():
    values = np.array([[0.1, 0], [1e-30, 2], [np.nan, -3.5]], np.float32)
    judged = Candidates.of([[4, 0], [], [4]], [[2, 0], [], [0.5]])
    return judged.with_features(Features(("x", "y"), values)), Queries(["q", "r", "7"], ["a", "b", "c"])


@pytest.mark.parametrize("zeros", [True, False])
def test_what_is_written_is_read_again(tmp_path, zeros):
    pairs, queries = _pairs()
    path = tmp_path / "out" / "file.txt"
    write_letor(path, pairs, queries, ids=["a", "b", "c", "d", "e"], zeros=zeros)
    found = read_letor(path, features=2)
    assert (found.queries, found.documents) == (["q", "7"], ["e", "a", "e"])
    assert found.labels.tolist() == [2, 0, 0.5]
    np.testing.assert_array_equal(found.values, pairs.features.values)
    assert ("2:0" in path.read_text()) == zeros


def test_queries_are_written_as_others_read_them(tmp_path):
    pairs, queries = _pairs()
    write_letor(tmp_path / "numbers", pairs, queries, queries_as="numbers")
    assert [line.split()[1] for line in (tmp_path / "numbers").read_text().splitlines()] == ["qid:1", "qid:1", "qid:3"]
    write_letor(tmp_path / "lengths", pairs, queries, queries_as="lengths")
    assert (tmp_path / "lengths.query").read_text() == "2\n1\n"
    assert (tmp_path / "lengths").read_text().splitlines()[2] == "0.5 1:NaN 2:-3.5"
    lightgbm = pytest.importorskip("lightgbm")
    data = lightgbm.Dataset(str(tmp_path / "lengths"), params={"verbose": -1, "min_data_in_bin": 1}).construct()
    assert (data.num_data(), data.get_label().tolist()) == (3, [2, 0, 0.5])
    assert data.get_group().tolist() == [2, 1]


def test_what_cannot_be_written_is_refused(tmp_path):
    pairs, queries = _pairs()
    with pytest.raises(BadInput, match="have no features"):
        write_letor(tmp_path / "x", pairs.with_features(None), queries)
    with pytest.raises(BadInput, match=r"ids with white space or # cannot be written: \['a b'\]"):
        write_letor(tmp_path / "x", pairs, Queries(["a b", "r", "7"], [""] * 3))
    with pytest.raises(BadInput, match="cannot be written"):
        write_letor(tmp_path / "x", pairs, queries, ids=["#1"] * 5)
    assert list(tmp_path.iterdir()) == []


# Collections


def test_a_file_is_a_collection_whose_queries_come_with_lists(tmp_path):
    found = nirank.collection(f"letor:{_file(tmp_path, FILE)}", absent="missing")
    assert list(found.corpus.ids) == ["GX-1", "GX-2", "b-1", "b-3"]
    assert found.corpus[:] == ["GX-1", "GX-2", "b-1", "b-3"]
    assert [docs.tolist() for docs, _ in found.judgments] == [[0, 1], [2, 0, 3]]
    assert [labels.tolist() for _, labels in found.judgments] == [[2, 0], [1, 0, 0]]
    assert found.queries.found.scores.tolist() == [0] * 5
    assert found.queries.found.features.names == ("1", "2", "3")
    with pytest.raises(BadInput, match="is a file, which has no splits"):
        nirank.collection(f"letor:{tmp_path / 'file.txt'}", split="test")


def test_folders_with_and_without_folds(tmp_path):
    for place, query in (("train.txt", 1), ("valid.txt", 2), ("Fold2/train.txt", 3), ("Fold2/vali.txt", 4)):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        _file(tmp_path, f"1 qid:{query} 1:1\n", place)
    opened = [("train", None), ("vali", None), ("dev", None), ("train", 2), ("dev", 2)]
    ids = [nirank.collection(f"letor:{tmp_path}", split=split, fold=fold).queries.ids for split, fold in opened]
    assert ids == [["1"], ["2"], ["2"], ["3"], ["4"]]
    with pytest.raises(BadInput, match=r"has no test.txt. There are Fold2: set `fold`"):
        nirank.collection(f"letor:{tmp_path}", split="test")
    with pytest.raises(UnknownName, match=r"no split 'tset'. Did you mean 'test'"):
        nirank.collection(f"letor:{tmp_path}", split="tset")
    with pytest.raises(BadInput, match="no such file or folder"):
        nirank.collection(f"letor:{tmp_path / 'nothing'}")


def test_a_folder_of_folds_is_opened_whole_by_what_each_measures(tmp_path):
    for fold in (1, 2, 3):
        (tmp_path / f"Fold{fold}").mkdir()
        for split, query in (("train", fold % 3 + 1), ("vali", (fold + 1) % 3 + 1), ("test", fold)):
            _file(tmp_path, f"1 qid:{query} 1:1\n", f"Fold{fold}/{split}.txt")
    assert nirank.collection(f"letor:{tmp_path}").queries.ids == ["1", "2", "3"]
    (tmp_path / "Fold2" / "test.txt").unlink()
    with pytest.raises(BadInput, match=r"Fold2: has no test.txt, which the other folds have"):
        nirank.collection(f"letor:{tmp_path}")


def test_parts_are_folds_in_turns(tmp_path):
    for part in range(1, 6):
        _file(tmp_path, f"1 qid:{part} 1:1\n", f"S{part}.txt")
    name = f"letor:{tmp_path}"
    assert nirank.collection(name).queries.ids == ["1", "2", "3", "4", "5"]
    for fold in range(1, 6):
        parts = [nirank.collection(name, split=split, fold=fold).queries.ids for split in ("train", "vali", "test")]
        assert [int(query) for part in parts for query in part] == [(fold - 1 + place) % 5 + 1 for place in range(5)]
        assert [len(part) for part in parts] == [3, 1, 1]
    for fold in (None, 0, 6):
        with pytest.raises(BadInput, match=f"fold = {fold}; a number from 1 to 5"):
            nirank.collection(name, split="test", fold=fold)


def test_files_that_do_not_fit_together_are_told(tmp_path):
    for part in range(1, 6):
        _file(tmp_path, f"1 qid:{part} {part}:1\n", f"S{part}.txt")
    with pytest.raises(BadInput, match=r"its files have 1 and 2 and 3 and 4 and 5 features: set `features`"):
        nirank.collection(f"letor:{tmp_path}")
    assert nirank.collection(f"letor:{tmp_path}", features=6).queries.found.features.values.shape == (5, 6)
    _file(tmp_path, "1 qid:1 1:1\n", "S3.txt")
    with pytest.raises(BadInput, match="the query '1' is in two files"):
        nirank.collection(f"letor:{tmp_path}", features=6)


def test_real_parts_have_all_lines(shared):
    found = nirank.collection(f"letor:{shared('ltr_mq2008')}")
    assert (len(found.queries), found.judgments.pairs) == (784, 15_211)
    assert found.queries.found.features.values.shape == (15_211, 46)
    none = np.add.reduceat(found.judgments.scores > 0, found.judgments.offsets[:-1]) == 0
    assert none.sum() == 220
    folder = shared("ltr_lightgbm_lambdarank")
    train = nirank.collection(f"letor:{folder / 'rank.train'}", features=300)
    assert (len(train.queries), train.judgments.pairs, train.judgments.scores.max()) == (201, 3005, 4)


# Features that came with queries


def test_given_features_are_those_of_the_pair_wherever_it_stands(tmp_path):
    opened = nirank.collection(f"letor:{_file(tmp_path, FILE)}")
    given = GivenFeatures()
    asked = opened.queries.take(np.array([1, 0]))
    pairs = Candidates.of([[3, 1, 0], [1]], corpus=opened.corpus)
    values = given.extract(asked, pairs)
    assert given.names == ("1", "2", "3")
    np.testing.assert_array_equal(values, [[4, 0, 0], [np.nan] * 3, [300, 0, 0], [1, 0, 0.25]])
    nothing = asked.with_found(asked.found.where(np.zeros(5, bool)))
    assert np.isnan(given.extract(nothing, pairs)).all()
    chosen = GivenFeatures(names=["3", "1"]).extract(asked, pairs)
    np.testing.assert_array_equal(chosen, values[:, [2, 0]])


def test_given_features_that_are_not_there_are_told(tmp_path):
    opened = nirank.collection(f"letor:{_file(tmp_path, FILE)}")
    with pytest.raises(UnknownName, match="no feature of these queries '12'"):
        GivenFeatures(["12"]).extract(opened.queries, opened.judgments)
    for queries in (Queries.of(["a", "b"]), Queries.of(["a", "b"]).with_found(opened.judgments)):
        with pytest.raises(BadInput, match="these queries bring no features"):
            GivenFeatures().extract(queries, opened.judgments)
    for names in ([], "1"):
        with pytest.raises(BadInput, match="a list of features"):
            GivenFeatures(names)


def test_given_lists_are_ranked_by_their_features(tmp_path):
    opened = nirank.collection(f"letor:{_file(tmp_path, FILE)}")

    class First:
        reads = "features"

        def score(self, queries, candidates):
            return candidates.features.values[:, 0]

    pipeline = nirank.load("given") >> nirank.features(nirank.load("extractor/letor")) >> nirank.load(First())
    found = pipeline.search(opened.queries, opened.corpus)
    assert [docs.tolist() for docs, _ in found] == [[1, 0], [0, 3, 2]]


@pytest.mark.parametrize("end", ["# docid", "# docid =", "#docid=", "#", "# the end"])
def test_a_file_may_end_in_a_comment(tmp_path, end):
    (tmp_path / "letor.txt").write_text(f"2 qid:1 1:0.5 # docid = a\n1 qid:1 1:0.2 {end}")
    assert read_letor(tmp_path / "letor.txt").documents == ["a", "1-2"]
