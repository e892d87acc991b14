"""The shared parts of readers of columns: the endings of files, the shards of a folder, the types of columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from nirank.formats.opening import COMPRESSED

if TYPE_CHECKING:
    import pyarrow as pa

#: The endings of the files that a folder of shards has, as Hugging Face's datasets writes them.
SHARDS = (".parquet", ".arrow")


def ending_of(path: Path) -> str:
    """The ending of a file in small letters, that of a compressed one without what it is packed by."""
    suffixes = [each.lower() for each in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def shards_in(folder: Path) -> list[Path]:
    """The shards in a folder, without what datasets caches and what an earlier saving left behind."""
    files = (file for file in folder.rglob("*") if file.suffix.lower() in SHARDS and file.is_file())
    return sorted(file for file in files if not file.name.startswith(("cache-", ".")) and _is_current(file))


def _is_current(file: Path) -> bool:
    """False for a shard that a later, shorter saving of the dataset left behind: `state.json` lists the others."""
    try:
        state = json.loads((file.parent / "state.json").read_text(encoding="utf-8"))
        return file.name in [each["filename"] for each in state["_data_files"]]
    except (OSError, ValueError, LookupError, TypeError):
        return True


def value_type(column: pa.Array | pa.ChunkedArray) -> pa.DataType:
    """The type of the values of a column, which may be stored as a dictionary."""
    import pyarrow as pa

    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def is_text(kind: pa.DataType) -> bool:
    """True for each of Arrow's types of strings."""
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
