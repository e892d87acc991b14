"""Prompts of a query and its documents: fixed tokens, and between them texts that are cut to fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Content
from nirank.errors import BadInput

#: Numbers of tokens, `[tokens]`.
Tokens = NDArray[np.int32]


def tokens(tokenizer: Any, texts: Sequence[str]) -> list[Tokens]:
    """The tokens of each text, by a tokenizer of transformers, without any that the model treats specially.

    What looks like a special token in a text is read as letters: a document cannot end the prompt it stands in.
    Halves of surrogate pairs, which no tokenizer takes, are read as question marks.
    """
    if not len(texts):
        return []
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    read = tokenizer(
        clean,
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return [np.array(row, np.int32) for row in read["input_ids"]]


@dataclass(frozen=True, eq=False)
class Read:
    """The tokens of the distinct queries and documents of pairs; `rows` and `docs`, `[pairs]`, say which are whose."""

    queries: Sequence[Tokens]
    documents: Sequence[Tokens]
    rows: NDArray[np.int64]
    docs: NDArray[np.int64]

    @classmethod
    def of(
        cls, queries: Queries, candidates: Candidates, tokenize: Callable[[str, Sequence[str]], Sequence[Tokens]]
    ) -> Read:
        """Read each text of the pairs once. The second argument of `tokenize` is "query" or "document".

        Raises `BadInput` for a content that is no text, and where the candidates do not know their corpus.
        """
        corpus = candidates.corpus_for("a scorer of texts")
        query_rows, rows = np.unique(candidates.rows, return_inverse=True)
        ordinals, docs = np.unique(candidates.docs, return_inverse=True)
        query_tokens = _tokenized("query", [queries.contents[row] for row in query_rows.tolist()], tokenize)
        return cls(query_tokens, _tokenized("document", corpus[ordinals], tokenize), rows, docs)

    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of the query and of the document of each pair, `[pairs, 2]`."""
        sides = (self.queries, self.rows), (self.documents, self.docs)
        return np.stack([np.array([len(text) for text in texts], np.int64)[own] for texts, own in sides], axis=1)


@dataclass(frozen=True, eq=False)
class Prompt:
    """Fixed tokens with places for texts between them: `pieces[0]`, text 0, `pieces[1]`, text 1, ..., `pieces[-1]`.

    All together are at most `max_length` tokens. Raises `BadInput` where that leaves no token for each text.
    """

    pieces: Sequence[Tokens]
    max_length: int

    def __post_init__(self) -> None:
        if self.room < self.texts:
            fixed, texts = self.max_length - self.room, self.texts
            raise BadInput(
                f"max_length = {self.max_length} leaves no room for {texts} texts beside {fixed} fixed tokens; "
                "give a larger one."
            )

    @property
    def texts(self) -> int:
        """The number of places for texts."""
        return len(self.pieces) - 1

    @property
    def room(self) -> int:
        """The number of tokens that all texts may have together."""
        return self.max_length - sum(map(len, self.pieces))

    def shares(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of tokens that are read of each text, from the number that it has; both `[pairs, texts]`.

        Where they do not all fit, a text is cut that is longer than its equal share: a long document, that is, and a
        query only where it alone has more than half. For two texts it is what `truncation=True` of transformers does.
        """
        kept, room = lengths.copy(), np.full(len(lengths), self.room)
        for place in range(self.texts):
            rest, left = lengths[:, place + 1 :].sum(axis=1), self.texts - place
            equal = (room + (lengths[:, place] > rest)) // left if left > 1 else room
            kept[:, place] = np.minimum(lengths[:, place], np.maximum(room - rest, equal))
            room = room - kept[:, place]
        return kept

    def filled(self, rows: Sequence[Sequence[Tokens]], padding: int = 0) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The prompt with the texts of each row, `[rows, longest]`, `padding` behind them; and where it is tokens."""
        whole = [np.concatenate([*chain(*zip(self.pieces, texts, strict=False)), self.pieces[-1]]) for texts in rows]
        lengths = np.array([len(row) for row in whole])
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        ids = np.full(mask.shape, padding, np.int64)
        ids[mask] = np.concatenate(whole)
        return ids, mask


def _tokenized(
    side: str, contents: Sequence[Content], tokenize: Callable[[str, Sequence[str]], Sequence[Tokens]]
) -> Sequence[Tokens]:
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) < len(contents):
        odd = next(content for content in contents if not isinstance(content, str))
        raise BadInput(f"the content of a {side} is of the type {type(odd).__name__}; texts (str) are needed here.")
    return tokenize(side, texts)
