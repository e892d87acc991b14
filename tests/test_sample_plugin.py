"""Somebody else's plugin, as they would build and install it, and what is told when it is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from nirank import __version__
from nirank.errors import BadInput
from nirank.plugins import scaffold

pytest.importorskip("hatchling", reason="hatchling builds the wheels of these tests")
pytest.importorskip("editables", reason="hatchling needs editables for `pip install -e`")

SAMPLE = Path(__file__).parent / "sample_plugin"


@dataclass
class Environment:
    """A fresh virtual environment that sees the packages of the running one."""

    folder: Path

    @classmethod
    def create(cls, folder):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        running = sysconfig.get_path("purelib")
        (site / "running.pth").write_text(f"import site; site.addsitedir({running!r})\n")
        return cls(folder)

    @property
    def python(self):
        return str(self.folder / "bin" / "python")

    def install(self, *what):
        pip = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check"]
        arguments = ["install", "--quiet", "--no-index", "--no-build-isolation", *map(str, what)]
        subprocess.run([*pip, *arguments], check=True, capture_output=True, text=True)

    def run(self, *command, cwd, **variables):
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "CI")}
        environment = kept | {"COLUMNS": "200", "NIRANK_CACHE": str(self.folder / "cache")} | variables
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # for speed
        command = [self.python, "-m", *map(str, command)]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The sample, built and installed beside nirank."""
    folder = tmp_path_factory.mktemp("sample")
    source = shutil.copytree(SAMPLE, folder / "source")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*build, "--wheel-dir", folder, source], check=True, capture_output=True, text=True)
    environment = Environment.create(folder / "environment")
    environment.install(*folder.glob("sample_ranker-0.3.0-*.whl"))
    return environment


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """A collection and two experiments over it: one with the sample, one without."""
    folder = tmp_path_factory.mktemp("animals")
    documents = ["a dog in a car", "one small cat", "cats and a cat", "a catalogue"]
    lines = [f'{{"_id": "d{number}", "text": "{text}"}}' for number, text in enumerate(documents)]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "cat"}\n')
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t1\nq\td2\t2\n")
    head = f'[collection]\nuse = "beir"\nfolder = "{folder}"\n[evaluate]\nmeasures = ["RR@10", "nDCG@10"]\n'
    for name, pipeline in {"sample": "sample_prefix % 3 >> sample_early", "others": "bm25"}.items():
        (folder / f"{name}.toml").write_text(f'pipeline = "{pipeline}"\n{head}')
    return folder


def test_it_is_listed_with_its_distribution_and_version(installed, animals):
    listed = installed.run("nirank", "plugins", cwd=animals).stdout
    (row,) = [line for line in listed.splitlines() if "sample-ranker" in line]
    assert "sample-ranker 0.3.0" in row
    assert {"generator/sample_prefix,", "scorer/sample_early,", "loss/sample_hinge"} <= {*listed.split()}
    assert row.split()[-2] == "ok"
    assert f"nirank {__version__}" in listed


def test_it_is_used_in_an_experiment(installed, animals, tmp_path):
    done = installed.run("nirank", "run", animals / "sample.toml", "--out", tmp_path / "out", cwd=animals)
    assert done.returncode == 0, done.stderr
    assert "sample_prefix % 3" in (tmp_path / "out" / "experiment.toml").read_text()
    run = (tmp_path / "out" / "sample.run").read_text()
    assert [line.split()[2] for line in run.splitlines()] == ["d1", "d2", "d3"]


def test_its_own_tests_and_the_contract_pass(installed, tmp_path):
    tests = shutil.copytree(SAMPLE, tmp_path / "sample", ignore=shutil.ignore_patterns("src"))
    done = installed.run("pytest", "-v", "-p", "no:cacheprovider", tests, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    for check in ("sample_prefix::generator/no_duplicates", "sample_early::scorer/query_alone"):
        assert f"{check} PASSED" in done.stdout
    assert "sample_hinge::loss/padding PASSED" in done.stdout
    assert "bm25::" not in done.stdout


@dataclass
class Fault:
    """A line of a module of the sample, changed, and what is to be told of it by which command."""

    module: str
    old: str
    new: str
    told: tuple[str, ...]


WHO = "sample_ranker (sample-ranker 0.3.0)"
LEFT_OUT = f"The plugin {WHO} could not be loaded and is left out"

NOT_LOADED = {
    "raises at import": Fault("__init__", "import logging", "import logging\n1 / 0", ("ZeroDivisionError",)),
    "wrong signature": Fault(
        "__init__", "candidates: Candidates)", "candidates: Candidates, device: str)", ("Argument(s) {'device'}",)
    ),
    "unknown hook": Fault(
        "__init__", "def nirank_score", "def nirank_rank", ("implements nirank_rank, which nirank does not call",)
    ),
}  # fmt: skip

NOT_WORKING = {
    "missing dependency": Fault(
        "early", "import numpy as np", "import numpy as np\nimport surely_not_installed_anywhere",
        ("scorer/sample_early needs the package 'surely_not_installed_anywhere'", "pip install 'sample-ranker[fancy]'"),
    ),
    "wrong shape": Fault(
        "early", "content in pairs], np.float32)", "content in pairs], np.float32)[1:]",
        ("returned 2 results for 3 inputs", f"from {WHO} ran score on 1 queries, 3 pairs"),
    ),
    "NaN": Fault(
        "early", "return self.base + (", "return float('nan') + (",
        ("returned 3 scores of 3 that are not a number", WHO),
    ),
}  # fmt: skip


def _overlaid(fault, folder):
    """A copy of the sample with the fault, to stand before the installed one on the path."""
    package = shutil.copytree(SAMPLE / "src" / "sample_ranker", folder / "sample_ranker")
    path = package / f"{fault.module}.py"
    source = path.read_text()
    assert fault.old in source
    path.write_text(source.replace(fault.old, fault.new))
    register = package / "__init__.py"
    register.write_text(register.read_text().replace('tiny="sample_ranker.early:Early"', 'extra="fancy"'))
    return {"PYTHONPATH": str(folder)}


def test_a_name_that_is_taken_costs_the_plugin_that_component_alone(installed, animals, tmp_path):
    taken = _overlaid(Fault("__init__", '"sample_early", "s', '"bm25", "s', ()), tmp_path)
    listed = installed.run("nirank", "plugins", cwd=animals, **taken)
    assert listed.stderr.count(f"{WHO} adds 'scorer/bm25', but nirank_lexical") == 1
    assert "failed: " not in listed.stdout
    done = installed.run("nirank", "run", animals / "others.toml", "--out", tmp_path / "out", cwd=animals, **taken)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", NOT_LOADED)
def test_a_plugin_that_cannot_be_loaded_is_told_once_and_the_others_work(installed, animals, tmp_path, case):
    fault = NOT_LOADED[case]
    broken = _overlaid(fault, tmp_path)
    listed = installed.run("nirank", "plugins", cwd=animals, **broken)
    assert listed.stderr.count(LEFT_OUT) == 1
    assert all(text in listed.stderr for text in fault.told)
    assert "failed: " in listed.stdout
    done = installed.run("nirank", "run", animals / "others.toml", "--out", tmp_path / "out", cwd=animals, **broken)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", NOT_WORKING)
def test_a_component_that_does_not_work_is_told_when_it_is_used(installed, animals, tmp_path, case):
    fault = NOT_WORKING[case]
    broken = _overlaid(fault, tmp_path)
    used = installed.run("nirank", "run", animals / "sample.toml", "--out", tmp_path / "a", cwd=animals, **broken)
    assert used.returncode == 2
    assert all(text in used.stderr for text in fault.told), used.stderr
    assert "Traceback" not in used.stderr
    assert not (tmp_path / "a").exists()
    done = installed.run("nirank", "run", animals / "others.toml", "--out", tmp_path / "b", cwd=animals, **broken)
    assert done.returncode == 0, done.stderr
    assert "sample_ranker" not in done.stderr


def test_what_is_missing_is_in_the_list_of_plugins(installed, animals, tmp_path):
    listed = installed.run("nirank", "plugins", cwd=animals, **_overlaid(NOT_WORKING["missing dependency"], tmp_path))
    assert "needs: pip" in listed.stdout
    assert "'sample-ranker[fancy]'" in listed.stdout


def test_a_blocked_plugin_is_not_imported_and_a_strict_run_stops(installed, animals, tmp_path):
    broken = _overlaid(NOT_LOADED["raises at import"], tmp_path)
    blocked = installed.run("nirank", "plugins", cwd=animals, NIRANK_BLOCK="sample_ranker", **broken)
    assert "blocked by NIRANK_BLOCK" in blocked.stdout
    assert blocked.stderr == ""
    strict = installed.run("nirank", "plugins", cwd=animals, NIRANK_STRICT="1", **broken)
    assert strict.returncode == 2
    assert strict.stderr == f"nirank: The plugin {WHO} could not be loaded: ZeroDivisionError: division by zero\n"


BESIDE = """
from nirank import hookimpl

@hookimpl
def nirank_register(registry):
    registry.add("scorer", "beside", "sample_ranker.early:Early")

@hookimpl
def nirank_evaluated(system, evaluation):
    print(f"beside saw {system} {evaluation['RR@10']:.3f}")
"""


def test_a_plugin_beside_an_experiment_is_loaded(installed, animals, tmp_path):
    text = (animals / "sample.toml").read_text().replace("sample_early", "beside")
    (tmp_path / "mine.toml").write_text(text)
    done = installed.run("nirank", "run", tmp_path / "mine.toml", "--out", tmp_path / "a", cwd=animals)
    assert done.returncode == 2
    assert "'beside'" in done.stderr
    (tmp_path / "nirank_plugin.py").write_text(BESIDE)
    done = installed.run("nirank", "run", tmp_path / "mine.toml", "--out", tmp_path / "b", cwd=animals)
    assert done.returncode == 0, done.stderr
    assert "beside saw mine 1.000" in done.stdout


def test_a_module_named_in_the_environment_is_loaded(installed, animals, tmp_path):
    (tmp_path / "of_my_own.py").write_text(BESIDE)
    variables = {"PYTHONPATH": str(tmp_path), "NIRANK_PLUGINS": "of_my_own"}
    listed = installed.run("nirank", "plugins", cwd=animals, **variables)
    (row,) = [line for line in listed.stdout.splitlines() if "of_my_own" in line]
    assert "scorer/beside" in row


# A new plugin


def test_a_new_plugin_passes_its_own_checks_at_once(tmp_path):
    environment = Environment.create(tmp_path / "environment")
    written = environment.run("nirank", "new-plugin", "demo_ranker", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    environment.install("--editable", tmp_path / "demo_ranker")
    done = environment.run("pytest", "-v", "-p", "no:cacheprovider", "-W", "error", "demo_ranker", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo_ranker::plugin/loads PASSED" in done.stdout
    assert "demo_ranker::scorer/document_alone PASSED" in done.stdout
    assert "test_a_document_with_more_words_of_the_query_is_ranked_higher PASSED" in done.stdout


def test_the_new_name_is_everywhere(tmp_path):
    folder = scaffold.create("quite_new", tmp_path)
    texts = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert {"pyproject.toml", "README.md", "src/quite_new/__init__.py", "tests/test_quite_new.py"} < texts.keys()
    assert not any(old in text for text in texts.values() for old in ("my_ranker", "my-ranker"))
    assert 'name = "quite-new"' in texts["pyproject.toml"]
    assert [path.name for path in tmp_path.iterdir()] == ["quite_new"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Demo-Ranker", "Perhaps 'demo_ranker'"),
        ("../up", "cannot name a plugin"),
        ("class", "cannot name a plugin"),
        ("", "cannot name a plugin"),
        ("json", "there is a module of that name"),
        ("nirank", "there is a module of that name"),
    ],
)
def test_a_bad_name_is_refused(tmp_path, name, message):
    with pytest.raises(BadInput, match=message):
        scaffold.create(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_refused(tmp_path):
    (tmp_path / "quite_new").mkdir()
    with pytest.raises(BadInput, match="exists already"):
        scaffold.create("quite_new", tmp_path)
