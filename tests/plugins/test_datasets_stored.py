"""Scores from a file: joined by ids, and nothing is taken for a score that is none."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "teacher.run"
    path.write_text("b Q0 z 1 3.5 t\nb Q0 x 2 1.25 t\na Q0 y 1 -2 t\na Q0 elsewhere 2 -3 t\n")
    return path


def _asked():
    corpus = Documents(["x", "y", "z"], ["one", "two", "three"])
    queries = Queries(["a", "b", "c"], ["first", "second", "third"])
    return queries, corpus


def test_pairs_have_the_scores_of_their_ids_in_whatever_order(run):
    queries, corpus = _asked()
    stored = nirank.load("stored", run=str(run))
    pairs = Candidates.of([[1], [0, 2], []], corpus=corpus)
    assert stored.score(queries, pairs).tolist() == [-2.0, 1.25, 3.5]
    turned = Documents(["z", "y", "x"], ["three", "two", "one"])
    assert stored.score(queries.take(np.array([1])), Candidates.of([[0, 2]], corpus=turned)).tolist() == [3.5, 1.25]


def test_a_pair_that_the_run_lacks_is_refused_with_its_ids_unless_its_score_is_said(run):
    queries, corpus = _asked()
    pairs = Candidates.of([[1, 2], [0, 1], [0]], corpus=corpus)
    with pytest.raises(BadInput, match=r"3 pairs.*'a'.*'z'"):
        nirank.load("stored", run=str(run)).score(queries, pairs)
    assert nirank.load("stored", run=str(run), missing=-9.0).score(queries, pairs).tolist() == [-2, -9, 1.25, -9, -9]
    assert nirank.load("stored", run=str(run), missing="min").score(queries, pairs).tolist() == [-2, -3, 1.25, 1.25, 0]


def test_a_stored_teacher_teaches_as_the_one_that_is_asked(tmp_path):
    import torch

    from nirank.formats import write_run
    from tests.training_toys import TRUE, Weighed, numbers, vectors, weights

    class Teacher:
        def score(self, queries, candidates):
            asked = vectors([queries.contents[row] for row in candidates.rows])
            return (asked * vectors(candidates.corpus[candidates.docs])).numpy() @ TRUE

    collection, students = numbers(), [Weighed(), Weighed()]
    every = Candidates.of([range(len(collection.corpus))] * len(collection.queries), corpus=collection.corpus)
    scored = every.with_scores(nirank.load(Teacher()).score(collection.queries, every)).ranked()
    write_run(tmp_path / "teacher.run", collection.queries, scored, "teacher")
    stored = nirank.load("stored", run=str(tmp_path / "teacher.run"))
    for student, teacher in zip(students, (nirank.load(Teacher()), stored), strict=True):
        nirank.fit(student, "margin_mse", collection, teacher=teacher, steps=5, learning_rate=0.1)
    torch.testing.assert_close(weights(students[0]), weights(students[1]), atol=1e-5, rtol=1e-5)
    assert not torch.equal(weights(students[0])["weigh.weight"], weights(Weighed())["weigh.weight"])


def test_the_fingerprint_is_of_the_scores_and_of_what_missing_pairs_get(run, tmp_path):
    copy = tmp_path / "copy.run"
    copy.write_text(run.read_text())
    other = tmp_path / "other.run"
    other.write_text(run.read_text().replace("1.25", "1.5"))
    made = {name: nirank.load("stored", run=str(path)).component.fingerprint
            for name, path in {"run": run, "copy": copy, "other": other}.items()}  # fmt: skip
    assert made["run"] == made["copy"] != made["other"]
    assert nirank.load("stored", run=str(run), missing="min").component.fingerprint != made["run"]
