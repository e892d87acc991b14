"""Lists to train with, put together of positives and of what was drawn."""

import numpy as np

from nirank.data import Candidates


def joined(positives: Candidates, drawn: Candidates) -> Candidates:
    """Lists of the positives and, behind them, what was drawn, with the label 0."""
    first = np.arange(positives.pairs) + drawn.offsets[positives.rows]
    second = np.arange(drawn.pairs) + positives.offsets[drawn.rows + 1]
    docs = np.empty(len(first) + len(second), np.int64)
    labels = np.zeros(len(docs), np.float32)
    docs[first], docs[second] = positives.docs, drawn.docs
    labels[first] = positives.scores
    return Candidates(positives.offsets + drawn.offsets, docs, labels, drawn.corpus)
