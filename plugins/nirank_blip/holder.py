"""What every component of BLIP is built on: a network that is opened or new, trained, saved, and known by a hash."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from nirank.data import Collection
from nirank.errors import BadInput
from nirank.kit import learned_tokenizer, texts_of, weights_digest
from nirank.kit.transformers import best_device, tokenizer_text
from nirank.pipeline import Stage
from nirank_blip import checkpoints
from nirank_blip.network import First, Network
from nirank_blip.nothing import Shape, built


@dataclass(frozen=True)
class Running:
    """Settings of where and how much at once.

    `batch_size` entries come at once, of which `passed` go through the network together, on `device`, by default a GPU
    if there is one. What `freeze` names ("image") training leaves as it is.
    """

    batch_size: int = 512
    passed: int = 32
    device: str | None = None
    freeze: Sequence[Literal["image"]] = ()

    @property
    def place(self) -> str:
        """The device, chosen where none is given."""
        return self.device or best_device()


class Holder(nn.Module):
    """A component with a network: a subclass says which class of transformers it comes as, and what it needs and uses.

    `model` is a checkpoint or what a training has written, `config` the shape of a network from nothing, whose word
    pieces are learned when a training begins. Raises `BadInput` unless one of them is given.
    """

    kind = checkpoints.RETRIEVAL
    part = "encoder"
    use = ""
    #: True where the head of matching is to say 0 of every pair at first.
    silent = False

    def __init__(
        self,
        model: str | Stage | None,
        config: Mapping[str, Any] | None,
        seed: int,
        running: Running,
        lead: First | None = None,
    ) -> None:
        super().__init__()
        if (model is None) == (config is None):
            raise BadInput(
                "either `model` is given, the name or the folder of a checkpoint, or `config`, the shape of a network "
                "from nothing."
            )
        self.running, self.seed, self.batch_size = running, seed, running.batch_size
        self._lead = lead
        self.network: Network | None = None
        self.shape = Shape.of(config) if config is not None else None
        if model is not None:
            self.network = checkpoints.opened(model, self.kind, running.place)
            self.shape = checkpoints.shape_of(model)
            self.network.check(self.part)
            self.prepare(self.network)
            self._settle()

    def begin(self, collection: Collection) -> None:
        """Make a network from nothing, or take weights of its own, so that others with this model keep theirs.

        Raises `BadInput` for a collection without texts.
        """
        if self.network is not None:
            checkpoints.own(self.network)
        elif self.shape is not None:
            texts = texts_of(collection.queries.contents, collection.corpus[:])
            tokenizer = learned_tokenizer(texts, self.shape.vocabulary, self.shape.least, self.shape.longest)
            self.network = built(self.shape, tokenizer, self.seed, self.silent).to(self.running.place)
        self._settle()

    def prepare(self, network: Network) -> None:
        """Change a network that was opened, before it is used."""

    @property
    def ready(self) -> Network:
        """The network. Raises `BadInput` before the first training of one from nothing."""
        if self.network is None:
            raise BadInput(
                "this network has no vocabulary yet: with `config` it is learned from the texts of the collection that "
                "it is trained on. Train it first (`nirank.fit`)."
            )
        return self.network

    def used(self) -> Iterator[nn.Module]:
        """The modules that are trained, beside that of images."""
        raise NotImplementedError

    def own_settings(self) -> dict[str, Any]:
        """The settings of its own that a checkpoint keeps."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Holder:
        """Switch on what training alone does, but in what is frozen."""
        super().train(mode)
        if self.network is not None and "image" in self.running.freeze:
            self.network.pictures.eval()
        return self

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the network into `folder`. Returns the table of a stage that builds this component again."""
        checkpoints.save(self.ready, self.shape, folder)
        frozen = {"freeze": list(self.running.freeze)} if self.running.freeze else {}
        # the shape is in the network: without this, an experiment's `config` would be given beside the `model`
        return {"use": self.use, **self.own_settings(), **frozen, "config": None, "model": Path(checkpoints.FOLDER)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights, the tokenizer, and of all else that results depend on."""
        known: list[Any] = [self.use, self.own_settings(), self.seed]
        if (network := self.network) is not None:
            reading = network.longest, network.lead, network.pictures.described, tokenizer_text(network.tokenizer)
            known = [self.use, self.own_settings(), weights_digest(network.state_dict()), reading]
        return hashlib.blake2b("\n".join(map(repr, known)).encode(), digest_size=16).hexdigest()

    def _settle(self) -> None:
        """Let those weights take gradients that training changes, and no others."""
        network = self.ready
        network.lead = self._lead or network.lead
        network.requires_grad_(False)
        network.pictures.requires_grad_("image" not in self.running.freeze)
        network.pictures.passed = self.running.passed
        for module in self.used():
            module.requires_grad_(True)
        network.eval()
