"""Files with one (query, document, number) a line: runs and judgments, also of subtopics, as columns.

Regular files, which have a single blank or a single tab between columns, are read as columns. Whatever else comes
is read line by line, which takes some thirty times as long, accepts any white space, and names the line at fault. Where
the fast reader meets anything odd it steps back, so that both accept the same files and only one writes errors.
"""

from __future__ import annotations

import io
import math
import mmap
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nirank import seals
from nirank.data.columns import integers_to_numpy, to_array
from nirank.data.string_prints import fingerprints, short_prints
from nirank.errors import BadInput
from nirank.files import as_path
from nirank.formats.layouts import BEIR, MSMARCO, QRELS, RUN, SUBTOPICS, Layout
from nirank.formats.lines import Integers, Lines, repeats, stretches
from nirank.formats.opening import COMPRESSED, faults_of, read_whole
from nirank.formats.other_lines import kind_of, read_columns
from nirank.formats.regular_lines import Columns, Irregular, regular_columns
from nirank.formats.slices import Copied, Raw

if TYPE_CHECKING:
    import pyarrow as pa

_HEADERS = (b"query-id", b"query_id", b"qid")
_BOM = b"\xef\xbb\xbf"
_LARGEST = 1 << 33  # bytes of a file that is unpacked, or comes from a pipe
_LARGEST_GRADE = 2**24  # beyond it float32 skips integers
_RANKS = "The third of three columns is a rank, as MS MARCO has it; lines with scores have six columns."


def read_lines(path: str | Path, layout: Layout) -> Lines:
    """The lines of a file, plain or compressed, or of what `nirank.formats.other_lines` reads.

    A run of three columns is MS MARCO's, and has ranks instead of scores. Raises `BadInput` with the line for a wrong
    number of columns, a score or grade that is no number, a document listed twice for a query (or for one of its
    subtopics), and text that is not UTF-8; and for a file without lines. Blank lines and comments (lines that start
    with `#`) are skipped, as trec_eval 10 does. Raises `DamagedFile` for one in a folder of results that has changed.
    """
    path = as_path(path, "a run" if layout is RUN else "a file of judgments")
    seals.check_inside(path, "Run the experiment again, or remove the folder's seal.json to have it read as it is.")
    if kind_of(path) and layout is not SUBTOPICS:
        return _of_columns(read_columns(path, layout.value), layout.value, path)
    raw = _raw(path)
    layout = _ranks_of(raw, _layout_of(raw, layout))
    lines = _read_regular(raw, layout) or _read_any(raw, layout, path)
    return _by_rank(lines, path) if layout is MSMARCO else lines


def _of_columns(table: pa.Table, value: str, path: Path) -> Lines:
    """The lines of a table; raises `BadInput` with the row for what is wrong."""
    import pyarrow as pa

    plain = table.set_column(0, "query", table["query"].cast(pa.large_string())).combine_chunks()
    lines = None if any(_has_empty(plain[name]) for name in ("query", "document")) else _of_table(plain, value)
    return lines if lines and _sound(lines, Layout(("query", "document", value))) else _by_row(table, value, path)


def _of_table(table: pa.Table, value: str) -> Lines:
    query_ids, queries, lengths = _numbered_queries(table["query"])
    prints = np.concatenate([short_prints(fingerprints(chunk)) for chunk in table["document"].chunks])
    doubles = integers_to_numpy(table[value])
    documents = Copied(table["document"])
    return Lines(query_ids, queries, lengths, documents, _narrowed(doubles), "", doubles, None, prints)


def _by_row(table: pa.Table, value: str, path: Path) -> Lines:
    """The lines of a table, looked at one by one. Raises `BadInput` for the first fault."""
    seen: dict[tuple[str, str], int] = {}
    values = table[value].to_pylist()
    for number, pair in enumerate(zip(table["query"].to_pylist(), table["document"].to_pylist(), strict=True), 1):
        if not all(pair) or pair in seen:
            again = f"document {pair[1]!r} of query {pair[0]!r} is already in row {seen.get(pair)}."
            raise BadInput(f"row {number:,}: {again if all(pair) else 'an id is empty.'}", path)
        seen[pair] = number
        _checked(values[number - 1], value, str(values[number - 1]), path)
    if not seen:
        raise BadInput("there are no rows.", path)
    return lines_of(list(seen), values)


def _refuse_binary(raw: Raw, path: Path) -> None:
    if (place := raw.find(b"\0")) >= 0:
        line = raw[:place].count(b"\n") + 1
        raise BadInput("there are NUL bytes: this is UTF-16, or no text at all; UTF-8 is expected.", path, line)


def _ranks_of(raw: Raw, layout: Layout) -> Layout:
    """MS MARCO's layout where a run has three columns."""
    return MSMARCO if layout is RUN and len(_first_line(raw).split()) == len(MSMARCO.columns) else layout


def _by_rank(lines: Lines, path: Path) -> Lines:
    """A run without scores: they fall by one from rank to rank. Raises `BadInput` where no list begins at rank 1."""
    best = np.full(len(lines.query_ids), np.inf)
    np.minimum.at(best, lines.rows, lines.exact)
    if np.any(best != 1):
        odd = lines.query_ids[int(np.flatnonzero(best != 1)[0])]
        raise BadInput(f"the ranks of query {odd!r} do not begin at 1. {_RANKS}", path)
    return replace(lines, values=-lines.values, exact=-lines.exact)


def _raw(path: Path) -> Raw:
    with faults_of(path):
        plain = path.suffix.lower() not in COMPRESSED
        if plain and path.is_file() and path.stat().st_size:  # a pipe cannot be mapped, nor can nothing
            with path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return read_whole(path, _LARGEST)


def _layout_of(raw: Raw, layout: Layout) -> Layout:
    """The layout that the first line has: judgments may also be BEIR's three columns, with a header or not."""
    first = _first_line(raw)
    tabs = first.count(b"\t") == len(BEIR.columns) - 1
    if layout is not QRELS or not (tabs or len(first.split()) == len(BEIR.columns)):
        return layout
    header = first.lower().startswith(_HEADERS) and math.isnan(_as_number(first.split()[-1]))  # a query may be `qid1`
    return replace(BEIR, header=header, tabs=tabs)


def _first_line(raw: Raw) -> bytes:
    return _first(raw)[1]


def _first(raw: Raw) -> tuple[int, bytes]:
    """The place and the text of the first line that is neither blank nor a comment; runs may have a header of these."""
    start = 0
    while 0 <= start < len(raw):
        end = raw.find(b"\n", start)
        line = raw[start : end if end >= 0 else len(raw)].removeprefix(_BOM).strip(b"\r").partition(b"\r")[0]
        if line.strip() and not line.startswith(b"#"):
            return start, line
        start = end + 1 if end >= 0 else -1
    return 0, b""


# The fast reader


def _read_regular(raw: Raw, layout: Layout) -> Lines | None:
    """The lines, where the file is regular and without fault; else nothing."""
    import pyarrow as pa

    start, first = _first(raw)
    start += len(_BOM) if raw[start : start + len(_BOM)] == _BOM else 0
    try:
        columns = regular_columns(raw, layout, b"\t" if b"\t" in first else b" ", start)
    except Irregular:
        odd = next((end for end in (b"\r", b"\n\n") if raw.find(end) >= 0), None)  # of other systems; blank lines
        return _read_regular(raw[:].replace(odd, b"\n"), layout) if odd else None
    except (UnicodeDecodeError, pa.ArrowInvalid):
        return None
    lines = _as_lines(columns, _tag(raw, layout))
    return lines if _sound(lines, layout) else None


def _tag(raw: Raw, layout: Layout) -> str:
    tag = _first_line(raw).split()[5:6] if layout is RUN else []
    return b"".join(tag).decode(errors="replace")


def _as_lines(columns: Columns, tag: str) -> Lines:
    query_ids, codes = columns.queries.encoded()
    values = columns.values
    known: tuple[Any, ...] = (_narrowed(values), tag, values, columns.subtopics, columns.prints)
    return Lines(query_ids.to_pylist(), *stretches(codes, columns.lengths), columns.documents, *known)


def _narrowed(doubles: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # beyond float32 is infinite, as it is for version 9 of trec_eval
        return doubles.astype(np.float32)


def _numbered_queries(queries: pa.ChunkedArray) -> tuple[list[str], Integers, NDArray[np.int64]]:
    """The ids of queries in order of first appearance, and the stretches of lines of one query."""
    import pyarrow as pa
    import pyarrow.compute as pc

    runs = [pc.run_end_encode(chunk) for chunk in queries.chunks]
    encoded = pa.concat_arrays([run.values for run in runs]).dictionary_encode()
    lengths = np.concatenate([np.diff(integers_to_numpy(run.run_ends), prepend=0) for run in runs])
    return encoded.dictionary.to_pylist(), *stretches(integers_to_numpy(encoded.indices), lengths)


def _has_empty(texts: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return bool(pc.min(pc.binary_length(texts)).as_py() == 0)


def _sound(lines: Lines, layout: Layout) -> bool:
    """True where the patient reader would refuse nothing, and read nothing in another way."""
    if any(not query or query.startswith("#") for query in lines.query_ids):
        return False
    values = lines.values
    if layout.value == "grade" and not np.all((values == np.rint(values)) & (np.abs(values) <= _LARGEST_GRADE)):
        return False
    if layout.value == "rank" and not np.all((lines.exact == np.rint(lines.exact)) & (lines.exact >= 1)):
        return False
    return not np.isnan(values).any() and not repeats(lines)


# The patient reader


def _read_any(raw: Raw, layout: Layout, path: Path) -> Lines:
    """The lines of any readable file, one by one. Raises `BadInput` for the first fault."""
    _refuse_binary(raw, path)
    seen: dict[tuple[str, ...], int] = {}
    values: list[float] = []
    of_subtopics = layout is SUBTOPICS
    columns = itemgetter(*map(layout.columns.index, ("query", "document", layout.value)))
    for number, fields in _fields(raw, layout, path):
        query, document, value = columns(fields)
        entry: tuple[str, ...] = _decoded(query, path, number), _decoded(document, path, number)
        if of_subtopics:
            entry += (_decoded(fields[1], path, number),)
        if entry in seen:
            raise BadInput(_repetition(entry, seen[entry], fields, layout), path, number)
        seen[entry] = number
        values.append(_number(value, layout.value, path, number))
    if not values:
        raise BadInput(f"there are no lines; each is expected to have {layout}.", path)
    return lines_of(list(seen), values, _tag(raw, layout))


def _repetition(entry: Sequence[str], line: int, fields: Sequence[bytes], layout: Layout) -> str:
    """The sentence on an entry that stood in `line` before; judgments of subtopics are no fault of the file's."""
    query, document, *subtopic = entry
    of = f"query {query!r}" + "".join(f" and subtopic {name!r}" for name in subtopic)
    is_other = layout is QRELS and fields[1] not in (b"0", b"Q0")
    advice = " Judgments of subtopics are read by nirank.read_subtopics." if is_other else ""
    return f"document {document!r} of {of} is already in line {line}.{advice}"


def _fields(raw: Raw, layout: Layout, path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """The number and the columns of each line that has any."""
    separator = b"\t" if layout.tabs else None
    most = sys.maxsize if layout is RUN else len(layout.columns)  # what follows the tag trec_eval ignores, too
    header = layout.header
    for number, line in _numbered(raw):
        if header:
            header = False
            continue
        fields = line.split(separator)
        if not len(layout.columns) <= len(fields) <= most or not all(fields):
            run = " This looks like a run, which comes before the judgments." if len(fields) == len(RUN.columns) else ""
            hint = run if layout is QRELS else ""
            raise BadInput(f"{layout} are expected, but the line has {len(fields)}.{hint}", path, number)
        yield number, fields


def _numbered(raw: Raw) -> Iterator[tuple[int, bytes]]:
    """The lines that are neither blank nor a comment, with their numbers, from 1, and without white space around."""
    stream = io.BytesIO(raw)
    stream.seek(len(_BOM) if raw[: len(_BOM)] == _BOM else 0)
    lines = (part for line in stream for part in line.rstrip(b"\r\n").split(b"\r"))  # old Macs end lines so
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if stripped and not line.startswith(b"#"):
            yield number, stripped


def _decoded(text: bytes, path: Path, number: int) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as fault:
        raise BadInput(f"ids must be UTF-8: {fault}.", path, number) from fault


def _number(text: bytes, what: str, path: Path, number: int) -> float:
    return _checked(_as_number(text), what, text.decode(errors="replace"), path, number)


def _checked(value: float, what: str, text: str, path: Path, number: int | None = None) -> float:
    if math.isnan(value):
        raise BadInput(f"the {what} must be a number, not {text!r}.", path, number)
    if what == "rank" and not (value >= 1 and value.is_integer()):
        raise BadInput(f"the rank must be a whole number from 1 on, not {value:g}. {_RANKS}", path, number)
    if what == "grade" and not (abs(value) <= _LARGEST_GRADE and value.is_integer()):
        raise BadInput(f"the grade must be a whole number of at most {_LARGEST_GRADE:,}, not {value:g}.", path, number)
    return value


def _as_number(text: bytes) -> float:
    try:
        return float(text) if b"_" not in text else math.nan  # 1_000 is a number to Python, and to nobody else
    except ValueError:
        return math.nan


def lines_of(entries: Sequence[Sequence[str]], values: list[float], tag: str = "") -> Lines:
    """The columns of entries: query, document and perhaps subtopic of each, with its number."""
    import pyarrow as pa

    texts = ([entry[place] for entry in entries] for place in range(len(entries[0])))
    queries, documents, *subtopics = (Copied(pa.chunked_array([to_array(column)])) for column in texts)
    query_ids, codes = queries.encoded()
    doubles = np.array(values, np.float64)
    known: tuple[Any, ...] = (*stretches(codes), documents, _narrowed(doubles), tag, doubles, *subtopics)
    return Lines(query_ids.to_pylist(), *known)
