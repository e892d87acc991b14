"""Files of LETOR and SVMLight: judged pairs with features, a line each.

    LABEL qid:QUERY 1:VALUE 2:VALUE ... # COMMENT

Indices rise, and what a line leaves out is 0, or missing where `absent` is NaN. `NULL` and `NaN` are missing values.
A comment that says `docid = X`, or is one word, names the document. Lines that are empty or a comment are skipped.
Where lines have no query, as those of LightGBM's own, a file `FILE.query` or `FILE.group` beside holds the length of
each list.

The layout is that of Joachims' SVMLight; LETOR is Qin, Liu, Xu and Li, LETOR: A Benchmark Collection for Research on
Learning to Rank for Information Retrieval, Information Retrieval 13, 2010.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nirank.data import (
    Candidates,
    Collection,
    Documents,
    Features,
    Floats,
    Ids,
    Queries,
    gather,
    integers_to_numpy,
    offsets_of,
    to_array,
    to_column,
)
from nirank.errors import BadInput
from nirank.formats import COMPRESSED, faults_of, opened
from nirank.kit import beside
from nirank_ltr import parse

Spans = NDArray[np.int64]

_BOM = b"\xef\xbb\xbf"
_LENGTHS = (".query", ".group")
_WRITTEN = 4096  # lines at a time


@dataclass(frozen=True, eq=False)
class LetorRows:
    """The lines of a file: those of query `i` are the entries from `offsets[i]` up to `offsets[i + 1]`.

    `labels` float32 `[lines]`, `values` float32 `[lines, features]`, with the `names` of these, which are their indices
    in the file. `documents` has an id for each line.
    """

    queries: list[str]
    offsets: NDArray[np.int64]
    labels: Floats
    documents: list[str]
    names: tuple[str, ...]
    values: Floats


def read_letor(path: str | Path, features: int | None = None, absent: float = 0.0) -> LetorRows:
    """The lines of a file, plain or compressed (`.gz`, `.bz2`, `.xz`, `.zst`).

    There are `features` features, from 1 on, or else as many as the largest index says (from 0, where there is such an
    index). `absent` is the value of those that a line leaves out. A line without a document is called `QUERY-PLACE`.

    Raises `BadInput` with the line for one of another layout, for a query whose lines do not stand together, and for a
    document that is listed twice for a query; and for a file without lines.
    """
    path = Path(path)
    raw = _raw(path)
    size = parse.Size(*parse.measure(raw))
    if size.fault:
        raise BadInput(f"{parse.FAULTS[size.fault]}.", path, size.line)
    if not size.rows:
        raise BadInput("the file has no lines; lines LABEL qid:QUERY 1:VALUE 2:VALUE ... are expected.", path)
    least = 0 if size.least == 0 else 1
    last = max(size.largest, least - 1) if features is None else features + least - 1
    if size.largest > last:
        raise BadInput(f"has a feature {size.largest}, but features = {features}: set a larger number.", path)
    columns = parse.room(size.rows, last - least + 1, absent)
    parse.fill(raw, least, columns)
    queries, offsets = _lists(raw, columns, path)
    documents = _documents(raw, columns, queries, offsets, path)
    return LetorRows(
        queries, offsets, columns.labels, documents, tuple(map(str, range(least, last + 1))), columns.values
    )


def collection_of(parts: Sequence[LetorRows], name: str) -> Collection:
    """The queries of several files as a collection.

    Contents are ids: there is nothing else to be read. The lists of the queries, with features, are `queries.found`,
    so that `given >> features(letor) >> ranker` ranks them. Raises `BadInput` for a query that is in two files, and
    for files of different features.
    """
    named = {part.names for part in parts}
    if len(named) > 1:
        counts = " and ".join(sorted({str(len(names)) for names in named}))
        raise BadInput(f"its files have {counts} features: set `features` to their number.", name)
    ids_of_queries = [query for part in parts for query in part.queries]
    if len(set(ids_of_queries)) < len(ids_of_queries):
        twice = next(query for place, query in enumerate(ids_of_queries) if query in ids_of_queries[:place])
        raise BadInput(f"the query {twice!r} is in two files: each is expected in one.", name)
    encoded = to_column([document for part in parts for document in part.documents]).combine_chunks()
    encoded = encoded.dictionary_encode()
    ids = Ids(encoded.dictionary, unique=True)
    corpus = Documents(ids, ids[:])
    offsets = offsets_of(np.concatenate([np.diff(part.offsets) for part in parts]))
    labels, values = np.concatenate([part.labels for part in parts]), np.concatenate([part.values for part in parts])
    judged = Candidates(offsets, integers_to_numpy(encoded.indices), labels, corpus)
    found = judged.with_scores(np.zeros(len(labels))).with_features(Features(parts[0].names, values))
    return Collection(name, corpus, Queries(ids_of_queries, ids_of_queries, found=found), judged)


def write_letor(
    path: str | Path,
    pairs: Candidates,
    queries: Queries,
    ids: Sequence[str] | Ids | None = None,
    queries_as: Literal["ids", "numbers", "lengths"] = "ids",
    zeros: bool = True,
) -> None:
    """Write pairs whose scores are labels, with their features, in the order of these from 1 on.

    Queries are written as their ids, as numbers from 1 (scikit-learn, and with it allRank, reads whole numbers alone),
    or, for LightGBM, as the lengths of their lists in `PATH.query`, without documents. Else `ids`, by default those of
    the corpus, name the documents in comments. Values have nine digits, as many as a float32 has; `zeros` that are not
    written are 0 when they are read. A missing value is `NaN`.

    Raises `BadInput` for pairs without features, and for ids with white space.
    """
    if pairs.features is None:
        raise BadInput("these pairs have no features to write: compute them first.", path)
    path, heads, rows = Path(path), _query_fields(queries, queries_as, Path(path)), pairs.rows
    known = ids if ids is not None else pairs.corpus.ids if pairs.corpus else range(int(pairs.docs.max(initial=0)) + 1)
    with beside(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for start in range(0, pairs.pairs, _WRITTEN):
            here = slice(start, start + _WRITTEN)
            comments = _comments(None if queries_as == "lengths" else known, pairs.docs[here], path)
            cells = _cells(pairs.features.values[here], zeros)
            lines = zip(pairs.scores[here].tolist(), rows[here].tolist(), cells, comments, strict=True)
            file.writelines(f"{label:.9g}{heads[row]}{features}{comment}\n" for label, row, features, comment in lines)
    if queries_as == "lengths":
        with beside(path.with_name(f"{path.name}{_LENGTHS[0]}")) as unfinished:
            lengths = pairs.lengths[pairs.lengths > 0].tolist()
            unfinished.write_text("".join(f"{length}\n" for length in lengths), encoding="ascii")


def _raw(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, mapped where they are not compressed, without a byte order mark."""
    with faults_of(path):
        if path.suffix.lower() in COMPRESSED:
            with opened(path) as packed:
                text: bytes | mmap.mmap = packed.read()
        else:
            with path.open("rb") as file:
                mappable = path.is_file() and path.stat().st_size  # a pipe is not, nor is nothing
                text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if mappable else file.read()
    return np.frombuffer(text, np.uint8)[len(_BOM) if text[: len(_BOM)] == _BOM else 0 :]


def _lists(raw: NDArray[np.uint8], columns: Any, path: Path) -> tuple[list[str], NDArray[np.int64]]:
    """The queries, and where the lines of each begin."""
    spans: Spans = columns.queries
    named = spans[:, 1] > spans[:, 0]
    if not named.any():
        return _counted(len(spans), path)
    if not named.all():
        raise BadInput(
            "this line has no qid:QUERY, but others have one.", path, int(columns.lines[np.flatnonzero(~named)[0]])
        )
    encoded = _texts(raw, spans, columns, path).dictionary_encode()
    codes = integers_to_numpy(encoded.indices)
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    queries = encoded.dictionary.to_pylist()
    if len(starts) > len(queries):
        again = starts[_first_repeated(codes[starts])]
        query = queries[codes[again]]
        raise BadInput(
            f"the lines of the query {query!r} are not consecutive: sort the file by query.",
            path,
            int(columns.lines[again]),
        )
    return queries, np.append(starts, len(codes))


def _counted(lines: int, path: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Queries by the lengths of their lists, in a file beside."""
    found = [place for suffix in _LENGTHS if (place := path.with_name(f"{path.name}{suffix}")).is_file()]
    if not found:
        names = " or ".join(f"{path.name}{suffix}" for suffix in _LENGTHS)
        raise BadInput(f"no line has a qid:QUERY, and there is no file {names} with the lengths of lists.", path)
    try:
        lengths = np.array(found[0].read_text(encoding="ascii").split(), np.int64)
    except ValueError as error:
        raise BadInput(f"a whole number is expected in each line: {error}.", found[0]) from error
    if lengths.sum() != lines or lengths.min(initial=1) < 1:
        raise BadInput(
            f"its numbers (the length of each list) add up to {lengths.sum():,}, but {path.name} has {lines:,} lines: "
            "numbers from 1 that add up to it are expected.",
            found[0],
        )
    return [str(number) for number in range(1, len(lengths) + 1)], offsets_of(lengths)


def _documents(
    raw: NDArray[np.uint8], columns: Any, queries: list[str], offsets: NDArray[np.int64], path: Path
) -> list[str]:
    """The document of each line."""
    spans: Spans = columns.documents
    named, sizes = spans[:, 1] > spans[:, 0], np.diff(offsets)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    documents: list[str] = _texts(raw, spans, columns, path).to_pylist()
    places = np.arange(len(rows)) - np.repeat(offsets[:-1], sizes) + 1
    for line in np.flatnonzero(~named).tolist():
        documents[line] = f"{queries[rows[line]]}-{places[line]}"
    codes = integers_to_numpy(to_array(documents).dictionary_encode().indices).astype(np.int64)
    keys = rows * (len(codes) + 1) + codes
    if len(np.unique(keys)) < len(keys):
        line = _first_repeated(keys)
        message = f"the document {documents[line]!r} is listed twice for the query {queries[rows[line]]!r}."
        raise BadInput(message, path, int(columns.lines[line]))
    return documents


def _texts(raw: NDArray[np.uint8], spans: Spans, columns: Any, path: Path) -> Any:
    """Pieces of a file as an Arrow array: every second one of the pieces that they cut it into."""
    import pyarrow as pa

    ordered = spans.copy()
    gone = np.flatnonzero(spans[:, 1] <= spans[:, 0])  # what is not there, between the lines around it
    ordered[gone] = np.maximum.accumulate(spans.max(axis=1))[gone, None]
    buffers = [None, pa.py_buffer(np.ascontiguousarray(ordered).ravel()), pa.py_buffer(raw)]
    pieces = pa.Array.from_buffers(pa.large_string(), 2 * len(spans) - 1, buffers)
    found = gather(pa.chunked_array([pieces]), np.arange(0, 2 * len(spans), 2))
    try:
        found.validate(full=True)
    except pa.ArrowInvalid as fault:
        raise BadInput(f"ids must be UTF-8: {fault}.", path, int(columns.lines[0])) from fault
    return found


def _first_repeated(keys: NDArray[np.integer[Any]]) -> int:
    """The place of the first of some keys that has been there before."""
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return int(np.flatnonzero(~first)[0])


def _query_fields(queries: Queries, how: str, path: Path) -> list[str]:
    """The field of the query in its lines, for each query."""
    if how == "lengths":
        return [""] * len(queries)
    names = list(map(str, range(1, len(queries) + 1))) if how == "numbers" else list(queries.ids)
    _refuse_blanks(names, path)
    return [f" qid:{name}" for name in names]


def _comments(ids: Any, docs: NDArray[np.integer[Any]], path: Path) -> list[str]:
    """The comments that name the documents of some lines; empty ones where there are no ids."""
    if ids is None:
        return [""] * len(docs)
    found = ids.take(docs) if isinstance(ids, Ids) else [str(ids[doc]) for doc in docs.tolist()]
    _refuse_blanks(found, path)
    return [f" #docid = {each}" for each in found]


def _cells(values: Floats, zeros: bool) -> Iterator[str]:
    """The features of each line."""
    whole = "".join(f" {index}:%.9g" for index in range(1, values.shape[1] + 1))
    for row in values.tolist():
        text = whole % tuple(row) if zeros else "".join(f" {i}:{x:.9g}" for i, x in enumerate(row, 1) if x)
        yield text.replace("nan", "NaN")


def _refuse_blanks(ids: Sequence[str], path: Path) -> None:
    odd = [each for each in ids if len(each.split()) != 1 or "#" in each]
    if odd:
        raise BadInput(f"ids with white space or # cannot be written: {odd[:3]}. Write numbers, or rename them.", path)
