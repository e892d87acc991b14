"""Texts as tokens, made once for many texts, and the parts of them that go through a model together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.kit import Graph, evenly
from nirank.kit.transformers import passes


@dataclass(frozen=True)
class Width:
    """Tokens of a text with the padding behind it, as many whatever is read beside it: a multiple of `step`.

    They are at most `most`, which no text exceeds. Padding is the token `padding`.
    """

    most: int
    padding: int
    step: int = 8

    def of(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """The width of texts of these lengths."""
        return np.maximum(np.minimum(-(-lengths // self.step) * self.step, self.most), np.maximum(lengths, 1))

    def widened(self, features: dict[str, Any], shape: torch.Size, width: int) -> dict[str, Any]:
        """Features whose matrices of tokens, which had this shape, have this width or more."""
        more = (0, max(0, width - shape[1]))
        values = {"input_ids": self.padding}
        return {
            name: nn.functional.pad(value, more, value=values.get(name, 0))
            if isinstance(value, Tensor) and value.shape[:2] == shape
            else value
            for name, value in features.items()
        }


def parts(
    features: dict[str, Any], texts: int, budget: int, width: Width | None = None, graph: Graph | None = None
) -> Iterator[tuple[NDArray[np.int64], dict[str, Any]]]:
    """The places of some texts and their features, part by part: texts of similar length, the longest first.

    A part has at most `budget` tokens, the padding counted, or one text that is longer. Its padding is cut down to its
    longest text, on whichever side it is; with a `width`, every text has the padding behind it that this says. With a
    `graph` there are as many parts for each of its streams. Features that are no padded matrix of tokens are one part.
    """
    mask = features.get("attention_mask")
    if not isinstance(mask, Tensor) or mask.ndim != 2 or len(mask) != texts:
        yield np.arange(texts), features
        return
    lengths = mask.sum(1).numpy()
    if width is not None:
        lengths = width.of(lengths)
        features = width.widened(features, mask.shape, int(lengths.max()))
        mask = features["attention_mask"]
    most = evenly(graph, lengths, budget)
    padded_before = bool((mask.diff(dim=1) > 0).any())
    for places in _passes(lengths, most) if width is not None else passes(lengths, texts, most):
        longest = max(1, int(lengths[places[0]]))
        columns = slice(mask.shape[1] - longest, None) if padded_before else slice(longest)
        rows = torch.from_numpy(places)
        yield places, {name: _taken(value, mask.shape, rows, columns) for name, value in features.items()}


def _passes(lengths: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """The places of texts of one length after another, the longest first, at most `budget` tokens at once."""
    order = np.argsort(-lengths, kind="stable")
    for alike in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        yield from (alike[some] for some in passes(lengths[alike], len(alike), budget))


def _taken(value: Any, shape: torch.Size, rows: Tensor, columns: slice) -> Any:
    """The part of a feature that belongs to some texts; a feature that is not of texts stays as it is."""
    if not isinstance(value, Tensor) or not value.ndim or len(value) != shape[0]:
        return value
    taken = value[rows]
    return taken[:, columns].contiguous() if value.shape[:2] == shape else taken
