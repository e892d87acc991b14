"""Names of columns and keys, as those who publish collections call them."""

from __future__ import annotations

from collections.abc import Sequence

#: Names of ids, in the order in which they are looked for: that of a passage before that of its document.
IDS = ("id", "_id", "pid", "passage_id", "docid", "doc_id", "docno", "corpus_id", "corpus-id", "qid", "query_id")
#: Names of texts, in the order in which they are looked for.
TEXTS = ("text", "contents", "content", "body", "passage", "document", "abstract", "segment", "query")


def named_columns(header: Sequence[str]) -> tuple[int, int | None, int] | None:
    """The columns of id, title (where there is one) and text, where columns are named; else nothing."""
    place = {name.strip().lower(): number for number, name in reversed(list(enumerate(header)))}
    number = next((place[name] for name in (*IDS, "query-id") if name in place), None)
    text = next((place[name] for name in TEXTS if name in place), None)
    return None if number is None or text is None else (number, place.get("title"), text)
