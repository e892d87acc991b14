"""Pooling: the documents that any of several systems ranks high, to be judged without knowing which one it was.

Sparck Jones and van Rijsbergen (1975); TREC judges the union of the first k documents of all systems.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from nirank.hashing import place_of


@dataclass(frozen=True)
class Pool:
    """The pool of a query: the `waiting` documents, which are to be judged, and the number of those that are."""

    query_id: str
    waiting: list[str]
    judged: int

    @property
    def size(self) -> int:
        """The number of documents, judged ones counted."""
        return len(self.waiting) + self.judged


def pool(query_id: str, rankings: Iterable[Sequence[str]], depth: int, judged: Collection[str]) -> Pool:
    """The first `depth` documents of each ranking, each once, without those that are `judged`.

    Their order follows from a hash of query and document: it shows neither a system nor a rank, and stays as it is
    when a system is added.
    """
    documents = {document for ranking in rankings for document in ranking[:depth]}
    waiting = sorted(documents.difference(judged), key=lambda document: (place_of(f"{query_id}\n{document}"), document))
    return Pool(query_id, waiting, len(documents) - len(waiting))
