"""The base of networks over features: names, normalisation, first weights, and the file that holds all of it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import skip_init

from nirank.data import Candidates, Collection, Features, Floats, Queries
from nirank.errors import BadInput, UnknownName
from nirank.kit import weights_digest
from nirank_ltr.normalising import Normaliser


@dataclass(frozen=True)
class RankerSettings:
    """Settings of a network over features, whatever its layers are.

    `normalise` is one of the ways of `nirank_ltr.normalising`. With several `classes` it gives a number for each grade,
    for losses of classes, and the score is the expected grade. First weights come from `seed`. `model` is a file that
    `save` wrote; `device` is where it computes, a GPU if there is one.
    """

    normalise: str = "z-score"
    classes: int = 1
    seed: int = 0
    model: str | None = None
    device: str | None = None


class FeatureRanker(nn.Module):
    """A network that scores pairs by their features, whose names it learns in its first training.

    `name` is its registered name, and `settings` are what it is saved with: those of a subclass (`own`) and the shared
    ones. A subclass builds its layers in `network(features, random)`: a module that is called with features
    `[pairs, features]` and the candidates they belong to, and returns `[pairs, classes]`.

    Raises `BadInput` for no classes, or for a `model` that holds something else.
    """

    reads = "features"
    batch_size = 1 << 16
    cacheable = False  # a score depends on features, and not on a text
    name: str

    def __init__(self, own: dict[str, Any], shared: RankerSettings) -> None:
        super().__init__()
        self.settings = {**own, "normalise": shared.normalise, "classes": shared.classes, "seed": shared.seed}
        self.names: tuple[str, ...] = ()
        self._device = torch.device(shared.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.normaliser = Normaliser(0, shared.normalise)
        self.layers: nn.Module | None = None
        if shared.classes < 1:
            raise BadInput(f"classes = {shared.classes}: a number from 1 is expected.")
        if shared.model is not None:
            self._load(Path(shared.model))
        self.eval()

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({len(self.names)} features, {settings})"

    @property
    def listwise(self) -> bool:
        """True where a score depends on the documents beside it."""
        return self.normaliser.is_listwise

    def network(self, features: int, random: torch.Generator) -> nn.Module:
        """The layers for a number of features, with weights drawn from `random`."""
        raise NotImplementedError

    def begin(self, collection: Collection) -> None:
        """Take the names and the statistics of the features of a collection's judged pairs, with new weights.

        A ranker that has been trained keeps its own. Raises `BadInput` where it was trained with features that are not
        there.
        """
        features = collection.judgments.features
        if features is None:
            raise BadInput(
                f"{self.name} ranks by features, but the judged documents of {collection!r} have none: "
                f"train `features(...) >> {self.name}`."
            )
        if self.names:
            chosen(features, self.names, self.name)
            return
        self._build(features.names)
        self.normaliser.learn(features.values)

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:  # noqa: ARG002 (as scorers are called)
        """Scores, float32 `[pairs]`; with several `classes`, while it is trained, their logits `[pairs, classes]`.

        Raises `BadInput` where a feature is missing that it was trained with.
        """
        if self.layers is None:
            raise BadInput(f"this {self.name} is not trained: train it, or set `model` to a file that it saved.")
        rows = torch.from_numpy(candidates.rows).to(self.normaliser.shift.device)
        values = torch.from_numpy(chosen(candidates.features, self.names, self.name)).to(rows.device)
        scores = self.layers(self.normaliser(values, rows), candidates)  # (pairs, classes)
        if scores.shape[1] == 1:
            return scores[:, 0]
        return scores if self.training else expected_grade(scores)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write names, statistics and weights into `folder`. Returns the table of a stage that builds it again."""
        file = f"{self.name}.safetensors"
        state = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, folder / file, metadata={"features": json.dumps(self.names)})
        return {"use": f"scorer/{self.name}", **self.settings, "model": Path(file)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of names, settings and weights."""
        known = f"{weights_digest(self.state_dict())}{json.dumps(self.names)}{self!r}"
        return hashlib.blake2b(known.encode(), digest_size=16).hexdigest()

    def _build(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        random = torch.Generator().manual_seed(self.settings["seed"])
        self.normaliser = Normaliser(len(names), self.settings["normalise"])
        self.layers = self.network(len(names), random)
        self.to(self._device)
        self.train(self.training)

    def _load(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                names = json.loads((file.metadata() or {})["features"])
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            self._build(names)
            self.load_state_dict(state)
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            raise BadInput(f"cannot be loaded as a {self.name} ranker with these settings: {error}", path) from error


def chosen(features: Features | None, names: Sequence[str], ranker: str) -> Floats:
    """The features called `names`, in that order, float32 `[pairs, names]`.

    Raises `BadInput` where there are none, or where some are missing.
    """
    if features is None:
        raise BadInput(f"{ranker} ranks by features, but these pairs have none: write `features(...) >> {ranker}`.")
    if features.names == tuple(names):
        return features.values
    places = {name: place for place, name in enumerate(features.names)}
    missing = [name for name in names if name not in places]
    if missing:
        raise BadInput(
            f"{ranker} was trained with features that are missing here: {', '.join(missing)}. Compute these as well."
        )
    return features.values.take([places[name] for name in names], axis=1)


def expected_grade(logits: Tensor) -> Tensor:
    """The mean of the grades 0, 1, ... under the softmax of their logits, `[pairs]`."""
    return torch.softmax(logits, 1) @ torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)


def drawn(inputs: int, outputs: int, random: torch.Generator) -> nn.Linear:
    """A linear layer whose weights and biases are drawn evenly from +-1 / sqrt(inputs)."""
    layer: nn.Linear = skip_init(nn.Linear, inputs, outputs)  # which would take numbers from the chance of others
    bound = max(inputs, 1) ** -0.5
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=random)
    return layer


def activation(name: str) -> nn.Module:
    """A function between layers, by name. Raises `UnknownName` for another."""
    if name not in _ACTIVATIONS:
        raise UnknownName("activation", name, _ACTIVATIONS)
    return _ACTIVATIONS[name]()


_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}
