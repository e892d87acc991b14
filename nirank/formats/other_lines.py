"""Runs and judgments as other libraries write them: ranx's JSON and LZ4, and tables with a heading.

Tables are Parquet, CSV and JSON lines, as pandas, ranx and Hugging Face's datasets have them, and folders of their
shards. All become one Arrow table with the columns `query`, `document` and a number.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank.errors import BadInput
from nirank.formats.columnar import ending_of, is_text, shards_in, value_type
from nirank.formats.opening import faults_of, read_all, read_whole

if TYPE_CHECKING:
    import pyarrow as pa

_LARGEST = 1 << 31  # bytes of a file of JSON or CSV
_QUERIES = ("query-id", "query_id", "qid", "q_id", "query", "topic", "topic_id")
_DOCUMENTS = ("corpus-id", "corpus_id", "doc_id", "doc-id", "docid", "docno", "document", "did", "doc", "pid")
_NUMBERS = ("score", "relevance", "rel", "label", "grade", "judgment", "judgement")


def kind_of(path: Path) -> Callable[[Path], pa.Table] | None:
    """The reader of the columns of a file, by its name, or of a folder of shards; None for lines of TREC's."""
    if path.is_dir():
        return _shards if shards_in(path) else None
    return _KINDS.get(ending_of(path))


def read_columns(path: Path, value: str) -> pa.Table:
    """The columns `query` and `document`, large strings, and `value`, float64, of a file that `kind_of` knows.

    Raises `BadInput` for a file that is malformed, lacks a column, or has ids that are neither texts nor whole numbers.
    """
    import pyarrow as pa

    reader = kind_of(path)
    if reader is None:
        raise BadInput("this is no run and no judgments in a known layout.", path)
    try:
        with faults_of(path):
            table = reader(path)
        table.validate(full=True)  # else an offset that was damaged ends the process
        if not table.num_rows:
            raise BadInput("there are no rows.", path)
        return _three(table, value, path)
    except (pa.ArrowException, UnicodeDecodeError, RecursionError) as fault:
        raise BadInput(f"the file is malformed: {str(fault).splitlines()[0]}", path) from fault


def _shards(folder: Path) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables([_KINDS[ending_of(file)](file) for file in shards_in(folder)])


def _parquet(path: Path) -> pa.Table:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        return file.read()


def _arrow(path: Path) -> pa.Table:
    import pyarrow as pa

    with pa.memory_map(os.fsencode(path)) as source:
        try:
            return pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            return pa.ipc.open_file(source).read_all()


def _csv(path: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    content = read_whole(path, _LARGEST)
    names = content[:4096].split(b"\n", 1)[0].decode("utf-8-sig", "replace").strip().split(",")
    ids = {name: pa.large_string() for name in names if name.strip('"').lower() in (*_QUERIES, *_DOCUMENTS)}
    kinds = csv.ConvertOptions(column_types={name.strip('"'): kind for name, kind in ids.items()})
    return csv.read_csv(io.BytesIO(content), convert_options=kinds)


def _json(path: Path) -> pa.Table:
    """Ranx's `{query: {document: number}}`, or lines of objects with the three columns."""
    content = read_whole(path, _LARGEST).decode("utf-8-sig", "strict")
    return _of_json(content, path)


def _lz4(path: Path) -> pa.Table:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.OSFile(os.fsencode(path)), "lz4") as stream:
        return _of_json(read_all(stream, path, _LARGEST).decode("utf-8", "strict"), path)


def _of_json(content: str, path: Path) -> pa.Table:
    try:
        found = json.loads(content)
    except ValueError:
        found = [_line(line, number, path) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    if isinstance(found, dict) and all(isinstance(row, dict) for row in found.values()):
        return _of_rows(found)
    rows = [found] if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput("{query: {document: number}} or objects with query, document and number are expected.", path)
    return _of_objects(rows)


def _line(line: str, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except ValueError as fault:
        raise BadInput(f"this is not JSON ({fault}).", path, number) from fault


def _of_rows(rows: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    queries = [query for query, row in rows.items() for _ in row]
    documents = [document for row in rows.values() for document in row]
    return pa.table(
        {"query": queries, "document": documents, "score": [n for row in rows.values() for n in row.values()]}
    )


def _of_objects(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row)
    numbers = {name: [row.get(name) for row in rows] for name in names if name.lower() in _NUMBERS}
    ids = {name: [_as_id(row.get(name)) for row in rows] for name in names if name.lower() in (*_QUERIES, *_DOCUMENTS)}
    return pa.table({**ids, **numbers})


def _as_id(value: object) -> object:
    """Whole numbers as texts, so that they may stand beside others."""
    return str(value) if type(value) is int else value


def _three(table: pa.Table, value: str, path: Path) -> pa.Table:
    import pyarrow as pa

    columns = [_column(table, names, path) for names in (_QUERIES, _DOCUMENTS, _NUMBERS)]
    if any(column.null_count for column in columns):
        raise BadInput("some ids or numbers are missing (null).", path)
    query, document = (_as_ids(column, path) for column in columns[:2])
    if not (pa.types.is_integer(columns[2].type) or pa.types.is_floating(columns[2].type)):
        raise BadInput(f"the column of numbers holds {columns[2].type}.", path)
    return pa.table({"query": query, "document": document, value: columns[2].cast(pa.float64())})


def _column(table: pa.Table, names: Sequence[str], path: Path) -> pa.ChunkedArray:
    there = {name.lower(): name for name in table.column_names}
    found = next((there[name] for name in names if name in there), None)
    if found is None:
        known = ", ".join(table.column_names)[:200] or "none"
        raise BadInput(f"columns such as 'query_id', 'doc_id' and 'score' are expected; the columns are {known}.", path)
    return table[found]


def _as_ids(column: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    import pyarrow as pa

    kind = value_type(column)
    if not (is_text(kind) or pa.types.is_integer(kind)):
        raise BadInput(f"a column of ids holds {kind}: texts or whole numbers are expected.", path)
    return column.cast(kind).cast(pa.large_string())


_KINDS: Mapping[str, Callable[[Path], Any]] = {
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".csv": _csv,
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _json),
    ".lz4": _lz4,
}
