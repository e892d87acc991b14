"""TREC topics: queries in the tagged format of TREC's own files, or as `id<TAB>text` lines."""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Sequence
from pathlib import Path

from nirank.data.queries import Queries
from nirank.errors import BadInput
from nirank.formats.opening import faults_of

_TOPIC = re.compile(r"<(top|topic)\b([^>]*)>(.*?)(?=</\1>|<\1\b|\Z)", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"<(\w+)[^>]*>(.*?)(?=</?[a-z]\w*[^>]*>|\Z)", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"""\b(?:number|id)\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_PREFIX = re.compile(r"^\s*(?:number|topic|title|query|description|narrative)\s*:", re.IGNORECASE)
_SYNONYMS = {"query": "title", "description": "desc", "narrative": "narr", "number": "num"}


def read_topics(path: str | Path, fields: Sequence[str] = ("title",)) -> Queries:
    """The queries of a file of TREC topics, or of lines `id<TAB>text`; plain or gzipped (`.gz`).

    In tagged topics (`<top>`, `<num>`, `<title>`, `<desc>`, `<narr>`, in either case, closed or not) the text of
    a query is that of its `fields`, joined by blanks; `<query>` counts as a title. The labels that TREC puts
    before the text ("Number:", "Description:") are left out. Raises `BadInput`, with the line, for a topic without
    number or without text, for a number that comes twice, and for a file without topics.
    """
    path = Path(path)
    text = _text(path)
    tagged = _TOPIC.search(text) is not None
    found = _tagged(text, fields, path) if tagged else _tabbed(text, path)
    if not found:
        raise BadInput("there are no topics; <top> ... </top> or lines `id<TAB>text` are expected.", path)
    return _distinct(found, path)


def _text(path: Path) -> str:
    with faults_of(path):
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = fault.object.count(b"\n", 0, fault.start) + 1
        raise BadInput("text must be UTF-8.", path, line) from fault


def _tagged(text: str, fields: Sequence[str], path: Path) -> list[tuple[int, str, str]]:
    """The line, number and text of each topic."""
    topics = []
    for topic in _TOPIC.finditer(text):
        line = text.count("\n", 0, topic.start()) + 1
        contents = _contents(topic[3])
        number = contents.get("num") or "".join(_NUMBER.findall(topic[2])[:1])
        words = " ".join(filter(None, (contents.get(field, "") for field in fields)))
        if not number or not words:
            missing = " and ".join(fields) if number else "number"
            raise BadInput(f"this topic has no {missing}; it has {', '.join(contents) or 'no fields'}.", path, line)
        topics.append((line, number, words))
    return topics


def _contents(topic: str) -> dict[str, str]:
    """The text of each field of a topic, without its label and with single blanks."""
    contents: dict[str, str] = {}
    for tag, text in _FIELD.findall(topic):
        name = _SYNONYMS.get(tag.lower(), tag.lower())
        contents.setdefault(name, " ".join(html.unescape(_PREFIX.sub("", text)).split()))
    return contents


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
