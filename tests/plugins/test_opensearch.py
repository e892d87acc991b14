"""The generators `opensearch` and `elasticsearch`, against conversations as the documents of both have them.

No server of either can be had here: `TinyCluster` answers as they are said to, and refuses what they do not know.
"""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import nirank
from nirank.errors import BadInput, ComponentError, StaleIndex
from nirank.kit import Asking
from nirank_remote.opensearch import Elasticsearch, Match, OpenSearch
from nirank_remote.tiny_index import Refused, TinyCluster

pytest.importorskip("httpx")

ONCE = Asking(tries=1, timeout=5.0)
TEXTS = ["a small cat", "a dog", "cat and dog", "fish", "bird", "cat"]
IDS = ["d0", "..", "a/b c", "näme \N{CAT}", "x" * 500, 'q"u\\o,te\n']


class Cluster(TinyCluster):
    """A cluster behind a port. `change` may make another answer of one; `heard` holds each request."""

    def __init__(self, name, documents):
        super().__init__(name, documents)
        self.heard, self.change, self.key = [], lambda status, said: (status, said), None

    def bodies(self):
        """The searches that were asked for, without the number of all documents."""
        lines = [json.loads(line) for _, _, content, _ in self.heard[-1:] for line in content.splitlines()]
        return lines[2::2], lines[3::2]


@pytest.fixture
def serving(monkeypatch, tmp_path):
    """Starts a cluster with these documents."""
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    for engine in ("OPENSEARCH", "ELASTICSEARCH"):
        for name in ("URL", "API_KEY", "USER", "PASSWORD", "CERTIFICATE"):
            monkeypatch.delenv(f"NIRANK_{engine}_{name}", raising=False)
    servers = []

    def start(corpus, name="news"):
        cluster = Cluster(name, {key: {"text": text} for key, text in zip(corpus.ids, corpus[:], strict=True)})

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer goes in one piece: a second one would wait for the first to be acknowledged

            def do_GET(self):
                content = self.rfile.read(int(self.headers.get("content-length", 0)))
                cluster.heard.append((self.command, self.path, content, dict(self.headers)))
                if cluster.key and self.headers.get("authorization") != cluster.key:
                    status, said = 401, {"error": {"type": "security_exception", "reason": "missing"}, "status": 401}
                else:
                    status, said = cluster.change(*cluster.answer(self.command, self.path, content))
                text = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *given):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
        return cluster

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def documents(count=None, **fields):
    if count is None:
        return nirank.Documents(IDS, TEXTS, **fields)
    return nirank.Documents([f"d{n}" for n in range(count)], [TEXTS[n % 6] for n in range(count)], **fields)


def asking(cluster, **settings):
    return nirank.load(OpenSearch(**{"index": cluster.name, "url": cluster.url, "asking": ONCE, **settings}))


def by_hand(query, corpus, k, mask=None):
    """Ordinals and scores, as the tiny cluster scores: shared letters."""
    scores = [len(set(query) & set(text)) for text in corpus[:]]
    allowed = range(len(corpus)) if mask is None else np.flatnonzero(mask).tolist()
    docs = sorted((doc for doc in allowed if scores[doc]), key=lambda doc: (-scores[doc], doc))[:k]
    return docs, [scores[doc] for doc in docs]


def same(found, queries, corpus, k, mask=None):
    for row, query in enumerate(queries):
        docs, scores = by_hand(query, corpus, k, mask)
        assert found[row][0].tolist() == docs
        assert found[row][1].tolist() == scores


QUERIES = ["cat", "small dog", "", 'f"i\\s\nh', "\N{CAT} näme", "zzz", "NOT cat OR title:dog*"]


@pytest.mark.parametrize("k", [1, 2, 6, 100])
def test_documents_are_joined_by_id_whatever_these_are_and_ties_follow_the_corpus(serving, k):
    corpus = documents()
    same((asking(serving(corpus)) % k).search(QUERIES, corpus), QUERIES, corpus, k)


def test_ties_that_go_on_beyond_what_was_asked_for_are_asked_for(serving):
    corpus = documents(3000)  # a sixth of them each score the same
    cluster = serving(corpus)
    for k in (1, 10, 700):
        same((asking(cluster) % k).search(["cat", "bird"], corpus), ["cat", "bird"], corpus, k)


def test_a_request_is_as_the_documents_have_it(serving):
    corpus = documents()
    cluster = serving(corpus)
    asking(cluster, fields=("text",)).search(["cat", "dog"], corpus)
    method, path, content, headers = cluster.heard[-1]
    assert (method, path) == ("POST", "/news/_msearch")
    assert headers["Content-Type"] == "application/x-ndjson"
    assert content.endswith(b"\n")
    heads, bodies = cluster.bodies()
    head = {"search_type": "dfs_query_then_fetch", "preference": "nirank", "allow_partial_search_results": False}
    assert heads == [head, head]
    assert bodies[0]["query"] == {"match": {"text": {"query": "cat", "operator": "or"}}}
    assert bodies[0]["_source"] is False
    cluster.documents["d0"] |= {"title": "z"}
    match = Match("cross_fields", "and", "shard")
    found = asking(cluster, fields=("title^3", "text"), match=match).search(["z"], corpus)
    assert (found.docs.tolist(), found.scores.tolist()) == ([0], [3.0])
    heads, bodies = cluster.bodies()
    assert heads[0]["search_type"] == "query_then_fetch"
    wanted = {"query": "z", "operator": "and", "fields": ["title^3", "text"], "type": "cross_fields"}
    assert bodies[0]["query"] == {"multi_match": wanted}


def test_many_queries_go_in_batches(serving):
    corpus = documents()
    cluster = serving(corpus)
    queries = [QUERIES[n % len(QUERIES)] for n in range(100)]
    ranking = asking(cluster) % 3
    ranking.index(corpus)
    cluster.heard.clear()
    same(ranking.search(queries, corpus), queries, corpus, 3)
    assert len([1 for _, path, _, _ in cluster.heard if path.endswith("_msearch")]) == 4


@pytest.mark.parametrize("ids", [2, 50, 10_000])
def test_filters_are_sent_as_ids_of_the_fewer_or_go_deeper(serving, monkeypatch, ids):
    monkeypatch.setattr("nirank_remote.opensearch._IDS", ids)
    corpus = documents(400, fields={"year": [n % 20 for n in range(400)], "q": ["a'\"\n", "b"] * 200})
    cluster = serving(corpus)
    for condition in ("year == 3", "year > 0", "year < 10", "q == 'a\\'\"\\n'", "q == 'nothing'", "year >= 0"):
        mask = nirank.where(condition).test.mask(corpus)
        found = ((asking(cluster) >> nirank.where(condition)) % 7).search(["cat", "dog"], corpus)
        same(found, ["cat", "dog"], corpus, 7, mask)
    if ids == 50:
        ((asking(cluster) >> nirank.where("year == 3")) % 7).search("cat", corpus)
        sent = cluster.bodies()[1][0]["query"]["bool"]["filter"]
        assert sent == [{"ids": {"values": [f"d{n}" for n in range(3, 400, 20)]}}]
        ((asking(cluster) >> nirank.where("year > 0")) % 7).search("cat", corpus)
        assert len(cluster.bodies()[1][0]["query"]["bool"]["must_not"][0]["ids"]["values"]) == 20


def test_a_filter_that_the_window_is_too_short_for_is_refused(serving, monkeypatch):
    monkeypatch.setattr("nirank_remote.opensearch._IDS", 5)
    corpus = documents(400, fields={"late": [n >= 200 for n in range(400)]})
    cluster = serving(corpus)
    cluster.window = 60
    ranking = (asking(cluster, match=Match(window=60)) >> nirank.where("late")) % 30
    with pytest.raises(BadInput, match=r"of the best 60 documents for a query, .* pass the filter, and 30 are wanted"):
        ranking.search("a", corpus)


def test_more_than_an_index_gives_is_refused_and_ties_at_its_end_are_told(serving, caplog):
    corpus = documents(400)
    cluster = serving(corpus)
    cluster.window = 50
    with pytest.raises(BadInput, match=r"k = 60; .* gives at most 50 documents .* raise index.max_result_window"):
        (asking(cluster, match=Match(window=50)) % 60).search("cat", corpus)
    with pytest.raises(BadInput, match=r"refuses a search: illegal_argument_exception: Result window is too large"):
        (asking(cluster) % 60).search("cat", corpus)
    found = (asking(cluster, match=Match(window=50)) % 10).search("cat", corpus)
    assert found.lengths.tolist() == [10]
    assert "beyond 10 documents more score the same" in caplog.text
    many = nirank.Documents([f"d{n}" for n in range(10_001)], ["cat"] * 10_001)
    with pytest.raises(BadInput, match=r"k = 10,001; .* gives at most 10,000"):
        (asking(serving(many)) % 10_001).search("cat", many)


def test_an_index_of_other_documents_is_told(serving):
    corpus = documents()
    cluster = serving(corpus)
    fewer = nirank.Documents(IDS[:5], TEXTS[:5])
    with pytest.raises(StaleIndex, match="has 6 documents, and the corpus searched 5: these are not the same"):
        asking(cluster).search("cat", fewer)
    others = nirank.Documents([*IDS[:4], "e1", "e2"], TEXTS)
    with pytest.raises(StaleIndex, match=r"lacks 2 of 6 documents of the corpus, 'e1' among them"):
        asking(cluster).search("cat", others)
    ranking = asking(cluster)
    assert len(ranking.search("cat", corpus).docs)
    cluster.documents["new"] = {"text": "cat"}
    with pytest.raises(StaleIndex, match="has 7 documents, and the corpus searched 6"):
        ranking.search("cat", corpus)
    del cluster.documents["d0"]
    with pytest.raises(StaleIndex, match="found 'new', which the corpus searched does not have"):
        ranking.search("cat", corpus)
    with pytest.raises(StaleIndex, match="lacks 1 of 6 documents of the corpus, 'd0' among them"):
        asking(cluster).search("cat", corpus)  # opened again
    with pytest.raises(BadInput, match=r"refuses /none/_field_caps.*status 404.*no such index \[none\]"):
        asking(cluster, index="none").search("cat", corpus)
    with pytest.raises(BadInput, match="has no field 'title' that can be searched"):
        asking(cluster, fields=("text", "title^2")).search("cat", corpus)


PARTIAL = {"shard": 1, "index": "news", "reason": {"type": "node_not_connected_exception", "reason": "node left"}}
REJECTED = {"type": "es_rejected_execution_exception", "reason": "rejected execution of search: queue capacity = 1000"}


def changed(**other):
    return lambda answer: answer | other


def shorter(answer):
    return answer | {"hits": answer["hits"] | {"hits": answer["hits"]["hits"][:-1]}}


def endless(answer):
    hits = [each | {"_score": float("inf")} for each in answer["hits"]["hits"]]
    return answer | {"hits": answer["hits"] | {"hits": hits}}


def twice(answer):
    hits = answer["hits"]["hits"]
    return answer | {"hits": answer["hits"] | {"hits": [*hits[:-1], hits[0]]}}


def unscored(answer):
    return answer | {"hits": answer["hits"] | {"hits": [each | {"_score": None} for each in answer["hits"]["hits"]]}}


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (changed(timed_out=True), BadInput, "does not answer, tried 1 times; at last: a search ended before all"),
        (
            changed(_shards={"total": 2, "successful": 1, "skipped": 0, "failed": 1, "failures": [PARTIAL]}),
            BadInput,
            r"1 of 2 shards answered \(node_not_connected_exception: node left\)",
        ),
        (changed(_shards={"total": 2, "successful": 1, "failed": 0}), BadInput, "1 of 2 shards answered"),
        (changed(terminated_early=True), BadInput, "a search ended before all"),
        (changed(_clusters={"total": 2, "successful": 1, "skipped": 1}), BadInput, "not all clusters answered"),
        (lambda answer: {"error": REJECTED, "status": 429}, BadInput, "at last: status 429, es_rejected_execution"),
        (
            lambda answer: {
                "error": {"type": "too_many_clauses", "reason": "maxClauseCount is set to 1024"},
                "status": 400,
            },
            BadInput,
            "refuses a search: too_many_clauses: maxClauseCount is set to 1024",
        ),
        (lambda answer: {"error": "old words", "status": 500}, BadInput, "status 500, old words"),
        (shorter, ComponentError, "hits of"),
        (twice, StaleIndex, "has two documents of the same _id"),
        (endless, ComponentError, "a score that is not finite"),
        (unscored, ComponentError, "answered what no OpenSearch or Elasticsearch does"),
        (lambda answer: {}, ComponentError, "answered what no OpenSearch or Elasticsearch does"),
        (lambda answer: None, ComponentError, "answered what no OpenSearch or Elasticsearch does"),
        (lambda answer: {"hits": 3}, ComponentError, "answered what no OpenSearch or Elasticsearch does"),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error_and_never_a_ranking(serving, change, error, told):
    corpus = documents()
    cluster = serving(corpus)
    ranking = asking(cluster)
    ranking.index(corpus)

    def changing(status, said):
        if "responses" in said and len(said["responses"]) > 1:
            said["responses"][-1] = change(said["responses"][-1])
        return status, said

    cluster.change = changing
    with pytest.raises(error, match=told):
        ranking.search(["dog", "cat"], corpus)


def test_a_list_of_answers_that_is_shorter_or_none_is_told(serving):
    corpus = documents()
    cluster = serving(corpus)
    ranking = asking(cluster)
    ranking.index(corpus)
    for said, told in [
        ({"responses": []}, "gave 0 answers to 1 searches"),
        ({"took": 1}, "answered what no OpenSearch"),
        (b"<html>", "which is no JSON"),
        ([], "answered what no OpenSearch"),
    ]:
        cluster.change = lambda status, old, said=said: (200, old if "fields" in old else said)
        with pytest.raises(ComponentError, match=told):
            asking(cluster).search("cat", corpus)


def test_what_passes_is_asked_again_and_no_more_often_than_is_set(serving):
    corpus = documents()
    cluster = serving(corpus)
    failures = iter([(429, {"error": REJECTED, "status": 429}), (503, b"starting")])
    cluster.change = lambda status, said: next(failures, (status, said)) if "responses" in said else (status, said)
    same((asking(cluster, asking=Asking(tries=4)) % 3).search(["cat"], corpus), ["cat"], corpus, 3)
    cluster.change = lambda status, said: (429, {"error": REJECTED, "status": 429})
    with pytest.raises(BadInput, match=r"does not answer, tried 2 times; at last: status 429.*queue capacity"):
        asking(cluster, asking=Asking(tries=2)).search("cat", corpus)
    with pytest.raises(BadInput, match=r"127\.0\.0\.1:1 does not answer, tried 1 times; at last: ConnectError"):
        asking(cluster, url="http://127.0.0.1:1").search("cat", corpus)


@pytest.mark.parametrize("kind", [OpenSearch, Elasticsearch])
def test_a_key_and_a_password_are_sent_to_their_own_host_and_shown_nowhere(
    serving, monkeypatch, tmp_path, caplog, kind
):
    corpus, secrets = documents(), {"API_KEY": "b3BlbjpzZXNhbWU=", "USER": "reader", "PASSWORD": "opensésame me"}
    cluster, other = serving(corpus), serving(corpus)
    engine = "NIRANK_" + kind.__name__.upper()
    basic = "Basic " + base64.b64encode("reader:opensésame me".encode()).decode()
    told = []

    def searching(cluster):
        return nirank.load(kind("news", url=cluster.url, asking=ONCE)).search("cat", corpus)

    for key, names in ((basic, ["USER", "PASSWORD"]), ("ApiKey b3BlbjpzZXNhbWU=", ["API_KEY"])):
        cluster.key = other.key = key
        monkeypatch.setenv(f"{engine}_URL", cluster.url)
        with pytest.raises(BadInput, match=rf"wants a token \(status 401\): set {engine}_API_KEY or {engine}_USER"):
            searching(cluster)
        for name in names:
            monkeypatch.setenv(f"{engine}_{name}", secrets[name])
        assert len(searching(cluster).docs)
        with pytest.raises(BadInput, match="wants a token"):  # it is sent nowhere that was not named
            searching(other)
        assert "Authorization" not in other.heard[-1][3]
        cluster.change = lambda status, said, key=key: (400, f"I dislike {key} of opensésame me".encode())
        with pytest.raises(BadInput, match=r"I dislike .*\*\*\*") as repeated:
            searching(cluster)
        cluster.change = lambda status, said: (status, said)
        told.append(str(repeated.value))
    ranking = nirank.load(kind("news", url=cluster.url))
    told += [repr(ranking), caplog.text]
    told += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    hidden = [*secrets.values(), basic.removeprefix("Basic ")]
    assert not [text for text in told for secret in hidden if secret in text and secret != "reader"]
    monkeypatch.setenv(f"{engine}_API_KEY", "opense\u0301same")
    with pytest.raises(BadInput, match=f"{engine}_API_KEY holds a character") as refused:
        searching(cluster)
    assert "same" not in str(refused.value)
    monkeypatch.setenv(f"{engine}_API_KEY", secrets["API_KEY"])
    monkeypatch.setenv(f"{engine}_CERTIFICATE", str(tmp_path / "none.pem"))
    with pytest.raises(BadInput, match=r"none\.pem' is no file with a certificate"):
        searching(cluster)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"index": "a,b"}, "the name of one index or alias is expected"),
        ({"index": ""}, "the name of one index or alias is expected"),
        ({"index": "news*"}, "the name of one index or alias is expected"),
        ({"index": "../_all"}, "the name of one index or alias is expected"),
        ({"index": "_all"}, "the name of one index or alias is expected"),
        ({"fields": ()}, "names of fields are expected"),
        ({"fields": ("*",)}, "names of fields are expected"),
        ({"fields": ("^2",)}, "names of fields are expected"),
        ({"url": "http://reader:opensesame@host:9200"}, "without a user or a password"),
        ({"url": "http://host:9200?apikey=opensesame"}, "without a user or a password"),
        ({"asking": Asking(tries=0)}, "tries and at_once are numbers from 1"),
        ({"url": "host:9200"}, "without a user or a password"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(settings, told):
    with pytest.raises(BadInput, match=told) as refused:
        OpenSearch(**{"index": "news", "url": "http://localhost:9200", **settings})
    assert "opensesame" not in str(refused.value)
    with pytest.raises(BadInput, match="from 1"):
        Match(window=0)


def test_queries_that_are_no_texts_are_refused(serving):
    corpus = documents()
    with pytest.raises(BadInput, match="asks with texts, and a query is of the type"):
        asking(serving(corpus)).search([b"cat"], corpus)
    with pytest.raises(BadInput, match="has not looked at its index"):
        OpenSearch("news", url="http://localhost").generate(nirank.data.Queries.of(["cat"]), 3)


def test_the_tiny_cluster_refuses_what_the_documents_do_not_have():
    cluster = TinyCluster("news", {"d0": {"text": "cat"}})
    with pytest.raises(Refused):
        cluster.search({"query": {"match_all": {}}, "size": 1, "sise": 2})
    assert cluster.answer("POST", "/news/_msearch", b"{}\n{}")[0] == 400
    assert cluster.answer("GET", "/other/_field_caps?fields=text", b"")[0] == 404
