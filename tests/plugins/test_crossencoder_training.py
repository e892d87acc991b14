"""Cross-encoders in training: gradients, several losses, passages, checkpoints that are built again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from transformers import AutoModelForSequenceClassification

import nirank
from nirank import seals
from nirank.checkpoints import checkpoint
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank_crossencoder import tiny
from tests.built import built

TEXTS = ["a cat", "", "the dog ran over a long bridge " * 20, "ünïcödé ∑ 🙂", "cat", "b" * 5000, "a cat", "dog"]
QUERIES = ["cat", "the long bridge"]


def _pairs():
    corpus = Documents([str(number) for number in range(len(TEXTS))], TEXTS)
    return Queries.of(QUERIES), Candidates.of([np.arange(len(TEXTS))] * len(QUERIES), corpus=corpus)


def _scorer(path, outputs=1, **settings):
    tiny.save(path, outputs=outputs)
    return built("crossencoder", path, **settings)


def _letters(grades=2):
    """To every query those documents are relevant that have a z, and with 3 grades the more so that have two."""
    texts = [f"{a} x {b}" for a in "zbcd" for b in "zbcd"]
    corpus = Documents([str(number) for number in range(len(texts))], texts)
    labels = [[min(text.count("z"), grades - 1) for text in texts]] * 4
    return Collection("letters", corpus, Queries.of(list("abcd")), Candidates.of([np.arange(16)] * 4, labels))


@pytest.mark.parametrize("passages", ["first", "max", "mean"])
def test_gradients_are_those_of_transformers_for_one_pair_after_the_other(tmp_path, passages):
    scorer = _scorer(tmp_path, passages=passages, passage=20, stride=20)
    queries, candidates = _pairs()
    pull = torch.linspace(-1, 2, candidates.pairs)
    wanted = {name: p for name, p in scorer.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(scorer.score(queries, candidates) @ pull, list(wanted.values()))
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval(), scorer.tokenizer
    rows = []
    for query in QUERIES:
        for text in TEXTS:
            told = tokenizer(text, add_special_tokens=False)["input_ids"]
            parts = [told[start : start + 20] for start in range(0, max(1, len(told)), 20)]
            parts = parts[:1] if passages == "first" else parts
            scores = torch.stack([_logit(model, tokenizer, query, part) for part in parts])
            rows.append(scores.mean() if passages == "mean" else scores.max())
    expected = torch.autograd.grad(torch.stack(rows) @ pull, list(model.parameters()))
    assert len(found) == len(expected)
    for name, ours, theirs in zip(wanted, found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4, err_msg=name)


def _logit(model, tokenizer, query, part):
    asked = [2, *tokenizer(query, add_special_tokens=False)["input_ids"], 3]
    kinds = [0] * len(asked) + [1] * (len(part) + 1)
    return model(input_ids=torch.tensor([[*asked, *part, 3]]), token_type_ids=torch.tensor([kinds])).logits[0, 0]


LOSSES = {
    "softmax_cross_entropy": {},
    "lambdarank": {},
    "binary_cross_entropy": {},
    "cross_entropy": {"classes": 2},
}


@pytest.mark.parametrize("loss", LOSSES)
def test_any_loss_teaches_it_which_documents_are_relevant(tmp_path, loss):
    letters = _letters()
    scorer = nirank.load(_scorer(tmp_path, outputs=2), "model")
    before = _first(scorer, letters)
    options = {"learning_rate": 5e-3, "batch_size": 4, "steps": 30}
    nirank.fit(scorer, nirank.load(f"loss/{loss}", **LOSSES[loss]), letters, **options)
    assert before < 0.9
    assert _first(scorer, letters) > 0.95


@pytest.mark.parametrize(("loss", "outputs"), [("cross_entropy", 3), ("ordinal", 1)])
def test_graded_labels_have_an_output_each_or_thresholds(tmp_path, loss, outputs):
    letters = _letters(3)
    scorer = nirank.load(_scorer(tmp_path, outputs=outputs), "model")
    before = _first(scorer, letters)
    settings = {"classes": 3} if loss == "cross_entropy" else {"grades": 3}
    nirank.fit(scorer, nirank.load(loss, **settings), letters, learning_rate=3e-3, batch_size=4, steps=100)
    assert before < 0.9
    assert _first(scorer, letters) > 0.95


def _first(scorer, letters):
    """How well the judged documents are ranked, nDCG."""
    lists = letters.judgments.over(letters.corpus)
    found = lists.with_scores(nirank.execution.stages.score(scorer.component, letters.queries, lists)).ranked()
    return nirank.evaluate(found, letters.judgments, ["nDCG"]).mean["nDCG"]


def test_dropout_is_active_in_training_only():
    scorer, pairs = tiny.crossencoder(), _pairs()
    assert not scorer.training
    assert torch.equal(scorer.score(*pairs), scorer.score(*pairs))
    scorer.train()
    assert not torch.allclose(scorer.score(*pairs), scorer.score(*pairs))


SETTINGS = [
    {},
    {"outputs": 2, "activation": "sigmoid"},
    {"outputs": 4, "passages": "max", "passage": 11, "stride": 3},
    {"pooling": "mean", "max_length": 30},
    {"pooling": "cls", "outputs": 3, "passages": "mean"},
    {"precision": "bfloat16"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_checkpoint_is_the_scorer_wherever_it_lies(tmp_path, settings):
    scorer = _scorer(tmp_path / "model", **{**settings, "seed": 5})
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter += 0.1
    checkpoint.save(nirank.load(scorer, "mine").component, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    again = checkpoint.load(tmp_path / "two").target
    with torch.inference_mode():
        assert torch.equal(again.score(*_pairs()), scorer.score(*_pairs()))
    assert again.fingerprint == scorer.fingerprint
    assert not list((tmp_path / "two").rglob("*.bin"))
    kept = json.loads((tmp_path / "two" / "component.json").read_text())["settings"]
    assert kept["max_length"] == settings.get("max_length", 64)
    assert kept["model"] == {"inside": "model"}


def test_what_is_saved_is_a_model_of_transformers_and_of_sentence_transformers(tmp_path):
    scorer = _scorer(tmp_path / "model")
    assert scorer.save(tmp_path / "saved")["model"] == Path("model")
    peer = pytest.importorskip("sentence_transformers").CrossEncoder(str(tmp_path / "saved" / "model"), device="cpu")
    predicted = peer.predict([(QUERIES[0], text) for text in TEXTS], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(scorer.score(*_pairs()).detach()[: len(TEXTS)], predicted, atol=1e-5)


def test_another_tokenizer_is_noticed_when_a_checkpoint_is_loaded(tmp_path):
    checkpoint.save(nirank.load(_scorer(tmp_path / "model"), "mine").component, tmp_path / "kept")
    path = tmp_path / "kept" / "model" / "tokenizer.json"
    told = json.loads(path.read_text())
    told["model"]["vocab"] = {word: (number + 7) % 77 for word, number in told["model"]["vocab"].items()}
    path.write_text(json.dumps(told))
    seals.seal(tmp_path / "kept")  # by someone who knows what is done
    with pytest.raises(BadInput, match="does not score as it did when it was saved"):
        checkpoint.load(tmp_path / "kept")


def test_the_fingerprint_knows_what_scores_depend_on(tmp_path):
    tiny.save(tmp_path)
    settings = [
        {},
        {"max_length": 40},
        {"passages": "max"},
        {"passages": "max", "stride": 3},
        {"activation": "sigmoid"},
    ]
    settings += [{"pooling": "cls"}, {"pooling": "mean"}, {"precision": "bfloat16"}]
    prints = {built("crossencoder", tmp_path, **each).fingerprint for each in settings}
    assert len(prints) == len(settings)
    assert built("crossencoder", tmp_path, tokens=99, batch_size=3).fingerprint in prints
