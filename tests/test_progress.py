"""Progress bars: there when wanted, on standard error, one at a time."""

from __future__ import annotations

import re
import sys
import types

import numpy as np
import pytest

import nirank
from nirank.progress import progress, tell


def _work(advance, steps=3):
    for _ in range(steps):
        advance(1)


def test_nothing_is_shown_where_nobody_looks(capsys, monkeypatch):
    monkeypatch.setenv("NIRANK_PROGRESS", "0")
    with progress("Counting", 3) as advance:
        _work(advance)
    assert capsys.readouterr() == ("", "")


def test_a_bar_goes_to_standard_error_and_inner_work_shows_none(capsys, monkeypatch):
    monkeypatch.setenv("NIRANK_PROGRESS", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("Counting", 3) as advance, progress("Inside", 3) as inner:
        _work(advance)
        _work(inner)
    output, errors = capsys.readouterr()
    assert output == ""
    assert "Counting" in errors
    assert "Inside" not in errors


class _Handle:
    """What IPython gives to update what is shown, as far as it is asked for."""

    def display(self, bundle, raw):
        assert raw
        _Handle.seen.append(("new", bundle))

    def update(self, bundle, raw):
        assert raw
        _Handle.seen.append(("same", bundle))


@pytest.fixture
def notebook(monkeypatch):
    """A notebook's kernel, as far as one can see it: its shell, which has a kernel; returns what it is shown."""
    shell = types.SimpleNamespace(kernel=object())
    display = types.SimpleNamespace(DisplayHandle=_Handle)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.delenv("NIRANK_PROGRESS", raising=False)
    monkeypatch.setattr("nirank.progress._SECONDS_BETWEEN_UPDATES", 0)
    _Handle.seen = []
    return _Handle.seen


def test_a_notebook_shows_one_bar_that_is_updated_and_empty_at_the_end(capsys, notebook):
    with progress("Counting <b>", 1200) as advance, progress("Inside", 3) as inner:
        _work(inner)
        advance(1199)
        _work(advance, 1)
    assert [how for how, _ in notebook] == ["new", "same", "same"]
    assert [bundle["text/plain"] for _, bundle in notebook] == [
        "Counting <b>: 1,199/1,200",
        "Counting <b>: 1,200/1,200",
        "",
    ]
    assert "<progress" in notebook[0][1]["text/html"]
    assert "<b>" not in notebook[0][1]["text/html"]
    assert notebook[-1][1]["text/html"] == ""
    assert capsys.readouterr() == ("", "")


def test_short_work_shows_nothing_in_a_notebook(capsys, notebook, monkeypatch):
    monkeypatch.setattr("nirank.progress._SECONDS_BETWEEN_UPDATES", 60)
    with progress("Counting", 3) as advance:
        _work(advance)
    assert notebook == []


def test_a_notebook_may_be_told_to_be_quiet(capsys, notebook, monkeypatch):
    monkeypatch.setenv("NIRANK_PROGRESS", "0")
    with progress("Counting", 3) as advance:
        _work(advance)
    assert notebook == []


def test_a_shell_of_text_is_no_notebook(capsys, monkeypatch):
    shell = type("TerminalInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delenv("NIRANK_PROGRESS", raising=False)
    with progress("Counting", 3) as advance:
        _work(advance)
    assert capsys.readouterr() == ("", "")


class Lengths:
    """Scores pairs by the length of the document, two at a time."""

    batch_size = 2

    def score(self, queries, candidates):
        return np.array([len(text) for text in candidates.corpus[candidates.docs]], np.float32)


class First:
    """Finds the first documents."""

    def generate(self, queries, k):
        return nirank.Candidates.of([np.arange(k)] * len(queries), [np.zeros(k)] * len(queries))


def test_a_search_in_a_notebook_shows_progress_each_time(notebook):
    corpus = nirank.Documents(list("abcde"), [*map(str, range(5))])
    ranking = nirank.load(First()) % 5 >> nirank.load(Lengths())
    for _ in range(2):
        ranking.search(["one", "two"], corpus)
        assert any(re.search(r"Scoring with Lengths: \d+/10", bundle["text/plain"]) for _, bundle in notebook)
        notebook.clear()


def test_inner_work_tells_beside_the_bar_who_does_what(capsys, monkeypatch):
    monkeypatch.setenv("NIRANK_PROGRESS", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with progress("Encoding", 3) as advance:
        tell("chunks: 2 by 10.0.0.1 [not markup]")
        _work(advance)
    tell("nobody hears this")
    errors = capsys.readouterr().err
    assert "2 by 10.0.0.1 [not markup]" in re.sub(r"\x1b\[[\d;?]*\w", "", errors)
    assert "nobody" not in errors
