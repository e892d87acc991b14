"""Late-interaction models that sentence-transformers, or PyLate, saved: vectors and MaxSim are those of the former."""

from __future__ import annotations

import itertools
import json
import string

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
from safetensors.torch import save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling, MultiVectorMask
from transformers import AutoModel, AutoTokenizer

from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank.testing import save_bert
from tests.built import built

TEXTS = ["a cat, small!", "the dog ran over a long bridge. " * 9, "ünïcödé 🙂", "cat", "b" * 99, "a cat; and a dog?"]
CORPUS = Documents([str(number) for number in range(len(TEXTS))], TEXTS)


def _bert(tmp_path, **settings):
    save_bert(tmp_path / "bert", "BertModel", marks=string.punctuation, initializer_range=0.3)
    return Transformer(str(tmp_path / "bert"), **settings)


def _modules(transformer, skipped=(), dim=8, **mask):
    torch.manual_seed(0)
    dense = Dense(16, dim, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    return [transformer, dense, MultiVectorMask([*skipped], **mask), Normalize(module_input_name="token_embeddings")]


def _saved(tmp_path, modules, **settings):
    MultiVectorEncoder(modules=modules, device="cpu", **settings).save_pretrained(str(tmp_path / "saved"))
    return tmp_path / "saved"


def _scores(encoder):
    candidates = Candidates.of([np.arange(len(TEXTS))] * len(TEXTS), corpus=CORPUS)
    with torch.inference_mode():
        return encoder.score(Queries.of(TEXTS), candidates).numpy().reshape(len(TEXTS), -1)


def _agree(folder, **settings):
    """The encoder of a folder, whose vectors and scores are the library's, also when it was saved again."""
    peer = MultiVectorEncoder(str(folder), device="cpu")
    queries, documents = peer.encode_query(TEXTS), peer.encode_document(TEXTS)
    similar = peer.similarity(queries, documents)
    assert np.ptp(similar) > 1e-3
    encoder = built("colbert", folder, **settings)
    for ours, theirs in zip(encoder.encode_documents(TEXTS), documents, strict=True):
        np.testing.assert_allclose(ours.detach(), theirs, atol=1e-5)
    assert [len(vectors) for vectors in encoder.encode(Queries.of(TEXTS))] == [len(vectors) for vectors in queries]
    np.testing.assert_allclose(_scores(encoder), similar, rtol=1e-5, atol=1e-5)
    table = encoder.save(folder / "again")
    assert table.pop("use") == "encoder/colbert"
    again = built("colbert", folder / "again" / table.pop("model"), **table)
    np.testing.assert_allclose(_scores(again), similar, rtol=1e-5, atol=1e-5)
    return encoder, again


def _agree_as_modules(folder):
    encoder, again = _agree(folder)
    assert again.fingerprint == encoder.fingerprint
    return encoder


def test_nothing_is_added_to_texts_unless_the_model_says_so(tmp_path):
    encoder = _agree_as_modules(_saved(tmp_path, _modules(_bert(tmp_path))))
    assert encoder.dim == 8
    assert encoder.encode(Queries.of(["a cat"])).lengths.tolist() == [6]  # [CLS] a c ##a ##t [SEP]


@pytest.mark.parametrize("attend", [True, False])
def test_expansion_lengths_prompts_and_skipped_tokens_are_followed(tmp_path, attend):
    expansion = {"strategy": "fixed", "attend": attend, "length": 17}
    transformer = _bert(tmp_path, query_length=20, document_length=30, query_expansion=expansion)
    prompts = {"query": "ask ", "document": "read "}
    encoder = _agree_as_modules(_saved(tmp_path, _modules(transformer, ".,!"), prompts=prompts))
    assert set(encoder.encode(Queries.of(TEXTS)).lengths.tolist()) == {17}


def test_tokens_that_queries_skip_and_the_mean_are_followed(tmp_path):
    modules = _modules(_bert(tmp_path), ".,!a", skiplist_tasks=["query", "document"])
    _agree_as_modules(_saved(tmp_path, modules, similarity_fn_name="meanmaxsim"))


def test_pooled_tokens_are_followed(tmp_path):
    modules = [*_modules(_bert(tmp_path)), HierarchicalTokenPooling(pool_factor=2)]
    _agree_as_modules(_saved(tmp_path, modules))


def _pylate(tmp_path, dense=(), **told):
    """A folder as PyLate 1 writes it: markers that are tokens, and a projection of its own class."""
    save_bert(tmp_path, "BertModel", marks=string.punctuation, initializer_range=0.3)
    table = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 14, "document_length": 30}
    table |= {"model_type": "ColBERT", "similarity_fn_name": "MaxSim", "prompts": {}, **told}
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    tokenizer.add_tokens(["[Q] ", "[D] "])
    model.resize_token_embeddings(len(tokenizer))
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(table))
    kinds = [("", "sentence_transformers.models.Transformer"), ("1_Dense", "pylate.models.Dense.Dense")]
    if dense:
        kinds.append(("2_Dense", "pylate.models.Dense.Dense"))
    entries = [{"idx": at, "name": str(at), "path": path, "type": kind} for at, (path, kind) in enumerate(kinds)]
    (tmp_path / "modules.json").write_text(json.dumps(entries))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": false}')
    torch.manual_seed(0)
    sizes = [16, *dense, 8]
    for at, (size, made) in enumerate(itertools.pairwise(sizes), 1):
        (tmp_path / f"{at}_Dense").mkdir()
        held = {"in_features": size, "out_features": made, "bias": False}
        held["activation_function"] = "torch.nn.modules.linear.Identity"
        (tmp_path / f"{at}_Dense" / "config.json").write_text(json.dumps(held))
        save_file({"linear.weight": torch.randn(made, size)}, tmp_path / f"{at}_Dense" / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize("attend", [True, False])
@pytest.mark.parametrize("expand", [True, False])
def test_a_model_of_pylate_is_read_as_a_template(tmp_path, attend, expand):
    told = {"attend_to_expansion_tokens": attend, "do_query_expansion": expand}
    encoder, _ = _agree(_pylate(tmp_path, skiplist_words=[*string.punctuation], **told))
    assert encoder.template.augment == expand


@pytest.mark.parametrize("attend", [True, False])
def test_a_model_of_colbert_is_read_as_a_template(tmp_path, attend):
    save_bert(tmp_path, "BertModel", marks=string.punctuation, initializer_range=0.3)
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    tokenizer.add_tokens(["[unused0]", "[unused1]"], special_tokens=True)
    model.resize_token_embeddings(len(tokenizer))
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    weights = {f"bert.{name}": value for name, value in model.state_dict().items()}
    save_file({**weights, "linear.weight": torch.randn(8, 16)}, tmp_path / "model.safetensors")
    config = {**model.config.to_dict(), "architectures": ["HF_ColBERT"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    told = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 14, "doc_maxlen": 30}
    told |= {"attend_to_mask_tokens": attend, "mask_punctuation": True, "dim": 8}
    (tmp_path / "artifact.metadata").write_text(json.dumps(told))
    peer, encoder = MultiVectorEncoder(str(tmp_path), device="cpu"), built("colbert", tmp_path)
    similar = peer.similarity(peer.encode_query(TEXTS), peer.encode_document(TEXTS))
    np.testing.assert_allclose(_scores(encoder), similar, rtol=1e-5, atol=1e-5)


def test_a_model_of_pylate_with_more_modules_is_followed(tmp_path):
    encoder = _agree_as_modules(_pylate(tmp_path, dense=[12]))
    assert encoder.dim == 8


def test_a_skip_list_of_other_tokens_is_followed(tmp_path):
    _agree_as_modules(_pylate(tmp_path, skiplist_words=[".", "a"]))


def test_a_model_of_pylate_that_version_6_saved_again_is_followed(tmp_path):
    MultiVectorEncoder(str(_pylate(tmp_path / "old")), device="cpu").save_pretrained(str(tmp_path / "saved"))
    _agree_as_modules(tmp_path / "saved")


def test_modules_are_trained_with_gradients(tmp_path):
    encoder = built("colbert", _saved(tmp_path, _modules(_bert(tmp_path)))).train()
    encoder.score(Queries.of(["a cat"]), Candidates.of([[0, 1]], corpus=CORPUS)).sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters() if weight.requires_grad)


def test_what_cannot_be_followed_is_refused(tmp_path):
    folder = _saved(tmp_path, _modules(_bert(tmp_path)))
    for name, value in {"dim": 8, "query_length": 9, "augment": True}.items():
        with pytest.raises(BadInput, match=rf"how texts are read and projected: leave {name} out"):
            built("colbert", folder, **{name: value})
    folder = _saved(tmp_path, _modules(_bert(tmp_path))[:3])
    with pytest.raises(BadInput, match="has no module Normalize"):
        built("colbert", folder)


@pytest.mark.parametrize(
    "told",
    [
        {"skiplist_words": None},
        {"query_prefix": None, "document_prefix": None},
        {"query_prefix": "", "document_prefix": ""},
        {"query_length": None, "document_length": None},
    ],
)
def test_what_pylate_did_not_write_down_is_as_in_the_library(tmp_path, told):
    _agree(_pylate(tmp_path, **told))


def test_a_model_without_its_projection_is_refused(tmp_path):
    folder = _pylate(tmp_path)
    (folder / "1_Dense" / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"was trained for late interaction, and its projection \(linear.weight\)"):
        built("colbert", folder)
    (tmp_path / "other").mkdir()
    save_bert(tmp_path / "other")
    (tmp_path / "other" / "artifact.metadata").write_text('{"query_token_id": "[CLS]", "doc_token_id": "[SEP]"}')
    with pytest.raises(BadInput, match="was trained for late interaction"):
        built("colbert", tmp_path / "other")


def test_a_projection_that_is_new_is_told(tmp_path, caplog):
    save_bert(tmp_path)
    built("colbert", tmp_path, dim=8)
    assert "has no projection: one to 8 dimensions is new, and drawn from seed = 0" in caplog.text


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"query_maxlen": None}, r"artifact.metadata: is damaged: TypeError\('query_length = None'\)"),
        ({}, r"names the marker '\[unused0\]', which the tokenizer beside it does not know"),
    ],
)
def test_settings_of_colbert_that_do_not_fit_are_told(tmp_path, table, told):
    save_bert(tmp_path)
    (tmp_path / "artifact.metadata").write_text(json.dumps(table))
    with pytest.raises(BadInput, match=told):
        built("colbert", tmp_path)
