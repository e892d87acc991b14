"""Both kinds of STIR: a backbone that looks at two images at once, and a head over what it saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import nirank
from nirank.data import Candidates, Content, Queries
from nirank.errors import BadInput
from nirank.kit.transformers import best_device
from nirank_stir.backbones import Backbone, Vision
from nirank_stir.siamese import Siamese, load

WEIGHTS = "stir.safetensors"


class PairScorer(nn.Module):
    """A scorer of two images at once; a subclass makes its layers, and its scores of what the backbone's `look` made.

    Raises `BadInput` for a `start` that is no siamese encoder or does not fit.
    """

    reads = "images"

    def __init__(
        self,
        name: str,
        hidden: int,
        start: str | None,
        batch_size: int,
        device: str | None,
        model: str | None,
        vision: Vision,
    ) -> None:
        super().__init__()
        first = None if start is None or model is not None else first_of(Path(start))
        own = {} if first is None else first.vision.architecture
        self.vision = replace(vision, weights=vision.weights and model is None and first is None, **own)
        self.batch_size, self.hidden, self._name = batch_size, hidden, name
        self.backbone = self.layers()
        if first is not None:
            self.take(first.backbone)
        if model is not None:
            load(self, Path(model))
        self.to(device or best_device()).eval()

    def layers(self) -> Backbone:
        """Make all layers but the backbone, which is returned."""
        raise NotImplementedError

    def take(self, first: Backbone) -> None:
        """Begin with the weights of a backbone for one image."""
        raise NotImplementedError

    def seen(self, queries: Queries, candidates: Candidates) -> tuple[Tensor, Tensor]:
        """What the backbone's `look` made of the image of each pair's query, and of its document's."""
        if candidates.corpus is None:
            raise BadInput(
                f"{self._name} reads documents, but these candidates have no corpus. Set it: candidates.over(corpus)."
            )
        docs, places = np.unique(candidates.docs, return_inverse=True)
        wanted, read = self._look(queries.contents), self._look(candidates.corpus[docs])
        return wanted[torch.from_numpy(candidates.rows)], read[torch.from_numpy(places)]

    def _look(self, contents: Sequence[Content]) -> Tensor:
        return self.backbone.look(self.vision.read(contents, self.backbone))


def first_of(start: Path) -> Siamese:
    """The trained siamese encoder in a folder. Raises `BadInput` where there is another component."""
    found = nirank.load(f"trained:{start}").component.target
    if not isinstance(found, Siamese):
        raise BadInput(f"holds a {type(found).__name__}; a trained siamese encoder is expected.", start)
    return found
