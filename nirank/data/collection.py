"""A test collection: a corpus, queries, and judgments of relevance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from nirank.data import listings
from nirank.data.candidates import Candidates
from nirank.data.fingerprint import content_bytes
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus, Ints
from nirank.errors import BadInput
from nirank.hashing import digest


@dataclass(frozen=True)
class Collection:
    """A test collection: a corpus, queries, and judgments of relevance.

    `judgments` has one row per query; a judged document that the corpus lacks keeps an ordinal beyond the
    corpus, so that it counts in recall and in ideal rankings as it does for trec_eval.

    `weights` says how much a judgment is to count in training, where that differs: for each query documents, whose
    scores are weights above 0. Losses that take weights learn by them; in measures all judgments count alike.
    """

    name: str
    corpus: Corpus
    queries: Queries
    judgments: Candidates
    weights: Candidates | None = None

    def __post_init__(self) -> None:
        self._check()
        if len(self.queries) != len(self.judgments):
            raise BadInput(
                f"{len(self.queries)} queries with judgments of {len(self.judgments)}; one row per query is needed.",
                self.name,
            )
        object.__setattr__(self, "judgments", self._known())
        if self.weights is not None:
            self._check_weights(self.weights)

    def _check(self) -> None:
        """Join judgments of a file by ids; raise `BadInput` for anything else in the place of a part."""
        if isinstance(self.corpus, (str, Sequence, Mapping, Path, type(None))) and not hasattr(self.corpus, "ids"):
            raise BadInput(f"a corpus is expected, such as `nirank.Documents(ids, texts)`, not {_kind(self.corpus)}.")
        if not isinstance(self.queries, Queries):
            raise BadInput(f"`nirank.Queries(ids, contents)` are expected, not {_kind(self.queries)}.")
        if hasattr(self.judgments, "align"):  # what `nirank.read_qrels` returns
            judgments: Candidates = self.judgments.align(self.queries.ids, self.corpus.ids).over(self.corpus)
            object.__setattr__(self, "judgments", judgments)
        if not isinstance(self.judgments, Candidates):
            raise BadInput(
                f"judgments are `nirank.Candidates`, or what `nirank.read_qrels` returns, not {_kind(self.judgments)}."
            )

        self.judgments.refuse_negative("judgments")

    def _known(self) -> Candidates:
        """The judgments with the ids of their queries and their corpus, by which measures join.

        Those of the same queries in another order are put into this one; others are taken to be of these queries.
        """
        judgments, ids = self.judgments, [*self.queries.ids]
        known = [*(judgments.query_ids or ())]
        if known != ids and len({*ids}) == len(ids) and {*known} == {*ids}:
            row = {query: number for number, query in enumerate(known)}
            judgments = judgments.take(np.array([row[query] for query in ids], np.int64))
        elif known != ids:
            judgments = judgments.for_queries(self.queries.ids)
        return judgments if judgments.corpus is not None else judgments.over(self.corpus)

    def _check_weights(self, weights: Candidates) -> None:
        """Raise `BadInput` for weights of other queries, and for those that are no finite numbers above 0."""
        if not isinstance(weights, Candidates):
            raise BadInput(
                f"weights are `nirank.Candidates`, whose scores are weights, not {_kind(weights)}.", self.name
            )
        if len(weights) != len(self.queries) or [*(weights.query_ids or self.queries.ids)] != [*self.queries.ids]:
            raise BadInput(
                "the weights are of other queries than the judgments; one row per query is needed.", self.name
            )
        wrong = np.flatnonzero(~((weights.scores > 0) & (weights.scores < np.inf)))  # or NaN
        if len(wrong):
            raise BadInput(
                f"a judgment has the weight {weights.scores[wrong[0]]:g}; one above 0 is expected.", self.name
            )

    def __repr__(self) -> str:
        sizes = f"{len(self.corpus):,} documents, {len(self.queries):,} queries, {self.judgments.pairs:,} judgments"
        return f"<Collection {self.name}: {sizes}>"

    def _repr_html_(self) -> str:
        return listings.collection_html(self)

    def take(self, queries: Ints | slice) -> Collection:
        """The same corpus with only the given queries."""
        weights = None if self.weights is None else self.weights.take(queries)
        return replace(
            self, queries=self.queries.take(queries), judgments=self.judgments.take(queries), weights=weights
        )


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def _told(content: Content) -> str:
    """A text, a path or bytes as text; of an image in memory, which says where it lies, a hash of its pixels."""
    return str(content) if isinstance(content, (str, PurePath, bytes)) else digest(content_bytes(content).hex())


def fingerprints(collection: Collection) -> dict[str, str]:
    """The name of a collection, a hash of its documents, and one of its judgments and queries: none other has these."""
    parts = [collection.judgments, *([collection.weights] if collection.weights is not None else [])]
    columns = [column.tobytes() for part in parts for column in (part.offsets, part.docs, part.scores)]
    queries = [_told(content) for content in collection.queries.contents]
    hashed = digest([column.hex() for column in columns] + queries)
    return {"name": collection.name, "corpus": collection.corpus.fingerprint, "judgments": hashed}
