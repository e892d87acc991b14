"""Documents as TREC's disks hold them: `<DOC>` elements, each with a `<DOCNO>`, many in a file."""

from __future__ import annotations

import codecs
import functools
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nirank.data import ArrowCorpus, RepeatedId, cached_corpus, source_state
from nirank.errors import BadInput
from nirank.formats import INLINE, as_windows, opened

_BATCH = 10_000  # documents
_BLOCK = 1 << 20  # bytes
_LARGEST = 1 << 26  # bytes of a document: what is larger is no document but a file of another kind, or an attack
_END = re.compile(rb"</DOC>", re.IGNORECASE)
_STRADDLES = len(b"</DOC>") - 1  # bytes of an end tag that may be in the block before
_START = re.compile(r"<DOC(?:\s([^<>]*))?>", re.IGNORECASE)
_DECLARED = re.compile(rb"""^\s*<\?xml[^<>]*?encoding\s*=\s*["']([\w.-]+)["']""")
_VERSION = "sgml 2"  # of what is read of a document; what another one read is in the cache still
_NEXT = re.compile(r"<DOC(?:\s[^<>]*)?>\s*<(?:DOCNO|DOCID)\b", re.IGNORECASE)
_ID = re.compile(r"""\b(?:docno|docid|id)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))""", re.IGNORECASE)
_NUMBERS, _TITLES = ("DOCNO", "DOCID"), ("TITLE", "HEADLINE", "HL", "TTL")
_UNREAD = ("DOCHDR", "SCRIPT", "STYLE")  # elements whose content is no text
_TAG = re.compile(r"<[/!?]?([A-Za-z][\w:.-]*)[^<>]*>")
_SECTIONS = {"<!--": "-->", "<![CDATA[": "]]>"}
_KNOWN = "TREC's <DOC> elements are expected (JSON lines, tables and Parquet need the ending of their format)"


def read_sgml(path: Path) -> ArrowCorpus:
    """The documents of a file or of all files in a folder, by way of the cache as in `read_jsonl`.

    The number is in `<DOCNO>`, `<DOCID>` or an attribute of `<DOC>`; the title in `<TITLE>`, `<HEADLINE>`, `<HL>` or
    `<TTL>`; the text is what else stands between the tags, and in CDATA. Comments are left out, documents within them
    too, and so are the headers of the Web collections (`<DOCHDR>`), scripts and styles. A file is read as UTF-8 or what
    its XML declaration says; documents that are not that, as Windows-1252 (Latin-1), in which the older disks are.
    Raises `BadInput` for a missing path, for a file that is not completely packed, for a document without number,
    without end or of more than 64 MiB, for a number that comes twice, and for files without documents.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise BadInput(f"there is no such file, or no file in this folder; {_KNOWN}.", path)
    states = [_VERSION, *(source_state(file.absolute()) for file in files)]
    try:
        return cached_corpus(path.name.partition(".")[0], states, lambda: _batches(files, path), origin=path)
    except RepeatedId as fault:
        raise BadInput(str(fault), path) from None


def _batches(files: Sequence[Path], origin: Path) -> Iterator[Mapping[str, Sequence[str]]]:
    batch: dict[str, list[str]] = {"id": [], "title": [], "text": []}
    empty = True
    for file in files:
        for element in _documents(file):
            empty = False
            for column, text in zip(batch.values(), _document(file, element), strict=True):
                column.append(text)
            if len(batch["id"]) == _BATCH:
                yield batch
                batch = {column: [] for column in batch}
    if empty:
        raise BadInput(f"the corpus is empty; {_KNOWN}.", origin)
    if batch["id"]:
        yield batch


def _elements(file: Path) -> Iterator[tuple[str, bool]]:
    """The text before each `</DOC>`, and what is left at the end, which has none; each byte is looked at once."""
    pending: list[bytes] = []
    size, tail, encoding = 0, b"", ""
    with opened(file) as stream:
        while block := stream.read(_BLOCK):
            encoding = encoding or _encoding(block)
            *elements, rest = _END.split(tail + block)
            for element in elements:
                yield _decode(b"".join([*pending, element]), encoding), True
                pending, size = [], 0
            pending.append(rest[:-_STRADDLES])
            tail = rest[-_STRADDLES:]
            size += len(pending[-1])
            if size > _LARGEST:
                raise BadInput(f"there is no </DOC> in {_LARGEST >> 20} MiB; {_KNOWN}.", file)
    yield _decode(b"".join([*pending, tail]), encoding or "utf-8"), False


def _documents(file: Path) -> Iterator[str]:
    """The elements without comments, and without those in a comment, which may go on behind a `</DOC>`."""
    inside = False
    for element, closed in _elements(file):
        if inside:
            _, end, element = element.partition("-->")
            inside = not end
        if inside:
            continue
        outside = _without_sections(element)
        start, comment = _START.search(outside), outside.find("<!--")
        inside = 0 <= comment < (start.start() if start else len(outside))
        if not inside and closed:
            yield outside
        elif start and not inside:
            raise BadInput("the last <DOC> has no </DOC>: the file may be cut short.", file)
    if inside:
        raise BadInput("a comment before a <DOC> has no end.", file)


def _encoding(head: bytes) -> str:
    """The encoding that an XML declaration names; UTF-8 where there is none, or one that is not known."""
    declared = _DECLARED.match(head.removeprefix(codecs.BOM_UTF8)[:200])
    try:
        name = codecs.lookup(declared[1].decode()).name if declared else "utf-8"
        b"<".decode(name)  # `hex` is a codec too, and none of texts
    except (LookupError, UnicodeError):
        return "utf-8"
    return name


def _decode(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeError:
        return as_windows(raw)


def _document(file: Path, marked: str) -> tuple[str, str, str]:
    """The number, title and text of a document."""
    start = _START.search(marked)
    number, body = _numbered(marked[start.end() :]) if start else ("", "")
    if start and not number:
        number = next(("".join(found).strip() for found in _ID.findall(start[1] or "")), "")
    if not number:
        raise BadInput(f"a document has no <DOC> or no <DOCNO>: {' '.join(marked.split())[:60]!r}", file)
    if _NEXT.search(body):
        raise BadInput(f"the document {number!r} has no </DOC> before the next <DOC>.", file)
    title, text = _taken(_without_unread(body), _TITLES)
    return number, _plain(title), _plain(text)


def _numbered(body: str) -> tuple[str, str]:
    """The number, and the document without it; `<DOCID>`, which stands beside `<DOCNO>` on some disks, comes second."""
    for name in _NUMBERS:
        number, rest = _taken(body, (name,), " ")
        if number := _plain(number):
            return number, rest
    return "", body


def _taken(marked: str, names: Sequence[str], gap: str = "") -> tuple[str, str]:
    """The content of the first closed element of one of the names, and all else, with `gap` in its place."""
    open_names: set[str] = set()
    for start in _starts(*names).finditer(marked):
        name = start[1].upper()
        end = None if name in open_names else _ends(name).search(marked, start.end())
        if end:
            return marked[start.end() : end.start()], f"{marked[: start.start()]}{gap}{marked[end.end() :]}"
        open_names.add(name)
    return "", marked


def _without_unread(body: str) -> str:
    """The document without elements whose content is no text; one without end stays."""
    for name in _UNREAD:
        parts, place = [], 0
        while (start := _starts(name).search(body, place)) and (end := _ends(name).search(body, start.end())):
            parts.append(body[place : start.start()])
            place = end.end()
        body = " ".join([*parts, body[place:]])
    return body


@functools.cache
def _starts(*names: str) -> re.Pattern[str]:
    return re.compile(rf"<({'|'.join(names)})(?:\s[^<>]*)?>", re.IGNORECASE)


@functools.cache
def _ends(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}\s*>", re.IGNORECASE)


def _without_sections(marked: str) -> str:
    """The text without comments, and CDATA as text that is escaped; what has no end is text like any other."""
    parts, place = [], 0
    while (start := marked.find("<!", place)) >= 0:
        section = next((each for each in _SECTIONS if marked.startswith(each, start)), None)
        end = marked.find(_SECTIONS[section], start) if section else -1
        parts.append(marked[place:start])
        if section is None:
            parts.append("<!")
            place = start + 2
        elif end < 0:
            parts.append(marked[start:])
            return "".join(parts)
        else:
            parts.append(" " if section == "<!--" else html.escape(marked[start + len(section) : end]))
            place = end + 3
    return "".join([*parts, marked[place:]])


def _plain(marked: str) -> str:
    return " ".join(html.unescape(_TAG.sub(_gap, marked)).split())


def _gap(tag: re.Match[str]) -> str:
    """What stands for a tag: nothing for one within words, such as `<b>`."""
    return "" if tag[1].lower() in INLINE else " "
