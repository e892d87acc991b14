"""BM25F against its formula, one term at a time in plain Python, and against BM25 where both are the same."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, DamagedFile, UnknownName
from nirank.experiments import run as experiment
from nirank.kit.text import Analyzer
from nirank_lexical import bm25f, fields, search
from nirank_lexical.inversion import write_index
from nirank_lexical.postings import InvertedIndex
from tests.flat import flat
from tests.inverted import postings

BM25F = flat(bm25f.BM25F)
NAMES = ("title", "text", "tags")
QUERIES = ["w1 w2", "w3 w3 w40", "", "nowhere w5", "w1 w2 w3 w4 w5 w6 w7 w8"]
WEIGHTS = {"title": 3.0, "text": 1.0, "tags": 0.5}
B = {"title": 0.9, "text": 0.3, "tags": 1.0}


def _drawn(documents=400, seed=3):
    generator = np.random.default_rng(seed)
    texts = {}
    for name, longest in zip(NAMES, (4, 15, 3), strict=True):
        rows = [generator.zipf(1.4, generator.integers(0, longest)).clip(max=60) for _ in range(documents)]
        texts[name] = [" ".join(f"w{word}" for word in row) for row in rows]
    contents = [" ".join(filter(None, parts)) for parts in zip(*texts.values(), strict=True)]
    return Documents([f"d{number}" for number in range(documents)], contents, texts)


@pytest.fixture(scope="module")
def corpus():
    return _drawn()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


def _slowly(corpus, query, weights, k1, b):
    """The formula, for every document; nothing of the index takes part."""
    counts = {name: [Counter(text.split()) for text in corpus.field(name)[:]] for name in weights}
    means = {name: sum(sum(own.values()) for own in rows) / len(rows) for name, rows in counts.items()}
    scores, dfs = [], {}
    for term in query.split():
        dfs[term] = sum(any(counts[name][doc][term] for name in weights) for doc in range(len(corpus)))
    for doc in range(len(corpus)):
        score = 0.0
        for term in query.split():
            df = dfs[term]
            tf = 0.0
            for name, weight in weights.items():
                if counts[name][doc][term]:
                    length = sum(counts[name][doc].values())
                    tf += weight * counts[name][doc][term] / (1 - b[name] + b[name] * length / means[name])
            score += math.log(1 + (len(corpus) - df + 0.5) / (df + 0.5)) * (tf / (k1 + tf) if tf else 0)
        scores.append(score)
    return np.array(scores)


@pytest.mark.parametrize(
    ("weights", "b"),
    [(WEIGHTS, B), ({"tags": 2.0, "title": 1.0}, dict.fromkeys(NAMES, 0.0)), ({"text": 0.0, "title": 1.0}, B)],
)
def test_scores_are_those_of_the_formula(corpus, weights, b):
    own = {name: value for name, value in b.items() if name in weights}
    stage = nirank.load("bm25f", fields=weights, k1=1.3, b=own)
    found = (stage % 1000).search(QUERIES, corpus)
    for row, query in enumerate(QUERIES):
        docs, scores = found[row]
        expected = _slowly(corpus, query, weights, 1.3, b)
        assert sorted(docs.tolist()) == np.flatnonzero(expected > 0).tolist()
        assert np.allclose(scores, expected[docs], rtol=2e-6, atol=0)
        assert (np.diff(scores) <= 0).all()
        assert (np.diff(docs)[np.diff(scores) == 0] > 0).all()
    assert found.pairs > 500


def test_scoring_pairs_and_compiled_search_give_the_same_bits(corpus, monkeypatch):
    pytest.importorskip("numba")
    stage = nirank.load("bm25f", fields=WEIGHTS, b=B)
    one_by_one = (stage % 50).search(QUERIES, corpus)
    assert np.array_equal(stage.score(Queries.of(QUERIES), one_by_one), one_by_one.scores)
    monkeypatch.setattr(search, "_SCORES_WORTH_LOADING", 0)
    compiled = (nirank.load("bm25f", fields=WEIGHTS, b=B) % 50).search(QUERIES, corpus)
    assert np.array_equal(compiled.docs, one_by_one.docs)
    assert np.array_equal(compiled.scores, one_by_one.scores)


@pytest.mark.parametrize("name", NAMES)
def test_one_field_of_weight_1_is_bm25(corpus, name):
    one = (nirank.load("bm25f", fields={name: 1.0}, k1=0.7, b=0.6) % 1000).search(QUERIES, corpus)
    other = (nirank.load("bm25", field=name, k1=0.7, b=0.6) % 1000).search(QUERIES, corpus)
    assert np.array_equal(one.offsets, other.offsets)
    assert np.array_equal(one.docs, other.docs)
    assert np.allclose(one.scores, other.scores, rtol=3e-7, atol=0)


def test_equal_weights_are_not_bm25_of_the_whole_text(corpus):
    """Each field has a length of its own; without normalisation they are the same."""
    both = {"title": 1.0, "text": 1.0}
    for b, same in ((0.0, True), (0.4, False)):
        fielded = (nirank.load("bm25f", fields=both, b=b) % 1000).search(QUERIES, corpus)
        whole = (nirank.load("bm25", field=list(both), b=b) % 1000).search(QUERIES, corpus)
        assert fielded.pairs == whole.pairs
        assert np.allclose(fielded.scores, whole.scores, rtol=1e-6) == same


@pytest.mark.parametrize("at_once", [1, 7, 1 << 22])
def test_the_merged_index_has_the_postings_of_each_field(corpus, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(fields, "_POSTINGS_AT_ONCE", at_once)
    analyzer, merged, columns = Analyzer(), tmp_path / "merged", [corpus.field(name) for name in NAMES]
    merged.mkdir()
    fields.write_fields(columns, analyzer, merged, 1 << 20, 1)
    index = InvertedIndex.load(merged, len(NAMES))
    assert sorted(path.suffix for path in merged.iterdir()) == [".npy"] * 9  # nothing is left of the fields alone
    for place, column in enumerate(columns):
        alone = tmp_path / str(place)
        alone.mkdir()
        write_index(column, analyzer, alone)
        own = InvertedIndex.load(alone)
        assert np.array_equal(index.lengths[:, place], own.lengths)
        for term in range(len(own.vocabulary)):
            (number,) = index.vocabulary.find([own.vocabulary[term]])
            docs, counts = index.of(slice(number, number + 1))
            has = counts[:, place] > 0
            expected = own.of(slice(term, term + 1))
            assert np.array_equal(docs[has], expected[0])
            assert np.array_equal(counts[has, place], expected[1])
    _, counts = postings(index)
    assert (counts.sum(axis=1) > 0).all()
    assert index.frequencies.sum() == counts.sum() == index.lengths.sum()


def test_weights_and_the_order_of_fields_share_an_index_and_other_texts_do_not(corpus):
    folders = []
    for given, documents in (
        ({"title": 3.0, "text": 1.0}, corpus),
        ({"text": 2.0, "title": 0.1}, corpus),
        ({"text": 2.0}, corpus),
        ({"title": 3.0, "text": 1.0}, Documents(corpus.ids, corpus[:], {"title": corpus[:], "text": corpus[:]})),
    ):
        stage = nirank.load("bm25f", fields=given)
        stage.search("w1", documents)
        folders.append(stage.component.opened.folder)
    assert folders[0] == folders[1]
    assert len(set(folders)) == 3


def test_fields_that_are_empty_everywhere_match_nothing(corpus):
    texts = {"title": [""] * len(corpus), "text": corpus[:]}
    emptied = Documents(corpus.ids, corpus[:], texts)
    found = (nirank.load("bm25f", fields={"title": 2.0, "text": 1.0}) % 1000).search(QUERIES, emptied)
    alone = (nirank.load("bm25") % 1000).search(QUERIES, corpus)
    assert np.array_equal(found.docs, alone.docs)
    assert not (nirank.load("bm25f", fields={"title": 2.0}) % 10).search(QUERIES, emptied).pairs


def test_expanded_queries_and_the_algebra_take_it(corpus):
    stage = nirank.load("bm25f", fields=WEIGHTS)
    expanded = nirank.load("bm25") % 5 >> nirank.load("rm3") >> stage % 20
    mixed = (stage % 20 | nirank.load("bm25") % 20) >> 0.5 * stage + nirank.load("ql")
    for ranking in (expanded, mixed):
        assert ranking.search(QUERIES[:2], corpus).pairs >= 40


EXPERIMENT = """
collection = "beir:{folder}"
[pipelines]
weighted = "fielded % 5"
both = "within % 5"
[stage.fielded]
use = "bm25f"
fields = {{title = 2.0, text = 1.0}}
b = {{title = 0.7}}
[stage.within]
use = "bm25"
field = ["title", "text"]
"""


def test_an_experiment_file_may_set_it_and_the_resolved_one_runs_alike(tmp_path):
    rows = [{"_id": "a", "title": "cat", "text": "a dog"}, {"_id": "b", "title": "dog", "text": "a cat and a car"}]
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "1", "text": "dog car"}))
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n")
    (tmp_path / "try.toml").write_text(EXPERIMENT.format(folder=tmp_path))
    first = experiment.run(tmp_path / "try.toml", tmp_path / "out").systems
    again = experiment.run(tmp_path / "out" / "experiment.toml").systems
    corpus = nirank.collection(f"beir:{tmp_path}").corpus
    stage = nirank.load("bm25f", fields={"title": 2.0, "text": 1.0}, b={"title": 0.7, "text": 0.4})
    expected = (stage % 5).search("dog car", corpus)
    for systems in (first, again):
        assert np.array_equal(systems["weighted"].run.scores, expected.scores)
        assert systems["both"].run.pairs == 2


def test_what_makes_no_sense_is_told(corpus):
    with pytest.raises(BadInput, match="needs the setting 'fields'"):
        nirank.load("bm25f")
    with pytest.raises(BadInput, match="no field 'body' in <Documents: 400>: their fields are title, text, tags"):
        nirank.load("bm25f", fields={"body": 1.0}).search("w1", corpus)
    for weights in ({}, {"title": 0.0}, {"title": -1.0, "text": 1.0}, {"title": math.inf}):
        with pytest.raises(BadInput, match="the weights of fields"):
            nirank.load("bm25f", fields=weights)
    with pytest.raises(BadInput, match="b is 2"):
        nirank.load("bm25f", fields={"title": 1.0}, b={"title": 2.0})
    with pytest.raises(UnknownName, match=r"field with a weight.*'text'"):
        nirank.load("bm25f", fields={"title": 1.0}, b={"text": 0.4})


def test_files_of_other_shapes_are_refused(corpus, tmp_path):
    maker = BM25F({"title": 1.0, "text": 2.0})
    maker.build(corpus, tmp_path)
    for wrong in (1, 3):
        with pytest.raises(DamagedFile):
            InvertedIndex.load(tmp_path, wrong)
    with pytest.raises(DamagedFile):
        InvertedIndex.load(tmp_path)


def test_pairs_beyond_the_corpus_are_worth_nothing(corpus):
    stage = nirank.load("bm25f", fields=WEIGHTS)
    stage.search("w1", corpus)
    pairs = Candidates.of([[len(corpus) + 3, 0]])
    assert stage.component.target.score(Queries.of("w1"), pairs)[0] == 0
