"""Pairs of a query and a document as others have them, two texts each, scored by nirank's scorings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nirank import Candidates, Documents, Queries, Scoring
from nirank.data import Content, Corpus, Floats, Ids, offsets_of
from nirank.errors import BadInput
from nirank.pipeline import as_scoring


class Rescorer:
    """A scoring for documents that others have found.

    With a `corpus`, these are joined with it by their ids, and their texts must be those of the corpus; statistics of
    words and vectors are those of its indexes. Without one the texts are scored as they come, which a part that needs
    an index of the corpus (BM25, `encoder >> exact`) cannot do: it would count words in the few documents at hand.
    Raises `BadInput` for such a part.
    """

    def __init__(self, scoring: Any, corpus: Corpus | None = None) -> None:
        self.scoring, self.corpus = as_scoring(scoring), corpus
        if corpus is None:
            _refuse_indexed(self.scoring)

    def of_one(self, query: Content, ids: Sequence[str], contents: Sequence[Content]) -> Floats:
        """The scores of the documents of one query, float32 `[documents]`.

        Raises `BadInput` for a document that the corpus lacks or has with another content.
        """
        if not len(ids):
            return np.empty(0, np.float32)
        corpus, docs = self._joined(ids, contents)
        return self.scoring.score(Queries.of([query]), Candidates.of([docs], corpus=corpus))

    def of_pairs(self, queries: Sequence[Content], contents: Sequence[Content]) -> Floats:
        """The scores of pairs in any order, float32 `[pairs]`; what is equal is asked once.

        Raises `BadInput` for a scoring whose scores depend on the other documents of a list: there are no lists here.
        """
        if self.scoring.listwise:
            raise BadInput(f"{self.scoring!r} scores lists, and here are single pairs of a query and a document.")
        asked, rows = _distinct(queries)
        texts, docs = _distinct(contents)
        order = np.argsort(rows, kind="stable")
        offsets = offsets_of(np.bincount(rows, minlength=len(asked)))
        corpus = Documents(Ids([str(number) for number in range(len(texts))], unique=True), texts)
        pairs = Candidates(offsets, docs[order], np.zeros(len(docs), np.float32), corpus)
        scores = np.empty(len(docs), np.float32)
        scores[order] = self.scoring.score(Queries.of(asked), pairs)
        return scores

    def _joined(self, ids: Sequence[str], contents: Sequence[Content]) -> tuple[Corpus, Any]:
        if self.corpus is None:
            return Documents([str(number) for number in range(len(contents))], contents), np.arange(len(contents))
        docs = self.corpus.ids.find(list(ids))
        if (docs < 0).any():
            raise BadInput(f"there is no document {ids[int(np.argmin(docs))]!r} in {self.corpus!r}.")
        for name, ours, theirs in zip(ids, self.corpus[docs], contents, strict=True):
            if ours != theirs:
                raise BadInput(f"document {name!r} has another content than in {self.corpus!r}: leave `corpus` out.")
        return self.corpus, docs


def refuse_top(top_n: int | None) -> None:
    """Raise `BadInput` for a number of documents below 0, which a slice would take from the end."""
    if top_n is not None and top_n < 0:
        raise BadInput(f"top_n = {top_n}; a number of documents, or None for all, is expected.")


def _refuse_indexed(scoring: Scoring) -> None:
    if indexed := [component.name for component in scoring.components() if component.can("build")]:
        raise BadInput(
            f"{', '.join(indexed)} needs the whole corpus, for the statistics or the vectors of its index: give it, "
            "`corpus=...`."
        )


def _distinct(values: Sequence[Any]) -> tuple[list[Any], Any]:
    """Values, each once, and the place of each among them, int64 `[values]`."""
    places: dict[Any, int] = {}
    rows = [places.setdefault(value, len(places)) for value in values]
    return [*places], np.array(rows, np.int64)
