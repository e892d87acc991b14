"""CEDR against a slow reference: loops over layers, tokens and kernels, from what transformers itself returns."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoModel, AutoTokenizer

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank.testing import save_bert

QUERIES = ["small cat", "bus", "a b c d e f"]
DOCUMENTS = ["a small cat on a mat", "bus", "x", "the long red car and the small bus of the cat", "cat small"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bert")
    save_bert(path, "BertModel", 3, initializer_range=0.3)
    return path


def _model(folder, pooling, **more):
    return nirank.load("cedr", model=str(folder), pooling=pooling, device="cpu", **more)


def _pairs():
    ids = [f"d{number}" for number in range(len(DOCUMENTS))]
    docs = Candidates.of([np.arange(len(DOCUMENTS))] * len(QUERIES), corpus=Documents(ids, DOCUMENTS))
    return Queries.of(QUERIES), docs


def _read(folder, query, document):
    """The vectors of tokens of each layer, for the query and for the document, and that of [CLS] in the last."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(query, document, return_tensors="pt")
    with torch.inference_mode():
        layers = model(**inputs, output_hidden_states=True).hidden_states
    sides = np.array([-1 if side is None else side for side in inputs.sequence_ids(0)])
    vectors = [layer[0].double().numpy() for layer in layers]
    return [vector[sides == 0] for vector in vectors], [vector[sides == 1] for vector in vectors], vectors[-1][0]


def _cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _array(parameter):
    return parameter.detach().double().numpy()


def _knrm(head, queries, documents, first):
    kernels = [(1.0, 0.001)] + [(0.9 - 0.2 * step, 0.1) for step in range(10)]
    phi = []
    for asked, told in zip(queries, documents, strict=True):
        for mu, sigma in kernels:
            total = 0.0
            for one in asked:
                counts = sum(math.exp(-((_cosine(one, other) - mu) ** 2) / (2 * sigma**2)) for other in told)
                total += math.log(counts + 1e-6)
            phi.append(total)
    return float(_array(head.weight)[0] @ np.concatenate([phi, first]) + _array(head.bias)[0])


def _drmm(head, queries, documents, first):
    total = 0.0
    for place in range(len(queries[0])):
        seen = []
        for asked, told in zip(queries, documents, strict=True):
            counts = np.zeros(11)
            for other in told:
                counts[int((_cosine(asked[place], other) + 1.000001) / 2 * 10)] += 1
            seen.extend(np.log(counts + 1e-5))
        units = np.maximum(_array(head.first.weight) @ np.concatenate([seen, first]) + _array(head.first.bias), 0)
        total += float(_array(head.weight)[0] @ units + _array(head.bias)[0])
    return total


@pytest.mark.parametrize(("pooling", "reference"), [("cedr_knrm", _knrm), ("cedr_drmm", _drmm)])
def test_scores_are_those_of_the_equations(folder, pooling, reference):
    scorer = _model(folder, pooling)
    head = scorer.component.target.network.head
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(1.5)  # a head that nothing has changed would be refused as untrained
    found = np.asarray(scorer.score(*_pairs())).reshape(len(QUERIES), -1)
    expected = [[reference(head, *_read(folder, query, document)) for document in DOCUMENTS] for query in QUERIES]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert found.std() > 0.01


@pytest.mark.parametrize("pooling", ["cedr_knrm", "cedr_drmm"])
def test_it_is_trained_and_saved(folder, pooling, tmp_path):
    queries, found = _pairs()
    labels = np.tile([0.0, 0, 1, 0, 0], len(QUERIES))
    collection = Collection("some", found.corpus, queries, found.with_scores(labels))
    scorer = _model(folder, pooling, seed=1)
    loss = "softmax_cross_entropy"
    fitted = nirank.fit(scorer, loss, collection, steps=25, learning_rate=3e-3, out=tmp_path / "out")
    scores = np.asarray(scorer.score(queries, found))
    assert (scores.reshape(len(QUERIES), -1).argmax(1) == 2).all()
    again = nirank.load(f"trained:{fitted.folder}", device="cpu")
    assert type(again.component.target) is type(scorer.component.target)
    np.testing.assert_allclose(np.asarray(again.score(queries, found)), scores, rtol=1e-5, atol=1e-5)


def test_other_heads_and_models_are_refused(folder, tmp_path):
    with pytest.raises(BadInput, match="is expected in cedr"):
        _model(folder, "cls")
    import transformers

    config = transformers.DistilBertConfig(vocab_size=77, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    transformers.DistilBertModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="types of tokens"):
        nirank.load("cedr", model=str(tmp_path), device="cpu").score(*_pairs())
