"""The promises of a rewriter: one query for each, the same whatever else is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nirank.data.batches import QueryBatch
from nirank.data.queries import Queries
from nirank.data.types import Content
from nirank.execution.stages import is_content, nirank_forward
from nirank.testing import samples
from nirank.testing.elsewhere import expect_same_answer
from nirank.testing.promises import expect
from nirank.testing.subject import Subject


def one_for_each(subject: Subject) -> None:
    """Each query has one text or image, and keeps its id."""
    made = _made(subject, samples.QUERIES)
    if isinstance(made, Queries):
        expect(list(made.ids) == list(Queries.of(samples.QUERIES).ids), f"the ids are {list(made.ids)}: ids stay.")
    contents = _contents(made)
    expect(len(contents) == len(samples.QUERIES), f"{len(samples.QUERIES)} queries became {len(contents)}.")
    wrong = [content for content in contents if not is_content(content)]
    expect(not wrong, f"{wrong[:1]!r} is neither a text nor an image.")


def query_alone(subject: Subject) -> None:
    """A query alone is rewritten as it is in a batch."""
    together = _contents(_made(subject, samples.QUERIES))
    for text, content in zip(samples.QUERIES, together, strict=True):
        alone = _contents(_made(subject, [text]))[0]
        expect(alone == content, f"{text!r} becomes {alone!r} alone, and {content!r} in a batch.")


def odd_text(subject: Subject) -> None:
    """Any text can be rewritten: an empty one, a very long one, and signs of every kind."""
    texts = ["", *samples.ODD_TEXTS]
    expect(len(_contents(_made(subject, texts))) == len(texts), "odd queries are lost.")


def inputs_unchanged(subject: Subject) -> None:
    """Queries are left as they were given."""
    queries = subject._asked(samples.QUERIES)
    nirank_forward(subject.component, "rewrite", QueryBatch(queries))
    expect(list(queries.contents) == list(samples.QUERIES), "the queries were changed in place.")


def same_in_another_process(subject: Subject) -> None:
    """Pickled, its index open, and loaded in another process, it gives the same queries, bit by bit."""
    expect_same_answer(subject, _answer)


def deterministic(subject: Subject) -> None:
    """Rewriting twice gives the same."""
    first, second = (_contents(_made(subject, samples.QUERIES)) for _ in range(2))
    expect(first == second, f"the same queries became {first} and then {second}.")


def _made(subject: Subject, texts: Sequence[Content]) -> Any:
    return nirank_forward(subject.component, "rewrite", QueryBatch(subject._asked(texts)))


def _contents(made: Any) -> list[Content]:
    return list(made.contents if isinstance(made, Queries) else made)


def _answer(subject: Subject) -> list[Any]:
    return _contents(_made(subject, samples.QUERIES))
