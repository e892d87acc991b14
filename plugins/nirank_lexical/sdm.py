"""The sequential dependence model: query likelihood of words, and of neighbours of the query as phrases and nearby."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Content, Corpus, Explanation, Floats, Queries, TermWeights, from_sort_keys
from nirank.errors import BadInput
from nirank.kit.text import Analyzer, DirichletWeighting, QueryParser, QueryTerms, Vocabulary
from nirank_lexical.explaining import Terms, Texts
from nirank_lexical.positions import LAYOUT, Positions, write_merged, write_positions
from nirank_lexical.rankers import Indexing, LexicalRanker
from nirank_lexical.search import WeightedIndex
from nirank_lexical.weighted import Found

if TYPE_CHECKING:
    from nirank_lexical.merging import Merging

_QUOTED, _NEVER = re.compile(r'"([^"]*)"'), re.compile(r"(?!)")


class SequentialDependence(LexicalRanker):
    """The sequential dependence model: words, and neighbours of the query as phrases and near each other.

    Metzler and Croft, A Markov Random Field Model for Term Dependencies, SIGIR 2005, with Dirichlet's smoothing. For a
    query q_1 ... q_n, with f(c, d) = log((tf(c, d) + mu cf(c) / |C|) / (|d| + mu)):

        score = terms     sum over i of f(q_i, d)
              + ordered   sum over i of f(#1(q_i q_i+1), d)
              + unordered sum over i of f(#uwN(q_i q_i+1), d)

    #1 is where the second word follows the first at once, #uwN where both are within a window of N = `window` words in
    any order, counted as Indri does (`nirank_lexical.positions.Positions.near`). cf counts in the whole collection:
    those of neighbours are counted when they are asked for. As in `ql`, log(cf / |C|), a constant of the query, is
    left out, and so is what occurs in no document. The weights are made to add up to 1 over the kinds that a query has,
    as Indri's #weight does: a query of one word has the scores of `ql` with this `mu`. The sums are the paper's, while
    Indri's #combine takes the mean of each kind.

    `terms`, `ordered` and `unordered` are weights in common use, and were not chosen here; `mu` is that of `ql`.

    Words between which there are only stop words are neighbours, in queries as in documents; a word that no document
    has parts those on its sides. Documents are found if they have a word of the query. With `phrases`, what a query has
    between double quotes must stand so in a document, word after word: `"new york" hotel`; without, and by default,
    quotes are nothing. `threads` and `segment` of `Indexing` change nothing here.

    Raises `BadInput` for weights below 0, or of 0 for `terms`, for windows of less than 2 and mu of 0 or less.
    """

    accepts = None  # weighted terms have no order
    separable = False

    def __init__(
        self,
        terms: float = 0.85,
        ordered: float = 0.10,
        unordered: float = 0.05,
        window: int = 8,
        mu: float = 1000.0,
        phrases: bool = False,
        *,
        indexing: Indexing = Indexing(),
    ) -> None:
        if not (0 < terms < np.inf and 0 <= ordered < np.inf and 0 <= unordered < np.inf and window >= 2):
            raise BadInput(
                f"terms = {terms}, ordered = {ordered}, unordered = {unordered}, window = {window}: weights of 0 or "
                "more, that of terms above 0, and a window of 2 words or more are expected."
            )
        own = {"terms": terms, "ordered": ordered, "unordered": unordered, "window": window, "mu": mu}
        super().__init__(DirichletWeighting(mu), indexing, **own, phrases=phrases)
        self.phrases = phrases
        self.dependence = Dependence(terms, ordered, unordered, window, mu)

    @property
    def index_key(self) -> Mapping[str, object]:
        """Settings that the index depends on: the analyser's."""
        return {"index": "positions", "layout": LAYOUT, **self.analyzer.settings}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the index of `corpus`, with the places of all words, into `folder`, which exists and is empty."""
        write_positions(corpus, self.analyzer, folder)

    def _write_merged(self, merging: Merging, folders: Sequence[Path], folder: Path) -> None:
        super()._write_merged(merging, folders, folder)
        known = [Positions.load(own, part.index) for own, part in zip(folders, merging.parts, strict=True)]
        write_merged(merging, known, folder)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the index that `build` wrote. Raises `StaleIndex` where it is incomplete or of another corpus."""
        super().open(corpus, folder)
        index = self._searched.index
        self._parse = NeighbourParser(index.vocabulary, self.analyzer, self.phrases)
        self._searched = DependenceIndex(self._searched, Positions.load(folder, index), self.dependence)

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by the words of the query, and by those that stand side by side or near each other."""
        asked, corpus = self._parse(queries.contents), self._opened()
        read = zip(candidates.rows.tolist(), candidates.docs.tolist(), self.score(queries, candidates), strict=True)
        found = []
        for row, doc, score in read:
            terms, near = self._searched.parts(asked, row, doc)
            texts = Texts.of(self.analyzer, queries, row, corpus[doc])
            parts = [*(texts.part(*each) for each in terms.worth()), *near]
            if self._searched.lacks(asked, row, doc):
                parts = []  # for nothing counts but the prior
            found.append(Explanation.summed("sdm", float(score), (*parts, *terms.prior())))
        return found


class Nearby(NamedTuple):
    """Neighbours of one kind: the documents that have them, what they add to each, their weight, and their name."""

    docs: NDArray[np.int64]
    added: Floats
    weight: np.float32
    name: str


@dataclass(frozen=True)
class Dependence:
    """The settings of `SequentialDependence`."""

    terms: float
    ordered: float
    unordered: float
    window: int
    mu: float

    def scales(self, has_neighbours: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What each query's weights are multiplied by, so that those of its kinds add up to 1, `[queries]`."""
        return 1 / np.where(has_neighbours, self.terms + self.ordered + self.unordered, self.terms)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Queries as `terms`, and the `pairs` of neighbours of each, rising, with how often it has them.

    `phrases` are those that documents must have, of each query.
    """

    terms: QueryTerms
    pairs: Sequence[Mapping[tuple[int, int], int]]
    phrases: Sequence[Sequence[Sequence[int]]]


class NeighbourParser:
    """Texts to `Neighbours`, by the numbers of terms; with `phrases`, quotes count."""

    def __init__(self, vocabulary: Vocabulary, analyzer: Analyzer, phrases: bool) -> None:
        self._parse, self._vocabulary, self._analyzer = QueryParser(vocabulary, analyzer), vocabulary, analyzer
        self._quoted = _QUOTED if phrases else _NEVER

    def __call__(self, asked: Sequence[Content] | TermWeights, first: int = 0) -> Neighbours:
        """The terms and neighbours that the index knows. Raises `BadInput` for queries that are not text."""
        if isinstance(asked, TermWeights):
            raise BadInput("sdm needs words in their order, and weighted terms have none; search with ql or bm25.")
        terms = self._parse(asked, first)
        texts = [str(text) for text in asked]
        phrases = [[*filter(None, map(self._numbers, self._quoted.findall(text)))] for text in texts]
        return Neighbours(terms, [self._pairs(self._numbers(text)) for text in texts], phrases)

    def _numbers(self, text: str) -> list[int]:
        numbers: list[int] = self._vocabulary.find(self._analyzer(text)).tolist()
        return numbers

    @staticmethod
    def _pairs(numbers: Sequence[int]) -> Mapping[tuple[int, int], int]:
        return dict(sorted(Counter(pair for pair in pairwise(numbers) if min(pair) >= 0).items()))


class DependenceIndex:
    """An index of postings and of positions under the model, for searching and for scoring pairs.

    A score is a float32 sum: of the terms, in rising order, then of the neighbours, and then the prior.
    """

    def __init__(self, searched: WeightedIndex, positions: Positions, dependence: Dependence) -> None:
        self.index, self._searched, self._positions, self._model = searched.index, searched, positions, dependence

    def search(
        self,
        wanted: Sequence[Content],
        parse: NeighbourParser,
        k: int,
        threads: int,  # noqa: ARG002
        allowed: NDArray[np.bool_] | None = None,
    ) -> Found:
        """The `k` best documents of each query, among those with a term of it that `allowed`, `[documents]`, has."""
        asked, k = self._weighted(parse(wanted)), min(k, self._searched.documents)
        rows = [self._best(asked, query, k, allowed) for query in range(len(asked.pairs))]
        docs, scores = from_sort_keys(np.concatenate([*rows, np.empty(0, np.uint64)]))
        return [*map(len, rows)], docs.view(np.int32), scores

    def _best(self, asked: Neighbours, query: int, k: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.uint64]:
        sums, tokens = self._searched.sums(asked.terms, query), asked.terms.tokens[query]
        for docs, added, weight, _ in self._near(asked, query):
            sums[docs] += added
            tokens += weight
        if asked.phrases[query]:
            sums *= self._having(asked.phrases[query])
        return self._searched.ranked(sums, tokens, k, allowed)

    def score(self, asked: Neighbours, candidates: Candidates) -> Floats:
        """The score of each pair, `[pairs]`: what `search` gives where it finds the document, else its prior."""
        asked = self._weighted(asked)
        scores, tokens = self._searched.matched(asked.terms, candidates), asked.terms.tokens.copy()
        for query in range(len(asked.pairs)):
            own = slice(candidates.offsets[query], candidates.offsets[query + 1])
            for docs, added, weight, _ in self._near(asked, query):
                _add_to(scores[own], candidates.docs[own], docs, added)
                tokens[query] += weight
            if asked.phrases[query]:
                known = np.append(self._having(asked.phrases[query]), False)  # beyond the corpus there is none
                scores[own] *= known[np.minimum(candidates.docs[own], len(known) - 1)]
        self._searched.add_prior(scores, tokens, candidates)
        return scores

    def _having(self, phrases: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
        """True for each document that has all the phrases; a word that no document has is in none."""
        counts = np.zeros(self._searched.documents, np.int64)
        for phrase in phrases:
            if min(phrase) >= 0:
                counts[self._positions.phrase(phrase)] += 1
        return counts == len(phrases)

    def _weighted(self, asked: Neighbours) -> Neighbours:
        """The queries with their terms weighted."""
        scales = self._model.terms * self._model.scales(np.array([bool(pairs) for pairs in asked.pairs], bool))
        each, terms = scales.astype(np.float32), asked.terms
        weights = terms.weights * np.repeat(each, np.diff(terms.offsets))
        return replace(asked, terms=replace(terms, weights=weights, tokens=terms.tokens * each))

    def _near(self, asked: Neighbours, query: int) -> Iterator[Nearby]:
        """Each kind of neighbours that occurs at all."""
        model, pairs = self._model, asked.pairs[query]
        scale = model.scales(np.array(True)).item() if pairs else 0.0
        for pair, times in pairs.items():
            near = self._positions.near(*pair, model.window)
            ordered = "in a row", near.ordered, model.ordered
            kinds = ordered, (f"within {model.window} words", near.unordered, model.unordered)
            for kind, counts, share in kinds:
                has, frequency = counts > 0, int(counts.sum())
                if frequency and share:
                    weight = np.float32(share * scale * times)
                    expected = len(self._positions.addresses) / (model.mu * frequency)
                    added = weight * np.log1p(counts[has] * expected).astype(np.float32)
                    yield Nearby(near.docs[has], added, weight, f"{self._names(pair)} {kind}")

    def _names(self, pair: tuple[int, int]) -> str:
        return " ".join(self.index.vocabulary[term] for term in pair)

    def parts(self, asked: Neighbours, query: int, doc: int) -> tuple[Terms, list[Explanation]]:
        """The terms of a query against a document, and the parts of its neighbours there."""
        asked = self._weighted(asked)
        parts, tokens = [], asked.terms.tokens.copy()
        for docs, added, weight, name in self._near(asked, query):
            place = int(np.searchsorted(docs, doc))
            has = place < len(docs) and docs[place] == doc
            parts.append(Explanation(name, float(added[place]) if has else 0.0))
            tokens[query] += weight
        return Terms(self._searched, replace(asked.terms, tokens=tokens), query, doc), parts

    def lacks(self, asked: Neighbours, query: int, doc: int) -> bool:
        """True for a document without a phrase that it must have."""
        phrases = asked.phrases[query]
        return bool(phrases) and not self._having(phrases)[doc]


def _add_to(scores: Floats, wanted: NDArray[Any], docs: NDArray[np.int64], added: Floats) -> None:
    """Add to the scores of the wanted documents what each has; `docs` are not none, and rise."""
    places = np.minimum(np.searchsorted(docs, wanted), len(docs) - 1)
    has = docs[places] == wanted
    scores[has] += added[places[has]]
