"""Images in requests and answers: pictures that are sent to search with, and small copies of those found."""

from __future__ import annotations

import base64
import binascii
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from nirank.data import images, thumbnails
from nirank.errors import BadInput
from nirank.hashing import digest
from nirank.serving.state import State

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pixels of an image that is searched with.
MOST_PIXELS = 40_000_000
#: Pixels of the longer side of a small copy: one that is asked for is rounded up to the next of these.
SIDES = (64, 128, 256, 512, 1024)
#: Bytes of small copies that are kept.
_KEPT = 64 * 2**20


def read_data_url(url: str) -> Image:
    """The image in a data URL, `data:image/png;base64,...`. Raises `BadInput` for anything else."""
    head, comma, text = url.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise BadInput("image: a data URL is expected, `data:image/png;base64,...`, with the bytes of the file.")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("image: what follows `base64,` is not in base64.") from None
    return images.read(content, MOST_PIXELS)


@dataclass(frozen=True)
class Small:
    """A small copy: the bytes of a JPEG file, and a tag that tells it from any other."""

    content: bytes
    tag: str


@dataclass
class Thumbnails:
    """Small copies of the images of a corpus, each made once; those that were not asked for the longest go first."""

    kept: LRUCache[Any, Small] = field(default_factory=lambda: LRUCache(_KEPT, lambda small: len(small.content)))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def small(self, state: State, doc: int, side: int) -> Small:
        """The small copy of a document of which `side` is the longer one. Raises `BadInput` for what is no image."""
        side = next((each for each in SIDES if each >= side), SIDES[-1])
        key = (state.version, doc, side)
        with self.lock:
            found = self.kept.get(key)
        if found is None:
            found = _made(state, doc, side)
            with self.lock:
                self.kept[key] = found
        return found


def _made(state: State, doc: int, side: int) -> Small:
    content = state.content(doc)
    if not images.is_image(content):
        raise BadInput("has no image.")
    made = thumbnails.jpeg(content, side)
    return Small(made, digest(made.hex()))
