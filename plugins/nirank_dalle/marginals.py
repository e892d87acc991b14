"""A first stage for DALL-E without a transformer: each code by itself, given the words of a text."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nirank.data import Candidates, Codes, Content, Queries
from nirank.errors import BadInput
from nirank.kit import digest, weights_digest
from nirank.kit.transformers import best_device
from nirank.pipeline import Stage
from nirank_dalle.pictures import StagePictures


class Marginals(nn.Module):
    """Encodes a text into tables of `log p(code | text) - weight log p(code)` at each position: naive Bayes.

    `dalle_marginals >> codes` adds up what these say of the codes of each picture. Probabilities are a softmax of what
    is common to all texts and of a linear map of the mean of `dim` numbers for each of its words; words in small
    letters, hashed into `buckets`. It is trained as `dalle` is, by the loss `likelihood`, with the text left out of a
    share `drop` of the queries. `vae` encodes pictures into codes, and does not learn.

    Raises `BadInput` for settings that do not fit, and for queries that are no texts.
    """

    vectors = "codes"
    reads = "images by text"

    def __init__(
        self,
        vae: str | Stage,
        weight: float = 1.0,
        drop: float = 0.1,
        dim: int = 64,
        buckets: int = 4096,
        seed: int = 0,
        batch_size: int = 256,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= drop < 1 or dim < 1 or buckets < 1:
            raise BadInput(f"drop = {drop}, dim = {dim}, buckets = {buckets}: a share below 1, and numbers from 1.")
        self.pictures = StagePictures(vae)
        self.weight, self.drop, self.buckets, self.batch_size = weight, drop, buckets, batch_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.words = nn.EmbeddingBag(buckets, dim)
            self.codes = nn.Linear(dim, self.pictures.positions * self.pictures.kinds)
        nn.init.zeros_(self.codes.bias)
        self.to(device or best_device()).eval()

    def __repr__(self) -> str:
        return f"Marginals({self.pictures.stage!r}, weight={self.weight:g})"

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def encode(self, queries: Queries) -> Tensor:
        """Tables of texts, float32 `[queries, positions, codes]`."""
        return self._logs(queries.contents) - self.weight * self._logs([""])

    def encode_documents(self, contents: Sequence[Content]) -> Codes:
        """The codes of pictures, `[documents, positions]`."""
        return self.pictures.codes(contents)

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """The mean over positions of what tables say of the codes of each pair, `[pairs]`.

        In training that is `log p(code | text)` alone, with gradients.
        """
        rows, asked = np.unique(candidates.rows, return_inverse=True)
        docs, told = np.unique(candidates.docs, return_inverse=True)
        texts, corpus = [queries.contents[row] for row in rows.tolist()], candidates.corpus_for("dalle_marginals")
        if not len(docs):
            return torch.zeros(0, device=self.device)
        if self.training:
            tables = self._logs(["" if float(torch.rand(())) < self.drop else text for text in texts])
            codes = self.pictures.remembered(corpus[docs])
        else:
            tables, codes = self.encode(Queries.of(texts)), self.pictures.codes(corpus[docs])
        places = torch.from_numpy(np.asarray(codes, np.int64)[told]).to(self.device)
        found = tables[torch.from_numpy(asked).to(self.device)].gather(2, places[..., None])
        return found.mean((1, 2))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all weights, and of the weight of what is taken off."""
        known = [weights_digest(self.state_dict()), self.pictures.stage.component.fingerprint, self.weight]
        return digest(known)

    def _logs(self, texts: Sequence[Content]) -> Tensor:
        """`log p(code | text)` at each position, `[texts, positions, codes]`."""
        words = [self._places(text) for text in texts]
        starts = np.cumsum([0, *map(len, words)])[:-1]
        flat = torch.tensor([place for each in words for place in each], dtype=torch.int64, device=self.device)
        means = self.words(flat, torch.from_numpy(starts).to(self.device))
        return self.codes(means).unflatten(1, (self.pictures.positions, self.pictures.kinds)).log_softmax(2)

    def _places(self, text: Content) -> list[int]:
        if not isinstance(text, str):
            raise BadInput(f"{text!r:.60} is no text: pictures are asked for by texts.")
        found = re.findall(r"\w+", text.lower())
        return [zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.buckets for word in found]
