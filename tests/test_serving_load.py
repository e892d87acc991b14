"""Many requests at a time: batches, limits, deadlines, clients that go away, states that are exchanged, the end."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

import nirank
from nirank.errors import BadInput

pytest.importorskip("fastapi")

import httpx
from fastapi.testclient import TestClient

from nirank.serving import searching
from nirank.serving.app import application
from nirank.serving.options import Options
from nirank.serving.state import Holder, State

WORDS = [f"w{number}" for number in range(40)]
BRIEF = searching.Wish(k=5, snippets=False)


class Gate:
    """Finds the same documents for every query, when the gate is open; notes which queries it had together."""

    def __init__(self):
        self.open, self.entered = threading.Event(), threading.Event()
        self.batches = []

    def generate(self, queries, k):
        self.batches.append(list(queries.contents))
        self.entered.set()
        assert self.open.wait(20)
        if "bad" in queries.contents:
            raise BadInput("the query is bad.")
        return nirank.Candidates.of([[0, 1]] * len(queries), [[2.0, 1.0]] * len(queries))


def corpus_of(number=200, seed=0):
    random = np.random.default_rng(seed)
    return nirank.Documents([*map(str, range(number))], [" ".join(random.choice(WORDS, 12)) for _ in range(number)])


def gated(**options):
    """A gate, and the application of a server that searches behind it."""
    gate = Gate()
    state = State("gated", corpus_of(5), {"gate": nirank.load(gate, "gate") % 10})
    return gate, application(Holder(state), Options(**options))


@asynccontextmanager
async def asking(app):
    """A client in this loop, whose requests run at a time."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


def brief(query):
    return {"query": query, "k": BRIEF.k, "snippets": BRIEF.snippets}


def ask(client, query):
    return asyncio.create_task(client.post("/search", json={"query": query}))


def test_what_comes_while_a_batch_is_searched_is_the_next_batch():
    async def scene():
        gate, app = gated(together=3)
        async with asking(app) as client:
            asked = [ask(client, "1")]
            await until(gate.entered.is_set)
            asked += [ask(client, str(number)) for number in range(2, 8)]
            await until(lambda: app.state.served.limits.inside == 7)
            gate.open.set()
            answers = await asyncio.gather(*asked)
        assert gate.batches == [["1"], ["2", "3", "4"], ["5", "6", "7"]]
        assert [answer.json()["query"] for answer in answers] == [*"1234567"]
        assert {answer.status_code for answer in answers} == {200}

    asyncio.run(scene())


def test_only_searches_of_one_depth_and_condition_are_made_together():
    async def scene():
        gate, app = gated()
        async with asking(app) as client:
            first = ask(client, "first")
            await until(gate.entered.is_set)
            wishes = [{"k": 10}, {"k": 500}, {"k": 20}, {"k": 500, "snippets": False}]
            asked = [
                asyncio.create_task(client.post("/search", json={"query": str(number), **wish}))
                for number, wish in enumerate(wishes)
            ]
            await until(lambda: app.state.served.limits.inside == 5)
            gate.open.set()
            await asyncio.gather(first, *asked)
        assert gate.batches == [["first"], ["0", "2"], ["1", "3"]]

    asyncio.run(scene())


def test_a_request_that_fails_spoils_no_other_of_its_batch():
    async def scene():
        gate, app = gated()
        async with asking(app) as client:
            asked = [ask(client, "first")]
            await until(gate.entered.is_set)
            asked += [ask(client, query) for query in ("good", "bad", "better")]
            await until(lambda: app.state.served.limits.inside == 4)
            gate.open.set()
            answers = await asyncio.gather(*asked)
        assert [answer.status_code for answer in answers] == [200, 200, 422, 200]
        assert answers[2].json() == {"detail": "the query is bad."}

    asyncio.run(scene())


def test_one_more_than_may_wait_is_refused_at_once():
    async def scene():
        gate, app = gated(waiting=2)
        async with asking(app) as client:
            asked = [ask(client, "1"), ask(client, "2")]
            await until(lambda: app.state.served.limits.inside == 2)
            refused = await asyncio.wait_for(client.get("/search?q=3"), 5)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "2 searches are waiting" in refused.json()["detail"]
            gate.open.set()
            assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 200]
            assert (await client.get("/search?q=3")).status_code == 200
        assert app.state.served.limits.inside == 0

    asyncio.run(scene())


def test_a_request_whose_time_is_up_is_given_up_and_not_searched_later():
    async def scene():
        gate, app = gated(deadline=0.2)
        async with asking(app) as client:
            first = ask(client, "1")
            await until(gate.entered.is_set)
            answers = await asyncio.gather(first, ask(client, "2"))
            assert [answer.status_code for answer in answers] == [504, 504]
            assert "longer than 0.2 seconds" in answers[1].json()["detail"]
            gate.open.set()
            assert (await client.get("/search?q=3")).status_code == 200
        assert gate.batches == [["1"], ["3"]]
        assert (app.state.served.limits.inside, app.state.served.limits.late) == (0, 2)

    asyncio.run(scene())


def test_a_request_whose_client_goes_away_holds_nobody_up():
    async def scene():
        gate, app = gated()
        gone = asyncio.Event()
        async with asking(app) as client:
            first = ask(client, "first")
            await until(gate.entered.is_set)
            leaving = asyncio.create_task(_leave(app, "leaving", gone))
            await until(lambda: app.state.served.limits.inside == 2)
            gone.set()
            await asyncio.wait_for(leaving, 5)
            assert (app.state.served.limits.inside, app.state.served.limits.left) == (1, 1)
            gate.open.set()
            assert (await first).status_code == 200
            assert (await client.get("/search?q=last")).status_code == 200
        assert gate.batches == [["first"], ["last"]]

    asyncio.run(scene())


async def _leave(app, query, gone):
    """Ask as a client that goes away when it is told."""
    body = json.dumps({"query": query}).encode()
    messages = [{"type": "http.request", "body": body}]

    async def receive():
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/search", "raw_path": b"/search", "query_string": b""}
    await app(
        {**scope, "headers": headers, "root_path": "", "scheme": "http", "server": ("localhost", 80)}, receive, send
    )


def test_a_server_that_ends_finishes_what_it_has_begun_and_begins_nothing():
    async def scene():
        gate, app = gated()
        async with asking(app) as client:
            first = ask(client, "first")
            await until(gate.entered.is_set)
            app.state.served.limits.closing = True
            for path in ("/search?q=next", "/ready"):
                refused = await client.get(path)
                assert (refused.status_code, "ending" in refused.json()["detail"]) == (503, True)
            assert (await client.get("/health")).status_code == 200
            gate.open.set()
            assert (await first).status_code == 200

    asyncio.run(scene())


# The same answers


def _bare(answer):
    """An answer without what differs from one time to the next."""
    bare = [[result["pipeline"], result["hits"], result["found"], result["more"]] for result in answer["results"]]
    return json.loads(json.dumps(bare))


@pytest.fixture(scope="module")
def lexical():
    corpus = corpus_of()
    pipelines = {name: nirank.parse(text) for name, text in {"bm25": "bm25", "both": "fuse(bm25, ql)"}.items()}
    return State("lexical", corpus, pipelines)


def test_eight_threads_find_to_the_bit_what_one_finds(lexical):
    queries = [f"{one} {two}" for one in WORDS[:8] for two in WORDS[20:30]]
    alone = [_bare(searching.search(lexical, query, wish=BRIEF)) for query in queries]
    app = application(Holder(lexical), Options())
    with TestClient(app, "http://localhost") as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda query: client.post("/search", json=brief(query)), queries))
    assert [_bare(answer.json()) for answer in answers] == alone


class Letters:
    """Encodes a text as its shares of letters."""

    vectors = "dense"

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        counts = np.array([[text.count(sign) for sign in "w0123456789"] for text in contents], np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)


def test_scores_of_a_model_do_not_depend_on_the_batch():
    state = State("dense", corpus_of(60), {"dense": nirank.parse("bm25 % 20") >> nirank.load(Letters(), "letters")})
    queries = [" ".join(WORDS[: 1 + number]) for number in range(8)]
    watch = searching.Stopwatch(keep=False)
    together = searching.find(state, "dense", queries, BRIEF, watch)
    for query, found in zip(queries, together, strict=True):
        (alone,) = searching.find(state, "dense", [query], BRIEF, watch)
        np.testing.assert_allclose(found.scores, alone.scores, rtol=1e-6)
        assert found.docs.tolist() == alone.docs.tolist() != []


# Another state


def test_states_are_exchanged_under_load_and_no_request_is_dropped():
    queries = [f"{word} {WORDS[0]}" for word in WORDS]
    states = [State("v", corpus_of(seed=seed), {"bm25": nirank.parse("bm25")}) for seed in range(3)]
    expected = {
        state.version: {query: _bare(searching.search(state, query, wish=BRIEF)) for query in queries}
        for state in states
    }
    assert len(expected) == 3
    holder = Holder(states[0])
    app = application(holder, Options())
    done = threading.Event()

    def swapping():
        while not done.is_set():
            for state in states:
                holder.swap(state)
                time.sleep(0.003)

    with TestClient(app, "http://localhost") as client, ThreadPoolExecutor(9) as pool:
        swaps = pool.submit(swapping)
        answers = list(pool.map(lambda query: (query, client.post("/search", json=brief(query))), queries * 4))
        done.set()
        swaps.result()
    assert {answer.status_code for _, answer in answers} == {200}
    assert {answer.json()["version"] for _, answer in answers} == {*expected}
    for query, answer in answers:
        assert _bare(answer.json()) == expected[answer.json()["version"]][query]


def test_an_old_state_is_let_go_with_its_components():
    old = State("old", corpus_of(30), {"bm25": nirank.parse("bm25")})
    alive = [weakref.ref(each) for each in (old, old.corpus, *old.pipelines["bm25"].components())]
    holder = Holder(old)
    with TestClient(application(holder, Options()), "http://localhost") as client:
        assert client.get("/search", params={"q": "w1", "where": None}).status_code == 200
        holder.swap(State("new", corpus_of(30, 1), {"bm25": nirank.parse("bm25")}))
        del old
        assert client.get("/search", params={"q": "w1"}).status_code == 200
        gc.collect()
        assert [each() for each in alive] == [None] * len(alive)


# A process


SLOW = """
import pathlib
import time
from nirank import hookimpl, Candidates

class Slow:
    def generate(self, queries, k):
        pathlib.Path("entered").touch()
        time.sleep(1)
        return Candidates.of([[0]] * len(queries), [[1.0]] * len(queries))

@hookimpl
def nirank_register(registry):
    registry.add("generator", "slow", f"{__name__}:Slow", tiny=f"{__name__}:Slow")
"""


def test_a_process_that_is_told_to_end_answers_what_it_has_begun(tmp_path):
    (tmp_path / "nirank_plugin.py").write_text(SLOW)
    (tmp_path / "docs.jsonl").write_text('{"id": "one", "text": "a cat"}')
    (tmp_path / "toy.toml").write_text('collection = "jsonl:docs.jsonl"\npipeline = "slow"\n')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "nirank", "serve", "toy.toml", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout.readline().decode().strip() == f"http://127.0.0.1:{port}"
            address = f"http://127.0.0.1:{port}"
            _wait_for(address)
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(httpx.get, f"{address}/search?q=cat", timeout=30)
                while not (tmp_path / "entered").exists():
                    assert not asked.done(), asked.result().text
                    time.sleep(0.01)
                process.send_signal(signal.SIGTERM)
                assert asked.result().json()["results"][0]["hits"][0]["id"] == "one"
            assert process.wait(60) in (0, -signal.SIGTERM)
            assert process.stderr.read() == b""
        finally:
            process.kill()


def _children(pid):
    """The processes that a process has started by spawning: its shards."""
    numbers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(number) for number in numbers if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="there is no /proc")
def test_a_process_that_is_told_to_end_does_so_while_a_shard_hangs(tmp_path):
    (tmp_path / "docs.jsonl").write_text('{"id": "one", "text": "a cat"}\n{"id": "two", "text": "cats"}\n')
    toml = 'collection = "jsonl:docs.jsonl"\npipeline = "sharded(bm25, shards=2)"\n'
    (tmp_path / "toy.toml").write_text(toml)
    command = [sys.executable, "-m", "nirank", "serve", "toy.toml", "--port", "0", "--deadline", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        shards = []
        try:
            address = process.stdout.readline().decode().strip()
            _wait_for(address)
            assert len(httpx.get(f"{address}/search?q=cat", timeout=30).json()["results"][0]["hits"]) == 2
            shards = _children(process.pid)
            assert len(shards) == 2
            os.kill(shards[0], signal.SIGSTOP)
            assert httpx.get(f"{address}/search?q=cats", timeout=30).status_code == 504
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 128 + signal.SIGINT
            assert b"has not ended, and is left behind" in process.stderr.read()
            for shard in shards:
                _until_ended(shard)
        finally:
            process.kill()
            for shard in shards:
                with suppress(ProcessLookupError):
                    os.kill(shard, signal.SIGKILL)


def _until_ended(pid):
    last = time.monotonic() + 20
    while (
        Path(f"/proc/{pid}/stat").exists()
        and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    ):
        assert time.monotonic() < last, f"process {pid} runs on"
        time.sleep(0.05)


def _wait_for(address):
    for _ in range(1200):
        try:
            return httpx.get(f"{address}/health")
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")
