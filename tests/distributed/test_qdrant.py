"""The generator `qdrant` on Qdrant's engine behind a door of ours: as `exact`, changed, filtered, and killed."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.errors import BadInput, StaleIndex
from tests.distributed.documents import Hashed, corpus, queries
from tests.distributed.servers import KeyedQdrant, Qdrant, running
from tests.distributed.store_promises import StorePromises, exactly, same


@pytest.fixture(scope="module")
def server():
    with running(Qdrant) as server:
        yield server


@pytest.fixture(autouse=True)
def _own_collections(server, monkeypatch, tmp_path):
    """Each test has no collections of another, and a cache of its own."""
    if not server.alive:
        server.start()
    for each in server.ask("GET", "")["collections"]:
        server.ask("DELETE", f"/{each['name']}")
    monkeypatch.setenv("NIRANK_QDRANT_URL", server.url)
    monkeypatch.delenv("NIRANK_QDRANT_API_KEY", raising=False)
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


class TestQdrant(StorePromises):
    generator = "qdrant"

    @pytest.mark.parametrize("kind", ["hnsw"])
    def test_approximate_kinds_find_nearly_all_and_score_it_exactly(self, server, kind):
        super().test_approximate_kinds_find_nearly_all_and_score_it_exactly(server, kind)
        assert server.ask("GET", f"/{self.collection(server)}")["indexed_vectors_count"] > 2000  # a graph was searched

    def collection(self, server):
        (held,) = server.ask("GET", "")["collections"]
        return held["name"]

    def ids(self, server):
        asked = {"limit": 10**6, "with_payload": True, "with_vector": False}
        rows = server.ask("POST", f"/{self.collection(server)}/points/scroll", asked)["points"]
        return sorted(row["payload"]["id"] for row in rows if isinstance(row["id"], int))

    def lose(self, server, keys):
        written = "?wait=true&ordering=strong"
        server.ask("POST", f"/{self.collection(server)}/points/delete{written}", {"points": keys})

    def drop(self, server):
        server.ask("DELETE", f"/{self.collection(server)}")

    def test_an_update_that_is_cut_off_is_told_and_goes_on(self, server, monkeypatch):
        """It is no transaction: the former state cannot be searched any more, and the update is run again."""
        before, after, encoder = corpus(400), corpus(400, first=30), Hashed()
        ranking = nirank.load(encoder) >> self.store()
        ranking.index(before)
        with monkeypatch.context() as patch:
            patch.setattr("nirank_dense.stores.qdrant_rows.Rows.count", lambda rows: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                ranking.index(after, since=before)
        with pytest.raises(StaleIndex, match="holds another corpus"):
            (nirank.load(Hashed()) >> self.store()).search("text", before)
        encoder.asked.clear()
        ranking.index(after, since=before)
        assert not encoder.asked
        asked = queries(20)
        assert same((ranking % 10).search(asked, after), exactly(nirank.load(Hashed()), after, asked)) == 20
        assert self.ids(server) == sorted(after.ids)

    def test_the_graph_is_searched_as_wide_as_is_said_and_the_exact_search_passes_over_it(self, server):
        documents, asked, encoder = corpus(3000), queries(100), nirank.load(Hashed())
        expected = exactly(encoder, documents, asked)
        wide = [((encoder >> self.store(kind="hnsw", ef=ef)) % 10).search(asked, documents) for ef in (1, 400)]
        assert same(wide[0], expected) < 50 < 95 < same(wide[1], expected)
        rows = self.opened(encoder, self.store(kind="hnsw"), documents)
        keys, _ = rows._store.nearest(Hashed().encode(asked), 10, rows._held.token, None, exactly=True)
        equal = [len(np.intersect1d(keys[row], expected[row][0])) for row in range(100)]
        assert np.mean(equal) > 9.8  # of ties with the last it may find another

    def test_somebody_elses_collection_is_not_written_to(self, server):
        vectors = {"embedding": {"size": 48, "distance": "Dot", "hnsw_config": {"m": 16}}}
        server.ask("PUT", "/taken", {"vectors": vectors})
        point = {"id": 1, "vector": {"embedding": [1.0] * 48}, "payload": {"city": "Berlin"}}
        server.ask("PUT", "/taken/points?wait=true&ordering=strong", {"points": [point]})
        with pytest.raises(
            StaleIndex, match=r"collection taken of Qdrant at 127.* has points and no manifest of nirank"
        ):
            (nirank.load(Hashed()) >> self.store(table="taken")).index(corpus(10))
        assert server.ask("POST", "/taken/points/count", {"exact": True}) == {"count": 1}

    def test_a_collection_that_was_made_and_never_written_to_is_gone_on_with(self, server):
        vectors = {"embedding": {"size": 48, "distance": "Dot", "hnsw_config": {"m": 0}}}
        server.ask("PUT", "/begun", {"vectors": vectors})
        ranking = nirank.load(Hashed()) >> self.store(table="begun")
        asked = queries(5)
        assert same((ranking % 10).search(asked, corpus(200)), exactly(nirank.load(Hashed()), corpus(200), asked)) == 5
        server.ask("PUT", "/narrow", {"vectors": {"embedding": {**vectors["embedding"], "size": 3}}})
        with pytest.raises(BadInput, match=r"refuses /collections/narrow/points.*status 400.*(?i:dim)"):
            (nirank.load(Hashed()) >> self.store(table="narrow")).index(corpus(200))

    def test_what_answers_and_is_no_qdrant_is_told(self, server, monkeypatch):
        with pytest.raises(BadInput, match="no lists of centroids"):
            self.store(kind="ivf_flat")
        monkeypatch.setenv("NIRANK_QDRANT_URL", "http://127.0.0.1:1")
        with pytest.raises(BadInput, match=r"Qdrant at 127\.0\.0\.1:1 does not answer, tried 2 times; .*ConnectError"):
            (nirank.load(Hashed()) >> self.store(tries=2)).index(corpus(10))


def test_a_key_is_sent_to_its_own_server_and_shown_nowhere(server, monkeypatch, tmp_path, caplog):
    def store(**settings):
        return nirank.load("qdrant", **{"kind": "exact", "tries": 1, **settings})

    with pytest.raises(BadInput, match="without a user or a password") as refused:
        store(url="http://root:opensesame@127.0.0.1:6333")
    told = [str(refused.value)]
    with running(KeyedQdrant) as keyed:
        monkeypatch.setenv("NIRANK_QDRANT_URL", keyed.url)
        with pytest.raises(BadInput, match=r"wants a token \(status 401\): set NIRANK_QDRANT_API_KEY"):
            (nirank.load(Hashed()) >> store()).index(corpus(20))
        monkeypatch.setenv("NIRANK_QDRANT_API_KEY", KeyedQdrant.key)
        ranking = nirank.load(Hashed()) >> store()
        assert len(ranking.search("text", corpus(20)).docs) == 20
        monkeypatch.setenv("NIRANK_QDRANT_URL", server.url)  # the key is another's now
        with pytest.raises(BadInput, match="wants a token") as unsent:
            (nirank.load(Hashed()) >> store(url=keyed.url)).index(corpus(30))
    told += [str(unsent.value), repr(ranking), caplog.text]
    told += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in told if KeyedQdrant.key in text]
