"""benchmarks/quality_generative*.py: every part makes its table, trains in small what it measures, and keeps it."""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("transformers")

from PIL import Image

import nirank
from nirank.data import Candidates, Collection, Documents, Queries

SEEDS = 2
NAMES = ["red cat", "small dog", "blue car", "tall tree", "old house", "big ball"]


class Answers(dict):
    """Values of a measure for any name, all different."""

    def __missing__(self, name):
        random = np.random.default_rng(len(self))
        return self.setdefault(name, random.random(10).tolist())


@pytest.fixture
def asked(tmp_path):
    """What one who runs the benchmark asks, in a folder of its own."""
    return argparse.Namespace(only=[], seeds=SEEDS, quick=False, save=False, data=tmp_path, cells=tmp_path / "cells")


@pytest.fixture
def clothes(tmp_path):
    """Forty pictures in Fashion-MNIST's files; a class is the row that is dark."""
    folder, random = tmp_path / "fashion_mnist", np.random.default_rng(0)
    folder.mkdir()
    for part in ("train", "t10k"):
        labels = np.arange(40, dtype=np.uint8) % 10
        pixels = random.integers(0, 60, (40, 28, 28)).astype(np.uint8)
        pixels[np.arange(40), 2 * labels + 4] = 255
        for name, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">u4").tobytes()
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return folder


@pytest.fixture
def drawn(tmp_path):
    """Six pictures, a path each."""
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (16, 16), (40 * number, 200 - 30 * number, 90)).save(paths[-1])
    return paths


def _small(drawn):
    corpus = Documents([f"d{number}" for number in range(6)], drawn, {"name": NAMES})
    queries = Queries(["q0", "q1", "q2"], ["cat", "car", "tree"])
    return Collection("small", corpus, queries, Candidates.of([[0], [2], [3, 4]], [[1], [1], [1, 1]], corpus))


def test_every_part_has_its_table_with_what_is_asked_of_each_row(benchmark, asked, monkeypatch):
    generative, cells = benchmark("quality_generative"), benchmark("losses_cells")
    work, codes = benchmark("quality_generative_work"), benchmark("quality_generative_codes")
    outcomes = [cells.Outcome(Answers(), 0.5, [], 1.0) for _ in range(SEEDS)]
    monkeypatch.setattr(work.Work, "outcomes", lambda *_: outcomes)
    monkeypatch.setattr(codes.Cells, "get", lambda *_: outcomes[0])
    blip = benchmark("quality_generative_blip")
    empty = Collection("none", Documents([], []), Queries([], []), Candidates.empty(0))
    for name in ("emoji", "icon_pictures"):
        monkeypatch.setattr(blip, name, lambda *_: empty)
    monkeypatch.setattr(blip, "over_names", lambda: nirank.load(_Letters()))
    found = argparse.Namespace(values={"nDCG@10": np.random.default_rng(9).random(10)})
    monkeypatch.setattr(blip, "ranked", lambda *_: found)
    tables = {
        part: generative.tables(argparse.Namespace(**{**vars(asked), "only": [part]})) for part in generative.PARTS
    }
    compared = {}
    for part, made in tables.items():
        (table,) = made
        assert all(len(row) == len(table.columns) for row in table.rows), part
        figures = [[cell for cell in row[1:] if hasattr(cell, "low")] for row in table.rows]
        assert all(row and all(cell.low <= cell.mean <= cell.high for cell in row) for row in figures), part
        compared[part] = sum(cell.p is not None for row in figures for cell in row)
    assert compared == {
        "dvae": 4,
        "dalle": 3,
        "dalle-emoji": 3,
        "icons": 4,  # names + dual; matching, over all queries, those seen, and those unseen
        "captions": 4,
        "capfilt": 2,
        "prior": 0,
        "prior-joint": 4,
        "templates": 4,
    }
    with pytest.raises(SystemExit, match="dall: no part of `generative`; its parts are dvae, dalle"):
        generative.tables(argparse.Namespace(**{**vars(asked), "only": ["dall"]}))


def test_codes_and_names_are_measured_in_small_and_kept(benchmark, asked, clothes, tmp_path, monkeypatch):
    codes, few = benchmark("quality_generative_codes"), {"steps": 2, "batch_size": 4}
    trainings = ("dvae_training", "dalle_training", "marginals_training")
    recipe = codes.Recipe(dvae={"codes": 8, "dim": 8, "side": 8})
    small = {name: {**getattr(recipe, name), **few} for name in trainings}
    recipe = replace(recipe, train=40, documents=40, queries=10, named=20, drawings=1, **small)
    monkeypatch.setattr(codes, "Recipe", lambda: recipe)
    monkeypatch.setattr(codes, "RESULTS", tmp_path)
    asked.seeds, asked.save = 1, True
    tables = codes.tables(asked)
    assert [[row[0] for row in table.rows] for table in tables] == [
        ["dvae >> codes", "codes, Hamming", "pixels, L2"],
        ["dalle", "dalle, likelihood alone", "dalle_marginals >> codes", "dalle_marginals >> codes % 200 >> dalle"],
    ]
    picture = Image.open(tmp_path / "quality_generative_dalle.png")
    assert picture.size == (120 + 8 * 48, 10 * 48)
    assert "quality_generative_dalle.png" in tables[1].notes[-1]
    monkeypatch.setattr(nirank, "fit", None)  # nothing is trained twice
    assert [table.rows for table in codes.tables(asked)] == [table.rows for table in tables]
    again = Image.open(tmp_path / "quality_generative_dalle.png")
    assert again.tobytes() == picture.tobytes()


def test_behind_names_the_weight_0_is_the_names_and_every_list_is_reordered(benchmark, asked, drawn, monkeypatch):
    emoji = benchmark("quality_generative_emoji")
    monkeypatch.setattr(emoji, "emoji", lambda split: replace(_small(drawn), name=split))
    monkeypatch.setattr(emoji, "over_names", lambda: nirank.load(_Letters(dict(zip(drawn, NAMES, strict=True)))))
    few = {name: {**emoji.DALLE[name], "steps": 2, "batch_size": 2} for name in ("dvae_training", "dalle_training")}
    small = {"dvae": {"codes": 8, "dim": 8, "side": 8, "channels": 3}, "depth": 6, **few}
    monkeypatch.setattr(emoji, "DALLE", {**emoji.DALLE, **small})
    values, weight = emoji._behind_names(asked, 0)
    assert weight in emoji.WEIGHTS
    errors, used, perplexity = (values.pop(name) for name in ("error", "used", "perplexity"))
    assert len(errors) == 6  # one a picture
    assert min(errors) > 0
    assert 1 <= perplexity[0] <= used[0] <= 8
    assert {len(column) for column in values.values()} == {3}
    assert {name.removesuffix(" nDCG@10") for name in values} == {emoji.ALONE, emoji.RERANKED, emoji.RAW, emoji.ADDED}
    assert values[f"{emoji.ALONE} nDCG@10"][0] == 1.0  # its letters are those of the name
    monkeypatch.setattr(emoji, "WEIGHTS", (0.0,))
    values, _ = emoji._behind_names(asked, 0)
    assert values[f"{emoji.ADDED} nDCG@10"] == values[f"{emoji.ALONE} nDCG@10"]


def test_priors_are_measured_beside_the_tower_of_one_space(benchmark, asked, drawn, monkeypatch):
    from nirank_clip.tiny import dual

    emoji = benchmark("quality_generative_emoji")
    monkeypatch.setattr(emoji, "emoji", lambda split: replace(_small(drawn), name=split))
    monkeypatch.setattr(emoji, "dual", lambda *_: nirank.load(dual()))
    monkeypatch.setattr(emoji, "JOINT", {**emoji.JOINT, "prior": {"hidden": 8, "steps": 2, "batch_size": 2}})
    values, _ = emoji._joint(asked, 0)
    rows = (emoji.TOWER, emoji.RIDGE, emoji.NETWORK, emoji.BOTH, emoji.DIFFUSION)
    assert {name.removesuffix(" nDCG@10") for name in values} == {*rows}
    assert {len(column) for column in values.values()} == {3}


def test_classes_by_several_names_are_measured_with_the_same_encoder(benchmark, asked, drawn, tmp_path, monkeypatch):
    from nirank_clip.tiny import dual

    templates, folder = benchmark("quality_generative_templates"), tmp_path / "icons"
    (folder / "images").mkdir(parents=True)
    categories = ["Weather", "Food", "Food", "Map", "Math", "Text"]
    rows = []
    for number, (path, category) in enumerate(zip(drawn, categories, strict=True)):
        path.rename(folder / "images" / path.name)
        icon = {
            "id": f"t/{number}",
            "file": path.name,
            "set": "tabler",
            "name": f"n{number}",
            "tags": ["a", f"b{number}"],
        }
        rows.append({**icon, "category": category})
    rows.append({"id": "o/0", "file": drawn[0].name, "set": "other", "name": "o", "tags": ["x"]})
    (folder / "index.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    monkeypatch.setattr(templates, "dual", lambda *_: nirank.load(dual()))
    values, _ = templates._measured(asked, 0)
    assert values.pop("largest") == [pytest.approx(2 / 6)]
    assert {name.removesuffix(" CMC@1") for name in values} == {*templates.ROWS}
    assert {len(column) for column in values.values()} == {6}
    assert {*categories} <= {*templates.NAMES}


class _Letters:
    """Vectors of how often each letter is in a text, or in the name of a picture."""

    vectors = "dense"

    def __init__(self, names=()):
        self.names = dict(names)

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        texts = [self.names.get(content, content) for content in contents]
        counts = np.array(
            [[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32
        )
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)
