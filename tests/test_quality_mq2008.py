"""The benchmark of rankers on MQ2008: what is chosen, what is kept, and that every row runs."""

from __future__ import annotations

import argparse
import importlib

import pytest

from tests.mq2008_toy import write_parts

pytest.importorskip("accelerate")
pytest.importorskip("lightgbm")
pytest.importorskip("numba")


pytestmark = pytest.mark.usefixtures("benchmark")


@pytest.fixture
def data(tmp_path):
    write_parts(tmp_path / "data" / "ltr_mq2008", queries=4, features=5)
    return tmp_path / "data"


def _asked(data, tmp_path, **more):
    asked = {"data": data, "cells": tmp_path / "cells", "quick": True, "seeds": 3, "only": [], "save": False}
    return argparse.Namespace(**{**asked, **more})


def _module(name):
    return importlib.import_module(name)


def test_every_row_runs_and_is_kept(data, tmp_path):
    work, recipes = _module("quality_mq2008"), _module("quality_mq2008_recipes").RECIPES
    (table,) = work.tables(_asked(data, tmp_path))
    assert [row[0] for row in table.rows] == list(recipes)
    kept = sorted((tmp_path / "cells").iterdir())
    assert len(kept) == sum(len(recipe.tries) for recipe in recipes.values())
    written = {path: path.stat().st_mtime_ns for path in kept}
    assert work.tables(_asked(data, tmp_path))[0].rows == table.rows
    assert {path: path.stat().st_mtime_ns for path in kept} == written


def test_some_rows_come_with_the_reference(data, tmp_path):
    (table,) = _module("quality_mq2008").tables(_asked(data, tmp_path, only=["linear taught"]))
    assert [row[0] for row in table.rows] == ["LightGBM lambdarank", "linear taught"]
    assert table.rows[0][3] is None
    assert isinstance(table.rows[1][3], _module("quality_table").Figure)


def test_validation_chooses_the_try_and_seeds_are_trained_of_that_alone(tmp_path):
    work, recipes = _module("quality_mq2008"), _module("quality_mq2008_recipes")
    outcome, asked = _module("losses_cells").Outcome, []
    tries = [recipes.Try(settings={"number": number}, options={}) for number in range(3)]
    recipe = recipes.Recipe(ranker="linear", loss="ranknet", tries=tries)

    class Noting(work.MQ2008):
        def _measured(self, recipe, tried, seed):
            asked.append((tried.settings["number"], seed))
            value = [0.2, 0.6, 0.4][tried.settings["number"]]
            return outcome({"AP": [value + seed, 1.0], "nDCG@10": [0.0, 0.5]}, value, [1], 1.0)

    row = Noting(tmp_path, _module("losses_cells").Cells(tmp_path), seeds=3).row("row", recipe)
    assert asked == [(0, 0), (1, 0), (2, 0), (1, 1), (1, 2)]
    assert row.tried is tries[1]
    assert row.values("AP").tolist() == pytest.approx([1.6, 1.0])
    assert row.figure("AP").mean == pytest.approx(1.3)
    assert row.figure("AP").spread == pytest.approx(0.5)
    assert row.dev == pytest.approx(0.6)


def test_folds_are_tested_together(data, tmp_path):
    work, recipes = _module("quality_mq2008"), _module("quality_mq2008_recipes")
    cells = _module("losses_cells").Cells(tmp_path / "cells")
    every = work.MQ2008(data / "ltr_mq2008", cells, seeds=1, limits={"steps": 15})
    row = every.row("linear ranknet", recipes.RECIPES["linear ranknet"])
    assert len(row.outcomes[0].steps) == 5
    assert len(row.values("AP")) == 20
    assert row.figure("nDCG@10").mean > 0.9
