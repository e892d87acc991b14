"""The parts of benchmarks/instructions.py that could mislead: what was hidden, what differs, what is promised."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

for package in ("numba", "faiss", "torch", "threadpoolctl"):
    pytest.importorskip(package)

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
X86 = platform.machine().lower() in ("x86_64", "amd64")


@pytest.fixture
def levels(benchmark):
    return benchmark("instructions_levels")


def _used(levels, variables):
    command = "import instructions_levels as levels, json; print(json.dumps(levels.used()))"
    environment = {name: value for name, value in os.environ.items() if name not in levels.VARIABLES}
    environment |= {"PYTHONPATH": os.pathsep.join([str(BENCHMARKS), *sys.path]), **variables}
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not X86, reason="levels are those of x86-64")
def test_a_process_says_what_its_libraries_use_and_nothing_is_hidden_by_a_name_alone(levels):
    whole = _used(levels, {})
    if whole["compiled code"] == levels.SSE:
        pytest.skip("this processor has no instructions to hide")
    hidden = _used(levels, levels.hiding(levels.SSE, levels.at_hand(whole.values())))
    lesser = levels.processors(levels.at_hand(whole.values()))[-1]
    assert levels.seen(hidden, lesser) == []
    assert hidden["compiled code"] == hidden["numpy"] == hidden["torch"] == levels.SSE
    named = _used(levels, {"NUMBA_CPU_NAME": "nehalem"})
    assert named["compiled code"] == whole["compiled code"]  # which a check must not take for hidden
    assert levels.seen(named, lesser)[0] == (
        f"SSE4.2 (nehalem): compiled code uses {levels.LEVELS[named['compiled code']]}, which was to be hidden."
    )


def test_only_what_is_beyond_a_level_is_hidden_and_in_all_libraries(levels, monkeypatch):
    monkeypatch.setattr(levels, "_of_numpy", lambda: ["X86_V3", "X86_V4", "AVX512_ICL"])
    hiding = levels.hiding(levels.AVX2, levels.VNNI)
    assert hiding.keys() == set(levels.VARIABLES)
    assert hiding["NPY_DISABLE_CPU_FEATURES"] == "X86_V4 AVX512_ICL"
    assert hiding["NUMBA_CPU_FEATURES"] == "+avx2"
    assert "-AVX512F" in hiding["GLIBC_TUNABLES"]
    assert "-FMA" not in hiding["GLIBC_TUNABLES"]
    names = [processor.name for processor in levels.processors(levels.VNNI)]
    assert names == [
        "AVX-512 VNNI, as it is", "AVX-512 VNNI (icelake-server)", "AVX-512 (skylake-avx512)", "AVX2 (haswell)",
        "SSE4.2 (nehalem)",
    ]  # fmt: skip


def test_a_library_that_hides_nothing_is_told(levels):
    whole, lesser = levels.Processor("all", levels.AVX2, {}), levels.Processor("less", levels.SSE, {})
    used = {"numpy": levels.AVX2, "torch": levels.AVX2}
    assert levels.hides_nothing(used, used | {"torch": levels.SSE}, whole, lesser) == [
        "less: numpy uses as much as with all, so nothing was learnt of it."
    ]
    assert levels.hides_nothing(used, used, whole, levels.Processor("another name", levels.AVX2, {})) == []


def test_bits_that_differ_break_a_promise_only_where_there_is_one(benchmark, levels):
    measured = benchmark("instructions").Measured()
    measured.used = {"all": {"numpy": levels.AVX2}, "less": {"numpy": levels.SSE}}
    measured.hashes = {name: {"all": "a", "less": "b"} for name in ("bm25", "maxsim", "plaid")}
    measured.hashes["exact"] = {"all": "a", "less": "a"}
    assert measured.differing() == ["bm25", "maxsim", "plaid"]
    assert measured.broken() == ["bm25 differs on less, which is promised not to."]  # MaxSim is from AVX2 on


def test_inputs_are_the_same_each_time_and_products_of_them_are_rounded(benchmark, tmp_path):
    inputs = benchmark("instructions_inputs")

    def drawn(name, texts):
        (tmp_path / name).mkdir()
        made = inputs.Inputs(tmp_path / name, texts, 3, 4, 2)
        return made, made.write()

    (made, one), (_, two), (_, other) = drawn("one", 40), drawn("two", 40), drawn("three", 41)
    assert one == two != other
    vectors = made.array("vectors")
    assert np.array_equal(vectors * 2**23, np.rint(vectors * 2**23))
    exact = vectors[0].astype(np.float64) * vectors[1]
    assert (exact != exact.astype(np.float32)).mean() > 0.9


def test_a_search_without_its_compiled_code_is_not_taken_for_one_with_it(benchmark, tmp_path):
    made = benchmark("instructions_inputs").Inputs(tmp_path, 40, 3, 4, 2)
    made.write()
    settings = {"folder": str(tmp_path), "texts": 40, "queries": 3, "token_texts": 4, "token_queries": 2}
    systems = benchmark("instructions_systems").Systems(settings, str(tmp_path / "own"), str(tmp_path / "plaid"))
    with pytest.raises(RuntimeError, match="exact, one by one was searched without its compiled code"):
        systems.open("exact, one by one")  # of so few documents all vectors are read
    systems.open("flat")
    systems.open("impact")
    assert systems.found("flat") == systems.found("exact, one by one") != systems.found("impact")
