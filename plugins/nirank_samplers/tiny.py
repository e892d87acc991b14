"""Small instances for checks, without files, models or a network."""

from __future__ import annotations

import numpy as np

from nirank.data import Candidates, Ids, Queries
from nirank.formats import Run
from nirank.pipeline import load
from nirank_samplers.drawn import Frequency, Uniform
from nirank_samplers.hard import FromRun, JudgedNegatives, Mined
from nirank_samplers.in_batch import InBatch
from nirank_samplers.positives import Positives


class Backwards:
    """Finds the same for every query: the first `k` documents, the last of them first."""

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The documents 0 to `k` - 1, scored by their ordinals."""
        return Candidates.of([np.arange(k)[::-1]] * len(queries), [np.arange(k)[::-1]] * len(queries))


def uniform() -> Uniform:
    """A sampler with replacement that drops hits."""
    return Uniform(negatives=3)


def frequency() -> Frequency:
    """A sampler of distinct documents that keeps hits."""
    return Frequency(negatives=4, unique=True, hits="keep", smoothing=0.5)


def in_batch() -> InBatch:
    """A sampler with documents beyond those of the batch."""
    return InBatch(negatives=2)


def positives() -> Positives:
    """Lists of one positive each."""
    return Positives()


def judged_negatives() -> JudgedNegatives:
    """Negatives that are judged so."""
    return JudgedNegatives(negatives=1)


def from_run() -> FromRun:
    """A run for some queries of the collection that the checks are made on."""
    ids = Ids([f"d{number}" for number in range(12)])
    found = Candidates.of([np.arange(12), np.arange(3, 9), np.arange(12)])
    return FromRun(Run(["2", "1", "4"], ids, found), negatives=3, skip=1, top=9)


def mined() -> Mined:
    """A sampler of what a stand-in for a search finds."""
    return Mined(load(Backwards()) % 8, negatives=2, top=7, every=2, each="query")
