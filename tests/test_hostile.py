"""What somebody else wrote does no harm: experiments, results with code, texts for the terminal."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nirank
from nirank import files, seals
from nirank.checkpoints import checkpoint
from nirank.cli import app
from nirank.errors import BadInput, DamagedFile, NirankError
from nirank.execution import indexes
from nirank.experiments import workspace
from nirank.experiments.experiment import Experiment
from nirank.experiments.run import run
from nirank.plugins import observers
from tests.fuzz import damage
from tests.training_toys import registered

EXPERIMENT = """
collection = {{ use = "jsonl", documents = "{folder}/docs.jsonl" }}
pipelines = {{ found = "bm25" }}
{more}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs.jsonl").write_text('{"id": "d1", "text": "a small cat"}\n')
    return tmp_path


def _experiment(folder, more):
    path = folder / "sent.toml"
    path.write_text(f'name = "sent"\ncollection = "emoji"\npipeline = "bm25"\n{more}\n')
    return path


@pytest.mark.parametrize(("observer", "setting"), [("log", "file"), ("trace", "file"), ("cache", "folder")])
@pytest.mark.parametrize("place", ["~/.bashrc", "/etc/cron.d/x", "../outside", "runs/../setup.py", "here.jsonl"])
def test_an_experiment_file_has_nothing_written_outside_of_runs_and_the_cache(folder, observer, setting, place):
    described = Experiment.read(_experiment(folder, f"[plugin.{observer}]\n{setting} = {place!r}"))
    with pytest.raises(BadInput, match=rf"outside of \./runs .* --with {observer}\.{setting}=PLACE") as caught:
        described.observers()
    assert any(f"[plugin.{observer}]" in note for note in caught.value.__notes__)


def test_a_link_out_of_runs_is_followed_before_it_is_judged(folder, tmp_path_factory):
    (folder / "runs").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    (folder / "runs" / "out").symlink_to(folder)
    described = Experiment.read(_experiment(folder, '[plugin.log]\nfile = "runs/out/docs.jsonl"'))
    with pytest.raises(BadInput, match="outside of"):
        described.observers()


def test_what_the_user_says_goes_anywhere_and_what_is_inside_needs_no_word(folder):
    inside = Experiment.read(_experiment(folder, '[plugin.log]\nfile = "runs/mine.jsonl"'))
    assert inside.observers()[0].file == Path("runs/mine.jsonl")
    assert observers.build("log", {"file": str(folder / "x.jsonl")}).file == folder / "x.jsonl"


PLUGIN = """
from pathlib import Path
Path("{mark}").write_text("ran")
"""


def _results(folder, mark):
    """A folder of results as somebody may send it: with a manifest, an experiment and code."""
    sent = folder / "sent"
    sent.mkdir()
    (sent / "manifest.json").write_text("{}")
    (sent / "nirank_plugin.py").write_text(PLUGIN.format(mark=mark))
    (sent / "experiment.toml").write_text('name = "x"\ncollection = "nothing"\npipeline = "bm25"\n')
    return sent


def test_code_that_came_with_results_runs_only_where_it_is_trusted(folder):
    sent = _results(folder, folder / "mark")
    with pytest.raises(BadInput, match=r"nirank_plugin\.py: came with these results.* --trust"):
        run(sent / "experiment.toml")
    assert not (folder / "mark").exists()
    result = CliRunner().invoke(app, ["run", str(sent / "experiment.toml"), "--trust"])
    assert "nothing" in str(result.exception)  # there is no such collection, which is found out later
    assert (folder / "mark").read_text() == "ran"
    (folder / "mark").unlink()
    shutil.copytree(sent, folder / "again")
    (folder / "again" / "nirank_plugin.py").write_text(PLUGIN.format(mark=folder / "other"))
    with pytest.raises(BadInput, match="came with these results"):
        run(folder / "again" / "experiment.toml")
    assert not (folder / "other").exists()


def test_escape_sequences_are_seen_in_the_terminal_and_do_nothing(folder):
    (folder / "docs.jsonl").write_text('{"id": "\\u001b[2Jd1", "text": "cat \\u001b]0;owned\\u0007 \\u009b31m"}\n')
    result = CliRunner().invoke(app, ["search", "cat", "-c", f"jsonl:{folder / 'docs.jsonl'}"], catch_exceptions=False)
    assert result.exit_code == 0
    assert not {"\x1b", "\x07", "\x9b"} & set(result.output)
    assert "␛[2Jd1" in result.output


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


def _endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def _sparse(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _folder(path):
    path.unlink()
    path.mkdir()


def _deep(path):
    path.write_text("[" * 200_000 + "\n")


def _brackets(path):
    path.write_text('{"a":' * 100_000 + "\n")


#: Of what lies on disk, a file that is read whole.
READ_WHOLE = [
    ("folder", "seal.json"),
    ("folder", "search.toml"),
    ("index:generator/bm25", "seal.json"),
    ("index:generator/bm25", "manifest.json"),
    ("checkpoint:scorer/linear", "seal.json"),
    ("checkpoint:scorer/linear", "component.json"),
    ("corpus", "corpus.arrow"),
    ("training", "plan.json"),
    ("training", "log.jsonl"),
    ("training", "state.pt"),
    ("training", "best.safetensors"),
]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("change", [_pipe, _endless, _sparse, _folder, _deep, _brackets])
@pytest.mark.parametrize(("kind", "name"), READ_WHOLE, ids=[f"{kind}-{name}" for kind, name in READ_WHOLE])
def test_what_never_ends_or_is_too_much_is_told_where_a_file_is_expected(kind, name, change, tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    if change is _sparse and name == "log.jsonl":
        pytest.skip("a log is as long as its training")
    opened = damage.made(kind, tmp_path / "whole")
    for seal in [] if name == "seal.json" else [*(tmp_path / "whole").rglob(f"*{seals.SEAL}")]:
        seal.unlink()
    change(tmp_path / "whole" / name)
    with pytest.raises(NirankError):
        opened(tmp_path / "whole")


def test_what_stands_in_a_pipe_or_is_a_folder_is_no_description(tmp_path):
    (tmp_path / "within").mkdir()
    os.mkfifo(tmp_path / "within" / "pipe")
    with pytest.raises(DamagedFile, match="pipe: is no plain file"):
        files.refuse_special(tmp_path)
    with pytest.raises(DamagedFile, match="is a folder"):
        files.small_text(tmp_path)


SEALS = [
    '{"x": [1e999, "a"]}',
    '{"x": [-1, "a"]}',
    '{"": [1, "a"]}',
    '{"a\\u0000b": [1, "a"]}',
    '{"\\ud800": [1, "a"]}',
    '{"x": [0, "a"], "x": [1, "a"]}',
    '{"../x": [1, "a"]}',
    '{"/etc/passwd": [1, "a"]}',
    '{"x": [1, "a"]}, "next": 5',
    '{"x": [1, "a"]}, "next": {"../y": [1, "a"]}',
]


@pytest.mark.parametrize("listed", SEALS)
def test_a_seal_of_names_and_sizes_that_cannot_be_is_told(listed, tmp_path):
    (tmp_path / seals.SEAL).write_text(f'{{"version": 1, "files": {listed}, "seal": "a"}}')
    with pytest.raises(DamagedFile):
        seals.check(tmp_path, "")


MANIFESTS = [
    {"documents": "x"},
    {"documents": None},
    {"corpus": None},
    {"corpus": {"a": 1}},
    {"key": None},
    {"key": []},
    {"files": [1]},
    {"files": {"../../x": 3}},
    {"files": {"a\0b": 3}},
    {"layout": "1"},
]


@pytest.mark.parametrize("changed", MANIFESTS, ids=str)
def test_a_manifest_of_an_index_that_cannot_be_is_told(changed, tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    opened, path = damage.made("index:generator/bm25", tmp_path / "whole"), tmp_path / "whole" / indexes.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    damage._reseal(tmp_path / "whole", path)
    with pytest.raises(NirankError, match=r"manifest\.json is damaged|is missing|of another version"):
        opened(tmp_path / "whole")


COMPONENTS = [
    {"use": "observer/log", "settings": {"file": "stolen"}},
    {"use": "collection/jsonl", "settings": {}},
    {"use": ["a"]},
    {"use": 5},
    {"name": 5},
    {"settings": [1]},
    {"fixture": [1]},
    {"fixture": {"scores": "x", "versions": {}}},
    {"fixture": {"scores": [1, [2]], "versions": {}}},
    {"fixture": {"scores": [1], "versions": None}},
]


@pytest.mark.parametrize("changed", COMPONENTS, ids=str)
def test_a_checkpoint_of_what_is_no_stage_or_cannot_be_is_refused(changed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "linear"
    damage.made("checkpoint:scorer/linear", folder)
    path = folder / checkpoint.COMPONENT
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    damage._reseal(folder, path)
    with pytest.raises(NirankError):
        checkpoint.load(folder)
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("name", ["../../x", "/x", "a/b", "..", "", "a\0b", "a\x1bb", "é" * 110])
def test_a_pipeline_s_name_leads_nowhere_else(name, folder):
    described = {"collection": "numbers", "pipelines": {name: "everything >> weighed"}}
    with registered(), pytest.raises(BadInput, match="names become file names"):
        nirank.run(described, folder / "results")


def test_names_that_are_no_text_do_no_harm(folder):
    odd = os.fsdecode(b"docs\xff.jsonl")
    try:
        shutil.copy(folder / "docs.jsonl", folder / odd)
    except OSError:
        pytest.skip("this system has only names that are text")
    made = workspace.create(folder / os.fsdecode(b"made\xff"), f"jsonl:{folder / 'docs.jsonl'}", "bm25")
    assert made.corpus.ids.take(made.search("cat", 1)[0]) == ["d1"]
    over = workspace.over(f"jsonl:{folder / odd}", "bm25")
    assert over.corpus.ids.take(over.search("cat", 1)[0]) == ["d1"]
    with pytest.raises(BadInput, match="no text in UTF-8"):
        workspace.create(folder / "made", f"jsonl:{folder / odd}", "bm25")


def test_a_run_in_a_folder_of_results_that_has_changed_is_told(tmp_path):
    opened, folder = damage.made("results", tmp_path / "whole"), tmp_path / "whole"
    run_file, qrels = folder / "whole.run", tmp_path / "qrels.txt"
    nirank.evaluate(run_file, qrels, ["nDCG@3"])
    run_file.write_text(run_file.read_text().replace(" 1 ", " 2 ", 1))
    with pytest.raises(DamagedFile, match=r"whole\.run: is damaged.* seal\.json"):
        nirank.evaluate(run_file, qrels, ["nDCG@3"])
    (folder / seals.SEAL).unlink()
    nirank.evaluate(run_file, qrels, ["nDCG@3"])
    with pytest.raises(BadInput, match="not vouched for"):
        opened(folder)
