"""How each system of the WikiQA table is built and trained; settings were chosen by MAP on dev."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: What the others are compared with.
BASELINE = "BM25"

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A pipeline, its stages with their settings, and how some of them are trained, in that order.

    A training is a table of `loss` (with `use`), `options` of `nirank.fit`, and `pipeline`, where the stage is trained
    in another one than is tested. In settings, `data:` stands for the folder of data. `published` is MAP.
    """

    pipeline: str
    stages: Mapping[str, Table]
    train: Mapping[str, Table] = field(default_factory=dict)
    published: float | None = None

    def built(self, seed: int, data: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Each stage: its name, what it uses, and its settings, to which the seed belongs where it is trained."""
        yield "given", "generator/given", {}
        for name, table in self.stages.items():
            settings = {key: _placed(value, data) for key, value in table.items() if key != "use"}
            yield name, table["use"], settings | ({"seed": seed} if name in self.train else {})

    def told(self) -> str:
        """The pipeline with losses and learning rates, in a line."""
        trained = (
            f"{name} ({self.stages[name]['use']}) by {table['loss']['use']} at {table['options']['learning_rate']}"
            for name, table in self.train.items()
        )
        return "; ".join([f"`{self.pipeline}`", *trained])


def _placed(value: Any, data: Path) -> Any:
    return value.replace("data:", f"{data}/") if isinstance(value, str) else value


def _alone(use: str, published: float | None, loss: Table, options: Table, **settings: Any) -> Recipe:
    """A scorer or encoder that ranks the sentences by itself."""
    return Recipe(
        "given >> model", {"model": {"use": use, **settings}}, {"model": {"loss": loss, "options": options}}, published
    )


_WORDS = "data:weights/wordllama-256"
_LISTWISE = {"use": "softmax_cross_entropy"}
_SMOOTHED = {"use": "softmax_cross_entropy", "gamma": 20.0}

_DSSM = {"epochs": 10, "batch_size": 32, "learning_rate": 5e-4, "patience": 3}
_DUET = {"max_document": 50, "max_query": 10, "filters": 16, "hidden": 16, "idf": True}


def _options(learning_rate: float, epochs: int = 10) -> Table:
    return {"epochs": epochs, "batch_size": 32, "learning_rate": learning_rate}


RECIPES: dict[str, Recipe] = {
    BASELINE: Recipe("given >> bm25", {"bm25": {"use": "bm25"}}, published=0.5970),
    "DSSM": _alone("dssm", 0.5647, _SMOOTHED, _DSSM, dims=[300, 128]),
    "DRMM": _alone("drmm", 0.6195, _LISTWISE, _options(1e-2), vectors=_WORDS, stopwords=None),
    "DRMM-TKS": _alone("drmm_tks", 0.6586, _LISTWISE, _options(1e-2), vectors=_WORDS, gate="idf"),
    "KNRM": _alone("knrm", 0.6256, _LISTWISE, _options(1e-2), vectors=_WORDS),
    "DUET, local": _alone("duet_local", None, _LISTWISE, _options(1e-3, epochs=20), **_DUET),
    "DUET": _alone("duet", 0.6301, _LISTWISE, _options(1e-3, epochs=20), **_DUET, pool=48, vectors=_WORDS),
    "DUET, local and DSSM": Recipe(
        "given >> local + 2.0 * dssm",
        {"local": {"use": "duet_local", **_DUET}, "dssm": {"use": "dssm", "dims": [300, 128]}},
        {
            "local": {"loss": _LISTWISE, "options": _options(1e-3, epochs=20), "pipeline": "given >> local"},
            "dssm": {"loss": _SMOOTHED, "options": _DSSM, "pipeline": "given >> dssm"},
        },
        published=0.6301,
    ),
    "MatchPyramid": _alone("matchpyramid", 0.6434, _LISTWISE, _options(3e-3), vectors=_WORDS, idf=True),
    "Conv-KNRM": _alone("conv_knrm", None, _LISTWISE, _options(3e-3, epochs=3), vectors=_WORDS, filters=128),
    "PACRR": _alone("pacrr", None, _LISTWISE, _options(3e-3, epochs=6), vectors=_WORDS, filters=8),
    "features": Recipe(
        "given >> features(manual) >> linear",
        {"manual": {"use": "manual"}, "linear": {"use": "scorer/linear"}},
        {"linear": {"loss": _LISTWISE, "options": _options(3e-2, epochs=20)}},
    ),
    "features with KNRM, and BM25": Recipe(
        "given >> (features(manual, knrm) >> linear) + 0.1 * bm25",
        {
            "manual": {"use": "manual"},
            "knrm": {"use": "knrm", "vectors": _WORDS},
            "linear": {"use": "scorer/linear"},
            "bm25": {"use": "bm25"},
        },
        {
            "knrm": {"loss": _LISTWISE, "options": _options(1e-2), "pipeline": "given >> knrm"},
            "linear": {"loss": _LISTWISE, "options": _options(3e-2, epochs=20)},
        },
    ),
}
