"""BLIP's network, and what it is asked: vectors of images and texts, whether they match, how likely a text is.

Li, Li, Xiong and Hoi, BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and
Generation, ICML 2022. One text transformer reads a text alone ([CLS]: contrastive, ITC) or with an image, to whose
tokens it attends ([ENC]: matching, ITM); another with causal attention writes ([DEC]: language modelling, LM). Parts
are those of transformers, called one by one, so that an image is encoded once for all texts that it is seen with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.errors import BadInput
from nirank.kit.transformers import passes
from nirank_blip.pictures import Pictures, unit

#: The token in the first place of a text that is matched with an image: [ENC], as in training, or [CLS].
First = Literal["enc", "cls"]
_SMOOTHING = 0.1  # of the targets of language modelling, in training


class Network(nn.Module):
    """The parts of BLIP: all of them, or without `decoder`, or without `encoder` and what belongs to it.

    `encoder` is a `BlipTextModel`, `decoder` a `BlipTextLMHeadModel`; a text has at most `longest` tokens.
    """

    encoder: Any
    decoder: Any

    def __init__(self, pictures: Pictures, tokenizer: Any, longest: int, encoder: Any = None, decoder: Any = None):
        super().__init__()
        self.pictures, self.tokenizer, self.longest = pictures, tokenizer, longest
        self.encoder, self.decoder = encoder, decoder
        #: What its weights are shared with.
        self.origin: tuple[Network, ...] = ()
        #: What stands in the first place of a text that is matched.
        self.lead: First = "enc"
        self.text_proj: Any = None
        self.vision_proj: Any = None
        self.itm_head: Any = None

    def give(self, text_proj: nn.Module, vision_proj: nn.Module, itm_head: nn.Module) -> Network:
        """Take the projections and the head of the encoder."""
        self.text_proj, self.vision_proj, self.itm_head = text_proj, vision_proj, itm_head
        return self

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def dim(self) -> int:
        """The length of the vectors."""
        return int(self.text_proj.out_features)

    def check(self, part: str) -> None:
        """Raise `BadInput` where the encoder or the decoder, by its name, is missing."""
        if getattr(self, part) is None:
            does = "writes texts (a BlipForConditionalGeneration)" if part == "decoder" else "compares texts and images"
            raise BadInput(f"this model has no {part}: one that {does} is needed.")

    def reader(self, attending: bool) -> Iterator[nn.Module]:
        """The modules that read a text, with those that attend to an image or without."""
        yield self.encoder.embeddings
        for layer in self.encoder.encoder.layer:
            yield from (layer.attention, layer.intermediate, layer.output)
            if attending:
                yield layer.crossattention

    # Vectors (ITC)

    def image_vectors(self, tokens: Tensor) -> Tensor:
        """Unit vectors of images, `[images, dim]`, from their tokens."""
        return unit(self.vision_proj(self.pictures.vectors(tokens)))

    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of texts, `[texts, dim]`."""
        ids, mask = self.read(texts)
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return unit(self.text_proj(states[:, 0]))

    # Pairs (ITM, LM)

    def matches(self, texts: Sequence[str], tokens: Tensor) -> Tensor:
        """Logits that each text does not, and does, match its image, `[pairs, 2]`; `tokens` are those of the images."""
        ids, mask = self.read(texts, self.enc if self.lead == "enc" else None)
        seen = torch.ones(tokens.shape[:2], dtype=torch.long, device=tokens.device)
        states = self.encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=tokens, encoder_attention_mask=seen
        ).last_hidden_state
        return self.itm_head(states[:, 0]).float()

    def log_likelihoods(self, texts: Sequence[str], tokens: Tensor) -> Tensor:
        """The log-likelihood of each text given its image, its end included, float32 `[pairs]`."""
        logits, targets, mask = self._predicted(texts, tokens)
        costs = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        return -(costs * mask).sum(1)

    def modelling(self, texts: Sequence[str], tokens: Tensor) -> Tensor:
        """The loss of language modelling, a mean over tokens, with smoothed targets."""
        logits, targets, mask = self._predicted(texts, tokens)
        costs = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none", label_smoothing=_SMOOTHING)
        return (costs * mask).sum() / mask.sum().clamp(min=1)

    def _predicted(self, texts: Sequence[str], tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits `[pairs, tokens, words]` behind [DEC] and all tokens but the last, the tokens that follow, a mask."""
        ids, mask = self.read(texts, self.dec)
        hidden = self.decoder(input_ids=ids, attention_mask=mask, encoder_hidden_states=tokens, use_cache=False)
        return hidden.logits[:, :-1].float(), ids[:, 1:], mask[:, 1:].float()

    # Texts

    @property
    def dec(self) -> int:
        """The token [DEC], which a text that is written begins with."""
        return int(self.decoder.config.bos_token_id)

    @property
    def enc(self) -> int:
        """The token [ENC], the last of the vocabulary."""
        return int(self.encoder.config.vocab_size) - 1

    def read(self, texts: Sequence[str], first: int | None = None) -> tuple[Tensor, Tensor]:
        """Tokens and mask of texts, `[texts, tokens]`; `first` takes the place of [CLS]."""
        whole = [text.encode("utf-8", "replace").decode() for text in texts]
        read = self.tokenizer(
            whole,
            padding=True,
            truncation=True,
            max_length=self.longest,
            split_special_tokens=True,
            return_tensors="pt",
        )
        ids, mask = read["input_ids"].to(self.device), read["attention_mask"].to(self.device)
        if first is not None:
            ids[:, 0] = first
        return ids, mask

    def lengths(self, texts: Sequence[str]) -> Any:
        """About how long each text is, to put those of similar length together."""
        return np.array([min(len(text), 8 * self.longest) for text in texts], np.int64)

    def by_length(self, texts: Sequence[str], size: int, run: Any) -> Tensor:
        """`run` of the places of texts of similar length, `size` at a time, put back in their order."""
        parts = passes(self.lengths(texts), size)
        found = torch.cat([run(part) for part in parts])
        return found[torch.from_numpy(np.concatenate(parts).argsort()).to(found.device)]


def head(width: int, silent: bool) -> nn.Linear:
    """The head of matching; a `silent` one says 0 of every pair at first."""
    layer = nn.Linear(width, 2)
    if silent:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer
