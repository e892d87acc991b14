"""The inverted index against counting by hand, on disk and in memory."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

from nirank.data import Documents
from nirank.errors import BadInput, DamagedFile, StaleIndex
from nirank.kit.text import Analyzer, BM25Weighting, QueryParser, Vocabulary, corpus_terms
from nirank_lexical import inversion, packed, segments, workers
from nirank_lexical.bm25f import BM25FWeighting
from nirank_lexical.inversion import write_index
from nirank_lexical.postings import InvertedIndex
from nirank_lexical.search import WeightedIndex
from tests.inverted import invert, of_postings, postings

TEXTS = [
    "The cat sat on the mat; the cat purred.",
    "",
    "dogs and cats",
    "the of and",
    "Zürich Zürich zürich 東京 🙂 🙂",
    "cat " * 300,
    "__ ... !!",
]


def _documents(texts):
    return Documents([f"d{number}" for number in range(len(texts))], texts)


def _by_hand(index, texts, analyzer):
    expected = {}
    for document, text in enumerate(texts):
        for term, count in Counter(analyzer(text)).items():
            expected.setdefault(term, []).append((document, count))
    found = {}
    for number in range(len(index.vocabulary)):
        docs, counts = index.of(slice(number, number + 1))
        found[index.vocabulary[number]] = list(zip(docs.tolist(), counts.tolist(), strict=True))
    return found, expected


def _columns(index):
    docs, counts = postings(index)
    return {"docs": docs, "counts": counts} | {name: getattr(index, name) for name in _BESIDE}


_BESIDE = ("starts", "lengths", "frequencies")


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_postings_are_what_counting_by_hand_gives(monkeypatch, at_once):
    monkeypatch.setattr(corpus_terms, "_DOCUMENTS_AT_ONCE", at_once)
    analyzer = Analyzer()
    index = invert(_documents(TEXTS), analyzer)
    found, expected = _by_hand(index, TEXTS, analyzer)
    assert found == expected
    assert index.lengths.tolist() == [len(analyzer(text)) for text in TEXTS]
    totals = {term: sum(count for _, count in pairs) for term, pairs in expected.items()}
    assert {index.vocabulary[i]: int(f) for i, f in enumerate(index.frequencies)} == totals


def test_the_index_does_not_depend_on_how_many_documents_are_read_at_once(monkeypatch):
    generator = random.Random(3)
    texts = [" ".join(generator.choices("abcdefgh", k=generator.randint(0, 9))) for _ in range(200)]
    indexes = []
    for at_once in (7, 64, 10_000):
        monkeypatch.setattr(corpus_terms, "_DOCUMENTS_AT_ONCE", at_once)
        indexes.append(invert(_documents(texts), Analyzer(stopwords=())))
    first, *others = map(_columns, indexes)
    assert all(np.array_equal(first[name], other[name]) for other in others for name in first)


@pytest.mark.parametrize(("documents", "postings"), [(7, 4), (64, 100), (1000, 1)])
def test_an_index_merged_from_segments_is_the_same_to_the_last_byte(tmp_path, monkeypatch, documents, postings):
    generator = random.Random(4)
    texts = [" ".join(generator.choices("abcdefgh", k=generator.randint(0, 9))) for _ in range(200)]
    corpus, analyzer = _documents([*texts, "z " * 300, "late", ""]), Analyzer(stopwords=())
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    whole.mkdir()
    write_index(corpus, analyzer, whole)
    monkeypatch.setattr(corpus_terms, "_DOCUMENTS_AT_ONCE", documents)
    monkeypatch.setattr(inversion, "_POSTINGS_AT_ONCE", 50)
    merged.mkdir()
    write_index(corpus, analyzer, merged, postings)
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert {path.name: path.read_bytes() for path in merged.iterdir()} == files


def _written(corpus, folder, *how):
    folder.mkdir()
    write_index(corpus, Analyzer(stopwords=["the"]), folder, *how)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def small(monkeypatch):
    """Documents are shared a few at a time, and there are enough to share."""
    monkeypatch.setattr(corpus_terms, "_DOCUMENTS_AT_ONCE", 7)
    monkeypatch.setattr(inversion, "CHARACTERS", 200)
    monkeypatch.setattr(inversion, "_POSTINGS_AT_ONCE", 50)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("segment", "processes"), [(1000, 2), (100, 3), (1, 2), (inversion.SEGMENT, 2)])
def test_an_index_made_by_several_processes_is_the_same_to_the_last_byte(tmp_path, segment, processes):
    generator = random.Random(5)
    names = ["buckeroo", "plumless", "The", "Zürich", "東京", *(f"w{number}" for number in range(200))]
    texts = [" ".join(generator.choices(names, k=generator.randint(0, 20))) for _ in range(300)]
    corpus = _documents(["plumless"] + texts + ["late " * 300, "buckeroo \ud800"])
    alone = _written(corpus, tmp_path / "alone")
    assert _written(corpus, tmp_path / "together", segment, processes) == alone


@pytest.mark.usefixtures("small")
def test_few_documents_start_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(workers.subprocess, "Popen", lambda *_, **__: pytest.fail("there is too little to share"))
    assert _written(_documents(TEXTS[:3]), tmp_path / "index", 1000, 4)


@pytest.mark.usefixtures("small")
def test_a_content_that_is_no_text_is_refused_and_leaves_no_process(tmp_path, monkeypatch):
    started, start = [], workers.subprocess.Popen
    monkeypatch.setattr(
        workers.subprocess, "Popen", lambda *of, **more: started.append(start(*of, **more)) or started[-1]
    )
    with pytest.raises(BadInput, match="document 90 is of type int"):
        _written(_documents([*["a cat sat on a mat"] * 90, 3]), tmp_path / "index", 1000, 2)
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_what_goes_wrong_in_a_process_is_raised_here():
    several = workers.Workers(Analyzer(), 2)
    with pytest.raises(AttributeError, match="encode"):
        list(several.segments(iter([([b"no text"], 0)]), 10))


def test_a_process_that_dies_is_noticed(monkeypatch):
    send = workers._Worker._send

    def die(self, what):
        self._process.kill()
        self._process.wait()
        send(self, what)

    several = workers.Workers(Analyzer(), 2)
    monkeypatch.setattr(workers._Worker, "_send", lambda self, what: (send if "stemmer" in what else die)(self, what))
    with pytest.raises(ChildProcessError, match="code -9"):
        list(several.segments(iter([(["a"], 0)]), 10))


@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs SIGKILL")
def test_processes_end_when_the_one_that_builds_is_killed(tmp_path):
    program = """
import os, signal, sys
from nirank.kit.text import Analyzer
from nirank_lexical import workers
started, start = [], workers.subprocess.Popen
workers.subprocess.Popen = lambda *of, **more: started.append(start(*of, **more)) or started[-1]
several = workers.Workers(Analyzer(), 2)
texts = (([f"cat w{number}"], number) for number in range(10**9))
for number, _ in enumerate(several.segments(texts, 1)):
    if number == 5:
        print(*(process.pid for process in started), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    numbers = [int(number) for number in done.stdout.split()]
    assert len(numbers) == 2
    deadline = time.monotonic() + 20
    while any(_lives(number) for number in numbers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("characters", [1, 50, 400])
def test_documents_are_read_so_many_characters_at_a_time(monkeypatch, characters):
    monkeypatch.setattr(corpus_terms, "_CHARACTERS_AT_ONCE", characters)
    monkeypatch.setattr(corpus_terms, "_DOCUMENTS_AT_ONCE", 30)
    texts = ["cat " * (number % 40) for number in range(100)] + ["dog " * 1000, "", ""]
    added, add = [], segments.SegmentReader.add
    monkeypatch.setattr(segments.SegmentReader, "add", lambda self, *of: added.append(of) or add(self, *of))
    index = invert(_documents(texts), Analyzer())
    assert [text for part, _ in added for text in part] == texts
    assert all(part == texts[first : first + len(part)] for part, first in added)
    # the first document of a part may begin in the part before
    assert all(sum(map(len, part[1:])) < characters for part, _ in added)
    found, expected = _by_hand(index, texts, Analyzer())
    assert found == expected


def test_postings_that_are_not_yet_merged_lie_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_terms, "_DOCUMENTS_AT_ONCE", 10)
    building = inversion._Building(Analyzer(), 25, tmp_path)
    building.read(_documents([f"cat dog w{number}" for number in range(100)]))
    assert [len(segment.docs) for segment in building._segments] == [*[30] * 10, 0]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) >= 300 * 8
    mapped = [column for segment in building._segments[:-1] for column in segment]
    assert all(isinstance(column.base, np.memmap) for column in mapped)


@pytest.mark.parametrize("texts", [["", "the"], [], ["a"]])
def test_an_index_of_hardly_anything_is_read_back(texts):
    index = invert(_documents(texts), Analyzer())
    found, expected = _by_hand(index, texts, Analyzer())
    assert found == expected
    words = [index.vocabulary[number] for number in range(len(index.vocabulary))]
    assert index.vocabulary.find(words).tolist() == list(range(len(words)))
    assert index.lengths.tolist() == [len(Analyzer()(text)) for text in texts]


def test_a_count_may_be_of_any_size():
    assert postings(invert(_documents(["cat " * 70_000]), Analyzer()))[1].tolist() == [70_000]


@pytest.mark.parametrize("name", ["docs_high.npy", "docs_low.npy", "counts.npy", "term_text.npy", "starts.npy"])
def test_an_index_with_a_file_missing_or_cut_short_is_refused(tmp_path, name):
    write_index(_documents(TEXTS), Analyzer(), tmp_path)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(StaleIndex, match=rf"{name}: is incomplete .* build the index again"):
        InvertedIndex.load(tmp_path)
    file.unlink()
    with pytest.raises(StaleIndex, match=name):
        InvertedIndex.load(tmp_path)


def _drawn(seed, documents, terms, fields=None, highest=9):
    """Postings of terms, of which some have all documents and some have few, with counts of one or several fields."""
    generator = np.random.default_rng(seed)
    shares = generator.choice([1e-4, 0.01, 0.3, 1.0], terms)
    rows = [np.flatnonzero(generator.random(documents) < share) for share in shares]
    rows = [row if len(row) else generator.integers(0, documents, 1) for row in rows]
    docs, starts = np.concatenate(rows).astype(np.int32), np.cumsum([0, *map(len, rows)])
    counts = generator.integers(1 if fields is None else 0, highest + 1, (len(docs), *filter(None, [fields])))
    if fields is not None:
        counts[:, -1] += counts.sum(axis=1) == 0  # none is of nothing
    of_terms = np.add.reduceat(counts if fields is None else counts.sum(axis=1), starts[:-1])
    lengths = np.zeros((documents, *filter(None, [fields])), np.int32)
    np.add.at(lengths, docs, counts)
    vocabulary = Vocabulary.of([f"w{term}" for term in range(terms)])[0]
    rest = {"starts": starts, "lengths": lengths, "frequencies": of_terms, "vocabulary": vocabulary}
    return docs, counts, rest


@pytest.mark.parametrize("fields", [None, 1, 3])
@pytest.mark.parametrize("documents", [1, 2, 63, 64, 65, 1000, 70_001])
@pytest.mark.parametrize("at_once", [1000, 1 << 18])
def test_postings_come_out_of_their_bits_as_they_went_in(monkeypatch, documents, fields, at_once):
    monkeypatch.setattr(packed, "_POSTINGS_AT_ONCE", at_once)
    docs, counts, rest = _drawn(documents, documents, 9, fields)
    index = of_postings(docs, counts, **rest)
    assert [np.array_equal(*both) for both in zip(postings(index), (docs, counts), strict=True)] == [True, True]
    for first, last in ((0, 1), (3, 4), (2, 7), (8, 9), (4, 4)):
        here = slice(rest["starts"][first], rest["starts"][last])
        found = index.of(slice(first, last))
        assert [np.array_equal(*both) for both in zip(found, (docs[here], counts[here]), strict=True)] == [True, True]
    parts = [*index.parts(500)]
    assert np.array_equal(np.concatenate([part.docs for part in parts]), docs)
    assert [part.first for part in parts] == [0, *(part.last for part in parts[:-1])]
    packing = index.packed.places
    limit = 2 + np.log2(documents / packing.sizes)
    assert (np.diff(packing.high) + np.diff(packing.low) <= packing.sizes * limit + 1).all()


@pytest.mark.parametrize("fields", [None, 2])
def test_compiled_code_unpacks_the_same(fields):
    pytest.importorskip("numba")
    index = of_postings(*_drawn(1, 70_001, 40, fields)[:2], **_drawn(1, 70_001, 40, fields)[2])
    searched = WeightedIndex(index, BM25Weighting(0.9, 0.4) if fields is None else BM25FWeighting(0.9, (1, 2), (0, 1)))
    terms = [0, 3, 4, 17, 39]
    expected = [np.concatenate(columns) for columns in zip(*(index.of(slice(t, t + 1)) for t in terms), strict=True)]
    assert all(map(np.array_equal, searched._weighing.unpack(np.array(terms)), expected))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("docs_high", lambda words: words * 0),
        ("docs_high", lambda words: ~words),
        ("docs_high", lambda words: words << np.uint64(1)),
        ("docs_low", lambda words: ~words),
        ("docs_low", lambda words: words * 0),
        ("counts", lambda words: words * 0),
        ("counts", lambda words: words << np.uint64(1)),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_bits_that_are_no_postings_are_told_when_they_are_unpacked(tmp_path, name, change, compiled):
    docs, counts, rest = _drawn(2, 5000, 12)
    InvertedIndex.write(tmp_path, [(docs, counts)], rest)
    path = tmp_path / f"{name}.npy"
    np.save(path, change(np.load(path)))
    searched = WeightedIndex(InvertedIndex.load(tmp_path), BM25Weighting(0.9, 0.4))
    if compiled:
        pytest.importorskip("numba")
        searched._batch  # noqa: B018 (is loaded now)
    for _ in range(2):
        with pytest.raises(DamagedFile, match=rf"{name.split('_')[0]}.*\.npy: is damaged"):
            searched.require(np.arange(12))


def test_contents_that_are_not_text_are_refused_with_their_number():
    with pytest.raises(BadInput, match="document 2 is of type bytes"):
        invert(_documents(["a", "b", b"c"]), Analyzer())
    with pytest.raises(BadInput, match="document 5000 is of type int"):
        invert(_documents(["a"] * 5000 + [3, "b"]), Analyzer())


def test_terms_are_found_also_where_their_hashes_collide():
    assert crc32(b"plumless") == crc32(b"buckeroo")
    vocabulary, order = Vocabulary.of(["buckeroo", "cat", "plumless", "\ud800"])
    assert [vocabulary[number] for number in range(4)] == [["buckeroo", "cat", "plumless", "\ud800"][i] for i in order]
    assert [vocabulary[n] for n in vocabulary.find(["plumless", "buckeroo", "\ud800"])] == [
        "plumless", "buckeroo", "\ud800",
    ]  # fmt: skip
    assert vocabulary.find(["dog", "", "plumles"]).tolist() == [-1, -1, -1]
    assert vocabulary.find([]).tolist() == []
    assert Vocabulary.of([])[0].find(["cat"]).tolist() == [-1]


def test_queries_become_their_known_terms_with_how_often_they_occur():
    index = invert(_documents(TEXTS), Analyzer())
    parse = QueryParser(index.vocabulary, Analyzer())
    terms = parse(["cats CAT dog unheard-of the cat's", "", "東京 zürich", "the"])
    assert terms.tokens.tolist() == [4, 0, 3, 0]
    named = [
        {index.vocabulary[term]: weight for term, weight in zip(*terms.of(query), strict=True)} for query in range(4)
    ]
    assert named == [{"cat": 3, "dog": 1}, {}, {"東": 1, "京": 1, "zürich": 1}, {}]
    assert all(np.all(np.diff(terms.of(query)[0]) > 0) for query in range(4))


def test_queries_that_are_not_text_are_refused():
    parse = QueryParser(invert(_documents(TEXTS), Analyzer()).vocabulary, Analyzer())
    with pytest.raises(BadInput, match="query 1 is of type int"):
        parse(["cat", 3])
