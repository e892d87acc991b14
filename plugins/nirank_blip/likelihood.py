"""BLIP's writer as a scorer (LM): how likely a query is as a caption of an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nirank.data import Candidates, Queries
from nirank.pipeline import Stage
from nirank_blip import checkpoints
from nirank_blip.contents import pairs_of
from nirank_blip.holder import Holder, Running


class Likelihood(Holder):
    """Scores an image by the log-likelihood that BLIP's writer gives a text, the query, for it; in nats.

        score = sum over tokens of log p(token | tokens before, image)

    behind [DEC], with the end of the text counted, as its generation has it; transformers' own loss begins with [CLS].
    The query of a list is one text, so that nothing needs to be divided by, as it would be to find texts for an image
    (Lin et al., Revisiting the Role of Language Priors in Vision-Language Models, ICML 2024). `model` is a
    `BlipForConditionalGeneration` or what a training of the encoder `blip` with `lm` wrote; `config` and `seed` are
    those of a network from nothing. Any loss trains it, `likelihood` without negatives.

    Raises `BadInput` for pairs of two texts or two images, and for models without a writer.
    """

    reads = "images by text"
    log_likelihoods = True
    kind, part = checkpoints.CAPTIONER, "decoder"
    use = "scorer/blip_lm"

    def __init__(
        self,
        model: str | Stage | None = None,
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
        running: Running = Running(batch_size=2048, passed=64),
    ) -> None:
        super().__init__(model, config, seed, running)

    def used(self) -> Iterator[nn.Module]:
        """The writer."""
        yield self.ready.decoder

    def own_settings(self) -> dict[str, Any]:
        """None beside the model."""
        return {}

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Log-likelihoods, float32 `[pairs]`."""
        network = self.ready
        if not candidates.pairs:
            return torch.zeros(0, device=network.device)
        pairs = pairs_of(queries, candidates, "blip_lm")
        tokens = network.pictures(pairs.pictures)
        places = torch.from_numpy(pairs.places).to(tokens.device)

        def run(part: Any) -> Tensor:
            seen = tokens[places[torch.from_numpy(part).to(places.device)]]
            return network.log_likelihoods([pairs.texts[place] for place in part.tolist()], seen)

        return network.by_length(pairs.texts, self.running.passed, run)
