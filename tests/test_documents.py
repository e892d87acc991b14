"""The documents: what they show runs, where they point there is something, and the site is built without a warning."""

from __future__ import annotations

import contextlib
import importlib
import re
import subprocess
import sys

import pytest
from sybil import Sybil

from nirank.errors import MissingDependency
from nirank.evaluation import MEASURES
from nirank.plugins import active
from nirank.training import Options
from tests import documents

PAGES = documents.pages()
SHOWN = {"python", "sh", "toml", "text"}
#: Blocks that cannot run here: they install, download, train for long or need a model that is not at hand.
NOT_RUN = 16


def _runnable(page):
    return any(
        block["mark"] == "file" or (block["mark"] is None and block["language"] in ("python", "sh"))
        for block in documents.blocks(page)
    )


@pytest.mark.parametrize("page", filter(_runnable, PAGES))
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIRANK_PROGRESS", "0")
    sybil = Sybil(parsers=[documents.parser(tmp_path)], path=str(documents.ROOT))
    examples = list(sybil.parse(documents.ROOT / page).examples())
    assert examples
    for example in examples:
        with _adapters_of_what_is_there(page):
            example.evaluate()


@contextlib.contextmanager
def _adapters_of_what_is_there(page):
    """Pass over a block for a library that is not installed, on the page of adapters; `make test-adapters` has all."""
    try:
        yield
    except MissingDependency:
        if page != "docs/how-to/other-libraries.md":
            raise


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    fences = re.findall(r"^```", (documents.ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    blocks = documents.blocks(page)
    assert len(fences) == 2 * len(blocks)
    # what Sphinx reads itself is no code: {toctree}, {include}, {automodule}
    assert {block["language"] for block in blocks if not block["language"].startswith("{")} <= SHOWN
    assert [block["what"] for block in blocks if block["language"] == "toml" and block["mark"] != "file"] == []


def test_few_blocks_are_not_run():
    marked = [block for page in PAGES for block in documents.blocks(page) if block["mark"] == "not run"]
    assert len(marked) == NOT_RUN


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target, path, anchor in documents.targets(page):
        assert path.exists(), target
        assert not anchor or anchor in set(documents.anchors(path)), target


def test_the_first_page_is_short():
    assert len((documents.ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_guide_has_the_table_of_traits():
    """`python tests/documents.py` prints it."""
    assert documents.traits() in (documents.DOCS / "plugins.md").read_text(encoding="utf-8")


def test_the_page_on_the_command_line_has_every_command_and_option():
    """`python tests/documents.py` prints them."""
    assert documents.commands() in (documents.DOCS / "command-line.md").read_text(encoding="utf-8")


def test_every_option_says_what_it_does():
    told = re.findall(r"^\| `[^|]+\| ([^|]*) \|", documents.commands(), re.MULTILINE)
    assert len(told) > 30
    assert "" not in told


def test_the_default_measures_are_those_that_the_help_names():
    assert f"Default: {', '.join(MEASURES)}." in documents.commands()


def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=documents.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(tmp_path / "site").with_suffix(".md").as_posix() for path in tmp_path.rglob("*.html")}
    assert {page for page in PAGES if not page.endswith("README.md")} <= made


def test_what_moved_is_where_the_changes_say():
    moved = re.findall(r"^\| `[\w.]+` \| `([\w.]+)` \|$", (documents.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert len(moved) > 40
    for place in moved:
        home, _, name = place.rpartition(".")
        assert name in importlib.import_module(home).__all__ or importlib.import_module(place)


@pytest.mark.parametrize(
    ("page", "kinds"),
    [
        ("components.md", ("encoder", "generator", "scorer", "extractor", "writer")),
        ("concepts/losses.md", ("loss",)),
        ("concepts/training.md", ("sampler",)),
        ("concepts/observers.md", ("observer",)),
    ],
)
def test_a_page_lists_every_component_of_its_kinds(page, kinds):
    text = (documents.DOCS / page).read_text(encoding="utf-8")
    ours = [entry for entry in active().registry if entry.kind in kinds and entry.plugin.distribution == "nirank"]
    assert len(ours) > 3
    assert [entry.spec for entry in ours if f"`{entry.name}`" not in text] == []


def test_the_options_of_training_are_listed():
    text = (documents.DOCS / "concepts" / "training.md").read_text(encoding="utf-8")
    assert [name for name in Options.__dataclass_fields__ if f"`{name}`" not in text] == []
