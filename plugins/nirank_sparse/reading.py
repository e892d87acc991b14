"""The reading of texts, and weights from logits: as set, or as sentence-transformers wrote it down of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nirank.errors import BadInput
from nirank.kit import Described

Pooling = Literal["max", "sum"]
Activation = Literal["relu", "log1p_relu"]

_KINDS = ("SpladePooling", "SparseStaticEmbedding", "SparseAutoEncoder")


@dataclass(frozen=True)
class Reading:
    """Settings that are as the model says unless given, and where it says nothing the first ones that are named here.

    pooling          "max" or "sum": of a term's weights at the tokens of a text (SPLADE v2, SPLADE)
    activation       of a logit w: "relu", log(1 + relu(w)), or "log1p_relu", log(1 + log(1 + relu(w)))
    query_prompt     text that is put before every query, none
    document_prompt  and before every document, none
    """

    pooling: Pooling | None = None
    activation: Activation | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None

    def of(self, described: Described) -> Reading:
        """Fill in what is not set. Raises `BadInput` for what is neither of the names above."""
        sparse = described_as_sparse(described)
        stated = described.settings("SpladePooling") if sparse else {}
        pooling = self.pooling or stated.get("pooling_strategy", "max")
        activation = self.activation or stated.get("activation_function", "relu")
        if pooling not in ("max", "sum") or activation not in ("relu", "log1p_relu"):
            raise BadInput(
                f"{described.model!r} has the pooling {pooling!r} and the activation {activation!r}; nirank knows the "
                "poolings 'max' and 'sum' and the activations 'relu' and 'log1p_relu'."
            )
        query, document = (described.prompt(side) if sparse else "" for side in ("query", "document"))
        return Reading(
            pooling,
            activation,
            query if self.query_prompt is None else self.query_prompt,
            document if self.document_prompt is None else self.document_prompt,
        )

    def weight(self, logits: Tensor) -> Tensor:
        """The weight that the activation makes of each logit."""
        weights = torch.log1p(torch.relu(logits))
        return torch.log1p(weights) if self.activation == "log1p_relu" else weights


#: What is read of a model of which nothing is written down.
USUAL = Reading("max", "relu", "", "")


def described_as_sparse(described: Described) -> bool:
    """True for a model that sentence-transformers saved as a sparse encoder."""
    return described.saved_as == "SparseEncoder" or any(kind in _KINDS for kind in described.kinds)
