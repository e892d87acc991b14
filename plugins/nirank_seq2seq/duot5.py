"""duoT5: a sequence-to-sequence model compares two documents at a time, and a document's score adds it up."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Candidates, Queries, offsets_of
from nirank.kit import Runtime
from nirank.kit.text import Read, Tokens
from nirank.kit.transformers import Computing
from nirank_seq2seq.reader import COMPUTING, LENGTHS, TRUE_OR_FALSE, AnswerReader, Contract, Lengths, TrueOrFalse

TEMPLATE = "Query: {query} Document0: {document0} Document1: {document1} Relevant:"
_PLACES = ("query", "document0", "document1")

Aggregation = Literal["sum", "sum_log", "sym_sum", "sym_sum_log", "binary", "min", "max"]


class DuoT5(nn.Module):
    """Scores the documents of a list by comparing each with every other; for the last few: `bm25 % 50 >> duot5`.

    With p_ij the probability of "true" against "false" as the first token that a T5 decodes after `Query: {query}
    Document0: {document0} Document1: {document1} Relevant:`, which says that document i is the more relevant one, the
    score of document i is, by `aggregation`,

        sum          sum_j p_ij                         sym_sum      sum_j (p_ij + 1 - p_ji)
        sum_log      sum_j log p_ij                     sym_sum_log  sum_j (log p_ij + log(1 - p_ji))
        binary       how many p_ij > 1/2                min, max     of p_ij over j

    and 0 in a list of one. Pradeep, Nogueira and Lin, The Expando-Mono-Duo Design Pattern for Text Ranking with
    Pretrained Sequence-to-Sequence Models, 2021. A list of n documents takes n (n - 1) prompts.

    `batch_size` counts documents, and their lists stay whole. Any loss trains it, but with "binary" there is nothing to
    learn. `runtime` and what raises `BadInput` are as `nirank_seq2seq.reader.AnswerReader` has them.
    """

    reads = "text"
    listwise = True

    def __init__(
        self,
        model: str,
        aggregation: Aggregation = "sym_sum",
        template: str = TEMPLATE,
        *,
        answers: TrueOrFalse = TRUE_OR_FALSE,
        lengths: Lengths = LENGTHS,
        runtime: Runtime | None = None,
        computing: Computing = COMPUTING,
    ) -> None:
        super().__init__()
        contract = Contract(template, _PLACES, dataclasses.astuple(answers), lengths.max_length)
        self.reader = AnswerReader("AutoModelForSeq2SeqLM", model, contract, lengths.tokens, runtime, computing)
        self.aggregation, self.precision = aggregation, computing.precision
        self.batch_size = computing.batch_size or 512
        self.eval()

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Scores, float32 `[pairs]`."""
        left, right = _comparisons(candidates.lengths)
        if not len(left):
            return torch.zeros(candidates.pairs, device=self.reader.device)
        template = self.reader.template
        read = Read.of(queries, candidates, lambda side, texts: template.tokens(_place(side), texts))
        lengths = read.lengths()
        by_place = dict(zip(_PLACES, (lengths[left, 0], lengths[left, 1], lengths[right, 1]), strict=True))
        shares = template.prompt.shares(np.stack(template.template.order(by_place), axis=1))
        log_odds = self.reader(shares, _texts(read, left, right))
        ours, theirs = (torch.from_numpy(side).to(log_odds.device) for side in (left, right))
        return _aggregated(self.aggregation, log_odds, ours, theirs, candidates.pairs)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model into `folder / "model"`, as transformers does, with safetensors.

        Returns the table of a stage that builds this scorer again, template and words included; its path is relative
        to `folder`.
        """
        self.reader.save(folder / "model")
        return {**self._contract(), "model": Path("model")}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that the scores depend on: weights, tokenizer, template, words, lengths, aggregation."""
        return self.reader.fingerprint(sorted(self._contract().items()))

    def _contract(self) -> dict[str, Any]:
        contract = self.reader.contract
        return {
            "use": "scorer/duot5",
            "aggregation": self.aggregation,
            "template": contract.template,
            "true": contract.words[0],
            "false": contract.words[1],
            "max_length": self.reader.max_length,
            "precision": self.precision,
        }


def _comparisons(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every two different documents of a list, both ways round: the pairs to the left and to the right."""
    sides = []
    for start, stop in pairwise(offsets_of(lengths).tolist()):
        left, right = np.divmod(np.arange((stop - start) ** 2), max(1, stop - start))
        sides.append(start + np.stack([left, right])[:, left != right])
    return tuple(np.concatenate([np.zeros((2, 0), np.int64), *sides], axis=1))


def _place(side: str) -> str:
    """Documents have the same tokens in both places."""
    return "query" if side == "query" else "document0"


def _texts(read: Read, left: NDArray[np.int64], right: NDArray[np.int64]) -> Callable[[int], dict[str, Tokens]]:
    def texts(number: int) -> dict[str, Tokens]:
        first, second = left[number], right[number]
        documents = read.documents[read.docs[first]], read.documents[read.docs[second]]
        return dict(zip(_PLACES, (read.queries[read.rows[first]], *documents), strict=True))

    return texts


def _aggregated(how: Aggregation, log_odds: Tensor, left: Tensor, right: Tensor, documents: int) -> Tensor:
    """The score of each document, `[documents]`, from the comparisons of those to the left with those to the right."""
    zeros, values = log_odds.new_zeros(documents), _values(how, log_odds)
    if how in ("min", "max"):
        return zeros.scatter_reduce(0, left, values, f"a{how}", include_self=False)
    sums = zeros.index_add(0, left, values)
    return sums.index_add(0, right, _values(how, -log_odds)) if how.startswith("sym") else sums


def _values(how: Aggregation, log_odds: Tensor) -> Tensor:
    """The amount that a comparison adds to the score of the document to the left."""
    if how == "binary":
        return (log_odds > 0).to(log_odds.dtype)
    return F.logsigmoid(log_odds) if how.endswith("log") else torch.sigmoid(log_odds)
