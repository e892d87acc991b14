"""Texts and images, told apart; pairs of one and the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Content, Queries, images
from nirank.errors import BadInput


def is_image(content: Content) -> bool:
    """True for an image, False for a text. Raises `BadInput` for what is neither."""
    if isinstance(content, str):
        return False
    if images.is_image(content):
        return True
    raise BadInput(f"a content is of the type {type(content).__name__}; a text or an image is expected.")


@dataclass(frozen=True)
class Pairs:
    """Pairs of a text and an image: each distinct image once, and for each pair its text and the place of its image."""

    texts: list[str]
    pictures: list[Content]
    places: NDArray[np.int64]


def pairs_of(queries: Queries, candidates: Candidates, owner: str) -> Pairs:
    """The pairs of a request, whichever side the texts are on.

    Raises `BadInput` for pairs of two texts or of two images, and for candidates without a corpus.
    """
    docs, inverse = np.unique(candidates.docs, return_inverse=True)
    documents = candidates.corpus_for(owner)[docs]
    rows, asked = candidates.rows, queries.contents
    pictured = {is_image(asked[row]) for row in np.unique(rows).tolist()}
    if pictured == {is_image(document) for document in documents} or len(pictured) > 1:
        raise BadInput(
            f"{owner} scores a text with an image: queries that are texts and documents that are images, or the other "
            "way round, are expected."
        )
    if pictured == {True}:
        return Pairs([str(documents[place]) for place in inverse.tolist()], list(asked), rows)
    return Pairs([str(asked[row]) for row in rows.tolist()], list(documents), inverse)
