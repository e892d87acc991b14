"""Tell what makes figures doubtful: nothing judged among what was found, cutoffs beyond a ranking's end, queries that
found themselves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.offsets import offsets_of
from nirank.evaluation.external import CUT
from nirank.evaluation.measures import Grades, Measure, is_rank
from nirank.formats.subtopics import Subtopics

if TYPE_CHECKING:
    from nirank.evaluation.joining import Docnos

_LEAST = 10  # documents: a run whose lists end at one depth above it was cut there
_CUT = re.compile(rf"(?:{'|'.join(CUT)}|unj)_(\d+)")


def cutoff_of(name: str) -> int | None:
    """The last rank that a measure looks at, by its name in either notation; None where it looks at all."""
    if found := _CUT.fullmatch(name):
        return int(found[1])
    measure = Measure.parse(name)
    cutoff: Any = None if measure is None else measure.settings.get("cutoff", measure.cutoff)
    return cutoff if is_rank(cutoff) else None


def doubts(names: Sequence[str], judged: Grades, run: Candidates, level: int) -> Iterator[str]:
    """The reasons to doubt the figures of these measures, a sentence each."""
    if run.pairs and not len(judged.rows):
        yield "None of the retrieved documents is judged: do the run and the judgments write document ids alike?"
    depth = _end(run)
    if depth is None:
        return
    beyond = [name for name in names if (cutoff_of(name) or 0) > depth]
    if beyond:
        yield (
            f"{', '.join(beyond)}: the cutoff is deeper than the ranking, which ends at {depth:,} documents; "
            "only those are measured. Search deeper."
        )
    unreachable = int(np.count_nonzero(judged.relevant(level) > depth))
    if unreachable:
        yield f"{unreachable:,} queries have more relevant documents than the {depth:,} that were searched for."


def without(lost: Sequence[str]) -> Iterator[str]:
    """The doubt of a run that was found without some shards of an index."""
    if lost:
        yield f"The documents of {', '.join(lost)} are missing from the lists, for no answer came: search again."


def doubts_of_subtopics(names: Collection[str], judgments: Subtopics | None) -> Iterator[str]:
    """The reason to doubt measures of subtopics where the judgments tell none apart."""
    if names and judgments is not None and len(judgments.subtopic_ids) < 2:
        yield (
            f"{', '.join(names)}: all judgments are of one subtopic, {judgments.subtopic_ids[0]!r}: "
            "is their second column, as here, the subtopic?"
        )


def own_documents_first(
    ranked: Candidates, judgments: Candidates, ids: Docnos | None, query_ids: Sequence[str] | None
) -> Iterator[str]:
    """The doubt of queries that are documents: most find themselves first, which nobody judged relevant."""
    rows = np.flatnonzero(ranked.lengths)
    if ids is None or query_ids is None or not len(rows):
        return
    at = ranked.offsets[:-1][rows]
    first = Candidates(offsets_of(ranked.lengths > 0), ranked.docs[at], ranked.scores[at])
    try:
        names = ids.take(first.docs)
    except IndexError:  # documents that nobody named are no queries
        return
    own = np.array([name == query_ids[row] for row, name in zip(rows.tolist(), names, strict=True)])
    own &= first.lookup(judgments, default=0) <= 0
    if 2 * own.sum() > len(rows):
        yield (
            f"{own.sum():,} of {len(rows):,} queries have found first the document with their own id, which is not "
            "relevant: where queries are documents, leave them out by `others(...)`."
        )


def _end(run: Candidates) -> int | None:
    """The depth at which lists were cut off; None where they end by themselves, or hold the whole corpus."""
    longest = run.longest
    if run.corpus is not None and longest >= len(run.corpus):
        return None
    if run.depth is not None:
        return run.depth if longest >= run.depth else None
    full = np.count_nonzero(run.lengths == longest)
    return longest if longest >= _LEAST and 2 * full > np.count_nonzero(run.lengths) else None
