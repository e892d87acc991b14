"""What a language model writes: asked at an endpoint of this machine, which counts and fails as it is told."""

from __future__ import annotations

import pytest

pytest.importorskip("openai")
pytest.importorskip("regex")

import nirank
from nirank.data import Documents, Queries
from nirank.errors import BadInput, ComponentError, DamagedFile
from nirank.kit import Served
from nirank_rewriting import prompts, written
from tests.chat_server import PROXIES, Server


def _shouted(prompt):
    return prompt.rpartition("Query: ")[2].partition("\n")[0].upper()


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    for name in (*PROXIES, "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    server = Server(_shouted)
    yield server
    server.close()


def _asked(server):
    return [body["messages"][0]["content"] for _, _, body in server.requests]


def test_a_query_and_its_passage_are_searched(server):
    rewriter = nirank.load("query2doc", model="m", endpoint=server.url, answer_tokens=30).component.target
    assert rewriter.rewrite(Queries.of(["small cat"])) == [f"{'small cat ' * 5}SMALL CAT"]
    ((path, _, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 30)
    prompt = prompts.PROMPTS["query2doc"].replace("{query}", "small cat")
    assert body["messages"] == [{"role": "user", "content": prompt}]


def test_what_was_asked_once_is_not_asked_again(server):
    queries = Queries.of(["one", "two", "one"])
    first = written.llm_rewrite("m", "Query: {query}", served=Served(endpoint=server.url))
    assert first.rewrite(queries) == ["ONE", "TWO", "ONE"]
    assert sorted(_asked(server)) == ["Query: one", "Query: two"]
    again = written.llm_rewrite("m", "Query: {query}", keep=1, served=Served(9, endpoint=server.url))
    assert (again.rewrite(queries)[0], len(server.requests)) == ("one ONE", 2)
    for model, prompt, tokens in (
        ("other", "Query: {query}", 256),
        ("m", "A Query: {query}", 256),
        ("m", "Query: {query}", 9),
    ):
        before = len(server.requests)
        changed = written.llm_rewrite(model, prompt, served=Served(endpoint=server.url, answer_tokens=tokens))
        changed.rewrite(Queries.of(["one"]))
        assert len(server.requests) == before + 1
        assert changed.fingerprint != first.fingerprint
    written.llm_rewrite("m", "Query: {query}", served=Served(endpoint=server.url, keep_answers=False)).rewrite(queries)
    assert len(server.requests) == before + 3


def test_what_was_answered_before_a_failure_is_kept(server):
    served = Served(tries=1, at_once=1, endpoint=server.url)
    rewriter = written.llm_rewrite("m", "Query: {query}", served=served)
    server.failing = [(200, {}), (503, {})]
    with pytest.raises(BadInput, match=r"did not answer, .* status 503"):
        rewriter.rewrite(Queries.of(["one", "two"]))
    before = len(server.requests)
    assert rewriter.rewrite(Queries.of(["one", "two"])) == ["ONE", "TWO"]
    assert "Query: one" not in _asked(server)[before:]


def test_answers_that_are_empty_leave_the_query(server, caplog):
    server.write = lambda prompt: "  "
    rewriter = written.hyde("m", served=Served(endpoint=server.url))
    assert rewriter.rewrite(Queries.of(["one", "two"])) == ["one", "two"]
    assert "2 of 2 answers are empty" in caplog.text


def test_what_a_model_thought_aloud_is_no_query(server):
    server.write = lambda prompt: "<think>cats? felines!</think>\n feline"
    assert written.hyde("m", served=Served(endpoint=server.url)).rewrite(Queries.of(["one"])) == ["feline"]


def test_the_key_comes_from_the_environment_and_is_written_nowhere(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    rewriter = written.hyde("m", served=Served(endpoint=server.url))
    rewriter.rewrite(Queries.of(["one"]))
    assert [headers["Authorization"] for _, headers, _ in server.requests] == ["Bearer sk-secret"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"sk-secret" in path.read_bytes()]
    assert "sk-secret" not in repr(nirank.load(rewriter, "hyde").component) + str(vars(rewriter))


def test_a_cache_that_cannot_be_read_is_told(server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "answers.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(DamagedFile, match="holds no answers"):
        written.hyde("m", served=Served(endpoint=server.url))


def test_a_function_may_be_the_model():
    assert written.hyde(lambda prompts: ["a cat"] * len(prompts)).rewrite(Queries.of(["x", "y"])) == ["a cat"] * 2
    for wrong in (["a cat"], "ab", [None, "a"]):
        with pytest.raises(ComponentError, match="a list of 2 texts is expected"):
            written.hyde(lambda prompts, wrong=wrong: wrong).rewrite(Queries.of(["x", "y"]))


def test_it_stands_before_a_search(server):
    pytest.importorskip("Stemmer")
    corpus = Documents(["a", "b"], ["a feline sleeps", "a canine runs"])
    server.write = lambda prompt: "feline" if "cat" in prompt else "canine"
    bm25, hyde = nirank.load("bm25"), nirank.load(written.hyde("m", served=Served(endpoint=server.url)), "hyde")
    assert (nirank.rewrite(hyde) >> bm25).search(["cat", "dog"], corpus).docs.tolist() == [0, 1]


@pytest.mark.parametrize("name", prompts.PROMPTS)
def test_each_prompt_has_a_place_for_the_query(name):
    assert prompts.prompt_of(name).count("{query}") == 1


def test_settings_out_of_range_are_told():
    for wrong, told in (
        (lambda: prompts.prompt_of("hdye"), "has no {query}, and is none of hyde"),
        (lambda: written.hyde("m"), "'m' is on no server: set endpoint"),
        (lambda: written.hyde("m", served=Served(endpoint="http://x", answer_tokens=0)), "answer_tokens = 0"),
        (lambda: written.hyde(str.upper, keep=-1), "keep = -1"),
    ):
        with pytest.raises(BadInput, match=told):
            wrong()
