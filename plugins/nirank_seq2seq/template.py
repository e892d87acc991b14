"""A template such as `Query: {query} Document: {document} Relevant:`, in the tokens of a model's own tokenizer.

Literals and texts become tokens part by part, so that a text is read once for all prompts that it stands in, and
nothing that it says can change the template. White space before a place goes with the text that stands there: so the
tokenizers of T5 and those over bytes give the tokens that they give to the whole prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nirank.errors import BadInput
from nirank.kit.text import Prompt, Tokens, tokens

_PLACE = re.compile(r"(\s*)\{(\w+)\}")


@dataclass(frozen=True, eq=False)
class PromptTemplate:
    """The literals of a template, and of each place between them its name and the white space before it."""

    literals: Sequence[str]
    names: Sequence[str]
    spaces: Sequence[str]

    @classmethod
    def of(cls, text: str, names: Sequence[str]) -> PromptTemplate:
        """Read a template. Raises `BadInput` unless each of `names` has exactly one place, and no other has."""
        parts = _PLACE.split(text)
        found = parts[2::3]
        if sorted(found) != sorted(names):
            wanted, had = (", ".join(f"{{{name}}}" for name in some) or "none" for some in (names, found))
            raise BadInput(f"the template {text!r} has the placeholders {had}; each of {wanted} is expected once.")
        return cls(parts[::3], found, parts[1::3])

    def order(self, texts: dict[str, Any]) -> tuple[Any, ...]:
        """The values of a mapping by name, in the order of the places."""
        return tuple(texts[name] for name in self.names)


class TokenisedTemplate:
    """A template in tokens: `prompt` for its literals, `tokens` for what stands in its places.

    `ends` are the tokens before and behind the whole that the tokenizer adds to every text.
    """

    def __init__(self, tokenizer: Any, template: PromptTemplate, max_length: int, ends: tuple[Tokens, Tokens]) -> None:
        self.template, self._tokenizer = template, tokenizer
        self._bare = not _keeps_spaces(tokenizer, template)
        literals = [_literal(tokenizer, self._part(text, place)) for place, text in enumerate(template.literals)]
        pieces = [np.concatenate(parts) for parts in _framed(literals, ends)]
        self.prompt = Prompt(pieces, max_length)

    def tokens(self, name: str, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of texts that stand in the place `name`."""
        space = self.template.spaces[list(self.template.names).index(name)]
        return tokens(self._tokenizer, [self._part(space + text, 1) for text in texts])

    def _part(self, text: str, place: int) -> str:
        """Some tokenizers put the space before a text themselves."""
        return text[1:] if self._bare and place and text.startswith(" ") else text


def ends(tokenizer: Any) -> tuple[Tokens, Tokens]:
    """The tokens that a tokenizer puts before and behind a text."""
    bare, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    start = next(at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
    return np.array(whole[:start], np.int32), np.array(whole[start + len(bare) :], np.int32)


def word(tokenizer: Any, text: str) -> int:
    """The token of an answer. Raises `BadInput` where it is not a single one, which the model can write."""
    found = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(found) != 1 or found[0] == tokenizer.unk_token_id:
        pieces = tokenizer.convert_ids_to_tokens(found)
        raise BadInput(
            f"the tokenizer of the model reads the answer {text!r} as {pieces}: choose a word that is one known token."
        )
    return int(found[0])


def _keeps_spaces(tokenizer: Any, template: PromptTemplate) -> bool:
    """True if the parts, spaces and all, have the tokens of the whole; or if these are got neither way."""
    texts = [space + "cat" for space in template.spaces]
    parts = [template.literals[0]]
    for text, literal in zip(texts, template.literals[1:], strict=True):
        parts += [text, literal]
    whole = _literal(tokenizer, "".join(parts)).tolist()
    bare = [parts[0], *(part[1:] if part.startswith(" ") else part for part in parts[1:])]
    same = [np.concatenate([_literal(tokenizer, part) for part in some]).tolist() == whole for some in (parts, bare)]
    return same[0] or not same[1]


def _literal(tokenizer: Any, text: str) -> Tokens:
    """The tokens of a part of a template, in which special tokens are special."""
    return np.array(tokenizer(text, add_special_tokens=False)["input_ids"] if text else [], np.int32)


def _framed(literals: Sequence[Tokens], ends: tuple[Tokens, Tokens]) -> list[list[Tokens]]:
    parts = [[literal] for literal in literals]
    parts[0].insert(0, ends[0])
    parts[-1].append(ends[1])
    return parts
