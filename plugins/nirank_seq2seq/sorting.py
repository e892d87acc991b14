"""Sorting by a model's choice: heap sort and bubble sort whose every step asks which of a few documents is the best.

`best(documents)` is a generator that asks questions and returns the place of the best among the documents given; so
these are generators too, run with `yield from`. Documents are numbers from 0 in the order in which ranking begins.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

#: Asks questions, is sent their answers, and returns the order of the documents.
Sorting = Generator[Any, Any, list[int]]
Best = Callable[[Sequence[int]], Generator[Any, Any, int]]


def by_heap(documents: int, k: int, together: int, best: Best) -> Sorting:
    """The best `k` by heap sort, and the rest behind them in their first order.

    A node of the heap has `together - 1` children, which are compared with it at once: about n / (together - 1)
    questions make the heap, and log n to the base `together - 1` take the best from it.
    """
    heap, found = list(range(documents)), list[int]()
    for node in range((documents - 2) // (together - 1), -1, -1):
        yield from _sink(heap, node, together - 1, best)
    while heap and len(found) < k:
        found.append(heap[0])
        last = heap.pop()
        if heap and len(found) < k:
            heap[0] = last
            yield from _sink(heap, 0, together - 1, best)
    return found + _others(documents, found)


def by_bubbles(documents: int, k: int, together: int, best: Best) -> Sorting:
    """The best `k` by `k` passes from the back to the front, in windows that overlap by one document.

    Each pass brings the best of what is left to the front: (n - 1) / (together - 1) questions.
    """
    order = list(range(documents))
    for done in range(min(k, documents - 1)):
        stop = documents
        while stop - done > 1:
            start = max(done, stop - together)
            place = start + (yield from best(order[start:stop]))
            order[start], order[place] = order[place], order[start]
            stop = start + 1
    return order


def _sink(heap: list[int], node: int, children: int, best: Best) -> Generator[Any, Any, None]:
    """Let a document sink below those of its children that are better."""
    while (first := node * children + 1) < len(heap):
        places = [node, *range(first, min(first + children, len(heap)))]
        place = places[(yield from best([heap[each] for each in places]))]
        if place == node:
            return
        heap[node], heap[place] = heap[place], heap[node]
        node = place


def _others(documents: int, found: Sequence[int]) -> list[int]:
    taken = set(found)
    return [document for document in range(documents) if document not in taken]
