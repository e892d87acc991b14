"""Indexes of token vectors: exact against brute force, compressed against exact, builds that die, what changes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("numba")

import nirank
from nirank.data import Documents, Queries, TokenVectors
from nirank.errors import BadInput, StaleIndex
from nirank.execution import indexes
from nirank.plugins import Component
from nirank_late.exact import MaxSimIndex
from nirank_late.plaid import PlaidIndex
from nirank_late.residual import GAINS, Codec, least_squares, nearest, spherical_kmeans
from nirank_late.running_best import BestDocuments
from tests.built import built

DIM = 8


class Numbered:
    """An encoder of texts that are numbers: each has vectors of its own; the same number, the same vectors."""

    vectors = "tokens"
    fingerprint = "numbered"

    def __init__(self, dies_at=None):
        self.dies_at, self.calls = dies_at, 0

    def encode(self, queries):
        return self.encode_documents([str(1000 + int(text)) for text in queries.contents])

    def encode_documents(self, contents):
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        self.calls += 1
        return TokenVectors.of([np.empty((0, DIM), np.float32), *(self.matrix(int(text)) for text in contents)])[1:]

    def matrix(self, number):
        random = np.random.default_rng(number)
        centre = np.random.default_rng(number % 7).standard_normal(DIM)
        vectors = centre + 0.7 * random.standard_normal((1 + number % 13, DIM))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _corpus(numbers):
    return Documents([f"d{place}" for place in range(len(numbers))], [str(number) for number in numbers])


NUMBERS = [*range(40), 3, 17, 3, 25]  # some documents twice and three times
QUERIES = [str(number) for number in range(5)]


def _opened(index, tmp_path, numbers=NUMBERS, encoder=None):
    component = Component("index", index)
    indexes.prepare(component, _corpus(numbers), Component("encoder", encoder or Numbered()), tmp_path / "index")
    return index


def _search(index, k, queries=QUERIES):
    asked = Queries.of(queries)
    return index.generate(asked.with_vectors(Numbered().encode(asked)), k)


def _brute(query, numbers=NUMBERS):
    """The scores of all documents for one query, one pair at a time, by vectors as they are kept."""
    encoder = Numbered()
    asked = encoder.matrix(1000 + int(query)).astype(np.float64)
    kept = [encoder.matrix(number).astype(np.float16).astype(np.float64) for number in numbers]
    return np.array([sum(max(float(q @ d) for d in document) for q in asked) for document in kept])


@pytest.mark.parametrize("block", [1, 20, 1 << 15])
@pytest.mark.parametrize("k", [0, 1, 7, 44, 1000])
def test_exact_search_is_brute_force_with_ties_by_ordinal(tmp_path, block, k):
    found = _search(_opened(MaxSimIndex(chunk=7, block=block), tmp_path), k)
    for row, query in enumerate(QUERIES):
        docs, scores = found[row]
        expected = _brute(query)
        first = {number: NUMBERS.index(number) for number in NUMBERS}
        expected = expected[[first[number] for number in NUMBERS]]  # of equal documents equal scores
        order = np.lexsort((np.arange(len(NUMBERS)), -expected))[:k]
        assert docs.tolist() == order.tolist()
        np.testing.assert_allclose(scores, expected[order], atol=1e-5)


def test_equal_documents_score_alike_to_the_bit(tmp_path):
    found = _search(_opened(MaxSimIndex(chunk=7, block=20), tmp_path), 44)
    for row in range(len(QUERIES)):
        scores = dict(zip(*(column.tolist() for column in found[row]), strict=True))
        assert scores[3] == scores[40] == scores[42]
        assert scores[17] == scores[41]


@pytest.mark.parametrize("index", [MaxSimIndex, PlaidIndex])
def test_batches_of_queries_do_not_change_what_is_found(tmp_path, monkeypatch, index):
    searched = _opened(index(), tmp_path)
    together = _search(searched, 10)
    monkeypatch.setattr("nirank_late.exact._QUERIES", 2)
    assert np.array_equal(_search(searched, 10).scores, together.scores)
    for row, query in enumerate(QUERIES):
        alone = _search(searched, 10, [query])
        assert alone.docs.tolist() == together[row][0].tolist()
        assert alone.scores.tolist() == together[row][1].tolist()
    assert len(_search(searched, 10, [])) == 0


@pytest.mark.parametrize("dies_at", [0, 1, 4, 6])
@pytest.mark.parametrize("index", [MaxSimIndex, PlaidIndex])
def test_a_build_that_dies_leaves_nothing_half_and_goes_on(tmp_path, index, dies_at):
    with pytest.raises(KeyboardInterrupt):
        _opened(index(chunk=7), tmp_path, encoder=Numbered(dies_at))
    assert not (tmp_path / "index").exists()
    again = Numbered()
    resumed = _search(_opened(index(chunk=7), tmp_path, encoder=again), 44)
    assert again.calls == 7 - dies_at
    whole = _search(_opened(index(chunk=7), tmp_path / "other"), 44)
    assert resumed.docs.tolist() == whole.docs.tolist()
    assert resumed.scores.tolist() == whole.scores.tolist()


def test_documents_that_come_and_go_leave_the_others_their_ids(tmp_path):
    before = Documents([f"d{number}" for number in range(30)], [str(number) for number in range(30)])
    numbers = [33, *(number for number in range(29, -1, -1) if number % 4), 31, 32]
    after = Documents([f"d{number}" for number in numbers], [str(number) for number in numbers])
    encoder, found = Component("encoder", Numbered()), {}
    for home, corpus, since in (("one", before, None), ("one", after, before), ("two", after, None)):
        component = Component("index", MaxSimIndex(chunk=7))
        encoder.target.calls = 0
        folder = tmp_path / home / indexes.place(component, corpus, encoder)
        indexes.prepare(component, corpus, encoder, folder, since)
        found[home, since is None] = _search(component.target, 12)
        if since:
            assert encoder.target.calls == 2  # the chunks in which there is a new document
    updated, anew = found["one", False], found["two", True]
    assert updated.docs.tolist() == anew.docs.tolist()
    assert updated.scores.tolist() == anew.scores.tolist()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_compressed_index_that_looks_at_everything_scores_what_it_kept(tmp_path, bits):
    index = _opened(PlaidIndex(bits=bits, centroids=16, probes=16, candidates=400), tmp_path)
    searched, encoder = index._searched, Numbered()
    kept = searched.codec.centroids[searched.codes].astype(np.float64)
    for token, packed in enumerate(searched.residuals):
        classes = [int(packed[place * bits // 8]) >> place * bits % 8 & 2**bits - 1 for place in range(DIM)]
        kept[token] += GAINS[packed[-1]] * searched.codec.scales * searched.codec.levels[classes]
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    found = _search(index, 44)
    for row, query in enumerate(QUERIES):
        asked = encoder.matrix(1000 + int(query))
        similarities = np.split(kept @ asked.T, searched.offsets[1:-1])
        expected = np.array([document.max(axis=0).sum() for document in similarities])
        docs, scores = found[row]
        assert sorted(docs.tolist()) == list(range(44))
        np.testing.assert_allclose(scores, expected[docs], atol=1e-5)


def test_more_bits_are_nearer_to_the_vectors():
    vectors = np.concatenate([Numbered().matrix(number) for number in range(200)])
    errors = []
    for bits in (1, 2, 4, 8):
        codec = Codec.fit(vectors, 32, bits, seed=0)
        codes, packed = codec.compress(vectors)
        assert packed.shape == (len(vectors), DIM * bits // 8 + 1)
        numbers = codec.steps[packed[:, :-1]].reshape(len(vectors), -1)[:, :DIM]
        numbers = numbers * codec.scales * GAINS[packed[:, -1:]]
        errors.append(float(np.square(codec.centroids[codes] + numbers - vectors).sum(1).mean()))
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 8 * errors[3]


def _error(numbers, levels):
    return float(np.square(numbers[:, None] - levels).min(1).mean())


def test_levels_stand_for_their_numbers_with_less_error_than_classes_that_are_equally_frequent():
    """Each is the mean of the numbers nearest to it, and none can be moved to less error."""
    numbers = np.random.default_rng(0).laplace(size=5000).astype(np.float32)
    for count in (2, 4, 16):
        levels = least_squares(numbers, count)
        classes = np.searchsorted((levels[1:] + levels[:-1]) / 2, numbers)
        means = [numbers[classes == place].mean() for place in range(count)]
        np.testing.assert_allclose(levels, means, atol=0.05)
        frequent = np.quantile(numbers, (np.arange(count) + 0.5) / count)
        assert _error(numbers, levels) < (1 if count == 2 else 0.8) * _error(numbers, frequent)
    assert np.array_equal(least_squares(numbers, 4), least_squares(numbers, 4))
    assert least_squares(np.full(9, 0.25, np.float32), 4).tolist() == [0.25] * 4


def test_gaussian_numbers_have_the_levels_that_max_found():
    """Max 1960, table I: 4 levels at .4528 and 1.510, a mean squared error of .1175."""
    numbers = np.random.default_rng(0).standard_normal(1 << 18).astype(np.float32)
    levels = least_squares(numbers, 4)
    np.testing.assert_allclose(levels, [-1.510, -0.4528, 0.4528, 1.510], atol=0.02)
    assert _error(numbers, levels) == pytest.approx(0.1175, abs=0.002)


def test_dimensions_that_fill_no_byte_are_kept():
    vectors = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32)
    codec = Codec.fit(vectors, 4, 2, seed=0)
    codes, packed = codec.compress(vectors)
    assert packed.shape == (50, 3)
    numbers = codec.steps[packed[:, :-1]].reshape(50, -1)[:, :5]
    scaled = (vectors - codec.centroids[codes]) / codec.scales
    assert np.array_equal(numbers, codec.levels[np.searchsorted(codec.cuts, scaled / GAINS[packed[:, -1:]])])
    wide = np.linalg.norm(scaled, axis=1) > 0.1
    np.testing.assert_allclose(GAINS[packed[wide, -1]], np.sqrt(np.square(scaled[wide]).mean(1)), rtol=0.013)


def test_centroids_are_means_of_their_vectors_and_the_seed_decides_them():
    sample = np.concatenate([Numbered().matrix(number) for number in range(100)])
    first, again, other = (spherical_kmeans(sample, 10, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    codes = nearest(sample, first)
    assert codes.tolist() == [max(range(10), key=lambda place: float(first[place] @ vector)) for vector in sample]
    spread = np.mean([sample[place] @ first[code] for place, code in enumerate(codes)])
    begun = sample[np.sort(np.random.default_rng(1).choice(len(sample), 10, replace=False))]
    assert spread > np.mean((sample @ begun.T).max(1))


def test_a_threshold_passes_over_far_centroids_and_candidates_bound_what_is_found(tmp_path):
    index = _opened(PlaidIndex(centroids=16, probes=16, candidates=40, threshold=0.99), tmp_path)
    assert _search(index, 44).lengths.tolist() == [10] * 5
    narrow = _opened(PlaidIndex(centroids=16, probes=1), tmp_path)
    wide = _opened(PlaidIndex(centroids=16, probes=16), tmp_path)
    assert (_search(narrow, 44).lengths < _search(wide, 44).lengths).any()


def test_compressed_search_of_real_texts_finds_what_exact_search_finds(shared):
    """With vectors of a small transformer that was never trained to be searched so: more bits, more of the first 10."""

    nfcorpus = nirank.collection(f"beir:{shared('nfcorpus')}")
    texts = nfcorpus.corpus[np.arange(200)]
    corpus = Documents([*map(str, range(200))], [text[:600] for text in texts])
    encoder = built("colbert", str(shared("weights") / "splade-tiny"), dim=0, document_length=120)
    late, queries = nirank.load(encoder, "late"), nfcorpus.queries.take(slice(0, 40))
    exact = ((late >> nirank.load("maxsim")) % 10).search(queries, corpus)
    recalls = {}
    for bits in (1, 2, 4, 8):
        found = ((late >> nirank.load("plaid", f"plaid{bits}", bits=bits)) % 10).search(queries, corpus)
        same = [len(set(found[row][0]) & set(exact[row][0])) for row in range(40)]
        recalls[bits] = sum(same) / exact.pairs
    assert recalls[8] > 0.97
    assert recalls[4] > 0.94
    assert recalls[8] > recalls[4] > recalls[2] > recalls[1] > 0.75


def test_an_index_of_the_former_codes_is_told_and_not_read(tmp_path, monkeypatch):
    """Version 1 had other classes; its files look alike."""
    component, encoder = Component("plaid", PlaidIndex()), Component("encoder", Numbered())
    former = {**component.target.index_key, "version": 1}
    with monkeypatch.context() as patched:
        patched.setattr(PlaidIndex, "index_key", former)
        old = Component("plaid", PlaidIndex())
        indexes.prepare(old, _corpus(NUMBERS), encoder, tmp_path / "index")
        place = indexes.place(old, _corpus(NUMBERS), encoder)
    with pytest.raises(StaleIndex, match="version differ"):
        indexes.prepare(component, _corpus(NUMBERS), encoder, tmp_path / "index")
    assert indexes.place(component, _corpus(NUMBERS), encoder) != place


@pytest.mark.parametrize("kind", ["maxsim", "plaid"])
def test_what_cannot_be_searched_is_refused(tmp_path, kind):
    index = {"maxsim": MaxSimIndex, "plaid": PlaidIndex}[kind]()
    with pytest.raises(BadInput, match="no open index"):
        _search(index, 3)
    with pytest.raises(BadInput, match=f"encoder >> {kind}"):
        index.build(_corpus(NUMBERS), tmp_path)
    _opened(index, tmp_path)
    with pytest.raises(BadInput, match="k = -1"):
        _search(index, -1)
    with pytest.raises(BadInput, match="no token vectors"):
        index.generate(Queries.of(["1"]), 3)
    wrong = Queries.of(["1"]).with_vectors(TokenVectors.of([np.zeros((2, DIM + 1))]))
    with pytest.raises(BadInput, match="9 dimensions, the index has 8"):
        index.generate(wrong, 3)
    with pytest.raises(BadInput, match="contain NaN or infinity"):
        index.generate(Queries.of(["1"]).with_vectors(TokenVectors.of([np.full((2, DIM), np.nan)])), 3)
    with pytest.raises(BadInput, match="44 documents, but the corpus has 2"):
        index.open(_corpus([1, 2]), tmp_path / "index")
    for path in (tmp_path / "index").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StaleIndex, match=r"is incomplete|is damaged"):
        index.open(_corpus(NUMBERS), tmp_path / "index")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"bits": 3}, "bits = 3"), ({"probes": 0}, "probes = 0"), ({"candidates": 3}, "at least 4")],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(BadInput, match=message):
        PlaidIndex(**settings)


def test_the_best_are_kept_over_any_cuts():
    random = np.random.default_rng(0)
    scores = random.integers(0, 6, (3, 50)).astype(np.float32)
    for k in (0, 1, 5, 50, 80):
        best = BestDocuments(3, k)
        for start in range(0, 50, 7):
            best.add(np.arange(start, min(50, start + 7)), scores[:, start : start + 7])
        found = best.candidates()
        for row in range(3):
            order = np.lexsort((np.arange(50), -scores[row]))[:k]
            assert found[row][0].tolist() == order.tolist()
            assert found[row][1].tolist() == scores[row][order].tolist()


class Counting(Numbered):
    """Notes what it encodes."""

    def __init__(self):
        super().__init__()
        self.encoded = []

    def encode_documents(self, contents):
        self.encoded += contents
        return super().encode_documents(contents)


def test_plaid_encodes_what_is_new_and_compresses_it_by_the_centroids_that_there_are(tmp_path):
    """Documents that are moved, taken out, changed and added have the vectors that the former centroids give them."""
    before = _corpus(NUMBERS)
    order = [5, 0, *range(6, 44)]
    ids = [f"d{place}" for place in order] + ["new", "d1"]
    after = Documents(ids, [str(NUMBERS[place]) for place in order] + ["41", "42"])
    component, encoder = Component("plaid", PlaidIndex(centroids=16, probes=16, candidates=400)), Counting()
    plain = Component("encoder", encoder)
    indexes.prepare(component, before, plain, tmp_path / indexes.place(component, before, plain))
    codec, known = component.target._searched.codec, component.target._searched
    encoder.encoded.clear()
    indexes.prepare(component, after, plain, tmp_path / indexes.place(component, after, plain), before)
    assert sorted(encoder.encoded) == ["41", "42"]
    updated = component.target._searched
    assert np.array_equal(updated.codec.centroids, codec.centroids)
    for doc, text in enumerate(after):
        here = slice(updated.offsets[doc], updated.offsets[doc + 1])
        codes, residuals = codec.compress(encoder.matrix(int(text)).astype(np.float16).astype(np.float32))
        assert np.array_equal(updated.codes[here], codes)
        assert np.array_equal(updated.residuals[here], residuals)
    for centroid in range(16):
        owners = np.repeat(np.arange(len(after)), np.diff(updated.offsets))[updated.codes == centroid]
        listed = updated.docs[updated.starts[centroid] : updated.starts[centroid + 1]]
        assert np.array_equal(listed, np.unique(owners))
    assert len(known.offsets) == 45


def test_plaid_finds_new_centroids_when_a_quarter_of_the_documents_has_come(tmp_path):
    states = [_corpus(range(end)) for end in (40, 48, 56)]
    component, encoder, encoded = Component("plaid", PlaidIndex(centroids=16)), Counting(), []
    plain = Component("encoder", encoder)
    for since, state in zip([None, *states], states, strict=False):
        encoder.encoded.clear()
        indexes.prepare(component, state, plain, tmp_path / indexes.place(component, state, plain), since)
        encoded.append(len(encoder.encoded))
    assert encoded == [40, 8, 56]
