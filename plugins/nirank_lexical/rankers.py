"""The components: BM25, query likelihood and TF-IDF, each to find candidates and to score those of another ranking.

A query is text: nothing in it is an operator. Or it is the weighted terms that an encoder made of it. Documents are
found if they share a term with it that is worth something. All three have the settings of `Indexing`, and those that
analyse text alike share one index.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Corpus, Explanation, Floats, Queries, Some, TermWeights
from nirank.errors import BadInput, StaleIndex, UnknownName
from nirank.kit import Former, processors
from nirank.kit.text import (
    Analyzer,
    BM25Weighting,
    DirichletWeighting,
    JelinekMercerWeighting,
    Lengths,
    LuceneDirichletWeighting,
    LuceneJelinekMercerWeighting,
    LuceneTFIDFWeighting,
    QueryParser,
    QueryTerms,
    Rules,
    TFIDFWeighting,
    Vocabulary,
    Weighting,
)
from nirank_lexical.postings import LAYOUT, InvertedIndex
from nirank_lexical.search import WeightedIndex
from nirank_lexical.shards import as_shard
from nirank_lexical.weighted import Wanted

if TYPE_CHECKING:
    from nirank_lexical.merging import Merging


@dataclass(frozen=True)
class Indexing:
    """Analysis and indexing of text, and the processors to use: settings that all rankers of this plugin have.

    language, stemmer, stopwords   of `nirank.kit.text.analysis.Analyzer`
    rules                          "lucene": languages other than English have the words, stemmers and stop words that
                                   Lucene has; "snowball": a Snowball stemmer alone, as in version 0.1
    threads                        that search a batch of queries, and processes that index a large corpus; None: one
                                   for each processor
    segment                        about how many postings are in memory while indexing, the rest being on disk; None:
                                   `nirank_lexical.inversion.SEGMENT`

    Raises `BadInput` for numbers below 1.
    """

    language: str = "english"
    stemmer: str | None = "default"
    stopwords: Sequence[str] | None = None
    rules: Rules = "lucene"
    threads: int | None = None
    segment: int | None = None

    def __post_init__(self) -> None:
        for name in ("threads", "segment"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"{name} = {value}; it must be 1 or more.")


class LexicalRanker:
    """An inverted index that is searched under a weighting; `own` are the settings of the subclass."""

    accepts: str | None = "terms"
    prefixes = True
    separable = True

    def __init__(self, weighting: Weighting, indexing: Indexing, **own: object) -> None:
        self.weighting, self.indexing = weighting, indexing
        self.settings = {**own, **vars(indexing)}
        self.analyzer = Analyzer(indexing.language, indexing.stemmer, indexing.stopwords, indexing.rules)
        self.corpus: Corpus | None = None
        self._allowed: NDArray[np.bool_] | None = None

    def __repr__(self) -> str:
        written = ", ".join(f"{name}={value!r}" for name, value in self.settings.items() if value is not None)
        return f"{type(self).__name__}({written})"

    @property
    def index_key(self) -> Mapping[str, object]:
        """Settings that the index depends on: the analyser's, and not the weighting's."""
        return {"index": "postings", "layout": LAYOUT, **self.analyzer.settings}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the index of `corpus` into `folder`, which exists and is empty. Contents are texts."""
        from nirank_lexical.inversion import write_index

        write_index(corpus, self.analyzer, folder, *self._means)

    def update(self, corpus: Corpus, folder: Path, former: Former, encode: Callable[..., Any] | None = None) -> None:
        """The same from the index of an earlier state of the corpus: only documents that are new are analysed."""
        from nirank_lexical.merging import Merging, Placed

        known = self._load(former.folder)
        if not known.vocabulary.is_ordered:
            self.build(corpus, folder, encode)
            return
        with tempfile.TemporaryDirectory(prefix="new-", dir=folder) as apart:
            self.build(Some(corpus, former.new), Path(apart), encode)
            new = Placed(self._load(Path(apart)), former.new.astype(np.int32))
            merging = Merging(Placed.of_former(known, former.ordinals), new)
            self._write_merged(merging, [former.folder, Path(apart)], folder)

    def _write_merged(self, merging: Merging, folders: Sequence[Path], folder: Path) -> None:  # noqa: ARG002
        """Write the index that indexes in some folders become together."""
        merging.write(folder)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the index that `build` wrote. Raises `StaleIndex` where it is incomplete or of another corpus."""
        index = self._load(folder)
        if (indexed := len(index.lengths)) != len(corpus):
            raise StaleIndex(
                f"The index in {folder} is of {indexed} documents, but the corpus has {len(corpus)}; build it again."
            )
        self.corpus = corpus
        self._threads = self.indexing.threads or processors()
        shard = as_shard(index)
        self._parse: Any = shard.parse if shard else QueryParser(index.vocabulary, self.analyzer)
        self._searched: Any = WeightedIndex(shard or index, self.weighting)

    def share(self, folders: Sequence[Path], whole: Path) -> None:
        """Write into each shard of an index what its scores depend on in the whole, and into `whole` all words."""
        from nirank_lexical.shards import share

        share(folders, whole)

    def open_whole(self, whole: Path) -> None:
        """Open what `share` wrote of all shards, to count the words of queries by it."""
        self._parse = QueryParser(Vocabulary.load(whole), self.analyzer)

    def numbered(self, queries: Queries) -> Queries:
        """The queries as numbers of terms, which is what a shard reads."""
        vectors: Any = self._parse(_searched_for(queries))
        return queries.with_vectors(vectors)

    def _load(self, folder: Path) -> InvertedIndex:
        return InvertedIndex.load(folder)

    @property
    def _means(self) -> tuple[int, int]:
        """How many postings are in memory while indexing, and how many processes read documents."""
        from nirank_lexical.inversion import SEGMENT

        return self.indexing.segment or SEGMENT, self.indexing.threads or processors()

    def within(self, allowed: NDArray[np.bool_]) -> LexicalRanker:
        """The same search, among the documents that a mask `[documents]` allows; scores stay as they are."""
        documents = len(self._opened())
        if allowed.dtype != bool or allowed.shape != (documents,):
            raise BadInput(f"the mask has the shape {allowed.shape}; {documents}, one entry a document, is expected.")
        copied = copy.copy(self)
        copied._allowed = allowed if self._allowed is None else allowed & self._allowed
        return copied

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` best documents of each query, ranked; fewer where fewer match. Raises `BadInput` for k below 0."""
        corpus = self._opened()
        if k < 0:
            raise BadInput(f"k = {k}; it must be 0 or more.")
        wanted, allowed = _searched_for(queries), self._allowed
        lengths, docs, scores = self._searched.search(wanted, self._parse, k, self._threads, allowed)
        if len(lengths) == 1:
            return Candidates.of_one(docs, scores, corpus)
        return Candidates(np.array([0, *accumulate(lengths)], np.int64), docs, scores, corpus)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The score of each pair, `[pairs]`: the number that `generate` gives it; 0, or its prior, without a match."""
        self._opened()
        scores: Floats = self._searched.score(self._parse(_searched_for(queries)), candidates)
        return scores

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by the terms of the query, with the places of their words in both texts."""
        from nirank_lexical.explaining import explained

        return explained(self, queries, candidates, self._parse(_searched_for(queries)))

    def _opened(self) -> Corpus:
        if self.corpus is None:
            raise StaleIndex(f"{self} has no index: build one from a corpus and open it before searching.")
        return self.corpus


def _searched_for(queries: Queries) -> Wanted:
    """The terms that an encoder weighted, or else the texts of queries; for a shard the numbers of their terms."""
    vectors: Any = queries.vectors
    return vectors if isinstance(vectors, (TermWeights, QueryTerms)) else queries.contents


#: Whose formula it is, where Lucene's program departs from the paper.
Formula = Literal["paper", "lucene"]


class BM25(LexicalRanker):
    """BM25: the variants "lucene", "robertson", "atire", "bm25l" and "bm25+" of `BM25Weighting`.

    `k1` and `b` default to Anserini's values, with which the published baselines on BEIR were made. `lengths` = "byte"
    takes the lengths of documents as Lucene keeps them, and gives its scores: figures of Anserini to the digit.
    """

    def __init__(
        self,
        k1: float = 0.9,
        b: float = 0.4,
        variant: str = "lucene",
        delta: float | None = None,
        lengths: Lengths = "exact",
        *,
        indexing: Indexing = Indexing(),
    ) -> None:
        weighting = BM25Weighting(k1, b, variant, delta, lengths)
        super().__init__(weighting, indexing, k1=k1, b=b, variant=variant, delta=delta, lengths=lengths)


class QueryLikelihood(LexicalRanker):
    """Query likelihood under a smoothed language model: `smoothing` is "dirichlet" (`mu`) or "jelinek-mercer".

    `lambda_` is the weight that Jelinek-Mercer smoothing gives the collection: Zhai and Lafferty found about 0.1 best
    for short queries and 0.7 for long ones. `formula` = "lucene" and `lengths` = "byte" give Lucene's scores
    (`nirank.kit.text.lucene_weighting`), which are no logarithms of likelihoods.
    """

    def __init__(
        self,
        smoothing: str = "dirichlet",
        mu: float = 1000.0,
        lambda_: float = 0.1,
        lengths: Lengths = "exact",
        formula: Formula = "paper",
        *,
        indexing: Indexing = Indexing(),
    ) -> None:
        _check(formula)
        dirichlet, jelinek_mercer = _MODELS[formula]
        models = {"dirichlet": dirichlet(mu, lengths), "jelinek-mercer": jelinek_mercer(lambda_, lengths)}
        if smoothing not in models:
            raise UnknownName("smoothing", smoothing, models)
        own = {"smoothing": smoothing, "mu": mu, "lambda_": lambda_, "lengths": lengths, "formula": formula}
        super().__init__(models[smoothing], indexing, **own)
        self.log_likelihoods = formula == "paper"


#: Query likelihood by either formula, with Dirichlet's smoothing and with Jelinek and Mercer's.
_MODELS: dict[str, tuple[Callable[[float, Lengths], Weighting], Callable[[float, Lengths], Weighting]]] = {
    "paper": (DirichletWeighting, JelinekMercerWeighting),
    "lucene": (LuceneDirichletWeighting, LuceneJelinekMercerWeighting),
}


class TFIDF(LexicalRanker):
    """TF-IDF as Lucene's ClassicSimilarity defines it: see `TFIDFWeighting`.

    `formula` = "lucene" and `lengths` = "byte" give the scores of its program, which has idf once.
    """

    def __init__(
        self, lengths: Lengths = "exact", formula: Formula = "paper", *, indexing: Indexing = Indexing()
    ) -> None:
        _check(formula)
        kind = TFIDFWeighting if formula == "paper" else LuceneTFIDFWeighting
        super().__init__(kind(lengths), indexing, lengths=lengths, formula=formula)


def _check(formula: str) -> None:
    if formula not in get_args(Formula):
        raise UnknownName("formula", formula, get_args(Formula))
