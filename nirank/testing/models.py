"""Small transformers with random weights, made from a configuration in a second: for `tiny`, and tests offline."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from nirank.kit.transformers import quiet

#: Tokens of one letter or digit each, at the beginning of a word and within.
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *string.digits]
#: Tokens that a model reads.
LONGEST = 64


def save_bert(folder: Path, architecture: str = "BertModel", seed: int = 0, marks: str = "", **config: Any) -> None:
    """Write a BERT and its tokenizer as transformers does, so that they are loaded like real ones.

    It has two layers of 16 dimensions, unless `config` says otherwise; its tokens are letters, digits and `marks`.
    Equal seeds give equal weights.
    """
    import torch
    import transformers

    tokenizer = letter_tokenizer(folder, marks)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32} | config
    settings = transformers.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=LONGEST, **sizes)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        getattr(transformers, architecture)(settings).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def letter_tokenizer(folder: Path, marks: str = "") -> Any:
    """BERT's tokenizer over letters, digits and `marks`; its vocabulary is written into `folder`, which is made."""
    from transformers import BertTokenizerFast

    words = [*WORDS, *marks]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join([*words, *(f"##{word}" for word in words[5:])]), encoding="utf-8")
    return BertTokenizerFast(str(vocabulary), model_max_length=LONGEST)
