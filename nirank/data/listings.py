"""Listings: the first results of the first queries, with ids, scores and contents, as text and as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

import numpy as np

from nirank.data import images
from nirank.data.thumbnails import thumbnail
from nirank.data.types import Content, Corpus
from nirank.showing import html, terminal

if TYPE_CHECKING:
    from rich.table import Table

#: How many queries of a run are shown, how many results of each, and how many letters of a text.
_QUERIES, _RESULTS, _LETTERS = 3, 5, 160
#: How many queries are shown by themselves, and so many grades that each is counted.
_SHOWN, _GRADES = 5, 10


@dataclass(frozen=True)
class Result:
    """A document in its place; one that the corpus lacks, or of no known corpus, has no content."""

    rank: int
    id: str
    score: float
    content: Content | None = None


@dataclass(frozen=True)
class Listing:
    """The first results of a query, and the number of all."""

    query: str
    results: list[Result]
    found: int


def names_of(corpus: Any, docs: Any) -> list[str]:
    """The names of documents: their field `name`, or else their ids."""
    if "name" in getattr(corpus, "fields", ()):
        names: list[str] = corpus.column("name", np.asarray(docs, np.int64))
        return names
    return list(corpus.ids.take(docs))


def listings(candidates: Any, queries: int = _QUERIES, k: int = _RESULTS) -> Iterator[Listing]:
    """The first `k` documents, in the order in which they stand, of each of the first queries."""
    for row in range(min(queries, len(candidates))):
        docs, scores = candidates[row]
        name = str(row) if candidates.query_ids is None else candidates.query_ids[row]
        results = [
            Result(rank, _named(candidates.corpus, doc), score, _content(candidates.corpus, doc))
            for rank, (doc, score) in enumerate(zip(docs[:k].tolist(), scores[:k].tolist(), strict=True), 1)
        ]
        yield Listing(name, results, len(docs))


def _named(corpus: Corpus | None, doc: int) -> str:
    return corpus.ids[doc] if corpus is not None and 0 <= doc < len(corpus) else f"(ordinal {doc})"


def _content(corpus: Corpus | None, doc: int) -> Content | None:
    return corpus[[doc]][0] if corpus is not None and 0 <= doc < len(corpus) else None


def as_text(candidates: Any) -> str:
    """A listing for a terminal."""
    parts = [_text_table(listing) for listing in listings(candidates)]
    return terminal.printed(*parts, *map(terminal.shown, _rest(candidates)))


def _text_table(listing: Listing) -> Table:
    from rich.table import Table

    table = Table(title=terminal.shown(_title(listing)), title_justify="left", show_header=False, box=None)
    for result in listing.results:
        cells = (str(result.rank), f"{result.score:.4f}", result.id, _as_line(result.content))
        table.add_row(*map(terminal.shown, cells))
    return table


def as_html(candidates: Any) -> str:
    """A listing for a notebook: texts, and small copies of images."""
    return html.page(*map(_html_table, listings(candidates)), *html.notes(_rest(candidates)))


def _html_table(listing: Listing) -> Element:
    rows = [
        (str(result.rank), f"{result.score:.4f}", html.element("b", result.id), shown(result.content, result.id))
        for result in listing.results
    ]
    return html.table(("", "score", "document", ""), rows, _title(listing))


def shown(content: Content | None, name: str) -> html.Part:
    """A content in HTML: the beginning of a text, a small copy of an image, nothing for None."""
    if content is None or not images.is_image(content):
        return _as_line(content)
    return html.element("img", src=thumbnail(content), alt=name)


def _as_line(content: Content | None) -> str:
    if content is None:
        return ""
    return terminal.beginning(str(content), _LETTERS) if not images.is_image(content) else "(an image)"


def _title(listing: Listing) -> str:
    more = "" if listing.found == len(listing.results) else f", the first {len(listing.results)} of {listing.found:,}"
    return f"query {listing.query}{more}" if listing.found else f"query {listing.query}: nothing"


def _rest(candidates: Any) -> Sequence[str]:
    """The remarks on what is not shown."""
    lines = []
    if len(candidates) > _QUERIES:
        lines.append(f"... and {len(candidates) - _QUERIES:,} more queries; {candidates.pairs:,} pairs in all.")
    if candidates.corpus is None:
        lines.append("Without a corpus documents have no ids here: candidates.over(corpus).")
    return lines


def queries_text(queries: Any) -> str:
    """The first queries for a terminal."""
    from rich.table import Table

    table = Table("id", "query", title=f"{len(queries):,} queries", title_justify="left", box=None)
    for name, content in _first(queries):
        table.add_row(terminal.shown(name), terminal.shown(_as_line(content)))
    return terminal.printed(table)


def queries_table(queries: Any) -> Element:
    """The first queries in HTML."""
    rows = [(name, shown(content, name)) for name, content in _first(queries)]
    return html.table(("id", "query"), rows, f"{len(queries):,} queries")


def collection_html(collection: Any) -> str:
    """A collection in HTML: its sizes, its first queries, and how they are judged."""
    judged = collection.judgments
    values, counts = np.unique(judged.scores, return_counts=True)
    grades = [(f"{value:g}", f"{count:,}") for value, count in zip(values.tolist(), counts.tolist(), strict=True)]
    sizes = html.table(
        ("", ""),
        [
            ("documents", f"{len(collection.corpus):,}"),
            ("fields", ", ".join(getattr(collection.corpus, "fields", ())) or "none"),
            ("judgments", f"{judged.pairs:,}, {judged.pairs / max(1, len(judged)):.1f} a query"),
        ],
        collection.name,
    )
    graded = html.table(("grade", "judgments"), grades, numbers=1)
    return html.page(sizes, queries_table(collection.queries), *([graded] if len(grades) <= _GRADES else []))


def _first(queries: Any) -> Iterator[tuple[str, Content]]:
    yield from zip(queries.ids[:_SHOWN], queries.contents[:_SHOWN], strict=True)
