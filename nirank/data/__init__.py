"""The types of the data: queries, corpora, candidates, collections, and vectors of each kind.

`Candidates` is the one type that a run, its judgments and a training batch share: for each query the documents found
for it, as one compressed sparse row. Documents are ordinals into a corpus; their string ids live in `Corpus.ids` and
appear only where text is read or written. Columns are numpy arrays on the host, so lexical search, fusion and
evaluation need no tensor library.

One tie rule holds everywhere in nirank: falling score, then rising ordinal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.data import images as images
    from nirank.data.arrays import to_numpy as to_numpy
    from nirank.data.batches import Batch as Batch
    from nirank.data.batches import ContentBatch as ContentBatch
    from nirank.data.batches import Pairs as Pairs
    from nirank.data.batches import QueryBatch as QueryBatch
    from nirank.data.batches import concatenate as concatenate
    from nirank.data.batches import cuts as cuts
    from nirank.data.batches import pair_products as pair_products
    from nirank.data.batches import similarities as similarities
    from nirank.data.candidates import Candidates as Candidates
    from nirank.data.codes import Codes as Codes
    from nirank.data.codes import as_codes as as_codes
    from nirank.data.codes import as_tables as as_tables
    from nirank.data.codes import looked_up as looked_up
    from nirank.data.codes import narrow as narrow
    from nirank.data.collection import Collection as Collection
    from nirank.data.columns import Strings as Strings
    from nirank.data.columns import gather as gather
    from nirank.data.columns import integers_to_numpy as integers_to_numpy
    from nirank.data.columns import join_texts as join_texts
    from nirank.data.columns import to_array as to_array
    from nirank.data.columns import to_column as to_column
    from nirank.data.corpus import ArrowCorpus as ArrowCorpus
    from nirank.data.corpus import Documents as Documents
    from nirank.data.corpus import Field as Field
    from nirank.data.corpus import Some as Some
    from nirank.data.corpus import field_of as field_of
    from nirank.data.corpus_files import cached_corpus as cached_corpus
    from nirank.data.corpus_files import source_state as source_state
    from nirank.data.corpus_files import write_corpus as write_corpus
    from nirank.data.explanation import Explanation as Explanation
    from nirank.data.explanation import Mark as Mark
    from nirank.data.explanation import Matches as Matches
    from nirank.data.features import Features as Features
    from nirank.data.fingerprint import content_bytes as content_bytes
    from nirank.data.ids import Ids as Ids
    from nirank.data.ids import RepeatedId as RepeatedId
    from nirank.data.offsets import offsets_of as offsets_of
    from nirank.data.passages import PassageCorpus as PassageCorpus
    from nirank.data.passages import Windows as Windows
    from nirank.data.passages import windows as windows
    from nirank.data.queries import Queries as Queries
    from nirank.data.terms import TermWeights as TermWeights
    from nirank.data.ties import from_sort_keys as from_sort_keys
    from nirank.data.ties import sort_keys as sort_keys
    from nirank.data.types import Content as Content
    from nirank.data.types import Corpus as Corpus
    from nirank.data.types import Floats as Floats
    from nirank.data.types import Ints as Ints
    from nirank.data.unchanged import same_documents as same_documents
    from nirank.data.urls import UrlRanges as UrlRanges
    from nirank.data.vectors import SparseVectors as SparseVectors
    from nirank.data.vectors import TokenVectors as TokenVectors
    from nirank.data.vectors import Vectors as Vectors
    from nirank.data.written import Written as Written

_HOMES = {
    "nirank.data": ["images"],
    "nirank.data.arrays": ["to_numpy"],
    "nirank.data.batches": [
        "Batch",
        "ContentBatch",
        "Pairs",
        "QueryBatch",
        "concatenate",
        "cuts",
        "pair_products",
        "similarities",
    ],
    "nirank.data.candidates": ["Candidates"],
    "nirank.data.codes": ["Codes", "as_codes", "as_tables", "looked_up", "narrow"],
    "nirank.data.collection": ["Collection"],
    "nirank.data.columns": ["Strings", "gather", "integers_to_numpy", "join_texts", "to_array", "to_column"],
    "nirank.data.corpus": ["ArrowCorpus", "Documents", "Field", "Some", "field_of"],
    "nirank.data.corpus_files": ["cached_corpus", "source_state", "write_corpus"],
    "nirank.data.explanation": ["Explanation", "Mark", "Matches"],
    "nirank.data.features": ["Features"],
    "nirank.data.fingerprint": ["content_bytes"],
    "nirank.data.ids": ["Ids", "RepeatedId"],
    "nirank.data.offsets": ["offsets_of"],
    "nirank.data.passages": ["PassageCorpus", "Windows", "windows"],
    "nirank.data.queries": ["Queries"],
    "nirank.data.terms": ["TermWeights"],
    "nirank.data.ties": ["from_sort_keys", "sort_keys"],
    "nirank.data.types": ["Content", "Corpus", "Floats", "Ints"],
    "nirank.data.unchanged": ["same_documents"],
    "nirank.data.urls": ["UrlRanges"],
    "nirank.data.vectors": ["SparseVectors", "TokenVectors", "Vectors"],
    "nirank.data.written": ["Written"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)
