"""The evaluation of a run: measures over its judged queries.

Here, and where files are read and written, trec_eval's rule for equal scores holds: documents are ranked by falling
score (the float64 of a file, the float32 of a search), and those with equal scores by falling id, byte by byte; by
rising id, as Anserini ranks them, where one asks for it. How many were is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.frames import Tabular
from nirank.errors import BadInput, UnknownName
from nirank.evaluation import tables
from nirank.evaluation.diversity import Diversity, diversity_measure
from nirank.evaluation.doubts import cutoff_of, doubts, doubts_of_subtopics, own_documents_first, without
from nirank.evaluation.external import (
    JudgedRanking,
    ir_mean,
    ir_measure,
    ir_values,
    trec_mean,
    trec_names,
    trec_values,
    unknown,
)
from nirank.evaluation.graded import COUNTED, graded, respelled
from nirank.evaluation.joining import Docnos, Joined, all_queries, join
from nirank.evaluation.measures import Grades, Measure, Values, is_rank
from nirank.evaluation.trec_ten import changed_measure, new_measures
from nirank.formats.subtopics import Subtopics, read_subtopics
from nirank.formats.trec import Run, read_judged, read_qrels, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

#: What is measured unless one says otherwise.
MEASURES = ("nDCG@10", "RR@10", "AP", "R@100")
#: The order of documents with equal scores, by their ids: trec_eval's, or Anserini's.
Ties = Literal["falling", "rising"]
_RULES = {"docno": "falling document id", "rising docno": "rising document id", "ordinal": "rising ordinal"}


@dataclass(frozen=True, eq=False)
class Evaluation(Tabular):
    """The measures of a run: of each query in `values`, of all of them in `mean`.

    `evaluation["nDCG@10"]` is the mean. The columns in `values` and `queries` (which rows were evaluated) and
    `query_ids` (their ids, where these are known) are `[evaluated queries]`. `ties` counts the documents whose rank
    only the tie rule decided, having the score of the one before them; `rule` is `"docno"` for trec_eval's, `"rising
    docno"` for Anserini's, and `"ordinal"` where no ids were at hand. `unjudged` queries had no judgments and were left
    out; `empty` ones had judgments and no results, and count as zero unless they were left out on demand. `warnings`
    say, a sentence each, what makes the figures doubtful: that no retrieved document is judged, that a cutoff lies
    beyond the ranking, or that shards of an index did not answer.
    """

    values: dict[str, Values]
    mean: dict[str, float]
    queries: NDArray[np.int64]
    query_ids: list[str] | None
    ties: int
    rule: str
    unjudged: int
    empty: int
    warnings: tuple[str, ...] = ()

    @property
    def measures(self) -> list[str]:
        """The names of the measures, in the order asked for."""
        return list(self.values)

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, measure: str) -> float:
        """The mean of a measure. Raises `UnknownName` for one that was not asked for."""
        if measure not in self.mean:
            raise UnknownName("measure in this evaluation,", measure, self.mean)
        return self.mean[measure]

    def __iter__(self) -> Iterator[str]:
        return iter(self.mean)

    def __contains__(self, measure: object) -> bool:
        return measure in self.measures

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {value:.4f}" for name, value in self.mean.items())
        return f"<Evaluation of {len(self)} queries: {means}>"

    def __str__(self) -> str:
        """The means as a table of two columns, and below it what was left out or settled."""
        width = max(map(len, self.mean), default=0)
        return "\n".join([*(f"{name:{width}}  {value:.4f}" for name, value in self.mean.items()), "", *self.notes()])

    def _repr_html_(self) -> str:
        return tables.evaluation_html(self)

    def to_arrow(self) -> pa.Table:
        """The values of each query: a column `query_id`, and one for each measure, `[evaluated queries]`."""
        return tables.per_query(self)

    def notes(self) -> list[str]:
        """Notes to read with these figures, a sentence each."""
        sentences: list[tuple[Any, str]] = [
            (True, f"{len(self):,} queries were evaluated."),
            (self.empty, f"{self.empty:,} judged queries have no results."),
            (self.unjudged, f"{self.unjudged:,} queries without judgments are left out."),
            (self.ties, f"{self.ties:,} ties were broken by {_RULES[self.rule]}."),
        ]
        return [*(note for worth, note in sentences if worth), *self.warnings]

    def to_dict(self, per_query: bool = False) -> dict[str, Any]:
        """The means and counts as JSON can hold them and, on request, the value of each query by its id or row."""
        described = {
            "measures": self.mean,
            "queries": len(self),
            "unjudged_queries": self.unjudged,
            "queries_without_results": self.empty,
            "ties": {"count": self.ties, "broken_by": self.rule},
        }
        if self.warnings:
            described["warnings"] = list(self.warnings)
        if per_query:
            names = self.query_ids or [str(row) for row in self.queries.tolist()]
            columns = [column.tolist() for column in self.values.values()]
            described["per_query"] = {
                name: dict(zip(self.values, row, strict=True))
                for name, row in zip(names, zip(*columns, strict=True), strict=True)
            }
        return described


def evaluate(
    run: Candidates | Run | str | Path,
    judgments: Candidates | Run | Subtopics | str | Path,
    measures: Sequence[str] | str = MEASURES,
    ids: Docnos | None = None,
    *,
    query_ids: Sequence[str] | None = None,
    relevance_level: int = 1,
    complete: bool = True,
    depth: int | None = None,
    trec_eval: Literal[9, 10] = 10,
    ties: Ties = "falling",
) -> Evaluation:
    """Evaluate a run: what a search found, what `read_run` returns, the path of a file, or a table of pandas, polars or
    Arrow; so, too, the judgments.

    Both are joined by the ids of their queries and documents, wherever these are known; what was found for a whole
    collection must be judged by the same queries. Rows without ids are taken in their order, one a query.
    `measures` are names, or one name: ir_measures' (`nDCG@10`, `AP(rel=2)@100`, `RR@10`, `ERR@20`) or trec_eval's
    (`map`, `ndcg_cut_10`, `official`, `all_trec`). `ids`, by default those of `run.corpus`, break ties as trec_eval
    does, by falling id, or with `ties="rising"` as Anserini does before it; without them nirank's rule holds. A query
    without judgments is left out. One with judgments but no results counts as zero, unless `complete=False` leaves it
    out too, as trec_eval does without its `-c`. `relevance_level` is the least grade that is relevant for measures
    that name none (trec_eval's `-l`), `depth` how many documents of each query are looked at (its `-M`). Figures are
    those of version 10 of trec_eval, which ranks the scores of a file as float64, or with `trec_eval=9` of that, which
    ranks them as float32 and rounds recall levels up (`nirank.evaluation.trec_ten`).

    Measures of subtopics (`alpha_nDCG@20`, `ERR_IA@20`; `nirank.evaluation.diversity`) take judgments of subtopics:
    the path of a file in TREC's format, or what `nirank.read_subtopics` returns. Other measures take from these the
    highest grade that a document has for any subtopic.

    Raises `BadInput` for queries or documents that do not match, NaN, and where no query is judged; `UnknownName` for
    a measure that does not exist; `MissingDependency` for one that nothing installed computes.
    """
    if isinstance(run, (str, Path)) and isinstance(judgments, (str, Path)) and ids is None and query_ids is None:
        return evaluate_files(run, judgments, measures, relevance_level, complete, depth, trec_eval, ties)
    _check_levels(relevance_level, depth, trec_eval)
    check_ties(ties)
    plan = _Plan.of(measures, relevance_level, trec_eval)
    documents, subtopics = _judged(judgments, plan)
    if subtopics is not None and query_ids is not None:
        raise BadInput("judgments of subtopics know the ids of their queries: leave `query_ids` out.")
    joined = join(run, documents, exact=trec_eval >= 10)
    known = Joined(
        joined.run,
        joined.judgments,
        joined.query_ids if query_ids is None else query_ids,
        joined.ids if ids is None else ids,
    )
    evaluation = _evaluated(plan, known, subtopics, relevance_level, complete, depth, ties)
    return replace(evaluation, warnings=(*without(getattr(run, "lost", ())), *evaluation.warnings))


def _judged(judgments: Any, plan: _Plan) -> tuple[Any, Subtopics | None]:
    """The judgments of documents, and those of subtopics where a measure asks for them."""
    if plan.subtopics and isinstance(judgments, (str, Path)):
        judgments = read_subtopics(judgments)
    if isinstance(judgments, Subtopics):
        return judgments.documents, judgments
    if plan.subtopics:
        plan.refuse_subtopics()
    return judgments, None


def _evaluated(
    plan: _Plan,
    joined: Joined,
    subtopics: Subtopics | None,
    level: int,
    complete: bool,
    depth: int | None,
    ties: Ties,
) -> Evaluation:
    run, judgments, query_ids = joined.run, joined.judgments, joined.query_ids
    _check_rows(run, judgments, query_ids)
    judged, found = judgments.lengths > 0, run.lengths > 0
    queries = np.flatnonzero(judged if complete else judged & found)
    if not len(queries):
        raise BadInput(f"none of the {len(run):,} queries has judgments{'' if complete else ' and results'}.")
    ranked, tied = rank(_rows(run, queries), joined.ids, ties)
    ranking = JudgedRanking(_cut(ranked, depth), _rows(judgments, queries), level)
    judged_documents = Grades.of(ranking.ranked, ranking.judgments)
    names = None if query_ids is None else [query_ids[row] for row in queries.tolist()]
    diversity = None if subtopics is None else _diversity(ranking, subtopics, names or [])
    values, mean = plan.compute(ranking, judged_documents, diversity)
    return Evaluation(
        values=values,
        mean=mean,
        queries=queries,
        query_ids=names,
        ties=tied,
        rule="ordinal" if joined.ids is None else "docno" if ties == "falling" else "rising docno",
        unjudged=int(np.count_nonzero(~judged)),
        empty=int(np.count_nonzero(judged & ~found)),
        warnings=(
            *doubts(plan.names, judged_documents, run, level),
            *doubts_of_subtopics(plan.subtopics, subtopics),
            *own_documents_first(ranking.ranked, ranking.judgments, joined.ids, names),
        ),
    )


def _diversity(ranking: JudgedRanking, subtopics: Subtopics, query_ids: Sequence[str]) -> Diversity:
    return Diversity(ranking.ranked, subtopics.over(ranking.judgments, query_ids))


def _check_levels(relevance_level: Any, depth: Any, version: Any) -> None:
    if not is_rank(relevance_level) or not (depth is None or is_rank(depth)):
        raise BadInput(f"relevance_level = {relevance_level!r} and depth = {depth!r} must be whole numbers from 1 on.")
    if version not in (9, 10):
        raise BadInput(f"trec_eval = {version!r} is not a version that nirank follows; write 9 or 10.")


def deepest_cutoff(measures: Sequence[str] | str) -> int:
    """The deepest rank that one of the measures looks at; 0 where none has a cutoff."""
    return max((cutoff_of(name) or 0 for name in _Plan.of(measures, level=1).names), default=0)


def check_ties(ties: str) -> None:
    """Raise `UnknownName` for no order of equal scores."""
    if ties not in get_args(Ties):
        raise UnknownName("order of ties", ties, get_args(Ties))


def check_measures(measures: Sequence[str] | str, subtopics: bool = False) -> None:
    """Raise what `evaluate` would for these measures: worth knowing before the search and not after it.

    Measures of subtopics are refused unless there are judgments of `subtopics`.
    """
    plan = _Plan.of(measures, level=1)
    if plan.subtopics and not subtopics:
        plan.refuse_subtopics()


def evaluate_files(
    run_path: str | Path,
    qrels_path: str | Path,
    measures: Sequence[str] | str,
    relevance_level: int = 1,
    complete: bool = True,
    depth: int | None = None,
    trec_eval: Literal[9, 10] = 10,
    ties: Ties = "falling",
) -> Evaluation:
    """Evaluate a run in a file by judgments in a file, as `evaluate` does; the fastest way from files to figures.

    Queries stand in the order of the judgments. Raises `BadInput` as `read_run` and `read_qrels` do.
    """
    _check_levels(relevance_level, depth, trec_eval)
    check_ties(ties)
    plan = _Plan.of(measures, relevance_level, trec_eval)
    subtopics = read_subtopics(qrels_path) if plan.subtopics else None
    qrels = subtopics.documents if subtopics else read_qrels(qrels_path)
    found, run, docnos = read_judged(run_path, qrels, exact=trec_eval >= 10)
    query_ids = all_queries(qrels.query_ids, found, (str(run_path), str(qrels_path)))
    judgments = rows_of(qrels.candidates, qrels.query_ids, query_ids)
    joined = Joined(rows_of(run, found, query_ids), judgments, query_ids, docnos)
    return _evaluated(plan, joined, subtopics, relevance_level, complete, depth, ties)


def rank(run: Candidates, ids: Docnos | None, ties: Ties = "falling") -> tuple[Candidates, int]:
    """A run in the order trec_eval ranks it, and how many documents have the score of the one before them.

    Equal scores go by falling or rising id or, without `ids`, by rising ordinal. Raises `BadInput` for scores that are
    NaN.
    """
    first = np.zeros(run.pairs + 1, bool)
    first[run.offsets] = True
    first = first[:-1]
    if np.isnan(run.scores).any() or not np.all((run.scores[1:] <= run.scores[:-1]) | first[1:]):
        run = run.ranked()
    tied = np.zeros(run.pairs, bool)
    tied[1:] = (run.scores[1:] == run.scores[:-1]) & ~first[1:]
    count = int(np.count_nonzero(tied))
    if not count:
        return run, 0
    return (run.ranked() if ids is None else _break_ties(run, tied, ids, ties)), count


def _break_ties(run: Candidates, tied: NDArray[np.bool_], ids: Docnos, ties: Ties) -> Candidates:
    """Order each group of equal scores by id; only these documents' ids are fetched."""
    at = np.flatnonzero(tied | np.append(tied[1:], False))
    distinct, which = np.unique(run.docs[at], return_inverse=True)
    try:
        names = ids.take(distinct)
    except IndexError as fault:
        raise BadInput(f"documents with equal scores need ids to order them, and some have none: {fault}") from fault
    place = np.empty(len(names), np.int64)
    place[sorted(range(len(names)), key=names.__getitem__, reverse=ties == "falling")] = np.arange(len(names))
    group = np.cumsum(~tied)[at]
    docs = run.docs.copy()
    docs[at] = docs[at][np.lexsort((place[which], group))]
    return replace(run, docs=docs)


def _check_rows(run: Candidates, judgments: Candidates, query_ids: Sequence[str] | None) -> None:
    if len(run) != len(judgments) or len(run) != len(run if query_ids is None else query_ids):
        asked = "" if query_ids is None else f", and there are {len(query_ids)} query ids"
        raise BadInput(
            f"the run has {len(run)} queries, the judgments have {len(judgments)}{asked}; the numbers must be equal."
        )
    if np.isnan(judgments.scores).any():
        wrong = int(np.isnan(judgments.scores).sum())
        raise BadInput(f"{wrong} of {judgments.pairs} grades of the judgments are not a number (NaN).")


def _rows(candidates: Candidates, queries: NDArray[np.int64]) -> Candidates:
    return candidates if len(queries) == len(candidates) else candidates.take(queries)


def _cut(ranked: Candidates, depth: int | None) -> Candidates:
    if depth is None:
        return ranked
    within = np.arange(ranked.pairs) - np.repeat(ranked.offsets[:-1], ranked.lengths)
    return ranked.where(within < depth)


@dataclass(frozen=True)
class _Plan:
    """Who computes which measure, settled before any work is done: the column of each name in `names`."""

    names: list[str]
    native: dict[str, Callable[[Grades], Values]]
    trec: list[str]
    other: dict[str, Any]
    subtopics: dict[str, Callable[[Diversity], Values]]
    version: int

    @classmethod
    def of(cls, measures: Sequence[str] | str, level: int, version: int = 10) -> _Plan:
        several = isinstance(measures, Iterable) and not isinstance(measures, str)
        plan = cls([], {}, [], {}, {}, version)
        for name in dict.fromkeys(map(str, measures if several else [measures])):
            plan._add(name, level)
        return replace(plan, names=list(dict.fromkeys(plan.names)), trec=list(dict.fromkeys(plan.trec)))

    def _add(self, name: str, level: int) -> None:
        measure = Measure.parse(name)
        if measure and (native := measure.native(level) or graded(measure, level)):
            self.native[name] = native
        elif measure and (novel := diversity_measure(measure, level)):
            self.subtopics[name] = novel
        elif later := new_measures(name):
            self.native.update(later)
            self.names.extend(later)
            return
        elif (expanded := trec_names(name)) is not None:
            for one in expanded:
                self._add_trec(one, level)
            return
        elif not self._add_other(name, measure, level):
            raise unknown(name)
        self.names.append(name)

    def _add_trec(self, name: str, level: int) -> None:
        self.names.append(name)
        if self.version >= 10 and (changed := changed_measure(name, level)):
            self.native[name] = changed
        else:
            self.trec.append(name)

    def _add_other(self, name: str, measure: Measure | None, level: int) -> bool:
        """Add a measure that is written in another way, or that ir_measures has; False where there is no such one."""
        if measure and (other := respelled(measure)):
            if native := other.native(level) or graded(other, level):
                self.native[name] = native
                return True
            measure = other
        if measure and (theirs := ir_measure(measure, level)):
            self.other[name] = theirs
            return True
        return False

    def refuse_subtopics(self) -> NoReturn:
        """Raise `BadInput` for measures of subtopics, where there are no judgments of these."""
        raise BadInput(
            f"{', '.join(self.subtopics)} needs judgments of subtopics, which judgments of documents do not have: "
            "give what nirank.read_subtopics returns, or write `nirank evaluate RUN QRELS` for a run in a file."
        )

    def compute(
        self, ranking: JudgedRanking, judged: Grades, diversity: Diversity | None = None
    ) -> tuple[dict[str, Values], dict[str, float]]:
        """The values of each query, and of all together."""
        values, mean = {}, {}
        for name, native in self.native.items():
            values[name] = native(judged)
            mean[name] = float(values[name].sum() if name.startswith(COUNTED) else values[name].mean())
        if diversity is not None:
            values.update({name: novel(diversity) for name, novel in self.subtopics.items()})
            mean.update({name: float(values[name].mean()) for name in self.subtopics})
        if self.trec:
            values.update(trec_values(self.trec, ranking))
            mean.update({name: trec_mean(name, values[name]) for name in self.trec})
        for name, measure in self.other.items():
            values[name] = ir_values(measure, ranking)
            mean[name] = ir_mean(measure, values[name])
        return {name: values[name] for name in self.names}, {name: mean[name] for name in self.names}
