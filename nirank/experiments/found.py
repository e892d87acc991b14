"""The results of a search as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nirank.data.explanation import Explanation
from nirank.data.types import Content, Corpus, Floats, Ints
from nirank.experiments import explained
from nirank.pipeline.snippets import Snippet


def as_json(
    corpus: Corpus,
    docs: Ints,
    scores: Floats,
    parts: Sequence[Snippet] = (),
    reasons: Sequence[Explanation] = (),
) -> list[dict[str, Any]]:
    """One object for each document, best first; with snippets and explanations, where there are some."""
    columns = zip(corpus.ids.take(docs), scores.tolist(), corpus[docs], strict=True)
    results: list[dict[str, Any]] = [
        {"rank": rank, "id": name, "score": score, "text": as_text(content)}
        for rank, (name, score, content) in enumerate(columns, start=1)
    ]
    for result, part in zip(results, parts, strict=False):
        result["snippet"] = snippet_json(part)
    for result, reason in zip(results, reasons, strict=False):
        result["explanation"] = explained.as_json(reason)
    return results


def snippet_json(part: Snippet) -> dict[str, Any]:
    """A snippet: its text, its place in the document, and the places of the query's words there."""
    return {"text": part.text, "start": part.start, "stop": part.stop, "matches": [list(each) for each in part.matches]}


def as_text(content: Content) -> str:
    """A document as it is shown: a text, or what an image is."""
    return f"an image of {len(content):,} bytes" if isinstance(content, bytes) else str(content)
