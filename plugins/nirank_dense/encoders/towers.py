"""Two towers: one model encodes queries, another one documents (Karpukhin et al., EMNLP 2020)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nirank.data import Content, Queries
from nirank.errors import BadInput
from nirank.kit import Runtime
from nirank.kit.transformers import Computing
from nirank_dense.encoders.sentence import ADAPTATION, COMPUTING, Adaptation, SentenceEncoder


class TwoTowers(nn.Module):
    """Encodes queries with the model `query` and documents with the model `document`.

    Each is a folder or a name on the model hub; both may be the same one to start from, and are then trained apart.
    With `train_documents = false` the documents' tower stays as it is. The other settings are those of
    `SentenceEncoder`, for both.

    Raises `BadInput` for models whose vectors cannot be compared: of different lengths, or one by cosine, one by dot
    product.
    """

    known_as = "nirank_dense.towers:TwoTowers"  # where it was when indexes were first made with it

    vectors = "dense"
    reads = "text"

    def __init__(
        self,
        query: str,
        document: str,
        train_documents: bool = True,
        *,
        max_length: int | None = None,
        runtime: Runtime | None = None,
        adaptation: Adaptation = ADAPTATION,
        computing: Computing = COMPUTING,
    ) -> None:
        super().__init__()
        self.query, self.document = (
            SentenceEncoder(model, max_length, runtime=runtime, adaptation=adaptation, computing=computing)
            for model in (query, document)
        )
        self.batch_size, self.train_documents = self.query.batch_size, train_documents
        _check_comparable(self.query, self.document)
        if not train_documents:
            self.document.requires_grad_(False)
        self.eval()

    @property
    def device(self) -> str:
        """The device of the weights."""
        return self.query.device

    def train(self, mode: bool = True) -> TwoTowers:
        """Switch dropout on in the towers that are trained."""
        super().train(mode)
        self.document.train(mode and self.train_documents)
        return self

    def encode(self, queries: Queries) -> Tensor:
        """Vectors of queries, float32 `[queries, dim]`."""
        return self.query.encode(queries)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Vectors of documents, float32 `[documents, dim]`."""
        return self.document.encode_documents(contents)

    def shortened(self, vectors: Tensor) -> list[Tensor]:
        """The vectors that training makes good: those of `[n, dim]`, and of each the `nested` beginnings."""
        return self.query.shortened(vectors)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write both models as sentence-transformers does, into `folder / "query"` and `folder / "document"`.

        Returns the table of a stage that builds both again; its paths are relative to `folder`.
        """
        query, document = self.query.save(folder / "query"), self.document.save(folder / "document")
        places = {"query": "query" / query.pop("model"), "document": "document" / document.pop("model")}
        return {**query, "use": "encoder/two_towers", **places, "train_documents": self.train_documents}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of both models."""
        for tower in (self.query, self.document):
            tower.__dict__.pop("fingerprint", None)  # what it was before the last training
        both = f"{self.query.fingerprint} {self.document.fingerprint}"
        return hashlib.blake2b(both.encode(), digest_size=16).hexdigest()


def _check_comparable(query: SentenceEncoder, document: SentenceEncoder) -> None:
    left, right = ((one.model.get_embedding_dimension(), one.model.similarity_fn_name) for one in (query, document))
    if left != right:
        raise BadInput(
            f"query vectors have {left[0]} dimensions and are compared by {left[1]}, document vectors have {right[0]} "
            f"and are compared by {right[1]}: both encoders must agree."
        )
