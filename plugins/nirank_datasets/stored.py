"""Scores from a file as a scorer: a teacher that was asked once, a run of another tool."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Corpus, Floats, Queries
from nirank.errors import BadInput
from nirank.formats import read_run

Missing = float | Literal["refuse", "min"]


class Stored:
    """Scores pairs as a run does, joined by the ids of query and document.

    `run` is the path of a run in any form that `nirank.formats.read_run` reads. `missing` is the score of a pair that
    the run lacks: a number, or "min", the least that it has for the query (0 where it has nothing). Unless it is said,
    such a pair is refused with `BadInput`.
    """

    def __init__(self, run: str | Path, missing: Missing = "refuse") -> None:
        self.path, self.missing = Path(run).expanduser(), missing
        self._run = read_run(self.path)
        self._rows = {query: row for row, query in enumerate(self._run.query_ids)}
        self._joined: tuple[Corpus, Candidates] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_joined": None}  # which holds a corpus

    @property
    def fingerprint(self) -> str:
        """A hash of the scores, and of what missing pairs get."""
        found, hashed = self._run.candidates, hashlib.blake2b(digest_size=16)
        for part in (found.offsets, found.docs, found.scores):
            hashed.update(part.tobytes())
        hashed.update(repr([self._run.query_ids, list(self._run.ids), self.missing]).encode())
        return hashed.hexdigest()

    def score(self, queries: Queries, candidates: Candidates) -> NDArray[Any]:
        """The scores of the pairs, `[pairs]`. Raises `BadInput` for one that the run lacks, unless `missing` is set."""
        joined = self._over(candidates.corpus_for("stored"))
        stored = joined.take(np.array([self._rows.get(query, len(joined) - 1) for query in queries.ids], np.int64))
        scores = candidates.lookup(stored)
        lacking = np.isnan(scores)
        if lacking.any():
            scores[lacking] = self._instead(stored, queries, candidates.where(lacking))
        return scores

    def _over(self, corpus: Corpus) -> Candidates:
        """The run with ordinals of the corpus, one row a query and an empty one at the end, sorted for look-ups."""
        if self._joined is None or self._joined[0] is not corpus:
            found = self._run.align(self._run.query_ids, corpus.ids)
            order = np.lexsort((found.docs, found.rows))
            offsets = np.append(found.offsets, found.offsets[-1])
            self._joined = corpus, Candidates(offsets, found.docs[order], found.scores[order])
        return self._joined[1]

    def _instead(self, stored: Candidates, queries: Queries, lacking: Candidates) -> Floats | float:
        if self.missing == "refuse":
            query, document = queries.ids[lacking.rows[0]], lacking.corpus_for("stored").ids[lacking.docs[0]]
            raise BadInput(
                f"has no score for {lacking.pairs} pairs that are to be scored, such as query {query!r} and document "
                f'{document!r}: say what such a pair gets, missing = "min" or a number.',
                self.path,
            )
        if self.missing != "min":
            return self.missing
        least = np.full(len(stored), np.inf, np.float32)
        np.minimum.at(least, stored.rows, stored.scores)
        return np.where(np.isfinite(least), least, 0.0)[lacking.rows]


def tiny() -> Stored:
    """A run of one pair; all others get 0."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "one.run")
        path.write_text("1 Q0 d1 1 0.5 tiny\n")
        return Stored(path, missing=0.0)
