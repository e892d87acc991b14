"""Images in an Arrow file: the bytes of each as they were, with its id, mapped into memory and never loaded whole."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nirank import seals
from nirank.data import attributes
from nirank.data.arrow_files import FINGERPRINT
from nirank.data.columns import to_array, to_column
from nirank.data.corpus import Field, FieldName, hashable, values_of
from nirank.data.fingerprint import Fingerprint
from nirank.data.ids import Ids, as_ordinals, refuse_repeated
from nirank.errors import BadInput, DamagedFile

if TYPE_CHECKING:
    import pyarrow as pa

    from nirank.data.types import Content, Corpus

#: Bytes of images that are written at a time, and images.
_WRITTEN, _MOST = 1 << 25, 4096
_IMAGE = "image"
_AGAIN = "Make the file again, or remove it."


class ImageFile:
    """A corpus of images in an Arrow file: contents are the bytes of image files; fields are values beside them.

    Raises `DamagedFile` for any other file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        seals.check_file(self.path, _AGAIN)
        self._table, self._stamp = _mapped(self.path)
        seals.once(
            self.path.parent, f"images/{self.path.name}", [self.path.name], lambda: _check(self._table, self.path)
        )
        self._views: dict[FieldName, Field] = {}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        return f"<ImageFile {self.path.name}: {len(self):,} images>"

    def __reduce__(self) -> tuple[type[ImageFile], tuple[Path]]:
        return ImageFile, (self.path,)

    def __getitem__(self, which: Any) -> Any:
        """The bytes of the images at an array of ordinals or a slice, as a list; for one integer those of one."""
        if isinstance(which, (int, np.integer)):
            return self[[range(len(self))[which]]][0]
        images = self._table[_IMAGE]
        return [images[ordinal].as_py() for ordinal in as_ordinals(which, len(self)).tolist()]

    def __iter__(self) -> Iterator[bytes]:
        for ordinal in range(len(self)):
            yield self[ordinal]

    @cached_property
    def ids(self) -> Ids:
        """The string id of each ordinal."""
        return Ids(to_column(self._table["id"]), unique=True)

    @property
    def fingerprint(self) -> str:
        """A hash of ids and images, 32 hexadecimal digits, as the images have it in their own files."""
        return self._stamp

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields."""
        table, _ = self._attributes
        return () if table is None else tuple(table.column_names)

    def values(self, name: str) -> pa.ChunkedArray:
        """The values of a field, `[documents]`, as Arrow has them. Raises `BadInput` for no such name."""
        table, _ = self._attributes
        if table is None or name not in self.fields:
            known = f"there are {', '.join(self.fields)}" if self.fields else "there are none"
            raise BadInput(f"there is no field {name!r}; {known}.", self.path)
        return table[name]

    def column(self, name: str, which: slice | ArrayLike) -> list[str]:
        """One field of the documents at `which`, as texts."""
        values = self.values(name)
        found = (values[ordinal].as_py() for ordinal in as_ordinals(which, len(self)).tolist())
        return ["" if value is None else str(value) for value in found]

    def field(self, name: str | Sequence[str]) -> Field:
        """One field as a corpus of its own, or several as one text; the same object each time."""
        return self._views.setdefault(hashable(name), Field(self, name))

    @cached_property
    def _attributes(self) -> tuple[pa.Table | None, frozenset[str]]:
        return attributes.read(self.path, len(self), self._stamp)


def write_images(path: Path, corpus: Corpus) -> ImageFile:
    """Write the images of a corpus, which may be paths, with its fields; some are in memory at a time.

    An image of PIL becomes a PNG file. Raises `BadInput` for what is no image.
    """
    import pyarrow as pa

    digest, schema = Fingerprint(), pa.schema([("id", pa.large_string()), (_IMAGE, pa.large_binary())])
    fields = list(getattr(corpus, "fields", ()))
    with seals.sealed(path) as unfinished, attributes.Spool(path.parent) as spool:
        with pa.ipc.new_file(str(unfinished), schema) as writer:
            for start, images in _some(corpus):
                here = slice(start, start + len(images))
                columns = [corpus.ids.gather(np.arange(here.start, here.stop)), _binary(images)]
                digest.add(*columns)
                spool.add({name: values_of(corpus, name)[here] for name in fields}, len(images))
                writer.write_batch(pa.record_batch(columns, schema=schema))
            last = pa.record_batch([to_array([]), _binary([])], schema=schema)
            writer.write_batch(last, custom_metadata={FINGERPRINT: digest.hex()})
        refuse_repeated(to_column(_mapped(unfinished)[0]["id"]))
        spool.write(attributes.path_beside(path), digest.hex())
    return ImageFile(path)


def _some(corpus: Corpus) -> Iterator[tuple[int, list[bytes]]]:
    """The bytes of some images at a time, with the ordinal of the first."""
    start, images, size = 0, list[bytes](), 0
    for ordinal in range(len(corpus)):
        images.append(_bytes(corpus[[ordinal]][0]))
        size += len(images[-1])
        if size >= _WRITTEN or len(images) == _MOST:
            yield start, images
            start, images, size = ordinal + 1, [], 0
    if images:
        yield start, images


def _bytes(content: Content) -> bytes:
    """The bytes of an image file."""
    if isinstance(content, Path):
        return content.read_bytes()
    if isinstance(content, bytes):
        return content
    if isinstance(content, str) or not hasattr(content, "save"):
        raise BadInput(f"documents are all texts or all images, and one among images is a {type(content).__name__}.")
    file = io.BytesIO()
    content.save(file, "PNG")
    return file.getvalue()


def _binary(images: Sequence[bytes]) -> pa.Array:
    import pyarrow as pa

    offsets = np.cumsum([0, *map(len, images)], dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(images))]
    return pa.Array.from_buffers(pa.large_binary(), len(images), buffers)


def _mapped(path: Path) -> tuple[pa.Table, str]:
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = [reader.get_batch_with_custom_metadata(number) for number in range(reader.num_record_batches)]
        table = pa.Table.from_batches([batch for batch, _ in batches if batch.num_rows], reader.schema)
        if table.schema.types != [pa.large_string(), pa.large_binary()]:
            raise ValueError(f"it has the columns {table.schema.names}")
        return table, batches[-1][1][FINGERPRINT].decode()
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as fault:
        raise DamagedFile(f"cannot be read as a file of images: {fault}. {_AGAIN}", path) from fault


def _check(table: pa.Table, path: Path) -> None:
    """Raise `DamagedFile` for images that do not lie in the file, or ids that are not UTF-8."""
    import pyarrow as pa

    try:
        table.validate(full=True)
    except pa.ArrowException as fault:
        raise DamagedFile(f"is damaged: {fault}. {_AGAIN}", path) from fault
