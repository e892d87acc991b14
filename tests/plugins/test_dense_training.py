"""Encoders in training: gradients, dropout, prompts as sentence-transformers reads them, and what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Router, StaticEmbedding, Transformer

from nirank.data import Queries
from nirank.execution import stages
from nirank.plugins import Component
from nirank_dense import tiny
from tests.built import built

TEXTS = ["a cat", "", "the dog ran over a long bridge " * 20, "ünïcödé ∑ 🙂", "cat", "b" * 5000, "a cat", "dog"]


@pytest.fixture
def encoder():
    return tiny.encoder()


def _folder(path, **changes):
    """The tiny model, saved with other settings of sentence-transformers."""
    tiny.save(path)
    config = path / "config_sentence_transformers.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    return str(path)


def _loss(vectors):
    return (vectors * torch.linspace(-1, 2, vectors.numel()).view_as(vectors)).sum()


def test_vectors_with_gradients_are_those_of_inference(encoder):
    inferred = stages.encode_documents(Component("tiny", encoder), TEXTS)
    vectors = encoder.encode_documents(TEXTS)
    assert vectors.requires_grad
    np.testing.assert_allclose(vectors.detach(), inferred, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(Queries.of(TEXTS)).detach(), inferred, atol=1e-6)


def test_gradients_are_those_of_the_transformer_and_a_mean_by_hand(encoder):
    transformer, tokenizer = encoder.model[0].model, encoder.model.tokenizer
    rows = []
    for text in TEXTS:  # one by one: no padding, no order
        tokens = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        mean = transformer(**tokens).last_hidden_state[0].mean(0)
        rows.append(mean / mean.norm())
    wanted = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    expected = torch.autograd.grad(_loss(torch.stack(rows)), list(wanted.values()))
    found = torch.autograd.grad(_loss(encoder.encode_documents(TEXTS)), list(wanted.values()))
    for name, ours, theirs in zip(wanted, found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5, err_msg=name)


def test_dropout_is_active_in_training_only(encoder):
    torch.manual_seed(1)
    assert not encoder.training
    assert torch.equal(encoder.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
    encoder.train()
    assert not torch.allclose(encoder.encode_documents(["a cat"]), encoder.encode_documents(["a cat"]))
    stages.encode_documents(Component("tiny", encoder), TEXTS)
    assert encoder.training  # evaluating in between does not end the training


def test_a_pooling_layer_that_is_not_used_is_frozen_and_all_else_is_reached(encoder):
    _loss(encoder.train().encode_documents(TEXTS)).backward()
    frozen = {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}
    assert frozen == {"model.0.model.pooler.dense.weight", "model.0.model.pooler.dense.bias"}
    for name, parameter in encoder.named_parameters():
        assert (parameter.grad is None) == (name in frozen), name


PROMPTS = {"query": "ask ", "passage": "read ", "corpus": "not this one "}


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": PROMPTS},
        {"prompts": PROMPTS | {"document": ""}},
        {"prompts": {"query": "ask "}, "truncate_dim": 5},
        {"prompts": {"query": "ask "}, "similarity_fn_name": "dot"},
    ],
)
def test_prompts_are_those_that_sentence_transformers_chooses(tmp_path, changes):
    encoder = built("sentence", _folder(tmp_path, **changes))
    assert not torch.equal(*_same_as_sentence_transformers(encoder))


def test_the_default_prompt_is_that_of_a_side_without_one(encoder):
    bare = encoder.encode_documents(TEXTS)
    encoder.model.prompts, encoder.model.default_prompt_name = {"some": "any ", "query": ""}, "some"
    queries, documents = _same_as_sentence_transformers(encoder)
    assert torch.equal(queries, bare)
    assert not torch.equal(documents, bare)


def test_pooling_leaves_prompts_out_where_the_model_does(tmp_path):
    folder = _folder(tmp_path, prompts=PROMPTS)
    config = next(tmp_path.glob("*Pooling")) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"include_prompt": False}))
    _same_as_sentence_transformers(built("sentence", folder))


def test_a_model_with_another_part_for_each_side_uses_both(tmp_path):
    tiny.save(tmp_path / "tiny")
    documents = Transformer(str(tmp_path / "tiny" / "bert"))
    queries = StaticEmbedding(documents.tokenizer, embedding_dim=16)
    router = Router.for_query_document([queries], [documents, Pooling(16)])
    SentenceTransformer(modules=[router], device="cpu").save(str(tmp_path / "router"))
    encoder = built("sentence", tmp_path / "router")
    _same_as_sentence_transformers(encoder)
    _loss(encoder.encode(Queries.of(TEXTS))).backward()
    reached = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert len(reached) == 1
    assert "embedding.weight" in reached.pop()


def _same_as_sentence_transformers(encoder):
    ours = encoder.encode(Queries.of(TEXTS)), encoder.encode_documents(TEXTS)
    cosine = encoder.model.similarity_fn_name == "cosine"
    theirs = encoder.model.encode_query(TEXTS), encoder.model.encode_document(TEXTS)
    for own, other in zip(ours, theirs, strict=True):
        other = other / np.linalg.norm(other, axis=1, keepdims=True).clip(1e-12) if cosine else other
        np.testing.assert_allclose(own.detach(), other, atol=1e-6)
    return ours


def _trained(encoder):
    """After a step of training, so that the weights are no longer those of the folder it came from."""
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.5)
    before = encoder.fingerprint
    _loss(encoder.train().encode_documents(TEXTS)).backward()
    optimizer.step()
    del vars(encoder)["fingerprint"]
    assert encoder.fingerprint != before
    return encoder.eval()


def test_what_is_saved_is_built_again_with_the_same_vectors(tmp_path):
    folder = _folder(tmp_path / "first", prompts=PROMPTS)
    encoder = _trained(built("sentence", folder, max_length=9, document_prompt="x "))
    table = encoder.save(tmp_path / "saved")
    assert table.pop("use") == "encoder/sentence"
    assert table["model"].parts == ("model",)
    again = built("sentence", str(tmp_path / "saved" / table.pop("model")), **table)
    assert again.fingerprint == encoder.fingerprint
    assert torch.equal(again.encode(Queries.of(TEXTS)), encoder.encode(Queries.of(TEXTS)))
    assert torch.equal(again.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
    assert not list((tmp_path / "saved").rglob("*.bin"))


def test_what_is_saved_is_a_model_of_sentence_transformers(tmp_path):
    encoder = _trained(tiny.encoder())
    assert encoder.save(tmp_path) == {"use": "encoder/sentence", "model": Path("model"), "precision": "float32"}
    plain = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    vectors = plain.encode_document(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).detach(), vectors, atol=1e-6)


def test_the_state_of_one_encoder_fits_another():
    encoder, other = _trained(tiny.encoder()), tiny.encoder(seed=1)
    other.load_state_dict(encoder.state_dict())
    assert other.fingerprint == encoder.fingerprint


def test_the_fingerprint_knows_how_vectors_are_compared(tmp_path):
    prints = {
        built("sentence", _folder(tmp_path / name, **changes)).fingerprint
        for name, changes in {"a": {}, "b": {"similarity_fn_name": "dot"}, "c": {"truncate_dim": 4}}.items()
    }
    assert len(prints) == 3
