"""Language models in training: any loss teaches them, and gradients are those of the log-probabilities by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.execution import stages
from nirank_seq2seq import tiny
from nirank_seq2seq.duot5 import DuoT5
from nirank_seq2seq.monot5 import MonoT5
from tests import flat
from tests.built import built


def _letters():
    """To every query those documents are relevant that have a z."""
    texts = [f"{a} x {b}" for a in "zbcd" for b in "zbcd"][:8]
    corpus = Documents([str(number) for number in range(len(texts))], texts)
    labels = [[float("z" in text) for text in texts]] * 2
    return Collection("letters", corpus, Queries.of(["a", "b"]), Candidates.of([np.arange(8)] * 2, labels, corpus))


def _t5(kind, folder, **settings):
    tiny.save_t5(folder, dropout_rate=0.0)
    return flat.built(kind, model=str(folder), device="cpu", **settings)


def _llama(folder, **settings):
    tiny.save_llama(folder)
    return built("llm_judge", folder, template="{query}: {document}?", **settings)


def _first(stage, letters):
    scores = stages.score(stage.component, letters.queries, letters.judgments)
    found = letters.judgments.with_scores(scores).ranked()
    return nirank.evaluate(found, letters.judgments, ["AP"]).mean["AP"]


LISTWISE, POINTWISE = ("softmax_cross_entropy", "lambdarank"), ("binary_cross_entropy",)
CASES = {"monot5": LISTWISE + POINTWISE, "llm_judge": LISTWISE + POINTWISE, "duot5": LISTWISE}  # no log-odds, but sums


@pytest.mark.parametrize(("name", "loss"), [(name, loss) for name, losses in CASES.items() for loss in losses])
def test_any_loss_teaches_it_which_documents_are_relevant(tmp_path, name, loss):
    makes = {
        "monot5": lambda: _t5(MonoT5, tmp_path, score="log_odds"),
        "llm_judge": lambda: _llama(tmp_path, score="log_odds"),
        "duot5": lambda: _t5(DuoT5, tmp_path, aggregation="sym_sum_log"),
    }
    letters, stage = _letters(), nirank.load(makes[name](), "model")
    options = {"learning_rate": 1e-2, "batch_size": 2, "steps": 40 if name != "duot5" else 25, "warmup": 0.0}
    nirank.fit(stage, loss, letters, **options)
    assert _first(stage, letters) > 0.95


def test_gradients_are_those_of_one_prompt_after_the_other(tmp_path):
    scorer, letters = _t5(MonoT5, tmp_path), _letters()
    pull = torch.linspace(-1, 2, letters.judgments.pairs)
    wanted = list(scorer.parameters())
    found = torch.autograd.grad(scorer.score(letters.queries, letters.judgments) @ pull, wanted)
    tokenizer, model, rows = scorer.reader.tokenizer, scorer.reader.model, []
    model.get_output_embeddings().__class__ = torch.nn.Linear  # as transformers has it: all words
    words = [tokenizer.convert_tokens_to_ids("\u2581" + word) for word in ("true", "false")]
    for query in letters.queries.contents:
        for text in letters.corpus[np.arange(8)]:
            ids = tokenizer(f"Query: {query} Document: {text} Relevant:", return_tensors="pt")["input_ids"]
            logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[0]])).logits[0, 0, words]
            rows.append(torch.log_softmax(logits, 0)[0])
    expected = torch.autograd.grad(torch.stack(rows) @ pull, wanted)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
