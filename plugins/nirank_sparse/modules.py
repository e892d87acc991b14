"""Sparse encoders that sentence-transformers put together of modules, run as that library runs them.

Routes for queries and documents, queries that are looked up and not computed (Geng et al., Towards Competitive Search
Relevance for Inference-Free Learned Sparse Retrievers, 2024), and autoencoders over dense vectors, for instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nirank.errors import BadInput
from nirank.kit import Described, Runtime, peer_model, refuse_modules, run_peer
from nirank.kit.transformers import Computing, longest
from nirank_sparse.reading import Reading, described_as_sparse

#: The modules of a masked language model under a maximum or a sum, of today and of older versions.
_PLAIN = (("Transformer", "SpladePooling"), ("MLMTransformer", "SpladePooling"))


def needed(described: Described) -> bool:
    """True for a sparse encoder of other modules than a masked language model and its pooling.

    Cosines, and prompts with special tokens, need the modules too.
    """
    if not described_as_sparse(described):
        return False
    plain = described.kinds in _PLAIN and described.plain
    task = described.transformer.get("transformer_task", "fill-mask")
    by_dot_product = described.table.get("similarity_fn_name") in (None, "dot")
    if not plain or task != "fill-mask" or not by_dot_product:
        return True
    return described.marks(described.prompt("query") + described.prompt("document"))


def read(
    described: Described, reading: Reading, max_length: int | None, runtime: Runtime | None, computing: Computing
) -> Any:
    """Load the model. Raises `BadInput` where that fails, for a distance, and for settings that modules do not have."""
    if odd := [name for name in ("pooling", "activation") if getattr(reading, name) is not None]:
        kinds = ", ".join(described.kinds)
        raise BadInput(f"{described.model!r} is made of modules ({kinds}), which fix the {odd[0]}: leave it out.")
    refuse_modules(runtime, described)
    model = peer_model("SparseEncoder", described, computing, "sparse")
    if model.similarity_fn_name not in ("dot", "cosine"):
        raise BadInput(
            f"{described.model} compares vectors by {model.similarity_fn_name}; one of dot product or cosine is needed."
        )
    if max_length is not None:
        _shorten(model, max_length)
    return model


def weights(model: Any, texts: Sequence[str], prompt: str, side: str, training: bool) -> Tensor:
    """The weights of all terms for some texts, float32 `[texts, terms]`; of length 1 for a model of cosines."""
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    most = {} if model.max_active_dims is None else {"max_active_dims": model.max_active_dims}
    with torch.inference_mode(not training):
        found: Tensor = run_peer(model, clean, prompt, task=side, **most)["sentence_embedding"].float()
    return nn.functional.normalize(found, dim=-1) if model.similarity_fn_name == "cosine" else found


def _shorten(model: Any, max_length: int) -> None:
    """Set how many tokens of a text are read, whichever module reads it."""
    if model.transformers_model is not None:
        longest(model.transformers_model, max_length, max_length)
    for module in model.modules():
        if hasattr(module, "get_config_dict") and getattr(module, "tokenizer", None) is not None:
            module.tokenizer.model_max_length = max_length
