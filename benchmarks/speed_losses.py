"""Losses over lists of random scores, forward and backward: nirank, allRank and, for orientation, LightGBM.

    pip install --no-deps allRank

brings allRank, which declares that it needs torch 1.8 or older; its losses run with any. Without it its rows are left
out. What its losses import and never call (`gcsfs`, `torchvision`, `pkg_resources`) is stood in for.

LightGBM has no torch loss: its figure is the time of a boosting round with the objective "lambdarank" less that of one
with "regression" on the same rows, each a tree of two leaves on one feature. What remains is its gradient, and its
second derivative.
"""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

import ctypes
import gc
import math
import mmap
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import numpy as np
from speed_run import Run
from speed_table import OURS, Report, Row
from speed_worker import Engine, Lap, Worker, contest, each, peak_memory, working

#: Lists, and documents in each.
SIZES = ((64, 200), (16, 1000))
#: How many times faster than allRank losses of pairs are to be, by the length of lists, and how many times smaller.
FASTER, SMALLER = {200: 8.0, 1000: 25.0}, 10.0
#: Where the kernel lets a process forget the most that it has held.
_FORGET = Path("/proc/self/clear_refs")
_ALLRANK = "allRank"
_ALL_PAIRS, _FIRST, _ROUND = "LightGBM, all pairs", "LightGBM, first 30 ranks", "LightGBM, regression"


@dataclass(frozen=True)
class Loss:
    """A loss as nirank and as allRank name it, with settings where the defaults are not the same.

    With the settings `comparable` nirank's costs `[lists]` and the labels `[lists, length]` give, by `theirs`, the
    value that allRank defines. allRank does lists of up to `longest` documents in seconds.
    """

    ours: str
    allrank: str
    theirs: Callable[[Any, Any], Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    allrank_settings: Mapping[str, Any] = field(default_factory=dict)
    comparable: Mapping[str, Any] = field(default_factory=dict)
    of_pairs: bool = False
    longest: int = 1000


class Work(NamedTuple):
    """A loss on lists of one size."""

    name: str
    lists: int
    length: int

    def __str__(self) -> str:
        return f"{self.name} [{self.lists}, {self.length:,}]"

    @property
    def loss(self) -> Loss:
        """What the name stands for."""
        return LOSSES[self.name]


def _pairs(labels: Any) -> Any:
    return (labels[:, :, None] > labels[:, None]).sum()


LOSSES = {
    "LambdaRank": Loss(
        "lambdarank",
        "lambdaLoss",
        lambda costs, _: costs.sum() / math.log(2),
        allrank_settings={"weighing_scheme": "lambdaRank_scheme"},
        of_pairs=True,
    ),
    "RankNet": Loss(
        "ranknet",
        "rankNet",
        lambda costs, labels: costs.sum() / _pairs(labels),
        comparable={"pairs": "sum"},
        of_pairs=True,
    ),
    "ListNet": Loss("listnet", "listNet", lambda costs, _: costs.mean()),
    "ApproxNDCG": Loss("approx_ndcg", "approxNDCGLoss", lambda costs, _: costs.mean() - 1, {"gamma": 1.0}),
    "NeuralNDCG": Loss("neural_ndcg", "neuralNDCG", lambda costs, _: costs.mean() - 1, longest=200),
}


def compare(run: Run, report: Report) -> None:
    """Time every loss at every size, measure its memory, and see that nirank and allRank find the same."""
    for lists, length in [(4, 20)] if run.small else SIZES:
        with working(engines(lists, length, run.threads), report.note) as workers:
            for name, loss in LOSSES.items():
                if length <= loss.longest:
                    _compare(run, report, workers, Work(name, lists, length))
    report.note(
        "allRank's losses in nirank's terms: LambdaRank has logarithms to base 2 and is 1.4427 times as large; RankNet "
        "is a mean over the pairs of the batch, not of each list; ApproxNDCG and NeuralNDCG are -nDCG, not 1 - nDCG."
    )


def engines(lists: int, length: int, threads: int) -> list[Engine]:
    """Who is timed on lists of one size."""
    settings = {"lists": lists, "length": length, "threads": threads}
    lightgbm = {
        _ALL_PAIRS: {"objective": "lambdarank", "lambdarank_truncation_level": length, "lambdarank_norm": False},
        _FIRST: {"objective": "lambdarank"},
        _ROUND: {"objective": "regression"},
    }
    return [
        Engine(OURS, "speed_losses:Nirank", ["torch"], settings),
        Engine(_ALLRANK, "speed_losses:AllRank", ["allrank", "attr", "sklearn", "torch"], settings),
        *(
            Engine(name, "speed_losses:LightGBM", ["lightgbm"], settings | {"parameters": parameters})
            for name, parameters in lightgbm.items()
        ),
    ]


def _compare(run: Run, report: Report, workers: dict[str, Worker], work: Work) -> None:
    with_torch = {engine: worker for engine, worker in workers.items() if engine in (OURS, _ALLRANK)}
    due = dict(workers) if work.name == "LambdaRank" else with_torch
    wanted = {_ALLRANK: FASTER[work.length]} if work.loss.of_pairs and work.length in FASTER else {}
    laps = contest(due, report.note, run.rounds, "step", work.name)
    report.times(str(work), less(laps, _ROUND, (_ALL_PAIRS, _FIRST)), wanted)
    _memory(report, with_torch, work)
    _agree(report, with_torch, work)


def less(laps: dict[str, list[Lap]], base: str, names: Sequence[str]) -> dict[str, list[Lap]]:
    """The laps without `base`, whose laps are taken off those of the engines `names`; without it these go too."""
    kept = {name: found for name, found in laps.items() if name != base and (name not in names or base in laps)}
    for name in kept.keys() & set(names):
        both = zip(kept[name], laps[base], strict=True)
        kept[name] = [Lap(lap.wall - off.wall, lap.cpu - off.cpu) for lap, off in both]
    return kept


def _memory(report: Report, workers: Mapping[str, Worker], work: Work) -> None:
    if not _FORGET.exists():
        report.note("The memory of losses is measured on Linux only.")
        return
    wanted = {_ALLRANK: SMALLER} if work.loss.of_pairs and report.judging else {}
    peaks = each(dict(workers), report.note, lambda worker: [worker.call("memory", work.name) for _ in range(3)])
    for engine, found in peaks.items():
        sizes = [size / 1e6 for size in found]
        report.rows.append(Row(f"{work}, memory above the start", engine, sizes, unit="MB", wanted=wanted.get(engine)))


def _agree(report: Report, workers: Mapping[str, Worker], work: Work) -> None:
    found = each(dict(workers), report.note, lambda worker: np.array(worker.call("outcome", work.name)))
    if len(found) == 2:
        value, slope = differences(found[OURS], found[_ALLRANK])
        report.note(f"{work}: allRank's value differs from nirank's by {value:.1g} of it, its gradient by {slope:.1g}.")


def differences(ours: Any, theirs: Any) -> tuple[float, float]:
    """How far two outcomes (a value, then the gradient) lie apart: the values, the gradients by their norms."""
    apart = np.linalg.norm(ours[1:] - theirs[1:]) / np.linalg.norm(ours[1:])
    return abs(theirs[0] / ours[0] - 1), float(apart)


# In the engine's process


class Lists:
    """Random scores, and labels from 0 to 4, the same in every process."""

    def __init__(self, lists: int, length: int, threads: int = 1) -> None:
        random = np.random.default_rng(0)
        self.threads = threads
        self.scores = random.standard_normal((lists, length), np.float32)
        self.labels = random.integers(0, 5, (lists, length)).astype(np.float32)

    def step(self, name: str) -> None:
        """Forward and backward."""
        raise NotImplementedError


class TorchLists(Lists):
    """What those share that calculate with torch: the gradient of a loss that is one number."""

    def __init__(self, lists: int, length: int, threads: int = 1) -> None:
        import torch

        super().__init__(lists, length, threads)
        torch.set_num_threads(threads)
        self.given = torch.from_numpy(self.scores).requires_grad_()
        self.relevance, self.mask = torch.from_numpy(self.labels), torch.ones(lists, length, dtype=torch.bool)

    def value(self, name: str) -> Any:
        """The loss, as the engine's users have it."""
        raise NotImplementedError

    def comparable(self, name: str) -> Any:
        """The loss as allRank defines it."""
        return self.value(name)

    def step(self, name: str) -> None:
        self.given.grad = None
        self.value(name).backward()

    def outcome(self, name: str) -> list[float]:
        """The comparable value, and after it the gradient."""
        self.given.grad = None
        value = self.comparable(name)
        value.backward()
        return [value.item(), *self.given.grad.flatten().tolist()]

    def memory(self, name: str) -> int:
        """The most memory, in bytes, that a step needs above what the process holds."""
        self.step(name)
        return memory_of(lambda: self.step(name))


class Nirank(TorchLists):
    """nirank."""

    def __init__(self, **settings: Any) -> None:
        from nirank.plugins import build

        super().__init__(**settings)
        self.losses = {name: build(loss.ours, loss.settings).target for name, loss in LOSSES.items()}
        self.unreduced = {
            name: build(loss.ours, {**loss.settings, **loss.comparable, "reduction": "none"}).target
            for name, loss in LOSSES.items()
        }

    def value(self, name: str) -> Any:
        return self.losses[name](self.given, self.relevance, self.mask)

    def comparable(self, name: str) -> Any:
        costs = self.unreduced[name](self.given, self.relevance, self.mask)
        return LOSSES[name].theirs(costs, self.relevance)


class AllRank(TorchLists):
    """allRank."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for unneeded in ("gcsfs", "pkg_resources", "torchvision", "torchvision.transforms"):
            sys.modules[unneeded] = MagicMock()
        from allrank.models import losses

        self.losses = losses

    def value(self, name: str) -> Any:
        loss = LOSSES[name]
        return getattr(self.losses, loss.allrank)(self.given, self.relevance, **loss.allrank_settings)


class LightGBM(Lists):
    """A round of boosting, which begins at the given scores."""

    def __init__(self, parameters: Mapping[str, Any], **settings: Any) -> None:
        import lightgbm

        super().__init__(**settings)
        lists, length = self.scores.shape
        feature = np.random.default_rng(1).random((lists * length, 1))
        groups = np.full(lists, length)
        rows = lightgbm.Dataset(feature, self.labels.ravel(), group=groups, init_score=self.scores.ravel())
        fixed = {"num_leaves": 2, "min_data_in_leaf": 1, "num_threads": self.threads, "verbosity": -1}
        self.booster = lightgbm.Booster({**fixed, **parameters}, rows)

    def step(self, name: str) -> None:  # noqa: ARG002 (it has one)
        self.booster.update()


def memory_of(work: Callable[[], None]) -> int:
    """The most memory, in bytes, that the process holds during `work` above what it held before; at least a page.

    Counted by the kernel, so that what Python and what torch allocate is seen alike.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed and kept would be taken again unseen
    _FORGET.write_text("5")
    before = peak_memory()
    work()
    return max(peak_memory() - before, mmap.PAGESIZE)
