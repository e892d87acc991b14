"""Encoders of queries that read the documents found, whose terms are in an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Content, Corpus, Ints, Queries, TermWeights, offsets_of
from nirank.errors import BadInput, StaleIndex, UnknownName
from nirank.kit.text import ForwardIndex, Vocabulary, index_key, require_text
from nirank_expansion.feedback_terms import TermRows
from nirank_expansion.settings import TermAnalysis

#: Whose formula it is, where Anserini's program departs from the paper or leaves less open.
Formula = Literal["paper", "lucene"]
#: Documents are read for some queries at a time, so that memory does not depend on how many queries there are.
_TOKENS_AT_ONCE = 1 << 21


class DocumentTerms:
    """An index of the terms of documents, in order, which is shared by all that analyse text alike."""

    vectors = "terms"
    cacheable = False  # an expansion depends on the corpus, and on what was found

    def __init__(self, analysis: TermAnalysis) -> None:
        self.analyzer = analysis.analyzer
        self._index: ForwardIndex | None = None

    @property
    def index_key(self) -> Mapping[str, object]:
        """Settings that the index depends on: the analyser's."""
        return index_key(self.analyzer)

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the terms of `corpus`, in order, into `folder`."""
        ForwardIndex.write(corpus, self.analyzer, folder)

    def open(self, corpus: Corpus, folder: Path) -> None:  # noqa: ARG002
        """Map the terms that `build` wrote."""
        self._index = ForwardIndex.load(folder)

    def _opened(self) -> ForwardIndex:
        if self._index is None:
            raise StaleIndex(f"{self} has no index: build one from a corpus and open it before expanding queries.")
        return self._index


@dataclass(frozen=True)
class TermFilter:
    """A filter of the terms that may expand a query.

    They occur in no more than the share `max_df` of all documents, and have from `min_length` to `max_length`
    characters, with `latin` none but a to z and 0 to 9. Where only some of equally good ones are kept, these are by
    `formula` the first in the index ("paper"), or in the alphabet as in Anserini ("lucene").

    Raises `BadInput` for settings that no term meets, `UnknownName` for another formula.
    """

    max_df: float = 0.1
    min_length: int = 2
    max_length: int = 20
    latin: bool = True
    formula: Formula = "paper"

    def __post_init__(self) -> None:
        if self.formula not in get_args(Formula):
            raise UnknownName("formula", self.formula, get_args(Formula))
        if not 0 < self.max_df <= 1:
            raise BadInput(f"max_df is {self.max_df}; a share of the documents, above 0 and up to 1, is expected.")
        if not 0 <= self.min_length <= self.max_length:
            raise BadInput(
                f"min_length = {self.min_length}, max_length = {self.max_length}: whole numbers, the first no larger "
                "than the second, are expected."
            )

    def of(self, index: ForwardIndex) -> NDArray[np.bool_]:
        """True for each term of an index that may expand a query, `[terms]`."""
        vocabulary, text = index.vocabulary, index.vocabulary.text
        lengths = _sums(text & 0xC0 != 0x80, vocabulary.offsets)  # in UTF-8 a character has one byte that begins it
        passed = (lengths >= self.min_length) & (lengths <= self.max_length)
        passed &= index.document_frequencies <= self.max_df * len(index)
        if self.latin:
            passed &= _sums(~_LATIN[text], vocabulary.offsets) == 0
        return passed


class FeedbackEncoder(DocumentTerms):
    """Expands queries by the terms of the documents found for them: counts of terms come in, weights go out.

    A subclass weighs them in `_weigh`.
    """

    feedback = True
    name: str

    def __init__(self, passing: TermFilter, analysis: TermAnalysis) -> None:
        super().__init__(analysis)
        self.passing = passing

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the terms that `build` wrote, and look at each once."""
        super().open(corpus, folder)
        self._passed = self.passing.of(self._opened())

    def encode(self, queries: Queries) -> TermWeights:
        """Weighted terms of each query, with those of the documents found for it (`queries.found`)."""
        index = self._opened()
        if queries.found is None:
            raise BadInput(
                f"{self.name} needs the results of a first ranking: write `bm25 % 10 >> {self.name} >> bm25`."
            )
        parts = [self._expanded(index, queries.take(part)) for part in _parts(index, queries.found)]
        return TermWeights.concatenate(parts) if parts else TermWeights.of([], self.analyzer.settings)

    def _expanded(self, index: ForwardIndex, queries: Queries) -> TermWeights:
        found = self._read(queries.found.ranked()) if queries.found is not None else Candidates.empty(len(queries))
        weighed = self._weigh(_asked(index, queries.contents), self._counted(index, found), found)
        return self._named(index, weighed)

    def _read(self, found: Candidates) -> Candidates:
        """The documents found that are read."""
        return found

    def _weigh(self, query_terms: TermRows, counts: TermRows, found: Candidates) -> TermRows:
        """Weights of terms, a row for each query.

        `query_terms` are counts of the terms of each query, where numbers beyond the index stand for terms that no
        document has; `counts` those of the terms that may expand it in each document of `found`, one row a pair.
        """
        raise NotImplementedError

    def _best(self, weighed: TermRows, k: int) -> TermRows:
        """The `k` largest entries of each row; which of equal ones, the filter's formula says."""
        by_name = self.passing.formula == "lucene"
        return weighed.best(k, _places_by_name(self._opened().vocabulary, weighed.terms) if by_name else None)

    def _counted(self, index: ForwardIndex, found: Candidates) -> TermRows:
        offsets, terms = index.of(found.docs)
        pairs = np.repeat(np.arange(found.pairs), np.diff(offsets))
        passed = self._passed[terms]
        return TermRows.of(pairs[passed], terms[passed], 1.0, found.pairs)

    def _named(self, index: ForwardIndex, weighed: TermRows) -> TermWeights:
        kept = weighed.where((weighed.values > 0) & (weighed.terms < len(index.vocabulary)))
        distinct, place = np.unique(kept.terms, return_inverse=True)
        names = [index.vocabulary[number] for number in distinct.tolist()]
        offsets = np.searchsorted(kept.rows, np.arange(kept.size + 1))
        terms = [names[number] for number in place.tolist()]
        return TermWeights(offsets, terms, kept.values.astype(np.float32), self.analyzer.settings)


def _asked(index: ForwardIndex, texts: Sequence[Content]) -> TermRows:
    """Counts of the terms of each query; terms that the index lacks have numbers beyond its own."""
    found = [index.analyzer(text) for text in require_text(texts, "query")]
    flat = [*chain.from_iterable(found)]
    numbers = index.vocabulary.find(flat)
    unknown = np.flatnonzero(numbers < 0)
    strange = {term: place for place, term in enumerate(dict.fromkeys(flat[at] for at in unknown.tolist()))}
    numbers[unknown] = [len(index.vocabulary) + strange[flat[at]] for at in unknown.tolist()]
    rows = np.repeat(np.arange(len(texts)), [*map(len, found)])
    return TermRows.of(rows, numbers, 1.0, len(texts))


def _places_by_name(vocabulary: Vocabulary, terms: Ints) -> NDArray[np.int64]:
    """The place of each term in the order of their names, `[terms]`."""
    distinct, which = np.unique(terms, return_inverse=True)
    names = [vocabulary[number] for number in distinct.tolist()]
    places = np.empty(len(names), np.int64)
    places[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return places[which]


def _parts(index: ForwardIndex, found: Candidates) -> Iterator[slice]:
    """Slices of queries whose documents have about `_TOKENS_AT_ONCE` terms together."""
    lengths = np.append(index.lengths, 0)[np.minimum(found.docs, len(index))]
    ends = offsets_of(lengths)[found.offsets]
    cuts = np.searchsorted(ends, np.arange(0, ends[-1], _TOKENS_AT_ONCE))
    for first, last in pairwise(np.unique([0, *cuts, len(found)]).tolist()):
        yield slice(first, last)


def _sums(marks: NDArray[np.bool_], offsets: Ints) -> NDArray[np.int64]:
    """The number of marked bytes of each term."""
    return np.diff(offsets_of(marks)[offsets])


_LATIN = np.zeros(256, bool)
_LATIN[[*b"abcdefghijklmnopqrstuvwxyz0123456789"]] = True
