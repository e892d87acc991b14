"""Roy's and Diaz's expansions against the formulas of the papers, one term at a time, and where vectors come from."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("gensim")
pytest.importorskip("regex")

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, StaleIndex
from nirank.kit.text import SkipGram, Word2Vec
from nirank_expansion import diaz, roy
from nirank_expansion.mixture import mixture
from nirank_expansion.skipgram import train
from tests.flat import flat

Roy, RoyPost, RoyIncremental, Diaz = map(flat, (roy.Roy, roy.RoyPost, roy.RoyIncremental, diaz.Diaz))
ANIMALS, VEHICLES = ["cat", "dog", "rat", "pig"], ["car", "van", "tram", "boat"]  # words that are their own stems
PLACES = ["garden", "street", "park", "road", "東京"]


def _texts(number=400):
    random = np.random.default_rng(0)
    for _ in range(number):
        kind = [ANIMALS, VEHICLES][random.integers(2)]
        drawn = [*random.choice(kind, 3), *random.choice(PLACES, 2)]
        yield " ".join(random.permutation(drawn))


TEXTS = [*_texts(), "", "rare words here", "cat " * 300]
CORPUS = Documents([str(number) for number in range(len(TEXTS))], TEXTS)
QUERIES = [
    "cat",
    "the Cats and a dog",
    "",
    "unknown",
    "rare cat",
    "cat unknown dog",
    "car car bus",
    "東京 tram",
    "e\u0301",
]
SETTINGS = {"terms": 3, "dim": 8, "min_count": 2, "epochs": 20, "sample": 0.0}


@pytest.fixture
def opened(tmp_path):
    """Opens the index of an encoder over the corpus."""

    def opens(encoder, corpus=CORPUS):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        encoder.build(corpus, folder)
        encoder.open(corpus, folder)
        return encoder, folder

    return opens


def _found(queries, docs, scores=None):
    return replace(Queries.of(queries), found=Candidates.of(docs, scores, CORPUS))


def _weights(encoder, queries):
    """The weighted terms of each query, as dictionaries."""
    made = encoder.encode(queries)
    return [made.query(row) for row in range(len(made))]


def _expect(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


# What is mixed


def test_a_mixture_is_a_distribution(opened):
    vocabulary = opened(Roy(**SETTINGS))[0]._index.vocabulary
    cat, dog, car = vocabulary.find(["cat", "dog", "car"])
    some = mixture(vocabulary, np.array([cat, dog, cat]), np.array([dog, car]), np.array([3, 1], np.float32), 0.6)
    assert some == pytest.approx({"cat": 0.4, "dog": 0.2 + 0.3, "car": 0.1})
    nothing, no_weights = np.empty(0, np.int64), np.empty(0, np.float32)
    assert mixture(vocabulary, np.array([cat]), nothing, no_weights, 0.2) == {"cat": 1}
    assert mixture(vocabulary, nothing, np.array([dog]), np.ones(1, np.float32), 0.2) == {"dog": 1}
    assert mixture(vocabulary, nothing, nothing, no_weights, 0.2) == {}
    assert mixture(vocabulary, np.array([cat]), np.array([dog]), np.ones(1, np.float32), 1.0) == {"cat": 1}


# Roy


def _cosine(left, right):
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))


def _nearest(vectors, term, vector, candidates):
    """Candidates by falling similarity to a vector."""
    return sorted(candidates, key=lambda other: (-_cosine(vectors[other], vector), term(other)))


def _pruned_slowly(vectors, term, near, prune, iterations):
    """The list of the paper's Section 2.3: t1, t2', t3'', ... and what is left."""
    near = near[: len(near) - prune]
    done = []
    for _ in range(iterations):
        if len(near) < 2:
            break
        first, rest = near[0], near[1:]
        rest = _nearest(vectors, term, vectors[first], rest)
        done, near = [*done, first], rest[: max(len(rest) - prune, 0)]
    return done + near


def _roy_slowly(encoder, folder, query, allowed=None):
    made = Word2Vec.load(folder / "word2vec.safetensors")
    vectors = dict(zip(made.words, made.inputs.astype(np.float64), strict=True))
    index = encoder._index
    term = made.words.index
    asked = encoder.analyzer(query)
    known = [word for word in asked if index.vocabulary.find([word])[0] >= 0]
    members = [vectors[word] for word in asked if word in vectors]
    if encoder.bigrams:
        pairs = itertools.pairwise(asked)
        members += [vectors[a] + vectors[b] for a, b in pairs if a in vectors and b in vectors]
    candidates = [word for word in vectors if word not in asked and (allowed is None or word in allowed)]
    near = set()
    for member in members:
        ordered = _nearest(vectors, term, member, candidates)
        if isinstance(encoder, roy.RoyIncremental):
            ordered = ordered[: encoder.neighbours]
            near |= set(_pruned_slowly(vectors, term, ordered, encoder.prune, encoder.iterations))
        else:
            near |= set(ordered[: encoder.terms])
    similar = {word: sum(_cosine(vectors[word], member) for member in members) / len(members) for word in near}
    best = sorted(similar, key=lambda word: (-similar[word], term(word)))[: encoder.terms]
    return _mixed_slowly(known, {word: similar[word] for word in best if similar[word] > 0}, encoder.alpha)


def _mixed_slowly(known, weights, share):
    if not known or not weights:
        return {word: known.count(word) / len(known) for word in known}
    total = sum(weights.values())
    mixed = {word: share * known.count(word) / len(known) for word in known}
    for word, weight in weights.items():
        mixed[word] = mixed.get(word, 0) + (1 - share) * weight / total
    return mixed


@pytest.mark.parametrize("bigrams", [True, False])
def test_roy_expands_by_the_nearest_of_all_terms(opened, bigrams):
    roy, folder = opened(Roy(**SETTINGS, alpha=0.7, bigrams=bigrams))
    found = _weights(roy, Queries.of(QUERIES))
    _expect(found, [_roy_slowly(roy, folder, query) for query in QUERIES])
    assert found[2] == found[3] == found[8] == {}
    assert len(found[0]) == 4
    assert len(set(found[0]) & set(ANIMALS)) > 1
    assert sum(found[1].values()) == pytest.approx(1)
    assert "rare" in found[4]  # searched, and without a vector


def test_bigrams_are_terms_side_by_side(opened):
    """A word that is unknown stands between."""
    roy, _ = opened(Roy(**SETTINGS))
    together, apart = _weights(roy, Queries.of(["cat tram", "cat unknown tram"]))
    single, _ = opened(Roy(**SETTINGS, bigrams=False))
    assert apart == pytest.approx(_weights(single, Queries.of(["cat tram"]))[0])
    assert together != pytest.approx(apart)


def test_roy_post_expands_by_terms_of_what_was_found(opened):
    roy, folder = opened(RoyPost(**SETTINGS))
    docs = [[0, 5], [9], [3], [2], [400, 401, 0], [], [402, 7], [1, 2, 3], [0]]
    found = _weights(roy, _found(QUERIES, docs))
    allowed = [{term for doc in row for term in roy.analyzer(TEXTS[doc])} for row in docs]
    expected = [_roy_slowly(roy, folder, query, terms) for query, terms in zip(QUERIES, allowed, strict=True)]
    _expect(found, expected)
    assert found[5] == {"cat": 0.5, "dog": 0.5}
    assert found[0] != pytest.approx(_weights(opened(Roy(**SETTINGS))[0], Queries.of(QUERIES))[0])


@pytest.mark.parametrize(("neighbours", "prune", "iterations"), [(9, 1, 5), (10, 3, 1), (5, 0, 3), (100, 2, 5)])
def test_roy_incremental_prunes_what_is_near(opened, neighbours, prune, iterations):
    settings = {
        "neighbours": neighbours,
        "prune": prune,
        "iterations": iterations,
        "terms": 5,
        "dim": 8,
        "epochs": 20,
        "sample": 0.0,
    }
    roy, folder = opened(RoyIncremental(**settings, min_count=2))
    _expect(_weights(roy, Queries.of(QUERIES)), [_roy_slowly(roy, folder, query) for query in QUERIES])


def test_a_query_alone_is_expanded_as_among_others(opened):
    roy, _ = opened(Roy(**SETTINGS))
    together = _weights(roy, Queries.of(QUERIES))
    assert together == [_weights(roy, Queries.of([query]))[0] for query in QUERIES]


def test_the_forms_share_vectors_and_settings_tell_them_apart():
    pruning = {"neighbours": 9, "prune": 1}
    keys = [dict(made.index_key) for made in (Roy(), RoyPost(alpha=0.1), RoyIncremental(**pruning))]
    assert keys[0] == keys[1] == keys[2]
    assert dict(Roy(dim=10).index_key) != keys[0]
    assert dict(Roy(stemmer=None).index_key) != keys[0]


# Diaz


def _diaz_slowly(encoder, query, docs, scores):
    """word2vec on the drawn documents, then U U' q, one pair of words at a time."""
    index = encoder._index
    asked = [word for word in encoder.analyzer(query) if index.vocabulary.find([word])[0] >= 0]
    if not docs or not asked:
        return {word: asked.count(word) / len(asked) for word in asked}
    temperature = encoder.temperature or len(asked)
    chances = [math.exp((score - max(scores)) / temperature) for score in scores]
    chances = [chance / sum(chances) for chance in chances]
    times = np.random.default_rng(encoder.skipgram.seed).multinomial(encoder.samples, chances)
    texts = [encoder.analyzer(TEXTS[doc]) for doc, often in zip(docs, times, strict=True) for _ in range(often)]
    numbers = sorted({word for text in texts for word in text}, key=lambda word: index.vocabulary.find([word])[0])
    column = np.array([numbers.index(word) for text in texts for word in text], np.int64)
    offsets = np.cumsum([0, *map(len, texts)])
    kept, inputs = train(encoder.skipgram, offsets, column, len(numbers))
    vectors = {numbers[number]: inputs[row].astype(np.float64) for row, number in enumerate(kept)}
    weights = {w: sum(float(vectors[w] @ vectors[q]) for q in asked if q in vectors) for w in vectors}
    best = sorted(weights, key=lambda word: -weights[word])[: encoder.terms]
    return _mixed_slowly(asked, {word: weights[word] for word in best if weights[word] > 0}, encoder.share)


DIAZ = {"terms": 4, "samples": 60, "dim": 6, "min_count": 2, "epochs": 20}


@pytest.mark.parametrize("temperature", [None, 0.7])
def test_diaz_expands_by_vectors_of_what_was_drawn(opened, temperature):
    diaz, _ = opened(Diaz(**DIAZ, temperature=temperature))
    docs = [[*range(40)], [9, 10, 11, 12], [3], [2], [401, 0, 4], [], [402, 7], [1, 2, 3], [0]]
    scores = [[3 - doc / 20 for doc in range(40)], [5, 5, 5, 1], [0], [1], [9, 2, 1], [], [1, 1], [400, 300, -500], [1]]
    found = _weights(diaz, _found(QUERIES, docs, scores))
    expected = [_diaz_slowly(diaz, *given) for given in zip(QUERIES, docs, scores, strict=True)]
    _expect(found, expected)
    assert len(found[0]) > 2
    assert found[2] == found[3] == {}
    assert found[5] == {"cat": 0.5, "dog": 0.5}


def test_diaz_draws_by_score():
    diaz = Diaz(samples=20_000)
    drawn = diaz._drawn(np.array([7, 3, 9]), np.array([2, 1, -1e6], np.float32), 1)
    assert len(drawn) == 20_000
    assert (drawn == 7).mean() == pytest.approx(math.e / (1 + math.e), abs=0.02)
    assert not (drawn == 9).any()
    alike = diaz._drawn(np.array([7, 3]), np.zeros(2, np.float32), 1)
    assert (alike == 7).mean() == pytest.approx(0.5, abs=0.02)


def test_scores_are_means_over_the_terms_of_the_query_unless_there_is_a_temperature():
    docs, scores = np.array([7, 3]), np.array([8, 4], np.float32)
    for temperature, asked in ((None, 4), (4.0, 1), (4.0, 9)):
        drawn = Diaz(samples=20_000, temperature=temperature)._drawn(docs, scores, asked)
        assert (drawn == 7).mean() == pytest.approx(math.e / (1 + math.e), abs=0.02)


def test_diaz_expands_a_query_alone_as_among_others(opened):
    diaz, _ = opened(Diaz(**DIAZ))
    docs, scores = [[0, 5, 8], [9, 10, 11, 12]], [[3, 2.5, -1], [5, 5, 5, 1]]
    together = _weights(diaz, _found(QUERIES[:2], docs, scores))
    assert together[1] == _weights(diaz, _found(QUERIES[1:2], docs[1:], scores[1:]))[0]


def test_diaz_stays_with_the_query_where_there_is_nothing_to_learn_from(opened):
    diaz, _ = opened(Diaz(**DIAZ))
    beyond = _found(["cat dog", "cat"], [[9999, 10_000], [400]], [[2, 1], [1]])  # document 400 has no words
    assert _weights(diaz, beyond) == [{"cat": 0.5, "dog": 0.5}, {"cat": 1}]
    only, _ = opened(Diaz(**{**DIAZ, "share": 1.0}))
    assert _weights(only, _found(["cat dog"], [[0, 5, 8]], [[3, 2, 1]])) == [{"cat": 0.5, "dog": 0.5}]


def test_diaz_shares_its_index_with_all_that_read_terms_in_order():
    from nirank.kit.text import Analyzer, index_key

    assert dict(Diaz(dim=3).index_key) == dict(index_key(Analyzer()))


# Its word2vec


def _train_slowly(settings, texts, vocabulary):
    """word2vec's loops, in float64."""
    counts = np.bincount([word for text in texts for word in text], minlength=vocabulary)
    kept = [word for word in range(vocabulary) if counts[word] >= settings.min_count]
    texts = [[kept.index(word) for word in text if word in kept] for text in texts]
    chance = np.random.default_rng(settings.seed)
    inputs = (chance.random((len(kept), settings.dim), np.float32) - 0.5).astype(np.float64) / settings.dim
    outputs = np.zeros_like(inputs)
    ends = np.cumsum([int(counts[word]) ** 0.75 for word in kept])
    places = [int(np.searchsorted(ends, (place + 0.5) / 65536 * ends[-1])) for place in range(65536)]
    state, done, total = settings.seed, 0, settings.epochs * sum(map(len, texts))

    def drawn(n):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % n

    for _ in range(settings.epochs):
        for text in texts:
            for place, word in enumerate(text):
                rate = settings.learning_rate * (1 - done / total)
                done += 1
                reach = 1 + drawn(settings.window)
                for near in range(max(0, place - reach), min(len(text), place + reach + 1)):
                    if near == place:
                        continue
                    others = [places[drawn(65536)] for _ in range(settings.negatives)]
                    examples = [(word, 1), *((other, 0) for other in others if other != word)]
                    gradient = np.zeros(settings.dim)
                    for target, label in examples:
                        slope = rate * (label - 1 / (1 + math.exp(-float(inputs[text[near]] @ outputs[target]))))
                        gradient += slope * outputs[target]
                        outputs[target] += slope * inputs[text[near]]
                    inputs[text[near]] += gradient
    return kept, inputs


@pytest.mark.parametrize(("window", "negatives", "min_count", "dim"), [(5, 5, 2, 7), (1, 1, 1, 4), (3, 2, 4, 16)])
def test_compiled_skip_gram_is_word2vecs_loops(window, negatives, min_count, dim):
    settings = SkipGram(
        dim=dim, window=window, negatives=negatives, min_count=min_count, epochs=4, learning_rate=0.3, seed=3
    )
    random = np.random.default_rng(1)
    texts = [random.zipf(1.5, length) % 30 for length in (40, 0, 1, 25, 60)]
    offsets = np.cumsum([0, *map(len, texts)])
    kept, inputs = train(settings, offsets, np.concatenate(texts), 30)
    expected, slowly = _train_slowly(settings, [text.tolist() for text in texts], 30)
    assert kept.tolist() == expected
    np.testing.assert_allclose(inputs, slowly, atol=1e-4)
    assert np.abs(inputs).max() > 0.3  # it has moved


def test_skip_gram_puts_words_of_the_same_places_together():
    texts = [
        [PLACES.index(word) if word in PLACES else 5 + (ANIMALS + VEHICLES).index(word) for word in text.split()]
        for text in _texts(200)
    ]
    offsets = np.cumsum([0, *map(len, texts)])
    _, inputs = train(SkipGram(dim=8, epochs=20, min_count=1), offsets, np.concatenate(texts), 13)
    unit = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    alike = (unit @ unit.T)[5:, 5:]
    inside = np.kron(np.eye(2), np.ones((4, 4))).astype(bool) & ~np.eye(8, dtype=bool)
    assert alike[inside].min() > alike[~inside & ~np.eye(8, dtype=bool)].max()


def test_skip_gram_of_no_words_and_of_rare_ones_has_no_vectors():
    settings = SkipGram(dim=3, min_count=2)
    for words in ([], [0, 1, 2]):
        kept, inputs = train(settings, np.array([0, len(words)]), np.array(words, np.int64), 3)
        assert len(kept) == 0
        assert inputs.shape == (0, 3)


# In a pipeline


@pytest.mark.parametrize(
    ("expression", "name", "settings"),
    [
        ("roy >> bm25 % 9", "roy", SETTINGS),
        ("bm25 % 9 >> roy_post >> bm25 % 9", "roy_post", SETTINGS),
        ("roy_incremental >> bm25 % 9", "roy_incremental", {**SETTINGS, "neighbours": 9, "prune": 1}),
        ("bm25 % 9 >> diaz >> bm25 % 9", "diaz", DIAZ),
    ],
)
def test_an_expanded_query_finds_what_its_terms_find(expression, name, settings):
    bm25, expanding = nirank.load("bm25"), nirank.load(name, **settings)
    found = nirank.parse(expression, {"bm25": bm25, name: expanding}).search(["rat", "unknown"], CORPUS)
    queries = Queries.of(["rat", "unknown"])
    first = (bm25 % 9).search(queries, CORPUS)
    weights = _weights(expanding.component.target, replace(queries, found=first))
    assert len(weights[0]) > 1
    everything = Candidates.of([range(len(TEXTS))], corpus=CORPUS)
    total = sum(
        weight * bm25.score(Queries.of([term]), everything).astype(np.float64) for term, weight in weights[0].items()
    )
    docs, scores = found[0]
    np.testing.assert_allclose(scores, total[docs], rtol=1e-5)
    np.testing.assert_allclose(np.sort(total)[::-1][:9], scores, rtol=1e-5)
    assert not len(found[1][0])


# What cannot be used


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Roy, {"terms": 0}, "terms is 0"),
        (Roy, {"alpha": 1.5}, "alpha is 1.5; a number from 0 to 1"),
        (Roy, {"dim": 0}, "dim is 0"),
        (RoyIncremental, {"neighbours": 60}, "pruning would leave no term"),
        (RoyIncremental, {"iterations": -1}, "iterations = -1"),
        (Diaz, {"samples": 0}, "samples = 0"),
        (Diaz, {"temperature": 0.0}, "temperature = 0"),
        (Diaz, {"share": -0.1}, "share is -0.1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, settings, message):
    with pytest.raises(BadInput, match=message):
        kind(**settings)


def test_an_expansion_without_what_it_needs_is_told(opened):
    for made in (Roy(), Diaz()):
        with pytest.raises(StaleIndex, match="has no index"):
            made.encode(Queries.of(["cat"]))
    for made in (RoyPost(**SETTINGS), Diaz(**DIAZ)):
        with pytest.raises(BadInput, match=r"write `bm25 % \d+ >> "):
            opened(made)[0].encode(Queries.of(["cat"]))


def test_vectors_are_those_of_the_index_terms(opened):
    roy, folder = opened(Roy(**SETTINGS, window=2, seed=4))
    settings = SkipGram(dim=8, window=2, epochs=20, min_count=2, sample=0, seed=4)
    again = Word2Vec.of_index(roy._index, settings)
    np.testing.assert_array_equal(Word2Vec.load(folder / "word2vec.safetensors").inputs, again.inputs)
