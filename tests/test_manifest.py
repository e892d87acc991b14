"""The manifest of a result: what would change a number changes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import nirank
from nirank import environment
from nirank.data import Candidates, Collection, Documents, Ids, Queries
from nirank.data.prints import print_of_judgments, print_of_queries
from nirank.experiments import machine, manifest
from nirank.plugins.loading import load_file

IDS = ["d", "doc-2", "a document with an id of more than sixteen bytes", "é", "MED-10", "MED-11"]


def _judgments():
    return Candidates.of([[0, 3], [1, 2, 4]], [[1, 0], [2, -1, 1]])


def _print(judgments, query_ids=("q1", "q2"), ids=IDS):
    return print_of_judgments(judgments, list(query_ids), Ids(ids))


def test_equal_judgments_have_equal_prints_in_whatever_order_and_over_whatever_ordinals():
    shuffled = Candidates.of([[4, 2, 1], [3, 0]], [[1, -1, 2], [0, 1]])
    assert _print(shuffled, ["q2", "q1"]) == _print(_judgments())
    reversed_ids = Candidates.of([[5, 2], [4, 3, 1]], [[1, 0], [2, -1, 1]])
    assert _print(reversed_ids, ids=IDS[::-1]) == _print(_judgments())


@pytest.mark.parametrize(
    ("docs", "grades", "queries"),
    [
        ([[0, 3], [1, 2, 4]], [[1, 0], [2, -1, 2]], ["q1", "q2"]),  # one grade
        ([[0, 3], [1, 2, 4]], [[1, 0], [2, 1, -1]], ["q1", "q2"]),  # two exchanged
        ([[0, 3], [1, 2, 5]], [[1, 0], [2, -1, 1]], ["q1", "q2"]),  # a document whose id has another last letter
        ([[0, 3], [1, 2, 4]], [[1, 0], [2, -1, 1]], ["q2", "q1"]),  # the queries exchanged
        ([[0, 3], [1, 2]], [[1, 0], [2, -1]], ["q1", "q2"]),  # one is gone
        ([[0, 3, 5], [1, 2, 4]], [[1, 0, 0], [2, -1, 1]], ["q1", "q2"]),  # one more, of grade 0
        ([[0, 3], [1, 2, 99]], [[1, 0], [2, -1, 1]], ["q1", "q2"]),  # one that is not in the corpus
    ],
)
def test_an_edit_of_judgments_shows(docs, grades, queries):
    assert _print(Candidates.of(docs, grades), queries) != _print(_judgments())


def test_the_print_of_a_file_is_that_of_the_collection(tmp_path):
    path = tmp_path / "qrels"
    path.write_text("q2 0 MED-10 1\nq1 0 d 1\nq2 0 doc-2 2\nq1 0 é 0\n")
    run = nirank.read_qrels(path)
    known = Candidates.of([[0, 3], [1, 4]], [[1, 0], [2, 1]])
    assert print_of_judgments(run.candidates, run.query_ids, run.ids) == _print(known)


def test_random_judgments_have_prints_of_their_own():
    random = np.random.default_rng(1)
    ids = Ids([f"{'x' * (number % 23)}{number}" for number in range(5_000)])
    grades = random.integers(0, 2, 5_000)
    seen = set()
    for place in range(300):
        edited = grades.copy()
        edited[place * 16] += 1
        seen.add(print_of_judgments(Candidates.of([np.arange(5_000)], [edited]), ["q"], ids))
    assert len(seen) == 300


def test_prints_of_many_judgments_are_cheap():
    ids = Ids([f"document-{number:09}" for number in range(500_000)])
    docs = np.tile(np.arange(500_000), 2)
    many = Candidates(np.array([0, 500_000, 1_000_000]), docs, np.ones(1_000_000, np.float32))
    start = time.perf_counter()
    print_of_judgments(many, ["a", "b"], ids)
    assert time.perf_counter() - start < 2


def test_prints_of_queries_see_ids_contents_and_order():
    plain = print_of_queries(Queries(["a", "b"], ["one", "two"]))
    assert plain == print_of_queries(Queries(("a", "b"), ("one", "two")))
    for other in (
        Queries(["a", "c"], ["one", "two"]),
        Queries(["a", "b"], ["onet", "wo"]),
        Queries(["b", "a"], ["two", "one"]),
    ):
        assert print_of_queries(other) != plain
    assert print_of_queries(Queries([], [])) == print_of_queries(Queries([], []))
    assert print_of_queries(Queries(["a"], ["lone \ud800"]))


def _collection(grade=1):
    corpus = Documents(["d1", "d2"], ["red apple", "green pear"])
    return Collection("small", corpus, Queries(["q"], ["apple"]), Candidates.of([[0, 1]], [[grade, 0]]))


def _manifest(collection=None, ranking="bm25"):
    return manifest.describe({"bm25": nirank.parse(ranking)}, collection or _collection(), seed=0)


def test_an_edited_grade_shows_in_the_manifest():
    first, second = _manifest(), _manifest(_collection(grade=2))
    assert first["collection"]["judgments"] == second["collection"]["judgments"]
    assert first["collection"]["judgments_fingerprint"] != second["collection"]["judgments_fingerprint"]
    asked = replace(_collection(), queries=Queries(["q"], ["pear"]))
    assert first["collection"]["queries_fingerprint"] != _manifest(asked)["collection"]["queries_fingerprint"]


def test_versions_are_of_what_is_installed_and_import_nothing():
    command = "import sys; from nirank.environment import installed; print(sorted(installed()), 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    for name in ("numpy", "scipy", "pyarrow", "ir_measures", "python", "nirank"):
        assert f"'{name}'" in told
    assert told.strip().endswith("False")
    assert environment.installed()["numpy"] == np.__version__


def test_the_code_of_a_plugin_shows(tmp_path):
    text = "from nirank import hookimpl\n@hookimpl\ndef nirank_register(registry):\n    pass\n"
    for name, said in (("one", ""), ("two", "# edited\n")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"my_{name}.py").write_text(text + said)
        load_file(folder / f"my_{name}.py")
    code = manifest.describe_code()
    assert code["my_one.py"] != code["my_two.py"]
    assert {"nirank", "nirank_lexical", "nirank_losses"} <= code.keys()
    assert len(set(code.values())) == len(code)
    assert "nirank_execution" not in code  # which is the core


def test_the_machine_is_described(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("NIRANK_BLOCK", "nothing")
    monkeypatch.setenv("NIRANK_CACHE", "/somewhere")
    monkeypatch.setenv("NIRANK_API_KEY", "secret")
    monkeypatch.setenv("TORCH_HOME", "/somewhere")
    described = machine.describe_machine()
    assert described["environment"].items() >= {"OMP_NUM_THREADS": "3", "NIRANK_BLOCK": "nothing"}.items()
    assert not {"NIRANK_CACHE", "NIRANK_API_KEY", "TORCH_HOME"} & described["environment"].keys()
    assert described["cpu"]["model"]
    assert described["cpu"]["processors"] >= 1
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize(
    ("variable", "value", "where"),
    [("OMP_NUM_THREADS", "2", "pools"), ("OPENBLAS_NUM_THREADS", "2", "pools")],
)
def test_another_number_of_threads_shows_beside_the_variable(variable, value, where):
    pytest.importorskip("threadpoolctl")
    told = _told_by_a_process({variable: value})
    alone = _told_by_a_process({variable: "1"})
    assert told["environment"][variable] == value
    assert told["threads"][where] != alone["threads"][where]


def test_an_instruction_set_that_is_left_alone_shows():
    features = machine.describe_machine()["cpu"]["features"]
    if not features:
        pytest.skip("numpy found no instruction set beyond its least here")
    told = _told_by_a_process({"NPY_DISABLE_CPU_FEATURES": features[-1]})
    assert told["environment"]["NPY_DISABLE_CPU_FEATURES"] == features[-1]
    assert features[-1] not in told["cpu"]["features"]


@pytest.mark.parametrize("name", ["nehalem", "haswell"])
def test_the_processor_that_code_is_compiled_for_shows_once_there_is_such_code(name):
    pytest.importorskip("llvmlite")
    plain = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": "+sse4.2,+fma"}
    told = _told_by_a_process(plain, "import llvmlite")
    assert told["compiled"] == {"processor": name, "instructions": ["fma"]}
    assert _told_by_a_process(plain)["compiled"] == {}


def _told_by_a_process(variables, before="pass"):
    told = "import json; from nirank.experiments import machine; print(json.dumps(machine.describe_machine()))"
    command = f"{before}\n{told}"
    unset = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, env=unset | variables
    )
    return json.loads(done.stdout)
