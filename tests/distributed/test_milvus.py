"""The generator `milvus` on a real Milvus: as `exact`, changed, filtered, and killed in the middle."""

from __future__ import annotations

import pytest

import nirank
from nirank.errors import BadInput
from tests.distributed.documents import Hashed, corpus, queries
from tests.distributed.servers import Milvus, running
from tests.distributed.store_promises import StorePromises, exactly, same

pymilvus = pytest.importorskip("pymilvus")


@pytest.fixture(scope="module")
def server():
    with running(Milvus) as server:
        yield server


@pytest.fixture(autouse=True)
def _own_collections(server, monkeypatch, tmp_path):
    """Each test has no collections of another, and a cache of its own."""
    if not server.alive:
        server.start()
    client = pymilvus.MilvusClient(uri=server.uri)
    for name in client.list_collections():
        client.drop_collection(name)
    client.close()
    monkeypatch.setenv("NIRANK_MILVUS_URI", server.uri)
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


class TestMilvus(StorePromises):
    generator = "milvus"

    def client(self, server):
        client = pymilvus.MilvusClient(uri=server.uri)
        (name,) = client.list_collections()
        return client, name

    def ids(self, server):
        client, name = self.client(server)
        rows = client.query(name, filter="key >= 0", output_fields=["id"], limit=16384, consistency_level="Strong")
        return sorted(row["id"] for row in rows)

    def lose(self, server, keys):
        client, name = self.client(server)
        client.delete(name, filter=f"key in {keys}")

    def drop(self, server):
        client, name = self.client(server)
        client.drop_collection(name)

    def test_an_update_that_is_cut_off_is_told_and_goes_on(self, server, monkeypatch):
        """It is no transaction: the former state cannot be searched any more, and the update is run again."""
        before, after, encoder = corpus(400), corpus(400, first=30), Hashed()
        ranking = nirank.load(encoder) >> self.store()
        ranking.index(before)
        with monkeypatch.context() as patch:
            patch.setattr("nirank_dense.stores.milvus_rows.Rows.count", lambda rows: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                ranking.index(after, since=before)
        with pytest.raises(nirank.errors.StaleIndex, match="holds another corpus"):
            (nirank.load(Hashed()) >> self.store()).search("text", before)
        encoder.asked.clear()
        ranking.index(after, since=before)
        assert not encoder.asked
        asked = queries(20)
        assert same((ranking % 10).search(asked, after), exactly(nirank.load(Hashed()), after, asked)) == 20
        assert self.ids(server) == sorted(after.ids)

    def test_a_token_is_written_nowhere_and_shown_nowhere(self, server, monkeypatch, tmp_path):
        with pytest.raises(BadInput, match="environment variable NIRANK_MILVUS_TOKEN") as refused:
            self.store(uri="http://root:opensesame@127.0.0.1:19530")
        assert "opensesame" not in str(refused.value)
        monkeypatch.setenv("NIRANK_MILVUS_TOKEN", "root:opensesame")
        ranking = nirank.load(Hashed()) >> self.store()
        ranking.index(corpus(200))
        monkeypatch.setenv("NIRANK_MILVUS_URI", "http://127.0.0.1:1")
        with pytest.raises(BadInput, match=r"Milvus at 127\.0\.0\.1:1 does not answer") as away:
            (nirank.load(Hashed()) >> self.store(tries=1, timeout=3.0)).search("text", corpus(200))
        told = [str(away.value), repr(ranking)]
        told += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
        assert not [text for text in told if "opensesame" in text]

    def test_more_than_milvus_returns_is_refused(self, server):
        documents = corpus(16400)
        ranking = nirank.load(Hashed()) >> self.store(chunk=4096)
        with pytest.raises(BadInput, match="returns at most 16,384 documents"):
            (ranking % 16400).search("text", documents)
