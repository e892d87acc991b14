"""BLIP's matching as a scorer (ITM): text and image read together, behind a first stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

import nirank
from nirank.data import Candidates, Queries
from nirank.errors import BadInput
from nirank.kit import Memory, encode, encode_documents
from nirank.pipeline import Stage
from nirank_blip.contents import Pairs, pairs_of
from nirank_blip.holder import Holder, Running
from nirank_blip.network import First

#: The score of a pair: the logit that it matches, as BLIP ranks, or by how much that is above the other one.
By = Literal["match", "odds"]


class Matching(Holder):
    """Scores a text with an image, which the text attends to; reranks what a first stage has found.

        score = match(text, image) + itc cos(text, image) + scale first(text, image)

    Li et al., BLIP, ICML 2022, whose retrieval adds the cosine of its own vectors (`itc` = 1). `model`, `config` and
    `seed` are as those of the encoder `blip`. `first` is another encoder, a stage or the folder of one that was
    trained: its cosines, times `scale`, are where a network from nothing begins, whose own part is 0 at first. So it is
    trained as a second stage, with a loss of lists on what that encoder confuses: the sampler `confused`.

    `lead` says what stands in the first place of the text, [ENC] or [CLS]; unless given, as the model was trained, for
    a checkpoint [ENC]. transformers and BLIP's own demo leave [CLS] there, which it was not trained with. `by` is
    the logit that a pair matches, as BLIP ranks, or "odds", that minus the other logit. An image is encoded once
    for all texts that it is scored with.

    Raises `BadInput` for pairs of two texts or two images, and for models that lack weights.
    """

    reads = "images by text"
    use = "scorer/blip_itm"

    def __init__(
        self,
        model: str | Stage | None = None,
        config: Mapping[str, Any] | None = None,
        first: str | Stage | None = None,
        scale: float = 20.0,
        itc: float = 0.0,
        lead: First | None = None,
        by: By = "match",
        seed: int = 0,
        running: Running = Running(batch_size=2048, passed=64),
    ) -> None:
        self.itc, self.scale, self.by = itc, scale, by
        self.silent = first is not None
        super().__init__(model, config, seed, running, lead)
        self._named = first
        self.first = None if first is None else _encoder(first)

    def used(self) -> Iterator[nn.Module]:
        """The text encoder with its attention to images, the head, and where cosines are added the projections."""
        network = self.ready
        yield from (*network.reader(attending=True), network.itm_head)
        if self.itc:
            yield from (network.text_proj, network.vision_proj)

    def own_settings(self) -> dict[str, Any]:
        """How the score is made."""
        own = {"itc": self.itc, "by": self.by}
        return own if self.first is None else {**own, "scale": self.scale, "first": self._named}

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Scores, float32 `[pairs]`."""
        network = self.ready
        if not candidates.pairs:
            return torch.zeros(0, device=network.device)
        pairs = pairs_of(queries, candidates, "blip_itm")
        tokens = network.pictures(pairs.pictures)
        places = torch.from_numpy(pairs.places).to(tokens.device)
        scores = network.by_length(
            pairs.texts, self.running.passed, lambda part: self._pass(pairs, tokens, places, part)
        )
        if self.itc:
            scores = scores + self.itc * self._cosines(pairs, tokens, places)
        return scores if self.first is None else scores + self.scale * self.first.cosines(pairs, scores.device)

    @property
    def fingerprint(self) -> str:
        """A hash of all that scores depend on, the encoder before it too."""
        own = super().fingerprint
        return own if self.first is None else f"{own}{self.first.stage.component.fingerprint}"

    def _pass(self, pairs: Pairs, tokens: Tensor, places: Tensor, part: Any) -> Tensor:
        texts = [pairs.texts[place] for place in part.tolist()]
        logits = self.ready.matches(texts, tokens[places[torch.from_numpy(part).to(places.device)]])
        return logits[:, 1] if self.by == "match" else logits[:, 1] - logits[:, 0]

    def _cosines(self, pairs: Pairs, tokens: Tensor, places: Tensor) -> Tensor:
        network, distinct = self.ready, list(dict.fromkeys(pairs.texts))
        vectors = network.by_length(
            distinct, self.running.passed, lambda part: network.text_vectors([distinct[place] for place in part])
        )
        row = {text: number for number, text in enumerate(distinct)}
        rows = torch.tensor([row[text] for text in pairs.texts], device=vectors.device)
        return (vectors[rows] * network.image_vectors(tokens)[places]).sum(1)


class _First:
    """An encoder whose cosines a score begins with; it is not trained, and its vectors are remembered."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self._texts, self._images = stage, Memory(), Memory()

    def cosines(self, pairs: Pairs, device: torch.device) -> Tensor:
        """The dot product of text and image of each pair, `[pairs]`."""
        component = self.stage.component
        texts = self._texts.get(lambda some: _tensor(encode(component, Queries.of(list(some))).vectors), pairs.texts)
        images = self._images.get(lambda some: _tensor(encode_documents(component, list(some))), pairs.pictures)
        return (texts * images[torch.from_numpy(pairs.places)]).sum(1).to(device)


def _encoder(first: str | Stage) -> _First:
    """The encoder of a stage or a folder. Raises `BadInput` for what makes no vectors of numbers in one space."""
    stage = first if isinstance(first, Stage) else nirank.load(f"trained:{first.removeprefix('trained:')}")
    component = stage.component
    if component.traits.vectors != "dense" or not component.can("encode") or not component.can("encode_documents"):
        raise BadInput(f"first = {first!r:.80} is no encoder of dense vectors of both texts and images.")
    return _First(stage)


def _tensor(vectors: Any) -> Tensor:
    return torch.as_tensor(vectors).detach().float().cpu()
