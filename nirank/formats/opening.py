"""Files of others opened: plain, compressed, or a pipe; faults in one wording wherever that happens."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import select
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from nirank.errors import BadInput

#: The endings of files that are decompressed as they are read.
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

_PATIENCE = 10  # seconds that a pipe may say nothing
_BLOCK = 1 << 20  # bytes read at a time
_LIMIT = 1 << 28  # bytes of a file that is read whole: far beyond any topics, far below memory
_KINDS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Raise `BadInput` with `path` where the block fails to read it: missing, forbidden, or cut off or spoilt."""
    kind = _KINDS.get(path.suffix.lower(), "gzip")
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as fault:
        raise BadInput(f"this is not a complete {kind} file: {fault}.", path) from fault
    except OSError as fault:
        if fault.errno is None and path.suffix.lower() in COMPRESSED:  # raised by a decompressor, not by the system
            raise BadInput(f"this is not a complete {kind} file: {fault}.", path) from fault
        raise BadInput(f"the file cannot be read: {fault.strerror or fault}.", path) from fault


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed where its name ends in `.gz`, `.bz2`, `.xz` or `.zst`.

    Raises `BadInput` as `faults_of` does, for a device, and for a pipe into which nothing is written for 10 seconds.
    """
    with faults_of(path), _raw(path) as raw, _unpacked(path, raw) as stream:
        yield stream


def read_whole(path: Path, limit: int = _LIMIT) -> bytes:
    """All bytes of a file as `opened` gives them. Raises `BadInput` also where there are more than `limit`."""
    with opened(path) as stream:
        return read_all(stream, path, limit)


def read_all(stream: IO[bytes], path: Path, limit: int = _LIMIT) -> bytes:
    """All bytes of a stream, which unpacks the file at `path`. Raises `BadInput` where there are more than `limit`."""
    content = io.BytesIO()
    while block := stream.read(_BLOCK):  # a decompressor may reserve all that it is asked for
        content.write(block)
        if content.tell() > limit:
            raise BadInput(f"the file has more than {limit >> 20:,} MiB when it is unpacked; that is the limit.", path)
    return content.getvalue()


def _unpacked(path: Path, raw: IO[bytes]) -> IO[bytes]:
    match path.suffix.lower():
        case ".gz":
            return cast("IO[bytes]", gzip.open(raw))
        case ".bz2":
            return cast("IO[bytes]", bz2.open(raw))
        case ".xz":
            return cast("IO[bytes]", lzma.open(raw))
        case ".zst":
            return _zstd(raw)
    return raw


def _zstd(raw: IO[bytes]) -> IO[bytes]:
    """By Arrow, which is there anyway; Python has zstd since 3.14."""
    import pyarrow as pa

    unpacked = pa.CompressedInputStream(pa.PythonFile(raw), "zstd")
    return cast("IO[bytes]", io.BufferedReader(unpacked))  # which has lines, as Arrow's stream has not


def _raw(path: Path) -> IO[bytes]:
    mode = path.stat().st_mode
    if stat.S_ISFIFO(mode):
        return _pipe(path)
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise BadInput("this is a device or a socket, not a file.", path)
    return path.open("rb")


def _pipe(path: Path) -> IO[bytes]:
    """A pipe that somebody writes to: to open it plainly waits for good where nobody does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    if not waiting.poll(int(_PATIENCE * 1000)):
        os.close(descriptor)
        raise BadInput(f"this is a pipe, and nothing was written into it for {_PATIENCE} seconds.", path)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "rb")
