"""Query expansion, database augmentation and k-reciprocal re-ranking, against loops written from the papers."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.data import Documents, Queries
from nirank.errors import BadInput
from nirank_stir.alpha_qe import AlphaQE, dba
from nirank_stir.k_reciprocal import KReciprocal
from nirank_stir.neighbours import nearest, unit


class Numbers:
    """Texts such as "1 2 3" are vectors."""

    vectors = "dense"

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        return np.array([text.split() for text in contents], np.float32).reshape(len(contents), -1)


def _texts(vectors):
    return [" ".join(map(repr, row)) for row in vectors.tolist()]


@pytest.fixture
def vectors():
    """Clusters of points, with a point that comes twice."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(4, 6))
    points = centres[random.integers(0, 4, 40)] + 0.4 * random.normal(size=(40, 6))
    points[17] = points[4]
    return points.astype(np.float32)


@pytest.fixture
def corpus(vectors):
    return Documents([f"d{number}" for number in range(len(vectors))], _texts(vectors))


@pytest.fixture
def queries(vectors):
    """Strangers, and two that are documents."""
    strangers = np.random.default_rng(8).normal(size=(5, 6)).astype(np.float32)
    return Queries(["d4", "d9", *"abcde"], _texts(np.concatenate([vectors[[4, 9]], strangers])))


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _order(scores):
    return sorted(range(len(scores)), key=lambda place: (-np.float32(scores[place]), place))


def _moved(vector, own, documents, neighbours, alpha):
    """A vector and its nearest, itself left out, one after the other."""
    near = [doc for doc in _order(documents @ vector) if doc != own][:neighbours]
    total = vector.copy()
    for doc in near:
        total += max(0.0, float(documents[doc] @ vector)) ** alpha * documents[doc]
    return _unit(total)


def _search(component, corpus, queries, k=40):
    return (nirank.load(Numbers(), "numbers") >> nirank.load(component, "found") % k).search(queries, corpus)


def _expect(found, scores):
    for row, expected in enumerate(scores):
        docs, values = found[row]
        np.testing.assert_allclose(values, np.asarray(expected)[docs], atol=2e-6)
        assert sorted(docs.tolist()) == list(range(len(expected)))


@pytest.mark.parametrize(
    ("neighbours", "alpha", "database"), [(3, 3.0, 0), (0, 2.0, 4), (5, 0.0, 3), (0, 1.0, 0), (99, 1.0, 99)]
)
def test_vectors_are_moved_towards_their_nearest(vectors, corpus, queries, neighbours, alpha, database):
    documents = _unit(vectors.astype(np.float64))
    if database:
        documents = np.array([_moved(vector, doc, documents, database, alpha) for doc, vector in enumerate(documents)])
    expected = []
    for text, own in zip(queries.contents, [4, 9, *[None] * 5], strict=True):
        query = _unit(np.array(text.split(), float))
        expected.append(documents @ (_moved(query, own, documents, neighbours, alpha) if neighbours else query))
    _expect(_search(AlphaQE(neighbours, alpha, database), corpus, queries), expected)


def test_database_augmentation_is_that_of_documents_alone():
    assert repr(dba(neighbours=7, alpha=2.0)) == "AlphaQE(neighbours=0, alpha=2.0, database=7)"


def _neighbours(similarity, k):
    """The first k of each row, the row's own first of all."""
    return [[row, *[other for other in _order(values) if other != row]][:k] for row, values in enumerate(similarity)]


def _reciprocal(lists, row):
    return {other for other in lists[row] if row in lists[other]}


def _scale(similarity, scaled):
    """The distance of the farthest document, or 1."""
    return 1 - similarity.min() if scaled else 1.0


def _encode(reciprocal, half, similarity, scaled, itself=0):
    """V of one image as a column over all documents, and one place for a query, from its reciprocal neighbours."""
    members = set(reciprocal)
    for candidate in reciprocal:
        if len(half[candidate] & reciprocal) > 2 / 3 * len(half[candidate]):
            members |= half[candidate]
    encoded = np.zeros(len(similarity) + 1)
    encoded[-1] = itself
    for member in members:
        encoded[member] = np.exp((similarity[member] - 1) / _scale(similarity, scaled))
    return encoded / encoded.sum()


def _k_reciprocal(vectors, query, k1, k2, weight, scaled):
    """The scores of all documents for one query, by the equations, set by set."""
    similarity = vectors @ vectors.T
    lists = _neighbours(similarity, k1 + 1)
    halves = _neighbours(similarity, round(k1 / 2) + 1)
    half = [_reciprocal(halves, row) for row in range(len(vectors))]
    alone = np.array([_encode(_reciprocal(lists, row), half, similarity[row], scaled) for row in range(len(vectors))])
    encoded = np.array([alone[lists[row][:k2]].mean(0) for row in range(len(vectors))])
    near = _order(vectors @ query)[:k1]
    last = [similarity[row][lists[row][-1]] for row in range(len(vectors))]
    own = _encode({doc for doc in near if vectors[doc] @ query >= last[doc] - 1e-9}, half, vectors @ query, scaled, 1)
    own = (own + alone[near[: k2 - 1]].sum(0)) / (1 + len(near[: k2 - 1]))
    scores = []
    for document in range(len(vectors)):
        smaller, larger = np.minimum(own, encoded[document]).sum(), np.maximum(own, encoded[document]).sum()
        apart = (1 - vectors[document] @ query) / _scale(vectors @ query, scaled)
        scores.append(-((1 - weight) * (1 - smaller / larger) + weight * apart))
    return scores


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("k1", "k2", "weight"), [(6, 3, 0.3), (9, 1, 0.3), (5, 6, 0.0), (5, 2, 1.0), (3, 2, 0.5)])
def test_k_reciprocal_scores_are_those_of_its_equations(vectors, queries, k1, k2, weight, scaled):
    vectors = np.delete(vectors, 17, axis=0)  # of two equal points either may come first
    corpus = Documents([str(number) for number in range(len(vectors))], _texts(vectors))
    documents = _unit(vectors.astype(np.float64))
    asked = [_unit(np.array(text.split(), float)) for text in queries.contents[2:]]
    expected = [_k_reciprocal(documents, query, k1, k2, weight, scaled) for query in asked]
    _expect(_search(KReciprocal(k1, k2, weight, scaled), corpus, queries.take(slice(2, None))), expected)


def test_an_index_without_scaled_distances_has_the_key_that_it_had():
    assert KReciprocal().index_key == {"index": "k-reciprocal", "version": 1, "k1": 20, "k2": 6}
    assert KReciprocal(scaled=True).index_key != KReciprocal().index_key


@pytest.mark.parametrize("component", [AlphaQE(3, 3.0, 2), KReciprocal(5, 3), KReciprocal(5, 3, 0.3, True)], ids=repr)
def test_a_query_has_the_same_scores_alone_and_ten_are_the_first_ten(component, corpus, queries):
    together = _search(component, corpus, queries)
    few = _search(component, corpus, queries, k=10)
    for row in range(len(queries)):
        alone = _search(component, corpus, queries.take(np.array([row])))
        assert alone.docs.tolist() == together[row][0].tolist()
        assert alone.scores.tolist() == together[row][1].tolist()
        assert few[row][0].tolist() == together[row][0][:10].tolist()


def test_the_nearest_are_found_block_by_block_with_ties_by_ordinal(vectors, monkeypatch):
    documents = unit(vectors)
    whole = nearest(documents[:9], documents, 7)
    monkeypatch.setattr("nirank_stir.neighbours._PRODUCTS", 50)
    parts = nearest(documents[:9], documents, 7)
    assert (whole.docs == parts.docs).all()
    assert (whole.scores == parts.scores).all()
    assert whole[4][0].tolist()[:2] == [4, 17]
    assert nearest(documents[:0], documents, 7).pairs == 0


def test_a_vector_without_a_direction_stays_zero():
    assert unit(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0, 0], [np.float32(0.6), np.float32(0.8)]]


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (AlphaQE, {"neighbours": -1}),
        (AlphaQE, {"alpha": float("nan")}),
        (KReciprocal, {"k1": 0}),
        (KReciprocal, {"k2": 22}),
        (KReciprocal, {"weight": 1.5}),
    ],
)
def test_settings_out_of_range_are_refused(make, settings):
    with pytest.raises(BadInput, match=next(iter(settings))):
        make(**settings)


def test_queries_of_another_dimension_or_without_vectors_are_refused(corpus):
    component = AlphaQE()
    _search(component, corpus, Queries.of(["1 2 3 4 5 6"]))
    with pytest.raises(BadInput, match="6 dimensions"):
        component.generate(Queries.of(["1 2"]).with_vectors(np.ones((1, 2), np.float32)), 3)
    with pytest.raises(BadInput, match="no vectors"):
        component.generate(Queries.of(["1 2"]), 3)
    with pytest.raises(BadInput, match="no open index"):
        KReciprocal().generate(Queries.of(["1 2"]), 3)
