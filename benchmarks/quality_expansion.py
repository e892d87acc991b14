"""Query expansion on Cranfield, Vaswani and NFCorpus: what it adds to BM25, here and in Anserini; DESM on WikiQA.

Each system is measured with its default settings. What the weight of the original query can add is told by two-fold
cross-validation over queries: each half is expanded with the weight that was best for the other. Trainings of word
vectors have the seed 0, and `--seeds` changes nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import quality_expansion_desm as desm
from losses_cells import Cells, Outcome
from quality_expansion_anserini import DEPTH, SYSTEMS, Anserini
from quality_table import Cell, Figure, Table, number

import nirank
from nirank.data import Candidates, Collection, Queries, TermWeights
from nirank.evaluation import Comparison, Evaluation, compare
from nirank.pipeline import Ranking, Stage

MEASURES = ("AP", "nDCG@10", "R@1000")
BASELINE = "BM25"
#: Weights of the original query that are tried; what expands it has the rest.
WEIGHTS = (0.5, 0.6, 0.7, 0.8, 0.9)
_PEER = "Anserini "


@dataclass(frozen=True)
class System:
    """A way to expand queries: an encoder, told of so many documents (None: before anything is searched).

    `weight` names the setting that weighs the original query, `other` the one for what expands it, where there is one.
    One that `trains` for each query is not run again for its default weight, which is among those that are tried.
    """

    name: str
    encoder: str
    found: int | None
    weight: str
    other: str | None = None
    trains: bool = False

    @property
    def default(self) -> float:
        """The weight of the original query unless another is set."""
        weight: float = getattr(nirank.load(self.encoder).component.target, self.weight)
        return weight

    def ranking(self, **settings: Any) -> Ranking:
        """The pipeline that expands and searches."""
        return self._around(nirank.load(self.encoder, **settings))

    def terms(self, collection: Collection, weight: float) -> TermWeights:
        """The weighted terms of all queries, where the original query has this weight and what expands it the rest."""
        settings: dict[str, Any] = {self.weight: weight} | ({self.other: 1 - weight} if self.other else {})
        encoder = nirank.load(self.encoder, **settings)
        self._around(encoder).index(collection.corpus)
        queries = collection.queries
        if self.found is not None:
            queries = queries.with_found((nirank.load("bm25") % self.found).search(queries, collection.corpus))
        made: TermWeights = encoder.component.target.encode(queries)
        return made

    def _around(self, encoder: Stage) -> Ranking:
        bm25 = nirank.load("bm25")
        expanded = encoder if self.found is None else bm25 % self.found >> encoder
        searched: Ranking = expanded >> bm25 % DEPTH
        return searched


EXPANSIONS = (
    System("RM3", "rm3", 10, "original_query_weight"),
    System("Rocchio", "rocchio", 10, "alpha", "beta"),
    System("Roy, pre-retrieval", "roy", None, "alpha"),
    System("Roy, post-retrieval", "roy_post", 20, "alpha"),
    System("Roy, incremental", "roy_incremental", None, "alpha"),
    System("Diaz", "diaz", 100, "share", trains=True),
)


@dataclass(frozen=True, eq=False)
class Measured:
    """What systems came to on a collection, by name."""

    name: str
    collection: Collection
    cells: Cells
    told: Mapping[str, Any]

    def plain(self) -> Outcome:
        """BM25 alone."""
        return self._cell(BASELINE, "bm25", lambda: nirank.load("bm25") % DEPTH)

    def expanded(self, system: System) -> Outcome:
        """A system with its default settings."""
        if system.trains:
            return self._at([system.default], self._tried(system))
        return self._cell(system.name, system.encoder, system.ranking)

    def validated(self, system: System) -> Outcome:
        """A system, each half of the queries with the weight that was best for the other; `steps` has both, in %."""
        tried = self._tried(system)
        halves = np.arange(len(self.collection.queries)) % 2
        found = {weight: np.array(tried.values[f"AP {weight}"]) for weight in WEIGHTS}
        best = [max(WEIGHTS, key=lambda weight: found[weight][halves != half].mean()) for half in (0, 1)]
        return self._at(best, tried)

    def _tried(self, system: System) -> Outcome:
        """A system with each of the weights: values by measure and weight, as in "AP 0.5"."""
        told = {**self.told, "system": repr(nirank.load(system.encoder)), "found": system.found, "weights": WEIGHTS}
        return self.cells.get(self.name, f"{system.name} weights", told, lambda: self._try(system))

    def _at(self, weights: Sequence[float], tried: Outcome) -> Outcome:
        """Queries in turn with each of the weights."""
        turn = np.arange(len(self.collection.queries)) % len(weights)
        values = {
            name: np.choose(turn, [tried.values[f"{name} {weight}"] for weight in weights]).tolist()
            for name in MEASURES
        }
        return Outcome(values, None, [round(100 * weight) for weight in weights], tried.seconds)

    def peers(self) -> dict[str, Outcome]:
        """Anserini's systems, where they were measured or can be."""
        with tempfile.TemporaryDirectory() as folder:
            anserini = Anserini(self.collection, Path(folder))
            return {_PEER + system: outcome for system in SYSTEMS if (outcome := self._peer(anserini, system))}

    def _cell(self, name: str, component: str, ranking: Callable[[], Ranking]) -> Outcome:
        told = {**self.told, "system": repr(nirank.load(component)), "pipeline": repr(ranking())}
        return self.cells.get(self.name, name, told, lambda: self._measure(ranking()))

    def _measure(self, ranking: Ranking) -> Outcome:
        ranking.search(self.collection.queries.contents[:1], self.collection.corpus)  # indexes, and what is compiled
        start = time.process_time()
        found = ranking.search(self.collection.queries, self.collection.corpus)
        return self._outcome(found, time.process_time() - start)

    def _outcome(self, found: Candidates, seconds: float) -> Outcome:
        tested = nirank.evaluate(found, self.collection.judgments, MEASURES)
        return Outcome({name: values.tolist() for name, values in tested.values.items()}, None, [], seconds)

    def _try(self, system: System) -> Outcome:
        """What it took to expand and to search once stands for all weights."""
        asked = system.terms(self.collection, 1.0)
        system.terms(self.collection.take(slice(0, 1)), 0.0)  # indexes, and what is compiled
        start = time.process_time()
        more = system.terms(self.collection, 0.0)
        values: dict[str, list[float]] = {}
        seconds = 0.0
        for weight in WEIGHTS:
            tested = self._outcome(self._searched(_mixed(asked, more, weight)), 0.0)
            seconds = seconds or time.process_time() - start
            values |= {f"{name} {weight}": column for name, column in tested.values.items()}
        return Outcome(values, None, [], seconds)

    def _searched(self, terms: TermWeights) -> Candidates:
        queries: Queries = self.collection.queries.with_vectors(terms)
        return self._bm25.generate(queries, DEPTH).over(self.collection.corpus)

    @cached_property
    def _bm25(self) -> Any:
        stage = nirank.load("bm25")
        (stage % DEPTH).index(self.collection.corpus)
        return stage.component.target

    def _peer(self, anserini: Anserini, system: str) -> Outcome | None:
        def make() -> Outcome:
            anserini.search(BASELINE)  # the virtual machine, and the index
            start = time.process_time()
            return self._outcome(anserini.search(system), time.process_time() - start)

        try:
            return self.cells.get(self.name, _PEER + system, {**self.told, "depth": DEPTH}, make)
        except ModuleNotFoundError:  # pyserini, or its Java
            return None


def tables(asked: argparse.Namespace) -> list[Table]:
    """The collections and systems that are asked for with `--only`, by name; BM25 is always there."""
    cells = Cells(asked.cells / "expansion")
    names = {name for name in (*_COLLECTIONS, "wikiqa") if not asked.only or name in asked.only}
    names = names or {*_COLLECTIONS}
    systems = [system for system in EXPANSIONS if system.encoder in asked.only] or EXPANSIONS
    made = [
        table
        for name in _COLLECTIONS
        if name in names
        for table in _tables(Measured(name, *_read(name, asked, cells)), systems)
    ]
    return [*made, _wikiqa(asked, cells)] if "wikiqa" in names else made


_COLLECTIONS = {"cranfield": "Cranfield", "vaswani": "Vaswani", "nfcorpus": "NFCorpus"}


def _read(name: str, asked: argparse.Namespace, cells: Cells) -> tuple[Collection, Cells, dict[str, Any]]:
    """Cranfield's documents are relevant or not: what its grades mean is disputed."""
    folder = asked.data / name
    collection = nirank.collection(f"beir:{folder}")
    if name == "cranfield":
        binary = nirank.read_qrels(folder / "qrels.binary.txt")
        judgments = binary.align(collection.queries.ids, collection.corpus.ids)
        collection = replace(collection, judgments=judgments)
    if asked.quick:
        collection = collection.take(slice(0, 12))
    return collection, cells, {"queries": len(collection.queries), "measures": MEASURES}


def _tables(measured: Measured, systems: Sequence[System]) -> Iterator[Table]:
    plain = measured.plain()
    own = {BASELINE: plain, **{f"+ {system.name}": measured.expanded(system) for system in systems}}
    peers = measured.peers()
    yield _table(measured, own, peers)
    validated = {f"+ {system.name}": measured.validated(system) for system in systems}
    yield _validated(measured, {BASELINE: plain, **validated})


def _table(measured: Measured, own: Mapping[str, Outcome], peers: Mapping[str, Outcome]) -> Table:
    rows = [*_rows(own, BASELINE), *(_rows(peers, _PEER + BASELINE) if peers else ())]
    size = f"{len(measured.collection.queries)} queries, {len(measured.collection.corpus):,} documents"
    return Table(
        title=_COLLECTIONS[measured.name],
        about=(
            f"{size}; BM25 with k1 = .9, b = .4, and expansions with their default settings: Anserini's for RM3 and "
            "Rocchio; the weight of the original query in Roy and Diaz, and the epochs of Diaz, were chosen on 60 dev "
            "queries of NFCorpus. Feedback is 10 documents for RM3 and Rocchio, 20 for Roy after retrieval, 100 for "
            "Diaz. Differences are from the BM25 of the same library, with 95 % bootstrap intervals over queries and p "
            "of a randomisation test, corrected by Holm over all rows of the library."
        ),
        columns=["system", "MAP", "difference", "better / worse", "nDCG@10", "R@1000", "CPU ms a query"],
        rows=rows,
        notes=_notes(own, peers),
    )


def _rows(outcomes: Mapping[str, Outcome], baseline: str) -> Iterator[list[Cell]]:
    compared = _compared(outcomes, baseline, "AP")
    for name, outcome in outcomes.items():
        means = {measure: outcome.mean(measure) for measure in MEASURES}
        queries = len(outcome.values["AP"])
        speed = f"{1000 * outcome.seconds / queries:.1f}"
        yield [name, *_difference(compared, name, baseline), means["nDCG@10"], means["R@1000"], speed]


def _difference(compared: Comparison, name: str, baseline: str) -> list[Cell]:
    (mean,) = (row for row in compared.means if row.system == name)
    shown = Figure(mean.mean, low=mean.low, high=mean.high)
    if name == baseline:
        return [shown, None, None]
    row = compared.of(name, baseline, "AP")
    gained = Figure(row.difference, low=row.low, high=row.high, p=row.corrected)
    return [shown, gained, f"{row.wins} / {row.losses}"]


def _notes(own: Mapping[str, Outcome], peers: Mapping[str, Outcome]) -> list[str]:
    """How near the two libraries are, query by query."""
    pairs = [(name, own.get(f"+ {name}", own.get(name)), peers.get(_PEER + name)) for name in SYSTEMS]
    apart = [
        f"{name} {number(float(np.abs(np.subtract(ours.values['AP'], theirs.values['AP'])).mean()))}"
        for name, ours, theirs in pairs
        if ours and theirs
    ]
    return [f"Average precision of a query differs from Anserini's by, in the mean: {', '.join(apart)}."] * bool(apart)


def _validated(measured: Measured, outcomes: Mapping[str, Outcome]) -> Table:
    compared = _compared(outcomes, BASELINE, "AP")
    rows = [
        [name, *_difference(compared, name, BASELINE), " / ".join(f"{weight / 100:g}" for weight in outcome.steps)]
        for name, outcome in outcomes.items()
    ]
    return Table(
        title=f"{_COLLECTIONS[measured.name]}, the weight of the original query chosen",
        about=(
            f"Two-fold cross-validation: each half of the queries has the weight among {', '.join(map(str, WEIGHTS))} "
            "that gave the other half the best MAP, and what expands it the rest. All else as above."
        ),
        columns=["system", "MAP", "difference", "better / worse", "weights"],
        rows=rows,
    )


def _wikiqa(asked: argparse.Namespace, cells: Cells) -> Table:
    outcomes = desm.outcomes(asked.data, cells, asked.quick)
    compared = _compared(outcomes, desm.BASELINE, "AP")
    means = {row.system: Figure(row.mean, low=row.low, high=row.high) for row in compared.means}
    return desm.table(outcomes, {row.system: row for row in compared.differences}, means)


def _compared(outcomes: Mapping[str, Outcome], baseline: str, measure: str) -> Comparison:
    return compare({name: _evaluation(outcome) for name, outcome in outcomes.items()}, baseline, [measure])


def _evaluation(outcome: Outcome) -> Evaluation:
    values = {name: np.array(column) for name, column in outcome.values.items()}
    means = {name: float(column.mean()) for name, column in values.items()}
    return Evaluation(values, means, np.arange(len(values["AP"])), None, 0, "docno", 0, 0)


def _mixed(asked: TermWeights, more: TermWeights, weight: float) -> TermWeights:
    queries = []
    for row in range(len(asked)):
        mixed = {term: weight * value for term, value in asked.query(row).items()}
        for term, value in more.query(row).items():
            mixed[term] = mixed.get(term, 0.0) + (1 - weight) * value
        queries.append(mixed)
    return TermWeights.of(queries, asked.analysis)
