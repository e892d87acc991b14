"""Bo1 and KL against the formulas of Amati's thesis with Terrier's weights, one term at a time in plain Python."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("regex")

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, CompositionError, StaleIndex
from nirank_expansion import divergence, feedback
from tests.flat import flat

KINDS = {"bo1": flat(divergence.Bo1), "kl_expansion": flat(divergence.KL)}
WORDS = ["cat", "dog", "rat", "pig", "car", "van", "tram", "boat", "naïve", "東京", "x", "a1", "common"]


def _texts(number=60):
    random = np.random.default_rng(0)
    for _ in range(number):
        yield " ".join(["common", *random.choice(WORDS[:-1], random.integers(1, 12))])


TEXTS = [*_texts(), "", "cat " * 40 + "dog dog rare", "cat dog", "cat dog boat"]
CORPUS = Documents([str(number) for number in range(len(TEXTS))], TEXTS)
QUERIES = ["cat", "the Cats and a dog", "", "unknown", "unknown cat unknown bus", "car car van", "naïve", "rare pig"]
FOUND = [[0, 5, 61], [3, 9, 1, 60], [3], [2, 7], [61, 60], [], [10, 12, 66, 99], [61, 62, 63]]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def opened(tmp_path, kind):
    """Makes an encoder with settings, its index built and open."""

    def opens(corpus=CORPUS, **settings):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        encoder = KINDS[kind](**settings)
        encoder.build(corpus, folder)
        encoder.open(corpus, folder)
        return encoder

    return opens


def _asked(queries=QUERIES, docs=FOUND, corpus=CORPUS):
    scores = [[float(len(each) - place) for place in range(len(each))] for each in docs]
    return Queries.of(queries).with_found(Candidates.of(docs, scores, corpus))


def _weights(encoder, queries):
    made = encoder.encode(queries)
    return [made.query(row) for row in range(len(made))]


def _bo1(tf, cf, found, everything, documents):
    mean = cf / documents
    return tf * math.log2((1 + mean) / mean) + math.log2(1 + mean)


def _kl(tf, cf, found, everything, documents):
    here, there = tf / found, cf / everything
    return here * math.log2(here / there) if here >= there else 0.0


FORMULAS = {"bo1": _bo1, "kl_expansion": _kl}


def _slowly(encoder, kind, query, docs):
    """The steps of Terrier's DFRBagExpansionTerms and QueryExpansion."""
    texts = [Counter(encoder.analyzer(text)) for text in TEXTS]
    frequencies = sum(texts, Counter())
    bag = [texts[doc] for doc in docs if doc < len(TEXTS)]
    counts, asked = sum(bag, Counter()), Counter(encoder.analyzer(query))
    sizes = counts.total(), frequencies.total(), len(TEXTS)
    worth = {}
    for term, tf in counts.items():
        rare = sum(term in each for each in bag) < encoder.min_docs <= len(docs)
        worth[term] = 0.0 if rare and term not in asked else FORMULAS[kind](tf, frequencies[term], *sizes)
    number = {term: encoder._index.vocabulary.find([term])[0] for term in worth}
    ranked = sorted(worth, key=lambda term: (-worth[term], number[term]))
    weights = Counter({term: count / max(asked.values()) for term, count in asked.items()})
    if ranked:
        most = counts[ranked[0]]
        normaliser = FORMULAS[kind](most, most, *sizes)
        for term in ranked[: max(encoder.terms, len(asked))]:
            weights[term] += worth[term] / (normaliser if normaliser > 0 else 1)
    return {term: weight for term, weight in weights.items() if weight > 0 and frequencies[term]}


@pytest.mark.parametrize(
    "settings", [{}, {"terms": 3}, {"terms": 1, "min_docs": 1}, {"min_docs": 3}, {"terms": 99, "min_docs": 9}]
)
def test_weights_are_those_of_the_formula(opened, kind, settings):
    encoder = opened(**settings)
    found = _weights(encoder, _asked())
    expected = [_slowly(encoder, kind, *given) for given in zip(QUERIES, FOUND, strict=True)]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_what_is_expected_shows_every_rule(opened):
    found = _weights(opened(), _asked())
    assert len(found[1]) > 5
    assert {"unknown", "bu"}.isdisjoint(found[4])
    assert found[4]["cat"] > 0.5  # "unknown" is there twice, and so has the largest count of the query
    assert found[5] == {"car": 1.0, "van": 0.5}  # nothing was found
    assert found[7]["rare"] > 1  # it is in one document, and asked for
    assert "rare" not in found[4]  # it is in one of two documents, and not asked for
    assert found[2]  # where one document was found its terms are taken


def test_bo1_by_hand(tmp_path):
    """Two documents of four, "red" twice in one and once in the other, and once elsewhere."""
    corpus = Documents(list("abcd"), ["red red blue", "red green", "red", "grey"])
    encoder = divergence.Bo1()
    encoder.build(corpus, tmp_path)
    encoder.open(corpus, tmp_path)
    (found,) = _weights(encoder, _asked(["blue"], [[0, 1]], corpus))
    red = 3 * math.log2((1 + 1) / 1) + math.log2(2)  # P = 4 / 4
    blue = math.log2((1 + 0.25) / 0.25) + math.log2(1.25)
    normaliser = 3 * math.log2((1 + 0.75) / 0.75) + math.log2(1.75)
    assert found == pytest.approx({"red": red / normaliser, "blue": 1 + blue / normaliser}, rel=1e-6)


def test_a_query_alone_and_in_parts_is_expanded_as_among_others(opened, monkeypatch):
    encoder = opened()
    together = _weights(encoder, _asked())
    assert together == [
        _weights(encoder, _asked([query], [docs]))[0] for query, docs in zip(QUERIES, FOUND, strict=True)
    ]
    monkeypatch.setattr(feedback, "_TOKENS_AT_ONCE", 7)
    assert _weights(encoder, _asked()) == together


def test_no_queries_and_no_documents_have_no_terms(opened):
    empty = Documents([], [])
    assert _weights(opened(), _asked([], [])) == []
    assert _weights(opened(empty), _asked(["cat", ""], [[], [3]], empty)) == [{}, {}]


def test_settings_and_places_that_make_no_sense_are_told(kind):
    for wrong in ({"terms": 0}, {"min_docs": 0}):
        with pytest.raises(BadInput, match="whole numbers from 1 are expected"):
            nirank.load(kind, **wrong)
    with pytest.raises(StaleIndex):
        KINDS[kind]().encode(_asked())
    with pytest.raises(CompositionError, match=f"write `ranking >> {kind} >> index`"):
        nirank.load(kind) >> nirank.load("bm25")


def test_it_stands_in_a_pipeline_as_rm3_does(kind):
    found = nirank.parse(f"bm25 % 3 >> {kind} >> bm25 % 20").search(["rat boat", "unknown"], CORPUS)
    assert len(found[0][0]) == 20
    assert not len(found[1][0])


@pytest.mark.parametrize(("name", "gain"), [("cranfield", 0.01), ("vaswani", 0.01), ("nfcorpus", 0.01)])
def test_it_raises_average_precision(shared, kind, name, gain):
    collection = nirank.collection(f"beir:{shared(name)}")
    judgments = collection.judgments
    if name == "cranfield":  # whose grades say in figures of their own what is relevant: see its SOURCE.md
        judgments = nirank.read_qrels(shared(name) / "qrels.binary.txt").align(
            collection.queries.ids, collection.corpus.ids
        )
    means = [
        nirank.evaluate(nirank.parse(text).search(collection.queries, collection.corpus), judgments, ["AP"])["AP"]
        for text in ("bm25 % 1000", f"bm25 % 3 >> {kind} >> bm25 % 1000")
    ]
    assert means[1] > means[0] + gain
