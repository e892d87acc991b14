"""RM3's and Rocchio's expansions against their formulas, one term at a time in plain Python."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("regex")

import nirank
from nirank.data import Candidates, Documents, Queries, TermWeights
from nirank.errors import BadInput, StaleIndex, UnknownName
from nirank_expansion import feedback, rm3, rocchio
from nirank_expansion.feedback_terms import TermRows
from tests.flat import flat

RM3, Rocchio = flat(rm3.RM3), flat(rocchio.Rocchio)
WORDS = ["cat", "dog", "rat", "pig", "car", "van", "tram", "boat", "naïve", "東", "東京", "x", "a1", "common"]


def _texts(number=60):
    random = np.random.default_rng(0)
    for _ in range(number):
        yield " ".join(["common", *random.choice(WORDS[:-1], random.integers(1, 12))])


LONG = "abcdefghijklmnopqrstu"  # 21 letters
TEXTS = [*_texts(), "", "the of", "cat " * 40 + f"dog dog rare {LONG}", "cat dog", "cat dog", "don't _ 👍🏽 boat"]
IDS = [str(number) for number in range(len(TEXTS))]
CORPUS = Documents(IDS, TEXTS)
QUERIES = ["cat", "the Cats and a dog", "", "unknown", "unknown cat unknown bus", "car car van", "東京 naïve", "common"]
FOUND = [[0, 5, 62], [3, 9, 1, 60], [3], [2, 7], [61, 60], [], [10, 12, 66, 99], [63, 64, 64]]
SCORES = [[3, 2, 0.5], [2.5, 2.5, 1, 0], [1], [9, 0], [2, 1], [], [4, 3, 2, 1], [1, 1, 1]]


@pytest.fixture
def opened(tmp_path):
    """Opens the index of an encoder over a corpus."""

    def opens(encoder, corpus=CORPUS):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        encoder.build(corpus, folder)
        encoder.open(corpus, folder)
        return encoder

    return opens


def _asked(queries=QUERIES, docs=FOUND, scores=SCORES, corpus=CORPUS):
    return Queries.of(queries).with_found(Candidates.of(docs, scores, corpus))


def _weights(encoder, queries):
    made = encoder.encode(queries)
    assert isinstance(made, TermWeights)
    return [made.query(row) for row in range(len(made))]


def _expect(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


# The formulas, slowly


def _counts(encoder, doc):
    """The terms of a document that may expand a query, and how often it has each."""
    documents = [set(encoder.analyzer(text)) for text in TEXTS]
    counts = Counter(encoder.analyzer(TEXTS[doc])) if doc < len(TEXTS) else Counter()
    allowed = encoder.passing
    return {
        term: count
        for term, count in counts.items()
        if allowed.min_length <= len(term) <= allowed.max_length
        and (not allowed.latin or (term.isascii() and term.isalnum() and term == term.lower()))
        and sum(term in terms for terms in documents) / len(TEXTS) <= allowed.max_df
    }


def _best(encoder, weights, k):
    """The k largest, of equal ones those that come first in the vocabulary."""
    number = {term: encoder._index.vocabulary.find([term])[0] for term in weights}
    return dict(sorted(weights.items(), key=lambda pair: (-pair[1], number[pair[0]]))[:k])


def _scaled(weights, norm):
    return {term: weight / norm for term, weight in weights.items()} if norm else {}


def _length(weights):
    return math.sqrt(sum(weight**2 for weight in weights.values()))


def _rm3_slowly(encoder, query, docs, scores):
    relevant = Counter()
    for doc, score in zip(docs, scores, strict=True):
        counts = _counts(encoder, doc)
        counts = _best(encoder, counts, encoder.terms) if encoder.prune else counts
        weight = math.exp(score - max(scores)) if encoder.weights == "likelihood" else max(score, 0)
        for term, count in counts.items():
            relevant[term] += count / sum(counts.values()) * weight
    kept = _best(encoder, {term: weight for term, weight in relevant.items() if weight > 0}, encoder.terms)
    kept = _scaled(kept, sum(kept.values()))
    asked = Counter(encoder.analyzer(query))
    share, mixed = encoder.original_query_weight, Counter()
    for term, count in asked.items():
        mixed[term] += share * count / sum(asked.values())
    for term, weight in kept.items():
        mixed[term] += (1 - share) * weight
    return _indexed(encoder, mixed)


def _rocchio_slowly(encoder, query, docs):
    first = docs if encoder.relevant is None else docs[: encoder.relevant]
    last = docs[len(docs) - encoder.nonrelevant :] if encoder.nonrelevant < len(docs) else docs
    asked = Counter(encoder.analyzer(query))
    moved = Counter()
    for term, count in asked.items():
        moved[term] += encoder.alpha * count / _length(asked)
    for chosen, weight in ((first, encoder.beta), (last, -encoder.gamma)):
        for term, value in _centroid(encoder, chosen).items():
            moved[term] += weight * value
    return _indexed(encoder, moved)


def _centroid(encoder, docs):
    summed = Counter()
    for doc in docs:
        counts = _counts(encoder, doc)
        for term, count in counts.items():
            summed[term] += count / _length(counts)
    kept = _best(encoder, summed, encoder.terms)
    return _scaled(kept, _length(kept))


def _indexed(encoder, weights):
    known = {term for text in TEXTS for term in encoder.analyzer(text)}
    return {term: weight for term, weight in weights.items() if weight > 0 and term in known}


LOOSE = {"max_df": 1.0, "min_length": 1, "max_length": 99, "latin": False}


@pytest.mark.parametrize(
    "settings",
    [
        {"max_df": 0.6},
        {"terms": 3, "max_df": 1.0},
        {"terms": 4, "prune": False, "max_df": 0.6},
        {"terms": 3, "weights": "likelihood", "prune": False, **LOOSE},
        {"weights": "likelihood", "original_query_weight": 0.8, **LOOSE},
        {"original_query_weight": 0.0, "max_df": 0.6},
        {"original_query_weight": 1.0},
        {"terms": 1, **LOOSE},
    ],
)
def test_rm3_is_the_relevance_model_mixed_with_the_query(opened, settings):
    rm3 = opened(RM3(**settings))
    expected = [_rm3_slowly(rm3, *given) for given in zip(QUERIES, FOUND, SCORES, strict=True)]
    found = _weights(rm3, _asked())
    _expect(found, expected)
    assert found[5] == pytest.approx(
        _indexed(rm3, {"car": rm3.original_query_weight * 2 / 3, "van": expected[5].get("van", 0)})
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"max_df": 0.6},
        {"terms": 3, "max_df": 1.0, "latin": True},
        {"terms": 3, "relevant": 1, "nonrelevant": 2, "gamma": 0.5, **LOOSE},
        {"relevant": 0, "nonrelevant": 99, "gamma": 0.15, **LOOSE},
        {"alpha": 0.3, "beta": 2.0, "relevant": 2, **LOOSE},
        {"alpha": 0.0, "beta": 1.0, "gamma": 1.0, "nonrelevant": 1, **LOOSE},
        {"beta": 0.0},
    ],
)
def test_rocchio_moves_the_query_to_the_first_and_from_the_last(opened, settings):
    rocchio = opened(Rocchio(**settings))
    expected = [_rocchio_slowly(rocchio, *given) for given in zip(QUERIES, FOUND, strict=True)]
    _expect(_weights(rocchio, _asked()), expected)


def test_what_is_expected_is_no_copy_of_the_query(opened):
    """The queries and documents above do show what they are to show."""
    rm3, rocchio = opened(RM3(max_df=0.6)), opened(Rocchio(max_df=0.6, latin=True, relevant=2, nonrelevant=1))
    for found in (_weights(rm3, _asked()), _weights(rocchio, _asked())):
        assert all(len(found[row]) > 3 for row in (0, 1))
        assert found[3]
        assert "unknown" not in found[3]
        assert set(found[4]) == {"cat"}
        assert sorted(found[5]) == ["car", "van"]
    assert {"東", "京", "naïv"} <= set(_weights(rm3, _asked())[6])  # they are asked for, and do not expand
    first = _weights(rm3, _asked())
    assert sum(first[0].values()) == pytest.approx(1)
    assert first[4]["cat"] == pytest.approx(0.5 / 4)  # a fourth of the query


# Which terms pass


def test_terms_pass_by_length_letters_and_share_of_documents(opened):
    passed = opened(RM3(max_df=0.6))
    names = {passed._index.vocabulary[number] for number in np.flatnonzero(passed._passed).tolist()}
    assert {"cat", "dog", "a1", "rare"} <= names
    assert not {"common", "x", "東", "naïv", LONG} & names
    wide = opened(Rocchio(max_df=1.0))
    names = {wide._index.vocabulary[number] for number in np.flatnonzero(wide._passed).tolist()}
    assert {"common", "naïv"} <= names
    assert not {"x", "東", LONG} & names


def test_characters_are_counted_and_not_bytes(opened):
    corpus = Documents(["1", "2"], ["ああ né 👍 ab", "zz"])
    vocabulary = opened(RM3(min_length=1, max_length=1, latin=False, max_df=1.0, stemmer=None), corpus)
    names = {vocabulary._index.vocabulary[number] for number in np.flatnonzero(vocabulary._passed).tolist()}
    assert names == {term for term in vocabulary.analyzer("ああ né 👍 ab zz") if len(term) == 1}
    assert names


def test_a_share_of_documents_is_reached_by_terms_in_just_as_many(opened):
    corpus = Documents(list("abcd"), ["one two", "one", "three", "three four"])
    half = opened(RM3(max_df=0.5), corpus)
    quarter = opened(RM3(max_df=0.49), corpus)
    assert half._passed.sum() == 4
    assert quarter._passed.sum() == 2


# Rows of their own


def test_a_query_alone_is_expanded_as_among_others(opened):
    for encoder in (opened(RM3(max_df=0.6)), opened(Rocchio(max_df=0.6, relevant=2, nonrelevant=1))):
        together = _weights(encoder, _asked())
        alone = [
            _weights(encoder, _asked(*([each] for each in given)))[0]
            for given in zip(QUERIES, FOUND, SCORES, strict=True)
        ]
        assert together == alone


def test_many_documents_are_read_a_part_at_a_time(opened, monkeypatch):
    for encoder in (opened(RM3(max_df=0.6)), opened(Rocchio(max_df=0.6))):
        whole = _weights(encoder, _asked())
        for tokens in (1, 7, 50):
            monkeypatch.setattr(feedback, "_TOKENS_AT_ONCE", tokens)
            assert _weights(encoder, _asked()) == whole
        monkeypatch.undo()


def test_documents_out_of_order_are_ranked_first(opened):
    docs, scores = [[62, 0, 5]], [[0.5, 3.0, 2.0]]
    for encoder in (
        opened(RM3(weights="likelihood", max_df=0.6)),
        opened(Rocchio(relevant=2, nonrelevant=1, max_df=0.6)),
    ):
        assert _weights(encoder, _asked(["cat"], docs, scores)) == _weights(
            encoder, _asked(["cat"], FOUND[:1], SCORES[:1])
        )


def test_no_queries_and_no_documents_have_no_terms(opened):
    empty = Documents([], [])
    for kind in (RM3, Rocchio):
        assert len(opened(kind()).encode(_asked([], [], []))) == 0
        assert _weights(opened(kind(), empty), _asked(["cat", ""], [[], [3]], [[], [1]], empty)) == [{}, {}]


def test_scores_far_apart_and_far_below_nothing_are_likelihoods(opened):
    rm3 = opened(RM3(weights="likelihood", max_df=0.6, prune=False))
    scores = [[-1e4, -1e4 - 1, -3e4]]
    docs = [[0, 5, 62]]
    _expect(_weights(rm3, _asked(["cat"], docs, scores)), [_rm3_slowly(rm3, "cat", docs[0], scores[0])])


def test_rows_keep_the_largest_and_of_equal_ones_the_first():
    rows = TermRows.of(np.array([1, 0, 1, 1, 1]), np.array([9, 2, 4, 7, 4]), [2.0, 5.0, 1.0, 2.0, 1.0], 3)
    assert rows.terms.tolist() == [2, 4, 7, 9]
    assert rows.values.tolist() == [5, 2, 2, 2]
    assert rows.best(2).terms.tolist() == [2, 4, 7]
    assert rows.best(99).terms.tolist() == [2, 4, 7, 9]
    assert rows.shares().values.tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    assert rows.unit().times([2, 3, 4]).values.tolist() == pytest.approx([2, *[3 / math.sqrt(3)] * 3])


# In a pipeline


@pytest.mark.parametrize("name", ["rm3", "rocchio"])
def test_an_expanded_query_finds_what_its_terms_find(name):
    bm25, expanding = nirank.load("bm25"), nirank.load(name, max_df=0.6)
    found = nirank.parse(f"bm25 % 5 >> {name} >> bm25 % 9", {"bm25": bm25, name: expanding}).search(
        ["rat boat", "unknown"], CORPUS
    )
    queries = Queries.of(["rat boat", "unknown"])
    weights = _weights(expanding.component.target, queries.with_found((bm25 % 5).search(queries, CORPUS)))[0]
    assert len(weights) > 4
    everything = Candidates.of([range(len(TEXTS))], corpus=CORPUS)
    total = sum(weight * bm25.score(Queries.of([term]), everything).astype(float) for term, weight in weights.items())
    docs, scores = found[0]
    np.testing.assert_allclose(scores, total[docs], rtol=1e-5)
    np.testing.assert_allclose(np.sort(total)[::-1][:9], scores, rtol=1e-5)
    assert not len(found[1][0])


def test_feedback_shares_the_index_of_all_that_read_terms_in_order():
    from nirank.kit.text import Analyzer, index_key

    assert dict(RM3(terms=3).index_key) == dict(Rocchio(beta=0.1).index_key) == dict(index_key(Analyzer()))


@pytest.mark.parametrize(
    ("name", "before", "after"), [("cranfield", 0.39, 0.42), ("nfcorpus", 0.15, 0.18), ("vaswani", 0.285, 0.295)]
)
def test_feedback_raises_average_precision(shared, name, before, after):
    collection = nirank.collection(f"beir:{shared(name)}")
    if name == "cranfield":  # whose grades say in figures of their own what is relevant: see its SOURCE.md
        binary = nirank.read_qrels(shared(name) / "qrels.binary.txt")
        judgments = binary.align(collection.queries.ids, collection.corpus.ids)
    else:
        judgments = collection.judgments
    bm25 = nirank.load("bm25")

    def precision(ranking):
        return nirank.evaluate(ranking.search(collection.queries, collection.corpus), judgments, ["AP"])["AP"]

    assert before < precision(bm25 % 1000) < before + 0.02
    assert precision(bm25 % 10 >> nirank.load("rm3") >> bm25 % 1000) > after
    assert precision(bm25 % 10 >> nirank.load("rocchio") >> bm25 % 1000) > after


# What cannot be used


@pytest.mark.parametrize(
    ("kind", "settings", "error", "message"),
    [
        (RM3, {"terms": 0}, BadInput, "terms is 0"),
        (RM3, {"original_query_weight": 1.5}, BadInput, "original_query_weight is 1.5; a number from 0 to 1"),
        (rm3.RM3, {"weights": "scores"}, UnknownName, "scores"),
        (RM3, {"max_df": 0.0}, BadInput, "max_df is 0.0"),
        (RM3, {"min_length": 5, "max_length": 4}, BadInput, "min_length = 5"),
        (Rocchio, {"terms": 0}, BadInput, "terms = 0"),
        (Rocchio, {"relevant": -1}, BadInput, "relevant = -1"),
        (Rocchio, {"nonrelevant": -1}, BadInput, "nonrelevant = -1"),
        (Rocchio, {"gamma": -0.1}, BadInput, "gamma = -0.1"),
        (Rocchio, {"beta": math.inf}, BadInput, "beta = inf"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, settings, error, message):
    with pytest.raises(error, match=message):
        kind(**settings)


@pytest.mark.parametrize("kind", [rm3.RM3, rocchio.Rocchio])
def test_an_expansion_without_what_it_needs_is_told(opened, kind):
    with pytest.raises(StaleIndex, match="has no index"):
        kind().encode(Queries.of(["cat"]))
    with pytest.raises(BadInput, match=rf"write `bm25 % 10 >> {kind.name} >> bm25`"):
        opened(kind()).encode(Queries.of(["cat"]))
    with pytest.raises(BadInput, match="query 1 is of type int"):
        opened(kind()).encode(_asked(["cat", 3], [[0], [1]], [[1], [1]]))
