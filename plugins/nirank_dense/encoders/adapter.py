"""An adapter: linear maps behind an encoder that stays as it is."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import nirank
from nirank.data import Content, Queries, to_numpy
from nirank.errors import BadInput
from nirank.kit import Memory, encode, encode_documents, weights_digest
from nirank.pipeline import Stage

WEIGHTS = "adapter.safetensors"
_SIDES = ("query", "document")


class Adapter(nn.Module):
    """Encodes with another encoder, and trains linear maps of its vectors: `q' = (q + A q) / |q + A q|`, `d'` with B.

    `encoder` is the other one: a name, a table with its settings (`{use = "sentence", model = ...}`), or an object of
    your own. It stays as it is, so what it makes of a text is computed once, up to 256 MiB of it, and a step costs a
    thousandth of one that trains a transformer. `sides` are those that have a map. A and B are 0 at first, which gives
    the vectors of the encoder at unit length.

    `model` is a file that `save` wrote. A checkpoint has the maps, and the encoder by its name or table: what lies in
    a folder that the table names is not copied.

    Raises `BadInput` for an encoder of other than dense vectors, sides that do not exist, and a file of other maps.
    """

    vectors = "dense"

    def __init__(
        self,
        encoder: str | Mapping[str, Any] | Any = "minilm",
        sides: Sequence[str] = _SIDES,
        model: str | None = None,
    ) -> None:
        super().__init__()
        # not an object: its weights would be among those of the adapter
        self._named = encoder if isinstance(encoder, (str, Mapping)) else None
        self.sides = tuple(sides)
        if not sides or set(sides) - {*_SIDES}:
            raise BadInput(f"sides = {list(sides)}; some of {' and '.join(_SIDES)} are expected.")
        self._encoder = _loaded(encoder).component
        if self._encoder.traits.vectors != "dense":
            raise BadInput(
                f"an adapter is for dense vectors, but {self._encoder.spec} has {self._encoder.traits.vectors}."
            )
        self.reads = self._encoder.traits.reads
        self._memory = {side: Memory() for side in _SIDES}
        dim = self._features("query", ["a"]).shape[1]
        self.maps = nn.ParameterDict({side: nn.Parameter(torch.zeros(dim, dim)) for side in self.sides})
        if model is not None:
            self._load(Path(model).expanduser())

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dim]`."""
        return self._adapted("query", queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of documents, float32 `[documents, dim]`."""
        return self._adapted("document", contents)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the maps into a folder; returns the table of a stage that builds this adapter again.

        Raises `BadInput` where the encoder was given as an object, which no table can name.
        """
        if self._named is None:
            raise BadInput(
                "an adapter of an encoder that was given as an object cannot be saved: give a name or a table."
            )
        save_file(dict(self.state_dict()), folder / WEIGHTS)
        table = self._named if isinstance(self._named, str) else dict(self._named)
        return {"use": "encoder/adapter", "encoder": table, "sides": list(self.sides), "model": Path(WEIGHTS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the encoder and the maps."""
        known = f"{self._encoder.fingerprint} {self.sides} {weights_digest(self.state_dict())}"
        return hashlib.blake2b(known.encode(), digest_size=16).hexdigest()

    def _adapted(self, side: str, contents: Sequence[Content]) -> Tensor:
        if not len(contents):
            return torch.empty(0, len(next(iter(self.maps.values()))), device=self._device)
        vectors = self._features(side, contents).to(self._device)
        return F.normalize(vectors + vectors @ self.maps[side] if side in self.maps else vectors, dim=1)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _features(self, side: str, contents: Sequence[Content]) -> Tensor:
        return self._memory[side].get(functools.partial(self._encoded, side), contents)

    def _encoded(self, side: str, contents: Sequence[Content]) -> Tensor:
        if side == "query":
            vectors = encode(self._encoder, Queries.of(contents)).vectors
        else:
            vectors = encode_documents(self._encoder, contents)
        return torch.from_numpy(to_numpy(vectors)).float()

    def _load(self, path: Path) -> None:
        try:
            self.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            raise BadInput(f"cannot be loaded as the maps of {' and '.join(self.sides)}: {error}", path) from error


def _loaded(given: Any) -> Stage:
    if not isinstance(given, (str, Mapping)):
        return given if isinstance(given, Stage) else nirank.load(given, "encoder")
    table = {"use": given} if isinstance(given, str) else dict(given)
    if not isinstance(table.get("use"), str):
        raise BadInput(f'adapter: encoder = {given!r}; a name, or a table with `use = "NAME"`, is expected.')
    return nirank.load(f"encoder/{table.pop('use').removeprefix('encoder/')}", "encoder", **table)
