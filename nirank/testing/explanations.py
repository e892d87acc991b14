"""The promise of whatever explains its scores: parts that add up, names, and marks inside of the texts."""

from __future__ import annotations

from collections.abc import Iterator

from numpy.typing import ArrayLike

from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Content
from nirank.execution import stages
from nirank.testing.promises import Inapplicable, expect, expect_same
from nirank.testing.subject import Subject


def refuse_silent(subject: Subject) -> None:
    """Raise `Inapplicable` for a component that is asked for no explanation."""
    if not callable(getattr(subject.target, "explain", None)):
        raise Inapplicable("it has no method `explain`.")
    if subject.traits.listwise:
        raise Inapplicable("it declares itself listwise, and is asked for no explanation.")


def expect_explanations(subject: Subject, queries: Queries, candidates: Candidates, scores: ArrayLike) -> None:
    """Raise `Broken` where the explanations of pairs, whose `scores` are `[pairs]`, are none."""
    corpus = candidates.corpus_for("a check")
    found = stages.explain(subject.component, queries, candidates)
    expect_same([each.score for each in found], scores, "the scores that are explained")
    for row, doc, each in zip(candidates.rows.tolist(), candidates.docs.tolist(), found, strict=True):
        for part in _all(each):
            _expect_part(part, queries.contents[row], corpus[doc])


def _all(explanation: Explanation) -> Iterator[Explanation]:
    yield explanation
    for part in explanation.parts:
        yield from _all(part)


def _expect_part(part: Explanation, query: Content, document: Content) -> None:
    """Parts that do not add up were refused when they were made."""
    expect(isinstance(part.label, str) and bool(part.label), f"the label {part.label!r:.80} is no text.")
    expect(isinstance(part.note, str), f"the note {part.note!r:.80} of {part.label!r} is no text.")
    for marks, content, what in ((part.query_marks, query, "query"), (part.document_marks, document, "document")):
        length = len(content) if isinstance(content, str) else 0
        for mark in marks:
            expect(
                0 <= mark.start < mark.end <= length,
                f"{part.label!r} marks {mark.start}:{mark.end} of a {what} of {length} characters.",
            )
    if part.matches is not None:
        shape = (len(part.matches.rows), len(part.matches.columns))
        expect(part.matches.values.shape == shape, f"matches {part.matches.values.shape} have names for {shape}.")
