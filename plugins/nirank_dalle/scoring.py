"""Scores by the likelihood of codes given a text, less that without one; and drawing: what DALL-E and Janus share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.data import Candidates, Codes, Content, Corpus, Floats, Queries, images
from nirank.errors import BadInput
from nirank.kit import bounded, digest, progress
from nirank_dalle.drawing import Drawing, drawn
from nirank_dalle.pictures import Pictures

CODES, NULL = "codes.npy", "null.npy"


@dataclass(frozen=True)
class _Index:
    """The codes of the pictures of a corpus, and `log p(codes)` of each."""

    corpus: Corpus
    codes: Codes
    null: Floats


class LikelihoodScorer(nn.Module):
    """Scores a pair by `(log p(codes | text) - weight log p(codes)) / positions`, in nats a code.

    `pictures` makes codes of pictures, and `model` says how probable they are; it has the methods of
    `transformer.Transformer` (`read`, `likelihoods`, `next`). Raises `BadInput` for a `drop`, the
    share of texts that are left out in training, that is no share, and for a weight that is no number.
    """

    reads = "images by text"

    def __init__(
        self, pictures: Pictures, model: nn.Module, weight: float, drop: float, batch_size: int, drawing: Drawing
    ) -> None:
        super().__init__()
        if not 0 <= drop < 1 or not math.isfinite(weight):
            raise BadInput(f"drop = {drop}, weight = {weight}: a share below 1 and a finite number are expected.")
        self.pictures = pictures
        self.model: Any = model
        self.weight, self.drop, self.batch_size, self.drawing = weight, drop, batch_size, drawing
        self._index: _Index | None = None

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def index_key(self) -> dict[str, Any]:
        """The weights, which decide what is written of each document."""
        return {"index": "dalle", "version": 1, "model": self._known}

    def build(self, corpus: Corpus, folder: Path, encode: object = None) -> None:  # noqa: ARG002 (what an index gets)
        """Write the codes of all pictures and `log p(codes)` of each; of a corpus of texts nothing is to be written."""
        pictured = len(corpus) and images.is_image(corpus[:1][0])
        parts = [corpus[start : start + 256] for start in range(0, len(corpus), 256)] if pictured else []
        codes = [self.pictures.codes(contents) for contents in parts]
        found = np.concatenate(codes) if codes else np.zeros((0, self.pictures.positions), np.uint8)
        np.save(folder / CODES, found)
        np.save(folder / NULL, self._null(found))

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map what `build` wrote."""
        kind = np.uint8 if self.pictures.kinds <= 1 << 8 else np.uint16
        codes = bounded.column(folder / CODES, kind, None, self.pictures.positions)
        self._index = _Index(corpus, codes, bounded.column(folder / NULL, np.float32, len(codes)))

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """The score of each pair, `[pairs]`; in training of the text as it is, with gradients."""
        corpus = candidates.corpus_for(type(self).__name__.lower())
        rows, asked = np.unique(candidates.rows, return_inverse=True)
        docs, told = np.unique(candidates.docs, return_inverse=True)
        contents = [queries.contents[row] for row in rows.tolist()]
        if not len(docs):
            return torch.zeros(0, device=self.device)
        if images.is_image(contents[0]):
            texts, codes, null = _texts(corpus[docs]), self._codes(contents), None
            return self._scores(texts, told, codes, asked, null)
        codes, null = self._documents(corpus, docs)
        return self._scores(_texts(contents), asked, codes, told, null)

    def draw(self, queries: Queries, count: int = 1, seed: int = 0) -> list[list[Any]]:
        """`count` pictures of each query, as codes come by their probability with guidance: the same for one seed.

        Pictures of a query do not depend on the other queries. Raises `BadInput` for a query that is no text, and where
        the encoder of pictures has no decoder.
        """
        with torch.inference_mode():
            codes = drawn(self.model, _texts(queries.contents), count, seed, self.drawing)
        pictures = self.pictures.decode(codes.reshape(-1, self.pictures.positions))
        return [pictures[start : start + count] for start in range(0, len(pictures), max(count, 1))]

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all weights, and of the weight of what is taken off."""
        return digest([self._known, self.weight])

    @property
    def _known(self) -> str:
        """A hash of the weights of the transformer and of what makes codes."""
        raise NotImplementedError

    def _scores(
        self, texts: list[str], asked: NDArray[Any], codes: Codes, told: NDArray[Any], null: Floats | None
    ) -> Tensor:
        """Of each pair of a text and a picture, by their places; `null` are `log p(codes)` where these are known."""
        if self.training:
            texts = ["" if float(torch.rand(())) < self.drop else text for text in texts]
        read, places = self.model.read(texts), torch.from_numpy(asked).to(self.device)
        rows = self._tensor(codes)[torch.from_numpy(told).to(self.device)]
        found = self.model.likelihoods(read.take(places), rows)
        if not self.training and self.weight:
            known = self._null(codes) if null is None else null
            found = found - self.weight * torch.from_numpy(known[told]).to(self.device)
        return found / self.pictures.positions

    def _documents(self, corpus: Corpus, docs: NDArray[Any]) -> tuple[Codes, Floats | None]:
        """Codes of pictures and `log p` of these, from the index where it is this corpus's."""
        if not self.training and self._index is not None and self._index.corpus is corpus and len(self._index.codes):
            return self._index.codes[docs], self._index.null[docs]
        return self._codes(corpus[docs]), None

    def _codes(self, contents: Sequence[Content]) -> Codes:
        read: Callable[..., Codes] = self.pictures.remembered if self.training else self.pictures.codes
        return read(contents)

    def _null(self, codes: Codes) -> Floats:
        """`log p(codes)` of pictures, float32 `[pictures]`."""
        found, size, training = np.empty(len(codes), np.float32), self.batch_size, self.training
        self.eval()  # also while it is measured during a training
        with torch.inference_mode(), progress("Reading pictures", len(codes)) as advance:
            nothing = self.model.read([""])
            for start in range(0, len(codes), size):
                part = self._tensor(codes[start : start + size])
                text = nothing.take(torch.zeros(len(part), dtype=torch.int64, device=self.device))
                found[start : start + size] = self.model.likelihoods(text, part).cpu().numpy()
                advance(len(part))
        self.train(training)
        return found

    def _tensor(self, codes: Codes) -> Tensor:
        return torch.from_numpy(np.asarray(codes, np.int64)).to(self.device)


def _texts(contents: Sequence[Content]) -> list[str]:
    """The same contents, which are texts. Raises `BadInput` for a picture."""
    for content in contents:
        if not isinstance(content, str):
            raise BadInput(f"{content!r:.60} is no text: of each pair one side is a text, and the other a picture.")
    return [str(content) for content in contents]
