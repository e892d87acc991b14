"""SPLADE, T5 and ColBERT through OpenVINO: what torch computes of the weights of now, whatever else is in a batch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("openvino")

import torch

from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank.kit import Graph
from nirank_late import tiny as late
from nirank_seq2seq import tiny as seq2seq
from nirank_sparse import tiny as sparse
from tests.built import built

QUERIES = ["small cat", "", "the dog " * 60]
TEXTS = ["a small cat sat on the mat", "", "the dog ran over a long bridge " * 40, "ünïcödé ∑ 🙂", "cat", "x y z " * 9]
#: How each kind of model is written, what it is called, and its settings.
KINDS = {
    "splade": (sparse.save, "splade", {"max_length": 40}),
    "splade, sums": (sparse.save, "splade", {"max_length": 40, "pooling": "sum", "activation": "log1p_relu"}),
    "monot5": (seq2seq.save_t5, "monot5", {"max_length": 90}),
    "duot5": (seq2seq.save_t5, "duot5", {"max_length": 90}),
    "colbert": (late.save, "colbert", {"dim": 8, "query_length": 12, "document_length": 40}),
}


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    write, name, settings = KINDS[request.param]
    write(tmp_path)
    return lambda **more: built(name, tmp_path, **settings, **more)


def _found(model, texts=tuple(TEXTS)):
    """The weights of terms, or the scores for every query, of some texts, a row for each; as an array."""
    with torch.inference_mode():
        if _encodes(model):
            return model.encode_documents(list(texts)).toarray()
        corpus = Documents([*map(str, range(len(texts)))], list(texts))
        lists = Candidates.of([np.arange(len(texts))] * len(QUERIES), corpus=corpus)
        return model.score(Queries.of(QUERIES), lists).numpy().reshape(len(QUERIES), -1).T


def _encodes(model):
    return getattr(model, "vectors", None) == "sparse"


def _fast(model):
    return model._fast if hasattr(model, "_fast") else model.reader._fast


def test_a_graph_computes_what_torch_does_also_of_a_text_alone(kind):
    fast, slow = (kind(runtime=runtime) for runtime in ("openvino", "torch"))
    found, expected = _found(fast), _found(slow)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    assert _fast(fast).compiled is not None
    assert _fast(slow).compiled is None
    assert fast.fingerprint == slow.fingerprint
    if not getattr(fast, "listwise", False):
        alone = np.concatenate([_found(fast, [text]) for text in TEXTS])
        np.testing.assert_allclose(alone, found, atol=2e-5 * np.abs(expected).max())


def test_what_is_trained_is_computed_from_the_new_weights(kind):
    fast, slow = (kind(runtime=runtime) for runtime in ("openvino", "torch"))
    before = _found(fast)
    fast.train()
    optimizer = torch.optim.Adam(fast.parameters(), 0.02)
    if _encodes(fast):
        loss = fast.encode_documents(TEXTS).sum()
    else:
        corpus = Documents([*map(str, range(len(TEXTS)))], TEXTS)
        loss = fast.score(Queries.of(QUERIES[:1]), Candidates.of([[0, 2, 3]], corpus=corpus))[:2].sum()
    loss.backward()
    optimizer.step()
    fast.eval()
    slow.load_state_dict(fast.state_dict())
    found, expected = _found(fast), _found(slow)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    assert np.abs(found - before).max() > 2e-4 * np.abs(expected).max()  # ten times the tolerance


def test_a_wrong_graph_is_refused_or_left_to_torch(kind, monkeypatch, caplog):
    right = Graph.__call__
    monkeypatch.setattr(Graph, "__call__", lambda graph, inputs: right(graph, inputs) * 1.01)
    with pytest.raises(BadInput, match=r"does not compute .* as torch does"):
        _found(kind(runtime="openvino"))
    left = kind()
    _fast(left).worth = 0
    np.testing.assert_array_equal(_found(left), _found(kind(runtime="torch")))
    assert "torch computes it" in caplog.text


def test_a_copy_in_another_process_compiles_its_own(kind):
    model = kind(runtime="openvino")
    found = _found(model)
    again = pickle.loads(pickle.dumps(model))
    assert _fast(again).compiled is None
    np.testing.assert_allclose(_found(again), found, atol=1e-6 * np.abs(found).max())
    assert _fast(again).compiled is not None


def test_little_text_is_left_to_torch_and_other_precisions_are_refused(kind):
    model = kind()
    _found(model)
    assert _fast(model).compiled is None
    _fast(model).worth = 100
    _found(model)
    assert _fast(model).compiled is not None
    with pytest.raises(BadInput, match="float32 or bfloat16 on the CPU"):
        kind(precision="float16", runtime="openvino")


def test_in_bfloat16_weights_are_kept_in_float32_and_results_are_near(kind):
    half, exact = kind(precision="bfloat16", runtime="openvino"), kind()
    assert next(half.parameters()).dtype == torch.float32
    found, expected = _found(half), _found(exact)
    assert _fast(half).compiled is not None
    np.testing.assert_allclose(found, expected, atol=0.1 * np.abs(expected).max())
    assert half.fingerprint != exact.fingerprint


def test_unless_openvino_is_asked_for_a_t5_in_bfloat16_is_kept_in_it(tmp_path):
    seq2seq.save_t5(tmp_path)
    assert next(built("monot5", tmp_path, precision="bfloat16").parameters()).dtype == torch.bfloat16


def test_real_weights_have_the_terms_of_torch(shared):
    fast, slow = (built("splade", shared("weights") / "splade-tiny", runtime=name) for name in ("openvino", "torch"))
    texts = ["How does vitamin D affect bone health?", "statins and breast cancer " * 100, ""]
    np.testing.assert_allclose(_found(fast, texts), _found(slow, texts), atol=1e-4)
    assert _fast(fast).compiled is not None
