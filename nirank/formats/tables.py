"""Documents in tables: MS MARCO's tabbed lines, CSV, Parquet, and the shards of a folder of Hugging Face's datasets."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nirank.data import attributes
from nirank.data.columns import to_array
from nirank.data.corpus import ArrowCorpus
from nirank.data.corpus_files import cached_corpus, source_state
from nirank.data.ids import RepeatedId
from nirank.errors import BadInput
from nirank.formats.column_names import named_columns
from nirank.formats.columnar import SHARDS, ending_of, is_text, shards_in, value_type
from nirank.formats.opening import opened

if TYPE_CHECKING:
    import pyarrow as pa

Batch: TypeAlias = Mapping[str, Any]

_BATCH = 10_000  # documents
_LONGEST = 1 << 28  # characters of a field in CSV
_OWN = ("id", "title", "text")
_MSMARCO = {2: (0, None, 1), 4: (0, 2, 3)}  # columns of id, title, text: of passages, and of documents with their URL


def is_table(path: Path) -> bool:
    """True for a file or folder that `read_table` reads, by its name or the names in it."""
    return bool(_shards(path)) if path.is_dir() else ending_of(path) in (".tsv", ".csv", *SHARDS)


def read_table(path: str | Path) -> ArrowCorpus:
    """Documents from a table, by way of the cache as in `read_jsonl`.

    `.tsv` is MS MARCO's: an id, a tab, a text, or id, URL, title and body, whatever quotation marks they hold; a first
    line that names the columns is heeded, and cells below one may be quoted as those of CSV are. `.csv` has such a
    first line, and so have the columns of `.parquet` and of a folder of shards, which are called `id`, `_id`, `docid`
    and the like, `title`, and `text`, `contents`, `body` and the like. Ids may be whole numbers. Lines may be
    compressed (`.gz`, `.bz2`, `.xz`, `.zst`). Other columns that are named are attributes of the documents: numbers
    where all cells of a column are such, and else texts; those with lists or objects are left out.

    Raises `BadInput` with the file, and the line where there are lines, for what is malformed or lacks a column, for
    an id that comes twice, and for a table without documents.
    """
    path = Path(path).absolute()
    files = _shards(path) if path.is_dir() else [path]
    states = [source_state(file) for file in files]
    try:
        return cached_corpus(path.name.partition(".")[0], states, lambda: _batches(files), origin=path)
    except RepeatedId as fault:
        raise BadInput(str(fault), path) from None


def _shards(folder: Path) -> list[Path]:
    """The shards of the documents: those in `corpus` where there is such a folder."""
    return shards_in(folder / "corpus" if (folder / "corpus").is_dir() else folder)


def _batches(files: Sequence[Path]) -> Iterator[Batch]:
    for file in files:
        match ending_of(file):
            case ".tsv":
                yield from _gathered(_tabbed(file))
            case ".csv":
                yield from _gathered(_comma_separated(file))
            case _:
                yield from _columnar(file)


def _gathered(rows: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Iterator[Batch]:
    """Rows (names of columns, cells) as batches: id, title and text, and what else there is, as it was written."""
    batch: list[Sequence[str]] = []
    for names, row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield _columns_of(names, batch)
            batch = []
    if batch:
        yield _columns_of(names, batch)


def _columns_of(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Batch:
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return {name: column if name in _OWN else attributes.Untyped(column) for name, column in columns.items()}


# Lines


def _tabbed(path: Path) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    places: tuple[int, int | None, int] | None = None
    width, named, others = 0, None, {}
    with opened(path) as stream:
        for number, raw in enumerate(stream, 1):
            cells = _decoded(raw, path, number).removeprefix("\ufeff" if number == 1 else "").rstrip("\r\n").split("\t")
            if cells == [""]:
                continue
            if places is None:
                width, named = len(cells), named_columns(cells)
                places = named or _MSMARCO.get(width)
                if places is None:
                    raise BadInput("an id, a tab and a text are expected, or id, URL, title and text.", path, number)
                if named:
                    others = _others(cells, places)
                    continue
            if len(cells) != width or not cells[places[0]].strip():
                raise BadInput(f"{width} columns with tabs between them, the first an id, are expected.", path, number)
            yield _row(list(map(_unquoted, cells)) if named else cells, places, others)


def _unquoted(cell: str) -> str:
    """A cell as pandas quotes it where it holds a quotation mark; any other stays as it is."""
    inner = cell[1:-1].replace('""', "")
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner
    return cell[1:-1].replace('""', '"') if quoted else cell


def _comma_separated(path: Path) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    csv.field_size_limit(_LONGEST)
    with opened(path) as stream:
        reader = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""), strict=True)
        try:
            header = next(reader, [])
            places = named_columns(header)
            if places is None:
                raise BadInput(_lacking(header), path, 1)
            others = _others(header, places)
            for cells in reader:
                if cells and (len(cells) != len(header) or not cells[places[0]].strip()):
                    raise BadInput(f"{len(header)} columns with an id are expected.", path, reader.line_num)
                if cells:
                    yield _row(cells, places, others)
        except csv.Error as fault:
            raise BadInput(f"this is not CSV: {fault}.", path, reader.line_num) from fault
        except UnicodeDecodeError as fault:
            raise BadInput("text must be UTF-8.", path) from fault


def _decoded(raw: bytes, path: Path, number: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as fault:
        raise BadInput("text must be UTF-8.", path, number) from fault


def _others(header: Sequence[str], places: tuple[int, int | None, int]) -> dict[str, int]:
    """The columns that are no id, title or text, by their names; of two of one name the first."""
    names = {name.strip(): number for number, name in reversed(list(enumerate(header))) if number not in places}
    return {name: names[name] for name in sorted(names, key=names.__getitem__) if name and name not in _OWN}


def _row(
    cells: Sequence[str], places: tuple[int, int | None, int], others: Mapping[str, int]
) -> tuple[Sequence[str], Sequence[str]]:
    """The names of the columns, and their cells."""
    number, title, text = places
    more = [cells[place] for place in others.values()]
    return (*_OWN, *others), (cells[number].strip(), "" if title is None else cells[title], cells[text], *more)


def _lacking(header: Sequence[str]) -> str:
    return f"columns such as 'id' and 'text' are expected; the columns are {', '.join(header)[:200] or 'none'}."


# Columns


def _columnar(path: Path) -> Iterator[Batch]:
    import pyarrow as pa

    try:
        for batch in _parquet(path) if ending_of(path) == ".parquet" else _arrow(path):
            batch.validate(full=True)  # else an offset that was damaged ends the process
            if batch.num_rows:
                yield _texts(batch, path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as fault:
        raise BadInput(f"this is not a readable {ending_of(path)[1:]} file: {fault}.", path) from fault


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        own = _places(file.schema_arrow.names, path)
        columns = enumerate(file.schema_arrow)
        wanted = [one.name for place, one in columns if place in own or not pa.types.is_nested(one.type)]
        yield from file.iter_batches(_BATCH, columns=wanted)


def _arrow(path: Path) -> Iterator[pa.RecordBatch]:
    """As datasets writes it, which is a stream, or as an Arrow file."""
    import pyarrow as pa

    with pa.memory_map(os.fsencode(path)) as source:
        try:
            stream = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            file = pa.ipc.open_file(source)
            yield from map(file.get_batch, range(file.num_record_batches))
        else:
            yield from stream


def _places(names: Sequence[str], path: Path) -> tuple[int, int | None, int]:
    places = named_columns(names)
    if places is None:
        raise BadInput(_lacking(names), path)
    return places


def _texts(batch: pa.RecordBatch, path: Path) -> Batch:
    import pyarrow as pa
    import pyarrow.compute as pc

    number, title, text = places = _places(batch.schema.names, path)
    others = _others(batch.schema.names, places)
    ids = _as_text(batch.column(number), "id", path)
    if ids.null_count or pc.any(pc.equal(ids, to_array([""])[0])).as_py():
        raise BadInput("there are documents without id.", path)
    none = to_array([""])[0]
    titles: Any = pa.nulls(len(ids), pa.large_string()) if title is None else batch.column(title)
    texts = _as_text(batch.column(text), "text", path)
    if texts.null_count:
        raise BadInput(f"{texts.null_count:,} of {len(texts):,} texts are null.", path)
    more = {name: batch.column(place) for name, place in others.items()}
    return {**more, "id": ids, "title": pc.coalesce(_as_text(titles, "title", path), none), "text": texts}


def _as_text(column: pa.Array, name: str, path: Path) -> pa.Array:
    import pyarrow as pa

    kind = value_type(column)
    if not (is_text(kind) or (name == "id" and pa.types.is_integer(kind)) or pa.types.is_null(kind)):
        raise BadInput(f"the column of {name}s holds {kind}, not texts.", path)
    return column.cast(kind).cast(pa.large_string())
