"""Documents cut into passages: a corpus of the passages of another corpus, whose texts are not copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data.candidates import Candidates
from nirank.data.columns import numbered
from nirank.data.corpus import Texts, field_of, values_of
from nirank.data.ids import ITERATED, Ids, as_ordinals
from nirank.data.offsets import offsets_of
from nirank.data.types import Content, Corpus, Ints
from nirank.errors import BadInput
from nirank.hashing import digest
from nirank.progress import progress

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION = 1  # of the rules by which passages are cut, in fingerprints


@dataclass(frozen=True, eq=False)
class Windows:
    """Parts of texts: of each the text that it belongs to, and its start and stop there, all `[windows]`.

    They stand in the order of the texts, and every text has one at least.
    """

    owners: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def windows(lengths: Ints, sizes: Ints, stride: int | None = None, first_only: bool = False) -> Windows:
    """Texts of `lengths` units cut into windows of at most `sizes` units, both `[texts]`.

    One begins every `stride` units, or every half of a window unless given, and never later than the one before ends,
    until one reaches the end of the text. So the last may be shorter, and nothing is left out.
    """
    lengths, sizes = np.asarray(lengths, np.int64), np.asarray(sizes, np.int64)
    steps = np.maximum(1, np.minimum(sizes, stride or sizes // 2))
    beyond = np.zeros_like(lengths) if first_only else np.maximum(0, lengths - sizes)
    counts = 1 + -(-beyond // steps)
    owners = np.repeat(np.arange(len(lengths)), counts)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = within * steps[owners]
    return Windows(owners, starts, np.minimum(starts + sizes[owners], lengths[owners]))


class Cutter(Protocol):
    """The rule by which texts are cut; `field` is what is cut, and `title` the field put before each passage."""

    @property
    def field(self) -> str | None:
        """The field of documents that is cut; their content for None."""

    @property
    def title(self) -> str | None:
        """The field that is put before each passage, if any."""

    @property
    def fingerprint(self) -> str:
        """A hash of what the places of the cuts depend on."""

    def cut(self, texts: Sequence[Content]) -> Windows:
        """The passages of each text, by characters."""


class PassageCorpus(Texts):
    """The passages of a corpus as a corpus of texts, with the ids `DOCUMENT#0`, `DOCUMENT#1`, ...

    Only where passages begin and end is kept, and that is found out when it is first needed: a text is a slice of its
    document, behind the document's `title` field where the cutter names one. Raises `BadInput` for a field that the
    corpus lacks, and for documents that are no texts.
    """

    def __init__(self, corpus: Corpus, cutter: Cutter) -> None:
        self.corpus, self.cutter = corpus, cutter
        self.source = field_of(corpus, cutter.field)
        self._titles = None if cutter.title is None else field_of(corpus, cutter.title)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __repr__(self) -> str:
        return f"<passages of {self.corpus!r}>"

    @property
    def offsets(self) -> NDArray[np.int64]:
        """The places where each document's passages begin, and the end of the last, int64 `[documents + 1]`."""
        return self._cuts[0]

    @cached_property
    def ids(self) -> Ids:
        """The string id of each passage: that of its document, and behind `#` which of its passages it is."""
        owners = self.owners(np.arange(len(self)))
        numbers = np.arange(len(self)) - self.offsets[owners]
        return Ids(numbered(self.corpus.ids.gather(owners), numbers), unique=True)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the documents that are cut and of the cutting."""
        titles = self._titles and self._titles.fingerprint
        return digest(["passages", _VERSION, self.source.fingerprint, titles, self.cutter.fingerprint])

    def owners(self, passages: Ints) -> NDArray[np.int64]:
        """The ordinal of the document of each passage."""
        return np.searchsorted(self.offsets, passages, side="right") - 1

    def extents(self, passages: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The places where each passage begins and ends in its document, in characters."""
        _, starts, stops = self._cuts
        return starts[passages].astype(np.int64), stops[passages].astype(np.int64)

    def spread(self, candidates: Candidates, first_only: bool = False) -> tuple[Candidates, NDArray[np.int64]]:
        """The passages of candidate documents, or their first, and the offsets of each pair's: int64 `[pairs + 1]`.

        A passage has the score of its document.
        """
        starts = self.offsets[candidates.docs]
        counts = np.ones_like(starts) if first_only else self.offsets[candidates.docs + 1] - starts
        of_pairs = offsets_of(counts)
        passages = np.repeat(starts - of_pairs[:-1], counts) + np.arange(of_pairs[-1])
        scores = np.repeat(candidates.scores, counts)
        spread = Candidates(of_pairs[candidates.offsets], passages, scores, self, query_ids=candidates.query_ids)
        return spread, of_pairs

    def field(self, name: str) -> Texts:
        """Refuse: a passage is a part of one text. Raises `BadInput`."""
        raise BadInput(f"passages have no fields: cut the field itself, `passages(..., field={name!r})`.")

    def values(self, name: str) -> pa.Array | pa.ChunkedArray:
        """The values of one field of each passage's document, `[passages]`, as Arrow has them."""
        return values_of(self.corpus, name).take(self.owners(np.arange(len(self))))

    @cached_property
    def _cuts(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        counts, starts, stops = [], [], []
        with progress("Cutting documents", len(self.source)) as advance:
            for first in range(0, len(self.source), ITERATED):
                texts = self.source[first : first + ITERATED]
                found = self.cutter.cut(texts)
                counts.append(np.bincount(found.owners, minlength=len(texts)))
                starts.append(found.starts.astype(np.int32))
                stops.append(found.stops.astype(np.int32))
                advance(len(texts))
        none = np.empty(0, np.int32)
        columns = np.concatenate([none, *starts]), np.concatenate([none, *stops])
        return offsets_of(np.concatenate([none, *counts])), *columns

    def _texts(self, which: slice | ArrayLike) -> list[str]:
        ordinals = as_ordinals(which, len(self))
        docs, places = np.unique(self.owners(ordinals), return_inverse=True)
        contents, (starts, stops) = self.source[docs], self.extents(ordinals)
        cuts = zip(places.tolist(), starts.tolist(), stops.tolist(), strict=True)
        texts = [str(contents[place])[start:stop] for place, start, stop in cuts]
        if self._titles is None:
            return texts
        titles = self._titles[docs]
        return [f"{titles[place]} {text}".strip() for place, text in zip(places.tolist(), texts, strict=True)]
