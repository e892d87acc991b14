"""Setwise ranking: a language model picks the most relevant of a few documents, and a sort puts the picks together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Literal

from nirank.errors import BadInput
from nirank.kit.transformers import Computing
from nirank_seq2seq.choosing import ANSWER_TOKENS, By, Choosing
from nirank_seq2seq.lists import RankedList, Ranking, falling, whole_numbers
from nirank_seq2seq.models import writer
from nirank_seq2seq.sorting import by_bubbles, by_heap
from nirank_seq2seq.writers import COMPUTING, WRITING, Generate, Question, Writing

_SORTS = {"heap": by_heap, "bubbles": by_bubbles}


class Setwise(Choosing):
    """Scores a list by sorting it with questions which of `together` documents is the most relevant one.

    The best `k` are found by heap sort or bubble sort (`sort`), and the rest stays behind them in the order in which it
    came. Scores are whole numbers from n down to 1. A node of the heap is compared with all its children in one
    question: with c documents together about n / (c - 1) + k log n / log(c - 1) questions are asked by heap sort, and
    by bubble sort k (n - 1) / (c - 1) at most. Zhuang, Zhuang, Koopman and Zuccon, A Setwise Approach for Effective and
    Highly Efficient Zero-shot Ranking with Large Language Models, SIGIR 2024.

    `by` says whether the label counts that the model writes ("generation"), or the likeliest one ("likelihood", of
    models that are run here). An answer that names no document, or several, leaves the first one where it is: `counts`
    and a warning say how often. `model` and `prompt` ("setwise", or a TOML file) are those of
    `nirank_seq2seq.rankgpt.RankGPT`. Raises `BadInput` for settings that compare nothing.
    """

    def __init__(
        self,
        model: str | Generate,
        k: int = 10,
        together: int = 4,
        sort: Literal["heap", "bubbles"] = "heap",
        by: By = "generation",
        prompt: str = "setwise",
        *,
        writing: Writing = WRITING,
        computing: Computing = COMPUTING,
    ) -> None:
        whole_numbers(k=k)
        if together < (least := {"heap": 3, "bubbles": 2}[sort]):
            raise BadInput(f"together = {together}; {least} or more documents can be compared by {sort}.")
        asked = writer(model, prompt, writing, computing, ANSWER_TOKENS)
        super().__init__(asked, "setwise", by, together, (k, together, sort))
        self.k, self.together, self.sort = k, together, _SORTS[sort]

    def ranking(self, ranked: RankedList) -> Ranking:
        """The ranking of one list by sorting; no question is asked twice."""
        known: dict[tuple[int, ...], int] = {}

        def best(documents: Sequence[int]) -> Generator[Any, Any, int]:
            shown = tuple(documents)
            if shown not in known:
                (place,) = yield [Question(ranked.query, tuple(ranked.texts[each] for each in shown))]
                known[shown] = place or 0
            return known[shown]

        return falling((yield from self.sort(len(ranked.texts), self.k, self.together, best)))
