"""What all priors have in common: pictures are left to the encoder of pictures, texts go through the prior."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nirank.data import Content, Queries
from nirank.kit.vision import of_both
from nirank_unclip.spaces import Spaces


class Encoder:
    """An encoder of pictures by `clip`, and of texts by what a subclass makes of them."""

    vectors = "dense"
    reads = "either"
    how = ""
    spaces: Spaces

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dim]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of pictures and of texts, float32 `[contents, dim]`."""
        return of_both(contents, self.made, self.spaces.images, torch.zeros(0, self.spaces.dims[1]))

    def made(self, texts: Sequence[str]) -> Tensor:
        """The vectors that texts become, `[texts, dim]`."""
        raise NotImplementedError

    def _hash(self, own: Any) -> str:
        return hashlib.blake2b(repr([self.how, self.spaces.fingerprint, own]).encode(), digest_size=16).hexdigest()
