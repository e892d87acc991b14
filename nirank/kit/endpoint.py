"""A language model behind a server with OpenAI's interface, which vLLM, llama.cpp, Ollama and many services have too.

Prompts are given, and answers come back: an `Endpoint` is a function of a list of texts to a list of texts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from nirank.errors import BadInput, ComponentError, MissingDependency
from nirank.hashing import digest
from nirank.kit.answers import Answers
from nirank.progress import progress

log = logging.getLogger("nirank")

#: What is said to a model: a text, or the messages of a conversation, each with `role` and `content`.
Prompt = str | Sequence[Mapping[str, str]]

#: Where a key belongs unless a variable says it.
_HOMES = {"OPENAI_API_KEY": "https://api.openai.com/v1"}
#: Letters of a server's message that are shown.
_SHOWN = 300


@dataclass(frozen=True)
class Asking:
    """Settings of asking a server: how long, how often, how many at once.

    timeout    seconds that an answer may take
    tries      how often a request is sent that fails in a way that may pass: no connection, too many requests, a fault
               of the server. Between two it is waited as OpenAI's client does: from half a second to eight, or for as
               long as the server says; where that is more than two minutes it is not tried again
    at_once    how many requests are under way together
    """

    timeout: float = 60.0
    tries: int = 5
    at_once: int = 8


ASKING = Asking()


@dataclass(frozen=True)
class Endpoint:
    """A model that is asked by HTTP, `POST {url}/chat/completions`: called with prompts, it returns their answers.

    A prompt is a text, or a conversation: a list of messages, each with `role` and `content`.

    `url` ends before `/chat/completions`, as in "https://api.openai.com/v1"; `system` is said before each prompt. `key`
    is the name of the environment variable that holds the key of the service; where it is not set none is sent. The
    key in X_API_KEY is sent to the host of the variable X_BASE_URL alone, that in OPENAI_API_KEY to OpenAI's unless
    OPENAI_BASE_URL names another: an experiment of somebody else cannot send it away. The temperature is 0, so that an
    answer is the same the next time, as far as the server can. `body` has further fields of a request, or others in the
    place of these; one that is None is left out.

    `cache` maps the hash of a request (address and body, without the key) to its answer: a `nirank.kit.Answers` on
    disk, a dictionary, or nothing. An answer is kept as soon as it is there, unless it was cut at `max_tokens`: these
    are counted in a warning.

    Raises `BadInput` for an address that is none, a key that is refused, a request that the server does not
    understand, and a server that does not answer in time after all tries; `ComponentError` for one that answers with
    something else; `MissingDependency` without openai.
    """

    url: str
    model: str
    system: str | None = None
    max_tokens: int = 512
    key: str = "OPENAI_API_KEY"
    body: Mapping[str, Any] = field(default_factory=dict)
    asking: Asking = ASKING
    #: Conversations are taken as well as texts.
    chats: ClassVar[bool] = True
    cache: MutableMapping[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")) or "@" in self.url:
            raise BadInput(f"{_bare(self.url)!r} is no address of a server: write it as in 'http://localhost:8000/v1'.")
        if not self.key.isidentifier():
            raise BadInput("`key` is the name of an environment variable, such as OPENAI_API_KEY, and never the key.")
        if self.asking.tries < 1 or self.asking.at_once < 1 or self.asking.timeout <= 0:
            raise BadInput(f"{self.asking}: tries and at_once are numbers from 1, and timeout is above 0.")

    def __call__(self, prompts: Sequence[Prompt]) -> list[str]:
        """The answer to each prompt, in their order; equal prompts are asked once, known ones not at all."""
        bodies = [self.request(prompt) for prompt in prompts]
        names = [digest([self._address, body]) for body in bodies]
        requests = dict(zip(names, bodies, strict=True))
        known = {} if self.cache is None else {name: self.cache.get(name) for name in requests}
        answers = {name: answer for name, answer in known.items() if answer is not None}
        if wanted := {name: body for name, body in requests.items() if name not in answers}:
            answers |= self._asked(wanted)
        return [answers[name] for name in names]

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """The body of the request for one prompt."""
        said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if self.system is not None:
            said = [{"role": "system", "content": self.system}, *said]
        body = {"model": self.model, "messages": said, "temperature": 0, "max_tokens": self.max_tokens, **self.body}
        return {name: value for name, value in body.items() if value is not None}

    @property
    def fingerprint(self) -> str:
        """A hash of all that an answer depends on, as far as it is known here."""
        return digest([self._address, self.request("")])

    @property
    def _address(self) -> str:
        return f"{self.url.rstrip('/')}/chat/completions"

    @property
    def _secret(self) -> str | None:
        """The key of the service, where this is its address: an experiment of somebody else sends it nowhere else."""
        known = os.environ.get(self._place) or _HOMES.get(self.key)
        return os.environ.get(self.key) if known and _origin(known) == _origin(self.url) else None

    @property
    def _place(self) -> str:
        """The name of the variable that says where the key may be sent, as OPENAI_BASE_URL for OPENAI_API_KEY."""
        return f"{self.key.removesuffix('_KEY').removesuffix('_API')}_BASE_URL"

    def _asked(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, str]:
        """The answers of the server to requests by name, each kept when it comes."""
        with self._client() as client, progress(f"Asking {self.model}", len(requests)) as tell:

            def ask(name: str) -> tuple[str, bool]:
                answer, whole = _said(self._sent(client, requests[name]), self._address)
                if self.cache is not None and whole:
                    self.cache[name] = answer
                return answer, whole

            found = []
            for answered in _at_once(ask, list(requests), self.asking.at_once):
                found.append(answered)
                tell(1)
        if cut := sum(not whole for _, whole in found):
            log.warning("%s: %d of %d answers end at max_tokens = %d.", self.model, cut, len(found), self.max_tokens)
        return dict(zip(requests, (answer for answer, _ in found), strict=True))

    def _client(self) -> Any:
        """OpenAI's client, which tries again and waits. It goes nowhere else than to this address."""
        openai, asking = _openai(), self.asking
        return openai.OpenAI(
            base_url=self.url,
            api_key=self._secret or "none",  # it wants one
            max_retries=asking.tries - 1,
            http_client=openai.DefaultHttpxClient(timeout=asking.timeout, follow_redirects=False),
            timeout=asking.timeout,
        )

    def _sent(self, client: Any, body: dict[str, Any]) -> Any:
        """The response of the server."""
        openai, ask = _openai(), client.chat.completions.with_raw_response.create
        headers = {} if self._secret else {"Authorization": openai.Omit()}
        try:
            return ask(
                model=self.model, messages=body["messages"], extra_body=body, extra_headers=headers
            ).http_response
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise self._silent(f"{type(cause).__name__}: {cause}") from error
        except openai.APIStatusError as error:
            raise self._refused(error.response) from error

    def _silent(self, fault: str) -> BadInput:
        return BadInput(f"{self._address} did not answer, tried up to {self.asking.tries} times; at last: {fault}.")

    def _refused(self, response: Any) -> BadInput:
        """The error for a response that is no success."""
        status = response.status_code
        fault = f"status {status}, {response.text[:_SHOWN]!r}"
        if status in (401, 403):
            return BadInput(f"{self._address} wants a key: the variable {self.key} is {self._state} ({fault}).")
        if status in (408, 409, 429) or status >= 500:
            return self._silent(fault)
        return BadInput(
            f"{self._address} refuses the request for the model {self.model!r}: {fault}. Look at url, model and body."
        )

    @property
    def _state(self) -> str:
        """The state of the key, for a message."""
        if not os.environ.get(self.key):
            return "not set"
        if self._secret:
            return "set, and refused"
        return f"set, and sent to no other host than that in {self._place}: set this to {self.url}, if you trust it"


@dataclass(frozen=True)
class Served(Asking):
    """Settings of a model on a server, for the components that ask one.

    endpoint        the address of a server with OpenAI's interface, which ends before `/chat/completions`
    key             the environment variable with the key of that server
    keep_answers    whether its answers are kept in nirank's cache folder, and not asked for again
    answer_tokens   the most tokens of an answer
    """

    endpoint: str | None = None
    key: str = "OPENAI_API_KEY"
    keep_answers: bool = True
    answer_tokens: int | None = None

    def model(self, name: str, answer_tokens: int) -> Endpoint:
        """The model of that name. `answer_tokens` holds where the settings do not say how long an answer may be."""
        if self.endpoint is None:
            raise BadInput(f"{name!r} is on no server: set endpoint, as in 'http://localhost:8000/v1'.")
        length = answer_tokens if self.answer_tokens is None else self.answer_tokens
        if length < 1:
            raise BadInput(f"answer_tokens = {length}; it is a whole number from 1.")
        kept = Answers.of_cache() if self.keep_answers else None
        asking = Asking(self.timeout, self.tries, self.at_once)
        return Endpoint(self.endpoint, name, max_tokens=length, key=self.key, asking=asking, cache=kept)


def _origin(url: str) -> tuple[str, str]:
    """The scheme and the host, with its port, of an address."""
    parts = urlsplit(url.lower())
    return parts.scheme, parts.netloc


def _openai() -> Any:
    try:
        import openai
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "asking a server needs openai, which is not installed: pip install 'nirank[endpoint]'.", name="openai"
        ) from error
    return openai


def _at_once(ask: Callable[[str], Any], names: Sequence[str], threads: int) -> Iterator[Any]:
    """The results of all requests, in their order; after the first failure no further one is sent."""
    with ThreadPoolExecutor(min(threads, len(names))) as pool:
        waiting = [pool.submit(ask, name) for name in names]
        try:
            for each in waiting:
                yield each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _said(response: Any, address: str) -> tuple[str, bool]:
    """The text of a response, and whether it came to its end."""
    try:
        choice = response.json()["choices"][0]
        content = choice["message"].get("content")
        if not isinstance(content, str | None):
            raise TypeError(f"its content is a {type(content).__name__}")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ComponentError(
            f"{address} answered {response.text[:_SHOWN]!r}, which is not what `/chat/completions` returns ({error!r})."
        ) from error
    return content or "", choice.get("finish_reason") != "length"


def _bare(url: str) -> str:
    """An address without the password that one may have written into it."""
    return url.rpartition("@")[2]
