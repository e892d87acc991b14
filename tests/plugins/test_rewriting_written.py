"""What a language model writes: asked at an endpoint of this machine, which counts and fails as it is told."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("openai")
pytest.importorskip("regex")

import nirank
from nirank.data import Documents, Queries
from nirank.errors import BadInput, ComponentError
from nirank_rewriting import prompts, written
from nirank_rewriting.endpoint import Asked, Endpoint


class _Server(ThreadingHTTPServer):
    """Answers chat requests by `answer`; `statuses` come first, one a request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked, self.keys, self.statuses, self.wait = [], [], [], 0.0
        self.answer = lambda prompt: prompt.rpartition("Query: ")[2].partition("\n")[0].upper()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        self.server.keys.append(self.headers["Authorization"])
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        time.sleep(self.server.wait)
        text = self.server.answer(body["messages"][0]["content"])
        message = {"role": "assistant", "content": text}
        choices = [] if text is None else [{"index": 0, "message": message, "finish_reason": "stop"}]
        self._send(status, {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices})

    def _send(self, status, content):
        sent = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *told):
        pass


@contextmanager
def _serving():
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with _serving() as serving:
        yield serving


def _asked(server):
    return [body["messages"][0]["content"] for _, body in server.asked]


def test_a_query_and_its_passage_are_searched(server):
    rewriter = written.query2doc("m", endpoint=Endpoint(server.url, tokens=30))
    assert rewriter.rewrite(Queries.of(["small cat"])) == [f"{'small cat ' * 5}SMALL CAT"]
    ((path, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 30)
    prompt = prompts.PROMPTS["query2doc"].replace("{query}", "small cat")
    assert body["messages"] == [{"role": "user", "content": prompt}]


def test_what_was_asked_once_is_not_asked_again(server):
    queries = Queries.of(["one", "two", "one"])
    first = written.llm_rewrite("m", "Query: {query}", endpoint=Endpoint(server.url)).rewrite(queries)
    assert first == ["ONE", "TWO", "ONE"]
    assert sorted(_asked(server)) == ["Query: one", "Query: two"]
    again = written.llm_rewrite("m", "Query: {query}", keep=1, endpoint=Endpoint(server.url, timeout=9)).rewrite(
        queries
    )
    assert (again[0], len(server.asked)) == ("one ONE", 2)
    for model, prompt, tokens in (
        ("other", "Query: {query}", 256),
        ("m", "A Query: {query}", 256),
        ("m", "Query: {query}", 9),
    ):
        before = len(server.asked)
        written.llm_rewrite(model, prompt, endpoint=Endpoint(server.url, tokens=tokens)).rewrite(Queries.of(["one"]))
        assert len(server.asked) == before + 1


def test_a_failure_that_passes_is_tried_again_and_one_that_stays_is_told(server):
    rewriter = written.llm_rewrite("m", "Query: {query}", endpoint=Endpoint(server.url, retries=2, at_once=1))
    server.statuses = [503, 429]
    assert rewriter.rewrite(Queries.of(["one"])) == ["ONE"]
    assert len(server.asked) == 3
    server.statuses = [200, 503, 503, 503]
    with pytest.raises(
        ComponentError,
        match=r"m at http://127.0.0.1:\d+/v1 did not answer \(InternalServerError.*"
        r"1 of 3 were answered before, and are kept. Run it again",
    ):
        rewriter.rewrite(Queries.of(["two", "three", "four"]))
    before = len(server.asked)
    assert rewriter.rewrite(Queries.of(["two", "three"])) == ["TWO", "THREE"]
    assert len(server.asked) == before + 1
    server.statuses = [400]
    with pytest.raises(ComponentError, match="BadRequestError"):
        rewriter.rewrite(Queries.of(["five"]))


def test_an_answer_that_takes_too_long_and_a_place_without_any_are_told(server):
    server.wait = 1.0
    slow = written.llm_rewrite("m", "Query: {query}", endpoint=Endpoint(server.url, timeout=0.1, retries=0))
    with pytest.raises(ComponentError, match="APITimeoutError"):
        slow.rewrite(Queries.of(["one"]))
    nobody = Asked("m", Endpoint("http://127.0.0.1:9/v1", retries=0))
    with pytest.raises(ComponentError, match=r"APIConnectionError.*OPENAI_API_KEY is not set"):
        nobody(["one"])


def test_answers_that_are_empty_leave_the_query_and_none_at_all_is_told(server, caplog):
    server.answer = lambda prompt: "  "
    rewriter = written.hyde("m", endpoint=Endpoint(server.url))
    assert rewriter.rewrite(Queries.of(["one", "two"])) == ["one", "two"]
    assert "2 of 2 answers are empty" in caplog.text
    server.answer = lambda prompt: None
    with pytest.raises(ComponentError, match="answered without a text"):
        rewriter.rewrite(Queries.of(["three"]))


def test_the_key_comes_from_the_environment_and_is_written_nowhere(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    rewriter = written.hyde("m", endpoint=Endpoint(server.url))
    rewriter.rewrite(Queries.of(["one"]))
    assert server.keys == ["Bearer sk-secret"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"sk-secret" in path.read_bytes()]
    assert "sk-secret" not in repr(nirank.load(rewriter, "hyde").component) + str(vars(rewriter))


def test_a_cache_that_cannot_be_read_is_told_and_all_is_asked(server, caplog, tmp_path):
    (tmp_path / "cache" / "answers").mkdir(parents=True)
    (tmp_path / "cache" / "answers" / "answers-1.sqlite").write_bytes(b"no database" * 1000)
    assert Asked("m", Endpoint(server.url))(["Query: one"]) == ["ONE"]
    assert "cannot be read, and everything is asked anew" in caplog.text


def test_it_stands_before_a_search(server):
    pytest.importorskip("Stemmer")
    corpus = Documents(["a", "b"], ["a feline sleeps", "a canine runs"])
    server.answer = lambda prompt: "feline" if "cat" in prompt else "canine"
    bm25, hyde = nirank.load("bm25"), nirank.load(written.hyde("m", endpoint=Endpoint(server.url)), "hyde")
    assert (nirank.rewrite(hyde) >> bm25).search(["cat", "dog"], corpus).docs.tolist() == [0, 1]


@pytest.mark.parametrize("name", prompts.PROMPTS)
def test_each_prompt_has_a_place_for_the_query(name):
    assert prompts.prompt_of(name).count("{query}") == 1


def test_settings_out_of_range_are_told():
    for wrong, told in (
        (lambda: prompts.prompt_of("hdye"), "has no {query}, and is none of hyde"),
        (lambda: Endpoint(tokens=0), "tokens = 0"),
        (lambda: Endpoint(timeout=0), "timeout = 0"),
        (lambda: written.hyde("m", keep=-1), "keep = -1"),
    ):
        with pytest.raises(BadInput, match=told):
            wrong()
