"""A T5 built from a small configuration and trained here from scratch, on a task that monoT5 can be asked.

A query is two words, and a document is relevant if it has both. Half of a query's documents do; of the others some have
one of the words, which is no help. Test queries are pairs of words that never were a query in training: what is
learned is to look whether words are the same, in `Query: {query} Document: {document} Relevant:`, and to say it by the
first decoded token.
"""

from __future__ import annotations

import argparse
import itertools
import string
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Cells, Outcome
from losses_columns import outcome
from quality_rows import Row
from quality_table import Cell, Table

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.execution import stages
from nirank.pipeline import Stage

MEASURES = ("AP", "RR")
#: Beside those of a ranking: whether the answer is right, for each document of each test query.
ACCURACY = "accuracy"
#: Trained by each of these; `None` is the model as it is built.
LOSSES: Mapping[str, str | None] = {
    "as built": None,
    "binary cross-entropy": "binary_cross_entropy",
    "softmax cross-entropy": "softmax_cross_entropy",
}


@dataclass(frozen=True)
class Matching:
    """The task: how many words there are, how many a document has, how many documents a query has and how many queries.

    `queries` are those to train on; all other pairs of words test.
    """

    words: int = 20
    length: int = 6
    documents: int = 16
    queries: int = 150

    @property
    def vocabulary(self) -> list[str]:
        """The words."""
        return list(string.ascii_lowercase[: self.words])

    def split(self, seed: int = 0) -> tuple[Collection, Collection]:
        """The queries to train on and those to test on, with documents of their own."""
        random = np.random.default_rng(seed)
        pairs = list(itertools.combinations(self.vocabulary, 2))
        asked = [pairs[place] for place in random.permutation(len(pairs))]
        parts = {"train": asked[: self.queries], "test": asked[self.queries :]}
        train, test = (self._collection(name, part, random) for name, part in parts.items())
        return train, test

    def _collection(self, name: str, asked: Sequence[tuple[str, str]], random: np.random.Generator) -> Collection:
        labels = np.arange(self.documents) % 2
        texts = [self._document(pair, bool(label), random) for pair in asked for label in labels]
        lists = np.arange(len(texts)).reshape(len(asked), -1)
        corpus = Documents([str(number) for number in range(len(texts))], texts)
        judged = Candidates.of(list(lists), [labels] * len(asked), corpus)
        queries = Queries.of([" ".join(random.permutation(pair)) for pair in asked])
        return Collection(name, corpus, queries, judged)

    def _document(self, pair: tuple[str, str], relevant: bool, random: np.random.Generator) -> str:
        """Different words in any order: both of the pair, or else the one, the other or none."""
        others = [word for word in self.vocabulary if word not in pair]
        inside = list(pair) if relevant else [[], [pair[0]], [pair[1]]][random.integers(3)]
        chosen = random.choice(others, self.length - len(inside), replace=False)
        return " ".join(random.permutation([*inside, *chosen]))


@dataclass(frozen=True)
class Training:
    """The size of the model, and how it is trained."""

    layers: int = 2
    dim: int = 64
    heads: int = 4
    epochs: int = 40
    batch_size: int = 16
    learning_rate: float = 2e-3


def built(task: Matching, size: Training, seed: int) -> Stage:
    """monoT5 with random weights and a tokenizer for the words of the task."""
    from nirank_seq2seq import tiny

    shape = {"d_model": size.dim, "d_kv": size.dim // size.heads, "d_ff": 2 * size.dim, "dropout_rate": 0.0}
    layers = {"num_layers": size.layers, "num_decoder_layers": 1, "num_heads": size.heads}
    with tempfile.TemporaryDirectory() as folder:
        tiny.save_t5(Path(folder), seed, task.vocabulary, **shape, **layers)
        settings: dict[str, Any] = {"score": "log_odds", "tokens": 2**15}
        return nirank.load("monot5", "monot5", model=folder, **settings)


def trained(task: Matching, size: Training, loss: str | None, seed: int = 0, **limits: Any) -> tuple[Stage, Any]:
    """The model after its training, and what came of that; the model as it is built without a loss."""
    stage = built(task, size, seed)
    if loss is None:
        return stage, None
    options = {"epochs": size.epochs, "batch_size": size.batch_size, "learning_rate": size.learning_rate, **limits}
    return stage, nirank.fit(stage, loss, task.split()[0], seed=seed, **options)


def accuracy(stage: Stage, collection: Collection) -> np.ndarray:
    """Of each query how many of its documents are judged rightly: "true" is likelier than "false", or is not."""
    judged = collection.judgments.over(collection.corpus)
    right = (_scores(stage, collection) > 0) == (judged.scores > 0)
    return np.add.reduceat(right, judged.offsets[:-1]) / judged.lengths


def tables(asked: argparse.Namespace) -> list[Table]:
    """The model as it is built, and trained with each loss."""
    task, size = Matching(), Training()
    names = [name for name in LOSSES if not asked.only or name in asked.only]
    outcomes = {name: _outcomes(name, task, size, asked) for name in names}
    return [
        Table(
            title="A T5 from scratch",
            about=(
                f"{size.layers} layers of {size.dim} dimensions, {size.heads} heads, trained for {size.epochs} epochs "
                f"of {task.queries} queries with {task.documents} documents each, and tested on other queries: does a "
                f"document of {task.length} of {task.words} words have both words of the query? Means over seeds ± "
                "their standard deviation, 95 % bootstrap intervals over queries. Half of all documents are relevant: "
                "who guesses is right in .5 of the cases. (The softmax compares documents, and has no reason to put "
                "the border at 0.)"
            ),
            columns=["system", "accuracy", "MAP", "MRR", "seconds"],
            rows=[_cells(Row(name, found)) for name, found in outcomes.items()],
        )
    ]


def _outcomes(name: str, task: Matching, size: Training, asked: argparse.Namespace) -> list[Outcome]:
    limits = {"steps": 4} if asked.quick else {}
    seeds = range(1 if asked.quick else asked.seeds)
    told = {"task": asdict(task), "size": asdict(size), "loss": LOSSES[name], "limits": limits}
    make = partial(_measured, task, size, LOSSES[name], limits)
    return [Cells(asked.cells).get("seq2seq", name, told | {"seed": seed}, partial(make, seed)) for seed in seeds]


def _measured(task: Matching, size: Training, loss: str | None, limits: Mapping[str, Any], seed: int) -> Outcome:
    start = time.perf_counter()
    stage, fitted = trained(task, size, loss, seed, **limits)
    test = task.split()[1]
    found = test.judgments.over(test.corpus).with_scores(_scores(stage, test)).ranked()
    measured = outcome(nirank.evaluate(found, test.judgments, MEASURES), start, fitted)
    values = {**measured.values, ACCURACY: accuracy(stage, test).tolist()}
    return Outcome(values, None, measured.steps, measured.seconds)


def _scores(stage: Stage, collection: Collection) -> np.ndarray:
    return stages.score(stage.component, collection.queries, collection.judgments.over(collection.corpus))


def _cells(row: Row) -> list[Cell]:
    return [row.name, *(row.figure(measure) for measure in (ACCURACY, *MEASURES)), row.seconds]
