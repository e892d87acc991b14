"""The promises of an encoder: a vector belongs to its text or image, and to nothing else in the batch.

An encoder has `encode` for queries, `encode_documents` for documents, or both; each is held to the same. One that says
`reads = "images"` is given pictures, one that says `reads = "either"` pictures and texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.queries import Queries
from nirank.data.types import Content
from nirank.execution import stages
from nirank.testing import samples, scorer
from nirank.testing.elsewhere import expect_same_answer
from nirank.testing.explanations import expect_explanations, refuse_silent
from nirank.testing.gradients import expect_gradients, trainable, training
from nirank.testing.promises import Inapplicable, expect, expect_same
from nirank.testing.subject import Subject

_KINDS = ("dense", "tokens", "sparse", "terms", "codes")


def kind_of_vectors(subject: Subject) -> None:
    """Its attribute `vectors` says which kind it makes: "dense", "tokens", "sparse", "terms" or "codes"."""
    kind = getattr(subject.target, "vectors", None)
    expect(kind in _KINDS, f"its attribute `vectors` is {kind!r}, not one of {', '.join(_KINDS)}.")


def one_vector_each(subject: Subject) -> None:
    """There is one entry for each text, of finite numbers, and dense ones are all of one length."""
    for what, encode in _sides(subject):
        documents = _given(subject, what)
        vectors = encode(documents)
        expect(len(vectors) == len(documents), f"{len(documents)} {what} gave {len(vectors)} vectors.")
        expect(all(np.isfinite(vector).all() for vector in vectors), f"some vectors of {what} are not finite.")
        shapes = {vector.shape for vector in vectors}
        dense = subject.traits.vectors == "dense"
        expect(
            not dense or (len(shapes) == 1 and len(min(shapes)) == 1),
            f"dense vectors of {what} have the shapes {shapes}; one shape, (dim,), is expected.",
        )


def text_alone(subject: Subject) -> None:
    """A text alone has the vector that it has in a batch."""
    for what, encode in _sides(subject):
        documents = _given(subject, what)
        for content, vector in zip(documents, encode(documents), strict=True):
            expect_same(encode([content])[0], vector, f"{content!r:.40} alone among {what}")


def order_of_texts(subject: Subject) -> None:
    """The order of the texts does not matter to their vectors."""
    for what, encode in _sides(subject):
        documents = _given(subject, what)
        forwards, backwards = encode(documents), encode(documents[::-1])[::-1]
        for content, vector, turned in zip(documents, forwards, backwards, strict=True):
            expect_same(turned, vector, f"{content!r:.40} in reverse order of {what}")


def different_texts_differ(subject: Subject) -> None:
    """Different texts have different vectors."""
    for what, encode in _sides(subject):
        for one, two in _different(subject, what):
            first, second = encode([one, two])
            same = first.shape == second.shape and np.allclose(first, second)
            expect(not same, f"the {what} {one!r:.40} and {two!r:.40} have the same vector.")


def any_text(subject: Subject) -> None:
    """Any Unicode text can be encoded, the empty one too; where images are read, those of any size and mode."""
    for what, encode in _sides(subject):
        vectors = encode(samples.odd(_reads(subject, what)))
        expect(all(np.isfinite(vector).all() for vector in vectors), f"some vectors of {what} are not finite.")


def no_texts(subject: Subject) -> None:
    """An empty list of texts gives no vectors."""
    for what, encode in _sides(subject):
        expect(len(encode([])) == 0, f"an empty list of {what} gave {len(encode([]))} vectors.")


def queries_match_documents(subject: Subject) -> None:
    """Dense vectors of queries and of documents have one length, so that they can be compared."""
    lengths = {what: encode(_given(subject, what)[:1])[0].shape[-1] for what, encode in _sides(subject)}
    dense = subject.traits.vectors == "dense"
    expect(not dense or len(set(lengths.values())) == 1, f"vectors have different lengths: {lengths}.")


def codes_fit_tables(subject: Subject) -> None:
    """Codes of documents are uint8 or uint16 of one length; tables of queries have a number for each at each place."""
    sides = map(subject.component.can, ("encode", "encode_documents"))
    if subject.traits.vectors != "codes" or not all(sides):
        raise Inapplicable("it makes no codes, or of one side alone.")
    tables = subject.encode(samples.queries(subject.reads))
    codes = subject.encode_documents(samples.documents(subject.reads))
    kinds = {str(code.dtype) for code in codes}
    expect(kinds <= {"uint8", "uint16"}, f"codes are {', '.join(kinds)}; uint8 or uint16 is expected.")
    shapes = {code.shape for code in codes} | {table.shape[:1] for table in tables}
    expect(len(shapes) == 1, f"codes and tables are of several numbers of positions: {shapes}.")
    flat = {table.shape for table in tables if table.ndim != 2}
    expect(not flat, f"tables have the shapes {flat}; [positions, codes] is expected.")
    largest, columns = max(int(code.max()) for code in codes), {table.shape[1] for table in tables}
    expect(len(columns) == 1 and largest < min(columns), f"there is a code {largest}, and tables of {columns} codes.")


def same_in_another_process(subject: Subject) -> None:
    """Pickled, its index open, and loaded in another process, it gives the same vectors, bit by bit."""
    expect_same_answer(subject, _answer)


def deterministic(subject: Subject) -> None:
    """Encoding twice in evaluation mode gives the same vectors, bit by bit."""
    for what, encode in _sides(subject):
        queries = _given(subject, what)
        twice = zip(encode(queries), encode(queries), strict=True)
        expect(
            all(np.array_equal(first, second) for first, second in twice),
            f"vectors of {what} changed when they were encoded a second time.",
        )


def explains_its_scores(subject: Subject) -> None:
    """Explanations, if it has any, have parts that add up to each score, texts as labels, and marks inside of texts."""
    refuse_silent(subject)
    pairs = samples.pairs(subject.reads)
    scores = stages.score(subject.component, pairs.queries, pairs.candidates)
    expect_explanations(subject, pairs.queries, pairs.candidates, scores)


def gradients_reach_every_parameter(subject: Subject) -> None:
    """In training the vectors carry gradients, finite ones, to every parameter that is not frozen.

    Those of queries and of documents together: each side may have parameters of its own. Codes carry none: what makes
    codes is trained by its method `score`, and held to the same by what that returns.
    """
    if subject.traits.vectors == "codes":
        _gradients_of_scores(subject)
        return
    component, parameters = subject.component, trainable(subject.target)
    queries, documents = Queries.of(samples.queries(subject.reads)), list(samples.documents(subject.reads))
    inputs = {"encode": queries, "encode_documents": documents}
    with training(component.target):
        both = [getattr(component.target, method)(given) for method, given in inputs.items() if component.can(method)]
    tensors = [part for vectors in both for part in ([vectors] if hasattr(vectors, "shape") else vectors)]
    expect_gradients("vectors", tensors, parameters)


def _gradients_of_scores(subject: Subject) -> None:
    if not subject.component.can("score"):
        raise Inapplicable("codes carry no gradients, and it has no method `score` to be trained by.")
    scorer.gradients_reach_every_parameter(subject)


def _reads(subject: Subject, what: str) -> str:
    """The kind of contents of one side: of an encoder of images by texts queries are texts, and documents images."""
    sides = {"queries": "", "documents": samples.IMAGES}
    return sides[what] if subject.reads == samples.BY_TEXT else subject.reads


def _given(subject: Subject, what: str) -> tuple[Content, ...]:
    """The contents that one side is given."""
    return samples.documents(_reads(subject, what))


def _different(subject: Subject, what: str) -> list[tuple[Content, Content]]:
    """Two texts, two images, or two of each."""
    texts, images = ("a small cat", "the long bridge"), samples.documents(samples.IMAGES)
    pictures = images[0], images[1]
    return {samples.IMAGES: [pictures], samples.EITHER: [texts, pictures]}.get(_reads(subject, what), [texts])


def _sides(subject: Subject) -> Iterator[tuple[str, Callable[[Sequence[Content]], list[NDArray[Any]]]]]:
    sides = {"encode": ("queries", subject.encode), "encode_documents": ("documents", subject.encode_documents)}
    present = [side for method, side in sides.items() if subject.component.can(method)]
    expect(bool(present), "it has neither `encode` nor `encode_documents`.")
    yield from present


def _answer(subject: Subject) -> list[Any]:
    return [vector for what, encode in _sides(subject) for vector in encode(_given(subject, what))]
