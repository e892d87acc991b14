"""BM25F: BM25 of documents with fields, of which each has a weight and a normalisation of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nirank.data import Corpus, field_of
from nirank.errors import BadInput, UnknownName
from nirank.kit.text import BM25Weighting, Statistics
from nirank_lexical.postings import InvertedIndex
from nirank_lexical.rankers import Indexing, LexicalRanker

Doubles = NDArray[np.float64]


class BM25F(LexicalRanker):
    """BM25 over weighted fields: `fields = {"title": 2.0, "text": 1.0}`.

    What a term's occurrences in a document are worth is added up over the fields before it is saturated, so that a word
    in the title and in the text does not count as two words do:

        tf~ = sum over fields f of w_f tf_f / (1 - b_f + b_f |d_f| / avgdl_f)
        score = sum over query tokens t of log(1 + (N - df + 0.5) / (df + 0.5)) tf~ / (k1 + tf~)

    tf_f is the count of t in the field, |d_f| the terms of the field and avgdl_f their mean over all documents, those
    too in which it is empty; df counts documents that have t in any of the fields, and idf is that of `bm25`. One field
    of weight 1 is `bm25` with `field`. The normalisation of each field apart is that of Zaragoza, Craswell, Taylor,
    Saria and Robertson, Microsoft Cambridge at TREC-13, 2004, which is called BM25F since; Robertson, Zaragoza and
    Taylor, Simple BM25 Extension to Multiple Weighted Fields, CIKM 2004, repeat the text of a field w_f times and
    normalise the whole. Terrier's BM25F is the former, with log2((N - df + 0.5) / (df + 0.5)), factors k1 + 1 = 2.2 and
    (k3 + 1) qtf / (k3 + qtf), and b_f = 1 unless it is set.

    `fields` has the weight of each field by name. `k1` and `b` default to Anserini's values for a whole text; `b` is a
    number for all fields, or one for each by name (0.4 for those that are not named). Rankers of the same
    fields and analysis share one index, whatever the weights.

    Raises `BadInput` for weights below 0 or that are all 0, for k1 below 0 and b outside 0 to 1, `UnknownName` for `b`
    of a field that has no weight.
    """

    separable = False

    def __init__(
        self,
        fields: dict[str, float],
        k1: float = 0.9,
        b: float | dict[str, float] = 0.4,
        *,
        indexing: Indexing = Indexing(),
    ) -> None:
        self.index_fields = tuple(sorted(fields))  # in whatever order they are written, it is one index
        each = _of_each(b, self.index_fields)
        weighting = BM25FWeighting(k1, tuple(float(fields[name]) for name in self.index_fields), each)
        super().__init__(weighting, indexing, fields=dict(fields), k1=k1, b=b)

    @property
    def index_key(self) -> Mapping[str, object]:
        """Settings that the index depends on: the fields and the analyser's, and not the weighting's."""
        from nirank_lexical.fields import LAYOUT

        return {"index": "fields", "layout": LAYOUT, "fields": list(self.index_fields), **self.analyzer.settings}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the index of the fields of `corpus` into `folder`, which exists and is empty."""
        from nirank_lexical.fields import write_fields

        write_fields([field_of(corpus, name) for name in self.index_fields], self.analyzer, folder, *self._means)

    def _load(self, folder: Path) -> InvertedIndex:
        return InvertedIndex.load(folder, len(self.index_fields))


@dataclass(frozen=True)
class BM25FWeighting:
    """The weighting of `BM25F`: `weights` and `b` are those of the fields, in their order in the index.

    Counts and the factors of documents come as columns, one for each field. Raises `BadInput` as `BM25F` does.
    """

    k1: float
    weights: tuple[float, ...]
    b: tuple[float, ...]
    is_product: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not all(0 <= weight < np.inf for weight in self.weights) or not any(self.weights):
            raise BadInput(
                f"the weights of fields are {list(self.weights)}; numbers of 0 or more, not all 0, are needed."
            )
        for b in self.b:
            BM25Weighting(self.k1, b)

    def per_term(self, index: Statistics) -> Doubles:
        """The inverse document frequency, of documents that have the term in any field."""
        return BM25Weighting(self.k1, 0.0).per_term(index)

    def per_document(self, index: Statistics) -> Doubles:
        """1 - b + b |d| / avgdl of each field, `[documents, fields]`."""
        means = index.lengths.mean(axis=0)
        b = np.array(self.b)
        return 1 - b + b * (index.lengths / np.where(means > 0, means, 1))

    def impacts(self, tf: Doubles, term: Any, document: Doubles) -> Doubles:
        """The formula: idf tf~ / (k1 + tf~), of counts `[matches, fields]`."""
        normalised = np.divide(tf, document, out=np.zeros_like(tf), where=tf > 0)  # an empty field may have 0
        weighted = np.zeros(len(tf))
        for weight, column in zip(self.weights, normalised.T, strict=True):  # a product of matrices may round otherwise
            weighted += weight * column
        return term * (weighted / np.where(weighted > 0, self.k1 + weighted, 1))

    def prior(self, index: Statistics) -> None:
        """None."""


def _of_each(b: float | Mapping[str, float], fields: Iterable[str]) -> tuple[float, ...]:
    if not isinstance(b, Mapping):
        return tuple(float(b) for _ in fields)
    for name in b:
        if name not in fields:
            raise UnknownName("field with a weight", name, fields)
    return tuple(float(b.get(name, 0.4)) for name in fields)


def tiny() -> BM25F:
    """Two fields."""
    return BM25F({"title": 2.0, "text": 1.0})
