"""Candidates: the documents of each query, with scores or grades.

`Candidates` is the one type that a run, its judgments and a training batch share: for each query the
documents found for it, as one compressed sparse row. Documents are ordinals into a corpus; their string
ids live in `Corpus.ids` and appear only where text is read or written. Columns are numpy arrays on the
host, so lexical search, fusion and evaluation need no tensor library.

One tie rule holds everywhere in nirank: falling score, then rising ordinal.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data import frames, listings
from nirank.data.arrays import to_numpy
from nirank.data.features import Features
from nirank.data.offsets import offsets_of
from nirank.data.ties import from_sort_keys, sort_keys
from nirank.data.types import Corpus, Floats, Ints
from nirank.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

#: So few numbers are looked at faster in Python than in numpy.
_FEW = 32
#: Scores of a matrix that are ranked at a time; their sort keys take 32 MiB.
_SCORES_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False, repr=False)
class Candidates(frames.Tabular):
    """For each query the documents found for it, as one compressed sparse row.

    The documents of query `i` are `docs[offsets[i]:offsets[i + 1]]`, with `scores` beside them. `offsets` is
    int64 `[queries + 1]`; `docs` int32 or int64 and `scores` float32, both `[pairs]`. In judgments the scores
    are relevance grades. `corpus` is the one that `docs` are ordinals of. `features` are what a ranker over features
    reads, one row a pair; they stay with the pairs until these are ranked anew or joined with others. `query_ids` are
    those of the rows, where these come from a search, a collection or a file: measures join runs and judgments by them.
    `depth` is how many documents a search was asked for, where that is known. `log_likelihoods` says that the scores
    are logarithms of likelihoods, up to a number of the query's own, which an encoder by feedback may want to know.
    `lost` names the shards of an index that did not answer, so that their documents are missing from every list.
    """

    offsets: NDArray[np.int64]
    docs: Ints
    scores: Floats
    corpus: Corpus | None = field(default=None, repr=False)
    features: Features | None = field(default=None, repr=False)
    query_ids: Sequence[str] | None = field(default=None, repr=False)
    depth: int | None = field(default=None, repr=False)
    log_likelihoods: bool = field(default=False, repr=False)
    lost: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        set_column = object.__setattr__  # the dataclass is frozen for users, not for its own construction
        set_column(self, "offsets", np.ascontiguousarray(self.offsets, dtype=np.int64))
        set_column(self, "docs", _integers(self.docs))
        set_column(self, "scores", np.ascontiguousarray(self.scores, dtype=np.float32))
        if self.docs.shape != self.scores.shape or self.docs.ndim != 1:
            raise BadInput(
                f"docs have the shape {self.docs.shape} and scores {self.scores.shape}; "
                "two one-dimensional arrays of equal length are needed."
            )
        if not len(self.offsets) or self.offsets[0] != 0 or self.offsets[-1] != len(self.docs):
            raise BadInput(
                f"offsets are {self.offsets!r:.80}; they must begin with 0 and end with the number of pairs, "
                f"{len(self.docs)}."
            )
        if len(self.offsets) > 2 and (self.lengths < 0).any():  # of one query they begin at 0 and end above
            raise BadInput(
                f"offsets fall after entry {int(np.argmax(self.lengths < 0))}: each must be at least the one before it."
            )
        if self.features is not None and len(self.features) != len(self.docs):
            raise BadInput(
                f"features have {len(self.features)} rows for {len(self.docs)} pairs; one row per pair is needed."
            )
        if self.query_ids is not None and len(self.query_ids) != len(self):
            raise BadInput(
                f"{len(self.query_ids)} query ids for candidates of {len(self)} queries; one id per query is needed."
            )

    @classmethod
    def of(
        cls, docs: Sequence[ArrayLike], scores: Sequence[ArrayLike] | None = None, corpus: Corpus | None = None
    ) -> Candidates:
        """Candidates from one sequence of ordinals per query, with one of scores beside each (0 where none are given).

        Each row stays in the order in which it is written: lists that were made by hand, or found elsewhere. From a
        matrix of scores of all documents, `from_scores` makes ranked ones.
        """
        rows = [_ordinals(row) for row in docs]
        flat = np.concatenate([*rows, np.empty(0, np.int64)])
        values = np.zeros(len(flat), np.float32) if scores is None else _scores(scores)
        return cls(offsets_of([len(row) for row in rows]), flat, values, corpus)

    @classmethod
    def of_one(cls, docs: Ints, scores: Floats, corpus: Corpus | None = None) -> Candidates:
        """Candidates of one query, of columns that are known to fit: contiguous, of equal length, the scores float32.

        Nothing is looked at, which takes a tenth of the time.
        """
        made = object.__new__(cls)
        known = vars(made)  # all else has the defaults, which are those of the class
        known["offsets"], known["docs"], known["scores"] = _offsets_of_one(len(docs)), docs, scores
        known["corpus"] = corpus
        return made

    @classmethod
    def stack(cls, parts: Sequence[Candidates]) -> Candidates:
        """The queries of all `parts`, one after the other."""
        if not parts:
            return cls.empty(0)
        docs, scores = (np.concatenate([part.docs for part in parts]), np.concatenate([part.scores for part in parts]))
        known = [part.query_ids for part in parts if part.query_ids is not None]
        query_ids = [query for ids in known for query in ids] if len(known) == len(parts) else None
        offsets = offsets_of(np.concatenate([part.lengths for part in parts]))
        return cls(offsets, docs, scores, parts[0].corpus, query_ids=query_ids, lost=_lost(parts))

    @classmethod
    def empty(cls, queries: int, corpus: Corpus | None = None) -> Candidates:
        """Nothing found for any of `queries` queries."""
        return cls(np.zeros(queries + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), corpus)

    @classmethod
    def from_matrix(
        cls, docs: Ints, scores: NDArray[Any], found: NDArray[np.bool_], corpus: Corpus | None = None
    ) -> Candidates:
        """Candidates from `[queries, k]` matrices, of which only the entries marked in `found` count."""
        return cls(offsets_of(found.sum(axis=1)), docs[found], scores[found], corpus)

    @classmethod
    def from_scores(cls, scores: Any, k: int, corpus: Corpus | None = None) -> Candidates:
        """The best `k` documents of each row of a matrix of scores, `[queries, documents]`, ranked.

        `scores` are an array or a tensor and are compared as float32; column `d` is the document of ordinal `d`. Equal
        scores rank by rising ordinal, and -inf stands for a document that was not found. Raises `BadInput` for a score
        that is not a number, for anything but a matrix, and for a matrix of another width than `corpus`.
        """
        matrix = np.asarray(to_numpy(scores), dtype=np.float32)
        if matrix.ndim != 2:
            raise BadInput(f"scores have the shape {matrix.shape}; a matrix [queries, documents] is needed.")
        if corpus is not None and matrix.shape[1] != len(corpus):
            raise BadInput(f"scores of {matrix.shape[1]} documents for a corpus of {len(corpus)}; one each is needed.")
        if k < 0:
            raise BadInput(f"k = {k}; a number of documents from 0 on is needed.")
        rows = max(1, _SCORES_AT_ONCE // max(1, matrix.shape[1]))
        parts = [_best(matrix[first : first + rows], k) for first in range(0, len(matrix), rows)]
        return replace(cls.stack(parts), corpus=corpus)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        corpus: Corpus,
        queries: Any = None,
        *,
        judged: bool = False,
        query_id: str | None = None,
        doc_id: str | None = None,
        score: str | None = None,
    ) -> Candidates:
        """Candidates from a table of pandas, polars or Arrow with a row a pair.

        Columns are found by the names that PyTerrier, ir_measures, ranx and BEIR give them (`nirank.data.frames`), or
        told: `query_id`, `doc_id`, `score`. With `judged` the values are grades (`relevance`, `label`), and documents
        that the corpus lacks keep an ordinal beyond it; otherwise they are refused. Rows are those of `queries`
        (`Queries` or their ids), or of the queries in the order in which they come; pairs stay in theirs. Scores become
        float32; where that makes some equal, it is told. Raises `BadInput` for a column that is missing or could be
        either of two, for ids of other queries or documents, for pairs that come twice, and for what is no number.
        """
        pairs = frames.read_pairs(frame, judged, query_id=query_id, doc_id=doc_id, score=score)
        rows = frames.rows_of(pairs, corpus.ids, getattr(queries, "ids", queries), judged)
        return cls(rows.offsets, rows.docs, rows.scores, corpus, query_ids=rows.query_ids)

    def to_arrow(self, names: frames.Names = "ir_measures", judged: bool = False) -> pa.Table:
        """A table with a row a pair, `[pairs]`: of a run ranked, with ranks; of judgments (`judged`) as they stand.

        Columns are called as ir_measures calls them (`query_id`, `doc_id`, `score`, `rank` from 1, `relevance`) or as
        PyTerrier does (`qid`, `docno`, `score`, `rank` from 0, `label`). Queries without ids are numbered from 1, as
        `Queries.of` numbers them. Raises `BadInput` without a corpus, and for documents that it lacks.
        """
        shown = self if judged else self.ranked()
        ids, known = shown.corpus_for("a frame").ids, [*(self.query_ids or map(str, range(1, len(self) + 1)))]
        if self.extent[1] >= len(ids):
            count = int(np.count_nonzero(self.docs >= len(ids)))
            raise BadInput(
                f"{count:,} pairs are of documents that the corpus lacks, and so have no ids: "
                "leave them out, `candidates.where(candidates.docs < len(candidates.corpus))`."
            )
        return frames.pairs_table(names, judged, (known, shown.offsets), ids.gather(shown.docs), shown.scores)

    def __repr__(self) -> str:
        over = "" if self.corpus is None else f" of {self.corpus!r}"
        return f"<Candidates for {len(self):,} queries: {self.pairs:,} pairs{over}>"

    def __str__(self) -> str:
        return listings.as_text(self)

    def _repr_html_(self) -> str:
        return listings.as_html(self)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def pairs(self) -> int:
        """The number of (query, document) pairs."""
        return len(self.docs)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of documents of each query, `[queries]`."""
        return self.offsets[1:] - self.offsets[:-1]  # np.diff would take longer than one query's search

    @property
    def longest(self) -> int:
        """The most documents that a query has."""
        return len(self.docs) if len(self.offsets) == 2 else int(self.lengths.max(initial=0))

    @property
    def extent(self) -> tuple[int, int]:
        """The least of the ordinals and the largest; of no pairs, 0 and -1."""
        known: tuple[int, int] | None = vars(self).get("_extent")  # which takes less than a cached property's lock
        if known is None:
            docs = self.docs
            if len(docs) > _FEW:
                known = int(docs.min()), int(docs.max())
            else:  # in Python, and sorted in less time than it takes to look for both
                known = (rising[0], rising[-1]) if (rising := sorted(docs.tolist())) else (0, -1)
            vars(self)["_extent"] = known
        return known

    @property
    def rows(self) -> NDArray[np.int64]:
        """The query of each pair, `[pairs]`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def __getitem__(self, query: int) -> tuple[Ints, Floats]:
        """The documents and the scores of one query, by its place."""
        try:
            query = range(len(self))[operator.index(query)]
        except TypeError:
            raise BadInput(
                f"a query is told by its place, from 0 to {len(self) - 1}, and not by {query!r:.80}; "
                "`candidates.query_ids` has the ids, and `take` returns several queries."
            ) from None
        here = slice(self.offsets[query], self.offsets[query + 1])
        return self.docs[here], self.scores[here]

    def with_scores(self, scores: ArrayLike) -> Candidates:
        """The same pairs with other scores, in the same order."""
        return replace(self, scores=np.asarray(scores, dtype=np.float32), log_likelihoods=False)

    def with_features(self, features: Features | None) -> Candidates:
        """The same pairs with features, one row a pair."""
        return replace(self, features=features)

    def over(self, corpus: Corpus) -> Candidates:
        """The same pairs, as documents of `corpus`."""
        if self.corpus is corpus:
            return self
        return self._knowing(corpus=corpus)

    def as_log_likelihoods(self) -> Candidates:
        """The same pairs, their scores known to be logarithms of likelihoods."""
        return replace(self, log_likelihoods=True)

    def without(self, lost: Sequence[str]) -> Candidates:
        """The same pairs, known to be without the documents of some shards; these are told by their names."""
        return self._knowing(lost=tuple(dict.fromkeys([*self.lost, *lost]))) if lost else self

    def corpus_for(self, reader: str) -> Corpus:
        """The corpus, where something has to read the documents; `reader` is what the message calls it.

        Raises `BadInput` where these candidates have no corpus.
        """
        if self.corpus is None:
            raise BadInput(
                f"{reader} reads documents, but these candidates have no corpus. Set it: candidates.over(corpus)."
            )
        return self.corpus

    def refuse_negative(self, what: str) -> None:
        """Raise `BadInput` for an ordinal below 0, which is what `Ids.find` returns for an id that is not there."""
        if self.extent[0] < 0:
            raise BadInput(
                f"{what}: there is a document {self.extent[0]}; `ids.find` returns -1 for ids that it lacks."
            )

    def for_queries(self, query_ids: Sequence[str] | None, depth: int | None = None) -> Candidates:
        """The same pairs with the ids of their queries and, if given, the `depth` of the search."""
        if query_ids is not None and len(query_ids) != len(self):
            raise BadInput(
                f"{len(query_ids)} query ids for candidates of {len(self)} queries; one id per query is needed."
            )
        return self._knowing(query_ids=query_ids, depth=depth or self.depth)

    def take(self, queries: Ints | slice) -> Candidates:
        """The rows of the given queries, in that order."""
        lengths = self.lengths[queries]
        offsets = offsets_of(lengths)
        starts = np.repeat(self.offsets[:-1][queries] - offsets[:-1], lengths)
        pairs = starts + np.arange(offsets[-1])
        described, named, likely = self._described(pairs), self._named(queries), self.log_likelihoods
        return Candidates(
            *(offsets, self.docs[pairs], self.scores[pairs], self.corpus, described, named, self.depth, likely),
            lost=self.lost,
        )

    def where(self, keep: NDArray[np.bool_]) -> Candidates:
        """Only the pairs marked in `keep` (`[pairs]`); every query stays, if need be with none."""
        kept = offsets_of(keep)
        described, likely = self._described(keep), self.log_likelihoods
        return Candidates(
            *(kept[self.offsets], self.docs[keep], self.scores[keep], self.corpus, described, self.query_ids),
            log_likelihoods=likely,
            lost=self.lost,
        )

    def ranked(self) -> Candidates:
        """Each query's documents by falling score, equal scores by rising ordinal."""
        return self.top(int(self.lengths.max(initial=0)))

    def top(self, k: int) -> Candidates:
        """Each query's best `k`, ranked. Raises `BadInput` where a score is not a number."""
        if self.is_ranked():
            return self._first(k)
        if len(self) == 1 and len(self.docs) <= _FEW and (order := self._order_of_few()):
            best = order[:k]
            return self._part(_offsets_of_one(len(best)), self.docs[best], self.scores[best])
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
        return self._of_keys(offsets_of(np.minimum(lengths, k)), keys)

    def _order_of_few(self) -> list[int] | None:
        """The places of few documents of a single query, ranked; None where they have to be looked at more closely."""
        scores, docs = self.scores.tolist(), self.docs.tolist()
        if not 0 <= min(docs) <= max(docs) < 2**32 or any(map(math.isnan, scores)):
            return None
        return sorted(range(len(docs)), key=lambda place: (-scores[place], docs[place]))

    def _of_one(self, keys: NDArray[np.uint64]) -> Candidates:
        """The candidates that sorted keys stand for, of the only query."""
        return self._of_keys(_offsets_of_one(len(keys)), keys)

    def _of_keys(self, offsets: NDArray[np.int64], keys: NDArray[np.uint64]) -> Candidates:
        """The candidates that keys stand for, those of each query sorted."""
        docs, scores = from_sort_keys(keys)
        return self._part(offsets, docs.astype(self.docs.dtype), scores)

    def _part(self, offsets: NDArray[np.int64], docs: Ints, scores: Floats) -> Candidates:
        """Some of the pairs, in whatever order: of the same queries and corpus, without features."""
        likely, lost = self.log_likelihoods, self.lost
        known = (self.corpus, None, self.query_ids, None, likely, lost)
        return Candidates(offsets, docs, scores, *known)

    def union(self, other: Candidates) -> Candidates:
        """For each query the documents of either, by rising ordinal, each once, with the higher of its scores."""
        *both, width = self._numbered(other)
        keys = np.concatenate(both)
        order = np.argsort(keys)  # to sort by several columns takes five times as long
        keys = keys[order]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        highest = np.fmax.reduceat(np.concatenate([self.scores, other.scores])[order], first)
        rows, docs = np.divmod(keys[first], width)
        docs = docs.astype(np.result_type(self.docs, other.docs))
        corpus, query_ids = self.corpus or other.corpus, self.query_ids or other.query_ids
        offsets, lost = offsets_of(np.bincount(rows, minlength=len(self))), _lost([self, other])
        return Candidates(offsets, docs, highest, corpus, query_ids=query_ids, lost=lost)

    def places(self, other: Candidates) -> NDArray[np.int64]:
        """The position of each pair among those of `other`, `[pairs]`, -1 where it is not there: the one join."""
        wanted, known, _ = self._numbered(other)
        if not other.pairs:
            return np.full(self.pairs, -1)
        order = None
        if np.any(known[1:] < known[:-1]):
            order = np.argsort(known, kind="stable")
            known = known[order]
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[at] == wanted, at if order is None else order[at], -1)

    def _numbered(self, other: Candidates) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """A number for each pair here and in `other`, equal where these are: query times a width, which is told, + doc.

        Raises `BadInput` unless both are of the same queries.
        """
        if len(self) != len(other):
            raise BadInput(
                f"candidates of {len(self)} and of {len(other)} queries cannot be joined; both need the same queries."
            )
        width = 1 + max(int(self.docs.max(initial=0)), int(other.docs.max(initial=0)))
        return self.rows * width + self.docs, other.rows * width + other.docs, width

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
        """True where every row is in order; checking takes a twentieth of the time of sorting."""
        if len(self.docs) <= _FEW and len(self.offsets) == 2:  # of one query, in less time than numpy takes to begin
            scores = self.scores.tolist()
            falls = all(map(operator.gt, [math.inf, *scores], scores))  # no comparison with NaN holds
            return falls or self._is_one_ranked(scores)
        before, after = self.scores[:-1], self.scores[1:]
        ordered = (before > after) | ((before == after) & (self.docs[:-1] < self.docs[1:]))
        inner = self.offsets[1:-1]
        ordered[inner[(inner > 0) & (inner < self.pairs)] - 1] = True  # where the next row begins
        return bool(ordered.all()) and not np.isnan(self.scores).any()

    def _is_one_ranked(self, scores: list[float]) -> bool:
        """The same for a single query with few documents, whose scores may be equal."""
        score, doc = math.inf, -math.inf
        for after, document in zip(scores, self.docs.tolist(), strict=True):
            if not (score > after or (score == after and doc < document)):
                return False
            score, doc = after, document
        return True

    def cut(self, start: int, stop: int) -> tuple[slice, Candidates]:
        """The pairs from `start` up to `stop`: the queries that they belong to, and these queries' parts."""
        first = int(np.searchsorted(self.offsets, start, side="right")) - 1
        last = int(np.searchsorted(self.offsets, stop, side="left"))
        inside = np.clip(self.offsets[first : last + 1], start, stop) - start
        here = slice(start, stop)
        described, named = self._described(here), self._named(slice(first, last))
        part = Candidates(inside, self.docs[here], self.scores[here], self.corpus, described, named)
        return slice(first, last), part

    def _knowing(self, **what: Any) -> Candidates:
        """The same pairs with other values of what is no column of theirs, so that nothing needs a second check."""
        known = object.__new__(type(self))
        vars(known).update(vars(self), **what)
        return known

    def _described(self, pairs: Any) -> Features | None:
        return None if self.features is None else self.features.take(pairs)

    def _named(self, queries: Ints | slice) -> Sequence[str] | None:
        """The ids of the given queries, where they are known."""
        if self.query_ids is None:
            return None
        if isinstance(queries, slice):
            return self.query_ids[queries]
        return [self.query_ids[row] for row in np.arange(len(self))[queries].tolist()]

    def _first(self, k: int) -> Candidates:
        """The first `k` of each row."""
        lengths = self.lengths
        if k >= lengths.max(initial=0):
            return self
        offsets = offsets_of(np.minimum(lengths, k))
        pairs = np.repeat(self.offsets[:-1] - offsets[:-1], np.diff(offsets)) + np.arange(offsets[-1])
        return self._part(offsets, self.docs[pairs], self.scores[pairs])

    def _pad(self, column: NDArray[Any], fill: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        lengths = self.lengths
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        matrix = np.full(mask.shape, fill, column.dtype)
        matrix[mask] = column
        return matrix, mask


def _best(scores: Floats, k: int) -> Candidates:
    """The best `k` of each row of a matrix of scores."""
    queries, documents = scores.shape
    keys = sort_keys(np.tile(np.arange(documents), queries), scores.reshape(-1)).reshape(scores.shape)
    if k < documents:
        keys = np.partition(keys, max(k - 1, 0), axis=1)[:, :k]
    docs, values = from_sort_keys(np.sort(keys, axis=1))
    return Candidates.from_matrix(docs.astype(np.int64), values, values > -np.inf)


def _ordinals(row: ArrayLike) -> NDArray[np.int64]:
    """One query's documents as a column; raises `BadInput` for ids, and whatever else is no number."""
    try:
        ordinals = np.asarray(row).reshape(-1)
        if ordinals.dtype.kind not in "iu" and ordinals.size:
            raise TypeError
        return ordinals.astype(np.int64, copy=False)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(
            f"documents are ordinals (whole numbers from 0), not {row!r:.80}; "
            "`corpus.ids.find(ids)` turns ids into ordinals."
        ) from None


def _scores(scores: Sequence[ArrayLike]) -> Floats:
    """The scores of all queries as one column; raises `BadInput` for what is no number."""
    try:
        return np.concatenate([*map(np.ravel, scores), np.empty(0)]).astype(np.float32)
    except (TypeError, ValueError):
        raise BadInput(f"scores are numbers, one sequence of them a query, and here are {scores!r:.80}.") from None


def _integers(docs: ArrayLike) -> Ints:
    docs = np.ascontiguousarray(docs)
    if docs.dtype in (np.int32, np.int64):
        return docs
    if docs.size and not np.issubdtype(docs.dtype, np.integer):
        raise BadInput(
            f"documents are ordinals (whole numbers from 0), not {docs.dtype}; "
            "`corpus.ids.find(ids)` turns ids into ordinals."
        )
    return docs.astype(np.int64)


@functools.lru_cache
def _offsets_of_one(pairs: int) -> NDArray[np.int64]:
    """The offsets of one query, which all candidates of one that has so many pairs share, and none may write to."""
    offsets = np.array((0, pairs))
    offsets.flags.writeable = False
    return offsets


def _lost(parts: Sequence[Candidates]) -> tuple[str, ...]:
    """The shards that are missing from any part."""
    return tuple(dict.fromkeys(name for part in parts for name in part.lost))
