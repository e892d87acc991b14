"""Collections of ir_datasets (MacAvaney et al. 2021), which downloads them or says where to get them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nirank.data import ArrowCorpus, Candidates, Collection, Ids, Queries, cached_corpus
from nirank.errors import BadInput, MissingDependency, UnknownName
from nirank.formats import Run
from nirank.kit import progress
from nirank_datasets.assemble import judged_collection

_BATCH = 10_000  # documents


def irds(id: str) -> Collection:
    """A collection by its name in ir_datasets, such as `vaswani` or `beir/scifact/test`.

    Contents are the `default_text()` of its documents and queries. The documents are copied once into an Arrow
    file in the cache and mapped from then on; the first use may download much. Source, size and terms stand at
    https://ir-datasets.com. A collection without queries or judgments has none here; warnings are as for `beir`.

    Raises `MissingDependency` where ir_datasets is not installed, `UnknownName` for a name that it lacks,
    `BadInput` for a collection without documents.
    """
    dataset = _load(id)
    corpus = _corpus(id, dataset)
    if not (dataset.has_queries() and dataset.has_qrels()):
        return Collection(f"irds:{id}", corpus, Queries([], []), Candidates.empty(0, corpus))
    texts = {query.query_id: query.default_text() for query in dataset.queries_iter()}
    return judged_collection(f"irds:{id}", corpus, Queries(list(texts), list(texts.values())), _judgments(dataset))


def _load(id: str) -> Any:
    try:
        import ir_datasets
    except ModuleNotFoundError as error:
        message = "irds needs the package 'ir_datasets'. Run: pip install 'nirank[irds]'"
        raise MissingDependency(message, name=error.name) from error
    try:
        dataset = ir_datasets.load(id)
    except KeyError:
        raise UnknownName("collection of ir_datasets", id, list(ir_datasets.registry)) from None
    if not dataset.has_docs():
        raise BadInput(f"{id} of ir_datasets has no documents: choose another.")
    return dataset


def _corpus(id: str, dataset: Any) -> ArrowCorpus:
    count = dataset.docs_count()
    name = f"irds-{id.replace('/', '-')}"
    return cached_corpus(name, (id, count), lambda: _batches(dataset, count), fields=["text"])


def _batches(dataset: Any, count: int | None) -> Iterator[Mapping[str, Sequence[str]]]:
    documents = dataset.docs_iter()
    with progress("reading documents", count or 0) as advance:
        while batch := list(itertools.islice(documents, _BATCH)):
            yield {
                "id": [document.doc_id for document in batch],
                "text": [document.default_text() for document in batch],
            }
            advance(len(batch))


def _judgments(dataset: Any) -> Run:
    """The judgments; a document that has several, for subtopics, has the highest grade."""
    grades: dict[str, dict[str, float]] = {}
    for judgment in dataset.qrels_iter():
        row, doc, grade = grades.setdefault(judgment.query_id, {}), judgment.doc_id, judgment.relevance
        row[doc] = max(grade, row.get(doc, grade))
    ids = Ids(list(dict.fromkeys(itertools.chain.from_iterable(grades.values()))), unique=True)
    docs = [ids.find(list(row)) for row in grades.values()]
    return Run(list(grades), ids, Candidates.of(docs, [list(row.values()) for row in grades.values()]))
