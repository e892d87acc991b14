"""What a vector store keeps, whichever it is: a test file names its server and its generator, and inherits these."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

import nirank
from nirank.errors import BadInput, StaleIndex
from tests.distributed.documents import Hashed, corpus, queries

KINDS = ("exact", "hnsw", "ivf_flat")


def same(found, expected):
    """The number of queries with the same documents and the same scores, to the bit."""
    return sum(
        np.array_equal(found[row][0], expected[row][0]) and np.array_equal(found[row][1], expected[row][1])
        for row in range(len(expected))
    )


def recall(found, expected):
    return np.mean([len(np.intersect1d(found[row][0], expected[row][0])) / 10 for row in range(len(expected))])


def exactly(encoder, documents, asked, k=10):
    return ((encoder >> nirank.load("exact", device="cpu")) % k).search(asked, documents)


class StorePromises:
    """Tests of one store; `store` gives the generator with some settings, `server` is running."""

    generator: str

    def store(self, **settings):
        return nirank.load(self.generator, **{"kind": "exact", "chunk": 100, "timeout": 30.0, **settings})

    def test_the_exact_kind_finds_what_exact_finds_to_the_bit(self, server):
        documents, asked, encoder = corpus(3000), queries(200), nirank.load(Hashed())
        ranking = encoder >> self.store()
        for k in (10, 100):
            assert same((ranking % k).search(asked, documents), exactly(encoder, documents, asked, k)) == 200

    @pytest.mark.parametrize("kind", ["hnsw", "ivf_flat"])
    def test_approximate_kinds_find_nearly_all_and_score_it_exactly(self, server, kind):
        documents, asked, encoder = corpus(3000), queries(100), nirank.load(Hashed())
        every = exactly(encoder, documents, asked, 3000)
        found = ((encoder >> self.store(kind=kind, ef=200, lists=20, probes=20)) % 10).search(asked, documents)
        assert recall(found, every.top(10)) > 0.98
        scores = np.full((100, 3000), np.nan, np.float32)
        scores[every.rows, every.docs] = every.scores
        assert (scores[found.rows, found.docs] == found.scores).all()

    @pytest.mark.parametrize("kind", ["exact", "hnsw"])
    @pytest.mark.parametrize("condition", ["year >= 2010", "year == 2004", "year >= 2001 and year != 2007"])
    def test_a_filter_finds_what_is_left_of_all_that_is_found(self, server, monkeypatch, kind, condition):
        monkeypatch.setattr("nirank_dense.stores.search.FEW_DOCUMENTS", 200)
        documents, asked, encoder = corpus(3000), queries(50), nirank.load(Hashed())
        every = exactly(encoder, documents, asked, 3000)
        mask = nirank.where(condition).test.mask(documents)
        expected = every.where(mask[every.docs]).top(10)
        ranking = (encoder >> self.store(kind=kind, ef=400) >> nirank.where(condition)) % 10
        found = ranking.search(asked, documents)
        assert mask[found.docs].all()
        assert (found.lengths == 10).all()
        assert same(found, expected) == 50 if kind == "exact" else recall(found, expected) > 0.98

    @pytest.mark.parametrize("kind", ["exact", "hnsw"])
    def test_an_update_encodes_what_is_new_and_finds_what_an_index_made_anew_finds(self, server, kind):
        before, encoder = corpus(1000), Hashed()
        after = corpus(1000, first=50, d60="other=1", d77="other=2")  # 50 gone, 50 new, 2 changed
        ranking = nirank.load(encoder) >> self.store(kind=kind, ef=400)
        ranking.index(before)
        encoder.asked.clear()
        ranking.index(after, since=before)
        assert len(encoder.asked) == 52
        asked = queries(100)
        expected = exactly(nirank.load(Hashed()), after, asked)
        found = (ranking % 10).search(asked, after)
        assert same(found, expected) == 100 if kind == "exact" else recall(found, expected) > 0.98

    def test_the_former_state_is_refused_after_an_update_and_can_be_built_again(self, server):
        before, after, encoder = corpus(300), corpus(300, first=10), nirank.load(Hashed())
        ranking, still_open = encoder >> self.store(), encoder >> self.store()
        ranking.index(before)
        still_open.index(before)
        ranking.index(after, since=before)
        with pytest.raises(StaleIndex, match="updated or built anew since it was opened"):
            still_open.search("text", before)
        with pytest.raises(StaleIndex, match=r"holds another corpus .* Remove .* to have it built again"):
            (encoder >> self.store()).search("text", before)
        again = encoder >> self.store(table="apart")
        asked = queries(20)
        assert same((again % 10).search(asked, before), exactly(encoder, before, asked)) == 20

    def test_another_machine_takes_what_is_there_and_encodes_nothing(self, server, monkeypatch, tmp_path):
        before, after, encoder = corpus(500), corpus(500, first=20), Hashed()
        first = nirank.load(encoder) >> self.store()
        first.index(before)
        first.index(after, since=before)
        encoder.asked.clear()
        monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "another"))
        name = json.loads(next((tmp_path / "cache").glob("indexes/*/store.json")).read_text())["table"]
        second = nirank.load(encoder) >> self.store(table=name)
        asked = queries(50)
        with pytest.raises(StaleIndex, match=r"holds another corpus .* Nothing was changed there"):
            second.search(asked, before)
        assert same((second % 10).search(asked, after), exactly(nirank.load(Hashed()), after, asked)) == 50
        assert not encoder.asked

    def test_a_store_killed_while_it_is_searched_is_told_and_never_gives_less_without_a_word(self, server):
        documents, asked, encoder = corpus(2000), queries(50), nirank.load(Hashed())
        expected, patient = exactly(encoder, documents, asked), (encoder >> self.store(tries=14)) % 10
        impatient = (encoder >> self.store(tries=2)) % 10
        assert same(patient.search(asked, documents), expected) == 50
        assert same(impatient.search(asked, documents), expected) == 50
        found, ended = [], threading.Event()

        def search():
            while not ended.is_set() or len(found) < 3:
                found.append(patient.search(asked, documents))

        searching = threading.Thread(target=search)
        searching.start()
        time.sleep(0.3)
        server.kill()
        with pytest.raises(BadInput, match=r"does not answer, tried 2 times; .* Start it"):
            impatient.search(asked, documents)
        server.start()
        ended.set()
        searching.join(120)
        assert not searching.is_alive()
        assert [same(each, expected) for each in found] == [50] * len(found)
        assert same(impatient.search(asked, documents), expected) == 50

    def test_a_store_killed_while_it_is_filled_is_told_and_filled_to_the_end(self, server):
        """Nothing is missing, nothing twice, and what was written is not encoded again."""
        documents, asked, encoder = corpus(1500), queries(50), Hashed()
        encoder.before = lambda texts: server.kill() if len(encoder.asked) == 700 and server.alive else None
        ranking = nirank.load(encoder) >> self.store(tries=2)
        with pytest.raises(BadInput, match=r"does not answer, .* what is built already is kept"):
            ranking.index(documents)
        server.start()
        encoder.before = lambda texts: None
        encoder.asked.clear()
        assert same((ranking % 10).search(asked, documents), exactly(nirank.load(Hashed()), documents, asked)) == 50
        assert len(encoder.asked) <= 800
        assert self.ids(server) == sorted(documents.ids)

    def test_an_index_that_is_not_whole_is_told(self, server):
        documents, encoder = corpus(300), Hashed()

        def stop(texts):
            if len(encoder.asked) == 200:
                raise KeyboardInterrupt

        encoder.before = stop
        ranking = nirank.load(encoder) >> self.store(table="half")
        with pytest.raises(KeyboardInterrupt):
            ranking.index(documents)
        other = nirank.load(Hashed()) >> self.store(table="half")
        with pytest.raises(StaleIndex, match="holds another corpus"):
            other.index(corpus(200))
        encoder.before = lambda texts: None
        encoder.asked.clear()
        ranking.index(documents)
        assert len(encoder.asked) == 100

    def test_lost_rows_are_told(self, server):
        documents, encoder = corpus(300), nirank.load(Hashed())
        (encoder >> self.store()).index(documents)
        self.lose(server, [5, 6])
        with pytest.raises(StaleIndex, match="298 rows, and 300 were written: some are lost"):
            (encoder >> self.store()).search("text", documents)
        self.drop(server)
        with pytest.raises(StaleIndex, match="is not there: it was dropped, or this is another server"):
            (encoder >> self.store()).search("text", documents)

    def test_ids_may_be_any_text_and_vectors_come_back_as_they_were(self, server):
        ids = ["", "a'; DROP TABLE x; --", "\u00e4\U0001f600", 'quo"te\\', "tab\tnew\nline", "x" * 3000]
        documents, encoder = nirank.Documents(ids, [f"text {n}={n}" for n in range(len(ids))]), Hashed()
        index = self.store()
        (nirank.load(encoder) >> index).index(documents)
        made = encoder.encode_documents(documents[:])
        target = self.opened(nirank.load(encoder), index, documents)
        assert np.array_equal(target.vectors_of(np.array([3, 0, 3, 5])), made[[3, 0, 3, 5]])
        assert self.ids(server) == sorted(ids)

    def opened(self, encoder, index, documents):
        """The generator itself, with its index open."""
        from nirank.execution import indexes

        indexes.prepare(index.component, documents, encoder.component)
        return index.component.target
