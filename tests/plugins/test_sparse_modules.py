"""Sparse encoders that sentence-transformers saved: weights are those of `encode_query` and `encode_document`."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
import transformers
from sentence_transformers import SparseEncoder
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.modules import (
    Router,
    SparseAutoEncoder,
    SparseStaticEmbedding,
    SpladePooling,
    Transformer,
)

from nirank.data import Queries
from nirank.errors import BadInput
from nirank.kit.transformers import quiet
from nirank.testing import save_bert
from nirank_sparse import tiny
from tests.built import built

TEXTS = ["a cat", "the dog ran over a long bridge " * 9, "ünïcödé 🙂", "cat", "b" * 99, "a cat and a dog"]


def _dense(vectors):
    matrix = np.zeros((len(vectors), vectors.size))
    for row in range(len(vectors)):
        matrix[row, vectors[row].terms] = vectors[row].weights
    return matrix


def _vectors(encoder):
    return _dense(encoder.encode(Queries.of(TEXTS))), _dense(encoder.encode_documents(TEXTS))


def _expected(folder):
    peer = SparseEncoder(str(folder), device="cpu")
    found = peer.encode_query(TEXTS), peer.encode_document(TEXTS)
    queries, documents = (matrix.to_dense().numpy() for matrix in found)
    return queries, documents, peer.similarity(*found).to_dense().numpy()


def _agree(folder, **settings):
    """The encoder of a folder, whose vectors and products are the library's, also when it was saved again."""
    queries, documents, similar = _expected(folder)
    encoder = built("splade", folder, **settings)
    vectors = _vectors(encoder)
    assert np.ptp(similar) > 1e-3
    np.testing.assert_allclose(vectors[0] @ vectors[1].T, similar, rtol=1e-5, atol=1e-5)
    if json.loads((folder / "config_sentence_transformers.json").read_text())["similarity_fn_name"] != "cosine":
        np.testing.assert_allclose(vectors[0], queries, atol=1e-5)
        np.testing.assert_allclose(vectors[1], documents, atol=1e-5)
    table = encoder.save(folder / "again")
    assert table.pop("use") == "encoder/splade"
    again = built("splade", folder / "again" / table.pop("model"), **table)
    for ours, theirs in zip(_vectors(again), vectors, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert again.fingerprint == encoder.fingerprint
    return encoder


def _masked(tmp_path, **settings):
    tiny.save(tmp_path / "mlm")
    return Transformer(str(tmp_path / "mlm"), transformer_task="fill-mask", **settings)


def _saved(tmp_path, modules, **settings):
    SparseEncoder(modules=modules, device="cpu", **settings).save_pretrained(str(tmp_path / "saved"))
    return tmp_path / "saved"


@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
def test_pooling_activation_and_length_are_followed(tmp_path, pooling, activation):
    modules = [_masked(tmp_path, max_seq_length=20), SpladePooling(pooling, activation_function=activation)]
    encoder = _agree(_saved(tmp_path, modules))
    assert (encoder.reading.pooling, encoder.reading.activation, encoder.max_length) == (pooling, activation, 20)


def test_prompts_and_the_number_of_terms_are_followed(tmp_path):
    prompts = {"query": "find ", "passage": "some text "}
    folder = _saved(tmp_path, [_masked(tmp_path), SpladePooling("sum")], prompts=prompts, max_active_dims=9)
    encoder = _agree(folder)
    assert (encoder.query_terms, encoder.document_terms) == (9, 9)
    assert (encoder.reading.query_prompt, encoder.max_length) == ("find ", 64)
    other = built("splade", folder, query_prompt="", document_prompt="")
    assert not np.allclose(_vectors(other)[0], _vectors(encoder)[0], atol=1e-3)


def test_special_tokens_in_a_prompt_are_such(tmp_path):
    _agree(_saved(tmp_path, [_masked(tmp_path), SpladePooling()], prompts={"query": "[MASK] a [SEP]"}))


def test_folders_of_version_5_are_followed(tmp_path):
    folder = _saved(tmp_path, [_masked(tmp_path), SpladePooling("sum")])
    old = "sentence_transformers.sparse_encoder.models"
    modules = [("", f"{old}.MLMTransformer"), ("1_SpladePooling", f"{old}.SpladePooling")]
    entries = [{"idx": at, "name": str(at), "path": path, "type": kind} for at, (path, kind) in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 18, "do_lower_case": false}')
    told = {"pooling_strategy": "sum", "activation_function": "relu", "word_embedding_dimension": 77}
    (folder / "1_SpladePooling" / "config.json").write_text(json.dumps(told))
    encoder = _agree(folder)
    assert (encoder.reading.pooling, encoder.max_length) == ("sum", 18)


def test_queries_that_are_looked_up_are_followed(tmp_path):
    transformer = _masked(tmp_path)
    static = SparseStaticEmbedding(transformer.tokenizer, torch.rand(len(transformer.tokenizer)))
    route = Router.for_query_document([static], [transformer, SpladePooling("max", activation_function="log1p_relu")])
    encoder = _agree(_saved(tmp_path, [route]))
    assert encoder.terms(encoder.encode(Queries.of(["a cat"])))[0].keys() == {"a", "c", "##a", "##t"}


def test_two_models_on_two_routes_are_followed(tmp_path):
    tiny.save(tmp_path / "other", seed=1)
    other = Transformer(str(tmp_path / "other"), transformer_task="fill-mask", max_seq_length=12)
    route = Router.for_query_document([other, SpladePooling("sum")], [_masked(tmp_path), SpladePooling("max")])
    _agree(_saved(tmp_path, [route], prompts={"query": "q ", "document": "d "}))


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_an_autoencoder_is_followed(tmp_path, similarity):
    save_bert(tmp_path / "bert", initializer_range=0.3)
    modules = [Transformer(str(tmp_path / "bert")), Pooling(16, "mean"), SparseAutoEncoder(16, 64, k=5, k_aux=8)]
    encoder = _agree(_saved(tmp_path, modules, similarity_fn_name=similarity))
    assert encoder.size == 64
    with pytest.raises(BadInput, match="its dimensions are not terms"):
        encoder.terms(encoder.encode(Queries.of(["a"])))


@pytest.mark.parametrize("pooling", ["max", "sum"])
def test_training_gives_the_vectors_that_searching_gives(tmp_path, pooling):
    encoder = built("splade", _saved(tmp_path, [_masked(tmp_path), SpladePooling(pooling)], prompts={"query": "q "}))
    found = _vectors(encoder)[0]
    for module in encoder.train().modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    trained = encoder.encode(Queries.of(TEXTS))
    np.testing.assert_allclose(trained.detach().numpy(), found, atol=1e-5)
    trained.sum().backward()
    assert encoder.model.get_input_embeddings().weight.grad.abs().sum() > 0


def test_modules_are_trained_with_gradients(tmp_path):
    transformer = _masked(tmp_path)
    route = Router.for_query_document([SparseStaticEmbedding(transformer.tokenizer)], [transformer, SpladePooling()])
    encoder = built("splade", _saved(tmp_path, [route])).train()
    (encoder.encode(Queries.of(["a cat"])) @ encoder.encode_documents(["a dog"]).T).sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters() if weight.requires_grad)


def test_descriptions_that_cannot_be_followed_are_refused(tmp_path):
    transformer = _masked(tmp_path)
    folder = _saved(tmp_path, [transformer, SpladePooling()], similarity_fn_name="euclidean")
    with pytest.raises(BadInput, match="compares vectors by euclidean"):
        built("splade", folder)
    with pytest.raises(BadInput, match=r"modules \(Transformer, SpladePooling\), which fix the pooling"):
        built("splade", folder, pooling="sum")
    folder = _saved(tmp_path, [transformer, SpladePooling()])
    (folder / "1_SpladePooling" / "config.json").write_text('{"pooling_strategy": "mean"}')
    with pytest.raises(BadInput, match="pooling 'mean' and the activation 'relu'; nirank knows"):
        built("splade", folder)


def test_what_a_model_does_behind_its_last_layer_counts(tmp_path):
    save_bert(tmp_path, "BertModel")  # its tokenizer
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 64, "init_std": 0.3}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    config = transformers.BartConfig(vocab_size=77, eos_token_id=3, pad_token_id=0, bos_token_id=2, **sizes, **heads)
    network = transformers.BartForConditionalGeneration(config).eval()
    network.final_logits_bias.normal_()
    with quiet():
        network.save_pretrained(tmp_path)
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path)("a small cat", return_tensors="pt")
    with torch.inference_mode():
        expected = torch.log1p(torch.relu(network(**tokens).logits)).amax(1)[0]
        found = built("splade", tmp_path).encode_documents(["a small cat"])[0]
    np.testing.assert_allclose(np.bincount(found.terms, found.weights, 77), expected, atol=1e-4)
