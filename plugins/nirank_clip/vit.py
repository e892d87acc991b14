"""A small vision transformer, to be trained from nothing.

Dosovitskiy et al., An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale, ICLR 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nirank.errors import BadInput


class ViT(nn.Module):
    """Pixels `[n, 3, size, size]` -> features `[n, width]`: the mean of what the layers make of the patches.

    A patch is `patch` x `patch` pixels; each layer has attention with `heads` heads, then two dense layers, both before
    them normalised (pre-norm). The same weights for the same seed. Raises `BadInput` for sizes that do not divide.
    """

    def __init__(
        self, size: int = 64, patch: int = 16, width: int = 192, layers: int = 4, heads: int = 3, seed: int = 0
    ) -> None:
        super().__init__()
        if size % patch or width % heads or layers < 1:
            raise BadInput(f"patches of {patch} in {size} pixels, {heads} heads in {width}, {layers} layers: no ViT.")
        self.dim = width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.patches = nn.Conv2d(3, width, patch, patch)
            self.places = nn.Parameter(torch.randn((size // patch) ** 2, width) * 0.02)
            layer = nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            norm = nn.LayerNorm(width)
            self.layers = nn.TransformerEncoder(layer, layers, norm, enable_nested_tensor=False)
            for matrix in (part for part in self.layers.parameters() if part.ndim == 2):
                nn.init.trunc_normal_(matrix, std=0.02)  # one layer is copied: without this all would begin alike

    def forward(self, pixels: Tensor) -> Tensor:
        """Features, `[n, width]`."""
        patches = self.patches(pixels).flatten(2).transpose(1, 2)  # [n, patches, width]
        return self.layers(patches + self.places).mean(dim=1)
