"""Documents from JSON lines: Arrow's parser writes them into a file that is mapped from then on."""

from __future__ import annotations

import codecs
import itertools
import json
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nirank.data import attributes
from nirank.data.columns import to_array
from nirank.data.corpus import ArrowCorpus
from nirank.data.corpus_files import cached_corpus, source_state
from nirank.data.ids import RepeatedId
from nirank.errors import BadInput
from nirank.formats.column_names import IDS, TEXTS
from nirank.formats.opening import COMPRESSED, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

#: Endings of files of JSON lines, and of a JSON array.
JSON_LINES = tuple(kind + packed for kind in (".jsonl", ".json", ".ndjson") for packed in ("", *COMPRESSED))

_BLOCK = 1 << 24  # bytes parsed at a time
_LARGEST_ARRAY = 1 << 28  # bytes
_WIDE = 64  # keys of an object within a document
_DESCRIBING = {"dataset_info.json", "dataset_dict.json", "dataset_infos.json", "state.json"}
_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
_EXPECTED = 'one {"id": ..., "title": ..., "text": ...} a line is expected.'


def read_jsonl(path: str | Path, cache: str | Path | None = None) -> ArrowCorpus:
    """Documents from JSON lines: `{"id": ..., "title": ..., "text": ...}`, plain or compressed (`.gz`, `.bz2`, ...).

    The id may also stand under `"_id"`, `"docid"` and the like and be a whole number, the text under `"contents"`, as
    Anserini has it, `"body"`, `"passage"` and the like (`nirank.formats.column_names`); a title may be missing or null;
    other keys with texts, numbers or truth values are attributes of the documents, and those with lists or objects are
    left out. A JSON array of such objects is read as well, and so are all files of JSON lines in a folder, by their
    names. The first call copies the file, in bounded memory, into an Arrow file under `cache` (`cache_folder()` if
    None); later calls only map that, until the source changes (`nirank.data.source_state`).

    Raises `BadInput` with file and line for a line that is not such an object and for an id that comes twice,
    and for a file that is missing or has no documents.
    """
    path = Path(path).absolute()
    if is_json_folder(path):
        return _read_folder(path, cache)
    if not path.is_file():
        folder = ": the folder has neither JSON lines nor tables" if path.is_dir() else ""
        raise BadInput(f"there is no such file{folder}; {_EXPECTED}", path)
    try:
        return cached_corpus(path.name.partition(".")[0], source_state(path), lambda: _batches(path), cache=cache)
    except RepeatedId as fault:
        first, second = (_line_of(path, ordinal) for ordinal in fault.ordinals)
        if first is None or second is None:
            raise BadInput(str(fault), path) from None
        message = f"the id {fault.repeated!r} is on line {first} already; ids must be unique."
        raise BadInput(message, path, second) from None


def is_json_folder(path: Path) -> bool:
    """True for a folder with files of JSON lines, as Anserini's collections come."""
    return path.is_dir() and bool(_files(path))


def _files(folder: Path) -> list[Path]:
    """The files of JSON lines in a folder, without those that describe others (`dataset_info.json`)."""
    named = (file for file in folder.rglob("*") if file.name.lower().endswith(JSON_LINES) and file.is_file())
    return sorted(file for file in named if not file.name.startswith(".") and file.name not in _DESCRIBING)


def _read_folder(folder: Path, cache: str | Path | None) -> ArrowCorpus:
    files = _files(folder)
    states = [source_state(file) for file in files]

    def batches() -> Iterator[Mapping[str, Any]]:
        return itertools.chain.from_iterable(map(_batches, files))

    try:
        return cached_corpus(folder.name.partition(".")[0], states, batches, cache=cache, origin=folder)
    except RepeatedId as fault:
        raise BadInput(f"{fault} All files of JSON lines in the folder are read.", folder) from None


def _line_of(path: Path, ordinal: int) -> int | None:
    """The line of a document, counted from 1; None in a JSON array."""
    with opened(path) as stream:
        filled = ((number, raw) for number, raw in enumerate(stream, start=1) if raw.strip())
        for position, (number, raw) in enumerate(filled):
            if position == 0 and _begins_array(raw):
                return None
            if position == ordinal:
                return number
    return None


def _begins_array(head: bytes) -> bool:
    return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _batches(path: Path) -> Iterator[Mapping[str, Any]]:
    empty = True
    with opened(path) as stream:
        head = stream.read(_BLOCK)
        if _begins_array(head):
            yield from _array(path, head + stream.read(_LARGEST_ARRAY))
            return
        for line, block in _line_blocks(stream, head):
            if block and not block.isspace():
                empty = False
                yield _parse(path, line, block)
    if empty:
        raise BadInput(f"there are no documents; {_EXPECTED}", path)


def _array(path: Path, content: bytes) -> Iterator[Mapping[str, Any]]:
    """The documents of a JSON array, which is in memory whole."""
    if len(content) > _LARGEST_ARRAY:
        raise BadInput(f"a JSON array of more than {_LARGEST_ARRAY >> 20:,} MiB; write one object a line.", path)
    try:
        records = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as fault:
        raise BadInput(f"this is not a JSON array ({fault}); {_EXPECTED}", path) from fault
    if not records:
        raise BadInput(f"there are no documents; {_EXPECTED}", path)
    for place, record in enumerate(records, start=1):
        if found := _fault_of(record):
            raise BadInput(f"document {place:,} of the array: {found}; {_EXPECTED}", path)
    yield _columns(records)


def _line_blocks(stream: IO[bytes], block: bytes) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines, each with the number of its first line; `block` was read already."""
    line, rest = 1, b""
    while block:
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            yield line, whole
            line += whole.count(b"\n") + 1
        block = stream.read(_BLOCK)
    yield line, rest


def _parse(path: Path, line: int, block: bytes) -> Mapping[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not block.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):  # on `null` Arrow's parser ends the process
        return _by_line(path, line, block)
    first = _first_record(block)
    ids, texts = _keys_of(first)
    if _is_wide(first):
        return _by_line(path, line, block)
    try:
        table, more = _read_json(block, ids, texts)
    except pa.ArrowInvalid:  # whatever Arrow refuses is for the slow reader to take or to name
        return _by_line(path, line, block)
    empty = to_array([""])[0]
    titles = pc.coalesce(table["title"], empty)
    ids = pc.coalesce(*(table[name] for name in ids), empty)
    texts = pc.coalesce(*(table[name] for name in texts))
    if any(map(_is_rounded, more.values())):
        return _by_line(path, line, block)
    gaps = texts.null_count or pc.any(pc.equal(ids, empty)).as_py()
    odd = table.num_rows != block.count(b"\n") + 1 or _BLANK_LINE.search(block)
    if gaps or odd:  # blank lines are no fault, but they hide that two documents stand in one line
        return _by_line(path, line, block)
    return {**more, "id": ids, "title": titles, "text": texts}


def _is_rounded(column: pa.ChunkedArray) -> bool:
    """True where Arrow may have rounded whole numbers: beyond 64 bits it reads them as float64."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pa.types.is_floating(column.type) and bool(pc.any(pc.greater_equal(pc.abs(column), 2.0**53)).as_py())


def _first_record(block: bytes) -> dict[str, Any]:
    """The first document of a block; nothing where it is none."""
    begin = block[: block.find(b"\n", 1) + 1 or None]
    begin = begin if not begin.isspace() else next(line for line in block.split(b"\n") if line.strip())
    try:
        first = json.loads(begin.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        first = None
    return first if isinstance(first, dict) else {}


def _is_wide(record: Mapping[str, Any]) -> bool:
    """True for objects within of so many keys that Arrow, which makes a column of each, would not come to an end."""
    return any(isinstance(value, dict) and len(value) > _WIDE for value in record.values())


def _keys_of(record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The keys under which ids and texts are looked for: the usual ones, and those of the first document."""
    ids, texts = {*IDS[:2], _key(record, IDS)}, {*TEXTS[:2], _key(record, TEXTS)}
    return [name for name in IDS if name in ids], [name for name in TEXTS if name in texts]


def _read_json(block: bytes, ids: Sequence[str], texts: Sequence[str]) -> tuple[pa.Table, dict[str, Any]]:
    """The columns as large strings, and all others; ids are strings in all lines, or whole numbers in all."""
    import pyarrow as pa

    text = pa.large_string()
    named = dict.fromkeys(("title", *texts), text)
    try:
        table = _read_typed(block, named := {**dict.fromkeys(ids, text), **named})
    except pa.ArrowInvalid:
        table = _read_typed(block, named := {**named, **dict.fromkeys(ids, pa.int64())})
    dates = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
    if dates:  # Arrow takes texts for times where they look so; what was written is kept
        table = _read_typed(block, {**named, **dict.fromkeys(dates, text)})
    known = table.select(list(named))
    known.validate(full=True)  # the parser lets bytes pass that are not UTF-8
    more = {name: table[name] for name in table.column_names if name not in named}
    table.select(list(more)).validate(full=True)
    return known.cast(pa.schema([(name, text) for name in named])), more


def _read_typed(block: bytes, named: Mapping[str, pa.DataType]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import json as arrow_json

    schema = pa.schema(list(named.items()))
    parsing = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
    reading = arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    return arrow_json.read_json(pa.BufferReader(block), reading, parsing)


def _by_line(path: Path, line: int, block: bytes) -> Mapping[str, Any]:
    """The documents, read line by line. Raises `BadInput` with the line for what is wrong."""
    records = []
    for number, raw in enumerate(block.split(b"\n"), start=line):
        if not raw.strip():
            continue
        try:
            record = json.loads(raw.removeprefix(codecs.BOM_UTF8), object_pairs_hook=_unique_keys)
        except ValueError as fault:
            raise BadInput(f"this is not JSON ({fault}); {_EXPECTED}", path, number) from fault
        except RecursionError as fault:
            raise BadInput(f"this JSON is nested too deeply; {_EXPECTED}", path, number) from fault
        if found := _fault_of(record):
            raise BadInput(f"{found}; {_EXPECTED}", path, number)
        records.append(record)
    return _columns(records)


def _columns(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    ids, texts = [_key(record, IDS) for record in records], [_key(record, TEXTS) for record in records]
    names = dict.fromkeys(name for record in records for name in record)
    others = [name for name in names if name not in {*ids, *texts, *IDS[:2], *TEXTS[:2], "title"}]
    return {
        **{name: attributes.to_values([record.get(name) for record in records]) for name in others},
        "id": [str(record[key]) for record, key in zip(records, ids, strict=True)],
        "title": [record.get("title") or "" for record in records],
        "text": [record[key] for record, key in zip(records, texts, strict=True)],
    }


def _key(record: Mapping[str, object], names: Sequence[str]) -> str:
    """Under which of some keys something stands; the first of those that are there if all are null."""
    there = [name for name in names if name in record]
    return next((name for name in there if record[name] is not None), there[0] if there else names[0])


def _fault_of(record: object) -> str | None:
    if not isinstance(record, dict):
        return f"this is not a JSON object but {_shortly(record)}"
    key, text = _key(record, IDS), _key(record, TEXTS)
    if record.get(key) in (None, ""):
        return "there is no id"
    whole = isinstance(record[key], int) and not isinstance(record[key], bool)
    values = {key: str(record[key]) if whole else record[key], text: record.get(text)}
    values["title"] = record.get("title") or ""
    return next(
        (f'"{name}" is not a text but {_shortly(value)}' for name, value in values.items() if not _sound(value)), None
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
