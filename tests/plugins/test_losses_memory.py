"""Cross-batch memory: what lists get of earlier batches, what is remembered, and that it goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank.plugins import observers
from nirank_losses.memory import CrossBatchMemory
from tests.small_training import Letters
from tests.small_training import collection as letters
from tests.training_toys import Interrupt


class Listening:
    """A loss that keeps its lists."""

    skipped = 0

    def __call__(self, scores, labels, mask, documents=None):
        self.given = {"scores": scores, "labels": labels, "mask": mask, "documents": documents}
        return scores.sum()


def _memory(size=6, after=0):
    """A memory round a loss that listens, for 3 queries and 8 documents; the second query is document d5."""
    memory = CrossBatchMemory(size=size, after=after)
    memory.loss = Listening()
    corpus = Documents([f"d{number}" for number in range(8)], list("abcdefgh"))
    judged = Candidates.of([[0, 1, 6], [2, 4], [7]], [[1, 2, 1], [1, 1], [3]], corpus)
    memory.begin(Collection("few", corpus, Queries(["q0", "d5", "q2"], list("xyz")), judged), 2)
    return memory


def _batch(memory, queries, documents, seed):
    """One batch in which all lists have the same documents, all with the label 0."""
    chance = torch.Generator().manual_seed(seed)
    wanted, read = (torch.randn(len(each), 2, generator=chance) for each in (queries, documents))
    scores = wanted @ read.T
    ordinals = torch.tensor(documents)
    memory(
        scores,
        torch.zeros_like(scores),
        torch.ones_like(scores).bool(),
        ordinals.expand_as(scores),
        torch.tensor(queries),
        wanted,
        ordinals,
        read,
    )
    return wanted, read, memory.loss.given


def test_lists_get_the_documents_of_earlier_batches_with_scores_and_labels():
    memory = _memory()
    _, _, first = _batch(memory, [0], [1, 3], seed=0)
    assert first["scores"].shape == (1, 2)
    _, old, _ = _batch(memory, [0], [4, 5, 6], seed=1)
    wanted, read, given = _batch(memory, [0, 1], [0, 2, 5], seed=2)
    counted = given["mask"]
    asked = [
        dict(zip(*(each[row][counted[row]].tolist() for each in (given["documents"], given["labels"])), strict=True))
        for row in range(2)
    ]
    assert asked[0] == {0: 0, 2: 0, 5: 0, 4: 0, 6: 1, 1: 2, 3: 0}  # of the list itself as they are labelled there
    assert asked[1] == {0: 0, 2: 0, 5: 0, 4: 1, 6: 0, 1: 0, 3: 0}
    place = given["documents"][0].tolist().index(6)
    torch.testing.assert_close(given["scores"][:, place], wanted @ old[2])
    torch.testing.assert_close(given["scores"][:, :3], wanted @ read.T)


def test_a_document_counts_once_and_the_query_itself_does_not():
    memory = _memory()
    _batch(memory, [0], [4, 5], seed=0)
    _, _, given = _batch(memory, [0, 1], [3, 4], seed=1)
    shown = [given["documents"][row][given["mask"][row]].tolist() for row in range(2)]
    assert sorted(shown[0]) == [3, 4, 5]
    assert sorted(shown[1]) == [3, 4]  # d5 is the second query


def test_the_newest_are_remembered_each_once():
    memory = _memory(size=3)
    _batch(memory, [0], [0, 1], seed=0)
    _, read, _ = _batch(memory, [0], [1, 2], seed=1)
    assert memory.ordinals.tolist() == [1, 2, 0]
    torch.testing.assert_close(memory.vectors[:2], read)
    _batch(memory, [0], [3, 4, 5, 6], seed=2)
    assert memory.ordinals.tolist() == [3, 4, 5]


def test_the_memory_is_used_after_some_batches():
    memory = _memory(after=2)
    lengths = [_batch(memory, [0], [number, number + 1], seed=number)[2]["scores"].shape[1] for number in (0, 2, 4)]
    assert lengths == [2, 2, 6]


def test_a_loss_over_all_remembered_is_that_of_one_large_batch():
    """With unchanged vectors, two batches of which the second sees the first are as one list."""
    memory = CrossBatchMemory({"use": "supcon", "gamma": 4.0}, size=8)
    listening = _memory()
    memory.begin(Collection("few", *_parts()), 2)
    chance = torch.Generator().manual_seed(5)
    wanted, read = torch.randn(1, 2, generator=chance), torch.randn(4, 2, generator=chance)
    labels = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    for part in (slice(2, 4), slice(0, 2)):
        ordinals = torch.arange(4)[part]
        scores = wanted @ read[part].T
        value = memory(
            *(scores, labels[:, part], torch.ones_like(scores).bool(), ordinals.expand_as(scores)),
            *(torch.tensor([0]), wanted, ordinals, read[part]),
        )
    whole = nirank.load("supcon", gamma=4.0).component.target
    torch.testing.assert_close(value, whole(wanted @ read.T, labels, torch.ones(1, 4).bool()))
    assert listening.skipped == 0


def _parts():
    corpus = Documents([f"d{number}" for number in range(8)], list("abcdefgh"))
    return corpus, Queries(["q0"], ["x"]), Candidates.of([[0, 1]], [[1, 1]], corpus)


def test_training_with_a_memory_goes_on_to_the_same_weights(tmp_path):
    def fit(folder):
        loss = nirank.load("xbm", loss={"use": "softmax_cross_entropy", "gamma": 5.0}, size=32)
        encoder = Letters()
        options = {"sampler": "in_batch", "batch_size": 4, "steps": 20, "learning_rate": 0.05, "log_every": 1}
        fitted = nirank.fit(encoder, loss, letters(), out=folder, save_every=4, **options)
        return encoder, fitted

    whole, fitted = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt), observers.switched_on([Interrupt(11)]):
        fit(tmp_path / "cut")
    again, _ = fit(tmp_path / "cut")
    for one, other in zip(again.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not (fitted.folder / "checkpoint" / "loss.safetensors").exists()


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: CrossBatchMemory("margin_mse"), "takes teacher"),
        (lambda: CrossBatchMemory("arc_face"), "which the memory does not have"),
        (lambda: CrossBatchMemory("cross_entropy"), "score for each class"),
        (lambda: CrossBatchMemory(size=0), "a size from 1"),
        (lambda: CrossBatchMemory({"gamma": 1.0}), "a table with `use"),
        (lambda: CrossBatchMemory().begin(letters(), None), "train an encoder"),
        (lambda: CrossBatchMemory()(*[torch.zeros(1, 1)] * 3), "has not begun"),
        (lambda: _batch(_memory(), [0], [0], 0) and _wide(), "dimensions"),
    ],
)
def test_what_cannot_be_remembered_is_refused(build, match):
    with pytest.raises(BadInput, match=match):
        build()


def _wide():
    one, ordinals = torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64)
    vectors = torch.zeros(1, 5)
    _memory()(one, one, one.bool(), ordinals[None], ordinals, vectors, ordinals, vectors)


def test_negatives_of_earlier_batches_reach_the_loss_in_training():
    seen = []

    class Counting(Listening):
        def __call__(self, scores, labels, mask, documents=None):
            seen.append(int(np.asarray(mask.sum(1)).max()))
            return super().__call__(scores, labels, mask, documents)

    memory = CrossBatchMemory(size=1000)
    memory.loss = Counting()
    nirank.fit(Letters(), memory, letters(), sampler="in_batch", batch_size=4, steps=10)
    assert seen[0] <= 4
    assert seen[-1] > 20
