"""TREC topics: queries in the tagged format of TREC's own files, as `id<TAB>text` lines, in JSON, or in a table."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from nirank.data.queries import Queries
from nirank.errors import BadInput
from nirank.files import as_path
from nirank.formats.column_names import named_columns
from nirank.formats.jsonl import JSON_LINES, read_jsonl
from nirank.formats.opening import read_whole
from nirank.formats.tables import is_table, read_table
from nirank.formats.tagged_topics import tagged

log = logging.getLogger("nirank")

_TOPIC = re.compile(r"<(?:[\w.-]+:)?(?:top|topic|query)\b", re.IGNORECASE)
_DECLARED = re.compile(rb"""^\s*<\?xml[^<>]*?encoding\s*=\s*["']([\w.-]+)["']""")
#: Million Query's lines, `number:priority:text`, and those of its first year and of the Web track, `number:text`.
_MILLION = (re.compile(r"(\d+):\d*:(.*\S.*)"), re.compile(r"((?=\D*\d)[\w.-]+):((?!\d*:).*\S.*)"))
_EXPECTED = "<top> ... </top> or lines `id<TAB>text` are expected"


def read_topics(path: str | Path, fields: Sequence[str] = ("title",)) -> Queries:
    """The queries of a file of TREC topics, or of lines `id<TAB>text`; plain or compressed (`.gz`, `.bz2`, ...).

    In tagged topics (`<top>`, `<num>`, `<title>`, `<desc>`, `<narr>`, in either case, closed or not) the text of
    a query is that of its `fields`, joined by blanks; `<query>` counts as a title, and so does the text of a topic
    without fields. Markup within a field is left out, its text is not; comments are left out, CDATA is text. The
    labels that TREC puts before the text of a field ("Number:", "Description:") are left out. A file whose lines all
    have an id and a tab is one of lines whatever their text, and a first line that names the columns is heeded; lines
    `number:priority:text` are Million Query's, those of `number:text` too. JSON lines and tables with a heading
    (`.csv`, `.parquet`) are read as those of documents are. What is not UTF-8, and declares no encoding, is read as
    Windows-1252, with a warning of the logger `nirank`.

    Raises `BadInput`, with the line, for a topic without number or without text, for a number that comes twice, and
    for a file without topics.
    """
    path = as_path(path, "a file of topics")
    fields = (fields,) if isinstance(fields, str) else tuple(fields or ())
    if not fields or not all(isinstance(name, str) for name in fields):
        raise BadInput(f"fields = {fields!r}: names such as 'title' and 'desc' are expected, one at least.", path)
    if path.name.lower().endswith(JSON_LINES) or (_ends_as_table(path) and path.exists()):
        asked = read_jsonl(path) if path.name.lower().endswith(JSON_LINES) else read_table(path)
        return Queries(asked.ids, asked[:])
    text = _text(path)
    found = _found(text, fields, path)
    if not found:
        raise BadInput(f"there are no topics; {_EXPECTED}.", path)
    return _distinct(found, path)


def _ends_as_table(path: Path) -> bool:
    return ".tsv" not in map(str.lower, path.suffixes[-2:]) and is_table(path)


def _found(text: str, fields: Sequence[str], path: Path) -> list[tuple[int, str, str]]:
    """The line, number and text of each topic."""
    tabs = _has_tabs(text)
    if not tabs and _TOPIC.search(text):
        return tagged(text, fields, path)
    return (not tabs and _million(text)) or _tabbed(text, path)


def _has_tabs(text: str) -> bool:
    """True where the lines, or at least the first one, are an id and a text with a tab between."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return False
    number, tab, _ = lines[0].partition("\t")
    return bool(tab and number.strip() and "<" not in number) or all(
        line.count("\t") == 1 and all(part.strip() for part in line.split("\t")) for line in lines
    )


def _text(path: Path) -> str:
    text = _decoded(path)
    if (place := text.find("\0")) >= 0:
        raise BadInput("this is no text: it has NUL bytes (UTF-16 is known by its mark).", path, _line(text, place))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _decoded(path: Path) -> str:
    content = read_whole(path)
    declared = _DECLARED.match(content[:200])
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return content.decode("utf-16")
        return content.decode(declared[1].decode() if declared and declared[1].lower() != b"utf-8" else "utf-8-sig")
    except (UnicodeError, LookupError):
        log.warning("%s: this is not UTF-8; it is read as Windows-1252 (Latin-1).", path)
    return as_windows(content)


def as_windows(content: bytes) -> str:
    """Text in Windows-1252, or in Latin-1 where it has what that lacks."""
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _million(text: str) -> list[tuple[int, str, str]]:
    """The topics where each line is one of Million Query's, else none."""
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for pattern in _MILLION:
        matched = [(number, pattern.fullmatch(line)) for number, line in lines]
        if all(match for _, match in matched):
            return [(number, match[1], match[2].strip()) for number, match in matched if match]
    return []


def _tabbed(text: str, path: Path) -> list[tuple[int, str, str]]:
    """The line, id and text of each query."""
    lines = [(line, content) for line, content in enumerate(text.split("\n"), 1) if content.strip()]
    columns = named_columns(lines[0][1].split("\t")) if lines and "\t" in lines[0][1] else None
    if columns:
        return [_row(content.split("\t"), columns, path, line) for line, content in lines[1:]]
    queries = [_two(content, path, line) for line, content in lines]
    _tell_odd(queries, path)
    return queries


def _row(cells: Sequence[str], columns: tuple[int, int | None, int], path: Path, line: int) -> tuple[int, str, str]:
    number, _, words = columns
    if len(cells) <= max(number, words) or not cells[number].strip() or not cells[words].strip():
        raise BadInput("an id and a text are expected, in the columns that the first line names.", path, line)
    return line, cells[number].strip(), cells[words].strip()


def _two(content: str, path: Path, line: int) -> tuple[int, str, str]:
    number, tab, words = content.partition("\t")
    if not tab or not number.strip() or not words.strip():
        raise BadInput("an id, a tab and a text are expected.", path, line)
    return line, number.strip(), words.strip()


def _tell_odd(queries: Sequence[tuple[int, str, str]], path: Path) -> None:
    """Warn of a first line that looks like a heading, and of columns beyond the second."""
    (_, first, _), *others = queries or [(0, "", "")]
    if others and not any(map(str.isdigit, first)) and all(any(map(str.isdigit, each)) for _, each, _ in others):
        log.warning(
            "%s: the first line has the id %r and is read as a query; remove it if it is a heading.", path, first
        )
    if queries and all("\t" in words for _, _, words in queries):
        log.warning("%s: all that follows the first tab is read as the query, further columns too.", path)


def _distinct(found: list[tuple[int, str, str]], path: Path) -> Queries:
    lines: dict[str, int] = {}
    for line, number, _ in found:
        if number in lines:
            raise BadInput(f"query {number!r} is already in line {lines[number]}.", path, line)
        lines[number] = line
    return Queries(list(lines), [words for _, _, words in found])
