"""SPLADE: a text as weights of terms, which a masked language model gives it (Formal et al., SIGIR 2021 and SPLADE v2).

The weight of term `j` is `max_i log(1 + relu(w_ij))`, where `w_ij` is the logit of `j` at token `i`. Terms are those of
the model's own tokenizer, and no words of an analysis: their weights are no query for a lexical index, but a kind of
vectors of their own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence, Sized
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.data import Candidates, Content, Explanation, Queries, SparseVectors, to_numpy
from nirank.errors import BadInput
from nirank.kit import TEXTS, Described, peer_text, save_peer, tried, weights_digest
from nirank.kit.text import require_text
from nirank.kit.transformers import (
    Computing,
    NewHead,
    longest,
    new_head,
    padding_of,
    passes,
    quiet,
    token_places,
    tokenizer_of,
    tokenizer_text,
)
from nirank_sparse import modules
from nirank_sparse.explaining import by_terms, named
from nirank_sparse.reading import USUAL, Reading, described_as_sparse

Side = Literal["query", "document"]

#: Tokens, the padding counted, that a CPU reads at once, and terms whose logits it has at once: they stay in its cache.
_TOKENS, _TERMS = 1024, 2048
#: Tokens that are read of a text unless `max_length` says otherwise.
_USUAL_LENGTH = 256

_LETTERS = 4  # of a token, about, where modules make tokens by themselves

_READING, _COMPUTING = Reading(), Computing()
#: How the names of weights begin that only a masked language model needs.
_HEADS = ("cls.predictions.", "lm_head.", "head.", "decoder.", "vocab_", "generator_", "lm_predictions.")


class SPLADE(nn.Module):
    """Encodes texts into weights of terms with a masked language model, which can be trained.

    `model` is a name on the hub or a folder; what a `SparseEncoder` of sentence-transformers has written down is
    followed (`nirank_sparse.reading.Reading`), and one of other modules is run as that library runs it
    (`nirank_sparse.modules`). `max_length` is the most tokens that are read of a text: unless given as many as the
    model says, or else 256, or as many as the model takes. Of a query only the `query_terms` of largest weight are
    kept, of a document `document_terms`; all, unless given. `batch_size`, unless given 32 on a CPU and 256 elsewhere,
    is the most texts of a forward pass; texts of similar length go together.

    In evaluation mode, in which it is made, vectors are `SparseVectors`. In training mode they are a tensor
    `[n, terms]` with gradients, all terms kept, and training also makes `penalty` small: the FLOPS regulariser (Paria
    et al., ICLR 2020), weighted by `flops_queries` and `flops_documents`, which drives weights to 0.
    """

    vectors = "sparse"
    reads = "text"

    def __init__(
        self,
        model: str,
        max_length: int | None = None,
        query_terms: int | None = None,
        document_terms: int | None = None,
        flops_queries: float = 0.0,
        flops_documents: float = 0.0,
        *,
        reading: Reading = _READING,
        computing: Computing = _COMPUTING,
    ) -> None:
        super().__init__()
        for name, value in {"query_terms": query_terms, "document_terms": document_terms}.items():
            if value is not None and value < 1:
                raise BadInput(f"{name} = {value}; it must be 1 or more.")
        self.batch_size = computing.batch_size or (32 if computing.place == "cpu" else 256)
        self.precision = computing.precision
        described = Described.of(model)
        most = described.table.get("max_active_dims")
        self.query_terms, self.document_terms = query_terms or most, document_terms or most
        self.flops_queries, self.flops_documents = flops_queries, flops_documents
        self.reading, self._is_peer = reading.of(described), modules.needed(described)
        new: list[str] = []
        if self._is_peer:
            self.model = modules.read(described, reading, max_length, computing)
            self.tokenizer, self.max_length = self.model.tokenizer, self.model.max_seq_length
        else:
            self.model, new = new_head("AutoModelForMaskedLM", model, _HEADS, dtype=computing.dtype)
            self.tokenizer = tokenizer_of(model, self.model)
            stated = described.length(self.tokenizer) if described_as_sparse(described) else None
            usual = stated or min(_USUAL_LENGTH, self.tokenizer.model_max_length)
            self.max_length = longest(self.model, max_length, usual)
        self.to(computing.place)
        self._new, self._bare = NewHead.of(model, self.model, new), False
        self.eval()
        self._try(model)

    def _try(self, model: str) -> None:
        """Read a text for each side, and find out how many terms there are and how logits are made."""
        for side in ("query", "document"):
            tried(model, functools.partial(self._at_once, side=side), self.precision)
        with torch.inference_mode():
            expected = self._at_once(TEXTS, "document")
            self._size = expected.shape[1]
            if not self._is_peer and isinstance(self._head, nn.Linear):
                self._bare_head(expected)

    def _at_once(self, texts: Sequence[str], side: Side) -> Tensor:
        """The weights of all terms for some texts, float32 `[texts, terms]`, all in one pass."""
        return self._forward(list(texts) if self._is_peer else self._tokens(texts, side), side)

    def _bare_head(self, expected: Tensor) -> None:
        """Let the model give what logits are made of, for `_pooled`, unless it does more than make them of it."""
        self._bare, self._head.forward = True, _itself
        near = 1e-4 if self.precision == "float32" else 1e-2
        try:
            self._bare = torch.allclose(self._at_once(TEXTS, "document"), expected, rtol=near, atol=near)
        except RuntimeError:  # of what is done behind that layer
            self._bare = False
        if not self._bare:
            del self._head.forward

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def size(self) -> int:
        """The number of terms."""
        return self._size

    @property
    def _head(self) -> Any:
        """The linear layer that makes logits."""
        return self.model.get_output_embeddings()

    def encode(self, queries: Queries) -> SparseVectors | Tensor:
        """Weights of terms for each query; in training a tensor `[queries, terms]`."""
        return self._vectors(queries.contents, "query", self.query_terms)

    def encode_documents(self, contents: Sequence[Content]) -> SparseVectors | Tensor:
        """Weights of terms for each document; in training a tensor `[documents, terms]`."""
        return self._vectors(contents, "document", self.document_terms)

    def penalty(self, queries: Tensor, documents: Tensor) -> Tensor:
        """The penalty that training makes small besides the loss, for the vectors of a batch, `[n, terms]` each."""
        return self.flops_queries * flops(queries) + self.flops_documents * flops(documents)

    def terms(self, vectors: SparseVectors) -> list[dict[str, float]]:
        """The terms of each text with their weights, the largest first: for reading.

        Raises `BadInput` for an autoencoder, whose dimensions have no names.
        """
        if self._is_autoencoder:
            raise BadInput("this model is an autoencoder: its dimensions are not terms and have no names.")
        found = []
        for row in range(len(vectors)):
            one = vectors[row]
            order = np.argsort(-one.weights, kind="stable")
            names = self.tokenizer.convert_ids_to_tokens(one.terms[order].tolist())
            found.append(dict(zip(names, one.weights[order].tolist(), strict=True)))
        return found

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by the terms that the vectors of query and document share."""
        corpus = candidates.corpus_for("splade")
        documents = [corpus[doc] for doc in candidates.docs.tolist()]
        left, right = cast("SparseVectors", self.encode(queries))[candidates.rows], self.encode_documents(documents)
        right = cast("SparseVectors", right)
        scores = left.pair_products(right, np.arange(len(documents)), np.arange(len(documents)))
        found = by_terms("splade", scores, left, right)
        read = zip(found, candidates.rows.tolist(), documents, strict=True)
        return [self.label_parts(each, queries.contents[row], document) for each, row, document in read]

    def label_parts(self, explanation: Explanation, query: Content, document: Content) -> Explanation:
        """The explanation of a score by numbers of terms, with their names and with marks where they stand."""
        if self._is_autoencoder:
            return explanation.noted("the dimensions of an autoencoder have no names")
        places = self._places(query, "query"), self._places(document, "document")
        return named(explanation, self.tokenizer.convert_ids_to_tokens, *places)

    def _places(self, content: Content, side: Side) -> dict[str, list[tuple[int, int]]]:
        """Where the terms stand that are tokens of a text, by their numbers."""
        prompt = "" if self._is_peer else self._prompt(side)
        found: dict[str, list[tuple[int, int]]] = {}
        for number, start, end in token_places(self.tokenizer, str(content), prompt, self.max_length):
            if start < end:
                found.setdefault(str(number), []).append((start, end))
        return found

    @property
    def _is_autoencoder(self) -> bool:
        """True where dimensions are no terms."""
        return self._is_peer and any(type(module).__name__ == "SparseAutoEncoder" for module in self.model.modules())

    def save(self, folder: Path) -> dict[str, Any]:
        """Write model and tokenizer into `folder / "model"`, with safetensors.

        Returns the table of a stage that builds this encoder again; its path is relative to `folder`.
        """
        settings = {
            "precision": self.precision,
            "query_terms": self.query_terms,
            "document_terms": self.document_terms,
            "flops_queries": self.flops_queries,
            "flops_documents": self.flops_documents,
            **self._save(folder / "model"),
        }
        kept = {name: value for name, value in settings.items() if value is not None}
        return {"use": "encoder/splade", "model": Path("model"), **kept}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that vectors depend on: weights, tokenizer, lengths, precision."""
        shape = (self.max_length, self.query_terms, self.document_terms, self.precision)
        reads = peer_text(self.model) if self._is_peer else tokenizer_text(self.tokenizer)
        other = repr(self.reading) if self.reading != USUAL else ""
        state = weights_digest(self.state_dict()) + repr(shape) + reads + other
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()

    def _save(self, folder: Path) -> dict[str, Any]:
        """Write model and tokenizer; return the settings that the folder does not say by itself."""
        reading = {name: value for name, value in asdict(self.reading).items() if value != getattr(USUAL, name)}
        if self._is_peer:
            save_peer(self.model, folder)
            return {name: value for name, value in reading.items() if name.endswith("_prompt")}
        with quiet():
            self.model.save_pretrained(str(folder))
            self.tokenizer.save_pretrained(str(folder))
        return {"max_length": self.max_length, **reading}

    def _vectors(self, contents: Sequence[Content], side: Side, most: int | None) -> SparseVectors | Tensor:
        self._new.refuse(self.training)
        texts = require_text(contents, "content")
        entries: Sequence[Sized] = list(texts) if self._is_peer else self._tokens(texts, side)
        lengths = np.fromiter(map(len, entries), np.int64, len(entries))
        budget = _TOKENS * (_LETTERS if self._is_peer else 1)
        places = passes(lengths, self.batch_size, budget if self.device.type == "cpu" else None)
        order = np.argsort(np.concatenate([*places, np.empty(0, np.int64)]))
        read = (self._forward([entries[place] for place in some], side) for some in places)
        if self.training:
            nothing = torch.empty(0, self.size, device=self.device)
            return torch.cat([nothing, *read])[torch.from_numpy(order).to(self.device)]
        none = SparseVectors.of(np.empty((0, self.size), np.float32))
        return SparseVectors.concatenate([none, *(SparseVectors.of(to_numpy(part), most) for part in read)])[order]

    def _prompt(self, side: Side) -> str:
        return (self.reading.query_prompt if side == "query" else self.reading.document_prompt) or ""

    def _tokens(self, texts: Sequence[str], side: Side) -> list[list[int]]:
        if not len(texts):
            return []
        prompted = [self._prompt(side) + text for text in texts]
        readable = [text.encode("utf-8", "replace").decode() for text in prompted]  # without halves of surrogate pairs
        read = self.tokenizer(
            readable,
            truncation=True,
            max_length=self.max_length,
            split_special_tokens=True,
            return_attention_mask=False,
        )
        found: list[list[int]] = read["input_ids"]
        return found

    def _forward(self, entries: list[Any], side: Side) -> Tensor:
        """The weights of all terms for some texts, float32 `[texts, terms]`; modules get texts, and a model tokens."""
        if self._is_peer:
            return modules.weights(self.model, entries, self._prompt(side), side, self.training)
        lengths = np.fromiter(map(len, entries), np.int64, len(entries))
        real: NDArray[np.bool_] = np.arange(lengths.max()) < lengths[:, None]  # [texts, longest]
        ids = np.full(real.shape, padding_of(self.tokenizer, self.model))
        ids[real] = np.concatenate(entries)
        inputs = {"input_ids": ids, "attention_mask": real.astype(np.int64)}
        hidden = self.model(**{name: torch.from_numpy(each).to(self.device) for name, each in inputs.items()}).logits
        return self._pooled(hidden, torch.from_numpy(real).to(self.device)[..., None])

    def _pooled(self, hidden: Tensor, real: Tensor) -> Tensor:
        """The weight of each term, `[texts, terms]`, from states `[texts, longest, hidden]` of tokens that are real."""
        if self.reading.pooling == "sum":
            weigh = self.reading.weight
            return torch.cat([(weigh(some.float()) * real).sum(1) for some in self._logits(hidden)], dim=1)
        # Padding repeats the first token, which a maximum does not mind: [texts, longest, hidden].
        hidden = torch.where(real, hidden, hidden[:, :1])
        largest = self._with_gradients(hidden) if self.training else self._largest(hidden)
        # The logarithm rises, so that of the largest logit is the largest.
        return self.reading.weight(largest.float())

    def _largest(self, hidden: Tensor) -> Tensor:
        """The largest logit of each term, `[texts, terms]`."""
        return torch.cat([some.amax(1) for some in self._logits(hidden)], dim=1)

    def _with_gradients(self, hidden: Tensor) -> Tensor:
        """The same, with gradients where a logit is above 0: elsewhere relu has none.

        Few terms have such a logit, so that theirs are made a second time and the gradients of the others left out.
        """
        if not self._bare:
            return hidden.max(1).values
        with torch.no_grad():
            largest = self._largest(hidden)
        terms = (largest > 0).any(0).nonzero().squeeze(1)
        return largest.index_copy(1, terms, self._linear(hidden, terms).max(1).values)

    def _logits(self, hidden: Tensor) -> Iterator[Tensor]:
        """The logits at each token, `[texts, longest, some terms]`; some terms at a time."""
        if not self._bare:
            yield hidden
            return
        at_once = _TERMS if hidden.device.type == "cpu" else self.size
        for start in range(0, self.size, at_once):
            yield self._linear(hidden, slice(start, start + at_once))

    def _linear(self, hidden: Tensor, terms: slice | Tensor) -> Tensor:
        """The logits of some terms at each token, `[texts, longest, some terms]`."""
        head = self._head
        return nn.functional.linear(hidden, head.weight[terms], None if head.bias is None else head.bias[terms])


def _itself(hidden: Tensor) -> Tensor:
    return hidden


def flops(vectors: Tensor) -> Tensor:
    """The FLOPS regulariser, `sum_j (1/n sum_i w_ij)^2` (Paria et al., ICLR 2020, equation 4), of vectors `[n, terms]`.

    It is how many products a search takes for each document, relaxed: where terms are spread evenly over documents it
    is least.
    """
    return vectors.mean(0).square().sum() if len(vectors) else vectors.sum()
