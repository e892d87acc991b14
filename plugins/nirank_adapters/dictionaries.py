"""Runs and judgments as dictionaries, as pytrec_eval, ir_measures, BEIR and MTEB have them, both ways.

    {query id: {document id: score}}

Both ways documents are joined by their ids. What becomes of a dictionary is a `nirank.formats.Run`, as of a file:
`nirank.evaluate` takes it as a run and as judgments, and a `nirank.Collection` as judgments. The scores of a search are
float32, and so the same numbers as Python's floats; those of a dictionary that float32 does not hold are ranked as
float64, as trec_eval 10 does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Ids, integers_to_numpy, offsets_of, to_column
from nirank.errors import BadInput
from nirank.formats import Run


def run_to_dict(run: Candidates | Run) -> dict[str, dict[str, float]]:
    """What a search found, or the run of a file, as a dictionary; a query without documents has an empty one.

    Documents stand as they are ranked. Raises `BadInput` for candidates without the ids of queries or without a corpus,
    and for a query, or a document of a query, that comes twice: a dictionary would keep the last one alone.
    """
    query_ids, names, candidates, exact = _named(run)
    _refuse_keys(query_ids, candidates)
    return _nested(query_ids, names, candidates.offsets, candidates.scores if exact is None else exact)


def judgments_to_dict(judgments: Candidates | Run) -> dict[str, dict[str, int]]:
    """Judgments as a dictionary, whose grades are whole numbers, as pytrec_eval needs them.

    Raises `BadInput` for a grade that is not whole, and as `run_to_dict` does.
    """
    query_ids, names, candidates, _ = _named(judgments)
    _refuse_keys(query_ids, candidates)
    grades = candidates.scores
    if not np.array_equal(grades, np.rint(grades)) or np.isinf(grades).any():
        raise BadInput("some grades are not whole numbers, which judgments in a dictionary need: round them first.")
    return _nested(query_ids, names, candidates.offsets, grades.astype(np.int64))


def from_dict(scored: Mapping[str, Mapping[str, float]], tag: str = "") -> Run:
    """The run, or the judgments, in a dictionary; a query without documents is left out, as it is from a file.

    Raises `BadInput` for ids that are no texts, and for scores that are no numbers.
    """
    if not isinstance(scored, Mapping) or not all(isinstance(of_one, Mapping) for of_one in scored.values()):
        raise BadInput("a dictionary {query id: {document id: score}} is expected.")
    of_queries = [*scored.values()]
    queries = np.repeat(np.arange(len(scored)), [*map(len, of_queries)])
    return _grouped([*scored], queries, _documents(chain.from_iterable(of_queries)), _flat(of_queries), tag)


def from_columns(queries: Sequence[str], documents: Sequence[str], scores: Sequence[float], tag: str = "") -> Run:
    """The run, or the judgments, in three columns of one length, a pair a row, in any order.

    Raises `BadInput` as `from_dict` does, and for a document that a query lists twice.
    """
    codes = to_column(queries).combine_chunks().dictionary_encode()
    numbers = integers_to_numpy(codes.indices).astype(np.int64)
    if len(numbers) != len(documents) or len(numbers) != len(scores):
        raise BadInput(f"{len(numbers)} queries, {len(documents)} documents and {len(scores)} scores; one each a row.")
    return _grouped(codes.dictionary.to_pylist(), numbers, _documents(documents), _numbers(scores), tag)


def _named(run: Candidates | Run) -> tuple[list[str], list[str], Candidates, NDArray[np.float64] | None]:
    """The ids of queries, the id of each document found, the pairs, and their scores as float64 where these differ."""
    if isinstance(run, Run):
        return run.query_ids, run.ids.take(run.candidates.docs), run.candidates, run.exact
    if not isinstance(run, Candidates):
        raise BadInput(f"what `search` returned, judgments or a run are expected, not a {type(run).__name__}.")
    if run.query_ids is None or run.corpus is None:
        lacking = "the ids of their queries" if run.query_ids is None else "a corpus"
        raise BadInput(
            f"these candidates lack {lacking}: search with `nirank.Queries`, or set it (`for_queries`, `over`)."
        )
    if beyond := int(np.count_nonzero(run.docs >= len(run.corpus))):
        raise BadInput(
            f"{beyond} of these documents are not in the corpus, and so have no ids here (they were judged and are "
            "missing): give what nirank.read_qrels returns."
        )
    return [*run.query_ids], run.corpus.ids.take(run.docs), run, None


def _refuse_keys(query_ids: Sequence[str], candidates: Candidates) -> None:
    """Raise `BadInput` where two rows, or two documents of one, would have the same key."""
    again = [query for query, rows in Counter(query_ids).items() if rows > 1]
    if again:
        raise BadInput(f"{len(again)} queries come twice, such as {again[0]!r}; in a dictionary each may come once.")
    width = int(candidates.docs.max(initial=0)) + 1
    _refuse_repeated(candidates.rows.astype(np.int64) * width + candidates.docs)


def _nested(query_ids: list[str], names: list[str], offsets: NDArray[np.int64], values: NDArray[Any]) -> Any:
    numbers, ends = values.tolist(), offsets.tolist()
    rows = zip(query_ids, ends[:-1], ends[1:], strict=True)
    return {query: dict(zip(names[start:end], numbers[start:end], strict=True)) for query, start, end in rows}


def _flat(of_queries: list[Mapping[str, float]]) -> NDArray[np.float64]:
    return _numbers([*chain.from_iterable(of_one.values() for of_one in of_queries)])


def _numbers(scores: Sequence[float]) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(scores, np.float64)
    except (TypeError, ValueError):
        raise BadInput(f"scores are numbers, and here are {scores!r:.80}.") from None
    if numbers.ndim != 1:
        raise BadInput(f"one score each is expected, and here are {scores!r:.80}.")
    if np.isnan(numbers).any():
        raise BadInput(f"{int(np.isnan(numbers).sum())} of {len(numbers)} scores are not a number (NaN).")
    return numbers


def _documents(names: Any) -> Any:
    """The ids of documents, each once, and the place of each of `names` among them."""
    return to_column([*names]).combine_chunks().dictionary_encode()


def _grouped(
    query_ids: list[str], queries: NDArray[np.int64], documents: Any, exact: NDArray[np.float64], tag: str
) -> Run:
    """One row a query; raises `BadInput` for a pair that comes twice."""
    order = np.argsort(queries, kind="stable")
    docs, rows, exact = integers_to_numpy(documents.indices).astype(np.int64)[order], queries[order], exact[order]
    _refuse_repeated(rows * max(1, len(documents.dictionary)) + docs)
    lengths = np.bincount(queries, minlength=len(query_ids))
    known = [query_ids[row] for row in np.flatnonzero(lengths).tolist()]
    to_column(known)  # which refuses what is no text
    with np.errstate(over="ignore"):
        scores = exact.astype(np.float32)
    candidates = Candidates(offsets_of(lengths[lengths > 0]), docs, scores, query_ids=known)
    lossy = not np.array_equal(scores, exact)
    return Run(known, Ids(documents.dictionary, unique=True), candidates, tag, exact if lossy else None)


def _refuse_repeated(pairs: NDArray[np.int64]) -> None:
    if len(np.unique(pairs)) < len(pairs):
        raise BadInput(f"{len(pairs) - len(np.unique(pairs))} documents come twice for one query; each may come once.")
