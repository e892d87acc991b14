"""Small scorers, a collection that they can learn, and a spy: for the tests of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from nirank import hookimpl
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.pipeline import Stage, load
from nirank.plugins import Entry, Plugin, active

TRUE = np.array([2.0, -1.0, 0.5, -3.0])


class Weighed(nn.Module):
    """Texts are numbers: the score of a pair is w (q * d) + b, with learned w and b."""

    def __init__(self, dropout: float = 0.0, seed: int = 0, note: str = "") -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.weigh = nn.Linear(len(TRUE), 1)
        self.dropout, self.note, self.sizes = nn.Dropout(dropout), note, []

    def score(self, queries, candidates):
        self.sizes.append(candidates.pairs)
        asked = vectors([queries.contents[row] for row in candidates.rows])
        return self.weigh(self.dropout(asked * vectors(candidates.corpus[candidates.docs])))[:, 0]


class Compared(Weighed):
    """Scores a pair by how far it is above the mean of its list."""

    listwise = True

    def score(self, queries, candidates):
        scores = torch.tanh(super().score(queries, candidates))
        lists = scores.split(candidates.lengths.tolist())
        return torch.cat([scores - scores.mean() for scores in lists])


class Leaning(Weighed):
    """Adds its own score to that of another stage, which does not learn with it."""

    def __init__(self, on: Any) -> None:
        super().__init__(seed=1)
        self.other = (on if isinstance(on, Stage) else load(on)).component

    def score(self, queries, candidates):
        with torch.no_grad():
            known = torch.as_tensor(self.other.target.score(queries, candidates))
        return super().score(queries, candidates) + known


class Everything:
    """Finds the first documents of the corpus."""

    def generate(self, queries, k):
        return Candidates.of([np.arange(k)] * len(queries), [np.arange(k, 0, -1)] * len(queries))


class Spy:
    """Notes the weights of a component whenever its training reports."""

    def __init__(self):
        self.weights, self.steps = {}, []

    @hookimpl
    def nirank_trained(self, component, step, values):
        self.steps.append(step)
        self.weights[step] = weights(component.target)


class Interrupt:
    """Interrupts a training as Ctrl-C does, when it reports the given step."""

    def __init__(self, step):
        self.step = step

    @hookimpl
    def nirank_trained(self, component, step, values):
        if step == self.step:
            raise KeyboardInterrupt


@contextmanager
def registered() -> Iterator[None]:
    """Inside, the toys have names."""
    plugin, registry = Plugin("toys"), active().registry
    registry.add(Entry("collection", "numbers", "tests.training_toys:numbers", plugin))
    registry.add(Entry("collection", "letters", "tests.small_training:collection", plugin))
    registry.add(Entry("generator", "everything", "tests.training_toys:Everything", plugin))
    registry.add(Entry("scorer", "weighed", "tests.training_toys:Weighed", plugin))
    registry.add(Entry("scorer", "leaning", "tests.training_toys:Leaning", plugin))
    registry.add(Entry("encoder", "letters", "tests.small_training:Letters", plugin))
    try:
        yield
    finally:
        registry.remove(plugin)


def vectors(texts):
    return torch.tensor([[float(number) for number in text.split()] for text in texts]).reshape(-1, len(TRUE))


def weights(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def numbers(queries=12, length=6, seed=0, sign=1.0):
    """Lists of `length` documents a query, whose labels 0, 1, 2 follow the scores of the `TRUE` weights times `sign`.

    The first label of a list is always 0 and the last one 2 in the order of these scores.
    """
    chance = np.random.default_rng(seed)
    asked = chance.normal(size=(queries, len(TRUE))).round(2)
    told = chance.normal(size=(queries * length, len(TRUE))).round(2)
    worth = sign * ((asked.repeat(length, axis=0) * told) @ TRUE).reshape(queries, length)
    labels = worth.argsort(axis=1).argsort(axis=1) * 3 // length
    corpus = Documents([f"d{number}" for number in range(len(told))], [_text(row) for row in told])
    judged = Candidates.of(np.arange(len(told)).reshape(queries, length), labels, corpus)
    return Collection("numbers", corpus, Queries.of([_text(row) for row in asked]), judged)


def _text(row):
    return " ".join(map(str, row))
