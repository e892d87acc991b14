"""Pinned scores: those of a few pairs, kept beside a checkpoint's weights and compared when it is loaded.

Weights alone do not say what is computed: a template, a tokenizer, a length or a way of pooling that a later version of
a library treats differently changes every score, without an error. So a component that says
`reads = "text"`, "images", "either" or "images by text" is asked for the same scores when saved and when loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nirank.component import Component
from nirank.data import images
from nirank.data.arrays import to_numpy
from nirank.data.batches import ContentBatch, Pairs, QueryBatch, similarities
from nirank.data.candidates import Candidates
from nirank.data.corpus import Documents
from nirank.data.queries import Queries
from nirank.data.types import Content, Floats
from nirank.environment import versions
from nirank.errors import BadInput
from nirank.execution import stages

_QUERIES = ("small cat", "how long is the bridge over the river", "Größe 42 🙂")
_DOCUMENTS = (
    "A small cat sat on the warm mat, and slept.",
    "The bridge over the river is 1,280 metres long; it was opened in 1937.",
    "",
    "Größe 42: 東京 to القاهرة in 3.5 hours " + "and so on " * 200,
)
#: Of the largest score; what another processor makes of bfloat16 stays below, another template does not.
_TOLERANCE = 1e-2


def record(component: Component) -> dict[str, Any] | None:
    """Record a component's scores and the versions that they were made with; None where it has no scores."""
    scores = _scores(component)
    return None if scores is None else {"scores": scores.tolist(), "versions": versions()}


def check(component: Component, kept: Mapping[str, Any], folder: Path) -> None:
    """Raise `BadInput` where a component's scores are not those that were kept of it in a folder."""
    try:
        expected, then = np.array(kept["scores"], np.float32), {**kept["versions"]}
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"the scores in component.json cannot be read: {error!r}. Copy the folder again.", folder
        ) from error
    found = _scores(component)
    if found is None or found.shape != expected.shape:
        raise BadInput(
            f"{component.spec} does not compute the {len(expected)} scores that were saved with it: "
            "it has changed since, or its files have. Train it again, or copy the folder again.",
            folder,
        )
    wrong = np.abs(found - expected)
    if not (wrong <= _TOLERANCE * max(np.abs(expected).max(), 1e-6)).all():
        now = versions()
        others = [
            f"{name} {then[name]} then, {now[name]} now" for name in then if now.get(name, then[name]) != then[name]
        ]
        raise BadInput(
            f"{component.spec} does not score as it did when it was saved: {found[wrong.argmax()]:.6g} is not "
            f"{expected[wrong.argmax()]:.6g}. Its files have changed, or a library computes differently"
            f" ({'; '.join(others) or 'the versions are the same'}). Copy the folder again, or install those versions.",
            folder,
        )


def scores_of(component: Component, asked: Sequence[Content], documents: Sequence[Content]) -> Floats | None:
    """The score of each query with each document, `[pairs]`, computed without middleware; None without scores."""
    queries, corpus = Queries.of(asked), Documents([str(number) for number in range(len(documents))], documents)
    pairs = Candidates.of([np.arange(len(documents))] * len(queries), corpus=corpus)
    forward = stages.nirank_forward
    if component.can("score"):
        return to_numpy(forward(component, "score", Pairs(queries, pairs))).astype(np.float32)
    if not (component.can("encode") and component.can("encode_documents")):
        return None
    left = forward(component, "encode", QueryBatch(queries))
    right = forward(component, "encode_documents", ContentBatch(documents))
    return similarities(left, right, pairs.rows, pairs.docs)


def _scores(component: Component) -> Floats | None:
    """The scores of the queries and documents of `_given`, `[pairs]`."""
    asked, documents = _given(component.traits.reads)
    return scores_of(component, asked, documents) if documents else None


def _given(reads: str | None) -> tuple[Sequence[Content], Sequence[Content]]:
    """Queries and documents for a component with this trait `reads`; none for an unknown value."""
    if reads == "text":
        return _QUERIES, _DOCUMENTS
    if reads not in ("images", "either", "images by text"):
        return (), ()
    asked, documents = [images.drawn(1), images.drawn(2, 40, 20)], [images.drawn(3), images.drawn(4, 17, 90)]
    if reads != "either":
        return (asked if reads == "images" else _QUERIES), documents
    return [*_QUERIES, *asked], [*_DOCUMENTS, *documents]
