"""Prompts that show several passages, as data: a TOML file of messages with places for query and passages.

`labels` are "numbers" or "letters". `passage` is the text of each passage in the place `{passages}` of a message, with
`{label}` and `{passage}`, and `between` stands between them. `start` is what an answer begins with, where the model can
be made to. Each of `[[messages]]` has a `role` and a `text` with `{query}`, `{count}` and `{passages}`; or, with `each`
set, `{label}` and `{passage}`: it is said once for each passage, together with those beside it. The files in `prompts`
are examples.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from nirank.errors import BadInput, UnknownName

_FOLDER = Path(__file__).parent / "prompts"
_PLACE = re.compile(r"\{(\w+)\}")
_LABELS = {"numbers": [str(number) for number in range(1, 1001)], "letters": list(string.ascii_uppercase)}

#: What is said, by whom: `role` and `content` of each message.
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Message:
    """One message; with `each` it is said for every passage."""

    role: Literal["system", "user", "assistant"]
    text: str
    each: bool = False


@dataclass(frozen=True)
class Conversation:
    """The messages that show a query with passages, and how passages are called in them."""

    messages: tuple[Message, ...]
    labels: Literal["numbers", "letters"]
    passage: str = "{passage}"
    between: str = "\n"
    start: str = ""

    def check(self, passages: int) -> None:
        """Raise `BadInput` where there are not labels for so many passages."""
        if passages > len(_LABELS[self.labels]):
            most = len(_LABELS[self.labels])
            raise BadInput(f"{passages} passages cannot be shown at once: there are {self.labels} for {most}.")

    def called(self, count: int) -> list[str]:
        """The labels of so many passages."""
        return _LABELS[self.labels][:count]

    def template(self, count: int) -> Messages:
        """The messages for so many passages, with the places `{query}` and `{passage1}`, `{passage2}`, ..."""
        numbered = list(enumerate(self.called(count), 1))
        shown = [self._of(self.passage, number, label) for number, label in numbered]
        whole = {"count": str(count), "passages": self.between.join(shown)}
        said: Messages = []
        for each, some in groupby(self.messages, lambda message: message.each):
            block = list(some)
            for number, label in numbered if each else [(0, "")]:
                texts = [self._of(m.text, number, label) if each else _put(m.text, whole) for m in block]
                said += [{"role": m.role, "content": text} for m, text in zip(block, texts, strict=True)]
        return said

    def filled(self, query: str, passages: Sequence[str]) -> Messages:
        """The messages with their texts in."""
        texts = {"query": query} | {f"passage{number}": text for number, text in enumerate(passages, 1)}
        return [message | {"content": _put(message["content"], texts)} for message in self.template(len(passages))]

    def _of(self, text: str, number: int, label: str) -> str:
        """A text about one passage, which is left open."""
        return _put(text, {"label": label, "passage": f"{{passage{number}}}"})


def read(name: str) -> Conversation:
    """The prompt that comes with nirank under a name, or that of a TOML file.

    Raises `UnknownName` for a name that there is not, and `BadInput` for a file that is no prompt.
    """
    path = Path(name).expanduser() if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and not path.exists():
        known = [each.stem for each in _FOLDER.glob("*.toml")]
        raise UnknownName("prompt", name, known, "A file of your own ends in .toml.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"is no prompt: {error}", path) from error
    return _checked(_made(table, path), path)


def flat(messages: Messages) -> str:
    """A conversation as one text, for what knows no roles."""
    return "\n".join(message["content"] for message in messages)


def _made(table: dict[str, Any], path: Path) -> Conversation:
    from pydantic import TypeAdapter, ValidationError

    try:
        known = Conversation.__dataclass_fields__
        if more := sorted(table.keys() - known.keys()):
            raise BadInput(f"has {', '.join(more)}; a prompt has {', '.join(sorted(known))}.", path)
        return TypeAdapter(Conversation).validate_python(table)
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadInput(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}", path) from error


def _checked(prompt: Conversation, path: Path) -> Conversation:
    """The prompt. Raises `BadInput` where it would show no query, no passage, or one of them without its label."""
    for text, allowed in _places(prompt):
        if unknown := sorted({*_PLACE.findall(text)} - allowed):
            places = ", ".join(f"{{{name}}}" for name in sorted(allowed))
            raise BadInput(f"{text!r:.60} has the place {{{unknown[0]}}}; it may have {places}.", path)
    said = flat(prompt.template(2))
    if lacking := [name for name in ("query", "passage1", "passage2") if f"{{{name}}}" not in said]:
        raise BadInput(f"shows no {lacking[0].rstrip('12')}: put the place into a message.", path)
    if said.count("{passage1}") > 1:
        raise BadInput("shows each passage more than once.", path)
    return prompt


def _places(prompt: Conversation) -> Iterator[tuple[str, set[str]]]:
    """Each text of a prompt with the places that it may have."""
    yield prompt.passage, {"label", "passage"}
    for message in prompt.messages:
        yield message.text, {"label", "passage"} if message.each else {"query", "count", "passages"}


def _put(text: str, values: dict[str, str]) -> str:
    """A text with values in their places; nothing that a value says is a place."""
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), text)
