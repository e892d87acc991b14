"""Skip-gram with negative sampling on the few documents of one query, compiled.

Model and settings are those of `nirank.kit.text.word2vec`, whose trainer is made for large corpora: it builds Python
objects for each word, and hands texts from thread to thread. For 200 abstracts (19,606 words of 1,578, 50
dimensions, 5 epochs, one core) that takes 0.36 s, and this 0.10 s.

Importing this module imports numba. The function is compiled when first used, and kept on disk for later processes.

Instructions: those of the processor at hand, none in particular. Sums are added up as its registers suggest, so that
vectors differ in their last bits between processors of other instructions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats, Ints, offsets_of
from nirank.kit import compiled, inner
from nirank.kit.text import SkipGram

_FAST = {"reassoc", "contract", "nsz"}  # sums may be added up in another order
_PLACES = 1 << 16  # of a table, of which a word has its share: a negative is drawn as one of them


def train(settings: SkipGram, offsets: Ints, words: Ints, vocabulary: int) -> tuple[NDArray[np.int64], Floats]:
    """The vectors IN of the words of some texts: which words have one, rising, and the vectors `[words, dim]`.

    Those of text i are `words[offsets[i]:offsets[i + 1]]`, numbers below `vocabulary`. On one processor equal settings,
    seed and texts give equal vectors. All occurrences count: `settings.sample` is left aside.
    """
    counts = np.bincount(words, minlength=vocabulary)
    kept = np.flatnonzero(counts >= settings.min_count)
    known = counts[words] >= settings.min_count
    cuts = offsets_of(known)[offsets]
    texts = np.searchsorted(kept, words[known]).astype(np.int32)
    inputs, outputs = _start(settings, len(kept))
    if len(texts):
        drawn = _places(counts[kept])
        rate, seed = np.float32(settings.learning_rate), np.uint64(settings.seed)
        steps = _Steps(settings.window, settings.negatives, settings.epochs, rate)
        _descend(cuts, texts, inputs, outputs, drawn, steps, seed)
    return kept, inputs


def _start(settings: SkipGram, words: int) -> tuple[Floats, Floats]:
    """word2vec's: vectors IN from -1 / (2 dim) to 1 / (2 dim), vectors OUT of 0."""
    random = np.random.default_rng(settings.seed)
    inputs = (random.random((words, settings.dim), np.float32) - np.float32(0.5)) / np.float32(settings.dim)
    return inputs, np.zeros_like(inputs)


def _places(counts: Ints) -> NDArray[np.int32]:
    """Words, each in as many places as it has of the sum of all counts to the power 3/4."""
    ends = np.cumsum(counts**0.75)
    return np.searchsorted(ends, (np.arange(_PLACES) + 0.5) / _PLACES * ends[-1]).astype(np.int32)


class _Steps(NamedTuple):
    """The settings of the descent, as compiled code takes them."""

    window: int
    negatives: int
    epochs: int
    first_rate: np.float32


@inner(fastmath=_FAST, inline="always")
def _next(random: np.uint64) -> np.uint64:
    """Chance: the linear congruential generator of Knuth's MMIX, of which the upper 31 bits are used."""
    return random * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)


@inner(fastmath=_FAST, inline="always")
def _learn(source: Floats, target: Floats, gradient: Floats, rate: np.float32, label: np.float32) -> None:
    """One example: the gradient of log sigma(+-source . target) goes into `target`, and is kept for `source`."""
    product = np.float32(0)
    for at in range(len(source)):
        product += source[at] * target[at]
    slope = rate * (label - np.float32(1) / (np.float32(1) + np.exp(-product)))
    for at in range(len(source)):
        gradient[at] += slope * target[at]
        target[at] += slope * source[at]


@compiled(fastmath=_FAST)
def _descend(
    cuts: Ints,
    texts: Ints,
    inputs: Floats,
    outputs: Floats,
    drawn: Ints,
    steps: _Steps,
    random: np.uint64,
) -> None:
    """Gradient descent, an example at a time, by a rate that falls to 0; changes `inputs` and `outputs`."""
    gradient, done = np.empty(inputs.shape[1], np.float32), 0
    for turn in range(steps.epochs * (len(cuts) - 1)):
        text = turn % (len(cuts) - 1)
        for place in range(cuts[text], cuts[text + 1]):
            rate = steps.first_rate * np.float32(1 - done / (steps.epochs * len(texts)))
            done += 1
            random = _next(random)
            reach = 1 + np.int64(random >> np.uint64(33)) % steps.window  # near words are drawn more often
            for near in range(max(cuts[text], place - reach), min(cuts[text + 1], place + reach + 1)):
                if near == place:
                    continue
                source, word = inputs[texts[near]], texts[place]
                gradient[:] = 0
                _learn(source, outputs[word], gradient, rate, np.float32(1))
                for _ in range(steps.negatives):
                    random = _next(random)
                    other = drawn[np.int64(random >> np.uint64(33)) % len(drawn)]
                    if other != word:
                        _learn(source, outputs[other], gradient, rate, np.float32(0))
                source += gradient
