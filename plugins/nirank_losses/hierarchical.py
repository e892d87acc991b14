"""Hierarchical softmax: the probability of a document as a product of decisions along a tree over documents."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank_losses.lists import ListLoss, Lists, Reduced, Reduction, softplus
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
        """What each list costs, `[lists]`."""
        scores = self.gamma * lists.scores
        costs = softplus(torch.where(lists.relevant, -scores, scores))
        return costs.where(lists.mask, 0).sum(1)

    def counts(self, lists: Lists) -> Tensor:
        """All paths but empty ones."""
        return lists.lengths > 0


class TreeSoftmax(Reduced, nn.Module):
    """Hierarchical softmax with a learned vector for each inner node: `s(q,n) = q . v_n`.

    The tree is kept with the weights, so a checkpoint holds both. Node vectors begin at 0, every decision even.
    """

    def __init__(self, tree: Tree, dim: int, *, gamma: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        if dim < 1:
            raise BadInput(f"TreeSoftmax: vectors of {dim} dimensions; at least 1.")
        self.gamma, self.reduction = gamma, reduction
        self.node_vectors = nn.Parameter(torch.zeros(tree.inner, dim))
        for name in ("nodes", "branches", "mask"):
            self.register_buffer(name, getattr(tree, name))

    @property
    def tree(self) -> Tree:
        """The tree, on the device of the weights."""
        return Tree(self.get_buffer("nodes"), self.get_buffer("branches"), self.get_buffer("mask"))

    def forward(self, queries: Tensor, documents: Tensor) -> Tensor:
        """The mean of `-log p(d|q)` over queries (vectors `[lists, dim]`) with a document each (numbers `[lists]`)."""
        nodes, branches, mask = self.tree.paths(documents)
        if not mask.shape[1]:
            return self.reduce(queries.sum(1) * 0, mask.any(1))
        scores = torch.einsum("ld,lnd->ln", queries, self.node_vectors[nodes])
        along = HierarchicalSoftmax(gamma=self.gamma, reduction="none")
        return self.reduce(along(scores, branches, mask), mask.any(1))

    def log_prob(self, queries: Tensor) -> Tensor:
        """The exact log p(d|q) of all documents, `[lists, documents]`, for vectors of queries `[lists, dim]`."""
        return self.tree.log_prob(self.gamma * queries @ self.node_vectors.T)
