"""Documents as TREC's disks hold them: `<DOC>` elements, each with a `<DOCNO>`, many in a file."""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from nirank.data import ArrowCorpus, cached_corpus
from nirank.errors import BadInput
from nirank.formats import faults_of

_BATCH = 10_000  # documents
_BLOCK = 1 << 20  # bytes
_END = re.compile(rb"</DOC>", re.IGNORECASE)
_START = re.compile(r"<DOC>", re.IGNORECASE)
_DOCNO = re.compile(r"<DOCNO>(.*?)</DOCNO>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<(TITLE|HEADLINE|HL|TTL)>(.*?)</\1>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[/!?]?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)


def read_sgml(path: Path) -> ArrowCorpus:
    """The documents of a file or of all files in a folder, by way of the cache as in `read_jsonl`.

    The title is in `<TITLE>`, `<HEADLINE>`, `<HL>` or `<TTL>`; the text is what else stands between the tags.
    Bytes that are not UTF-8 are read as Latin-1, in which the older disks are. Raises `BadInput` for a missing path,
    for a file that is not a whole gzip file, for a document without number and for a number that comes twice.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise BadInput("there is no such file, or no file in this folder; TREC's <DOC> elements are expected.", path)
    states = [(file.absolute(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return cached_corpus(path.name.partition(".")[0], states, lambda: _batches(files))


def _batches(files: Sequence[Path]) -> Iterator[Mapping[str, Sequence[str]]]:
    batch: dict[str, list[str]] = {"id": [], "title": [], "text": []}
    for file in files:
        for element in _elements(file):
            for column, text in zip(batch.values(), _document(file, element), strict=True):
                column.append(text)
            if len(batch["id"]) == _BATCH:
                yield batch
                batch = {column: [] for column in batch}
    if batch["id"]:
        yield batch


def _elements(file: Path) -> Iterator[str]:
    """The text before each `</DOC>`."""
    rest = b""
    with faults_of(file), cast("IO[bytes]", gzip.open(file)) if file.suffix == ".gz" else file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            *elements, rest = _END.split(rest + block)
            yield from map(_decode, elements)
    if _START.search(_decode(rest)):
        raise BadInput("the last <DOC> has no </DOC>: the file may be cut short.", file)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _document(file: Path, element: str) -> tuple[str, str, str]:
    number = _DOCNO.search(element)
    start = _START.search(element)
    if not number or not start or not number[1].strip():
        raise BadInput(f"a document has no <DOC> or no <DOCNO>: {' '.join(element.split())[:60]!r}", file)
    body = _DOCNO.sub(" ", element[start.end() :])
    title = _TITLE.search(body)
    text = body[: title.start()] + body[title.end() :] if title else body
    return number[1].strip(), _plain(title[2] if title else ""), _plain(text)


def _plain(marked: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", marked)).split())
