"""Queries that a language model writes, or writes on.

All rewriters here have these settings, and those of `nirank_rewriting.endpoint.Endpoint`:

model   the name of the model at an OpenAI-compatible endpoint
prompt  what it is asked: a name of `nirank_rewriting.prompts.PROMPTS`, or a text with `{query}`
keep    how often the query stands before the answer
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from nirank.data import Content, Queries
from nirank.errors import BadInput
from nirank.kit.text import require_text
from nirank_rewriting.endpoint import Asked, Endpoint
from nirank_rewriting.prompts import prompt_of

log = logging.getLogger("nirank")


class Written:
    """A rewriter: a model's answer to a prompt, after the query `keep` times.

    `ask` takes prompts and returns as many answers. Where one is empty the query stays as it is, and that is told.
    """

    reads = "text"

    def __init__(self, ask: Callable[[Sequence[str]], list[str]], prompt: str, keep: int) -> None:
        if keep < 0:
            raise BadInput(f"keep = {keep}; it must be 0 or more.")
        self._ask, self.prompt, self.keep = ask, prompt_of(prompt), keep

    def rewrite(self, queries: Queries) -> list[Content]:
        """The text of each query."""
        texts = require_text(queries.contents, "query")
        answers = self._ask([self.prompt.replace("{query}", text) for text in texts])
        if empty := sum(not answer for answer in answers):
            log.warning("%d of %d answers are empty; these queries stay as they are.", empty, len(answers))
        return [self._joined(text, answer) for text, answer in zip(texts, answers, strict=True)]

    def _joined(self, text: str, answer: str) -> str:
        return " ".join([text] * self.keep + [answer]) if answer else text


def hyde(model: str, prompt: str = "hyde", keep: int = 0, *, endpoint: Endpoint = Endpoint()) -> Written:
    """A passage that might answer the query, in its place: HyDE, for bi-encoders.

    Gao et al., ACL 2023; here it is one passage, at temperature 0.
    """
    return Written(Asked(model, endpoint), prompt, keep)


def query2doc(model: str, prompt: str = "query2doc", keep: int = 5, *, endpoint: Endpoint = Endpoint()) -> Written:
    """The query, 5 times, and a passage that might answer it: query2doc, for BM25.

    Wang, Yang and Wei, EMNLP 2023, without examples in the prompt.
    """
    return Written(Asked(model, endpoint), prompt, keep)


def llm_rewrite(model: str, prompt: str, keep: int = 0, *, endpoint: Endpoint = Endpoint()) -> Written:
    """The answer to any prompt: search terms, a translation, a correction."""
    return Written(Asked(model, endpoint), prompt, keep)
