"""Distributions that documents are drawn from: q(d) over the documents of a corpus."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data import Floats, Ints

Shares = NDArray[np.float64]


class Noise(Protocol):
    """A distribution over the documents of a corpus."""

    def draw(self, shape: tuple[int, int], random: np.random.Generator) -> Ints:
        """Ordinals, drawn with replacement."""

    def shares(self, docs: Ints) -> Shares:
        """q(d) for each of `docs`."""


class Even:
    """A distribution with one probability for all documents."""

    def __init__(self, documents: int) -> None:
        self.documents = documents

    def draw(self, shape: tuple[int, int], random: np.random.Generator) -> Ints:
        """Ordinals, drawn with replacement."""
        return random.integers(0, self.documents, shape)

    def shares(self, docs: Ints) -> Shares:
        """One share for all, `[len(docs)]`."""
        return np.full(len(docs), 1 / self.documents)


class Counted:
    """A distribution in proportion to a power of counts, `[documents]`, all above 0.

    Documents of one count are alike: a draw chooses a count and then one of its documents, so that the cost hardly
    depends on the size of the corpus.
    """

    def __init__(self, counts: NDArray[np.floating[Any]], power: float) -> None:
        values, self._kinds, sizes = np.unique(counts, return_inverse=True, return_counts=True)
        weights = (values / values.max()) ** power
        self._sizes, self._shares = sizes, weights / (weights @ sizes)
        self._edges = np.cumsum(self._shares * sizes)
        self._by_kind, self._starts = np.argsort(self._kinds, kind="stable"), np.cumsum(sizes) - sizes

    def draw(self, shape: tuple[int, int], random: np.random.Generator) -> Ints:
        """Ordinals, drawn with replacement."""
        kinds = np.searchsorted(self._edges[:-1], random.random(shape), side="right")
        return self._by_kind[self._starts[kinds] + random.integers(0, self._sizes[kinds])]

    def shares(self, docs: Ints) -> Shares:
        """q(d) for each of `docs`."""
        return self._shares[self._kinds[docs]]


def log_counts(shares: Shares, draws: int, unique: bool) -> Floats:
    """Logarithms of the expected counts, in a sample, of documents of these shares, float32.

    `log(k q)` for `draws` = k with replacement; for `unique`, the distinct documents among them,
    `log(1 - (1 - q)^k)`.
    """
    counts = log_inclusion(log_missed(shares, draws)) if unique else np.log(draws * shares)
    return counts.astype(np.float32)


def log_missed(shares: ArrayLike, draws: int) -> Shares:
    """The logarithm of the probability that no draw takes a document of such a share, `k log(1 - q)`."""
    with np.errstate(divide="ignore"):  # a document that is all there is is never missed: log 0
        return draws * np.log1p(-np.asarray(shares, np.float64)) if draws else np.zeros(np.shape(shares))


def log_inclusion(missed: Shares) -> Shares:
    """`log(1 - exp(missed))`: the probability that a document is there, of the one that it is missed."""
    return np.log(-np.expm1(missed))
