"""Cross-encoders that sentence-transformers saved: scores are those of `CrossEncoder.predict`, or there are none."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
import transformers
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense
from sentence_transformers.cross_encoder.modules import LogitScore, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, MissingDependency
from nirank.kit.transformers import quiet
from nirank.testing import save_bert
from nirank_crossencoder import tiny
from tests.built import built

QUERIES = ["small cat", "the dog " * 20, "東京 🙂", "a"]
TEXTS = ["a small cat sat on the mat", "the dog ran over a long bridge " * 9, "ünïcödé 🙂", "cat", "x y z " * 3]
CORPUS = Documents([str(number) for number in range(len(TEXTS))], TEXTS)
#: How published rerankers put a pair into a conversation.
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'query' %}q {{ m['content'] }} "
    "{% elif m['role'] == 'document' %}d {{ m['content'] }}{% else %}s {{ m['content'] }} {% endif %}{% endfor %} z"
)


def _scores(scorer):
    """The scores of every query with every document, `[queries, documents]`."""
    candidates = Candidates.of([np.arange(len(TEXTS))] * len(QUERIES), corpus=CORPUS)
    with torch.inference_mode():
        return scorer.score(Queries.of(QUERIES), candidates).numpy().reshape(len(QUERIES), -1)


def _predicted(peer):
    pairs = [(query, text) for query in QUERIES for text in TEXTS]
    return np.asarray(peer.predict(pairs)).reshape(len(QUERIES), -1)


def _agree(folder, **settings):
    """The scorer of a folder, whose scores are those that the library predicts, also when it was saved again."""
    expected = _predicted(CrossEncoder(str(folder), device="cpu"))
    scorer = built("crossencoder", folder, **settings)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(_scores(scorer), expected, atol=1e-5)
    table = scorer.save(folder / "again")
    assert table.pop("use") == "scorer/crossencoder"
    again = built("crossencoder", folder / "again" / table.pop("model"), **table)
    np.testing.assert_allclose(_scores(again), expected, atol=1e-5)
    assert again.fingerprint == scorer.fingerprint
    return scorer


def _saved(tmp_path, **settings):
    """A folder that `CrossEncoder.save_pretrained` wrote, of one logit."""
    tiny.save(tmp_path / "bert")
    CrossEncoder(str(tmp_path / "bert"), device="cpu", **settings).save_pretrained(str(tmp_path / "saved"))
    return tmp_path / "saved"


def _causal(tmp_path, template=None):
    """A causal language model of two layers, over letters."""
    save_bert(tmp_path / "causal")  # its tokenizer
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "causal")
    tokenizer.chat_template = template
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (tmp_path / "causal" / "model.safetensors").unlink()
        transformers.Qwen3ForCausalLM(config).save_pretrained(tmp_path / "causal")
        tokenizer.save_pretrained(tmp_path / "causal")
    return str(tmp_path / "causal")


def test_a_default_prompt_and_a_length_are_followed(tmp_path):
    folder = _saved(tmp_path, prompts={"q": "find a ", "other": "no "}, default_prompt_name="q", max_length=24)
    scorer = _agree(folder)
    assert (scorer.prompt, scorer.max_length, scorer.activation) == ("find a ", 24, "sigmoid")
    assert not np.allclose(_scores(built("crossencoder", folder, prompt="")), _scores(scorer), atol=1e-3)


def test_special_tokens_in_a_prompt_are_such(tmp_path):
    _agree(_saved(tmp_path, prompts={"q": "[MASK] find [SEP] "}, default_prompt_name="q"))


def test_a_prompt_that_is_not_the_default_is_not_put_before_queries(tmp_path):
    assert _agree(_saved(tmp_path, prompts={"q": "find a "})).prompt == ""


@pytest.mark.parametrize("activation", ["Sigmoid", "Identity"])
@pytest.mark.parametrize("key", ["sbert_ce_default_activation_function", "sentence_transformers"])
def test_the_activation_of_older_versions_is_followed(tmp_path, key, activation):
    tiny.save(tmp_path)
    home = "activation" if activation == "Sigmoid" else "linear"
    named = f"torch.nn.modules.{home}.{activation}"
    config = json.loads((tmp_path / "config.json").read_text())
    config[key] = named if key.startswith("sbert") else {"activation_fn": named, "version": "4.1.0"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert _agree(tmp_path).activation == ("sigmoid" if activation == "Sigmoid" else "none")


def test_another_activation_is_refused_unless_one_is_set(tmp_path):
    folder = _saved(tmp_path, activation_fn=torch.nn.Tanh())
    with pytest.raises(BadInput, match=r"applies torch.nn.modules.activation.Tanh to its logit, .*: set activation"):
        built("crossencoder", folder)
    logits = np.arctanh(_predicted(CrossEncoder(str(folder), device="cpu")))
    np.testing.assert_allclose(_scores(built("crossencoder", folder, activation="none")), logits, atol=1e-3)


@pytest.mark.parametrize("template", [None, TEMPLATE])
@pytest.mark.parametrize("negative", [7, None])
def test_a_causal_model_scores_by_its_logits(tmp_path, template, negative):
    transformer = Transformer(_causal(tmp_path, template), transformer_task="text-generation", max_seq_length=60)
    prompts = {"ask": "is it so "}
    modules = [transformer, LogitScore(true_token_id=6, false_token_id=negative)]
    peer = CrossEncoder(modules=modules, device="cpu", prompts=prompts, default_prompt_name="ask")
    peer.save_pretrained(str(tmp_path / "saved"))
    scorer = _agree(tmp_path / "saved")
    assert not np.allclose(_scores(built("crossencoder", tmp_path / "saved", prompt="b")), _scores(scorer), atol=1e-3)


def test_a_head_of_several_modules_is_followed(tmp_path):
    save_bert(tmp_path / "bert", initializer_range=0.3)
    pooling = Pooling(16, "mean")
    dense = Dense(16, 1, activation_function=torch.nn.Identity(), module_output_name="scores")
    modules = [Transformer(str(tmp_path / "bert")), pooling, dense]
    CrossEncoder(modules=modules, device="cpu").save_pretrained(str(tmp_path / "saved"))
    _agree(tmp_path / "saved")


def test_the_library_is_needed_for_modules_alone(tmp_path, monkeypatch):
    plain = _saved(tmp_path, prompts={"q": "find a "}, default_prompt_name="q")
    modules = [Transformer(_causal(tmp_path), transformer_task="text-generation"), LogitScore(6, 7)]
    CrossEncoder(modules=modules, device="cpu").save_pretrained(str(tmp_path / "modules"))
    expected = _predicted(CrossEncoder(str(plain), device="cpu"))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    np.testing.assert_allclose(_scores(built("crossencoder", plain)), expected, atol=1e-5)
    with pytest.raises(MissingDependency, match=r"pip install 'nirank\[crossencoder,dense\]'"):
        built("crossencoder", tmp_path / "modules")


def test_modules_are_trained_with_gradients(tmp_path):
    modules = [Transformer(_causal(tmp_path), transformer_task="text-generation"), LogitScore(6, 7)]
    CrossEncoder(modules=modules, device="cpu").save_pretrained(str(tmp_path / "saved"))
    scorer = built("crossencoder", tmp_path / "saved").train()
    scorer.score(Queries.of(["a cat"]), Candidates.of([[0, 1]], corpus=CORPUS)).sum().backward()
    assert all(weight.grad is not None for weight in scorer.parameters())


def test_settings_that_modules_do_not_have_are_refused(tmp_path):
    modules = [Transformer(_causal(tmp_path), transformer_task="text-generation"), LogitScore(6, 7)]
    CrossEncoder(modules=modules, device="cpu").save_pretrained(str(tmp_path / "saved"))
    for settings in ({"outputs": 1}, {"pooling": "cls"}, {"passages": "max"}, {"runtime": "openvino"}):
        with pytest.raises(
            BadInput, match=rf"modules \(Transformer, LogitScore\), which have no setting {next(iter(settings))}"
        ):
            built("crossencoder", tmp_path / "saved", **settings)


def test_descriptions_that_cannot_be_followed_are_refused(tmp_path):
    folder = _saved(tmp_path, prompts={"q": "find a "}, default_prompt_name="q")
    table, modules = folder / "config_sentence_transformers.json", folder / "modules.json"
    held = json.loads(table.read_text())
    table.write_text(json.dumps({**held, "default_prompt_name": "p"}))
    with pytest.raises(BadInput, match=r"names the default prompt 'p', but its prompts are \['q'\]"):
        built("crossencoder", folder)
    table.write_text(json.dumps({**held, "prompts": ["find a "]}))
    with pytest.raises(BadInput, match=r"is damaged: its prompts are \['find a '\]"):
        built("crossencoder", folder)
    table.write_text(json.dumps(held)[:-3])
    with pytest.raises(BadInput, match=r"config_sentence_transformers.json.*is damaged"):
        built("crossencoder", folder)
    table.write_text(json.dumps(held))
    modules.write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "custom_st.Mine"}]))
    with pytest.raises(BadInput, match=r"needs the code of custom_st.Mine"):
        built("crossencoder", folder)
    modules.write_text(json.dumps([{"idx": 0}]))
    with pytest.raises(BadInput, match=r"modules.json.*is damaged"):
        built("crossencoder", folder)


def _alone(folder):
    """The logit of each pair, which transformers computes alone, so that nothing is padded."""
    network = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer, expected = transformers.AutoTokenizer.from_pretrained(folder), []
    for query in QUERIES:
        for text in TEXTS:
            read = tokenizer(query, text, return_tensors="pt", truncation=True, max_length=64)
            with torch.no_grad():
                expected.append(network(**read).logits.item())
    return np.array(expected).reshape(len(QUERIES), -1)


_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize("padding", [None, 0, 3])  # none, and the last token of each pair
def test_a_head_on_the_last_token_finds_it_whatever_pads(tmp_path, padding):
    save_bert(tmp_path)
    config = transformers.LlamaConfig(
        vocab_size=77,
        max_position_embeddings=64,
        num_labels=1,
        pad_token_id=padding,
        initializer_range=0.3,
        **_SMALL,
    )
    with quiet():
        transformers.LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    np.testing.assert_allclose(_scores(built("crossencoder", tmp_path)), _alone(tmp_path), atol=1e-5)


def test_texts_that_end_in_token_zero_are_read_to_their_end(tmp_path):
    from nirank_seq2seq.tiny import byte_tokenizer

    tokenizer = byte_tokenizer()  # which, as that of GPT-2, pads with nothing
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.3}
    config = transformers.GPT2Config(vocab_size=len(tokenizer), num_labels=1, pad_token_id=None, **sizes)
    with quiet():
        transformers.GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
    np.testing.assert_allclose(_scores(built("crossencoder", tmp_path)), _alone(tmp_path), atol=1e-5)


def test_a_model_without_positions_reads_all(tmp_path):
    save_bert(tmp_path)
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"model_max_length": int(1e30)}))
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    ends = {"eos_token_id": 3, "pad_token_id": 0, "decoder_start_token_id": 0}
    config = transformers.T5Config(vocab_size=77, num_labels=1, **sizes, **ends)
    with quiet():
        transformers.T5ForSequenceClassification(config).save_pretrained(tmp_path)
    scorer = built("crossencoder", tmp_path)
    assert scorer.max_length > 10_000
    assert np.isfinite(_scores(scorer)).all()


def test_beginnings_are_cut_off_where_the_tokenizer_does_that(tmp_path):
    tiny.save(tmp_path)
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"truncation_side": "left"}))
    np.testing.assert_allclose(_scores(built("crossencoder", tmp_path)), _alone(tmp_path), atol=1e-5)
