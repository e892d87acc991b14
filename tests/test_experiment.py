"""Experiments from TOML: what is accepted, what is refused and how it is told, what is written."""

from __future__ import annotations

import datetime
import json
import math
import tomllib

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, CompositionError, NirankError, UnknownName
from nirank.experiments import run as experiment
from nirank.experiments.experiment import Experiment
from nirank.experiments.write import refuse_unwritable
from nirank.formats.toml import to_toml
from nirank.plugins import active
from tests.named_toys import named


def toy(split: str = "test") -> Collection:
    """A collection whose relevant document has the query's letter first."""
    texts = ["apple", "banana", "cherry", "avocado"]
    corpus = Documents(["d0", "d1", "d2", "d3"], texts)
    queries = Queries(["qa", "qb", "qz", "unjudged"], ["a", "b", "z", "c"])
    return Collection(f"toy-{split}", corpus, queries, Candidates.of([[0, 3], [1], [2], []], [[1, 1], [1], [1], []]))


class FirstLetter:
    """Finds the documents that begin with the query; `bonus` is added to each score."""

    def __init__(self, bonus: float = 0.0, descending: bool = False) -> None:
        self.bonus, self.descending = bonus, descending
        self.corpus = toy().corpus

    def generate(self, queries, k):
        found = [[n for n, text in enumerate(self.corpus) if text[0] == query] for query in queries.contents]
        return Candidates.of(found, [[self.bonus] * len(row) for row in found]).top(k)

    def score(self, queries, candidates):
        return candidates.docs * (-1.0 if self.descending else 1.0)


@pytest.fixture(autouse=True)
def _registered():
    with named({"collection/toy": toy, "generator/letter": FirstLetter, "scorer/letter": FirstLetter}):
        yield


def _file(tmp_path, text):
    path = tmp_path / "try.toml"
    path.write_text(text)
    return path


GOOD = """
collection = "toy"

[pipelines]
plain = "letter"
again = "letter % 2 >> 0.5 * other"

[stage.other]
use = "scorer/letter"
descending = true

[evaluate]
measures = ["nDCG@10", "R@1"]
latency = 2
"""


def test_an_experiment_runs_and_writes_all_that_belongs_to_it(tmp_path):
    results = experiment.run(_file(tmp_path, GOOD), tmp_path / "out")
    assert set(results.systems) == {"plain", "again"}
    plain = results.systems["plain"].evaluation
    # "qz" is judged and has no results: it counts as zero; "unjudged" is left out.
    assert plain["nDCG@10"] == pytest.approx(2 / 3)
    assert (plain.unjudged, plain.empty) == (1, 1)

    out = tmp_path / "out"
    written = {path.name for path in out.iterdir()}
    assert written == {
        "plain.run", "plain.queries.tsv", "again.run", "again.queries.tsv", "seal.json",
        "measures.json", "comparison.json", "experiment.toml", "manifest.json",
    }  # fmt: skip
    run = nirank.read_run(out / "plain.run")
    assert run.query_ids == ["qa", "qb", "unjudged"]
    measures = json.loads((out / "measures.json").read_text())
    assert measures["plain"]["measures"]["nDCG@10"] == pytest.approx(2 / 3)
    assert set(measures["again"]["latency_ms"]) == {"generate letter", "score other", "total"}
    assert (out / "plain.queries.tsv").read_text().splitlines()[:2] == ["query\tnDCG@10\tR@1", "qa\t1.000000\t0.500000"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["collection"]["corpus"] == toy().corpus.fingerprint
    assert manifest["components"]["other"]["settings"] == {"bonus": 0.0, "descending": True}
    assert manifest["pipelines"]["again"] == "(letter % 2) >> (0.5 * other)"
    assert "trec_eval" in manifest["ties"]["measures"]


def test_the_resolved_experiment_says_all_and_runs_alike(tmp_path):
    first = experiment.run(_file(tmp_path, GOOD), tmp_path / "out")
    resolved = tmp_path / "out" / "experiment.toml"
    assert tomllib.loads(resolved.read_text())["evaluate"]["test"] == "randomisation"
    again = experiment.run(resolved)
    for name, system in first.systems.items():
        assert again.systems[name].evaluation.mean == system.evaluation.mean
        np.testing.assert_array_equal(again.systems[name].run.docs, system.run.docs)


def test_results_are_never_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("keep")
    with pytest.raises(BadInput, match="never overwritten"):
        experiment.run(_file(tmp_path, GOOD), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nirank.experiments.write.write_run", full)
    with pytest.raises(OSError, match="No space left"):
        experiment.run(_file(tmp_path, GOOD), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["try.toml"]


def test_one_pipeline_needs_no_table_and_a_collection_may_have_settings():
    table = {"collection": {"use": "toy", "split": "dev"}, "pipeline": "letter"}
    results = experiment.run(Experiment.of(table))
    assert results.collection.name == "toy-dev"
    assert results.comparison is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("collection =", "colection ="), UnknownName, "key 'colection'. Did you mean 'collection'"),
        (("measures =", "measure ="), UnknownName, "key 'measure'. Did you mean 'measures'"),
        (('"toy"', '"toi"'), UnknownName, "collection 'toi'. Did you mean 'toy'"),
        (('"toy"', "3"), BadInput, 'collection = "NAME"'),
        (("descending", "descending_"), UnknownName, "setting of scorer/letter 'descending_'"),
        (("true", '"yes"'), BadInput, "descending = 'yes' is not of the type bool"),
        (('"scorer/letter"', '"scorer/lettre"'), UnknownName, "scorer 'scorer/lettre'. Did you mean 'scorer/letter'"),
        (("[stage.other]", "[stage.othr]"), UnknownName, "no component 'other'|pipeline that uses stage 'othr'"),
        (('"letter"', '"letter >>"'), BadInput, "not an expression"),
        (('"letter"', '"0.5 * letter"'), BadInput, "finds none"),
        (('"letter"', '"letter % 0"'), CompositionError, "whole number from 1"),
        (('["nDCG@10", "R@1"]', '["nDGC@10"]'), UnknownName, "measure 'nDGC@10'. Did you mean 'nDCG@10'"),
        (('["nDCG@10", "R@1"]', '"nDCG@10"'), BadInput, "not a list of names"),
        (("latency = 2", 'baseline = "plane"'), UnknownName, "pipeline 'plane'. Did you mean 'plain'"),
        (("[pipelines]", 'pipeline = "letter"\n[pipelines]'), BadInput, "not both"),
        (("[evaluate]", "[evaluate"), BadInput, "not TOML"),
        (("plain =", '"plain letter" ='), BadInput, "a pipeline's name = 'plain letter' contains a space"),
        (("plain =", '"../evil" ='), BadInput, r"a pipeline's name = '../evil' contains '\.\.'"),
        (("plain =", '"/tmp/evil" ='), BadInput, "a pipeline's name = '/tmp/evil' contains '/'"),
        (("plain =", '"" ='), BadInput, "a pipeline's name = '' is empty"),
        (("latency = 2", 'test = "wilcoxon"'), UnknownName, "test 'wilcoxon'. Known: randomisation, t"),
        (("latency = 2", "test = []"), BadInput, r"test = \[\] is not of the type str"),
        (("latency = 2", "baseline = 3"), BadInput, "baseline = 3 is not of the type str"),
        (("latency = 2", "latency = -3"), BadInput, "latency = -3 is not a whole number of 0 or more"),
        (("latency = 2", "latency = true"), BadInput, "latency = True is not a whole number of 0 or more"),
        (("[pipelines]", "seed = -1\n[pipelines]"), BadInput, "seed = -1 is not a whole number of 0 or more"),
        (("[pipelines]", "name = 3\n[pipelines]"), BadInput, "name = 3 is not a text; names become file names"),
        (("[pipelines]", 'name = "a/b"\n[pipelines]'), BadInput, "name = 'a/b' contains '/'; names become file names"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_accepted(tmp_path, change, error, message):
    assert change[0] in GOOD
    path = _file(tmp_path, GOOD.replace(*change))
    with pytest.raises(error, match=message) as caught:
        experiment.run(path, tmp_path / "out")
    told = str(caught.value) + " ".join(getattr(caught.value, "__notes__", []))
    assert isinstance(caught.value, NirankError)
    assert "try.toml" in told
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"none\.toml: cannot be read"):
        Experiment.read(tmp_path / "none.toml")


def test_a_plugin_beside_the_experiment_is_loaded(tmp_path):
    (tmp_path / "nirank_plugin.py").write_text(
        "from nirank import hookimpl\n"
        "seen = []\n"
        "@hookimpl\n"
        "def nirank_evaluated(system, evaluation):\n"
        "    seen.append((system, round(evaluation['R@1'], 3)))\n"
    )
    experiment.run(_file(tmp_path, GOOD))
    (plugin,) = [plugin for plugin in active().known if plugin.name.endswith("nirank_plugin.py")]
    assert plugin.module.seen == [("plain", 0.5), ("again", 0.5)]


def test_components_of_a_plugin_beside_the_experiment_are_built(tmp_path):
    for folder, sign in (("one", ""), ("two", "-")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "nirank_plugin.py").write_text(
            "from nirank import hookimpl\n"
            "class Longest:\n"
            "    def score(self, queries, candidates):\n"
            f"        return [{sign}len(text) for text in candidates.corpus[candidates.docs]]\n"
            "@hookimpl\n"
            "def nirank_register(registry):\n"
            f"    registry.add('scorer', 'longest-{folder}', f'{{__name__}}:Longest')\n"
        )
        path = tmp_path / folder / "try.toml"
        path.write_text(f"collection = 'toy'\npipeline = 'letter >> l'\n[stage.l]\nuse = 'longest-{folder}'\n")
        found = experiment.run(path).systems["try"].run
        assert found[0][0].tolist() == ([3, 0] if folder == "one" else [0, 3])


@pytest.mark.parametrize(
    ("pipelines", "message"),
    [("{}", r"\[pipelines\] is empty"), ('"letter"', r"\[pipelines\] is 'letter'; a table is needed")],
)
def test_pipelines_are_a_table_with_a_line_at_least(tmp_path, pipelines, message):
    with pytest.raises(BadInput, match=message):
        Experiment.read(_file(tmp_path, f'collection = "toy"\npipelines = {pipelines}\n'))


def test_a_file_with_a_blank_in_its_name_gives_a_name_without(tmp_path):
    path = tmp_path / "my first try.toml"
    path.write_text('collection = "toy"\npipeline = "letter"\n')
    experiment.run(path, tmp_path / "out")
    assert (tmp_path / "out" / "my-first-try.run").exists()


@pytest.mark.parametrize(
    ("documents", "queries", "message"),
    [
        (["a", "b c"], ["q"], "1 document ids .* such as 'b c'"),
        (["a", ""], ["q"], "1 document ids .* such as ''"),
        (["a", "b\n"], ["q"], "1 document ids"),
        (["a", "b"], ["#q"], "1 query ids .* such as '#q'"),
        (["a", "b"], ["q\t1"], "1 query ids"),
    ],
)
def test_ids_that_no_run_can_hold_are_told_before_the_search(documents, queries, message):
    corpus = Documents(documents, ["x"] * len(documents))
    with pytest.raises(BadInput, match=message):
        refuse_unwritable(Collection("odd", corpus, Queries(queries, queries), Candidates.of([[0]], [[1]])))


def test_any_other_id_can_stand_in_a_run():
    odd = ["#d", "d\u00a0e", "\x7f", "日本"]
    corpus = Documents(odd, odd)
    refuse_unwritable(Collection("odd", corpus, Queries(["q#", "日"], ["a", "b"]), Candidates.of([[0], [1]])))


def test_ids_are_looked_at_only_where_a_folder_is_written(tmp_path, monkeypatch):
    def refused(collection):
        raise BadInput("odd ids")

    monkeypatch.setattr(experiment, "refuse_unwritable", refused)
    experiment.run(_file(tmp_path, GOOD))
    searched = []
    monkeypatch.setattr(FirstLetter, "generate", lambda *given: searched.append(given))
    with pytest.raises(BadInput, match="odd ids") as caught:
        experiment.run(_file(tmp_path, GOOD), tmp_path / "out")
    assert "try.toml: collection" in caught.value.__notes__[0]
    assert not searched


def test_the_empty_folder_one_stands_in_can_be_written_to(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    experiment.run(_file(tmp_path, GOOD), ".")
    assert (tmp_path / "empty" / "plain.run").exists()


def test_results_are_shown_before_they_are_written(tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nirank.experiments.write.write_run", full)
    shown = []
    with pytest.raises(OSError, match="No space left") as caught:
        experiment.run(_file(tmp_path, GOOD), tmp_path / "out", show=shown.append)
    assert set(shown[0].systems) == {"plain", "again"}
    assert f"while writing {tmp_path / 'out'}" in caught.value.__notes__


def test_a_plugin_beside_the_experiment_goes_with_its_results(tmp_path, caplog):
    source = (
        "from nirank import hookimpl\n"
        "def score(queries, candidates):\n"
        "    return candidates.docs\n"
        "class Last:\n"
        "    score = staticmethod(score)\n"
        "@hookimpl\n"
        "def nirank_register(registry):\n"
        "    registry.add('scorer', 'moving', f'{__name__}:Last')\n"
    )
    (tmp_path / "nirank_plugin.py").write_text(source)
    path = _file(tmp_path, "collection = 'toy'\npipeline = 'letter >> moving'\n")
    first = experiment.run(path, tmp_path / "out")
    assert (tmp_path / "out" / "nirank_plugin.py").read_text() == source
    again = experiment.run(tmp_path / "out" / "experiment.toml")
    np.testing.assert_array_equal(again.systems["try"].run.docs, first.systems["try"].run.docs)
    assert not caplog.records  # the copy is not loaded beside the original, whose names it would claim again


def test_toml_that_is_written_reads_back():
    odd = 'say "\\ \x7f\x00\x1f\t\n\r\u0085\u2028 日本'
    table = {
        "text": odd,
        odd: 1,
        "": True,
        "numbers": [math.inf, -math.inf, 1e-7, 1e300, -3, 2**40],
        "date": datetime.date(2020, 1, 2),
        "list": [[1, 2], [], [{"a b": "c", "d": {"e": 0.5}}]],
        "inner": {"x.y": {"empty": {}, "flag": False}},
    }
    assert tomllib.loads(to_toml(table)) == table
    assert math.isnan(tomllib.loads(to_toml({"x": math.nan}))["x"])
    assert tomllib.loads(to_toml({"i": np.int64(3), "f": np.float32(0.5), "none": None})) == {"i": 3, "f": 0.5}


def test_a_comparison_is_written_as_json_that_any_reader_takes(tmp_path):
    def refused(word):
        raise AssertionError(word)

    experiment.run(_file(tmp_path, GOOD), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "comparison.json").read_text(), parse_constant=refused)
    assert written["test"] == "randomisation"


def test_the_same_seed_gives_the_same_comparison(tmp_path):
    first, second = (experiment.run(_file(tmp_path, GOOD)).comparison for _ in range(2))
    assert first == second


def test_a_run_asks_for_as_many_documents_as_its_measures_look_at(tmp_path):
    pytest.importorskip("numba")
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": f"d{number}", "text": f"apple w{number}"}) for number in range(1500)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "apple"}')
    judged = "".join(f"q\td{number}\t1\n" for number in range(1500))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    for measures, values, warnings in (
        (["R@1000", "R@1200"], [1000 / 1500, 1200 / 1500], 1),
        (["R@1000", "AP"], [1000 / 1500, 1000 / 1500], 1),
        (["P@10", "R@1500"], [1, 1], 0),
    ):
        table = {"collection": f"beir:{folder}", "pipeline": "bm25", "evaluate": {"measures": measures}}
        (system,) = nirank.run(Experiment.of(table)).systems.values()
        assert [system.evaluation[name] for name in measures] == pytest.approx(values)
        assert len(system.evaluation.warnings) == warnings
        assert repr(system.ranking) == "bm25"


def test_toml_of_many_brackets_is_a_sentence(tmp_path):
    (tmp_path / "e.toml").write_text("a = " + "[" * 5000)
    with pytest.raises(BadInput, match=r"e\.toml: this is not TOML"):
        Experiment.read(tmp_path / "e.toml")


class _Failing:
    def score(self, queries, candidates):
        raise RuntimeError("out of paper")


def test_a_pipeline_that_fails_takes_no_other_results_away(tmp_path, caplog, monkeypatch):
    stages = {"bad": nirank.load(_Failing(), "bad"), "letter": nirank.load("generator/letter")}
    monkeypatch.setattr(
        Experiment, "build", lambda self: {name: nirank.parse(text, stages) for name, text in self.pipelines.items()}
    )
    table = {"collection": "toy", "pipelines": {"bad": "letter >> bad", "good": "letter"}}
    results = experiment.run(Experiment.of(table), tmp_path / "out")
    assert list(results.systems) == ["good"]
    assert results.failed == {"bad": "RuntimeError: out of paper"}
    assert results.comparison is None
    assert (tmp_path / "out" / "good.run").exists()
    assert "bad failed and is left out of the results: RuntimeError: out of paper" in caplog.text
    with pytest.raises(RuntimeError, match="out of paper"):
        experiment.run(Experiment.of({"collection": "toy", "pipeline": "letter >> bad"}), tmp_path / "none")
    assert not (tmp_path / "none").exists()
