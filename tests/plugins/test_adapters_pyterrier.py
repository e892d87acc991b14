"""PyTerrier both ways: its experiments measure nirank's pipelines, and its transformers stand in these.

Nothing here starts Java: Terrier's own retrievers need its jars, which are downloaded when they are first used.
"""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank import Documents, Queries
from nirank.errors import BadInput, ComponentError
from tests.adapted import Adapted
from tests.conftest import SHARED

pt = pytest.importorskip("pyterrier")
pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries that others wrote

from nirank_adapters import pyterrier as adapter  # noqa: E402 - it needs the package

CORPUS = Documents(["a", "b", "c"], ["a small cat", "a dog", "two cats and a cat"])
QUERIES = Queries(["q1", "q2"], ["cat", "dog"])


@pytest.fixture(scope="module")
def adapted():
    return Adapted.of(SHARED / "nfcorpus")


@pytest.fixture(scope="module")
def bm25():
    return nirank.load("bm25", k1=0.9, b=0.4)


@pytest.fixture(scope="module")
def retrieve(adapted, bm25):
    return adapter.Retrieve(bm25 % 100, adapted.corpus, texts=True)


def _experiment(adapted, *systems):
    """nDCG@10 of each query, for each system, as PyTerrier measures it."""
    qrels = adapter.qrels(adapted.judgments)
    names, topics = [str(place) for place in range(len(systems))], adapter.topics(adapted.queries)
    table = pt.Experiment([*systems], topics, qrels, ["ndcg_cut_10"], names=names, perquery=True)
    return [dict(zip(rows["qid"], rows["value"], strict=True)) for _, rows in table.groupby("name")]


def test_its_experiment_measures_every_query_the_same(adapted, bm25, retrieve):
    ql = nirank.load("ql")
    found, rescored = _experiment(adapted, retrieve, retrieve >> adapter.Rescore(ql, adapted.corpus))
    assert found == adapted.values(adapted.found(bm25 % 100))
    assert rescored == adapted.values(adapted.found(bm25 % 100 >> ql))


def test_its_transformers_stand_in_pipelines(adapted, bm25, retrieve):
    results = retrieve(adapter.topics(adapted.queries))
    generator = nirank.load(adapter.Generator(pt.Transformer.from_df(results)), "theirs")
    assert adapted.values(adapted.found(generator % 100)) == adapted.values(adapted.found(bm25 % 100))
    by_length = pt.apply.doc_score(lambda row: -len(row["text"]))
    ours = adapted.found(bm25 % 100 >> nirank.load(adapter.Scorer(by_length), "by_length"))
    assert [adapted.values(ours)] == _experiment(adapted, retrieve >> by_length)


def test_frames_have_its_columns(bm25):
    topics = adapter.topics(QUERIES).assign(more=[1, 2])
    results = adapter.Retrieve(bm25, CORPUS, texts=True)(topics)
    assert [*results.columns] == ["qid", "query", "more", "docno", "text", "score", "rank"]
    assert results[["qid", "docno", "rank", "more"]].to_numpy().tolist() == [
        ["q1", "c", 0, 1],
        ["q1", "a", 1, 1],
        ["q2", "b", 0, 2],
    ]
    shuffled = results.iloc[[2, 0, 1]].drop(columns=["score", "rank"])
    rescored = adapter.Rescore(bm25, CORPUS)(shuffled).sort_values(["qid", "rank"])
    assert rescored["docno"].tolist() == ["c", "a", "b"]
    assert np.array_equal(rescored["score"], results["score"])


def test_its_operators_take_them(bm25):
    first, second = adapter.Retrieve(bm25 % 1, CORPUS), adapter.Retrieve(nirank.load("ql") % 2, CORPUS)
    found = ((first + second) % 2)(adapter.topics(QUERIES))
    assert set(found["docno"]) == {"a", "b", "c"}
    assert first.search("cat")["docno"].tolist() == ["c"]


def test_another_corpus_is_refused(bm25):
    results = adapter.Retrieve(bm25, CORPUS)(adapter.topics(QUERIES))
    generator = nirank.load(adapter.Generator(pt.Transformer.from_df(results)), "theirs")
    with pytest.raises(ComponentError, match="2 documents that the corpus lacks"):
        generator.search(QUERIES, Documents(["a"], ["a small cat"]))
    with pytest.raises(BadInput, match="no document 'c'"):
        adapter.Rescore(bm25, Documents(["a", "b"], ["x", "y"]))(results)


def test_a_scorer_that_leaves_pairs_out_is_refused(bm25):
    halved = pt.apply.generic(lambda results: results[results["docno"] != "a"])
    with pytest.raises(ComponentError, match="2 rows for 3 pairs"):
        (bm25 >> nirank.load(adapter.Scorer(halved), "halved")).search(QUERIES, CORPUS)


def test_frames_that_lack_columns_are_refused(bm25):
    with pytest.raises(BadInput, match="it lacks query"):
        adapter.Retrieve(bm25, CORPUS)(adapter.topics(QUERIES).drop(columns="query"))
