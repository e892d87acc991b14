"""The model that settings name: a function, one on a server, or one of transformers that is run here."""

from __future__ import annotations

from nirank.errors import BadInput
from nirank.kit.transformers import Computing
from nirank_seq2seq import conversation
from nirank_seq2seq.writers import Generate, Outside, Writer, Writing


def writer(model: str | Generate, prompt: str, writing: Writing, computing: Computing, answer_tokens: int) -> Writer:
    """What answers questions: the function `model`, or the model of that name on a server or here.

    `answer_tokens` holds where the settings do not say how long an answer may be. Raises `BadInput` for settings that
    show or allow nothing.
    """
    length = answer_tokens if writing.answer_tokens is None else writing.answer_tokens
    if writing.words < 1 or length < 1:
        raise BadInput(f"words = {writing.words}, answer_tokens = {length}: both are whole numbers from 1.")
    read, here = conversation.read(prompt), isinstance(model, str) and writing.endpoint is None
    if not here and (writing.max_length or writing.tokens):
        raise BadInput("max_length and tokens are of models that are run here; for others passages are cut to `words`.")
    if not isinstance(model, str):
        if writing.endpoint is not None:
            raise BadInput(f"endpoint = {writing.endpoint!r} is asked for a model by its name, and {model!r} is none.")
        return Outside(model, read, writing.words, getattr(model, "__name__", type(model).__name__))
    if writing.endpoint is not None:
        return Outside(writing.model(model, length), read, writing.words, f"the server of {model}")
    from nirank_seq2seq.local import Local

    return Local(model, read, length, writing, computing)
