"""The promises of an extractor: features belong to their pair, and to nothing else in the batch."""

from __future__ import annotations

import numpy as np

from nirank.data.batches import Pairs
from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.testing import samples, scorer
from nirank.testing.promises import expect
from nirank.testing.subject import Subject


def one_row_per_pair(subject: Subject) -> None:
    """There is one row of finite numbers for each pair, one for each of its `names`, none of which comes twice."""
    names, values = subject.target.names, subject.score(samples.pairs())
    expect(np.isfinite(values).all(), f"{int((~np.isfinite(values)).sum())} of {values.size} numbers are not finite.")
    expect(len(set(names)) == len(names) > 0, f"its attribute `names` is {names}; names must be distinct.")


def query_alone(subject: Subject) -> None:
    """The pairs of a query alone have the features that they have in a batch."""
    scorer.query_alone(subject)


def document_alone(subject: Subject) -> None:
    """A pair alone has the features that it has among others."""
    scorer.document_alone(subject)


def order_of_documents(subject: Subject) -> None:
    """The order of the documents in a list does not matter to their features."""
    scorer.order_of_documents(subject)


def no_candidates(subject: Subject) -> None:
    """Queries without candidates give no features."""
    queries = Queries.of(samples.QUERIES)
    subject.score(Pairs(queries, Candidates.empty(len(queries), samples.corpus())))


def long_document(subject: Subject) -> None:
    """A very long document has features like any other."""
    scorer.long_document(subject)


def inputs_unchanged(subject: Subject) -> None:
    """Queries and candidates are left as they were given."""
    scorer.inputs_unchanged(subject)


def deterministic(subject: Subject) -> None:
    """Describing pairs twice gives the same numbers, bit by bit."""
    scorer.deterministic(subject)


def same_in_another_process(subject: Subject) -> None:
    """Pickled, its index open, and loaded in another process, it gives the same features, bit by bit."""
    scorer.same_in_another_process(subject)
