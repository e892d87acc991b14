"""Search: exact, with one tie rule, and bit for bit the same on every path."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

import nirank
import nirank_lexical
from nirank.data import Candidates, Documents, Queries, TermWeights, write_corpus
from nirank.errors import BadInput, StaleIndex
from nirank.kit.text import (
    Analyzer,
    BM25Weighting,
    DirichletWeighting,
    JelinekMercerWeighting,
    LuceneDirichletWeighting,
    LuceneJelinekMercerWeighting,
    LuceneTFIDFWeighting,
    QueryParser,
    TFIDFWeighting,
    Vocabulary,
)
from nirank.testing import samples
from nirank_lexical import rankers, search, weighing
from nirank_lexical.search import WeightedIndex
from tests.flat import flat
from tests.inverted import of_postings, postings

BM25, QueryLikelihood, TFIDF = map(flat, (rankers.BM25, rankers.QueryLikelihood, rankers.TFIDF))
MAKERS = [BM25, lambda **more: BM25(variant="bm25+", **more), QueryLikelihood, TFIDF]


def _opened(ranker, texts, folder):
    corpus = Documents([f"d{number}" for number in range(len(texts))], texts)
    folder.mkdir(exist_ok=True)
    if not any(folder.iterdir()):
        ranker.build(corpus, folder)
    ranker.open(corpus, folder)
    return ranker


@pytest.fixture(scope="module")
def texts():
    """Documents of few words, so that many are alike; more than the compiled search handles in one range."""
    generator = np.random.default_rng(5)
    lengths = generator.integers(0, 6, 150_000)
    words = generator.zipf(1.3, lengths.sum()).clip(max=400)
    flat, ends = [f"w{word}" for word in words], np.cumsum(lengths)
    return [" ".join(flat[end - length : end]) for length, end in zip(lengths.tolist(), ends.tolist(), strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("indexes") / "many"


@pytest.fixture(scope="module")
def queries():
    generator = np.random.default_rng(6)
    rows = [generator.zipf(1.3, generator.integers(1, 7)).clip(max=420) for _ in range(70)]
    return Queries.of([" ".join(f"w{word}" for word in row) for row in rows] + ["", "nowhere", "w1 " * 300])


def _exhaustive(ranker, text, k):
    """The scores of all documents that share a word with the text, sorted by the tie rule."""
    with_word = [number for number, own in enumerate(ranker.corpus[:]) if not set(own.split()).isdisjoint(text.split())]
    scores = ranker.score(Queries.of([text]), Candidates.of([with_word]))
    order = np.lexsort((with_word, -scores))[:k]
    return np.array(with_word, int)[order].tolist(), scores[order].tolist()


def _same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("offsets", "docs", "scores"))


@pytest.mark.parametrize("make", MAKERS)
def test_batches_and_single_queries_find_the_same_to_the_last_bit(make, texts, folder, queries, monkeypatch):
    pytest.importorskip("numba")
    few, many = (_opened(make(threads=2), texts, folder) for _ in range(2))
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 10**12)
    one_by_one = {k: few.generate(queries, k) for k in (0, 1, 10, 1000, 10**6)}
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0)
    for k, found in one_by_one.items():
        assert _same(many.generate(queries, k), found), k
    assert _same(few.generate(queries, 10), many.generate(queries, 10))


def _drawn_index(documents, shares, highest=9):
    """An index in which each term is in about such a share of the documents."""
    generator = np.random.default_rng(7)
    rows = [np.flatnonzero(generator.random(documents) < share).astype(np.int32) for share in shares]
    docs = np.concatenate(rows)
    counts = generator.zipf(2.2, len(docs)).clip(max=highest)
    lengths = np.bincount(docs, counts, documents).astype(np.int32) + generator.integers(0, 3, documents, np.int32)
    starts = np.cumsum([0, *map(len, rows)])
    frequencies = np.add.reduceat(counts, starts[:-1], dtype=np.int64)
    vocabulary = Vocabulary.of([f"w{term}" for term in range(len(shares))])[0]
    rest = {"starts": starts, "lengths": lengths, "frequencies": frequencies, "vocabulary": vocabulary}
    return of_postings(docs, counts, **rest)


SHARES = [0.7, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 3e-6]


@pytest.mark.parametrize("weighting", [BM25Weighting(0.9, 0.4), DirichletWeighting(1000.0)])
def test_search_among_some_documents_finds_what_the_slow_one_does(weighting):
    pytest.importorskip("nirank_lexical.batch")
    searched = WeightedIndex(_drawn_index(300_000, SHARES), weighting)
    parse = QueryParser(searched.index.vocabulary, Analyzer())
    compiled = searched._batch
    texts = ["w0 w8", "w0 w1 w7 w9", "w2 w3 w6 w10", "w10", "w4 w5 w6 w7 w8", ""]
    of_all = [searched.search([text], parse, 300_000, 1)[1:] for text in texts]
    for share in (0.9, 0.05, 1e-4):
        allowed = np.random.default_rng(9).random(300_000) < share
        passed = [(docs[allowed[docs]], scores[allowed[docs]]) for docs, scores in of_all]
        for k in (1, 10, 200):
            lengths, docs, scores = compiled.among(allowed).search(texts, parse, k, 1)
            assert lengths == [len(some[:k]) for some, _ in passed]
            assert np.array_equal(docs, np.concatenate([some[:k] for some, _ in passed]))
            assert np.array_equal(scores, np.concatenate([some[:k] for _, some in passed]))


@pytest.mark.parametrize("k", [1, 3, 10, 32, 33, 100, 101, 1000, 400_000])
@pytest.mark.parametrize("weighting", [BM25Weighting(0.9, 0.4), BM25Weighting(1.2, 0.0, "bm25+"), TFIDFWeighting()])
def test_terms_omitted_and_sparse_ranges_change_no_bit(weighting, k, monkeypatch):
    pytest.importorskip("numba")
    searched = WeightedIndex(_drawn_index(300_000, SHARES), weighting)
    parse = QueryParser(searched.index.vocabulary, Analyzer())
    named = {searched.index.vocabulary[number]: number for number in range(len(SHARES))}
    assert sorted(named) == sorted(f"w{term}" for term in range(len(SHARES)))
    texts = ["w0 w8", "w0 w1 w7 w9", "w2 w3 w6 w6 w6 w10", "w10", "w0 w0 w1", "w4 w5 w6 w7 w8", " ".join(named), ""]
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 10**12)
    expected = searched.search(texts, parse, k, 1)
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0)
    found = searched.search(texts, parse, k, 1)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_queries_of_more_terms_than_can_be_omitted_are_found_alike(monkeypatch):
    pytest.importorskip("numba")
    searched = WeightedIndex(_drawn_index(200_000, [0.2] * 3 + [1e-4] * 70), BM25Weighting(0.9, 0.4))
    parse = QueryParser(searched.index.vocabulary, Analyzer())
    texts = [" ".join(f"w{term}" for term in range(terms)) for terms in (63, 64, 65, 73)]
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 10**12)
    expected = searched.search(texts, parse, 10, 1)
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0)
    found = searched.search(texts, parse, 10, 1)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_find_the_same_whatever_they_share(threads, texts, folder, queries, monkeypatch):
    batch = pytest.importorskip("nirank_lexical.batch", exc_type=ImportError)
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0)
    expected = _opened(BM25(threads=1), texts, folder).generate(queries, 30)
    for size in (1, 7, 1000):
        monkeypatch.setattr(batch, "_QUERIES_AT_ONCE", size)
        assert _same(_opened(BM25(threads=threads), texts, folder).generate(queries, 30), expected)


@pytest.mark.parametrize(
    ("asked", "threads", "k", "sizes"),
    [
        (64, 1, 10, [64]),
        (100, 1, 10, [64, 36]),
        (64, 2, 10, [32, 32]),
        (65, 2, 10, [33, 32]),
        (120, 2, 10, [30] * 4),
        (300, 2, 10, [64, 64, 64, 64, 44]),
        (27, 2, 10, [27]),  # too little to share
        (120, 2, 20_000, [13] * 9 + [3]),  # as many keys as are held at once
    ],
)
def test_threads_get_even_parts_of_what_is_worth_sharing(asked, threads, k, sizes, texts, folder, monkeypatch):
    batch = pytest.importorskip("nirank_lexical.batch", exc_type=ImportError)
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0)
    taken, part = [], batch.BatchSearch._part
    monkeypatch.setattr(batch.BatchSearch, "_part", lambda self, *of: taken.append(len(of[0])) or part(self, *of))
    ranker = _opened(BM25(threads=threads), texts, folder)
    assert len(ranker.generate(Queries.of(["w1 w2"] * asked), k)) == asked
    assert sorted(taken, reverse=True) == sizes


@pytest.mark.parametrize("weighting", [BM25Weighting(0.9, 0.4), DirichletWeighting(1000.0)])
def test_one_query_is_found_by_its_words_as_in_a_batch_and_as_by_numpy(weighting, monkeypatch):
    batch = pytest.importorskip("nirank_lexical.batch", exc_type=ImportError)
    searched = WeightedIndex(_drawn_index(300_000, SHARES), weighting)
    parse = QueryParser(searched.index.vocabulary, Analyzer())
    compiled = searched._batch
    words = [f"w{number}" for number in (3, 0, 99, 3, 10, 1, 3, 0)]
    texts = ["", "w99", "w9 w8", "the w2 of W2, w2", "w5 w1 \N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", " ".join(words)]
    texts += ["w1 " * repeated + "w4" for repeated in (63, 64)]
    allowed = np.random.default_rng(9).random(300_000) < 0.3
    for mask in (None, allowed):
        for k in (1, 10, 32, 33, 1000):
            for text in texts:
                asked = parse([text])
                monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 10**12)
                _, docs, scores = searched.search([text], parse, k, 1, mask)
                monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0)
                for found in (searched.search([text], parse, k, 1, mask), compiled.among(mask)._part(asked, k)):
                    assert [column.tobytes() for column in found[1:]] == [docs.tobytes(), scores.tobytes()], (text, k)
                if len(numbers := parse.numbers(text)) <= batch.MOST_WORDS:
                    docs_of_one, scores_of_one = compiled.among(mask).one(numbers, k)
                    assert (docs_of_one.tobytes(), scores_of_one.tobytes()) == (docs.tobytes(), scores.tobytes())


def test_kept_code_finds_the_same_in_a_process_without_numba(tmp_path):
    pytest.importorskip("numba")
    program = """
from nirank_lexical import search
search._SCORES_WORTH_LOADING = 10**12
for k in (10, 33, 1000):
    slow = ranker.generate(Queries.of(["a cat", "dogs"]), k), ranker.generate(Queries.of("cats dogs"), k)
    search._SCORES_WORTH_LOADING = 0
    fast = ranker.generate(Queries.of(["a cat", "dogs"]), k), ranker.generate(Queries.of("cats dogs"), k)
    search._SCORES_WORTH_LOADING = 10**12
    print(*(one.docs.tobytes() == other.docs.tobytes() and one.scores.tobytes() == other.scores.tobytes()
            for one, other in zip(slow, fast)))
print("numba" in sys.modules)
"""
    from nirank_lexical.batch import KERNEL

    assert KERNEL.call  # it is kept from here on
    assert _run(SEARCH + program, tmp_path) == ["True"] * 6 + ["False"]


def test_a_workspace_that_another_thread_takes_first_is_made_anew(tmp_path):
    pytest.importorskip("numba")

    class Contested(list):
        """Looks full when it is looked at, and is empty by the time of taking."""

        def __bool__(self):
            return True

    ranker = _opened(BM25(), ["cat", "dog"], tmp_path / "index")
    ranker._searched._batch._spare = Contested()
    assert ranker._searched._batch.search(["dog"], ranker._parse, 1, 1)[1].tolist() == [1]


def test_a_query_that_is_not_text_is_told_by_its_number_among_all(texts, folder, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0)
    with pytest.raises(BadInput, match="query 150 is of type int"):
        _opened(BM25(threads=2), texts, folder).generate(Queries.of(["w1"] * 150 + [3] + ["w2"] * 9), 5)


@pytest.mark.parametrize("make", MAKERS)
def test_generate_is_the_exhaustive_ranking(make, texts, folder, queries):
    ranker = _opened(make(), texts, folder)
    found = ranker.generate(queries.take(slice(0, 8)), 500)
    for row, text in enumerate(queries.contents[:8]):
        docs, scores = found[row]
        assert (docs.tolist(), scores.tolist()) == _exhaustive(ranker, text, 500)


@pytest.mark.parametrize("loading", [0, 10**12])
def test_fewer_are_a_prefix_and_ties_go_by_ordinal(texts, folder, queries, loading, monkeypatch):
    if not loading:
        pytest.importorskip("numba")
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", loading)
    ranker = _opened(BM25(), texts, folder)
    best = ranker.generate(queries, 1000)
    assert _same(ranker.generate(queries, 10), best.top(10))
    tied = (np.diff(best.scores) == 0) & (np.diff(best.rows) == 0)
    assert tied.sum() > 1000
    assert (np.diff(best.docs)[tied] > 0).all()


@pytest.mark.parametrize("make", MAKERS)
def test_pairs_score_as_they_were_found(make, texts, folder, queries):
    ranker = _opened(make(), texts, folder)
    found = ranker.generate(queries, 200)
    assert ranker.score(queries, found).tolist() == found.scores.tolist()
    shuffled = np.random.default_rng(1).permutation(found.pairs)
    shuffled = shuffled[np.argsort(found.rows[shuffled], kind="stable")]
    mixed = Candidates(found.offsets, found.docs[shuffled], found.scores[shuffled])
    assert ranker.score(queries, mixed).tolist() == found.scores[shuffled].tolist()


def test_pairs_without_a_match_score_0_or_their_prior(tmp_path):
    texts, asked = ["cat", "dog dog", ""], Queries.of(["cat", "bird"])
    pairs = Candidates.of([[0, 1, 2, 7], [0, 1]])
    bm25 = _opened(BM25(), texts, tmp_path / "index").score(asked, pairs)
    assert bm25[0] > 0
    assert bm25[1:].tolist() == [0, 0, 0, 0, 0]
    likely = _opened(QueryLikelihood(mu=2.0), texts, tmp_path / "index").score(asked, pairs)
    np.testing.assert_allclose(likely, [np.log(1 + 3 / 2) + np.log(2 / 3), np.log(2 / 4), 0, 0, 0, 0], rtol=1e-6)


def test_a_repeated_query_term_counts_as_often_as_it_occurs(tmp_path):
    ranker = _opened(BM25(), ["cat dog", "dog"], tmp_path / "index")
    once, thrice = (ranker.generate(Queries.of([text]), 5).scores for text in ("cat dog", "cat Cats cat dog"))
    np.testing.assert_allclose(thrice[0], once[0] + 2 * ranker.generate(Queries.of(["cat"]), 5).scores[0], rtol=1e-6)


@pytest.mark.parametrize("loading", [0, 10**12])
@pytest.mark.parametrize("texts", [["", "the", ""], ["cat"], ["cat"] * 3])
def test_tiny_corpora_and_odd_queries_are_fine(texts, loading, tmp_path, monkeypatch):
    if not loading:
        pytest.importorskip("numba")
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", loading)
    ranker = _opened(BM25(), texts, tmp_path / "index")
    odd = Queries.of(["", "the", "cat", "title:cat~3 AND -(x)", "\x00\ud800 🙂", "cat " * 5000])
    found = ranker.generate(odd, 10)
    cats = [number for number, text in enumerate(texts) if text == "cat"]
    assert [found[row][0].tolist() for row in range(6)] == [[], [], cats, [], [], cats]
    assert ranker.generate(Queries.of([]), 10).pairs == 0


def test_words_that_look_like_operators_are_words(tmp_path):
    ranker = _opened(BM25(stopwords=()), ["cat and dog", "cat", "not a cat"], tmp_path / "index")
    assert ranker.generate(Queries.of(["NOT"]), 5).docs.tolist() == [2]
    assert ranker.generate(Queries.of(["cat AND bird"]), 5).docs.tolist() == [0, 1, 2]


def test_a_component_without_an_index_and_a_negative_k_are_refused(tmp_path):
    with pytest.raises(StaleIndex, match="no index"):
        BM25().generate(Queries.of(["cat"]), 10)
    with pytest.raises(BadInput, match="k = -1"):
        _opened(BM25(), ["cat"], tmp_path / "index").generate(Queries.of(["cat"]), -1)
    with pytest.raises(BadInput, match="threads"):
        BM25(threads=0)
    with pytest.raises(BadInput, match="segment"):
        BM25(segment=0)


def test_an_index_of_fewer_documents_is_refused(tmp_path):
    BM25().build(Documents(["a"], ["cat"]), tmp_path)
    with pytest.raises(StaleIndex, match="1 documents"):
        BM25().open(Documents(["a", "b"], ["cat", "dog"]), tmp_path)


def test_rankers_that_analyse_alike_share_an_index_key():
    keys = [ranker.index_key for ranker in (BM25(), BM25(2.0, variant="atire"), QueryLikelihood(mu=7.0), TFIDF())]
    assert all(key == keys[0] for key in keys)
    assert BM25(stemmer="english").index_key != keys[0]


def test_a_repr_reads_back():
    written = repr(BM25(k1=1.2, variant="bm25l", delta=0.3, stopwords=["x"]))
    assert repr(eval(written)) == written
    assert "k1=1.2" in written


WEIGHTINGS = [
    *(BM25Weighting(1.2, 0.75, variant) for variant in ("lucene", "robertson", "atire", "bm25l", "bm25+")),
    BM25Weighting(0.0, 0.0, lengths="byte"),
    *(TFIDFWeighting(), LuceneTFIDFWeighting(), DirichletWeighting(1000.0), JelinekMercerWeighting(0.1)),
    *(LuceneDirichletWeighting(1000.0), LuceneJelinekMercerWeighting(0.1)),
]


@pytest.mark.parametrize("at_once", [1000, 1 << 20])
@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_compiled_code_weighs_postings_as_numpy_does_to_the_last_bit(weighting, at_once, monkeypatch):
    pytest.importorskip("numba")
    index = _drawn_index(20_000, SHARES[:8], highest=300)
    slow, fast = WeightedIndex(index, weighting), WeightedIndex(index, weighting)
    fast._batch  # noqa: B018 (is loaded now)
    assert fast._weighing.is_able == weighting.is_product
    everything = np.arange(8)
    slow.require(everything)
    monkeypatch.setattr(weighing, "_POSTINGS_AT_ONCE", at_once)
    fast.require(everything[::-2])
    fast.require(everything)
    for name in ("docs", "impacts", "most"):
        assert getattr(fast, name).tobytes() == getattr(slow, name).tobytes(), name
    docs, counts = postings(index)
    assert counts.max() > 16
    assert np.array_equal(slow.docs, docs)
    per_term = weighting.per_term(index)[np.repeat(everything, index.document_frequencies)]
    each = weighting.impacts(counts.astype(float), per_term, weighting.per_document(index)[docs])
    assert slow.impacts.tobytes() == each.astype(np.float32).tobytes()
    assert slow.most.tobytes() == np.maximum.reduceat(slow.impacts, index.starts[:-1]).tobytes()


def test_postings_are_unpacked_for_the_terms_of_queries_and_once(texts, folder, monkeypatch):
    ranker = _opened(BM25(), texts, folder)
    searched, unpacked = ranker._searched, []
    weigh = searched.weigh
    monkeypatch.setattr(searched, "weigh", lambda terms: unpacked.append(terms.tolist()) or weigh(terms))
    for text in ("w1 w7", "w7 w7", "nowhere", "w9 w1 w8", ""):
        ranker.generate(Queries.of([text]), 10)
        ranker.score(Queries.of([text]), Candidates.of([[1, 2]]))
    words = [[searched.index.vocabulary[term] for term in terms] for terms in unpacked]
    assert [sorted(some) for some in words] == [["w1", "w7"], ["w8", "w9"]]


def test_threads_that_search_one_ranker_at_once_find_the_same(texts, folder, queries):
    pytest.importorskip("numba")
    ranker = _opened(BM25(), texts, folder)
    expected, found = ranker.generate(queries, 20), []
    workers = [threading.Thread(target=lambda: found.append(ranker.generate(queries, 20))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    assert all(_same(each, expected) for each in found)


def test_threads_that_ask_one_text_after_the_other_unpack_their_terms_between_them(texts, folder, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0)
    asked = [f"w{one} w{other} nowhere" for one in range(12) for other in range(12)]
    before, ranker = (_opened(BM25(), texts, folder) for _ in range(2))
    expected = [before.generate(Queries.of_one(text), 20) for text in asked]
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda text: ranker.generate(Queries.of_one(text), 20), asked)]
    assert all(_same(*both) for both in zip(found, expected, strict=True))
    assert any(each.pairs for each in found)


SEARCH = """
import sys
from pathlib import Path
from nirank.data import Documents
from nirank.data import Queries
from nirank_lexical.rankers import BM25
corpus = Documents(["a", "b"], ["cat", "dog"])
ranker = BM25()
ranker.build(corpus, Path(sys.argv[1]))
ranker.open(corpus, Path(sys.argv[1]))
"""


def _run(program, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_search_loads_neither_numba_nor_anything_heavier(tmp_path):
    program = """
print(ranker.generate(Queries.of("a cat"), 5).docs.tolist())
print(sorted({"numba", "scipy", "torch", "pandas", "bm25s", "transformers"} & set(sys.modules)))
"""
    assert _run(SEARCH + program, tmp_path) == ["[0]", "[]"]


def test_the_first_hit_of_a_new_process_takes_less_than_a_second_of_its_time(tmp_path):
    _indexed(_corpus(1, 2000), tmp_path)
    program = f"""
import time
from pathlib import Path
import nirank  # noqa: E402
from nirank.data import ArrowCorpus
corpus = ArrowCorpus(Path({str(tmp_path)!r}) / "1.arrow")
ranking = nirank.load("bm25") % 10
ranking.index(corpus, Path({str(tmp_path)!r}) / "indexes")
found = ranking.search("w1 w2", corpus)
print(len(corpus.ids.take(found.docs)), time.process_time() < 1)
"""
    assert _run(program) == ["10", "True"]


def _corpus(state, documents):
    generator = np.random.default_rng(state)
    texts = [" ".join(f"w{word}" for word in generator.integers(0, 300, 12)) for _ in range(documents)]
    return state, [f"d{number}" for number in range(documents)], texts


def _indexed(corpus, folder):
    state, ids, texts = corpus
    written = write_corpus(folder / f"{state}.arrow", [{"id": ids, "text": texts}], ["text"])
    (nirank.load("bm25") % 10).index(written, folder / "indexes")
    return written


_SEARCHING = """
import sys
import time
from pathlib import Path
import nirank  # noqa: E402
from nirank.data import ArrowCorpus
from nirank_lexical import search
search._SCORES_WORTH_LOADING = 0
folder = Path(sys.argv[1])
queries = [f"w{first} w{first + 1} w{first * 7 % 300}" for first in range(100)]
states, laps = [], 0
while not (folder / "end").exists():
    for state in (1, 2):
        if state == 1 or (folder / "built").exists():
            corpus, ranking = ArrowCorpus(folder / f"{state}.arrow"), nirank.load("bm25") % 10
            ranking.index(corpus, folder / "indexes")
            found = ranking.search(queries, corpus)
            states.append((state, found.docs.tobytes() + found.scores.tobytes()))
    laps += 1
    (folder / f"lap-{sys.argv[2]}").write_text(str(laps))
print(*sorted({(state, hash(bits)) for state, bits in states}), sep="\\n")
"""


def test_two_processes_search_an_index_while_a_third_builds_its_successor(tmp_path):
    pytest.importorskip("numba")
    _indexed(_corpus(1, 2000), tmp_path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "0"}
    searching = [
        subprocess.Popen(
            [sys.executable, "-c", _SEARCHING, str(tmp_path), str(number)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for number in range(2)
    ]  # fmt: skip
    _wait_for_laps(tmp_path, searching)
    building = f"""
from pathlib import Path
import nirank  # noqa: E402
from nirank.data import ArrowCorpus
from nirank_lexical import inversion
inversion.CHARACTERS = 20_000
corpus = ArrowCorpus(Path({str(tmp_path)!r}) / "2.arrow")
(nirank.load("bm25", threads=2, segment=10_000) % 10).index(corpus, Path({str(tmp_path)!r}) / "indexes")
"""
    state, ids, texts = _corpus(2, 3000)
    write_corpus(tmp_path / f"{state}.arrow", [{"id": ids, "text": texts}], ["text"])
    _run(building)
    (tmp_path / "built").touch()
    _wait_for_laps(tmp_path, searching)
    (tmp_path / "end").touch()
    answers = [process.communicate(timeout=60) for process in searching]
    assert [errors for _, errors in answers] == ["", ""]
    first, second = (answer.splitlines() for answer, _ in answers)
    assert first == second
    assert len(first) == 2  # one answer for each state of the corpus, however often it was asked


def _wait_for_laps(folder, processes, laps=3):
    """Until each process has gone so many laps more."""
    files = [folder / f"lap-{number}" for number in range(len(processes))]
    begun = [int(file.read_text() or 0) if file.exists() else 0 for file in files]
    deadline = time.monotonic() + 100
    while any(
        not file.exists() or int(file.read_text() or 0) < lap + laps for file, lap in zip(files, begun, strict=True)
    ):
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes), [p.communicate() for p in processes if p.poll()]
        time.sleep(0.02)


def test_without_numba_batches_are_found_all_the_same_and_that_is_told_once(tmp_path):
    program = """
import logging
from nirank_lexical import rankers, search
logging.basicConfig(stream=sys.stdout, format="%(levelname)s")
few = ranker.generate(Queries.of(["a cat", "dogs"]), 5)
sys.modules["numba"] = None  # as where it is not installed
search._SCORES_WORTH_LOADING = 0
for opened in range(2):
    ranker.open(corpus, Path(sys.argv[1]))
    many = ranker.generate(Queries.of(["a cat", "dogs"]), 5)
    print(many.docs.tolist() == few.docs.tolist() == [0, 1], many.scores.tobytes() == few.scores.tobytes())
"""
    assert _run(SEARCH + program, tmp_path) == ["WARNING", "True", "True", "True", "True"]


def test_functions_are_compiled_also_where_the_result_cannot_be_kept():
    pytest.importorskip("numba")
    program = """
import numba.core.caching
numba.core.caching.CacheImpl._locator_classes = []  # as where no folder can be written
from nirank.kit import compiled
print(compiled(lambda number: 2 * number)(4))
"""
    assert _run(program) == ["8"]


_NAMES = ("bm25", "bm25f", "ql", "sdm", "tfidf")


def test_every_ranker_is_registered_to_find_and_to_score():
    added = []

    class Registry:
        def add(self, kind, name, target, *, tiny=None, extra=None):
            added.append((kind, name))
            assert (target == tiny) == (name != "bm25f")  # which needs fields
            assert extra == "lexical"

    nirank_lexical.nirank_register(Registry())
    assert sorted(added) == [(kind, name) for kind in ("generator", "scorer") for name in _NAMES]


# Weighted terms


SETTINGS = {"language": "english", "stemmer": "porter", "stopwords": list(Analyzer().stopwords)}
RANKERS = [("bm25", {}), ("ql", {"mu": 10.0}), ("ql", {"smoothing": "jelinek-mercer"}), ("tfidf", {})]


def _weighted(*queries, analysis=SETTINGS):
    return Queries.of(["?"] * len(queries)).with_vectors(TermWeights.of(queries, analysis))


@pytest.mark.parametrize(("name", "settings"), RANKERS)
@pytest.mark.parametrize("compiled", [False, True])
def test_counts_as_weights_are_the_query_itself(monkeypatch, name, settings, compiled):
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0 if compiled else 10**12)
    texts = ["small small cat", "fast car on the bridge", "", "unknownword", "zebra the"]
    corpus, ranker = samples.corpus(), nirank.load(name, **settings)
    counts = _weighted(*(Counter(Analyzer()(text)) for text in texts))
    plain = ranker.search(texts, corpus)
    found = ranker.component.target.generate(counts, 1000)
    for column in ("offsets", "docs", "scores"):
        assert getattr(found, column).tolist() == getattr(plain, column).tolist()
    pairs = Candidates.of([range(len(corpus))] * len(texts), corpus=corpus)
    scored = ranker.component.target.score(counts, pairs)
    assert scored.tolist() == ranker.score(Queries.of(texts), pairs).tolist()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_weight_multiplies_what_a_term_is_worth(monkeypatch, compiled):
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0 if compiled else 10**12)
    corpus, bm25 = samples.corpus(), nirank.load("bm25")
    everything = Candidates.of([range(len(corpus))], corpus=corpus)
    small, car = (bm25.score(Queries.of(text), everything).astype(np.float64) for text in ("small", "car"))
    docs, scores = bm25.component.target.generate(_weighted({"small": 0.25, "car": 1.5, "zebra": 0.0}), 50)[0]
    assert np.allclose(scores, (0.25 * small + 1.5 * car)[docs], rtol=1e-6)
    assert set(docs.tolist()) == set(np.flatnonzero(small + car).tolist())


def test_weighted_terms_that_an_index_cannot_search_are_refused():
    corpus, bm25 = samples.corpus(), nirank.load("bm25")
    bm25.search("cat", corpus)
    with pytest.raises(BadInput, match="the query term 'cat' has the weight -1"):
        bm25.component.target.generate(_weighted({"dog": 1.0, "cat": -1.0}), 5)
    with pytest.raises(BadInput, match="stemmer = None for the query, 'porter' for the index"):
        bm25.component.target.generate(_weighted({"cat": 1.0}, analysis={**SETTINGS, "stemmer": None}), 5)
    with pytest.raises(BadInput, match="must be finite"):
        _weighted({"cat": float("nan")})


def test_weighted_terms_are_taken_apart_and_put_together():
    weights = TermWeights.of([{"a": 1.0, "b": 2.0}, {}, {"c": 3.0}], {})
    assert [weights.query(row) for row in range(3)] == [{"a": 1, "b": 2}, {}, {"c": 3}]
    assert weights[np.array([2, 0])].query(1) == {"a": 1, "b": 2}
    assert len(weights[1]) == 1
    again = TermWeights.concatenate([weights[:1], weights[1:]])
    assert (again.offsets.tolist(), list(again.terms)) == ([0, 2, 2, 3], ["a", "b", "c"])
