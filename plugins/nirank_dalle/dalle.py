"""DALL-E as a ranker: how much more probable a text makes the codes of a picture.

Ramesh et al., Zero-Shot Text-to-Image Generation, ICML 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nirank.kit import digest, weights_digest
from nirank.kit.transformers import best_device
from nirank.pipeline import Stage
from nirank_dalle.drawing import Drawing
from nirank_dalle.pictures import StagePictures
from nirank_dalle.scoring import LikelihoodScorer
from nirank_dalle.transformer import Transformer


@dataclass(frozen=True)
class Shape:
    """The size of the transformer: `longest` is how many bytes of a text it reads, `seed` that of first weights."""

    dim: int = 128
    depth: int = 3
    heads: int = 4
    longest: int = 64
    dropout: float = 0.0
    seed: int = 0


class DALLE(LikelihoodScorer):
    """Scores a picture for a text by `(log p(codes | text) - weight log p(codes)) / positions`, in nats a code.

    `log p(codes)` is what the same model says without a text, and the document's part: it is computed when the corpus
    is indexed. Without it (`weight = 0`) the plainest pictures are first whatever is asked. One side of a pair is a
    text and the other a picture: where pictures ask for texts, as in zero-shot classification, the picture's part is
    the query's and changes no ranking.

    `vae` encodes pictures into codes, and does not learn: `"@dvae"`, `"trained:FOLDER"`, or a stage. In training the
    score is `log p(codes | text) / positions`, for the loss `likelihood`; of a share `drop` of the queries the text is
    left out, so that one model learns both. The other settings are those of `Shape` and of `drawing.Drawing`.

    Raises `BadInput` for settings that do not fit, and for pairs of two texts or of two pictures.
    """

    def __init__(
        self,
        vae: str | Stage,
        weight: float = 1.0,
        drop: float = 0.1,
        batch_size: int = 64,
        device: str | None = None,
        shape: Shape = Shape(),
        drawing: Drawing = Drawing(),
    ) -> None:
        pictures = StagePictures(vae)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(shape.seed)
            sizes = (shape.dim, shape.depth, shape.heads, shape.longest, shape.dropout)
            model = Transformer(pictures.kinds, pictures.grid, *sizes)
        super().__init__(pictures, model, weight, drop, batch_size, drawing)
        self.vae = pictures.stage
        self.to(device or best_device()).eval()

    def __repr__(self) -> str:
        return f"DALLE({self.vae!r}, weight={self.weight:g})"

    @property
    def _known(self) -> str:
        return digest([weights_digest(self.state_dict()), self.vae.component.fingerprint])
