"""Indexes of faiss: what they find and how it is scored, documents that come and go, filters, tuning."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("faiss")
pytest.importorskip("torch")

import nirank
from nirank.data import Documents, Queries
from nirank.errors import BadInput, MissingDependency
from nirank.execution import indexes
from nirank.plugins import Component
from nirank_dense.faiss.indexes import HNSW, IVFPQ, SQ8, Flat, IVFFlat
from nirank_dense.faiss.search import INDEX, FaissSearch, faiss
from nirank_dense.faiss.tuning import tune
from nirank_dense.stored import VECTORS

DIM = 24


def _all_probed():
    """Every kind, with dials so far open that next to nothing is missed."""
    return {
        "flat": Flat(chunk=64),
        "sq8": SQ8(depth=40, chunk=64),
        "hnsw": HNSW(m=8, construction=64, ef=128, chunk=64),
        "ivf_flat": IVFFlat(lists=8, probes=8, chunk=64),
        "ivf_pq": IVFPQ(lists=8, probes=8, m=12, depth=150, chunk=64),
        "ivf_pq of 8 bits": IVFPQ(lists=8, probes=8, m=12, bits=8, depth=120, chunk=64),
    }


KINDS = list(_all_probed())


class Numbered:
    """An encoder of texts that are numbers: the vector of each is drawn with it as the seed."""

    vectors = "dense"
    fingerprint = "numbered"

    def __init__(self, failing=None):
        self.failing, self.seen = failing, []

    def encode(self, queries):
        return self._of(queries.contents)

    def encode_documents(self, contents):
        if self.failing in contents:
            raise KeyboardInterrupt
        self.seen += contents
        return self._of(contents)

    def _of(self, contents):
        drawn = [np.random.default_rng(int(text)).standard_normal(DIM) for text in contents]
        vectors = np.array(drawn, np.float32).reshape(-1, DIM)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _corpus(numbers):
    return Documents([f"d{number}" for number in numbers], [str(number) for number in numbers])


def _opened(index, corpus, folder, since=None, encoder=None):
    component = Component("index", index)
    encoder = encoder or Component("numbered", Numbered())
    indexes.prepare(component, corpus, encoder, folder / indexes.place(component, corpus, encoder), since)
    return index


def _asked(numbers):
    return Queries.of(list(map(str, numbers))).with_vectors(Numbered()._of(list(map(str, numbers))))


def _named(found, corpus):
    return [corpus.ids.take(found[query][0]) for query in range(len(found))]


def _exhaustive(queries, vectors, k):
    """One pair at a time, in float64."""
    ranked = []
    for query in np.asarray(queries, np.float64):
        scores = [sum(a * b for a, b in zip(query, vector, strict=True)) for vector in np.asarray(vectors, np.float64)]
        ranked.append(sorted(range(len(vectors)), key=lambda doc: (-scores[doc], doc))[:k])
    return ranked


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_found_is_nearly_all_and_scored_as_exact_search_scores_it(tmp_path, kind):
    corpus, asked = _corpus(range(500)), _asked(range(1000, 1020))
    index = _opened(_all_probed()[kind], corpus, tmp_path)
    found = index.generate(asked, 10)
    vectors = Numbered()._of(corpus[:])
    expected = _exhaustive(asked.vectors, vectors, 10)
    shared = np.mean([len({*found[query][0].tolist()} & {*expected[query]}) for query in range(20)])
    assert shared == 10 if kind in ("flat", "ivf_flat", "sq8") else shared >= 9.5
    for query in range(20):
        docs, scores = found[query]
        np.testing.assert_allclose(scores, vectors[docs].astype(np.float64) @ asked.vectors[query], atol=1e-6)
        assert np.all(np.diff(scores) <= 0)


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_are_a_prefix_of_more_and_a_query_alone_finds_the_same(tmp_path, kind):
    corpus, asked = _corpus(range(300)), _asked(range(1000, 1008))
    index = _opened(_all_probed()[kind], corpus, tmp_path)
    many = index.generate(asked, 30)
    for query in range(8):
        alone = index.generate(asked.take(slice(query, query + 1)), 5)
        assert alone.docs.tolist() == many[query][0][:5].tolist()
        assert alone.scores.tolist() == many[query][1][:5].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_documents_are_found_by_rising_ordinal_however_many_there_are(tmp_path, kind):
    class Few(Numbered):
        def _of(self, contents):
            return super()._of([str(int(text) % 3) for text in contents])

    corpus = _corpus(range(150))
    index = _opened(_all_probed()[kind], corpus, tmp_path, encoder=Component("few", Few()))
    found = index.generate(_asked([1]), 20)
    assert found.docs.tolist() == list(range(1, 60, 3))
    assert len(set(found.scores.tolist())) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_documents_come_and_go_and_the_others_keep_their_ids_across_a_save_and_a_load(tmp_path, kind):
    before, asked = _corpus(range(300)), _asked(range(1000, 1012))
    old = _opened(_all_probed()[kind], before, tmp_path)
    earlier = _named(old.generate(asked, 10), before)
    numbers = [number for number in range(300) if number % 7] + list(range(300, 340))
    after, encoder = _corpus(numbers[::-1]), Numbered()  # in another order besides
    _opened(_all_probed()[kind], after, tmp_path, since=before, encoder=Component("numbered", encoder))
    assert sorted(encoder.seen, key=int) == list(map(str, range(300, 340)))
    again = _opened(_all_probed()[kind], after, tmp_path)  # from the disk
    found = _named(again.generate(asked, 10), after)
    vectors = Numbered()._of(after[:])
    expected = [after.ids.take(docs) for docs in _exhaustive(asked.vectors, vectors, 10)]
    shared = np.mean([len({*one} & {*two}) for one, two in zip(found, expected, strict=True)])
    assert shared == 10 if kind in ("flat", "ivf_flat", "sq8") else shared >= 9.5
    assert not {f"d{number}" for number in range(0, 300, 7)} & {name for names in found for name in names}
    assert _named(old.generate(asked, 10), before) == earlier


def test_a_graph_passes_over_what_has_gone_and_is_built_again_when_that_is_much(tmp_path):
    whole, most, few = _corpus(range(200)), _corpus(range(20, 200)), _corpus(range(120, 200))
    _opened(HNSW(m=8, chunk=64), whole, tmp_path)
    kept = _opened(HNSW(m=8, chunk=64), most, tmp_path, since=whole)
    assert (len(kept._keys), kept.opened.ntotal) == (180, 200)
    rebuilt = _opened(HNSW(m=8, chunk=64), few, tmp_path, since=most)
    assert (len(rebuilt._keys), rebuilt.opened.ntotal) == (80, 80)


def test_an_index_that_was_trained_on_a_quarter_of_what_there_is_now_is_trained_anew(tmp_path):
    few, many = _corpus(range(50)), _corpus(range(300))
    _opened(IVFFlat(chunk=64), few, tmp_path)
    assert _opened(IVFFlat(chunk=64), many, tmp_path, since=few).opened.nlist == 7


def test_a_document_with_another_content_is_another_document(tmp_path):
    before = Documents(["a", "b", "c"], ["1", "2", "3"])
    after, encoder = Documents(["c", "a", "b"], ["3", "1", "9"]), Numbered()
    _opened(Flat(), before, tmp_path)
    index = _opened(Flat(), after, tmp_path, since=before, encoder=Component("numbered", encoder))
    assert encoder.seen == ["9"]
    assert _named(index.generate(_asked([9, 3]), 1), after) == [["b"], ["c"]]


def test_an_update_that_is_killed_leaves_the_old_index_usable_and_goes_on(tmp_path):
    before, after = _corpus(range(100)), _corpus(range(10, 180))
    asked, old = _asked(range(5)), _opened(Flat(chunk=16), before, tmp_path)
    failing = Component("numbered", Numbered(failing="150"))
    with pytest.raises(KeyboardInterrupt):
        _opened(Flat(chunk=16), after, tmp_path, since=before, encoder=failing)
    assert _named(_opened(Flat(chunk=16), before, tmp_path).generate(asked, 3), before) == _named(
        old.generate(asked, 3), before
    )
    encoder = Numbered()
    index = _opened(Flat(chunk=16), after, tmp_path, since=before, encoder=Component("numbered", encoder))
    assert sorted(encoder.seen) == list(map(str, range(10 + 128, 180)))  # eight whole chunks were there
    np.testing.assert_array_equal(index._vectors, Numbered()._of(after[:]))


def test_exact_search_is_updated_in_the_same_way(tmp_path):
    before, after, encoder = _corpus(range(40)), _corpus(range(30, 50)), Numbered()
    exact = nirank.load("exact", device="cpu").component.target
    _opened(exact, before, tmp_path)
    _opened(exact, after, tmp_path, since=before, encoder=Component("numbered", encoder))
    assert sorted(encoder.seen) == list(map(str, range(40, 50)))
    assert _named(exact.generate(_asked(range(30, 50)), 1), after) == [[f"d{number}"] for number in range(30, 50)]


def test_a_pipeline_is_indexed_since_an_earlier_state_of_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    before, after, encoder = _corpus(range(40)), _corpus(range(20, 60)), Numbered()
    ranking = nirank.load(encoder) >> nirank.load("hnsw", m=4)
    ranking.index(before)
    ranking.index(after, since=before)
    assert sorted(encoder.seen, key=int) == list(map(str, range(60)))
    found = (ranking % 1).search(["25", "55"], after)
    assert after.ids.take(found.docs) == ["d25", "d55"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("few", [0, 4096])
def test_only_what_is_allowed_is_found(tmp_path, monkeypatch, kind, few):
    monkeypatch.setattr("nirank_dense.faiss.search.FEW_DOCUMENTS", few)
    corpus, asked = _corpus(range(400)), _asked(range(1000, 1010))
    index = _opened(_all_probed()[kind], corpus, tmp_path)
    mask = np.arange(400) % 3 == 1
    found = index.within(mask).generate(asked, 12)
    assert set(found.docs % 3) == {1}
    allowed = np.flatnonzero(mask)
    expected = _exhaustive(asked.vectors, Numbered()._of(corpus[:])[allowed], 12)
    shared = np.mean([len({*found[query][0].tolist()} & {*allowed[expected[query]]}) for query in range(10)])
    assert shared == 12 if few or kind in ("flat", "ivf_flat", "sq8") else shared >= 11
    same = index.within(allowed).generate(asked, 12)
    np.testing.assert_array_equal(same.docs, found.docs)
    assert index.within(np.zeros(400, bool)).generate(asked, 3).pairs == 0
    if few:
        assert index.within([5]).generate(asked, 3).docs.tolist() == [5] * 10
    assert len(set(index.generate(asked, 12).docs % 3)) == 3  # the index itself searches everywhere


def test_a_filtered_index_stands_in_a_pipeline(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    corpus, encoder, flat = _corpus(range(40)), nirank.load(Numbered()), nirank.load("flat")
    (encoder >> flat).index(corpus)
    even = encoder >> nirank.load(flat.component.target.within(np.arange(0, 40, 2))) % 5
    assert set(even.search(["3", "4"], corpus).docs % 2) == {0}


@pytest.mark.parametrize("wrong", [[400], [-1], np.ones(3, bool)])
def test_documents_that_are_not_there_cannot_be_allowed(tmp_path, wrong):
    index = _opened(Flat(), _corpus(range(40)), tmp_path)
    with pytest.raises(BadInput, match="40 documents"):
        index.within(wrong).generate(_asked([1]), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_one_document_and_two_are_an_index(tmp_path, kind):
    for count in (1, 2):
        corpus = _corpus(range(count))
        index = _opened(_all_probed()[kind], corpus, tmp_path)
        assert sorted(index.generate(_asked([5]), 10).docs.tolist()) == list(range(count))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_corpus_gives_the_same_index_bit_by_bit(tmp_path, kind):
    corpus, files = _corpus(range(300)), []
    for place in ("one", "two"):
        _opened(_all_probed()[kind], corpus, tmp_path / place)
        (path,) = (tmp_path / place).glob(f"*/{INDEX}")
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_settings_of_searching_share_an_index_and_settings_of_making_do_not():
    assert HNSW(ef=10).index_key == HNSW(ef=500, threads=2).index_key != HNSW(m=32).index_key
    assert IVFPQ(probes=2, depth=10).index_key == IVFPQ().index_key != IVFPQ(lists=5).index_key


def test_wrong_settings_and_queries_are_refused(tmp_path):
    with pytest.raises(BadInput, match="m = 7 does not divide the 24"):
        _opened(IVFPQ(m=7), _corpus(range(40)), tmp_path / "m")
    with pytest.raises(BadInput, match="no open index"):
        Flat().generate(_asked([1]), 1)
    index = _opened(Flat(), _corpus(range(40)), tmp_path)
    with pytest.raises(BadInput, match="have no vectors"):
        index.generate(Queries.of("q"), 1)
    with pytest.raises(BadInput, match=r"k = -1"):
        index.generate(_asked([1]), -1)
    assert index.generate(_asked([1]), 0).pairs == 0
    (path,) = tmp_path.glob(f"faiss*/{VECTORS}")
    np.save(path, np.zeros((3, DIM), np.float32))
    with pytest.raises(BadInput, match="3 vectors, but the corpus has 40"):
        index.open(_corpus(range(40)), path.parent)


def test_without_faiss_one_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    faiss.cache_clear()
    try:
        with pytest.raises(MissingDependency, match=r"nirank\[faiss\]"):
            _opened(Flat(), _corpus(range(4)), tmp_path)
    finally:
        faiss.cache_clear()


def test_a_device_that_faiss_cannot_use_is_refused(tmp_path):
    if hasattr(faiss(), "StandardGpuResources"):
        pytest.skip("this faiss can")
    with pytest.raises(BadInput, match="compiled for the CPU only"):
        _opened(Flat(device="cuda"), _corpus(range(40)), tmp_path)


def test_the_fastest_setting_above_a_recall_is_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    corpus, queries = _corpus(range(400)), Queries.of(list(map(str, range(1000, 1040))))
    ranking = nirank.load(Numbered()) >> nirank.load("ivf_flat", lists=16, probes=1)
    points = tune(ranking, queries, corpus, k=5, recall=0.8)
    assert [point.setting["probes"] for point in points] == [1, 2, 4, 8, 16]
    assert points[0].recall < 0.8 < points[-1].recall == 1
    recalls = [point.recall for point in points]
    assert recalls == sorted(recalls)
    index = ranking.generator.target
    chosen = next(point for point in points if point.setting["probes"] == index.probes)
    assert chosen.recall >= 0.8
    assert chosen.rate == max(point.rate for point in points if point.recall >= 0.8)
    assert ranking.generator.settings["probes"] == index.probes
    asked = queries.with_vectors(Numbered().encode(queries))
    exact = _exhaustive(asked.vectors, Numbered()._of(corpus[:]), 5)
    found = index.generate(asked, 5)
    hits = sum(len({*found[query][0].tolist()} & {*exact[query]}) for query in range(40))
    assert chosen.recall == pytest.approx(hits / 200)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if " " not in kind])
def test_every_kind_has_dials_that_go_up_to_everything(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    ranking = nirank.load(Numbered()) >> nirank.load(kind)
    points = tune(ranking, Queries.of(list(map(str, range(1000, 1010)))), _corpus(range(200)), recall=0.99)
    assert points[-1].recall >= 0.99


def test_what_cannot_be_tuned_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    corpus, encoder = _corpus(range(60)), nirank.load(Numbered())
    with pytest.raises(BadInput, match="nothing to tune"):
        tune(encoder >> nirank.load("exact", device="cpu"), Queries.of("1"), corpus)
    with pytest.raises(BadInput, match="no queries"):
        tune(encoder >> nirank.load("hnsw"), Queries([], []), corpus)
    with pytest.raises(BadInput, match=r"recall@10 = 1.1 is not reached: .* reaches 1.0000"):
        tune(encoder >> nirank.load("flat"), Queries.of("1"), corpus, recall=1.1)


def test_an_index_is_mapped_and_not_read_into_memory(tmp_path):
    """What faiss says is mapped: in `owned` memory the codes of a flat index would be a vector of its own."""
    index = _opened(Flat(), _corpus(range(40)), tmp_path)
    assert isinstance(index._vectors.base, np.memmap)
    inner = faiss().downcast_index(index.opened.index)
    assert not inner.codes.is_owned
    assert isinstance(index, FaissSearch)


class Given:
    """An encoder whose vectors are given: a text is the number of a row."""

    vectors = "dense"

    def __init__(self, rows, name):
        self.rows, self.fingerprint = rows, name

    def encode(self, queries):
        return self.rows[[int(text) for text in queries.contents]]

    def encode_documents(self, contents):
        return self.rows[[int(text) for text in contents]]


def _odd_vectors():
    return {
        "zero": np.zeros((300, DIM)),
        "one-hot": np.eye(300),
        "equal": np.ones((300, DIM)),
        "two points": np.repeat(np.eye(2, DIM), 150, axis=0),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", list(_odd_vectors()))
def test_as_many_are_found_as_there_are_whatever_the_vectors(tmp_path, caplog, kind, odd):
    corpus, rows = _corpus(range(300)), _odd_vectors()[odd]
    encoder = Component("given", Given(rows, odd))
    index = _opened(_all_probed()[kind], corpus, tmp_path, encoder=encoder)
    asked = Queries.of(["0", "299"]).with_vectors(rows[[0, 299]])
    found = index.generate(asked, 300)
    assert found.lengths.tolist() == [300, 300]
    expected = _exhaustive(rows[[0, 299]].astype(np.float32), rows.astype(np.float32), 300)
    assert [found[query][0].tolist() for query in range(2)] == expected
    assert index.generate(asked, 3).lengths.tolist() == [3, 3]
    assert not caplog.text or "these are searched exactly" in caplog.text


@pytest.mark.parametrize("kind", ["exact", *KINDS])
@pytest.mark.parametrize(("scale", "message"), [(1e300, "not finite in float32"), (1e37, "overflow"), (1j, "complex")])
def test_vectors_beyond_float32_are_refused(tmp_path, kind, scale, message):
    rows = np.random.default_rng(3).standard_normal((300, DIM)) * scale
    index = nirank.load("exact").component.target if kind == "exact" else _all_probed()[kind]
    with pytest.raises(BadInput, match=message):
        _opened(index, _corpus(range(300)), tmp_path, encoder=Component("given", Given(rows, kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_vectors_that_are_taken_do_no_harm(tmp_path, kind):
    rows = np.random.default_rng(3).standard_normal((300, DIM))
    rows *= 0.9e18 / np.linalg.norm(rows, axis=1, keepdims=True)
    index = _opened(_all_probed()[kind], _corpus(range(300)), tmp_path, encoder=Component("given", Given(rows, kind)))
    found = index.generate(Queries.of(["0"]).with_vectors(rows[:1]), 300)
    assert found.lengths.tolist() == [300]
    assert found.docs[0] == 0
    assert np.isfinite(found.scores).all()


def _equal_vectors(kind, folder):
    """An index of five hundred documents with one text among a hundred others."""
    corpus = Documents([f"d{number}" for number in range(600)], ["7"] * 500 + [*map(str, range(1000, 1100))])
    return _opened(kind, corpus, folder)


@pytest.mark.parametrize("kind", ["flat", "sq8", "hnsw"])
def test_all_of_many_equal_vectors_are_found_by_position(tmp_path, kind):
    index = _equal_vectors(_all_probed()[kind], tmp_path)
    found = index.generate(_asked([7, 1005]), 500)
    assert found.lengths.tolist() == [500, 500]
    assert found[0][0].tolist() == [*range(500)]
    np.testing.assert_array_equal(found[1][0], index.exactly(_asked([1005]), 500)[0][0])
