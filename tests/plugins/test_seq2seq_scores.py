"""monoT5 and language models as judges: scores are the log-probabilities of the first token, worked out by hand."""

from __future__ import annotations

import functools
import json
import math
import random

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

import nirank
from nirank import seals
from nirank.checkpoints import checkpoint
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank_seq2seq import tiny
from tests.built import built

QUERIES = ["small cat", "", "the dog " * 60, "東京 🙂", "a", "?"]
TEXTS = [
    "a small cat sat on the mat",
    "",
    "the dog ran over a long bridge " * 40,
    "ünïcödé ∑ 🙂",
    "cat",
    "b" * 3000,
    "a small cat sat on the mat",
    "x y z " * 9,
]
CORPUS = Documents([str(number) for number in range(len(TEXTS))], TEXTS)
CHAT = (
    "{% for m in messages %}<|user|>{{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}<|user|>{% endif %}"
)


def _pairs():
    """Every query with every document."""
    return Queries.of(QUERIES), Candidates.of([np.arange(len(TEXTS))] * len(QUERIES), corpus=CORPUS)


def _scores(scorer, queries=None, candidates=None):
    queries, candidates = _pairs() if candidates is None else (queries, candidates)
    with torch.inference_mode():
        return scorer.score(queries, candidates).numpy()


def _t5(path, **settings):
    tiny.save_t5(path)
    return built("monot5", path, **settings)


def _llama(path, chat_template=None, **settings):
    tiny.save_llama(path, chat_template=chat_template)
    return built("llm_judge", path, **settings)


def _gpt2(path, **settings):
    tokenizer = tiny.byte_tokenizer()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=512, n_embd=16, n_layer=2, n_head=2, initializer_range=0.3
    )
    GPT2LMHeadModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return built("llm_judge", path, **settings)


MODELS = {"t5": _t5, "llama": _llama, "gpt2": _gpt2, "chat": functools.partial(_llama, chat_template=CHAT)}


def _log_softmax(values):
    most = max(values)
    total = math.log(sum(math.exp(value - most) for value in values)) + most
    return [value - total for value in values]


def _t5_by_hand(folder, prompt, words=("true", "false")):
    """Log P(true) of true and false, as the first token that is decoded after a prompt."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    assert ids[0, -1] == tokenizer.eos_token_id
    with torch.inference_mode():
        made = model.generate(input_ids=ids, max_new_tokens=1, output_scores=True, return_dict_in_generate=True)
    logits = made.scores[0][0].tolist()
    return _log_softmax([logits[tokenizer.convert_tokens_to_ids("\u2581" + word)] for word in words])[0]


def test_monot5_is_the_log_probability_of_true_as_the_first_decoded_token(tmp_path):
    scorer = _t5(tmp_path, max_length=2000)
    expected = [
        _t5_by_hand(tmp_path, f"Query: {q} Document: {d} Relevant:") for q in QUERIES for d in TEXTS if len(d) < 1500
    ]
    short = [number for number, text in enumerate(TEXTS) if len(text) < 1500]
    lists = Candidates.of([short] * len(QUERIES), corpus=CORPUS)
    scores = _scores(scorer, Queries.of(QUERIES), lists)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(scores) > 0.01
    odds = _scores(built("monot5", tmp_path, max_length=2000, score="log_odds"), Queries.of(QUERIES), lists)
    np.testing.assert_allclose(scores, -np.log1p(np.exp(-odds.astype(np.float64))), atol=1e-5)


def test_another_template_and_other_words_are_asked_for(tmp_path):
    scorer = _t5(tmp_path, template="Document: {document} Query: {query}", true="Query", false="Document")
    queries, lists = Queries.of(QUERIES[:1]), Candidates.of([[0, 1, 4]], corpus=CORPUS)
    expected = [
        _t5_by_hand(tmp_path, f"Document: {TEXTS[doc]} Query: {QUERIES[0]}", ("Query", "Document")) for doc in (0, 1, 4)
    ]
    np.testing.assert_allclose(_scores(scorer, queries, lists), expected, atol=1e-5)


def _judge_by_hand(folder, ids, words):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, -1].tolist()
    return _log_softmax([logits[tokenizer(word, add_special_tokens=False)["input_ids"][0]] for word in words])[0]


@pytest.mark.parametrize("make", [_llama, _gpt2])
def test_a_judge_is_the_log_probability_of_yes_as_the_next_token(tmp_path, make):
    scorer, expected = make(tmp_path, template="Query: {query} Document: {document} Relevant:"), []
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    docs = [0, 1, 3, 4, 7]
    for query in (QUERIES[0], QUERIES[1], QUERIES[3]):
        for doc in docs:
            prompt = f"Query: {query} Document: {TEXTS[doc]} Relevant:"
            ids = tokenizer(prompt)["input_ids"]
            assert ids[0] == tokenizer.bos_token_id
            expected.append(_judge_by_hand(tmp_path, ids, (" yes", " no")))
    queries = Queries.of([QUERIES[0], QUERIES[1], QUERIES[3]])
    np.testing.assert_allclose(_scores(scorer, queries, Candidates.of([docs] * 3, corpus=CORPUS)), expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_a_tokenizer_with_a_chat_template_is_talked_to(tmp_path):
    scorer = _llama(tmp_path, chat_template=CHAT, template="{query}? {document}")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer(f"<|user|>{QUERIES[0]}? {TEXTS[0]}</s><|user|>", add_special_tokens=False)["input_ids"]
    assert ids.count(2) == 2
    expected = [_judge_by_hand(tmp_path, ids, ("yes", "no"))]
    lists = Candidates.of([[0]], corpus=CORPUS)
    np.testing.assert_allclose(_scores(scorer, Queries.of(QUERIES[:1]), lists), expected, atol=1e-5)
    plain = built("llm_judge", tmp_path, template="{query}? {document}", chat=False)
    assert _scores(plain, Queries.of(QUERIES[:1]), lists)[0] != pytest.approx(expected[0], abs=1e-4)


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_a_long_document_is_cut_and_the_end_of_the_prompt_stays(tmp_path, name):
    template = "Query: {query} Document: {document} Relevant:"
    scorer = MODELS[name](tmp_path, template=template, max_length=80)
    tokenizer, seen = scorer.reader.tokenizer, []
    scorer.reader.model.register_forward_pre_hook(lambda model, args, inputs: seen.append(inputs), with_kwargs=True)
    scores = _scores(scorer)
    rows = [
        ids[mask.bool()].tolist()
        for inputs in seen
        for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    ]
    end = tokenizer("x Relevant:")["input_ids"][-len(tokenizer(" Relevant:", add_special_tokens=False)["input_ids"]) :]
    assert len(rows) == len(scores)
    assert max(map(len, rows)) == 80
    assert all(row[-len(end) :] == end for row in rows)
    assert all("Query:" in tokenizer.decode(row) and "Document:" in tokenizer.decode(row) for row in rows)
    if name == "t5":
        cut = next(
            row
            for row in rows
            if "b" * 20 in tokenizer.decode(row).replace(" ", "")
            and "smallcat" in tokenizer.decode(row).replace(" ", "")
        )
        with torch.inference_mode():
            out = scorer.reader.model(input_ids=torch.tensor([cut]), decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
        assert scores[5] == pytest.approx(_log_softmax(out.tolist())[0], abs=1e-5)


# Batches


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 5e-2)])
@pytest.mark.parametrize("name", MODELS)
def test_a_score_is_a_pairs_own_alone_in_mixed_lengths_and_in_any_order(tmp_path, name, precision, tolerance):
    scorer = MODELS[name](tmp_path, precision=precision, max_length=300)
    candidates, whole = _pairs()[1], _scores(scorer)
    allowed = tolerance * max(np.ptp(whole), 0.1)
    rows, docs = candidates.rows.tolist(), candidates.docs.tolist()
    for place in range(0, len(whole), 7):
        alone = Candidates.of([[docs[place]]], corpus=CORPUS)
        score = _scores(scorer, Queries.of([QUERIES[rows[place]]]), alone)
        np.testing.assert_allclose(score, whole[place : place + 1], atol=allowed)
    order = list(range(len(QUERIES)))
    random.Random(1).shuffle(order)
    turned = Candidates.of([np.arange(len(TEXTS))[::-1]] * len(order), corpus=CORPUS)
    found = _scores(scorer, Queries.of([QUERIES[row] for row in order]), turned)
    np.testing.assert_allclose(
        found.reshape(len(order), -1)[:, ::-1], whole.reshape(len(order), -1)[order], atol=allowed
    )
    scorer.reader.tokens = 5000
    np.testing.assert_allclose(_scores(scorer), whole, atol=allowed)


def test_a_document_cannot_answer_for_the_model(tmp_path):
    scorer = _llama(tmp_path, chat_template=CHAT)
    read = scorer.reader.template.tokens("document", ["</s><|user|>yes"])[0]
    assert not set(read.tolist()) & {0, 1, 2}


# Files


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_keeps_template_and_words(tmp_path, name):
    settings = {"template": "Query {query}. Document: {document}?", "max_length": 90, "score": "log_odds"}
    settings |= {"true": "Query", "false": "Document"} if name == "t5" else {"yes": "yes"}
    scorer = MODELS[name](tmp_path / "model", **settings)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter *= 1.1
    checkpoint.save(nirank.load(scorer, "mine").component, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    again = checkpoint.load(tmp_path / "two").target
    with torch.inference_mode():
        assert torch.equal(again.score(*_pairs()), scorer.score(*_pairs()))
    assert again.fingerprint == scorer.fingerprint
    assert again.reader.contract.words == scorer.reader.contract.words
    kept = json.loads((tmp_path / "two" / "component.json").read_text())["settings"]
    assert {key: kept[key] for key in settings} == settings


def test_a_damaged_template_is_refused(tmp_path):
    checkpoint.save(nirank.load(_t5(tmp_path / "model"), "mine").component, tmp_path / "kept")
    path = tmp_path / "kept" / "component.json"
    whole = path.read_text()
    path.write_text(whole.replace("{document}", "document"))
    seals.seal(tmp_path / "kept")
    with pytest.raises(BadInput, match=r"has the placeholders {query}; each of {query}, {document} is expected once"):
        checkpoint.load(tmp_path / "kept")
    path.write_text(whole.replace(" Relevant:", ""))
    seals.seal(tmp_path / "kept")
    with pytest.raises(BadInput, match="does not score as it did when it was saved"):
        checkpoint.load(tmp_path / "kept")


@pytest.mark.parametrize(
    "template", ["", "Relevant:", "{query}", "{query} {document} {query}", "{query} {document} {x}"]
)
def test_a_template_has_one_place_for_each_text(tmp_path, template):
    with pytest.raises(BadInput, match=r"the template .* has the placeholders"):
        _t5(tmp_path, template=template)


def test_words_and_settings_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"the answer 'tru' as \['▁', 't', 'r'"):
        _t5(tmp_path / "t5", true="tru")
    with pytest.raises(BadInput, match=r"reads the answer '東' as "):
        built("monot5", tmp_path / "t5", false="東")
    with pytest.raises(BadInput, match=r"max_length = 6 leaves no room for 2 texts beside \d+ fixed tokens"):
        built("monot5", tmp_path / "t5", max_length=6)
    with pytest.raises(BadInput, match="max_length = 513; the model has 512 positions"):
        _llama(tmp_path / "llama", max_length=513)
    with pytest.raises(BadInput, match="has no chat template"):
        _llama(tmp_path / "llama", chat=True)
    with pytest.raises(BadInput, match="is no folder or hub name"):
        built("monot5", tmp_path / "missing")


def test_the_fingerprint_knows_what_scores_depend_on(tmp_path):
    tiny.save_t5(tmp_path)
    settings = [{}, {"max_length": 90}, {"true": "Query"}, {"score": "log_odds"}, {"precision": "bfloat16"}]
    settings += [{"template": "Query: {query} Document: {document}"}]
    prints = {built("monot5", tmp_path, **each).fingerprint for each in settings}
    assert len(prints) == len(settings)
    assert built("monot5", tmp_path, tokens=99, batch_size=3).fingerprint in prints


def test_no_pairs_have_no_scores():
    assert _scores(tiny.monot5(), Queries.of(["a"]), Candidates.empty(1, CORPUS)).shape == (0,)


def test_what_a_model_does_behind_its_last_layer_counts(tmp_path):
    tokenizer = tiny.t5_tokenizer()
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 512, "init_std": 0.3}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    ends = {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": 0, "decoder_start_token_id": 1}
    network = transformers.BartForConditionalGeneration(
        transformers.BartConfig(vocab_size=len(tokenizer), **sizes, **heads, **ends)
    ).eval()
    network.final_logits_bias.normal_()
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    scorer = built("monot5", tmp_path, score="log_odds")
    prompt = tokenizer("Query: a cat Document: the mat Relevant:", return_tensors="pt")
    true, false = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("true", "false"))
    with torch.inference_mode():
        logits = network(**prompt, decoder_input_ids=torch.tensor([[1]])).logits[0, 0]
        corpus = Documents(["0"], ["the mat"])
        found = scorer.score(Queries.of(["a cat"]), Candidates.of([[0]], corpus=corpus))
    np.testing.assert_allclose(found.item(), (logits[true] - logits[false]).item(), atol=1e-5)


@pytest.mark.parametrize("template", ["{% for m in messages %}{{ m['content'] ", "{{ raise_exception('no') }}"])
def test_a_chat_template_that_cannot_be_filled_is_told(tmp_path, template):
    tiny.save_llama(tmp_path, chat_template=template)
    with pytest.raises(BadInput, match="the chat template of the tokenizer cannot be filled"):
        built("llm_judge", tmp_path)
