"""TREC topics: queries in the tagged format of TREC's own files, or as `id<TAB>text` lines."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from nirank.data.queries import Queries
from nirank.errors import BadInput
from nirank.formats.opening import read_whole
from nirank.formats.tagged_topics import tagged

log = logging.getLogger("nirank")

_TOPIC = re.compile(r"<(?:top|topic|query)\b", re.IGNORECASE)
_DECLARED = re.compile(rb"""^\s*<\?xml[^<>]*?encoding\s*=\s*["']([\w.-]+)["']""")
#: Million Query's lines, `number:priority:text`.
_MILLION = re.compile(r"(\d+):\d*:(.*\S.*)")


def read_topics(path: str | Path, fields: Sequence[str] = ("title",)) -> Queries:
    """The queries of a file of TREC topics, or of lines `id<TAB>text`; plain or compressed (`.gz`, `.bz2`, ...).

    In tagged topics (`<top>`, `<num>`, `<title>`, `<desc>`, `<narr>`, in either case, closed or not) the text of
    a query is that of its `fields`, joined by blanks; `<query>` counts as a title, and so does the text of a topic
    without fields. Markup within a field is left out, its text is not; comments are left out, CDATA is text. The
    labels that TREC puts before the text ("Number:", "Description:") are left out. A file whose lines all have an
    id and a tab is one of lines whatever their text; lines `number:priority:text` are Million Query's. What is not
    UTF-8, and declares no encoding, is read as Windows-1252, with a warning of the logger `nirank`.

    Raises `BadInput`, with the line, for a topic without number or without text, for a number that comes twice, and
    for a file without topics.
    """
    path = Path(path)
    fields = (fields,) if isinstance(fields, str) else fields
    text = _text(path)
    found = _found(text, fields, path)
    if not found:
        raise BadInput("there are no topics; <top> ... </top> or lines `id<TAB>text` are expected.", path)
    return _distinct(found, path)


def _found(text: str, fields: Sequence[str], path: Path) -> list[tuple[int, str, str]]:
    """The line, number and text of each topic."""
    if not _has_tabs(text) and _TOPIC.search(text):
        return tagged(text, fields, path)
    return _million(text) or _tabbed(text, path)


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
    content = read_whole(path)
    declared = _DECLARED.match(content[:200])
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return content.decode("utf-16")
        return content.decode(declared[1].decode() if declared and declared[1].lower() != b"utf-8" else "utf-8-sig")
    except (UnicodeDecodeError, LookupError):
        log.warning("%s: this is not UTF-8; it is read as Windows-1252 (Latin-1).", path)
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _million(text: str) -> list[tuple[int, str, str]]:
    """The topics where each line is one of Million Query's, else none."""
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    matched = [(number, _MILLION.fullmatch(line)) for number, line in lines]
    if not all(match for _, match in matched):
        return []
    return [(number, match[1], match[2].strip()) for number, match in matched if match]


def _tabbed(text: str, path: Path) -> list[tuple[int, str, str]]:
    """The line, id and text of each query."""
    queries = []
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        number, tab, words = content.partition("\t")
        if not tab or not number.strip() or not words.strip():
            raise BadInput("an id, a tab and a text are expected.", path, line)
        queries.append((line, number.strip(), words.strip()))
    return queries


def _distinct(found: list[tuple[int, str, str]], path: Path) -> Queries:
    lines: dict[str, int] = {}
    for line, number, _ in found:
        if number in lines:
            raise BadInput(f"query {number!r} is already in line {lines[number]}.", path, line)
        lines[number] = line
    return Queries(list(lines), [words for _, _, words in found])
