"""Scorers that ask a model which of a few documents is the most relevant one: by its answer, or by likelihood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from nirank_seq2seq.conversation import Conversation
from nirank_seq2seq.lists import Listwise
from nirank_seq2seq.writers import Question, Writer

#: How a document is chosen: by the label that the model writes, or by the label that is the likeliest.
By = Literal["generation", "likelihood"]

#: Tokens of an answer: a word and a letter, and some more of a model that talks.
ANSWER_TOKENS = 16
#: A label alone, and one in a sentence, behind the word for what it labels.
_ALONE, _NAMED = r"\W*(?:{word}\W*)?([A-Za-z]|[0-9]+)\W*", r"\b(?i:{word})\W{{0,3}}([A-Z]|[0-9]+)\b"


class Choosing(Listwise):
    """A scorer whose questions, of at most `most` documents, are answered by the place of one, or None for none.

    Raises `BadInput` for likelihoods of what is not run here.
    """

    def __init__(self, writer: Writer, name: str, by: By, most: int, settings: Sequence[object]) -> None:
        writer.check(most, weighed=by == "likelihood")
        super().__init__(writer, name, (by, *settings))
        self.by = by

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        """The place of the document that is chosen, or None."""
        if self.by == "likelihood":
            return list(self.writer.chosen(questions, self.counts))
        answers = self.writer.answers(questions, self.counts)
        found = [
            label_of(answer, self.writer.prompt, len(question.passages))
            for answer, question in zip(answers, questions, strict=True)
        ]
        self.counts["repaired"] += found.count(None)
        self.counts["with no label"] += found.count(None)
        return found


def label_of(answer: str, prompt: Conversation, count: int) -> int | None:
    """The place of the passage that an answer names, of so many; None where it names none of them, or several.

    A label may stand alone, in any case and with any signs around it, or behind the word that answers begin with.
    """
    word = re.escape(prompt.start or "passage")
    alone = re.fullmatch(_ALONE.format(word=f"(?i:{word})"), answer)
    named = {alone[1].upper()} if alone else {*re.findall(_NAMED.format(word=word), answer)}
    places = [place for place, label in enumerate(prompt.called(count)) if label in named]
    return places[0] if len(places) == len(named) == 1 else None
