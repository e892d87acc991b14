"""The benchmark of clicks on MQ2008: every row runs, is kept, and learns from what it says."""

from __future__ import annotations

import argparse
import importlib

import numpy as np
import pytest

from tests.mq2008_toy import write_parts

pytest.importorskip("accelerate")
pytest.importorskip("lightgbm")
pytest.importorskip("numba")

pytestmark = pytest.mark.usefixtures("benchmark")


@pytest.fixture
def data(tmp_path):
    write_parts(tmp_path / "data" / "ltr_mq2008", queries=6, features=5)
    return tmp_path / "data"


def test_every_row_runs_and_is_kept(data, tmp_path):
    work = importlib.import_module("quality_clicks")
    asked = argparse.Namespace(data=data, cells=tmp_path / "cells", quick=True, seeds=3, only=["linear"], save=False)
    (table,) = work.tables(asked)
    assert [row[0] for row in table.rows[:2]] == ["production ranker", "linear, true labels"]
    assert len(table.rows) == 1 + len(work.labels())
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    assert len(kept) == len(table.rows)
    assert work.tables(asked)[0].rows == table.rows
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()} == kept


def test_labels_are_clicks_or_true_ones_and_weights_inverse_propensities(data, tmp_path):
    work, cells = importlib.import_module("quality_clicks"), importlib.import_module("losses_cells").Cells
    clicks = work.Clicks(data / "ltr_mq2008", cells(tmp_path), seeds=1, folds=1, limits={"steps": 1})
    train, shown = clicks.read[0].train, clicks._shown(0, 0)
    rows = {name: learned.of(train, shown, 0, 400) for name, learned in work.labels().items()}
    true = rows["true labels"]
    assert np.array_equal(true.judgments.scores, train.judgments.scores)
    assert set(true.weights.scores.tolist()) == {1}
    naive, weighted = rows["clicks as they are, eta 1"], rows["clicks weighted, eta 1"]
    assert np.array_equal(naive.judgments.scores, weighted.judgments.scores)
    assert set(naive.weights.scores.tolist()) == {1}
    attraction = np.array([0.1, 0.4, 1.0])[train.judgments.scores.astype(int)]
    found = train.judgments.lookup(weighted.judgments.with_scores(weighted.judgments.scores * weighted.weights.scores))
    assert np.abs(found - attraction).mean() < 0.1
