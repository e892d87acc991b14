"""A language model that reads a prompt and answers with one of two words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.errors import BadInput
from nirank.kit import (
    TEXTS,
    WORTH_COMPILING,
    Fast,
    Graph,
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
from nirank.kit.text import Tokens
from nirank.kit.transformers import Computing, longest, padding_of, passes, quiet
from nirank_seq2seq.template import PromptTemplate, TokenisedTemplate, ends, word

Score = Literal["log_probability", "log_odds"]

#: Padded tokens of a forward pass: as many as a CPU keeps in its cache, and enough to keep a GPU busy.
_CPU_TOKENS, _GPU_TOKENS = 1024, 16_384
#: Tokens of a prompt that are read by a model that has no limit.
_USUAL_LENGTH = 512


@dataclass(frozen=True)
class Lengths:
    """Settings of how much a model reads at once.

    max_length   the most tokens of a prompt: unless given 512, or fewer where the tokenizer has fewer. Where it would
                 have more documents are cut, to equal length, and a query only where it alone has more than half of
                 the room: the template stays whole
    tokens       how many a forward pass has, padding counted; prompts of similar length go together
    """

    max_length: int | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class TrueOrFalse:
    """The two words that T5 was trained to answer with: single tokens of its own tokenizer."""

    true: str = "true"
    false: str = "false"


@dataclass(frozen=True)
class Contract:
    """The question that a model answers, and the answers that it may give: kept with its weights."""

    template: str
    places: tuple[str, ...]
    words: tuple[str, str]
    max_length: int | None
    chat: bool = False


LENGTHS, COMPUTING, TRUE_OR_FALSE = Lengths(), Computing(), TrueOrFalse()


class AnswerReader(nn.Module):
    """Says of prompts how much sooner the model would go on with the first of two words than with the second.

    `kind` is the class of transformers: "AutoModelForSeq2SeqLM", whose first decoded token counts, or
    "AutoModelForCausalLM", whose next token does. `runtime` is what computes without gradients: "torch", or on the CPU
    "openvino", which keeps weights in float32, and there has the same logits to about 1e-5; None is OpenVINO in float32
    where that is installed and so much is read at once that compiling pays. Raises `BadInput` where there is no
    such model, for a template that lacks a place, and for words that are not single tokens.
    """

    def __init__(
        self,
        kind: str,
        model: str,
        contract: Contract,
        tokens: int | None = None,
        runtime: Runtime | None = "torch",
        computing: Computing = COMPUTING,
    ) -> None:
        super().__init__()
        self.tokens = tokens or (_CPU_TOKENS if computing.place == "cpu" else _GPU_TOKENS)
        self.decodes = kind == "AutoModelForSeq2SeqLM"
        if runtime is None and computing.precision != "float32":
            runtime = "torch"  # a graph would keep a large model in float32, in twice the memory
        runtime = choose_runtime(runtime, computing.place, computing.precision, half=True)
        self.model = pretrained.load(kind, model, dtype=kept_in(runtime, computing)).to(computing.place)
        self.tokenizer = pretrained.tokenizer_of(model, self.model)
        self.contract = contract
        self.max_length = longest(self.model, contract.max_length, min(_USUAL_LENGTH, self.tokenizer.model_max_length))
        self.words = [word(self.tokenizer, text) for text in contract.words]
        self.template, self._narrow = self._template(), False
        self._fast = Fast(
            self.model, self._logits, token_examples, runtime, WORTH_COMPILING, computing.precision, at_once=True
        )
        self.eval()
        tried(model, self._at_once, computing.precision)
        self._narrow_head()

    def _at_once(self, texts: Sequence[str]) -> Tensor:
        """The answers to the template with each of some texts in all of its places, all in one pass."""
        room = self.template.prompt.room // self.template.prompt.texts
        places = [self.template.tokens(name, texts) for name in self.template.template.names]
        return self._pass([tuple(text[:room] for text in row) for row in zip(*places, strict=True)])

    def _narrow_head(self) -> None:
        """Let the last layer compute the words alone, unless something is done behind it that needs all others."""
        head = self.model.get_output_embeddings()
        if type(head) is not nn.Linear:
            return
        with torch.inference_mode():
            expected = self._at_once(TEXTS)
            narrowed: Any = head
            narrowed.__class__, narrowed.chosen, self._narrow = _OnlyWords, self.words, True
            near = 1e-4 if head.weight.dtype == torch.float32 else 0.1
            try:
                self._narrow = torch.allclose(self._at_once(TEXTS), expected, rtol=near, atol=near)
            except RuntimeError:
                self._narrow = False
        if not self._narrow:
            head.__class__ = nn.Linear

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def forward(self, shares: NDArray[np.int64], texts: Callable[[int], dict[str, Tokens]]) -> Tensor:
        """The difference log P(first word) - log P(second word) of each prompt, float32 `[prompts]`.

        `shares` are how many tokens each of its texts has, in the order of the places, `[prompts, places]`; `texts`
        gives the tokens of a prompt's texts by place.
        """
        prompt = self.template.prompt
        lengths = shares.sum(axis=1) + prompt.max_length - prompt.room
        graph = self._fast.graph(int(lengths.sum()))
        places = passes(lengths, len(shares), evenly(graph, lengths, self.tokens))

        def read(some: NDArray[np.int64]) -> Tensor:
            return self._pass([self._cut(texts(row), shares[row]) for row in some.tolist()], graph)

        found = torch.cat(side_by_side(graph, read, places))
        return found[torch.from_numpy(np.argsort(np.concatenate(places))).to(found.device)]

    def save(self, folder: Path) -> None:
        """Write the model as transformers does, with safetensors."""
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    def fingerprint(self, *more: object) -> str:
        """A hash of weights, tokenizer, contract and `more`."""
        pieces = [piece.tolist() for piece in self.template.prompt.pieces]
        reading = (self.tokenizer.backend_tokenizer.to_str(), pieces, self.words, self.contract, self.max_length, more)
        return hashlib.blake2b((weights_digest(self.state_dict()) + repr(reading)).encode(), digest_size=16).hexdigest()

    def _template(self) -> TokenisedTemplate:
        contract, around = self.contract, ends(self.tokenizer)
        text, nothing = contract.template, np.zeros(0, np.int32)
        PromptTemplate.of(text, contract.places)  # so that a message shows the setting
        if contract.chat:  # it says itself where a text begins
            messages = [{"role": "user", "content": text}]
            text = chatted(self.tokenizer, messages)
            around = nothing, nothing
        elif not self.decodes:
            around = around[0], nothing  # what ends a text would end the prompt
        return TokenisedTemplate(self.tokenizer, PromptTemplate.of(text, contract.places), self.max_length, around)

    def _cut(self, texts: dict[str, Tokens], share: NDArray[np.int64]) -> tuple[Tokens, ...]:
        ordered = self.template.template.order(texts)
        return tuple(text[:most] for text, most in zip(ordered, share.tolist(), strict=True))

    def _pass(self, rows: Sequence[Sequence[Tokens]], graph: Graph | None = None) -> Tensor:
        """One forward pass. Prompts are padded behind, where neither attention nor positions before it notice."""
        ids, mask = self.template.prompt.filled(rows, padding_of(self.tokenizer, self.model))
        columns = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        inputs = {name: torch.from_numpy(column).to(self.device) for name, column in columns.items()}
        first, second = (self._logits(self.model, inputs) if graph is None else graph(inputs)).unbind(1)
        return first - second

    def _logits(self, network: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The logits of both words after each prompt, float32 `[prompts, 2]`."""
        ids, arguments = inputs["input_ids"], {**inputs}
        if self.decodes:
            arguments["decoder_input_ids"] = torch.full_like(ids[:, :1], first_token(network))
            logits = network(**arguments, use_cache=False).logits[:, 0].float()
        else:
            last = inputs["attention_mask"].sum(1) - 1
            rows = torch.arange(ids.shape[0], device=ids.device)
            logits = network(**arguments, use_cache=False).logits[rows, last].float()
        return logits if self._narrow else logits[:, self.words]


class _OnlyWords(nn.Linear):
    """The last layer of a language model, for a few words of the vocabulary, in float32.

    In bfloat16 a logit has 8 bits, and many documents would tie.
    """

    chosen: list[int]

    def forward(self, input: Tensor) -> Tensor:
        """Logits of the chosen words, `[..., words]`."""
        bias = None if self.bias is None else self.bias[self.chosen].float()
        return F.linear(input.float(), self.weight[self.chosen].float(), bias)


def chatted(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """The prompt that a tokenizer's chat template makes of messages. Raises `BadInput` where it does not take them."""
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # of the template, which is a program of its author's
        raise BadInput(
            f"the chat template of the tokenizer cannot be filled: {error}. Set chat = false, and give the whole "
            "prompt as `template`."
        ) from error


def first_token(model: Any) -> int:
    """The token that decoding begins with. Raises `BadInput` where the model does not say."""
    start = getattr(model.config, "decoder_start_token_id", None)
    start = model.generation_config.decoder_start_token_id if start is None else start
    if start is None:
        raise BadInput(
            f"the config of {type(model).__name__} has no decoder_start_token_id, the token that decoding starts with: "
            "set it in the model's config.json."
        )
    return int(start)


def scored(log_odds: Tensor, score: Score) -> Tensor:
    """The logarithm of P(first) among the two words, or its difference from log P(second)."""
    return log_odds if score == "log_odds" else F.logsigmoid(log_odds)
