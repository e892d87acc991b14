"""Samples for the checks: a corpus small enough to read, with the texts that break things."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nirank.data import images
from nirank.data.batches import Pairs
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.corpus import Documents
from nirank.data.features import Features
from nirank.data.queries import Queries
from nirank.data.types import Content, Floats

#: The ordinal of a document far longer than any model reads.
LONG = 9

DOCUMENTS = (
    "a small cat sat on the warm mat",
    "the dog ran over a long bridge",
    "a fast red car",
    "a slow bus behind a fast car",
    "cats and dogs, cars and buses",
    "",
    "a fast red car",  # the same text again: a tie
    "ünïcödé ∑ 🙂 東京 القاهرة",
    "zebra",
    "a cat and a dog in a car " * 800,
    "small small small cat",
    "mat bridge zebra",
)
QUERIES = ("small cat", "fast car", "the dog on the bridge", "zebra", "東京 🙂")

#: The features of pairs, for a ranker that has not chosen its own.
FEATURES = ("first", "second", "third")

#: Texts that a user may type; none of them is a command.
ODD_TEXTS = (
    " ",
    "\t\n\x00",
    "AND",
    'title:"cat"~3^2 -(dog',
    "cat && dog || !car",
    "c?t* /d.g/ [a TO z} \\",
    "'; DROP TABLE documents; --",
    "👩‍👩‍👧 e\u0301 \u202eright to left\u202c",
    "İstanbul ﬁ ½ ß ǅ",
    "กรุงเทพ 東京都 서울",
    "cat " * 3000,
)


#: What components read: texts (all that say nothing), images, or either, on both sides; or images for queries in words.
IMAGES, EITHER, BY_TEXT = "images", "either", "images by text"


@functools.cache
def documents(reads: str = "") -> tuple[Content, ...]:
    """The documents for a component that `reads` so; of pictures too, two are alike and one is much larger."""
    if reads not in (IMAGES, EITHER, BY_TEXT):
        return DOCUMENTS
    sizes = {LONG: (700, 500), DOCUMENTS.index(""): (1, 1)}
    places = [DOCUMENTS.index(text) for text in DOCUMENTS]
    pictures = [images.drawn(place, *sizes.get(place, (24, 24))) for place in places]
    return _mixed(pictures, DOCUMENTS) if reads == EITHER else tuple(pictures)


@functools.cache
def queries(reads: str = "") -> tuple[Content, ...]:
    """The queries for a component that `reads` so."""
    if reads not in (IMAGES, EITHER):
        return QUERIES
    pictures = [images.drawn(100 + number) for number in range(len(QUERIES))]
    return _mixed(pictures, QUERIES) if reads == EITHER else tuple(pictures)


@functools.cache
def odd(reads: str = "") -> tuple[Content, ...]:
    """Odd contents for a component that `reads` this: any text, any picture."""
    if reads not in (IMAGES, EITHER, BY_TEXT):
        return ("", *ODD_TEXTS)
    plain = images.drawn(7)
    modes = [plain.convert(mode) for mode in ("1", "L", "P", "CMYK", "RGBA", "I", "F")]
    pictures = [*modes, images.drawn(8, 1, 1), images.drawn(9, 300, 2), images.drawn(10, 2, 300)]
    return (*pictures, "", *ODD_TEXTS) if reads == EITHER else tuple(pictures)


def _mixed(pictures: Sequence[Content], texts: Sequence[Content]) -> tuple[Content, ...]:
    """Pictures and texts in turn."""
    return tuple((texts if place % 2 else pictures)[place] for place in range(len(texts)))


@functools.cache
def corpus(reads: str = "") -> Documents:
    """The documents, with ids `d0`, `d1`, ..., and the fields `title` and `text` of those that are texts."""
    contents = documents(reads)
    return Documents([f"d{number}" for number in range(len(DOCUMENTS))], list(contents), _fields(contents))


def _fields(contents: Sequence[Content]) -> dict[str, list[str]]:
    """The first two words of each text are its title, and the rest its text; pictures have neither."""
    words = [text.split() if isinstance(text, str) else [] for text in contents]
    return {"title": [" ".join(each[:2]) for each in words], "text": [" ".join(each[2:]) for each in words]}


def pairs(reads: str = "") -> Pairs:
    """Lists of several documents, of one and of none, with scores as a first stage gives them."""
    lists = [[0, 10, 4, 9, 1], [2, 6, 3], [], [8], [7, 5, 11, 0]]
    scores = [np.arange(len(docs), 0.0, -1) for docs in lists]
    return Pairs(Queries.of(queries(reads)), Candidates.of(lists, scores, corpus(reads)))


def found(queries: int, reads: str = "") -> Candidates:
    """Results of a ranking for `queries` queries, the same for each, so that only the queries differ."""
    docs = np.arange(0, len(DOCUMENTS), 2)
    return Candidates.of([docs] * queries, [docs % 3] * queries, corpus(reads)).ranked()


def features(pairs: Pairs, names: Sequence[str]) -> Features:
    """Made-up features from 0 to 1, which are a pair's own wherever it stands."""
    contents = [pairs.queries.contents[row] for row in pairs.candidates.rows]
    read = zip(contents, pairs.candidates.docs.tolist(), strict=True)
    values = [[zlib.crc32(f"{query} {doc} {name}".encode()) / 2**32 for name in names] for query, doc in read]
    return Features(tuple(names), np.array(values, np.float32).reshape(-1, len(names)))


def collection() -> Collection:
    """The documents and queries, judged: one query has grades, one nothing relevant, and one everything."""
    judged = [[9, 0, 10], [6, 2, 3, 1], [1], range(len(DOCUMENTS)), [7, 0]]
    grades = [[0, 2, 1], [1, 1, 0, 0], [0], [1] * len(DOCUMENTS), [3, 1]]
    return Collection("samples", corpus(), Queries.of(QUERIES), Candidates.of(judged, grades, corpus()))


class LetterEncoder:
    """A stand-in for a dense encoder: how often each pair of letters occurs, hashed into 16 places."""

    vectors = "dense"

    def encode(self, queries: Queries) -> Floats:
        """Vectors of queries, float32 `[queries, 16]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Floats:
        """Vectors of documents, float32 `[documents, 16]`."""
        return np.array([_letters(str(content)) for content in contents], np.float32).reshape(-1, 16)


class LetterCodes:
    """A stand-in for an encoder of codes: of each text the same counts, up to 7; tables prefer counts that are near."""

    vectors = "codes"

    def encode(self, queries: Queries) -> Floats:
        """Tables of queries, float32 `[queries, 16, 8]`."""
        counts = LetterCodes.encode_documents(self, queries.contents).astype(np.float32)
        return -np.square(counts[..., None] - np.arange(8, dtype=np.float32))

    def encode_documents(self, contents: Sequence[Content]) -> NDArray[np.uint8]:
        """Codes of documents, uint8 `[documents, 16]`."""
        return np.minimum(LetterEncoder().encode_documents(contents), 7).astype(np.uint8)


#: By the kind of their vectors, encoders for an index whose plugin need not have one.
STAND_INS: Mapping[str, type] = {kind.vectors: kind for kind in (LetterEncoder, LetterCodes)}


def _letters(text: str) -> Floats:
    places = [zlib.crc32(text[start : start + 2].encode()) % 16 for start in range(min(len(text), 200) - 1)]
    return np.bincount(np.asarray(places, np.int64), minlength=16).astype(np.float32)
