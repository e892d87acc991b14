"""A cross-encoder: a transformer reads `[CLS] query [SEP] document [SEP]` and says how relevant the document is."""

from __future__ import annotations

import functools
import hashlib
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nirank.data import Candidates, Documents, Queries, Windows, windows
from nirank.errors import BadInput
from nirank.kit import (
    WORTH_COMPILING,
    Described,
    Fast,
    Runtime,
    choose_runtime,
    evenly,
    kept_in,
    side_by_side,
    token_examples,
    tried,
    weights_digest,
)
from nirank.kit import transformers as pretrained
from nirank.kit.text import Prompt, Read, Tokens, tokens
from nirank.kit.transformers import Computing, longest, passes, quiet
from nirank_crossencoder import modules, network, passages
from nirank_crossencoder.joint import JOINT
from nirank_crossencoder.modules import Modules
from nirank_crossencoder.network import Activation, Head, OwnHead, PooledHead
from nirank_crossencoder.passages import Cutting

#: Padded tokens of a forward pass: as many as a CPU keeps in its cache, and enough to keep a GPU busy.
_CPU_TOKENS, _GPU_TOKENS = 1024, 32_768

#: The activations of torch that sentence-transformers writes down, and ours.
_ACTIVATIONS: dict[str, Activation] = {"Identity": "none", "Sigmoid": "sigmoid"}

_HEAD, _CUTTING, _COMPUTING = Head(), Cutting(), Computing()


class CrossEncoder(nn.Module):
    """Scores a pair by one transformer that reads the query and the document together (monoBERT).

    Nogueira and Cho, Passage Re-ranking with BERT, 2019. `model` is a name on the model hub or a folder, also of
    sentence-transformers: one with a head for the classification of sequences is taken as it is, any other encoder
    gets a new head (`nirank_crossencoder.network.Head`). By the number of its logits z the score of a pair is

        1:      s = z                   the logit
        2:      s = z1 - z0             the log-odds of class 1, so that sigmoid(s) = softmax(z)[1]
        more:   s = sum c softmax(z)[c] the expected grade; in training log softmax(z), `[pairs, outputs]`, for a loss
                                        over classes

    A pair has at most `max_length` tokens, as many as the model takes unless given. Where it has more the document is
    cut, or read in several passages (`nirank_crossencoder.passages.Cutting`), and a query is cut only where it alone
    has more than half of the room.

    `prompt` is put before each query: unless given the default prompt of a model that sentence-transformers saved. Such
    a model of other modules, a causal one with `LogitScore` for instance, is run as that library runs it
    (`nirank_crossencoder.modules`).

    `batch_size` is how many pairs are read at once, `tokens` how many a forward pass has, padding counted; pairs of
    similar length go together. In bfloat16 logits are still float32. `runtime` is what computes without gradients:
    "torch", or on the CPU "openvino", which is faster and in float32 has the same scores to about 1e-6; unless given it
    is OpenVINO where that is installed and so much is scored at once that compiling pays, and in bfloat16, where the
    two round differently, always where it is installed; weights are then kept, and trained, in float32. Any loss
    trains it, in training mode with dropout. Raises `BadInput` for a model that cannot be loaded, settings that leave
    no room, and OpenVINO where it is not used, `MissingDependency` where it is not installed.
    """

    reads = "text"

    def __init__(
        self,
        model: str,
        head: Head = _HEAD,
        max_length: int | None = None,
        tokens: int | None = None,
        prompt: str | None = None,
        *,
        cutting: Cutting = _CUTTING,
        runtime: Runtime | None = None,
        computing: Computing = _COMPUTING,
    ) -> None:
        super().__init__()
        passage, stride, on_cpu = cutting.passage, cutting.stride, computing.place == "cpu"
        _check(outputs=head.outputs, passage=passage, stride=stride, batch_size=computing.batch_size, tokens=tokens)
        self.batch_size = computing.batch_size or (512 if on_cpu else 4096)
        self.tokens = tokens or (_CPU_TOKENS if on_cpu else _GPU_TOKENS)
        self.pooling, self.precision = head.pooling, computing.precision
        self.passages, self.passage, self.stride = cutting.passages, passage, stride
        described = Described.of(model)
        self.prompt = described.default_prompt if prompt is None else prompt
        self.network: OwnHead | PooledHead | Modules
        if modules.needed(described):
            self.network = modules.read(described, head, cutting, max_length, runtime, computing)
            self.tokenizer, self.max_length = self.network.model.tokenizer, self.network.max_length
        else:
            half = head.pooling not in JOINT
            runtime = choose_runtime(runtime, computing.place, computing.precision, half)
            self.network = network.read(model, head, kept_in(runtime, computing)).to(computing.place)
            self.tokenizer = pretrained.tokenizer_of(model, self.network.encoder)
            usual = described.length(self.tokenizer) or self.tokenizer.model_max_length
            self.max_length = longest(self.network.encoder, max_length, usual)
            self._prepare(runtime)
        self.activation = head.activation or _activation(described, self.network)
        self._new = pretrained.NewHead(model, self.network.new)
        self.eval()
        tried(model, self._tried, computing.precision)

    def _tried(self, texts: Sequence[str]) -> Tensor:
        """The outputs for a query with some texts, `[texts, outputs]`, all in one pass."""
        corpus = Documents([*map(str, range(len(texts)))], list(texts))
        pairs = Queries.of(["cat"]), Candidates.of([np.arange(len(texts))], corpus=corpus)
        if isinstance(self.network, Modules):
            return self.network.logits(*pairs, self.prompt, self.tokens)
        read = Read.of(*pairs, self._tokens)
        return self.network(self._inputs(read, *self._cut(read), np.arange(len(texts))))

    def _prepare(self, runtime: Runtime | None) -> None:
        """Find out what stands around the texts of a pair, and what computes the network."""
        config = self.network.encoder.config
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = _no_text(self.tokenizer)
        self._padding = config.pad_token_id  # by which heads on the last token find that
        self._cuts_front = self.tokenizer.truncation_side == "left"
        self._prompt, self._kinds = _prompt(self.tokenizer, self.max_length)
        names = ("input_ids", "attention_mask", "token_type_ids")[: 3 if self._kinds else 2]
        examples = functools.partial(token_examples, names)
        self._fast = Fast(self.network, operator.call, examples, runtime, WORTH_COMPILING, self.precision, at_once=True)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Scores, float32 `[pairs]`; `[pairs, outputs]` in training with more than two outputs."""
        self._new.refuse(self.training)
        if not candidates.pairs:
            return torch.zeros(0, device=self.device)
        if isinstance(self.network, Modules):
            return self._scores(self.network.logits(queries, candidates, self.prompt, self.tokens), None)
        read = Read.of(queries, candidates, self._tokens)
        cut = self._cut(read)
        logits = self._logits(read, *cut)
        return self._scores(logits, cut[1])

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model into `folder / "model"`, as transformers does, with safetensors.

        Returns the table of a stage that builds this scorer again; its path is relative to `folder`.
        """
        with quiet():
            self.network.save(folder / "model")
            if not isinstance(self.network, Modules):
                self.tokenizer.save_pretrained(folder / "model")
        return {"use": "scorer/crossencoder", "model": Path("model"), **self._contract()}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that the scores depend on: weights, tokenizer, and how pairs are read and scored."""
        if isinstance(self.network, Modules):
            state = (
                weights_digest(self.network.state_dict()) + self.network.text + repr(sorted(self._contract().items()))
            )
            return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
        pieces = [piece.tolist() for prompt in (self._prompt, self._kinds) if prompt for piece in prompt.pieces]
        reading = (self.tokenizer.backend_tokenizer.to_str(), pieces, sorted(self._contract().items()))
        state = weights_digest(self.network.state_dict()) + repr(reading)
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest()

    def _contract(self) -> dict[str, Any]:
        names = ("pooling", "activation", "max_length", "passages", "passage", "stride", "precision")
        found = {name: value for name in names if (value := getattr(self, name)) is not None}
        own = self.network.prompt if isinstance(self.network, Modules) else ""  # what the folder says by itself
        return found if self.prompt == own else found | {"prompt": self.prompt}

    def _tokens(self, side: str, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of queries, the prompt before each, or of documents."""
        return tokens(self.tokenizer, [self.prompt + text for text in texts] if side == "query" else texts)

    def _cut(self, read: Read) -> tuple[NDArray[np.int64], Windows]:
        """The number of tokens of each pair's query that are read, `[pairs]`, and the passages of its document."""
        lengths = read.lengths()
        query_lengths = self._prompt.shares(lengths)[:, 0]
        sizes = np.minimum(self._prompt.room - query_lengths, self.passage or self.max_length)
        return query_lengths, windows(lengths[:, 1], sizes, self.stride, self.passages == "first")

    def _logits(self, read: Read, query_lengths: NDArray[np.int64], cut: Windows) -> Tensor:
        """The outputs of the head for each passage, `[passages, outputs]`."""
        lengths = query_lengths[cut.owners] + cut.stops - cut.starts + self.max_length - self._prompt.room
        graph = self._fast.graph(int(lengths.sum()))
        places = passes(lengths, len(lengths), evenly(graph, lengths, self.tokens))
        run = self.network if graph is None else graph
        found = torch.cat(side_by_side(graph, lambda some: run(self._inputs(read, query_lengths, cut, some)), places))
        return found[torch.from_numpy(np.argsort(np.concatenate(places))).to(found.device)]

    def _inputs(
        self, read: Read, query_lengths: NDArray[np.int64], cut: Windows, some: NDArray[np.int64]
    ) -> dict[str, Tensor]:
        """Token numbers of some passages with their queries, `[passages, tokens]`."""
        rows = [
            (
                self._some(read.queries[read.rows[pair]], 0, query_lengths[pair]),
                self._some(read.documents[read.docs[pair]], cut.starts[number], cut.stops[number]),
            )
            for number, pair in zip(some.tolist(), cut.owners[some].tolist(), strict=True)
        ]
        ids, mask = self._prompt.filled(rows, self._padding)
        columns = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        if self._kinds:
            kinds = [(np.zeros(len(query), np.int32), np.ones(len(document), np.int32)) for query, document in rows]
            columns["token_type_ids"] = self._kinds.filled(kinds)[0]
        return {name: torch.from_numpy(column).to(self.device) for name, column in columns.items()}

    def _some(self, text: Tokens, start: int, stop: int) -> Tokens:
        """Some tokens of a text, counted from its end for a tokenizer that cuts off beginnings."""
        return text[len(text) - stop : len(text) - start] if self._cuts_front else text[start:stop]

    def _scores(self, logits: Tensor, cut: Windows | None) -> Tensor:
        """The score of each pair from the logits of its passages, `[passages, outputs]`; of pairs, without a cut."""
        if logits.shape[1] > 2:
            return self._graded(torch.log_softmax(logits, 1), cut)
        scores = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
        scores = torch.sigmoid(scores) if self.activation == "sigmoid" else scores
        if cut is not None and self.passages == "mean":
            return passages.mean(scores, cut)
        return scores[passages.best(scores, cut)] if cut is not None and self.passages == "max" else scores

    def _graded(self, logs: Tensor, cut: Windows | None) -> Tensor:
        """The same of several grades, from the logarithms of their probabilities."""
        if cut is not None and self.passages == "mean":
            logs = passages.mean(logs.exp(), cut).log()
        elif cut is not None and self.passages == "max":
            logs = logs[passages.best(_expected(logs), cut)]
        return logs if self.training else _expected(logs)


def _no_text(tokenizer: Any) -> int:
    """A token that pads, or else one that no text is made of: a head that looks for padding stops at the last text."""
    names = ("pad", "eos", "sep", "bos", "cls", "unk")
    known = (getattr(tokenizer, f"{name}_token_id") for name in names)
    return next((int(number) for number in known if number is not None), 0)


def _expected(logs: Tensor) -> Tensor:
    """The expected grade, `[rows]`."""
    return logs.exp() @ torch.arange(logs.shape[1], dtype=logs.dtype, device=logs.device)


def _prompt(tokenizer: Any, max_length: int) -> tuple[Prompt, Prompt | None]:
    """The tokens that a tokenizer puts around the texts of a pair, and their types, for models that want types."""
    if not getattr(tokenizer, "is_fast", False):
        raise BadInput(f"{type(tokenizer).__name__} is not a fast tokenizer: use a model that has a fast one.")
    pair = tokenizer("a", "a", return_token_type_ids=True)
    sides = pair.sequence_ids(0)
    if 0 not in sides or 1 not in sides:
        raise BadInput(
            f"{type(tokenizer).__name__} gives no token for the text 'a': use a model whose tokenizer knows letters."
        )
    typed = "token_type_ids" in tokenizer.model_input_names
    kinds = Prompt(_around(pair["token_type_ids"], sides), max_length) if typed else None
    return Prompt(_around(pair["input_ids"], sides), max_length), kinds


def _around(column: list[int], sides: list[int | None]) -> list[Tokens]:
    """The entries before the first text, between the texts and behind them."""
    edges = [sides.index(0), len(sides) - sides[::-1].index(0), sides.index(1), len(sides) - sides[::-1].index(1)]
    parts = column[: edges[0]], column[edges[1] : edges[2]], column[edges[3] :]
    return [np.array(part, np.int32) for part in parts]


def _activation(described: Described, network: OwnHead | PooledHead | Modules) -> Activation:
    """The activation that sentence-transformers has written down of a model that it saved, in any of its versions.

    Raises `BadInput` for one logit through another function than the sigmoid, whose scores would be others.
    """
    config = network.encoder.config
    inside = getattr(config, "sentence_transformers", None) or {}
    old = getattr(config, "sbert_ce_default_activation_function", None)  # before version 4
    named = {"activation_fn": old, **inside, **described.table}.get("activation_fn")
    kind = str(named or "Identity").rpartition(".")[2]
    if kind not in _ACTIVATIONS and getattr(config, "num_labels", 1) == 1:
        raise BadInput(
            f"{described.model!r} applies {named} to its logit, which nirank does not know: set activation to "
            "'sigmoid' or 'none'."
        )
    return _ACTIVATIONS.get(kind, "none")


def _check(**settings: int | None) -> None:
    for name, value in settings.items():
        if value is not None and value < 1:
            raise BadInput(f"{name} = {value}; it must be 1 or more.")
