"""The gradient of a batch: in pieces it is that of the whole, and several passes are one large batch."""

from __future__ import annotations

import contextlib
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import nirank
from nirank.data import Candidates
from nirank.plugins import Component, build
from nirank.training import Sample
from nirank.training import batch as forward
from nirank.training.gradients import Pass
from nirank.training.objective import Objective
from tests.small_training import Letters
from tests.small_training import collection as letters
from tests.training_toys import Compared, Weighed, numbers

PLAIN = {"optimizer": "sgd", "schedule": "constant", "warmup": 0.0, "clip": 0.0, "weight_decay": 0.0}
ACCELERATOR = SimpleNamespace(backward=lambda value: value.backward(), autocast=contextlib.nullcontext)


def _ragged(collection):
    """Lists of different lengths, one of them empty; some documents in several lists, one twice in a list."""
    docs = [[0, 1, 2, 3], [], [2, 3, 4, 5, 6], [1, 7], [8, 8, 0]]
    labels = [[0, 2, 0, 1], [], [1, 0, 0, 0, 2], [1, 0], [0, 0, 1]]
    return Sample(Candidates.of(docs, labels, collection.corpus))


def _shared(collection):
    docs = [3, 5, 6, 9]
    labels = [[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]]
    return Sample(Candidates.of([docs] * 5, labels, collection.corpus), shared=True)


def _many(collection):
    """Few queries with so many documents in common that all products are the smaller matrix."""
    docs = np.tile(np.arange(40), (5, 1))
    return Sample(Candidates.of(docs, docs % 7 == np.arange(5)[:, None], collection.corpus))


SAMPLES = {"ragged": _ragged, "shared": _shared, "many": _many}


def _gradients(target, collection, sample, chunk=None, way="whole", seed=(1, 2), loss="softmax_cross_entropy"):
    component, rows = Component("trained", target), np.arange(5)
    objective = Objective(build(f"loss/{loss}"))
    queries = collection.queries.take(rows)
    ahead, padding = forward.of(component, queries, sample, chunk)
    columns = objective.columns(sample, padding, queries, rows)
    target.train().zero_grad()
    getattr(Pass(component, ahead, ACCELERATOR, seed), way)(lambda outputs: objective(ahead, outputs, columns)[0])
    return torch.cat([parameter.grad.flatten() for parameter in target.parameters()])


def _toys(kind, dropout=0.0):
    return (Letters(dropout=dropout), letters()) if kind is Letters else (kind(dropout=dropout), numbers(7, length=7))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("kind", [Weighed, Compared, Letters])
def test_in_chunks_it_is_the_gradient_of_the_whole(kind, sample, chunk):
    target, collection = _toys(kind)
    lists = SAMPLES[sample](collection)
    whole = _gradients(target, collection, lists)
    assert whole.abs().max() > 0.01
    torch.testing.assert_close(_gradients(target, collection, lists, chunk, "chunked"), whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [Weighed, Compared, Letters])
def test_dropout_is_the_same_on_both_ways(kind):
    target, collection = _toys(kind, dropout=0.5)
    lists = _ragged(collection)
    pieces = _gradients(target, collection, lists, 3, "whole")  # the same pieces, kept in memory all at once
    chunked = _gradients(target, collection, lists, 3, "chunked")
    torch.testing.assert_close(chunked, pieces, rtol=1e-4, atol=1e-6)
    assert torch.equal(_gradients(target, collection, lists, 3, "chunked"), chunked)
    for other in (
        _gradients(target, collection, lists, 3, "chunked", seed=(1, 3)),
        _gradients(_toys(kind)[0], collection, lists, 3, "chunked"),
    ):
        assert (other - chunked).abs().max() > 1e-3


def test_each_piece_has_a_dropout_of_its_own():
    class Ones(Weighed):
        def score(self, queries, candidates):
            drops.append(self.dropout(torch.ones(1000)))
            return super().score(queries, candidates)

    drops, collection = [], numbers(7, length=7)
    _gradients(Ones(dropout=0.5), collection, _ragged(collection), 7, "chunked")
    first, second, first_again, second_again = drops
    assert torch.equal(first, first_again)
    assert torch.equal(second, second_again)
    assert not torch.equal(first, second)


def test_a_scorer_is_given_chunks_of_pairs_and_a_listwise_one_whole_lists():
    collection = numbers(7, length=7)
    sizes = {}
    for kind in (Weighed, Compared):
        target = kind()
        _gradients(target, collection, _ragged(collection), 5, "chunked")  # lists of 4, 0, 5, 2, 3
        sizes[kind] = target.sizes
    assert sizes == {Weighed: [5, 5, 4] * 2, Compared: [4, 5, 5] * 2}


def test_an_encoder_reads_each_document_of_a_batch_once():
    class Listening(Letters):
        def encode_documents(self, contents):
            read.append(list(contents))
            return super().encode_documents(contents)

    read, collection = [], letters()
    _gradients(Listening(), collection, _ragged(collection))
    assert read == [[collection.corpus[doc] for doc in range(9)]]
    read.clear()
    _gradients(Listening(), collection, _ragged(collection), 4, "chunked")
    assert [len(part) for part in read] == [4, 4, 1] * 2


class Deep(Weighed):
    """Keeps much for the way back."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*[layer for _ in range(4) for layer in (nn.Linear(64, 64), nn.Tanh())])

    def score(self, queries, candidates):
        scores = super().score(queries, candidates)
        return self.layers(scores[:, None].expand(-1, 64)).mean(1)


def _kept(work):
    """The most bytes that were kept for the way back at one time."""
    held = most = 0

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor

    def lose(size):
        nonlocal held
        held -= size

    def pack(tensor):
        nonlocal held, most
        size = tensor.nbytes
        kept = Kept(tensor)
        weakref.finalize(kept, lose, size)
        held += size
        most = max(most, held)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        work()
    assert held == 0
    return most


def test_in_chunks_no_more_is_kept_than_one_chunk_needs():
    collection = numbers(5, length=64)
    lists = Sample(collection.judgments)
    whole = _kept(lambda: _gradients(Deep(), collection, lists))
    chunked = _kept(lambda: _gradients(Deep(), collection, lists, 16, "chunked"))
    assert chunked < whole / 5  # 320 pairs; weights and scores are kept too


def _uneven():
    """Eight lists of which four do not count, most of them in the first half of the first epoch of seed 0."""
    collection, order = numbers(8), np.random.default_rng([1, 0, 0]).permutation(8)
    flat = np.isin(collection.judgments.rows, order[[0, 1, 3, 6]])
    labels = np.where(flat, 1, collection.judgments.scores)
    judged = collection.judgments.with_scores(labels)
    return nirank.Collection("uneven", collection.corpus, collection.queries, judged), order[[2, 4, 5, 7]]


def _by_hand(collection, rows, reduction):
    """The weights after a step of size 0.5 against the mean or total softmax cross-entropy of the given lists."""
    scorer, total = Weighed(), 0.0
    for row in rows:
        docs, labels = collection.judgments[row]
        one = Candidates.of([docs], corpus=collection.corpus)
        logs = scorer.score(collection.queries.take(np.array([row])), one).log_softmax(0)
        total = total - (torch.from_numpy(labels / labels.sum()) * logs).sum()
    (total / len(rows) if reduction == "mean" else total).backward()
    return scorer.weigh.weight.detach() - 0.5 * scorer.weigh.weight.grad


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("batch_size", "accumulate"), [(8, 1), (4, 2), (3, 3), (2, 4), (1, 8)])
@pytest.mark.parametrize("chunk", [None, 5])
def test_passes_that_are_added_up_are_one_large_batch(batch_size, accumulate, chunk, reduction):
    collection, counting = _uneven()
    scorer, loss = Weighed(), build("loss/softmax_cross_entropy", {"reduction": reduction})
    cut = {"batch_size": batch_size, "accumulate": accumulate, "chunk": chunk}
    fitted = nirank.fit(scorer, loss, collection, steps=1, learning_rate=0.5, **cut, **PLAIN)
    torch.testing.assert_close(scorer.weigh.weight.detach(), _by_hand(collection, counting, reduction))
    assert (fitted.log[0]["lists"], fitted.log[0]["skipped"]) == (8, 4)


def test_a_batch_without_a_list_that_counts_changes_nothing():
    collection = numbers(8)
    order = np.random.default_rng([1, 0, 0]).permutation(8)
    labels = np.where(np.isin(collection.judgments.rows, order[2:4]), 0, collection.judgments.scores)
    collection = nirank.Collection(
        "gap", collection.corpus, collection.queries, collection.judgments.with_scores(labels)
    )
    learned = {}
    for steps in (1, 2, 3):
        scorer = Weighed()
        options = {"batch_size": 2, "log_every": 1, "learning_rate": 0.1, "schedule": "constant", "warmup": 0.0}
        nirank.fit(scorer, "softmax_cross_entropy", collection, steps=steps, **options)
        learned[steps] = scorer.weigh.weight.detach()
    assert torch.equal(learned[1], learned[2])  # nor does AdamW go on by its momentum
    assert not torch.equal(learned[2], learned[3])
