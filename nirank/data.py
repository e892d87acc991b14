"""The data that flows: queries, corpora, candidates, collections.

`Candidates` is the one type that a run, its judgments and a training batch share: for each query the
documents found for it, as one compressed sparse row. Documents are ordinals into a corpus; their string
ids live in `Corpus.ids` and appear only where text is read or written. Columns are numpy arrays on the
host, so lexical search, fusion and evaluation need no tensor library.

One tie rule holds everywhere in nirank: falling score, then rising ordinal.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.errors import BadInput

if TYPE_CHECKING:
    from nirank.corpus import Ids

#: What is searched and searched with: a text, or an image: its path, the bytes of its file, or one of PIL.
Content: TypeAlias = Any
#: What an encoder returns: dense `[n, dim]`, token vectors (ragged) or term weights (sparse).
Vectors: TypeAlias = Any

#: So few numbers are looked at faster in Python than in numpy.
_FEW = 32

Ints: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Queries:
    """Queries in the order they were asked.

    `ids` and `contents` have equal length. `vectors` is what a query encoder made of them; a generator that
    searches vectors reads it there. `found` is what is known to have been found for them: the lists that come with a
    collection, or what the ranking before a feedback encoder found.
    """

    ids: Sequence[str]
    contents: Sequence[Content]
    vectors: Vectors | None = None
    found: Candidates | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.contents):
            raise BadInput(f"{len(self.ids)} query ids for {len(self.contents)} queries; one id per query is expected.")
        if self.found is not None and len(self.found) != len(self.ids):
            raise BadInput(f"what was found for {len(self.found)} queries beside {len(self.ids)} queries.")

    @classmethod
    def of(cls, contents: Content | Iterable[Content]) -> Queries:
        """Number the given contents `1, 2, ...`; a single text is one query, and `Queries` pass through."""
        if isinstance(contents, Queries):
            return contents
        contents = list(contents) if _is_many(contents) else [contents]
        return cls([str(number) for number in range(1, len(contents) + 1)], contents)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Ints | slice) -> Queries:
        """The queries at `rows`, in that order, with their vectors."""
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        vectors = None if self.vectors is None else self.vectors[rows]
        found = None if self.found is None else self.found.take(rows)
        return Queries([self.ids[row] for row in chosen], [self.contents[row] for row in chosen], vectors, found)

    def with_vectors(self, vectors: Vectors) -> Queries:
        """The same queries with what an encoder made of them."""
        return replace(self, vectors=vectors)

    def with_found(self, found: Candidates | None) -> Queries:
        """The same queries with what was found for them."""
        return replace(self, found=found)


@runtime_checkable
class Corpus(Protocol):
    """The documents that are searched: `nirank.corpus` holds the ones that come with nirank."""

    @property
    def ids(self) -> Ids:
        """The string id of each ordinal."""

    @property
    def fingerprint(self) -> str:
        """A hash of all ids and contents; equal corpora have equal fingerprints on every machine."""

    def __len__(self) -> int: ...

    def __getitem__(self, ordinals: Any) -> Sequence[Content]:
        """The contents at `ordinals` (an array of integers, or a slice)."""


@dataclass(frozen=True, eq=False)
class Features:
    """Numbers that describe pairs, each with a name: `values` are float32 `[pairs, names]`."""

    names: tuple[str, ...]
    values: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "values", np.ascontiguousarray(self.values, dtype=np.float32))
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names):
            raise BadInput(f"{len(self.names)} names for features of the shape {self.values.shape}.")
        if len(set(self.names)) != len(self.names):
            twice = next(name for place, name in enumerate(self.names) if name in self.names[:place])
            raise BadInput(f"there are two features called {twice!r}.")

    def __len__(self) -> int:
        return len(self.values)

    def take(self, pairs: Ints | slice | NDArray[np.bool_]) -> Features:
        """Those of some pairs."""
        return Features(self.names, self.values[pairs])


@dataclass(frozen=True, eq=False)
class Candidates:
    """For each query the documents found for it, as one compressed sparse row.

    The documents of query `i` are `docs[offsets[i]:offsets[i + 1]]`, with `scores` beside them. `offsets` is
    int64 `[queries + 1]`; `docs` int32 or int64 and `scores` float32, both `[pairs]`. In judgments the scores
    are relevance grades. `corpus` is the one that `docs` are ordinals of. `features` are what a ranker over features
    reads, one row a pair; they stay with the pairs until these are ranked anew or joined with others.
    """

    offsets: NDArray[np.int64]
    docs: Ints
    scores: Floats
    corpus: Corpus | None = field(default=None, repr=False)
    features: Features | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        set_column = object.__setattr__  # the dataclass is frozen for users, not for its own construction
        set_column(self, "offsets", np.ascontiguousarray(self.offsets, dtype=np.int64))
        set_column(self, "docs", _integers(self.docs))
        set_column(self, "scores", np.ascontiguousarray(self.scores, dtype=np.float32))
        if self.docs.shape != self.scores.shape or self.docs.ndim != 1:
            raise BadInput(f"docs {self.docs.shape} and scores {self.scores.shape} must be columns of one length.")
        if not len(self.offsets) or self.offsets[0] != 0 or self.offsets[-1] != len(self.docs):
            raise BadInput(f"offsets must start at 0 and end at the number of pairs, {len(self.docs)}.")
        if len(self.offsets) > 2 and (self.lengths < 0).any():  # of one query they begin at 0 and end above
            raise BadInput("offsets must not fall.")
        if self.features is not None and len(self.features) != len(self.docs):
            raise BadInput(f"features of {len(self.features)} pairs for {len(self.docs)} pairs.")

    @classmethod
    def of(
        cls, docs: Sequence[ArrayLike], scores: Sequence[ArrayLike] | None = None, corpus: Corpus | None = None
    ) -> Candidates:
        """From one sequence of ordinals per query, with one of scores beside each (0 where none are given)."""
        rows = [np.asarray(row, dtype=np.int64).reshape(-1) for row in docs]
        flat = np.concatenate([*rows, np.empty(0, np.int64)])
        values = np.zeros(len(flat)) if scores is None else np.concatenate([*map(np.ravel, scores), np.empty(0)])
        return cls(_offsets([len(row) for row in rows]), flat, values.astype(np.float32), corpus)

    @classmethod
    def stack(cls, parts: Sequence[Candidates]) -> Candidates:
        """The queries of all `parts`, one after the other."""
        if not parts:
            return cls.empty(0)
        docs, scores = (np.concatenate([getattr(part, name) for part in parts]) for name in ("docs", "scores"))
        return cls(_offsets(np.concatenate([part.lengths for part in parts])), docs, scores, parts[0].corpus)

    @classmethod
    def empty(cls, queries: int, corpus: Corpus | None = None) -> Candidates:
        """Nothing found for any of `queries` queries."""
        return cls(np.zeros(queries + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), corpus)

    @classmethod
    def from_matrix(
        cls, docs: Ints, scores: NDArray[Any], found: NDArray[np.bool_], corpus: Corpus | None = None
    ) -> Candidates:
        """From `[queries, k]` matrices, of which only the entries marked in `found` count."""
        return cls(_offsets(found.sum(axis=1)), docs[found], scores[found], corpus)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def pairs(self) -> int:
        """How many (query, document) pairs there are."""
        return len(self.docs)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many documents each query has, `[queries]`."""
        return self.offsets[1:] - self.offsets[:-1]  # np.diff would take longer than one query's search

    @property
    def longest(self) -> int:
        """The most documents that a query has."""
        return self.pairs if len(self) == 1 else int(self.lengths.max(initial=0))

    @cached_property
    def extent(self) -> tuple[int, int]:
        """The least of the ordinals and the largest; of no pairs, 0 and -1."""
        if self.pairs > _FEW:
            return int(self.docs.min()), int(self.docs.max())
        docs = self.docs.tolist()
        return min(docs, default=0), max(docs, default=-1)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The query of each pair, `[pairs]`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def __getitem__(self, query: int) -> tuple[Ints, Floats]:
        """The documents and the scores of one query."""
        query = range(len(self))[query]
        here = slice(self.offsets[query], self.offsets[query + 1])
        return self.docs[here], self.scores[here]

    def with_scores(self, scores: ArrayLike) -> Candidates:
        """The same pairs with other scores, in the same order."""
        return replace(self, scores=np.asarray(scores, dtype=np.float32))

    def with_features(self, features: Features | None) -> Candidates:
        """The same pairs with what a ranker over features is to know of them."""
        return replace(self, features=features)

    def over(self, corpus: Corpus) -> Candidates:
        """The same pairs, known to be documents of `corpus`."""
        if self.corpus is corpus:
            return self
        known = object.__new__(type(self))  # whose columns need no second check
        vars(known).update(vars(self), corpus=corpus)
        return known

    def take(self, queries: Ints | slice) -> Candidates:
        """The rows of the given queries, in that order."""
        lengths = self.lengths[queries]
        offsets = _offsets(lengths)
        starts = np.repeat(self.offsets[:-1][queries] - offsets[:-1], lengths)
        pairs = starts + np.arange(offsets[-1])
        return Candidates(offsets, self.docs[pairs], self.scores[pairs], self.corpus, self._described(pairs))

    def where(self, keep: NDArray[np.bool_]) -> Candidates:
        """Only the pairs marked in `keep` (`[pairs]`); every query stays, if need be with none."""
        kept = np.concatenate([[0], np.cumsum(keep)])
        return Candidates(kept[self.offsets], self.docs[keep], self.scores[keep], self.corpus, self._described(keep))

    def ranked(self) -> Candidates:
        """Each query's documents by falling score, equal scores by rising ordinal."""
        return self.top(int(self.lengths.max(initial=0)))

    def top(self, k: int) -> Candidates:
        """Each query's best `k`, ranked. Raises `BadInput` where a score is not a number."""
        if self.is_ranked():
            return self._first(k)
        keys = sort_keys(self.docs, self.scores)
        if len(self) == 1:
            return self._of_one(np.sort(np.partition(keys, k)[:k] if k < len(keys) else keys))
        lengths = self.lengths
        longest = int(lengths.max(initial=0))
        if len(self) * longest > 4 * self.pairs + 65536:  # one query with far more than the others: do not pad
            flat = keys[np.lexsort((keys, self.rows))]
            within = np.arange(self.pairs) - np.repeat(self.offsets[:-1], lengths)
            keys = flat[within < k]
        else:
            matrix, mask = self._pad(keys, np.uint64(2**64 - 1))
            if k < longest:
                matrix = np.partition(matrix, k - 1, axis=1)[:, :k] if k else matrix[:, :0]
            matrix.sort(axis=1)
            keys = matrix[mask[:, :k]]
        docs, scores = from_sort_keys(keys)
        return Candidates(_offsets(np.minimum(lengths, k)), docs.astype(self.docs.dtype), scores, self.corpus)

    def _of_one(self, keys: NDArray[np.uint64]) -> Candidates:
        """What sorted keys stand for, of the only query."""
        docs, scores = from_sort_keys(keys)
        return Candidates(np.array([0, len(keys)]), docs.astype(self.docs.dtype), scores, self.corpus)

    def union(self, other: Candidates) -> Candidates:
        """For each query the documents of either, by rising ordinal, each once, with the higher of its scores."""
        if len(self) != len(other):
            raise BadInput(f"Candidates of {len(self)} and of {len(other)} queries cannot be joined.")
        rows = np.concatenate([self.rows, other.rows])
        docs = np.concatenate([self.docs, other.docs])
        scores = np.concatenate([self.scores, other.scores])
        order = np.lexsort((-scores, docs, rows))
        rows, docs, scores = rows[order], docs[order], scores[order]
        first = np.ones(len(docs), bool)
        first[1:] = (rows[1:] != rows[:-1]) | (docs[1:] != docs[:-1])
        lengths = np.bincount(rows[first], minlength=len(self))
        return Candidates(_offsets(lengths), docs[first], scores[first], self.corpus or other.corpus)

    def places(self, other: Candidates) -> NDArray[np.int64]:
        """Where each pair stands among those of `other`, `[pairs]`; -1 where it does not: the one join."""
        if len(self) != len(other):
            raise BadInput(f"Candidates of {len(self)} and of {len(other)} queries cannot be joined.")
        if not other.pairs:
            return np.full(self.pairs, -1)
        width = 1 + max(int(self.docs.max(initial=0)), int(other.docs.max(initial=0)))
        known, order = other.rows * width + other.docs, None
        if np.any(known[1:] < known[:-1]):
            order = np.argsort(known, kind="stable")
            known = known[order]
        wanted = self.rows * width + self.docs
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[at] == wanted, at if order is None else order[at], -1)

    def lookup(self, other: Candidates, default: float = np.nan) -> Floats:
        """For each pair here its score in `other`, or `default` where `other` lacks it.

        `run.lookup(judgments, default=-1)` are the labels of a run, `[pairs]`.
        """
        places = self.places(other)
        return np.append(other.scores, np.float32(default))[places]

    def padded(self, fill: float = -np.inf) -> tuple[Ints, Floats, NDArray[np.bool_]]:
        """`docs`, `scores` and `mask` as `[queries, longest]` matrices: -1 and `fill` where there is no document."""
        docs, mask = self._pad(self.docs, self.docs.dtype.type(-1))
        scores, _ = self._pad(self.scores, np.float32(fill))
        return docs, scores, mask

    def is_ranked(self) -> bool:
        """Whether every row is in order; checking takes a twentieth of the time of sorting."""
        if len(self) == 1 and self.pairs <= _FEW:
            return self._is_one_ranked()
        before, after = self.scores[:-1], self.scores[1:]
        ordered = (before > after) | ((before == after) & (self.docs[:-1] < self.docs[1:]))
        inner = self.offsets[1:-1]
        ordered[inner[(inner > 0) & (inner < self.pairs)] - 1] = True  # where the next row begins
        return bool(ordered.all()) and not np.isnan(self.scores).any()

    def _is_one_ranked(self) -> bool:
        """The same for a single query with few documents, in less time than numpy takes to begin."""
        scores = self.scores.tolist()
        keys = list(zip(map(operator.neg, scores), self.docs.tolist(), strict=True))
        rising = all(map(operator.lt, keys, keys[1:]))  # no comparison with what is no number holds
        return rising and not any(map(math.isnan, scores[:1]))  # which is compared with nothing where it is alone

    def cut(self, start: int, stop: int) -> tuple[slice, Candidates]:
        """The pairs from `start` up to `stop`: the queries that they belong to, and these queries' parts."""
        first = int(np.searchsorted(self.offsets, start, side="right")) - 1
        last = int(np.searchsorted(self.offsets, stop, side="left"))
        inside = np.clip(self.offsets[first : last + 1], start, stop) - start
        here = slice(start, stop)
        part = Candidates(inside, self.docs[here], self.scores[here], self.corpus, self._described(here))
        return slice(first, last), part

    def _described(self, pairs: Any) -> Features | None:
        return None if self.features is None else self.features.take(pairs)

    def _first(self, k: int) -> Candidates:
        """The first `k` of each row."""
        lengths = self.lengths
        if k >= lengths.max(initial=0):
            return self
        offsets = _offsets(np.minimum(lengths, k))
        pairs = np.repeat(self.offsets[:-1] - offsets[:-1], np.diff(offsets)) + np.arange(offsets[-1])
        return Candidates(offsets, self.docs[pairs], self.scores[pairs], self.corpus)

    def _pad(self, column: NDArray[Any], fill: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        lengths = self.lengths
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        matrix = np.full(mask.shape, fill, column.dtype)
        matrix[mask] = column
        return matrix, mask


@dataclass(frozen=True)
class Collection:
    """A test collection: what is searched, what is asked, what is relevant.

    `judgments` has one row per query; a judged document that the corpus lacks keeps an ordinal beyond the
    corpus, so that it counts in recall and in ideal rankings as it does for trec_eval.
    """

    name: str
    corpus: Corpus
    queries: Queries
    judgments: Candidates

    def __post_init__(self) -> None:
        if len(self.queries) != len(self.judgments):
            raise BadInput(f"{len(self.queries)} queries with judgments of {len(self.judgments)}.", self.name)

    def __repr__(self) -> str:
        sizes = f"{len(self.corpus):,} documents, {len(self.queries):,} queries, {self.judgments.pairs:,} judgments"
        return f"<Collection {self.name}: {sizes}>"

    def take(self, queries: Ints | slice) -> Collection:
        """The same corpus with only the given queries."""
        return replace(self, queries=self.queries.take(queries), judgments=self.judgments.take(queries))


def _is_many(contents: Any) -> bool:
    """Whether these are several contents: a text, a path or an image is one."""
    return (
        isinstance(contents, Iterable)
        and not isinstance(contents, (str, bytes, PurePath))
        and not hasattr(contents, "mode")
    )


def _offsets(lengths: ArrayLike) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _integers(docs: ArrayLike) -> Ints:
    docs = np.ascontiguousarray(docs)
    if docs.dtype in (np.int32, np.int64):
        return docs
    if docs.size and not np.issubdtype(docs.dtype, np.integer):
        raise BadInput(f"documents are ordinals, not {docs.dtype}.")
    return docs.astype(np.int64)


def sort_keys(docs: Ints, scores: Floats) -> NDArray[np.uint64]:
    """One integer a pair that rises as the score falls, then as the ordinal rises.

    The bits of an IEEE 754 float order like integers once the sign is folded in, so that sorting, with the
    exact tie rule, is a sort of plain integers.
    """
    if np.isnan(scores).any():
        raise BadInput(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are not a number (NaN).")
    if docs.size and not 0 <= docs.min() <= docs.max() < 2**32:
        raise BadInput("documents must be ordinals from 0 to 2**32 - 1.")
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
    rising = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (~rising).astype(np.uint64) << np.uint64(32) | docs.astype(np.uint64)


def from_sort_keys(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], Floats]:
    """The documents and the scores that `sort_keys` was given, each `[pairs]`."""
    ranks = (np.int64(2**31 - 1) - (keys >> np.uint64(32)).astype(np.int64)).astype(np.int32)
    bits = ranks ^ (ranks >> 31 & np.int32(2**31 - 1))  # negative floats order backwards as integers
    return keys.astype(np.uint32), bits.view(np.float32)
