"""Adaptive layers: a transformer whose first layers alone make good vectors, and that may be cut behind them.

Li et al., 2D Matryoshka Sentence Embeddings, 2024. In training each vector is followed by those that the model would
make if it ended after fewer layers, side by side; `apart` takes them from one another again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank.kit import transformers as pretrained


def check(model: SentenceTransformer, depth: int | None, depths: Sequence[int]) -> None:
    """Raise `BadInput` for depths that the model has not, or that are not below its own."""
    if depth is None and not depths:
        return
    whole = len(_layers(model))
    kept = whole if depth is None else depth
    if not 0 < kept <= whole:
        raise BadInput(f"depth = {depth}; this model has {whole} layers: choose 1 to {whole}.")
    wrong = [number for number in depths if not 0 < number < kept]
    if wrong:
        raise BadInput(
            f"depths = {[*depths]}: {wrong[0]} is none below the {kept} layers of this model, which are trained anyway."
        )


def cut(model: SentenceTransformer, depth: int) -> None:
    """Leave the first `depth` layers of a model; what comes behind the last one stays."""
    layers = _layers(model)
    del layers[depth:]
    _network(model).config.num_hidden_layers = depth


def vectors(model: SentenceTransformer, features: dict[str, Any], depths: Sequence[int]) -> list[Tensor]:
    """The vectors of the whole model and of its first layers, as many as each of `depths` says, `[n, dim]` each."""
    with _all_layers(model):
        found = model[0](features)
    hidden = found["all_layer_embeddings"]
    ends = [found, *({**found, "token_embeddings": hidden[depth]} for depth in depths)]
    return [_behind(model, end) for end in ends]


def apart(together: Tensor, dim: int, forms: int) -> list[Tensor]:
    """The vectors of each depth, `[n, dim]`, from those side by side; where there is one alone, it is that of all."""
    parts = list(together.split(dim, dim=1))
    return parts * forms if len(parts) == 1 else parts


def _behind(model: SentenceTransformer, features: dict[str, Any]) -> Tensor:
    """The vectors that the modules behind the transformer make."""
    for module in list(model)[1:]:
        features = module(features)
    vectors: Tensor = features["sentence_embedding"]
    return vectors


@contextmanager
def _all_layers(model: SentenceTransformer) -> Iterator[None]:
    """In the block the transformer gives what each of its layers made."""
    pretrained.picklable(_network(model))
    config = _network(model).config
    before = config.output_hidden_states
    config.output_hidden_states = True
    try:
        yield
    finally:
        config.output_hidden_states = before


def _layers(model: SentenceTransformer) -> nn.ModuleList:
    """The layers of a transformer. Raises `BadInput` for a model that has none, or whose layers cannot be told."""
    network = _network(model)
    wanted = getattr(network.config, "num_hidden_layers", None)
    found = [one for one in network.modules() if isinstance(one, nn.ModuleList) and len(one) == wanted]
    if len(found) != 1:
        raise BadInput(f"the layers of {type(network).__name__} cannot be told: leave depth and depths out.")
    return found[0]


def _network(model: SentenceTransformer) -> Any:
    if not isinstance(model[0], Transformer):
        raise BadInput(
            f"depth and depths are for transformers, but this model begins with a {type(model[0]).__name__}: leave "
            "them out."
        )
    return model[0].model


def unit(together: Tensor, dim: int) -> Tensor:
    """Each of the vectors side by side made of length 1."""
    parts = together.unflatten(1, (-1, dim))
    return torch.nn.functional.normalize(parts, dim=-1).flatten(1)
