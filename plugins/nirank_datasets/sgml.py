"""Documents as TREC's disks hold them: `<DOC>` elements, each with a `<DOCNO>`, many in a file."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nirank.data import ArrowCorpus, RepeatedId, cached_corpus, source_state
from nirank.errors import BadInput
from nirank.formats import opened

_BATCH = 10_000  # documents
_BLOCK = 1 << 20  # bytes
_LARGEST = 1 << 26  # bytes of a document: what is larger is no document but a file of another kind, or an attack
_END = re.compile(rb"</DOC>", re.IGNORECASE)
_STRADDLES = len(b"</DOC>") - 1  # bytes of an end tag that may be in the block before
_START = re.compile(r"<DOC(?:\s([^<>]*))?>", re.IGNORECASE)
_ID = re.compile(r"""\b(?:docno|docid|id)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))""", re.IGNORECASE)
_NUMBERS, _TITLES = ("DOCNO", "DOCID"), ("TITLE", "HEADLINE", "HL", "TTL")
_TAG = re.compile(r"<[/!?]?[A-Za-z][^<>]*>")
_SECTIONS = {"<!--": "-->", "<![CDATA[": "]]>"}
_KNOWN = "TREC's <DOC> elements are expected (JSON lines, tables and Parquet need the ending of their format)"


def read_sgml(path: Path) -> ArrowCorpus:
    """The documents of a file or of all files in a folder, by way of the cache as in `read_jsonl`.

    The number is in `<DOCNO>`, `<DOCID>` or an attribute of `<DOC>`; the title in `<TITLE>`, `<HEADLINE>`, `<HL>` or
    `<TTL>`; the text is what else stands between the tags, and in CDATA. Comments are left out.
    Bytes that are not UTF-8 are read as Latin-1, in which the older disks are. Raises `BadInput` for a missing path,
    for a file that is not completely packed, for a document without number or of more than 64 MiB, for a number that
    comes twice, and for files without documents.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise BadInput(f"there is no such file, or no file in this folder; {_KNOWN}.", path)
    states = [source_state(file.absolute()) for file in files]
    try:
        return cached_corpus(path.name.partition(".")[0], states, lambda: _batches(files, path), origin=path)
    except RepeatedId as fault:
        raise BadInput(str(fault), path) from None


def _batches(files: Sequence[Path], origin: Path) -> Iterator[Mapping[str, Sequence[str]]]:
    batch: dict[str, list[str]] = {"id": [], "title": [], "text": []}
    empty = True
    for file in files:
        for element in _elements(file):
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


def _elements(file: Path) -> Iterator[str]:
    """The text before each `</DOC>`; each byte is looked at once."""
    pending: list[bytes] = []
    size, tail = 0, b""
    with opened(file) as stream:
        while block := stream.read(_BLOCK):
            *elements, rest = _END.split(tail + block)
            for element in elements:
                yield _decode(b"".join([*pending, element]))
                pending, size = [], 0
            pending.append(rest[:-_STRADDLES])
            tail = rest[-_STRADDLES:]
            size += len(pending[-1])
            if size > _LARGEST:
                raise BadInput(f"there is no </DOC> in {_LARGEST >> 20} MiB; {_KNOWN}.", file)
    if _START.search(_decode(b"".join([*pending, tail]))):
        raise BadInput("the last <DOC> has no </DOC>: the file may be cut short.", file)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _document(file: Path, element: str) -> tuple[str, str, str]:
    """The number, title and text of a document."""
    marked = _without_sections(element)
    start = _START.search(marked)
    number, body = _numbered(marked[start.end() :]) if start else ("", "")
    if start and not number.strip():
        number = next(("".join(found) for found in _ID.findall(start[1] or "")), "")
    if not number.strip():
        raise BadInput(f"a document has no <DOC> or no <DOCNO>: {' '.join(element.split())[:60]!r}", file)
    title, text = _taken(body, _TITLES)
    return number.strip(), _plain(title), _plain(text)


def _numbered(body: str) -> tuple[str, str]:
    """The number, and the document without it; `<DOCID>`, which stands beside `<DOCNO>` on some disks, comes second."""
    for name in _NUMBERS:
        number, rest = _taken(body, (name,), " ")
        if number.strip():
            return number, rest
    return "", body


def _taken(marked: str, names: Sequence[str], gap: str = "") -> tuple[str, str]:
    """The content of the first closed element of one of the names, and all else, with `gap` in its place."""
    starts = re.compile(rf"<({'|'.join(names)})>", re.IGNORECASE)
    open_names: set[str] = set()
    for start in starts.finditer(marked):
        name = start[1].upper()
        end = None if name in open_names else re.compile(f"</{name}>", re.IGNORECASE).search(marked, start.end())
        if end:
            return marked[start.end() : end.start()], f"{marked[: start.start()]}{gap}{marked[end.end() :]}"
        open_names.add(name)
    return "", marked


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
    return " ".join(html.unescape(_TAG.sub(" ", marked)).split())
