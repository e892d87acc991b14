"""Judgments of subtopics, as TREC's tracks on diversity have them: `query subtopic document grade` a line.

A document may be judged for several subtopics (aspects, intents, nuggets) of a query; measures of novelty and
diversity ask which of these a ranking covers (`nirank.evaluation.diversity`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.ids import Ids
from nirank.data.offsets import offsets_of
from nirank.errors import BadInput
from nirank.formats.layouts import SUBTOPICS
from nirank.formats.lines import Lines
from nirank.formats.trec import Run
from nirank.formats.trec_lines import lines_of, read_lines

__all__ = ["Entries", "Subtopics", "read_subtopics"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Entries:
    """Judgments of subtopics as columns, all `[judgments]`, over the rows and ordinals of other judgments.

    `rows` are queries, `docs` ordinals of documents, `subtopics` ordinals of subtopics, `grades` float32; `places` is
    where a document stands among all, by falling id, which is how ndeval settles equal gains.
    """

    rows: Numbers
    docs: Numbers
    places: Numbers
    subtopics: Numbers
    grades: NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Subtopics:
    """Judgments of subtopics.

    `documents` are the judgments of whole documents, each with its highest grade for any subtopic, as `read_qrels`
    would have them. The columns, all `[judgments]`, are the pair in `documents.candidates` that a judgment is about
    (`pairs`), its subtopic, an ordinal of `subtopic_ids`, and its grade.
    """

    documents: Run
    subtopic_ids: list[str]
    pairs: Numbers
    subtopics: Numbers
    grades: NDArray[np.float32]

    @classmethod
    def of(cls, judgments: Iterable[tuple[str, str, str, float]]) -> Subtopics:
        """Judgments from rows of query, subtopic, document and grade.

        Raises `BadInput` where there are none, for other rows, and for a document that is judged twice for a subtopic.
        """
        rows = [_row(row) for row in judgments]
        if not rows:
            raise BadInput("there are no judgments of subtopics.")
        entries = [entry for *entry, _ in rows]
        for entry in _repeated(entries):
            raise BadInput("document {1!r} of query {0!r} is judged twice for subtopic {2!r}.".format(*entry))
        return _of_lines(lines_of(entries, [grade for *_, grade in rows]))

    def __len__(self) -> int:
        return len(self.documents)

    def __repr__(self) -> str:
        sizes = f"{len(self):,} queries, {len(self.subtopic_ids):,} subtopics, {len(self.pairs):,} judgments"
        return f"<Subtopics: {sizes}>"

    def over(self, judgments: Candidates, query_ids: Sequence[str]) -> Entries:
        """The columns over `judgments`, which are rows of `documents`, of queries `query_ids`, with other ordinals."""
        whole = self.documents.candidates
        row_of = {query: row for row, query in enumerate(query_ids)}
        rows = np.array([row_of.get(query, -1) for query in self.documents.query_ids], np.int64)
        former = whole.rows[self.pairs]
        kept = rows[former] >= 0
        pairs, former = self.pairs[kept], former[kept]
        docs = judgments.docs[judgments.offsets[rows[former]] + pairs - whole.offsets[former]]
        places = self._falling()[whole.docs[pairs]]
        return Entries(rows[former], docs.astype(np.int64), places, self.subtopics[kept], self.grades[kept])

    def _falling(self) -> Numbers:
        """The place of each document by falling id, byte by byte, `[documents]`."""
        names = np.array([name.encode() for name in self.documents.ids], object)
        places = np.empty(len(names), np.int64)
        places[np.argsort(names)[::-1]] = np.arange(len(names))
        return places


def read_subtopics(path: str | Path) -> Subtopics:
    """The judgments of subtopics in a file, plain or compressed, in TREC's columns `query subtopic document grade`.

    Grades are whole numbers and may be negative. Raises `BadInput` with file and line for other columns, a grade that
    is no whole number, and a document that is judged twice for a subtopic of a query.
    """
    return _of_lines(read_lines(path, SUBTOPICS))


def _of_lines(lines: Lines) -> Subtopics:
    columns: Any = (lines.documents, lines.subtopics)
    (documents, docs), (subtopics, codes) = (column.encoded() for column in columns)
    ids = Ids(documents, unique=True)
    keys = lines.rows.astype(np.int64) * len(ids) + docs
    distinct, pairs = np.unique(keys, return_inverse=True)
    highest = np.full(len(distinct), -np.inf, np.float32)
    np.maximum.at(highest, pairs, lines.values)
    lengths = np.bincount(distinct // len(ids), minlength=len(lines.query_ids))
    whole = Candidates(offsets_of(lengths), distinct % len(ids), highest, query_ids=lines.query_ids)
    codes = codes.astype(np.int64)
    return Subtopics(Run(lines.query_ids, ids, whole), subtopics.to_pylist(), pairs, codes, lines.values)


def _row(row: Any) -> tuple[str, str, str, float]:
    """Query, document, subtopic and grade of a row of query, subtopic, document and grade."""
    try:
        query, subtopic, document, grade = row
        return str(query), str(document), str(subtopic), float(grade)
    except (TypeError, ValueError):
        raise BadInput(
            f"judgments of subtopics are rows (query, subtopic, document, grade), not {row!r:.80}."
        ) from None


def _repeated(entries: Sequence[Sequence[str]]) -> Iterable[Sequence[str]]:
    seen = set()
    for entry in map(tuple, entries):
        if entry in seen:
            yield entry
        seen.add(entry)
