"""Stand-ins for language models that know the true order: `grade N` is written in each passage."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from nirank.data import Candidates, Documents, Queries

_NUMBERED = re.compile(r"^\[(\d+)\] .*grade (\d+)$", re.MULTILINE)
_LETTERED = re.compile(r'^Passage ([A-Z]): ".*grade (\d+)"$', re.MULTILINE)


class Asked:
    """A model that answers by `answer(labels, grades)`; `calls` has the prompts of each call."""

    def __init__(self, answer: Callable[[list[str], list[int]], str]) -> None:
        self.answer, self.calls = answer, []

    @property
    def prompts(self) -> list[str]:
        return [prompt for call in self.calls for prompt in call]

    def __call__(self, prompts: list[str]) -> list[str]:
        self.calls.append(list(prompts))
        return [self.one(prompt) for prompt in prompts]

    def one(self, prompt: str) -> str:
        shown = _NUMBERED.findall(prompt) or _LETTERED.findall(prompt)
        return self.answer([label for label, _ in shown], [int(grade) for _, grade in shown])


def ordering() -> Asked:
    """Orders numbered passages by their true grades, the best first."""
    return Asked(lambda labels, grades: " > ".join(f"[{labels[at]}]" for at in np.argsort(grades)[::-1]))


def choosing() -> Asked:
    """Names the best of lettered passages."""
    return Asked(lambda labels, grades: f"Passage {labels[int(np.argmax(grades))]}")


def given(*lists: list[int]) -> tuple[Queries, Candidates]:
    """A query for each list of grades, whose documents come in the order of the list, stored in another."""
    grades = [grade for one in lists for grade in one]
    corpus = Documents([str(number) for number in range(len(grades))], [f"this has the grade {g}" for g in grades])
    docs, scores, first = [], [], 0
    for one in lists:
        stored = np.random.default_rng(len(one)).permutation(len(one))
        docs.append(first + stored)
        scores.append(100.0 - stored)
        first += len(one)
    return Queries.of([f"query {number}" for number in range(len(lists))]), Candidates.of(docs, scores, corpus)


def ranked(scorer: object, *lists: list[int]) -> list[list[int]]:
    """The grades of each list in the order of the scores that a scorer gives, checked to fall from n to 1."""
    queries, candidates = given(*lists)
    found = candidates.with_scores(scorer.score(queries, candidates)).ranked()
    flat, rows = [grade for one in lists for grade in one], list(pairwise(found.offsets.tolist()))
    assert all(found.scores[start:stop].tolist() == list(range(stop - start, 0, -1)) for start, stop in rows)
    return [[flat[doc] for doc in found.docs[start:stop]] for start, stop in rows]
