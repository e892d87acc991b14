"""Language models behind an OpenAI-compatible endpoint: OpenAI's own, vLLM, llama.cpp, Ollama, and others.

Answers are taken at temperature 0 and kept on disk, by model, address, prompt and number of tokens: what was asked once
is not asked again. The key is read from OPENAI_API_KEY when something is asked, and written nowhere.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nirank.errors import BadInput, ComponentError, MissingDependency
from nirank.kit import cache_folder, digest, progress
from nirank_rewriting.answers import Answers


@dataclass(frozen=True)
class Endpoint:
    """The place of a language model, and how it is asked.

    url      the address that ends in `/v1`; None: that in OPENAI_BASE_URL, or OpenAI's
    tokens   the most tokens of an answer
    timeout  the seconds that an answer may take
    retries  how often a request is repeated that failed for a reason that may pass: no connection, too many requests
    at_once  requests that are under way at a time

    Raises `BadInput` for numbers out of range.
    """

    url: str | None = None
    tokens: int = 256
    timeout: float = 60.0
    retries: int = 3
    at_once: int = 4

    def __post_init__(self) -> None:
        for name, least in {"tokens": 1, "timeout": 0.001, "retries": 0, "at_once": 1}.items():
            if getattr(self, name) < least:
                raise BadInput(f"{name} = {getattr(self, name)}; it must be {least} or more.")


class Asked:
    """A model at an endpoint: called with prompts, it returns as many answers."""

    def __init__(self, model: str, endpoint: Endpoint) -> None:
        _import()
        self.model, self.endpoint = model, endpoint

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """The answer to each prompt. Raises `ComponentError` where the endpoint fails; what it answered is kept."""
        keys, store = [self._key(prompt) for prompt in prompts], Answers(_place())
        known = store.get(keys)
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        if new:
            known |= self._all(new, store)
        return [known[key] for key in keys]

    def _all(self, prompts: dict[str, str], store: Answers) -> dict[str, str]:
        found, ask = {}, functools.partial(self._one, self._client())
        with ThreadPoolExecutor(self.endpoint.at_once) as pool, progress(f"Asking {self.model}", len(prompts)) as tell:
            try:
                for key, answer in zip(prompts, pool.map(ask, prompts.values()), strict=True):
                    store.put(key, answer)
                    found[key] = answer
                    tell(1)
            except _import().OpenAIError as error:
                pool.shutdown(cancel_futures=True)
                raise self._failed(error, len(found), len(prompts)) from error
        return found

    def _one(self, client: Any, prompt: str) -> str:
        messages = [{"role": "user", "content": prompt}]
        answer = client.chat.completions.create(
            model=self.model, messages=messages, temperature=0, max_tokens=self.endpoint.tokens
        )
        choices = getattr(answer, "choices", None)
        if not choices:
            raise ComponentError(f"{self.model} at {self._where} answered without a text: {answer!r:.200}.")
        return (choices[0].message.content or "").strip()

    def _client(self) -> Any:
        end = self.endpoint
        key = os.environ.get("OPENAI_API_KEY") or "none"  # servers of one's own want none, and the client wants one
        return _import().OpenAI(base_url=end.url, api_key=key, timeout=end.timeout, max_retries=end.retries)

    @property
    def _where(self) -> str:
        return self.endpoint.url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"

    def _key(self, prompt: str) -> str:
        about = {"model": self.model, "url": self._where, "tokens": self.endpoint.tokens, "temperature": 0}
        return digest(about | {"prompt": prompt})

    def _failed(self, error: Exception, done: int, asked: int) -> ComponentError:
        kept = f"{done} of {asked} were answered before, and are kept. " if done else ""
        key = "" if os.environ.get("OPENAI_API_KEY") else " OPENAI_API_KEY is not set."
        told = f"{type(error).__name__}: {error}".rstrip(".")[:300]
        return ComponentError(f"{self.model} at {self._where} did not answer ({told}). {kept}Run it again.{key}")


def _place() -> Path:
    return cache_folder() / "answers" / "answers-1.sqlite"


def _import() -> Any:
    try:
        import openai
    except ModuleNotFoundError as error:
        raise MissingDependency("this needs the package openai. Run: pip install 'nirank[rewriting]'") from error
    return openai
