"""CapFilt: what is kept, where the threshold lies, what is written, and that it is a collection again."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from PIL import Image

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, DamagedFile
from nirank_blip import command, decisions
from nirank_blip.capfilt import capfilt, filtered

KINDS = ("cat", "dog", "car", "bus")


def _collection(name, pairs, first=0):
    """Documents that say of which kind they are, and captions (kind, document) of them."""
    docs = sorted({doc for _, doc in pairs})
    corpus = Documents([f"d{doc}" for doc in docs], [f"{KINDS[doc % 4]} {doc}" for doc in docs])
    texts = sorted({text for text, _ in pairs})
    rows = [[docs.index(doc) for text, doc in pairs if text == wanted] for wanted in texts]
    queries = Queries([f"q{first + number}" for number in range(len(texts))], texts)
    return Collection(name, corpus, queries, Candidates.of(rows, [[1] * len(row) for row in rows], corpus))


class Sure:
    """Scores a pair by whether the kinds agree, a little apart for each document; of one clean pair it is not sure."""

    def score(self, queries, candidates):
        told = candidates.corpus[candidates.docs]
        kinds = [(queries.contents[row], *text.split()) for row, text in zip(candidates.rows, told, strict=True)]
        return np.array(
            [(asked == kind) * (0.2 if number == "3" else 1) + int(number) / 1e4 for asked, kind, number in kinds]
        )


@pytest.fixture
def both():
    """Ten clean pairs, and forty noisy ones of which every second is wrong."""
    clean = [(KINDS[doc % 4], doc) for doc in range(10)]
    noisy = [(KINDS[(doc + doc % 2) % 4], doc) for doc in range(10, 50)]
    return _collection("noisy", noisy, 100), _collection("clean", clean)


def _pairs(collection):
    ids, texts = collection.corpus.ids, collection.queries.contents
    return {(text, name) for row, text in enumerate(texts) for name in ids.take(collection.judgments[row][0])}


def test_planted_wrong_pairs_are_found_and_right_ones_kept(both):
    noisy, clean = both
    found = filtered(noisy, clean, nirank.load(Sure()))
    assert 0.2 < found.threshold <= 1.0
    right = {(KINDS[doc % 4], f"d{doc}") for doc in range(50) if doc < 10 or doc % 2 == 0}
    assert _pairs(found.collection) == right
    assert found.kept.sum() == 20


def test_the_clean_part_is_never_filtered(both):
    noisy, clean = both
    for passing in (0.1, 0.5, 1.0):
        found = filtered(noisy, clean, nirank.load(Sure()), passing=passing)
        assert _pairs(clean) <= _pairs(found.collection)
        scores = Sure().score(clean.queries, clean.judgments).astype(np.float32)
        assert (scores >= found.threshold).mean() >= passing


def test_what_is_kept_is_a_collection_that_can_be_asked_for_by_name(both, monkeypatch):
    noisy, clean = both
    found = nirank.collection("capfilt", noisy=noisy, clean=clean, filter=nirank.load(Sure()))
    assert found.name == "noisy/capfilt"
    assert len({*found.queries.ids}) == len(found.queries) == 4  # a text of both is one query
    assert isinstance(found, Collection)
    assert found.corpus.ids[:][:10] == [f"d{doc}" for doc in range(10)]
    assert found.take([0, 1]).judgments.pairs < found.judgments.pairs


def test_captions_are_added_where_the_filter_lets_them_pass(both):
    noisy, clean = both
    written = {"d13": ["dog"], "d14": ["bus", "car"]}  # of 13 the caption is right; of 14 the second, which is known

    class Writer:
        def write(self, contents):
            return [written.get(f"d{text.split()[1]}", ["nonsense"]) for text in contents]

    found = filtered(noisy, clean, nirank.load(Sure()), nirank.load(Writer()))
    assert found.written == 2
    plain = filtered(noisy, clean, nirank.load(Sure()))
    assert _pairs(found.collection) - _pairs(plain.collection) == {("dog", "d13")}


def test_what_makes_no_sense_is_refused(both):
    noisy, clean = both
    with pytest.raises(BadInput, match="passing = 0"):
        filtered(noisy, clean, nirank.load(Sure()), passing=0.0)
    nothing = Collection("nothing", clean.corpus, Queries.of("cat"), Candidates.of([[]], corpus=clean.corpus))
    with pytest.raises(BadInput, match=r"nothing: has no pairs"):
        capfilt(noisy, nothing, nirank.load(Sure()))
    with pytest.raises(BadInput, match="a table with `use"):
        capfilt({"folder": "x"}, clean, nirank.load(Sure()))


# What is kept in a folder


class Counting(Sure):
    """Counts the pairs that it is asked for, and fails when it is to."""

    fingerprint = "counting"

    def __init__(self):
        self.asked, self.left = 0, 1000

    def score(self, queries, candidates):
        if candidates.pairs > self.left:
            raise RuntimeError("interrupted")
        self.asked, self.left = self.asked + candidates.pairs, self.left - candidates.pairs
        return super().score(queries, candidates)


def test_a_filter_that_was_interrupted_goes_on_and_decides_as_one_that_was_not(both, tmp_path, monkeypatch):
    monkeypatch.setattr(decisions, "_TOGETHER", 16)
    noisy, clean = both
    expected, by = filtered(noisy, clean, nirank.load(Counting())), Counting()
    by.left = 30  # ten clean pairs, and a part of sixteen noisy ones
    with pytest.raises(RuntimeError, match="interrupted"):
        filtered(noisy, clean, nirank.load(by), kept=tmp_path / "kept")
    assert by.asked == 26
    by.left = 1000
    found = filtered(noisy, clean, nirank.load(by), kept=tmp_path / "kept")
    assert by.asked == 50
    assert found.scores == pytest.approx(expected.scores)
    assert _pairs(found.collection) == _pairs(expected.collection)
    lines = (tmp_path / "kept" / "pairs.jsonl").read_text().splitlines()
    assert {(line["text"], line["document"]) for line in map(json.loads, lines)} == _pairs(expected.collection)
    told = decisions.summary(tmp_path / "kept")
    assert told == {"name": "noisy", "passing": 0.9, "clean": 10, "noisy": 40, "kept": 20, "written": 0} | {
        "threshold": pytest.approx(expected.threshold)
    }
    capfilt(noisy, clean, nirank.load(by), passing=0.5, kept=str(tmp_path / "kept"))  # only the threshold is another
    assert by.asked == 50


def test_what_another_filter_said_or_of_other_pairs_is_never_taken(both, tmp_path):
    noisy, clean = both
    filtered(noisy, clean, nirank.load(Counting()), kept=tmp_path)
    other = Counting()
    other.fingerprint = "another"
    with pytest.raises(BadInput, match="what another filter said"):
        filtered(noisy, clean, nirank.load(other), kept=tmp_path)
    with pytest.raises(BadInput, match="what another filter said"):
        filtered(clean, clean, nirank.load(Counting()), kept=tmp_path)
    (tmp_path / "noisy-000000.npy").write_bytes(b"no numbers")
    with pytest.raises(DamagedFile, match=r"noisy-000000\.npy: is damaged"):
        filtered(noisy, clean, nirank.load(Counting()), kept=tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(BadInput, match="not empty"):
        filtered(noisy, clean, nirank.load(Counting()), kept=tmp_path / "full")
    unknown = Sure()
    unknown.model = object()  # nothing tells what it depends on
    with pytest.raises(BadInput, match="attribute `fingerprint`"):
        filtered(noisy, clean, nirank.load(unknown), kept=tmp_path / "new")


# The command

TOML = """
collection = {{ use = "images", source = "{folder}/clean", ask = "classes" }}
pipeline = "again >> exact"

[stage.first]
use = "encoder/blip"
{shape}

[stage.again]
use = "encoder/blip"
{shape}

[train.again]
loss = "clip"
sampler = "in_batch"
steps = 6
batch_size = 4

[train.again.collection]
use = "capfilt"
noisy = {{ use = "images", source = "{folder}/noisy", ask = "classes" }}
clean = {{ use = "images", source = "{folder}/clean", ask = "classes" }}
filter = "@first"

[train.first]
loss = "clip"
sampler = "in_batch"
steps = 40
batch_size = 4
learning_rate = 3e-3
collection = {{ use = "images", source = "{folder}/clean", ask = "classes" }}

[evaluate]
measures = ["P@1"]
"""
SHAPE = (
    "config = { side = 16, patch = 8, image_width = 32, image_layers = 1, width = 32, layers = 1, dim = 16, least = 1 }"
)


def _pictures(folder, pictures, first=0):
    for number, (name, colour) in enumerate(pictures, first):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), colour).save(folder / name / f"{number}.png")


@pytest.fixture
def experiment(tmp_path):
    """Red and blue pictures; of the noisy ones two lie in the wrong folder."""
    red, blue = (250, 10, 10), (10, 10, 250)
    _pictures(tmp_path / "clean", [("red", red), ("blue", blue), ("red", (230, 30, 0)), ("blue", (0, 30, 230))])
    _pictures(
        tmp_path / "noisy", [("red", (240, 0, 0)), ("blue", blue), ("red", (0, 0, 240)), ("blue", (240, 20, 20))], 10
    )
    path = tmp_path / "again.toml"
    path.write_text(TOML.format(folder=tmp_path, shape=SHAPE))
    return path


def test_the_command_trains_the_filter_first_and_tells_what_it_kept(experiment, tmp_path, capsys, monkeypatch):
    command.command(experiment, tmp_path / "out")
    told = capsys.readouterr().out
    assert "noisy/classes: kept 2 of 4 noisy pairs (50 %) and all 4 clean ones" in told
    (kept,) = (tmp_path / "out" / "kept").iterdir()
    lines = [json.loads(line) for line in (kept / "pairs.jsonl").read_text().splitlines()]
    found = {(line["text"], line["document"].rpartition("/")[2]) for line in lines}
    assert {each for each in found if len(each[1]) == 6} == {("red", "10.png"), ("blue", "11.png")}
    assert (tmp_path / "out" / "trained" / "results" / "measures.json").exists()
    monkeypatch.setattr(nirank, "train", None)  # what is finished is not done again
    command.command(experiment, tmp_path / "out")
    assert capsys.readouterr().out == told


def test_the_command_goes_on_where_it_was(experiment, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    monkeypatch.setattr(decisions.Decisions, "write", _fails)
    with pytest.raises(RuntimeError, match="interrupted"):
        command.run(experiment, folder)
    monkeypatch.undo()
    first = folder / "trained" / "first" / "checkpoint"
    before = first.stat().st_mtime_ns
    assert len(command.run(experiment, folder)) == 1
    assert first.stat().st_mtime_ns == before


def _fails(self, collection, told):
    raise RuntimeError("interrupted")


def test_an_experiment_without_a_filter_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('collection = "emoji"\n[train.x]\ncollection = "emoji"\n')
    with pytest.raises(BadInput, match=r"a\.toml: no stage learns from a collection `capfilt`"):
        command.run(tmp_path / "a.toml", tmp_path / "out")
    with pytest.raises(BadInput, match=r"b\.toml: cannot be read"):
        command.run(tmp_path / "b.toml", tmp_path / "out")
