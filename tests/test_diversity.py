"""Measures of diversity, against values of pyndeval 0.0.8, which holds the Web track's ndeval."""

import re

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, NirankError
from nirank.evaluation import check_measures
from nirank.formats import read_subtopics

QRELS = (
    "1 1 a 1\n1 1 b 1\n1 2 b 2\n1 2 c 1\n1 3 d 1\n1 4 e 0\n1 1 e 0\n"
    "2 1 a 1\n2 1 f 2\n2 2 f 1\n2 2 a -1\n3 1 a 0\n3 2 a 0\n"
)
RUN = (
    "1 Q0 b 1 9 x\n1 Q0 x 2 8 x\n1 Q0 a 3 7 x\n1 Q0 e 4 6 x\n1 Q0 c 5 5 x\n1 Q0 d 6 4 x\n"
    "2 Q0 y 1 3 x\n2 Q0 a 2 2 x\n2 Q0 f 3 1 x\n3 Q0 a 1 1 x\n"
)
#: Values of queries 1 and 2; of query 3, where nothing is relevant, all are 0.
EXPECTED = {
    "alpha_nDCG@3": [0.780998, 0.596394],
    "alpha-nDCG@10": [0.904196, 0.596394],
    "alpha_DCG@3": [0.520665, 0.479335],
    "ERR_IA@5": [0.548664, 0.363086],
    "nERR-IA@2": [0.8, 0.222222],
    "NRBP": [0.546875, 0.328125],
    "nNRBP": [0.813953, 0.388889],
    "MAP-IA": [0.566667, 0.458333],
    "P-IA@3": [0.333333, 0.5],
    "strec@3": [0.666667, 1.0],
    "alpha_nDCG(alpha=0.3)@3": [0.788345, 0.606528],
    "alpha_DCG(alpha=0.3)@3": [0.464431, 0.439015],
    "NRBP(alpha=0.3,beta=0.8)": [0.449152, 0.41536],
    "nNRBP(alpha=0.3,beta=0.8)": [0.849157, 0.7375],
    "alpha_nDCG(rel=2)@3": [1.0, 0.5],
    "ERR_IA(rel=2)@5": [0.726172, 0.242057],
    "nERR_IA(rel=2)@2": [1.0, 0.0],
    "AP_IA(rel=2)": [1.0, 0.333333],
    "StRecall(rel=2)@3": [1.0, 1.0],
}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "run").write_text(RUN)
    (tmp_path / "qrels").write_text(QRELS)
    return tmp_path / "run", tmp_path / "qrels"


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_values_are_those_of_ndeval(files, name, expected):
    for given in (
        files,
        tuple(read(path) for read, path in zip((nirank.read_run, nirank.read_qrels), files, strict=True)),
    ):
        found = nirank.evaluate(*given, name)
        assert found.query_ids == ["1", "2", "3"]
        np.testing.assert_allclose(found.values[name], [*expected, 0], atol=1e-6)
        assert found[name] == pytest.approx(np.mean([*expected, 0]), abs=1e-6)


def test_the_level_of_relevance_and_the_depth_are_heeded(files):
    assert nirank.evaluate(*files, "nERR_IA@2", relevance_level=2).values["nERR_IA@2"].tolist() == [1.0, 0.0, 0.0]
    assert nirank.evaluate(*files, "AP_IA", depth=1).values["AP_IA"][1] == 0


def test_a_cutoff_of_one_is_divided_like_any_other(files):
    assert nirank.evaluate(*files, "alpha_DCG@1").values["alpha_DCG@1"][0] == pytest.approx(2 / 3)


def test_a_document_has_the_best_grade_of_its_subtopics_for_other_measures(files):
    judged = nirank.read_qrels(files[1])
    grades = dict(zip(judged.ids.take(judged.candidates[1][0]), judged.candidates[1][1].tolist(), strict=True))
    assert grades == {"a": 1.0, "f": 2.0}
    both = nirank.evaluate(*files, ["nDCG@10", "alpha_nDCG@10"])
    assert 0 < both["nDCG@10"] < 1


def test_what_was_searched_is_measured_by_subtopics_of_a_file(files):
    corpus, asked = Documents(list("abcdefxy"), list("abcdefxy")), Queries(["1", "2"], ["b", "f"])
    judged = nirank.read_qrels(files[1]).align(asked.ids, corpus.ids).over(corpus).for_queries(asked.ids)
    found = Candidates.of([[1], [5]], [[1], [1]], corpus).for_queries(asked.ids)
    values = nirank.evaluate(found, judged, "StRecall@1", subtopics=read_subtopics(files[1])).values["StRecall@1"]
    np.testing.assert_allclose(values, [2 / 3, 1])


@pytest.mark.parametrize("name", ["alpha_nDCG@10", "NRBP", "strec@5"])
def test_judgments_without_subtopics_are_refused_before_the_search(name):
    with pytest.raises(BadInput, match="needs judgments of subtopics"):
        check_measures([name])
    with pytest.raises(BadInput, match="needs judgments of subtopics"):
        nirank.evaluate(Candidates.of([[0]]), Candidates.of([[0]], [[1]]), name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alpha_nDCG", "alpha_nDCG cannot have cutoff=None"),
        ("NRBP@10", "NRBP cannot have cutoff=10"),
        ("P_IA@0", "P_IA cannot have cutoff=0"),
        ("P_IA(alpha=0.5)@5", "no setting of P_IA 'alpha'"),
        ("alpha_nDCG(alpha=1)@5", "alpha_nDCG cannot have alpha=1"),
        ("alpha_nDCG(rel=0)@5", "alpha_nDCG cannot have rel=0"),
    ],
)
def test_settings_are_checked(files, name, message):
    with pytest.raises(NirankError, match=re.escape(message)):
        nirank.evaluate(*files, name)


def test_one_document_is_judged_once_for_a_subtopic(tmp_path):
    (tmp_path / "qrels").write_text("1 1 a 1\n1 2 a 1\n1 1 a 0\n")
    with pytest.raises(BadInput, match="qrels:3: document 'a' of query '1' and subtopic '1' is already in line 1"):
        nirank.read_qrels(tmp_path / "qrels")


def test_judgments_of_one_subtopic_are_told(tmp_path, files):
    (tmp_path / "plain").write_text("1 0 a 1\n2 0 f 1\n")
    assert "all judgments are of one subtopic" in nirank.evaluate(files[0], tmp_path / "plain", "NRBP").warnings[0]
    assert not nirank.evaluate(*files, "NRBP").warnings
