"""Judgments of subtopics: lines `query subtopic document grade`, in which a document may stand for each subtopic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nirank.errors import BadInput
from nirank.files import as_path
from nirank.formats.trec_lines import QRELS, judged_lines


@dataclass(frozen=True, eq=False)
class Subtopics:
    """Judgments of subtopics as columns, `[lines]`: ids of queries and documents, numbers of subtopics, and grades."""

    queries: Sequence[str]
    documents: Sequence[str]
    subtopics: NDArray[np.int64]
    grades: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.queries)


def read_subtopics(path: str | Path) -> Subtopics:
    """The judgments of a file of TREC's four columns, of which the second names the subtopic.

    Raises `BadInput` as `read_qrels` does, but for a document that is listed for several subtopics.
    """
    path = as_path(path, "a file of judgments")
    seen: dict[tuple[str, str, str], int] = {}
    grades = []
    for number, (query, subtopic, document, grade) in judged_lines(path, QRELS):
        key = query, subtopic, document
        if key in seen:
            message = (
                f"document {document!r} of query {query!r} and subtopic {subtopic!r} is already in line {seen[key]}."
            )
            raise BadInput(message, path, number)
        seen[key] = number
        grades.append(grade)
    if not seen:
        raise BadInput(f"there are no lines; each is expected to have {QRELS}.", path)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(subtopic for _, subtopic, _ in seen))}
    subtopics = np.array([numbers[subtopic] for _, subtopic, _ in seen], np.int64)
    queries, documents = [query for query, _, _ in seen], [document for *_, document in seen]
    return Subtopics(queries, documents, subtopics, np.array(grades, np.float32))
