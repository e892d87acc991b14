"""A text tower from nothing: a small transformer, and word pieces learned from the collection that it trains on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nirank.data import Collection
from nirank.errors import BadInput, UnknownName
from nirank.kit import learned_tokenizer, texts_of
from nirank.kit.transformers import quiet
from nirank_clip.towers import TextTower

_LARGEST = 1 << 20


@dataclass(frozen=True)
class TextConfig:
    """The shape of a text tower from nothing.

    It has `layers` of `width` numbers with `heads` and, unless `inner` says otherwise, feed-forward layers four times
    as wide. Its `vocabulary` has at most so many word pieces, of words that occur `least` times, and it reads the first
    `longest` tokens of a text. Raises `BadInput` for numbers that make no sense.
    """

    width: int = 192
    layers: int = 2
    heads: int = 4
    inner: int | None = None
    vocabulary: int = 8000
    least: int = 2
    longest: int = 32

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 8 if field.name == "longest" else 1
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (value is None and field.name == "inner") and not (whole and least <= value <= _LARGEST):
                raise BadInput(f"config: {field.name} = {value!r}; a whole number from {least} is expected.")
        if self.width % self.heads:
            raise BadInput(f"config: width = {self.width} is not a multiple of heads = {self.heads}; it has to be one.")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> TextConfig:
        """The shape from a table. Raises `UnknownName` for a name that is none of its own."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise UnknownName("entry of config, the shape of the text tower,", name, known)
        return cls(**given)


class OwnTextTower(TextTower):
    """A text tower with first weights from `seed`, whose vocabulary is learned when a training begins.

    Wordpieces as in Schuster and Nakajima, Japanese and Korean Voice Search, ICASSP 2012. Once it is trained, the tower
    is saved and loaded as any other transformer.
    """

    def __init__(self, config: TextConfig, passed: int, seed: int) -> None:
        nn.Module.__init__(self)
        self.config, self.passed, self.seed = config, passed, seed
        self.dim, self.longest = config.width, config.longest
        self.model, self.tokenizer = None, None

    def begin(self, collection: Collection) -> None:
        """Learn word pieces from the texts of a collection, and make the weights; only the first time.

        Raises `BadInput` where it has no texts.
        """
        if self.model is None:
            config = self.config
            texts = texts_of(collection.queries.contents, collection.corpus[:])
            self.tokenizer = learned_tokenizer(texts, config.vocabulary, config.least, config.longest)
            self.model = _network(self.config, len(self.tokenizer), self.seed)
            self.eval()

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors, float32 `[texts, dim]`. Raises `BadInput` before the first training."""
        self._refuse_untrained()
        return super().forward(texts)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer into a folder. Raises `BadInput` before the first training."""
        self._refuse_untrained()
        super().save(folder)

    @property
    def preparation(self) -> str:
        """A text of all that its vectors depend on beside the weights."""
        return f"{self.config} {self.seed}" if self.model is None else super().preparation

    def _refuse_untrained(self) -> None:
        if self.model is None:
            raise BadInput(
                "this text tower has no vocabulary yet: with `config` it is learned from the texts of the collection "
                "that the encoder is trained on. Train it first (`nirank.fit`)."
            )


def _network(config: TextConfig, tokens: int, seed: int) -> Any:
    from transformers import BertConfig, BertModel

    sizes = {
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.inner or 4 * config.width,
    }
    settings = BertConfig(vocab_size=tokens, max_position_embeddings=config.longest, **sizes)
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(settings)
    model.pooler.requires_grad_(False)  # which is not used, but is in every checkpoint of BERT
    return model
