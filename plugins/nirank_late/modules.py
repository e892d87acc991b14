"""Late-interaction models that sentence-transformers, or PyLate, put together of modules, run as the former does it.

They say by themselves which prompts stand before texts, how long these are, whether queries are filled up, which tokens
have no vector, and how vectors are projected: a template of nirank's has no place for all of that.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from nirank.data import TokenVectors, offsets_of
from nirank.errors import BadInput
from nirank.kit import Described, Runtime, peer_model, refuse_modules, run_peer
from nirank.kit.transformers import Computing
from nirank_late.template import TemplateSettings

#: Skip lists that a template stands for.
_SKIPPED: tuple[list[str], ...] = ([], [*string.punctuation])
#: What a template needs to know, and PyLate always wrote down.
_WRITTEN = ("query_prefix", "document_prefix", "query_length", "document_length")
#: Settings of a projection that a template's is one with.
_LINEAR = {"bias": False, "activation_function": "torch.nn.modules.linear.Identity"}


def needed(described: Described) -> bool:
    """True for a model of version 6, and for one of PyLate's that is more than a transformer and one projection."""
    if described.saved_as == "MultiVectorEncoder":
        return True
    of_pylate = described.saved_as == "ColBERT" or any(name.startswith("pylate.") for name, _ in described.modules)
    return of_pylate and bool(described.modules) and not _is_template(described)


def _is_template(described: Described) -> bool:
    """True for a model of PyLate's that a template describes whole."""
    settings = described.settings("Dense")
    linear = all(settings.get(name, value) == value for name, value in _LINEAR.items())
    alone = described.kinds == ("Transformer", "Dense") and described.modules[1][1] == "1_Dense"
    prompts = any((described.table.get("prompts") or {}).values())
    told = all(described.table.get(name) for name in _WRITTEN) and described.table.get("skiplist_words", []) in _SKIPPED
    return alone and linear and described.plain and not prompts and told


def read(
    described: Described, dim: int | None, template: TemplateSettings, runtime: Runtime | None, computing: Computing
) -> Any:
    """Load the model. Raises `BadInput` where that fails, and for settings that are the model's own."""
    asked = {"dim": dim, **asdict(template)}
    if odd := [name for name, value in asked.items() if value is not None]:
        kinds = ", ".join(described.kinds)
        raise BadInput(
            f"{described.model!r} is made of modules ({kinds}), which fix how texts are read and projected: leave "
            f"{odd[0]} out."
        )
    refuse_modules(runtime, described)
    model = peer_model("MultiVectorEncoder", described, computing, "late")
    if not any(type(module).__name__ == "Normalize" for module in model):
        raise BadInput(
            f"{described.model!r} has no module Normalize, but MaxSim needs vectors of length 1 here: "
            "choose a model that normalises."
        )
    return model


def vectors(model: Any, texts: Sequence[str], side: str) -> TokenVectors:
    """The vectors of the tokens of some texts, float32; those of queries divided by their number for a mean MaxSim."""
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    found = run_peer(model, clean, _prompt(model, side), task=side)
    mask = found["attention_mask"].bool()  # [texts, tokens]
    values = found["token_embeddings"].float()[mask]
    counts = mask.sum(1)
    if side == "query" and model.similarity_fn_name == "meanmaxsim":
        values = values / counts.repeat_interleave(counts)[:, None]
    return TokenVectors(offsets_of(counts.cpu().numpy().astype(np.int64)), values)


def dimension(model: Any) -> int:
    """The dimension of the vectors."""
    with torch.inference_mode():
        return int(vectors(model, ["a"], "document").values.shape[1])


def _prompt(model: Any, side: str) -> str:
    """The model's own prompt for a side, with what version 6 makes of PyLate's markers."""
    names = ("query",) if side == "query" else ("document", "passage", "corpus")
    return next((model.prompts[name] for name in names if name in model.prompts), "")
