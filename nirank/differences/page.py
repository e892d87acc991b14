"""A comparison as a piece of HTML, for notebooks; what is in ids and settings shows as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nirank.differences.rows import Shown


def page(names: Sequence[str], sentences: Sequence[str], tables: Sequence[Shown]) -> str:
    """The names of both sides, the sentences, and the tables."""
    sides = "<br>".join(f"<b>{letter}</b> {escape(name)}" for letter, name in zip("ab", names, strict=True))
    listed = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<div><p>{sides}</p><ul>{listed}</ul>{''.join(map(_table, tables))}</div>"


def _table(shown: Shown) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in shown.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in shown.rows)
    return f"<table><caption>{escape(shown.title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str) -> str:
    return f"<td>{escape(text).replace(chr(10), '<br>')}</td>"
