"""Rankers over features from an experiment file: they train, are loaded again, and compose with other scorers."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("accelerate")
pytest.importorskip("lightgbm")
pytest.importorskip("numba")
pytest.importorskip("regex")

import nirank
from nirank.data import Queries
from nirank_ltr.letor_files import write_letor

GIVEN = """
collection = { use = "letor:FOLDER", split = "test" }

[pipelines]
network = "given >> features(letor) >> network"
trees = "given >> features(letor) >> trees"
both = "given >> (features(letor) >> network) + 0.5 * (features(letor) >> trees)"

[stage.letor]
use = "extractor/letor"

[stage.network]
use = "scorer/RANKER"

[stage.trees]
use = "scorer/lightgbm"
least = 5
threads = 1

[train.network]
loss = "ranknet"
collection = { use = "letor:FOLDER", split = "train" }
dev = { use = "letor:FOLDER", split = "vali" }
epochs = 10
learning_rate = 0.05

[train.trees]
collection = { use = "letor:FOLDER", split = "train" }
dev = { use = "letor:FOLDER", split = "vali" }

[evaluate]
measures = ["nDCG@10"]
"""


@pytest.fixture
def folder(tmp_path):
    """Three files of lists, in which the first feature tells the label."""
    from nirank_ltr.sample import collection

    for seed, split in enumerate(("train", "vali", "test")):
        made = collection(queries=30, documents=10, seed=seed)
        asked = Queries([f"{split}{number}" for number in range(30)], made.queries.contents)
        write_letor(tmp_path / "data" / f"{split}.txt", made.judgments.over(made.corpus), asked)
    return tmp_path / "data"


@pytest.mark.parametrize("ranker", ["linear", "attention"])
def test_an_experiment_trains_rankers_on_files_of_features(folder, tmp_path, ranker):
    path = tmp_path / "letor.toml"
    path.write_text(GIVEN.replace("FOLDER", str(folder)).replace("RANKER", ranker))
    results = nirank.train(path, tmp_path / "out")
    found = {name: system.evaluation["nDCG@10"] for name, system in results.systems.items()}
    assert set(found) == {"network", "trees", "both"}
    assert min(found.values()) > 0.95


TEXTS = """
collection = "beir:FOLDER"

[pipelines]
bm25 = "bm25 % 8"
ranked = "bm25 % 8 >> features(manual, ql, 2.0 * ql + ql) >> ranker"

[stage.manual]
fields = []
names = ["bm25", "phrase", "unordered", "length"]

[stage.ranker]
use = "scorer/RANKER"

[train.ranker]
LOSS
collection = { use = "beir:FOLDER", split = "train" }
dev = { use = "beir:FOLDER", split = "dev" }
epochs = 10
learning_rate = 0.05

[evaluate]
measures = ["AP"]
"""


@pytest.fixture
def texts(tmp_path):
    """Documents with the two words of a query, for three splits: relevant where these stand side by side."""
    chance, folder = np.random.default_rng(0), tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    documents, queries = [], []
    qrels = {split: ["query-id\tcorpus-id\tscore"] for split in ("train", "dev", "test")}
    for number in range(60):
        first, second, split = f"w{2 * number}", f"w{2 * number + 1}", list(qrels)[number % 3]
        queries.append({"_id": f"q{number}", "text": f"{first} {second}"})
        for place, near in enumerate(chance.permutation([True, True, False, False, False, False])):
            name = f"q{number}d{place}"
            text = f"{first} {second} x y z" if near else f"{first} x y z {second}"
            documents.append({"_id": name, "text": text})
            qrels[split].append(f"q{number}\t{name}\t{int(near)}")
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for split, lines in qrels.items():
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(("ranker", "loss"), [("linear", 'loss = "softmax_cross_entropy"'), ("lightgbm", "")])
def test_an_experiment_trains_rankers_on_features_of_texts(texts, tmp_path, ranker, loss):
    path = tmp_path / "texts.toml"
    path.write_text(TEXTS.replace("RANKER", ranker).replace("LOSS", loss).replace("FOLDER", str(texts)))
    results = nirank.train(path, tmp_path / "out")
    assert results.systems["bm25"].evaluation["AP"] < 0.8
    assert results.systems["ranked"].evaluation["AP"] > 0.98
