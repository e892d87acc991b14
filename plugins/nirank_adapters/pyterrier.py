"""PyTerrier both ways: nirank's pipelines as transformers, and PyTerrier's transformers as parts of nirank.

    Retrieve(bm25 % 100, corpus) >> pt.apply.doc_score(...)      a ranking: queries to results
    Rescore(minilm, corpus)                                      a scoring: results to results
    nirank.load(Generator(transformer))                          a transformer of queries
    nirank.load(Scorer(transformer))                             a transformer of results

Frames have PyTerrier's columns `qid`, `query`, `docno`, `text`, `score` and `rank` (from 0). Documents are joined by
`docno`, the ids of the corpus. PyTerrier itself starts Java for Terrier's own indexes alone; nothing here does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nirank import Candidates, Queries
from nirank.data import Corpus, Floats, offsets_of
from nirank.errors import BadInput, ComponentError
from nirank.formats import Run
from nirank.pipeline import as_ranking, as_scoring
from nirank_adapters import dictionaries
from nirank_adapters.needing import needing

with needing("pyterrier"):
    import pandas as pd
    import pyterrier as pt


class Retrieve(pt.Transformer):
    """A ranking over a corpus: queries (`qid`, `query`) to results, which keep the other columns of the queries.

    With `texts`, results have the column `text`, as PyTerrier's rerankers need it.
    """

    def __init__(self, ranking: Any, corpus: Corpus, texts: bool = False) -> None:
        self.ranking, self.corpus, self.texts = as_ranking(ranking), corpus, texts

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """The results of each query, best first. Raises `BadInput` for a frame without `qid` and `query`."""
        _check(inp, "qid", "query")
        topics = inp.drop(columns=["docno", "docid", "text", "score", "rank"], errors="ignore").drop_duplicates("qid")
        queries = Queries([*topics["qid"]], [*topics["query"]])
        found = self.ranking.search(queries, self.corpus)
        results = topics.iloc[found.rows].reset_index(drop=True)
        results["docno"] = self.corpus.ids.take(found.docs)
        if self.texts:
            results["text"] = self.corpus[found.docs]
        return _scored(results, found)

    def __repr__(self) -> str:
        return f"Retrieve({self.ranking!r})"


class Rescore(pt.Transformer):
    """A scoring over a corpus: results (`qid`, `query`, `docno`) to results with new scores and ranks.

    The texts are those of the corpus. Raises `BadInput` for a `docno` that it lacks.
    """

    def __init__(self, scoring: Any, corpus: Corpus) -> None:
        self.scoring, self.corpus = as_scoring(scoring), corpus

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """The same rows with new scores, each query's best first."""
        _check(inp, "qid", "query", "docno")
        codes, names = pd.factorize(inp["qid"])
        order = np.argsort(codes, kind="stable")
        rows = inp.iloc[order].reset_index(drop=True)
        docs = _ordinals([*rows["docno"]], self.corpus)
        offsets, none = offsets_of(np.bincount(codes, minlength=len(names))), np.zeros(len(docs), np.float32)
        pairs = Candidates(offsets, docs, none, self.corpus)
        asked = inp.drop_duplicates("qid")
        queries = Queries([*asked["qid"]], [*asked["query"]])
        scored = pairs.with_scores(self.scoring.score(queries, pairs))
        best = np.lexsort((scored.docs, -scored.scores, scored.rows))  # nirank's rule: then by rising ordinal
        return _scored(rows.iloc[best].reset_index(drop=True), scored.ranked())

    def __repr__(self) -> str:
        return f"Rescore({self.scoring!r})"


class Generator:
    """A transformer of PyTerrier that finds documents, as a generator of nirank: `nirank.load(Generator(bm25))`.

    It works on the corpus that is searched. Raises `ComponentError` for a `docno` that this lacks, for the transformer
    then has another corpus.
    """

    cacheable = False  # nothing is known of what it depends on

    def __init__(self, transformer: pt.Transformer) -> None:
        self.transformer = transformer
        self._corpus: Corpus | None = None

    @property
    def index_key(self) -> dict[str, Any]:
        """Nothing is written: the transformer has an index of its own."""
        return {"index": "pyterrier", "transformer": repr(self.transformer)}

    def build(self, corpus: Corpus, folder: Any, encode: Any) -> None:
        """Build nothing."""

    def open(self, corpus: Corpus, folder: Any) -> None:  # noqa: ARG002 - nothing is there
        """Remember the corpus, whose ordinals are asked for."""
        self._corpus = corpus

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The best `k` documents of each query by the column `score`, equal ones by rising ordinal."""
        if self._corpus is None:
            raise BadInput(f"{self.transformer!r} searches no corpus yet: it stands in a pipeline, which opens one.")
        run = to_run(self.transformer(topics(queries)))
        if unknown := run.unknown_documents(self._corpus.ids):
            raise ComponentError(
                f"{self.transformer!r} found {unknown} documents that the corpus lacks: it searches another corpus."
            )
        return run.align(queries.ids, self._corpus.ids).top(k)


class Scorer:
    """A transformer of PyTerrier that scores results (`qid`, `query`, `docno`, `text`), as a scorer of nirank.

    Raises `ComponentError` where it leaves out a pair, or invents one: there would be no score for it.
    """

    cacheable = False

    def __init__(self, transformer: pt.Transformer) -> None:
        self.transformer = transformer

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The column `score` of each pair, joined by `qid` and `docno`."""
        corpus = candidates.corpus_for(repr(self.transformer))
        scored = to_run(self.transformer(results(queries, candidates)))
        found = scored.align(queries.ids, corpus.ids)
        scores = candidates.lookup(found)
        if (missing := int(np.isnan(scores).sum())) or found.pairs != candidates.pairs:
            raise ComponentError(
                f"{self.transformer!r} returned {found.pairs} rows for {candidates.pairs} pairs, and {missing} pairs "
                "have no score. One that filters is none of nirank's scorers."
            )
        return scores


def topics(queries: Queries) -> pd.DataFrame:
    """Queries as PyTerrier has them: `qid` and `query`."""
    return pd.DataFrame({"qid": [*queries.ids], "query": [*queries.contents]})


def results(queries: Queries, candidates: Candidates) -> pd.DataFrame:
    """What was found as PyTerrier has it: `qid`, `query`, `docno`, `text`, `score` and `rank`."""
    corpus = candidates.corpus_for("a frame of PyTerrier")
    frame = topics(queries).iloc[candidates.rows].reset_index(drop=True)
    frame["docno"], frame["text"] = corpus.ids.take(candidates.docs), [*corpus[candidates.docs]]
    return _scored(frame, candidates)


def qrels(judgments: Candidates | Run) -> pd.DataFrame:
    """Judgments as PyTerrier has them: `qid`, `docno` and `label`. Raises `BadInput` as `judgments_to_dict` does."""
    graded = dictionaries.judgments_to_dict(judgments)
    rows = [(query, name, grade) for query, grades in graded.items() for name, grade in grades.items()]
    return pd.DataFrame(rows, columns=["qid", "docno", "label"])


def to_run(frame: pd.DataFrame) -> Run:
    """The results of a frame as nirank reads a run from a file. Raises `BadInput` for a frame without scores."""
    _check(frame, "qid", "docno", "score")
    return dictionaries.from_columns([*frame["qid"]], [*frame["docno"]], frame["score"].to_numpy())


def _scored(frame: pd.DataFrame, found: Candidates) -> pd.DataFrame:
    """The frame with the scores of its pairs, and their ranks from 0."""
    frame["score"] = found.scores.astype(np.float64)
    frame["rank"] = np.arange(found.pairs) - np.repeat(found.offsets[:-1], found.lengths)
    return frame


def _ordinals(names: list[str], corpus: Corpus) -> Any:
    docs = corpus.ids.find(names)
    if (docs < 0).any():
        raise BadInput(f"there is no document {names[int(np.argmin(docs))]!r} in {corpus!r}.")
    return docs


def _check(frame: pd.DataFrame, *columns: str) -> None:
    if lacking := [name for name in columns if name not in frame.columns]:
        raise BadInput(f"a frame with the columns {', '.join(columns)} is expected, and it lacks {', '.join(lacking)}.")
