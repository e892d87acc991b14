"""MaxSim by the tokens of the query: what each found in the document, and the matrix of all pairs of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nirank.data import Explanation, Floats, Mark, Matches


class Token(NamedTuple):
    """A token of a text that has a vector: its name, and begin and end in the text, equal for one that is not in it."""

    name: str
    start: int = 0
    end: int = 0


def by_tokens(label: str, score: float, query: Floats, document: Floats) -> Explanation:
    """The explanation of one pair by its vectors, float32 `[tokens, dim]`; tokens are numbered from 1."""
    similarities = query @ document.T
    rows, columns = ([Token(str(number + 1)) for number in range(size)] for size in similarities.shape)
    return _explained(Explanation(label, score), similarities, rows, columns)


def named(explanation: Explanation, query: Sequence[Token], document: Sequence[Token]) -> Explanation:
    """The explanation with the names and places of the tokens, where there are as many as vectors."""
    matches = explanation.matches
    if matches is None or matches.values.shape != (len(query), len(document)):
        return explanation
    return _explained(explanation, matches.values, query, document)


def _explained(
    explanation: Explanation, similarities: Floats, query: Sequence[Token], document: Sequence[Token]
) -> Explanation:
    best = similarities.argmax(axis=1).tolist() if similarities.size else []
    parts = tuple(
        Explanation(
            token.name,
            float(similarities[row, column]),
            note=f"nearest is {document[column].name}",
            query_marks=_mark(token, similarities[row, column]),
            document_marks=_mark(document[column], similarities[row, column]),
        )
        for row, (token, column) in enumerate(zip(query, best, strict=bool(best)))
    )
    names = tuple(token.name for token in query), tuple(token.name for token in document)
    whole = Explanation.summed(explanation.label, explanation.score, parts)
    return replace(whole, note=explanation.note, matches=Matches(*names, np.asarray(similarities, np.float32)))


def _mark(token: Token, weight: float) -> tuple[Mark, ...]:
    return (Mark(token.start, token.end, float(weight)),) if token.start < token.end else ()
