"""RankGPT: a language model orders the documents of a window, which slides from the back of a list to its front."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from nirank.errors import BadInput
from nirank.kit.transformers import Computing
from nirank_seq2seq.lists import Listwise, RankedList, Ranking, falling, whole_numbers
from nirank_seq2seq.models import writer
from nirank_seq2seq.writers import COMPUTING, WRITING, Generate, Question, Writing

#: Tokens of an answer: an order of 20 takes some 100.
_ANSWER_TOKENS = 300
_BRACKETED, _NUMBER = re.compile(r"\[\s*([0-9]+)\s*\]"), re.compile(r"[0-9]+")


class RankGPT(Listwise):
    """Scores a list by the orders of windows of it, `[2] > [3] > [1]`: `bm25 % 100 >> rankgpt`.

    A window of `window` documents begins at the end of the list and moves by `stride` to its front, `passes` times,
    each pass beginning with the order that the one before left; it ends early where a pass changes nothing. A pass over
    n documents asks ceil((n - window) / stride) + 1 questions, and brings the best window - stride to the front. Scores
    are whole numbers from n down to 1. Sun et al., Is ChatGPT Good at Search? Investigating Large Language Models as
    Re-Ranking Agents, EMNLP 2023.

    `model` is the name of a model on the hub, a folder, the name of a model on the server `endpoint`, or a function
    from a list of prompts to a list of answers. `prompt` is "rankgpt", "rankzephyr" or a TOML file
    (`nirank_seq2seq.conversation`). An answer is read as in RankGPT: repeated and unknown numbers are left out, and
    documents that it does not name follow in the order in which they were shown. `counts` and a warning say how often.
    Raises `BadInput` for settings that ask nothing.
    """

    def __init__(
        self,
        model: str | Generate,
        window: int = 20,
        stride: int = 10,
        passes: int = 1,
        prompt: str = "rankgpt",
        *,
        writing: Writing = WRITING,
        computing: Computing = COMPUTING,
    ) -> None:
        whole_numbers(window=window, stride=stride, passes=passes)
        if stride >= window:
            raise BadInput(f"stride = {stride} and window = {window}: windows overlap where the stride is smaller.")
        self.window, self.stride, self.passes = window, stride, passes
        asked = writer(model, prompt, writing, computing, _ANSWER_TOKENS)
        asked.check(window)
        super().__init__(asked, "rankgpt", (window, stride, passes))

    def ranking(self, ranked: RankedList) -> Ranking:
        """The ranking of one list by windows."""
        order = list(range(len(ranked.texts)))
        for _ in range(self.passes):
            before = list(order)
            for start, stop in windows(len(order), self.window, self.stride):
                shown = order[start:stop]
                (answer,) = yield [Question(ranked.query, tuple(ranked.texts[place] for place in shown))]
                order[start:stop] = [shown[place] for place in permutation(answer, len(shown), self.counts)]
            if order == before:
                break
        return falling(order)

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        """The texts that the model writes."""
        return list(self.writer.answers(questions, self.counts))


def windows(documents: int, window: int, stride: int) -> Iterator[tuple[int, int]]:
    """The windows of a pass, from the back to the front, as (start, stop); of a list of one there is none."""
    stop = documents
    while documents > 1:
        start = max(0, stop - window)
        yield start, stop
        if not start:
            return
        stop -= stride


def permutation(answer: str, length: int, counts: Counter[str]) -> list[int]:
    """The order of so many documents that an answer gives, from 0, repaired where it is none.

    Numbers in brackets count, or all numbers where there are no brackets.
    """
    called = {str(place + 1): place for place in range(length)}
    named = [number.lstrip("0") for number in (_BRACKETED.findall(answer) or _NUMBER.findall(answer))]
    known = [called[number] for number in named if number in called]
    order = list(dict.fromkeys(known))
    missing = [place for place in range(length) if place not in set(order)]
    faults = {
        "with repeated numbers": len(order) < len(known),
        "with unknown numbers": len(known) < len(named),
        "with documents left out": bool(missing),
    }
    counts["repaired"] += any(faults.values())
    counts.update([fault for fault, there in faults.items() if there])
    return order + missing
