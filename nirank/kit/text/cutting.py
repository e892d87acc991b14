"""The settings by which documents are cut into passages."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.passages import Windows, windows
from nirank.errors import BadInput, UnknownName
from nirank.hashing import digest
from nirank.kit.text import units
from nirank.kit.text.contents import require_text

_UNITS = ("words", "sentences", "tokens")
#: Words of a passage, where nothing is said: as in Dai and Callan's experiments, and in PyTerrier.
_USUAL_WORDS = 150


@dataclass(frozen=True)
class Cutting:
    """Documents cut into passages of at most `words`, `sentences` or `tokens`; 150 words where none of them is given.

    words       runs of what is no white space
    sentences   by Unicode's rules (`nirank.kit.text.units.sentences`)
    tokens      of the `tokenizer` of a model, a name on the model hub or a folder
    stride      how many units behind the beginning of one passage the next begins: half of a passage unless given
    field       the field of documents that is cut: their content unless given
    title       the field of documents that is put before each of their passages

    The last passage of a document may be shorter, and one without words is one passage. Raises `BadInput` for settings
    that do not go together.
    """

    words: int | None = None
    sentences: int | None = None
    tokens: int | None = None
    tokenizer: str | None = None
    stride: int | None = None
    field: str | None = None
    title: str | None = None

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Cutting:
        """From named settings. Raises `UnknownName` for one that does not exist."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in known:
                raise UnknownName("setting of passages", name, [*known, "fold", "best"])
        return cls(**settings)

    def __post_init__(self) -> None:
        given = [name for name in _UNITS if getattr(self, name) is not None]
        if not given:
            object.__setattr__(self, "words", _USUAL_WORDS)
        if len(given) > 1:
            raise BadInput(f"passages are measured in one unit, and here are {' and '.join(given)}: choose one.")
        for name in (*_UNITS, "stride"):
            _expect_count(name, getattr(self, name))
        for name in ("tokenizer", "field", "title"):
            if not isinstance(value := getattr(self, name), str | None):
                raise BadInput(f"passages: {name} = {value!r:.80} is not a text.")
        if (self.tokens is None) != (self.tokenizer is None):
            raise BadInput("passages: `tokens` and `tokenizer`, the model whose tokens these are, go together.")
        if self.stride and self.stride > self.size:
            raise BadInput(f"passages: stride = {self.stride} would leave out what is between passages of {self.size}.")

    @property
    def size(self) -> int:
        """The most units of a passage."""
        return next(value for name in _UNITS if (value := getattr(self, name)) is not None)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that were given, and `words` where nothing was."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the settings, and of the tokenizer."""
        own = {name: value for name, value in self.settings.items() if name not in ("tokenizer", "field", "title")}
        return digest([own, self.tokenizer and _tokenizer_text(self.tokenizer)])

    def cut(self, texts: Sequence[Any]) -> Windows:
        """The passages of each text, by characters. Raises `BadInput` for what is no text."""
        found = self._measure(require_text(texts, "document"))
        size = np.full(len(found.counts), self.size)
        cut = windows(found.counts, size, self.stride)
        firsts = (np.cumsum(found.counts) - found.counts)[cut.owners]
        empty = cut.stops == cut.starts
        starts = _at(found.starts, firsts + cut.starts, empty)
        return Windows(cut.owners, starts, _at(found.stops, firsts + cut.stops - 1, empty))

    @property
    def _measure(self) -> Callable[[Sequence[str]], units.Units]:
        if self.tokenizer is not None:
            return functools.partial(units.tokens, model=self.tokenizer)
        return units.words if self.words is not None else units.sentences


def _at(column: NDArray[np.int64], places: NDArray[np.int64], empty: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The values at `places`, and 0 where a passage is empty."""
    return np.where(empty, 0, np.append(column, 0)[np.where(empty, len(column), places)])


def _tokenizer_text(model: str) -> str:
    from nirank.kit import transformers

    return transformers.tokenizer_text(units.tokenizer(model))


def _expect_count(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
        raise BadInput(f"passages: {name} = {value!r:.80} is not a whole number from 1.")
