"""Frames of pandas, polars and Arrow: what goes out comes back, by whatever names, and what is unclear is refused."""

from __future__ import annotations

import logging
import re
import sys

import numpy as np
import pyarrow as pa
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, MissingDependency, UnknownName
from nirank.formats.trec import Run

pd = pytest.importorskip("pandas")

IDS = ["d0", "d1", "d2", "<d3>"]


@pytest.fixture
def corpus():
    return Documents(IDS, ["a", "b", "c", "d"])


@pytest.fixture
def found(corpus):
    return Candidates.of([[2, 0], [], [1, 3]], [[2.5, 1], [], [0.25, 0.5]], corpus).for_queries(["q2", "q1", "7"])


def _frames(table):
    yield table
    yield table.to_pandas()
    yield table.to_batches()[0]
    try:
        import polars
    except ModuleNotFoundError:
        return
    yield polars.from_arrow(table)


def _same(one, other):
    assert [*one.query_ids] == [*other.query_ids]
    for column in ("offsets", "docs", "scores"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column))


@pytest.mark.parametrize("names", ["ir_measures", "pyterrier"])
def test_a_run_comes_back_as_it_was(found, corpus, names):
    for frame in _frames(found.to_arrow(names=names)):
        _same(Candidates.from_frame(frame, corpus, ["q2", "q1", "7"]), found.ranked())


def test_a_run_has_the_columns_and_ranks_of_those_it_is_written_for(found):
    ours, theirs = found.to_pandas(), found.to_pandas(names="pyterrier")
    assert ours.columns.tolist() == ["query_id", "doc_id", "score", "rank"]
    assert ours.values.tolist() == [
        ["q2", "d2", 2.5, 1],
        ["q2", "d0", 1, 2],
        ["7", "<d3>", 0.5, 1],
        ["7", "d1", 0.25, 2],
    ]
    assert theirs.columns.tolist() == ["qid", "docno", "score", "rank"]
    assert theirs["rank"].tolist() == [0, 1, 0, 1]


def test_judgments_come_back_with_documents_that_the_corpus_lacks(corpus):
    frame = pd.DataFrame({"qid": ["a", "b", "a"], "docno": ["d1", "gone", "gone"], "label": [2, 1, 0]})
    judged = Candidates.from_frame(frame, corpus, judged=True)
    assert [*judged.query_ids] == ["a", "b"]
    assert judged.docs.tolist() == [1, 4, 4]
    assert judged.scores.tolist() == [2, 0, 1]
    with pytest.raises(BadInput, match="2 pairs are of documents that the corpus lacks"):
        judged.to_arrow(judged=True)
    inside = judged.where(judged.docs < len(corpus))
    assert inside.to_pandas(judged=True).to_dict("list") == {"query_id": ["a"], "doc_id": ["d1"], "relevance": [2]}
    with pytest.raises(BadInput, match="2 of 3 rows are of documents that the corpus lacks, such as 'gone'"):
        Candidates.from_frame(frame.rename(columns={"label": "score"}), corpus)


@pytest.mark.parametrize(
    "columns",
    [
        ("qid", "docno", "score"),
        ("query_id", "doc_id", "score"),
        ("q_id", "doc_id", "score"),
        ("query-id", "corpus-id", "score"),
    ],
)
def test_the_names_of_four_libraries_are_known(corpus, columns):
    frame = pd.DataFrame(dict(zip(columns, (["q"], ["d1"], [3]), strict=True)))
    assert Candidates.from_frame(frame, corpus).docs.tolist() == [1]
    assert Candidates.from_frame(frame, corpus, judged=True).scores.tolist() == [3]


def test_pyterriers_own_number_of_a_document_is_not_taken_for_its_id(corpus):
    frame = pd.DataFrame({"qid": ["1"], "docid": [77], "docno": ["d2"], "score": [1.0], "rank": [0], "query": ["text"]})
    assert Candidates.from_frame(frame, corpus).docs.tolist() == [2]
    texts = frame.astype({"docid": str})
    with pytest.raises(BadInput, match="'docid' and 'docno' could both be meant by doc_id"):
        Candidates.from_frame(texts, corpus)
    assert Candidates.from_frame(texts, corpus, doc_id="docno").docs.tolist() == [2]


def test_whole_numbers_are_ids_as_they_are_written(found):
    corpus = Documents(["7", "10"], ["a", "b"])
    frame = pd.DataFrame({"qid": [3, 3], "docno": [10, 7], "score": [1, 2]})
    read = Candidates.from_frame(frame, corpus)
    assert ([*read.query_ids], read.docs.tolist()) == (["3"], [1, 0])


GOOD = {"qid": ["q", "q"], "docno": ["d1", "d2"], "score": [2.0, 1.0]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"query_id": ["x", "x"]}, "'qid' and 'query_id' could both be meant by query_id: say query_id='qid'"),
        ({"docno": ["d1", "d1"]}, "the document 'd1' stands twice for the query 'q'"),
        ({"docno": ["d1", None]}, "1 of 2 ids in 'docno' are missing"),
        ({"qid": [1.5, 2.5]}, "the column 'qid' holds double"),
        ({"score": [1.0, float("nan")]}, "1 of 2 values in 'score' are missing"),
        ({"score": ["1", "2"]}, "numbers are expected"),
        ({"docno": ["d1", 3]}, "this table cannot be read"),
        ({"score": None}, "there is no column for score"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(corpus, change, told):
    frame = pd.DataFrame({name: column for name, column in {**GOOD, **change}.items() if column is not None})
    with pytest.raises(BadInput, match=re.escape(told)):
        Candidates.from_frame(frame, corpus)


def test_what_is_no_table_and_columns_that_are_not_there_are_told(corpus, found):
    with pytest.raises(BadInput, match=re.escape("not a dict")):
        Candidates.from_frame(GOOD, corpus)
    with pytest.raises(UnknownName, match="no column 'doc'"):
        Candidates.from_frame(pd.DataFrame(GOOD), corpus, doc_id="doc")
    with pytest.raises(BadInput, match=re.escape("reset_index()")):
        Candidates.from_frame(pd.DataFrame(GOOD).set_index("qid"), corpus)
    with pytest.raises(BadInput, match="1 queries of the frame are not among those asked, such as 'q'"):
        Candidates.from_frame(pd.DataFrame(GOOD), corpus, ["other"])
    with pytest.raises(UnknownName, match="layout of frames"):
        found.to_arrow(names="ranx")
    with pytest.raises(BadInput, match="no corpus"):
        Candidates.of([[0]], [[1]]).to_arrow()


def test_scores_that_float32_cannot_tell_apart_are_told(corpus, caplog):
    frame = pd.DataFrame(GOOD | {"score": [1.0, 1.0 + 1e-12]})
    with caplog.at_level(logging.WARNING, "nirank"):
        Candidates.from_frame(frame, corpus)
        assert "1 scores differ from others of their query as float64 only" in caplog.text
        caplog.clear()
        Candidates.from_frame(pd.DataFrame(GOOD), corpus)
    assert caplog.text == ""


def test_queries_come_and_go():
    queries = Queries(["1", "<2>"], ["one", "two & <b>"])
    for names in ("ir_measures", "pyterrier"):
        for frame in _frames(queries.to_arrow(names=names)):
            read = Queries.from_frame(frame)
            assert ([*read.ids], [*read.contents]) == ([*queries.ids], [*queries.contents])
    assert queries.to_pandas(names="pyterrier").columns.tolist() == ["qid", "query"]
    assert Queries.from_frame(pd.DataFrame({"id": [1], "title": ["t"]}), query_id="id", text="title").ids == ["1"]
    with pytest.raises(BadInput, match=re.escape("nirank.Queries.from_frame(table)")):
        Queries.of(pd.DataFrame({"text": ["a"]}))


def test_measures_take_frames_on_either_side(found, corpus):
    judged = Candidates.of([[2], [1], [3]], [[1], [1], [2]], corpus).for_queries(["q2", "q1", "7"])
    expected = nirank.evaluate(found, judged, ["AP", "nDCG@2"]).mean
    run, qrels = found.to_pandas(names="pyterrier"), judged.to_pandas(judged=True)
    for pair in ((run, qrels), (found, qrels), (run, judged)):
        assert nirank.evaluate(*pair, ["AP", "nDCG@2"]).mean == expected
    with pytest.raises(BadInput, match="this table has no rows"):
        nirank.evaluate(run[:0], qrels)
    with pytest.raises(BadInput, match="twice"):
        Run.from_frame(pd.concat([run, run]))


def test_figures_become_frames(found, corpus):
    judged = Candidates.of([[2], [1], [3]], [[1], [1], [2]], corpus).for_queries(["q2", "q1", "7"])
    one = nirank.evaluate(found, judged, ["AP", "P@1"])
    assert one.to_pandas().to_dict("list") == {"query_id": ["q2", "q1", "7"], "AP": [1, 0, 1], "P@1": [1, 0, 1]}
    compared = nirank.compare({"a": one, "b": one})
    assert compared.to_pandas()["measure"].tolist() == ["AP", "P@1"]
    assert compared.to_pandas(rows="means")["system"].tolist() == ["a", "b"] * 2
    with pytest.raises(UnknownName):
        compared.to_arrow(rows="other")


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_package_that_is_not_there_is_named_with_what_installs_it(found, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=re.escape("pip install 'nirank[frames]'")):
        getattr(found, f"to_{package}")()


def test_a_collection_takes_judgments_of_a_frame(corpus):
    frame = pa.table({"query_id": ["b", "a"], "doc_id": ["d1", "d0"], "relevance": [1, 1]})
    judged = Candidates.from_frame(frame, corpus, judged=True)
    collection = Collection("c", corpus, Queries(["a", "b"], ["one", "two"]), judged)
    assert [*collection.judgments.query_ids] == ["a", "b"]
    assert collection.judgments.docs.tolist() == [0, 1]


def test_categories_decimals_and_numbered_columns_of_others_are_read(corpus):
    polars = pytest.importorskip("polars")
    rows = {"qid": ["2", "1"], "docno": ["d1", "d0"], "score": [1.5, 2.0]}
    categories = polars.DataFrame(
        rows, schema_overrides={"qid": polars.Categorical, "docno": polars.Enum(["d0", "d1"])}
    )
    decimals = pa.table(rows | {"score": pa.array([1.5, 2.0]).cast(pa.decimal128(12, 3))})
    for frame, told in [
        (categories, {}),
        (decimals, {}),
        (pd.DataFrame(list(zip(*rows.values(), strict=True))), NUMBERED),
    ]:
        found = Candidates.from_frame(frame, corpus, **told)
        assert (found.query_ids, found.docs.tolist(), found.scores.tolist()) == (["2", "1"], [1, 0], [1.5, 2.0])


NUMBERED = {"query_id": 0, "doc_id": 1, "score": 2}


def test_a_table_without_rows_is_a_run_without_queries(corpus):
    for frame in (pd.DataFrame({"qid": [], "docno": [], "score": []}), pa.table({"qid": [], "docno": [], "score": []})):
        assert len(Candidates.from_frame(frame, corpus)) == 0


def test_a_series_is_no_table(corpus):
    with pytest.raises(BadInput, match="cannot be read"):
        Candidates.from_frame(pd.Series([1, 2]), corpus)


def test_scores_beyond_float32_that_tie_are_told(corpus, caplog):
    frame = pa.table({"qid": ["1", "1"], "docno": ["d0", "d1"], "score": [1e300, 1e301]})
    with caplog.at_level(logging.WARNING):
        found = Candidates.from_frame(frame, corpus)
    assert "as float32 they tie" in caplog.text
    assert found.scores.tolist() == [np.inf, np.inf]


def test_a_frame_of_results_is_not_taken_for_one_of_queries():
    frame = pa.table({"qid": ["1", "1", "2"], "query": ["a", "a", "b"], "docno": ["d0", "d1", "d0"]})
    with pytest.raises(BadInput, match=r"1 queries stand in more than one row, such as '1'.*drop_duplicates\('qid'\)"):
        Queries.from_frame(frame)
