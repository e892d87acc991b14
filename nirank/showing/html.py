"""HTML for notebooks, made of elements of `xml.etree`: it writes every text and every attribute escaped.

Colours are those of the page around it (`currentColor`), so that it can be read on light and on dark ground, and
nothing is fetched from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias
from xml.etree.ElementTree import Element, tostring

#: What stands inside of an element.
Part: TypeAlias = "Element | str"

# The class stands twice in each rule, which then counts for more than the rules of Jupyter for tables.
_LINE = "color-mix(in srgb, currentColor 22%, transparent)"
_STYLE = f"""
div.nirank.nirank {{font-size: 13px; line-height: 1.4; max-width: 70em; overflow-x: auto}}
div.nirank.nirank table {{border-collapse: collapse; margin: .3em 0 .8em}}
div.nirank.nirank caption {{text-align: left; font-weight: bold; padding: .2em 0; color: inherit; caption-side: top}}
div.nirank.nirank :is(th, td) {{padding: .2em .8em .2em 0; text-align: left; vertical-align: top; white-space: normal}}
div.nirank.nirank thead th {{border-bottom: 1px solid {_LINE}; font-weight: bold}}
div.nirank.nirank tbody td {{border-bottom: 1px solid {_LINE}; max-width: 48em; overflow-wrap: anywhere}}
div.nirank.nirank .number.number {{text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap}}
div.nirank.nirank .faint {{opacity: .65}}
div.nirank.nirank img {{max-width: 96px; max-height: 96px; display: block}}
div.nirank.nirank p {{margin: .2em 0}}
div.nirank.nirank code {{background: none; color: inherit; padding: 0}}
"""


def element(tag: str, *content: Part, **attributes: str) -> Element:
    """An element with texts and other elements in it; `class_` is the attribute `class`."""
    made = Element(tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})
    for part in content:
        if not isinstance(part, str):
            made.append(part)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + part
        else:
            made.text = (made.text or "") + part
    return made


def page(*content: Part, style: str = "") -> str:
    """Elements as a piece of HTML with its style; `style` is added to the rules that all have.

    Halves of surrogate pairs, which no notebook can hold, become question marks.
    """
    whole = element("div", element("style", _STYLE + style), *content, class_="nirank")
    return tostring(whole, encoding="unicode", method="html").encode("utf-8", "replace").decode()


def table(header: Sequence[str], rows: Iterable[Sequence[Part]], caption: str = "", numbers: int = 0) -> Element:
    """A table; the last `numbers` columns are of numbers, and stand to the right."""
    first = len(header) - numbers
    made = element("table", *([element("caption", caption)] if caption else []))
    made.append(element("thead", _row("th", header, first)))
    made.append(element("tbody", *(_row("td", row, first) for row in rows)))
    return made


def notes(lines: Iterable[str]) -> list[Element]:
    """Remarks below a table, a paragraph each."""
    return [element("p", line, class_="faint") for line in lines]


def _row(tag: str, cells: Sequence[Part], first: int) -> Element:
    kinds = [{"class_": "number"} if place >= first else {} for place in range(len(cells))]
    return element("tr", *(element(tag, cell, **kind) for cell, kind in zip(cells, kinds, strict=True)))
