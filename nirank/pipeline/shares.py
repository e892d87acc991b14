"""The share of each list in a fused score.

Most methods are linear in the weights of the lists: the share of one list is the score with the weights of the others
at 0. Of the others one list decides, the one with the highest or the least score, or all together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.pipeline import fusion

#: Methods whose score is no sum of what lists bring, and what it is.
_UNDIVIDED = {
    "combmax": "the highest of the lists' scores, weighted and normalised",
    "combmin": "the least of the lists' scores, weighted and normalised",
    "combmed": "the median of the lists' scores, weighted and normalised",
    "condorcet": "1, and 1 for each document that it beats, and a half for each tie",
}

#: How a list is called, where the document stands in it, and the list itself.
Named = tuple[str, str, Candidates]


@dataclass(frozen=True)
class Shares:
    """A method of fusion with its weights and settings."""

    method: str
    weights: Sequence[float]
    settings: Mapping[str, Any]

    def explained(self, label: str, lists: Sequence[Named], doc: int) -> Explanation | None:
        """The fused score of a document with a part for each list; None where no list has it."""
        found = [each for _, _, each in lists]
        score = self._score(found, self.weights, doc)
        if score is None:
            return None
        if self.method in _UNDIVIDED:
            return Explanation(label, score, note="; ".join([_UNDIVIDED[self.method], *(note for _, note, _ in lists)]))
        alone = np.diag(np.asarray(self.weights, np.float64))
        parts = tuple(
            Explanation(name, self._score(found, own, doc) or 0.0, note=note)
            for (name, note, _), own in zip(lists, alone, strict=True)
        )
        return Explanation(label, score, parts)

    def _score(self, found: Sequence[Candidates], weights: Any, doc: int) -> float | None:
        docs, scores = fusion.METHODS[self.method](found, np.asarray(weights), **self.settings)[0]
        places = np.flatnonzero(docs == doc)
        return float(scores[places[0]]) if len(places) else None
