"""Fingerprints of documents: equal documents have equal ones on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nirank.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from nirank.data.types import Content


class Fingerprint:
    """Hashes documents batch by batch; it is the same however they are cut into batches."""

    def __init__(self) -> None:
        self.ids = _ColumnHash()
        self.contents = _ColumnHash()

    def add(self, ids: pa.Array, contents: pa.Array) -> None:
        """Take in some more documents."""
        self.ids.add(ids)
        self.contents.add(contents)

    def hex(self) -> str:
        """The fingerprint, 32 hexadecimal digits."""
        return hashlib.blake2b(self.ids.digest() + self.contents.digest(), digest_size=16).hexdigest()


class _ColumnHash:
    """Hashes a column of byte strings: their concatenation, and their lengths, so that no two columns collide."""

    def __init__(self) -> None:
        self._bytes = hashlib.blake2b()
        self._lengths = hashlib.blake2b()

    def add(self, strings: pa.Array) -> None:
        _, offsets, data = strings.buffers()
        if len(strings):
            cuts = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
            self._lengths.update(np.diff(cuts).astype("<i8").tobytes())
            self._bytes.update(memoryview(data)[cuts[0] : cuts[-1]])

    def add_each(self, strings: Iterable[bytes]) -> None:
        for string in strings:
            self._lengths.update(len(string).to_bytes(8, "little"))
            self._bytes.update(string)

    def digest(self) -> bytes:
        return self._lengths.digest() + self._bytes.digest()


def content_bytes(content: Content) -> bytes:
    """The bytes that a text or an image is hashed by; a path: its file's. Raises `BadInput` for other types."""
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    if isinstance(content, Path):
        return content.read_bytes()
    if isinstance(content, bytes):
        return content
    if hasattr(content, "tobytes") and hasattr(content, "mode"):
        return f"{content.mode} {content.size} ".encode() + bytes(content.tobytes())
    raise BadInput(
        f"a document must be a text or an image (a pathlib.Path, bytes or a PIL image), not {type(content).__name__}."
    )
