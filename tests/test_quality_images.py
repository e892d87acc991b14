"""benchmarks/quality_omniglot.py and quality_emoji_images.py: what is asked of whom, on a few drawn images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from PIL import Image

from nirank.data import Candidates, Collection, Documents, Queries


@pytest.fixture
def omniglot(tmp_path):
    """Two characters of six drawings in an alphabet of each part: strokes in one direction, moved a little."""
    random = np.random.default_rng(0)
    for alphabet in ("Korean", "Early_Aramaic", "Greek"):
        for character in range(2):
            folder = tmp_path / "data" / alphabet / f"character{character:02}"
            folder.mkdir(parents=True)
            for number in range(6):
                rows = np.full((24, 24), 255, np.uint8)
                place = random.integers(2, 20)
                rows[place : place + 3] = 0
                Image.fromarray(rows.T if character else rows).save(folder / f"{number}.png")
    return tmp_path


def test_all_systems_are_measured_on_all_images_of_test(benchmark, omniglot):
    quality = benchmark("quality_omniglot")
    small = {"dim": 8, "depth": 1, "heads": 2, "patch": 8}
    recipe = replace(
        quality.RECIPES["Omniglot"], collection="omniglot:data", model={"side": 24, "config": small, "jitter": 0.1}
    )
    outcome = quality._measured(recipe, omniglot, {"steps": 2, "evaluate_every": 2, "batch_size": 4}, seed=0)
    assert {name.rpartition(" ")[2] for name in outcome.values} == {"CMC@1", "mAP@R"}
    systems = {name.rpartition(" ")[0] for name in outcome.values}
    assert len(systems) == 8
    assert {"ViT-Triplet", "STIR, top 5", "k_reciprocal"} < systems
    assert {len(values) for values in outcome.values.values()} == {12}
    table = quality.row("STIR, top 5", [outcome])
    figure = table.figure("CMC@1", quality.row("ViT-Triplet", [outcome]))
    assert figure.mean == np.mean(outcome.values["STIR, top 5 CMC@1"])
    assert figure.spread is None


def test_losses_of_metric_learning_and_both_kinds_of_stir_are_measured(benchmark, omniglot, tmp_path):
    metric = benchmark("quality_metric")
    small = {"side": 24, "config": {"dim": 8, "depth": 1, "heads": 2, "patch": 8}, "jitter": 0.1}
    recipe = replace(metric.recipe_of("Omniglot"), collection="omniglot:data", model=small)
    limits = {"steps": 2, "evaluate_every": 2, "batch_size": 4}
    given = recipe, metric.STEPS["Omniglot"], omniglot, limits, 0
    for loss in metric.LOSSES:
        outcome = metric._one(loss, *given)
        assert {measure: len(values) for measure, values in outcome.values.items()} == {"CMC@1": 12, "mAP@R": 12}
    behind = metric.reranked(*given)
    systems = {name.rpartition(" ")[0] for name in behind.values}
    assert systems == {
        *("stir, top 10 of triplet", "stacked_stir, top 10 of triplet", "k_reciprocal", "k_reciprocal, scaled")
    }


def test_names_are_asked_for_as_well_and_each_finds_its_own(benchmark):
    quality = benchmark("quality_emoji_images")
    corpus = Documents(["a", "b"], ["x", "y"], {"name": ["grinning face", "red heart"]})
    given = Collection("e", corpus, Queries(["love"], ["love"]), Candidates.of([[1]], [[1]], corpus))
    made = quality._with_names(given)
    assert list(made.queries.contents) == ["love", "grinning face", "red heart"]
    assert [made.judgments[row][0].tolist() for row in range(3)] == [[1], [0], [1]]


def test_groups_with_a_telling_name_are_those_that_are_no_catch_all(benchmark):
    quality = benchmark("quality_emoji_images")
    corpus = Documents(["animals", "extras-openmoji", "food"], ["animals", "extras", "food"])
    judged = Candidates.of([[0], [1], [2], [1]], [[1]] * 4, corpus)
    groups = Collection("g", corpus, Queries.of(list("wxyz")), judged)
    assert quality._telling(groups).tolist() == [True, False, True, False]
