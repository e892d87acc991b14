"""UPR: a document is as relevant as the query is likely to be asked about it, under a language model."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Candidates, Queries
from nirank.errors import BadInput
from nirank.kit import transformers as pretrained
from nirank.kit import tried, weights_digest
from nirank.kit.text import Read, Tokens, tokens
from nirank.kit.transformers import Computing, longest, padding_of, passes, quiet, tokenizer_text
from nirank_seq2seq.judge import chats
from nirank_seq2seq.local import kind_of
from nirank_seq2seq.reader import COMPUTING, LENGTHS, Lengths, chatted, first_token
from nirank_seq2seq.template import PromptTemplate, TokenisedTemplate, ends
from nirank_seq2seq.writers import Generate

TEMPLATE = "Passage: {document} Please write a question based on this passage."

_CPU_TOKENS, _GPU_TOKENS, _USUAL_LENGTH = 1024, 16_384, 512
_NOTHING = np.zeros(0, np.int32)


class UPR(nn.Module):
    """Scores a document by the mean log-likelihood of the query's tokens after a prompt that shows the document.

        s(q, d) = 1 / |q| * sum_t log P(q_t | q_1 ... q_t-1, prompt(d))

    with a decoder, which goes on from the prompt to the query, or with an encoder of the prompt and a decoder of the
    query, with the end of the text where the tokenizer adds one. Sachan et al., Improving Passage Retrieval with
    Zero-Shot Question Generation, EMNLP 2022; their sum over the tokens orders the documents of a query alike. Their
    decoders count the end of the query too.

    `model` is a name on the model hub or a folder; it has to be run here, for a server (`endpoint`) does not say how
    likely a given text is. `template` has the place `{document}`; with `chat` it is what a user says, in the chat
    template of the tokenizer; unless given, where a decoder's tokenizer has one. Documents are cut to fit `max_length`,
    and a query where it has more than half of the room. Any loss trains it. Raises `BadInput` where there is no such
    model, and for a template without the place.
    """

    reads = "text"

    def __init__(
        self,
        model: str | Generate,
        template: str = TEMPLATE,
        chat: bool | None = None,
        endpoint: str | None = None,
        *,
        lengths: Lengths = LENGTHS,
        computing: Computing = COMPUTING,
    ) -> None:
        super().__init__()
        if endpoint is not None or not isinstance(model, str):
            raise BadInput(
                "upr needs a model that is run here, a folder or a name on the hub: functions and servers do not say "
                "how likely a given text is. Of those rankgpt, setwise and prp ask for answers."
            )
        kind = kind_of(model)
        self.decodes = kind == "AutoModelForSeq2SeqLM"
        self.model = pretrained.load(kind, model, dtype=computing.dtype).to(computing.place)
        self.tokenizer = pretrained.tokenizer_of(model, self.model)
        self.chat = chats(model, chat) if chat or not self.decodes else False
        self.max_length = longest(self.model, lengths.max_length, min(_USUAL_LENGTH, self.tokenizer.model_max_length))
        self.tokens = lengths.tokens or (_CPU_TOKENS if computing.place == "cpu" else _GPU_TOKENS)
        self.text, self.precision, self.end = template, computing.precision, ends(self.tokenizer)[1]
        self.template = self._template()
        self.batch_size = computing.batch_size or 512
        self.eval()
        tried(model, self._at_once, computing.precision)

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Scores, float32 `[pairs]`; 0 for all documents of a query without a token."""
        if not candidates.pairs:
            return torch.zeros(0, device=self.model.device)
        read = Read.of(queries, candidates, self._read)
        pairs = zip(read.rows.tolist(), read.docs.tolist(), strict=True)
        asked = [self._asked(read.queries[row], read.documents[doc]) for row, doc in pairs]
        places = passes(np.array([len(prompt) + len(query) for prompt, query in asked]), len(asked), self.tokens)
        found = torch.cat([self._pass([asked[row] for row in some.tolist()]) for some in places])
        return found[torch.from_numpy(np.argsort(np.concatenate(places))).to(found.device)]

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the model into `folder / "model"`, as transformers does, with safetensors.

        Returns the table of a stage that builds this scorer again, template included; its path is relative to `folder`.
        """
        with quiet():
            self.model.save_pretrained(folder / "model")
            self.tokenizer.save_pretrained(folder / "model")
        return {**self._contract(), "model": Path("model")}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that the scores depend on: weights, tokenizer, template, lengths."""
        reading = (tokenizer_text(self.tokenizer), self.tokenizer.chat_template, sorted(self._contract().items()))
        return hashlib.blake2b((weights_digest(self.state_dict()) + repr(reading)).encode(), digest_size=16).hexdigest()

    def _contract(self) -> dict[str, Any]:
        return {
            "use": "scorer/upr",
            "template": self.text,
            "chat": self.chat,
            "max_length": self.max_length,
            "precision": self.precision,
        }

    def _template(self) -> TokenisedTemplate:
        """The prompt; for a decoder the query follows it, behind a space where it is no message."""
        PromptTemplate.of(self.text, ("document",))  # so that a message shows the setting
        text, around = self.text, ends(self.tokenizer)
        if self.chat:  # it says itself where a text begins
            text, around = chatted(self.tokenizer, [{"role": "user", "content": text}]), (_NOTHING, _NOTHING)
        if self.decodes:
            return TokenisedTemplate(self.tokenizer, PromptTemplate.of(text, ("document",)), self.max_length, around)
        text, around = text + ("{query}" if self.chat else " {query}"), (around[0], _NOTHING)
        return TokenisedTemplate(
            self.tokenizer, PromptTemplate.of(text, ("document", "query")), self.max_length, around
        )

    def _read(self, side: str, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of queries or documents."""
        if side == "query" and self.decodes:
            return tokens(self.tokenizer, texts)
        return self.template.tokens(side, texts)

    def _asked(self, query: Tokens, document: Tokens) -> tuple[Tokens, Tokens]:
        """What is read of a pair: the tokens of the prompt, for a decoder with the query in it, and of the query."""
        room = self.template.prompt.room
        query = query[: max(1, room // 2)]
        if self.decodes:
            whole = self.template.prompt.filled([(document[:room],)])[0][0]
            return whole, np.concatenate([query, self.end])
        return self.template.prompt.filled([(document[: room - len(query)], query)])[0][0], query

    def _at_once(self, texts: Sequence[str]) -> Tensor:
        """The scores of texts as their own queries, in one pass."""
        pairs = zip(self._read("query", texts), self._read("document", texts), strict=True)
        return self._pass([self._asked(query, document) for query, document in pairs])

    def _pass(self, asked: Sequence[tuple[Tokens, Tokens]]) -> Tensor:
        """The mean log-likelihood of each query, float32 `[pairs]`, by one forward pass."""
        given, first = self._given(asked)
        logits = self.model(**given, use_cache=False).logits
        lengths = np.array([len(query) for _, query in asked])
        places = [at + np.arange(length) for at, length in zip(first, lengths, strict=True)]
        targets = [query.astype(np.int64) for _, query in asked]
        flat = np.repeat(np.arange(len(asked)), lengths), np.concatenate(places), np.concatenate(targets)
        row, place, target = (torch.from_numpy(each).to(logits.device) for each in flat)
        losses = F.cross_entropy(logits[row, place].float(), target, reduction="none")
        sums = losses.new_zeros(len(asked)).index_add(0, row, -losses)
        return sums / torch.from_numpy(np.maximum(lengths, 1)).to(sums.device)

    def _given(self, asked: Sequence[tuple[Tokens, Tokens]]) -> tuple[dict[str, Tensor], list[int]]:
        """The inputs of the model, and the place in each row of the logits of the query's first token.

        Padding stands behind, where neither attention nor positions before it notice.
        """
        prompts, queries = [prompt for prompt, _ in asked], [query for _, query in asked]
        padding = padding_of(self.tokenizer, self.model)
        given = {"input_ids": _filled(prompts, padding), "attention_mask": _filled([np.ones_like(p) for p in prompts])}
        first = [0 if self.decodes else len(prompt) - len(query) - 1 for prompt, query in asked]
        if self.decodes:
            start = [np.array([first_token(self.model), *query[:-1]]) for query in queries]
            given["decoder_input_ids"] = _filled(start)
        return {name: torch.from_numpy(column).to(self.model.device) for name, column in given.items()}, first


def _filled(rows: Sequence[Tokens], padding: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows of tokens as a matrix `[rows, longest]`, padded behind."""
    matrix = np.full((len(rows), max(map(len, rows))), padding, np.int64)
    for number, row in enumerate(rows):
        matrix[number, : len(row)] = row
    return matrix
