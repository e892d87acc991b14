"""The two sides of a comparison: a run, with all that is known of where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.columns import to_array
from nirank.data.ids import Ids
from nirank.data.types import Ints
from nirank.differences.folders import Folder, folder_of
from nirank.errors import BadInput, UnknownName
from nirank.evaluation.evaluating import Evaluation
from nirank.evaluation.joining import kind_of, refuse_repeated
from nirank.experiments.results import Results, System
from nirank.formats.trec import Run, read_qrels, read_run
from nirank.pipeline.algebra import Ranking


@dataclass(frozen=True, eq=False)
class Side:
    """A run and what is known of it.

    `run` is None of an evaluation, which has figures alone. `manifest` and `recorded` (the means that were measured
    then) are known of results of `nirank run`; `ranking` and `collection` where it can be searched again.
    """

    name: str
    run: Run | None
    evaluation: Evaluation | None = None
    manifest: Mapping[str, Any] | None = None
    recorded: Mapping[str, float] = field(default_factory=dict)
    ranking: Ranking | None = None
    collection: Collection | None = None
    folder: Folder | None = None
    system: str | None = None

    def searchable(self) -> Side:
        """The same with its pipeline and collection, built from the experiment in its folder. Raises as these do."""
        if self.ranking is not None or self.folder is None:
            return self
        ranking, collection = self.folder.rebuilt(self.system or "")
        return replace(self, ranking=ranking, collection=collection)


def side_of(value: Any, name: str, system: str | None = None) -> Side:
    """A side: the path of a run or of a results folder, or what Python has of a run.

    `system` says which one is meant where there are several. Raises `BadInput` for anything else.
    """
    if isinstance(value, (str, Path)):
        return _of_path(Path(value), system)
    if isinstance(value, Results):
        return _of_results(value, name, system)
    if isinstance(value, System):
        return Side(value.name, run_of(value.run, "a run"), value.evaluation, ranking=value.ranking)
    if isinstance(value, Evaluation):
        return Side(name, None, value)
    if isinstance(value, (Run, Candidates)):
        return Side(name, run_of(value, "a run"))
    raise BadInput(
        "a run is expected: the path of a file in TREC's format or of a folder that `nirank run` wrote, or what "
        f"`search`, `nirank.read_run`, `nirank.evaluate` or `nirank.run` returned; not {kind_of(value)}."
    )


def _of_path(path: Path, system: str | None) -> Side:
    folder = folder_of(path)
    if folder is None:
        return Side(str(path), read_run(path))
    chosen = path.stem if path.is_file() else folder.system(system)
    return Side(
        name=str(folder.run(chosen)),
        run=read_run(folder.run(chosen)),
        manifest=folder.manifest,
        recorded=folder.recorded(chosen),
        folder=folder,
        system=chosen,
    )


def _of_results(results: Results, name: str, wanted: str | None) -> Side:
    if wanted is None and len(results.systems) > 1:
        raise BadInput(f"results of several systems, {', '.join(results.systems)}: say which, system=NAME.")
    chosen = wanted or next(iter(results.systems))
    if chosen not in results.systems:
        raise UnknownName("system", chosen, results.systems)
    system = results.systems[chosen]
    told = {"experiment": results.experiment.as_table(), **results.manifest()}
    return Side(
        name=f"{name}: {chosen}",
        run=run_of(system.run, "a run"),
        evaluation=system.evaluation,
        manifest=told,
        recorded=system.evaluation.mean,
        ranking=system.ranking,
        collection=results.collection,
        system=chosen,
    )


def run_of(value: Any, what: str) -> Run:
    """A run or judgments by ids: candidates of a corpus as a file would have them. Raises `BadInput` without ids."""
    if isinstance(value, Run):
        refuse_repeated(value.query_ids, what)
        return value
    if isinstance(value, (str, Path)):
        return read_qrels(value) if what == "judgments" else read_run(value)
    if not isinstance(value, Candidates):
        raise BadInput(f"{what} cannot be {kind_of(value)}: give the path of a file, or `nirank.Candidates`.")
    if value.corpus is None or value.query_ids is None:
        raise BadInput(
            f"{what} without {'a corpus' if value.corpus is None else 'query ids'} cannot be compared, as nothing says "
            "which documents and queries these are: candidates.over(corpus).for_queries(queries.ids)."
        )
    value.refuse_negative(what)
    refuse_repeated(value.query_ids, what)
    docs, at = np.unique(value.docs, return_inverse=True)
    return Run([*value.query_ids], _named(docs, value.corpus.ids), Candidates(value.offsets, at, value.scores))


def _named(docs: Ints, ids: Ids) -> Ids:
    """The ids of documents by rising ordinal; those that are judged and not in the corpus have a name that none has."""
    import pyarrow as pa

    beyond = [f"(document {doc - len(ids) + 1:,} beyond the corpus)" for doc in docs[docs >= len(ids)].tolist()]
    return Ids(pa.chunked_array([ids.gather(docs[docs < len(ids)]), to_array(beyond)]), unique=True)
