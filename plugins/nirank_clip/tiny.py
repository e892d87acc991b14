"""Encoders with random weights, made from a configuration in a second, for checks without a download."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from nirank.kit.transformers import quiet
from nirank.testing import save_bert
from nirank_clip.clip import CLIP
from nirank_clip.dual import DualEncoder
from nirank_clip.settings import Encoding
from nirank_clip.towers import ImageSettings

_LETTERS = [*string.ascii_lowercase, *string.digits, ".", ",", "ü", "Ġ"]
_WORDS = ["<|startoftext|>", "<|endoftext|>", *_LETTERS, *(f"{letter}</w>" for letter in _LETTERS)]
_LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_ENDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
_SMALL = Encoding(device="cpu", batch_size=8, passed=4)
_TEXT = {**_LAYERS, **_ENDS, "vocab_size": len(_WORDS), "max_position_embeddings": 24}


def clip(seed: int = 0) -> CLIP:
    """CLIP with two layers a side over letters and pictures of 16 x 16 pixels; the same weights for the same seed."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), seed)
        return CLIP(folder, encoding=_SMALL)


def dual(seed: int = 0) -> DualEncoder:
    """A small BERT over letters beside a small ViT over pictures of 16 x 16 pixels, projected to 12 dimensions."""
    with tempfile.TemporaryDirectory() as folder:
        save_bert(Path(folder), seed=seed)
        tower = ImageSettings(image_size=16, vit_patch=8, vit_width=16, vit_layers=2, vit_heads=2)
        return DualEncoder(text=folder, dim=12, seed=seed, tower=tower, encoding=_SMALL)


def save(folder: Path, seed: int = 0) -> None:
    """Write the model as transformers does, so that it is loaded like a real one."""
    config = CLIPConfig(
        text_config=_TEXT,
        vision_config={**_LAYERS, "image_size": 16, "patch_size": 8},
        projection_dim=12,
    )
    _write(folder, CLIPModel, config, seed)
    crop = {"height": 16, "width": 16}
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=crop).save_pretrained(folder)


def save_siglip(folder: Path, seed: int = 0) -> None:
    """The same with SigLIP."""
    config = SiglipConfig(
        text_config={**_TEXT, "projection_size": 16},
        vision_config={**_LAYERS, "image_size": 16, "patch_size": 8},
    )
    _write(folder, SiglipModel, config, seed)
    SiglipImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)


def tokenizer() -> CLIPTokenizer:
    """CLIP's, of which each letter is a token."""
    vocabulary = {word: number for number, word in enumerate(_WORDS)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24)


def _write(folder: Path, kind: type, config: object, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        kind(config).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
