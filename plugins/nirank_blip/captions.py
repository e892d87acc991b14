"""BLIP as a writer of captions, by which pictures are found as texts are: `expanded(bm25, captions, append=True)`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nirank.data import Content, content_bytes
from nirank.errors import BadInput
from nirank.pipeline import Stage
from nirank_blip import checkpoints
from nirank_blip.contents import is_image
from nirank_blip.holder import Holder, Running


@dataclass(frozen=True)
class Decoding:
    """Settings of how captions are written.

    texts       how many for each picture
    search      "beam" takes the likeliest texts that `beams` (at least `texts`) find; "nucleus" draws each token among
                the fewest likeliest that have the probability `top_p` together
    repetition  what the scores of tokens that are there already are divided by when they are drawn
    length      the most tokens of a text; `shortest` the fewest
    seed        of the drawing, together with the picture
    """

    texts: int = 1
    search: Literal["beam", "nucleus"] = "beam"
    beams: int = 3
    top_p: float = 0.9
    repetition: float = 1.1
    length: int = 20
    shortest: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("texts", "beams", "length", "shortest"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} = {getattr(self, name)}; a whole number from 1 is expected.")
        if not 0 < self.top_p <= 1 or self.repetition <= 0:
            raise BadInput(
                f"top_p = {self.top_p}, repetition = {self.repetition}: a probability above 0, and a number above 0, "
                "are expected."
            )


class Captions(Holder):
    """Writes captions of pictures, to be indexed with them: `expanded(bm25, captions)`.

    Li et al., BLIP, ICML 2022, whose captions are the best of 3 beams, or drawn from the nucleus of .9. Of short tags
    the several best of more beams are better. `model` is a `BlipForConditionalGeneration`, or what a training of the
    encoder `blip` with `lm`, or of the scorer `blip_lm`, wrote. All chance comes from `seed` and the picture, so that a
    picture alone gets the captions that it gets among others.

    Raises `BadInput` for what is no image, and for models without a writer.
    """

    reads = "images"
    kind, part = checkpoints.CAPTIONER, "decoder"
    use = "writer/blip"

    def __init__(
        self, model: str | Stage, decoding: Decoding = Decoding(), running: Running = Running(batch_size=64)
    ) -> None:
        self.decoding = decoding
        super().__init__(model, None, 0, running)

    def used(self) -> Iterator[nn.Module]:
        """Nothing is trained."""
        yield from ()

    def own_settings(self) -> dict[str, Any]:
        """How captions are written."""
        return asdict(self.decoding)

    def write(self, contents: Sequence[Content]) -> list[list[str]]:
        """The captions of each picture, from the likeliest on, or in the order in which they were drawn."""
        for content in contents:
            if not is_image(content):
                raise BadInput(f"captions are written for images, not for texts such as {content!r:.40}.")
        size, found = self.running.passed, list[list[str]]()
        with torch.inference_mode():
            for start in range(0, len(contents), size):
                some = contents[start : start + size]
                found += self._written(some, self.ready.pictures(some))
        return found

    def _written(self, contents: Sequence[Content], tokens: Tensor) -> list[list[str]]:
        network, each = self.ready, self.decoding.texts
        if self.decoding.search == "beam":
            beams = {"num_beams": max(self.decoding.beams, each), "num_return_sequences": each}
            made = self._generated(tokens, **beams)
        else:
            rows = [(content_bytes(content), number) for content in contents for number in range(each)]
            drawing = {
                "logits_processor": [Nucleus(rows, self.decoding)],
                "repetition_penalty": self.decoding.repetition,
            }
            made = self._generated(tokens.repeat_interleave(each, 0), **drawing)
        lines = network.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [[line.strip() for line in lines[start : start + each]] for start in range(0, len(lines), each)]

    def _generated(self, tokens: Tensor, **settings: Any) -> Tensor:
        """Tokens of texts, without [DEC]; what is set here goes before what the model's own settings say."""
        decoder = self.ready.decoder
        begin = torch.full((len(tokens), 1), self.ready.dec, dtype=torch.long, device=tokens.device)
        made = decoder.generate(
            input_ids=begin,
            attention_mask=torch.ones_like(begin),
            encoder_hidden_states=tokens,
            encoder_attention_mask=torch.ones(tokens.shape[:2], dtype=torch.long, device=tokens.device),
            eos_token_id=self.ready.tokenizer.sep_token_id,
            pad_token_id=self.ready.tokenizer.pad_token_id,
            do_sample=False,
            max_new_tokens=self.decoding.length,
            min_new_tokens=self.decoding.shortest,
            **settings,
        )
        return made[:, 1:]


class Nucleus:
    """Makes greedy decoding draw: of the likeliest tokens, to a probability in all, by the largest with Gumbel noise.

    Holtzman et al., The Curious Case of Neural Text Degeneration, ICLR 2020. The noise follows from the seed, the
    picture, the number of its draw and the step, so that what else is in the batch does not matter.
    """

    def __init__(self, rows: Sequence[tuple[bytes, int]], decoding: Decoding) -> None:
        self._seeds = [_seed(decoding.seed, *row) for row in rows]
        self._top_p, self._step = decoding.top_p, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - of transformers
        """Scores of the next token with noise, -inf outside of the nucleus, `[rows, tokens]`."""
        chances = scores.float().softmax(1)
        falling, order = chances.sort(dim=1, descending=True, stable=True)
        before = falling.cumsum(1) - falling
        kept = torch.zeros_like(chances, dtype=torch.bool).scatter(1, order, before < self._top_p)
        noise = np.stack([_gumbel(seed, self._step, scores.shape[1]) for seed in self._seeds])
        self._step += 1
        return (scores.float() + torch.from_numpy(noise).to(scores.device)).masked_fill(~kept, -torch.inf)


def _gumbel(seed: int, step: int, tokens: int) -> Any:
    random = np.random.Generator(np.random.Philox(key=[seed, step]))
    return random.gumbel(size=tokens).astype(np.float32)


def _seed(seed: int, picture: bytes, number: int) -> int:
    """A number of 64 bits from the seed, a picture, and which of its texts is drawn."""
    told = hashlib.blake2b(f"{seed} {number} ".encode() + picture, digest_size=8).digest()
    return int.from_bytes(told, "little")
