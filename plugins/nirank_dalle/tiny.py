"""Small instances for checks, without a trained encoder of pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nirank.data import Content, Queries, images
from nirank.kit.transformers import quiet
from nirank.pipeline import load
from nirank.testing import letter_tokenizer
from nirank_dalle.dalle import DALLE, Shape
from nirank_dalle.janus import BEGIN, Janus
from nirank_dalle.marginals import Marginals


class Patches:
    """Codes by hand: how bright each quarter of a picture is, in eight steps."""

    vectors = "codes"
    reads = "images"
    grid = (2, 2)
    codes = 8

    def encode(self, queries: Queries) -> NDArray[np.float32]:
        """How far each step is from those of a picture, float32 `[queries, 4, 8]`."""
        steps = self.encode_documents(queries.contents).astype(np.float32)
        return -np.abs(steps[..., None] - np.arange(8, dtype=np.float32))

    def encode_documents(self, contents: Sequence[Content]) -> NDArray[np.uint8]:
        """Codes of pictures, uint8 `[pictures, 4]`."""
        small = [np.asarray(images.read(each).convert("L").resize((2, 2)), np.uint8) for each in contents]
        return np.array(small, np.uint8).reshape(-1, 4) // 32

    def decode(self, codes: Any) -> list[Any]:
        """Pictures of four grey squares."""
        from PIL import Image

        grey = (np.asarray(codes).reshape(-1, 2, 2) * 32 + 16).astype(np.uint8)
        return [Image.fromarray(each).resize((8, 8), Image.Resampling.NEAREST) for each in grey]


def dalle(seed: int = 0) -> DALLE:
    """Two layers over the codes of quarters."""
    shape = Shape(dim=16, depth=2, heads=2, longest=24, seed=seed)
    return DALLE(load(Patches()), batch_size=7, device="cpu", shape=shape)


def marginals() -> Marginals:
    """Words in few places."""
    return Marginals(load(Patches()), dim=6, buckets=64, batch_size=5, device="cpu")


def janus(seed: int = 0) -> Janus:
    """Janus with two layers over letters and pictures of 8 x 8 pixels; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save_janus(Path(folder), seed)
        return Janus(folder, prompt="u {} a", batch_size=5, device="cpu")


def save_janus(folder: Path, seed: int = 0) -> None:
    """Write a `JanusForConditionalGeneration` as transformers does, with 40 codes at 16 positions."""
    from transformers import JanusConfig, JanusForConditionalGeneration

    tokenizer = letter_tokenizer(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": [BEGIN]})
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**layers, "num_key_value_heads": 2, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    book = {"embed_dim": 4, "num_embeddings": 40, "num_patches": 4, "projection_dim": 16, "image_token_embed_dim": 16}
    convolutions = {"latent_channels": 8, "base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1}
    config = JanusConfig(
        text_config={"model_type": "llama", **text, "max_position_embeddings": 128},
        vision_config={**layers, "image_size": 8, "patch_size": 2, "num_image_tokens": 16, "projection_dim": 16},
        vq_config={**book, **convolutions},
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        model = JanusForConditionalGeneration(config)
        for weights in model.parameters():
            if weights.dim() > 1:  # first weights are small, and every code would be as probable
                torch.nn.init.normal_(weights, std=0.3)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
