"""Models of BLIP with random weights, made from a configuration in a second, for checks without a download."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipImageProcessorPil,
)

from nirank.kit.transformers import quiet
from nirank.testing import letter_tokenizer
from nirank_blip.captions import Captions, Decoding
from nirank_blip.encoder import Blip
from nirank_blip.encoder2 import Blip2
from nirank_blip.holder import Running
from nirank_blip.likelihood import Likelihood
from nirank_blip.matching import Matching

_LAYERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_RUNNING = Running(batch_size=8, passed=4, device="cpu")


def encoder_blip(seed: int = 0) -> Blip:
    """BLIP with two layers a side over letters and pictures of 16 x 16 pixels; the same weights for the same seed."""
    return _made(save_retrieval, lambda folder: Blip(folder, running=_RUNNING), seed)


def encoder_blip2(seed: int = 0) -> Blip2:
    """BLIP-2 of the same size, with three queries."""
    return _made(save_blip2, lambda folder: Blip2(folder, running=_RUNNING), seed)


def scorer_blip_itm(seed: int = 0) -> Matching:
    """The matching of the same, with the cosine."""
    return _made(save_retrieval, lambda folder: Matching(folder, itc=1.0, running=_RUNNING), seed)


def scorer_blip_lm(seed: int = 0) -> Likelihood:
    """A writer of the same size, asked how likely a query is."""
    return _made(save_captioner, lambda folder: Likelihood(folder, running=_RUNNING), seed)


def writer_blip(seed: int = 0) -> Captions:
    """The same writer, which draws two captions of at most five letters."""
    decoding = Decoding(texts=2, search="nucleus", length=5)
    return _made(save_captioner, lambda folder: Captions(folder, decoding=decoding, running=_RUNNING), seed)


def save_retrieval(folder: Path, seed: int = 0) -> None:
    """Write a `BlipForImageTextRetrieval` as transformers does."""
    _save(folder, BlipForImageTextRetrieval, _config(folder), seed)


def save_captioner(folder: Path, seed: int = 0) -> None:
    """Write a `BlipForConditionalGeneration` as transformers does."""
    _save(folder, BlipForConditionalGeneration, _config(folder), seed)


def save_blip2(folder: Path, seed: int = 0) -> None:
    """Write a `Blip2ForImageTextRetrieval` as transformers does."""
    words = len(letter_tokenizer(folder))
    config = Blip2Config(
        vision_config={**_LAYERS, "image_size": 16, "patch_size": 8, "initializer_range": 0.2},
        qformer_config={**_LAYERS, "vocab_size": words, "use_qformer_text_input": True, "max_position_embeddings": 40},
        text_config={"model_type": "opt", **_opt()},
        num_query_tokens=3,
        image_text_hidden_size=12,
    )
    _save(folder, Blip2ForImageTextRetrieval, config, seed)


def _opt() -> dict[str, int]:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 16}
    return {**sizes, "vocab_size": 8, "word_embed_proj_dim": 16, "max_position_embeddings": 8}


def _config(folder: Path) -> BlipConfig:
    """[DEC] and [ENC] stand behind the words of the tokenizer, as in real checkpoints."""
    tokenizer = letter_tokenizer(folder)
    marks = {"bos_token_id": len(tokenizer), "sep_token_id": tokenizer.sep_token_id, "pad_token_id": 0}
    sizes = {"vocab_size": len(tokenizer) + 2, "max_position_embeddings": 40, "initializer_range": 0.2}
    return BlipConfig(
        text_config={**_LAYERS, **marks, **sizes, "eos_token_id": tokenizer.sep_token_id},
        vision_config={**_LAYERS, "image_size": 16, "patch_size": 8, "initializer_range": 0.2},
        image_text_hidden_size=12,
    )


def _save(folder: Path, kind: type, config: Any, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        model = kind(config)
        for parameter in model.parameters():  # queries begin at 0, and would all see the same
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(folder)
        letter_tokenizer(folder).save_pretrained(folder)
        BlipImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)


def _made(write: Callable[..., None], build: Callable[[str], Any], seed: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), seed)
        return build(folder)
