"""Progress bars: there when wanted, on standard error, one at a time."""

from __future__ import annotations

import re
import sys
import types

import numpy as np
import pytest

import nirank
from nirank.progress import progress


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


@pytest.fixture
def notebook(monkeypatch):
    """A notebook's kernel, as far as one can see it: its shell, and a standard error that is no terminal."""
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.delenv("NIRANK_PROGRESS", raising=False)


def test_a_notebook_shows_one_line_that_is_written_over_and_gone_at_the_end(capsys, notebook):
    with progress("Counting", 1200) as advance, progress("Inside", 3) as inner:
        _work(inner)
        _work(advance, 1199)
        assert "0/1,200" in capsys.readouterr().err
        _work(advance, 1)
        last = capsys.readouterr().err
    assert last == "\rCounting: 1,200/1,200"
    assert capsys.readouterr() == ("", "\r" + " " * len("Counting: 1,200/1,200") + "\r")


def test_a_notebook_may_be_told_to_be_quiet(capsys, notebook, monkeypatch):
    monkeypatch.setenv("NIRANK_PROGRESS", "0")
    with progress("Counting", 3) as advance:
        _work(advance)
    assert capsys.readouterr() == ("", "")


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


def test_a_search_in_a_notebook_shows_progress_each_time(capsys, notebook):
    corpus = nirank.Documents(list("abcde"), [*map(str, range(5))])
    ranking = nirank.load(First()) % 5 >> nirank.load(Lengths())
    for _ in range(2):
        ranking.search(["one", "two"], corpus)
        assert re.search(r"Scoring with Lengths: \d+/10", capsys.readouterr().err)
