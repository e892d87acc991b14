"""Features of pairs, in nirank and by hand: 1,000 queries with the 100 documents that BM25 finds best for each."""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speed_run import CORES, Run
from speed_table import OURS, Report
from speed_texts import Texts
from speed_worker import Engine, contest, each, working

from nirank.data import Candidates, Queries

DEPTH = 100
#: Pairs a second that are wanted of all features, on two threads and cores.
WANTED = 200_000
_ONE, _HAND = f"{OURS}, one thread", "Python by hand"
#: What is read of each pair, family by family; a family costs what it takes beside the scan of the documents.
FAMILIES: dict[str, Sequence[str] | None] = {
    "length": ["length"],
    "models": ["bm25", "ql_dirichlet", "ql_jelinek_mercer", "tfidf"],
    "counts": ["matched", "idf", *(f"{name}_{of}" for name in ("tf", "norm_tf", "tf_idf") for of in ("sum", "max"))],
    "proximity": ["phrase", "ordered", "unordered", "min_distance", "min_cover"],
    "all": None,
}
#: What is computed by hand: one model and a few counts.
BY_HAND = ["bm25", "matched", "tf_sum", "tf_max", "length"]


def compare(run: Run, report: Report) -> None:
    """Time every family on one thread, then all features by hand and on two threads."""
    settings = {"texts": str(run.texts().folder)}
    ours = Engine(OURS, "speed_features:Nirank", ["numba"], {**settings, "threads": run.threads})
    hand = Engine(_HAND, "speed_features:ByHand", [], {**settings, "every": run.size(20, 1)})
    report.note(f"features: {run.described_texts()}, with the best {DEPTH} of each.")
    with working([ours], report.note) as workers:
        each(workers, report.note, lambda worker: worker.call("open"))
        pairs = each(workers, report.note, lambda worker: worker.call("pairs"))
        for family in FAMILIES:
            laps = contest(workers, report.note, run.rounds, "describe", family)
            report.times(f"features, {family}", laps, amounts=pairs, rate="pairs")
        tokens = each(workers, report.note, lambda worker: worker.call("tokens"))
        for count in tokens.values():
            report.note(
                f"features: of each of {pairs[OURS]:,} pairs {count:.1f} terms of the document are read, which lie "
                "where chance put them in memory: these reads, and the look-up of each term, are the limit."
            )
    _beside(run, report, ours, hand)
    _two_threads(run, report, ours)


def _beside(run: Run, report: Report, ours: Engine, hand: Engine) -> None:
    """The same few features, and whether they are the same."""
    with working([ours, hand], report.note) as workers:
        each(workers, report.note, lambda worker: worker.call("open"))
        pairs = each(workers, report.note, lambda worker: worker.call("pairs"))
        laps = contest(workers, report.note, run.rounds, "few")
        report.times("features, five of them, a pair", laps, None, dict.fromkeys(laps, 1), "pairs", pairs)
        found = each(workers, report.note, lambda worker: np.array(worker.call("first", 500)))
        if len(found) == 2:
            apart = float(np.abs(found[OURS] - found[_HAND]).max())
            report.note(f"features by hand differ by {apart:.1g} at most from nirank's.")


def _two_threads(run: Run, report: Report, ours: Engine) -> None:
    if not run.shares:
        report.note("features on two threads are left out: they take two cores, and --threads 1.")
        return
    two = {**ours.settings, "threads": 2, "cores": CORES[-2:]}
    engines = [Engine(OURS, ours.target, ours.needs, two), Engine(_ONE, ours.target, ours.needs, ours.settings)]
    with working(engines, report.note) as workers:
        each(workers, report.note, lambda worker: worker.call("open"))
        pairs = each(workers, report.note, lambda worker: worker.call("pairs"))
        laps = contest(workers, report.note, run.rounds, "describe", "all")
        report.times("features, all, two threads", laps, amounts=pairs, rate="pairs")
    if report.judging and OURS in laps:
        rate = pairs[OURS] / float(np.median([lap.wall for lap in laps[OURS]]))
        reached = "reached" if rate >= WANTED else "NOT reached"
        report.note(f"features: {rate:,.0f} pairs a second on two threads; {WANTED:,} are wanted: {reached}.")


class Described:
    """What engines share: their texts, the index of nirank and what BM25 finds for every n-th query."""

    def __init__(self, texts: str, threads: int = 1, every: int = 1, cores: Sequence[int] = ()) -> None:
        import nirank

        if cores:
            os.sched_setaffinity(0, cores)
        self.texts, self.threads = Texts(Path(texts)), threads
        self.queries = Queries.of(self.texts.queries()[::every])
        self.bm25 = nirank.load("bm25", threads=threads)

    def open(self) -> None:
        """Make ready, and find the documents."""
        from nirank.data import ArrowCorpus

        self.corpus = ArrowCorpus(self.texts.arrow)
        self.found: Candidates = (self.bm25 % DEPTH).search(self.queries, self.corpus)

    def pairs(self) -> int:
        """How many pairs there are."""
        return self.found.pairs

    def few(self) -> Any:
        """The features of `BY_HAND`, of all pairs."""
        raise NotImplementedError

    def first(self, count: int) -> list[list[float]]:
        """Those of the first pairs of the first query that all engines have."""
        values: list[list[float]] = np.asarray(self.few())[: min(count, int(self.found.lengths[0]))].tolist()
        return values


class Nirank(Described):
    """The extractor `manual`, called as a pipeline calls it."""

    def open(self) -> None:
        super().open()
        import nirank

        self.families = {
            family: nirank.features(nirank.load("manual", names=names, threads=self.threads))
            for family, names in {**FAMILIES, "few": BY_HAND}.items()
        }

    def describe(self, family: str) -> Any:
        """The features of a family, of all pairs."""
        return self.families[family].of(self.queries, self.found)

    def few(self) -> Any:
        return self.describe("few").values

    def tokens(self) -> float:
        """How many terms the document of a pair has, in the mean."""
        return float(self.describe("length").values.mean())


class ByHand(Described):
    """One pair after the other: the terms of documents, analysed before, counted by Python's own means."""

    def open(self) -> None:
        super().open()
        from nirank.kit.text import Analyzer

        analyzer = Analyzer()
        documents = self.texts.documents()[1]
        self.terms = {doc: analyzer(documents[doc]) for doc in np.unique(self.found.docs).tolist()}
        self.asked = [Counter(analyzer(text)) for text in self.queries.contents]
        counts = Counter(term for text in documents for term in set(analyzer(text)))
        n = len(documents)
        self.idf = {term: math.log(1 + (n - df + 0.5) / (df + 0.5)) for term, df in counts.items()}
        self.average = sum(len(analyzer(text)) for text in documents) / n

    def few(self) -> NDArray[np.float64]:
        pairs = zip(self.found.rows.tolist(), self.found.docs.tolist(), strict=True)
        return np.array([self._pair(self.asked[row], self.terms[doc]) for row, doc in pairs])

    def _pair(self, asked: Counter[str], terms: list[str]) -> tuple[float, int, int, int, int]:
        counts = Counter(terms)
        met = [(counts[term], self.idf[term] * times) for term, times in asked.items() if counts[term]]
        norm = 0.9 * (1 - 0.4 + 0.4 * len(terms) / self.average)
        score = sum(weight * tf / (tf + norm) for tf, weight in met)
        each = [tf for tf, _ in met]
        return score, len(met), sum(each), max(each, default=0), len(terms)
