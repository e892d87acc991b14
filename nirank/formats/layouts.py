"""The columns that lines of runs and judgments have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """The columns of a line, of which those called query, document and score or grade are read."""

    columns: tuple[str, ...]
    header: bool = False
    tabs: bool = False  # only tabs separate columns, so that an id may hold blanks

    @property
    def value(self) -> str:
        """The name of the number of a line: score, grade or, without either, rank."""
        return next((name for name in ("grade", "score") if name in self.columns), "rank")

    def __str__(self) -> str:
        return f"{len(self.columns)} columns ({', '.join(self.columns)})"


RUN = Layout(("query", "Q0", "document", "rank", "score", "tag"))
QRELS = Layout(("query", "iteration", "document", "grade"))
SUBTOPICS = Layout(("query", "subtopic", "document", "grade"))
BEIR = Layout(("query", "document", "grade"))
MSMARCO = Layout(("query", "document", "rank"))  # a run without scores
