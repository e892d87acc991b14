"""LightGBM's files: what is no whole model is told before the library reads it, and nothing ends the process."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("lightgbm")

import lightgbm

from nirank.errors import BadInput
from nirank_ltr.trees import LightGBM

LIGHTGBM = {"plain": {}, "categories": {}, "linear": {"linear_tree": True}, "one leaf": {"min_data_in_leaf": 400}}


def _lightgbm_text(kind, trees=3):
    random = np.random.default_rng(0)
    values = random.random((500, 4))
    values[:, 3] = random.integers(0, 40, 500)
    labels = values[:, 0] + (values[:, 3] % 3 == 1)
    known = lightgbm.Dataset(values, labels, categorical_feature=[3] if kind == "categories" else "auto")
    grown = {"verbose": -1, "num_leaves": 7, "num_threads": 1, **LIGHTGBM[kind]}
    return lightgbm.train(grown, known, trees).model_to_string(), values


@pytest.mark.parametrize("kind", LIGHTGBM)
def test_a_file_of_lightgbm_is_read_as_lightgbm_reads_it(tmp_path, kind):
    text, values = _lightgbm_text(kind)
    (tmp_path / "model.txt").write_text(text)
    ours, theirs = LightGBM(model=str(tmp_path / "model.txt")).booster, lightgbm.Booster(model_str=text)
    assert (ours.predict(values, num_threads=1) == theirs.predict(values, num_threads=1)).all()
    trees = [booster.model_to_string().partition("\nparameters:")[0] for booster in (ours, theirs)]
    assert trees[0] == trees[1]


@pytest.mark.parametrize(
    ("found", "instead", "told"),
    [
        ("num_leaves=7", "num_leaves=x", "num_leaves holds 'x'"),
        ("left_child=", "left_child=9 ", "left_child has 7 entries|sizes"),
        ("right_child=1", "right_child=3", "not each split and each leaf once"),
        ("split_feature=", "split_feature=99 ", "split_feature has 7 entries|sizes"),
        ("split_feature=3", "split_feature=9", "split_feature is not from 0 to 3"),
        ("max_feature_idx=3", "max_feature_idx=2", "feature_names does not have one entry"),
        ("tree_sizes=", "tree_sizes=1 ", "sizes"),
        ("end of trees", "", "a part is missing"),
        ("Tree=1", "Tree=2", "sizes|tree 1 is missing"),
        ("cat_boundaries=0", "cat_boundaries=7", "cat_boundaries do not rise|has"),
    ],
)
def test_what_is_no_whole_model_is_told_before_lightgbm_reads_it(tmp_path, monkeypatch, found, instead, told):
    text, _ = _lightgbm_text("categories")
    assert found in text
    (tmp_path / "model.txt").write_text(text.replace(found, instead, 1))
    monkeypatch.setattr(lightgbm, "Booster", None)
    with pytest.raises(BadInput, match=rf"model\.txt: cannot be read as a text model of LightGBM: .*({told})"):
        LightGBM(model=str(tmp_path / "model.txt"))
    (tmp_path / "half.txt").write_text(text[: len(text) // 3])
    with pytest.raises(BadInput, match="a part is missing"):
        LightGBM(model=str(tmp_path / "half.txt"))


_MUTATIONS = """
import sys, numpy as np
from nirank.errors import BadInput
from nirank_ltr.trees import LightGBM

path, number = sys.argv[1], int(sys.argv[2])
text, values = open(path).read(), np.random.default_rng(0).random((20, 4))
end, told, read = text.index("end of trees"), 0, 0
for seed in range(number):
    random = np.random.default_rng(seed)
    lines = text[:end].split("\\n")
    place = int(random.integers(1, len(lines)))
    name, equals, value = lines[place].partition("=")
    words = value.split(" ")
    word = str(random.choice(["x", "-1", "99999", "2147483648", "1e400", "nan", "", "0"]))
    words[int(random.integers(len(words)))] = word
    changed = [[*lines[:place], name + equals + " ".join(words), *lines[place + 1:]], lines[:place],
               [*lines[:place], *lines[place + 1:]], [*lines[:place], lines[place], *lines[place:]]]
    made = "\\n".join(changed[int(random.integers(4))]) + (text[end:] if seed % 5 else "")
    open(path + ".x", "w").write("\\n".join(l for l in made.split("\\n") if not l.startswith("tree_sizes")))
    print(seed, flush=True)
    try:
        LightGBM(model=path + ".x", threads=1).booster.predict(values, num_threads=1)
        read += 1
    except BadInput:
        told += 1
assert told > number // 2, (told, read)
"""


@pytest.mark.parametrize("kind", LIGHTGBM)
def test_no_mutation_of_a_file_of_lightgbm_ends_the_process(tmp_path, kind):
    (tmp_path / "model.txt").write_text(_lightgbm_text(kind)[0])
    number = os.environ.get("NIRANK_FUZZ", "130")
    arguments = [sys.executable, "-c", _MUTATIONS, str(tmp_path / "model.txt"), number]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=quiet)
    assert done.returncode == 0, f"after case {done.stdout[-6:]}: {done.returncode} {done.stderr[-2000:]}"
