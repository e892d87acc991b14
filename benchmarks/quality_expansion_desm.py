"""DESM, alone and mixed with BM25, on the sentences of WikiQA."""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from losses_cells import Cells, Outcome
from quality_table import Cell, Figure, Table

import nirank
from nirank.data import Collection
from nirank.evaluation import evaluate
from nirank.evaluation.significance import Difference
from nirank.kit.text import Analyzer, SkipGram, Word2Vec
from nirank.pipeline import Scoring

#: What DESM counts in the mixture; BM25 counts the rest. The paper's is .97.
WEIGHTS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
VARIANTS = ("in-out", "in-in")
#: What the vectors of words are trained on, and in how many epochs.
TEXTS = {"WikiQA": (("wikiqa",), 20), "and WordNet": (("wikiqa", "descriptions"), 5)}
BASELINE = "BM25"


@dataclass(frozen=True, eq=False)
class Parts:
    """WikiQA's questions with the sentences to be ranked: those that choose, and those that test."""

    dev: Collection
    test: Collection

    @classmethod
    def read(cls, data: Path) -> Parts:
        """From a folder in BEIR's layout; the judged sentences of a question are its list."""
        name = f"beir:{data / 'wikiqa'}"
        return cls(*(nirank.collection(name, split=split, candidates="judged") for split in ("dev", "test")))


def outcomes(data: Path, cells: Cells, quick: bool) -> dict[str, Outcome]:
    """BM25, and for the vectors of each set of texts DESM in two variants, alone and mixed, by name."""
    parts = Parts.read(data)
    bm25 = nirank.load("bm25")
    found = {BASELINE: cells.get("wikiqa", BASELINE, {}, lambda: _measured(parts, {1.0: bm25}))}
    for texts in list(TEXTS)[: 1 if quick else None]:
        for variant in VARIANTS:
            desm = _Desm(variant, texts, data, cells.folder, quick)
            told = {"texts": TEXTS[texts], "weights": WEIGHTS, "quick": quick}
            name = f"DESM {variant}, {texts}"
            found[name] = cells.get("wikiqa", name, told, partial(desm.measured, parts, None))
            found[f"{name}, mixed"] = cells.get("wikiqa", f"{name} mixed", told, partial(desm.measured, parts, bm25))
    return found


def table(found: Mapping[str, Outcome], differences: Mapping[str, Difference], means: Mapping[str, Figure]) -> Table:
    """The rows of `outcomes`."""
    rows: list[list[Cell]] = []
    for name, outcome in found.items():
        gained = differences.get(name)
        shown = Figure(gained.difference, low=gained.low, high=gained.high, p=gained.corrected) if gained else None
        weight = f"{outcome.steps[0] / 1000:g}" if name.endswith("mixed") else None
        rows.append([name, means[name], shown, outcome.dev, weight])
    return Table(
        title="DESM on WikiQA",
        about=(
            "The judged sentences of each of 243 test questions are ranked (`given >> weight * desm + (1 - weight) * "
            "bm25`); the weight is the best of "
            f"{', '.join(f'{weight:g}' for weight in WEIGHTS)} on the 126 questions of dev. Vectors are trained on the "
            "12,153 sentences of WikiQA in 20 epochs, or in 5 on these and WordNet's glosses: 100 dimensions, 5 words "
            "on either side, 5 negatives, words as they are, without stop words. 95 % bootstrap intervals over "
            "questions; p of a randomisation test against BM25, corrected by Holm."
        ),
        columns=["system", "MAP", "difference from BM25", "MAP on dev", "weight of DESM"],
        rows=rows,
    )


@dataclass(frozen=True)
class _Desm:
    variant: str
    texts: str
    data: Path
    folder: Path
    quick: bool

    def measured(self, parts: Parts, bm25: Scoring | None) -> Outcome:
        """Alone, or mixed with BM25."""
        desm = self._load()
        if bm25 is None:
            return _measured(parts, {1.0: desm})
        return _measured(parts, {weight: weight * desm + (1 - weight) * bm25 for weight in WEIGHTS})

    def _load(self) -> Scoring:
        """The encoder, with vectors that are trained once and kept."""
        path = self.folder / f"word2vec {self.texts}{' quick' if self.quick else ''}.safetensors".replace(" ", "-")
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._train().save(path)
        return nirank.load("desm", variant=self.variant, model=str(path))

    def _train(self) -> Word2Vec:
        analyzer = Analyzer(stemmer=None)
        names, epochs = TEXTS[self.texts]
        texts = chain.from_iterable(_texts(self.data / name) for name in names)
        words = [[*map(sys.intern, analyzer(text))] for text in texts]  # each word once in memory
        settings = SkipGram(dim=100, epochs=1 if self.quick else epochs)
        return Word2Vec.of_texts(words, settings, analysis=analyzer.settings)


def _texts(folder: Path) -> Iterator[str]:
    """Those of a corpus; of the descriptions, WordNet's only."""
    packed = folder / "corpus.jsonl.gz"
    with gzip.open(packed, "rt") if packed.exists() else (folder / "corpus.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if not row["id"].startswith("deb:"):
                yield row["text"]


def _measured(parts: Parts, scorings: Mapping[float, Scoring]) -> Outcome:
    """The scoring that ranks dev best, on test; `steps` has its weight, in thousandths."""
    start = time.perf_counter()
    dev = {weight: float(np.mean(_precision(parts.dev, scoring))) for weight, scoring in scorings.items()}
    best = max(dev, key=lambda weight: dev[weight])
    values = {"AP": _precision(parts.test, scorings[best])}
    return Outcome(values, dev[best], [round(1000 * best)], time.perf_counter() - start)


def _precision(part: Collection, scoring: Scoring) -> list[float]:
    found = (nirank.load("given") >> scoring).search(part.queries, part.corpus)
    values: list[float] = evaluate(found, part.judgments, ["AP"]).values["AP"].tolist()
    return values
