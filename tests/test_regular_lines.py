"""Files that are read as columns, beside the same ones read line by line."""

import codecs

import numpy as np
import pytest

from nirank.errors import BadInput
from nirank.formats import read_qrels, read_run, read_subtopics, regular_lines, trec_lines
from nirank.formats.slices import Slices
from tests.run_rows import rows

RUN = "q1 Q0 d1 1 2.5 tag\nq1 Q0 d2 2 -1e-3 tag\nquery2 Q0 d1 1 7 tag\n"
EXPECTED = {"q1": {"d1": 2.5, "d2": float(np.float32(-0.001))}, "query2": {"d1": 7.0}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.fixture
def as_columns(monkeypatch):
    """A file is read as columns, or not at all."""
    monkeypatch.setattr(trec_lines, "_read_any", None)


def a_run(queries, depth, seed=0):
    """Lines with ids of all lengths, some of them beyond ASCII, and all kinds of numbers."""
    rng = np.random.default_rng(seed)
    ids = [f"{'é日x'[doc % 3] * (doc % 40)}{doc}" for doc in range(depth)]
    names = [f"{'query' * (query % 5)}{query}" for query in range(queries)]
    return "".join(
        f"{query} Q0 {ids[doc]} {rank} {score:.{rank % 18}g} tag\n"
        for query in names
        for rank, (doc, score) in enumerate(zip(rng.permutation(depth), rng.normal(size=depth), strict=True), 1)
    )


@pytest.mark.parametrize(
    "text",
    [
        RUN,
        RUN.replace(" ", "\t"),
        RUN.replace("\n", "\r\n"),
        RUN.rstrip("\n"),
        RUN.replace("\n", "\r\n").rstrip("\r\n"),
        RUN.replace("\n", "\r"),
        RUN + "\n",
        RUN.replace("\n", "\r\n") + "\r\n",
        RUN.replace("\n", "\n\n\n\n"),
        "\n \n# a comment\n" + RUN,
        "\r\n# a comment\r\n" + RUN.replace("\n", "\r\n"),
        codecs.BOM_UTF8.decode() + RUN,
    ],
)
def test_lines_may_end_and_begin_as_files_have_them(path, as_columns, text):
    path.write_bytes(text.encode())
    run = read_run(path)
    assert rows(run) == EXPECTED
    assert (run.query_ids, list(run.ids), run.tag) == (["q1", "query2"], ["d1", "d2"], "tag")


@pytest.mark.parametrize("size", [1, 30, 1000, 4096, 1 << 20])
def test_parts_of_any_size_are_read_as_line_by_line(path, size, monkeypatch):
    text = a_run(20, 60)
    path.write_text(text.replace(" Q0", "  Q0"))
    patient = read_run(path)
    path.write_text(text)
    monkeypatch.setattr(regular_lines, "_PART", size)
    monkeypatch.setattr(trec_lines, "_read_any", None)
    run = read_run(path)
    assert (run.query_ids, list(run.ids), run.tag) == (patient.query_ids, list(patient.ids), patient.tag)
    assert run.candidates.offsets.tolist() == patient.candidates.offsets.tolist()
    assert run.candidates.docs.tolist() == patient.candidates.docs.tolist()
    assert run.candidates.scores.tobytes() == patient.candidates.scores.tobytes()


def test_lines_that_grow_shorter_find_room(path, as_columns, monkeypatch):
    monkeypatch.setattr(regular_lines, "_PART", 200)
    path.write_text("".join(f"q Q0 {'d' * (100 - doc)} {doc} {-doc} t\n" for doc in range(99)))
    assert read_run(path).candidates.scores.tolist() == [-doc for doc in range(99)]


def test_judgments_of_all_layouts_are_columns(path, as_columns):
    path.write_text("a 0 x 1\nb 0 y -2\na 0 y 0\n")
    assert rows(read_qrels(path)) == {"a": {"x": 1, "y": 0}, "b": {"y": -2}}
    path.write_text("query-id\tcorpus-id\tscore\na\tx 1\t1\nb\t日 本\t2\n")
    assert rows(read_qrels(path)) == {"a": {"x 1": 1}, "b": {"日 本": 2}}
    path.write_text("a 1 x 1\na 2 x 0\na 1 y 1\n")
    subtopics = read_subtopics(path)
    assert subtopics.subtopic_ids == ["1", "2"]
    assert rows(subtopics.documents) == {"a": {"x": 1, "y": 1}}


@pytest.mark.parametrize("odd", ["q Q0 d  1.5 t", "q Q0 d 1 1.5 ", "q  d 1 1.5 t", " Q0 d 1 1.5 t", "q Q0  1 1.5 t"])
def test_a_column_that_is_empty_is_missing(path, odd):
    path.write_text(f"{RUN}{odd}\n")
    with pytest.raises(BadInput, match=r":4: 6 columns .* are expected, but the line has 5"):
        read_run(path)


def test_documents_are_told_apart_where_their_fingerprints_are_not(path, as_columns, monkeypatch):
    lines = [f"{query} Q0 {doc:04}{'x' * 16} 1 1 t\n" for query in "ab" for doc in range(1500)]
    path.write_text("".join(lines))
    assert len(read_run(path).ids) == 1500
    path.write_text("".join(lines[::2] + lines[1::2]))  # no query's lines stand together
    assert len(read_run(path).ids) == 1500
    path.write_text("".join([*lines, lines[1700]]))
    with pytest.raises(TypeError):  # the reader that would have told the line is not there
        read_run(path)


def test_slices_of_a_text_are_strings():
    names = Slices("ab,日,c".encode(), np.array([0, 3, 7], np.int32), np.array([2, 6, 8], np.int32))
    assert names.take(np.array([0, 2])).to_pylist() == ["ab", "c"]
    assert names.take(np.empty(0, np.int64)).to_pylist() == []
    dictionary, codes = names.encoded()
    assert (dictionary.to_pylist(), codes.tolist()) == (["ab", "日", "c"], [0, 1, 2])
