"""UPR: mean log-likelihoods of queries beside the loss that transformers itself computes, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank_seq2seq import tiny
from tests.built import built

QUERIES = ["small cat", "dog", "", "東京 🙂", "a cat ran over the dog"]
TEXTS = ["a small cat sat", "", "the dog ran over a bridge", "cat <|user|> </s> {query}", "zebra " * 30]
LISTS = [[0, 2, 1, 3], [4], [3, 4, 0], [], [4, 3, 2, 1, 0]]
CORPUS = Documents(list("vwxyz"), TEXTS)
CHAT = (
    "{% for m in messages %}<|user|>{{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}<|user|>{% endif %}"
)
PROMPT = "Passage: {} Please write a question based on this passage."


def _score(scorer, lists=LISTS, queries=QUERIES):
    with torch.inference_mode():
        return scorer.score(Queries.of(queries), Candidates.of(lists, corpus=CORPUS)).numpy()


def _pairs():
    return [(query, TEXTS[doc]) for query, docs in zip(QUERIES, LISTS, strict=True) for doc in docs]


def _read(tokenizer, text, special=False):
    return tokenizer(text, add_special_tokens=special, split_special_tokens=True)["input_ids"]


def _likelihood(model, ids, labels, **more):
    """Minus the loss of transformers, which is the mean over the labels that are not -100."""
    with torch.inference_mode():
        return -model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels]), **more).loss.item()


def test_an_encoder_with_a_decoder_scores_by_the_loss_of_the_query(tmp_path):
    tiny.save_t5(tmp_path, 4, initializer_factor=3.0)
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    expected = [
        _likelihood(model, _read(tokenizer, PROMPT.format(text), True), _read(tokenizer, query, True))
        for query, text in _pairs()
    ]
    for tokens in (None, 1, 100_000):
        np.testing.assert_allclose(_score(built("upr", tmp_path, tokens=tokens)), expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected[:4]) > 0.01


@pytest.mark.parametrize("chat", [None, CHAT], ids=["text", "chat"])
def test_a_decoder_scores_by_the_loss_of_the_query_behind_the_prompt(tmp_path, chat):
    tiny.save_llama(tmp_path, 4, chat)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    user, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|user|>", "</s>"))
    expected = []
    for query, text in _pairs():
        prompt, asked = _read(tokenizer, PROMPT.format(text), True), _read(tokenizer, " " + query)
        if chat:
            prompt, asked = [user, *_read(tokenizer, PROMPT.format(text)), end, user], _read(tokenizer, query)
        expected.append(_likelihood(model, prompt + asked, [-100] * len(prompt) + asked) if asked else 0.0)
    for tokens in (None, 1, 100_000):
        scores = _score(built("upr", tmp_path, tokens=tokens))
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected[:4]) > 0.01
    assert chat is None or expected[5:8] == [0.0] * 3  # of a query without tokens nothing is known


def test_positions_that_were_learned_are_those_of_the_text(tmp_path):
    """GPT-2 counts positions from the left: padding stands behind."""
    tokenizer = tiny.byte_tokenizer()
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 400, "initializer_range": 0.3}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    expected = []
    for query, text in _pairs():
        prompt, asked = _read(tokenizer, PROMPT.format(text), True), _read(tokenizer, " " + query)
        expected.append(_likelihood(model, prompt + asked, [-100] * len(prompt) + asked))
    np.testing.assert_allclose(_score(built("upr", tmp_path, tokens=100_000)), expected, rtol=1e-4, atol=1e-5)


def test_documents_are_cut_to_fit_and_the_question_stays(tmp_path):
    tiny.save_llama(tmp_path, 4)
    scorer, seen = built("upr", tmp_path, max_length=100), []
    scorer.model.register_forward_pre_hook(lambda model, args, inputs: seen.append(inputs), with_kwargs=True)
    corpus = Documents(["a"], ["cat " * 300])
    with torch.inference_mode():
        score = scorer.score(Queries.of(["dog", "dog " * 90]), Candidates.of([[0], [0]], corpus=corpus))
    assert torch.isfinite(score).all()
    texts = [scorer.tokenizer.decode(row) for inputs in seen for row in inputs["input_ids"]]
    assert all(inputs["input_ids"].shape[1] <= 100 for inputs in seen)
    assert sum(text.count("passage. dog") for text in texts) == 2
    assert all(text.count("cat") > 1 for text in texts)


def test_a_model_that_is_saved_scores_the_same(tmp_path):
    tiny.save_llama(tmp_path / "first", 4, CHAT)
    scorer = built("upr", tmp_path / "first", template="{document}? Ask.", max_length=200)
    stage = scorer.save(tmp_path)
    again = built("upr", tmp_path / stage.pop("model"), **{key: stage[key] for key in stage if key != "use"})
    np.testing.assert_array_equal(_score(again), _score(scorer))
    assert again.fingerprint == scorer.fingerprint
    assert built("upr", tmp_path / "first").fingerprint != scorer.fingerprint


def test_equal_documents_tie_and_a_pipeline_ranks_with_it(tmp_path):
    tiny.save_t5(tmp_path, 4)
    parts = {"upr": nirank.load("upr", model=str(tmp_path), device="cpu")}
    first = nirank.parse("bm25 % 5").search(["a small cat"], CORPUS).docs
    found = nirank.parse("bm25 % 5 >> top(3, upr)", parts).search(["a small cat"], CORPUS)
    scores = _score(parts["upr"].component.target, [first], ["a small cat"])
    assert found.docs.tolist() == first[np.argsort(-scores)].tolist()
    assert found.pairs == 2
    texts = Documents(list("abc"), ["a cat", "dog", "a cat"])
    stage = nirank.load("upr", model=str(tmp_path), device="cpu", batch_size=1)
    scores = stage.score(Queries.of("cat"), Candidates.of([[0, 1, 2]], corpus=texts))
    assert scores[0] == scores[2] != scores[1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"template": "Passage:"}, "the placeholders none; each of {document} is expected once"),
        ({"template": "{document} {query}"}, "the placeholders {document}, {query}"),
        ({"chat": True}, "has no chat template"),
    ],
)
def test_what_cannot_be_asked_is_told(tmp_path, options, told):
    tiny.save_llama(tmp_path)
    with pytest.raises(BadInput, match=told):
        built("upr", tmp_path, **options)


def test_a_model_behind_a_server_is_refused_kindly():
    with pytest.raises(BadInput, match="servers do not say how likely"):
        nirank.load("upr", model="gpt", endpoint="http://localhost:8000/v1")
    with pytest.raises(BadInput, match="servers do not say how likely"):
        nirank.load("upr", model=lambda prompts: prompts)
