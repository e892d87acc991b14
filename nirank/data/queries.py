"""Queries, in the order they were asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np

from nirank.data import frames, listings
from nirank.data.candidates import Candidates
from nirank.data.types import Content, Ints
from nirank.data.vectors import Vectors
from nirank.errors import BadInput
from nirank.showing import html

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, repr=False)
class Queries(frames.Tabular):
    """Queries in the order they were asked.

    `ids` and `contents` have equal length. `vectors` is what a query encoder made of them; a generator that
    searches vectors reads it there. `found` holds results for them: the lists that come with a collection, or
    the results of the ranking before a feedback encoder.
    """

    ids: Sequence[str]
    contents: Sequence[Content]
    vectors: Vectors | None = None
    found: Candidates | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.ids, str) or isinstance(self.contents, str):
            raise BadInput("ids and contents of queries are sequences: `nirank.Queries([id], [text])` is one query.")
        if len(self.ids) != len(self.contents):
            raise BadInput(f"{len(self.ids)} query ids for {len(self.contents)} queries; one id per query is expected.")
        if self.found is not None and len(self.found) != len(self.ids):
            raise BadInput(
                f"found has {len(self.found)} rows for {len(self.ids)} queries; one row per query is needed."
            )

    @classmethod
    def of(cls, contents: Content | Iterable[Content]) -> Queries:
        """Number the given contents `1, 2, ...`; a single text is one query, and `Queries` pass through.

        A dictionary has ids and contents. Raises `BadInput` for a table of pandas, whose columns these would be.
        """
        if isinstance(contents, str):  # first, and by itself: one query after another is what users wait for
            return cls.of_one(contents)
        if isinstance(contents, Queries):
            return contents
        if isinstance(contents, Mapping):
            return cls(list(contents), list(contents.values()))
        if hasattr(contents, "columns"):
            raise BadInput(
                f"queries are texts, not a {type(contents).__name__}: write `nirank.Queries.from_frame(table)`."
            )
        several = list(contents) if _is_many(contents) else [cast("Content", contents)]
        return cls([str(number) for number in range(1, len(several) + 1)], several)

    @classmethod
    def of_one(cls, content: Content) -> Queries:
        """One query, `1`, of which there is nothing to check."""
        made = object.__new__(cls)
        known = vars(made)  # vectors and results have the defaults, which are those of the class
        known["ids"], known["contents"] = ["1"], [content]
        return made

    @classmethod
    def from_frame(cls, frame: Any, *, query_id: str | None = None, text: str | None = None) -> Queries:
        """Queries from a table of pandas, polars or Arrow with a row a query.

        Columns are found by the names that PyTerrier (`qid`, `query`) and ir_datasets (`query_id`, `text`) give them,
        or told. Raises `BadInput` for one that is missing or could be either of two.
        """
        return cls(*frames.read_texts(frame, query_id, text))

    def to_arrow(self, names: frames.Names = "ir_measures") -> pa.Table:
        """A table with a row a query: `query_id` and `text`, or `qid` and `query` as PyTerrier calls them.

        Raises `BadInput` for queries that are no texts.
        """
        return frames.texts_table(names, self.ids, cast("Sequence[str]", self.contents))

    def __repr__(self) -> str:
        first = f": {self.ids[0]} {self.contents[0]!r:.60}" if len(self) else ""
        return f"<{len(self):,} Queries{first}{', ...' if len(self) > 1 else ''}>"

    def __str__(self) -> str:
        return listings.queries_text(self)

    def _repr_html_(self) -> str:
        return html.page(listings.queries_table(self))

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Ints | slice) -> Queries:
        """The queries at `rows`, in that order, with their vectors. Raises `BadInput` for ids in the place of rows."""
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        if isinstance(chosen, (int, str, np.integer)) or any(isinstance(row, str) for row in chosen):
            raise BadInput(f"queries are taken by their places, such as [0] or slice(0, 10), not by {rows!r:.80}.")
        vectors = None if self.vectors is None else self.vectors[rows]
        found = None if self.found is None else self.found.take(rows)
        return Queries([self.ids[row] for row in chosen], [self.contents[row] for row in chosen], vectors, found)

    def with_vectors(self, vectors: Vectors) -> Queries:
        """The same queries with vectors, as an encoder made them."""
        return replace(self, vectors=vectors)

    def with_found(self, found: Candidates | None) -> Queries:
        """The same queries with results for them."""
        return replace(self, found=found)


def _is_many(contents: Content | Iterable[Content]) -> TypeGuard[Iterable[Content]]:
    """True for several contents: a text, a path or an image is one."""
    return (
        isinstance(contents, Iterable)
        and not isinstance(contents, (str, bytes, PurePath))
        and not (hasattr(contents, "mode") and hasattr(contents, "convert"))
    )
