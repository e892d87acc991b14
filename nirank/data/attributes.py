"""Attributes of documents: values beside their content, such as a year or a language, in a file beside the corpus.

A column has one type: whole numbers, numbers, texts, or true and false, and null where a document has no such value.
Which columns there are, and of which types, is known only when all documents have been read; until then they wait in a
file without a name. They are no part of a document's content, and so of no fingerprint.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from nirank import seals
from nirank.data.columns import to_array
from nirank.errors import BadInput, DamagedFile

if TYPE_CHECKING:
    import pyarrow as pa

#: The least whole number that is kept as such.
_LEAST = -(2**63)
#: The entry of the file's metadata that names what could not be kept.
_LEFT_OUT = b"nirank.left_out"
#: The entry that names the documents whose attributes they are, by the fingerprint of these.
_CORPUS = b"nirank.corpus"
_WHOLE, _NUMBER = r"^-?(0|[1-9][0-9]*)$", r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


@dataclass(frozen=True)
class Untyped:
    """Cells of a column as they were written, in CSV for instance: numbers if all of them are; an empty one is null."""

    cells: Sequence[str]


class Spool:
    """Columns of batches of documents, until their types are known. Used as a context, in the folder of the result."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `__exit__`
        self._lengths: list[tuple[int, bool]] = []  # documents of a batch, and whether it has any columns
        self._types: dict[str, set[pa.DataType]] = {}
        self._left_out: set[str] = set()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def taking(self, batches: Iterator[Mapping[str, Any]], fields: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """The batches as they come; what they have beside the id and `fields` is kept here."""
        for batch in batches:
            self.add({name: values for name, values in batch.items() if name not in ("id", *fields)}, len(batch["id"]))
            yield batch

    def write(self, path: Path, fingerprint: str | None) -> None:
        """Write a sealed Arrow file of all columns, of the documents of that fingerprint; none where there are none."""
        import pyarrow as pa

        if not self._types and not self._left_out:
            seals.remove(path)
            return
        kinds = {name: common(found) for name, found in self._types.items()}
        about = {_LEFT_OUT: "\n".join(sorted(self._left_out)), _CORPUS: fingerprint or ""}
        schema = pa.schema(list(kinds.items()), about)
        with seals.sealed(path) as unfinished, pa.ipc.new_file(str(unfinished), schema) as writer:
            for batch in self._batches():
                writer.write_batch(_cast(batch, schema))

    def add(self, columns: Mapping[str, Any], documents: int) -> None:
        """Take in the columns of some documents."""
        import pyarrow as pa

        kept = {name: column for name, values in columns.items() if (column := self._kept(name, values)) is not None}
        self._lengths.append((documents, bool(kept)))
        if kept:
            batch = pa.record_batch(list(kept.values()), list(kept))
            with pa.ipc.new_stream(self._file, batch.schema) as writer:
                writer.write_batch(batch)

    def _kept(self, name: str, values: Any) -> pa.Array | None:
        import pyarrow as pa

        column = to_values(values) if isinstance(values, (list, tuple)) else values
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        plain = _cells(values) if isinstance(values, Untyped) else _plain(column)
        if plain is None:
            self._left_out.add(name)
        elif not pa.types.is_null(plain.type):
            self._types.setdefault(name, set()).add(_read_type(plain) if isinstance(values, Untyped) else plain.type)
            return plain
        return None

    def _batches(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        self._file.seek(0)
        for documents, has_columns in self._lengths:
            if has_columns:
                with pa.ipc.open_stream(self._file) as stream:
                    yield from stream
            else:
                yield pa.record_batch([pa.nulls(documents)], ["nothing"])


def values_digest(values: pa.Array | pa.ChunkedArray) -> str:
    """A hash of values and of where there are none; how Arrow has cut them into chunks does not matter."""
    import pyarrow as pa

    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    whole = pa.concat_arrays(chunks) if chunks else pa.nulls(0, values.type)
    hashed = hashlib.blake2b(str(values.type).encode(), digest_size=16)
    for part in (whole.is_valid(), whole.drop_null()):
        hashed.update(pa.record_batch([part], ["part"]).serialize())
    return hashed.hexdigest()


def path_beside(corpus: Path) -> Path:
    """The file of the attributes of the documents in a file."""
    return corpus.with_name(f"{corpus.stem}.attributes.arrow")


def read(corpus: Path, documents: int, fingerprint: str | None) -> tuple[pa.Table | None, frozenset[str]]:
    """The attributes beside a file of documents, if there are any, and the names of what could not be kept.

    Raises `DamagedFile`, and `BadInput` where they are of other documents.
    """
    import pyarrow as pa

    path = path_beside(corpus)
    if not path.exists():
        return None, frozenset()
    seals.check_file(path, "Make the corpus again.")
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowException) as fault:
        raise DamagedFile(f"cannot be read as an Arrow file: {fault}. Make the corpus again.", path) from fault
    if table.num_columns and table.num_rows != documents:
        raise BadInput(f"has {table.num_rows} rows for {documents} documents. Make the corpus again.", path)
    about = table.schema.metadata or {}
    if about.get(_CORPUS) and fingerprint and about[_CORPUS].decode() != fingerprint:
        raise BadInput(f"holds attributes of other documents than {corpus.name}. Make the corpus again.", path)
    left_out = about.get(_LEFT_OUT, b"").decode()
    return table, frozenset(left_out.split("\n")) - {""}


def copy(corpus: Path, to: Path) -> None:
    """Copy the attributes of the documents in one file to the place beside another."""
    if path_beside(corpus).exists():
        shutil.copyfile(path_beside(corpus), path_beside(to))
        seals.seal_file(path_beside(to))
    else:
        seals.remove(path_beside(to))


def to_values(values: Sequence[Any]) -> pa.Array:
    """A column of Python's texts, numbers and truth values, and None where there is none; of any mixture as texts.

    Whole numbers of which one is beyond 64 bits are texts, and not rounded.

    Lists and objects give a column of binary, which is no attribute.
    """
    import pyarrow as pa

    values = values.tolist() if hasattr(values, "tolist") else values  # of numpy and pandas
    if any(isinstance(value, (np.generic, date)) for value in values):
        values = [_python(value) for value in values]
    kinds = {type(value) for value in values} - {type(None)}
    there = np.array([value is not None for value in values], bool)
    if not kinds:
        return pa.nulls(len(values))
    if kinds == {int} and any(value is not None and not _LEAST <= value <= -_LEAST - 1 for value in values):
        return to_values([value if value is None else str(value) for value in values])
    if kinds <= {int, float, bool} and (kinds == {bool} or bool not in kinds):
        numbers = [0 if value is None else value for value in values]
        column = _of_numbers(np.array(numbers, np.float64 if float in kinds else np.int64))
        return _masked(column.cast(pa.bool_()) if kinds == {bool} else column, there)
    if not kinds <= {int, float, bool, str}:
        return pa.nulls(len(values), pa.list_(pa.null()))
    return _masked(to_array(["" if value is None else _text_of(value) for value in values]), there)


def is_none(column: pa.Array) -> bool:
    """True for a column of what is no attribute: lists and objects."""
    return _plain(column) is None


def to_mask(truth: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """A column of true, false and null (which is false here) as numpy has it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    truth = truth.combine_chunks() if isinstance(truth, pa.ChunkedArray) else truth
    mask: np.ndarray[Any, Any] = np.from_dlpack(pc.coalesce(truth, _false()).cast(pa.uint8())).astype(bool)
    return mask


def _false() -> Any:
    import pyarrow as pa

    return _of_numbers(np.zeros(1, np.int64)).cast(pa.bool_())[0]


def _of_numbers(numbers: np.ndarray[Any, Any]) -> pa.Array:
    import pyarrow as pa

    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, pa.py_buffer(numbers)])


def _masked(column: pa.Array, there: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Array:
    """The column, null where it is not `there`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if there.all():
        return column
    return pc.if_else(_of_numbers(there.astype(np.int8)).cast(pa.bool_()), column, pa.nulls(1, column.type)[0])


def _cells(untyped: Untyped) -> pa.Array:
    return _masked(to_array(untyped.cells), np.array(list(map(bool, untyped.cells)), bool))


def _python(value: Any) -> Any:
    """A value of numpy as Python has it, and a date as text."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, date) else value


def _text_of(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(column: pa.Array) -> pa.Array | None:
    """The column in one of the few types that attributes have; None for lists, objects and bytes."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    for is_it, wanted in _types():
        if is_it(kind):
            return column if kind == wanted else _whole(column) if _is_wide(kind) else column.cast(wanted)
    return None


def _is_wide(kind: pa.DataType) -> bool:
    """True for whole numbers that int64 may not hold."""
    import pyarrow as pa

    return kind == pa.uint64() or (pa.types.is_decimal(kind) and kind.scale <= 0)


def _whole(column: pa.Array) -> pa.Array:
    """Whole numbers, as texts where one is beyond 64 bits."""
    import pyarrow as pa

    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column.cast(pa.large_string())


def _types() -> list[tuple[Any, pa.DataType]]:
    """Each of Arrow's types that may come, and the one in which it is kept; dates are texts, `2026-11-28`."""
    import pyarrow as pa

    text = pa.large_string()
    return [
        *((is_it, pa.int64()) for is_it in (pa.types.is_signed_integer, _is_small, pa.types.is_duration)),
        *((is_it, pa.float64()) for is_it in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)),
        *((is_it, text) for is_it in (pa.types.is_string, pa.types.is_large_string, pa.types.is_temporal)),
        (lambda kind: kind == pa.string_view(), text),
        (pa.types.is_boolean, pa.bool_()),
        (pa.types.is_null, pa.null()),
    ]


def _is_small(kind: pa.DataType) -> bool:
    """True for unsigned integers that int64 holds."""
    import pyarrow as pa

    return kind in (pa.uint8(), pa.uint16(), pa.uint32())


def _read_type(texts: pa.Array) -> pa.DataType:
    """The type of texts that may all be numbers: with a zero before them (`0123`) they are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if texts.null_count == len(texts):
        return pa.null()
    if to_mask(pc.match_substring_regex(texts.drop_null(), _WHOLE)).all():
        return _whole(texts).type
    return pa.float64() if to_mask(pc.match_substring_regex(texts.drop_null(), _NUMBER)).all() else pa.large_string()


def common(found: set[pa.DataType]) -> pa.DataType:
    """The one type for all batches: numbers if all are, and else texts."""
    import pyarrow as pa

    kinds = found - {pa.null()}
    if len(kinds) < 2:
        return next(iter(kinds), pa.large_string())
    return pa.float64() if kinds == {pa.int64(), pa.float64()} else pa.large_string()


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    there = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type, safe=False)
        if field.name in there
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)
