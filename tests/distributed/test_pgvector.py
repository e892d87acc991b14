"""The generator `pgvector` on a real PostgreSQL: as `exact`, changed, filtered, and killed in the middle."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nirank
from nirank.errors import BadInput
from nirank_dense.stores.manifest import BUILDING
from tests.distributed.documents import Hashed, corpus, queries, vector_of
from tests.distributed.servers import Postgres, running
from tests.distributed.store_promises import StorePromises, exactly, same

pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def server():
    with running(Postgres) as server:
        yield server


@pytest.fixture(autouse=True)
def _own_tables(server, monkeypatch, tmp_path):
    """Each test has no tables of another, and a cache of its own."""
    if not server.alive:
        server.start()
    for (table,) in server.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        server.sql(f'DROP TABLE "{table}"')
    monkeypatch.setenv("NIRANK_PGVECTOR_DSN", server.dsn)
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


class TestPGVector(StorePromises):
    generator = "pgvector"

    def table(self, server):
        ((table,),) = server.sql("SELECT name FROM nirank_indexes")
        return table

    def ids(self, server):
        return sorted(name for (name,) in server.sql(f"SELECT id FROM {self.table(server)}"))

    def lose(self, server, keys):
        server.sql(f"DELETE FROM {self.table(server)} WHERE key = ANY(%s)", keys)

    def drop(self, server):
        server.sql(f"DROP TABLE {self.table(server)}")

    def test_the_store_alone_ranks_otherwise_which_is_what_scoring_anew_is_for(self, server):
        documents, asked, encoder = corpus(3000), queries(50), nirank.load(Hashed())
        expected = exactly(encoder, documents, asked)
        (encoder >> self.store()).index(documents)
        query = f"SELECT key, -(embedding <#> %s) FROM {self.table(server)} ORDER BY embedding <#> %s LIMIT 10"
        alone = [server.sql(query, *[str(vector_of(text).tolist())] * 2) for text in asked.contents]
        equal = sum(
            [key for key, _ in rows] == expected[row][0].tolist()
            and [np.float32(score) for _, score in rows] == expected[row][1].tolist()
            for row, rows in enumerate(alone)
        )
        assert equal < 25

    def test_an_update_that_fails_leaves_what_was_searched_as_it_is(self, server, monkeypatch):
        """It is one transaction: killed in its middle, the former state is there, and the update goes on from it."""
        before, after, encoder = corpus(400), corpus(400, first=30), Hashed()
        ranking = nirank.load(encoder) >> self.store(tries=2)
        ranking.index(before)
        put = "nirank_dense.stores.postgres.Rows._describe"
        with monkeypatch.context() as patch:
            patch.setattr(put, lambda *given: server.kill() or 1 / 0)
            with pytest.raises(ZeroDivisionError):
                ranking.index(after, since=before)
        server.start()
        asked = queries(20)
        searching = (nirank.load(Hashed()) >> self.store()) % 10
        assert same(searching.search(asked, before), exactly(nirank.load(Hashed()), before, asked)) == 20
        encoder.asked.clear()
        ranking.index(after, since=before)
        assert not encoder.asked  # they were encoded before the transaction began
        assert same((ranking % 10).search(asked, after), exactly(nirank.load(Hashed()), after, asked)) == 20

    def test_a_password_is_written_nowhere_and_shown_nowhere(self, server, monkeypatch, tmp_path, caplog):
        host = f"127.0.0.1:{server.port}/postgres"
        with pytest.raises(BadInput, match="environment variable NIRANK_PGVECTOR_DSN") as refused:
            self.store(dsn=f"postgresql://postgres:opensesame@{host}")
        assert "opensesame" not in str(refused.value)
        monkeypatch.setenv("NIRANK_PGVECTOR_DSN", f"postgresql://postgres:opensesame@{host}")
        ranking = nirank.load(Hashed()) >> self.store()
        ranking.index(corpus(200))
        monkeypatch.setenv("NIRANK_PGVECTOR_DSN", "postgresql://nobody:opensesame@127.0.0.1:1/postgres")
        with pytest.raises(BadInput, match=r"PostgreSQL at 127\.0\.0\.1:1/postgres does not answer") as away:
            (nirank.load(Hashed()) >> self.store(tries=1)).search("text", corpus(200))
        monkeypatch.setenv("NIRANK_PGVECTOR_DSN", f"postgresql://nobody:opensesame@{host}")
        with pytest.raises(BadInput) as nobody:
            (nirank.load(Hashed()) >> self.store(tries=1)).search("text", corpus(200))
        told = [str(away.value), repr(away.value.__context__), str(nobody.value), caplog.text, repr(ranking)]
        told += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
        told += [str(server.sql("SELECT * FROM nirank_indexes"))]
        assert not [text for text in told if "opensesame" in text]

    def test_two_that_build_the_same_rows_at_a_time_write_each_once(self, server, monkeypatch, tmp_path):
        documents, asked = corpus(2000), queries(20)
        program = (
            "import sys, nirank; from tests.distributed.documents import *;"
            "(nirank.load(Hashed()) >> nirank.load('pgvector', kind='exact', chunk=50)).index(corpus(2000))"
        )
        root = Path(__file__).parents[2]
        path = os.pathsep.join([str(root), str(root / "plugins"), *sys.path])
        both = [
            subprocess.Popen(
                [sys.executable, "-c", program],
                env=os.environ | {"NIRANK_CACHE": str(tmp_path / name), "PYTHONPATH": path},
            )
            for name in ("one", "two")
        ]
        assert [each.wait(120) for each in both] == [0, 0]
        assert self.ids(server) == sorted(documents.ids)
        ranking = nirank.load(Hashed()) >> self.store()
        assert same((ranking % 10).search(asked, documents), exactly(nirank.load(Hashed()), documents, asked)) == 20

    def test_rows_written_after_another_process_had_finished_leave_the_manifest_as_it_is(self, server):
        documents = corpus(200)
        ranking = (nirank.load(Hashed()) >> self.store()) % 10
        found = ranking.search(queries(20), documents)
        store = ranking.components()[1].target._store
        whole, keys = store.manifest(), np.arange(50)
        begun = dataclasses.replace(whole, state=BUILDING, longest=whole.longest + 1)
        store.put(keys, documents.ids.gather(keys), store.vectors(keys), begun)
        assert store.manifest() == whole
        assert same(found, ranking.search(queries(20), documents)) == 20

    def test_the_settings_of_a_search_are_sent_whatever_the_server_is_set_to(self, server):
        documents, asked = corpus(3000), queries(30)
        server.sql("ALTER DATABASE postgres SET hnsw.ef_search = 1")
        try:
            ranking = (nirank.load(Hashed()) >> self.store(kind="hnsw", ef=300)) % 10
            found = ranking.search(asked, documents)
        finally:
            server.sql("ALTER DATABASE postgres RESET hnsw.ef_search")
        assert same(found, exactly(nirank.load(Hashed()), documents, asked)) > 25

    def test_what_pgvector_cannot_index_is_told_before_the_corpus_is_encoded(self, server):
        class Wide(Hashed):
            fingerprint = "wide"

            def encode_documents(self, texts):
                self.asked += texts
                return np.ones((len(texts), 2001), np.float32)

        encoder = Wide()
        with pytest.raises(BadInput, match="up to 2,000 numbers here, not 2,001"):
            (nirank.load(encoder) >> self.store(kind="hnsw")).index(corpus(500))
        assert len(encoder.asked) == 100

    def test_ids_that_postgres_cannot_hold_are_refused(self, server):
        documents = nirank.Documents(["a\0b"], ["text"])
        with pytest.raises(BadInput, match="a character of the code 0"):
            (nirank.load(Hashed()) >> self.store()).index(documents)
