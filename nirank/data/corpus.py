"""Documents and their ids: in memory, or in an Arrow file that is mapped and never loaded.

`Documents` wraps lists; `ArrowCorpus` opens a file of columns, of which only the pages that are asked for are
read. Both answer `corpus[ordinals]`, and equal documents have equal fingerprints in either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, overload

import numpy as np
from numpy.typing import ArrayLike

from nirank import seals
from nirank.data import attributes
from nirank.data.arrow_files import check_texts, fingerprint_of, map_table
from nirank.data.columns import Strings, gather, join_texts
from nirank.data.fingerprint import Fingerprint
from nirank.data.ids import ITERATED, Ids, as_ordinals
from nirank.data.urls import is_url, local_copy
from nirank.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from nirank.data.types import Content, Corpus, Ints


#: A field, or several that are read as one text.
FieldName: TypeAlias = str | tuple[str, ...]


class Documents:
    """A corpus in memory: texts, paths of images (`pathlib.Path`) or PIL images, with an id for each.

    `fields` are what documents have beside their content, such as the names of pictures: a stage with the setting
    `field` reads one of them instead, or several as one text, and `where` asks for their values, which may be texts,
    numbers, truth values, or None. Raises `BadInput` where there are not as many ids as contents or as values of a
    field, or where an id comes twice.
    """

    def __init__(
        self, ids: Strings | Ids, contents: Sequence[Content], fields: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        if isinstance(contents, (str, Mapping)) or not hasattr(contents, "__len__"):
            raise BadInput(
                f"documents are a sequence of ids and one of contents, and the second is a {type(contents).__name__}."
            )
        self.ids = ids if isinstance(ids, Ids) else Ids(ids)
        self._contents, self._columns = contents, dict(fields or {})
        #: The names of the fields.
        self.fields: tuple[str, ...] = tuple(self._columns)
        self._views: dict[FieldName, Field] = {}
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
        return [self._contents[ordinal] for ordinal in as_ordinals(which, len(self)).tolist()]

    def __iter__(self) -> Iterator[Content]:
        return iter(self._contents)

    def __repr__(self) -> str:
        return f"<Documents: {len(self):,}>"

    def column(self, name: str, which: slice | ArrayLike) -> list[str]:
        """One field of the documents at `which`. Raises `BadInput` for a name that is not among `fields`."""
        if name not in self.fields:
            known = f"their fields are {', '.join(self.fields)}" if self.fields else "it has no fields"
            raise BadInput(f"there is no field {name!r} in {self!r}: {known}.")
        values = [self._columns[name][ordinal] for ordinal in as_ordinals(which, len(self)).tolist()]
        return ["" if value is None else str(value) for value in values]

    def values(self, name: str) -> pa.Array:
        """The values of one field, `[documents]`, as Arrow has them. Raises `BadInput` as `column` does."""
        self.column(name, slice(0, 0))
        values = attributes.to_values(self._columns[name])
        if attributes.is_none(values):
            raise BadInput(f"the field {name!r} holds lists or objects; texts, numbers and truth values have an order.")
        return values

    def field(self, name: str | Sequence[str]) -> Field:
        """One field as a corpus of its own, or several as one text; the same object each time."""
        return self._views.setdefault(hashable(name), Field(self, name))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids and contents, 32 hexadecimal digits, equal for equal documents on every machine.

        An image is hashed by its bytes, those of its file where the content is a path: paths and times of modification
        differ between copies of one image, and may be the same after a change.
        """
        return _fingerprint_of(self)


class Texts:
    """Texts that are looked up where they lie: in a file, in one field of a corpus, as passages of its documents."""

    def __len__(self) -> int:
        raise NotImplementedError

    def _texts(self, which: slice | ArrayLike) -> list[str]:
        raise NotImplementedError

    @overload
    def __getitem__(self, which: int) -> str: ...
    @overload
    def __getitem__(self, which: slice | ArrayLike) -> list[str]: ...
    def __getitem__(self, which: Any) -> str | list[str]:
        """The texts at an array of ordinals or a slice, as a list; for one integer the text itself."""
        if isinstance(which, (int, np.integer)):
            return self[[range(len(self))[which]]][0]
        return self._texts(which)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), ITERATED):
            yield from self[start : start + ITERATED]


class ArrowCorpus(Texts):
    """A corpus in an Arrow IPC file: a column `id` and text columns such as `title` and `text`.

    The file is mapped into memory, not read. The content of a document is those of its `fields` that are not
    empty, in the order of the file, joined by blanks; attributes are values beside it. A URL that fsspec knows
    (`s3://bucket/corpus.arrow`) is copied into the cache once, under its fingerprint (`nirank.data.urls`). Raises
    `BadInput` for any other file.
    """

    def __init__(self, path: str | Path) -> None:
        #: Where it comes from, if that is no path of this machine.
        self.url: str | None = None
        if is_url(path):
            self.url = str(path)
            path = local_copy(self.url)
        self.path = Path(path)
        seals.check_file(self.path, "Make the file again, or remove it.")
        self._table, self._stamp = map_table(self.path)
        self._documents: int = self._table.num_rows
        self._views: dict[FieldName, Field] = {}
        self._as_texts: dict[str, pa.ChunkedArray] = {}
        # offsets that lead out of the file would end the process
        seals.once(
            self.path.parent, f"texts/{self.path.name}", [self.path.name], lambda: check_texts(self._table, self.path)
        )
        #: The names of the text columns.
        self.fields: tuple[str, ...] = tuple(name for name in self._table.column_names if name != "id")

    def __len__(self) -> int:
        return self._documents

    def __repr__(self) -> str:
        return f"<ArrowCorpus {self.path.name}: {len(self):,} documents>"

    def __reduce__(self) -> tuple[type[ArrowCorpus], tuple[str | Path]]:
        # another process maps the file too, instead of being sent all of it
        return ArrowCorpus, (self.url or self.path,)

    @cached_property
    def ids(self) -> Ids:
        """The string id of each ordinal."""
        return Ids(self._table["id"], unique=self._stamp is not None)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids and contents, 32 hexadecimal digits; it is stored in files that `write_corpus` wrote."""
        return self._stamp or self._computed_fingerprint()

    def column(self, name: str, which: slice | ArrayLike) -> list[str]:
        """One field of the documents at `which`. Raises `BadInput` for a name that is not among `fields`."""
        texts: list[str] = self.gather(which, [name]).to_pylist()
        return texts

    def gather(self, which: slice | ArrayLike, fields: Sequence[str] | None = None) -> pa.Array:
        """The contents at `which`, or what fields and attributes have there, as an Arrow array of large strings."""
        ordinals = as_ordinals(which, len(self))
        names = self.fields if fields is None else fields
        columns = (self._table[name] if name in self.fields else self._attribute_texts(name) for name in names)
        return join_texts([gather(column, ordinals) for column in columns])

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the attributes, which are no part of the content."""
        table, left_out = self._attributes
        return () if table is None else tuple(name for name in table.column_names if name not in left_out)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The names of fields that are not kept: they hold lists, objects or bytes."""
        return tuple(sorted(self._attributes[1]))

    def values(self, name: str) -> pa.ChunkedArray:
        """The values of a field or attribute, `[documents]`, as Arrow has them. Raises `BadInput` for no such name."""
        if name in self.fields:
            return self._table[name]
        table, left_out = self._attributes
        if table is not None and name in self.attributes:
            return table[name]
        if name in left_out:
            raise BadInput(f"the field {name!r} holds lists, objects or bytes, which are not kept.", self.path)
        known = ", ".join([*self.fields, *self.attributes])
        raise BadInput(f"there is no field {name!r}; there are {known}.", self.path)

    def field(self, name: str | Sequence[str]) -> Field:
        """One field as a corpus of its own, or several as one text; the same object each time."""
        return self._views.setdefault(hashable(name), Field(self, name))

    @cached_property
    def _attributes(self) -> tuple[pa.Table | None, frozenset[str]]:
        """The attributes, and the names of those that could not be kept."""
        return attributes.read(self.path, len(self), self._stamp)

    def _attribute_texts(self, name: str) -> pa.ChunkedArray:
        """The values of an attribute as texts."""
        if name not in self._as_texts:
            self._as_texts[name] = self.values(name).cast("large_string")
        return self._as_texts[name]

    def _texts(self, which: slice | ArrayLike) -> list[str]:
        texts: list[str] = self.gather(which).to_pylist()
        return texts

    def _computed_fingerprint(self) -> str:
        return fingerprint_of(self._table)


class Fielded(Protocol):
    """A corpus with fields."""

    @property
    def ids(self) -> Ids:
        """The string id of each ordinal."""

    def __len__(self) -> int: ...

    def column(self, name: str, which: slice | ArrayLike) -> list[str]:
        """One field of some documents."""

    def values(self, name: str) -> pa.Array | pa.ChunkedArray:
        """The values of one field, `[documents]`."""

    def field(self, name: str | Sequence[str]) -> Field:
        """One field as a corpus of its own, or several as one text."""


class Field(Texts):
    """One field of the documents of a corpus: a corpus of texts, with the same ids at the same ordinals.

    Of several names, a text is that of all these fields which are not empty, in the order of the names, joined by
    blanks. Raises `BadInput` for a field that the corpus lacks.
    """

    def __init__(self, corpus: Fielded, name: str | Sequence[str]) -> None:
        self.corpus, self.name = corpus, hashable(name)
        for each in self._names:
            corpus.column(each, slice(0, 0))

    def __len__(self) -> int:
        return len(self.corpus)

    def __repr__(self) -> str:
        return f"<{' + '.join(self._names)} of {self.corpus!r}>"

    def values(self, name: str) -> pa.Array | pa.ChunkedArray:
        """The values of any field of the same documents, as Arrow has them."""
        return self.corpus.values(name)

    def field(self, name: str | Sequence[str]) -> Field:
        """Itself, or other fields of the same documents."""
        return self if hashable(name) == self.name else self.corpus.field(name)

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.name,) if isinstance(self.name, str) else self.name

    @property
    def ids(self) -> Ids:
        """The string id of each ordinal."""
        return self.corpus.ids

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids and texts: equal to that of any corpus of these texts."""
        return _fingerprint_of(self)

    def _texts(self, which: slice | ArrayLike) -> list[str]:
        columns = [self.corpus.column(name, which) for name in self._names]
        rows = zip(*columns, strict=True)
        return columns[0] if len(columns) == 1 else [" ".join(filter(None, texts)) for texts in rows]


def hashable(name: str | Sequence[str]) -> FieldName:
    """A field, or several, as the key of a dictionary."""
    return name if isinstance(name, str) else tuple(name)


class Some:
    """Some documents of a corpus, in the order of `docs`, as a corpus: nothing is copied."""

    def __init__(self, corpus: Corpus, docs: Ints) -> None:
        self.corpus, self.docs = corpus, docs.astype(np.int64, copy=False)

    def __len__(self) -> int:
        return len(self.docs)

    def __repr__(self) -> str:
        return f"<{len(self):,} of {self.corpus!r}>"

    def __getitem__(self, which: Any) -> Any:
        """The contents at an array of ordinals or a slice; for one integer the content itself."""
        if isinstance(which, (int, np.integer)):
            return self.corpus[self.docs[[int(which)]]][0]
        return self.corpus[self.docs[as_ordinals(which, len(self))]]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that the documents have."""
        return tuple(getattr(self.corpus, "fields", ()))

    def values(self, name: str) -> pa.Array | pa.ChunkedArray:
        """The values of one field of these documents, as Arrow has them."""
        return values_of(self.corpus, name).take(self.docs)

    def field(self, name: str | Sequence[str]) -> Some:
        """One field of these documents."""
        return Some(field_of(self.corpus, name), self.docs)

    @cached_property
    def ids(self) -> Ids:
        """The string id of each ordinal."""
        return Ids(self.corpus.ids.gather(self.docs), unique=True)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of ids and contents."""
        return _fingerprint_of(self)


def _fingerprint_of(corpus: Corpus) -> str:
    digest = Fingerprint()
    digest.ids.add(corpus.ids.gather(np.arange(len(corpus))))
    digest.contents.add_each(cast("Iterable[Content]", corpus))
    return digest.hex()


def field_of(corpus: Corpus, name: str | Sequence[str] | None) -> Corpus:
    """A corpus as a stage with the setting `field` reads it: itself for None, for several names these as one text.

    Raises `BadInput` where the corpus has no such field.
    """
    if name is None:
        return corpus
    if not callable(getattr(corpus, "field", None)):
        wanted = name if isinstance(name, str) else ", ".join(name)
        raise BadInput(f"{corpus!r} has no fields, and so no field {wanted!r}.")
    view: Corpus = corpus.field(name)  # type: ignore[attr-defined]
    return view


def values_of(corpus: Corpus, name: str) -> pa.Array | pa.ChunkedArray:
    """The values of a field of documents, as Arrow has them. Raises `BadInput` where the corpus has no such field."""
    values = getattr(corpus, "values", None)
    if not callable(values):
        raise BadInput(f"{corpus!r} has no fields, and so no field {name!r}.")
    return values(name)
