"""DALL-E's own encoder of pictures into codes, as transformers has it for FLAVA.

Ramesh et al., Zero-Shot Text-to-Image Generation, ICML 2021; Singh et al., FLAVA, CVPR 2022.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from nirank.data import Codes, Content, Queries, narrow
from nirank.errors import BadInput
from nirank.kit import digest, weights_digest
from nirank.kit.transformers import best_device, load, quiet
from nirank.kit.vision import Pixels
from nirank_dvae.densities import squeezed

#: Each of its groups but the last halves height and width.
_PATCH = 8


class FlavaCodebook(nn.Module):
    """Encodes pictures into codes of DALL-E, of which there are 8,192; a query keeps its distribution over them.

    `model` is a `FlavaImageCodebook` of transformers, on the hub or in a folder. Pictures are resized to `side` x
    `side`, and there is a position for 8 x 8 pixels: 14 x 14 of them, two bytes each, in a picture of 112. A query's
    table has `positions x 8,192` numbers (6 MiB). Pixels are from .1 to .9, and not normalised by ImageNet's means,
    with which every code would be the same. It has no decoder, so nothing can be drawn, and is not trained here.

    Raises `BadInput` for a model that lacks weights, for one of another kind, and for a side that is no multiple of 8.
    """

    vectors = "codes"
    reads = "images"

    def __init__(
        self,
        model: str = "facebook/flava-image-codebook",
        side: int = 112,
        batch_size: int = 16,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if side < _PATCH or side % _PATCH:
            raise BadInput(f"side = {side}: a multiple of {_PATCH} is expected.")
        self.side, self.batch_size = side, batch_size
        self.model = load("FlavaImageCodebook", model, unused=())
        self.model.requires_grad_(False)
        self.codes = int(self.model.config.vocab_size)
        if not 2 <= self.codes <= 1 << 16:
            raise BadInput(f"{model!r} has {self.codes:,} codes; 2 to 65,536 are expected.")
        self._pixels = Pixels((side, side), mean=(0.0,) * 3, std=(1.0,) * 3, resample=int(Image.Resampling.LANCZOS))
        self.to(device or best_device()).eval()

    def __repr__(self) -> str:
        return f"FlavaCodebook({math.prod(self.grid)} positions, {self.codes} codes)"

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of positions."""
        return self.side // _PATCH, self.side // _PATCH

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def encode(self, queries: Queries) -> Tensor:
        """`log q(code | query)` at each position, float32 `[queries, positions, codes]`."""
        return self._logits(queries.contents).log_softmax(2)

    def encode_documents(self, contents: Sequence[Content]) -> Codes:
        """The most probable code of each position, `[documents, positions]`, uint8 if there are at most 256 codes."""
        return narrow(self._logits(contents).argmax(2), self.codes)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model into `folder / "model"`. Returns the table of a stage that builds this encoder again."""
        with quiet():
            self.model.save_pretrained(folder / "model")
        return {"use": "encoder/flava_codebook", "model": Path("model"), "side": self.side}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and of how pictures are read."""
        return digest([weights_digest(self.state_dict()), repr(self._pixels)])

    def _logits(self, contents: Sequence[Content]) -> Tensor:
        pixels = self._pixels.normalised(self._pixels.bytes(contents).to(self.device))
        logits: Tensor = self.model(squeezed(pixels))
        return logits.flatten(2).transpose(1, 2).float()


def save(folder: Path, seed: int = 0) -> None:
    """Write a model of random weights as transformers does, with 300 codes."""
    from transformers import FlavaImageCodebook, FlavaImageCodebookConfig

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        config = FlavaImageCodebookConfig(num_blocks_per_group=1, hidden_size=4, vocab_size=300, initializer_range=1.0)
        FlavaImageCodebook(config).save_pretrained(folder)


def tiny() -> FlavaCodebook:
    """A model of random weights over pictures of 16 x 16 pixels."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        return FlavaCodebook(folder, side=16, device="cpu", batch_size=5)
