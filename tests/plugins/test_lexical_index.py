"""The inverted index against counting by hand, on disk and in memory."""

from __future__ import annotations

import random
from collections import Counter
from zlib import crc32

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

from nirank.corpus import Documents
from nirank.errors import BadInput, StaleIndex
from nirank.text import reading
from nirank.text.analysis import Analyzer
from nirank.text.queries import QueryParser
from nirank.text.vocabulary import Vocabulary
from nirank_lexical import inversion
from nirank_lexical.inversion import invert, write_index
from nirank_lexical.postings import Postings

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
    monkeypatch.setattr(reading, "_DOCUMENTS_AT_ONCE", at_once)
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
        monkeypatch.setattr(reading, "_DOCUMENTS_AT_ONCE", at_once)
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
    monkeypatch.setattr(reading, "_DOCUMENTS_AT_ONCE", documents)
    monkeypatch.setattr(inversion, "_POSTINGS_AT_ONCE", 50)
    merged.mkdir()
    write_index(corpus, analyzer, merged, postings)
    files = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert {path.name: path.read_bytes() for path in merged.iterdir()} == files
    for name in ("starts", "docs", "counts", "lengths", "frequencies"):
        np.save(tmp_path / "plain.npy", getattr(Postings.load(whole), name))
        assert (tmp_path / "plain.npy").read_bytes() == files[f"{name}.npy"]


@pytest.mark.parametrize("characters", [1, 50, 400])
def test_documents_are_read_so_many_characters_at_a_time(monkeypatch, characters):
    monkeypatch.setattr(reading, "_CHARACTERS_AT_ONCE", characters)
    monkeypatch.setattr(reading, "_DOCUMENTS_AT_ONCE", 30)
    texts = ["cat " * (number % 40) for number in range(100)] + ["dog " * 1000, "", ""]
    added, add = [], inversion._Building._add
    monkeypatch.setattr(inversion._Building, "_add", lambda self, *of: added.append(of) or add(self, *of))
    index = invert(_documents(texts), Analyzer())
    assert [text for part, _ in added for text in part] == texts
    assert all(part == texts[first : first + len(part)] for part, first in added)
    # the first document of a part may begin in the part before
    assert all(sum(map(len, part[1:])) < characters for part, _ in added)
    found, expected = _by_hand(index, texts, Analyzer())
    assert found == expected


def test_postings_that_are_not_yet_merged_lie_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_DOCUMENTS_AT_ONCE", 10)
    building = inversion._Building(Analyzer(), 25, tmp_path)
    building.read(_documents([f"cat dog w{number}" for number in range(100)]))
    assert [len(segment.docs) for segment in building._segments] == [*[30] * 10, 0]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) >= 300 * 8
    assert building._batches == []


@pytest.mark.parametrize("texts", [TEXTS, ["", "the"], []])
def test_an_index_is_read_back_as_it_was_written(tmp_path, texts):
    index = invert(_documents(texts), Analyzer())
    index.save(tmp_path)
    again = Postings.load(tmp_path)
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
    with pytest.raises(StaleIndex, match="build it again"):
        Postings.load(tmp_path)
    file.unlink()
    with pytest.raises(StaleIndex, match=name):
        Postings.load(tmp_path)


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
