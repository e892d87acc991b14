"""A dot product of weights of terms by the terms that both texts have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from nirank.data import Explanation, Floats, Ints, Mark, SparseVectors

#: Where terms stand in a text: of each its begins and ends.
Places = Mapping[str, Sequence[tuple[int, int]]]


def by_terms(label: str, scores: Floats, queries: SparseVectors, documents: SparseVectors) -> list[Explanation]:
    """One explanation for each pair of a query and the document in the same place, the largest part first.

    Parts are labelled by the numbers of their dimensions: `named` gives them their names.
    """
    pairs = enumerate(scores.tolist())
    return [Explanation(label, score, tuple(_shared(queries[row], documents[row]))) for row, score in pairs]


def _shared(query: SparseVectors, document: SparseVectors) -> list[Explanation]:
    terms, left, right = np.intersect1d(query.terms, document.terms, return_indices=True)
    products = query.weights[left].astype(np.float64) * document.weights[right]
    notes = [f"{a:.4g} in the query, {b:.4g} in the document" for a, b in _pairs(query.weights[left], document, right)]
    order = np.argsort(-products, kind="stable").tolist()
    return [Explanation(str(terms[at]), float(products[at]), note=notes[at]) for at in order]


def _pairs(weights: Floats, document: SparseVectors, right: Ints) -> list[tuple[float, float]]:
    return list(zip(weights.tolist(), document.weights[right].tolist(), strict=True))


def named(explanation: Explanation, name: Callable[[int], str], query: Places, document: Places) -> Explanation:
    """The explanation with names for the dimensions, and marks wherever a term stands in either text."""
    parts = tuple(_named(part, name(int(part.label)), query, document) for part in explanation.parts)
    return replace(Explanation.summed(explanation.label, explanation.score, parts), note=explanation.note)


def _named(part: Explanation, name: str, query: Places, document: Places) -> Explanation:
    found, own = query.get(part.label, ()), document.get(part.label, ())
    told = [part.note, "" if found else "no word of the query", "" if own else "no word of the document"]
    return replace(
        part,
        label=name,
        note=", ".join(filter(None, told)),
        query_marks=_marks(found, part.score),
        document_marks=_marks(own, part.score),
    )


def _marks(places: Sequence[tuple[int, int]], score: float) -> tuple[Mark, ...]:
    return tuple(Mark(start, end, score / len(places)) for start, end in places)
