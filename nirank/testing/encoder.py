"""The promises of an encoder: a vector belongs to its text, and to nothing else in the batch.

An encoder has `encode` for queries, `encode_documents` for documents, or both; each is held to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Queries
from nirank.testing import samples
from nirank.testing.contract import expect, expect_same
from nirank.testing.gradients import expect_gradients, trainable, training
from nirank.testing.subject import Subject

_KINDS = ("dense", "tokens", "terms")


def kind_of_vectors(subject: Subject) -> None:
    """Its attribute `vectors` says which kind it makes: "dense", "tokens" or "terms"."""
    kind = getattr(subject.target, "vectors", None)
    expect(kind in _KINDS, f"`vectors` is {kind!r}, not one of {', '.join(_KINDS)}.")


def one_vector_each(subject: Subject) -> None:
    """There is one entry for each text, of finite numbers, and dense ones are all of one length."""
    for what, encode in _sides(subject):
        vectors = encode(samples.DOCUMENTS)
        expect(len(vectors) == len(samples.DOCUMENTS), f"{len(samples.DOCUMENTS)} {what} have {len(vectors)} vectors.")
        expect(all(np.isfinite(vector).all() for vector in vectors), f"some vectors of {what} are not finite.")
        shapes = {vector.shape for vector in vectors}
        dense = getattr(subject.target, "vectors", None) == "dense"
        expect(
            not dense or (len(shapes) == 1 and len(min(shapes)) == 1),
            f"dense vectors of {what} have the shapes {shapes}.",
        )


def text_alone(subject: Subject) -> None:
    """A text alone has the vector that it has in a batch."""
    for what, encode in _sides(subject):
        together = encode(samples.DOCUMENTS)
        for text, vector in zip(samples.DOCUMENTS, together, strict=True):
            expect_same(encode([text])[0], vector, f"{text[:40]!r} alone among {what}")


def order_of_texts(subject: Subject) -> None:
    """The order of the texts does not matter to their vectors."""
    for what, encode in _sides(subject):
        forwards, backwards = encode(samples.DOCUMENTS), encode(samples.DOCUMENTS[::-1])[::-1]
        for text, vector, turned in zip(samples.DOCUMENTS, forwards, backwards, strict=True):
            expect_same(turned, vector, f"{text[:40]!r} in reverse order of {what}")


def different_texts_differ(subject: Subject) -> None:
    """Different texts have different vectors."""
    for what, encode in _sides(subject):
        cat, bridge = encode(["a small cat", "the long bridge"])
        expect(cat.shape != bridge.shape or not np.allclose(cat, bridge), f"two different {what} have one vector.")


def any_text(subject: Subject) -> None:
    """Any Unicode text can be encoded, the empty one too."""
    for what, encode in _sides(subject):
        vectors = encode(["", *samples.ODD_TEXTS])
        expect(all(np.isfinite(vector).all() for vector in vectors), f"some vectors of {what} are not finite.")


def no_texts(subject: Subject) -> None:
    """No texts have no vectors, and that is fine."""
    for what, encode in _sides(subject):
        expect(len(encode([])) == 0, f"there are vectors for no {what}.")


def queries_match_documents(subject: Subject) -> None:
    """Dense vectors of queries and of documents have one length, so that they can be compared."""
    lengths = {what: encode(["cat"])[0].shape[-1] for what, encode in _sides(subject)}
    dense = getattr(subject.target, "vectors", None) == "dense"
    expect(not dense or len(set(lengths.values())) == 1, f"the lengths are {lengths}.")


def deterministic(subject: Subject) -> None:
    """Encoding twice in evaluation mode gives the same vectors, bit by bit."""
    for what, encode in _sides(subject):
        twice = zip(encode(samples.QUERIES), encode(samples.QUERIES), strict=True)
        expect(all(np.array_equal(first, second) for first, second in twice), f"vectors of {what} changed.")


def gradients_reach_every_parameter(subject: Subject) -> None:
    """In training the vectors carry gradients, finite ones, to every parameter that is not frozen.

    Those of queries and of documents together: each side may have parameters of its own.
    """
    component, parameters = subject.component, trainable(subject.target)
    inputs = {"encode": Queries.of(samples.QUERIES), "encode_documents": list(samples.DOCUMENTS)}
    with training(component.target):
        both = [getattr(component.target, method)(given) for method, given in inputs.items() if component.can(method)]
    tensors = [part for vectors in both for part in ([vectors] if hasattr(vectors, "shape") else vectors)]
    expect_gradients("vectors", tensors, parameters)


def _sides(subject: Subject) -> Iterator[tuple[str, Callable[[Sequence[str]], list[NDArray[Any]]]]]:
    sides = {"encode": ("queries", subject.encode), "encode_documents": ("documents", subject.encode_documents)}
    present = [side for method, side in sides.items() if subject.component.can(method)]
    expect(bool(present), "it has neither `encode` nor `encode_documents`.")
    yield from present
