"""Small instances for the checks: no model is asked."""

from __future__ import annotations

from collections.abc import Sequence

from nirank_rewriting.spelling import Spelling
from nirank_rewriting.written import Written


def spelling() -> Spelling:
    """A corrector that knows words by a single occurrence."""
    return Spelling(least=1)


def hyde() -> Written:
    """A stand-in for HyDE."""
    return Written(_answers, "hyde", keep=0)


def query2doc() -> Written:
    """A stand-in for query2doc."""
    return Written(_answers, "query2doc", keep=5)


def llm_rewrite() -> Written:
    """A stand-in for a prompt of one's own."""
    return Written(_answers, "translate", keep=1)


def _answers(prompts: Sequence[str]) -> list[str]:
    return [prompt.partition(": ")[2].upper().strip() for prompt in prompts]
