"""What composing costs: 1,000 candidates each, cut to 100, rescored by dot product, evaluated.

The candidates are given and the vectors random, so that next to nothing but the pipeline itself is timed. All engines
score with one product of a matrix and a vector for each query.
"""

# ruff: noqa: ARG002, D102 (what the methods of engines do, and take, is said once, in the class they share)

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from speed_run import Run
from speed_table import OURS, Report, agreement
from speed_worker import Engine, contest, each, working

if TYPE_CHECKING:
    import pandas as pd

DEPTH, CUT = 1000, 100
#: The measured figures, in this order.
MEASURES = ["nDCG@10", "AP", "RR", "R@1000"]
#: nirank takes at most 1.5 times the time of numpy by hand, and is 12 times faster than frames.
WANTED = {"numpy by hand": 1 / 1.5, "pandas by hand": 12.0, "PyTerrier": 12.0}


def compare(run: Run, report: Report) -> None:
    """Time the same pipeline four times, and see that all find the same."""
    size = {"queries": run.size(1000, 50)}
    engines = [
        Engine(OURS, "speed_pipeline:Nirank", settings=size),
        Engine("numpy by hand", "speed_pipeline:ByHand", settings=size),
        Engine("pandas by hand", "speed_pipeline:Pandas", ["pandas", "ir_measures"], size),
        Engine("PyTerrier", "speed_pipeline:PyTerrier", ["pyterrier"], size),
    ]
    with working(engines, report.note) as workers:
        figures = each(workers, report.note, lambda worker: worker.call("measure"))
        laps = contest(workers, report.note, run.rounds, "measure")
    queries = size["queries"]
    work = f"pipeline: {DEPTH:,} given, cut to {CUT}, dot product, {len(MEASURES)} measures, {queries:,} queries"
    report.times(work, laps, WANTED, dict.fromkeys(laps, queries), "queries")
    for name, difference in agreement(figures).items():
        report.note(f"pipeline: the figures of {name} differ from nirank's by at most {difference:.1g}.")


class Given:
    """Candidates, vectors and judgments, the same in every process; `measure` runs the pipeline, to four figures."""

    def __init__(self, queries: int, documents: int = 100_000, dim: int = 128, judged: int = 20) -> None:
        random = np.random.default_rng(0)
        self.queries, self.documents = queries, documents
        strides = documents // DEPTH
        order = np.argsort(random.random((queries, DEPTH)), axis=1)
        #: Documents by falling score, `[queries, DEPTH]`.
        self.docs = (order * strides + random.integers(0, strides, order.shape)).astype(np.int32)
        self.scores = np.arange(DEPTH, 0, -1, dtype=np.float32) + random.random(order.shape, dtype=np.float32) / 2
        self.document_vectors = random.standard_normal((documents, dim), dtype=np.float32)
        self.query_vectors = random.standard_normal((queries, dim), dtype=np.float32)
        found = self.docs[:, :: DEPTH // judged * 2]
        other = random.integers(0, strides, (queries, judged // 2)) + strides * np.arange(judged // 2)
        #: Judged documents, each once, and their grades, a row for each query.
        self.judged = [np.union1d(*pair) for pair in zip(found, other, strict=True)]
        self.grades = [random.integers(0, 4, len(row)) for row in self.judged]
        self.names = [f"d{number:06}" for number in range(documents)]
        self.query_names = [f"q{number}" for number in range(queries)]

    def dot(self, query: int, docs: NDArray[Any]) -> NDArray[np.float32]:
        """The score of each document for one query."""
        return self.document_vectors[docs] @ self.query_vectors[query]


class Nirank(Given):
    """The pipeline `given % 1000 % 100 >> dot`."""

    def __init__(self, queries: int) -> None:
        import nirank
        from nirank.data import Candidates, Queries

        super().__init__(queries)
        self.corpus = nirank.Documents(self.names, [""] * self.documents)
        self.asked = Queries(self.query_names, [""] * queries)
        self.retrieved = Candidates.of(list(self.docs), list(self.scores))
        self.judgments = Candidates.of(self.judged, self.grades)
        self.pipeline = nirank.load(_Retriever(self)) % DEPTH % CUT >> nirank.load(_Scorer(self))

    def measure(self) -> list[float]:
        import nirank

        found = self.pipeline.search(self.asked, self.corpus)
        return list(nirank.evaluate(found, self.judgments, MEASURES).mean.values())


class _Retriever:
    """A generator that found what is given."""

    def __init__(self, given: Nirank) -> None:
        self.given = given

    def generate(self, queries: Any, k: int) -> Any:
        return self.given.retrieved.top(k)


class _Scorer:
    """A scorer by dot product."""

    def __init__(self, given: Given) -> None:
        self.given = given

    def score(self, queries: Any, candidates: Any) -> NDArray[np.float32]:
        scores = [self.given.dot(query, candidates[query][0]) for query in range(len(candidates))]
        return np.concatenate(scores)


class ByHand(Given):
    """Matrices of ordinals, and no library."""

    @cached_property
    def relevant(self) -> NDArray[np.int64]:
        return np.array([np.count_nonzero(row > 0) for row in self.grades])

    @cached_property
    def ideal(self) -> NDArray[np.float64]:
        best = [np.sort(row)[:-11:-1] for row in self.grades]
        return np.array([(row / np.log2(np.arange(len(row)) + 2)).sum() for row in best])

    @cached_property
    def judgments(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sorted keys of (query, document), and the grade of each."""
        keys = [row.astype(np.int64) + query * self.documents for query, row in enumerate(self.judged)]
        return np.concatenate(keys), np.concatenate(self.grades)

    def measure(self) -> list[float]:
        cut = self.docs[:, :CUT]
        scores = np.empty(cut.shape, np.float32)
        for query in range(self.queries):
            scores[query] = self.dot(query, cut[query])
        order = np.argsort(-scores, axis=1, kind="stable")
        return self._figures(self._labels(np.take_along_axis(cut, order, axis=1)))

    def _labels(self, ranked: NDArray[Any]) -> NDArray[np.int64]:
        keys, grades = self.judgments
        wanted = np.arange(self.queries)[:, None] * self.documents + ranked
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, grades[at], 0)

    def _figures(self, labels: NDArray[np.int64]) -> list[float]:
        hits = labels > 0
        ranks = np.arange(1, CUT + 1)
        found = np.cumsum(hits, axis=1)
        ndcg = (labels[:, :10] / np.log2(ranks[:10] + 1)).sum(axis=1) / self.ideal
        precision = (found / ranks * hits).sum(axis=1) / self.relevant
        reciprocal = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0)
        return [float(column.mean()) for column in (ndcg, precision, reciprocal, found[:, -1] / self.relevant)]


class _Frames(Given):
    """What both users of data frames need."""

    def __init__(self, queries: int) -> None:
        import pandas as pd

        super().__init__(queries)
        pairs = {"qid": np.repeat(self.query_names, DEPTH), "docno": np.array(self.names)[self.docs.ravel()]}
        ranks = np.tile(np.arange(DEPTH), queries)
        self.run = pd.DataFrame({**pairs, "score": self.scores.ravel(), "rank": ranks})
        self.topics = pd.DataFrame({"qid": self.query_names, "query": self.query_names})
        lengths = list(map(len, self.judged))
        judged = {
            "qid": np.repeat(self.query_names, lengths),
            "docno": np.array(self.names)[np.concatenate(self.judged)],
        }
        self.qrels = pd.DataFrame({**judged, "label": np.concatenate(self.grades)})
        self.ordinal = pd.Series(np.arange(self.documents), index=self.names)
        self.number = pd.Series(np.arange(queries), index=self.query_names)

    def rescored(self, run: pd.DataFrame) -> NDArray[np.float32]:
        """The dot product of each row."""
        docs, queries = run["docno"].map(self.ordinal).to_numpy(), run["qid"].map(self.number).to_numpy()
        cuts = np.flatnonzero(np.diff(queries, prepend=-1))
        parts = np.split(docs, cuts[1:])
        return np.concatenate([self.dot(query, part) for query, part in zip(queries[cuts], parts, strict=True)])


class Pandas(_Frames):
    """Data frames and ir_measures."""

    def measure(self) -> list[float]:
        import ir_measures

        run = self.topics.merge(self.run, on="qid")
        run = run[run["rank"] < CUT].copy()
        run["score"] = self.rescored(run)
        run["rank"] = run.groupby("qid")["score"].rank(ascending=False, method="first") - 1
        run = run.sort_values(["qid", "rank"]).rename(columns={"qid": "query_id", "docno": "doc_id"})
        qrels = self.qrels.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
        measures = [ir_measures.parse_measure(name) for name in MEASURES]
        means = ir_measures.calc_aggregate(measures, qrels, run)
        return [means[measure] for measure in measures]


class PyTerrier(_Frames):
    """PyTerrier's operators and its `Experiment`; this half of it needs no Java."""

    def __init__(self, queries: int) -> None:
        import pyterrier as pt

        super().__init__(queries)
        scorer = pt.apply.doc_score(self.rescored, batch_size=queries * CUT)
        self.pipeline = pt.Transformer.from_df(self.run) % CUT >> scorer

    def measure(self) -> list[float]:
        import pyterrier as pt

        names = ["ndcg_cut_10", "map", "recip_rank", "recall_1000"]
        means = pt.Experiment([self.pipeline], self.topics, self.qrels, names)
        return [float(means[name][0]) for name in names]
