"""Progress bars: there when wanted, on standard error, one at a time."""

from __future__ import annotations

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
