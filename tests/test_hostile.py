"""What somebody else wrote does no harm: experiments, results with code, texts for the terminal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nirank.cli import app
from nirank.errors import BadInput
from nirank.experiments.experiment import Experiment
from nirank.experiments.run import run
from nirank.plugins import observers

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
