"""What all vector stores have in common, on one in memory; real servers are in tests/distributed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import nirank
from nirank.errors import BadInput, StaleIndex
from nirank_dense.stores import tiny
from nirank_dense.stores.manifest import COMPLETE, Manifest, new_token
from nirank_dense.stores.milvus_rows import _among
from nirank_dense.stores.milvus_rows import place_of as milvus_at
from nirank_dense.stores.postgres import as_vectors, rows_in_binary
from nirank_dense.stores.store import Patience, Structure, checked_name, secret
from tests.distributed.documents import Hashed, corpus, queries
from tests.distributed.store_promises import StorePromises, exactly, same


@pytest.fixture(autouse=True)
def _own_cache_and_tables(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tiny, "_TABLES", {})


@pytest.fixture
def server():
    """None is needed."""


class TestInMemory(StorePromises):
    test_a_store_killed_while_it_is_searched_is_told_and_never_gives_less_without_a_word = None
    test_a_store_killed_while_it_is_filled_is_told_and_filled_to_the_end = None

    def store(self, kind="exact", ef=128, lists=None, probes=32, chunk=100, table=None):
        return nirank.load(tiny.InMemory(Structure(kind, ef=ef, lists=lists, probes=probes), chunk, table))

    def only(self):
        (table,) = tiny._TABLES.values()
        return table

    def ids(self, server):
        return sorted(name for name, _ in self.only().rows.values())

    def lose(self, server, keys):
        for key in keys:
            del self.only().rows[key]

    def drop(self, server):
        tiny._TABLES.clear()

    def test_chunks_may_come_in_any_order(self, server, monkeypatch):
        from nirank.execution.stages import Encoding

        def backwards(self, documents, ranges):
            return ((one, self(documents[one.start : one.stop])) for one in reversed(ranges))

        monkeypatch.setattr(Encoding, "of_ranges", backwards)
        documents, asked, encoder = corpus(450), queries(20), nirank.load(Hashed())
        found = ((encoder >> self.store()) % 10).search(asked, documents)
        monkeypatch.undo()
        assert same(found, exactly(encoder, documents, asked)) == 20

    def test_rows_that_another_process_finishes_meanwhile_stay_finished(self, monkeypatch, tmp_path):
        documents, asked, encoder, put, written = corpus(450), queries(20), nirank.load(Hashed()), tiny.Rows.put, []

        def outrun(rows, keys, *given):
            put(rows, keys, *given)
            written.append(len(keys))
            with monkeypatch.context() as other:
                other.setattr(tiny.Rows, "put", put)
                (encoder >> self.store()).index(documents, tmp_path / "other")

        monkeypatch.setattr(tiny.Rows, "put", outrun)
        found = ((encoder >> self.store()) % 10).search(asked, documents)
        assert written == [100]  # of 450, in chunks of 100: the other one wrote the rest
        assert self.only().manifest.state == COMPLETE
        assert same(found, exactly(encoder, documents, asked)) == 20

    def test_documents_that_a_store_does_not_propose_are_found_by_an_exact_search(self, server, monkeypatch, caplog):
        """Never a shorter list without a word: of what the store alone finds the half is left out here."""
        nearest = tiny.Rows.nearest

        def halved(rows, given, count, token, among, exact):
            keys, scores = nearest(rows, given, count, token, among, exact)
            return (keys, scores) if exact else (np.where(keys % 2, keys, -1), np.where(keys % 2, scores, -np.inf))

        monkeypatch.setattr(tiny.Rows, "nearest", halved)
        documents, asked, encoder = corpus(30), queries(5), nirank.load(Hashed())
        found = ((encoder >> self.store(kind="hnsw")) % 20).search(asked, documents)
        assert (found.lengths == 20).all()
        assert "are searched exactly" in caplog.text

    def test_rows_that_others_wrote_are_told(self, server):
        documents, encoder = corpus(300), nirank.load(Hashed())
        ranking = encoder >> self.store()
        ranking.search("text", documents)
        table = self.only()
        table.rows[299] = ("foreign", table.rows[299][1])
        del table.rows[0]
        table.rows[300] = ("foreign", 100 * np.ones(48, np.float32))
        with pytest.raises(StaleIndex, match="has rows that the index does not know: others have written to it"):
            (ranking % 300).search("text", documents)

    def test_an_update_of_what_the_store_no_longer_holds_encodes_all(self, server, caplog):
        before, after, encoder = corpus(300), corpus(310), Hashed()
        ranking = nirank.load(encoder) >> self.store()
        ranking.index(before)
        tiny._TABLES.clear()
        encoder.asked.clear()
        ranking.index(after, since=before)
        assert len(encoder.asked) == 310
        assert "does not hold the former index" in caplog.text


def manifest(**other):
    known = dict.fromkeys(("corpus", "encoder"), "a") | {"settings": {"kind": "exact"}, "rows": 3, "dim": 2}
    return Manifest(**{**known, "longest": 1.0, "following": 3, "token": new_token(), **other})


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"corpus": "b", "rows": 4}, r"holds another corpus \(b, 4 rows; wanted a, 3 rows\)"),
        ({"encoder": "b"}, "was made with another encoder"),
        ({"settings": {"kind": "hnsw"}, "encoder": "b"}, "another encoder and settings"),
        ({"state": COMPLETE}, "was built anew or updated since"),
        ({}, "half-built: its state is 'building'"),
    ],
)
def test_a_manifest_says_how_another_differs(other, told):
    import re

    assert re.search(told, manifest().difference(manifest(**other)))


def test_a_manifest_is_read_as_it_was_written_and_else_refused():
    written = manifest(state=COMPLETE)
    assert Manifest.of_text(written.text, "the table t") == written
    for text in ("", "{}", "[1]", '{"corpus": 1}'):
        with pytest.raises(StaleIndex, match="the table t has a manifest that cannot be read"):
            Manifest.of_text(text, "the table t")


def test_rows_are_as_postgres_reads_them():
    """Its documents: a count of fields, then of each its length and its bytes, all in network order."""
    ids, vectors = ["", "ab", "\u00e4"], np.array([[1.5, -2], [0, 3e-38], [7, 8]], np.float32)
    expected = b""
    for key, name, vector in zip((5, 2**40, 0), ids, vectors, strict=True):
        encoded = name.encode()
        expected += (3).to_bytes(2, "big") + (8).to_bytes(4, "big") + key.to_bytes(8, "big")
        expected += len(encoded).to_bytes(4, "big") + encoded
        expected += (12).to_bytes(4, "big") + (2).to_bytes(2, "big") + bytes(2) + vector.astype(">f4").tobytes()
    made = rows_in_binary(np.array([5, 2**40, 0]), pa.array(ids, pa.large_string()), vectors)
    assert made == expected
    tails = b"".join((2).to_bytes(2, "big") + bytes(2) + vector.astype(">f4").tobytes() for vector in vectors)
    assert np.array_equal(as_vectors(tails, 3), vectors)


def test_milvus_is_asked_for_the_fewer_keys():
    mask = np.zeros(10, bool)
    assert _among(None) == _among(~mask) == ""
    mask[[2, 5]] = True
    assert _among(mask) == "key in [2, 5]"
    assert _among(~mask) == "key not in [2, 5]"


def test_a_request_is_repeated_so_often_and_no_more(monkeypatch, caplog):
    waited, asked = [], []
    monkeypatch.setattr("nirank_dense.stores.store.time.sleep", waited.append)

    def fail():
        asked.append(1)
        raise ConnectionError("gone")

    patience = Patience(tries=8)
    with pytest.raises(BadInput, match=r"it does not answer, tried 8 times; at last: ConnectionError: gone\. Start it"):
        patience.asked(fail, lambda error: isinstance(error, ConnectionError), "it")
    assert (len(asked), waited) == (8, [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0])
    with pytest.raises(ZeroDivisionError):
        patience.asked(lambda: 1 / 0, lambda error: isinstance(error, ConnectionError), "it")
    answers = iter([ConnectionError("gone"), 5])

    def once():
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    assert patience.asked(once, lambda error: True, "it") == 5
    assert "it was away; it answers again" in caplog.text


def test_what_makes_no_sense_is_refused_before_anything_is_asked():
    for wrong in ({"m": 0}, {"ef": 0}, {"lists": -1}, {"probes": 0}):
        with pytest.raises(BadInput, match="numbers from 1"):
            Structure(**wrong)
    for wrong in ({"tries": 0}, {"timeout": 0}, {"connections": 0}):
        with pytest.raises(BadInput, match="from 1"):
            Patience(**wrong)
    for wrong in ("", "A", "a b", 'x"; DROP TABLE y', "a" * 49, "1a"):
        with pytest.raises(BadInput, match="small letters"):
            checked_name(wrong)
    with pytest.raises(BadInput, match="never the address"):
        secret("postgresql://x:opensesame@y")
    assert milvus_at("https://root:opensesame@host:19530/db") == "Milvus at host:19530"
