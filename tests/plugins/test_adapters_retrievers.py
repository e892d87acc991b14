"""Retrievers and rerankers of LangChain and LlamaIndex: what they return is measured as what nirank finds."""

from __future__ import annotations

import asyncio

import pytest

import nirank
from nirank import Documents
from nirank.errors import BadInput
from nirank_adapters.dictionaries import from_dict
from tests.adapted import Adapted
from tests.conftest import SHARED

CORPUS = Documents(["a", "b", "c"], ["a small cat", "a dog", "two cats and a cat"])


@pytest.fixture(scope="module")
def adapted():
    return Adapted.of(SHARED / "nfcorpus")


@pytest.fixture(scope="module")
def bm25():
    return nirank.load("bm25", k1=0.9, b=0.4)


@pytest.fixture
def lengths():
    return nirank.score_by(lambda query, text: len(text))


# LangChain


def _langchain():
    pytest.importorskip("langchain_core")
    from nirank_adapters import langchain

    return langchain


def _of_documents(lists):
    return from_dict({q: {each.id: each.metadata["relevance_score"] for each in found} for q, found in lists.items()})


def test_langchain_finds_and_reranks_the_same(adapted, bm25):
    langchain, ql = _langchain(), nirank.load("ql")
    retriever = langchain.Retriever(ranking=bm25 % 100, corpus=adapted.corpus)
    found = {query: retriever.invoke(text) for query, text in adapted.asked.items()}
    assert adapted.values(_of_documents(found)) == adapted.values(adapted.found(bm25 % 100))
    reranker = langchain.Reranker(scoring=ql, corpus=adapted.corpus)
    reranked = {query: reranker.compress_documents(found[query], text) for query, text in adapted.asked.items()}
    assert adapted.values(_of_documents(reranked)) == adapted.values(adapted.found(bm25 % 100 >> ql))
    assert all(each.page_content == adapted.texts[each.id] for each in reranked[next(iter(reranked))])


def test_langchain_chains_and_waits(bm25):
    langchain = _langchain()
    retriever = langchain.Retriever(ranking=bm25 % 2, corpus=CORPUS)
    chain = retriever | (lambda documents: [document.id for document in documents])
    assert chain.invoke("cat") == ["c", "a"]
    assert chain.batch(["cat", "dog"]) == [["c", "a"], ["b"]]
    assert [each.id for each in asyncio.run(retriever.ainvoke("cat"))] == ["c", "a"]


def test_langchain_ranks_texts_of_others(lengths):
    langchain = _langchain()
    from langchain_core.documents import Document

    with pytest.raises(BadInput, match="top_n = -1"):
        langchain.Reranker(scoring=lengths, top_n=-1).compress_documents([], "any")
    reranker = langchain.Reranker(scoring=lengths, top_n=2)
    given = [Document("xx", metadata={"page": 3}), Document("x"), Document("xxx")]
    ranked = reranker.compress_documents(given, "any")
    assert [each.page_content for each in ranked] == ["xxx", "xx"]
    assert ranked[1].metadata == {"page": 3, "relevance_score": 2.0}
    assert given[0].metadata == {"page": 3}
    assert list(reranker.compress_documents([], "any")) == []


def test_langchain_refuses_what_it_cannot_vouch_for(bm25):
    langchain = _langchain()
    from langchain_core.documents import Document

    with pytest.raises(BadInput, match="bm25 needs the whole corpus"):
        langchain.Reranker(scoring=bm25).compress_documents([Document("x")], "any")
    joined = langchain.Reranker(scoring=bm25, corpus=CORPUS)
    for document, words in [
        (Document("a small cat"), "no id"),
        (Document("a small cat", id="z"), "there is no document 'z'"),
        (Document("a small", id="a"), "another content"),
    ]:
        with pytest.raises(BadInput, match=words):
            joined.compress_documents([document], "cat")


# LlamaIndex


def _llamaindex():
    pytest.importorskip("llama_index.core")
    from nirank_adapters import llamaindex

    return llamaindex


def _of_nodes(lists):
    return from_dict({query: {each.node_id: each.score for each in found} for query, found in lists.items()})


def test_llamaindex_finds_and_reranks_the_same(adapted, bm25):
    llamaindex, ql = _llamaindex(), nirank.load("ql")
    retriever = llamaindex.Retriever(bm25 % 100, adapted.corpus)
    found = {query: retriever.retrieve(text) for query, text in adapted.asked.items()}
    assert adapted.values(_of_nodes(found)) == adapted.values(adapted.found(bm25 % 100))
    reranker = llamaindex.Reranker(scoring=ql, corpus=adapted.corpus)
    reranked = {
        query: reranker.postprocess_nodes(found[query], query_str=text) for query, text in adapted.asked.items()
    }
    assert adapted.values(_of_nodes(reranked)) == adapted.values(adapted.found(bm25 % 100 >> ql))


def test_llamaindex_ranks_texts_of_others_without_their_metadata(lengths):
    llamaindex = _llamaindex()
    from llama_index.core.schema import NodeWithScore, TextNode

    nodes = [NodeWithScore(node=TextNode(text=text, metadata={"file": "f" * 9})) for text in ("xx", "x", "xxx")]
    with pytest.raises(BadInput, match="top_n = -1"):
        llamaindex.Reranker(scoring=lengths, top_n=-1).postprocess_nodes(nodes, query_str="any")
    ranked = llamaindex.Reranker(scoring=lengths, top_n=2).postprocess_nodes(nodes, query_str="any")
    assert [(each.text, each.score) for each in ranked] == [("xxx", 3.0), ("xx", 2.0)]
    with pytest.raises(BadInput, match="a query is needed"):
        llamaindex.Reranker(scoring=lengths).postprocess_nodes(nodes)


def test_images_are_no_texts(bm25, tmp_path):
    pictures = Documents(["a"], [tmp_path / "a.png"])

    class First:
        def generate(self, queries, k):
            return nirank.Candidates.of([[0]] * len(queries))

    ranking = nirank.load(First()) % 1
    with pytest.raises(BadInput, match="are texts"):
        _langchain().Retriever(ranking=ranking, corpus=pictures).invoke("x")
    with pytest.raises(BadInput, match="are texts"):
        _llamaindex().Retriever(ranking, pictures).retrieve("x")
