"""Where sampled losses lead: their optimum over free scores, from the exact expectation over all samples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from nirank.errors import BadInput

torch = pytest.importorskip("torch")

from nirank_losses.hierarchical import HierarchicalSoftmax, TreeSoftmax  # noqa: E402
from nirank_losses.sampled import NCE, NegativeSampling, SampledSoftmax, log_expected_count  # noqa: E402
from nirank_losses.tree import Tree  # noqa: E402

#: How often each of five documents is the relevant one, and how often it is drawn.
P = torch.tensor([0.42, 0.26, 0.17, 0.1, 0.05], dtype=torch.float64)
Q = torch.tensor([0.1, 0.3, 0.15, 0.25, 0.2], dtype=torch.float64)


def every_list(k, unique=False):
    """All lists of a relevant document and `k` drawn ones, `[lists, 1 + k]`, with their probabilities and mask."""
    lists = torch.tensor(list(itertools.product(range(5), repeat=k + 1)))
    weights = P[lists[:, 0]] * Q[lists[:, 1:]].prod(1)
    mask = torch.ones(lists.shape, dtype=torch.bool)
    if unique:
        for column in range(2, k + 1):
            mask[:, column] = (lists[:, column, None] != lists[:, 1:column]).all(1)
    return lists, weights, mask


def minimise(expectation, parameters):
    steps = torch.optim.LBFGS(parameters, max_iter=400, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        steps.zero_grad()
        value = expectation()
        value.backward()
        return value

    steps.step(closure)


def optimum(loss, k, unique=False, learned=()):
    """The free scores `[documents]` that make the expected loss least."""
    lists, weights, mask = every_list(k, unique)
    labels = torch.zeros(lists.shape)
    labels[:, 0] = 1
    free = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    extras = {"documents": lists}
    if not isinstance(loss, NegativeSampling):
        extras["log_expected_count"] = log_expected_count(Q.log(), k, unique)[lists]
    minimise(lambda: (weights * loss(free[lists], labels, mask, **extras)).sum(), [free, *learned])
    return free.detach()


def variation(scores, wanted):
    """The total variation between the distributions with the given logarithms (up to a constant)."""
    return 0.5 * (torch.softmax(scores, 0) - torch.softmax(wanted, 0)).abs().sum().item()


@pytest.mark.parametrize("k", [1, 2, 4])
def test_sampled_softmax_that_corrects_all_columns_and_keeps_hits_finds_p(k):
    scores = optimum(SampledSoftmax(reduction="none"), k)
    assert variation(scores, P.log()) < 1e-4


@pytest.mark.parametrize("k", [1, 2, 4])
def test_sampled_softmax_over_distinct_documents_without_hits_finds_p_nearly(k):
    scores = optimum(SampledSoftmax(reduction="none", logq_mode="inclusion"), k, unique=True)
    assert variation(scores, P.log()) < 0.01


@pytest.mark.parametrize("k", [1, 2, 4])
def test_sampled_softmax_that_corrects_the_sampled_alone_does_not_find_p(k):
    scores = optimum(SampledSoftmax(reduction="none", logq_mode="negatives"), k)
    assert variation(scores, P.log()) > 0.1


@pytest.mark.parametrize("k", [1, 3])
def test_sampled_softmax_without_correction_finds_p_over_q(k):
    scores = optimum(SampledSoftmax(reduction="none", logq_mode="none"), k)
    assert variation(scores, P.log() - Q.log()) < 1e-4


def test_the_temperature_multiplies_the_scores_before_the_correction():
    scores = optimum(SampledSoftmax(reduction="none", gamma=4.0), 2)
    assert variation(4 * scores, P.log()) < 1e-4


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("log_z", [0.0, 1.3])
def test_nce_with_a_fixed_normaliser_finds_log_p_times_it(k, log_z):
    scores = optimum(NCE(reduction="none", log_z=log_z), k)
    torch.testing.assert_close(scores, P.log() + log_z, atol=1e-3, rtol=0)
    assert variation(scores, P.log()) < 1e-4


def test_nce_with_a_learned_normaliser_finds_p_and_tells_the_normaliser():
    loss = NCE(reduction="none", log_z=2.0, learned=True)
    scores = optimum(loss, 2, learned=[loss.log_z])
    torch.testing.assert_close(scores - loss.log_z.item(), P.log(), atol=1e-3, rtol=0)
    assert loss.log_z.item() != 2.0
    assert "log_z" in loss.state_dict()


def test_nce_without_accidental_hits_finds_the_odds():
    scores = optimum(NCE(reduction="none", drop_hits=True), 2)
    torch.testing.assert_close(scores, (P / (1 - P)).log(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("k", [1, 3])
def test_negative_sampling_finds_p_over_kq(k):
    scores = optimum(NegativeSampling(reduction="none"), k)
    torch.testing.assert_close(scores, (P / Q).log() - math.log(k), atol=1e-3, rtol=0)
    assert variation(scores, (P / Q).log()) < 1e-4


# Accidental hits and expected counts


def test_accidental_hits_are_told_by_their_ids_and_dropped():
    scores, labels, mask = torch.tensor([[1.0, 2.0, 3.0, 2.0]]), torch.tensor([[1, 0, 0, 0]]), torch.ones(1, 4)
    ids, counts = torch.tensor([[7, 8, 7, 8]]), torch.zeros(1, 4)
    kept = SampledSoftmax()(scores, labels, mask, documents=ids, log_expected_count=counts)
    dropped = SampledSoftmax(drop_hits=True)(scores, labels, mask, documents=ids, log_expected_count=counts)
    distinct = SampledSoftmax(logq_mode="inclusion")(scores, labels, mask, documents=ids, log_expected_count=counts)
    exp = [math.exp(score) for score in (1, 2, 3, 2)]
    assert kept.item() == pytest.approx(math.log(sum(exp)) - 1)
    assert dropped.item() == pytest.approx(math.log(exp[0] + exp[1] + exp[3]) - 1)
    assert distinct.item() == pytest.approx(math.log(exp[0] + exp[1]) - 1)


def test_what_a_sampled_loss_needs_must_be_given():
    ones = torch.ones(1, 3)
    for loss in (SampledSoftmax(), NCE()):
        with pytest.raises(BadInput, match="log_expected_count"):
            loss(ones, ones, ones)
    for loss in (SampledSoftmax(drop_hits=True), NCE(drop_hits=True), NegativeSampling(drop_hits=True)):
        with pytest.raises(BadInput, match="needs the documents"):
            loss(ones, ones, ones)
    with pytest.raises(BadInput, match="at least 1"):
        log_expected_count(ones, 0)


def test_expected_counts_are_those_of_all_samples():
    k = 3
    samples = torch.tensor(list(itertools.product(range(5), repeat=k)))
    weights = Q[samples].prod(1)
    held = (samples[:, :, None] == torch.arange(5)).sum(1)
    torch.testing.assert_close(log_expected_count(Q.log(), k).exp(), weights @ held.double())
    torch.testing.assert_close(log_expected_count(Q.log(), k, unique=True).exp(), weights @ (held > 0).double())
    rare = log_expected_count(torch.tensor(-30.0), 5, unique=True)
    assert rare.item() == pytest.approx(math.log(5) - 30, rel=1e-5)


# Trees


def trees(count):
    random = np.random.default_rng(0)
    return {"huffman": Tree.huffman(random.pareto(1, count)), "clusters": Tree.clusters(random.normal(size=(count, 8)))}


@pytest.mark.parametrize("kind", ["huffman", "clusters"])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000])
def test_probabilities_of_the_leaves_sum_to_one(kind, count):
    tree = trees(count)[kind]
    scores = 3 * torch.randn(4, tree.inner, generator=torch.Generator().manual_seed(0))
    logs = tree.log_prob(scores)
    assert logs.shape == (4, count)
    torch.testing.assert_close(logs.exp().sum(1), torch.ones(4), atol=1e-5, rtol=0)
    documents = torch.tensor([0, count - 1, count // 2, 0])
    torch.testing.assert_close(tree.log_prob(scores, documents), logs.gather(1, documents[:, None])[:, 0])


def test_a_huffman_tree_is_as_short_as_any():
    frequencies = [5, 9, 12, 13, 16, 45]
    tree = Tree.huffman(frequencies)
    assert sorted(tree.mask.sum(1).tolist()) == [1, 3, 3, 3, 4, 4]
    assert (tree.mask.sum(1) * torch.tensor(frequencies)).sum() == 224
    assert tree.nodes[:, 0].tolist() == [0] * 6


def test_a_tree_of_clusters_is_balanced_and_keeps_neighbours_together():
    random = np.random.default_rng(1)
    centres = 10 * random.normal(size=(4, 5))
    vectors = centres[np.arange(64) % 4] + 0.1 * random.normal(size=(64, 5))
    tree = Tree.clusters(vectors)
    assert tree.mask.sum(1).tolist() == [6] * 64
    for cluster in range(4):  # 64 documents, halved twice: each cluster has a node of its own
        assert len(set(tree.nodes[cluster::4, 2].tolist())) == 1


def test_documents_that_are_all_alike_still_make_a_tree():
    tree = Tree.clusters(np.ones((5, 3)))
    torch.testing.assert_close(tree.log_prob(torch.zeros(1, 4)).exp().sum(), torch.tensor(1.0))


@pytest.mark.parametrize("frequencies", [[], [1, -1], [1, float("nan")], [[1, 2]]])
def test_frequencies_that_make_no_tree_are_refused(frequencies):
    with pytest.raises(BadInput, match="Huffman"):
        Tree.huffman(frequencies)


@pytest.mark.parametrize("vectors", [[], [1.0, 2.0], [[float("inf")]]])
def test_vectors_that_make_no_tree_are_refused(vectors):
    with pytest.raises(BadInput, match="clusters"):
        Tree.clusters(vectors)


@pytest.mark.parametrize("kind", ["huffman", "clusters"])
def test_hierarchical_softmax_finds_p(kind):
    tree = Tree.huffman(P.numpy()) if kind == "huffman" else Tree.clusters(np.arange(10.0).reshape(5, 2))
    nodes, branches, mask = tree.paths(torch.arange(5))
    free = torch.zeros(tree.inner, dtype=torch.float64, requires_grad=True)
    loss = HierarchicalSoftmax(reduction="none", gamma=2.0)
    minimise(lambda: (P * loss(free[nodes], branches, mask)).sum(), [free])
    found = tree.log_prob(2 * free.detach()[None])[0]
    assert variation(found, P.log()) < 1e-4


def test_the_loss_along_a_path_is_the_probability_of_its_leaf():
    tree = trees(20)["huffman"]
    scores, documents = torch.randn(6, tree.inner), torch.tensor([0, 3, 19, 7, 7, 1])
    nodes, branches, mask = tree.paths(documents)
    found = HierarchicalSoftmax(reduction="none")(scores.gather(1, nodes), branches, mask)
    torch.testing.assert_close(found, -tree.log_prob(scores, documents))


def one_each(documents, **more):
    """What a loss is called with for lists of one relevant document."""
    documents = torch.as_tensor(documents)[:, None]
    return {"labels": torch.ones(documents.shape), "mask": documents >= 0, "documents": documents, **more}


def test_a_tree_softmax_is_learned_and_kept_with_its_tree():
    torch.manual_seed(0)
    tree, queries = trees(12)["clusters"], torch.randn(12, 16)
    loss = TreeSoftmax(tree, 16, gamma=2.0)
    called_with = {"scores": torch.zeros(12, 1), **one_each(range(12), query_vectors=queries)}
    assert loss(**called_with).item() == pytest.approx(tree.mask.sum(1).float().mean() * math.log(2))
    steps = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(150):
        steps.zero_grad()
        loss(**called_with).backward()
        steps.step()
    assert loss.log_prob(queries).argmax(1).tolist() == list(range(12))
    torch.testing.assert_close(loss.log_prob(queries).diagonal().mean(), -loss(**called_with))
    other = TreeSoftmax(Tree.clusters(np.random.default_rng(5).normal(size=(12, 3))), 16, gamma=2.0)
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(other.log_prob(queries), loss.log_prob(queries))


def test_a_tree_softmax_costs_the_mean_over_the_relevant_documents_of_each_list():
    torch.manual_seed(1)
    loss, queries = TreeSoftmax(trees(9)["huffman"], 4, reduction="none"), torch.randn(5, 4)
    torch.nn.init.normal_(loss.node_vectors)
    documents = torch.tensor([[0, 3, 8], [7, 7, 1], [2, 4, 5], [6, 1, 0], [8, 2, 1]])
    labels = torch.tensor([[1, 0, 2], [1, 2, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0.5]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 0], [0, 1, 0]])
    logs = loss.log_prob(queries).detach()
    wanted = [-(logs[0, 0] + logs[0, 8]) / 2, -logs[1, 7], 0, -logs[3, 1], 0]
    found = loss(torch.full((5, 3), torch.nan), labels, mask, documents, queries)
    torch.testing.assert_close(found, torch.tensor(wanted))
    assert loss.skipped == 2
    one_row = loss(torch.zeros(2, 3), labels[:2], mask[:2], documents[0], queries[:2])
    torch.testing.assert_close(one_row[1], -(logs[1, 0] + logs[1, 3]) / 2)
    loss.reduction = "mean"
    torch.testing.assert_close(loss(torch.zeros(5, 3), labels, mask, documents, queries), found[[0, 1, 3]].mean())


def test_a_tree_of_one_document_costs_nothing():
    loss = TreeSoftmax(Tree.huffman([3.0]), 4)
    queries = torch.randn(2, 4, requires_grad=True)
    value = loss(torch.zeros(2, 1), **one_each([0, 0], query_vectors=queries))
    assert value.item() == 0
    value.backward()
    torch.testing.assert_close(loss.log_prob(queries), torch.zeros(2, 1))


@pytest.mark.parametrize("missing", ["documents", "query_vectors"])
def test_a_tree_softmax_says_what_it_needs(missing):
    given = one_each([0], query_vectors=torch.zeros(1, 4))
    with pytest.raises(BadInput, match=f"needs.*{missing}"):
        TreeSoftmax(Tree.huffman([1, 1]), 4)(torch.zeros(1, 1), **{**given, missing: None})


def test_a_tree_softmax_trains_an_encoder():
    pytest.importorskip("accelerate")
    import nirank
    from nirank.data import Candidates, Collection, Documents, Queries

    class Numbered(torch.nn.Module):
        """The vector of a text is a row of a table: that of the number it is."""

        vectors = "dense"

        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding.from_pretrained(torch.eye(6), freeze=False)

        def encode(self, queries):
            return self.table(torch.tensor(list(map(int, queries.contents))))

        def encode_documents(self, contents):
            return torch.zeros(len(contents), 6)

    numbers = list("012345")
    relevant = Candidates.of([[row, (row + 1) % 6] for row in range(6)]).with_scores(np.ones(12))
    collection = Collection("numbers", Documents(numbers, numbers), Queries.of(numbers), relevant)
    encoder, loss = Numbered(), TreeSoftmax(Tree.huffman(np.ones(6)), 6)
    nirank.fit(encoder, loss, collection, epochs=100, learning_rate=0.1, batch_size=6)
    best = loss.log_prob(encoder.encode(collection.queries)).topk(2).indices.sort(dim=1).values
    assert best.tolist() == [sorted([row, (row + 1) % 6]) for row in range(6)]
