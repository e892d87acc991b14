"""A dual encoder of one's own: any text tower and any image tower, projected into one space."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Collection, Content, Queries
from nirank.errors import BadInput
from nirank.kit import Memory, weights_digest
from nirank.kit.transformers import best_device
from nirank.kit.vision import of_both
from nirank_clip import towers
from nirank_clip.own_text import OwnTextTower, TextConfig
from nirank_clip.settings import Encoding
from nirank_clip.towers import ImageSettings

WEIGHTS = "dual.safetensors"
_TEXT = "text."  # the beginning of the names of the text tower's weights
_SIDES = ("text", "image")


class DualEncoder(nn.Module):
    """Encodes texts by a transformer, images by a network, both into unit vectors of one space.

    `text` is a model of transformers whose vectors of tokens are averaged (by default all-MiniLM-L6-v2). Features are
    projected to `dim` dimensions, through a layer of `hidden` units if there is to be one; without `dim` into the space
    of the text tower, whose vectors stay as they are (Zhai et al., LiT: Zero-Shot Transfer with Locked-image text
    Tuning, CVPR 2022, with the sides exchanged). `seed` is that of first weights, `model` a file that `save` wrote.

    With `config` in the place of `text`, a table of the settings of `own_text.TextConfig`, the text tower is a
    transformer from nothing whose vocabulary is learned from the collection that the encoder is trained on: with a
    `vit`, CLIP from nothing (Radford et al., ICML 2021).

    The settings of the image tower are those of `towers.ImageSettings`, the others those of `settings.Encoding`. What a
    tower in `freeze` makes of a text or a file is computed once.

    Raises `BadInput` for towers that do not exist, for files that hold something else, for a damaged image, and for
    texts before a tower from nothing has its vocabulary.
    """

    vectors = "dense"
    reads = "either"

    def __init__(
        self,
        text: str | None = None,
        dim: int | None = None,
        hidden: int | None = None,
        seed: int = 0,
        model: str | None = None,
        tower: ImageSettings = ImageSettings(),
        config: Mapping[str, Any] | None = None,
        encoding: Encoding = Encoding(passed=64),
    ) -> None:
        super().__init__()
        _check_sides(encoding.freeze)
        self._settings: dict[str, Any] = {"dim": dim, "hidden": hidden, "seed": seed, **tower.saved()}
        self.freeze, self.batch_size = tuple(encoding.freeze), encoding.batch_size
        self.prompts = encoding.prompts
        self.text = _text_tower(text, config, encoding.passed, seed)
        self.image = tower.build(encoding.passed, seed)
        self.dim = self.text.dim if dim is None else dim
        random = torch.Generator().manual_seed(seed)
        self.text_projection = nn.Identity() if dim is None else _projection(self.text.dim, dim, hidden, random)
        self.image_projection = _projection(self.image.dim, self.dim, hidden, random)
        self._memory = {side: Memory() for side in _SIDES}
        if model is not None:
            self._load(Path(model).expanduser())
        self._place = encoding.device or best_device()
        self._settle()

    def _settle(self) -> None:
        for side in self.freeze:
            self._tower(side).requires_grad_(False)
        self.to(self._place).eval()

    def begin(self, collection: Collection) -> None:
        """Let a text tower from nothing learn its vocabulary. Raises `BadInput` for a collection without texts."""
        if isinstance(self.text, OwnTextTower) and self.text.model is None:
            self.text.begin(collection)
            self._settle()

    def __repr__(self) -> str:
        return f"DualEncoder({self._settings['image']}, {self.dim} dimensions, freeze={list(self.freeze)})"

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def templates(self) -> tuple[str, ...]:
        """The sentences that texts are put into."""
        return self.prompts.templates

    @templates.setter
    def templates(self, templates: Sequence[str]) -> None:
        """Put texts into other sentences."""
        self.prompts = replace(self.prompts, templates=tuple(templates))

    def train(self, mode: bool = True) -> DualEncoder:
        """Switch on what training alone does, dropout above all, but in frozen towers."""
        super().train(mode)
        for side in self.freeze:
            self._tower(side).eval()
        return self

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dim]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of documents, float32 `[documents, dim]`."""
        return of_both(contents, self._texts, self._images, torch.empty(0, self.dim, device=self.device))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the text tower into `folder / "text"`, all else into a file of safetensors beside it.

        Returns the table of a stage that builds this encoder again; its paths are relative to `folder`. An image tower
        of transformers goes into `folder / "image"`.
        """
        self.text.save(folder / "text")
        own = {name: value.contiguous() for name, value in self.state_dict().items() if not name.startswith(_TEXT)}
        save_file(own, folder / WEIGHTS)
        settings = {name: value for name, value in self._settings.items() if value is not None}
        table: dict[str, Any] = {**settings, "freeze": list(self.freeze), **self.prompts.saved()}
        if settings["image"] not in (towers.VIT, towers.EFFICIENTNET):
            self.image.save(folder / "image")
            table["image"] = Path("image")
        # a vocabulary that was learned is in "text": an experiment's `config` is not given beside it
        return {"use": "encoder/dual", **table, "config": None, "text": Path("text"), "model": Path(WEIGHTS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all weights, and of how texts and images are prepared."""
        known = [
            weights_digest(self.state_dict()),
            self.text.preparation,
            self.image.pixels,
            self.prompts.known,
            self.image.network,
        ]
        return hashlib.blake2b("\n".join(map(str, known)).encode(), digest_size=16).hexdigest()

    def _texts(self, texts: Sequence[str]) -> Tensor:
        return self.prompts.vectors(texts, self._sentences)

    def _sentences(self, texts: Sequence[str]) -> Tensor:
        return F.normalize(self.text_projection(self._features("text", texts)), dim=-1)

    def _images(self, contents: Sequence[Content]) -> Tensor:
        return F.normalize(self.image_projection(self._features("image", contents)), dim=-1)

    def _features(self, side: str, contents: Sequence[Content]) -> Tensor:
        tower = self._tower(side)
        return self._memory[side].get(tower, contents) if side in self.freeze else tower(contents)

    def _tower(self, side: str) -> nn.Module:
        return self.text if side == "text" else self.image

    def _load(self, path: Path) -> None:
        try:
            state = load_file(path)
            text = {name: value for name, value in self.state_dict().items() if name.startswith(_TEXT)}
            self.load_state_dict(text | state)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise BadInput(f"cannot be loaded as a dual encoder with these settings: {error}", path) from error


def _text_tower(text: str | None, config: Mapping[str, Any] | None, passed: int, seed: int) -> towers.TextTower:
    """The tower of a model, or one from nothing. Raises `BadInput` for both at once."""
    if config is None:
        return towers.TextTower(text, passed)
    if text is not None:
        raise BadInput(f"text = {text!r} is a trained text tower, and config that of one from nothing: give one.")
    return OwnTextTower(TextConfig.of(config), passed, seed)


def _check_sides(freeze: Sequence[str]) -> None:
    if odd := set(freeze) - set(_SIDES):
        raise BadInput(f"freeze names {', '.join(sorted(odd))}; the towers are {' and '.join(_SIDES)}.")


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
