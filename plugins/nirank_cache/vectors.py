"""Dense vectors that are looked up where they are known; only the other contents are encoded.

Each vector is stored by the hash of its content: the name of its number type in 4 bytes, then its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Content, Queries, to_numpy
from nirank.errors import ComponentError
from nirank_cache import keys
from nirank_cache.shelf import BLOCK, Shelf

_TYPE = 4  # bytes

#: Encodes the contents at some places.
Encode = Callable[[list[int]], Any]


def encode(call: Callable[..., Any], shelf: Shelf, queries: Queries) -> Any:
    """Vectors of queries, `[queries, dim]`; `call` makes those that the shelf does not have."""
    if not len(queries):
        return call(queries)
    return _blocks(lambda rows: call(queries.take(np.array(rows))), shelf, queries.contents)


def encode_documents(call: Callable[..., Any], shelf: Shelf, contents: Sequence[Content]) -> Any:
    """Vectors of documents, `[documents, dim]`; `call` makes those that the shelf does not have."""
    if not len(contents):
        return call(contents)
    return _blocks(lambda rows: call([contents[row] for row in rows]), shelf, contents)


def _blocks(encode: Encode, shelf: Shelf, contents: Sequence[Content]) -> NDArray[Any]:
    hashes = keys.of_contents(contents)
    starts = range(0, len(hashes), BLOCK)
    return np.concatenate([_block(encode, shelf, hashes[start : start + BLOCK], start) for start in starts])


def _block(encode: Encode, shelf: Shelf, hashes: list[bytes], start: int) -> NDArray[Any]:
    first = {key: start + place for place, key in reversed(list(enumerate(hashes)))}
    vectors = dict(reversed(shelf.get(list(first))))  # of what is there twice, the earlier one counts
    missing = sorted(first.keys() - vectors.keys(), key=first.__getitem__)
    shelf.count(found=len(vectors), computed=len(missing))
    if missing:
        fresh = dict(zip(missing, _encoded(encode, shelf, [first[key] for key in missing]), strict=True))
        shelf.put((key, value, 1) for key, value in fresh.items())
        vectors |= fresh
    return _decoded([vectors[key] for key in hashes])


def _encoded(encode: Encode, shelf: Shelf, places: list[int]) -> Iterator[bytes]:
    vectors = to_numpy(encode(places))
    if vectors.ndim != 2 or len(vectors) != len(places):
        raise ComponentError(f"{shelf.owner} returned vectors of shape {vectors.shape} for {len(places)} contents.")
    kind = vectors.dtype.str.encode().ljust(_TYPE)
    return (kind + vector.tobytes() for vector in vectors)


def _decoded(values: list[bytes]) -> NDArray[Any]:
    kind = np.dtype(values[0][:_TYPE].decode().strip())
    table = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1)
    return np.ascontiguousarray(table[:, _TYPE:]).view(kind)
