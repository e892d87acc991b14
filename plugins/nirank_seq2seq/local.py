"""A model of transformers that is run here: it writes answers to questions, and weighs the labels of passages."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nirank.errors import BadInput
from nirank.kit import thoughtless, tried, weights_digest
from nirank.kit import transformers as pretrained
from nirank.kit.text import Tokens, tokens
from nirank.kit.transformers import Computing, longest, padding_of, passes, tokenizer_text
from nirank_seq2seq import conversation
from nirank_seq2seq.conversation import Conversation, Messages
from nirank_seq2seq.reader import chatted, first_token
from nirank_seq2seq.template import PromptTemplate, TokenisedTemplate, ends
from nirank_seq2seq.writers import Question, Writing, shown

_USUAL_LENGTH = 4096
#: Padded tokens and prompts of a forward pass.
_CPU_TOKENS, _GPU_TOKENS, _PROMPTS = 4096, 32_768, 256
_NOTHING = np.zeros(0, np.int32)


class Local:
    """A decoder, or an encoder with a decoder, with its tokenizer; the greedy answer counts.

    A prompt goes through the chat template of the tokenizer, where it has one, and is read as one text where not.
    Passages, and long queries, are cut before they are put in, so that a prompt and its answer always fit. Raises
    `BadInput` where there is no such model, and for a prompt that leaves no room for passages.
    """

    def __init__(self, model: str, prompt: Conversation, answer: int, writing: Writing, computing: Computing) -> None:
        self.prompt, self.words, self.answer = prompt, writing.words, answer
        kind = kind_of(model)
        self.decodes = kind == "AutoModelForSeq2SeqLM"
        self.network = pretrained.load(kind, model, dtype=computing.dtype).to(computing.place).eval()
        self.tokenizer = pretrained.tokenizer_of(model, self.network)
        self.chats = bool(self.tokenizer.chat_template)
        usual = min(_USUAL_LENGTH, self.tokenizer.model_max_length)
        self.max_length = longest(self.network, writing.max_length, usual)
        self.size = computing.batch_size or _PROMPTS
        self.tokens = writing.tokens or (_CPU_TOKENS if computing.place == "cpu" else _GPU_TOKENS)
        self._templates: dict[int, TokenisedTemplate] = {}
        self.start = self._literal(self._said(prompt.start)) if prompt.start else _NOTHING
        tried(model, self._at_once, computing.precision)

    @property
    def fingerprint(self) -> str:
        """A hash of weights, tokenizer, prompt and lengths."""
        reading = (tokenizer_text(self.tokenizer), self.tokenizer.chat_template, self.prompt)
        lengths = (self.words, self.max_length, self.answer)
        known = weights_digest(self.network.state_dict()) + repr((reading, lengths))
        return hashlib.blake2b(known.encode(), digest_size=16).hexdigest()

    def check(self, passages: int, weighed: bool = False) -> None:
        """Raise `BadInput` where so many passages do not fit, or their labels are not single tokens and `weighed`."""
        self.prompt.check(passages)
        self._template(passages)
        if weighed:
            self._labels(passages)

    @torch.inference_mode()
    def answers(self, questions: Sequence[Question], counts: Counter[str]) -> list[str]:
        """The greedy answer to each question, without the words that it was made to begin with."""
        prompts = [self._tokens(question, counts) for question in questions]
        return _joined((some, self._written([prompts[row] for row in some])) for some in self._passes(prompts))

    @torch.inference_mode()
    def chosen(self, questions: Sequence[Question], counts: Counter[str]) -> list[int]:
        """The passage whose label is the likeliest next token of the answer; of equally likely ones the first."""
        prompts = [self._tokens(question, counts) for question in questions]
        start, labels = self._labels(max((len(question.passages) for question in questions), default=0))

        def best(some: Sequence[int]) -> list[int]:
            weights = self._next([prompts[row] for row in some], start)[:, labels].float().cpu().numpy()
            counted = zip(some, weights, strict=True)
            return [int(row_weights[: len(questions[row].passages)].argmax()) for row, row_weights in counted]

        return _joined((some, best(some)) for some in self._passes(prompts))

    def _written(self, prompts: Sequence[Tokens]) -> list[str]:
        """The answers to some prompts, of one pass. Decoders continue them, so the padding stands before them."""
        given = self._given(prompts, self.start, left=not self.decodes)
        skipped = given["input_ids"].shape[1]
        if self.decodes:
            skipped = given["decoder_input_ids"].shape[1]
        made = self.network.generate(**given, generation_config=self._greedily())
        found = self.tokenizer.batch_decode(made[:, skipped:], skip_special_tokens=True)
        return [thoughtless(answer) for answer in found]

    def _next(self, prompts: Sequence[Tokens], start: Tokens) -> Tensor:
        """The weights of all tokens after some prompts and the start of an answer, `[prompts, tokens]`."""
        given = self._given(prompts, start, left=False)
        last = given["attention_mask"].sum(1) - 1
        if self.decodes:
            last = torch.full_like(last, len(start))
        logits: Tensor = self.network(**given, use_cache=False).logits
        return logits[torch.arange(len(last), device=last.device), last]

    def _given(self, prompts: Sequence[Tokens], start: Tokens, left: bool) -> dict[str, Tensor]:
        """The inputs of the network: prompts, and the start of an answer, which for a decoder is their end."""
        rows = prompts if self.decodes else [np.concatenate([prompt, start]) for prompt in prompts]
        ids, mask = _padded(rows, padding_of(self.tokenizer, self.network), left)
        given = {"input_ids": self._tensor(ids), "attention_mask": self._tensor(mask)}
        if self.decodes:
            first = [first_token(self.network), *start.tolist()]
            given["decoder_input_ids"] = self._tensor(np.tile(first, (len(ids), 1)))
        return given

    def _at_once(self, texts: Sequence[str]) -> Tensor:
        """The weights of all tokens after prompts that say each text, shown as query and passage, in one pass."""
        prompts = [self._tokens(Question(text, (text,)), Counter()) for text in texts]
        return self._next(prompts, self.start)

    def _tokens(self, question: Question, counts: Counter[str]) -> Tokens:
        """The prompt of a question, cut to fit."""
        query, texts = shown(question, self.words, counts)
        template = self._template(len(texts))
        names = template.template.names
        values = {"query": query} | {f"passage{number}": text for number, text in enumerate(texts, 1)}
        read = {name: template.tokens(name, [values[name]])[0] for name in values}
        lengths = {name: len(read[name]) for name in names}
        long, times = lengths.pop("query"), names.count("query")
        most = shares(long, times, list(lengths.values()), template.prompt.room)
        counts["queries cut to fit"] += long > most[0]
        counts["cut to fit"] += sum(length > most[1] for length in lengths.values())
        pieces = [read[name][: most[name != "query"]] for name in names]
        filled: Tokens = template.prompt.filled([pieces])[0][0]
        return filled

    def _template(self, count: int) -> TokenisedTemplate:
        """The prompt for so many passages, in tokens."""
        if count not in self._templates:
            text, around = self._text(self.prompt.template(count)), ends(self.tokenizer)
            if self.chats:  # it says itself where a text begins
                around = _NOTHING, _NOTHING
            elif not self.decodes:
                around = around[0], _NOTHING  # what ends a text would end the prompt
            names = [f"passage{number}" for number in range(1, count + 1)]
            template = PromptTemplate.of(text, [*["query"] * text.count("{query}"), *names])
            self._templates[count] = TokenisedTemplate(self.tokenizer, template, self._room(), around)
        return self._templates[count]

    def _room(self) -> int:
        """The most tokens of a prompt: beside those of the answer, where these follow it."""
        return self.max_length if self.decodes else self.max_length - self.answer - len(self.start)

    def _text(self, messages: Messages) -> str:
        """What is said, as the tokenizer has it; templates that know no system have its words before the first ones."""
        if not self.chats:
            return conversation.flat(messages)
        try:
            return chatted(self.tokenizer, messages)
        except BadInput:
            if messages[0]["role"] != "system":
                raise
            first = {"role": "user", "content": conversation.flat(messages[:2])}
            return chatted(self.tokenizer, [first, *messages[2:]])

    def _labels(self, count: int) -> tuple[Tokens, list[int]]:
        """The start of an answer, and the token of each label behind it. Raises `BadInput` where it takes several."""
        called = self.prompt.called(max(count, 2))
        whole = [self._literal(self._said(f"{self.prompt.start} {label}".strip())) for label in called]
        start, labels = whole[0][:-1], [int(read[-1]) for read in whole if len(read)]
        if any(len(read) != len(start) + 1 or (read[:-1] != start).any() for read in whole) or len(set(labels)) < count:
            raise BadInput(
                f"the tokenizer of the model does not read each label of {called} as one token behind "
                f"{self.prompt.start!r}: set by = 'generation', or other labels in the prompt."
            )
        return start, labels

    def _said(self, text: str) -> str:
        """The start of an answer: behind a prompt that is no message there is a space before it."""
        return text if self.chats or self.decodes else f" {text}"

    def _literal(self, text: str) -> Tokens:
        return tokens(self.tokenizer, [text])[0]

    def _greedily(self) -> Any:
        settings = copy.deepcopy(self.network.generation_config)
        padding, end = padding_of(self.tokenizer, self.network), self.tokenizer.eos_token_id
        settings.update(do_sample=False, num_beams=1, temperature=None, top_p=None, top_k=None, max_length=None)
        settings.update(max_new_tokens=self.answer, pad_token_id=padding)
        if settings.eos_token_id is None:
            settings.eos_token_id = end
        return settings

    def _passes(self, prompts: Sequence[Tokens]) -> list[list[int]]:
        lengths = np.array([len(prompt) for prompt in prompts], np.int64)
        return [some.tolist() for some in passes(lengths, self.size, self.tokens)]

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(self.network.device)


def kind_of(model: str) -> str:
    """The Auto class of a model that writes: by its config, which says whether an encoder reads the prompt."""
    config = pretrained.load("AutoConfig", model)
    return "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"


def shares(query: int, times: int, passages: Sequence[int], room: int) -> tuple[int, int]:
    """The most tokens that are read of a query and of each passage, from the number that each has, to fit the room.

    The query, which the prompt says so many `times`, is cut where it would have more than half of the room, and the
    passages to the largest equal length that fits.
    """
    kept = min(query, max(1, min(room // 2, room - len(passages)) // times))
    left, lengths = room - kept * times, sorted(passages)
    for place, length in enumerate(lengths):
        equal = left // (len(lengths) - place)
        if length > equal:
            return kept, equal
        left -= length
    return kept, max(lengths, default=0)


def _padded(prompts: Sequence[Tokens], padding: int, left: bool) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Prompts as a matrix `[prompts, longest]`, and where it has tokens."""
    lengths = np.array([len(prompt) for prompt in prompts])
    places = np.arange(lengths.max())
    mask = places >= lengths.max() - lengths[:, None] if left else places < lengths[:, None]
    ids = np.full(mask.shape, padding, np.int64)
    ids[mask] = np.concatenate(prompts)
    return ids, mask


def _joined(parts: Iterator[tuple[Sequence[int], Sequence[Any]]]) -> list[Any]:
    """The results of passes, each given with the rows that it is of, in the order of the rows."""
    found = {row: result for rows, results in parts for row, result in zip(rows, results, strict=True)}
    return [found[row] for row in range(len(found))]
