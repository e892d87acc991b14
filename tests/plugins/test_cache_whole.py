"""The whole cache folder: sizes, leftovers, a limit, and emptying it, by `nirank cache`."""

from __future__ import annotations

import os
import time

import pytest
from typer.testing import CliRunner

import nirank
from nirank.cli import app
from nirank.data import Documents, write_corpus
from nirank.errors import BadInput
from nirank_cache import whole


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with two indexes, the first not used for long, a corpus, and what a killed process left."""
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    for name in ("old", "new"):
        (nirank.load("bm25") % 5).index(Documents(["a"], [f"{name} words"]))
    write_corpus(tmp_path / "corpora" / "c-1.arrow", [{"id": ["a"], "title": [""], "text": ["b"]}])
    for left in ("corpora/.c-1.arrow.x1", "indexes/i.partial", "corpora/.c-2.arrow.new"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "half").write_text("half")
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "abc").write_text("")
    for left in ("corpora/.c-1.arrow.x1", "indexes/i.partial"):
        os.utime(tmp_path / left / "half", (time.time() - 90_000,) * 2)
    return tmp_path


def _indexes(cache):
    return sorted(path for path in (cache / "indexes").iterdir() if path.is_dir() and path.suffix != ".partial")


def _run(*arguments):
    done = CliRunner().invoke(app, ["cache", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folder", "other", "--clear", "--everything"], "leave --folder out"),
        (["--folder", "other", "--limit", "0"], "leave --folder out"),
        (["--clear", "--sizes"], "--clear alone the scores and vectors"),
        (["--everything"], "--clear --everything empties"),
        (["--limit", "-1"], "a size from 0 on"),
    ],
)
def test_options_that_do_not_go_together_drop_nothing(cache, arguments, message):
    before = sorted(cache.rglob("*"))
    with pytest.raises(BadInput, match=message):
        CliRunner().invoke(app, ["cache", *arguments], catch_exceptions=False)
    assert sorted(cache.rglob("*")) == before


def test_sizes_are_shown_by_part(cache):
    shown = _run("--sizes")
    assert all(part in shown for part in ("indexes", "corpora", "verified", "trusted"))
    assert whole.sizes(cache)["corpora"][0] == 4


def test_a_limit_drops_leftovers_and_then_what_was_not_used_for_longest(cache):
    old, new = _indexes(cache)
    for path in old.rglob("*"):
        os.utime(path, (time.time() - 1000,) * 2)
    _run("--limit", "10")
    assert sorted(path.name for path in cache.rglob("half")) == ["half"]
    assert (cache / "corpora" / ".c-2.arrow.new" / "half").exists()  # somebody may be writing it
    assert _indexes(cache) == [old, new]
    total = sum(size for _, size in whole.sizes(cache).values())
    assert whole.trim(cache, total - 1) == 1
    assert _indexes(cache) == [new]
    assert not list(cache.glob(f"indexes/{old.name}*"))
    whole.trim(cache, 0)
    assert _indexes(cache) == []
    assert not (cache / "corpora" / "c-1.arrow").exists()


def test_attributes_go_with_their_corpus_and_never_before_it(tmp_path):
    corpora = tmp_path / "corpora"
    for name in ("c-1", "c-2"):
        write_corpus(corpora / f"{name}.arrow", [{"id": ["a"], "text": ["b"], "year": [1]}], ["text"])
    for path in corpora.iterdir():  # the attributes of the second are used by nobody
        os.utime(path, (time.time() - (1000 if path.name.startswith("c-1") or "attributes" in path.name else 0),) * 2)
    assert [len(entry.paths) for entry in whole.entries(tmp_path)] == [4, 4]
    total = sum(size for _, size in whole.sizes(tmp_path).values())
    assert whole.trim(tmp_path, total - 1) == 1
    assert {path.name.partition(".")[0] for path in corpora.iterdir()} == {"c-2"}
    assert nirank.ArrowCorpus(corpora / "c-2.arrow").attributes == ("year",)


def test_everything_is_cleared_but_what_cannot_be_made_again(cache):
    (cache / "search-history").write_text("fox\n")
    _run("--clear", "--everything")
    assert sorted(path.name for path in cache.iterdir()) == ["search-history", "trusted"]
    (nirank.load("bm25") % 5).search(["words"], Documents(["a"], ["words"]))
