"""Documents and their ids: in memory, or in an Arrow file that is mapped and never loaded.

`Documents` wraps lists; `ArrowCorpus` opens a file of columns, of which only the pages that are asked for are
read. Both answer `corpus[ordinals]`, and equal documents have equal fingerprints in either.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.errors import BadInput
from nirank.files import beside
from nirank.strings import Strings, gather, join, to_array, to_column, to_numpy

if TYPE_CHECKING:
    import pyarrow as pa

    from nirank.data import Content, Corpus

Ordinals: TypeAlias = NDArray[np.int64]

_FINGERPRINT = b"nirank.fingerprint"
_COPIED = 1 << 28  # bytes of ids: so many are worth a copy in memory
_READ = 64  # so few ids are read one by one: to call Arrow costs as much
_FORMAT = 1  # of the files in the cache
_ITERATED = 4096  # documents fetched at a time by iteration


class RepeatedId(BadInput):
    """An id that two documents have. `ordinals` are those of the two, the earlier one first."""

    def __init__(self, repeated: str, ordinals: tuple[int, int]) -> None:
        first, second = (f"{ordinal + 1:,}" for ordinal in ordinals)
        super().__init__(f"documents {first} and {second} both have the id {repeated!r}; ids must be unique.")
        self.repeated = repeated
        self.ordinals = ordinals


class Ids(Sequence[str]):
    """The string ids of documents: ordinal to id by `ids[i]` and `take`, id to ordinal by `find`.

    They are kept as an Arrow column, so that millions of ids cost no Python objects. Raises `RepeatedId` (a
    `BadInput`) for the first id that comes twice; `unique=True` says that this is known not to happen.
    """

    def __init__(self, values: Strings, *, unique: bool = False) -> None:
        self._values = _in_one_piece(to_column(values))
        if self._values.null_count:
            raise BadInput(f"{self._values.null_count} of {len(self._values)} ids are null; every id must be a string.")
        if not unique:
            _refuse_repeated(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, which: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, which: slice) -> list[str]: ...
    def __getitem__(self, which: SupportsIndex | slice) -> str | list[str]:
        chosen = range(len(self))[which]
        if isinstance(chosen, range):
            return self.take(np.arange(chosen.start, chosen.stop, chosen.step))
        text: str = self._values[chosen].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _ITERATED):
            yield from self[start : start + _ITERATED]

    def __repr__(self) -> str:
        return f"<{len(self):,} ids: {', '.join(self[:3])}{', ...' if len(self) > 3 else ''}>"

    def take(self, ordinals: ArrayLike) -> list[str]:
        """The ids at `ordinals`. Raises `IndexError` for one that is not from 0 to `len(ids) - 1`."""
        chosen = _ordinals(ordinals, len(self))
        if self._bytes is not None and len(chosen) <= _READ:
            ends, text = self._bytes
            return [str(text[ends[place] : ends[place + 1]], "utf-8") for place in chosen.tolist()]
        ids: list[str] = gather(self._values, chosen).to_pylist()
        return ids

    @cached_property
    def _bytes(self) -> tuple[memoryview, memoryview] | None:
        """Where each id begins and ends, and the text of all; None of ids in several pieces."""
        if self._values.num_chunks != 1 or not len(self):
            return None
        column = self._values.chunk(0)
        _, ends, text = column.buffers()
        return memoryview(ends).cast("q")[column.offset :], memoryview(text or b"")

    def gather(self, ordinals: ArrayLike) -> pa.Array:
        """What `take` returns, as an Arrow array of large strings: for output that needs no Python strings."""
        return gather(self._values, _ordinals(ordinals, len(self)))

    def find(self, strings: Strings) -> Ordinals:
        """The ordinal of each string, or -1 where no document has it as its id."""
        import pyarrow.compute as pc

        codes = to_column(strings).combine_chunks().dictionary_encode()
        distinct = codes.dictionary
        ordinals = np.full(len(distinct) + 1, -1)  # the last for null, whose code is -1
        if len(distinct) < len(self):  # the smaller side becomes the hash table, the other one is streamed past it
            places = to_numpy(pc.index_in(self._values, value_set=distinct))
            known = np.flatnonzero(places >= 0)
            ordinals[places[known]] = known
        else:
            ordinals[:-1] = to_numpy(pc.index_in(distinct, value_set=self._values))
        found: Ordinals = ordinals[to_numpy(codes.indices)]
        return found


class Documents:
    """A corpus in memory: texts, paths of images (`pathlib.Path`) or PIL images, with an id for each.

    `fields` are texts that documents have beside their content, such as the names of pictures: a stage with the setting
    `field` reads one of them instead. Raises `BadInput` where there are not as many ids as contents or as texts of a
    field, or where an id comes twice.
    """

    def __init__(
        self, ids: Strings | Ids, contents: Sequence[Content], fields: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.ids = ids if isinstance(ids, Ids) else Ids(ids)
        self._contents, self._columns = contents, dict(fields or {})
        #: The names of the fields.
        self.fields: tuple[str, ...] = tuple(self._columns)
        self._views: dict[str, Field] = {}
        for what, column in {"documents": contents, **self._columns}.items():
            if len(self.ids) != len(column):
                raise BadInput(f"{len(self.ids)} ids for {len(column)} {what}; one id per document is expected.")

    def __len__(self) -> int:
        return len(self._contents)

    @overload
    def __getitem__(self, which: int) -> Content: ...
    @overload
    def __getitem__(self, which: slice | ArrayLike) -> list[Content]: ...
    def __getitem__(self, which: Any) -> Any:
        """The contents at an array of ordinals or a slice, as a list; for one integer the content itself."""
        if isinstance(which, (int, np.integer)):
            return self._contents[int(which)]
        if isinstance(which, slice):
            return list(self._contents[which])
        return [self._contents[ordinal] for ordinal in _ordinals(which, len(self)).tolist()]

    def __iter__(self) -> Iterator[Content]:
        return iter(self._contents)

    def __repr__(self) -> str:
        return f"<Documents: {len(self):,}>"

    def column(self, name: str, which: slice | ArrayLike) -> list[str]:
        """One field of the documents at `which`. Raises `BadInput` for a name that is not among `fields`."""
        if name not in self.fields:
            known = f"their fields are {', '.join(self.fields)}" if self.fields else "it has no fields"
            raise BadInput(f"there is no field {name!r} in {self!r}: {known}.")
        return [self._columns[name][ordinal] for ordinal in _ordinals(which, len(self)).tolist()]

    def field(self, name: str) -> Field:
        """One field as a corpus of its own; the same object each time."""
        return self._views.setdefault(name, Field(self, name))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids and contents, 32 hexadecimal digits, equal for equal documents on every machine.

        An image counts by its bytes: those of the file where the content is a path, for a path, or a time of
        modification, would say that a copy is something else, and that a picture changed in haste is not.
        """
        digest = _Fingerprint()
        digest.ids.add(self.ids.gather(np.arange(len(self))))
        digest.contents.add_each(map(content_bytes, self._contents))
        return digest.hex()


class ArrowCorpus:
    """A corpus in an Arrow IPC file: a column `id` and text columns such as `title` and `text`.

    The file is mapped into memory, not read. The content of a document is those of its `fields` that are not
    empty, in the order of the file, joined by blanks. Raises `BadInput` for a file that is no such thing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._table, self._stamp = _map_table(self.path)
        self._views: dict[str, Field] = {}
        #: The names of the text columns.
        self.fields: tuple[str, ...] = tuple(name for name in self._table.column_names if name != "id")

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, which: int) -> str: ...
    @overload
    def __getitem__(self, which: slice | ArrayLike) -> list[str]: ...
    def __getitem__(self, which: Any) -> str | list[str]:
        """The contents at an array of ordinals or a slice, as a list; for one integer the content itself."""
        if isinstance(which, (int, np.integer)):
            return self[[range(len(self))[which]]][0]
        ordinals = _ordinals(which, len(self))
        texts: list[str] = join([gather(self._table[name], ordinals) for name in self.fields]).to_pylist()
        return texts

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _ITERATED):
            yield from self[start : start + _ITERATED]

    def __repr__(self) -> str:
        return f"<ArrowCorpus {self.path.name}: {len(self):,} documents>"

    def __reduce__(self) -> tuple[type[ArrowCorpus], tuple[Path]]:
        return ArrowCorpus, (self.path,)  # another process maps the file too, instead of being sent all of it

    @cached_property
    def ids(self) -> Ids:
        """The string id of each ordinal."""
        return Ids(self._table["id"], unique=self._stamp is not None)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids and contents, 32 hexadecimal digits; it stands in files that `write_corpus` wrote."""
        return self._stamp or self._computed_fingerprint()

    def column(self, name: str, which: slice | ArrayLike) -> list[str]:
        """One field of the documents at `which`. Raises `BadInput` for a name that is not among `fields`."""
        if name not in self.fields:
            raise BadInput(f"there is no field {name!r}; there are {', '.join(self.fields)}.", self.path)
        texts: list[str] = join([gather(self._table[name], _ordinals(which, len(self)))]).to_pylist()
        return texts

    def field(self, name: str) -> Field:
        """One field as a corpus of its own; the same object each time."""
        return self._views.setdefault(name, Field(self, name))

    def _computed_fingerprint(self) -> str:
        digest = _Fingerprint()
        for batch in self._table.to_batches():
            digest.add(batch["id"], join([batch[name] for name in self.fields]))
        return digest.hex()


class Field:
    """One field of the documents of a corpus: a corpus of texts, with the same ids at the same ordinals.

    Raises `BadInput` for a field that the corpus lacks.
    """

    def __init__(self, corpus: Documents | ArrowCorpus, name: str) -> None:
        corpus.column(name, slice(0, 0))
        self.corpus, self.name = corpus, name

    def __len__(self) -> int:
        return len(self.corpus)

    @overload
    def __getitem__(self, which: int) -> str: ...
    @overload
    def __getitem__(self, which: slice | ArrayLike) -> list[str]: ...
    def __getitem__(self, which: Any) -> str | list[str]:
        """The texts at an array of ordinals or a slice, as a list; for one integer the text itself."""
        if isinstance(which, (int, np.integer)):
            return self[[range(len(self))[which]]][0]
        return self.corpus.column(self.name, which)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _ITERATED):
            yield from self[start : start + _ITERATED]

    def __repr__(self) -> str:
        return f"<{self.name} of {self.corpus!r}>"

    def field(self, name: str) -> Field:
        """Itself, or another field of the same documents."""
        return self if name == self.name else self.corpus.field(name)

    @property
    def ids(self) -> Ids:
        """The string id of each ordinal."""
        return self.corpus.ids

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids and texts: equal to that of any corpus of these texts."""
        digest = _Fingerprint()
        digest.ids.add(self.ids.gather(np.arange(len(self))))
        digest.contents.add_each(map(content_bytes, self))
        return digest.hex()


def field_of(corpus: Corpus, name: str | None) -> Corpus:
    """A corpus as a stage with the setting `field` reads it: itself for None.

    Raises `BadInput` where the corpus has no such field.
    """
    if name is None:
        return corpus
    if not callable(getattr(corpus, "field", None)):
        raise BadInput(f"{corpus!r} has no fields, and so no field {name!r}.")
    view: Corpus = corpus.field(name)  # type: ignore[attr-defined]
    return view


def cache_folder() -> Path:
    """Where what can be made again is kept: `$NIRANK_CACHE`, or else `nirank` in the user's cache folder.

    That is `$XDG_CACHE_HOME`, or `~/.cache` where it is not set. The folder need not exist yet.
    """
    if own := os.environ.get("NIRANK_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nirank"


def write_corpus(
    path: str | Path, batches: Iterable[Mapping[str, Strings]], fields: Sequence[str] = ("title", "text")
) -> ArrowCorpus:
    """Write documents into an Arrow file and open it.

    Each batch maps `"id"` and every field to equally many strings; only one batch is in memory at a time. The
    file is written beside `path` and moved into place. Raises `RepeatedId`, and `BadInput` where no documents
    came.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as unfinished:
        _write_batches(unfinished, batches, fields)
        written, _ = _map_table(unfinished)
        if not written.num_rows:
            raise BadInput("a corpus without documents.", path)
        _refuse_repeated(written["id"])
    return ArrowCorpus(path)


def cached_corpus(
    name: str,
    depends_on: Iterable[object],
    batches: Callable[[], Iterable[Mapping[str, Strings]]],
    *,
    fields: Sequence[str] = ("title", "text"),
    cache: str | Path | None = None,
) -> ArrowCorpus:
    """A corpus from the cache; where it is not there yet, it is written from `batches()` as by `write_corpus`.

    What it was made from is told by the printed form of `depends_on`: another source, version or date is another
    corpus. `name` only makes the file recognisable. `cache` is `cache_folder()` if None.
    """
    source = "\n".join(map(str, (_FORMAT, *fields, *depends_on)))
    key = hashlib.blake2b(source.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    path = Path(cache or cache_folder()) / "corpora" / f"{name}-{key}.arrow"
    return ArrowCorpus(path) if path.exists() else write_corpus(path, batches(), fields)


def same_documents(corpus: Corpus, other: Corpus) -> Ordinals:
    """For each document of `corpus` the ordinal in `other` of the one with its id and content; -1 where none has both.

    Contents are compared some thousands at a time.
    """
    found = other.ids.find(corpus.ids.gather(np.arange(len(corpus))))
    for start in range(0, len(corpus), _ITERATED):
        here = start + np.flatnonzero(found[start : start + _ITERATED] >= 0)
        pairs = zip(corpus[here], other[found[here]], strict=True)
        found[here[[content_bytes(one) != content_bytes(two) for one, two in pairs]]] = -1
    return found


def _in_one_piece(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of many chunks as one, where the copy is small: ids are then taken in a tenth of the time."""
    import pyarrow as pa

    if column.num_chunks < 2 or column.nbytes > _COPIED:
        return column
    return pa.chunked_array([column.combine_chunks()])


def _refuse_repeated(ids: pa.ChunkedArray) -> None:
    codes = ids.combine_chunks().dictionary_encode()
    if len(codes.dictionary) == len(ids):
        return
    numbers = to_numpy(codes.indices)  # codes count up as new strings come: the first that does not is a repetition
    second = int(np.argmax(numbers != np.arange(len(numbers))))
    raise RepeatedId(ids[second].as_py(), (int(numbers[second]), second))


def _ordinals(which: Any, size: int) -> Ordinals:
    if isinstance(which, slice):
        return np.arange(*which.indices(size))
    ordinals = np.asarray(which)
    if ordinals.size == 0:
        return np.empty(0, np.int64)
    if ordinals.ndim != 1 or ordinals.dtype.kind not in "iu":
        raise IndexError(f"ordinals must be a column of integers, not {ordinals.dtype} of shape {ordinals.shape}.")
    few = ordinals.tolist() if len(ordinals) <= _READ else (ordinals.min(), ordinals.max())
    for extreme in (int(min(few)), int(max(few))):
        if not 0 <= extreme < size:
            raise IndexError(f"there is no document {extreme}: ordinals go from 0 to {size - 1}.")
    return ordinals.astype(np.int64, copy=False)


# Fingerprints


class _Fingerprint:
    """Hashes documents batch by batch; it is the same however they are cut into batches."""

    def __init__(self) -> None:
        self.ids = _ColumnHash()
        self.contents = _ColumnHash()

    def add(self, ids: pa.Array, contents: pa.Array) -> None:
        self.ids.add(ids)
        self.contents.add(contents)

    def hex(self) -> str:
        return hashlib.blake2b(self.ids.digest() + self.contents.digest(), digest_size=16).hexdigest()


class _ColumnHash:
    """Hashes byte strings: what they are joined, and beside it how long each is, so that no two columns collide."""

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
    """What a text or an image is hashed by; a path stands for the file's bytes. Raises `BadInput` for other types."""
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    if isinstance(content, Path):
        return content.read_bytes()
    if isinstance(content, bytes):
        return content
    if hasattr(content, "tobytes") and hasattr(content, "mode"):
        return f"{content.mode} {content.size} ".encode() + bytes(content.tobytes())
    raise BadInput(
        f"a document is a text, or an image: a pathlib.Path, bytes or one of PIL, not {type(content).__name__}."
    )


# Files


def _map_table(path: Path) -> tuple[pa.Table, str | None]:
    """The text columns of an Arrow file, and its fingerprint where it carries one."""
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = [reader.get_batch_with_custom_metadata(number) for number in range(reader.num_record_batches)]
    except (OSError, pa.ArrowException) as fault:
        raise BadInput(f"this is not a readable Arrow file: {fault}.", path) from fault
    table = pa.Table.from_batches([batch for batch, _ in batches if batch.num_rows], reader.schema)
    metadata = (batches[-1].custom_metadata if batches else None) or {}
    stamp = metadata[_FINGERPRINT].decode() if _FINGERPRINT in metadata else None
    return _large_texts(table, path), stamp


def _large_texts(table: pa.Table, path: Path) -> pa.Table:
    """Only the columns of strings, as large strings: as they are in a file of ours, converted from a foreign one."""
    import pyarrow as pa

    texts = [field.name for field in table.schema if field.type in (pa.string(), pa.large_string())]
    if "id" not in texts or len(texts) < 2:
        columns = ", ".join(table.column_names)
        raise BadInput(f"columns of strings 'id' and 'text' are expected; the columns are {columns}.", path)
    return table.select(texts).cast(pa.schema([(name, pa.large_string()) for name in texts]))


def _write_batches(path: Path, batches: Iterable[Mapping[str, Strings]], fields: Sequence[str]) -> None:
    import pyarrow as pa

    digest = _Fingerprint()
    schema = pa.schema([(name, pa.large_string()) for name in ("id", *fields)])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            columns = [to_column(batch[name]).combine_chunks() for name in schema.names]
            digest.add(columns[0], join(columns[1:]))
            writer.write_batch(pa.record_batch(columns, schema=schema))
        # only now is the fingerprint known, so it travels with a last batch that holds nothing
        last = pa.record_batch([to_array([]) for _ in schema], schema=schema)
        writer.write_batch(last, custom_metadata={_FINGERPRINT: digest.hex()})
