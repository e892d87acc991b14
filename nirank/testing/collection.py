"""The promises of a collection: corpus, queries and judgments fit together, and can be written as TREC files."""

from __future__ import annotations

import numpy as np

from nirank.data.collection import Collection
from nirank.testing.promises import expect
from nirank.testing.subject import Subject


def complete(subject: Subject) -> None:
    """It is a `nirank.data.collection.Collection` with documents."""
    collection = subject.target
    expect(isinstance(collection, Collection), f"it is a {type(collection).__name__}, not a Collection.")
    expect(len(collection.corpus) > 0, "it has no documents.")


def ids_are_words(subject: Subject) -> None:
    """Ids of documents and of queries are without white space, and no query's comes twice."""
    collection = subject.target
    for what, ids in (("documents", list(collection.corpus.ids)), ("queries", list(collection.queries.ids))):
        odd = [one for one in ids if len(one.split()) != 1]
        expect(not odd, f"some ids of {what} have white space or are empty, as TREC files cannot have: {odd[:5]}.")
        expect(len(set(ids)) == len(ids), f"some ids of {what} come twice.")


def one_content_per_document(subject: Subject) -> None:
    """Documents read one by one, by ordinals and as a slice are the same."""
    corpus = subject.target.corpus
    everything = list(corpus[:])
    expect(len(everything) == len(corpus), f"{len(corpus)} documents have {len(everything)} contents.")
    backwards = np.arange(len(corpus))[::-1]
    expect(list(corpus[backwards]) == everything[::-1], "documents read by ordinals differ from those read as a slice.")


def judged_documents_exist(subject: Subject) -> None:
    """Some judged documents are in the corpus, where anything is judged."""
    collection = subject.target
    docs = collection.judgments.docs
    expect(not len(docs) or bool((docs < len(collection.corpus)).any()), "no judged document is in the corpus.")
