"""The columns of emoji: a bi-encoder that searches all names, trained in every way that nirank has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from losses_cells import Outcome
from losses_columns import loss_of_line, options, outcome, relabelled
from losses_recipes import EMOJI, Recipe, loss_of

import nirank
from nirank.data import Candidates, Collection, Floats, Queries
from nirank.evaluation import Evaluation
from nirank.pipeline import Ranking, Stage
from nirank_dense.encoders.words import WeightedWordVectors
from nirank_losses.hierarchical import TreeSoftmax
from nirank_losses.tree import Tree


@dataclass(eq=False)
class EmojiColumn:
    """Emoji by keyword with a bi-encoder, which searches all of them: `make` builds it, untrained.

    Losses that learn from a teacher have the scores that `teacher`, a bi-encoder too, gives the train queries.
    """

    scorer: str
    make: Callable[[], Stage]
    teacher: Callable[[], Stage]
    limits: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, Recipe] = field(default_factory=lambda: EMOJI)

    measures = ("nDCG@10", "AP")
    reference = "untrained"
    options = {"batch_size": 64, "measure": "nDCG@10", "weight_decay": 0.0}
    about = (
        "Keywords search the names of 1,923 emoji; 905 keywords train, 293 are dev, 312 are the test. Teacher: MiniLM "
        "as it comes. Hierarchical softmax ranks by the exact probability of every document along its tree, which "
        "reads no names; `hinge` with the margin of `triplet` is the same loss."
    )

    @property
    def name(self) -> str:
        """What the column is called."""
        return f"emoji {self.scorer}"

    def told(self) -> dict[str, Any]:
        """All that its cells depend on beside the recipe."""
        return {"options": {**self.options, **self.limits}}

    def learn(self, line: str, recipe: Recipe) -> Outcome:
        """Train with the loss of a line, and search with what came of it."""
        start = time.perf_counter()
        encoder, train, dev = self.make(), _emoji("train"), _emoji("dev")
        by_tree = loss_of(line) == "hierarchical_softmax"
        loss = _tree(line, encoder, train, recipe.settings) if by_tree else loss_of_line(line, recipe.settings)
        ranking = encoder >> nirank.load(TreeSearch(loss) if by_tree else "exact")
        fitted = nirank.fit(
            encoder,
            loss,
            relabelled(train, recipe, getattr(loss, "target", loss)),
            sampler=_sampler(recipe.sampler),
            dev=dev,
            pipeline=ranking,
            teacher=nirank.load(self._taught) if recipe.teacher else None,
            **options(self, recipe),
        )
        return outcome(self._searched(ranking), start, fitted)

    def references(self) -> dict[str, Callable[[], Outcome]]:
        """The encoder as it was, and BM25."""
        return {
            self.reference: lambda: self._as_it_is(self.make() >> nirank.load("exact")),
            "BM25": lambda: self._as_it_is(nirank.load("bm25")),
        }

    def _as_it_is(self, ranking: Ranking) -> Outcome:
        start = time.perf_counter()
        return outcome(self._searched(ranking), start)

    def _searched(self, ranking: Ranking) -> Evaluation:
        return _search(ranking, _emoji("test"), self.measures)

    @cached_property
    def _taught(self) -> KnownScores:
        train = _emoji("train")
        everything = Candidates.of([np.arange(len(train.corpus))] * len(train.queries), corpus=train.corpus)
        scores = self.teacher().score(train.queries, everything)
        return KnownScores(train.queries, scores.reshape(len(train.queries), -1))


def _emoji(split: str) -> Collection:
    return nirank.collection("emoji", split=split)


class FewWords(WeightedWordVectors):
    """Word vectors, all of which are trained, of the words alone that occur in given texts.

    Training changes no other vector where weights do not decay, so this is the same encoder to those texts, at a
    tenth of the cost of a step.
    """

    def __init__(self, model: str, texts: Sequence[str]) -> None:
        super().__init__(model, device="cpu")
        self._place = None
        used = np.unique(self._words(texts)[0])
        self._place = np.full(len(self.weights), -1)
        self._place[used] = np.arange(len(used))
        self.bags = torch.nn.EmbeddingBag.from_pretrained(self.bags.weight[used], mode="sum", freeze=False)
        self.weights = torch.nn.Parameter(self.weights.detach()[used])

    def _words(self, texts: Sequence[Any]) -> tuple[Any, Any]:
        words, starts = super()._words(texts)
        return (words if self._place is None else self._place[words]), starts


class KnownScores:
    """A scorer that looks scores up, in a matrix `[queries, documents]`."""

    def __init__(self, queries: Queries, scores: Floats) -> None:
        self._rows = {query: row for row, query in enumerate(queries.ids)}
        self._scores = scores

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """Scores, `[pairs]`."""
        rows = np.array([self._rows[query] for query in queries.ids])
        return self._scores[rows[candidates.rows], candidates.docs]


class TreeSearch:
    """Ranks all documents by their probability along a tree, for vectors of queries."""

    searches = "dense"

    def __init__(self, loss: TreeSoftmax) -> None:
        self.loss = loss

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The best `k` of all documents."""
        with torch.inference_mode():
            scores = self.loss.log_prob(torch.as_tensor(queries.vectors)).numpy()
        docs = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
        return Candidates.from_matrix(docs, scores, np.ones(scores.shape, bool)).top(k)


def _tree(line: str, encoder: Stage, train: Collection, settings: Mapping[str, Any]) -> TreeSoftmax:
    """A tree over the documents: by how often each is relevant, or by their vectors before training."""
    vectors = encoder.component.target.encode_documents(train.corpus[:]).detach().numpy()
    if line.endswith("huffman"):
        tree = Tree.huffman(np.bincount(train.judgments.docs, minlength=len(train.corpus)))
    else:
        tree = Tree.clusters(vectors)
    return TreeSoftmax(tree, vectors.shape[1], **settings)


def _search(ranking: Ranking, collection: Collection, measures: tuple[str, ...]) -> Evaluation:
    found = ranking.search(collection.queries, collection.corpus)
    return nirank.evaluate(found, collection.judgments, measures)


def _sampler(table: Mapping[str, Any]) -> Any:
    return nirank.load(table["use"], **{name: value for name, value in table.items() if name != "use"}).component
