"""Models that are run here and write answers: beside transformers' own generation, prompt by prompt, token by token."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

import nirank
from nirank.errors import BadInput
from nirank.kit.transformers import Computing
from nirank_seq2seq import conversation, tiny
from nirank_seq2seq.local import Local, shares
from nirank_seq2seq.writers import Question, Writing
from tests.oracle import given

CHAT = (
    "{% for m in messages %}<|user|>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant: {% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHAT
CPU = Computing("cpu")
PROMPT = """
labels = "letters"
passage = "{label}: {passage}"
between = " "
start = "Best"

[[messages]]
role = "system"
text = "Help."

[[messages]]
role = "user"
text = "Query {query} of {passages} ?"
"""
QUESTIONS = [
    Question("small cat", ("a cat", "the dog ran", "zebra")),
    Question("", ("one", "two")),
    Question("dog dog", ("the small dog that ran and ran", "a", "no <|user|> here </s>", "b c d e")),
    Question("x", ("only one",)),
]


@pytest.fixture
def prompt(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(PROMPT)
    return str(path)


def _llama(folder, chat=None, seed=3):
    tiny.save_llama(folder, seed, chat)
    return str(folder)


def _t5(folder, seed=3):
    tiny.save_t5(folder, seed, words=("Best", "A", "B", "C", "D"), initializer_factor=4.0)
    return str(folder)


def _local(model, prompt, answer=6, **writing):
    return Local(model, conversation.read(prompt), answer, Writing(**writing), CPU)


def _whole(question, chat=None):
    """The text of a whole prompt, and what an answer begins with, put together by hand."""
    shown = " ".join(
        f"{label}: {' '.join(text.split())}" for label, text in zip("ABCD", question.passages, strict=False)
    )
    said = f"Query {question.query} of {shown} ?"
    if chat is None:
        return f"Help.\n{said}"
    system = chat is CHAT
    lines = ["system: Help.", f"user: {said}"] if system else [f"user: Help.\n{said}"]
    return "".join(f"<|user|>{line}</s>" for line in lines) + "<|user|>assistant: "


def _decoder_ids(tokenizer, question, chat):
    """A prompt in tokens: what is special in texts is read as letters."""
    text, start = _whole(question, chat), "Best" if chat else " Best"
    if chat is None:
        return (
            tokenizer(text, split_special_tokens=True, add_special_tokens=True)["input_ids"]
            + tokenizer(start, add_special_tokens=False)["input_ids"]
        )
    ids, special = [], {token: tokenizer.convert_tokens_to_ids(token) for token in ("<|user|>", "</s>")}
    frame = text.replace("no <|user|> here </s>", "no \0 here \1")
    for part in frame.replace("<|user|>", "\n\n<|user|>\n\n").replace("</s>", "\n\n</s>\n\n").split("\n\n"):
        part = part.replace("\0", "<|user|>").replace("\1", "</s>")
        ids += [special[part]] if part in special else _bytes(tokenizer, part)
    return ids + _bytes(tokenizer, start)


def _bytes(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] if text else []


@pytest.mark.parametrize("chat", [None, CHAT, NO_SYSTEM], ids=["text", "chat", "chat without system"])
def test_a_decoder_answers_and_weighs_as_transformers_does_prompt_by_prompt(tmp_path, prompt, chat):
    folder = _llama(tmp_path / "llama", chat)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    space, labels = _bytes(tokenizer, " "), [tokenizer.convert_tokens_to_ids(label) for label in "ABCD"]
    expected, best = [], []
    for question in QUESTIONS:
        ids = torch.tensor([_decoder_ids(tokenizer, question, chat)])
        once = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
        made = model.generate(ids, attention_mask=torch.ones_like(ids), **once)
        expected.append(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip())
        with torch.inference_mode():
            logits = model(torch.tensor([ids[0].tolist() + space])).logits[0, -1, labels[: len(question.passages)]]
        best.append(int(logits.argmax()))
    for size in (None, 1):
        assert _local(folder, prompt, tokens=size).answers(QUESTIONS, Counter()) == expected
        assert _local(folder, prompt, tokens=size).chosen(QUESTIONS, Counter()) == best
    assert len(set(expected)) > 1
    assert len(set(best)) > 1


def test_an_encoder_with_a_decoder_answers_and_weighs_as_transformers_does(tmp_path, prompt):
    folder = _t5(tmp_path / "t5")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    expected, best = [], []
    (start,) = tokenizer("Best", add_special_tokens=False)["input_ids"]
    labels = [tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in "ABCD"]
    for question in QUESTIONS:
        ids = tokenizer(_whole(question), split_special_tokens=True, return_tensors="pt")["input_ids"]
        first = torch.tensor([[0, start]])
        made = model.generate(ids, decoder_input_ids=first, max_new_tokens=6, do_sample=False)
        expected.append(tokenizer.decode(made[0, 2:], skip_special_tokens=True).strip())
        with torch.inference_mode():
            logits = model(input_ids=ids, decoder_input_ids=first).logits[0, -1, labels[: len(question.passages)]]
        best.append(int(logits.argmax()))
    local = _local(folder, prompt)
    assert local.answers(QUESTIONS, Counter()) == expected
    assert local.chosen(QUESTIONS, Counter()) == best
    assert _local(folder, prompt, tokens=1).chosen(QUESTIONS, Counter()) == best
    assert len(set(best)) > 1
    assert len(set(expected)) > 1


def test_a_prompt_may_leave_the_start_of_an_answer_open(tmp_path):
    (tmp_path / "bare.toml").write_text(PROMPT.replace('start = "Best"\n', ""))
    folder = _llama(tmp_path / "llama", CHAT)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    labels, best = [tokenizer.convert_tokens_to_ids(label) for label in "ABCD"], []
    for question in QUESTIONS:
        ids = _decoder_ids(tokenizer, question, CHAT)[: -len("Best")]
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1, labels[: len(question.passages)]]
        best.append(int(logits.argmax()))
    assert _local(folder, str(tmp_path / "bare.toml")).chosen(QUESTIONS, Counter()) == best


def test_labels_of_several_tokens_are_told(tmp_path):
    (tmp_path / "numbers.toml").write_text(PROMPT.replace("letters", "numbers"))
    local = _local(_llama(tmp_path / "llama"), str(tmp_path / "numbers.toml"))
    assert len(local.chosen([Question("q", ("a",) * 9)], Counter())) == 1
    with pytest.raises(BadInput, match=r"does not read each label of .* as one token behind 'Best'"):
        local.check(10, weighed=True)
    local.check(10)


# What fits


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_passages_are_cut_to_equal_length_and_never_more_is_read_than_fits(tmp_path, prompt, name):
    folder = _llama(tmp_path / "model") if name == "llama" else _t5(tmp_path / "model")
    local, seen, counts = _local(folder, prompt, max_length=120), [], Counter()
    generate = local.network.generate
    local.network.generate = lambda **given: (seen.append(given["input_ids"]), generate(**given))[1]
    long, middle, short = "cat " * 200, "dog " * 12, "a"
    local.answers([Question("small", (long, middle, short)), Question("query " * 90, (short, long))], counts)
    room = 120 if name == "t5" else 120 - 6
    rows = [row[row != 0] for batch in seen for row in batch.numpy()]
    assert all(len(row) <= room for row in rows)
    assert max(len(row) for row in rows) >= room - 3  # and what fits is read
    first, second = (local.tokenizer.decode(row) for row in sorted(rows, key=lambda row: "quer" in _said(local, row)))
    cats, dogs = first.count("c"), first.count("o") - first.count("of")
    assert cats > 3
    assert dogs > 3
    assert "?" in first  # the end of the template stays
    assert "?" in second
    assert counts["cut to fit"] == 3
    assert counts["queries cut to fit"] == 1
    assert counts["passages"] == 5


def _said(local, row):
    return local.tokenizer.decode(row).replace(" ", "")


@pytest.mark.parametrize(
    ("query", "times", "passages", "room", "expected"),
    [
        (4, 1, [10, 20], 100, (4, 20)),  # all fits
        (4, 1, [100, 100], 24, (4, 10)),
        (4, 1, [2, 100, 100], 26, (4, 10)),  # what a short one leaves is the others'
        (4, 2, [100, 100], 28, (4, 10)),
        (50, 1, [100], 40, (20, 20)),
        (50, 2, [100], 40, (10, 20)),
        (50, 1, [100] * 8, 12, (4, 1)),  # a token is left for each
    ],
)
def test_the_room_is_shared(query, times, passages, room, expected):
    assert shares(query, times, passages, room) == expected
    kept, most = expected
    assert kept * times + sum(min(most, length) for length in passages) <= room


def test_cut_passages_are_told_in_one_warning(tmp_path, prompt, caplog):
    folder = _t5(tmp_path / "t5")
    scorer = nirank.load("setwise", model=folder, prompt=prompt, device="cpu", max_length=40).component.target
    with caplog.at_level(logging.WARNING, logger="nirank"):
        scorer.score(*given([1, 2, 3]))
    (told,) = [record.message for record in caplog.records if "cut to fit" in record.message]
    assert told.startswith(f"setwise: {scorer.counts['cut to fit']} of {scorer.counts['passages']} passages were cut")


def test_a_prompt_that_leaves_no_room_is_told(tmp_path):
    with pytest.raises(BadInput, match=r"leaves no room for .* texts beside"):
        nirank.load("rankgpt", model=_llama(tmp_path / "llama"), device="cpu", answer_tokens=10)
    stage = {"model": _t5(tmp_path / "t5"), "device": "cpu", "max_length": 200}
    assert nirank.load("prp", **stage)
    with pytest.raises(BadInput, match=r"leaves no room for .* texts beside"):  # for all of a window: when it is built
        nirank.load("setwise", **stage, together=26)
    with pytest.raises(BadInput, match="max_length = 9999; the model has 512 positions"):
        nirank.load("rankgpt", model=_llama(tmp_path / "again"), device="cpu", max_length=9999)


# As scorers


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rankgpt", {"window": 3, "stride": 1}),
        ("setwise", {"together": 3}),
        ("setwise", {"together": 3, "by": "likelihood"}),
        ("prp", {"compare": "sliding", "k": 2}),
        ("prp", {"compare": "pairs", "by": "likelihood"}),
    ],
)
def test_each_ranks_with_a_model_of_transformers_and_as_if_queries_were_alone(tmp_path, prompt, name, options):
    stage = {"model": _t5(tmp_path / "t5"), "prompt": prompt, "device": "cpu", "answer_tokens": 4, **options}
    scorer = nirank.load(name, **stage).component.target
    queries, candidates = given([3, 1, 4, 2, 9], [2, 7, 1])
    scores = scorer.score(queries, candidates)
    if options.get("compare") != "pairs":
        assert sorted(scores[:5]) == [1, 2, 3, 4, 5]
    else:
        assert scores[:5].sum() == 10
    alone = scorer.score(queries.take([1]), candidates.take(np.array([1])))
    np.testing.assert_array_equal(alone, scores[5:])


def test_a_fingerprint_follows_weights_and_prompt(tmp_path, prompt):
    one = _t5(tmp_path / "one")
    two = _t5(tmp_path / "two", seed=4)
    same = _t5(tmp_path / "same")
    assert _local(one, prompt).fingerprint == _local(same, prompt).fingerprint
    assert (
        len({_local(one, prompt).fingerprint, _local(two, prompt).fingerprint, _local(one, "setwise").fingerprint}) == 3
    )


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(BadInput, match="is no folder or hub name"):
        nirank.load("rankgpt", model=str(tmp_path), device="cpu")
