"""Modules as version 0.1 had them: importing one still works, with a warning that names the new place.

    from nirank.trec import read_run      # DeprecationWarning: nirank.trec has moved to nirank.formats.trec

They go with version 0.4.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

#: Where the names of a module are now; of several places the first that has one.
MOVED: dict[str, tuple[str, ...]] = {
    "batches": ("data.batches",),
    "chunks": ("kit.ragged_files",),
    "compiling": ("kit.numba",),
    "contact": ("experiments.contact_sheet",),
    "corpus": ("data", "data.corpus", "data.corpus_files"),
    "delegates": ("evaluation.external",),
    "execute": ("execution.stages",),
    "experiment": ("experiments.experiment", "experiments.run"),
    "expression": ("pipeline.expression",),
    "featuring": ("pipeline.feature_ranking",),
    "fixture": ("checkpoints.pinned_scores",),
    "fusion": ("pipeline.fusion",),
    "images": ("data.images",),
    "indexes": ("execution.indexes",),
    "inventory": ("plugins.inventory",),
    "jsonl": ("formats.jsonl",),
    "latency": ("experiments.latency",),
    "lines": ("formats.trec_lines", "formats.lines", "formats.layouts"),
    "manifest": ("experiments.manifest", "environment"),
    "measures": ("evaluation.measures",),
    "observers": ("plugins.observers",),
    "openvino": ("kit.openvino",),
    "pretrained": ("kit.transformers",),
    "ragged": ("data.vectors",),
    "reading": ("formats.opening",),
    "report": ("experiments.report",),
    "reranking": ("pipeline.reranking",),
    "results": ("experiments.results", "experiments.write", "formats.toml", "files"),
    "sampling": ("training.sampling",),
    "scaffold": ("plugins.scaffold",),
    "settings": ("plugins.settings", "hints"),
    "significance": ("evaluation.significance",),
    "strings": ("data.columns",),
    "text.terms": ("data.terms",),
    "topics": ("formats.topics",),
    "training.recipe": ("experiments.recipe",),
    "training.run": ("experiments.train",),
    "trec": ("formats.trec", "formats.topics"),
    "weights": ("checkpoints.checkpoint", "hashing"),
    "workspace": ("experiments.workspace",),
    "text": ("kit.text",),
    "text.analysis": ("kit.text.analysis",),
    "text.forward": ("kit.text.forward_index",),
    "text.prompts": ("kit.text.prompts",),
    "text.queries": ("kit.text.queries",),
    "text.reading": ("kit.text.corpus_terms",),
    "text.stemming": ("kit.text.stemming",),
    "text.vocabulary": ("kit.text.vocabulary",),
    "text.weighting": ("kit.text.weighting",),
    "text.word2vec": ("kit.text.word2vec",),
    "text.words": ("kit.text.word_breaks",),
    "vision": ("kit.vision",),
    "vision.libraries": ("kit.vision.libraries",),
    "vision.pixels": ("kit.vision.pixels",),
    "vision.vit": ("kit.vision.vit",),
}


class _Finder:
    """Answers for modules that have moved, after everything that is really there."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        package, module = name.partition(".")[::2]
        if package != "nirank" or module not in MOVED:
            return None
        return ModuleSpec(name, cast("Any", _Loader()), is_package=module in ("text", "vision"))


class _Loader:
    """Makes a module that has the names of those that took its place."""

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual module is made."""

    def exec_module(self, module: ModuleType) -> None:
        places = [f"nirank.{place}" for place in MOVED[module.__name__.partition(".")[2]]]
        message = f"{module.__name__} has moved to {' and '.join(places)}; nirank 0.4 will not know the old name."
        warnings.warn(message, DeprecationWarning, stacklevel=2)

        def forward(name: str) -> Any:
            for place in places:
                found = importlib.import_module(place)
                if hasattr(found, name):
                    return getattr(found, name)
            raise AttributeError(f"{module.__name__} has moved to {' and '.join(places)}, where there is no {name!r}.")

        vars(module)["__getattr__"] = forward


def install() -> None:
    """Answer for the modules of version 0.1."""
    sys.meta_path.append(_Finder())
