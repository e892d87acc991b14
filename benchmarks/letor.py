"""LETOR 4.0 MQ2008: queries with judged documents, each of which is 46 features; its folds, and a sampler of its lists.

The collection made of its files has one document a line, whose content is that row of features, so that whatever nirank
trains can be trained on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data import Candidates, Collection, Floats, Ids, Ints, Queries
from nirank.errors import BadInput
from nirank.training import Each, Sample
from nirank_ltr.letor_files import LetorRows, read_letor

FEATURES, FOLDS = 46, 5


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """A corpus whose contents are rows of features, float32 `[documents, features]`."""

    ids: Ids
    features: Floats

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, ordinals: Ints | slice) -> Floats:
        return self.features[ordinals]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids and features."""
        return blake2b("\n".join(self.ids).encode() + self.features.tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True, eq=False)
class Fold:
    """What is learned from, what chooses the best weights, and what is measured in the end."""

    train: Collection
    vali: Collection
    test: Collection


def folds(folder: Path) -> Iterator[Fold]:
    """The five folds: of the files S1 to S5 three train, the next one validates and the next one tests, in turns."""
    for first in range(FOLDS):
        files = [folder / f"S{(first + place) % FOLDS + 1}.txt" for place in range(FOLDS)]
        yield Fold(*(read(part, f"mq2008/{first + 1}") for part in (files[:3], files[3:4], files[4:])))


def read(paths: list[Path], name: str) -> Collection:
    """The queries of some files, in the order in which they come, with all their documents and labels.

    A document has the id `QUERY:DOCUMENT`, since its features depend on the query. Raises `BadInput` as `read_letor`
    does, and for files of another number of features.
    """
    parts = [_rows(path) for path in paths]
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    asked = [query for part in parts for query in part.queries]
    rows = np.repeat(np.arange(len(asked)), sizes).tolist()
    documents = [document for part in parts for document in part.documents]
    ids = Ids([f"{asked[row]}:{document}" for row, document in zip(rows, documents, strict=True)])
    corpus = FeatureRows(ids, np.concatenate([part.values for part in parts]))
    labels = np.concatenate([part.labels for part in parts])
    judged = Candidates(np.cumsum([0, *sizes]), np.arange(len(labels)), labels, corpus)
    return Collection(name, corpus, Queries(asked, asked), judged)


@cache  # a file is part of every fold
def _rows(path: Path) -> LetorRows:
    rows = read_letor(path)
    if len(rows.names) != FEATURES:
        raise BadInput(f"has {len(rows.names)} features; MQ2008 has {FEATURES}.", path)
    return rows


@dataclass(kw_only=True)
class DrawnFromList:
    """Each relevant document with `negatives` others of its query's n judged ones, each as likely, with replacement.

    They are drawn from within the list because features describe a document for its query, and for no other. What is
    relevant may be drawn too (losses of samples ask for it); `unique` leaves one of each document and drops those that
    are relevant. Expected counts are `log(k / n)` and, for `unique`, `log(1 - (1 - 1/n)^k)`.
    """

    negatives: int = 8
    unique: bool = False
    each: Each = "positive"

    def begin(self, collection: Collection, stages: Mapping[str, Any]) -> None:  # noqa: ARG002 (as samplers are called)
        """Take note of the judgments."""
        self._judged = collection.judgments

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:
        """The lists, the relevant document first."""
        sizes = self._judged.lengths[rows][:, None]
        places = self._judged.offsets[rows][:, None] + random.integers(0, sizes, (len(rows), self.negatives))
        drawn, kept = self._judged.docs[places], np.ones(places.shape, bool)
        if self.unique:
            drawn = np.sort(drawn, axis=1)
            kept[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
            relevant = self._judged.docs[self._judged.scores > 0]
            kept &= ~np.isin(drawn, relevant)
        docs = np.column_stack([positives.docs, drawn])
        labels = np.column_stack([positives.scores, np.zeros(drawn.shape)])
        kept = np.column_stack([np.ones(len(rows), bool), kept])
        lists = Candidates.from_matrix(docs, labels, kept, self._judged.corpus)
        counts = np.log(1 - (1 - 1 / sizes) ** self.negatives) if self.unique else np.log(self.negatives / sizes)
        return Sample(lists, np.repeat(counts[:, 0], lists.lengths).astype(np.float32))


class SideBySide:
    """The judged documents of each query in columns of their own, all queries of a batch in one matrix.

    For losses that look along columns too: there every document of MQ2008 stands alone, belonging to one query.
    """

    each: Each = "query"

    def begin(self, collection: Collection, stages: Mapping[str, Any]) -> None:  # noqa: ARG002 (as samplers are called)
        """Take note of the judgments."""
        self._judged = collection.judgments

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:  # noqa: ARG002
        """For each query the documents of all; those of the others are masked."""
        own = self._judged.take(rows)
        every = np.tile(own.docs, len(rows))
        lists = Candidates(own.pairs * np.arange(len(rows) + 1), every, np.tile(own.scores, len(rows)), own.corpus)
        return Sample(lists, mask=(own.rows == np.arange(len(rows))[:, None]).ravel(), shared=True)
