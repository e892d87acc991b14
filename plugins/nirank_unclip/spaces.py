"""The two spaces that a prior stands between: vectors of texts, and vectors of pictures, both from other encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import nirank
from nirank.data import Content, Queries, images
from nirank.errors import BadInput
from nirank.kit import Memory, encode, encode_documents
from nirank.pipeline import Stage

Model = str | Stage


class Spaces:
    """Unit vectors of texts, by one encoder, and of pictures, by another or the same; each is computed once.

    `clip` makes vectors of pictures, and unless `text` says otherwise of texts too. Raises `BadInput` for an encoder
    that makes no dense vectors of these.
    """

    def __init__(self, clip: Model, text: Model | None) -> None:
        self.named = clip, text
        self.clip = _encoder(clip, "clip", "encode_documents")
        self.text = self.clip if text is None else _encoder(text, "text", "encode")
        self._texts, self._images = Memory(), Memory()
        self.dims = self.texts(["a"]).shape[1], self.images([images.drawn(0)]).shape[1]

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of texts, `[texts, dim]`."""
        return self._texts.get(lambda some: _unit(encode(self.text.component, Queries.of(list(some))).vectors), texts)

    def images(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of pictures, `[pictures, dim]`."""
        return self._images.get(lambda some: _unit(encode_documents(self.clip.component, list(some))), contents)

    @property
    def fingerprint(self) -> list[str]:
        """Hashes of both encoders."""
        return [stage.component.fingerprint for stage in (self.clip, self.text)]

    @property
    def saved(self) -> dict[str, Any]:
        """The settings that name both."""
        clip, text = self.named
        return {"clip": clip, **({} if text is None else {"text": text})}


def _encoder(model: Model, what: str, method: str) -> Stage:
    """An encoder by name or folder. Raises `BadInput` for what is none of dense vectors."""
    stage = model if isinstance(model, Stage) else nirank.load(model)
    if stage.component.traits.vectors not in (None, "dense") or not stage.component.can(method):  # of documents alone
        raise BadInput(f"{what} = {model!r:.80} is no encoder of dense vectors with the method {method}.")
    return stage


def _unit(vectors: Any) -> Tensor:
    return F.normalize(torch.as_tensor(vectors).detach().float().cpu(), dim=-1)
