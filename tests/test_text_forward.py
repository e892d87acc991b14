"""The forward index: the terms of documents in order, however they are read, and counts as slow loops have them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

from nirank.data import Documents, write_corpus
from nirank.errors import BadInput, StaleIndex
from nirank.kit.text import Analyzer, ForwardIndex, corpus_terms, forward_index, index_key
from nirank.testing.samples import DOCUMENTS
from tests.inverted import invert


def _corpus(texts):
    return Documents([f"d{number}" for number in range(len(texts))], list(texts))


def _index(corpus, folder, field=None, **settings):
    folder.mkdir(exist_ok=True)
    ForwardIndex.write(corpus, Analyzer(**settings), folder, field)
    return ForwardIndex.load(folder)


def _texts(index):
    return [[index.vocabulary[term] for term in index.of(np.array([doc]))[1]] for doc in range(len(index))]


@pytest.mark.parametrize("texts", [DOCUMENTS, [], ["", ""], ["the"]], ids=["samples", "none", "empty", "stop word"])
def test_the_terms_of_each_document_are_there_in_order(tmp_path, texts):
    analyzer, index = Analyzer(), _index(_corpus(texts), tmp_path)
    expected = [analyzer(text) for text in texts]
    assert _texts(index) == expected
    assert index.lengths.tolist() == [len(terms) for terms in expected]
    counts, documents = Counter(), Counter()
    for terms in expected:
        counts.update(terms)
        documents.update(set(terms))
    terms = [index.vocabulary[term] for term in range(len(index.vocabulary))]
    assert dict(zip(terms, index.frequencies.tolist(), strict=True)) == counts
    assert dict(zip(terms, index.document_frequencies.tolist(), strict=True)) == documents


@pytest.mark.parametrize("at_once", [1, 7, 100])
def test_how_much_is_read_at_once_does_not_matter(tmp_path, monkeypatch, at_once):
    texts = [f"{DOCUMENTS[number % 12]} word{number % 17}" for number in range(60)]
    whole = _index(_corpus(texts), tmp_path / "whole")
    monkeypatch.setattr(corpus_terms, "_DOCUMENTS_AT_ONCE", at_once)
    monkeypatch.setattr(forward_index, "_TOKENS_AT_ONCE", at_once)
    _index(_corpus(texts), tmp_path / "parts")
    for path in sorted((tmp_path / "whole").iterdir()):
        assert (tmp_path / "parts" / path.name).read_bytes() == path.read_bytes(), path.name
    assert len(whole) == 60


def test_an_inverted_index_numbers_terms_alike(tmp_path):
    index, inverted = _index(_corpus(DOCUMENTS), tmp_path), invert(_corpus(DOCUMENTS), Analyzer())
    assert len(index.vocabulary) == len(inverted.vocabulary)
    for name in ("frequencies", "document_frequencies", "lengths"):
        assert getattr(index, name).tolist() == getattr(inverted, name).tolist(), name


def test_documents_are_taken_in_any_order_and_as_often_as_asked(tmp_path):
    index, analyzer = _index(_corpus(DOCUMENTS), tmp_path), Analyzer()
    docs = np.array([3, 0, 5, 3, 10_000])
    offsets, terms = index.of(docs)
    found = [[index.vocabulary[term] for term in terms[a:b]] for a, b in pairwise(offsets)]
    assert found == [analyzer(DOCUMENTS[doc]) if doc < len(DOCUMENTS) else [] for doc in docs.tolist()]


def test_queries_are_numbered_in_order_with_unknown_terms_among_them(tmp_path):
    index = _index(_corpus(DOCUMENTS), tmp_path)
    offsets, numbers = index.numbers(["the small unheard cat small", "", "東京"])
    known = [index.vocabulary[number] if number >= 0 else None for number in numbers]
    assert known == ["small", None, "cat", "small", *known[4:]]
    assert None not in known[4:]
    assert offsets.tolist() == [0, 4, 4, len(known)]


def test_a_field_has_an_index_of_its_own(tmp_path):
    batch = {"id": ["a", "b"], "title": ["Cats", ""], "text": ["dogs and cats", "cars"]}
    corpus = write_corpus(tmp_path / "corpus.arrow", [batch])
    assert _texts(_index(corpus, tmp_path / "title", "title")) == [["cat"], []]
    assert _texts(_index(corpus, tmp_path / "all")) == [["cat", "dog", "cat"], ["car"]]
    assert index_key(Analyzer(), "title") != index_key(Analyzer())
    with pytest.raises(BadInput, match="no field 'body'; there are title, text"):
        _index(corpus, tmp_path / "body", "body")
    with pytest.raises(BadInput, match="has no fields"):
        _index(_corpus(DOCUMENTS), tmp_path / "none", "title")


def test_the_analyser_is_kept(tmp_path):
    index = _index(_corpus(["Katzen und Hunde"]), tmp_path, language="german", stopwords=["und"])
    assert _texts(index) == [["katz", "hund"]]
    assert index.analyzer.settings == Analyzer("german", stopwords=["und"]).settings


def test_what_is_incomplete_is_told(tmp_path):
    _index(_corpus(DOCUMENTS), tmp_path)
    (tmp_path / "terms.npy").unlink()
    with pytest.raises(StaleIndex, match=r"terms\.npy: is incomplete"):
        ForwardIndex.load(tmp_path)
    with pytest.raises(BadInput, match="document 1 is of type int"):
        _index(_corpus(["text", 3]), tmp_path / "odd")
