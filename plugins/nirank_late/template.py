"""Templates: the tokens around the texts of a late-interaction model, as set, or as models from elsewhere say."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from nirank.errors import BadInput
from nirank.kit.transformers import file_of

#: Ours, in the folder of a model; ColBERT's own, and PyLate's.
_OURS, _COLBERT, _PYLATE = "late_interaction.json", "artifact.metadata", "config_sentence_transformers.json"
#: Markers, the first that a vocabulary has or else the last, which is added and begins as the mean of all tokens. The
#: tokens that BERT leaves unused, which ColBERT takes, are noise to a model that was never trained with them.
_MARKERS = {"query": ("[Q] ", "[Q]"), "document": ("[D] ", "[D]")}
_UNUSED = {"query_marker": "[unused0]", "document_marker": "[unused1]"}
#: The settings that count tokens.
LENGTHS = ("query_length", "document_length")


@dataclass(frozen=True)
class TemplateSettings:
    """The fields of `Template` as settings; those that are None are as the model says, or else as in ColBERT."""

    query_length: int | None = None
    document_length: int | None = None
    query_marker: str | None = None
    document_marker: str | None = None
    augment: bool | None = None
    attend: bool | None = None
    skip_punctuation: bool | None = None


@dataclass(frozen=True)
class Template:
    """`[CLS] [Q] query [SEP] [MASK] ...` and `[CLS] [D] document [SEP]` (Khattab and Zaharia, section 3.2).

    query_marker, document_marker   tokens that tell the sides apart
    query_length, document_length   the most tokens of a text, these and the special ones included
    augment                         queries are filled up to their length with [MASK], whose vectors count
    attend                          tokens of the query also see these masks
    skip_punctuation                punctuation in documents is read, and its vectors are left out
    """

    query_marker: str = ""
    document_marker: str = ""
    query_length: int = 32
    document_length: int = 180
    augment: bool = True
    attend: bool = False
    skip_punctuation: bool = True

    def __post_init__(self) -> None:
        for name in LENGTHS:
            length = getattr(self, name)
            if not isinstance(length, int):
                raise TypeError(f"{name} = {length!r}")
            if length < 4:
                raise BadInput(f"{name} = {length}; special tokens, marker and text need 4 at least.")

    @classmethod
    def of(cls, model: str, vocabulary: Mapping[str, int], settings: TemplateSettings) -> Template:
        """The template that is set, else the one that comes with the model, else ColBERT's own."""
        found = {"query_marker": _first(vocabulary, "query"), "document_marker": _first(vocabulary, "document")}
        chosen = {name: value for name, value in asdict(settings).items() if value is not None}
        return replace(cls(), **{**found, **_stored(model, vocabulary), **chosen})

    def save(self, folder: Path) -> None:
        """Write it beside a model."""
        (folder / _OURS).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def punctuation(vocabulary: Mapping[str, int]) -> list[int]:
    """The tokens that are a punctuation mark of ASCII."""
    return [vocabulary[mark] for mark in string.punctuation if mark in vocabulary]


def _first(vocabulary: Mapping[str, int], side: str) -> str:
    known = [marker for marker in _MARKERS[side] if marker in vocabulary]
    return known[0] if known else _MARKERS[side][-1]


def trained_as_late(model: str) -> bool:
    """True for a model that was saved with a template, and so trained for late interaction."""
    return any(file_of(model, name) for name in (_OURS, _COLBERT, "1_Dense"))


def _stored(model: str, vocabulary: Mapping[str, int]) -> dict[str, Any]:
    """The settings that come with a model, under our names.

    Raises `BadInput` where they are damaged, or ColBERT's markers are in no vocabulary.
    """
    for name, read in ((_OURS, _ours), (_COLBERT, _colbert), (_PYLATE, _pylate)):
        if path := file_of(model, name):
            try:
                found = read(json.loads(path.read_text(encoding="utf-8")))
                replace(Template(), **found)
            except (ValueError, AttributeError, TypeError) as error:
                raise BadInput(f"is damaged: {error!r}.", path) from error
            if name == _COLBERT:
                _check_markers(found, vocabulary, path)
            return found
    return {}


def _check_markers(found: Mapping[str, Any], vocabulary: Mapping[str, int], path: Path) -> None:
    if lacking := [found[name] for name in _UNUSED if found[name] not in vocabulary]:
        raise BadInput(f"names the marker {lacking[0]!r}, which the tokenizer beside it does not know.", path)


def _ours(table: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: table[field.name] for field in fields(Template) if field.name in table}


def _colbert(table: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "query_token_id": "query_marker",
        "doc_token_id": "document_marker",
        "query_maxlen": "query_length",
        "doc_maxlen": "document_length",
        "attend_to_mask_tokens": "attend",
        "mask_punctuation": "skip_punctuation",
    }
    return _UNUSED | {ours: table[theirs] for theirs, ours in names.items() if theirs in table}


def _pylate(table: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "query_prefix": "query_marker",
        "document_prefix": "document_marker",
        "query_length": "query_length",
        "document_length": "document_length",
        "attend_to_expansion_tokens": "attend",
        "do_query_expansion": "augment",
    }
    found = {ours: table[theirs] for theirs, ours in names.items() if table.get(theirs) is not None}
    return found | ({"skip_punctuation": bool(table["skiplist_words"])} if "skiplist_words" in table else {})
