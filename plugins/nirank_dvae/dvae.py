"""A discrete variational autoencoder: a picture as 64 codes, and how probable codes are of a picture.

Ramesh et al., Zero-Shot Text-to-Image Generation, ICML 2021, section 2.1 and appendix A.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from nirank.data import Candidates, Codes, Content, Queries, narrow
from nirank.errors import BadInput
from nirank.kit import digest, weights_digest
from nirank.kit.transformers import best_device
from nirank.kit.vision import Pixels
from nirank_dvae import elbo, network
from nirank_dvae.densities import DENSITIES, Name

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Relaxation:
    """How training relaxes codes.

    beta      the weight of the KL to uniform: 1 is the bound itself, less leaves more to the picture
    warming   the share of training in which that weight rises from 0
    tau       the temperature at the end, from 1 at the beginning, by half a cosine
    cooling   the share of training after which it is reached
    """

    beta: float = 1.0
    warming: float = 0.1
    tau: float = 1 / 16
    cooling: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("beta", 0), ("tau", 1e-3), ("warming", 0), ("cooling", 0)):
            if not least <= getattr(self, name) < math.inf:
                raise BadInput(f"{name} = {getattr(self, name)}: a number from {least} is expected.")

    def at(self, share: float) -> tuple[float, float]:
        """Temperature and weight after this share of training, 0 to 1."""
        cooled, warmed = _way(share, self.cooling), _way(share, self.warming)
        return self.tau + (1 - self.tau) * (1 + math.cos(math.pi * cooled)) / 2, self.beta * warmed


class DVAE(nn.Module):
    """Encodes pictures into codes; a query keeps its distribution over codes, `log q(code | query)` at each position.

    So `dvae >> codes` ranks by `sum over positions i of log q(z_i of the document | query)`, with as many bytes a
    document as there are positions. Documents have the most probable code of each position.

    As a scorer it is the generative model: the score of a pair is `(log p(document | z) - beta KL(q(z | query),
    uniform)) / values`, the evidence lower bound of the document with the codes of the query, in nats for each value of
    a picture (pixels times channels; Ramesh et al. divide alike). Of a picture with itself it is the bound that the
    loss `likelihood` trains on a collection in which each picture is relevant to itself (`ask="self"`). z is a relaxed
    sample in training, and the most probable code elsewhere.

    Pictures are resized to `side` x `side`, with `channels` 1 (grey) or 3; a position is `patch` x `patch` pixels, with
    `dim` features. There are `codes` codes, at most 65,536. `seed` is that of first weights. `density` says how
    probable pixels are: `"logit_laplace"` as in the paper, or `"normal"`, which is for drawings on a plain ground: by
    the other one they come to use a few codes only, and lose their colours. With `normed` features more codes come to
    be used, and pictures are rebuilt better; queries find somewhat less.

    Raises `BadInput` for sizes that do not fit, and for a damaged picture.
    """

    vectors = "codes"
    reads = "images"

    def __init__(
        self,
        codes: int = 256,
        dim: int = 64,
        side: int = 32,
        patch: int = 4,
        channels: int = 1,
        seed: int = 0,
        batch_size: int = 256,
        device: str | None = None,
        relaxation: Relaxation = Relaxation(),
        density: Name = "logit_laplace",
        normed: bool = False,
    ) -> None:
        super().__init__()
        if density not in DENSITIES:
            raise BadInput(f"density = {density!r}: one of {', '.join(DENSITIES)} is expected.")
        if not 2 <= codes <= 1 << 16 or channels not in (1, 3) or dim < 1:
            raise BadInput(
                f"codes = {codes}, channels = {channels}, dim = {dim}: 2 to 65,536 codes, 1 or 3 channels and a dim "
                "from 1 are expected."
            )
        if patch < 1 or side < patch or side % patch:
            raise BadInput(f"side = {side}, patch = {patch}: a side that is a multiple of the patch is expected.")
        self.codes, self.side, self.patch, self.batch_size = codes, side, patch, batch_size
        self.relaxation = relaxation
        self._tau, self._beta, self._density = 1.0, relaxation.beta, DENSITIES[density]
        self._pixels = Pixels(resize=(side, side), mean=(0.0,) * channels, std=(1.0,) * channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = network.Encoder(channels, codes, dim, patch, normed)
            self.decoder = network.Decoder(self._density.numbers * channels, codes, dim, patch, side // patch)
        self.to(device or best_device()).eval()

    def __repr__(self) -> str:
        return f"DVAE({self.positions} positions, {self.codes} codes)"

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of positions."""
        return self.side // self.patch, self.side // self.patch

    @property
    def positions(self) -> int:
        """The number of codes of a picture."""
        return math.prod(self.grid)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def anneal(self, share: float) -> None:
        """Set temperature and weight of the KL for this share of training, 0 to 1."""
        self._tau, self._beta = self.relaxation.at(share)

    def encode(self, queries: Queries) -> Tensor:
        """`log q(code | query)` at each position, float32 `[queries, positions, codes]`."""
        return self.logits(self.read(queries.contents)).log_softmax(2)

    def encode_documents(self, contents: Sequence[Content]) -> Codes:
        """The most probable code of each position, `[documents, positions]`, uint8 if there are at most 256 codes."""
        return narrow(self.logits(self.read(contents)).argmax(2), self.codes)

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """The bound of each pair, `[pairs]`: of the document by the codes of the query, in nats a value."""
        rows, asked = np.unique(candidates.rows, return_inverse=True)
        docs, told = np.unique(candidates.docs, return_inverse=True)
        pixels = self.read(candidates.corpus_for("dvae")[docs])[torch.from_numpy(told).to(self.device)]
        logits = self.logits(self.read([queries.contents[row] for row in rows.tolist()]))
        by = torch.from_numpy(asked).to(self.device)
        z, beta = (elbo.relaxed(logits, self._tau), self._beta) if self.training else (self._chosen(logits))
        bound = self._density.log_density(pixels, self.decoder(z)[by]) - beta * elbo.kl_to_uniform(logits)[by]
        return bound / (len(self._pixels.mean) * self.side**2)

    def decode(self, codes: Codes | Tensor) -> list[Image]:
        """The pictures of codes, `[n, positions]` or fewer axes more: what the decoder means by them."""
        from PIL import Image

        places = torch.as_tensor(np.asarray(codes, np.int64), device=self.device).reshape(-1, self.positions)
        weights = nn.functional.one_hot(places, self.codes).float()
        with torch.inference_mode():
            restored = self._density.restored(self.decoder(weights))
        pixels = (restored * 255).round().byte().cpu().permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture) for picture in pixels]

    def logits(self, pixels: Tensor) -> Tensor:
        """The logits of codes, `[n, positions, codes]`, of pixels from 0 to 1, `[n, channels, side, side]`."""
        made: Tensor = self.encoder(self._density.seen(pixels))
        return made

    def read(self, contents: Sequence[Content]) -> Tensor:
        """The pixels of pictures, from 0 to 1, float32 `[n, channels, side, side]`."""
        return self._pixels.normalised(self._pixels.bytes(contents).to(self.device))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and of how pictures are read."""
        return digest([weights_digest(self.state_dict()), repr(self._pixels), self.relaxation.beta])

    def _chosen(self, logits: Tensor) -> tuple[Tensor, float]:
        return elbo.hard(logits), self.relaxation.beta


def tiny() -> DVAE:
    """Twelve codes at four positions of pictures of 8 x 8 pixels; first weights, enlarged lest all codes be alike."""
    made = DVAE(codes=12, dim=8, side=8, channels=3, device="cpu", batch_size=5)
    with torch.no_grad():
        for weights in made.encoder.parameters():
            weights.mul_(4)
    return made


def _way(share: float, until: float) -> float:
    """The part of a way that is gone after a share of training, where it ends at the share `until`."""
    return min(share / until, 1.0) if until else 1.0
