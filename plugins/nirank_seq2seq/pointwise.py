"""Scores of single documents by what a language model answers when it is shown one."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nirank.data import Candidates, Queries
from nirank.kit.text import Read, Tokens
from nirank_seq2seq.reader import AnswerReader, Score, scored

PLACES = ("query", "document")


class Pointwise(nn.Module):
    """Scores pairs by the answer of `reader` to its template with `{query}` and `{document}`.

    `stage` is the table of the stage that builds the scorer again, without the model.
    """

    reads = "text"

    def __init__(self, reader: AnswerReader, score: Score, batch_size: int | None, stage: dict[str, Any]) -> None:
        super().__init__()
        self.reader, self.answer, self._stage = reader, score, stage
        self.batch_size = batch_size or (512 if reader.device.type == "cpu" else 4096)
        self.eval()

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Scores, float32 `[pairs]`."""
        if not candidates.pairs:
            return torch.zeros(0, device=self.reader.device)
        template = self.reader.template
        read = Read.of(queries, candidates, template.tokens)
        columns = [PLACES.index(name) for name in template.template.names]
        shares = template.prompt.shares(read.lengths()[:, columns])
        return scored(self.reader(shares, functools.partial(_texts, read)), self.answer)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model into `folder / "model"`, as transformers does, with safetensors.

        Returns the table of a stage that builds this scorer again, template and words included; its path is relative
        to `folder`.
        """
        self.reader.save(folder / "model")
        return {**self._stage, "model": Path("model"), "max_length": self.reader.max_length}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that the scores depend on: weights, tokenizer, template, words, lengths."""
        return self.reader.fingerprint(sorted(self._stage.items()))


def _texts(read: Read, pair: int) -> dict[str, Tokens]:
    return {"query": read.queries[read.rows[pair]], "document": read.documents[read.docs[pair]]}
