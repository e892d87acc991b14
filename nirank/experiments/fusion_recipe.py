"""A table [train.NAME] of an experiment where NAME is a pipeline: the weights of the fusion in it are found.

    [pipelines]
    both = "fuse(bm25, minilm >> exact, method='combsum')"

    [train.both]
    collection = { use = "emoji", split = "dev" }       # what the weights are found on
    measure = "nDCG@10"                                 # the first of the experiment unless given
    step = 0.1                                          # weights are multiples of this
    folds = 5                                           # of cross-validation, which tells what they are worth
    seed = 0                                            # that of the experiment unless given

Where stages of it are trained too, they are trained first. In an experiment with [folds] the weights of a fold are
found on the queries that it chooses by, or learns from where there are none, and `collection` is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank.build import opened_of, table_of
from nirank.data.collection import Collection
from nirank.data.folds import Fold
from nirank.errors import BadInput, UnknownName
from nirank.evaluation.evaluating import check_measures
from nirank.files import beside
from nirank.pipeline.algebra import Fused, Pipeline, Ranking
from nirank.training.fused import FittedFusion, fit_fusion, simplex

if TYPE_CHECKING:
    from nirank.build import Open

#: Makes the pipelines of an experiment, by name.
Build = Callable[[], Mapping[str, Ranking]]
_KEYS = ("collection", "measure", "step", "folds", "seed")
#: What is kept in the folder of the pipeline.
FUSION = "fusion.json"


@dataclass(frozen=True)
class FusionRecipe:
    """One table [train.NAME] of a pipeline, checked.

    `options` are those of `nirank.fit_fusion`; `open` opens a collection.
    """

    name: str
    collection: dict[str, Any]
    options: dict[str, Any]
    open: Open = field(default=opened_of, compare=False)

    @classmethod
    def of(
        cls, name: str, table: Mapping[str, Any], seed: int = 0, measure: str = "nDCG@10", folded: bool = False
    ) -> FusionRecipe:
        """From a table as TOML gives it; `seed` and `measure` are the experiment's, which may be `folded`.

        Raises `UnknownName` for a key that is none, `BadInput` for a value that does not fit.
        """
        for key in table:
            if key not in _KEYS:
                raise UnknownName("key", key, _KEYS)
        options = {"measure": measure, "step": 0.1, "folds": 5, "seed": seed, **table}
        used = options.pop("collection", None)
        if folded and used is not None:
            raise BadInput("collection is given by [folds]: leave it out.")
        used = {} if folded else table_of(used, "collection")
        check_measures([options["measure"]])
        simplex(2, options["step"])
        return cls(name, used, options)

    def check(self, build: Build) -> None:
        """Raise for a pipeline without a fusion, and a collection that cannot be opened, before hours of training."""
        self._fused(build)
        if self.collection:
            self.open(self.collection)

    def fit(self, build: Build, folder: Path, fold: Fold | None = None) -> tuple[str, FittedFusion | None]:
        """The pipeline's expression with the weights that were found, on a fold if one is given.

        None stands beside it where they were found before; raises `BadInput` where that was in another way. `build`
        makes the pipelines of the experiment, by name.
        """
        path = folder / FUSION
        if path.exists():
            return self._found_before(path), None
        pipeline, fused = self._fused(build)
        fitted = fit_fusion(fused, _chosen_by(fold) if fold else self.open(self.collection), **self.options)
        text = repr(pipeline).replace(repr(fused), repr(fitted.pipeline))
        folder.mkdir(parents=True, exist_ok=True)
        described = json.dumps(_described(text, fitted, self), indent=1, default=str)
        with beside(path) as unfinished:
            unfinished.write_text(f"{described}\n", encoding="utf-8")
        return text, fitted

    def _found_before(self, path: Path) -> str:
        noted = json.loads(path.read_text(encoding="utf-8"))
        wanted = json.loads(json.dumps({**self.options, "collection": self.collection}, default=str))
        if differs := [key for key in wanted if noted.get(key) != wanted[key]]:
            raise BadInput(f"has weights that were found in another way: {', '.join(differs)} differ. Remove it.", path)
        return str(noted["pipeline"])

    def _fused(self, build: Build) -> tuple[Pipeline, Fused]:
        """The pipeline, and the only fusion in it."""
        pipeline = build()[self.name]
        found = list(_fusions(pipeline))
        if len(found) != 1:
            raise BadInput(f"{pipeline!r} has {len(found)} times `fuse(...)`; one is needed, whose weights are found.")
        return pipeline, found[0]


def _chosen_by(fold: Fold) -> Collection:
    return fold.dev if len(fold.dev.queries) else fold.train


def _fusions(pipeline: Pipeline) -> Iterator[Fused]:
    if isinstance(pipeline, Fused):
        yield pipeline
    for part in pipeline._parts():
        yield from _fusions(part)


def _described(text: str, fitted: FittedFusion, recipe: FusionRecipe) -> dict[str, Any]:
    return {
        "pipeline": text,
        "weights": fitted.pipeline.weights,
        **recipe.options,
        "collection": recipe.collection,
        "value": fitted.value,
        "cross_validated": fitted.evaluation[fitted.measure],
        "fold_weights": fitted.fold_weights,
    }
