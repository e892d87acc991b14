"""BLIP-2's contrastive side: of an image a vector for each of the learned queries that looked at it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nirank.data import Candidates, Content, Queries, TokenVectors
from nirank.kit import tried, weights_digest
from nirank.kit.transformers import check_tokens, load, quiet, tokenizer_text
from nirank.kit.vision import Pixels, of_both
from nirank_blip.holder import Running
from nirank_blip.pictures import Pictures, unit

_LONGEST = 32  # tokens of a text, as BLIP-2 reads them


class Blip2(nn.Module):
    """Encodes images into 32 unit vectors, or as many as the checkpoint has queries, and texts into one.

    Li, Li, Savarese and Hoi, BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large
    Language Models, ICML 2023. Its score of a text and an image is the highest of their dot products; so is
    that of `blip2 >> maxsim` for a text as the query. (For an image as the query the index adds up all of its vectors.)
    `model` is a checkpoint of `Blip2ForImageTextRetrieval` on the hub or in a folder.

    Raises `BadInput` for a model that lacks weights, and for what is neither text nor image.
    """

    vectors = "tokens"
    reads = "either"

    def __init__(self, model: str, running: Running = Running()) -> None:
        super().__init__()
        settings: dict[str, Any] = {"use_safetensors": True} if Path(model).expanduser().is_dir() else {}
        self.model = load("Blip2ForImageTextRetrieval", model, unused=("language_projection.",), **settings)
        self.tokenizer = load("AutoTokenizer", model)
        check_tokens(self.tokenizer, int(self.model.config.qformer_config.vocab_size), model)
        self.processor = load("AutoImageProcessor", model, backend="pil")
        pixels, config = Pixels.of(self.processor), self.model.config
        self._pictures = Pictures(self.model.vision_model, pixels, config.vision_config.hidden_size, "first")
        self.batch_size, self.passed = running.batch_size, running.passed
        self._longest = min(_LONGEST, int(config.qformer_config.max_position_embeddings))
        self.requires_grad_(False)
        self.to(running.place).eval()
        tried(model, self._texts)

    def encode(self, queries: Queries) -> TokenVectors:
        """Vectors of queries."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> TokenVectors:
        """Vectors of documents."""
        seen = self.model.query_tokens.shape[1]
        empty = torch.zeros(0, seen, self.model.text_projection.out_features, device=self.model.device)
        found = of_both(contents, self._repeated, self._images, empty)
        counts = [1 if isinstance(content, str) else seen for content in contents]
        kept = [found[row, :count] for row, count in enumerate(counts)]
        offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        return TokenVectors(offsets, torch.cat(kept) if kept else empty[:, 0])

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """The highest dot product of a vector of the query and one of the document, float32 `[pairs]`."""
        docs, places = np.unique(candidates.docs, return_inverse=True)
        if not len(docs):
            return torch.zeros(0, device=self.model.device)
        asked, told = self.encode(queries), self.encode_documents(candidates.corpus_for("blip2")[docs])
        pairs = zip(candidates.rows.tolist(), places.tolist(), strict=True)
        return torch.stack([(asked[row] @ told[place].T).max() for row, place in pairs])

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model into `folder / "model"`, as transformers does. Returns the table that builds it again."""
        with quiet():
            for part in (self.model, self.tokenizer, self.processor):
                part.save_pretrained(folder / "model")
        return {"use": "encoder/blip2", "model": Path("model")}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of weights, tokenizer and pixels."""
        known = [weights_digest(self.model.state_dict()), tokenizer_text(self.tokenizer), self._pictures.pixels]
        return hashlib.blake2b("\n".join(map(str, known)).encode(), digest_size=16).hexdigest()

    def _repeated(self, texts: Sequence[str]) -> Tensor:
        """The vector of each text, as many times as an image has some, `[texts, vectors, dim]`."""
        return self._texts(texts)[:, None].expand(-1, self.model.query_tokens.shape[1], -1)

    def _texts(self, texts: Sequence[str]) -> Tensor:
        parts = [self._read(texts[start : start + self.passed]) for start in range(0, len(texts), self.passed)]
        return torch.cat(parts)

    def _read(self, texts: Sequence[str]) -> Tensor:
        whole = [text.encode("utf-8", "replace").decode() for text in texts]
        read = self.tokenizer(
            whole,
            padding=True,
            truncation=True,
            max_length=self._longest,
            split_special_tokens=True,
            return_tensors="pt",
        ).to(self.model.device)
        states = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=read["input_ids"]),
            query_length=0,
            attention_mask=read["attention_mask"],
        ).last_hidden_state
        return unit(self.model.text_projection(states[:, 0]))

    def _images(self, contents: Sequence[Content]) -> Tensor:
        tokens = self._pictures(contents)
        parts = [self._looked(tokens[start : start + self.passed]) for start in range(0, len(tokens), self.passed)]
        return torch.cat(parts)

    def _looked(self, tokens: Tensor) -> Tensor:
        states = self.model.qformer(
            query_embeds=self.model.query_tokens.expand(len(tokens), -1, -1), encoder_hidden_states=tokens
        ).last_hidden_state
        return unit(self.model.vision_projection(states))
