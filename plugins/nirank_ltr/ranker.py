"""What rankers over features share: names, normalisation, first weights, and the file that holds all of it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
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


class FeatureRanker(nn.Module):
    """A network that scores pairs by their features, of which it knows the names since its first training.

    `name` is what it is registered as. Its settings are `settings`; those that are told where it is saved. A subclass
    builds its layers in `network(features, random)`, a module that is called with features `[pairs, features]` and the
    candidates they belong to, and gives `[pairs, classes]`.
    """

    reads = "features"
    batch_size = 1 << 16
    cacheable = False  # a score depends on features, and not on a text
    name: str

    def __init__(self, settings: dict[str, Any], model: str | None, device: str | None) -> None:
        super().__init__()
        self.settings = settings
        self.names: tuple[str, ...] = ()
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.normaliser = Normaliser(0, settings["normalise"])
        self.layers: nn.Module | None = None
        if settings["classes"] < 1:
            raise BadInput(f"classes = {settings['classes']}; 1 or more are expected.")
        if model is not None:
            self._load(Path(model))
        self.eval()

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({len(self.names)} features, {told})"

    @property
    def listwise(self) -> bool:
        """Whether a score depends on the documents beside it."""
        return self.normaliser.is_listwise

    def network(self, features: int, random: torch.Generator) -> nn.Module:
        """The layers for so many features, with weights drawn from `random`."""
        raise NotImplementedError

    def begin(self, collection: Collection) -> None:
        """Take the names and the statistics of the features of a collection's judged pairs, with new weights.

        A ranker that has some keeps what it has. Raises `BadInput` where it knows features that are not there.
        """
        features = collection.judgments.features
        if features is None:
            raise BadInput(f"{self.name} ranks by features, and the judged documents of {collection!r} have none.")
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
            raise BadInput(f"this {self.name} knows no features yet: train it, or give the file of a model.")
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
        told = f"{weights_digest(self.state_dict())}{json.dumps(self.names)}{self!r}"
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()

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
            raise BadInput(f"is no {self.name} ranker of these settings: {error}", path) from error


def chosen(features: Features | None, names: Sequence[str], ranker: str) -> Floats:
    """The features of the given names, in that order, float32 `[pairs, names]`.

    Raises `BadInput` where there are none, and for those that are missing.
    """
    if features is None:
        raise BadInput(f"{ranker} ranks by features, and these pairs have none: write `features(...) >> {ranker}`.")
    if features.names == tuple(names):
        return features.values
    places = {name: place for place, name in enumerate(features.names)}
    missing = [name for name in names if name not in places]
    if missing:
        raise BadInput(f"{ranker} was trained with features that are missing here: {', '.join(missing)}.")
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
