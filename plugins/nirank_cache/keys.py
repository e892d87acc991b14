"""Hashes, of 16 bytes, of all that a cached result depends on."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nirank.data import Content, content_bytes
from nirank.kit import digest
from nirank.plugins import Component

#: A column of hashes. numpy compares it as it compares texts, without a Python object for each.
Digests = NDArray[np.bytes_]
SIZE = 16


def of_contents(contents: Iterable[Content]) -> list[bytes]:
    """One hash for each text or image; a text is never taken for the image that has its bytes."""
    return [_of_content(content) for content in contents]


def column(hashes: Sequence[bytes]) -> Digests:
    """Hashes as a column `[hashes]`."""
    return np.frombuffer(b"".join(hashes), f"S{SIZE}")


def of_component(component: Component, method: str) -> bytes:
    """A hash of all that the results of one method depend on, besides its input.

    That is the component's fingerprint and the code: the version of its plugin, and the module that its class
    is in, so that whoever changes a ranker does not get the results of the old one.
    """
    own = {"fingerprint": component.fingerprint, "plugin": component.origin, "method": method}
    return bytes.fromhex(digest({**own, "code": _of_code(type(component.target))}))


def _of_content(content: Content) -> bytes:
    kind = b"text" if isinstance(content, str) else b"image"
    return hashlib.blake2b(content_bytes(content), digest_size=SIZE, person=kind).digest()


def _of_code(kind: type) -> str:
    try:
        return hashlib.blake2b(Path(inspect.getfile(kind)).read_bytes(), digest_size=SIZE).hexdigest()
    except (TypeError, OSError):  # written in C, or typed in
        return ""
