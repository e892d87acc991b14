"""Losses beside those of the libraries that people come from, on the same numbers."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
peers = pytest.importorskip("sentence_transformers.losses")

from nirank_losses.angles import AnglE  # noqa: E402
from nirank_losses.contrastive_pairs import CLIPLoss  # noqa: E402
from nirank_losses.similarity import MegaBatchMargin  # noqa: E402
from nirank_losses.softmaxes import CoSENT, GuidedSoftmax  # noqa: E402


class Given(torch.nn.Module):
    """A model of sentence-transformers whose vectors are what it is given."""

    def __init__(self):
        super().__init__()
        self.tokenizer, self.max_seq_length = None, 8

    def forward(self, features):
        return {"sentence_embedding": features["vectors"]}


def vectors(seed, count=6, dim=5):
    made = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(made, dim=1)


def test_cosent_of_a_batch_is_that_of_sentence_transformers():
    left, right, labels = vectors(0), vectors(1), torch.tensor([0.0, 1.0, 0.5, 0.5, 1.0, 0.2])
    wanted = peers.CoSENTLoss(Given())([{"vectors": left}, {"vectors": right}], labels)
    cosines = (left * right).sum(1, keepdim=True)
    found = CoSENT(over="batch")(cosines, labels[:, None], torch.ones(6, 1, dtype=torch.bool))
    torch.testing.assert_close(found, wanted)


def test_guided_softmax_leaves_out_what_the_guide_finds_nearer():
    queries, documents = vectors(2), vectors(3)
    guide_queries, guide_documents = vectors(4), vectors(5)
    scores, guide = queries @ documents.T, guide_queries @ guide_documents.T
    labels, mask = torch.eye(6), torch.ones(6, 6, dtype=torch.bool)
    found = GuidedSoftmax(gamma=100.0, reduction="none")(scores, labels, mask, teacher=guide)
    for row in range(6):
        kept = [column for column in range(6) if column == row or guide[row, column] <= guide[row, row]]
        wanted = torch.logsumexp(100 * scores[row, kept], 0) - 100 * scores[row, row]
        torch.testing.assert_close(found[row], wanted)
    assert (guide > guide.diagonal()[:, None]).any()


@pytest.mark.parametrize("dim", [4, 5])
def test_angle_of_a_batch_is_that_of_sentence_transformers(dim):
    left, right, labels = vectors(0, dim=dim), vectors(1, dim=dim), torch.tensor([0.0, 1.0, 0.5, 0.5, 1.0, 0.2])
    wanted = peers.AnglELoss(Given())([{"vectors": left}, {"vectors": right}], labels)
    places = torch.tensor([[5], [0], [3], [1], [2], [4]])
    shown = torch.zeros_like(right)
    shown[places[:, 0]] = right
    one = torch.zeros(6, 1), labels[:, None], torch.ones(6, 1, dtype=torch.bool)
    ordinals = torch.arange(0, 60, 10)  # of the distinct documents of the batch
    found = AnglE(over="batch")(*one, ordinals[places], left, ordinals, shown)
    torch.testing.assert_close(found, wanted)


def test_mega_batch_margin_is_that_of_sentence_transformers():
    left, right = vectors(6, count=9), vectors(7, count=9)
    peer = peers.MegaBatchMarginLoss(Given(), use_mini_batched_version=False)
    wanted = peer([{"vectors": left}, {"vectors": right}], None)
    found = MegaBatchMargin()(left @ right.T, torch.eye(9), torch.ones(9, 9, dtype=torch.bool))
    torch.testing.assert_close(found, wanted)


def test_clip_that_learns_no_scale_is_the_symmetric_ranking_loss():
    left, right = vectors(8), vectors(9)
    wanted = peers.MultipleNegativesSymmetricRankingLoss(Given())([{"vectors": left}, {"vectors": right}], None)
    loss = CLIPLoss(scale=20.0, learned=False)
    torch.testing.assert_close(loss(left @ right.T, torch.eye(6), torch.ones(6, 6, dtype=torch.bool)), wanted)
    assert not [each for each in loss.parameters() if each.requires_grad]
