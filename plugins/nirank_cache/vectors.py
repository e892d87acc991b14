"""Vectors that are looked up where they are known; only the other contents are encoded.

Those of each content are stored by its hash, in a form of each kind (`KINDS`): "dense" as the name of the number type
in 4 bytes and the numbers; "tokens" as the same with the dimension, uint32, between; "sparse" as the number of
dimensions, int64, then the terms, int32, and their weights, float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Content, Queries, SparseVectors, TokenVectors, concatenate, to_numpy
from nirank.errors import BadInput, ComponentError
from nirank_cache import keys
from nirank_cache.shelf import BLOCK, Shelf

_TYPE = 4  # bytes
_HEADER = 8  # bytes before the numbers of tokens, or before the terms

#: Encodes the contents at some places.
Encode = Callable[[list[int]], Any]


@dataclass(frozen=True)
class Kind:
    """The form in which vectors of one kind are stored.

    `check` says what is wrong with the vectors of some contents, or nothing; `to_bytes` gives the value of each
    content, `from_bytes` the vectors of some values, in their order. `block` contents are looked up at a time.
    """

    check: Callable[[Any, int], str]
    to_bytes: Callable[[Any], Iterator[bytes]]
    from_bytes: Callable[[list[bytes]], Any]
    block: int = BLOCK


def encode(kind: Kind, call: Callable[..., Any], shelf: Shelf, queries: Queries) -> Any:
    """Vectors of queries, one entry for each; `call` makes those that the shelf does not have."""
    if not len(queries):
        return call(queries)
    return _blocks(kind, lambda rows: call(queries.take(np.array(rows))), shelf, queries.contents)


def encode_documents(kind: Kind, call: Callable[..., Any], shelf: Shelf, contents: Sequence[Content]) -> Any:
    """Vectors of documents, one entry for each; `call` makes those that the shelf does not have."""
    if not len(contents):
        return call(contents)
    return _blocks(kind, lambda rows: call([contents[row] for row in rows]), shelf, contents)


def _blocks(kind: Kind, encode: Encode, shelf: Shelf, contents: Sequence[Content]) -> Any:
    hashes = keys.of_contents(contents)
    starts = range(0, len(hashes), kind.block)
    return concatenate([_block(kind, encode, shelf, hashes[start : start + kind.block], start) for start in starts])


def _block(kind: Kind, encode: Encode, shelf: Shelf, hashes: list[bytes], start: int) -> Any:
    first = {key: start + place for place, key in reversed(list(enumerate(hashes)))}
    stored = dict(reversed(shelf.get(list(first))))  # of what is there twice, the earlier one counts
    shelf.count(found=len(stored))
    for known in (stored, {}):
        vectors = known | _fresh(kind, encode, shelf, {key: first[key] for key in first if key not in known})
        if (made := _made(kind, [vectors[key] for key in hashes])) is not None:
            return made
        shelf.tell_of_damage()
    raise ComponentError(f"{shelf.owner} returned vectors for {len(first)} contents that do not fit one another.")


def _fresh(kind: Kind, encode: Encode, shelf: Shelf, places: dict[bytes, int]) -> dict[bytes, bytes]:
    """The values of the contents at some places, which are encoded and stored."""
    missing = sorted(places, key=places.__getitem__)
    shelf.count(computed=len(missing))
    if not missing:
        return {}
    fresh = dict(zip(missing, _encoded(kind, encode, shelf, [places[key] for key in missing]), strict=True))
    shelf.put((key, value, 1) for key, value in fresh.items())
    return fresh


def _made(kind: Kind, values: list[bytes]) -> Any | None:
    """Vectors of some values; None for values that cannot have been written of one encoder's."""
    try:
        made = kind.from_bytes(values)
    except (ValueError, TypeError, BadInput):
        return None
    return None if kind.check(made, len(values)) else made


def _encoded(kind: Kind, encode: Encode, shelf: Shelf, places: list[int]) -> Iterator[bytes]:
    vectors = encode(places)
    if fault := kind.check(vectors, len(places)):
        raise ComponentError(f"{shelf.owner} returned {fault} for {len(places)} contents.")
    return kind.to_bytes(vectors)


# Dense vectors


def _check_dense(vectors: Any, count: int) -> str:
    shape = np.shape(vectors)
    return "" if len(shape) == 2 and shape[0] == count else f"vectors of shape {tuple(shape)}"


def _dense_to_bytes(vectors: Any) -> Iterator[bytes]:
    matrix = to_numpy(vectors)
    kind = _name(matrix.dtype)
    return (kind + vector.tobytes() for vector in matrix)


def _dense_from_bytes(values: list[bytes]) -> NDArray[Any]:
    table = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), len(values[0]))
    _refuse_mixed(values, _TYPE)
    return np.ascontiguousarray(table[:, _TYPE:]).view(_type(values[0]))


# Vectors of tokens


def _tokens_to_bytes(vectors: TokenVectors) -> Iterator[bytes]:
    values = to_numpy(vectors.values)
    head = _name(values.dtype) + np.uint32(values.shape[1]).tobytes()
    return (head + matrix.tobytes() for matrix in TokenVectors(vectors.offsets, values))


def _tokens_from_bytes(values: list[bytes]) -> TokenVectors:
    kind, dim = _type(values[0]), int(np.frombuffer(values[0], "<u4", 1, _TYPE)[0])
    _refuse_mixed(values, _HEADER)
    return TokenVectors.of([np.frombuffer(value, kind, offset=_HEADER).reshape(-1, dim) for value in values])


# Sparse vectors


def _sparse_to_bytes(vectors: SparseVectors) -> Iterator[bytes]:
    size = np.int64(vectors.size).tobytes()
    terms, weights = vectors.terms.astype("<i4", copy=False), vectors.weights.astype("<f4", copy=False)
    for start, stop in zip(vectors.offsets[:-1].tolist(), vectors.offsets[1:].tolist(), strict=True):
        yield size + terms[start:stop].tobytes() + weights[start:stop].tobytes()


def _sparse_from_bytes(values: list[bytes]) -> SparseVectors:
    lengths = [(len(value) - _HEADER) // 8 for value in values]
    both = [np.frombuffer(value, "<i4", offset=_HEADER).reshape(2, -1) for value in values]
    terms, weights = np.concatenate(both, axis=1)
    size = int(np.frombuffer(values[0], "<i8", 1)[0])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    _refuse_mixed(values, _HEADER)
    rises = np.diff(terms, prepend=-1) > 0
    rises[offsets[:-1][np.diff(offsets) > 0]] = True  # the first of each text
    if len(terms) and (terms.min() < 0 or terms.max() >= size or not rises.all()):
        raise ValueError(f"terms that are not {size} or do not rise")
    return SparseVectors(offsets, terms, weights.view("<f4"), size)


def _checked_as(expected: type[Any]) -> Callable[[Any, int], str]:
    """A check that vectors are of a type, and as many as there are contents."""

    def check(vectors: Any, count: int) -> str:
        if not isinstance(vectors, expected):
            return f"a {type(vectors).__name__}, and no {expected.__name__}"
        return "" if len(vectors) == count else f"{len(vectors)} vectors"

    return check


def _name(kind: np.dtype[Any]) -> bytes:
    return kind.str.encode().ljust(_TYPE)


def _type(value: bytes) -> np.dtype[Any]:
    kind = np.dtype(value[:_TYPE].decode().strip())
    if kind.kind not in "fiub":
        raise ValueError(f"vectors of {kind}")
    return kind


def _refuse_mixed(values: list[bytes], header: int) -> None:
    """Raise `ValueError` unless all values begin alike: with one type of numbers, and one dimension."""
    if any(value[:header] != values[0][:header] for value in values):
        raise ValueError("vectors of several kinds")


#: How vectors of each kind are stored. Those of tokens take a hundred times the room of others, so fewer at a time.
KINDS = {
    "dense": Kind(_check_dense, _dense_to_bytes, _dense_from_bytes),
    "tokens": Kind(_checked_as(TokenVectors), _tokens_to_bytes, _tokens_from_bytes, BLOCK // 16),
    "sparse": Kind(_checked_as(SparseVectors), _sparse_to_bytes, _sparse_from_bytes),
}
