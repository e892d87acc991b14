"""Queries that a language model writes, or writes on.

All rewriters here have these settings, and those of `nirank.kit.Served`:

model   the name of a model on the server `endpoint`; or a function of a list of prompts to a list of answers
prompt  what it is asked: a name of `nirank_rewriting.prompts.PROMPTS`, or a text with `{query}`
keep    how often the query stands before the answer
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence

from nirank.data import Content, Queries
from nirank.errors import BadInput, ComponentError
from nirank.kit import Served, digest, thoughtless
from nirank.kit.text import require_text
from nirank_rewriting.prompts import prompt_of

log = logging.getLogger("nirank")

#: A model: its answers to prompts.
Ask = Callable[[Sequence[str]], list[str]]
#: The most tokens of an answer, unless the settings say otherwise.
_ANSWER_TOKENS = 256
SERVED = Served()


class Written:
    """A rewriter: a model's answer to a prompt, after the query `keep` times.

    `ask` takes prompts and returns as many answers. Where one is empty the query stays as it is, and that is told.
    """

    reads = "text"

    def __init__(self, ask: Ask, prompt: str, keep: int) -> None:
        if keep < 0:
            raise BadInput(f"keep = {keep}; it must be 0 or more.")
        self._ask, self.prompt, self.keep = ask, prompt_of(prompt), keep
        self._own = getattr(ask, "fingerprint", None) or uuid.uuid4().hex  # of a function nothing can be known

    @property
    def fingerprint(self) -> str:
        """A hash of the model, its prompt, and how often the query stays."""
        return digest([self._own, self.prompt, self.keep])

    def rewrite(self, queries: Queries) -> list[Content]:
        """The text of each query. Raises `ComponentError` where the model does not return one text for each."""
        texts = require_text(queries.contents, "query")
        answers = self._answers([self.prompt.replace("{query}", text) for text in texts])
        if empty := sum(not answer for answer in answers):
            log.warning("%d of %d answers are empty; these queries stay as they are.", empty, len(answers))
        return [self._joined(text, answer) for text, answer in zip(texts, answers, strict=True)]

    def _answers(self, prompts: list[str]) -> list[str]:
        found = self._ask(prompts)
        if not isinstance(found, list) or len(found) != len(prompts) or not all(isinstance(one, str) for one in found):
            raise ComponentError(f"the model returned {found!r:.80}; a list of {len(prompts)} texts is expected.")
        return [thoughtless(answer) for answer in found]

    def _joined(self, text: str, answer: str) -> str:
        return " ".join([text] * self.keep + [answer]) if answer else text


def hyde(model: str | Ask, prompt: str = "hyde", keep: int = 0, *, served: Served = SERVED) -> Written:
    """A passage that might answer the query, in its place: HyDE, for bi-encoders.

    Gao et al., ACL 2023; here it is one passage, at temperature 0.
    """
    return Written(_model(model, served), prompt, keep)


def query2doc(model: str | Ask, prompt: str = "query2doc", keep: int = 5, *, served: Served = SERVED) -> Written:
    """The query, 5 times, and a passage that might answer it: query2doc, for BM25.

    Wang, Yang and Wei, EMNLP 2023, without examples in the prompt.
    """
    return Written(_model(model, served), prompt, keep)


def llm_rewrite(model: str | Ask, prompt: str, keep: int = 0, *, served: Served = SERVED) -> Written:
    """The answer to any prompt: search terms, a translation, a correction."""
    return Written(_model(model, served), prompt, keep)


def _model(model: str | Ask, served: Served) -> Ask:
    """The function `model`, or the model of that name on a server."""
    return served.model(model, _ANSWER_TOKENS) if isinstance(model, str) else model
