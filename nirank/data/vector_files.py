"""Vectors of documents as a table in a file, for stores and programs that are not nirank's: Parquet or Arrow.

    id       a string
    vector   a list of `dim` float32, as the encoder made it

The file's metadata say whose vectors they are: `nirank.corpus` and `nirank.encoder` are fingerprints, `nirank.version`
is that of this layout.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.data.columns import integers_to_numpy
from nirank.data.types import Corpus, Floats
from nirank.errors import BadInput
from nirank.files import beside

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("nirank")

_VERSION = b"1"
_ENDINGS = (".parquet", ".arrow")
#: Rows that are read at a time.
_ROWS = 4096


def write_vectors(path: str | Path, corpus: Corpus, blocks: Iterable[Floats], encoder: str) -> None:
    """Write the vectors of a corpus, which come in blocks `[documents, dim]` in the order of its documents.

    `encoder` is the fingerprint of what made them. The file, Parquet or Arrow by its ending, appears whole or not at
    all. Raises `BadInput` for another ending, and where there is not one vector for each document.
    """
    path, done = Path(path), 0
    _refuse_ending(path)
    with beside(path) as unfinished, _writer(unfinished, path.suffix, corpus, encoder) as write:
        for block in blocks:
            docs = np.arange(done, min(done + len(block), len(corpus)))
            if len(docs) != len(block):
                break
            write(corpus.ids.gather(docs), np.ascontiguousarray(block, np.float32))
            done += len(block)
        else:
            if done == len(corpus):
                return
        raise BadInput(f"{done:,} vectors or more for {len(corpus):,} documents; one for each is expected.")


def read_vectors(path: str | Path, corpus: Corpus, encoder: str | None, unmarked: bool = False) -> Floats:
    """The vectors of a corpus, float32 `[documents, dim]` in the order of its documents; rows are joined by their ids.

    Raises `BadInput` for a file of another corpus or encoder (`encoder` is a fingerprint, None for any), or that does
    not say whose vectors it has, unless `unmarked`; for ids that are missing, foreign or there twice; for vectors that
    are not of one dimension, or not finite. Numbers may be of float16, of which a warning tells, or float64.
    """
    path = Path(path)
    _refuse_ending(path)
    vectors, there = None, np.zeros(len(corpus), bool)
    for batch in _batches(path, corpus, encoder, unmarked):
        docs, block = _docs(batch, corpus, there, path), _matrix(batch, path)
        if vectors is None:
            vectors = np.empty((len(corpus), block.shape[1]), np.float32)
        if block.shape[1] != vectors.shape[1]:
            raise BadInput(f"has vectors of {vectors.shape[1]} and of {block.shape[1]} numbers.", path)
        vectors[docs] = block
    if vectors is None or not there.all():
        missing = np.flatnonzero(~there)
        example = repr(corpus.ids[int(missing[0])]) if len(missing) else "all"
        raise BadInput(f"has no vector of {len(missing):,} of {len(corpus):,} documents, such as {example}.", path)
    return vectors


@contextmanager
def _writer(path: Path, ending: str, corpus: Corpus, encoder: str) -> Iterator[Any]:
    """A function that writes ids and vectors; the first ones say how long all are, and open the file."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    about = {b"nirank.version": _VERSION, b"nirank.corpus": corpus.fingerprint, b"nirank.encoder": encoder}
    opened: list[Any] = []

    def write(ids: pa.Array, block: Floats) -> None:
        kind = pa.list_(pa.float32(), block.shape[1])
        schema = pa.schema([("id", pa.large_string()), ("vector", kind)], about)
        if not opened:
            opened.append(
                parquet.ParquetWriter(path, schema) if ending == ".parquet" else pa.ipc.new_file(str(path), schema)
            )
        flat = pa.Array.from_buffers(pa.float32(), block.size, [None, pa.py_buffer(block)])
        vectors = pa.FixedSizeListArray.from_arrays(flat, block.shape[1])
        opened[0].write_batch(pa.record_batch([ids.cast(pa.large_string()), vectors], schema=schema))

    try:
        yield write
    finally:
        for each in opened:
            each.close()


def _batches(path: Path, corpus: Corpus, encoder: str | None, unmarked: bool) -> Iterator[pa.RecordBatch]:
    """The rows of a file, some at a time, when what it says of itself is right."""
    import pyarrow as pa
    import pyarrow.dataset as dataset

    try:
        found = dataset.dataset(path, format=path.suffix[1:].replace("arrow", "ipc"))
        _refuse_others(found.schema, corpus, encoder, unmarked, path)
        _tell_of_rounded(found.schema, path)
        yield from found.to_batches(columns=["id", "vector"], batch_size=_ROWS)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"cannot be read as a table of vectors: {error}", path) from error


def _refuse_others(schema: pa.Schema, corpus: Corpus, encoder: str | None, unmarked: bool, path: Path) -> None:
    about = schema.metadata or {}
    if missing := {"id", "vector"} - {*schema.names}:
        raise BadInput(f"has no column {sorted(missing)[0]!r}: `id` and `vector` are expected.", path)
    wanted = {b"nirank.version": _VERSION.decode(), b"nirank.corpus": corpus.fingerprint, b"nirank.encoder": encoder}
    for name, value in wanted.items():
        if name not in about and not unmarked:
            raise BadInput(
                f"does not say whose vectors it has (no {name.decode()} in its metadata); where you know that they are "
                "of this corpus and this encoder, say `unmarked=True`.",
                path,
            )
        if value is not None and about.get(name, value.encode()) != value.encode():
            raise BadInput(
                f"has vectors of another {name.decode().removeprefix('nirank.')}: {about[name].decode()[:12]}, and "
                f"{value[:12]} is expected.",
                path,
            )


def _tell_of_rounded(schema: pa.Schema, path: Path) -> None:
    """Warn of numbers that are not as the encoder made them."""
    import pyarrow as pa

    kind = getattr(schema.field("vector").type, "value_type", None)
    if kind is not None and pa.types.is_float16(kind):
        log.warning(
            "%s has vectors of float16, which are read as float32: they are the encoder's rounded to three digits, and "
            "so are scores by them. Documents whose scores are that near may change places.",
            path,
        )


def _docs(batch: pa.RecordBatch, corpus: Corpus, there: Any, path: Path) -> Any:
    """The documents that the rows of a batch are of, noted in `there`."""
    ids = batch["id"]
    docs = corpus.ids.find(ids)
    if (docs < 0).any():
        raise BadInput(f"has {ids[int(np.flatnonzero(docs < 0)[0])].as_py()!r}, which the corpus does not.", path)
    once, first = np.unique(docs, return_index=True)
    twice = np.setdiff1d(np.arange(len(docs)), first)
    again = np.concatenate([docs[twice], once[there[once]]])
    if len(again):
        raise BadInput(f"has {corpus.ids[int(again[0])]!r} twice.", path)
    there[docs] = True
    return docs


def _matrix(batch: pa.RecordBatch, path: Path) -> Floats:
    """The vectors of a batch, `[rows, dim]`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = batch["vector"]
    lengths = np.unique(integers_to_numpy(pc.list_value_length(column).fill_null(-1)))
    if len(lengths) != 1 or lengths[0] < 1 or not pa.types.is_floating(column.type.value_type):
        raise BadInput("has rows that are no vectors of one length.", path)
    numbers = column.flatten().cast(pa.float32())
    matrix: Floats = numbers.to_numpy(zero_copy_only=False).reshape(len(batch), int(lengths[0]))
    if not np.isfinite(matrix).all():
        raise BadInput("has vectors with numbers that are missing or not finite.", path)
    return matrix


def _refuse_ending(path: Path) -> None:
    if path.suffix not in _ENDINGS:
        raise BadInput(f"ends in {path.suffix!r}: vectors are kept as {' or '.join(_ENDINGS)}.", path)
