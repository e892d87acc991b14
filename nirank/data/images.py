"""Images as contents: a path, the bytes of a file, or an image of PIL, read as 8-bit RGB whatever they are made of.

Several threads decode them ahead of the reader, since Pillow releases Python's lock while it decodes.
"""

from __future__ import annotations

import collections
import io
import itertools
import logging
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np

from nirank.data.types import Content
from nirank.errors import BadInput, MissingDependency, UnknownName
from nirank.progress import progress
from nirank.threads import processors

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger("nirank")

#: What is done about a file that cannot be read.
Damaged = Literal["error", "skip"]
Made = TypeVar("Made")

#: What Pillow raises for files that are damaged or no images, beside `DecompressionBombError`.
FAULTS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(AssertionError, RuntimeError, MemoryError, struct.error, zlib.error),  # DDS and TIFF raise the oddest ones
)
#: How many images may be decoded, or waiting, ahead of the one that is asked for.
_AHEAD = 64
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")


def is_image(content: Content) -> bool:
    """True for an image: a path, bytes, or an image of PIL."""
    return isinstance(content, (Path, bytes)) or (hasattr(content, "mode") and hasattr(content, "convert"))


def read(content: Content, most: int | None = None) -> Image:
    """An image as RGB, 8 bits each, upright as EXIF says.

    What is transparent is put on white; of several frames the first is read; 16 bits are rounded to 8, and floats
    are taken to go from 0 to 1, or to 255 where one is above 1. Raises `BadInput`, with the path where there is one,
    for what cannot be decoded, and for an image of more than `most` pixels before it is.
    """
    opened = _open(content)
    try:
        _refuse_larger(content, opened, most)
        opened.load()
        return _rgb(_upright(opened))
    except BadInput:
        raise
    except _faults() as error:
        raise _unreadable(content, error) from error
    finally:
        if opened is not content:
            opened.close()


def endings() -> frozenset[str]:
    """The endings of the files that can be read, such as `.png`, in lower case."""
    return frozenset(_pil().registered_extensions())


def is_known(path: Path) -> bool:
    """True for a file that begins as an image does; its name does not matter."""
    try:
        _open(path).close()
    except BadInput:
        return False
    return True


def each(contents: Sequence[Content], make: Callable[[Image], Made], threads: int | None = None) -> Iterator[Made]:
    """Apply `make` to each image, in their order, by threads some images ahead.

    `threads` are as many as there are processors unless given. Raises as `read` does, when it comes to the image.
    """
    with ThreadPoolExecutor(threads or processors()) as pool:
        waiting: collections.deque[Future[Made]] = collections.deque()
        try:
            for content in contents:
                waiting.append(pool.submit(lambda content: make(read(content)), content))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batches(contents: Sequence[Content], make: Callable[[Image], Made], size: int) -> Iterator[list[Made]]:
    """The same in lists of `size`: threads prepare the next ones while one list is used."""
    made = each(contents, make)
    while some := list(itertools.islice(made, size)):
        yield some


def readable(contents: Sequence[Content], damaged: Damaged = "skip", threads: int | None = None) -> list[int]:
    """The positions of the images that can be read; each is decoded once, and those that cannot be read are reported.

    With `damaged = "error"` the first of them raises `BadInput`. The logger `nirank` warns of each image
    that is left out, and once for each way in which images are converted (a frame of several, CMYK, 16 bits) or are
    odd, with the first of these and their number; a note (`info`) names each.
    """
    if damaged not in get_args(Damaged):
        raise UnknownName("way to treat damaged images", damaged, get_args(Damaged))
    kept, odd = [], collections.defaultdict[str, list[str]](list)
    with ThreadPoolExecutor(threads or processors()) as pool, progress("Reading images", len(contents)) as advance:
        for place, fault in enumerate(pool.map(_fault_of, contents)):
            if isinstance(fault, BadInput) and damaged == "error":
                raise fault
            if isinstance(fault, BadInput):
                log.warning("an image is left out: %s", fault)
            else:
                kept.append(place)
                if fault:
                    odd[fault].append(str(contents[place]) if isinstance(contents[place], Path) else "an image")
            advance(1)
    _tell(odd)
    return kept


def drawn(number: int, width: int = 24, height: int = 24) -> Image:
    """A picture for checks: stripes and blots in colours that depend on the number, the same on every machine."""
    from PIL import Image

    y, x = np.indices((height, width))
    channels = [(x * (3 + number * 5 % 11) + y * (2 + number * 7 % 13) + number * 61 * shade) for shade in (1, 2, 3)]
    return Image.fromarray((np.stack(channels, -1) % 256).astype(np.uint8), "RGB")


def _open(content: Content) -> Image:
    if not is_image(content):
        raise BadInput(f"an image must be a pathlib.Path, bytes or a PIL image, not a {type(content).__name__}.")
    image = _pil()
    if not isinstance(content, (Path, bytes)):
        return content
    if isinstance(content, Path) and os.path.exists(content) and not os.path.isfile(content):  # a pipe waits for good
        raise BadInput("is not an image file: it is a folder, a pipe or a device.", content)
    try:
        return image.open(io.BytesIO(content) if isinstance(content, bytes) else content)
    except _faults() as error:
        raise _unreadable(content, error) from error


def _refuse_larger(content: Content, opened: Image, most: int | None) -> None:
    width, height = opened.size
    if most is not None and width * height > most:
        where = content if isinstance(content, Path) else None
        raise BadInput(f"has {width:,} x {height:,} pixels, and {most:,} are read at most: make it smaller.", where)


def _fault_of(content: Content) -> BadInput | str | None:
    """Why an image cannot be read, what is odd about one that can, or None."""
    try:
        read(content)
        with _open(content) as opened, suppress(*FAULTS):  # frames beyond the first may be damaged
            return _oddity(opened)
    except BadInput as error:
        return error
    return None


def _tell(odd: Mapping[str, Sequence[str]]) -> None:
    """Log what is odd about which images."""
    for oddity, names in odd.items():
        for name in names:
            log.info("%s: %s", name, oddity)
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        log.warning("%s%s: %s", names[0], more, oddity)


def _oddity(image: Image) -> str | None:
    if getattr(image, "n_frames", 1) > 1:
        return "the first of several frames is read."
    if image.mode == "CMYK":
        return "CMYK is read as RGB."
    if image.mode.startswith(("I", "F")):
        return "colours of more than 8 bits are reduced to 8."
    return "a single pixel." if image.size == (1, 1) else None


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    with suppress(*FAULTS):  # damaged EXIF says nothing, and the picture may still be whole
        return ImageOps.exif_transpose(image)
    return image


def _rgb(image: Image) -> Image:
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image).convert("RGB")
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        above = image.convert("RGBA")
        white = _pil().new("RGBA", above.size, "white")
        white.alpha_composite(above)
        return white.convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image) -> Image:
    """Grey values of 16 or 32 bits, or floats, as 8 bits."""
    values = np.asarray(image)
    largest = float(values.max(initial=0))
    if image.mode == "F":
        values = values * (255 if largest <= 1 else 1)
    elif image.mode.startswith("I;16") or largest > 255:
        values = values / 257
    return _pil().fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8), "L")


def _unreadable(content: Content, error: BaseException) -> BadInput:
    where = content if isinstance(content, Path) else None
    said = re.sub(r" <_io\.[^>]*>", "", str(error)).replace(f" {str(where)!r}", "")  # bytes have no name
    reason = getattr(error, "strerror", None) or said or type(error).__name__
    return BadInput(f"cannot be read as an image: {reason}.", where)


def _faults() -> tuple[type[BaseException], ...]:
    return (*FAULTS, _pil().DecompressionBombError)


@cache
def _pil() -> Any:
    """Pillow, which reads HEIC too where the package pillow-heif is there."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        message = "images need the package 'pillow'. Run: pip install 'nirank[images]'"
        raise MissingDependency(message, name=error.name) from error
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return Image
