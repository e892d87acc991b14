"""Documents of shards encoded as those of one index are: in the same batches, for their vectors depend on these.

The vector of a document can differ in its last bits with the documents that it is encoded with. One index encodes its
corpus in chunks from the first document on; a shard that began a chunk at its own first document would have other
vectors. Here a shard's documents are encoded with all of the chunks that they belong to, which are kept until the next
shard has had the rest of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.batches import concatenate
from nirank.data.corpus import Some
from nirank.data.types import Content, Corpus
from nirank.data.vectors import Vectors

Encode = Callable[[Any], Vectors]

#: Chunks whose vectors are kept: a chunk of a shard lies in two.
_KEPT = 2


class Part(Some):
    """Some documents of a corpus, whose contents know which they are."""

    def __getitem__(self, which: Any) -> Any:
        """The contents at an array of ordinals or a slice, with the ordinals that they have in the corpus."""
        found = super().__getitem__(which)
        return found if isinstance(which, (int, np.integer)) else Known(found, self.docs[which])


class Known(list[Content]):
    """Contents, and the ordinals `docs` of these documents in the whole corpus."""

    def __init__(self, contents: Any, docs: NDArray[np.int64]) -> None:
        super().__init__(contents)
        self.docs = docs


class WholeChunks:
    """Encodes documents of a corpus together with those that one index would encode them with.

    `chunk` is how many that index takes at a time. With `known`, a mask `[documents]` of those whose vectors it has
    already, it takes of each chunk the others.
    """

    def __init__(self, encode: Encode, corpus: Corpus, chunk: int, known: NDArray[np.bool_] | None = None) -> None:
        self._encode, self._corpus, self._chunk, self._known = encode, corpus, chunk, known
        self._kept: OrderedDict[int, tuple[NDArray[np.int64], Vectors]] = OrderedDict()

    def __call__(self, contents: Any) -> Vectors:
        """The vectors of contents of a `Part`; of any others, encoded by themselves."""
        if not isinstance(contents, Known) or not len(contents):
            return self._encode(contents)
        parts = []
        for number in np.unique(contents.docs // self._chunk).tolist():
            docs, vectors = self._of(number)
            here = contents.docs[contents.docs // self._chunk == number]
            parts.append(vectors[np.searchsorted(docs, here)])
        return concatenate(parts)  # shards' documents rise, and so do chunks

    def _of(self, number: int) -> tuple[NDArray[np.int64], Vectors]:
        """The documents of a chunk that are encoded together, and their vectors."""
        if number not in self._kept:
            docs = np.arange(number * self._chunk, min((number + 1) * self._chunk, len(self._corpus)))
            if self._known is not None:
                docs = docs[~self._known[docs]]
            self._kept[number] = docs, self._encode(self._corpus[docs])
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[number]
