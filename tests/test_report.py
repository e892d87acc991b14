"""Tables of an experiment: marks, bold figures, examples, and no markup read from data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.evaluation import compare, evaluate
from nirank.experiments import report
from nirank.experiments.experiment import Evaluate, Experiment
from nirank.experiments.results import Results, System


def _printed(*tables, width=200) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(*tables)
    return captured.get()


@pytest.fixture
def results(overlap):
    corpus = Documents(["[red]", "d1", "d2"], ["a", "b", "c"])
    queries = Queries([f"q{n}" for n in range(40)], [f"[bold]query {n}" for n in range(40)])
    judgments = Candidates.of([[0]] * 40, [[1]] * 40, corpus)
    good = Candidates.of([[0, 1]] * 40, [[2, 1]] * 40, corpus)
    bad = Candidates.of([[1, 0]] * 39 + [[]], [[2, 1]] * 39 + [[]], corpus)
    table = {"collection": "x", "pipelines": {"bad": "bm25", "good[1]": "bm25"}, "evaluate": {"measures": ["RR@10"]}}
    ranking = nirank.load(overlap, "overlap") % 3
    systems = {
        name: System(name, ranking, run, evaluate(run, judgments, ["RR@10"]), 0.5, {})
        for name, run in (("bad", bad), ("good[1]", good))
    }
    comparison = compare({name: system.evaluation for name, system in systems.items()}, "bad", seed=1)
    return Results(Experiment.of(table), Collection("toy", corpus, queries, judgments), systems, comparison)


def test_the_table_has_means_marks_and_pipelines(results):
    text = _printed(report.systems_table(results))
    assert "1.0000***" in text
    assert f"{39 * 0.5 / 40:.4f} " in text
    assert text.count("overlap % 3") == 2
    assert "good[1]" in text


def test_the_table_has_the_names_that_a_family_of_measures_stands_for(results):
    run, judgments = results.systems["bad"].run, results.collection.judgments
    system = replace(results.systems["bad"], evaluation=evaluate(run, judgments, ["official"]))
    described = replace(results.experiment, evaluate=Evaluate(measures=["official"]))
    text = _printed(report.systems_table(replace(results, experiment=described, systems={"bad": system})), width=600)
    assert "recip_rank" in text
    assert f"{system.evaluation['recip_rank']:.4f}" in text


def test_the_name_of_a_collection_is_no_markup(results):
    named = replace(results, collection=replace(results.collection, name="x[/b]"))
    assert "x[/b]" in _printed(report.systems_table(named))


def test_notes_name_the_baseline_and_what_was_left_out(results):
    first, bad, _ = report.notes(results)
    assert first.startswith("Against bad: * p < 0.05")
    assert "1 judged queries have no results" in bad


def test_examples_show_ids_and_queries_as_they_are(results):
    text = _printed(report.examples_table(results, [0, 39]))
    assert "[bold]query 0" in text
    assert "[red]" in text
    assert "nothing" in text


def test_telling_queries_are_those_on_which_systems_differ_most(results):
    assert report.telling_queries(results, "RR@10", count=2)[0] == 39
    assert len(set(report.telling_queries(results, "RR@10", count=6))) == 3  # one system wins all of them


def test_comparisons_and_means_are_tables(results):
    text = _printed(report.means_table(results.comparison), report.comparison_table(results.comparison))
    assert "40/0/0" in text
    assert text.count("win/loss/tie") == 1
    assert "+0.5125" in text


def test_measures_are_printed_as_trec_eval_prints_them(results):
    evaluation = results.systems["good[1]"].evaluation
    lines = [line.split("\t") for line in report.trec_lines(evaluation, queries=True)]
    assert len(lines) == 41
    assert lines[-1] == ["RR@10".ljust(22), "all", "1.0000"]
    assert np.mean([float(value) for _, query, value in lines if query != "all"]) == 1
