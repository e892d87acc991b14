"""Arrow files of documents: text columns and a fingerprint, mapped into memory, written batch by batch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nirank.data.columns import Strings, join_texts, to_array, to_column
from nirank.data.fingerprint import Fingerprint
from nirank.errors import BadInput, DamagedFile

if TYPE_CHECKING:
    import pyarrow as pa

#: A table of Arrow, or a batch of one.
Columns = TypeVar("Columns", "pa.Table", "pa.RecordBatch")
#: The entry of a file's last batch that has the fingerprint of its documents.
FINGERPRINT = b"nirank.fingerprint"
#: Beside it, of each batch the number of documents and a hash: a range is found without reading what comes before it,
#: and compared without reading the rest.
BATCHES = b"nirank.batches"


def map_table(path: Path) -> tuple[pa.Table, str | None]:
    """The text columns of an Arrow file, and its fingerprint where it carries one."""
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.memory_map(os.fsencode(path)))
        batches = [reader.get_batch_with_custom_metadata(number) for number in range(reader.num_record_batches)]
        table = pa.Table.from_batches([batch for batch, _ in batches if batch.num_rows], reader.schema)
        stamp, _ = stamped(reader)
    except (OSError, ValueError, pa.ArrowException) as fault:
        raise BadInput(f"cannot be read as an Arrow file: {fault}. Make the file again.", path) from fault
    return _large_texts(table, path), stamp


def stamped(reader: Any) -> tuple[str | None, Mapping[bytes, bytes]]:
    """The fingerprint in a file that is open, None where it has none, and all that its last batch says."""
    last = reader.num_record_batches - 1
    metadata = (reader.get_batch_with_custom_metadata(last).custom_metadata if last >= 0 else None) or {}
    found = dict(metadata.items())
    return (found[FINGERPRINT].decode() if FINGERPRINT in found else None), found


def fingerprint_of(table: pa.Table) -> str:
    """The fingerprint of documents, whatever their file says of it; all of them are read."""
    digest, fields = Fingerprint(), [name for name in table.column_names if name != "id"]
    for batch in table.to_batches():
        digest.add(batch["id"], join_texts([batch[name] for name in fields]))
    return digest.hex()


def hash_of(batch: pa.RecordBatch) -> str:
    """A hash of the texts of a batch, 32 hexadecimal digits: of their lengths and bytes, column by column."""
    import xxhash

    hashed = xxhash.xxh3_128()
    for column in _large(batch).columns:
        _, offsets, data = column.buffers()
        if len(column):
            ends = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
            hashed.update(np.diff(ends).astype("<i8").tobytes())
            hashed.update(memoryview(data)[ends[0] : ends[-1]])
    return hashed.hexdigest()


def check_texts(table: pa.Table, path: Path) -> None:
    """Raise `DamagedFile` for texts that do not lie in the file, or are not UTF-8; all of them are read for it."""
    import pyarrow as pa

    try:
        table.validate(full=True)
    except pa.ArrowException as fault:
        raise DamagedFile(f"is damaged: {fault}. Make the file again, or remove it.", path) from fault


def _large_texts(table: pa.Table, path: Path) -> pa.Table:
    """Only the columns of strings, as large strings: so they are in files of nirank; those of others are converted."""
    return _large(table.select(text_columns(table.schema, path))).replace_schema_metadata(None)


def _large(texts: Columns) -> Columns:
    """Columns of strings as large strings."""
    import pyarrow as pa

    wanted = pa.schema([(name, pa.large_string()) for name in texts.schema.names])
    # a cast would import Arrow's functions, a third of the start of a process
    return texts if texts.schema.equals(wanted) else texts.cast(wanted)


def text_columns(schema: pa.Schema, path: Path) -> list[str]:
    """The names of the columns of strings. Raises `BadInput` unless there are ids and texts."""
    import pyarrow as pa

    texts = [field.name for field in schema if field.type in (pa.string(), pa.large_string())]
    if "id" not in texts or len(texts) < 2:
        columns = ", ".join(schema.names)
        raise BadInput(f"columns of strings 'id' and 'text' are expected; the columns are {columns}.", path)
    return texts


def write_batches(path: Path, batches: Iterable[Mapping[str, Strings]], fields: Sequence[str]) -> None:
    """Write documents batch by batch, with the fingerprint of all."""
    import pyarrow as pa

    digest, written = Fingerprint(), list[list[Any]]()
    schema = pa.schema([(name, pa.large_string()) for name in ("id", *fields)])
    with pa.OSFile(os.fsencode(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            columns = [to_column(batch[name]).combine_chunks() for name in schema.names]
            digest.add(columns[0], join_texts(columns[1:]))
            made = pa.record_batch(columns, schema=schema)
            writer.write_batch(made)
            written.append([len(made), hash_of(made)])
        # only now is the fingerprint known, so it travels with a last batch that holds nothing
        last = pa.record_batch([to_array([]) for _ in schema], schema=schema)
        writer.write_batch(last, custom_metadata={FINGERPRINT: digest.hex(), BATCHES: json.dumps(written)})
