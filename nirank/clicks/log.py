"""A log of clicks: sessions, each with the ranking that was shown and what was clicked in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.offsets import offsets_of
from nirank.data.types import Corpus, Floats
from nirank.errors import BadInput
from nirank.files import beside
from nirank.formats.opening import opened


@dataclass(frozen=True, eq=False)
class ClickLog:
    """Sessions: `shown` has one row each, the documents from the first rank down, with score 1 where clicked, else 0.

    `shown.query_ids` are those of the sessions; a query may have many. `propensities`, float32 `[pairs]`, say how
    probable it was that a user looked at the document, above 0 and at most 1; None where that is not known.

    Raises `BadInput` for sessions without the ids of their queries, other scores, a document shown twice in a session,
    and propensities out of range.
    """

    shown: Candidates
    propensities: Floats | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.shown.query_ids is None:
            raise BadInput("these sessions do not say of which queries they are: give `shown` its `query_ids`.")
        if not np.isin(self.shown.scores, (0, 1)).all():
            strange = self.shown.scores[~np.isin(self.shown.scores, (0, 1))][0]
            raise BadInput(f"a shown document has the score {strange:g}; 1 (clicked) or 0 (not clicked) is expected.")
        self.shown.refuse_negative("shown documents")
        self._refuse_repeated()
        if self.propensities is not None:
            object.__setattr__(self, "propensities", self._checked(self.propensities))

    def __repr__(self) -> str:
        queries = len({*(self.shown.query_ids or ())})
        return f"<ClickLog: {len(self.shown):,} sessions of {queries:,} queries, {int(self.clicked.sum()):,} clicks>"

    @classmethod
    def of(
        cls, query_ids: Sequence[str], shown: Sequence[ArrayLike], clicked: Sequence[ArrayLike], corpus: Corpus
    ) -> ClickLog:
        """A log from one sequence of ordinals a session of what was shown, and one of what was clicked.

        Raises `BadInput` for a click on a document that was not shown, besides what the class refuses.
        """
        lists = Candidates.of(shown, corpus=corpus).for_queries([*query_ids])
        clicks = Candidates.of(clicked, corpus=corpus)
        if len(clicks) != len(lists):
            raise BadInput(f"{len(lists)} sessions with clicks of {len(clicks)}; one sequence a session is expected.")
        lost = np.flatnonzero(clicks.places(lists) < 0)
        if len(lost):
            session, document = int(clicks.rows[lost[0]]), corpus.ids.take([clicks.docs[lost[0]]])[0]
            raise BadInput(
                f"session {session + 1}, of query {query_ids[session]!r}, has a click on {document!r}, which was not "
                "shown there."
            )
        return cls(lists.with_scores(lists.places(clicks) >= 0))

    @property
    def clicked(self) -> NDArray[np.bool_]:
        """True where a shown document was clicked, `[pairs]`."""
        return self.shown.scores > 0

    @property
    def ranks(self) -> NDArray[np.int64]:
        """The rank at which each document was shown, from 0, `[pairs]`."""
        return np.arange(self.shown.pairs) - np.repeat(self.shown.offsets[:-1], self.shown.lengths)

    def pairs_of(self, queries: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The distinct pairs that were shown: the query and the document of each, and which pair each shown one is.

        `queries` are numbers of the queries of sessions; pairs come by rising query, then document.
        """
        width = self.shown.extent[1] + 1
        keys, pair = np.unique(queries[self.shown.rows] * width + self.shown.docs, return_inverse=True)
        return keys // width, keys % width, pair

    def with_propensities(self, by_rank: ArrayLike) -> ClickLog:
        """The same log with a propensity for each rank, `[ranks]`, the first for the first rank.

        Raises `BadInput` where documents were shown at more ranks.
        """
        known = _numbers(by_rank)
        if len(known) < self.shown.longest:
            raise BadInput(f"{len(known)} propensities for {self.shown.longest} ranks; one for each rank is expected.")
        return replace(self, propensities=known[self.ranks].astype(np.float32))

    def _checked(self, propensities: Any) -> Floats:
        values = np.ascontiguousarray(propensities, np.float32)
        if values.shape != (self.shown.pairs,):
            raise BadInput(f"propensities have the shape {values.shape} for {self.shown.pairs} shown documents.")
        wrong = np.flatnonzero(~((values > 0) & (values <= 1)))  # or NaN
        if len(wrong):
            raise BadInput(
                f"the propensity of a document at rank {int(self.ranks[wrong[0]]) + 1} is {values[wrong[0]]:g}; above "
                "0 and at most 1 is expected: what nobody looks at, clicks say nothing of."
            )
        return values

    def _refuse_repeated(self) -> None:
        rows, docs = self.shown.rows, self.shown.docs
        order = np.lexsort((docs, rows))
        again = np.flatnonzero((np.diff(rows[order]) == 0) & (np.diff(docs[order]) == 0))
        if len(again):
            session = int(rows[order[again[0]]])
            raise BadInput(f"session {session + 1} shows document {int(docs[order[again[0]]])} twice.")


def read_clicks(path: str | Path, corpus: Corpus) -> ClickLog:
    """The log in a file of JSON lines, `{"query": "q1", "shown": ["d1", "d2"], "clicked": ["d2"]}`, perhaps compressed.

    A line may have `propensities`, one for each shown document; then all have them. Raises `BadInput`, with the line,
    for anything else, for a document that the corpus lacks, and for a click on one that was not shown.
    """
    place, sessions = Path(path), []
    if not place.is_file():
        raise BadInput("there is no such file; a log of clicks as JSON lines is expected.", place)
    with opened(place) as file:
        for number, line in enumerate(file, 1):
            sessions.append(_session(line, place, number))
    if not sessions:
        raise BadInput("has no sessions; a log of clicks as JSON lines is expected.", place)
    try:
        lists, clicks = (_ordinals([one[key] for one in sessions], corpus) for key in ("shown", "clicked"))
        log = ClickLog.of([one["query"] for one in sessions], lists, clicks, corpus)
        return replace(log, propensities=_given(sessions, log))
    except BadInput as error:
        raise BadInput(str(error), place) from None


def write_clicks(path: str | Path, log: ClickLog) -> None:
    """Write a log as `read_clicks` reads it."""
    with beside(Path(path)) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(session, ensure_ascii=False) + "\n" for session in _sessions(log))


def refuse_other_corpus(shown: Candidates, collection: Collection, what: str) -> None:
    """Raise `BadInput` where the ordinals of these candidates are those of another corpus than the collection's."""
    corpus, own = shown.corpus, collection.corpus
    if corpus is not None and corpus is not own and corpus.fingerprint != own.fingerprint:
        raise BadInput(f"{what} is of another corpus than {collection.name}: take one of the corpus of that.")


def _session(line: Any, path: Path, number: int) -> Mapping[str, Any]:
    try:
        session = json.loads(line)
        texts = [session["query"], *session["shown"], *session["clicked"]]
        lists = all(isinstance(session[key], list) for key in ("shown", "clicked"))
        if not lists or not all(isinstance(text, str) for text in texts):
            raise TypeError("ids are texts, in lists")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadInput(
            f'is no session ({error}): {{"query": ..., "shown": [...], "clicked": [...]}} is expected.', path, number
        ) from None
    else:
        return dict(session)


def _numbers(by_rank: ArrayLike) -> NDArray[np.float64]:
    try:
        known = np.asarray(by_rank, np.float64)
    except (TypeError, ValueError):
        raise BadInput(f"propensities are numbers, and here are {by_rank!r:.80}.") from None
    if known.ndim != 1:
        raise BadInput(f"one propensity for each rank is expected, and here is the shape {known.shape}.")
    return known


def _ordinals(lists: Sequence[Sequence[str]], corpus: Corpus) -> list[NDArray[np.int64]]:
    ids = [document for documents in lists for document in documents]
    found = np.asarray(corpus.ids.find(ids) if ids else [], np.int64)
    if (found < 0).any():
        raise BadInput(f"the corpus lacks the document {ids[int(np.argmin(found))]!r}, which the log has.")
    return np.split(found, offsets_of([len(documents) for documents in lists])[1:-1])


def _given(sessions: Sequence[Mapping[str, Any]], log: ClickLog) -> Any:
    """The propensities of all shown documents; None where no line has any."""
    lists = [session.get("propensities") for session in sessions]
    if not any(each is not None for each in lists):
        return None
    try:
        columns = [np.asarray(each, np.float32).reshape(-1) for each in lists]
    except (TypeError, ValueError):
        raise BadInput("propensities are numbers, and all lines have them or none.") from None
    for row, (column, length) in enumerate(zip(columns, log.shown.lengths.tolist(), strict=True)):
        if len(column) != length:
            raise BadInput(f"session {row + 1} has {len(column)} propensities for {length} shown documents.")
    return np.concatenate(columns)


def _sessions(log: ClickLog) -> Iterator[dict[str, Any]]:
    ids = log.shown.corpus_for("a log of clicks").ids.take(log.shown.docs)
    clicked, bounds = log.clicked.tolist(), log.shown.offsets.tolist()
    known = None if log.propensities is None else log.propensities.tolist()
    for query, start, stop in zip(log.shown.query_ids or (), bounds[:-1], bounds[1:], strict=True):
        here = slice(start, stop)
        chosen = [document for document, click in zip(ids[here], clicked[here], strict=True) if click]
        session = {"query": query, "shown": ids[here], "clicked": chosen}
        yield session if known is None else session | {"propensities": known[here]}
