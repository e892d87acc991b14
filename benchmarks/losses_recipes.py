"""Which settings each loss is trained with on each collection: one line a loss.

Learning rates, gamma and samplers were chosen by the measure on dev (`python benchmarks/losses.py --rates ...` tells it
for several rates): on MQ2008 among two or three rates on two folds, on emoji for some losses of each kind, and for the
others as for those. None was chosen by test. What a line leaves out is the default of the loss, or set by the column.
Losses with classes need judgments that make classes, which neither collection has: `quality_metric.py` has those. What
reads vectors has no line on MQ2008, whose scorers make none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one loss is trained: its settings, a learning rate for each scorer, and what it learns from.

    `sampler` is a table as in an experiment, `options` what differs from the options of the column. Labels are taken
    `label` times. `teacher` says that it learns from the teacher of the column.
    """

    rates: Mapping[str, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    sampler: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    label: float = 1.0
    teacher: bool = False

    def at(self, scorer: str, rate: float | None = None) -> Recipe:
        """For one scorer alone, with another learning rate where one is given."""
        return replace(self, rates={scorer: rate or self.rates[scorer]})

    def summary(self) -> str:
        """The settings in one line of a table."""
        tables = {**self.settings, **self.options, **({"label": self.label} if self.label != 1 else {})}
        sampler = " ".join(f"{name} {value}" if name != "use" else value for name, value in self.sampler.items())
        rates = ", ".join(f"{rate:g}" for rate in self.rates.values())
        told = [f"learning rate {rates}", *(f"{name} {value}" for name, value in tables.items()), sampler]
        return "; ".join(told + ["with a teacher"] * self.teacher)

    def described(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return asdict(self)


def _letor(linear: float, mlp: float, **more: Any) -> Recipe:
    """On MQ2008: by default the judged lists of each query."""
    return Recipe(rates={"linear": linear, "mlp": mlp}, **{"sampler": {"use": "judged"}, **more})


def _emoji(words: float, **more: Any) -> Recipe:
    """On emoji: by default every query of a batch with the relevant documents of all of them."""
    return Recipe(rates={"words": words}, **{"sampler": _ALL_OF_BATCH, "options": _LONG, **more})


def _minilm(**settings: Any) -> Recipe:
    """On emoji with MiniLM: one epoch of a list for each relevant document, 72 steps of 64."""
    return Recipe(rates={"minilm": 5e-5}, settings=settings, sampler=_ONE_EACH, options={"epochs": 1})


_ALL_OF_BATCH = {"use": "in_batch", "each": "query"}
_ONE_EACH = {"use": "in_batch"}
#: Epochs of lists that are made for queries, and of such that are made for each relevant document: five times as many.
_LONG, _SHORT = {"epochs": 15}, {"epochs": 4}
#: Trees learn by heart sooner or later.
_TREE = {"epochs": 10}
_DRAWN = {"use": "drawn_from_list", "negatives": 8}
_FREQUENT = {"use": "frequency", "negatives": 64, "hits": "keep"}
_APART = {"use": "side_by_side"}

MQ2008 = {
    "cross_entropy": _letor(0.3, 0.01, settings={"classes": 3}),
    "binary_cross_entropy": _letor(0.3, 0.003),
    "mse": _letor(0.03, 0.003),
    "ordinal": _letor(0.3, 0.003, settings={"grades": 3}),
    "contrastive": _letor(0.3, 0.01, settings={"distance": "negated", "margin": 1.0}),
    "triplet": _letor(0.3, 0.01, settings={"distance": "negated", "margin": 1.0}),
    "softmax_cross_entropy": _letor(0.3, 0.01),
    "listnet": _letor(0.3, 0.003),
    "listmle": _letor(0.3, 0.01),
    "approx_ndcg": _letor(0.1, 0.003),
    "neural_ndcg": _letor(0.03, 0.003, settings={"iterations": 10}, options={"epochs": 20, "patience": 5}),
    "sampled_softmax": _letor(0.1, 0.003, sampler=_DRAWN),
    "sampled_softmax inclusion": _letor(
        0.3, 0.003, settings={"logq_mode": "inclusion"}, sampler={**_DRAWN, "unique": True}
    ),
    "sampled_softmax negatives": _letor(0.3, 0.01, settings={"logq_mode": "negatives"}, sampler=_DRAWN),
    "sampled_softmax none": _letor(0.1, 0.003, settings={"logq_mode": "none"}, sampler=_DRAWN),
    "nce": _letor(0.3, 0.01, settings={"learned": True}, sampler=_DRAWN),
    "negative_sampling": _letor(0.3, 0.003, sampler=_DRAWN),
    "ranknet": _letor(0.3, 0.01),
    "hinge": _letor(0.3, 0.01),
    "lambdarank": _letor(0.3, 0.01),
    "lambdaloss": _letor(0.3, 0.01),
    "lambdaloss 1": _letor(0.3, 0.01, settings={"variant": "1"}),
    "lambdaloss 2": _letor(0.3, 0.01, settings={"variant": "2"}),
    "kl": _letor(0.1, 0.003, teacher=True),
    "margin_mse": _letor(0.1, 0.003, teacher=True),
    "clip": _letor(0.1, 0.01, settings={"scale": 1.0}, sampler=_APART, options={"batch_size": 32}),
    "siglip": _letor(0.3, 0.003, settings={"scale": 1.0, "bias": 0.0}),
    # settings and rates as for their relatives above, not chosen on dev
    "p_listmle": _letor(0.3, 0.01),
    "unique_softmax": _letor(0.3, 0.01),
    "poly1": _letor(0.3, 0.01),
    "gist": _letor(0.3, 0.01, settings={"gamma": 1.0}, teacher=True),
    "cosent": _letor(0.3, 0.01, settings={"gamma": 1.0}),
    "multi_similarity": _letor(0.3, 0.01, settings={"alpha": 1.0, "beta": 2.0, "epsilon": None}),
    "circle": _letor(0.3, 0.01, settings={"scale": 2.0}),
    "supcon": _letor(0.3, 0.01, settings={"gamma": 1.0}),
    "mega_batch_margin": _letor(0.3, 0.01, settings={"positive_margin": 1.0, "negative_margin": 0.0}),
    "approx_mrr": _letor(0.1, 0.003),
    "adr_mse": _letor(0.1, 0.003, teacher=True),
}

EMOJI = {
    "cross_entropy": _emoji(
        0.03, settings={"classes": 2, "gamma": 10.0}, sampler={"use": "uniform", "negatives": 1}, options=_SHORT
    ),
    "binary_cross_entropy": _emoji(0.03, settings={"gamma": 10.0, "positive_weight": 64.0}),
    "mse": _emoji(0.03),
    "ordinal": _emoji(
        0.03, settings={"grades": 2, "gamma": 10.0}, sampler={"use": "uniform", "negatives": 8}, options=_SHORT
    ),
    "contrastive": _emoji(0.03),
    "triplet": _emoji(0.03, settings={"margin": 0.2}),
    "softmax_cross_entropy": _emoji(0.03, settings={"gamma": 10.0}, sampler=_ONE_EACH, options=_SHORT),
    # softmax of labels 0 and 1 is nearly even over hundreds of documents
    "listnet": _emoji(0.03, settings={"gamma": 10.0}, label=8.0),
    "listmle": _emoji(0.03, settings={"gamma": 10.0}),
    "approx_ndcg": _emoji(0.03, settings={"gamma": 10.0}),
    "neural_ndcg": _emoji(0.03, settings={"gamma": 10.0, "iterations": 10}, options={"epochs": 4, "batch_size": 16}),
    "sampled_softmax": _emoji(0.03, settings={"gamma": 10.0}, sampler=_FREQUENT, options=_SHORT),
    "sampled_softmax inclusion": _emoji(
        0.03,
        settings={"gamma": 10.0, "logq_mode": "inclusion"},
        sampler={**_FREQUENT, "unique": True, "hits": "drop"},
        options=_SHORT,
    ),
    "sampled_softmax negatives": _emoji(
        0.03, settings={"gamma": 10.0, "logq_mode": "negatives"}, sampler=_FREQUENT, options=_SHORT
    ),
    "sampled_softmax none": _emoji(
        0.03, settings={"gamma": 10.0, "logq_mode": "none"}, sampler=_FREQUENT, options=_SHORT
    ),
    "hierarchical_softmax huffman": _emoji(0.01, settings={"gamma": 3.0}, sampler={"use": "judged"}, options=_TREE),
    "hierarchical_softmax clusters": _emoji(0.01, settings={"gamma": 3.0}, sampler={"use": "judged"}, options=_TREE),
    "nce": _emoji(0.03, settings={"gamma": 10.0, "log_z": 5.0, "learned": True}, sampler=_FREQUENT, options=_SHORT),
    "negative_sampling": _emoji(0.03, settings={"gamma": 10.0}, sampler={**_FREQUENT, "negatives": 5}, options=_SHORT),
    "ranknet": _emoji(0.03, settings={"gamma": 10.0}),
    "hinge": _emoji(0.03, settings={"margin": 0.2}),
    "lambdarank": _emoji(0.03, settings={"gamma": 10.0}),
    "lambdaloss": _emoji(0.03, settings={"gamma": 10.0}),
    "lambdaloss 1": _emoji(0.03, settings={"gamma": 10.0, "variant": "1"}),
    "lambdaloss 2": _emoji(0.03, settings={"gamma": 10.0, "variant": "2"}),
    "kl": _emoji(0.003, settings={"gamma": 20.0}, teacher=True),
    "margin_mse": _emoji(0.003, teacher=True),
    "clip": _emoji(0.03, settings={"scale": 10.0}, sampler=_ONE_EACH, options=_SHORT),
    "siglip": _emoji(0.03, settings={"bias": -5.0}, sampler=_ONE_EACH, options=_SHORT),
    # settings and rates as for their relatives above, not chosen on dev
    "p_listmle": _emoji(0.03, settings={"gamma": 10.0}),
    "unique_softmax": _emoji(0.03, settings={"gamma": 10.0}),
    "poly1": _emoji(0.03, settings={"gamma": 10.0}, sampler=_ONE_EACH, options=_SHORT),
    "gist": _emoji(0.03, settings={"gamma": 10.0}, teacher=True),
    "cosent": _emoji(0.03),
    "multi_similarity": _emoji(0.03),
    "circle": _emoji(0.03),
    "supcon": _emoji(0.03),
    "mega_batch_margin": _emoji(0.03),
    "xbm": _emoji(0.03, settings={"loss": {"use": "softmax_cross_entropy", "gamma": 10.0}, "size": 512}),
    "angle": _emoji(0.03),
    "approx_mrr": _emoji(0.03, settings={"gamma": 10.0}),
    "adr_mse": _emoji(0.03, settings={"gamma": 10.0}, teacher=True),
}

#: A few, as each takes minutes.
EMOJI_MINILM = {
    "triplet": _minilm(),
    "softmax_cross_entropy": _minilm(gamma=20.0),
    "ranknet": _minilm(gamma=20.0),
    "lambdarank": _minilm(gamma=20.0),
    "clip": _minilm(scale=20.0),
    "siglip": _minilm(),
}


def loss_of(line: str) -> str:
    """The registered name of the loss of a line: what stands before a variant."""
    return line.split()[0]
