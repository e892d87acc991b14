"""SPLADE: a text as weights of terms, which a masked language model gives it (Formal et al., SIGIR 2021 and SPLADE v2).

The weight of term `j` is `max_i log(1 + relu(w_ij))`, where `w_ij` is the logit of `j` at token `i`. Terms are those of
the model's own tokenizer, and no words of an analysis: their weights are no query for a lexical index, but a kind of
vectors of their own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence, Sized
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.data import Candidates, Content, Explanation, Queries, SparseVectors, to_numpy
from nirank.errors import BadInput
from nirank.kit import (
    TEXTS,
    WORTH_COMPILING,
    Described,
    Fast,
    Graph,
    Runtime,
    choose_runtime,
    evenly,
    kept_in,
    peer_text,
    save_peer,
    side_by_side,
    token_examples,
    tried,
    weights_digest,
)
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
from nirank_sparse.pooling import TermPooling
from nirank_sparse.reading import USUAL, Reading, described_as_sparse

Side = Literal["query", "document"]

#: Tokens, the padding counted, that a CPU reads at once, so that what a layer computes stays in its cache.
_TOKENS = 512
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
    is the most texts of a forward pass; texts of similar length go together. `runtime` is what computes without
    gradients: "torch", or on the CPU "openvino", which is faster and in float32 has the same weights to about 1e-5;
    unless given it is OpenVINO where that is installed and so much is encoded at once that compiling pays, and in
    bfloat16, where the two round differently, always where it is installed; the model is then kept, and trained, in
    float32.

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
        runtime: Runtime | None = None,
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
            self.model = modules.read(described, reading, max_length, runtime, computing)
            self.tokenizer, self.max_length = self.model.tokenizer, self.model.max_seq_length
        else:
            runtime = choose_runtime(runtime, computing.place, computing.precision, half=True)
            self.model, new = new_head("AutoModelForMaskedLM", model, _HEADS, dtype=kept_in(runtime, computing))
            self.tokenizer = tokenizer_of(model, self.model)
            stated = described.length(self.tokenizer) if described_as_sparse(described) else None
            usual = stated or min(_USUAL_LENGTH, self.tokenizer.model_max_length)
            self.max_length = longest(self.model, max_length, usual)
            self._terms = TermPooling(self.reading, self.precision)
            self._fast = Fast(
                self.model, self._terms.pooled, token_examples, runtime, WORTH_COMPILING, self.precision, at_once=True
            )
        self.to(computing.place)
        self._new = NewHead.of(model, self.model, new)
        self.eval()
        self._try(model)

    def _try(self, model: str) -> None:
        """Read a text for each side, and find out how many terms there are and how logits are made."""
        for side in ("query", "document"):
            tried(model, functools.partial(self._at_once, side=side), self.precision)
        with torch.inference_mode():
            expected = self._at_once(TEXTS, "document")
            self._size = expected.shape[1]
            if not self._is_peer:
                self._terms.bare_head(self.model, lambda: self._at_once(TEXTS, "document"), expected)

    def _at_once(self, texts: Sequence[str], side: Side) -> Tensor:
        """The weights of all terms for some texts, float32 `[texts, terms]`, all in one pass."""
        return self._forward(list(texts) if self._is_peer else self._tokens(texts, side), side)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def size(self) -> int:
        """The number of terms."""
        return self._size

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
        graph = None if self._is_peer else self._fast.graph(int(lengths.sum()))
        budget = evenly(graph, lengths, _TOKENS * (_LETTERS if self._is_peer else 1))
        places = passes(lengths, self.batch_size, budget if self.device.type == "cpu" else None)
        order = np.argsort(np.concatenate([*places, np.empty(0, np.int64)]))

        def read(some: NDArray[np.int64]) -> Tensor:
            return self._forward([entries[place] for place in some], side, graph)

        if self.training:
            nothing = torch.empty(0, self.size, device=self.device)
            return torch.cat([nothing, *map(read, places)])[torch.from_numpy(order).to(self.device)]
        none = SparseVectors.of(np.empty((0, self.size), np.float32))
        found = side_by_side(graph, lambda some: SparseVectors.of(to_numpy(read(some)), most), places)
        return SparseVectors.concatenate([none, *found])[order]

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

    def _forward(self, entries: list[Any], side: Side, graph: Graph | None = None) -> Tensor:
        """The weights of all terms for some texts, float32 `[texts, terms]`; modules get texts, and a model tokens."""
        if self._is_peer:
            return modules.weights(self.model, entries, self._prompt(side), side, self.training)
        lengths = np.fromiter(map(len, entries), np.int64, len(entries))
        real: NDArray[np.bool_] = np.arange(lengths.max()) < lengths[:, None]  # [texts, longest]
        ids = np.full(real.shape, padding_of(self.tokenizer, self.model))
        ids[real] = np.concatenate(entries)
        inputs = {"input_ids": ids, "attention_mask": real.astype(np.int64)}
        given = {name: torch.from_numpy(each).to(self.device) for name, each in inputs.items()}
        return self._terms.weights(self._terms.pooled(self.model, given) if graph is None else graph(given))


def flops(vectors: Tensor) -> Tensor:
    """The FLOPS regulariser, `sum_j (1/n sum_i w_ij)^2` (Paria et al., ICLR 2020, equation 4), of vectors `[n, terms]`.

    It is how many products a search takes for each document, relaxed: where terms are spread evenly over documents it
    is least.
    """
    return vectors.mean(0).square().sum() if len(vectors) else vectors.sum()
