"""A contact sheet: for some queries the images that each system found, in order, right and wrong ones framed.

The page is one file of HTML that needs nothing else: small copies of the images are in it, each once. Where a component
of a system draws (it has a method `draw(queries, count, seed)`), its drawings of the query stand beside the query.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from nirank.component import Component
from nirank.data import images
from nirank.data.collection import Collection
from nirank.data.listings import names_of
from nirank.data.queries import Queries
from nirank.data.thumbnails import SIDE, thumbnail
from nirank.data.types import Content
from nirank.errors import BadInput

if TYPE_CHECKING:
    from nirank.experiments.results import Results

log = logging.getLogger("nirank")

#: The name of the page in a folder of results.
PAGE = "contact.html"
#: Tiles of a page, so that it stays within some megabytes; and queries, so that one can look at them.
_TILES, _QUERIES = 1000, 24
#: Drawings of a query by each component that draws.
_DRAWINGS = 4
_LETTERS = 80  # of a text that stands for an image


def pictured(collection: Collection) -> bool:
    """True where documents or queries are images, by the first of each."""
    firsts = (contents[0] for contents in (collection.corpus, collection.queries.contents) if len(contents))
    return any(images.is_image(first) for first in firsts)


def page(results: Results, queries: Sequence[int] | None = None, k: int = 10) -> str:
    """The page, of the best `k` of each system for the rows `queries`: those on which the systems differ most, if None.

    Relevant images have a green frame and a tick, others a red one and a cross; unjudged ones are grey, where a query
    has judgments of both kinds.
    """
    rows = _telling(results, k) if queries is None else list(queries)
    album = _Album()
    drawings = _drawings(results, rows)
    sections = "\n".join(_section(results, row, k, album, drawings.get(row, {})) for row in rows)
    title = escape(repr(results.collection).strip("<>"))
    notes = "".join(_note(name, results) for name in results.systems)
    head = _HEAD.replace("TITLE", title).replace("STYLE", _STYLE + "\n" + "\n".join(album.rules()))
    return f"{head}<h1>{title}</h1>\n<ul>{notes}</ul>\n{sections}\n</body></html>\n"


class _Album:
    """Small copies of images, each once however often it is shown: a rule of CSS for each."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, int], int] = {}
        self._data: list[str] = []

    def tile(self, key: tuple[str, int], content: Content, name: str) -> str:
        """The HTML that shows a content: a picture, known by `key`, or the beginning of a text."""
        if not images.is_image(content):
            return f"<p>{escape(_short(str(content)))}</p>"
        if key not in self._numbers:
            self._numbers[key] = len(self._data)
            self._data.append(thumbnail(content))
        return f'<div class="i i{self._numbers[key]}" role="img" aria-label="{escape(name)}"></div>'

    def rules(self) -> Iterator[str]:
        """The pictures as CSS."""
        for number, data in enumerate(self._data):
            yield f".i{number}{{background-image:url({data})}}"


def _telling(results: Results, k: int) -> list[int]:
    """The queries on which the systems differ most, and the first ones, as many as there is room for."""
    from nirank.experiments.report import telling_queries

    room = max(1, min(_QUERIES, _TILES // (k * len(results.systems))))
    chosen = telling_queries(results, results.measured[0], room)
    rest = (row for row in range(len(results.collection.queries)) if row not in set(chosen))
    return chosen + [row for row, _ in zip(rest, range(room - len(chosen)), strict=False)]


def _drawings(results: Results, rows: Sequence[int]) -> dict[int, dict[str, list[Content]]]:
    """For each row of a text the drawings of every component that draws, by its name."""
    queries = results.collection.queries
    texts = [row for row in rows if isinstance(queries.contents[row], str)]
    found: dict[int, dict[str, list[Content]]] = {row: {} for row in texts}
    components = [each for system in results.systems.values() for each in system.ranking.components()]
    for component in dict.fromkeys(each for each in components if each.can("draw")):
        drawn = _drawn(component, queries.take(np.array(texts, np.int64))) if texts else []
        for row, pictures in zip(texts, drawn, strict=False):  # nothing where it cannot draw
            found[row][component.name] = pictures
    return found


def _drawn(component: Component, queries: Queries) -> list[list[Content]]:
    try:
        drawn: list[list[Content]] = component.target.draw(queries, _DRAWINGS, seed=0)
    except BadInput as error:
        log.warning("%s draws nothing for the contact sheet: %s", component.name, error)
        return []
    return drawn


def _section(results: Results, row: int, k: int, album: _Album, drawings: dict[str, list[Content]]) -> str:
    queries = results.collection.queries
    asked = album.tile(("query", row), queries.contents[row], queries.ids[row])
    columns = "".join(_column(results, name, row, k, album) for name in results.systems)
    shown = "".join(_sketches(name, row, pictures, album) for name, pictures in drawings.items())
    return (
        f'<section><header>{asked}<small>{escape(queries.ids[row])}</small>{shown}</header><div class="s">{columns}'
        "</div></section>"
    )


def _sketches(name: str, row: int, pictures: Sequence[Content], album: _Album) -> str:
    """The drawings of a query by one component."""
    called = f"drawn by {name}"
    tiles = [
        f"<figure class='open'>{album.tile((called, row * _DRAWINGS + place), picture, called)}</figure>"
        for place, picture in enumerate(pictures)
    ]
    return f"<h2>{escape(called)}</h2>{''.join(tiles)}"


def _column(results: Results, name: str, row: int, k: int, album: _Album) -> str:
    """The column of one system: its documents for a query."""
    docs, scores = (column[:k] for column in results.systems[name].run[row])
    graded = dict(zip(*(column.tolist() for column in results.collection.judgments[row]), strict=True))
    contents, names = results.collection.corpus[docs], names_of(results.collection.corpus, docs)
    kinds = [_kind(doc, graded) for doc in docs.tolist()]
    tiles = [
        _figure(place, kind, score, called, album.tile(("document", doc), content, called))
        for place, (kind, score, called, doc, content) in enumerate(
            zip(kinds, scores.tolist(), names, docs.tolist(), contents, strict=True), 1
        )
    ]
    good = sum(grade > 0 for grade in graded.values())
    head = f"<h2>{escape(name)} <small>{kinds.count('right')} of {good}</small></h2>"
    return f"<div>{head}{''.join(tiles) or '<p>nothing</p>'}</div>"


def _figure(place: int, kind: str, score: float, called: str, tile: str) -> str:
    caption = f"<figcaption>{place} {_MARKS[kind]} {escape(_short(called))}</figcaption>"
    return f'<figure class="{kind}" title="{score:.4f}">{tile}{caption}</figure>'


def _kind(doc: int, graded: dict[int, float]) -> str:
    if graded.get(doc, 0) > 0:
        return "right"
    judged_wrong = any(grade <= 0 for grade in graded.values())
    return "wrong" if doc in graded or not judged_wrong else "open"


def _note(name: str, results: Results) -> str:
    """A system's expression and measures."""
    system = results.systems[name]
    measures = ", ".join(f"{measure} {value:.4f}" for measure, value in system.evaluation.mean.items())
    return f"<li><b>{escape(name)}</b> <code>{escape(repr(system.ranking))}</code> {escape(measures)}</li>"


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


_MARKS = {"right": "✓", "wrong": "✗", "open": "?"}
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>TITLE</title><style>STYLE</style></head><body>
"""
_STYLE = f"""
body {{font: 14px/1.35 system-ui, sans-serif; margin: 1.5em; color: #222; background: #fff}}
h1 {{font-size: 1.3em}} h2 {{font-size: 1em; margin: 0 0 .4em}} small {{color: #666; font-weight: normal}}
section {{display: grid; grid-template-columns: 9em 1fr; gap: 1em; border-top: 1px solid #ccc; padding: 1em 0}}
header p {{font-size: 1.2em; margin: 0 0 .3em; overflow-wrap: anywhere}}
.s {{display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 1em}}
figure {{display: inline-block; vertical-align: top; width: {SIDE}px; margin: 0 6px 6px 0; padding: 3px}}
figure {{border: 3px solid}}
figure p {{margin: 0; min-height: {SIDE}px; overflow: hidden; overflow-wrap: anywhere}}
figcaption {{font-size: 11px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap}}
.i {{width: {SIDE}px; height: {SIDE}px; background: center / contain no-repeat}}
.right {{border-color: #178a3a}} .wrong {{border-color: #c62f2f}} .open {{border-color: #bbb}}
"""
