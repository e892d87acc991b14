"""Frames: tables of pandas, polars and Arrow, read and written by the names of their columns.

    names              query     document  score  grade      text   first rank
    "ir_measures"      query_id  doc_id    score  relevance  text   1
    "pyterrier"        qid       docno     score  label      query  0

Read are both, ranx's (`q_id`) and BEIR's (`query-id`, `corpus-id`) too; what could be meant by two columns is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from nirank.data.columns import gather, integers_to_numpy, numbers_to_array, to_column
from nirank.data.ids import Ids
from nirank.data.offsets import offsets_of
from nirank.errors import BadInput, MissingDependency, UnknownName

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

log = logging.getLogger("nirank")

#: Whose names the columns have.
Names: TypeAlias = Literal["ir_measures", "pyterrier"]

QUERY_IDS = ("query_id", "qid", "q_id", "query-id")
DOCUMENT_IDS = ("doc_id", "docno", "docid", "doc-id", "corpus-id")
SCORES = ("score",)
GRADES = ("relevance", "label", "rel", "grade")
TEXTS = ("text", "query")


@dataclass(frozen=True)
class Layout:
    """The names of columns, and the number of the first rank."""

    query: str
    document: str
    score: str
    grade: str
    text: str
    first_rank: int


_LAYOUTS = {
    "ir_measures": Layout("query_id", "doc_id", "score", "relevance", "text", 1),
    "pyterrier": Layout("qid", "docno", "score", "label", "query", 0),
}


def layout_of(names: str) -> Layout:
    """The layout of this name. Raises `UnknownName` for none."""
    if names not in _LAYOUTS:
        raise UnknownName("layout of frames", names, get_args(Names))
    return _LAYOUTS[names]


class Tabular:
    """The base of what turns into frames: a class has `to_arrow`, and this the other two."""

    #: Makes a table of Arrow.
    to_arrow: Callable[..., pa.Table]

    def to_pandas(self, **layout: Any) -> pd.DataFrame:
        """A frame of pandas; `layout` is as for `to_arrow`. Raises `MissingDependency` where pandas is not there."""
        try:
            import pandas  # noqa: F401 - which Arrow needs
        except ModuleNotFoundError as error:
            _lacking("pandas", error)
        return self.to_arrow(**layout).to_pandas()

    def to_polars(self, **layout: Any) -> pl.DataFrame:
        """A frame of polars; `layout` is as for `to_arrow`. Raises `MissingDependency` where polars is not there."""
        try:
            import polars
        except ModuleNotFoundError as error:
            _lacking("polars", error)
        return polars.from_arrow(self.to_arrow(**layout))


def _lacking(package: str, error: ModuleNotFoundError) -> NoReturn:
    message = f"frames of {package} need the package {package!r}. Run: pip install 'nirank[frames]'"
    raise MissingDependency(message, name=error.name) from error


# Reading


def is_frame(value: Any) -> bool:
    """True for a table of pandas, polars or Arrow, or any that Arrow can stream."""
    return hasattr(value, "__arrow_c_stream__") or type(value).__module__.partition(".")[0] == "pandas"


def table_of(frame: Any) -> pa.Table:
    """A frame as a table of Arrow, without its index. Raises `BadInput` for what is none, or has mixed columns."""
    import pyarrow as pa

    if not is_frame(frame):
        raise BadInput(f"a table of pandas, polars or Arrow is expected, not a {type(frame).__name__}.")
    try:
        if type(frame).__module__.partition(".")[0] == "pandas" and hasattr(frame, "columns"):  # and no Series
            return pa.Table.from_pandas(frame, preserve_index=False)
        return pa.table(frame)
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"this table cannot be read: {error}") from error


class Pairs(NamedTuple):
    """The rows of a frame, query after query: ids of queries, offsets, documents and values of the pairs."""

    query_ids: list[str]
    offsets: NDArray[np.int64]
    documents: pa.ChunkedArray
    values: NDArray[np.float64]


class Rows(NamedTuple):
    """The rows of a frame as candidates have them."""

    query_ids: list[str]
    offsets: NDArray[np.int64]
    docs: NDArray[np.int64]
    scores: NDArray[np.float32]


def read_pairs(frame: Any, judged: bool = False, **named: str | None) -> Pairs:
    """Read the pairs of a frame, those of each query together, in the order in which queries first come.

    `named` are columns that are told: `query_id`, `doc_id`, `score`. Raises `BadInput` for a column that is not there,
    or could be either of two, for ids that are missing and for values that are no numbers.
    """
    table = table_of(frame)
    queries = _ids_in(table, _chosen(table, "query_id", QUERY_IDS, named))
    documents = _ids_in(table, _chosen(table, "doc_id", DOCUMENT_IDS, named))
    values = _numbers_in(table, _value_column(table, judged, named))
    codes = queries.combine_chunks().dictionary_encode()
    rows = integers_to_numpy(codes.indices).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    lengths = np.bincount(rows, minlength=len(codes.dictionary))
    return Pairs(
        codes.dictionary.to_pylist(),
        offsets_of(lengths),
        documents if np.all(np.diff(order) == 1) else _column(gather(documents, order)),
        values[order],
    )


def rows_of(pairs: Pairs, ids: Ids, wanted: Sequence[str] | None, judged: bool) -> Rows:
    """Pairs as rows over the documents `ids`: those of the queries `wanted`, in their order, or of all.

    A judged document that `ids` lacks gets an ordinal beyond them, as in `nirank.formats.Run.align`; any other is
    refused, as are queries that are not wanted and pairs that come twice: `BadInput`.
    """
    docs = ids.find(pairs.documents)
    unknown = np.flatnonzero(docs < 0)
    if len(unknown) and not judged:
        name = pairs.documents[int(unknown[0])].as_py()
        raise BadInput(
            f"{len(unknown):,} of {len(docs):,} rows are of documents that the corpus lacks, such as {name!r}."
        )
    if len(unknown):
        codes = _column(gather(pairs.documents, unknown)).combine_chunks().dictionary_encode().indices
        docs[unknown] = len(ids) + integers_to_numpy(codes)
    refuse_twice(pairs, docs)
    _tell_collapsed(pairs)
    return _in_order(Rows(pairs.query_ids, pairs.offsets, docs, _as_float32(pairs.values)), wanted)


def _in_order(rows: Rows, wanted: Sequence[str] | None) -> Rows:
    """The rows of the queries `wanted`; one that the frame lacks has no documents."""
    if wanted is None:
        return rows
    if others := {*rows.query_ids} - {*wanted}:
        raise BadInput(f"{len(others):,} queries of the frame are not among those asked, such as {min(others)!r}.")
    place = {query: number for number, query in enumerate(rows.query_ids)}
    lengths = np.append(np.diff(rows.offsets), 0)
    starts = np.append(rows.offsets[:-1], 0)
    chosen = np.array([place.get(query, len(place)) for query in wanted], np.int64)
    offsets = offsets_of(lengths[chosen])
    at = np.repeat(starts[chosen] - offsets[:-1], lengths[chosen]) + np.arange(offsets[-1])
    return Rows(list(wanted), offsets, rows.docs[at], rows.scores[at])


def refuse_twice(pairs: Pairs, docs: NDArray[Any]) -> None:
    """Raise `BadInput` for a document that stands twice for a query; `docs` are the documents as numbers."""
    rows = np.repeat(np.arange(len(pairs.query_ids)), np.diff(pairs.offsets))
    order = np.lexsort((docs, rows))
    same = (np.diff(rows[order]) == 0) & (np.diff(docs[order]) == 0)
    if same.any():
        at = int(order[int(np.argmax(same)) + 1])
        document, query = pairs.documents[at].as_py(), pairs.query_ids[rows[at]]
        raise BadInput(f"the document {document!r} stands twice for the query {query!r}.")


def _tell_collapsed(pairs: Pairs) -> None:
    """Warn of scores of a query that differ as float64 and are equal as float32: they tie here."""
    rows = np.repeat(np.arange(len(pairs.query_ids)), np.diff(pairs.offsets))
    order = np.lexsort((pairs.values, rows))
    values = pairs.values[order]
    before, after = _as_float32(values[:-1]), _as_float32(values[1:])
    lost = int(np.count_nonzero((before == after) & (values[:-1] < values[1:]) & (np.diff(rows[order]) == 0)))
    if lost:
        log.warning("%d scores differ from others of their query as float64 only; as float32 they tie.", lost)


def _as_float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The numbers as float32; those beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def read_texts(frame: Any, query_id: str | None = None, text: str | None = None) -> tuple[list[str], list[str]]:
    """The ids and texts of queries in a frame, each id once. Raises `BadInput` as `read_pairs` does."""
    table = table_of(frame)
    named = _chosen(table, "query_id", QUERY_IDS, {"query_id": query_id})
    ids, name = _ids_in(table, named), _chosen(table, "text", TEXTS, {"text": text})
    texts = _strings(table[name], name)
    if texts.null_count:
        raise BadInput(f"{texts.null_count:,} of {len(texts):,} texts in {name!r} are missing.")
    _refuse_repeated(ids, named)
    return ids.to_pylist(), texts.to_pylist()


def _refuse_repeated(ids: pa.ChunkedArray, name: str) -> None:
    """Raise `BadInput` for an id that comes twice, as in a frame of results, which repeats its queries."""
    counted = ids.value_counts()
    counts = integers_to_numpy(counted.field("counts"))
    if (several := int((counts > 1).sum())) == 0:
        return
    first = int(np.argmax(counts > 1))
    raise BadInput(
        f"{several:,} queries stand in more than one row, such as {counted.field('values')[first].as_py()!r}: a row a "
        f"query is expected. Of results leave the repetitions out first (pandas: `frame.drop_duplicates({name!r})`)."
    )


def _value_column(table: pa.Table, judged: bool, named: dict[str, str | None]) -> str:
    """The column of scores or, of judgments, that of grades, which may be called a score too."""
    if judged and not any(name in table.column_names for name in GRADES):
        return _chosen(table, "score", SCORES, named)
    return _chosen(table, "score", GRADES if judged else SCORES, named)


def _chosen(table: pa.Table, role: str, names: Sequence[str], named: dict[str, str | None]) -> str:
    """The one column for this role. Raises `BadInput` where there is none, or more than one."""
    here = table.column_names
    if (told := named.get(role)) is not None:
        told = str(told)  # as Arrow has the names of pandas that are numbers
        if here.count(told) != 1:
            raise UnknownName("column", told, here) if told not in here else BadInput(f"two columns are {told!r}.")
        return told
    found = [name for name in here if name in names]
    if "docno" in found and "docid" in found and _is_integer(table["docid"]):
        found.remove("docid")  # PyTerrier's own number of the document, beside its id
    if len(found) == 1:
        return found[0]
    if len({*found}) == 1:
        raise BadInput(f"{len(found)} columns are called {found[0]!r}: rename or leave out all but one.")
    if found:
        raise BadInput(f"{' and '.join(map(repr, found))} could both be meant by {role}: say {role}={found[0]!r}.")
    raise BadInput(
        f"there is no column for {role} ({', '.join(names)}) among {', '.join(map(str, here)) or 'none'}: "
        f"say {role}='NAME', and of pandas put an index into columns first (`frame.reset_index()`)."
    )


def _is_integer(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(column.type))


def _ids_in(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of ids as strings; whole numbers are written out."""
    ids = _strings(table[name], name, numbers=True)
    if ids.null_count:
        raise BadInput(f"{ids.null_count:,} of {len(ids):,} ids in {name!r} are missing.")
    return ids


def _strings(column: pa.ChunkedArray, name: str, numbers: bool = False) -> pa.ChunkedArray:
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not len(column):
        return to_column([])
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
    if not (texts or pa.types.is_null(kind) or (numbers and pa.types.is_integer(kind))):
        raise BadInput(f"the column {name!r} holds {kind}: texts{' or whole numbers' * numbers} are expected.")
    return to_column(_spelled_out(column).cast(pa.large_string()))


def _spelled_out(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Of categories their values; Arrow casts no categories of polars, whose strings are views."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        return column
    return pa.chunked_array([chunk.dictionary.cast(pa.large_string()).take(chunk.indices) for chunk in column.chunks])


def _numbers_in(table: pa.Table, name: str) -> NDArray[np.float64]:
    import pyarrow as pa

    column = table[name]
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    if len(column) and not any(is_kind(column.type) for is_kind in kinds):
        raise BadInput(f"the column {name!r} holds {column.type}: numbers are expected.")
    values = np.asarray(column.cast(pa.float64(), safe=False).fill_null(np.nan).combine_chunks().to_numpy())
    if wrong := int(np.isnan(values).sum()):
        raise BadInput(f"{wrong:,} of {len(values):,} values in {name!r} are missing or no numbers.")
    return values


def _column(strings: pa.Array) -> pa.ChunkedArray:
    return to_column(strings)


# Writing


def pairs_table(
    names: str, judged: bool, queries: tuple[Sequence[str], NDArray[np.int64]], documents: pa.Array, scores: Any
) -> pa.Table:
    """A table of pairs: `queries` are ids with the offsets of their pairs. A run has ranks, judgments have none."""
    import pyarrow as pa

    layout, (ids, offsets) = layout_of(names), queries
    lengths = np.diff(offsets)
    columns = {
        layout.query: gather(to_column(ids), np.repeat(np.arange(len(ids)), lengths)),
        layout.document: documents,
    }
    if judged:
        whole = np.array_equal(scores, np.rint(scores))
        return pa.table(columns | {layout.grade: numbers_to_array(scores.astype(np.int64) if whole else scores)})
    ranks = np.arange(len(scores)) - np.repeat(offsets[:-1], lengths) + layout.first_rank
    return pa.table(columns | {layout.score: numbers_to_array(scores), "rank": numbers_to_array(ranks)})


def texts_table(names: str, ids: Sequence[str], texts: Sequence[str]) -> pa.Table:
    """A table of queries."""
    import pyarrow as pa

    layout = layout_of(names)
    return pa.table({layout.query: to_column(ids), layout.text: to_column(texts)})
