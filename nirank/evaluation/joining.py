"""Join runs and judgments by the ids of their queries and documents.

Results of a search, collections and files have ids; rows are matched by these, in whatever order they are. Those of
other queries or documents are refused. Only rows without ids are taken as they stand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from nirank.data.candidates import Candidates
from nirank.data.frames import is_frame
from nirank.data.ids import Ids
from nirank.data.types import Corpus
from nirank.errors import BadInput
from nirank.formats.trec import Run, read_qrels, read_run, rows_of


class Docnos(Protocol):
    """Turns ordinals into document ids, as `nirank.data.ids.Ids` does."""

    def take(self, ordinals: ArrayLike) -> list[str]:
        """The ids at `ordinals`."""


@dataclass(frozen=True, eq=False)
class Joined:
    """A run and its judgments, row beside row over the same ordinals, with the ids that are known."""

    run: Candidates
    judgments: Candidates
    query_ids: Sequence[str] | None
    ids: Docnos | None


def join(run: Any, judgments: Any, exact: bool = True) -> Joined:
    """Join a run and judgments: each `Candidates`, what `read_run` and `read_qrels` return, or the path of a file.

    With `exact` the documents of a file are ranked by its scores as float64, and not as float32. Raises `BadInput`
    where they have other queries or documents, and for anything else in their place.
    """
    run, judgments = _side(run, "a run"), _side(judgments, "judgments")
    refuse_repeated(run.query_ids, "a run")
    refuse_repeated(judgments.query_ids, "judgments")
    if isinstance(run, Run):
        run = run.in_float64() if exact else run
        return _of_files(run, judgments) if isinstance(judgments, Run) else _of_file_and_rows(run, judgments)
    return _of_rows_and_file(run, judgments) if isinstance(judgments, Run) else _of_rows(run, judgments)


def refuse_repeated(query_ids: Sequence[str] | None, what: str) -> None:
    """Raise `BadInput` where a query id comes twice in `what`, a run or judgments."""
    ids = [*(query_ids or ())]
    if len({*ids}) < len(ids):
        twice = next(query for query, count in Counter(ids).items() if count > 1)
        raise BadInput(f"{what} has several queries of the id {twice!r}: they cannot be told apart.")


def _side(value: Any, what: str) -> Candidates | Run:
    if isinstance(value, Candidates):
        value.refuse_negative(what)
    if isinstance(value, (Candidates, Run)):
        return value
    if isinstance(value, (str, Path)):
        return read_run(value) if what == "a run" else read_qrels(value)
    if is_frame(value):
        return Run.from_frame(value, judged=what == "judgments")
    raise BadInput(f"{what} {_EXPECTED[what]}, not {kind_of(value)}{_advice(value, what)}.")


_EXPECTED = {
    "a run": "must be what `search` or `nirank.read_run` returns, a table with its columns, or the path of a file",
    "judgments": "must be those of a collection, what `nirank.read_qrels` returns, a table, or the path of a file",
}


def kind_of(value: Any) -> str:
    """The type of a value, with its article, for messages."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _advice(value: Any, what: str) -> str:
    if isinstance(getattr(value, "judgments", None), Candidates):
        judged = "" if what == "a run" else ": write `collection.judgments`"
        return judged or ": search it first, `ranking.search(collection.queries, collection.corpus)`"
    if callable(getattr(value, "search", None)):
        return ": search with it first, `ranking.search(queries, corpus)`"
    if isinstance(value, dict):
        return ": write it into a file in TREC's format, or make `nirank.Candidates.of(ordinals, scores)`"
    return ""


def _of_rows(run: Candidates, judgments: Candidates) -> Joined:
    ids = None if run.corpus is None else run.corpus.ids
    refuse_other_documents(run.corpus, judgments.corpus)
    if run.query_ids is None or judgments.query_ids is None:
        if len(run) != len(judgments):
            raise BadInput(
                f"the run has {len(run)} queries, the judgments have {len(judgments)}; the numbers must be equal."
            )
        return Joined(run, judgments, run.query_ids or judgments.query_ids, ids)
    if run.query_ids is judgments.query_ids or [*run.query_ids] == [*judgments.query_ids]:
        return Joined(run, judgments, run.query_ids, ids)
    if len(run) != len(judgments) or {*run.query_ids} != {*judgments.query_ids}:
        raise BadInput(_other_queries(run.query_ids, judgments.query_ids))
    return Joined(rows_of(run, run.query_ids, judgments.query_ids), judgments, judgments.query_ids, ids)


def _of_files(run: Run, judgments: Run) -> Joined:
    query_ids = all_queries(judgments.query_ids, run.query_ids)
    return Joined(
        rows_of(run.candidates, run.query_ids, query_ids), judgments.align(query_ids, run.ids), query_ids, run.ids
    )


def _of_rows_and_file(run: Candidates, judgments: Run) -> Joined:
    """A run of a search with judgments of a file."""
    corpus, asked = _known(run, "a run", "judgments")
    query_ids = all_queries(judgments.query_ids, asked)
    return Joined(rows_of(run, asked, query_ids), judgments.align(query_ids, corpus.ids), query_ids, corpus.ids)


def _of_file_and_rows(run: Run, judgments: Candidates) -> Joined:
    """A run of a file with judgments of a collection."""
    corpus, judged = _known(judgments, "judgments", "a run")
    query_ids = all_queries(judged, run.query_ids)
    names = _BeyondCorpus(corpus.ids, run.ids, 1 + max(len(corpus) - 1, judgments.extent[1]))
    aligned = rows_of(names.translate(run.candidates), run.query_ids, query_ids)
    return Joined(aligned, rows_of(judgments, judged, query_ids), query_ids, names)


def all_queries(
    judged: Sequence[str], run: Sequence[str], names: tuple[str, str] = ("the run", "the judgments")
) -> list[str]:
    """The queries of both sides, those of the judgments first. Raises `BadInput` where they have none in common."""
    if not {*judged} & {*run}:
        raise BadInput(_other_queries(run, judged, names))
    return list(dict.fromkeys([*judged, *run]))


def _known(candidates: Candidates, what: str, other: str) -> tuple[Corpus, Sequence[str]]:
    if candidates.corpus is None or candidates.query_ids is None:
        missing = "corpus" if candidates.corpus is None else "queries"
        raise BadInput(
            f"{other} from a file cannot be joined with {what} without {missing}: "
            "pass what `search` returned for `Queries`, or the judgments of a collection."
        )
    return candidates.corpus, candidates.query_ids


def _other_queries(
    run: Sequence[str], judgments: Sequence[str], names: tuple[str, str] = ("the run", "the judgments")
) -> str:
    shared = len({*run} & {*judgments})
    return (
        f"queries of {names[0]}: {len(run)} ({_few(run)}); of {names[1]}: {len(judgments)} ({_few(judgments)}); "
        f"{shared or 'none'} of them are in both. Both must name the same queries by the same ids."
    )


def _few(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids[:3])) + (", ..." if len(ids) > 3 else "")


def refuse_other_documents(corpus: Corpus | None, other: Corpus | None) -> None:
    """Raise `BadInput` where two corpora do not have the same ids at the same ordinals; contents may differ."""
    if corpus is other or corpus is None or other is None or corpus.ids is other.ids:
        return
    if len(corpus) != len(other) or (corpus.fingerprint != other.fingerprint and [*corpus.ids] != [*other.ids]):
        raise BadInput(
            f"the run is over {corpus!r} (fingerprint {corpus.fingerprint[:8]}) and the judgments over {other!r} "
            f"({other.fingerprint[:8]}), whose ids differ: search the corpus that was judged."
        )


class _BeyondCorpus:
    """The ids of a corpus and, from ordinal `start` on, those of documents in a file that it lacks."""

    def __init__(self, known: Ids, file: Ids, start: int) -> None:
        self._known, self._file, self._start = known, file, start

    def translate(self, candidates: Candidates) -> Candidates:
        """Candidates over the documents of the file, over these ordinals."""
        ordinals = self._known.find(self._file.gather(np.arange(len(self._file))))
        beyond = np.flatnonzero(ordinals < 0)
        ordinals[beyond] = self._start + beyond
        return Candidates(candidates.offsets, ordinals[candidates.docs], candidates.scores)

    def take(self, ordinals: ArrayLike) -> list[str]:
        """The ids at `ordinals`."""
        wanted = np.asarray(ordinals, np.int64)
        inside = wanted < self._start
        names = np.empty(len(wanted), object)
        names[inside] = self._known.take(wanted[inside])
        names[~inside] = self._file.take(wanted[~inside] - self._start)
        return [str(name) for name in names]
