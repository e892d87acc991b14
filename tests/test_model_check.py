"""The check of models: what is told of them, and what looks wrong."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from typer.testing import CliRunner

from nirank.cli import app
from nirank.errors import BadInput
from nirank.experiments import model_check
from nirank.testing import save_bert
from tests.built import built


def _classifier(folder, **settings):
    save_bert(folder, "BertForSequenceClassification", num_labels=1, marks=",.;", initializer_range=0.3, **settings)
    return str(folder)


def test_a_model_is_read_as_its_files_say(tmp_path):
    checked = model_check.check_model(_classifier(tmp_path))
    assert checked.facts["read as"] == "crossencoder"
    assert checked.facts["architecture"] == "BertForSequenceClassification"
    assert checked.facts["max_length"] == "64"
    assert checked.facts["activation"] == "'none'"
    assert np.isfinite(checked.scores).all()
    assert len(checked.scores) == len(model_check.DOCUMENTS)


def test_what_sentence_transformers_wrote_down_is_told(tmp_path):
    peers = pytest.importorskip("sentence_transformers")
    modules = peers.sparse_encoder.modules
    save_bert(tmp_path / "mlm", "BertForMaskedLM", marks=",.;", initializer_range=0.2)
    parts = [modules.Transformer(str(tmp_path / "mlm"), transformer_task="fill-mask"), modules.SpladePooling("sum")]
    peer = peers.SparseEncoder(modules=parts, device="cpu", prompts={"query": "ask "})
    peer.save_pretrained(str(tmp_path / "saved"))
    checked = model_check.check_model(str(tmp_path / "saved"))
    assert checked.facts["read as"] == "splade"
    assert "pooling_strategy = 'sum'" in checked.facts["module SpladePooling"]
    assert "'query': 'ask '" in checked.facts["prompts"]
    similar = peer.similarity(peer.encode_query([model_check.QUERY]), peer.encode_document([*model_check.DOCUMENTS]))
    np.testing.assert_allclose(checked.scores, similar.to_dense()[0], rtol=1e-5)


def test_a_head_that_nobody_trained_looks_wrong(tmp_path):
    save_bert(tmp_path, "BertModel", marks=",.;")
    checked = model_check.check_model(str(tmp_path), "crossencoder")
    assert checked.scores is None
    assert "random weights" in checked.faults[0]


def test_unknown_tokens_and_equal_scores_look_wrong(tmp_path):
    folder = _classifier(tmp_path / "one")
    scorer = built("crossencoder", folder)
    with torch.no_grad():
        scorer.network.model.classifier.weight.zero_()
    scorer.save(tmp_path / "two")
    (fault,) = model_check.check_model(str(tmp_path / "two" / "model")).faults
    assert fault.startswith("all three pairs have the same score: ")
    words = [*"abcdefghijklmnopqrstuvwxyz"]
    vocabulary = tmp_path / "two" / "model" / "tokenizer.json"
    text = vocabulary.read_text(encoding="utf-8")
    for word in words[:20]:
        text = text.replace(f'"{word}":', f'"unseen-{word}":')
    vocabulary.write_text(text, encoding="utf-8")
    faults = model_check.check_model(str(tmp_path / "two" / "model")).faults
    assert any("of the tokens of English sentences are unknown" in fault for fault in faults)


def test_a_model_that_may_be_several_things_is_asked_about(tmp_path):
    save_bert(tmp_path, "BertForMaskedLM")
    with pytest.raises(BadInput, match="is a BertForMaskedLM: say which component is to read it"):
        model_check.check_model(str(tmp_path))
    with pytest.raises(BadInput, match=r"has no config\.json"):
        model_check.check_model(str(tmp_path / "nothing"))


def test_the_command_prints_facts_scores_and_faults(tmp_path):
    save_bert(tmp_path, "BertModel", marks=",.;")
    result = CliRunner().invoke(app, ["models", "check", str(tmp_path), "--as", "crossencoder"])
    assert result.exit_code == 1
    assert "read as: crossencoder" in result.output
    assert "looks wrong: " in result.output
    result = CliRunner().invoke(app, ["models", "check", str(tmp_path), "--as", "colbert"])
    assert "The bridge over the river" in result.output
    assert result.exit_code == int("looks wrong: " in result.output)


def test_models_that_speak_and_see_are_read_as_what_they_are(tmp_path):
    seq2seq, clip = pytest.importorskip("nirank_seq2seq.tiny"), pytest.importorskip("nirank_clip.tiny")
    seq2seq.save_t5(tmp_path / "t5")
    seq2seq.save_llama(tmp_path / "llama")
    clip.save(tmp_path / "clip")
    kinds = {"t5": "monot5", "llama": "llm_judge", "clip": "clip"}
    checked = {name: model_check.check_model(str(tmp_path / name)) for name in kinds}
    assert {name: check.facts["read as"] for name, check in checked.items()} == kinds
    assert checked["t5"].facts["max_length"] == "512"
    assert "words=('true', 'false')" in checked["t5"].facts["contract"]
    assert int(checked["clip"].facts["tokens"]) > 40


def test_bi_encoders_tell_how_much_they_read_whatever_they_are_made_of(tmp_path):
    peers = pytest.importorskip("sentence_transformers")
    dense = pytest.importorskip("nirank_dense.tiny")
    dense.save(tmp_path / "bert")
    assert model_check.check_model(str(tmp_path / "bert")).facts["max_seq_length"] == "64"
    assert model_check.check_model(str(tmp_path / "bert"), "two_towers").facts["read as"] == "two_towers"
    tokenizer = peers.SentenceTransformer(str(tmp_path / "bert"), device="cpu").tokenizer.backend_tokenizer
    static = peers.sentence_transformer.modules.StaticEmbedding(tokenizer, embedding_dim=8)
    peers.SentenceTransformer(modules=[static], device="cpu").save_pretrained(str(tmp_path / "static"))
    assert model_check.check_model(str(tmp_path / "static")).facts["read as"] == "sentence"
