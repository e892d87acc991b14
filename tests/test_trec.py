import bz2
import codecs
import gzip
import lzma
import os
import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pytest

from nirank.data import Candidates, Documents, Ids, Queries
from nirank.errors import BadInput
from nirank.formats import opening, read_qrels, read_run, trec_lines, write_qrels, write_run
from nirank.formats.topics import read_topics
from nirank.formats.trec import read_judged
from tests.run_rows import rows


def write(folder, text, name="file"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


REGULAR = "q1 Q0 d1 1 2.5 tag\nq1 Q0 d2 2 -1e-3 tag\nq2 Q0 d1 1 7 tag\n"
EXPECTED = {"q1": {"d1": 2.5, "d2": float(np.float32(-0.001))}, "q2": {"d1": 7.0}}


@pytest.mark.parametrize(
    "text",
    [
        REGULAR,
        REGULAR.replace(" ", "\t"),
        REGULAR.replace(" ", "  "),
        REGULAR.replace("d1 ", "d1\t \t"),
        REGULAR.replace("\n", "\r\n"),
        REGULAR.replace("\n", "\n\n  \n"),
        REGULAR.replace("\n", " \n"),
        REGULAR.rstrip("\n"),
        "\n \n" + REGULAR,
        "# a comment of five words\n" + REGULAR,
        REGULAR.replace("tag\n", "tag and more\n"),
        REGULAR.replace("q2 Q0 d1 1 7 tag", "q2 Q0 d1 1 7 tag, then junk"),
        codecs.BOM_UTF8 + REGULAR.encode(),
        codecs.BOM_UTF8 + REGULAR.replace(" ", "  ").encode(),
    ],
)
def test_a_run_is_read_whatever_separates_its_columns(tmp_path, text):
    run = read_run(write(tmp_path, text))
    assert rows(run) == EXPECTED
    assert run.query_ids == ["q1", "q2"]
    assert list(run.ids) == ["d1", "d2"]
    assert run.tag == "tag"
    assert repr(run) == "<Run tag: 2 queries, 2 documents, 3 pairs>"


def test_both_readers_read_the_same(tmp_path):
    rng = np.random.default_rng(0)
    pairs = {(f"q{query}", f"doc-{doc}") for query, doc in rng.integers(0, 200, (3000, 2))}
    text = "".join(f"{query} Q0 {doc} 0 {rng.normal():.7g} x\n" for query, doc in pairs)
    fast, patient = (read_run(write(tmp_path, each)) for each in (text, text.replace(" Q0", "  Q0")))
    assert rows(fast) == rows(patient)
    assert fast.query_ids == patient.query_ids == list(dict.fromkeys(line.split()[0] for line in text.splitlines()))
    assert list(fast.ids) == list(patient.ids)


def test_queries_may_be_interleaved(tmp_path):
    run = read_run(write(tmp_path, "b Q0 x 1 3 t\na Q0 y 1 2 t\nb Q0 y 2 1 t\na Q0 x 2 0.5 t\n"))
    assert run.query_ids == ["b", "a"]
    assert rows(run) == {"b": {"x": 3, "y": 1}, "a": {"y": 2, "x": 0.5}}


@pytest.mark.parametrize(
    "name",
    ['"quoted"', '"open', "back\\slash", "d'x", "é,;|", "日本", "\u00a0", "a\u3000b", "\u2028x", "NA", "null", "1e5"],
)
@pytest.mark.parametrize("blank", [" ", "  "])
def test_ids_are_literal(tmp_path, name, blank):
    text = f"{name} Q0 {name} 1 1.5 t\nq Q0 {name} 1 2 t\n".replace(" ", blank)
    run = read_run(write(tmp_path, text))
    assert rows(run) == {name: {name: 1.5}, "q": {name: 2}}


@pytest.mark.parametrize("name", ["x.gz", "x.run"])
def test_gzipped_and_plain_files_are_read(tmp_path, name):
    content = REGULAR.encode()
    run = read_run(write(tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name))
    assert rows(run) == EXPECTED


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_run_is_read_from_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=[REGULAR], daemon=True)
    writer.start()
    run = read_run(pipe)
    writer.join()
    assert rows(run) == EXPECTED


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_that_nobody_writes_to_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_PATIENCE", 0.1)
    os.mkfifo(tmp_path / "pipe")
    for read in (read_run, read_qrels, read_topics):
        with pytest.raises(BadInput, match=r"pipe: this is a pipe, and nothing was written into it for 0\.1 seconds"):
            read(tmp_path / "pipe")


def test_runs_and_judgments_may_be_packed_by_bzip2_xz_and_zstd(tmp_path):
    assert rows(read_run(write(tmp_path, bz2.compress(REGULAR.encode()), "run.bz2"))) == EXPECTED
    assert rows(read_run(write(tmp_path, lzma.compress(REGULAR.encode()), "run.xz"))) == EXPECTED
    assert rows(read_run(write(tmp_path, pa.compress(REGULAR.encode(), "zstd", asbytes=True), "run.zst"))) == EXPECTED
    with pytest.raises(BadInput, match=r"run\.xz: this is not a complete xz file"):
        read_run(write(tmp_path, lzma.compress(REGULAR.encode())[:-5], "run.xz"))


def test_scores_are_read_as_float32_as_trec_eval_keeps_them(tmp_path):
    texts = ["0.1", "16777217", "1e-50", "1e300", "-1e300", "inf", "5e-324", "+3", "1.00000017881393432617187499"]
    text = "".join(f"q Q0 d{number} 0 {score} t\n" for number, score in enumerate(texts))
    with np.errstate(over="ignore"):
        expected = np.array([float(score) for score in texts]).astype(np.float32)
    for each in (text.replace(" +3", " 3"), text.replace(" Q0", "  Q0")):
        np.testing.assert_array_equal(read_run(write(tmp_path, each)).candidates.scores, expected)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("q Q0 d 1 2\n", 1, "6 columns (query, Q0, document, rank, score, tag) are expected, but the line has 5"),
        (REGULAR + "q3 Q0 d1 1\n", 4, "the line has 4"),
        (REGULAR + "\n\nq3  Q0 d 1 2.5\n", 6, "the line has 5"),
        ("q1  Q0 d1 1 2.5\nq2  Q0 d1 1 2.5\n", 1, "the line has 5"),
        (REGULAR + "q3 Q0 d1 1 high t\n", 4, "the score must be a number, not 'high'"),
        (REGULAR + "q3 Q0 d1 1 NaN t\n", 4, "the score must be a number, not 'NaN'"),
        (REGULAR + "q3 Q0 d1 1 1_0 t\n", 4, "not '1_0'"),
        (REGULAR + "q3 Q0 d1 1 0x1A t\n", 4, "not '0x1A'"),
        (REGULAR + "q1 Q0 d2 9 0 t\n", 4, "document 'd2' of query 'q1' is already in line 2"),
        ("\n" + REGULAR.replace(" ", "\t\t") + "q1 Q0 d2 9 0 t\n", 5, "is already in line 3"),
        (REGULAR.encode() + b"q3 Q0 d\xff 1 1 t\n", 4, "ids must be UTF-8"),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, line, message):
    path = write(tmp_path, text)
    with pytest.raises(BadInput) as fault:
        read_run(path)
    assert str(fault.value).startswith(f"{path}:{line}: ")
    assert message in str(fault.value)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_file_without_lines_is_refused(tmp_path, text):
    for read in (read_run, read_qrels):
        with pytest.raises(BadInput, match="there are no lines; each is expected to have"):
            read(write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BadInput, match="missing: the file cannot be read: No such file"):
        read_run(tmp_path / "missing")
    with pytest.raises(BadInput, match="cannot be read"):
        read_run(tmp_path)
    with pytest.raises(BadInput, match="not a complete gzip file"):
        read_run(write(tmp_path, gzip.compress(REGULAR.encode() * 99)[:-9], "cut.gz"))
    with pytest.raises(BadInput, match="not a complete gzip file"):
        read_run(write(tmp_path, REGULAR, "plain.gz"))


def test_a_repeated_document_is_found_whatever_its_id_looks_like(tmp_path):
    for name in ("d", "1234567", "12345678", "clueweb09-en0000-00-00000", "é" * 30):
        text = "".join(f"q{query} Q0 x{query}{name} 1 1 t\n" for query in range(50))
        assert len(read_run(write(tmp_path, text))) == 50
        with pytest.raises(BadInput, match=r":51: .*already in line 8"):
            read_run(write(tmp_path, text + f"q7 Q0 x7{name} 1 1 t\n"))


def test_ids_that_differ_only_in_the_middle_are_no_repetition(tmp_path, monkeypatch):
    monkeypatch.setattr(trec_lines, "_read_any", None)  # the fast reader must see it by itself
    text = "".join(f"q Q0 clueweb09-en{number:04}-00-00000 1 1 t\n" for number in range(2000))
    assert len(read_run(write(tmp_path, text)).ids) == 2000


def test_equal_ids_have_equal_fingerprints_wherever_they_stand():
    from nirank.data import to_array
    from nirank.data.string_prints import fingerprints

    names = ["", "a", "b", "ab", "a" * 7, "a" * 8, "a" * 9, "a" * 40, "é", "日本語日本語"] * 3
    column = to_array(["skipped", *names])[1:]
    prints = fingerprints(column)
    assert len(set(prints.tolist())) == 10
    assert prints.tolist() == prints[:10].tolist() * 3
    for name in names:  # ids of one length are read in another way
        alone = fingerprints(to_array(["?" * len(name.encode()), name, name])[1:])
        assert alone.tolist() == [prints[names.index(name)]] * 2


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("depth", [3, 700, 3000])
def test_a_repetition_is_found_among_thousands_of_lines(tmp_path, depth, grouped):
    """Lines are looked at some at a time where those of a query stand together."""
    queries = 6000 // depth
    lines = [f"q{query} Q0 d{doc} 1 {-doc} t\n" for query in range(queries) for doc in range(depth)]
    if not grouped:
        lines = [lines[place] for place in np.random.default_rng(0).permutation(len(lines))]
    assert read_run(write(tmp_path, "".join(lines))).candidates.pairs == queries * depth
    for place in (0, len(lines) // 2, len(lines) - 1):
        query = lines[place].split()[0]
        last = max(number for number, line in enumerate(lines) if line.startswith(f"{query} "))
        again = [*lines[: last + 1], lines[place], *lines[last + 1 :]]
        with pytest.raises(BadInput, match=f":{last + 2}: .*already in line {place + 1}"):
            read_run(write(tmp_path, "".join(again)))


def test_judgments_may_be_negative(tmp_path):
    qrels = read_qrels(write(tmp_path, "q1 0 d1 2\nq1 0 d2 -1\nq2 0 d1 0\n"))
    assert rows(qrels) == {"q1": {"d1": 2, "d2": -1}, "q2": {"d1": 0}}


@pytest.mark.parametrize(
    "text",
    [
        "query-id\tcorpus-id\tscore\nq1\td 1\t2\nq2\td2\t0\n",
        "query-id\tcorpus-id\tscore\r\nq1\td 1\t2\r\nq2\td2\t0\r\n",
        "q1\td 1\t2\nq2\td2\t0\n",
        "\nquery-id\tcorpus-id\tscore\nq1\td 1\t2\n\nq2\td2\t0\n",
    ],
)
def test_judgments_as_beir_writes_them(tmp_path, text):
    assert rows(read_qrels(write(tmp_path, text))) == {"q1": {"d 1": 2}, "q2": {"d2": 0}}


@pytest.mark.parametrize("text", ["qid1\td1\t2\nqid2\td2\t0\n", "qid1 d1 2\nqid2 d2 0\n"])
def test_a_query_may_be_called_like_a_header(tmp_path, text):
    assert rows(read_qrels(write(tmp_path, text))) == {"qid1": {"d1": 2}, "qid2": {"d2": 0}}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("q1 0 d1 0.5\n", 1, "the grade must be a whole number of at most 16,777,216, not 0.5"),
        ("q1 0 d1 1\nq1 0 d2 99999999\n", 2, "whole number"),
        ("q1 0 d1 inf\n", 1, "whole number"),
        ("q1 0 d1 1 extra\n", 1, "4 columns (query, iteration, document, grade) are expected, but the line has 5"),
        ("q1 0 d1 1\nq1 0 d1 0\n", 2, "already in line 1"),
        ("query-id\tcorpus-id\tscore\nq1\td1\tyes\n", 2, "not 'yes'"),
        ("query-id\tcorpus-id\tscore\nq1\t\t1\n", 2, "3 columns (query, document, grade) are expected"),
        ("q1\td1\tmany\n", 1, "not 'many'"),
    ],
)
def test_a_bad_judgment_is_named(tmp_path, text, line, message):
    path = write(tmp_path, text)
    with pytest.raises(BadInput) as fault:
        read_qrels(path)
    assert str(fault.value).startswith(f"{path}:{line}: ")
    assert message in str(fault.value)


def test_a_header_alone_is_no_judgment(tmp_path):
    with pytest.raises(BadInput, match="there are no lines"):
        read_qrels(write(tmp_path, "query-id\tcorpus-id\tscore\n"))


def test_rows_are_aligned_with_queries_and_documents(tmp_path):
    qrels = read_qrels(write(tmp_path, "q1 0 d1 1\nq1 0 new 2\nq2 0 d3 1\nq9 0 newer 1\n"))
    ids = Ids(["d0", "d1", "d2", "d3"])
    found = qrels.align(["q2", "absent", "q1", "q9"], ids)
    assert found.lengths.tolist() == [1, 0, 2, 1]
    assert found.docs.tolist() == [3, 1, 4, 5]
    assert found.scores.tolist() == [1, 1, 2, 1]
    assert qrels.unknown_documents(ids) == 2
    assert qrels.other_queries(["q1", "absent"]) == ["q2", "q9"]
    assert qrels.align([], ids).pairs == 0


def test_of_a_run_to_be_judged_only_judged_documents_are_interned(tmp_path):
    path = write(tmp_path, "b Q0 x 1 3 t\na Q0 y 1 2 t\nb Q0 z 2 1 t\na Q0 x 2 0.5 t\n")
    qrels = read_qrels(write(tmp_path, "a 0 w 1\na 0 x 1\nb 0 x 0\nb 0 w 0\nc 0 y 1\n", "qrels"))
    query_ids, candidates, docnos = read_judged(path, qrels)
    assert query_ids == ["b", "a"]
    assert candidates.docs.tolist() == [1, 5, 4, 1]
    assert candidates.scores.tolist() == [3, 1, 2, 0.5]
    assert docnos.take(candidates.docs) == ["x", "z", "y", "x"]
    assert docnos.take([]) == []


def some_queries(*names):
    return Queries(list(names), list(names))


def test_what_is_written_is_read_back(tmp_path):
    rng = np.random.default_rng(1)
    ids = Ids([f"doc{number}é" for number in range(500)])
    scores = np.float32(10.0) ** rng.integers(-30, 30, 900).astype(np.float32) * rng.normal(size=900).astype(np.float32)
    found = Candidates(np.arange(0, 901, 300), np.tile(rng.permutation(500)[:300], 3), scores)
    queries = some_queries("1", "日本", "q'\"")
    for name in ("run.txt", "run.gz"):
        write_run(tmp_path / name, queries, found, "me", ids)
        run = read_run(tmp_path / name)
        assert (run.query_ids, run.tag) == (queries.ids, "me")
        back, ranked = run.align(queries.ids, ids), found.ranked()
        assert back.docs.tolist() == ranked.docs.tolist()
        assert back.scores.tobytes() == ranked.scores.tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.gz", "run.txt"]


def test_lines_of_a_run(tmp_path):
    corpus = Documents(["a", "b", "c"], ["", "", ""])
    found = Candidates.of([[0, 1, 2], [], [2]], [[0.5, 2, 0.5], [], [1e-7]], corpus)
    write_run(tmp_path / "new" / "run", some_queries("1", "2", "3"), found)
    assert (tmp_path / "new" / "run").read_text() == (
        "1 Q0 b 1 2 nirank\n1 Q0 a 2 0.5 nirank\n1 Q0 c 3 0.5 nirank\n3 Q0 c 1 1e-7 nirank\n"
    )


def test_runs_are_written_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("nirank.formats.trec._BLOCK", 7)
    ids = Ids([f"d{number}" for number in range(10)])
    found = Candidates.of([range(10)] * 4, [range(10)] * 4)
    write_run(tmp_path / "run", some_queries(*"abcd"), found, ids=ids)
    lines_written = (tmp_path / "run").read_text().splitlines()
    assert lines_written == [
        f"{query} Q0 d{10 - rank} {rank} {10 - rank} nirank" for query in "abcd" for rank in range(1, 11)
    ]


def test_judgments_are_written_and_read_back(tmp_path):
    ids = Ids(["a", "b", "c"])
    judgments = Candidates.of([[2, 0], [], [1]], [[-1, 3], [], [0]])
    write_qrels(tmp_path / "qrels", some_queries("x", "y", "z"), judgments, ids)
    assert (tmp_path / "qrels").read_text() == "x 0 c -1\nx 0 a 3\nz 0 b 0\n"
    assert rows(read_qrels(tmp_path / "qrels")) == {"x": {"c": -1, "a": 3}, "z": {"b": 0}}
    with pytest.raises(BadInput, match="whole"):
        write_qrels(tmp_path / "qrels", some_queries("x", "y", "z"), judgments.with_scores([0.5, 1, 1]), ids)


@pytest.mark.parametrize("name", ["a b", "a\tb", "a\nb", "", "a\x0bb", "a\rb"])
def test_ids_that_cannot_stand_in_a_file_are_refused(tmp_path, name):
    found = Candidates.of([[0, 1]], [[2, 1]])
    path = write(tmp_path, "as it was")
    with pytest.raises(BadInput, match="cannot be written to a TREC file"):
        write_run(path, some_queries("q"), found, ids=Ids(["fine", name]))
    with pytest.raises(BadInput, match="cannot be written"):
        write_run(path, some_queries(name), found, ids=Ids(["x", "y"]))
    with pytest.raises(BadInput, match="cannot be written to a TREC file"):
        write_run(path, some_queries("q"), found, name, ids=Ids(["x", "y"]))
    with pytest.raises(BadInput, match="cannot be written"):
        write_run(path, some_queries("#1"), found, ids=Ids(["x", "y"]))
    assert path.read_text() == "as it was"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fills_leaves_the_old_file(tmp_path, monkeypatch):
    def fill(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nirank.formats.trec._write_block", fill)
    path = write(tmp_path, "as it was")
    with pytest.raises(OSError, match="No space left"):
        write_run(path, some_queries("q"), Candidates.of([[0]]), ids=Ids(["d"]))
    assert path.read_text() == "as it was"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_run_of_nothing_is_an_empty_file(tmp_path):
    write_run(tmp_path / "run", some_queries("q"), Candidates.empty(1), ids=Ids(["d"]))
    assert (tmp_path / "run").read_bytes() == b""


def test_candidates_that_cannot_be_written_are_refused(tmp_path):
    found = Candidates.of([[0]], [[np.nan]])
    with pytest.raises(BadInput, match="pass `ids`"):
        write_run(tmp_path / "run", some_queries("q"), found)
    with pytest.raises(BadInput, match="NaN"):
        write_run(tmp_path / "run", some_queries("q"), found, ids=Ids(["d"]))
    with pytest.raises(BadInput, match="2 queries with candidates of 1"):
        write_run(tmp_path / "run", some_queries("q", "r"), Candidates.of([[0]]), ids=Ids(["d"]))


TOPICS = """
<top>
<num> Number: 301
<title> International
  Organized Crime &amp; more

<desc> Description:
Identify <i>organizations</i>.
</top>
<TOP><NUM>302</NUM><TITLE>
Poliomyelitis: a < b
</TITLE></TOP>
<top>
<head> Tipster
<num> Number: 303
<title> Topic: Hubble
<narr> Narrative: all
</top>
"""


def test_topics_of_trec(tmp_path):
    queries = read_topics(write(tmp_path, TOPICS))
    assert list(queries.ids) == ["301", "302", "303"]
    assert list(queries.contents) == ["International Organized Crime & more", "Poliomyelitis: a < b", "Hubble"]


def test_topics_as_xml_and_gzipped(tmp_path):
    text = '<topics><topic number="7" type="x"><query>a b</query>\n<description>c</description></topic></topics>'
    path = write(tmp_path, gzip.compress(text.encode()), "topics.gz")
    assert list(read_topics(path).ids) == ["7"]
    assert list(read_topics(path, ("title", "desc")).contents) == ["a b c"]


def test_topics_of_tabbed_lines(tmp_path):
    queries = read_topics(write(tmp_path, codecs.BOM_UTF8 + "1\twhat is\tthis?\r\n\n2 \t日本\u2028x\n".encode()))
    assert (list(queries.ids), list(queries.contents)) == (["1", "2"], ["what is\tthis?", "日本\u2028x"])


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("1\ta\nno tab\n", 2, "an id, a tab and a text are expected"),
        ("1\ta\n2\t \n", 2, "an id, a tab and a text"),
        ("1\ta\n2\tb\n1\tc\n", 3, "query '1' is already in line 1"),
        (TOPICS + "<top>\n<num> 304\n<desc> x\n</top>", 19, "this topic has no title; it has num, desc"),
        (TOPICS + "<top>\n<title> x\n</top>", 19, "this topic has no number"),
    ],
)
def test_a_bad_topic_is_named(tmp_path, text, line, message):
    path = write(tmp_path, text)
    with pytest.raises(BadInput) as fault:
        read_topics(path)
    assert str(fault.value).startswith(f"{path}:{line}: ")
    assert message in str(fault.value)


def test_a_file_without_topics_is_refused(tmp_path):
    with pytest.raises(BadInput, match="there are no topics"):
        read_topics(write(tmp_path, "\n"))
    with pytest.raises(BadInput, match="missing: the file cannot be read: No such file"):
        read_topics(tmp_path / "missing")


def test_topics_that_are_no_whole_gzip_file_are_named(tmp_path):
    packed = gzip.compress(TOPICS.encode())
    for content in (packed[:-9], packed[:20] + bytes(20) + packed[40:], TOPICS):
        with pytest.raises(BadInput, match=r"topics\.gz: this is not a complete gzip file"):
            read_topics(write(tmp_path, content, "topics.gz"))


def test_reading_writing_and_evaluating_import_nothing_heavy(tmp_path):
    write(tmp_path, REGULAR, "run")
    write(tmp_path, "q1 0 d1 1\nq2 0 d1 1\n", "qrels")
    program = f"""
import sys
from nirank.data import Queries
from nirank.evaluation.evaluating import evaluate_files
from nirank.formats import read_run, write_run
run = read_run({str(tmp_path / "run")!r})
write_run({str(tmp_path / "out")!r}, Queries(run.query_ids, run.query_ids), run.candidates, ids=run.ids)
evaluate_files({str(tmp_path / "run")!r}, {str(tmp_path / "qrels")!r}, ["nDCG@10", "AP", "map", "Bpref"])
print([name for name in ("torch", "transformers", "scipy", "pandas", "rich", "numpy.ma") if name in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
