"""Small copies of images: as JPEG, and as data URIs, which a page can hold."""

from __future__ import annotations

import base64
import io

from nirank.data import images
from nirank.data.types import Content
from nirank.errors import BadInput

#: Pixels of the longer side of a small copy.
SIDE = 96


def thumbnail(content: Content, side: int = SIDE) -> str:
    """A small copy as a data URI; an empty one of an image that cannot be read."""
    try:
        return f"data:image/jpeg;base64,{base64.b64encode(jpeg(content, side)).decode()}"
    except BadInput:
        return "data:,"


def jpeg(content: Content, side: int) -> bytes:
    """A small copy as the bytes of a JPEG file. Raises `BadInput` for an image that cannot be read."""
    picture = images.read(content)
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return stream.getvalue()
