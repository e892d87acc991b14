"""BLIP's contrastive side as an encoder (ITC), which is trained together with matching (ITM) and writing (LM)."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Content, Queries
from nirank.errors import BadInput
from nirank.kit import tried
from nirank.kit.vision import of_both
from nirank.pipeline import Stage
from nirank_blip import checkpoints, negatives
from nirank_blip.contents import is_image
from nirank_blip.holder import Holder, Running
from nirank_blip.network import First, Network

#: Of the cosines by which hard negatives are drawn; BLIP's begins there.
_TEMPERATURE = 0.07


class Blip(Holder):
    """Encodes texts and images into unit vectors of one space, by BLIP.

    Li et al., BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and Generation,
    ICML 2022. `model` is a checkpoint of transformers' `BlipForImageTextRetrieval` on the hub or in a folder, or what a
    training wrote; `config` is the shape of a network from nothing (`nothing.Shape`), with first weights from `seed`
    and a vocabulary that is learned from the collection. `decoder` is a `BlipForConditionalGeneration` whose writer a
    checkpoint gets for training.

    With the loss `clip` it is trained by ITC. `itm` and `lm` weigh two further losses of the same batch, which are
    added: that of matching, over each relevant pair and two hard negatives of it, drawn by the softmax of the
    cosines and with the probability `uniform` evenly, never what is relevant or not known to be irrelevant; and
    that of writing each text for its image. Then `blip_itm`, `blip_lm` and the writer `blip` are loaded from the
    same folder. Momentum encoders and queues stand for a batch that does not fit; there is the training option
    `chunk` for that. `lead` says what stands in the first place of a text that is matched: [ENC], as in BLIP's
    training, or [CLS], as transformers leaves it; unless given, as the model was trained. After a batch `accuracy`
    is the share of pairs that matching gets right, of which a third match.

    Raises `BadInput` for a model that lacks weights, and for texts before a network from nothing was trained.
    """

    vectors = "dense"
    reads = "either"
    use = "encoder/blip"

    def __init__(
        self,
        model: str | Stage | None = None,
        config: Mapping[str, Any] | None = None,
        itm: float = 0.0,
        lm: float = 0.0,
        uniform: float = 0.25,
        lead: First | None = None,
        decoder: str | None = None,
        seed: int = 0,
        running: Running = Running(),
    ) -> None:
        for name, value in (("itm", itm), ("lm", lm)):
            if value < 0:
                raise BadInput(f"{name} = {value}; a weight from 0 is expected.")
        if not 0 <= uniform <= 1:
            raise BadInput(f"uniform = {uniform}; a probability is expected.")
        self._weights, self._decoder = {"itm": itm, "lm": lm, "uniform": uniform}, decoder
        super().__init__(model, config, seed, running, lead)
        self.accuracy = 0.0
        self._seen: list[tuple[Sequence[Content], Tensor]] = []
        if self.network is not None:
            tried(str(model), self.network.text_vectors)

    def prepare(self, network: Network) -> None:
        """Take the writer of another model, where one is given. Raises `BadInput` where one is needed and missing."""
        if self._decoder is not None:
            place = self.running.place
            network.decoder = checkpoints.opened(self._decoder, checkpoints.CAPTIONER, place).decoder
        if self._weights["lm"]:
            network.check("decoder")

    def used(self) -> Iterator[nn.Module]:
        """The text encoder and the projections; for matching its head and cross-attention, for writing the decoder."""
        network, matching = self.ready, bool(self._weights["itm"])
        yield from (*network.reader(matching), network.text_proj, network.vision_proj)
        if matching:
            yield network.itm_head
        if self._weights["lm"]:
            yield network.decoder

    def own_settings(self) -> dict[str, Any]:
        """The weights of the losses."""
        return {**self._weights}

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dim]`."""
        self._seen.clear()
        return self._encoded(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of documents, float32 `[documents, dim]`."""
        return self._encoded(contents)

    def penalty(
        self,
        queries: Tensor,
        documents: Tensor,
        labels: Tensor,
        mask: Tensor,
        places: Tensor,
        query_contents: Sequence[Content],
        document_contents: Sequence[Content],
    ) -> Tensor:
        """The losses of matching and of writing for the lists of a batch, by their weights; a scalar."""
        nothing = queries.new_zeros(())
        if not (self._weights["itm"] or self._weights["lm"]):
            return nothing
        relation = negatives.relations(labels, mask, places, len(document_contents))
        scores = (queries @ documents.T).detach() / _TEMPERATURE
        sides = query_contents, document_contents
        if is_image(query_contents[0]):  # pictures that ask for texts
            relation, scores, sides = relation.T, scores.T, (document_contents, query_contents)
        texts, pictures = sides
        if any(map(is_image, texts)) or not all(map(is_image, pictures)):
            raise BadInput("itm and lm are for pairs of a text and an image; a batch has pairs of two texts or images.")
        rows = (relation == negatives.RELEVANT).any(1).nonzero()[:, 0]
        if not len(rows):
            return nothing
        right = (relation[rows] == negatives.RELEVANT).long().argmax(1)
        pairs = _Pairs([str(text) for text in texts], self._tokens(pictures), relation, scores, rows, right)
        return nothing + self._matching(pairs) + self._writing(pairs)

    def _matching(self, pairs: _Pairs) -> Tensor | float:
        if not self._weights["itm"]:
            return 0.0
        text, picture, label = pairs.with_negatives(self._weights["uniform"])
        texts = [pairs.texts[row] for row in text.tolist()]
        logits = self.ready.matches(texts, pairs.tokens[picture])
        self.accuracy = float((logits.argmax(1) == label).float().mean())
        return self._weights["itm"] * F.cross_entropy(logits, label)

    def _writing(self, pairs: _Pairs) -> Tensor | float:
        if not self._weights["lm"]:
            return 0.0
        texts = [pairs.texts[row] for row in pairs.rows.tolist()]
        return self._weights["lm"] * self.ready.modelling(texts, pairs.tokens[pairs.right])

    def _encoded(self, contents: Sequence[Content]) -> Tensor:
        network = self.ready
        return of_both(contents, self._texts, self._images, torch.zeros(0, network.dim, device=network.device))

    def _texts(self, texts: Sequence[str]) -> Tensor:
        network = self.ready
        return network.by_length(
            texts, self.running.passed, lambda part: network.text_vectors([texts[i] for i in part])
        )

    def _images(self, contents: Sequence[Content]) -> Tensor:
        tokens = self.ready.pictures(contents)
        if self.training and (self._weights["itm"] or self._weights["lm"]):
            self._seen.append((contents, tokens))
        return self.ready.image_vectors(tokens)

    def _tokens(self, contents: Sequence[Content]) -> Tensor:
        """The tokens of the images of a batch: those at hand, or anew where they have no gradient."""
        seen, self._seen = self._seen, []
        kept = [content for some, _ in seen for content in some]
        same = len(kept) == len(contents) and all(map(operator.is_, kept, contents))
        if same and (not self.ready.pictures.learns or all(tokens.requires_grad for _, tokens in seen)):
            return torch.cat([tokens for _, tokens in seen])
        return self.ready.pictures(contents)


@dataclass(frozen=True)
class _Pairs:
    """The pairs of a batch to learn from: text `rows[i]` belongs to image `right[i]`; both count among all of it.

    `tokens` are those of the images, `[images, tokens, width]`; `relation` and `scores` are `[texts, images]`.
    """

    texts: list[str]
    tokens: Tensor
    relation: Tensor
    scores: Tensor
    rows: Tensor
    right: Tensor

    def with_negatives(self, uniform: float) -> tuple[Tensor, Tensor, Tensor]:
        """Text, image and label of the pairs to match: the relevant ones, with another image, with another text."""
        unlike = self.relation == negatives.NEGATIVE
        image = negatives.drawn(self.scores[self.rows], unlike[self.rows], uniform)
        text = negatives.drawn(self.scores.T[self.right], unlike.T[self.right], uniform)
        first, second = image >= 0, text >= 0
        texts = torch.cat([self.rows, self.rows[first], text[second]])
        images = torch.cat([self.right, image[first], self.right[second]])
        labels = torch.zeros(len(texts), dtype=torch.long, device=texts.device)
        labels[: len(self.rows)] = 1
        return texts, images, labels
