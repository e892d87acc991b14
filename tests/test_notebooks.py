"""The notebooks of examples run from the first cell to the last, and show what they are there to show."""

from __future__ import annotations

import json
import re
import sys
import tomllib

import pytest

import nirank
from tests import floors

nbclient = pytest.importorskip(
    "nbclient"
)  # with ipykernel in the extra `test`: where one is, the notebooks have to run
import nbformat  # noqa: E402

NOTEBOOKS = sorted((floors.ROOT / "examples").glob("*.ipynb"))
_SECONDS = 600
_MEANS = re.compile(r"nDCG@10</td><td>(\w+)</td><td[^>]*>(0\.\d{4})")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a notebook in a kernel of this interpreter; returns it with its outputs."""
    kernels = tmp_path_factory.mktemp("jupyter")
    spec = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "this"}
    (kernels / "kernels" / "this").mkdir(parents=True)
    (kernels / "kernels" / "this" / "kernel.json").write_text(json.dumps(spec | {"language": "python"}))
    patch = pytest.MonkeyPatch()
    patch.setenv("JUPYTER_PATH", str(kernels))
    patch.setenv("PYTHONPATH", f"{floors.ROOT}:{floors.ROOT / 'plugins'}")
    patch.setenv("NIRANK_REPORT", "1")
    patch.delenv("NIRANK_PROGRESS", raising=False)

    def made(notebook):
        folder = tmp_path_factory.mktemp("notebook")
        client = nbclient.NotebookClient(
            notebook, timeout=_SECONDS, kernel_name="this", resources={"metadata": {"path": str(folder)}}
        )
        client.execute()
        return notebook

    yield made
    patch.undo()


def _outputs(notebook, kind):
    """The outputs of this kind (`text/html`, `stdout`, `stderr`), one string for each."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found += [output["data"][kind]] if kind in output.get("data", {}) else []
            found += [output["text"]] if output.get("name") == kind else []
    return found


def _complaints(notebook):
    """All that was written to standard error but for tqdm's wish for widgets."""
    return [text for text in _outputs(notebook, "stderr") if "TqdmWarning" not in text]


def _read(name):
    return nbformat.read(floors.ROOT / "examples" / f"{name}.ipynb", as_version=4)


def test_first_search_shows_a_collection_a_diagram_and_results(run):
    made = run(_read("first_search"))
    collection, diagram, found, frame, shorter = [text for text in _outputs(made, "text/html") if text]
    assert "312 queries" in collection
    assert "dense vectors" in diagram
    assert "🔥" in found
    assert "fire" in found
    assert "docno" not in frame
    assert shorter.count("<tbody>") == 3
    assert _outputs(made, "stdout")[0].startswith("((bm25 % 20) | (minilm >> (exact % 20))) >> ")
    assert _complaints(made) == []


def test_compare_systems_shows_tables_and_writes_a_report(run):
    made = run(_read("compare_systems"))
    pages = [text for text in _outputs(made, "text/html") if text]
    assert "queries were evaluated" in pages[0]
    assert "p (Holm)" in pages[1]
    assert "the first 5 of 100" in pages[2]
    assert "Against bm25" in pages[3]
    assert "'report.html'" in _outputs(made, "stdout")[0]
    assert _complaints(made) == []


def test_train_a_ranker_learns(run):
    made = run(_read("train_a_ranker"))
    assert re.match(r"best on dev: 0\.\d{4} after \d+ of \d+ steps", _outputs(made, "stdout")[0])
    *_, compared = [text for text in _outputs(made, "text/html") if text]
    mean = {name: float(value) for name, value in _MEANS.findall(compared)}
    assert mean["learned"] > mean["dense"] + 0.01


def test_a_long_work_shows_one_bar_that_is_gone_in_the_end(run):
    code = (
        "import time\nfrom nirank.progress import progress\n"
        "with progress('Counting', 400) as advance:\n"
        "    for _ in range(400):\n        time.sleep(0.002)\n        advance(1)\n"
    )
    made = run(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]))
    (output,) = made.cells[0]["outputs"]
    assert output["output_type"] == "display_data"
    assert output["data"] == {"text/plain": "", "text/html": ""}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_has_no_outputs_and_is_run_here(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 8000
    assert [cell for cell in book["cells"] if cell.get("outputs") or cell.get("execution_count")] == []
    assert book["cells"][0]["source"][0].startswith("# ")
    with open(__file__, encoding="utf-8") as here:
        assert f'_read("{path.stem}")' in here.read()


def test_the_extra_for_tests_has_what_runs_notebooks():
    extras = tomllib.loads((floors.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = " ".join(extras["optional-dependencies"]["test"])
    assert all(package in wanted for package in ("ipykernel", "nbclient", "frames", "report"))


def test_halves_of_surrogate_pairs_do_not_end_a_cell():
    queries = nirank.Queries(["1"], ["half \ud83d of a cat"])
    assert "half ? of a cat" in queries._repr_html_()
    assert "half \ufffd of a cat" in str(queries)
    with pytest.raises(nirank.errors.BadInput, match="here is None, of the type NoneType"):
        nirank.Queries(["1"], [None]).to_arrow()
