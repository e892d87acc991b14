"""ColBERT: a vector for each token of a text, scored by MaxSim (Khattab and Zaharia, SIGIR 2020)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.data import Candidates, Content, Explanation, Ints, Queries, TokenVectors, offsets_of, to_numpy
from nirank.errors import BadInput
from nirank.kit import (
    WORTH_COMPILING,
    Described,
    Fast,
    Graph,
    Runtime,
    choose_runtime,
    evenly,
    kept_in,
    peer_text,
    progress,
    save_peer,
    side_by_side,
    token_examples,
    token_states,
    tried,
    weights_digest,
)
from nirank.kit.text import require_text
from nirank.kit.transformers import (
    Computing,
    load,
    longest,
    padding_of,
    passes,
    quiet,
    token_places,
    tokenizer_of,
    tokenizer_text,
)
from nirank_late import modules, projection
from nirank_late.explaining import Token, by_tokens, named
from nirank_late.maxsim import maxsim
from nirank_late.template import LENGTHS, Template, TemplateSettings, punctuation

Side = Literal["query", "document"]

#: Tokens, the padding counted, that a CPU reads at once, so that what a layer computes stays in its cache.
_TOKENS = 1024
_LETTERS = 4  # of a token, about, where modules make tokens by themselves
#: Documents whose vectors are in memory at once while pairs are scored.
_DOCUMENTS = 1024

_TEMPLATE, _COMPUTING = TemplateSettings(), Computing()


class ColBERT(nn.Module):
    """Encodes texts into a unit vector for each token, and scores pairs by MaxSim; it can be trained.

    `model` is a transformer, or a late-interaction model made with ColBERT, PyLate or nirank: a name on the hub or a
    folder. `dim` is that of its projection, or 128 where it has none yet: a new one is drawn from `seed`; 0 leaves the
    transformer's own vectors. The settings of the template are those of `nirank_late.template.Template`; unless given
    they are as the model says. A `MultiVectorEncoder` of sentence-transformers is run as that library runs it
    (`nirank_late.modules`), and has no template. `batch_size`, unless given 32 on a CPU and 256 elsewhere, is the most
    texts of a forward pass; texts of similar length go together. `runtime` is what computes vectors of tokens without
    gradients: "torch", or on the CPU "openvino", which is faster and in float32 has the same to about 1e-6; unless
    given it is OpenVINO where that is installed and so much is encoded at once that compiling pays, and in bfloat16
    always where it is installed; the model is then kept, and trained, in float32.

    As a scorer it encodes each distinct text once. Outside training it has the vectors of some
    documents in memory at a time. As any `nn.Module` it gives vectors and scores with gradients wherever these are
    enabled. It is made in evaluation mode. Raises `BadInput` for a model that cannot be loaded, that has no mask
    token to augment queries with, or fewer positions than the template has tokens.
    """

    vectors = "tokens"
    reads = "text"

    linear: nn.Linear | None

    def __init__(
        self,
        model: str,
        dim: int | None = None,
        seed: int = 0,
        *,
        template: TemplateSettings = _TEMPLATE,
        runtime: Runtime | None = None,
        computing: Computing = _COMPUTING,
    ) -> None:
        super().__init__()
        self.size = computing.batch_size or (32 if computing.place == "cpu" else 256)
        self.precision = computing.precision
        described = Described.of(model)
        self._is_peer = modules.needed(described)
        if self._is_peer:
            self.model = modules.read(described, dim, template, runtime, computing)
            self.tokenizer, self.linear = self.model.tokenizer, None
            self._dim = modules.dimension(self.model)
            _freeze_unused(self.model.transformers_model)
        else:
            self._read(model, dim, seed, template, runtime, computing)
        self.to(computing.place)
        self.eval()
        for side in ("query", "document"):
            tried(model, functools.partial(self._first_vectors, side=side), self.precision)

    def _first_vectors(self, texts: Sequence[str], side: Side) -> Tensor:
        """The vectors of the first tokens of some texts, all in one pass."""
        if self._is_peer:
            found = modules.vectors(self.model, texts, side)
        else:
            found = self._forward(*self._tokens(texts, side), side)
        return torch.stack([vectors[0] for vectors in found if len(vectors)])

    def _read(
        self,
        model: str,
        dim: int | None,
        seed: int,
        template: TemplateSettings,
        runtime: Runtime | None,
        computing: Computing,
    ) -> None:
        """Load the transformer, its template and its projection."""
        runtime = choose_runtime(runtime, computing.place, computing.precision, half=True)
        self.model = load("AutoModel", model, dtype=kept_in(runtime, computing))
        self._fast = Fast(
            self.model, token_states, token_examples, runtime, WORTH_COMPILING, computing.precision, at_once=True
        )
        self.tokenizer = tokenizer_of(model, self.model)
        self.template = _template(model, self.tokenizer, self.model, template)
        self.markers = _markers(self.tokenizer, self.model, self.template)
        if self.template.augment and self.tokenizer.mask_token_id is None:
            raise BadInput(f"{model!r} has no mask token, which queries are padded with: set augment = false.")
        self.linear = projection.read(model, self.model.config.hidden_size, dim, seed)
        self.skipped = _skipped(self.tokenizer, self.template)
        self._dim = int(self.model.config.hidden_size if self.linear is None else len(self.linear.weight))
        _freeze_unused(self.model)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def dim(self) -> int:
        """The dimension of the vectors."""
        return self._dim

    def encode(self, queries: Queries) -> TokenVectors:
        """Unit vectors of the tokens of queries, float32 tensors; all have `query_length` of them if augmented."""
        return self._vectors(queries.contents, "query")

    def encode_documents(self, contents: Sequence[Content]) -> TokenVectors:
        """Unit vectors of the tokens of documents, float32 tensors, without those of punctuation."""
        return self._vectors(contents, "document")

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """MaxSim of each pair, float32 `[pairs]`."""
        if not candidates.pairs:
            return torch.empty(0, device=self.device)
        if candidates.corpus is None:
            raise BadInput(
                "colbert reads documents, but these candidates have no corpus. Set it: candidates.over(corpus)."
            )
        vectors = self.encode(queries)
        docs, columns = np.unique(candidates.docs, return_inverse=True)
        order = np.argsort(columns, kind="stable")  # document by document
        rows, columns = candidates.rows[order], columns[order]
        parts = []
        for start, some in self._some_at_a_time(docs):
            here = slice(*np.searchsorted(columns, [start, start + len(some)]).tolist())
            documents = self.encode_documents(candidates.corpus[some])
            parts.append(maxsim(vectors, documents, rows[here], columns[here] - start))
        return torch.cat(parts)[torch.from_numpy(np.argsort(order)).to(self.device)]

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by the tokens of the query: what each found, and the matrix of all pairs of tokens."""
        corpus = candidates.corpus_for("colbert")
        scores, vectors = to_numpy(self.score(queries, candidates)).tolist(), self.encode(queries)
        found = []
        for row, doc, score in zip(candidates.rows.tolist(), candidates.docs.tolist(), scores, strict=True):
            content = corpus[doc]
            both = to_numpy(vectors[row]), to_numpy(self.encode_documents([content])[0])
            found.append(self.label_parts(by_tokens("colbert", score, *both), queries.contents[row], content))
        return found

    def label_parts(self, explanation: Explanation, query: Content, document: Content) -> Explanation:
        """The explanation of a score by numbers of tokens, with their names and with marks where they stand."""
        if self._is_peer:
            return explanation.noted("tokens are numbered: modules do not say which have vectors")
        tokens = self._named_tokens(str(query), "query"), self._named_tokens(str(document), "document")
        return named(explanation, *tokens)

    def _named_tokens(self, text: str, side: Side) -> list[Token]:
        """The tokens of a text that have vectors."""
        (numbers,), _ = self._tokens([text], side)
        limit = self.template.query_length if side == "query" else self.template.document_length
        places = [(start, end) for _, start, end in token_places(self.tokenizer, text, most=limit - 1)]
        marked = [*places[:1], (0, 0), *places[1:]]  # behind the marker
        padded = marked + [(0, 0)] * (len(numbers) - len(marked))
        names = self.tokenizer.convert_ids_to_tokens(numbers)
        read = zip(numbers, names, padded, strict=True)
        return [Token(name, *place) for number, name, place in read if side == "query" or not self.skipped[number]]

    def save(self, folder: Path) -> dict[str, Any]:
        """Write transformer, tokenizer, template and projection into `folder / "model"`, with safetensors.

        Returns the table of a stage that builds this encoder again; its path is relative to `folder`.
        """
        place = folder / "model"
        if self._is_peer:
            save_peer(self.model, place)
            return {"use": "encoder/colbert", "model": Path("model"), "precision": self.precision}
        with quiet():
            self.model.save_pretrained(str(place))
            self.tokenizer.save_pretrained(str(place))
        self.template.save(place)
        if self.linear is not None:
            projection.save(self.linear, place)
        return {
            "use": "encoder/colbert",
            "model": Path("model"),
            "dim": 0 if self.linear is None else self.dim,
            "precision": self.precision,
        }

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that vectors depend on: weights, template, tokenizer, precision."""
        if self._is_peer:
            reading = self.precision + peer_text(self.model)
        else:
            reading = repr((self.template, self.precision)) + tokenizer_text(self.tokenizer)
        return hashlib.blake2b((weights_digest(self.state_dict()) + reading).encode(), digest_size=16).hexdigest()

    def _some_at_a_time(self, docs: Ints) -> Iterator[tuple[int, Ints]]:
        """Documents whose vectors are in memory at once, with the place of the first; all if there are gradients."""
        if torch.is_grad_enabled() or len(docs) <= _DOCUMENTS:
            yield 0, docs
            return
        with progress("Scoring documents", len(docs)) as advance:
            for start in range(0, len(docs), _DOCUMENTS):
                some = docs[start : start + _DOCUMENTS]
                yield start, some
                advance(len(some))

    def _vectors(self, contents: Sequence[Content], side: Side) -> TokenVectors:
        texts = require_text(contents, "content")
        if not len(texts):
            return TokenVectors(np.zeros(1, np.int64), torch.empty(0, self.dim, device=self.device))
        if self._is_peer:
            return self._vectors_of_modules(texts, side)
        tokens, seen = self._tokens(texts, side)
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
        graph = self._fast.graph(int(lengths.sum()))
        budget = evenly(graph, lengths, _TOKENS) if self.device.type == "cpu" else None
        places = passes(lengths, self.size, budget)

        def read(some: NDArray[np.int64]) -> TokenVectors:
            return self._forward([tokens[place] for place in some], seen[some], side, graph)

        found = TokenVectors.concatenate(side_by_side(graph, read, places))
        ordered: TokenVectors = found[np.argsort(np.concatenate(places))]
        return ordered

    def _vectors_of_modules(self, texts: Sequence[str], side: Side) -> TokenVectors:
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        places = passes(lengths, self.size, _LETTERS * _TOKENS if self.device.type == "cpu" else None)
        read = [modules.vectors(self.model, [texts[place] for place in some], side) for some in places]
        ordered: TokenVectors = TokenVectors.concatenate(read)[np.argsort(np.concatenate(places))]
        return ordered

    def _tokens(self, texts: Sequence[str], side: Side) -> tuple[list[list[int]], NDArray[np.int64]]:
        """The tokens of each text, and how many of them the others see."""
        template, marker = self.template, self.markers[side]
        limit = template.query_length if side == "query" else template.document_length
        readable = [text.encode("utf-8", "replace").decode() for text in texts]  # without halves of surrogate pairs
        read = self.tokenizer(
            readable, truncation=True, max_length=limit - 1, split_special_tokens=True, return_attention_mask=False
        )
        marked = [[*tokens[:1], marker, *tokens[1:]] for tokens in read["input_ids"]]
        seen = np.fromiter(map(len, marked), np.int64, len(marked))
        if side == "document" or not template.augment:
            return marked, seen
        filled = [tokens + [self.tokenizer.mask_token_id] * (limit - len(tokens)) for tokens in marked]
        return filled, np.full(len(filled), limit) if template.attend else seen

    def _forward(
        self, tokens: list[list[int]], seen: NDArray[np.int64], side: Side, graph: Graph | None = None
    ) -> TokenVectors:
        lengths = np.array([len(each) for each in tokens])
        real = np.arange(lengths.max()) < lengths[:, None]  # [texts, longest]
        ids = np.full(real.shape, padding_of(self.tokenizer, self.model))
        ids[real] = np.concatenate(tokens)
        attended = np.arange(lengths.max()) < seen[:, None]
        kept = real & ~self.skipped[ids] if side == "document" else real
        inputs = {"input_ids": ids, "attention_mask": attended.astype(np.int64)}
        on_device = {name: torch.from_numpy(values).to(self.device) for name, values in inputs.items()}
        states = token_states(self.model, on_device) if graph is None else graph(on_device)
        hidden = states[torch.from_numpy(kept).to(self.device)]  # [tokens, hidden]
        projected = hidden if self.linear is None else self.linear(hidden.to(self.linear.weight.dtype))
        return TokenVectors(offsets_of(kept.sum(axis=1)), nn.functional.normalize(projected.float(), dim=-1))


def _template(name: str, tokenizer: Any, model: nn.Module, settings: TemplateSettings) -> Template:
    """The template of a model, whose texts are no longer than the model has positions."""
    template = Template.of(name, tokenizer.get_vocab(), settings)
    lengths: dict[str, Any] = {
        field: longest(model, getattr(settings, field), getattr(template, field), field) for field in LENGTHS
    }
    return replace(template, **lengths)


def _markers(tokenizer: Any, model: Any, template: Template) -> dict[Side, int]:
    """The numbers of the markers; one that the vocabulary lacks is added, its embedding the mean of all."""
    markers = [template.query_marker, template.document_marker]
    new = [marker for marker in dict.fromkeys(markers) if marker not in tokenizer.get_vocab()]
    if new:
        tokenizer.add_tokens(new, special_tokens=True)
        embeddings = model.get_input_embeddings().weight
        mean, first = embeddings.detach().mean(0), len(embeddings)
        if len(tokenizer) > first:
            with quiet():
                model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        added = tokenizer.convert_tokens_to_ids(new)
        with torch.no_grad():
            model.get_input_embeddings().weight[added] = mean
    query, document = tokenizer.convert_tokens_to_ids(markers)
    return {"query": query, "document": document}


def _skipped(tokenizer: Any, template: Template) -> NDArray[np.bool_]:
    """A mask of the tokens for which documents have no vector, `[vocabulary]`."""
    skipped = np.zeros(len(tokenizer), bool)
    if template.skip_punctuation:
        skipped[punctuation(tokenizer.get_vocab())] = True
    return skipped


def _freeze_unused(model: nn.Module) -> None:
    """Freeze a pooling layer, which no gradient reaches: only the vectors of tokens are used."""
    if isinstance(pooler := getattr(model, "pooler", None), nn.Module):
        pooler.requires_grad_(False)
