"""TREC's files: runs and judgments (qrels), read and written.

A run has lines `query Q0 document rank score tag`, judgments `query iteration document grade`. What ranks a run is
its scores: trec_eval ignores the column of ranks and the order of the lines, and so does nirank. Documents become
ordinals on the way in and ids on the way out.
"""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data.candidates import Candidates
from nirank.data.columns import gather, integers_to_numpy, to_array, to_column
from nirank.data.frames import read_pairs, refuse_twice
from nirank.data.ids import Ids
from nirank.data.offsets import offsets_of
from nirank.data.queries import Queries
from nirank.data.string_prints import fingerprints, short_prints
from nirank.errors import BadInput
from nirank.files import as_path, beside
from nirank.formats.layouts import QRELS, RUN, Layout
from nirank.formats.lines import Lines, keys_of
from nirank.formats.slices import Copied, Names
from nirank.formats.trec_lines import read_lines

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LineIds", "Run", "read_judged", "read_qrels", "read_run", "write_qrels", "write_run"]

_BLOCK = 1 << 18  # lines written at a time
_MARKS = 20  # bits of a key by which lines are passed over that nobody judged
_UNMARKED = np.uint32(32 - _MARKS)
_BLANK = ord(" ")  # the highest of all that is white space or control character in ASCII


@dataclass(frozen=True, repr=False)
class Run:
    """The content of a file: for each query the documents found with scores, or judged with grades.

    `candidates` has a row for each of `query_ids`, in order of first appearance, with the documents in the order
    of the file; their ordinals are those of `ids`, which holds the documents of this file only. `tag` is the
    name in the last column of a run's first line. `exact` are the scores of `candidates` as float64, where float32 may
    not tell them apart.
    """

    query_ids: list[str]
    ids: Ids
    candidates: Candidates
    tag: str = ""
    exact: NDArray[np.float64] | None = None

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        judged: bool = False,
        query_id: str | None = None,
        doc_id: str | None = None,
        score: str | None = None,
    ) -> Run:
        """The pairs in a table of pandas, polars or Arrow, as `nirank.Candidates.from_frame` finds its columns."""
        pairs = read_pairs(frame, judged, query_id=query_id, doc_id=doc_id, score=score)
        if not len(pairs.values):
            raise BadInput("this table has no rows.")
        columns = (Copied(pairs.documents), pairs.values.astype(np.float32), "", pairs.values)
        run = _interned(Lines(pairs.query_ids, np.arange(len(pairs.query_ids)), np.diff(pairs.offsets), *columns))
        refuse_twice(pairs, run.candidates.docs)
        return run

    def __len__(self) -> int:
        return len(self.query_ids)

    def __repr__(self) -> str:
        sizes = f"{len(self):,} queries, {len(self.ids):,} documents, {self.candidates.pairs:,} pairs"
        return f"<Run {self.tag}: {sizes}>" if self.tag else f"<Run: {sizes}>"

    def align(self, query_ids: Sequence[str], ids: Ids) -> Candidates:
        """The rows of `query_ids`, in that order, with ordinals of `ids`; a query the file lacks has no documents.

        A document unknown to `ids` gets an ordinal beyond them, `len(ids)` and up, so that it counts in recall and
        in ideal rankings as it does for trec_eval. Such ordinals mean nothing outside this file: of a run and its
        judgments, align one with the `ids` of the other.
        """
        ordinals = self._ordinals(ids)
        beyond = np.flatnonzero(ordinals < 0)
        ordinals[beyond] = len(ids) + np.arange(len(beyond))
        candidates = self.candidates
        return rows_of(replace(candidates, docs=ordinals[candidates.docs]), self.query_ids, query_ids)

    def in_float64(self) -> Run:
        """The same run with scores that order documents as its scores in float64 do; itself where these do already."""
        if self.exact is None:
            return self
        return replace(self, candidates=_by_double(self.candidates, self.exact), exact=None)

    def unknown_documents(self, ids: Ids) -> int:
        """The number of distinct documents of the file that `ids` lacks."""
        return int(np.count_nonzero(self._ordinals(ids) < 0))

    def other_queries(self, query_ids: Sequence[str]) -> list[str]:
        """The queries of the file that are not among `query_ids`."""
        asked = set(query_ids)
        return [query for query in self.query_ids if query not in asked]

    def _ordinals(self, ids: Ids) -> NDArray[np.int64]:
        return ids.find(self.ids.gather(np.arange(len(self.ids))))


def read_run(path: str | Path) -> Run:
    """The run in a file, plain or compressed (`.gz`, `.bz2`, `.xz`, `.zst`).

    Scores are float32, with float64 beside where that may matter.
    Raises `BadInput` with file and line for fewer than six columns, a score that is no number (or NaN), and a
    document listed twice for a query; and for a file without lines.
    """
    return _interned(read_lines(path, RUN))


def read_qrels(path: str | Path) -> Run:
    """The judgments in a file, plain or compressed: TREC's four columns, or BEIR's three (`query-id corpus-id score`).

    Grades are whole numbers and may be negative. Raises `BadInput` as `read_run` does.
    """
    return _interned(read_lines(path, QRELS))


class LineIds:
    """The ids of the documents of a run of which only the judged ones are interned; see `read_judged`."""

    def __init__(self, judged: Ids, documents: Names) -> None:
        self._judged = judged
        self._documents = documents

    def take(self, ordinals: ArrayLike) -> list[str]:
        """The ids at `ordinals`."""
        wanted = np.asarray(ordinals, dtype=np.int64)
        judged = wanted < len(self._judged)
        names = np.empty(len(wanted), object)
        names[judged] = self._judged.take(wanted[judged])
        others, which = np.unique(wanted[~judged] - len(self._judged), return_inverse=True)
        names[~judged] = np.array(self._documents.take(others).to_pylist(), object)[which]
        return cast("list[str]", names.tolist())


def read_judged(path: str | Path, qrels: Run, exact: bool = True) -> tuple[list[str], Candidates, LineIds]:
    """The query ids and rows of a run that is only to be evaluated, and what turns its ordinals into ids.

    Interning the documents takes most of the time of reading a run, and evaluation needs it for judged ones alone:
    those that `qrels` judge for their query get their ordinals there, every other line a number of its own beyond.
    With `exact`, scores that float32 does not tell apart are replaced by such as order documents like float64. Raises
    as `read_run` does.
    """
    lines = read_lines(path, RUN)
    known = len(qrels.ids)
    total = known + len(lines.values)
    ordinals = np.arange(known, total, dtype=np.int32 if total < 2**31 else np.int64)
    at, judged = _judged_lines(lines, qrels)
    ordinals[at] = judged
    candidates, doubles = _grouped(lines, ordinals)
    if exact and doubles is not None:
        candidates = _by_double(candidates, doubles)
    return lines.query_ids, candidates, LineIds(qrels.ids, lines.documents)


def _judged_lines(lines: Lines, qrels: Run) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Lines whose document is judged, rising, and its ordinal in `qrels`: all that are judged for their query."""
    import pyarrow.compute as pc

    names = qrels.ids.gather(np.arange(len(qrels.ids)))
    at = np.arange(len(lines.values)) if lines.prints is None else _maybe_judged(lines, qrels, names)
    known = integers_to_numpy(pc.index_in(lines.documents.take(at), value_set=names))
    return at[known >= 0], known[known >= 0]


def _maybe_judged(lines: Lines, qrels: Run, names: pa.Array) -> NDArray[np.int64]:
    """The lines whose key is like that of a judged pair, rising; `names` are the documents of `qrels`."""
    row_of = {query: row for row, query in enumerate(lines.query_ids)}
    rows = np.array([row_of.get(query, len(row_of)) for query in qrels.query_ids])[qrels.candidates.rows]
    marked = np.zeros(1 << _MARKS, bool)
    marked[keys_of(rows, short_prints(fingerprints(names))[qrels.candidates.docs]) >> _UNMARKED] = True
    found = [np.empty(0, np.int64)]
    for first, *_, last in lines.blocks():
        found.append(lines.offsets[first] + np.flatnonzero(marked[lines.keys(first, last) >> _UNMARKED]))
    return np.concatenate(found)


def rows_of(candidates: Candidates, known: Sequence[str], wanted: Sequence[str]) -> Candidates:
    """The rows for the queries `wanted`, where the rows at hand are those of the queries `known`."""
    row = {query: number for number, query in enumerate(known)}
    offsets = np.append(candidates.offsets, candidates.offsets[-1])  # a last row without documents
    rows = np.array([row.get(query, len(known)) for query in wanted], np.int64)
    if np.array_equal(rows, np.arange(len(known))):
        return candidates.for_queries(wanted)
    return replace(candidates, offsets=offsets, query_ids=None).take(rows).for_queries(wanted)


def _interned(lines: Lines) -> Run:
    names, docs = lines.documents.encoded()
    candidates, exact = _grouped(lines, docs)
    return Run(lines.query_ids, Ids(names, unique=True), candidates, lines.tag, exact)


def _grouped(lines: Lines, docs: NDArray[Any]) -> tuple[Candidates, NDArray[np.float64] | None]:
    """One row a query, with exact scores where there are some; the lines of a query need not stand together."""
    values, exact, lengths = lines.values, lines.exact, lines.lengths
    if not lines.grouped:
        rows = lines.rows
        order = np.argsort(rows, kind="stable")
        docs, values, exact = docs[order], values[order], exact[order]
        lengths = np.bincount(rows)
    candidates = Candidates(offsets_of(lengths), docs, values, query_ids=lines.query_ids)
    return candidates, exact if _may_be_lost(candidates, exact) else None


def _may_be_lost(candidates: Candidates, exact: NDArray[np.float64]) -> bool:
    """True where float32 may hold equal scores in a query for different ones; only where these fall is it known."""
    within = np.ones(max(candidates.pairs - 1, 0), bool)
    within[candidates.offsets[1:-1] - 1] = False  # where the next query begins; none is empty
    lost = (candidates.scores[1:] == candidates.scores[:-1]) & (exact[1:] != exact[:-1])
    if np.any(within & lost):
        return True
    rises = np.any(within & (exact[1:] > exact[:-1]))
    return bool(rises and np.any(exact != candidates.scores))


def _by_double(candidates: Candidates, exact: NDArray[np.float64]) -> Candidates:
    """The candidates with small whole numbers for scores, in each query equal and ordered as `exact` is."""
    starts = candidates.offsets[:-1]  # no query is empty
    order = None
    rises = exact[1:] > exact[:-1]
    rises[starts[1:] - 1] = False
    if np.any(rises):
        order = np.lexsort((-exact, candidates.rows))
        exact = exact[order]
    places = np.zeros(len(exact), np.float32)  # one array for all steps: memory that is new costs more than they do
    np.less(exact[1:], exact[:-1], out=places[1:])
    places[starts] = 0
    places[starts[1:]] = -np.add.reduceat(places, starts)[:-1]  # so that each query begins at 0 again
    np.subtract(0, np.cumsum(places, out=places), out=places)
    if order is None:
        return candidates.with_scores(places)
    scores = np.empty(len(exact), np.float32)
    scores[order] = places
    return candidates.with_scores(scores)


# Writing


def write_run(
    path: str | Path,
    queries: Queries,
    candidates: Candidates,
    tag: str = "nirank",
    ids: Ids | None = None,
    partial: bool = False,
) -> None:
    """Write what was found as a TREC run, each query's documents by falling score, with ranks from 1.

    Equal scores stand by rising ordinal, nirank's rule; trec_eval orders them by falling id and ignores the ranks.
    Scores are written so that they read back as the same float32. `ids` are those of `candidates.corpus` unless
    given. A path that ends in `.gz` is compressed. The file is written beside and moved into place. Raises
    `BadInput` for an id that is empty or has white space in it, for scores that are NaN, and for what was found without
    some shards of an index; with `partial` this is written, and the tag ends in `-partial`.
    """
    if not isinstance(tag, str) or _unfit(tag):
        raise BadInput(f"the tag {tag!r} cannot be written to a TREC file: it is empty or has white space.")
    _check_parts(queries, candidates, path)
    if candidates.lost:
        tag = _tag_of_partial(tag, candidates.lost, partial)
    ids = _ids(candidates, ids)
    ranked = candidates.ranked()
    ranks = np.arange(ranked.pairs) - np.repeat(ranked.offsets[:-1], ranked.lengths) + 1
    _write(path, RUN, queries, ranked, ("Q0", ids, ranks, ranked.scores, tag))


def _tag_of_partial(tag: str, lost: Sequence[str], partial: bool) -> str:
    """The tag that says of a run that it is not whole. Raises `BadInput` unless such a one is wanted."""
    if not partial:
        raise BadInput(
            f"the run was found without {', '.join(lost)}, and would be read as a whole one: search again, or write it "
            "with partial=True, which its tag says."
        )
    return f"{tag}-partial"


def write_qrels(path: str | Path, queries: Queries, judgments: Candidates, ids: Ids | None = None) -> None:
    """Write judgments as TREC qrels, in their own order. Raises as `write_run`, and where a grade is not whole."""
    _check_parts(queries, judgments, path)
    grades = judgments.scores
    if not np.all(grades == np.rint(grades)) or np.isinf(grades).any():
        raise BadInput("some grades are not whole numbers, which TREC qrels need: round them first.")
    _write(path, QRELS, queries, judgments, ("0", _ids(judgments, ids), grades.astype(np.int64)))


def _check_parts(queries: Any, candidates: Any, path: Any) -> None:
    """Raise `BadInput` for anything but queries, candidates and the path of a file."""
    if isinstance(getattr(queries, "queries", None), Queries):
        raise BadInput(f"queries are written, and not a {type(queries).__name__}: give its `queries`.")
    if not isinstance(queries, Queries):
        raise BadInput(f"`nirank.Queries(ids, contents)` are written, and not a {type(queries).__name__}.")
    if not isinstance(candidates, Candidates):
        raise BadInput(
            f"what `search` returned is written, or judgments of a collection; not a {type(candidates).__name__}."
        )
    if as_path(path, "the file to write").is_dir():
        raise BadInput("this is a folder: name a file in it.", path)


def _ids(candidates: Candidates, ids: Ids | None) -> Ids:
    if ids is not None:
        return ids
    if candidates.corpus is None:
        raise BadInput("these candidates have no corpus to take document ids from; pass `ids`.")
    return candidates.corpus.ids


def _write(path: str | Path, layout: Layout, queries: Queries, pairs: Candidates, columns: tuple[Any, ...]) -> None:
    if len(queries) != len(pairs):
        raise BadInput(f"{len(queries)} queries with candidates of {len(pairs)}; one row per query is needed.")
    _check_queries(queries.ids)
    query_ids = to_column(queries.ids)
    rows = pairs.rows
    with _writing(Path(path)) as file:
        for start in range(0, pairs.pairs, _BLOCK):
            here = slice(start, start + _BLOCK)
            block = [gather(query_ids, rows[here]), *(_texts(column, pairs.docs, here) for column in columns)]
            _write_block(file, block, layout)


def _texts(column: Any, docs: NDArray[Any], here: slice) -> pa.Array | str:
    """A column as strings: ids of documents, numbers, or one text for all lines."""
    import pyarrow as pa

    if isinstance(column, str):
        return column
    if isinstance(column, Ids):
        return column.gather(docs[here])
    numbers = np.ascontiguousarray(column[here])
    kind = pa.from_numpy_dtype(numbers.dtype)
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)]).cast(pa.large_string())


def _write_block(file: IO[bytes], columns: list[Any], layout: Layout) -> None:
    import pyarrow.compute as pc

    blank, end, nothing = to_array([" ", "\n", ""])
    strings = [to_array([column])[0] if isinstance(column, str) else column for column in columns]
    strings[-1] = pc.binary_join_element_wise(strings[-1], end, nothing)
    text = np.frombuffer(pc.binary_join_element_wise(*strings, blank).buffers()[2], np.uint8)
    blanks = np.count_nonzero(text <= _BLANK)
    if blanks != len(columns[0]) * len(layout.columns) or pc.any(pc.equal(columns[2], nothing)).as_py():
        fault = next(filter(_unfit, columns[2].to_pylist()))
        raise BadInput(
            f"{fault!r} cannot be written to a TREC file: it is empty or has white space or control characters."
        )
    file.write(text.data)


def _check_queries(ids: Sequence[str]) -> None:
    for query in ids:
        if _unfit(query) or query.startswith("#"):
            raise BadInput(f"query id {query!r} cannot be written: it is empty, has white space or starts with '#'.")


def _unfit(text: str) -> bool:
    """True where this cannot be one column. White space beyond ASCII can: it separates nothing for trec_eval."""
    return not text or min(text) <= chr(_BLANK)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    """A file, compressed where its name ends in `.gz`, that is moved into place if the block succeeds."""
    writer: Any = gzip.open if path.suffix == ".gz" else open
    with beside(path) as unfinished, writer(unfinished, "wb") as file:
        yield file
