"""Hashes of what results depend on: values, and weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def digest(value: Any) -> str:
    """A short hash of a value that JSON can hold, equal on every machine."""
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def weights_digest(state: Mapping[str, Any]) -> str:
    """A hash of named tensors, those of a `state_dict`; equal weights have equal ones on every machine."""
    import torch

    hashed = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return hashed.hexdigest()


def place_of(text: str, seed: int = 0) -> int:
    """A number from 0 to 2 ** 64 - 1 that a text always has: what is dealt out by it stays where it is."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest(), "big")
