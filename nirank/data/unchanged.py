"""Which documents of a corpus another one has too: those that an update need not look at again."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data.attributes import to_mask
from nirank.data.columns import gather
from nirank.data.corpus import ArrowCorpus
from nirank.data.fingerprint import content_bytes
from nirank.data.ids import ITERATED, Ids, Ordinals
from nirank.data.image_file import ImageFile
from nirank.data.types import Content, Corpus

if TYPE_CHECKING:
    import pyarrow as pa

#: Documents that follow one another in both corpora, at the mean: so many are worth being compared by themselves.
_LONG = 64
#: For each corpus the one that it was compared with last, and what was found: each index of a pipeline asks for it.
_LAST: weakref.WeakKeyDictionary[Corpus, tuple[weakref.ref[Corpus], Ordinals]] = weakref.WeakKeyDictionary()


def same_documents(corpus: Corpus, other: Corpus) -> Ordinals:
    """For each document of `corpus` the ordinal in `other` of the one with its id and content; -1 where none has both.

    Contents are compared some thousands at a time. What is found cannot be written to.
    """
    last = _LAST.get(corpus)
    if last is None or last[0]() is not other:
        last = _LAST[corpus] = weakref.ref(other), _compared(corpus, other)
    return last[1]


def _compared(corpus: Corpus, other: Corpus) -> Ordinals:
    found = _same_ids(corpus.ids, other.ids)
    unsure = [docs[~_alike(corpus, docs, other, found[docs])] for docs in _blocks(found)]
    for docs in _parts(np.concatenate(unsure)):
        found[docs[~_equal(corpus, docs, other, found[docs])]] = -1
    found.flags.writeable = False
    return found


def _same_ids(ids: Ids, others: Ids) -> Ordinals:
    """The ordinal among others of each id, -1 where it is not there."""
    wanted = ids.gather(np.arange(len(ids)))
    if len(ids) == len(others) and wanted.equals(others.gather(np.arange(len(others)))):
        return np.arange(len(ids))
    return others.find(wanted)


def _blocks(found: Ordinals) -> list[Ordinals]:
    """The documents whose ids were found, some thousands at a time: of long runs that are in both, one a block."""
    docs = np.flatnonzero(found >= 0)
    breaks = np.flatnonzero((np.diff(docs) != 1) | (np.diff(found[docs]) != 1)) + 1
    return _parts(docs, breaks if len(breaks) * _LONG < len(docs) else [])


def _parts(docs: Ordinals, cuts: ArrayLike = ()) -> list[Ordinals]:
    """Some thousand documents at a time, and cut at these places too."""
    return np.split(docs, np.union1d(np.arange(ITERATED, len(docs), ITERATED), cuts).astype(np.int64))


def _alike(corpus: Corpus, docs: Ordinals, other: Corpus, others: Ordinals) -> NDArray[np.bool_]:
    """Which of some documents have every field of others, where columns can be compared; they have their contents."""
    if not (isinstance(corpus, ArrowCorpus) and isinstance(other, ArrowCorpus) and corpus.fields == other.fields):
        return np.zeros(len(docs), bool)
    columns = ((gather(corpus.values(name), docs), gather(other.values(name), others)) for name in corpus.fields)
    return np.logical_and.reduce([_same_texts(*both) for both in columns])


def _equal(corpus: Corpus, docs: Ordinals, other: Corpus, others: Ordinals) -> NDArray[np.bool_]:
    """Which of some documents have the contents of others."""
    if isinstance(corpus, ArrowCorpus) and isinstance(other, ArrowCorpus):
        return _same_texts(corpus.gather(docs), other.gather(others))
    pairs = zip(_contents(corpus, docs), _contents(other, others), strict=True)
    return np.array([content_bytes(one) == content_bytes(two) for one, two in pairs], bool)


def _contents(corpus: Corpus, docs: Ordinals) -> Iterable[Content]:
    """The contents of some documents; images one at a time, for a thousand may be too much for the memory."""
    return (corpus[doc] for doc in docs.tolist()) if isinstance(corpus, ImageFile) else corpus[docs]


def _same_texts(texts: pa.Array, others: pa.Array) -> NDArray[np.bool_]:
    """Row by row, true for equal texts; false where there is none."""
    import pyarrow.compute as pc

    return to_mask(pc.equal(texts, others))
