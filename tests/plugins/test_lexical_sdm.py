"""The sequential dependence model against its formula, by loops over the words of every document."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

import nirank
from nirank.data import Candidates, Documents, Queries, TermWeights
from nirank.errors import BadInput, CompositionError, DamagedFile
from nirank.kit.text import Analyzer
from nirank_lexical import positions, sdm
from nirank_lexical.inversion import write_index
from nirank_lexical.postings import InvertedIndex
from tests.flat import flat

SDM = flat(sdm.SequentialDependence)
WORDS = [f"w{number}" for number in range(9)]
QUERIES = ["w1 w2", "w1", "w3 w3 w3", "w1 of the w2 w0", "w2 nowhere w1", "", "w1 w2 w1 w2 w8", "nowhere", "w4 w5 w6"]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def corpus():
    """Documents of which words are often near each other; some are empty, one is long, some have stop words."""
    generator = np.random.default_rng(4)
    chances = 1 / np.arange(1, len(WORDS) + 1)
    rows = [generator.choice(WORDS, generator.integers(0, 20), p=chances / chances.sum()) for _ in range(300)]
    texts = [" ".join(row) for row in rows]
    texts += ["", "w1 of the w2", "w1 " * 30 + "w2", "w2", "w1", "w2 w1", "", "w1"]
    return Documents([f"d{number}" for number in range(len(texts))], texts)


def _words(text, analyzer=Analyzer()):  # noqa: B008 (made once)
    return analyzer(text)


def _ordered(words, first, second):
    return sum(pair == (first, second) for pair in pairwise(words))


def _unordered(words, first, second, window):
    """Indri's loop: from each place of either word on, is the other reached within the window?"""
    count = 0
    for start, word in enumerate(words):
        if word not in (first, second):
            continue
        other = second if word == first else first
        count += other in words[start + 1 : start + window]
    return count


def _f(tf, cf, length, tokens, mu):
    """The paper's potential, without the constant log(cf / |C|) of the query."""
    return math.log((tf + mu * cf / tokens) / (length + mu)) - math.log(cf / tokens)


def _cliques(query, weights, window):
    """What is counted in documents, and the weight of each; a query of one word has its terms alone."""
    terms, ordered, unordered = weights
    words = _words(query)
    made = [(lambda text, word=word: text.count(word), terms) for word in words]
    for one, two in pairwise(words):
        made.append((lambda text, one=one, two=two: _ordered(text, one, two), ordered))
        made.append((lambda text, one=one, two=two: _unordered(text, one, two, window), unordered))
    return made


def _slowly(texts, query, weights=(0.85, 0.10, 0.05), window=8, mu=1000.0):
    """The score of every document, and whether it has a word of the query."""
    read = [_words(text) for text in texts]
    tokens, known = sum(map(len, read)), {word for text in read for word in text}
    words = _words(query)
    has_neighbours = any({one, two} <= known for one, two in pairwise(words))
    total = sum(weights) if has_neighbours else weights[0]
    scores = np.zeros(len(texts))
    for counted, weight in _cliques(query, weights, window):
        counts = [counted(text) for text in read]
        if cf := sum(counts):
            scores += [
                weight / total * _f(tf, cf, len(text), tokens, mu) for tf, text in zip(counts, read, strict=True)
            ]
    return scores, np.array([not set(words).isdisjoint(text) for text in read])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"terms": 0.6, "ordered": 0.9, "unordered": 0.5, "window": 3, "mu": 5.0},
        {"terms": 1.0, "ordered": 0.0, "unordered": 2.0, "window": 2, "mu": 300.0},
        {"terms": 1.0, "ordered": 1.0, "unordered": 0.0},
    ],
)
def test_scores_are_those_of_the_formula(corpus, settings):
    weights = tuple(settings.get(name, own) for name, own in (("terms", 0.85), ("ordered", 0.1), ("unordered", 0.05)))
    found = (nirank.load("sdm", **settings) % 1000).search(QUERIES, corpus)
    more = {name: settings[name] for name in ("window", "mu") if name in settings}
    for row, query in enumerate(QUERIES):
        scores, has = _slowly(corpus[:], query, weights, **more)
        docs, ours = found[row]
        assert sorted(docs.tolist()) == np.flatnonzero(has).tolist()
        assert np.allclose(ours, scores[docs], rtol=2e-5, atol=2e-5)
        assert (np.diff(ours) <= 0).all()
        assert (np.diff(docs)[np.diff(ours) == 0] > 0).all()
    assert not found[5][0].size
    assert not found[7][0].size


def test_neighbours_change_the_ranking(corpus):
    """Else a model of words alone would pass above."""
    one, other = (nirank.load("sdm") % 30).search(QUERIES, corpus), (nirank.load("ql") % 30).search(QUERIES, corpus)
    assert not np.array_equal(one[0][0], other[0][0])
    assert not np.array_equal(one[2][0], other[2][0])


def test_a_query_of_one_word_is_ql_to_the_last_bit(corpus):
    asked = ["w1", "w0", "w8", "the w3", "nowhere"]
    for mu in (1000.0, 7.0):
        one = (nirank.load("sdm", terms=0.3, mu=mu) % 1000).search(asked, corpus)
        other = (nirank.load("ql", mu=mu) % 1000).search(asked, corpus)
        for name in ("offsets", "docs", "scores"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_scoring_gives_the_bits_of_the_search(corpus):
    stage = nirank.load("sdm")
    found = (stage % 1000).search(QUERIES, corpus)
    assert found.pairs > 1000
    assert np.array_equal(stage.score(Queries.of(QUERIES), found), found.scores)
    alone = (stage % 1000).search(QUERIES[0], corpus)
    assert np.array_equal(alone.scores, found[0][1])


def test_pairs_without_a_match_have_their_prior_and_beyond_the_corpus_none(corpus):
    stage = nirank.load("sdm")
    stage.search("w1", corpus)
    scores, _ = _slowly(corpus[:], "w1 w2")
    pairs = Candidates.of([[300, 301, len(corpus) + 5]])
    found = stage.component.target.score(Queries.of("w1 w2"), pairs)
    assert found[:2] == pytest.approx(scores[[300, 301]], rel=1e-5, abs=1e-5)
    assert found[2] == 0


@pytest.mark.parametrize("window", [2, 3, 8, 50])
def test_neighbours_are_counted_in_every_document_as_by_loops(corpus, tmp_path, window):
    positions.write_positions(corpus, Analyzer(), tmp_path)
    index = InvertedIndex.load(tmp_path)
    places = positions.Positions.load(tmp_path, index)
    numbers, total = index.vocabulary.find(WORDS).tolist(), 0
    for one, first in zip(WORDS, numbers, strict=True):
        for two, second in zip(WORDS, numbers, strict=True):
            near = places.near(first, second, window)
            texts = [_words(text) for text in corpus[:]]
            unordered = [_unordered(text, one, two, window) for text in texts]
            assert near.docs.tolist() == np.flatnonzero(unordered).tolist()
            assert near.unordered.tolist() == [count for count in unordered if count]
            assert near.ordered.tolist() == [_ordered(texts[doc], one, two) for doc in near.docs.tolist()]
            total += near.ordered.sum()
    assert total == sum(max(len(_words(text)) - 1, 0) for text in corpus[:])


PHRASES = [
    '"w1 w2"',
    '"w1 w2 w3" w4',
    '"w1" "w2 w1" w3',
    'w1 "nowhere w1"',
    '"" w1 "the"',
    '"w1 of w2',
    '"w1 of the w2"',
]


def _has(text, query):
    """Whether a document has all quoted phrases of a query."""
    wanted = [_words(part) for part in query.split('"')[1::2]] if query.count('"') % 2 == 0 else []
    words = _words(text)
    return all(
        any(words[start : start + len(phrase)] == phrase for start in range(len(words) + 1)) for phrase in wanted
    )


def test_quoted_phrases_must_be_there_where_one_asks_for_it(corpus):
    """Documents keep their scores; those without a phrase are not found, and scored as without a match."""
    plain, stage = nirank.load("sdm"), nirank.load("sdm", phrases=True)
    every, found = ((each % 1000).search(PHRASES, corpus) for each in (plain, stage))
    sizes = []
    for row, query in enumerate(PHRASES):
        (docs, scores), (own, ours) = every[row], found[row]
        has = np.array([_has(corpus[doc], query) for doc in docs.tolist()], bool)
        assert np.array_equal(own, docs[has])
        assert np.array_equal(ours, scores[has])
        sizes.append((int(has.sum()), len(has)))
    assert 0 < sizes[0][0] < sizes[0][1]
    assert 0 < sizes[1][0] < sizes[1][1]
    assert sizes[3][0] == 0
    assert sizes[4][0] == sizes[4][1]
    assert np.array_equal(stage.score(Queries.of(PHRASES), found), found.scores)
    beside = Candidates.of([[301, len(corpus) - 1, len(corpus) + 2]])
    scores = stage.component.target.score(Queries.of('"w2 w1"'), beside)
    without = plain.component.target.score(Queries.of("w2 w1"), Candidates.of([[300]]))[0]
    length = math.log(1000 / 1002) / math.log(1000 / 1001)
    assert scores[1] < 0
    assert scores[0] == pytest.approx(scores[1] * length, rel=1e-4)
    assert without == 0
    assert scores[2] == 0


@pytest.mark.parametrize("at_once", [1, 13, 1 << 22])
def test_postings_are_those_of_an_inverted_index_and_addresses_lead_back_to_the_texts(
    corpus, tmp_path, monkeypatch, at_once
):
    monkeypatch.setattr(positions, "_TOKENS_AT_ONCE", at_once)
    placed, plain = tmp_path / "placed", tmp_path / "plain"
    for folder in (placed, plain):
        folder.mkdir()
    positions.write_positions(corpus, Analyzer(), placed)
    write_index(corpus, Analyzer(), plain)
    for path in plain.iterdir():
        assert (placed / path.name).read_bytes() == path.read_bytes(), path.name
    assert {path.name for path in placed.iterdir()} - {path.name for path in plain.iterdir()} == {"addresses.npy"}
    index = InvertedIndex.load(placed)
    places = positions.Positions.load(placed, index)
    terms = np.empty(len(places.addresses), np.int64)
    terms[places.addresses] = np.repeat(np.arange(len(index.vocabulary)), index.frequencies)
    assert [index.vocabulary[term] for term in terms.tolist()] == [word for text in corpus[:] for word in _words(text)]


@pytest.mark.parametrize("fault", ["beyond", "twice", "short", "type"])
def test_addresses_that_cannot_be_are_refused(corpus, tmp_path, fault):
    positions.write_positions(corpus, Analyzer(), tmp_path)
    path = tmp_path / "addresses.npy"
    addresses = np.load(path)
    if fault == "beyond":
        addresses[5] = len(addresses)
    elif fault == "twice":
        addresses[6] = addresses[5]
    changed = addresses[:-1] if fault == "short" else addresses.astype(np.int64) if fault == "type" else addresses
    np.save(path, changed)
    with pytest.raises(DamagedFile, match=r"addresses\.npy"):
        positions.Positions.load(tmp_path, InvertedIndex.load(tmp_path))


def test_a_corpus_without_words_finds_nothing():
    for texts in (["", "the of"], ["w1"]):
        stage = nirank.load("sdm")
        found = (stage % 5).search(["w1 w2", "w2"], Documents([f"e{number}" for number in range(len(texts))], texts))
        assert found.pairs == texts.count("w1")


def test_it_composes_and_reads_a_field(corpus):
    fielded = Documents(corpus.ids, ["x"] * len(corpus), {"text": corpus[:], "other": ["w2 w1"] * len(corpus)})
    stage = nirank.load("sdm", field="text")
    found = (stage % 30).search(QUERIES, fielded)
    expected = (nirank.load("sdm") % 30).search(QUERIES, corpus)
    assert np.array_equal(found.scores, expected.scores)
    bm25 = nirank.load("bm25")
    for ranking in (bm25 % 50 >> nirank.load("sdm"), nirank.fuse(bm25, nirank.load("sdm")), nirank.parse("sdm % 5")):
        assert ranking.search(QUERIES, corpus).pairs
    rescored = (nirank.load("sdm") % 30 >> nirank.load("sdm")).search(QUERIES, corpus)
    assert np.array_equal(rescored.docs, expected.docs)


def test_what_makes_no_sense_is_told(corpus):
    for wrong in ({"terms": 0.0}, {"ordered": -1.0}, {"unordered": math.inf}, {"window": 1}):
        with pytest.raises(BadInput, match="weights of 0 or more, that of terms above 0, and a window of 2 words"):
            nirank.load("sdm", **wrong)
    with pytest.raises(BadInput, match="mu is 0"):
        nirank.load("sdm", mu=0.0)
    with pytest.raises(CompositionError):
        (nirank.load("bm25") % 5 >> nirank.load("rm3") >> nirank.load("sdm")).search("w1", corpus)
    stage = nirank.load("sdm")
    stage.search("w1", corpus)
    weighted = Queries.of(["w1"]).with_vectors(
        TermWeights.of([Counter(w1=1.0)], stage.component.target.analyzer.settings)
    )
    with pytest.raises(BadInput, match="sdm needs words in their order, and weighted terms have none"):
        stage.component.target.generate(weighted, 5)
    with pytest.raises(BadInput, match="query 0 is of type int"):
        stage.component.target.generate(Queries.of([3]), 5)


@pytest.mark.parametrize(("name", "least"), [("cranfield", 0.38), ("vaswani", 0.23)])
def test_figures_beside_ql(shared, name, least):
    collection = nirank.collection(f"beir:{shared(name)}")
    judgments = collection.judgments
    if name == "cranfield":
        binary = nirank.read_qrels(shared(name) / "qrels.binary.txt")
        judgments = binary.align(collection.queries.ids, collection.corpus.ids)
    ql, own = (
        nirank.evaluate((nirank.load(each) % 1000).search(collection.queries, collection.corpus), judgments, ["AP"])[
            "AP"
        ]
        for each in ("ql", "sdm")
    )
    assert own > max(ql + 0.01, least)
