"""A comparison as a piece of HTML, for notebooks; what is in ids and settings shows as text."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from nirank.differences.rows import Shown
from nirank.showing import html
from nirank.showing.html import element


def page(names: Sequence[str], sentences: Sequence[str], tables: Sequence[Shown]) -> str:
    """The names of both sides, the sentences, and the tables."""
    sides = [element("p", element("b", letter), f" {name}") for letter, name in zip("ab", names, strict=True)]
    listed = element("ul", *(element("li", sentence) for sentence in sentences))
    return html.page(*sides, listed, *map(_table, tables))


def _table(shown: Shown) -> Element:
    rows = [[_cell(text) for text in row] for row in shown.rows]
    numbers = len(shown.numbers) if shown.columns[-1] in shown.numbers else 0
    return html.table(shown.columns, rows, shown.title, numbers)


def _cell(text: str) -> Element | str:
    """A text, a line of it below the other."""
    return element("span", *(element("div", line) for line in text.split("\n"))) if "\n" in text else text
