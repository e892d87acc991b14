"""Cross-encoders: scores are those of transformers and sentence-transformers on one pair, whatever else is asked."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank_crossencoder import tiny
from tests.built import built

QUERIES = ["small cat", "", "the dog " * 60, "東京 🙂", "a", "?"]
TEXTS = [
    "a small cat sat on the mat",
    "",
    "the dog ran over a long bridge " * 40,
    "ünïcödé ∑ 🙂",
    "cat",
    "b" * 5000,
    "a small cat sat on the mat",
    "x y z " * 9,
]
CORPUS = Documents([str(number) for number in range(len(TEXTS))], TEXTS)


def _pairs():
    """Every query with every document."""
    return Queries.of(QUERIES), Candidates.of([np.arange(len(TEXTS))] * len(QUERIES), corpus=CORPUS)


def _scores(scorer, queries=None, candidates=None):
    queries, candidates = _pairs() if candidates is None else (queries, candidates)
    with torch.inference_mode():
        return scorer.score(queries, candidates).numpy()


def _folder(path, outputs=1):
    tiny.save(path, outputs=outputs)
    return str(path)


def _logits(folder, max_length=64):
    """The logits of every pair, one pair at a time, by transformers alone, `[pairs, outputs]`."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    rows = []
    for query in QUERIES:
        for text in TEXTS:
            inputs = tokenizer([(query, text)], truncation=True, max_length=max_length, return_tensors="pt")
            with torch.inference_mode():
                rows.append(model.eval()(**inputs).logits[0].tolist())
    return rows


@pytest.mark.parametrize("max_length", [64, 17])
def test_one_logit_is_the_score(tmp_path, max_length):
    folder = _folder(tmp_path)
    scores = _scores(built("crossencoder", folder, max_length=max_length))
    np.testing.assert_allclose(scores, [row[0] for row in _logits(folder, max_length)], atol=1e-5)
    assert np.ptp(scores) > 0.1


def test_of_two_logits_the_score_is_the_log_odds(tmp_path):
    folder = _folder(tmp_path, outputs=2)
    expected = [b - a for a, b in _logits(folder)]
    np.testing.assert_allclose(_scores(built("crossencoder", folder)), expected, atol=1e-5)
    chances = [math.exp(b) / (math.exp(a) + math.exp(b)) for a, b in _logits(folder)]
    np.testing.assert_allclose(_scores(built("crossencoder", folder, activation="sigmoid")), chances, atol=1e-5)


def test_of_several_logits_the_score_is_the_expected_grade(tmp_path):
    folder, expected = _folder(tmp_path, outputs=4), []
    for row in _logits(folder):
        odds = [math.exp(logit) for logit in row]
        expected.append(sum(grade * odd for grade, odd in enumerate(odds)) / sum(odds))
    scorer = built("crossencoder", folder)
    np.testing.assert_allclose(_scores(scorer), expected, atol=1e-5)
    logs = scorer.train().score(*_pairs())
    assert logs.shape == (len(expected), 4)
    np.testing.assert_allclose(logs.detach().exp().sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("activation", [torch.nn.Identity, torch.nn.Sigmoid, None])
def test_scores_are_those_of_sentence_transformers(tmp_path, outputs, activation):
    theirs = pytest.importorskip("sentence_transformers").CrossEncoder
    folder = _folder(tmp_path / "transformers", outputs)
    peer = theirs(folder, device="cpu", activation_fn=activation and activation())
    peer.save_pretrained(str(tmp_path / "saved"))
    queries, candidates = _pairs()
    pairs = [(queries.contents[row], text) for row, text in zip(candidates.rows, CORPUS[candidates.docs], strict=True)]
    for place in ("transformers", "saved"):
        scorer = built("crossencoder", tmp_path / place)
        predicted = peer.predict(pairs, activation_fn=torch.nn.Identity())
        predicted = predicted if outputs == 1 else predicted[:, 1] - predicted[:, 0]
        saved = place == "saved" and peer.activation_fn.__class__ is torch.nn.Sigmoid
        assert scorer.activation == ("sigmoid" if saved else "none")
        expected = 1 / (1 + np.exp(-predicted)) if saved else predicted
        np.testing.assert_allclose(_scores(scorer), expected, atol=1e-5)
        if saved and outputs == 1:
            np.testing.assert_allclose(_scores(scorer), peer.predict(pairs), atol=1e-5)


def _trained(scorer):
    """The scorer with its new head as it is, counted as trained: a step of training has touched it."""
    with torch.no_grad():
        for weight in scorer.network.new.values():
            weight.mul_(1)
    return scorer


def test_a_new_head_ranks_nothing_before_it_is_trained(tmp_path):
    tiny.save(tmp_path / "whole")
    for pooling in (None, "cls"):
        encoder, tokenizer = (kind.from_pretrained(tmp_path / "whole") for kind in (AutoModel, AutoTokenizer))
        encoder.save_pretrained(tmp_path / "bare")
        tokenizer.save_pretrained(tmp_path / "bare")
        scorer = built("crossencoder", tmp_path / "bare", pooling=pooling)
        with pytest.raises(
            BadInput, match=r"comes without .*bias, .*weight, so its head has random weights\. Train it"
        ):
            _scores(scorer)
        assert np.isfinite(_scores(_trained(scorer))).all()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_new_head_is_linear_on_what_is_pooled(tmp_path, pooling):
    folder = _folder(tmp_path)
    scorer = _trained(built("crossencoder", folder, pooling=pooling, outputs=2, seed=3))
    tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    weight, bias = (parameter.detach().double().numpy() for parameter in scorer.network.head.parameters())
    expected = []
    for query in QUERIES:
        for text in TEXTS:
            inputs = tokenizer([(query, text)], truncation=True, max_length=64, return_tensors="pt")
            with torch.inference_mode():
                states = encoder(**inputs).last_hidden_state[0].double().numpy()
            pooled = states[0] if pooling == "cls" else states.mean(0)
            logits = weight @ pooled + bias
            expected.append(logits[1] - logits[0])
    np.testing.assert_allclose(_scores(scorer), expected, atol=1e-5)


def test_a_bare_encoder_gets_a_head_that_its_seed_decides(tmp_path):
    tiny.save(tmp_path / "whole")
    encoder, tokenizer = (kind.from_pretrained(tmp_path / "whole") for kind in (AutoModel, AutoTokenizer))
    encoder.save_pretrained(tmp_path / "bare")
    tokenizer.save_pretrained(tmp_path / "bare")
    for pooling in (None, "cls"):
        prints = []
        for seed in (0, 0, 1):
            torch.rand(1)
            scorer = built("crossencoder", tmp_path / "bare", pooling=pooling, seed=seed)
            prints.append(scorer.fingerprint)
        assert prints[0] == prints[1] != prints[2]
        assert _scores(_trained(scorer)).shape == (len(QUERIES) * len(TEXTS),)


def _roberta(folder):
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **special
    )
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = RobertaConfig(vocab_size=len(pieces), max_position_embeddings=66, num_labels=1, type_vocab_size=1, **sizes)
    torch.manual_seed(0)
    RobertaForSequenceClassification(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return str(folder)


def test_other_marks_between_texts_and_positions_that_start_elsewhere(tmp_path):
    folder = _roberta(tmp_path)
    scorer = built("crossencoder", folder)
    assert scorer.max_length == 64  # of 66 positions two are for padding
    np.testing.assert_allclose(_scores(scorer), [row[0] for row in _logits(folder)], atol=1e-5)


# Batches


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("passages", ["first", "max"])
def test_a_score_is_a_pairs_own_alone_in_mixed_lengths_and_in_any_order(tmp_path, precision, tolerance, passages):
    scorer = built("crossencoder", _folder(tmp_path), precision=precision, passages=passages)
    candidates, whole = _pairs()[1], _scores(scorer)
    allowed = tolerance * np.ptp(whole)
    rows, docs = candidates.rows.tolist(), candidates.docs.tolist()
    for place in range(0, len(whole), 5):
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
    for size in (1, 100, 10_000):
        scorer.tokens = size
        np.testing.assert_allclose(_scores(scorer), whole, atol=allowed)


@pytest.mark.parametrize(("runtime", "kept"), [("torch", torch.bfloat16), ("openvino", torch.float32)])
def test_in_bfloat16_logits_do_not_tie(runtime, kept, tmp_path):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    scorer = built("crossencoder", _folder(tmp_path), precision="bfloat16", runtime=runtime)
    assert next(scorer.network.encoder.parameters()).dtype == kept
    scores = _scores(scorer)
    as_bfloat16 = torch.from_numpy(scores).bfloat16().float().numpy()
    assert (scores != as_bfloat16).mean() > 0.8


def test_a_pass_has_no_more_tokens_than_allowed_and_pairs_of_similar_length(tmp_path):
    scorer = built("crossencoder", _folder(tmp_path), tokens=200, passages="max", runtime="torch")
    shapes, padded = [], []

    def watch(module, inputs):
        mask = inputs[0]["attention_mask"]
        shapes.append(mask.numel())
        padded.append(1 - mask.float().mean().item())

    scorer.network.register_forward_pre_hook(watch)
    _scores(scorer)
    assert max(shapes) <= 200
    assert len(shapes) > 30
    assert np.mean(padded) < 0.1


@pytest.mark.parametrize("settings", [{}, {"outputs": 4}, {"pooling": "mean", "passages": "max"}], ids=str)
def test_a_compiled_graph_gives_a_pair_the_score_of_torch_also_alone(tmp_path, settings):
    pytest.importorskip("openvino")
    folder = _folder(tmp_path)
    fast, slow = (
        _trained(built("crossencoder", folder, runtime=runtime, **settings)) for runtime in ("openvino", "torch")
    )
    scores = _scores(fast)
    np.testing.assert_allclose(scores, _scores(slow), atol=1e-5)
    assert fast._fast.compiled is not None
    assert slow._fast.compiled is None
    assert fast.fingerprint == slow.fingerprint
    queries, candidates = _pairs()
    alone = [_scores(fast, queries.take([row]), Candidates.of([[doc]], corpus=CORPUS))[0]
             for row, doc in zip(candidates.rows.tolist(), candidates.docs.tolist(), strict=True)]  # fmt: skip
    np.testing.assert_allclose(alone, scores, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"outputs": 2}, {"pooling": "mean"}], ids=str)
def test_bfloat16_of_a_graph_is_near_and_has_logits_of_more_than_its_8_bits(tmp_path, settings):
    pytest.importorskip("openvino")
    folder = _folder(tmp_path)
    exact, half, slow = (
        _trained(built("crossencoder", folder, precision=precision, runtime=runtime, **settings))
        for precision, runtime in [("float32", "torch"), ("bfloat16", None), ("bfloat16", "torch")]
    )
    scores, expected = _scores(half), _scores(exact)
    assert half._fast.compiled is not None
    assert 0 < np.abs(scores - expected).max() < 0.05 * np.abs(expected).max()
    bits = np.asarray(scores, np.float32).view(np.uint32)
    assert (bits & 0xFFFF).any()  # which are 0 of a number in bfloat16
    queries, candidates = _pairs()
    alone = [_scores(half, queries.take([row]), Candidates.of([[doc]], corpus=CORPUS))[0]
             for row, doc in zip(candidates.rows.tolist(), candidates.docs.tolist(), strict=True)]  # fmt: skip
    np.testing.assert_allclose(alone, scores, atol=0.02 * np.abs(expected).max())
    assert len({exact.fingerprint, half.fingerprint, slow.fingerprint}) == 3


def test_a_graph_is_for_float32_on_the_cpu_and_for_much_text(tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    folder = _folder(tmp_path)
    with pytest.raises(BadInput, match="float32 or bfloat16 on the CPU"):
        built("crossencoder", folder, precision="float16", runtime="openvino")
    assert built("crossencoder", folder, precision="float16")._fast.runtime == "torch"
    assert built("crossencoder", folder, precision="bfloat16", pooling="cedr_knrm")._fast.runtime == "torch"
    monkeypatch.setattr("nirank_crossencoder.crossencoder.WORTH_COMPILING", 1000)
    scorer = built("crossencoder", folder)
    _scores(scorer, Queries.of(["a"]), Candidates.of([[0]], corpus=CORPUS))
    assert scorer._fast.compiled is None
    _scores(scorer)
    assert scorer._fast.compiled is not None


def test_each_distinct_text_is_read_once(tmp_path, monkeypatch):
    scorer, seen = built("crossencoder", _folder(tmp_path)), []
    monkeypatch.setattr(
        "nirank_crossencoder.crossencoder.tokens",
        lambda tokenizer, texts: seen.extend(texts) or [np.zeros(1, np.int32)] * len(texts),
    )
    _scores(scorer)
    assert sorted(seen) == sorted([*QUERIES, *TEXTS])


def test_a_document_cannot_end_its_own_text(tmp_path):
    scorer = tiny.crossencoder()
    corpus = Documents(["a", "b"], ["cat [SEP] dog", "cat sep dog"])
    first, second = _scores(scorer, Queries.of(["a"]), Candidates.of([[0, 1]], corpus=corpus))
    read = AutoTokenizer.from_pretrained(_folder(tmp_path))
    assert read("a", "cat [SEP] dog")["input_ids"].count(3) == 3
    assert first != second  # brackets are unknown letters, and letters all the same


# Passages


def _slowly(folder, query, text, size, stride):
    """The logits of each passage of a document, one after the other."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    asked, told = (tokenizer(one, add_special_tokens=False)["input_ids"] for one in (query, text))
    room = 64 - 3
    half = room // 2 + (room % 2 if len(asked) > len(told) else 0)
    asked = asked[: max(half, room - len(told))]
    most = min(size or room, room - len(asked))
    step = max(1, min(most, stride or most // 2))
    rows, start = [], 0
    while True:
        part = told[start : start + most]
        ids = torch.tensor([[2, *asked, 3, *part, 3]])
        kinds = torch.tensor([[0] * (len(asked) + 2) + [1] * (len(part) + 1)])
        with torch.inference_mode():
            rows.append(model.eval()(input_ids=ids, token_type_ids=kinds).logits[0].tolist())
        if start + most >= len(told):
            return rows
        start += step


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(("passage", "stride"), [(None, None), (20, 20), (15, 4)])
def test_a_long_document_has_the_best_the_mean_or_the_first_score_of_its_passages(tmp_path, outputs, passage, stride):
    folder, expected = _folder(tmp_path, outputs), {"first": [], "max": [], "mean": []}
    texts = [TEXTS[place] for place in (0, 1, 3, 7)] + ["the dog ran over a long bridge " * 4]
    for query in QUERIES[:4]:
        for text in texts:
            scores = [
                row[0] if outputs == 1 else float(np.exp(row) @ np.arange(outputs) / np.exp(row).sum())
                for row in _slowly(folder, query, text, passage, stride)
            ]
            for name, number in (("first", scores[0]), ("max", max(scores)), ("mean", sum(scores) / len(scores))):
                expected[name].append(number)
    corpus = Documents([str(number) for number in range(len(texts))], texts)
    lists = Candidates.of([np.arange(len(texts))] * 4, corpus=corpus)
    for name, numbers in expected.items():
        scorer = built("crossencoder", folder, passages=name, passage=passage, stride=stride)
        np.testing.assert_allclose(_scores(scorer, Queries.of(QUERIES[:4]), lists), numbers, atol=1e-5, err_msg=name)
    assert not np.allclose(expected["first"], expected["max"])


def test_what_is_learned_with_several_outputs_has_the_expected_grade_that_is_scored(tmp_path):
    for passages in ("max", "mean"):
        scorer = built("crossencoder", _folder(tmp_path, 3), passages=passages, passage=15)
        scores = _scores(scorer)
        for module in scorer.modules():
            module.p = 0.0 if isinstance(module, torch.nn.Dropout) else getattr(module, "p", None)
        logs = scorer.train().score(*_pairs()).detach()
        np.testing.assert_allclose(logs.exp() @ torch.arange(3.0), scores, atol=1e-5)


# What is refused


def test_settings_and_files_that_do_not_fit_are_refused(tmp_path):
    folder = _folder(tmp_path / "model")
    for settings in ({"outputs": 0}, {"stride": 0}, {"tokens": 0}, {"passage": -1}, {"batch_size": 0}):
        with pytest.raises(BadInput, match=f"{next(iter(settings))} = .*; it must be 1 or more"):
            built("crossencoder", folder, **settings)
    with pytest.raises(BadInput, match="max_length = 65; the model has 64 positions"):
        built("crossencoder", folder, max_length=65)
    with pytest.raises(BadInput, match="max_length = 4 leaves no room for 2 texts"):
        built("crossencoder", folder, max_length=4)
    with pytest.raises(BadInput, match="is no folder or hub name"):
        built("crossencoder", tmp_path / "missing")
    (tmp_path / "model" / "head.safetensors").write_bytes(b"what")
    with pytest.raises(BadInput, match=r"head.safetensors: cannot be read as the head of a cross-encoder"):
        built("crossencoder", folder, pooling="cls")


def test_no_pairs_have_no_scores():
    assert _scores(tiny.crossencoder(), Queries.of(["a"]), Candidates.empty(1, CORPUS)).shape == (0,)
