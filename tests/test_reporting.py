"""The report of an experiment: one file, whole without a network, in which nothing of others runs."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Explanation, Queries, images
from nirank.errors import BadInput, MissingDependency
from nirank.evaluation import compare, evaluate
from nirank.experiments.experiment import Experiment
from nirank.experiments.reporting import folder as reports
from nirank.experiments.reporting import plots
from nirank.experiments.reporting.page import PAGE, page
from nirank.experiments.reporting.tables import Table, differences, per_query, systems
from nirank.experiments.results import Results, System
from nirank.experiments.write import write
from tests import browser

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

SCRIPT = "<script>document.title='ran'</script>"
IMAGE = "<img src='http://evil.invalid/i.png' onerror=\"document.title='ran'\">"
EVIL = f"{SCRIPT}{IMAGE}</pre></svg></style>$x^2$ &amp; \\end{{document}}"


class Explains(nirank.Ranking):
    """A ranking of which only what it says of itself is asked for."""

    def __repr__(self):
        return f"pipeline {EVIL}"

    def explain(self, query, document_id, corpus):
        assert query.contents
        assert document_id in list(corpus.ids)
        parts = (Explanation(f"word {EVIL}", 1.5, note=EVIL), Explanation("other", 0.5))
        return Explanation(f"sum {EVIL}", 2.0, parts)


def _results(collection, latency=True, **found):
    """Results of systems that found these documents for the queries, with falling scores."""
    times = {stage: {"p50": 1.0, "p95": 60.0, "p99": 70.0} for stage in ("generate x", "total")} if latency else {}
    made = {}
    for number, (name, docs) in enumerate(found.items()):
        run = Candidates.of(docs, [np.arange(len(row), 0, -1) for row in docs], collection.corpus)
        run = run.for_queries(collection.queries.ids)
        ranking = Explains() if number else reports.Told("bm25")
        made[name] = System(name, ranking, run, evaluate(run, collection.judgments, ["RR", "P@1"]), 0.5, times)
    table = {"collection": {"use": "x", "note": EVIL}, "pipelines": {"first": "bm25"}, "evaluate": {"latency": 2}}
    evaluations = {name: system.evaluation for name, system in made.items()}
    compared = compare(evaluations, next(iter(made))) if len(made) > 1 else None
    return Results(Experiment.of(table), collection, made, compared, {"broken": f"failed with {EVIL}"})


@pytest.fixture
def collection():
    ids = [f"d{number}{EVIL}" for number in range(4)]
    corpus = Documents(ids, [f"words {EVIL}", "rare words", images.drawn(1), images.drawn(2)])
    queries = Queries([f"q{number}{EVIL}" for number in range(3)], [f"words {EVIL}", "rare", images.drawn(3)])
    return Collection(f"c {EVIL}", corpus, queries, Candidates.of([[0, 1], [1], [2]], [[1, 0], [1], [2]], corpus))


@pytest.fixture
def results(collection):
    return _results(collection, **{"first": [[0, 1], [0, 1], []], f"second {EVIL}": [[1, 0], [1, 2], [2, 3]]})


class _Page(HTMLParser):
    """The tags of a page, their attributes, and its text by the tag that it stands in."""

    def __init__(self, text) -> None:
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], [""]
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1], data))


def test_markup_of_others_is_text_in_every_place(results):
    read = _Page(page(results))
    assert read.open == [""]
    assert not {"script", "img", "iframe", "link", "object", "base", "form"} & {*read.tags}
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    addresses = [value for name, value in read.attributes if name in ("href", "src", "xlink:href")]
    assert addresses
    assert all(value.startswith("#") for value in addresses)
    shown = [tag for tag, text in read.texts if "document.title" in text]
    assert {"td", "p", "pre", "text", "b", "h4", "li", "small", "div"} <= {*shown}  # SVG's too, and explanations
    assert ("style", "") not in [(tag, text) for tag, text in read.texts if "document.title" in text and tag == "style"]


def test_in_a_real_browser_no_script_of_others_runs_and_nothing_is_fetched(results, tmp_path):
    made = tmp_path / PAGE
    made.write_text(page(results), encoding="utf-8")
    seen = browser.opened(made, tmp_path)
    assert "<title>experiment</title>" in seen.document
    assert seen.document.count("<svg") == 4
    assert seen.asked == []
    # the same markup as it would be without care is seen to run and to ask, so that this check could fail
    bad = tmp_path / "bad.html"
    bad.write_text(f"<!doctype html><title>quiet</title><body>{SCRIPT}{IMAGE}", encoding="utf-8")
    seen = browser.opened(bad, tmp_path)
    assert "<title>ran</title>" in seen.document
    assert seen.asked == ["http://evil.invalid/i.png"]


def test_the_page_itself_forbids_what_would_slip_through(results, tmp_path):
    made = tmp_path / PAGE
    made.write_text(page(results).replace("</body>", f"{SCRIPT}{IMAGE}</body>"), encoding="utf-8")
    seen = browser.opened(made, tmp_path)
    assert "<title>experiment</title>" in seen.document
    assert seen.asked == []


def test_what_was_found_is_shown_with_marks_words_pictures_and_explanations(results):
    text = page(results)
    assert text.count("background-image: url(data:image/jpeg;base64,") == 3  # two documents and a query, each once
    assert "<mark>rare</mark>" in text
    assert text.count("<summary>why</summary>") == 3  # of the first document of each query, by the system that can
    assert re.search(r"\+1\.5000</span> word", text)
    assert [text.count(f'class="document {kind}"') for kind in ("right", "wrong", "open")] == [5, 2, 3]
    assert ">nothing</li>" in text


def test_tables_are_there_to_copy(results):
    table = systems(results)
    assert [*csv.reader(io.StringIO(table.csv))] == [list(table.header), *map(list, table.rows)]
    assert table.latex.splitlines()[:3] == [
        "\\begin{tabular}{llrrr}",
        "\\toprule",
        "system & pipeline & RR & P@1 & seconds \\\\",
    ]
    assert r"\textless{}script\textgreater{}" in table.latex
    assert r"\$x\textasciicircum{}2\$ \&amp; \textbackslash{}end\{document\}" in table.latex
    assert r"\textbf{0.8333}" in table.latex
    assert [row[1:] for row in per_query(results).rows] == [
        ["1.0000", "0.5000", "1.0000", "0.0000"],
        ["0.5000", "1.0000", "0.0000", "1.0000"],
        ["0.0000", "1.0000", "0.0000", "1.0000"],
    ]
    first = dict(zip(*(differences(results.comparison).header, differences(results.comparison).rows[0]), strict=True))
    assert (first["difference"], first["better"], first["worse"]) == ("+0.3333", "2", "1")
    assert Table("t", ["a"], [["x"]], 0).latex.count("x") == 1


def _points(svg):
    """The places of the dots of a plot."""
    return re.findall(r'<use xlink:href="[^"]*" x="([^"]*)" y="([^"]*)" style="fill: (#[0-9a-f]{6})', svg)


def test_plots_show_each_query(results):
    scatter, gains, curves, waiting = plots.plots(results)
    dots = [(float(x), float(y)) for x, y, colour in _points(scatter.svg) if colour == plots.COLOURS[1]]
    across, up = (np.array(column) for column in zip(*dots, strict=True))
    # dots go by (value of the first, of the second): (0, 1), (.5, 1), (1, .5), and y is counted from above
    order = np.argsort(across)
    np.testing.assert_allclose(np.diff(across[order])[0], np.diff(across[order])[1], atol=0.02)
    assert up[order][0] == up[order][1] < up[order][2]
    assert "2 better, 1 worse" in gains.svg
    assert "interpolated precision" in curves.svg
    assert waiting.narrow
    assert "mathdefault" not in waiting.svg  # of a logarithmic scale
    for plot in (scatter, gains, curves, waiting):
        assert "currentColor" in plot.svg
        assert "#000000" not in plot.svg
        assert "http" not in plot.svg.replace("http://evil", "")


def test_one_system_and_no_latency_make_a_smaller_page(collection):
    alone = _results(collection, latency=False, only=[[0], [1], [2]])
    assert [plot.title for plot in plots.plots(alone)] == ["Precision, recall and rank"]
    assert "Differences" not in page(alone)


def test_without_matplotlib_there_are_tables_and_a_line(results, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    text = page(results)
    assert "There are no plots: matplotlib is not installed. Run: pip install &#39;nirank[report]&#39;" in text
    assert "<svg" not in text
    assert "<h3>Systems</h3>" in text


def test_without_jinja2_a_run_goes_on_and_a_report_says_what_to_install(results, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setenv("NIRANK_REPORT", "1")
    write(_plain(results), tmp_path / "out")
    assert "there is no report.html: a report needs the package 'jinja2'" in caplog.text
    assert (tmp_path / "out" / "measures.json").exists()
    with pytest.raises(MissingDependency, match=re.escape("pip install 'nirank[report]'")):
        page(results)


def test_a_report_that_fails_costs_no_results(results, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NIRANK_REPORT", "1")
    monkeypatch.setattr(plots, "curves", lambda results: 1 / 0)
    write(_plain(results), tmp_path / "out")
    assert "there is no report.html, for it could not be made: division by zero" in caplog.text
    assert (tmp_path / "out" / "measures.json").exists()


def _plain(results):
    """The results with names that can be those of files and of lines in a run."""
    corpus = Documents(list("abcd"), ["words", "rare words", "c", "d"])
    judged = replace(results.collection.judgments, corpus=corpus, query_ids=None)
    plain = Collection("plain", corpus, Queries(["1", "2", "3"], ["words", "rare", "c"]), judged)
    return _results(plain, first=[[0, 1], [0, 1], []], second=[[1, 0], [1, 2], [2, 3]])


EXPERIMENT = """
name = "words"
collection = "jsonl:{folder}/docs.jsonl"
[pipelines]
bm25 = "bm25"
ql = "ql % 2"
[evaluate]
measures = ["nDCG@10", "AP"]
"""


@pytest.fixture
def experiment(tmp_path):
    docs = [{"id": f"d{number}", "text": f"word{number} word{number % 3} shared"} for number in range(6)]
    data = tmp_path / "data"
    data.mkdir()
    (data / "corpus.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    (data / "queries.jsonl").write_text('{"id": "1", "text": "word1"}\n{"id": "2", "text": "shared word2"}\n')
    (data / "qrels.txt").write_text("1 0 d1 1\n2 0 d5 1\n2 0 d2 2\n")
    path = tmp_path / "words.toml"
    path.write_text(EXPERIMENT.format(folder=data).replace("jsonl:", "beir:").replace("/docs.jsonl", ""))
    return path


def _command(*arguments, **environment):
    import os

    command = [sys.executable, "-m", "nirank", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "NIRANK_REPORT": "1", **environment}
    )


def test_the_command_line_writes_a_report_unless_told_not_to_and_later_too(experiment, tmp_path):
    with_report, without = tmp_path / "with", tmp_path / "without"
    assert _command("run", experiment, "--out", with_report).returncode == 0
    assert "<title>words</title>" in (with_report / PAGE).read_text(encoding="utf-8")
    assert _command("run", experiment, "--out", without, "--no-report").returncode == 0
    assert not (without / PAGE).exists()
    assert _command("run", experiment, "--out", tmp_path / "env", NIRANK_REPORT="0").returncode == 0
    assert not (tmp_path / "env" / PAGE).exists()
    done = _command("report", without)
    assert (done.returncode, done.stdout) == (0, f"Written to {without / PAGE}\n")
    seconds = re.compile(r"\d+\.\d\d</td>|,\d+\.\d\d$|\d+\.\d\d \\\\$|T[0-9:+]{14}", re.MULTILINE)
    why = re.compile("<details><summary>why.*?</details>", re.DOTALL)  # which only a ranking that is built can say
    texts = [(place / PAGE).read_text(encoding="utf-8") for place in (with_report, without)]
    assert [bool(why.search(text)) for text in texts] == [True, False]
    one, other = (why.sub("", seconds.sub("", text)) for text in texts)
    assert one == other
    assert _command("verify", without).returncode == 0
    assert "files differ" not in _command("verify", without).stdout


def test_a_report_of_results_whose_data_have_changed_is_refused(experiment, tmp_path):
    out = tmp_path / "out"
    nirank.run(experiment, out, report=False)
    qrels = tmp_path / "data" / "qrels.txt"
    before = qrels.read_text()
    qrels.write_text(before.replace("d5 1", "d0 1"))
    with pytest.raises(BadInput, match=r"measures\.json: says that bm25 has a nDCG@10 of .* They have changed"):
        reports.report(out)
    qrels.write_text(before)
    corpus = tmp_path / "data" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("word5 ", "word7 "))
    with pytest.raises(BadInput, match="was made of other documents"):
        reports.report(out)
    with pytest.raises(BadInput, match="holds no results of `nirank run`"):
        reports.report(tmp_path)


def test_a_report_of_results_that_are_damaged_is_refused(experiment, tmp_path):
    out = tmp_path / "out"
    nirank.run(experiment, out, report=False)
    copied = shutil.copytree(out, tmp_path / "copied")
    (copied / "bm25.run").write_text((copied / "bm25.run").read_text().replace("1 Q0", "2 Q0", 1))
    with pytest.raises(BadInput, match="Run the experiment again"):
        reports.report(copied)


@pytest.mark.parametrize("name", ["measures.json", "manifest.json", "folds.json"])
@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"bm25": 3, "collection": []}', '{"bm25": {"measures": {}}}'])
def test_a_report_of_files_that_are_others_is_refused_in_a_sentence(experiment, tmp_path, name, text):
    out = tmp_path / "out"
    nirank.run(experiment, out, report=False)
    (out / "seal.json").unlink()
    (out / name).write_text(text)
    if (name, text) in (("folds.json", "[]"), ("folds.json", "{}")):
        reports.report(out)
        return
    with pytest.raises(BadInput, match=r"Run the experiment again|holds no results"):
        reports.report(out)


FOLDED = """
broken = "bm25 >> normalise(-1 * bm25, 'max')"
learned = "bm25 >> features(bm25, ql) >> linear"
[train.linear]
loss = "ranknet"
epochs = 1
sampler = {{ use = "mined", pipeline = "bm25" }}
[folds]
count = 2
seed = 2
seeds = [0, 1]
[evaluate]
"""


def test_a_later_report_has_the_folds_and_seeds_and_what_failed(experiment, tmp_path):
    pytest.importorskip("torch")
    text = experiment.read_text().replace("[evaluate]\n", FOLDED.format())
    out = tmp_path / "out"
    experiment.write_text(text)
    results = nirank.run(experiment, out, report=False)
    assert list(results.failed) == ["broken"]
    page_later = reports.report(out).read_text(encoding="utf-8")
    for told in ("Fold 1: ", "Fold 2: ", "over 2 seeds, 95 % t-interval", "broken failed:"):
        assert page_later.count(told) == page(results).count(told) > 0, told


def test_an_explanation_of_another_score_than_the_run_has_is_left_out(collection):
    shown = _results(collection, first=[[0, 1], [0, 1], []], second=[[1, 0], [1, 2], [2, 3]])  # which explains 2.0
    assert page(shown).count("<summary>why</summary>") == 3
    run = shown.systems["second"].run
    shown.systems["second"] = replace(shown.systems["second"], run=run.with_scores(run.scores + 0.01))
    assert "<summary>why</summary>" not in page(shown)


def test_a_report_of_real_results_with_four_systems_is_below_a_megabyte(shared, tmp_path, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setenv("NIRANK_REPORT", "1")
    table = {
        "collection": f"beir:{shared('nfcorpus')}",
        "pipelines": {"bm25": "bm25", "ql": "ql", "rm3": "bm25 % 50 >> rm3 >> bm25", "fused": "fuse(bm25, ql)"},
        "evaluate": {"measures": ["nDCG@10", "AP"], "latency": 3},
    }
    nirank.run(table, tmp_path / "out")
    made = tmp_path / "out" / PAGE
    assert 100_000 < made.stat().st_size < 1_000_000
    seen = browser.opened(made, tmp_path)
    assert seen.asked == []
    assert seen.document.count("<svg") == 4


def test_reasons_begin_with_what_counts_most(results, monkeypatch):
    parts = (*(Explanation(f"small {number}", 0.01) for number in range(9)), Explanation("against", -5.0))
    monkeypatch.setattr(Explains, "explain", lambda *_: Explanation("sum", 2.0, (*parts, Explanation("for", 6.91))))
    text = page(results)
    assert 0 < text.index("> for") < text.index("> against") < text.index("> small 0")
