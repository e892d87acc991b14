"""Judgments: durable, apart by annotator, pooled without a trace of the system, exported as TREC's files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from fractions import Fraction

import pytest
from typer.testing import CliRunner

import nirank
from nirank.cli import app
from nirank.data.queries import Queries
from nirank.errors import BadInput, DamagedFile, UnknownName
from nirank.formats.topics import read_topics
from nirank.formats.trec import read_qrels, write_run
from nirank.serving import ledger
from nirank.serving.agreement import kappa
from nirank.serving.judging import JudgmentStore
from nirank.serving.ledger import NotSaved
from nirank.serving.pooling import pool
from nirank.serving.state import Holder, State

TOPICS = Queries(["q1", "q2", "q3"], ["cat food", "sad dog", "cat food"])
HOSTILE = [
    "<script>alert(1)</script>",
    "two\nlines",
    "tab\there",
    "../../etc/passwd",
    "café \u202e 👩‍👩‍👧 \u2028 \x00 \x85",
    '","grade":3,"x":"',
    "a" * 5000,
]


@pytest.fixture
def store(tmp_path):
    return JudgmentStore(tmp_path / "judged", TOPICS)


def _documents(store):
    return [(each.annotator, each.query_id, each.document, each.grade) for each in store.current()]


# What is kept


def test_the_last_grade_of_each_annotator_holds_and_one_may_be_withdrawn(store):
    store.add("cat food", "d1", 2, "Ann")
    store.add("cat food", "d1", 0, "Bob")
    store.add("cat food", "d2", 1, "Ann")
    store.add("cat food", "d1", 3, "Ann")
    store.add("cat food", "d2", None, "Ann")
    assert _documents(store) == [("Ann", "q1", "d1", 3), ("Bob", "q1", "d1", 0)]
    assert [each.grade for each in store.current(annotator="Bob")] == [0]
    assert _documents(JudgmentStore(store.path.parent, TOPICS)) == _documents(store)
    assert len(store.path.read_bytes().splitlines()) == 1 + 5  # what was withdrawn can still be looked up


def test_whatever_is_marked_withdrawn_cut_off_and_reopened_is_what_a_dictionary_would_hold(tmp_path):
    dice, held, asked = random.Random(8), {}, ["cat food", "sad dog", "another", "one more"]
    stores = [JudgmentStore(tmp_path, TOPICS) for _ in range(2)]
    for _ in range(150):
        store, act = dice.choice(stores), dice.random()
        if act < 0.1:
            stores[dice.randrange(2)] = JudgmentStore(tmp_path, TOPICS)
        elif act < 0.2:
            with store.path.open("ab") as file:
                file.write(b'{"query_id": "q1", "query": "cat fo'[: dice.randint(1, 30)])
        else:
            key = dice.choice(asked), f"d{dice.randrange(3)}", dice.choice(("Ann", "Bob"))
            held[key] = dice.choice((None, 0, 1, 2, 3))
            store.add(key[0], key[1], held[key], key[2])
        kept = {(each.query, each.document, each.annotator): each.grade for each in dice.choice(stores).current()}
        assert kept == {key: grade for key, grade in held.items() if grade is not None}
    assert len(held) == 24


def test_queries_have_the_ids_of_the_collection_and_others_always_the_same_one(store, tmp_path):
    assert store.add(" cat\t food\n", "d1", 1, "Ann").query_id == "q1"  # the first of the two
    assert store.add(None, "d1", 1, "Ann", query_id="q3").query == "cat food"
    first, again = (store.add(text, "d1", 1, "Ann") for text in ("a new one", "a  new one "))
    elsewhere = JudgmentStore(tmp_path / "other").add("a new one", "d1", 1, "Bob")
    assert first.query_id == again.query_id == elsewhere.query_id
    assert first.query_id.startswith("asked-")
    assert store.add(None, "d2", 1, "Ann", query_id=first.query_id).query == "a new one"
    assert [each.query_id for each in store.current(query="cat  food")] == ["q1", "q3"]
    assert [each.query_id for each in store.current(query_id="q1")] == ["q1"]
    assert store.current(query="nobody asked this") == []
    known = store.add("a newer one", "d1", 1, "Ann", query_id=store.identify("a newer one")[0])
    assert known.query == "a newer one"
    with pytest.raises(UnknownName, match="Leave the id out"):
        store.add("cat food", "d1", 1, "Ann", query_id="q9")
    with pytest.raises(BadInput, match="'q2' is 'sad dog', and not 'cat food'"):
        store.add("cat food", "d1", 1, "Ann", query_id="q2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"grade": 4}, "from 0 to 3"),
        ({"grade": -1}, "from 0 to 3"),
        ({"grade": 1.0}, "whole number"),
        ({"grade": True}, "whole number"),
        ({"query": " \n"}, "the query is empty"),
        ({"query": None}, "the query is empty"),
        ({"query": "half \ud83d"}, "surrogate"),
        ({"document": ""}, "no id"),
        ({"document": "d\udc00"}, "surrogate"),
        ({"annotator": " \t"}, "0 characters"),
        ({"annotator": "n" * 201}, "201 characters"),
        ({"annotator": "\ud83d"}, "surrogate"),
    ],
)
def test_what_is_no_judgment_is_refused_and_leaves_no_trace(store, change, said):
    with pytest.raises(BadInput, match=said):
        store.add(**{"query": "cat food", "document": "d1", "grade": 1, "annotator": "Ann", **change})
    assert store.path.read_bytes() == b""


def test_markup_line_ends_and_any_script_in_ids_and_names_come_back_as_they_were(store):
    for place, text in enumerate(HOSTILE):
        store.add(f"query {text}", text, place % 4, text[:200].strip())
    kept = JudgmentStore(store.path.parent, TOPICS).current()
    assert [each.document for each in kept] == HOSTILE
    assert [each.annotator for each in kept] == [text[:200].strip() for text in HOSTILE]
    assert {path.name for path in store.path.parent.iterdir()} <= {"judgments.jsonl", ".judgments.jsonl.lock"}
    assert [json.loads(line)["doc_id"] for line in store.json_lines().split("\n")[:-1]] == HOSTILE


# Durable


_WRITER = """
import sys
from pathlib import Path
from nirank.serving.judging import JudgmentStore
store = JudgmentStore(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    store.add("cat food", f"d{number}", number % 4, sys.argv[2])
    sys.stdout.write(f"d{number}\\n")
    sys.stdout.flush()
"""


def _writer(folder, annotator, count):
    command = [sys.executable, "-c", _WRITER, str(folder), annotator, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_process_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path):
    with _writer(tmp_path, "Ann", 1000) as writer:
        acknowledged = [writer.stdout.readline() for _ in range(50)]
        time.sleep(random.uniform(0, 0.01))
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.readlines()
    told = [line.strip() for line in acknowledged if line.endswith("\n")]
    assert 50 <= len(told) < 1000
    store = JudgmentStore(tmp_path)
    kept = [each.document for each in store.current()]
    assert kept[: len(told)] == told
    assert len(kept) <= len(told) + 1  # the one that was on its way
    store.add("cat food", "later", 1, "Ann")
    assert [each.document for each in JudgmentStore(tmp_path).current()] == [*kept, "later"]


def test_a_line_that_was_cut_off_anywhere_is_removed_by_the_next_one(store, caplog):
    for document in ("d1", "d2"):
        store.add("cat food", document, 1, "Ann")
    whole = store.path.read_bytes()
    second = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in (second, second + 1, *range(second + 7, len(whole), 23), len(whole) - 1):
        store.path.write_bytes(whole[:cut])
        torn = JudgmentStore(store.path.parent, TOPICS)
        assert [each.document for each in torn.current()] == ["d1"]
        torn.add("cat food", "d3", 2, "Ann")
        assert [each.document for each in JudgmentStore(store.path.parent, TOPICS).current()] == ["d1", "d3"]
    assert "never finished" in caplog.text
    for cut in (0, 1, 20, whole.find(b"\n")):  # and of the first line, which says what the file is
        store.path.write_bytes(whole[:cut])
        JudgmentStore(store.path.parent, TOPICS).add("cat food", "d3", 2, "Ann")
        assert [each.document for each in JudgmentStore(store.path.parent, TOPICS).current()] == ["d3"]


def test_a_line_that_was_changed_is_named(store):
    for document in ("d1", "d2", "d3"):
        store.add("cat food", document, 1, "Ann")
    whole = store.path.read_bytes()
    store.path.write_bytes(whole.replace(b'"d2"', b'"d9"'))
    with pytest.raises(DamagedFile, match=r"judgments\.jsonl:3: this line is not as nirank wrote it"):
        JudgmentStore(store.path.parent)
    store.path.write_bytes(b"{}\n" + whole)
    with pytest.raises(DamagedFile, match=r"jsonl:1:"):
        JudgmentStore(store.path.parent)
    other = store.path.with_name("other.jsonl")
    ledger.Ledger(other, "something else 1", print).append({"key": 1})
    store.path.write_bytes(other.read_bytes())
    with pytest.raises(DamagedFile, match="of another kind"):
        JudgmentStore(store.path.parent)


def test_a_file_that_is_removed_or_shortened_in_use_is_told(store):
    store.add("cat food", "d1", 1, "Ann")
    store.path.write_bytes(store.path.read_bytes()[:20])
    for act in (store.current, lambda: store.add("cat food", "d2", 1, "Ann")):
        with pytest.raises(DamagedFile, match="while it was in use"):
            act()
    store.path.unlink()
    with pytest.raises(DamagedFile, match="while it was in use"):
        store.current()


@contextlib.contextmanager
def _files_of_at_most(size):
    """The kernel writes what fits into so many bytes, and refuses the rest, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fits", [0, 1, 50])
def test_a_full_disk_loses_nothing_and_what_was_refused_can_be_sent_again(store, fits):
    store.add("cat food", "d1", 1, "Ann")
    before = store.path.read_bytes()
    with _files_of_at_most(len(before) + fits), pytest.raises(NotSaved, match=r"could not be saved \(File too large\)"):
        store.add("cat food", "d2", 1, "Ann")
    assert store.path.read_bytes() == before
    assert [each.document for each in store.current()] == ["d1"]
    store.add("cat food", "d2", 1, "Ann")
    assert [each.document for each in JudgmentStore(store.path.parent).current()] == ["d1", "d2"]


def test_a_partial_line_that_cannot_even_be_removed_is_removed_later(store, monkeypatch):
    class Full:
        """A file of which three bytes are written, and that then fails in all it is asked for."""

        def __init__(self, file):
            self.file, self.room = file, 3

        def write(self, lines):
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written, self.room = self.file.write(lines[: self.room]), 0
            return written

        def truncate(self, size):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def seek(self, *place):
            return self.file.seek(*place)

    store.add("cat food", "d1", 1, "Ann")
    before, write = store.path.read_bytes(), ledger.Ledger._write
    monkeypatch.setattr(ledger.Ledger, "_write", lambda self, file, lines: write(self, Full(file), lines))
    with pytest.raises(NotSaved, match=r"No space left on device.*Save it again when that is mended"):
        store.add("cat food", "d2", 1, "Ann")
    assert len(store.path.read_bytes()) == len(before) + 3
    assert [each.document for each in store.current()] == ["d1"]
    monkeypatch.undo()
    store.add("cat food", "d2", 1, "Ann")
    assert [each.document for each in JudgmentStore(store.path.parent).current()] == ["d1", "d2"]


def test_what_did_not_reach_the_disk_is_not_acknowledged(store, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(NotSaved, match="Input/output error"):
        store.add("cat food", "d1", 1, "Ann")
    assert store.path.read_bytes() == b""
    assert store.current() == []


def test_each_judgment_is_flushed_to_disk_before_it_is_acknowledged(store, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_size))
    for document in ("d1", "d2"):
        store.add("cat food", document, 1, "Ann")
        assert flushed[-1] == store.path.stat().st_size
    assert len(flushed) == 2


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        JudgmentStore(tmp_path / "file" / "judged")
    (tmp_path / "judged").mkdir()
    os.mkfifo(tmp_path / "judged" / "judgments.jsonl")
    with pytest.raises(BadInput, match="is no plain file"):
        JudgmentStore(tmp_path / "judged")


def test_what_is_only_read_makes_and_changes_nothing(store, tmp_path):
    absent = JudgmentStore(tmp_path / "absent", writable=False)
    assert absent.current() == []
    assert not (tmp_path / "absent").exists()
    with pytest.raises(NotSaved, match="only read"):
        absent.add("cat food", "d1", 1, "Ann")
    reading = JudgmentStore(store.path.parent, writable=False)
    store.add("cat food", "d1", 1, "Ann")
    assert [each.document for each in reading.current()] == ["d1"]


# Several at once


def test_threads_and_stores_on_one_folder_lose_and_mix_nothing(store):
    stores = [store, JudgmentStore(store.path.parent, TOPICS)]

    def judge(annotator):
        for number in range(30):
            stores[number % 2].add("cat food", f"d{number}", number % 4, annotator)

    threads = [threading.Thread(target=judge, args=(name,)) for name in ("Ann", "Bob", "Ann ", "<b>")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in (*stores, JudgmentStore(store.path.parent)):
        assert Counter(name for name, *_ in _documents(each)) == {"Ann": 30, "Bob": 30, "<b>": 30}
        assert all(grade == int(document[1:]) % 4 for *_, document, grade in _documents(each))
    assert len(store.path.read_bytes().splitlines()) == 1 + 4 * 30


def test_two_processes_lose_and_mix_nothing_and_see_what_the_other_wrote(tmp_path):
    watching = JudgmentStore(tmp_path)
    with _writer(tmp_path, "Ann", 60) as ann, _writer(tmp_path, "Bob", 60) as bob:
        ann.stdout.readline()
        assert watching.current()
        assert ann.wait() == bob.wait() == 0
    kept = watching.current()
    assert kept == JudgmentStore(tmp_path).current()
    for name in ("Ann", "Bob"):
        assert [each.document for each in kept if each.annotator == name] == [f"d{number}" for number in range(60)]


def test_one_who_waits_in_vain_for_another_process_is_told(store, monkeypatch):
    from filelock import FileLock

    store._ledger._processes = FileLock(store._ledger._processes.lock_file, timeout=0.05)
    with FileLock(store._ledger._processes.lock_file), pytest.raises(NotSaved, match="another process"):
        store.add("cat food", "d1", 1, "Ann")
    store.add("cat food", "d1", 1, "Ann")


# Exported


def _judge(store, grades):
    for query, document, annotator, grade in grades:
        store.add(query, document, grade, annotator)


def test_judgments_that_are_exported_measure_a_run_as_they_should(store, tmp_path):
    (tmp_path / "corpus.jsonl").write_text(
        "".join(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(["cat food", "dog", "sad"]))
    )
    _judge(store, [("cat food", "d0", "Ann", 3), ("sad dog", "d1", "Ann", 1), ("sad dog", "d2", "Ann", 2)])
    _judge(store, [("sad dog", "d0", "Ann", 0), ("why, <b>?", "d2", "Ann", 1), ("why, <b>?", "d1", "Ann", 1)])
    qrels, topics = tmp_path / "qrels.txt", tmp_path / "topics.tsv"
    qrels.write_text(store.qrels())
    topics.write_text(store.topics())
    judged = nirank.collection("trec", corpus=tmp_path / "corpus.jsonl", topics=topics, qrels=qrels)
    asked = store.identify("why, <b>?")[0]
    assert list(judged.queries.ids) == ["q1", "q2", asked]
    assert list(judged.queries.contents) == ["cat food", "sad dog", "why, <b>?"]
    assert [dict(zip(*map(list, judged.judgments[row]), strict=True)) for row in range(3)] == [
        {0: 3},
        {1: 1, 2: 2, 0: 0},
        {2: 1, 1: 1},
    ]
    found = nirank.Candidates.of([[0], [1, 2], [0]], [[1], [2, 1], [1]], judged.corpus)
    write_run(tmp_path / "run", judged.queries, found)
    command = ["evaluate", str(tmp_path / "run"), str(qrels), "-m", "nDCG@10", "--json", "-q"]
    figures = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    second = (1 + 2 / 1.5849625) / (2 + 1 / 1.5849625)  # d1 (grade 1) before d2 (grade 2)
    assert figures["per_query"]["q2"]["nDCG@10"] == pytest.approx(second, abs=1e-6)
    assert figures["measures"]["nDCG@10"] == pytest.approx((1 + second + 0) / 3, abs=1e-6)


def test_several_annotators_make_one_grade_by_the_rule_that_is_named(store):
    _judge(store, [("cat food", "d1", name, grade) for name, grade in (("A", 0), ("B", 3), ("C", 2), ("D", 3))])
    _judge(store, [("cat food", "d2", name, grade) for name, grade in (("A", 1), ("B", 2))])
    resolved = {rule: store.resolved(rule=rule)["q1"] for rule in ("median", "majority", "highest", "lowest")}
    assert resolved == {
        "median": {"d1": 2, "d2": 1},
        "majority": {"d1": 3, "d2": 1},
        "highest": {"d1": 3, "d2": 2},
        "lowest": {"d1": 0, "d2": 1},
    }
    assert store.qrels("B") == "q1 0 d1 3\nq1 0 d2 2\n"
    assert store.qrels() == "q1 0 d1 2\nq1 0 d2 1\n"
    with pytest.raises(UnknownName, match="no rule for several annotators 'mean'"):
        store.qrels(rule="mean")
    with pytest.raises(UnknownName, match="no annotator 'E'"):
        store.qrels("E")


def test_nothing_judged_is_told_and_so_are_ids_that_trec_cannot_hold(store, tmp_path):
    for export in (store.qrels, store.topics, store.json_lines):
        with pytest.raises(BadInput, match="nothing is judged yet"):
            export()
    store.add("cat food", "two words", 1, "Ann")
    with pytest.raises(BadInput, match="'two words' cannot be written to a TREC file"):
        store.qrels()
    (tmp_path / "qrels.jsonl").write_text(store.json_lines())
    read = read_qrels(tmp_path / "qrels.jsonl")
    assert (read.query_ids, list(read.ids), read.candidates.scores.tolist()) == (["q1"], ["two words"], [1.0])
    spaced = JudgmentStore(tmp_path / "spaced", Queries(["q 1", "#2", "id"], ["cat", "dog", "text"]))
    spaced.add("cat", "d1", 1, "Ann")
    with pytest.raises(BadInput, match="'q 1'"):
        spaced.qrels()
    with pytest.raises(BadInput, match="'q 1' cannot be a line of topics"):
        spaced.topics()


def test_topics_are_read_back_whatever_they_say(tmp_path):
    hostile = ["<top> <num> 1", "text", "a\tb", "# 1", "1:2:three", "<?xml?>", "é 漢", "query_id\ttext"]
    store = JudgmentStore(tmp_path, Queries(["id", "7:8:nine"], ["query", "ten"]))
    for text in ("query", "ten", *hostile):
        store.add(text, "d1", 1, "Ann")
    (tmp_path / "topics.tsv").write_text(store.topics(), encoding="utf-8")
    read = read_topics(tmp_path / "topics.tsv")
    expected = {each.query_id: each.query for each in store.current()}
    assert dict(zip(read.ids, read.contents, strict=True)) == expected
    assert {"id": "query", "7:8:nine": "ten"}.items() <= expected.items()
    alone = JudgmentStore(tmp_path / "alone", Queries(["id"], ["query"]))
    alone.add("query", "d1", 1, "Ann")
    with pytest.raises(BadInput, match="names of columns"):
        alone.topics()


# Agreement


def _slow_kappa(first, second, cost):
    """Cohen's kappa from its words: what two disagree, and what each grade of one and each of the other would."""
    observed = sum(cost(a - b) for a, b in zip(first, second, strict=True)) / Fraction(len(first))
    by_chance = sum(cost(a - b) for a in first for b in second) / Fraction(len(first) * len(second))
    return 1 - observed / by_chance


def test_kappa_is_what_its_definition_says():
    dice = random.Random(3)
    for length in (2, 6, 60):
        first = [*(0, 3), *(dice.choice((0, 1, 3)) for _ in range(length - 2))]
        second = [grade if dice.random() < 0.5 else dice.choice((0, 1, 2, 3)) for grade in first]
        for weights, cost in (("any", bool), ("linear", abs), ("quadratic", lambda gap: gap * gap)):
            assert kappa(first, second, weights) == pytest.approx(float(_slow_kappa(first, second, cost)))
    # Cohen (1960), table 1: two psychologists on 200 patients
    counts = {(0, 0): 88, (0, 1): 14, (0, 2): 18, (1, 0): 10, (1, 1): 40, (1, 2): 10, (2, 0): 2, (2, 1): 6, (2, 2): 12}
    assert kappa(*zip(*Counter(counts).elements(), strict=True)) == pytest.approx(0.492, abs=5e-4)


def test_agreement_counts_what_both_have_judged(store):
    _judge(store, [("cat food", f"d{n}", "Ann", grade) for n, grade in enumerate((0, 0, 1, 1, 3))])
    _judge(store, [("cat food", f"d{n}", "Bob", grade) for n, grade in enumerate((0, 0, 1, 0))])
    _judge(store, [("sad dog", "d0", "Cy", 1)])
    both, *others = store.agreement()
    assert (both.a, both.b, both.pairs, both.same, both.kappa) == ("Ann", "Bob", 4, 0.75, 0.5)
    assert [(each.a, each.b, each.pairs, each.same, each.kappa) for each in others] == [
        ("Ann", "Cy", 0, None, None),
        ("Bob", "Cy", 0, None, None),
    ]
    assert kappa([1, 1], [1, 1]) is None  # chance would not have them disagree


# Pooling


def test_a_pool_has_each_document_once_and_its_order_shows_no_system():
    first, second = [f"a{n}" for n in range(20)], [f"b{n}" for n in range(19)] + ["a0"]
    one, other = (pool("q1", rankings, 20, ()) for rankings in ([first, second], [second, first]))
    assert one == other
    assert sorted(one.waiting) == sorted({*first, *second})
    assert one.waiting != sorted(one.waiting)
    assert pool("q2", [first, second], 20, ()).waiting != one.waiting
    alone = pool("q1", [first], 20, ()).waiting
    assert [document for document in one.waiting if document in first] == alone  # stays when a system is added
    ranks = [first.index(document) for document in alone]
    assert 1 < sum(ranks[:10]) / 10 < 18  # nor a rank


def test_a_pool_is_cut_at_its_depth_and_counts_what_is_done():
    rankings = [["d1", "d2", "d3"], ["d4", "d1", "d5"]]
    done = pool("q1", rankings, 2, {"d1", "d5", "elsewhere"})
    assert sorted(done.waiting) == ["d2", "d4"]
    assert (done.size, done.judged) == (3, 1)
    assert pool("q1", [], 5, ()).size == 0


# Over HTTP


@pytest.fixture(scope="module")
def state():
    corpus = nirank.Documents(
        ["d1", "two words", "<b>", "d4", "d5"], ["cat food", "sad dog cat", "dog food", "cat", "sun"]
    )
    pipelines = {"bm25": nirank.parse("bm25"), "ql": nirank.parse("ql")}
    return State("toy", corpus, pipelines, nirank.Queries(["q1", "q2", "q3"], ["cat food", "sun", "sad dog"]))


@contextlib.contextmanager
def _client(state, folder, **options):
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from nirank.serving.app import application
    from nirank.serving.options import Options

    served = application(Holder(state), Options(**{"judgments": folder, "annotate": True, **options}))
    with TestClient(served, "http://localhost") as client:
        yield client


@pytest.fixture
def client(state, tmp_path):
    with _client(state, tmp_path / "judged") as client:
        yield client


def _judged(client, document, grade, annotator="Ann", **query):
    body = {"document": document, "grade": grade, "annotator": annotator, **(query or {"query": "cat food"})}
    response = client.post("/judgments", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def _refused(response, status, said):
    assert response.status_code == status, response.text
    assert list(response.json()) == ["detail"]
    assert said in response.json()["detail"]


def test_what_is_marked_over_http_is_kept_given_and_exported(client, tmp_path):
    first = _judged(client, "d1", 3)
    assert first == {**first, "query_id": "q1", "query": "cat food", "document": "d1", "grade": 3, "annotator": "Ann"}
    _judged(client, "d4", 1, "Bob", query_id="q1")
    _judged(client, "d1", 2, "Bob", query=" a new\nquery")
    _judged(client, "d5", 1)
    _judged(client, "d5", None)
    store = JudgmentStore(tmp_path / "judged", writable=False)
    kept = [{**each.__dict__} for each in store.current()]
    assert client.get("/judgments").json() == kept
    assert [each["document"] for each in kept] == ["d1", "d4", "d1"]
    for params, count in (
        ({"query": "cat food"}, 2),
        ({"query_id": "q1"}, 2),
        ({"annotator": "Bob"}, 2),
        ({"query": "?"}, 0),
    ):
        assert len(client.get("/judgments", params=params).json()) == count
    qrels, topics = client.get("/judgments/qrels"), client.get("/judgments/topics")
    assert qrels.text == store.qrels()
    assert qrels.headers["content-type"] == topics.headers["content-type"] == "text/plain; charset=utf-8"
    assert topics.text.splitlines() == ["q1\tcat food", f"{kept[2]['query_id']}\ta new query"]
    assert client.get("/judgments/qrels", params={"annotator": "Ann", "rule": "highest"}).text == "q1 0 d1 3\n"
    assert client.get("/judgments/qrels", params={"format": "jsonl"}).text == store.json_lines()
    answer = client.get("/judgments/annotators").json()
    assert answer["judgments"] == {"Ann": 1, "Bob": 2}
    assert answer["agreement"] == [{"a": "Ann", "b": "Bob", "pairs": 0, "same": None, "kappa": None, "weighted": None}]


def test_what_is_no_judgment_is_refused_over_http(client):
    good = {"query": "cat food", "document": "d1", "grade": 1, "annotator": "Ann"}
    for change, status, said in (
        ({"document": "d9"}, 404, "no document 'd9'"),
        ({"grade": 4}, 422, "grade"),
        ({"grade": 1.5}, 422, "grade"),
        ({"grade": True}, 422, "grade"),
        ({"grade": "1"}, 422, "grade"),
        ({"annotator": ""}, 422, "0 characters"),
        ({"annotator": "n" * 201}, 422, "annotator"),
        ({"query": "x" * 10_001}, 422, "query"),
        ({"query": "\x00"}, 422, "the query is empty"),
        ({"query": "half \ud83d"}, 422, "query"),
        ({"query_id": "q9"}, 422, "no query 'q9'"),
        ({"query_id": "q2"}, 422, "'q2' is 'sun'"),
        ({"more": 1}, 422, "more"),
    ):
        sent = json.dumps({**good, **change})
        _refused(client.post("/judgments", content=sent, headers={"Content-Type": "application/json"}), status, said)
    _refused(
        client.post("/judgments", json={key: good[key] for key in ("query", "document", "annotator")}), 422, "grade"
    )
    assert client.get("/judgments").json() == []
    for path in ("qrels", "topics"):
        _refused(client.get(f"/judgments/{path}"), 422, "nothing is judged yet")
    _judged(client, "two words", 1)
    _refused(client.get("/judgments/qrels"), 422, "'two words' cannot be written to a TREC file")
    _refused(client.get("/judgments/qrels", params={"annotator": "Bob"}), 422, "no annotator 'Bob'")


def test_a_full_disk_is_told_over_http_and_the_mark_can_be_sent_again(client, tmp_path):
    _judged(client, "d1", 1)
    with _files_of_at_most((tmp_path / "judged" / "judgments.jsonl").stat().st_size + 9):
        response = client.post(
            "/judgments", json={"query": "cat food", "document": "d4", "grade": 2, "annotator": "Ann"}
        )
    _refused(response, 507, "could not be saved (File too large)")
    assert str(tmp_path) not in response.text
    assert [each["document"] for each in client.get("/judgments").json()] == ["d1"]
    _judged(client, "d4", 2)
    assert [each["document"] for each in client.get("/judgments").json()] == ["d1", "d4"]


def test_a_server_that_only_reads_takes_no_judgments(state, tmp_path):
    mark = {"query": "cat food", "document": "d1", "grade": 1, "annotator": "Ann"}
    JudgmentStore(tmp_path / "judged").add("cat food", "d1", 1, "Ann")
    with _client(state, tmp_path / "judged", annotate=False) as client:
        _refused(client.post("/judgments", json=mark), 403, "takes no judgments")
        assert len(client.get("/judgments").json()) == 1
    with _client(state, None) as client:
        for path in ("judgments", "judgments/qrels", "judgments/topics", "judgments/annotators", "pool"):
            _refused(client.get(f"/{path}"), 404, "keeps no judgments")


def _pool(client, **params):
    from nirank.serving.judging_routes import PoolAnswer

    response = client.get("/pool", params=params)
    assert response.status_code == 200, response.text
    return PoolAnswer.model_validate(response.json())


def test_the_pool_of_a_query_shrinks_as_it_is_judged(client, state):
    whole = _pool(client, query="cat food", annotator="Ann")
    ranked = [
        state.corpus.ids.take(ranking.search("cat food", state.corpus)[0][0]) for ranking in state.pipelines.values()
    ]
    assert whole.documents == pool("q1", ranked, 10, ()).waiting
    assert (whole.query_id, whole.query, whole.pooled, whole.judged) == ("q1", "cat food", 4, 0)
    assert _pool(client, query_id="q1", depth=1).pooled == len({row[0] for row in ranked})
    first, *others = whole.documents
    _judged(client, first, 0)
    left = _pool(client, query_id="q1", annotator=" Ann")
    assert (left.documents, left.pooled, left.judged) == (others, 4, 1)
    assert _pool(client, query_id="q1", annotator="Bob").judged == 0
    assert _pool(client, query_id="q1").judged == 1  # by anybody
    own = _pool(client, query="a dog and a cat", annotator="Ann")
    assert own.query_id.startswith("asked-")
    _judged(client, own.documents[0], 1, query="a dog and a cat", query_id=own.query_id)
    _refused(client.get("/pool", params={"query_id": "q9"}), 422, "no query 'q9'")
    _refused(client.get("/pool", params={"depth": 0}), 422, "depth")


def test_without_a_query_the_first_that_is_not_done_is_pooled(client):
    deadline = time.monotonic() + 20
    while not (answer := _pool(client, annotator="Ann")).ready and time.monotonic() < deadline:
        time.sleep(0.01)
    assert answer.query_id == "q1"
    assert [(each.id, each.pooled, each.judged) for each in answer.queries] == [
        ("q1", 4, 0),
        ("q2", 1, 0),
        ("q3", 2, 0),
    ]
    assert answer.documents == _pool(client, query_id="q1").documents
    for document in answer.documents:
        _judged(client, document, 1)
    answer = _pool(client, annotator="Ann")
    assert answer.query_id == "q2"
    assert answer.queries[0].judged == 4
    _judged(client, "d5", 1, query_id="q2")
    for document in _pool(client, query_id="q3").documents:
        _judged(client, document, 1, query_id="q3")
    done = _pool(client, annotator="Ann")
    assert (done.query_id, done.documents, [each.judged for each in done.queries]) == (None, [], [4, 1, 2])


def test_many_mark_at_once_over_http(client):
    def judge(annotator):
        for number in range(10):
            _judged(client, "d1", number % 4, annotator, query=f"query {number}")

    threads = [threading.Thread(target=judge, args=(name,)) for name in ("Ann", "Bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = Counter((each["annotator"], each["query"], each["grade"]) for each in client.get("/judgments").json())
    assert kept == {(name, f"query {number}", number % 4): 1 for name in ("Ann", "Bob") for number in range(10)}
