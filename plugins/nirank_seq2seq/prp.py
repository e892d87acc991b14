"""Pairwise ranking prompting: a language model is asked which of two documents is the more relevant one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Literal

import numpy as np

from nirank.kit.transformers import Computing
from nirank_seq2seq.choosing import ANSWER_TOKENS, By, Choosing
from nirank_seq2seq.lists import RankedList, Ranking, falling, whole_numbers
from nirank_seq2seq.models import writer
from nirank_seq2seq.sorting import by_bubbles, by_heap
from nirank_seq2seq.writers import COMPUTING, WRITING, Generate, Question, Writing

_SORTS = {"heap": by_heap, "sliding": by_bubbles}
#: Documents that are compared in a step of a sort, with one or two of which another is.
_TOGETHER = {"heap": 3, "sliding": 2}

#: Asks which of pairs of documents wins, and returns 1 for the first, -1 for the second and 0 for a tie of each.
Won = Generator[list[Question], list[Any], list[int]]


class PRP(Choosing):
    """Scores a list by comparisons of two documents, each asked in both orders: answers that differ are a tie.

        "pairs"      PRP-Allpair: s(d) is the number of documents that d beats, and half of those that it ties with.
                     n (n - 1) questions; documents with equal numbers tie
        "heap"       PRP-Sorting: heap sort, which a tie leaves as it is. 2 n log n comparisons at most for all n
        "sliding"    PRP-Sliding-K: k passes of bubble sort from the back to the front, (n - 1) comparisons each at most

    Sorts find the best `k` in order and leave the rest behind them as it came; their scores are whole numbers from n
    down to 1. A comparison is two questions. Qin et al., Large Language Models are Effective Text Rankers with Pairwise
    Ranking Prompting, Findings of NAACL 2024.

    `by` says whether the label counts that the model writes ("generation"), or the likelier one ("likelihood", of
    models that are run here). An answer without a label makes a tie: `counts` and a warning say how often. `model` and
    `prompt` ("prp", or a TOML file) are those of `nirank_seq2seq.rankgpt.RankGPT`.
    """

    def __init__(
        self,
        model: str | Generate,
        compare: Literal["pairs", "heap", "sliding"] = "heap",
        k: int = 10,
        by: By = "generation",
        prompt: str = "prp",
        *,
        writing: Writing = WRITING,
        computing: Computing = COMPUTING,
    ) -> None:
        whole_numbers(k=k)
        super().__init__(writer(model, prompt, writing, computing, ANSWER_TOKENS), "prp", by, 2, (compare, k))
        self.compare, self.k = compare, k

    def ranking(self, ranked: RankedList) -> Ranking:
        """The ranking of one list by comparisons; none is asked twice."""
        if self.compare == "pairs":
            return (yield from _copeland(ranked))
        known: dict[tuple[int, int], int] = {}

        def best(documents: Sequence[int]) -> Generator[Any, Any, int]:
            first = 0
            for other in range(1, len(documents)):
                pair = documents[other], documents[first]
                if pair not in known:
                    (known[pair],) = yield from _won(ranked, [pair])
                    known[pair[::-1]] = -known[pair]
                first = other if known[pair] > 0 else first
            return first

        sort = _SORTS[self.compare](len(ranked.texts), self.k, _TOGETHER[self.compare], best)
        return falling((yield from sort))


def _copeland(ranked: RankedList) -> Ranking:
    """Wins and half of the ties of each document against every other; those of one document are asked together."""
    scores = np.zeros(len(ranked.texts), np.float32)
    for one in range(len(ranked.texts) - 1):
        others = range(one + 1, len(ranked.texts))
        won = np.array((yield from _won(ranked, [(one, other) for other in others])), np.float32)
        scores[one] += (won + 1).sum() / 2
        scores[one + 1 :] += (1 - won) / 2
    return scores


def _won(ranked: RankedList, pairs: Sequence[tuple[int, int]]) -> Won:
    """The winner of each pair: asked in both orders, it has to be the same."""
    texts = [(ranked.texts[one], ranked.texts[other]) for one, other in pairs]
    answers = yield [Question(ranked.query, shown) for one, other in texts for shown in ((one, other), (other, one))]
    sides = zip(answers[::2], answers[1::2], strict=True)
    return [{(0, 1): 1, (1, 0): -1}.get(chosen, 0) for chosen in sides]
