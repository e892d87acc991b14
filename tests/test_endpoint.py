"""Language models behind a server: what is sent, what is kept, and what happens where the server fails."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

pytest.importorskip("openai")

from nirank.errors import BadInput, ComponentError, DamagedFile
from nirank.kit import Answers, Asking, Endpoint
from tests.chat_server import PROXIES, Server

QUICK = Asking(timeout=5, tries=3, at_once=4)


@pytest.fixture
def server(monkeypatch):
    for name in (*PROXIES, "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


@pytest.fixture
def waited(monkeypatch):
    """The seconds that would have been waited."""
    pauses = []
    monkeypatch.setattr("openai._base_client.time.sleep", pauses.append)
    return pauses


def test_prompts_are_answered_in_their_order_and_equal_ones_asked_once(server):
    prompts = [f"prompt {number % 20}" for number in range(50)]
    assert Endpoint(server.url, "m", asking=QUICK)(prompts) == [prompt[::-1] for prompt in prompts]
    assert len(server.requests) == 20
    assert Endpoint(server.url, "m")([]) == []


def test_a_request_is_of_the_chat_interface_at_temperature_zero_with_the_key_of_the_environment(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "abc123")
    monkeypatch.setenv("MY_BASE_URL", server.url)
    endpoint = Endpoint(server.url + "/", "m", "Be brief.", 7, "MY_KEY", {"seed": 1, "max_tokens": None})
    endpoint(["Hi"])
    ((path, headers, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer abc123"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert body == {"model": "m", "messages": messages, "temperature": 0, "seed": 1}
    assert "abc123" not in repr(endpoint)
    conversation = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}, {**messages[1]}]
    assert endpoint([conversation]) == ["iH\n?seY\niH\n.feirb eB"]
    assert server.requests[-1][2]["messages"] == [messages[0], *conversation]
    monkeypatch.delenv("MY_KEY")
    endpoint(["Hi"])
    assert "Authorization" not in server.requests[-1][1]


def test_answers_are_kept_by_all_that_they_depend_on(server, tmp_path):
    def asked(*arguments, **settings):
        before = len(server.requests)
        cached = Endpoint(server.url, *arguments, asking=QUICK, cache=Answers(tmp_path / "a" / "b.sqlite"), **settings)
        assert [answer[:3] for answer in cached(["one", "two", "one"])] == ["eno", "owt", "eno"]
        return len(server.requests) - before

    assert [asked("m"), asked("m")] == [2, 0]
    assert [asked("other"), asked("m", "system"), asked("m", max_tokens=9), asked("m", body={"top_p": 0.5})] == [2] * 4
    assert asked("m", key="ANOTHER") == 0
    assert Endpoint(server.url, "m").fingerprint != Endpoint(server.url, "m", "system").fingerprint


def test_an_answer_that_was_cut_is_told_and_not_kept(server, caplog):
    server.reason, cache = "length", {}
    with caplog.at_level(logging.WARNING, logger="nirank"):
        assert Endpoint(server.url, "m", cache=cache)(["one", "two"]) == ["eno", "owt"]
    assert [record.message for record in caplog.records] == ["m: 2 of 2 answers end at max_tokens = 512."]
    assert cache == {}


def test_what_may_pass_is_tried_again_and_waited_for(server, waited):
    server.failing = [(503, {}), (429, {"Retry-After": "7"})]
    assert Endpoint(server.url, "m", asking=QUICK)(["one"]) == ["eno"]
    assert (0 < waited[0] <= 0.5, waited[1]) == (True, 7.0)
    server.failing = [(500, {}), (529, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), (409, {})]
    assert Endpoint(server.url, "m", asking=Asking(tries=4))(["one"]) == ["eno"]
    assert waited[2] < waited[3] < waited[4] <= 2
    server.failing = [(429, {"Retry-After": "86400"})]
    with pytest.raises(BadInput, match="did not answer, tried up to 3 times; at last: status 429"):
        Endpoint(server.url, "m", asking=QUICK)(["one"])


def test_after_all_tries_the_last_fault_is_told_and_what_came_before_is_kept(server, waited):
    cache = {}
    endpoint = Endpoint(server.url, "m", asking=Asking(tries=3, at_once=1), cache=cache)
    endpoint(["one"])
    server.failing = [(500, {})] * 3
    with pytest.raises(BadInput, match="did not answer, tried up to 3 times; at last: status 500, 'what the s"):
        endpoint(["one", "two", "three", "four"])
    assert len(server.requests) <= 1 + 3 + 2  # those that were under way when it failed
    assert "eno" in cache.values()
    assert len(waited) == 2


def test_no_answer_in_time_and_nobody_at_the_address_are_told(server, waited):
    server.slow, asking = 0.5, Asking(timeout=0.05, tries=2)
    with pytest.raises(BadInput, match="did not answer, tried up to 2 times; at last: ReadTimeout"):
        Endpoint(server.url, "m", asking=asking)(["one"])
    server.close()
    with pytest.raises(BadInput, match="did not answer, tried up to 2 times; at last: ConnectError"):
        Endpoint(server.url, "m", asking=asking)(["one"])
    assert len(waited) == 2


@pytest.mark.parametrize("status", [400, 404, 307])
def test_a_request_that_is_refused_is_not_repeated(server, waited, status):
    server.failing = [(status, {"Location": "/v1/elsewhere"})]
    with pytest.raises(BadInput, match=f"refuses the request for the model 'm': status {status}, 'what the s"):
        Endpoint(server.url, "m")(["one"])
    assert Counter(path for path, _, _ in server.requests) == {"/v1/chat/completions": 1}
    assert waited == []


def test_a_key_that_is_missing_or_refused_is_told_by_the_name_of_its_variable(server, monkeypatch):
    server.failing = [(401, {}), (403, {})]
    with pytest.raises(BadInput, match="the variable OPENAI_API_KEY is not set"):
        Endpoint(server.url, "m")(["one"])
    monkeypatch.setenv("OPENAI_API_KEY", "abc123")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    with pytest.raises(BadInput, match="the variable OPENAI_API_KEY is set, and refused") as told:
        Endpoint(server.url, "m")(["one"])
    assert "abc123" not in str(told.value)


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "HOME"])
@pytest.mark.parametrize("known", [None, "http://localhost:1/v1", "https://127.0.0.1/v1"])
def test_a_key_is_sent_to_no_other_host_than_its_own(server, monkeypatch, key, known):
    monkeypatch.setenv(key, "abc123")
    place = {"OPENAI_API_KEY": "OPENAI_BASE_URL", "AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_BASE_URL"}
    if known:
        monkeypatch.setenv(place.get(key, f"{key}_BASE_URL"), known)
    assert Endpoint(server.url, "m", key=key)(["one"]) == ["eno"]
    assert not any("abc123" in str(headers) for _, headers, _ in server.requests)
    server.failing = [(401, {})]
    with pytest.raises(BadInput, match=f"{key} is set, and sent to no other host than that in .*_BASE_URL: set this"):
        Endpoint(server.url, "m", key=key)(["two"])


@pytest.mark.parametrize(
    "raw", ["<html>", "[]", '{"choices": []}', '{"choices": [{"message": {"content": [1]}}]}', '{"choices": [{}]}']
)
def test_something_else_than_an_answer_is_told(server, raw):
    server.raw = raw
    with pytest.raises(ComponentError, match="which is not what `/chat/completions` returns"):
        Endpoint(server.url, "m")(["one"])


def test_an_answer_without_text_is_empty(server):
    server.raw = '{"choices": [{"message": {"content": null}}]}'
    assert Endpoint(server.url, "m")(["one"]) == [""]


@pytest.mark.parametrize("url", ["localhost:8000", "", "ftp://x", "https://me:secret@host/v1"])
def test_an_address_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(BadInput, match="no address of a server") as told:
        Endpoint(url, "m")
    assert "secret" not in str(told.value)


def test_a_key_in_the_place_of_its_name_is_refused_and_not_shown():
    with pytest.raises(BadInput, match="the name of an environment variable") as told:
        Endpoint("http://x", "m", key="sk-abc")
    assert "sk-abc" not in str(told.value)


@pytest.mark.parametrize("asking", [Asking(tries=0), Asking(at_once=0), Asking(timeout=0)])
def test_settings_of_asking_that_ask_nothing_are_refused(asking):
    with pytest.raises(BadInput, match="are numbers from 1"):
        Endpoint("http://x", "m", asking=asking)


def test_answers_are_a_mapping_that_stays(tmp_path):
    answers = Answers(tmp_path / "answers.sqlite")
    answers.update({"b": "two", "a": "one\n\x00🙂"})
    answers["b"] = "three"
    assert dict(Answers(tmp_path / "answers.sqlite")) == {"a": "one\n\x00🙂", "b": "three"}
    del answers["a"]
    assert (list(answers), len(answers), answers.get("a")) == (["b"], 1, None)
    with pytest.raises(KeyError):
        del answers["a"]


def test_another_file_in_the_place_of_answers_is_told(tmp_path):
    (tmp_path / "answers.sqlite").write_text("nothing of the kind " * 100)
    with pytest.raises(DamagedFile, match="holds no answers"):
        Answers(tmp_path / "answers.sqlite")
    with pytest.raises(BadInput, match="cannot be used for answers"):
        Answers(tmp_path)
