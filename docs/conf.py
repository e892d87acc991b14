"""The documentation site, by `make docs`: pages are Markdown, and the reference is made from the faces."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

project = "nirank"
author = "the nirank authors"
project_copyright = "the nirank authors; Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "nirank"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_extra_path = ["site"]  # leads from the root of the site to its first page
root_doc = "docs/index"
# The root of the repository is read, so that a link between documents holds in the site as it does among files.
include_patterns = ["docs/**", "*.md", "benchmarks/results/*.md"]
exclude_patterns = ["README.md", "docs/site", "build", "runs", ".*", "nirank", "plugins", "tests"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

default_role = "code"  # docstrings are Markdown: one backquote is code
add_module_names = False
autodoc_member_order = "alphabetical"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}

_CODE = re.compile(r"(`[^`]*`)")
_EMPHASIS = re.compile(r"(\*\w[^*]*\w\*)")
_MARKUP = re.compile(r"([*|_\\])")


def _as_restructured(*event: Any) -> None:
    """Turn the Markdown of a docstring into what autodoc reads: code, and indented blocks as they stand."""
    lines: list[str] = event[-1]  # before them come the application, and what is documented
    made: list[str] = []
    for literal, block in itertools.groupby(_paragraphs(lines), key=lambda paragraph: paragraph[0].startswith("    ")):
        for number, paragraph in enumerate(block):
            if literal and not number:
                made += ["::", ""]
            made += [*(paragraph if literal else _escaped(paragraph)), ""]
    lines[:] = made


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Lines that stand together: parted by empty lines, or where an indented block begins or ends."""
    for _, group in itertools.groupby(lines, key=lambda line: (bool(line.strip()), line.startswith("    "))):
        found = list(group)
        if found[0].strip():
            yield found


def _escaped(paragraph: list[str]) -> list[str]:
    parts = _CODE.split("\n".join(paragraph))
    return "".join(f"``{part[1:-1].strip()}``" if _CODE.fullmatch(part) else _plain(part) for part in parts).split("\n")


def _plain(text: str) -> str:
    """Text outside code: an *emphasis* stays, a star or a bar that only stands there is no markup."""
    parts = _EMPHASIS.split(text)
    return "".join(part if _EMPHASIS.fullmatch(part) else _MARKUP.sub(r"\\\1", part) for part in parts)


def setup(app: Any) -> None:
    """Read docstrings as the Markdown that they are."""
    app.connect("autodoc-process-docstring", _as_restructured)
