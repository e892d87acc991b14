"""Models that write answers to prompts, and what they are shown: the questions, and functions that answer them."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nirank.errors import BadInput, ComponentError
from nirank.kit import Served, digest, thoughtless
from nirank.kit.transformers import Computing
from nirank_seq2seq import conversation
from nirank_seq2seq.conversation import Conversation

#: A function from prompts to answers. One with an attribute `chats` that is true is given messages in place of texts.
Generate = Callable[[list[str]], list[str]]

#: What would pass for the label of a passage.
_BRACKETED = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True)
class Writing(Served):
    """Settings of a model that writes answers.

    endpoint        the address of a server, as for `nirank.kit.Served`, whose settings these are too; without it
                    `model` is a folder or a name on the hub, and is run here
    words           the most words of a passage that are shown
    max_length      of a model that is run here: the most tokens of a prompt, with the answer for a decoder; unless
                    given 4096, or fewer where the model or its tokenizer has fewer. Passages are cut to fit, to equal
                    length, and a query only where it alone has more than half of the room
    tokens          how many a forward pass has here, padding counted; prompts of similar length go together
    """

    words: int = 300
    max_length: int | None = None
    tokens: int | None = None


WRITING, COMPUTING = Writing(), Computing()


@dataclass(frozen=True)
class Question:
    """A query, and the passages that a model is shown with it, in this order."""

    query: str
    passages: tuple[str, ...]


class Writer(Protocol):
    """Answers questions by a prompt, and counts what happens to them."""

    prompt: Conversation

    @property
    def fingerprint(self) -> str:
        """A hash of all that an answer depends on."""

    def check(self, passages: int, weighed: bool = False) -> None:
        """Raise `BadInput` where so many passages cannot be shown, or their labels not be `weighed`."""

    def answers(self, questions: Sequence[Question], counts: Counter[str]) -> list[str]:
        """The text that the model writes to each question."""

    def chosen(self, questions: Sequence[Question], counts: Counter[str]) -> list[int]:
        """The place of the passage whose label is the likeliest answer, of each question."""


class Outside:
    """A function or a server that answers. How likely an answer is cannot be asked."""

    def __init__(self, generate: Any, prompt: Conversation, words: int, name: str) -> None:
        self.generate, self.prompt, self.words, self.name = generate, prompt, words, name
        self._own = getattr(generate, "fingerprint", None) or uuid.uuid4().hex  # of a function nothing can be known

    @property
    def fingerprint(self) -> str:
        """A hash of the model, prompt and words."""
        return digest([self._own, repr(self.prompt), self.words])

    def check(self, passages: int, weighed: bool = False) -> None:
        """Raise `BadInput` where labels would be weighed, or there are not so many."""
        self.prompt.check(passages)
        if weighed:
            raise BadInput(
                f'{self.name} writes answers and does not say how likely others would be: set by = "generation", or '
                "give a model that is run here."
            )

    def answers(self, questions: Sequence[Question], counts: Counter[str]) -> list[str]:
        """The answers. Raises `ComponentError` where there is not one text for each question."""
        said = [self.prompt.filled(*shown(each, self.words, counts)) for each in questions]
        prompts = said if getattr(self.generate, "chats", False) else [conversation.flat(each) for each in said]
        found = self.generate(prompts)
        texts = isinstance(found, list | tuple) and all(isinstance(answer, str) for answer in found)
        if not texts or len(found) != len(prompts):
            raise ComponentError(
                f"{self.name} returned {found!r:.80} for {len(prompts)} prompts; a list with one text each is expected."
            )
        return [thoughtless(answer) for answer in found]

    def chosen(self, questions: Sequence[Question], counts: Counter[str]) -> list[int]:
        """Refuse; raises `BadInput`."""
        del questions, counts
        self.check(1, weighed=True)
        return []


def shown(question: Question, words: int, counts: Counter[str]) -> tuple[str, list[str]]:
    """The query and the passages as they are shown: passages without line breaks, cut to so many words.

    A number in brackets, as in a list of references, is put into parentheses, lest it is taken for a label.
    """
    split = [passage.split() for passage in question.passages]
    counts["questions"] += 1
    counts["passages"] += len(split)
    counts["cut to words"] += sum(len(passage) > words for passage in split)
    query, *passages = (
        _BRACKETED.sub(r"(\1)", text) for text in [question.query, *(" ".join(p[:words]) for p in split)]
    )
    return query, passages
