"""Documents of a file that are added, changed and taken out: the file of what comes of it, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.data import attributes
from nirank.data.columns import gather
from nirank.data.corpus import ArrowCorpus
from nirank.data.corpus_files import write_corpus
from nirank.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

#: A document as it comes: its id, its text, and values of fields.
Document = Mapping[str, Any]

#: Documents that are written at a time.
_WRITTEN = 1 << 16
_LONGEST_ID = 1000
_KINDS: dict[type, str] = {str: "texts", bool: "truth values", int: "numbers", float: "numbers"}


def write_changed(path: Path, corpus: ArrowCorpus, changes: Mapping[str, Document | None]) -> ArrowCorpus:
    """Write the documents of a corpus into another file, with changes: a document by its id, or None to take it out.

    A document that was there keeps its place among those that stay; new ones come last, in the order of `changes`.
    Raises `BadInput` where no document is left.
    """
    written = {name: document for name, document in changes.items() if document is not None}
    numbers = {name: len(corpus) + number for number, name in enumerate(written)}
    places = dict(zip(changes, corpus.ids.find(list(changes)).tolist(), strict=True))
    order = np.arange(len(corpus))
    for name, place in places.items():
        if place >= 0:
            order[place] = numbers.get(name, -1)
    new = [number for name, number in numbers.items() if places[name] < 0]
    order = np.concatenate([order[order >= 0], np.array(new, np.int64)])
    columns = _columns(corpus, list(written.values()))
    batches = (
        {name: gather(column, order[start : start + _WRITTEN]) for name, column in columns.items()}
        for start in range(0, len(order), _WRITTEN)
    )
    return write_corpus(path, batches, corpus.fields)


def _columns(corpus: ArrowCorpus, documents: list[Document]) -> dict[str, pa.ChunkedArray]:
    """The columns of a corpus, and below them those of documents."""
    names = dict.fromkeys([*corpus.fields, *corpus.attributes, *(name for each in documents for name in each)])
    return {name: _column(corpus, name, documents) for name in ("id", *names)}


def _column(corpus: ArrowCorpus, name: str, documents: list[Document]) -> pa.ChunkedArray:
    import pyarrow as pa

    is_text = name == "id" or name in corpus.fields
    new = attributes.to_values([each.get(name, "" if is_text else None) for each in documents])
    if name == "id":
        old = pa.chunked_array([corpus.ids.gather(np.arange(len(corpus)))])
    elif is_text or name in corpus.attributes:
        old = corpus.values(name)
    else:
        old = pa.chunked_array([pa.nulls(len(corpus), new.type)])
    kind = attributes.common({old.type, new.type})
    return pa.chunked_array([*old.cast(kind).chunks, new.cast(kind)], kind)


class Checker:
    """Checks documents before they are taken; `kinds` are those of the values that fields have, as they become known.

    A field holds texts, numbers, or truth values.
    """

    def __init__(self, corpus: ArrowCorpus) -> None:
        if "text" not in corpus.fields:
            raise BadInput(f"the documents have no text, only {', '.join(corpus.fields)}: none can be added here.")
        self._texts = corpus.fields
        self.kinds: dict[str, str] = {}
        for name in corpus.attributes:
            if kind := _kind_of(corpus.values(name).type):
                self.kinds[name] = kind

    def changes(self, documents: Iterable[object]) -> dict[str, Document]:
        """Documents by their ids. Raises `BadInput`, with the number of the first document that is wrong, from 1."""
        kinds, found = dict(self.kinds), dict[str, Document]()
        for number, document in enumerate(documents, start=1):
            try:
                checked = self._checked(document, kinds)
                if checked["id"] in found:
                    raise BadInput(f"the id {checked['id']!r:.80} comes twice; send a document once.")
            except BadInput as fault:
                raise BadInput(f"document {number}: {fault} Nothing of this request was taken.") from None
            found[checked["id"]] = checked
        if not found:
            raise BadInput("there are no documents; at least one is expected.")
        self.kinds = kinds
        return found

    def _checked(self, document: object, kinds: dict[str, str]) -> Document:
        if not isinstance(document, Mapping):
            raise BadInput(f"an object with id and text is expected, not {_said(document)}.")
        if not isinstance(document.get("id"), str) or not document["id"]:
            raise BadInput(f'"id" has to be a text that is not empty, not {_said(document.get("id"))}.')
        if len(document["id"]) > _LONGEST_ID:
            raise BadInput(f'"id" has {len(document["id"]):,} characters, and may have {_LONGEST_ID:,}.')
        if not isinstance(document.get("text"), str):
            raise BadInput(f'"text" has to be a text, not {_said(document.get("text"))}.')
        for name, value in document.items():
            _refuse_unsound(name)
            self._check_value(name, value, kinds)
        return {name: value for name, value in document.items() if value is not None}

    def _check_value(self, name: str, value: object, kinds: dict[str, str]) -> None:
        if value is None:
            return
        kind = _KINDS.get(type(value))
        if kind is None or (isinstance(value, float) and not math.isfinite(value)):
            raise BadInput(f"{name!r:.80} is {_said(value)}; texts, numbers, truth values and null are kept.")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise BadInput(f"{name!r:.80} is a number beyond 64 bits; send it as a text.")
        if isinstance(value, str):
            _refuse_unsound(value)
        expected = "texts" if name == "id" or name in self._texts else kinds.setdefault(name, kind)
        if kind != expected:
            raise BadInput(f"{name!r:.80} holds {expected} in other documents, and here it is {_said(value)}.")


def _refuse_unsound(text: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadInput(f"{text!r:.80} has half a surrogate pair, which is no text in UTF-8.")


def _said(value: object) -> str:
    return "missing" if value is None else f"{value!r:.60}, of the type {type(value).__name__}"


def _kind_of(kind: pa.DataType) -> str | None:
    import pyarrow.types as types

    if types.is_null(kind):
        return None
    if types.is_boolean(kind):
        return "truth values"
    return "texts" if types.is_large_string(kind) else "numbers"
