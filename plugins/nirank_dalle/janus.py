"""Janus as a ranker: a language model that reads a text and goes on with codes of a picture, as transformers has it.

Wu et al., Janus: Decoupling Visual Encoding for Unified Multimodal Understanding and Generation, 2024; Chen et al.,
Janus-Pro, 2025.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Codes, Content, narrow
from nirank.errors import BadInput
from nirank.kit import digest, weights_digest
from nirank.kit.transformers import best_device, load, quiet
from nirank.kit.vision import Pixels
from nirank_dalle.drawing import Drawing
from nirank_dalle.pictures import Pictures
from nirank_dalle.scoring import LikelihoodScorer

PLACE = "{}"
PROMPT = "<|User|>: {}\n\n<|Assistant|>:"
BEGIN = "<begin_of_image>"


class Janus(LikelihoodScorer):
    """Scores a picture for a text by `(log p(codes | text) - weight log p(codes)) / positions`, in nats a code.

    `model` is a `JanusForConditionalGeneration` of transformers, on the hub or in a folder. A text is read in the
    `prompt`, and the token that begins a picture behind it; `log p(codes)` is what the model says where all but the
    first and the last token of the prompt of no text are padding, as its authors leave out a text for guidance. Here
    this prompt is always the same, so that it is the document's part, which is computed when a corpus is indexed.

    Pictures are resized to the square that the model draws, with pixels from -1 to 1. A code is the vector of the
    codebook that is nearest when both are of length 1, as the authors train and decode; `encode` of transformers
    leaves them as they are, and finds other codes.

    It draws as `dalle` does, with the settings of `drawing.Drawing`, and is not trained here. One side of a pair is a
    text and the other a picture. `precision` is that of its weights, probabilities are summed in float32.

    Raises `BadInput` for a model that lacks weights, for one without the token that begins a picture, for settings that
    do not fit, and for pairs of two texts or of two pictures.
    """

    def __init__(
        self,
        model: str = "deepseek-community/Janus-Pro-1B",
        weight: float = 1.0,
        prompt: str = PROMPT,
        precision: str = "float32",
        batch_size: int = 8,
        device: str | None = None,
        drawing: Drawing = Drawing(guidance=5.0, most=1 << 14),
    ) -> None:
        if PLACE not in prompt:
            raise BadInput(f"prompt = {prompt!r} has no {PLACE}: put one where the text is to go.")
        if precision not in ("float32", "bfloat16", "float16"):
            raise BadInput(f"precision = {precision!r}: float32, bfloat16 or float16 is expected.")
        loaded = load("JanusForConditionalGeneration", model, unused=(), dtype=getattr(torch, precision))
        loaded.requires_grad_(False)
        language = Language(loaded, load("AutoTokenizer", model), prompt)
        super().__init__(JanusPictures(loaded), language, weight, 0.0, batch_size, drawing)
        self.precision = precision
        self.to(device or best_device()).eval()

    def __repr__(self) -> str:
        return f"Janus({self.pictures.positions} positions, {self.pictures.kinds} codes, weight={self.weight:g})"

    def save(self, folder: Path) -> dict[str, Any]:
        """Write model and tokenizer into `folder / "model"`. Returns the table of a stage that builds it again."""
        with quiet():
            self.model.network.save_pretrained(folder / "model")
            self.model.tokenizer.save_pretrained(folder / "model")
        settings = {"weight": self.weight, "prompt": self.model.prompt, "precision": self.precision}
        return {"use": "scorer/janus", "model": Path("model"), **settings}

    @functools.cached_property
    def _known(self) -> str:
        return digest([weights_digest(self.state_dict()), self.model.prompt, repr(self.pictures)])


class Language(nn.Module):
    """The language model of Janus over texts and codes, with the methods of `transformer.Transformer`."""

    def __init__(self, network: Any, tokenizer: Any, prompt: str) -> None:
        super().__init__()
        self.network, self.tokenizer, self.prompt = network, tokenizer, prompt
        self.kinds = int(network.config.vq_config.num_embeddings)
        self.positions = int(network.config.vq_config.num_patches) ** 2
        mark = getattr(tokenizer, "boi_token", None) or BEGIN
        self._begin = tokenizer.convert_tokens_to_ids(mark)
        if self._begin in (None, tokenizer.unk_token_id) or tokenizer.pad_token_id is None:
            raise BadInput(
                f"the tokenizer has no {mark}, which begins a picture, or no token for padding: take the files of a "
                "checkpoint for transformers, such as deepseek-community/Janus-Pro-1B."
            )

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def read(self, texts: Sequence[str]) -> Prompts:
        """The prompts of texts; an empty text is none, of which all but the first and the last token is padding."""
        tokens = [self._tokens(text) for text in texts]
        longest = max(map(len, tokens), default=0)
        pad = self.tokenizer.pad_token_id
        ids = [[pad] * (longest - len(each)) + each for each in tokens]
        seen = [[False] * (longest - len(each)) + [True] * len(each) for each in tokens]
        return Prompts(torch.tensor(ids, device=self.device), torch.tensor(seen, device=self.device))

    def likelihoods(self, text: Prompts, codes: Tensor) -> Tensor:
        """`log p(codes | text)` of each pair of a row, `[n]`: summed in float32 over all positions."""
        hidden, _ = self._run(text, self._vectors(codes[:, :-1]))
        logs = self.network.model.generation_head(hidden[:, -self.positions :]).float().log_softmax(-1)
        return logs.gather(2, codes[..., None]).sum((1, 2))

    def next(self, text: Prompts, codes: Tensor) -> tuple[Tensor, Prompts]:
        """Logits of the next code, float32 `[n, kinds]`, after `codes` so far; and what was read, with the last."""
        hidden, read = self._run(text, self._vectors(codes[:, -1:]))
        return self.network.model.generation_head(hidden[:, -1]).float(), read

    def _tokens(self, text: str) -> list[int]:
        found: list[int] = [*self.tokenizer(self.prompt.replace(PLACE, text))["input_ids"], self._begin]
        return found if text else [found[0], *[self.tokenizer.pad_token_id] * (len(found) - 2), found[-1]]

    def _vectors(self, codes: Tensor) -> Tensor:
        made: Tensor = self.network.prepare_embeddings_for_image_generation(codes)
        return made

    def _run(self, text: Prompts, codes: Tensor) -> tuple[Tensor, Prompts]:
        """Hidden vectors of what is new: the prompt, where it was not read before, and vectors of codes."""
        words = self.network.get_input_embeddings()(text.ids)
        new = codes if text.past is not None else torch.cat([words, codes.to(words.dtype)], 1)
        seen = F.pad(text.seen, (0, codes.shape[1]), value=True)
        places = (seen.cumsum(1) - 1).clamp(min=0)[:, -new.shape[1] :]
        made = self.network.model.language_model(
            inputs_embeds=new, attention_mask=seen.long(), position_ids=places, cache=text.past, use_cache=True
        )
        return made.last_hidden_state, Prompts(text.ids, seen, made.cache)


@dataclass
class Prompts:
    """Tokens of prompts, padded in front, int64 and bool `[texts, tokens]`; `past` is the cache of what was read."""

    ids: Tensor
    seen: Tensor
    past: Any = field(default=None, repr=False)

    def take(self, rows: Tensor) -> Prompts:
        """Some of the prompts, int64 `[rows]`, none of which was read yet."""
        return Prompts(self.ids[rows], self.seen[rows])


class JanusPictures(Pictures):
    """The codes of pictures by the autoencoder of Janus, and pictures of codes."""

    def __init__(self, network: Any) -> None:
        model = network.model.vqmodel
        edge = int(model.config.num_patches)
        side = edge << (len(model.config.channel_multiplier) - 1)
        self._model = model  # of which the scorer has the weights
        self._pixels = Pixels((side, side), mean=(0.5,) * 3, std=(0.5,) * 3)
        super().__init__((edge, edge), int(model.config.num_embeddings))

    def __repr__(self) -> str:
        return f"JanusPictures({self._pixels!r})"

    def decode(self, codes: Any) -> list[Any]:
        """The pictures of codes `[n, positions]`."""
        from PIL import Image

        device = self._model.quantize.embedding.weight.device
        drawn = []
        with torch.inference_mode():
            for part in torch.as_tensor(np.asarray(codes, np.int64)).reshape(-1, self.positions).split(8):
                made = self._model.decode(part.to(device)).float().clamp(-1, 1)
                drawn += [*((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()]
        return [Image.fromarray(pixels) for pixels in drawn]

    def _encoded(self, contents: Sequence[Content]) -> Codes:
        model, weights = self._model, self._model.quantize.embedding.weight
        book, found = F.normalize(weights.float(), dim=-1), []
        with torch.inference_mode():
            for pixels in self._pixels.batches(contents, 8, weights.device):
                vectors = model.quant_conv(model.encoder(pixels.to(weights.dtype))).float()
                vectors = F.normalize(vectors.flatten(2).transpose(1, 2), dim=-1)
                found.append((vectors @ book.T).argmax(-1))
        return narrow(torch.cat(found), self.kinds)
