"""Cross-encoders that sentence-transformers put together of modules, run as that library runs them.

A causal language model with `LogitScore`, for instance: the score is the logit of "yes" less that of "no" behind a
prompt of its own (as in Qwen3-Reranker, Zhang et al., 2025).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nirank.data import Candidates, Queries
from nirank.errors import BadInput
from nirank.kit import Described, Runtime, peer_model, peer_text, run_peer, save_peer
from nirank.kit.transformers import Computing, longest, passes
from nirank_crossencoder.network import Head
from nirank_crossencoder.passages import Cutting

_LETTERS = 4  # of a token, about: pairs are put together by their letters


class Modules(nn.Module):
    """A `CrossEncoder` of sentence-transformers as a network that is given texts."""

    def __init__(self, model: Any, prompt: str) -> None:
        super().__init__()
        self.model, self.prompt, self.new = model, prompt, dict[str, Tensor]()

    @property
    def encoder(self) -> Any:
        """The transformer, the first that there is."""
        return self.model.transformers_model

    @property
    def max_length(self) -> int:
        """The most tokens of a pair."""
        return int(self.model.max_seq_length)

    @property
    def text(self) -> str:
        """All but the weights that scores depend on, to be hashed."""
        return peer_text(self.model)

    def logits(self, queries: Queries, candidates: Candidates, prompt: str, tokens: int) -> Tensor:
        """The outputs for each pair, float32 `[pairs, outputs]`; pairs of similar length go together.

        Raises `BadInput` for a content that is no text, and where the candidates do not know their corpus.
        """
        pairs = _pairs(queries, candidates)
        lengths = np.array([len(query) + len(document) for query, document in pairs])
        places = passes(lengths, len(pairs), _LETTERS * tokens)
        found = torch.cat([self._outputs([pairs[place] for place in some], prompt) for some in places])
        return found[torch.from_numpy(np.argsort(np.concatenate(places))).to(found.device)]

    def save(self, folder: Path) -> None:
        """Write the modules as sentence-transformers does."""
        save_peer(self.model, folder)

    def _outputs(self, pairs: list[tuple[str, str]], prompt: str) -> Tensor:
        scores: Tensor = run_peer(self.model, pairs, prompt)["scores"].float()
        return scores if scores.ndim == 2 else scores[:, None]


def needed(described: Described) -> bool:
    """True for a model of other modules than a transformer with a head for the classification of sequences.

    A prompt with special tokens in it needs them too: in what is read here such tokens are letters.
    """
    if described.saved_as != "CrossEncoder":
        return False
    task = described.transformer.get("transformer_task", "sequence-classification")
    plain = described.kinds in ((), ("Transformer",)) and described.plain
    return not plain or task != "sequence-classification" or described.marks(described.default_prompt)


def read(
    described: Described,
    head: Head,
    cutting: Cutting,
    max_length: int | None,
    runtime: Runtime | None,
    computing: Computing,
) -> Modules:
    """Load the modules. Raises `BadInput` where they cannot be loaded, and for settings that they do not have."""
    asked: dict[str, Any] = {
        "outputs": head.outputs,
        "pooling": head.pooling,
        "passage": cutting.passage,
        "stride": cutting.stride,
    }
    asked["passages"] = None if cutting.passages == "first" else cutting.passages
    asked["runtime"] = None if runtime == "torch" else runtime
    if odd := [name for name, value in asked.items() if value is not None]:
        kinds = ", ".join(described.kinds)
        raise BadInput(
            f"{described.model!r} is made of modules ({kinds}), which have no setting {odd[0]}: leave it out."
        )
    model = peer_model("CrossEncoder", described, computing, "crossencoder")
    if max_length is not None:
        model.max_seq_length = longest(model.transformers_model, max_length, max_length)
    return Modules(model, described.default_prompt)


def _pairs(queries: Queries, candidates: Candidates) -> list[tuple[str, str]]:
    """The texts of each pair, halves of surrogate pairs in them as question marks."""
    corpus = candidates.corpus_for("a scorer of texts")
    contents = [*(queries.contents[row] for row in candidates.rows.tolist()), *corpus[candidates.docs]]
    if odd := next((content for content in contents if not isinstance(content, str)), None):
        raise BadInput(f"a content is of the type {type(odd).__name__}; texts (str) are needed here.")
    clean = [str(text).encode("utf-8", "replace").decode() for text in contents]
    return list(zip(clean[: len(candidates.rows)], clean[len(candidates.rows) :], strict=True))
