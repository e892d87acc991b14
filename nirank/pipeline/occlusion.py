"""Occlusion: what a score loses where a word of the document, or a patch of a picture, is left out.

Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, cover patches of a picture. Words
that are left out one by one do not add up to the score of a model that reads them together: the difference is the part
`rest`, and the larger it is, the less single words say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.data import images
from nirank.data.explanation import Explanation, Mark, Matches
from nirank.data.types import Content
from nirank.errors import MissingDependency

if TYPE_CHECKING:
    from nirank.data.types import Floats

#: Scores of queries, each with its own document.
Scores = Callable[[Sequence[tuple[Content, Content]]], "Floats"]

#: The most stretches that a text is cut into: a longer text has several words in each.
STRETCHES = 64
#: Rows and columns of patches.
PATCHES = 6
_NOTE = "each part is what the score loses without it; they need not add up, and the rest is what they leave"
_REST = "rest"


def occluded(label: str, score: float, query: Content, document: Content, scores: Scores) -> Explanation:
    """The parts of a score by occlusion of the document, and marks of the query's words by that of the query."""
    marks = _lost(score, query, lambda texts: scores([(text, document) for text in texts]))

    def of_documents(contents: Sequence[Content]) -> Floats:
        return scores([(query, content) for content in contents])

    if isinstance(document, str):
        return _of_text(label, score, document, of_documents, marks)
    return _of_picture(label, score, document, of_documents, marks)


def _of_text(label: str, score: float, text: str, scores: Any, query_marks: tuple[Mark, ...]) -> Explanation:
    marks = _lost(score, text, scores)
    parts = tuple(Explanation(text[mark.start : mark.end], mark.weight, document_marks=(mark,)) for mark in marks)
    return Explanation(label, score, _with_rest(score, parts), _NOTE, query_marks, marks)


def _of_picture(label: str, score: float, picture: Content, scores: Any, query_marks: tuple[Mark, ...]) -> Explanation:
    lost = (score - np.asarray(scores(_covered(picture)), np.float64)).reshape(PATCHES, PATCHES)
    names = [str(number + 1) for number in range(PATCHES)]
    parts = tuple(
        Explanation(f"patch, row {row + 1}, column {column + 1}", float(lost[row, column]))
        for row, column in np.ndindex(lost.shape)
    )
    seen = Matches(tuple(f"row {name}" for name in names), tuple(f"column {name}" for name in names), _floats(lost))
    note = f"{_NOTE}; the matrix has the patches as they lie in the picture"
    return Explanation(label, score, _with_rest(score, parts), note, query_marks, matches=seen)


def _with_rest(score: float, parts: tuple[Explanation, ...]) -> tuple[Explanation, ...]:
    return (*parts, Explanation(_REST, score - sum(part.score for part in parts)))


def _lost(score: float, text: Content, scores: Any) -> tuple[Mark, ...]:
    """The stretches of a text, each with what the score loses without it; of what is no text, none."""
    places = _stretches(text) if isinstance(text, str) else []
    if not places or not isinstance(text, str):
        return ()
    others = scores([text[:start] + text[end:] for start, end in places])
    lost = score - np.asarray(others, np.float64)
    return tuple(Mark(start, end, float(each)) for (start, end), each in zip(places, lost, strict=True))


def _stretches(text: str) -> list[tuple[int, int]]:
    """The words of a text as begin and end, several together where there are many."""
    try:
        from nirank.kit.text.word_breaks import lower, spans
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"Leaving out words needs the package {error.name!r}, which is not installed. "
            "Run: pip install 'nirank[lexical]'",
            name=error.name,
        ) from error
    found = [(start, end) for start, end, _ in spans(lower(text))]
    edges = np.linspace(0, len(found), min(len(found), STRETCHES) + 1).round().astype(int).tolist()
    return [(found[first][0], found[last - 1][1]) for first, last in pairwise(edges)]


def _covered(content: Content) -> list[Content]:
    """A picture with one patch after the other in its median colour, which is that of a background, row by row."""
    from PIL import Image

    pixels = np.asarray(images.read(content))
    colour = np.median(pixels.reshape(-1, pixels.shape[2]), axis=0).round().astype(pixels.dtype)
    rows, columns = (np.linspace(0, size, PATCHES + 1).round().astype(int) for size in pixels.shape[:2])
    found: list[Content] = []
    for row, column in np.ndindex(PATCHES, PATCHES):
        covered = pixels.copy()
        covered[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = colour
        found.append(Image.fromarray(covered))
    return found


def _floats(values: Any) -> Floats:
    return np.asarray(values, np.float32)
