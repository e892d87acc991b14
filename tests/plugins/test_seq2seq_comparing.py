"""duoT5: comparisons by hand, their sums by double loops, and lists as they come."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("transformers")

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import nirank
from nirank.checkpoints import checkpoint
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank_seq2seq import tiny
from tests.built import built

QUERIES = ["small cat", "dog", "", "東京 🙂"]
TEXTS = ["a small cat sat", "", "the dog ran over a bridge", "a small cat sat", "zebra"]
LISTS = [[0, 2, 1, 3], [], [4], [3, 4, 0]]
CORPUS = Documents(list("vwxyz"), TEXTS)
AGGREGATIONS = ["sum", "sum_log", "sym_sum", "sym_sum_log", "binary", "min", "max"]


def _scorer(path, **settings):
    """With weights that say different things of different documents."""
    tiny.save_t5(path, seed=4)
    scorer = built("duot5", path, **settings)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter *= 1.5
    return scorer


def _score(scorer, queries=QUERIES, lists=LISTS):
    with torch.inference_mode():
        return scorer.score(Queries.of(queries), Candidates.of(lists, corpus=CORPUS)).numpy()


def _chance(model, tokenizer, query, first, second):
    """P(true) of true and false, as the first decoded token of one comparison."""
    prompt = f"Query: {query} Document0: {first} Document1: {second} Relevant:"
    with torch.inference_mode():
        logits = (
            model(input_ids=tokenizer(prompt, return_tensors="pt")["input_ids"], decoder_input_ids=torch.tensor([[0]]))
            .logits[0, 0]
            .double()
        )
    true, false = (math.exp(logits[tokenizer.convert_tokens_to_ids("\u2581" + word)]) for word in ("true", "false"))
    return true / (true + false)


def _slowly(how, chances, i):
    others = [j for j in range(len(chances)) if j != i]
    ours, theirs = [chances[i][j] for j in others], [1 - chances[j][i] for j in others]
    return {
        "sum": lambda: sum(ours),
        "sum_log": lambda: sum(map(math.log, ours)),
        "sym_sum": lambda: sum(ours) + sum(theirs),
        "sym_sum_log": lambda: sum(map(math.log, ours + theirs)),
        "binary": lambda: sum(p > 0.5 for p in ours),
        "min": lambda: min(ours, default=0),
        "max": lambda: max(ours, default=0),
    }[how]()


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A folder with a model, and for each list the chance of each document against each other."""
    folder = tmp_path_factory.mktemp("duot5")
    scorer = _scorer(folder / "made")
    scorer.save(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tables = [
        [
            [_chance(model, tokenizer, query, TEXTS[i], TEXTS[j]) if a != b else None for b, j in enumerate(docs)]
            for a, i in enumerate(docs)
        ]
        for query, docs in zip(QUERIES, LISTS, strict=True)
    ]
    return str(folder / "model"), tables


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_scores_add_up_what_a_double_loop_adds_up(compared, how):
    folder, tables = compared
    expected = [_slowly(how, table, i) for table in tables for i in range(len(table))]
    scores = _score(built("duot5", folder, aggregation=how))
    np.testing.assert_allclose(scores, expected, atol=2e-5)
    assert scores[4] == 0  # the list of one
    assert how == "binary" or np.ptp(scores) > 0.01


def test_a_list_scores_as_it_does_alone_and_in_any_order(compared):
    scorer = built("duot5", compared[0])
    whole = _score(scorer)
    np.testing.assert_allclose(_score(scorer, QUERIES[:1], LISTS[:1]), whole[:4], atol=1e-5)
    turned = _score(scorer, QUERIES[::-1], [docs[::-1] for docs in LISTS[::-1]])
    np.testing.assert_allclose(turned, whole[::-1], atol=1e-5)
    scorer.reader.tokens = 10_000
    np.testing.assert_allclose(_score(scorer), whole, atol=1e-5)


def test_documents_that_are_too_long_are_cut_alike_and_the_end_stays(tmp_path):
    scorer, seen = _scorer(tmp_path, max_length=60), []
    scorer.reader.model.register_forward_pre_hook(lambda model, args, inputs: seen.append(inputs), with_kwargs=True)
    corpus = Documents(list("ab"), ["cat " * 300, "dog " * 200])
    with torch.inference_mode():
        scores = scorer.score(Queries.of(["a"]), Candidates.of([[0, 1]], corpus=corpus))
    assert torch.isfinite(scores).all()
    tokenizer = scorer.reader.tokenizer
    for row in torch.cat([inputs["input_ids"] for inputs in seen]).tolist():
        text = tokenizer.decode(row).replace(" ", "")
        assert len(row) == 60
        assert text.endswith("Relevant:</s>")
        assert abs(text.count("cat") - text.count("dog")) <= 1


def test_a_ranking_is_compared_list_by_list(compared):
    duot5 = nirank.load("duot5", model=compared[0], device="cpu", batch_size=2)
    queries, lists = Queries.of(QUERIES), Candidates.of(LISTS, corpus=CORPUS)
    scores = nirank.execution.stages.score(duot5.component, queries, lists)
    np.testing.assert_allclose(scores, _score(duot5.component.target), atol=1e-5)


def test_a_checkpoint_keeps_how_documents_are_compared(tmp_path):
    template = "Query: {query} Document1: {document1} Document0: {document0}"
    scorer = _scorer(tmp_path / "model", aggregation="sum_log", max_length=70, template=template)
    checkpoint.save(nirank.load(scorer, "mine").component, tmp_path / "kept")
    again = checkpoint.load(tmp_path / "kept").target
    np.testing.assert_array_equal(_score(again), _score(scorer))
    assert (again.aggregation, again.reader.contract.template) == ("sum_log", template)
    assert again.fingerprint == scorer.fingerprint
    with pytest.raises(
        BadInput, match=r"{query}, {document}; each of {query}, {document0}, {document1} is expected once"
    ):
        built("duot5", tmp_path / "model", template="{query} {document}")
