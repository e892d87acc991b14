"""The models of interaction against slow references: each paper's equations in numpy, one pair at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("regex")
pytest.importorskip("tokenizers")

import torch

import nirank
from nirank.checkpoints import checkpoint
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank.kit.text import Analyzer, Word2Vec, words
from nirank_interaction import conv_knrm, drmm, drmm_tks, duet, duet_local, knrm, lists, matchpyramid, pacrr
from tests.flat import flat

MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (drmm, drmm_tks, duet, duet_local, matchpyramid, knrm, conv_knrm, pacrr)
}
DRMM, DuetLocal, MatchPyramid = map(flat, (drmm.DRMM, duet_local.DuetLocal, matchpyramid.MatchPyramid))
DRMMTopK, Duet = map(flat, (drmm_tks.DRMMTopK, duet.Duet))
KNRM, ConvKNRM, PACRR = map(flat, (knrm.KNRM, conv_knrm.ConvKNRM, pacrr.PACRR))
QUERIES = [
    "small cats",
    "",
    "the dog on the bridge",
    "zorbing",
    "cat cat dog",
    "東京 Ünïcödé zebra",
    "what does a small dog say to the warm cat on the mat",
]
DOCUMENTS = [
    "a small cat sat on the warm mat",
    "",
    "cat",
    "The DOG ran over a long bridge, and the dogs ran",
    "zorbs and zorbing zorbs",
    "Ünïcödé ∑ 🙂 東京 zebra \ud800",
    "red cars " * 30 + "cat dog mat",
    "a small cat sat on the warm mat",
    "dog cat",
]
KNOWN = ["a", "small", "cat", "sat", "on", "the", "warm", "mat", "dog", "dogs", "ran", "bridge", "red", "zebra", "東京"]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """Vectors of some of the words; `dog` and `dogs` have other ones."""
    matrix = np.random.default_rng(1).standard_normal((len(KNOWN), 5)).astype(np.float32)
    path = tmp_path_factory.mktemp("words") / "words.safetensors"
    Word2Vec(KNOWN, matrix, matrix, {}).save(path)
    return str(path)


def _collection(queries=QUERIES, documents=DOCUMENTS):
    ids = [str(number) for number in range(len(documents))]
    lists = Candidates.of([list(range(len(documents)))] * len(queries), corpus=Documents(ids, list(documents)))
    return Collection("some", lists.corpus, Queries.of(list(queries)), lists)


def _made(model):
    """Ready for the collection, with biases and all else that begins at 0 or 1 moved away from there."""
    model.begin(_collection())
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "vectors":
                parameter += torch.randn(parameter.shape, generator=random) / 5
    return model


def _scores(model, queries=QUERIES, documents=DOCUMENTS):
    some = _collection(queries, documents)
    with torch.inference_mode():
        return model.score(some.queries, some.judgments).numpy().reshape(len(queries), len(documents))


class _Word:
    """A word as the reference knows it: its term, the idf of that, and its vector."""

    def __init__(self, model, word):
        analyzer = Analyzer(stopwords=())
        self.term = analyzer.term(word)
        df = sum(self.term in {analyzer.term(other) for other in words(text)} for text in DOCUMENTS)
        self.idf = math.log(1 + (len(DOCUMENTS) - df + 0.5) / (df + 0.5))
        if hasattr(model, "vectors"):
            rows = model.lexicon.vectors.rows([word])[0]
            self.vector = model.vectors.detach().numpy().astype(np.float64)[rows].mean(0)


def _words(model, text, longest=None):
    return [_Word(model, word) for word in words(text) if Analyzer(stopwords=()).term(word)][:longest]


def _cosine(a, b):
    if a.term == b.term:
        return 1.0
    return float(a.vector @ b.vector / np.linalg.norm(a.vector) / np.linalg.norm(b.vector))


def _array(parameter):
    return parameter.detach().numpy().astype(np.float64)


def _relu(values):
    return np.maximum(values, 0)


def _softmax(values):
    powers = np.exp(np.array(values) - max(values, default=0))
    return powers / powers.sum()


def _agree(model, reference):
    expected = [
        [reference(model, _words(model, query), _words(model, document)) for document in DOCUMENTS] for query in QUERIES
    ]
    found = _scores(model)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
    assert found.std() > 0.005  # scores tell documents apart


CENTRES = [1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9]
WIDTHS = [0.001] + [0.1] * 10


def _soft_counts(similarities, times=1):
    """ln of each kernel's sum, times 0.01; `similarities` are those of one query word, `times` over."""
    sums = [
        times * sum(math.exp(-((s - mu) ** 2) / (2 * sigma**2)) for s in similarities)
        for mu, sigma in zip(CENTRES, WIDTHS, strict=True)
    ]
    return [0.01 * math.log(max(total, 1e-10)) for total in sums]


def _importance(query, idf):
    mean = sum(word.idf for word in query) / max(1, len(query))
    return [word.idf / mean if idf else 1.0 for word in query]


def _knrm(model, query, document):
    phi = np.zeros(11)
    for word, importance in zip(query, _importance(query, model.idf), strict=True):
        phi += importance * np.array(_soft_counts([_cosine(word, other) for other in document]))
    return math.tanh(_array(model.linear.weight)[0] @ phi + _array(model.linear.bias)[0])


@pytest.mark.parametrize("idf", [False, True])
def test_knrm_is_that_of_the_equations(vectors, idf):
    model = _made(KNRM(vectors=vectors, idf=idf, device="cpu"))
    assert model.kernels.centres.tolist() == pytest.approx(CENTRES)
    _agree(model, _knrm)


def _ngram(model, text, start, n):
    """The n-gram that begins at a word, and the terms that it is made of."""
    ahead = [text[start + place] if start + place < len(text) else None for place in range(n)]
    dim = model.vectors.shape[1]
    joined = np.concatenate([word.vector if word else np.zeros(dim) for word in ahead])
    layer = model.convolutions[n - 1]
    made = _relu(_array(layer.weight) @ joined + _array(layer.bias))
    length = np.linalg.norm(made)
    return made / length if length > 0 else made, [word and word.term for word in ahead]


def _conv_knrm(model, query, document):
    phi, each = [], range(1, model.ngrams + 1)
    for a in each:
        for b in each:
            total = np.zeros(11)
            for i, importance in enumerate(_importance(query, model.idf)):
                asked, terms = _ngram(model, query, i, a)
                told = [_ngram(model, document, j, b) for j in range(len(document))]
                cosines = [1.0 if a == b and terms == others else asked @ other for other, others in told]
                total += importance * np.array(_soft_counts(cosines))
            phi.append(total)
    return math.tanh(_array(model.linear.weight)[0] @ np.concatenate(phi) + _array(model.linear.bias)[0])


@pytest.mark.parametrize(("ngrams", "idf"), [(1, False), (2, True), (3, False)])
def test_conv_knrm_is_that_of_the_equations(vectors, ngrams, idf):
    _agree(_made(ConvKNRM(ngrams=ngrams, filters=7, idf=idf, vectors=vectors, device="cpu")), _conv_knrm)


def _drmm(model, query, document):
    if not query:
        return 0.0
    values, gates = [], []
    for word in query:
        counts = np.zeros(model.bins)
        for other in document:
            exact = word.term == other.term
            place = model.bins - 1 if exact else math.floor((_cosine(word, other) + 1) / 2 * (model.bins - 1))
            counts[place] += 1
        if model.histogram != "CH":
            counts = np.log(1 + counts) if model.histogram == "LCH" else counts / max(1, len(document))
        for layer in model.network:
            linear = isinstance(layer, torch.nn.Linear)
            counts = _array(layer.weight) @ counts + _array(layer.bias) if linear else np.tanh(counts)
        values.append(counts[0])
        gates.append(_array(model.weight.weight)[0] @ ([word.idf] if model.gate == "idf" else word.vector))
    return float(_softmax(gates) @ values)


@pytest.mark.parametrize("histogram", ["CH", "NH", "LCH"])
@pytest.mark.parametrize("gate", ["idf", "vector"])
def test_drmm_is_that_of_the_equations(vectors, histogram, gate):
    _agree(_made(DRMM(histogram, 8, (4, 3), gate, vectors=vectors, device="cpu")), _drmm)


def _drmm_tks(model, query, document):
    query, document = query[: model.reading.max_query], document[: model.reading.max_document]
    if not query:
        return 0.0
    values, gates = [], []
    for word in query:
        best = sorted((_cosine(word, other) for other in document), reverse=True)[: model.k]
        layer = np.array(best + [0.0] * (model.k - len(best)))
        for each in model.network:
            linear = isinstance(each, torch.nn.Linear)
            layer = _array(each.weight) @ layer + _array(each.bias) if linear else _relu(layer)
        values.append(layer[0])
        gates.append(_array(model.weight.weight)[0] @ ([word.idf] if model.gate == "idf" else word.vector))
    return float(_softmax(gates) @ values)


@pytest.mark.parametrize(("k", "hidden", "gate"), [(3, (4,), "vector"), (12, (), "idf"), (5, (4, 3), "idf")])
def test_drmm_tks_is_that_of_the_equations(vectors, k, hidden, gate):
    reading = {"max_query": 6, "max_document": 40, "device": "cpu"}
    _agree(_made(DRMMTopK(k, hidden, gate, vectors=vectors, **reading)), _drmm_tks)


def _windows(model, layer, text, longest):
    """What a convolution over three words makes at each place of a text, which is as long as texts may be."""
    dim = model.vectors.shape[1]
    padded = [word.vector / np.linalg.norm(word.vector) for word in text] + [np.zeros(dim)] * (longest - len(text))
    joined = [np.concatenate(padded[place : place + 3]) for place in range(longest - 2)]
    return np.array([np.tanh(_array(layer.weight) @ three + _array(layer.bias)) for three in joined])


def _duet(model, query, document):
    query, document = query[: model.max_query], document[: model.max_document]
    asked = _windows(model, model.query_words, query, model.max_query).max(0)
    asked = np.tanh(_array(model.query_layer.weight) @ asked + _array(model.query_layer.bias))
    places = _windows(model, model.document_words, document, model.max_document)
    told = []
    for start in range(len(places) - model.pool + 1):
        best = places[start : start + model.pool].max(0)
        layer = np.tanh(_array(model.document_layer.weight) @ best + _array(model.document_layer.bias))
        told.extend(layer * asked)
    first, second, last = model.joined[0], model.joined[2], model.joined[5]
    layer = np.tanh(_array(first.weight) @ np.array(told) + _array(first.bias))
    layer = np.tanh(_array(second.weight) @ layer + _array(second.bias))
    distributed = float(_array(last.weight)[0] @ layer + _array(last.bias)[0])
    return math.tanh(_duet_local(model, query, document)) + math.tanh(distributed)


@pytest.mark.parametrize("pool", [1, 5, 18])
def test_the_whole_duet_is_that_of_the_equations(vectors, pool):
    reading = {"max_query": 4, "max_document": 20, "device": "cpu"}
    _agree(_made(Duet(6, 5, pool=pool, vectors=vectors, **reading)), _duet)


def test_neither_half_of_a_duet_outvotes_the_other(vectors):
    model = _made(Duet(6, 5, pool=5, vectors=vectors, max_query=4, max_document=20, device="cpu"))
    local = [
        [math.tanh(_duet_local(model, _words(model, query), _words(model, document))) for document in DOCUMENTS]
        for query in QUERIES
    ]
    with torch.no_grad():
        model.joined[5].weight.mul_(1e4)
    assert np.abs(_scores(model) - local).max() <= 1 + 1e-5
    assert np.ptp(local) > 0.1


def test_how_long_vectors_are_makes_no_difference_to_a_duet(vectors):
    model = _made(Duet(6, 5, pool=5, vectors=vectors, max_query=4, max_document=20, device="cpu"))
    before = _scores(model)
    model.vectors.mul_(20)
    np.testing.assert_allclose(_scores(model), before, rtol=1e-4, atol=1e-6)


def _duet_local(model, query, document):
    query, document = query[: model.max_query], document[: model.max_document]
    seen = np.zeros((model.max_query, model.filters))
    largest = math.log(1 + (len(DOCUMENTS) + 0.5) / 0.5)
    for i, word in enumerate(query):
        row = [word.term == other.term for other in document] + [False] * (model.max_document - len(document))
        row = np.array(row) * (word.idf / largest if model.idf else 1)
        seen[i] = np.tanh(row @ _array(model.positions))
    first, second, last = model.network[0], model.network[2], model.network[5]
    layer = np.tanh(_array(first.weight) @ seen.ravel() + _array(first.bias))
    layer = np.tanh(_array(second.weight) @ layer + _array(second.bias))
    return float(_array(last.weight)[0] @ layer + _array(last.bias)[0])


@pytest.mark.parametrize("idf", [False, True])
def test_duet_is_that_of_the_equations(idf):
    _agree(_made(DuetLocal(6, 5, idf=idf, max_query=4, max_document=20, device="cpu")), _duet_local)


def _matrix(model, query, document):
    """The similarities of two texts, cut as the model cuts them, as a dense matrix."""
    kind = getattr(model, "similarity", "cosine")
    similarity = {
        "cosine": _cosine,
        "indicator": lambda a, b: float(a.term == b.term),
        "dot": lambda a, b: float(a.vector @ b.vector),
        "gaussian": lambda a, b: 1.0 if a.term == b.term else math.exp(-float(((a.vector - b.vector) ** 2).sum())),
    }[kind]
    query, document = query[: model.reading.max_query], document[: model.reading.max_document]
    importance = _importance(query, getattr(model, "idf", False))
    rows = [[similarity(a, b) * weight for b in document] for a, weight in zip(query, importance, strict=True)]
    return np.array(rows).reshape(len(query), len(document)), query


def _convolved(image, kernels, biases, before):
    """Each kernel at each place of an image, which is 0 all around."""
    high, wide = image.shape
    found = np.zeros((len(kernels), high, wide))
    for f, i, j in np.ndindex(*found.shape):
        total = biases[f]
        for a, b in np.ndindex(*kernels[f].shape):
            y, x = i + a - before[0], j + b - before[1]
            if 0 <= y < high and 0 <= x < wide:
                total += kernels[f, a, b] * image[y, x]
        found[f, i, j] = total
    return found


def _matchpyramid(model, query, document):
    image, _ = _matrix(model, query, document)
    before = [(size - 1) // 2 for size in model.kernel]
    found = _relu(_convolved(image, _array(model.convolution.weight)[:, 0], _array(model.convolution.bias), before))
    (rows, columns), (high, wide) = model.pool, image.shape
    pooled = np.zeros((model.filters, rows, columns))
    for f, r, c in np.ndindex(*pooled.shape):
        if high and wide:
            ys = slice(math.floor(r * high / rows), math.ceil((r + 1) * high / rows))
            xs = slice(math.floor(c * wide / columns), math.ceil((c + 1) * wide / columns))
            pooled[f, r, c] = found[f, ys, xs].max()
    first, last = model.network[0], model.network[2]
    layer = _relu(_array(first.weight) @ pooled.ravel() + _array(first.bias))
    return float(_array(last.weight)[0] @ layer + _array(last.bias)[0])


@pytest.mark.parametrize("similarity", ["cosine", "dot", "gaussian", "indicator"])
@pytest.mark.parametrize("shape", [((3, 3), (3, 4)), ((2, 5), (2, 3)), ((1, 1), (1, 1))])
def test_matchpyramid_is_that_of_the_equations(vectors, similarity, shape):
    settings = {"kernel": shape[0], "pool": shape[1], "idf": shape[0] == (2, 5), "max_query": 6, "max_document": 20}
    _agree(_made(MatchPyramid(similarity, 3, hidden=6, vectors=vectors, device="cpu", **settings)), _matchpyramid)


def _sigmoid(values):
    return 1 / (1 + np.exp(-values))


def _pacrr(model, query, document):
    image, query = _matrix(model, query, document)
    images = [image]
    for n, layer in enumerate(model.convolutions, 2):
        found = _convolved(image, _array(layer.weight)[:, 0], _array(layer.bias), (0, 0))
        assert layer.kernel_size == (n, n)
        images.append(_relu(found).max(0))
    rows, gates = [], _softmax([word.idf for word in query])
    for i in range(len(query)):
        row = []
        for one in images:
            best = sorted(one[i], reverse=True)[: model.k]
            row += best + [0.0] * (model.k - len(best))
        rows.append([*row, gates[i]])
    width = len(images) * model.k + 1
    return _dense(model, rows, width) if model.combine == "dense" else _lstm(model, rows or [[0.0] * width])


def _dense(model, rows, width):
    flat = np.zeros((model.max_query, width))
    flat[: len(rows)] = np.array(rows).reshape(len(rows), width)
    first, second, last = model.dense[0], model.dense[2], model.dense[4]
    layer = _relu(_array(first.weight) @ flat.ravel() + _array(first.bias))
    layer = _relu(_array(second.weight) @ layer + _array(second.bias))
    return float(_array(last.weight)[0] @ layer + _array(last.bias)[0])


def _lstm(model, rows):
    """Hochreiter and Schmidhuber's cell with a forget gate; torch has its four parts one under another."""
    inner, outer = _array(model.lstm.weight_ih_l0), _array(model.lstm.weight_hh_l0)
    bias = _array(model.lstm.bias_ih_l0) + _array(model.lstm.bias_hh_l0)
    state = cell = np.zeros(model.hidden)
    for row in rows:
        entering, forgetting, new, leaving = np.split(inner @ np.array(row) + outer @ state + bias, 4)
        cell = _sigmoid(forgetting) * cell + _sigmoid(entering) * np.tanh(new)
        state = _sigmoid(leaving) * np.tanh(cell)
    return float(_array(model.last.weight)[0] @ state + _array(model.last.bias)[0])


@pytest.mark.parametrize("combine", ["dense", "lstm"])
@pytest.mark.parametrize(("k", "ngrams"), [(2, 3), (12, 1)])
def test_pacrr_is_that_of_the_equations(vectors, combine, k, ngrams):
    settings = {"vectors": vectors, "max_query": 6, "max_document": 20, "device": "cpu"}
    _agree(_made(PACRR(k, ngrams, 3, combine, 5, **settings)), _pacrr)


@pytest.mark.parametrize("name", MODULES)
def test_a_score_is_its_pairs_own(name):
    model = _made(MODULES[name].tiny())
    together = _scores(model)
    for row, query in enumerate(QUERIES):
        for column, document in enumerate(DOCUMENTS):
            alone = _scores(model, [query], [document])[0, 0]
            assert alone == pytest.approx(together[row, column], rel=1e-4, abs=2e-6)
    padded = _scores(model, [*QUERIES, "long " * 70], [*DOCUMENTS, "long cat " * 400])
    np.testing.assert_allclose(padded[:-1, :-1], together, rtol=1e-4, atol=2e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", MODULES)
def test_a_gpu_gives_the_same_scores_and_trains(name, tmp_path):
    stage = nirank.load(_made(MODULES[name].tiny()), name)
    checkpoint.save(stage.component, tmp_path / "kept")
    on_gpu = nirank.load(f"trained:{tmp_path / 'kept'}", device="cuda")
    model, before = on_gpu.component.target, _scores(stage.component.target)
    some = _collection()
    with torch.inference_mode():
        found = model.score(some.queries, some.judgments)
    assert found.device.type == "cuda"
    np.testing.assert_allclose(found.cpu().numpy().reshape(before.shape), before, rtol=1e-3, atol=1e-5)
    judged = some.judgments.with_scores(np.arange(some.judgments.pairs) % 2)
    nirank.fit(on_gpu, "ranknet", Collection("some", judged.corpus, some.queries, judged), steps=2)


@pytest.mark.parametrize("name", MODULES)
def test_small_tables_and_matrices_give_the_same_scores(name, monkeypatch):
    model = _made(MODULES[name].tiny())
    whole = _scores(model)
    for limit, value in (("CELLS", 40), ("_GRIDS", 30), ("_TOKENS", 8), ("_FEW", 0)):
        monkeypatch.setattr(lists, limit, value)
    for module in (drmm, conv_knrm):
        monkeypatch.setattr(module, "CELLS", 7)
    np.testing.assert_allclose(_scores(model), whole, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", MODULES)
def test_the_same_document_has_the_same_score_wherever_it_stands(name):
    scores = _scores(_made(MODULES[name].tiny()))
    np.testing.assert_allclose(scores[:, 0], scores[:, 7], rtol=1e-4, atol=2e-6)


def test_words_without_vectors_match_exactly(vectors):
    model = KNRM(vectors=vectors, device="cpu")
    model.begin(_collection())
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.weight[0, 0] = 1  # the kernel of exact matches alone
        model.linear.bias.zero_()
    scores = _scores(model, ["zorbing"], ["zorbs", "zorbing", "blah", "zorbs zorbing blah"])
    one, none, two = (math.tanh(0.01 * math.log(count)) for count in (1, 1e-10, 2))
    np.testing.assert_allclose(scores[0], [one, one, none, two], atol=1e-6)


@pytest.mark.parametrize("name", ["knrm", "drmm", "conv_knrm"])
def test_a_document_of_a_hundred_thousand_words_is_read_to_its_end(name):
    model = _made(MODULES[name].tiny())
    distinct = " ".join(f"word{number}" for number in range(50_000))
    twice = f"{distinct} {distinct}"
    without, ends = _scores(model, ["zebra car", "mat"], [twice, f"{twice} zebra"])
    assert without[0] != without[1]
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)
    assert np.isfinite([without, ends]).all()


def test_long_documents_are_counted_as_their_words_are():
    model, repeated = _made(knrm.tiny()), 30_000
    (found,) = _scores(model, ["small cat"], ["cat warm zebra mat " * repeated])[0]
    features = np.zeros(11)
    for word in _words(model, "small cat"):
        similarities = [_cosine(word, other) for other in _words(model, "cat warm zebra mat")]
        features += np.array(_soft_counts(similarities, repeated))
    expected = math.tanh(_array(model.linear.weight)[0] @ features + _array(model.linear.bias)[0])
    assert found == pytest.approx(expected, rel=1e-3)


def test_tables_are_computed_in_parts_of_bounded_size(vectors):
    model = _made(KNRM(vectors=vectors, device="cpu"))
    corpus = Documents(["a"], [" ".join(f"word{number}" for number in range(100_000))])
    asked, told = model.lexicon.read(["small cat"]), model.lexicon.read(corpus[:])
    (one,) = lists.lists_of(model.lexicon, asked, told, np.array([0, 1]), np.array([0]), model.device)
    parts = [*one.parts(11)]
    assert len(parts) > 1
    assert max(part.words.numel() * part.query.numel() * 11 for part in parts) <= 8 * lists.CELLS
    assert sum(len(part.tokens) for part in parts) == 100_000


@pytest.mark.parametrize("name", MODULES)
def test_a_checkpoint_is_the_model_wherever_it_lies(tmp_path, name):
    model = _made(MODULES[name].tiny())
    stage = nirank.load(model, name)
    checkpoint.save(stage.component, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    again = nirank.load(f"trained:{tmp_path / 'two'}").component.target
    np.testing.assert_allclose(_scores(again), _scores(model), rtol=1e-6)
    assert type(again) is type(model)
    assert again.fingerprint == model.fingerprint
    assert not list((tmp_path / "two").rglob("*.pkl"))
    trained = {key for key, value in again.named_parameters() if value.requires_grad}
    assert trained == {key for key, value in model.named_parameters() if value.requires_grad}


def test_fingerprints_tell_models_apart(vectors):
    made = []
    for settings in ({}, {}, {"seed": 1}, {"idf": True}, {"max_query": 3}, {"train_vectors": True}):
        torch.rand(1)
        model = KNRM(vectors=vectors, device="cpu", **settings)
        model.begin(_collection())
        made.append(model.fingerprint)
    assert made[0] == made[1]
    assert len(set(made)) == 5
    model.vectors.data[0, 0] += 1
    del vars(model)["fingerprint"]
    assert model.fingerprint not in made


def test_a_second_training_keeps_what_was_learned(vectors):
    model = _made(KNRM(vectors=vectors, device="cpu"))
    before = model.fingerprint
    model.begin(_collection(documents=["other texts"]))
    del vars(model)["fingerprint"]
    assert model.fingerprint == before


def test_vectors_are_trained_where_it_is_said(vectors):
    for trains in (False, True):
        model = KNRM(vectors=vectors, train_vectors=trains, device="cpu")
        stage = nirank.load(model, "knrm")
        model.begin(_collection())
        before = model.vectors.detach().clone()
        judged = _collection().judgments
        some = Collection("some", judged.corpus, Queries.of(QUERIES), judged.with_scores(np.arange(judged.pairs) % 2))
        nirank.fit(stage, "ranknet", some, steps=2, learning_rate=0.01)
        assert torch.equal(model.vectors, before) != trains
        assert ("vectors" in model.state_dict()) == trains


@pytest.mark.parametrize(
    ("model", "settings", "told"),
    [
        (KNRM, {"kernels": 1}, "kernels = 1"),
        (KNRM, {"width": 0.0}, "width = 0.0"),
        (KNRM, {"max_query": 0}, "max_query = 0"),
        (ConvKNRM, {"ngrams": 0}, "ngrams = 0"),
        (DRMM, {"bins": 1}, "bins = 1"),
        (DRMM, {"hidden": (0,)}, r"hidden = \[0\]"),
        (DuetLocal, {"dropout": 1.0}, "dropout = 1.0"),
        (DuetLocal, {"max_document": 0}, "max_document = 0"),
        (MatchPyramid, {"pool": (3,)}, r"pool = \[3\]"),
        (MatchPyramid, {"filters": 0}, "filters = 0"),
        (PACRR, {"k": 0}, "k = 0"),
        (KNRM, {"vectors": "no/such/file"}, "does not exist"),
        (KNRM, {"model": "no/such/folder"}, "does not have the word vectors"),
    ],
)
def test_settings_that_make_no_sense_are_refused(model, settings, told):
    with pytest.raises(BadInput, match=told):
        model(**settings, device="cpu")


def test_weights_of_another_model_are_refused(tmp_path):
    knrm.tiny().save(tmp_path)
    with pytest.raises(BadInput, match=r"network.safetensors: cannot be loaded as weights of KNRM\(kernels=7"):
        KNRM(kernels=7, model=str(tmp_path / "knrm"), device="cpu")
    (tmp_path / "knrm" / "network.safetensors").write_bytes(b"no")
    with pytest.raises(BadInput, match=r"network.safetensors: cannot be loaded as weights"):
        KNRM(model=str(tmp_path / "knrm"), device="cpu")


def test_what_cannot_be_scored_is_told(tmp_path, vectors):
    model, some = KNRM(vectors=vectors, device="cpu"), _collection()
    with pytest.raises(BadInput, match=r"knrm has no vocabulary yet: train it with nirank.fit"):
        model.score(some.queries, some.judgments)
    model.begin(some)
    with pytest.raises(BadInput, match="have no corpus"):
        model.score(some.queries, Candidates.of([[0]] * len(QUERIES)))
    with pytest.raises(BadInput, match=r"content \d+ is of type PosixPath"):
        model.score(Queries.of([tmp_path]), some.judgments.take(np.array([0])))


def test_pooling_of_lengths_and_cells():
    values = torch.arange(12.0).view(1, 1, 1, 12).expand(4, 1, 1, -1)
    pooled = matchpyramid.pool(values, torch.tensor([12, 5, 2, 0]), 3)
    assert pooled[:, 0, 0].tolist() == [[3, 7, 11], [1, 3, 4], [0, 1, 1], [0, 0, 0]]


SETTINGS = {
    "drmm": ({}, 1e-2),
    "duet_local": ({"filters": 16, "hidden": 16, "max_document": 50, "idf": True}, 3e-3),
    "matchpyramid": ({}, 3e-3),
    "knrm": ({}, 2e-2),
    "conv_knrm": ({"filters": 16, "ngrams": 2}, 3e-3),
    "pacrr": ({"filters": 4}, 3e-3),
}


@pytest.fixture(scope="module")
def questions(shared):
    """The first questions of WikiQA's train, and those of dev with their sentences."""
    path = f"beir:{shared('wikiqa')}"
    train, dev = (nirank.collection(path, split=split, candidates="judged") for split in ("train", "dev"))
    return train.take(slice(320)), dev


@pytest.mark.parametrize("name", SETTINGS)
def test_trained_on_real_questions_it_ranks_better_than_before(shared, questions, name):
    pytest.importorskip("accelerate")
    (train, dev), (settings, rate) = questions, SETTINGS[name]
    if name != "duet_local":
        settings = {**settings, "vectors": str(shared("weights") / "wordllama-256")}
    model = nirank.load(name, device="cpu", **settings)
    model.component.target.begin(train)
    first = nirank.load("given") >> model
    before = nirank.evaluate(first.search(dev.queries, dev.corpus), dev.judgments, ["AP"])
    nirank.fit(model, "softmax_cross_entropy", train, epochs=2, learning_rate=rate)
    after = nirank.evaluate(first.search(dev.queries, dev.corpus), dev.judgments, ["AP"])
    assert after["AP"] > before["AP"] + 0.02
    assert after["AP"] > 0.6  # sentences in any order have .33
