"""Hierarchical softmax: the probability of a document as a product of decisions along a tree over documents."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank_losses.lists import ListLoss, Lists, Reduced, Reduction, repeated, softplus
from nirank_losses.tree import Tree


@dataclass(kw_only=True, eq=False)
class HierarchicalSoftmax(ListLoss):
    """`L = -log p(d|q)`,  `p(d|q) = product over nodes n on the path to d of sigma(+-gamma s(q,n))`.

    Morin and Bengio, Hierarchical Probabilistic Neural Network Language Model, AISTATS 2005; with a Huffman tree
    Mikolov et al. 2013. A list is the path to the relevant document of a query: its entries are the inner nodes,
    their scores s(q,n), their labels the branches (above 0: left, the plus sign). `nirank_losses.tree.Tree.paths`
    gives nodes, labels and mask. A list costs the sum along its path, and an empty path, that to a single document,
    costs 0. Every list with a node counts.
    """

    gamma: float = 1.0

    def costs(self, lists: Lists) -> Tensor:
        """The cost of each list, `[lists]`."""
        scores = self.gamma * lists.scores
        costs = softplus(torch.where(lists.relevant, -scores, scores))
        return costs.where(lists.mask, 0).sum(1)

    def counts(self, lists: Lists) -> Tensor:
        """All paths but empty ones."""
        return lists.lengths > 0


class TreeSoftmax(Reduced, nn.Module):
    """Hierarchical softmax with a learned vector for each inner node: `s(q,n) = q . v_n`.

    It trains an encoder of queries: document number i of the corpus is leaf i of the tree, and `log_prob` ranks all of
    them. A list costs the mean of `-log p(d|q)` over its relevant documents; one without any does not count. The tree
    is kept with the weights, so a checkpoint of the loss holds both. Node vectors begin at 0, every decision even.
    """

    def __init__(self, tree: Tree, dim: int, *, gamma: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        if dim < 1:
            raise BadInput(f"TreeSoftmax: dim = {dim}; a whole number from 1 is expected.")
        self.gamma, self.reduction = gamma, reduction
        self.node_vectors = nn.Parameter(torch.zeros(tree.inner, dim))
        self.register_buffer("nodes", tree.nodes)
        self.register_buffer("branches", tree.branches)
        self.register_buffer("mask", tree.mask)

    @property
    def tree(self) -> Tree:
        """The tree, on the device of the weights."""
        return Tree(self.get_buffer("nodes"), self.get_buffer("branches"), self.get_buffer("mask"))

    def forward(
        self,
        scores: Tensor,  # noqa: ARG002 (what losses are called with)
        labels: Tensor,
        mask: Tensor,
        documents: Tensor | None = None,
        query_vectors: Tensor | None = None,
    ) -> Tensor:
        """The loss of lists with `labels` and `mask`, `[lists, length]`; scores are not looked at.

        `documents` are the numbers of the documents, `[lists, length]` or `[length]`, one that is several times in a
        list counting once; `query_vectors` `[lists, dim]`. Raises `BadInput` where either is missing.
        """
        if documents is None or query_vectors is None:
            raise BadInput("TreeSoftmax needs documents=[lists, length] and query_vectors=[lists, dim]: pass both.")
        mask = mask.bool()
        relevant = mask & (labels > 0) & ~repeated(documents, labels, mask)
        costs = query_vectors.new_zeros(relevant.shape).masked_scatter(
            relevant, self._along(query_vectors, documents.expand_as(relevant), relevant)
        )
        count = relevant.sum(1)
        return self.reduce(costs.sum(1) / count.clamp(min=1), count > 0)

    def log_prob(self, query_vectors: Tensor) -> Tensor:
        """The exact log p(d|q) of all documents, `[lists, documents]`, for vectors of queries `[lists, dim]`."""
        return self.tree.log_prob(self.gamma * query_vectors @ self.node_vectors.T)

    def _along(self, query_vectors: Tensor, documents: Tensor, chosen: Tensor) -> Tensor:
        """`-log p(d|q)` of the chosen pairs, row by row."""
        nodes, branches, mask = self.tree.paths(documents[chosen])
        queries = query_vectors[chosen.nonzero()[:, 0]]
        scores = torch.einsum("pd,pnd->pn", queries, self.node_vectors[nodes])
        return HierarchicalSoftmax(gamma=self.gamma, reduction="none")(scores, branches, mask)
