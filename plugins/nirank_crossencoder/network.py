"""The networks under a cross-encoder: an encoder with the head it comes with, or with a new one on its vectors."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank.kit import transformers as pretrained
from nirank_crossencoder.joint import JOINT

Pooling = Literal["cls", "mean", "cedr_knrm", "cedr_drmm", "cedr_pacrr"]
Activation = Literal["none", "sigmoid"]

#: Beside the encoder's files, the head that is not part of the model as transformers knows it.
HEAD = "head.safetensors"

#: Names that models of transformers have for the last layer of their classification head.
_LAST = ("classifier", "score")
#: How the names of weights begin that only the classification of sequences needs.
_HEADS = (*(f"{name}." for name in _LAST), "pooler.", "pre_classifier.", "head.", "sequence_summary.", "logits_proj.")


@dataclass(frozen=True)
class Head:
    """Settings of a head: of the one that comes with a model, or of a new one.

    outputs      how many logits it has: unless given as many as it comes with, and a new one 1
    pooling      a new one is a linear layer on the vector of the first token ("cls") or on the mean of all ("mean"),
                 or reads all layers (`nirank_crossencoder.joint`); unless given it is the one that transformers has
                 for the model
    activation   "sigmoid" makes a probability of one or two logits; unless given it is what the model says of itself,
                 and else "none", while `predict` of sentence-transformers then takes the sigmoid: the order is the same
    seed         draws the weights of a new one
    """

    outputs: int | None = None
    pooling: Pooling | None = None
    activation: Activation | None = None
    seed: int = 0


def _in_float32(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ARG001 (as torch calls it)
    return tuple(each.float() for each in inputs)


class OwnHead(nn.Module):
    """A model for the classification of sequences, as transformers has it."""

    def __init__(self, model: Any, dtype: torch.dtype, new: Sequence[str] = ()) -> None:
        super().__init__()
        self.model, self._new = model, tuple(new)
        found = (getattr(model, name, None) for name in _LAST)
        last = [(layer, copy.deepcopy(layer.state_dict())) for layer in found if isinstance(layer, nn.Module)]
        model.to(dtype)
        for layer, weights in last:  # in bfloat16 a logit has 8 bits, and many documents would tie
            # in memory of its own: what a row of weights sums to depends on where it lies, and that is a file's header
            layer.float().load_state_dict(weights, assign=True)
            layer.register_forward_pre_hook(_in_float32)

    @property
    def encoder(self) -> Any:
        """All but the head."""
        return self.model.base_model

    @property
    def new(self) -> dict[str, Tensor]:
        """The weights of the head that the checkpoint lacked, by name."""
        return {name: value for name, value in self.model.named_parameters() if name in self._new}

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """The outputs of the head for each row, float32 `[rows, outputs]`."""
        logits: Tensor = self.model(**inputs).logits
        return logits.float()

    def save(self, folder: Path) -> None:
        """Write the files that `read` reads."""
        self.model.save_pretrained(folder)


class PooledHead(nn.Module):
    """A head on the vector of the first token ("cls", as in monoBERT), the mean over all tokens, or all layers."""

    head: nn.Linear

    def __init__(self, encoder: Any, pooling: Pooling, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        if isinstance(getattr(encoder, "pooler", None), nn.Module):
            encoder.pooler = None  # it is not read, and would get no gradient
        self.encoder, self.pooling, self._is_new = encoder, pooling, True
        self.dropout = nn.Dropout(getattr(encoder.config, "hidden_dropout_prob", 0.0))
        dim = encoder.config.hidden_size
        if pooling in JOINT:
            joint = JOINT[pooling](encoder.config.num_hidden_layers + 1, dim, outputs)
            joint.draw(generator)
            self.head = joint
            pretrained.picklable(encoder)
            return
        self.head = nn.Linear(dim, outputs)
        nn.init.normal_(self.head.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.head.bias)

    @property
    def new(self) -> dict[str, Tensor]:
        """The weights of a head that was not kept, by name."""
        return {f"head.{name}": value for name, value in self.head.named_parameters()} if self._is_new else {}

    def keep(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a head that was kept. Raises `RuntimeError` where they have another shape."""
        self.head.load_state_dict(state)
        self._is_new = False

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """The outputs of the head for each row, float32 `[rows, outputs]`."""
        if self.pooling in JOINT:
            layers = self.encoder(**inputs, output_hidden_states=True).hidden_states
            return self.head(layers, self.dropout(layers[-1][:, 0].float()), inputs).float()
        states = self.encoder(**inputs).last_hidden_state.float()  # [rows, tokens, dim]
        if self.pooling == "cls":
            return self.head(self.dropout(states[:, 0])).float()
        mask = inputs["attention_mask"][..., None].to(states.dtype)
        return self.head(self.dropout((states * mask).sum(1) / mask.sum(1))).float()

    def save(self, folder: Path) -> None:
        """Write the files that `read` reads."""
        self.encoder.save_pretrained(folder)
        save_file({name: value.contiguous() for name, value in self.head.state_dict().items()}, folder / HEAD)


def read(model: str, head: Head, dtype: Any) -> OwnHead | PooledHead:
    """The network of a folder or hub name, with a new head where it lacks one.

    Raises `BadInput` where there is no such model.
    """
    if head.pooling is not None:
        return _pooled(model, head.pooling, head, dtype)
    outputs = head.outputs
    if outputs is None and not _is_classifier(model):
        outputs = 1
    labels = {} if outputs is None else {"num_labels": outputs, "ignore_mismatched_sizes": True}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(head.seed)
        kind = "AutoModelForSequenceClassification"
        network, new = pretrained.new_head(kind, model, _HEADS, unused=(), dtype=torch.float32, **labels)
        return OwnHead(network, dtype, new)


def _pooled(model: str, pooling: Pooling, head: Head, dtype: Any) -> PooledHead:
    path = Path(model).expanduser() / HEAD
    kept = _head(path) if path.exists() else None
    outputs = head.outputs
    if outputs is None:
        outputs = 1 if kept is None else len(kept["weight"])
    encoder = pretrained.load("AutoModel", model, dtype=dtype)
    made = PooledHead(encoder, pooling, outputs, torch.Generator().manual_seed(head.seed))
    if kept is not None and len(kept["weight"]) == outputs:
        try:
            made.keep(kept)
        except RuntimeError as error:
            raise BadInput(f"does not fit this encoder as its head: {error}", path) from error
    return made


def _head(path: Path) -> dict[str, Tensor]:
    try:
        kept = load_file(path)
        kept["weight"], kept["bias"]
    except (SafetensorError, KeyError) as error:
        raise BadInput(f"cannot be read as the head of a cross-encoder: {error}", path) from error
    return kept


def _is_classifier(model: str) -> bool:
    names = pretrained.load("AutoConfig", model).architectures or []
    return any(name.endswith("ForSequenceClassification") for name in names)
