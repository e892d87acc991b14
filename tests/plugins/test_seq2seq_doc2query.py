"""doc2query: texts equal those of a loop that draws token by token, one document at a time, without a cache."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BartConfig, BartForConditionalGeneration

import nirank
from nirank.data import Documents
from nirank.errors import BadInput
from nirank.plugins import build
from nirank_seq2seq import doc2query, tiny
from nirank_seq2seq.doc2query import Decoding

TEXTS = ["a small cat sat", "", "the dog ran over a long bridge " * 20, "東京 🙂", "cat", "a small cat sat", "x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    tiny.save_t5(folder, initializer_factor=3.0)
    return folder


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bart")
    tokenizer = tiny.t5_tokenizer()
    sizes = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    sizes |= {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 0}
    torch.manual_seed(0)
    config = BartConfig(vocab_size=len(tokenizer), max_position_embeddings=128, init_std=0.5, **sizes, **special)
    config.forced_eos_token_id = None
    BartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _writer(folder, **settings):
    given = {"model": str(folder), "texts": 3, "length": 6, "max_length": 64, "device": "cpu", **settings}
    return build("writer/doc2query", given).target


def _write(writer, texts=TEXTS):
    with torch.inference_mode():
        return writer.write(texts)


def _mixed(number):
    """SplitMix64 as its paper writes it, in whole numbers."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def _noise(seed, step, token):
    golden = 0x9E3779B97F4A7C15
    of_step = _mixed((seed + (step + 1) * golden) % 2**64)
    bits = _mixed((of_step + (token + 1) * golden) % 2**64)
    return -math.log(-math.log(((bits >> 11) + 0.5) / 2**53))


def _slowly(folder, text, number, decoding, length=64):
    """One text, token by token, with neither batch nor cache."""
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"][: length - 1] + [tokenizer.eos_token_id]
    seed = doc2query._seed(decoding.seed, text, number)
    made = [model.config.decoder_start_token_id]
    while len(made) <= decoding.length:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([made])).logits[0, -1]
        best = logits.argsort(descending=True)[: decoding.top_k]
        made.append(max(best.tolist(), key=lambda token: logits[token].item() + _noise(seed, len(made) - 1, token)))
        if made[-1] == tokenizer.eos_token_id:
            break
    return tokenizer.decode(made, skip_special_tokens=True)


@pytest.mark.parametrize("model", ["folder", "bart"])
@pytest.mark.parametrize("settings", [{}, {"top_k": 3, "seed": 7}, {"top_k": 10_000, "texts": 1}])
def test_texts_are_drawn_as_a_loop_draws_them(model, settings, request):
    path = request.getfixturevalue(model)
    decoding = dataclasses.replace(Decoding(texts=3, length=6), **settings)
    written = _write(_writer(path, **settings))
    expected = [[_slowly(path, text, number, decoding) for number in range(decoding.texts)] for text in TEXTS]
    assert written == expected
    assert len({text for texts in written for text in texts}) > 5


def test_a_document_alone_gets_what_it_gets_among_others(folder):
    writer = _writer(folder, texts=5)
    among = _write(writer)
    assert [_write(writer, [text])[0] for text in TEXTS] == among
    assert _write(_writer(folder, texts=5, tokens=1)) == among
    assert _write(_writer(folder, texts=5, batch_size=2)) == among
    assert [texts[:3] for texts in among] == _write(_writer(folder))
    assert among[0] == among[5]


def test_draws_follow_the_probabilities(folder):
    random = doc2query.Drawing([(f"text {number}", 0) for number in range(20_000)], Decoding(top_k=3))
    logits = torch.log(torch.tensor([0.05, 0.5, 0.15, 0.3])).repeat(20_000, 1)
    drawn = random(None, logits).argmax(1).bincount(minlength=4) / 20_000
    expected = [0.0, 0.5 / 0.95, 0.15 / 0.95, 0.3 / 0.95]
    np.testing.assert_allclose(drawn.numpy(), expected, atol=0.012)


def test_another_seed_draws_others(folder):
    assert _write(_writer(folder, seed=1)) != _write(_writer(folder))


def test_one_token_to_draw_from_is_greedy_decoding(folder):
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for text, (written,) in zip(TEXTS, _write(_writer(folder, texts=1, top_k=1)), strict=True):
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"][:63] + [tokenizer.eos_token_id]])
        made = model.generate(ids, do_sample=False, num_beams=1, max_new_tokens=6)
        assert tokenizer.decode(made[0], skip_special_tokens=True) == written


def test_beams_are_those_of_the_library(folder):
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for text, written in zip(TEXTS, _write(_writer(folder, search="beam")), strict=True):
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"][:63] + [tokenizer.eos_token_id]])
        made = model.generate(ids, do_sample=False, num_beams=3, num_return_sequences=3, max_new_tokens=6)
        assert tokenizer.batch_decode(made, skip_special_tokens=True) == written


def test_a_template_stands_around_the_document(folder):
    greedy = {"texts": 1, "top_k": 1}
    within = _write(_writer(folder, template="Query {document} true", **greedy), ["a cat"])
    assert within == _write(_writer(folder, **greedy), ["Query a cat true"])
    assert within != _write(_writer(folder, **greedy), ["a cat"])
    with pytest.raises(BadInput, match="placeholders"):
        _writer(folder, template="no place")


def test_the_fingerprint_is_of_all_that_matters(folder, tmp_path):
    tiny.save_t5(tmp_path / "other", seed=1, initializer_factor=3.0)
    cases = [{}, {"texts": 2}, {"search": "beam"}, {"top_k": 2}, {"length": 5}, {"seed": 1}, {"max_length": 32}]
    cases += [{"template": "Query: {document}"}]
    prints = [_writer(folder, **case).fingerprint for case in cases] + [_writer(tmp_path / "other").fingerprint]
    assert len(set(prints)) == len(prints)
    assert _writer(folder).fingerprint == _writer(folder, batch_size=3, tokens=10).fingerprint == prints[0]


def test_settings_that_cannot_be_are_told(folder):
    for settings in ({"texts": 0}, {"top_k": 0}, {"length": -1}, {"search": "random"}, {"max_length": 1}):
        with pytest.raises(BadInput):
            _writer(folder, **settings)
    with pytest.raises(BadInput, match="only texts"):
        _writer(folder).write([b"\x89PNG"])


def test_what_is_written_is_found(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    writer = nirank.load("doc2query", model=str(folder), texts=3, length=6, max_length=64, device="cpu")
    corpus = Documents([*map(str, range(len(TEXTS)))], TEXTS)
    written = nirank.write(corpus, writer)
    assert list(written.field("written")) == [
        "\n".join(filter(None, (" ".join(text.split()) for text in texts))) for texts in _write(writer.component.target)
    ]
    line = written.column("written", [0])[0].split("\n")[0]
    found = nirank.expanded(nirank.load("bm25", stemmer=None), writer).search(line, corpus)
    assert {0, 5} <= {*found.docs.tolist()}
