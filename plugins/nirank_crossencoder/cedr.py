"""CEDR: the vectors that a transformer gives tokens in every layer, compared as earlier rankers compared words."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from nirank.errors import BadInput
from nirank.kit.transformers import Computing
from nirank.testing import save_bert
from nirank_crossencoder.crossencoder import CrossEncoder
from nirank_crossencoder.joint import JOINT
from nirank_crossencoder.network import Head
from nirank_crossencoder.passages import Cutting

_HEAD, _CUTTING, _COMPUTING = Head(pooling="cedr_knrm"), Cutting(), Computing()


class CEDR(CrossEncoder):
    """A cross-encoder whose head reads the cosines of tokens in all layers (`nirank_crossencoder.joint`).

    MacAvaney et al., CEDR: Contextualized Embeddings for Document Ranking, SIGIR 2019. `pooling` says what reads them:
    "cedr_knrm", the soft counts of KNRM, or "cedr_drmm", the histograms of DRMM, each beside the vector of `[CLS]`. It
    needs a model that tells queries from documents by the types of tokens, as BERT does. Documents that are too long
    are cut or read in passages as by `crossencoder`, where the authors put the tokens of all passages into one matrix.
    The head is new unless the model's folder has one; any loss trains it. Settings are those of `crossencoder`.

    Raises `BadInput` for another `pooling`, and for a model without types of tokens.
    """

    def __init__(
        self,
        model: str,
        head: Head = _HEAD,
        max_length: int | None = None,
        tokens: int | None = None,
        *,
        cutting: Cutting = _CUTTING,
        computing: Computing = _COMPUTING,
    ) -> None:
        if head.pooling not in JOINT:
            raise BadInput(f"pooling = {head.pooling!r}; {' or '.join(map(repr, JOINT))} is expected in cedr.")
        super().__init__(model, head, max_length, tokens, cutting=cutting, runtime="torch", computing=computing)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model as a cross-encoder does; the table is that of a `cedr`."""
        return {**super().save(folder), "use": "scorer/cedr"}


def tiny() -> CEDR:
    """A two-layer BERT over letters, 16 dimensions."""
    with tempfile.TemporaryDirectory() as folder:
        save_bert(Path(folder), "BertModel", 0, initializer_range=0.3)
        scorer = CEDR(folder, computing=Computing("cpu"))
    for parameter in scorer.network.parameters():  # a head that nothing has changed would be refused as untrained
        parameter.detach().mul_(1)
    return scorer
