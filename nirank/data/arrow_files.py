"""Arrow files of documents: text columns and a fingerprint, mapped into memory, written batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nirank.data.columns import Strings, join_texts, to_array, to_column
from nirank.data.fingerprint import Fingerprint
from nirank.errors import BadInput, DamagedFile

if TYPE_CHECKING:
    import pyarrow as pa

#: The entry of a file's last batch that has the fingerprint of its documents.
FINGERPRINT = b"nirank.fingerprint"


def map_table(path: Path) -> tuple[pa.Table, str | None]:
    """The text columns of an Arrow file, and its fingerprint where it carries one."""
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.memory_map(os.fsencode(path)))
        batches = [reader.get_batch_with_custom_metadata(number) for number in range(reader.num_record_batches)]
        table = pa.Table.from_batches([batch for batch, _ in batches if batch.num_rows], reader.schema)
        metadata = (batches[-1].custom_metadata if batches else None) or {}
        stamp = metadata[FINGERPRINT].decode() if FINGERPRINT in metadata else None
    except (OSError, ValueError, pa.ArrowException) as fault:
        raise BadInput(f"cannot be read as an Arrow file: {fault}. Make the file again.", path) from fault
    return _large_texts(table, path), stamp


def check_texts(table: pa.Table, path: Path) -> None:
    """Raise `DamagedFile` for texts that do not lie in the file, or are not UTF-8; all of them are read for it."""
    import pyarrow as pa

    try:
        table.validate(full=True)
    except pa.ArrowException as fault:
        raise DamagedFile(f"is damaged: {fault}. Make the file again, or remove it.", path) from fault


def _large_texts(table: pa.Table, path: Path) -> pa.Table:
    """Only the columns of strings, as large strings: so they are in files of nirank; those of others are converted."""
    import pyarrow as pa

    texts = [field.name for field in table.schema if field.type in (pa.string(), pa.large_string())]
    if "id" not in texts or len(texts) < 2:
        columns = ", ".join(table.column_names)
        raise BadInput(f"columns of strings 'id' and 'text' are expected; the columns are {columns}.", path)
    chosen, wanted = table.select(texts), pa.schema([(name, pa.large_string()) for name in texts])
    if chosen.schema.equals(wanted):  # a cast would import Arrow's functions, a third of the start of a process
        return chosen.replace_schema_metadata(None)
    return chosen.cast(wanted)


def write_batches(path: Path, batches: Iterable[Mapping[str, Strings]], fields: Sequence[str]) -> None:
    """Write documents batch by batch, with the fingerprint of all."""
    import pyarrow as pa

    digest = Fingerprint()
    schema = pa.schema([(name, pa.large_string()) for name in ("id", *fields)])
    with pa.OSFile(os.fsencode(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            columns = [to_column(batch[name]).combine_chunks() for name in schema.names]
            digest.add(columns[0], join_texts(columns[1:]))
            writer.write_batch(pa.record_batch(columns, schema=schema))
        # only now is the fingerprint known, so it travels with a last batch that holds nothing
        last = pa.record_batch([to_array([]) for _ in schema], schema=schema)
        writer.write_batch(last, custom_metadata={FINGERPRINT: digest.hex()})
