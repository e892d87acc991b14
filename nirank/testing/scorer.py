"""The promises of a scorer: a score belongs to its pair, and to nothing else in the batch."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from nirank.data.batches import Pairs
from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.testing import samples
from nirank.testing.elsewhere import expect_same_answer
from nirank.testing.explanations import expect_explanations, refuse_silent
from nirank.testing.gradients import expect_gradients, trainable, training
from nirank.testing.promises import Inapplicable, expect, expect_same
from nirank.testing.subject import Subject


def one_score_per_pair(subject: Subject) -> None:
    """There is one finite number for each pair, in one column."""
    scores = subject.score(samples.pairs(subject.reads))
    expect(np.issubdtype(scores.dtype, np.number), f"the scores are of the type {scores.dtype}, not numbers.")
    expect(np.isfinite(scores).all(), f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite.")


def query_alone(subject: Subject) -> None:
    """A query alone has the scores that it has in a batch."""
    pairs = samples.pairs(subject.reads)
    scores, offsets = subject.score(pairs), pairs.candidates.offsets
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        if start < stop:
            part = pairs.cut(start, stop)
            expect_same(subject.score(part), scores[start:stop], f"{part.queries.contents[0]!r} alone")


def document_alone(subject: Subject) -> None:
    """A document alone has the score that it has among others, unless the scorer declares itself `listwise`."""
    if subject.traits.listwise:
        raise Inapplicable("it declares itself listwise: a document's score depends on the list.")
    pairs = samples.pairs(subject.reads)
    scores = subject.score(pairs)
    for place, doc in enumerate(pairs.candidates.docs.tolist()):
        expect_same(subject.score(pairs.cut(place, place + 1)), scores[place : place + 1], f"document {doc} alone")


def order_of_documents(subject: Subject) -> None:
    """The order of the documents in a list does not matter to their scores."""
    pairs = samples.pairs(subject.reads)
    candidates = pairs.candidates
    order = np.lexsort((-np.arange(candidates.pairs), candidates.rows))  # each list backwards
    turned = Candidates(candidates.offsets, candidates.docs[order], candidates.scores[order], candidates.corpus)
    scores = subject.score(Pairs(pairs.queries, turned))
    expect_same(scores, subject.score(pairs)[order], "lists in reverse order")


def order_of_queries(subject: Subject) -> None:
    """The order of the queries does not matter to their scores."""
    pairs = samples.pairs(subject.reads)
    rows = np.arange(len(pairs.queries))[::-1]
    order = np.concatenate(np.split(np.arange(len(pairs)), pairs.candidates.offsets[1:-1])[::-1])
    scores = subject.score(Pairs(pairs.queries.take(rows), pairs.candidates.take(rows)))
    expect_same(scores, subject.score(pairs)[order], "queries in reverse order")


def no_candidates(subject: Subject) -> None:
    """Queries without candidates have no scores, and that is fine."""
    queries = Queries.of(samples.queries(subject.reads))
    subject.score(Pairs(queries, Candidates.empty(len(queries), samples.corpus(subject.reads))))


def long_document(subject: Subject) -> None:
    """A very long document has a score like any other."""
    queries = Queries.of(samples.queries(subject.reads))
    lists = Candidates.of([[samples.LONG]] * len(queries), corpus=samples.corpus(subject.reads))
    scores = subject.score(Pairs(queries, lists))
    expect(
        np.isfinite(scores).all(),
        f"scores of the long document {samples.documents(subject.reads)[samples.LONG]!r:.40} are not finite: {scores}.",
    )


def inputs_unchanged(subject: Subject) -> None:
    """Queries and candidates are left as they were given."""
    pairs = samples.pairs(subject.reads)
    before = copy.deepcopy((pairs.queries.contents, *_columns(pairs.candidates)))
    subject.score(pairs)
    after = (pairs.queries.contents, *_columns(pairs.candidates))
    names = ("queries.contents", "candidates.offsets", "candidates.docs", "candidates.scores")
    for name, old, new in zip(names, before, after, strict=True):
        same = np.array_equal(old, new) if isinstance(old, np.ndarray) else old == new
        expect(same, f"{name} was changed in place.")


def same_in_another_process(subject: Subject) -> None:
    """Pickled, its index open, and loaded in another process, it gives the same scores, bit by bit."""
    expect_same_answer(subject, _answer)


def deterministic(subject: Subject) -> None:
    """Scoring twice in evaluation mode gives the same scores, bit by bit."""
    pairs = samples.pairs(subject.reads)
    first, second = subject.score(pairs), subject.score(pairs)
    expect(
        np.array_equal(first, second),
        f"{int((first != second).sum())} of {len(first)} scores changed when they were computed a second time.",
    )


def explains_its_scores(subject: Subject) -> None:
    """Explanations, if it has any, have parts that add up to each score, texts as labels, and marks inside of texts."""
    refuse_silent(subject)
    pairs = subject.given(samples.pairs(subject.reads))
    scores = subject.score(samples.pairs(subject.reads))
    expect_explanations(subject, pairs.queries, pairs.candidates, scores)


def gradients_reach_every_parameter(subject: Subject) -> None:
    """In training the scores carry gradients, finite ones, to every parameter that is not frozen."""
    parameters = trainable(subject.component.target)
    pairs = subject.given(samples.pairs(subject.reads))
    with training(subject.target):
        expect_gradients("scores", [subject.target.score(pairs.queries, pairs.candidates)], parameters)


def _columns(candidates: Candidates) -> tuple[Any, ...]:
    return candidates.offsets, candidates.docs, candidates.scores


def _answer(subject: Subject) -> list[Any]:
    return [subject.score(samples.pairs(subject.reads))]
