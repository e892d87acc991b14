"""Of the lines that were written for documents, those that a scoring finds to fit best."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.columns import to_column
from nirank.data.ids import ITERATED
from nirank.data.offsets import offsets_of
from nirank.data.queries import Queries
from nirank.data.types import Corpus, Floats, Ints
from nirank.pipeline.algebra import Scoring
from nirank.progress import progress

if TYPE_CHECKING:
    import pyarrow as pa


def best_lines(texts: pa.ChunkedArray, corpus: Corpus, by: Scoring, keep: float) -> pa.ChunkedArray:
    """The share `keep` of all lines that scores highest as queries for their documents, and those that tie with it."""
    rows = [text.split("\n") if text else [] for text in texts.to_pylist()]
    offsets = offsets_of([len(row) for row in rows])
    lines = [line for row in rows for line in row]
    if not lines:
        return texts
    scores = _scores(lines, np.repeat(np.arange(len(rows)), np.diff(offsets)), corpus, by)
    worst = np.sort(scores)[::-1][max(1, round(keep * len(scores))) - 1]
    chosen, edges = (scores >= worst).tolist(), offsets.tolist()
    parts = zip(rows, edges[:-1], edges[1:], strict=True)
    return to_column(["\n".join(compress(row, chosen[start:stop])) for row, start, stop in parts])


def _scores(lines: list[str], docs: Ints, corpus: Corpus, by: Scoring) -> Floats:
    """The score of each line as a query for its document, float32 `[lines]`."""
    found = []
    with progress("Scoring what was written", len(lines)) as advance:
        for start in range(0, len(lines), ITERATED):
            some = lines[start : start + ITERATED]
            own, none = docs[start : start + ITERATED], np.zeros(len(some), np.float32)
            pairs = Candidates(np.arange(len(some) + 1), own, none, corpus)
            found.append(by.score(Queries.of(some), pairs))
            advance(len(some))
    return np.concatenate(found)
