"""Documents from JSON lines: Arrow's parser writes them into a file that is mapped from then on."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from nirank.data.columns import Strings, to_array
from nirank.data.corpus import ArrowCorpus
from nirank.data.corpus_files import cached_corpus
from nirank.data.ids import RepeatedId
from nirank.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

_BLOCK = 1 << 24  # bytes parsed at a time
_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
_EXPECTED = 'one {"id": ..., "title": ..., "text": ...} a line is expected.'


def read_jsonl(path: str | Path, cache: str | Path | None = None) -> ArrowCorpus:
    """Documents from JSON lines: `{"id": ..., "title": ..., "text": ...}`, plain or gzipped (`.gz`).

    The id may also stand under `"_id"`; a title may be missing or null; other keys are left out. The first call
    copies the file, in bounded memory, into an Arrow file under `cache` (`cache_folder()` if None); later calls
    only map that, until the path, size or time of modification of the source changes.

    Raises `BadInput` with file and line for a line that is not such an object and for an id that comes twice,
    and for a file that is missing or has no documents.
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise BadInput(f"there is no such file; {_EXPECTED}", path)
    state = path.stat()
    source = (path, state.st_size, state.st_mtime_ns)
    try:
        return cached_corpus(path.name.partition(".")[0], source, lambda: _batches(path), cache=cache)
    except RepeatedId as fault:
        first, second = (_line_of(path, ordinal) for ordinal in fault.ordinals)
        message = f"the id {fault.repeated!r} is on line {first} already; ids must be unique."
        raise BadInput(message, path, second) from None


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    with cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as stream:
        try:
            yield stream
        except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
            raise BadInput(f"this is not a whole gzip file: {fault}", path) from fault


def _line_of(path: Path, ordinal: int) -> int:
    """The line of a document, counted from 1."""
    with _reading(path) as stream:
        filled = (number for number, raw in enumerate(stream, start=1) if raw.strip())
        return next(number for position, number in enumerate(filled) if position == ordinal)


def _batches(path: Path) -> Iterator[Mapping[str, Strings]]:
    empty = True
    with _reading(path) as stream:
        for line, block in _line_blocks(stream):
            if block and not block.isspace():
                empty = False
                yield _parse(path, line, block)
    if empty:
        raise BadInput(f"there are no documents; {_EXPECTED}", path)


def _line_blocks(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines, each with the number of its first line."""
    line, rest = 1, b""
    while block := stream.read(_BLOCK):
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            yield line, whole
            line += whole.count(b"\n") + 1
    yield line, rest


def _parse(path: Path, line: int, block: bytes) -> Mapping[str, Strings]:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        table = _read_json(block)
    except pa.ArrowInvalid as fault:
        _refuse_faulty_line(path, line, block)
        raise BadInput(f"from line {line} on, {fault}; {_EXPECTED}", path) from fault
    empty = to_array([""])[0]
    ids, titles = pc.coalesce(table["id"], table["_id"], empty), pc.coalesce(table["title"], empty)
    gaps = table["text"].null_count or pc.any(pc.equal(ids, empty)).as_py()
    odd = table.num_rows != block.count(b"\n") + 1 or _BLANK_LINE.search(block)
    if gaps or odd:  # blank lines are no fault, but they hide that two documents stand in one line
        _refuse_faulty_line(path, line, block)
    return {"id": ids, "title": titles, "text": table["text"]}


def _read_json(block: bytes) -> pa.Table:
    import pyarrow as pa
    from pyarrow import json as arrow_json

    schema = pa.schema([(name, pa.large_string()) for name in ("id", "_id", "title", "text")])
    parsing = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    reading = arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    table = arrow_json.read_json(pa.BufferReader(block), reading, parsing)
    table.validate(full=True)  # the parser lets bytes pass that are not UTF-8
    return table


def _refuse_faulty_line(path: Path, line: int, block: bytes) -> None:
    """Look again, line by line, for what is wrong, and say where."""
    for number, raw in enumerate(block.split(b"\n"), start=line):
        if raw.strip() and (fault := _fault(raw)):
            raise BadInput(f"{fault}; {_EXPECTED}", path, number)


def _fault(raw: bytes) -> str | None:
    try:
        record = json.loads(raw, object_pairs_hook=_unique_keys)
    except ValueError as fault:
        return f"this is not JSON ({fault})"
    if not isinstance(record, dict):
        return f"this is not a JSON object but {_shortly(record)}"
    key = "_id" if record.get("id") is None else "id"
    if record.get(key) in (None, ""):
        return "there is no id"
    values = {key: record[key], "text": record.get("text"), "title": record.get("title") or ""}
    return next(
        (f'"{name}" is not a text but {_shortly(text)}' for name, text in values.items() if not _sound(text)), None
    )


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return record


def _sound(value: object) -> bool:
    """True for a text that UTF-8 can hold: half a surrogate pair is not."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _shortly(value: object) -> str:
    written = json.dumps(value)
    return written if len(written) <= 40 else f"{written[:36]} ..."
