"""Learned sparse vectors: against transformers called by hand, the regulariser against a loop, what training does."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoModelForMaskedLM

import nirank
from nirank.checkpoints import checkpoint
from nirank.data import Candidates, Collection, Documents, Queries, SparseVectors
from nirank.errors import BadInput
from nirank.execution import stages
from nirank.plugins import Component
from nirank.training.gradients import Pass
from nirank.training.objective import Objective
from nirank_sparse import pooling, tiny
from nirank_sparse.splade import flops
from tests import batch_invariance
from tests.built import built

TEXTS = [
    "a cat",
    "",
    "the dog ran over a long bridge " * 20,
    "ünïcödé ∑ 🙂",
    "cat",
    "b" * 500,
    "a cat",
    "\ud800",
    "dog",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bert")
    tiny.save(path)
    return path


def _by_hand(folder, tokenizer, text, length=40):
    """One text through the model alone, term by term, as the paper has it."""
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    given = tokenizer(text.encode("utf-8", "replace").decode(), truncation=True, max_length=length, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**given).logits[0].double()  # [tokens, terms]
    return torch.log1p(torch.relu(logits)).max(0).values.numpy()


@pytest.mark.parametrize("terms", [7, 512])
def test_weights_are_those_of_transformers_called_by_hand(folder, monkeypatch, terms):
    monkeypatch.setattr(pooling, "_TERMS", terms)
    encoder = built("splade", folder, max_length=40, batch_size=4)
    expected = np.stack([_by_hand(folder, encoder.tokenizer, text) for text in TEXTS])
    with torch.inference_mode():
        both = encoder.encode(Queries.of(TEXTS)), encoder.encode_documents(TEXTS)
    for vectors in both:
        assert isinstance(vectors, SparseVectors)
        np.testing.assert_allclose(vectors.toarray(), expected, atol=1e-5)
    assert 0 < both[0].lengths.mean() < expected.shape[1]


def test_real_weights_are_those_of_transformers_called_by_hand(shared):
    path = shared("weights") / "splade-tiny"
    encoder = built("splade", path)
    texts = ["How does vitamin D affect bone health?", "statins and breast cancer " * 100, ""]
    expected = np.stack([_by_hand(path, encoder.tokenizer, text, 256) for text in texts])
    with torch.inference_mode():
        vectors = encoder.encode_documents(texts)
    np.testing.assert_allclose(vectors.toarray(), expected, atol=1e-4)
    told = encoder.terms(vectors)[0]
    assert {"vitamin", "bone", "d"} <= set(list(told)[:8])
    assert list(told.values()) == sorted(told.values(), reverse=True)


def test_vectors_with_gradients_are_those_of_inference_and_of_one_text_at_a_time():
    encoder = tiny.encoder()
    inferred = stages.encode_documents(Component("tiny", encoder), TEXTS).toarray()
    encoder.train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    vectors = encoder.encode_documents(TEXTS)
    np.testing.assert_allclose(vectors.detach(), inferred, atol=1e-5)
    pull = torch.linspace(-1, 2, vectors.numel()).view_as(vectors)
    wanted = list(encoder.parameters())
    found = torch.autograd.grad((vectors * pull).sum(), wanted)
    alone = torch.cat([encoder.encode_documents([text]) for text in TEXTS])
    expected = torch.autograd.grad((alone * pull).sum(), wanted)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_gradients_are_those_of_all_logits_also_where_few_terms_have_a_weight():
    encoder, texts = tiny.encoder().train(), ["a small cat", "wheels of a bus", "a cat on the bus"]
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    vectors = encoder.encode_documents(texts)
    assert (vectors == 0).all(0).any()
    head = encoder.model.get_output_embeddings()
    read = encoder.tokenizer(texts, truncation=True, max_length=40, padding=True, return_tensors="pt")
    states = encoder.model(**read).logits
    logits = torch.nn.functional.linear(states, head.weight, head.bias)
    logits = logits.masked_fill(read["attention_mask"][..., None] == 0, -torch.inf)
    expected = torch.log1p(torch.relu(logits.max(1).values))
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-5)
    wanted, pull = list(encoder.parameters()), torch.linspace(-1, 2, vectors.numel()).view_as(vectors)
    found, by_hand = (torch.autograd.grad((each * pull).sum(), wanted) for each in (vectors, expected))
    for ours, theirs in zip(found, by_hand, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_only_the_largest_weights_are_kept_where_that_is_asked():
    whole, pruned = tiny.encoder(), tiny.encoder(query_terms=3, document_terms=5)
    for method, most in (("encode", 3), ("encode_documents", 5)):
        given = Queries.of(TEXTS) if method == "encode" else TEXTS
        with torch.inference_mode():
            expected, found = (getattr(encoder, method)(given).toarray() for encoder in (whole, pruned))
        for row, kept in zip(expected, found, strict=True):
            threshold = np.sort(row)[-most]
            assert np.array_equal(kept, np.where(row >= threshold, row, 0))
    assert pruned.train().encode_documents(["a cat"]).count_nonzero() > 5


def test_given_pairs_are_scored_by_the_dot_product():
    encoder, corpus = tiny.encoder(), Documents([*map(str, range(len(TEXTS)))], TEXTS)
    queries = Queries.of(["cat", "the dog!", ""])
    pairs = Candidates.of([[3, 0, 8, 6], [], [2, 1, 5]], corpus=corpus)
    found = nirank.load(encoder).score(queries, pairs)
    with torch.inference_mode():
        asked, told = encoder.encode(queries).toarray(), encoder.encode_documents(TEXTS).toarray()
    expected = (asked[pairs.rows].astype(np.float64) * told[pairs.docs]).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[1] == found[3]  # the same text, at another place


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_a_score_is_a_pairs_own_alone_in_mixed_lengths_and_in_any_order(folder, precision, tolerance):
    batch_invariance.check(nirank.load(built("splade", folder, precision=precision, batch_size=4)), TEXTS, tolerance)


def test_no_more_is_read_than_the_model_has_positions(folder):
    assert built("splade", folder).max_length == 64
    with pytest.raises(BadInput, match="max_length = 65; the model has 64 positions"):
        built("splade", folder, max_length=65)


def test_the_regulariser_is_that_of_a_loop():
    vectors = torch.rand(5, 7, dtype=torch.float64)
    expected = sum((sum(vectors[i, j].item() for i in range(5)) / 5) ** 2 for j in range(7))
    assert flops(vectors).item() == pytest.approx(expected)
    assert flops(vectors[:0]).item() == 0
    encoder = tiny.encoder(flops_queries=0.5, flops_documents=2.0)
    asked, told = torch.rand(3, 7), torch.rand(4, 7)
    assert encoder.penalty(asked, told).item() == pytest.approx(0.5 * flops(asked).item() + 2 * flops(told).item())


def _collection():
    words = ["cat", "dog", "bus", "car", "mat", "zoo", "owl", "fox"]
    corpus = Documents(words, [f"{word} {word[::-1]}" for word in words])
    judged = Candidates.of([[place] for place in range(len(words))], [[1]] * len(words))
    return Collection("words", corpus, Queries.of([word[0] + word[2] for word in words]), judged)


def _trained(encoder, **options):
    loss, sampler = nirank.load("softmax_cross_entropy", gamma=0.1), nirank.load("in_batch", negatives=0)
    given = {"steps": 40, "batch_size": 8, "learning_rate": 1e-2, **options}
    return nirank.fit(encoder, loss, _collection(), sampler=sampler, **given)


def _weights(encoder):
    component = Component("tiny", encoder)
    return stages.encode_documents(component, _collection().corpus[:]).lengths.mean()


def _rank(encoder):
    collection = _collection()
    everything = Candidates.of([np.arange(8)] * 8, corpus=collection.corpus)
    ranked = everything.with_scores(nirank.load(encoder).score(collection.queries, everything)).ranked()
    return nirank.evaluate(ranked, collection.judgments, ["RR@10"]).mean["RR@10"]


def test_training_ranks_better_and_the_regulariser_makes_weights_sparse():
    begun, free, held = (tiny.encoder(flops_queries=value, flops_documents=value) for value in (0, 0, 0.003))
    _trained(free)
    _trained(held)
    assert _rank(free) > 0.9
    assert _rank(held) > _rank(begun) + 0.1
    assert _weights(held) < 0.95 * _weights(free)


def test_the_loss_of_a_training_counts_the_penalty():
    free, held = (tiny.encoder(flops_documents=value) for value in (0.0, 10.0))
    losses = [_trained(encoder, steps=1, log_every=1).log[0]["loss"] for encoder in (free, held)]
    begun = tiny.encoder().train()
    assert losses[1] > losses[0] + 1
    assert math.isfinite(losses[1])
    assert begun.encode_documents(_collection().corpus[:]).shape == (8, begun.size)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_in_chunks_it_is_the_gradient_of_the_whole(chunk):
    import accelerate

    from nirank.training import Sample, batch

    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator, collection, rows = accelerate.Accelerator(cpu=True), _collection(), np.arange(4)
    sample = Sample(Candidates.of([np.arange(8)] * 4, np.eye(4, 8), collection.corpus), shared=True)
    found = []
    for size in (None, chunk):
        encoder = tiny.encoder(flops_queries=0.3, flops_documents=0.7).train()
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        objective = Objective(nirank.load("softmax_cross_entropy").component, penalty=encoder.penalty)
        queries = collection.queries.take(rows)
        ahead, padding = batch.of(Component("trained", encoder), queries, sample, size)
        columns = objective.columns(sample, padding, queries, rows)
        whole = Pass(Component("trained", encoder), ahead, accelerator, (1, 2))
        cost = lambda outputs: objective(ahead, outputs, columns)[0]  # noqa: B023, E731
        (whole.chunked if size else whole.whole)(cost)
        found.append(torch.cat([parameter.grad.flatten() for parameter in encoder.parameters()]))
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-3)


def test_a_checkpoint_scores_as_it_did_wherever_it_lies(folder, tmp_path):
    settings = {"max_length": 20, "query_terms": 9, "flops_documents": 0.1}
    stage = nirank.load("splade", model=str(folder), device="cpu", **settings)
    target = stage.component.target
    with torch.no_grad():
        for parameter in target.parameters():
            parameter += torch.linspace(-0.1, 0.1, parameter.numel()).view_as(parameter)
    stage.component.changed()
    checkpoint.save(stage.component, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    again = checkpoint.load(tmp_path / "two")
    assert again.fingerprint == stage.component.fingerprint
    assert {name: getattr(again.target, name) for name in settings} == settings
    with torch.inference_mode():
        ours, theirs = (encoder.encode_documents(TEXTS).toarray() for encoder in (again.target, target))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert json.loads((tmp_path / "two" / "component.json").read_text())["fixture"]["scores"]


def test_the_fingerprint_is_of_weights_and_settings(folder, tmp_path):
    tiny.save(tmp_path / "copy")
    first = built("splade", folder).fingerprint
    assert built("splade", tmp_path / "copy").fingerprint == first
    others = [{"max_length": 20}, {"query_terms": 3}, {"document_terms": 3}]
    assert len({first, *(built("splade", folder, **other).fingerprint for other in others)}) == 4


def test_what_cannot_be_is_refused(folder, tmp_path):
    with pytest.raises(BadInput, match="query_terms = 0; it must be 1"):
        built("splade", folder, query_terms=0)
    with pytest.raises(BadInput, match="no folder or hub name"):
        built("splade", tmp_path)
    with pytest.raises(BadInput, match="content 1 is of type int"):
        built("splade", folder).encode_documents(["a", 3])
