"""Fingerprints of queries and of judgments: equal ones have equal prints on every machine, and one edited grade shows.

Those of judgments depend on ids and grades alone, and not on the order of lines, on the corpus or on ordinals, so that
the judgments of a collection have the print of the file that they were read from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.columns import to_column
from nirank.data.fingerprint import Fingerprint
from nirank.data.ids import Ids
from nirank.data.queries import Queries

if TYPE_CHECKING:
    import pyarrow as pa

Prints = NDArray[np.uint64]

_STEP, _FIRST, _SECOND = (np.uint64(each) for each in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_UNKNOWN = np.uint64(0xD1B54A32D192ED03)  # the print of all documents whose ids are not known


def print_of_queries(queries: Queries) -> str:
    """A hash of the ids of queries and of their contents, in order; 32 hexadecimal digits."""
    hashed = Fingerprint()
    hashed.ids.add_each(queries.ids)
    hashed.contents.add_each(queries.contents)
    return hashed.hex()


def print_of_judgments(judgments: Candidates, query_ids: Sequence[str], ids: Ids) -> str:
    """A hash of judgments as a set of query id, document id and grade; 32 hexadecimal digits.

    Judged documents beyond `ids` count with their grades alone. A million judgments take a tenth of a second: they are
    not sorted, but the numbers that stand for them are added up.
    """
    pairs = _mixed(_of_queries(query_ids)[judgments.rows] + _of_documents(judgments, ids))
    pairs = _mixed(pairs ^ (judgments.scores + np.float32(0)).view(np.uint32).astype(np.uint64))
    sums = [len(pairs), int(pairs.sum()), int(_mixed(pairs + _STEP).sum())]
    return hashlib.blake2b(repr(sums).encode(), digest_size=16).hexdigest()


def _of_queries(query_ids: Sequence[str]) -> Prints:
    return _mixed(_of_column(to_column(list(query_ids))) + _STEP)  # another one than that of a document of this id


def _of_documents(judgments: Candidates, ids: Ids) -> Prints:
    """A number for the document of each pair, `[pairs]`."""
    known = judgments.docs < len(ids)
    judged = np.zeros(len(ids), bool)
    judged[judgments.docs[known]] = True
    each = np.zeros(len(ids), np.uint64)
    each[judged] = _of_column(to_column(ids.gather(np.flatnonzero(judged))))
    found = np.full(judgments.pairs, _UNKNOWN)
    found[known] = each[judgments.docs[known]]
    return found


def _of_column(strings: pa.ChunkedArray) -> Prints:
    return np.concatenate([*map(_of_strings, strings.chunks), np.empty(0, np.uint64)])


def _of_strings(strings: pa.Array) -> Prints:
    """A number for each string: its words of eight bytes are taken in one after the other, all strings at once."""
    _, offsets, data = strings.buffers()
    cuts = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    padded = np.zeros(cuts[-1] - cuts[0] + 8, np.uint8)
    padded[:-8] = np.frombuffer(data or b"", np.uint8)[cuts[0] : cuts[-1]]
    words = np.ndarray(len(padded) - 7, np.dtype("<u8"), padded, strides=(1,))
    starts, lengths = cuts[:-1] - cuts[0], np.diff(cuts)
    prints = _mixed(lengths.astype(np.uint64))
    open_ = np.flatnonzero(lengths)
    for begin in range(0, int(lengths.max(initial=0)), 8):
        open_ = open_[lengths[open_] > begin]
        prints[open_] = _mixed(prints[open_] ^ _word(words[starts[open_] + begin], lengths[open_] - begin))
    return prints


def _word(words: NDArray[Any], left: NDArray[np.int64]) -> Prints:
    """Words without the bytes that belong to the next string."""
    unused = (8 * (8 - np.minimum(left, 8))).astype(np.uint64)
    return np.asarray(words << unused, np.uint64)


def _mixed(numbers: Prints) -> Prints:
    """Numbers that differ in any bit, mixed until each of their bits depends on all: the finish of splitmix64.

    Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    numbers = numbers + _STEP
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _SECOND
    return np.asarray(numbers ^ (numbers >> np.uint64(31)), np.uint64)
