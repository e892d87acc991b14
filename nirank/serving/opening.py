"""Opening what is served: an experiment, a folder of `nirank index`, or a collection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Corpus
from nirank.errors import BadInput
from nirank.experiments import workspace
from nirank.experiments.experiment import Experiment
from nirank.serving.state import State


@dataclass(frozen=True)
class Source:
    """The origin of states: an experiment, and the folder where documents and indexes lie, if it is one of `nirank
    index`. Each state that it opens has components of its own.
    """

    experiment: Experiment
    folder: Path | None = None

    def open(self) -> State:
        """The present state, its indexes built and opened."""
        if self.folder is not None:
            return self.of(workspace.open_folder(self.folder))
        collection = self.experiment.open()
        return self.over(collection.corpus, collection.queries, collection.judgments)

    def of(self, opened: workspace.Workspace) -> State:
        """The state of a folder that is open."""
        (text,) = self.experiment.pipelines.values()
        return State(self.name, opened.corpus, {_named(text): opened.ranking})

    def over(self, corpus: Corpus, topics: Queries | None = None, judgments: Candidates | None = None) -> State:
        """The pipelines, newly built, over these documents."""
        state = State(self.name, corpus, self.experiment.build(), topics, judgments)
        for ranking in state.pipelines.values():
            ranking.index(corpus)
        return state

    @property
    def name(self) -> str:
        """The name that the server says it serves."""
        return self.folder.name if self.folder else self.experiment.name

    @property
    def judgments(self) -> Path:
        """The folder where judgments are kept unless one says otherwise: beside the experiment or the index."""
        beside = self.folder or self.experiment.path or Path(self.name)
        return beside.with_name(f"{self.name}-judgments")


def source(what: str, pipeline: str | None = None, stages: Mapping[str, dict[str, Any]] | None = None) -> Source:
    """The source that is meant: the path of an experiment, a folder of `nirank index`, or the name of a collection.

    `pipeline` and `stages`, as of `nirank search`, are for a collection. Raises `BadInput` where they are given for
    what has pipelines of its own.
    """
    path = Path(what)
    described = path / workspace.DESCRIPTION if path.is_dir() else path
    if described.suffix == ".toml" and (described.exists() or described == path):
        if pipeline or stages:
            raise BadInput("--pipeline and --set go with a collection: this has pipelines of its own.", what)
        return Source(Experiment.read(described), path.resolve() if path.is_dir() else None)
    text = pipeline or workspace.BM25
    table = {
        "name": "-".join(re.findall(r"[\w-]+", what.partition(":")[0])) or "collection",
        "collection": what,
        "stage": dict(stages or {}),
    }
    return Source(Experiment.of({**table, "pipelines": {_named(text): text}}))


def _named(pipeline: str) -> str:
    """A name for the only pipeline."""
    return pipeline if pipeline.isidentifier() else "pipeline"
