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
from nirank.errors import BadInput, StaleIndex
from nirank.kit.text import Analyzer, QueryParser, Vocabulary, corpus_terms
from nirank_lexical import inversion, segments, workers
from nirank_lexical.inversion import invert, write_index
from nirank_lexical.postings import InvertedIndex

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
        here = slice(index.starts[number], index.starts[number + 1])
        found[index.vocabulary[number]] = list(zip(index.docs[here].tolist(), index.counts[here].tolist(), strict=True))
    return found, expected


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
    for name in ("starts", "docs", "counts", "lengths", "frequencies"):
        assert all(np.array_equal(getattr(indexes[0], name), getattr(other, name)) for other in indexes[1:])


@pytest.mark.parametrize(("documents", "postings"), [(7, 4), (64, 100), (1000, 1)])
def test_an_index_merged_from_segments_is_the_same_to_the_last_byte(tmp_path, monkeypatch, documents, postings):
    generator = random.Random(4)
    texts = [" ".join(generator.choices("abcdefgh", k=generator.randint(0, 9))) for _ in range(200)]
    corpus, analyzer = _documents([*texts, "z " * 300, "late", ""]), Analyzer(stopwords=())
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    whole.mkdir()
    invert(corpus, analyzer).save(whole)
    monkeypatch.setattr(corpus_terms, "_DOCUMENTS_AT_ONCE", documents)
    monkeypatch.setattr(inversion, "_POSTINGS_AT_ONCE", 50)
    merged.mkdir()
    write_index(corpus, analyzer, merged, postings)
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert {path.name: path.read_bytes() for path in merged.iterdir()} == files
    for name in ("starts", "docs", "counts", "lengths", "frequencies"):
        np.save(tmp_path / "plain.npy", getattr(InvertedIndex.load(whole), name))
        assert (tmp_path / "plain.npy").read_bytes() == files[f"{name}.npy"]


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
    with pytest.raises(TypeError, match="bytes-like"):
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


@pytest.mark.parametrize("texts", [TEXTS, ["", "the"], []])
def test_an_index_is_read_back_as_it_was_written(tmp_path, texts):
    index = invert(_documents(texts), Analyzer())
    index.save(tmp_path)
    again = InvertedIndex.load(tmp_path)
    for name in ("starts", "docs", "counts", "lengths", "frequencies"):
        written, read = getattr(index, name), getattr(again, name)
        assert np.array_equal(written, read)
        assert written.dtype == read.dtype
    words = [index.vocabulary[number] for number in range(len(index.vocabulary))]
    assert again.vocabulary.find(words).tolist() == list(range(len(words)))


def test_counts_are_kept_in_as_few_bytes_as_they_need():
    assert invert(_documents(TEXTS[:5]), Analyzer()).counts.dtype == np.uint8
    assert invert(_documents(TEXTS), Analyzer()).counts.dtype == np.uint16
    assert invert(_documents(["cat " * 70_000]), Analyzer()).counts.tolist() == [70_000]


@pytest.mark.parametrize("name", ["docs.npy", "term_text.npy", "starts.npy"])
def test_an_index_with_a_file_missing_or_cut_short_is_refused(tmp_path, name):
    invert(_documents(TEXTS), Analyzer()).save(tmp_path)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(StaleIndex, match=rf"{name}: is incomplete .* build the index again"):
        InvertedIndex.load(tmp_path)
    file.unlink()
    with pytest.raises(StaleIndex, match=name):
        InvertedIndex.load(tmp_path)


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
