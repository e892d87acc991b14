"""The tools of the MCP server, called by the SDK's own client, over HTTP and on standard input and output."""

from __future__ import annotations

import sys

import anyio
import anyio.from_thread
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from nirank.serving.mcp import LONGEST_EXPLANATION, LONGEST_PART, MOST
from tests.serving import experiment, running, small


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with running(small(tmp_path_factory.mktemp("mcp"))) as address:
        yield address


@pytest.fixture(scope="module")
def call(address):
    """Call a tool over HTTP: what it answers, or the text of its error."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(f"{address}/mcp")) as client,
    ):
        yield lambda tool, **arguments: _answer(portal.call(client.call_tool, tool, arguments))


def _answer(result):
    (content,) = result.content
    return content.text if result.is_error else result.structured_content


def test_an_agent_sees_three_tools_with_what_they_take_and_give(address):
    async def listed():
        async with Client(f"{address}/mcp") as client:
            return client.instructions, (await client.list_tools()).tools

    instructions, tools = anyio.run(listed)
    assert "bm25 = " in instructions
    assert "year" in instructions
    assert [tool.name for tool in tools] == ["search", "explain", "document"]
    for tool in tools:
        assert len(tool.description) > 60
        assert tool.annotations.read_only_hint
        assert all("description" in taken or "anyOf" in taken for taken in tool.input_schema["properties"].values())
        assert tool.output_schema["properties"]
    search = tools[0].input_schema["properties"]
    assert search["k"]["maximum"] == MOST


def test_a_search_gives_what_the_pipeline_finds_and_documents_can_be_read_on(call):
    found = call("search", query="cat", fields=["year"])
    assert {hit["id"] for hit in found["hits"]} == {"cat", "dog", "<b>&"}
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == sorted(scores, reverse=True)
    first = found["hits"][0]
    assert "cat" in first["snippet"]
    read = call("document", document=first["id"])
    assert first["snippet"] in read["text"]
    assert read["fields"]["year"] == first["fields"]["year"]


def test_a_page_a_condition_and_another_pipeline_are_understood(call):
    assert [hit["id"] for hit in call("search", query="cat", where="year == 2021")["hits"]] == ["dog"]
    whole, second = call("search", query="cat"), call("search", query="cat", k=1, offset=1)
    assert second["hits"] == whole["hits"][1:2]
    assert (second["more"], whole["more"]) == (True, False)
    assert call("search", query="cat", pipeline="again")["pipeline"] == "again"


def test_an_explanation_has_the_score_of_the_search_and_is_bounded(call):
    first = call("search", query="cat garden")["hits"][0]
    why = call("explain", query="cat garden", document=first["id"])
    assert why["score"] == pytest.approx(first["score"])
    assert "garden" in why["explanation"]
    assert "not among" in call("explain", query="sea", document="cat")["explanation"]
    many = call("explain", query=" ".join(f"cat w{n}" for n in range(900)), document="cat")
    assert len(many["explanation"]) <= LONGEST_EXPLANATION


def test_a_document_is_read_part_by_part(call):
    whole = call("document", document="fish/1")
    parts, start = [], 0
    while start < whole["characters"]:
        part = call("document", document="fish/1", start=start, length=7)
        assert part["start"] == start
        parts.append(part["text"])
        start = part["stop"]
    assert "".join(parts) == whole["text"]
    assert call("document", document="fish/1", start=10_000)["text"] == ""


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("search", {"query": "cat", "pipeline": "bm52"}, "bm25"),
        ("search", {"query": "cat", "where": "year >"}, "year"),
        ("search", {"query": "cat", "where": "colour == 1"}, "colour"),
        ("search", {"query": "cat", "fields": ["colour"]}, "colour"),
        ("search", {"query": "cat", "k": 1000}, "20"),
        ("search", {"query": "x" * 10_001}, "10000"),
        ("search", {}, "query"),
        ("document", {"document": "../../etc/passwd"}, "There is no document"),
        ("document", {"document": "cat", "length": LONGEST_PART + 1}, str(LONGEST_PART)),
        ("explain", {"query": "cat", "document": "cow"}, "There is no document"),
    ],
    ids=str,
)
def test_a_mistake_is_told_to_the_agent(call, tool, arguments, said):
    told = call(tool, **arguments)
    assert isinstance(told, str)
    assert said in told


def test_a_tool_that_is_not_there_and_a_full_server_are_told(call, tmp_path):
    assert "remove_all" in call("remove_all")
    app = small(tmp_path, waiting=1)
    app.state.served.limits.inside = 1

    async def full(address):
        async with Client(f"{address}/mcp") as client:
            return _answer(await client.call_tool("search", {"query": "cat"}))

    with running(app) as other:
        assert "Ask again" in anyio.run(full, other)


def test_pages_of_the_web_and_those_without_the_token_do_not_get_in(address, tmp_path):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"Accept": "application/json, text/event-stream"}
    for header in ({"Host": "attacker.example"}, {"Origin": "http://attacker.example"}):
        answer = httpx2.post(f"{address}/mcp", json=message, headers={**accept, **header})
        assert answer.status_code == 403
    with running(small(tmp_path, token="secret")) as guarded:
        assert httpx2.post(f"{guarded}/mcp", json=message, headers=accept).status_code == 401

        async def asked():
            async with (
                httpx2.AsyncClient(headers={"Authorization": "Bearer secret"}) as http,
                Client(streamable_http_client(f"{guarded}/mcp", http_client=http)) as client,
            ):
                return _answer(await client.call_tool("search", {"query": "cat"}))

        assert anyio.run(asked)["hits"]


def test_nobody_is_left_listening_to_what_never_comes(address):
    answer = httpx2.get(f"{address}/mcp", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_the_same_tools_are_on_standard_input_and_output(call, tmp_path):
    command = ["-m", "nirank", "serve", str(experiment(tmp_path)), "--mcp-stdio"]

    async def asked():
        async with Client(StdioServerParameters(command=sys.executable, args=command)) as client:
            return _answer(await client.call_tool("search", {"query": "cat"}))

    assert anyio.run(asked) == call("search", query="cat")
