"""A dual encoder of one's own: any text tower and any image tower, projected into one space."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Content, Queries
from nirank.errors import BadInput
from nirank.kit import weights_digest
from nirank.kit.transformers import best_device
from nirank_clip import templates as prompts
from nirank_clip import towers
from nirank_clip.contents import through

WEIGHTS = "dual.safetensors"
_TEXT = "text."  # what the names of the text tower's weights begin with
_SIDES = ("text", "image")


class DualEncoder(nn.Module):
    """Encodes texts by a transformer, images by a network, both into unit vectors of one space.

    `text` is a model of transformers whose vectors of tokens are averaged (all-MiniLM-L6-v2 unless given). `image` is
    `vit`, a small transformer that begins with nothing (`nirank.kit.vision.vit`, settings `vit_*`), `efficientnet_lite0`,
    which takes the file `image_weights`, or a vision model of transformers; in training images are moved at random by
    up to `jitter` of their size. Features are projected to `dim` dimensions, through a layer of `hidden` units if
    given; without `dim` into the space of the text tower, whose vectors stay as they are (Zhai et al., LiT: Zero-Shot
    Transfer with Locked-image text Tuning, CVPR 2022, with the sides exchanged).

    `freeze` names the towers ("text", "image") that training leaves as they are; what such a tower makes of a text or a
    file is computed once. `templates` are those of `CLIP`. `model` is a file that `save` wrote; `seed` is that of
    first weights.

    Raises `BadInput` for towers that do not exist, for files that hold something else, and for a damaged image.
    """

    vectors = "dense"
    reads = "either"

    def __init__(
        self,
        image: str = towers.VIT,
        text: str | None = None,
        dim: int | None = None,
        hidden: int | None = None,
        freeze: Sequence[str] = (),
        templates: str | Sequence[str] = (),
        image_size: int | None = None,
        image_weights: str | None = None,
        vit_patch: int = 16,
        vit_width: int = 192,
        vit_layers: int = 4,
        vit_heads: int = 3,
        jitter: float = 0.0,
        model: str | None = None,
        seed: int = 0,
        device: str | None = None,
        batch_size: int = 512,
        passed: int = 64,
    ) -> None:
        super().__init__()
        if odd := set(freeze) - set(_SIDES):
            raise BadInput(f"freeze names {', '.join(sorted(odd))}: the towers are {' and '.join(_SIDES)}.")
        vit = {"patch": vit_patch, "width": vit_width, "layers": vit_layers, "heads": vit_heads}
        self._settings: dict[str, Any] = {"image": image, "image_size": image_size, "jitter": jitter}
        self._settings |= {"dim": dim, "hidden": hidden, "seed": seed}
        self._settings |= {f"vit_{name}": value for name, value in vit.items()}
        self.freeze, self.templates = tuple(freeze), prompts.chosen(templates)
        self.batch_size = batch_size
        self.text = towers.Texts(text, passed)
        self.image = towers.images(image, image_size, passed, image_weights, vit, seed)
        self.image.jitter = jitter
        self.dim = self.text.dim if dim is None else dim
        random = torch.Generator().manual_seed(seed)
        self.text_projection = nn.Identity() if dim is None else _projection(self.text.dim, dim, hidden, random)
        self.image_projection = _projection(self.image.dim, self.dim, hidden, random)
        self._memory = {side: towers.Memory() for side in _SIDES}
        if model is not None:
            self._load(Path(model).expanduser())
        for side in self.freeze:
            getattr(self, side).requires_grad_(False)
        self.to(device or best_device()).eval()

    def __repr__(self) -> str:
        return f"DualEncoder({self._settings['image']}, {self.dim} dimensions, freeze={list(self.freeze)})"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def train(self, mode: bool = True) -> DualEncoder:
        """Dropout in what is trained."""
        super().train(mode)
        for side in self.freeze:
            getattr(self, side).eval()
        return self

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dim]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of documents, float32 `[documents, dim]`."""
        return through(contents, self._texts, self._images, self.dim, self.device)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the text tower into `folder / "text"`, all else into a file of safetensors beside it.

        Returns the table of a stage that builds this encoder again; its paths are relative to `folder`. An image tower
        of transformers goes into `folder / "image"`.
        """
        self.text.save(folder / "text")
        own = {name: value.contiguous() for name, value in self.state_dict().items() if not name.startswith(_TEXT)}
        save_file(own, folder / WEIGHTS)
        told = {name: value for name, value in self._settings.items() if value is not None}
        table: dict[str, Any] = {**told, "freeze": list(self.freeze), "templates": list(self.templates)}
        if told["image"] not in (towers.VIT, towers.EFFICIENTNET):
            self.image.save(folder / "image")
            table["image"] = Path("image")
        return {"use": "encoder/dual", **table, "text": Path("text"), "model": Path(WEIGHTS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all weights, and of how texts and images are prepared."""
        told = [
            weights_digest(self.state_dict()),
            self.text.told,
            self.image.pixels,
            self.templates,
            self.image.network,
        ]
        return hashlib.blake2b("\n".join(map(str, told)).encode(), digest_size=16).hexdigest()

    def _texts(self, texts: Sequence[str]) -> Tensor:
        filled = prompts.filled(texts, self.templates) if self.templates else texts
        vectors = F.normalize(self.text_projection(self._features("text", filled)), dim=-1)
        return prompts.averaged(vectors, len(self.templates)) if self.templates else vectors

    def _images(self, contents: Sequence[Content]) -> Tensor:
        return F.normalize(self.image_projection(self._features("image", contents)), dim=-1)

    def _features(self, side: str, contents: Sequence[Content]) -> Tensor:
        tower = getattr(self, side)
        return self._memory[side].get(tower, contents) if side in self.freeze else tower(contents)

    def _load(self, path: Path) -> None:
        try:
            state = load_file(path)
            text = {name: value for name, value in self.state_dict().items() if name.startswith(_TEXT)}
            self.load_state_dict(text | state)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise BadInput(f"is no dual encoder of these settings: {error}", path) from error


def _projection(before: int, after: int, hidden: int | None, random: torch.Generator) -> nn.Module:
    """A linear map, or two with a GELU between them; their first weights are drawn as `random` says."""
    sizes = [before, after] if hidden is None else [before, hidden, after]
    layers: list[nn.Module] = []
    for inner, outer in pairwise(sizes):
        linear = nn.utils.skip_init(nn.Linear, inner, outer)
        nn.init.normal_(linear.weight, std=inner**-0.5, generator=random)
        nn.init.zeros_(linear.bias)
        layers += [nn.GELU(), linear] if layers else [linear]
    return nn.Sequential(*layers)
