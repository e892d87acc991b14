"""The ids of queries that people type: those of the collection where it has them, else made of their text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from nirank.data.queries import Queries
from nirank.errors import BadInput, UnknownName
from nirank.hashing import digest

_SHOWN = 20  # ids, to one who gave another
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


class QueryNames:
    """Ids and texts of the queries of a collection, perhaps of none, and of those that others have asked since."""

    def __init__(self, queries: Queries | None = None) -> None:
        ids, contents = (queries.ids, queries.contents) if queries is not None else ((), ())
        self.texts: dict[str, str] = {query: text_of(content) for query, content in zip(ids, contents, strict=True)}
        self._ids = {text: query for query, text in reversed(self.texts.items())}  # of equal texts, the first has it

    def identify(
        self, text: str | None, query_id: str | None = None, more: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """The id and the text of a query of which the text, the id, or both are given.

        `more` are texts, by id, that are known beside those of the collection. Raises `UnknownName` for an id that
        nobody knows, and `BadInput` for an id of another text, for a text of blanks, and for neither.
        """
        written = None if text is None else cleaned(text)
        if written and query_id in (None, own := self._id_of(written)):
            return own, written
        if query_id is not None:
            return query_id, self._text_of(query_id, written, more or {})
        raise BadInput("the query is empty: give its text, or the id of a query of the collection.")

    def _id_of(self, written: str) -> str:
        return self._ids.get(written) or f"asked-{digest(written)[:16]}"

    def _text_of(self, query_id: str, written: str | None, more: Mapping[str, str]) -> str:
        known = self.texts.get(query_id, more.get(query_id))
        if known is None:
            hint = "Leave the id out where the query is not one of the collection: it is given one."
            raise UnknownName("query", query_id, [*self.texts, *more][:_SHOWN], hint)
        if written not in (None, known):
            raise BadInput(f"query {query_id!r} is {known!r:.200}, and not {written!r:.200}: leave one of both out.")
        return known


def cleaned(text: str) -> str:
    """A text in one line: each run of white space and control characters is one blank, as a file of topics needs it.

    Raises `BadInput` for half of a surrogate pair, which no file can hold.
    """
    require_unicode(text, "the query")
    return _BLANKS.sub(" ", text).strip()


def text_of(content: Any) -> str:
    """The text of a query, and of an image the name of its file, if it has one."""
    if isinstance(content, str):
        return cleaned(content)
    return cleaned(content.name) if isinstance(content, PurePath) else ""


def require_unicode(text: str, what: str) -> None:
    """Raise `BadInput` where a text cannot be written in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} has half of a surrogate pair, which is no character.") from None
