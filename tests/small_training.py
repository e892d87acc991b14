"""A small training as a program of its own, for tests that interrupt it or run it in several processes.

With `--each-line` it reads arguments as JSON, a list a line, and trains with each list in a child of its own, which
begins with all that is imported and with nothing else: importing takes three times as long as this training. It writes
the number of the child, and when it has ended its exit code, or minus the signal that killed it.
"""

import argparse
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import nn

import nirank
from nirank.data import Candidates, Collection, Documents, Queries

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Letters(nn.Module):
    """A text is the sum of the vectors of its letters; queries and documents have a matrix each."""

    vectors = "dense"

    def __init__(self, dim: int = 8, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.asked, self.told = (nn.EmbeddingBag(len(LETTERS) + 1, dim, mode="sum") for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def encode(self, queries):
        return self._vectors(self.asked, queries.contents)

    def encode_documents(self, contents):
        return self._vectors(self.told, contents)

    def _vectors(self, bags, texts):
        numbers = [[LETTERS.find(letter) + 1 for letter in text] for text in texts]
        starts = np.concatenate([[0], np.cumsum([len(row) for row in numbers])])[:-1]
        flat = [number for row in numbers for number in row]
        return self.dropout(bags(torch.tensor(flat, dtype=torch.int64), torch.from_numpy(starts)))


def collection(queries: int = 40, documents: int = 60) -> Collection:
    """Random words; relevant to a query are two documents, one of them to the next query too."""
    chance = np.random.default_rng(5)
    words = ["".join(chance.choice(list(LETTERS), 6)) for _ in range(queries + documents)]
    corpus = Documents([f"d{number}" for number in range(documents)], words[queries:])
    relevant = Candidates.of([[row % documents, (row + 1) % documents] for row in range(queries)], corpus=corpus)
    labelled = relevant.with_scores(np.ones(relevant.pairs))
    return Collection("letters", corpus, Queries.of(words[:queries]), labelled)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="where to leave the weights, as .npz")
    parser.add_argument("--own-start", action="store_true", help="each process starts from weights of its own")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--loss", default="softmax_cross_entropy")
    parser.add_argument("--sampler", default="in_batch")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE, VALUE a number")
    return parser.parse_args(arguments)


def train(arguments: list[str]) -> None:
    given = parse(arguments)
    torch.set_num_threads(1)
    options = {name: float(value) if "." in value else int(value) for name, value in map(_halves, given.option)}
    seed = int(os.environ.get("RANK", 0)) if given.own_start else 0
    encoder = Letters(dropout=given.dropout, seed=seed)
    letters = collection()
    nirank.fit(encoder, given.loss, letters, sampler=given.sampler, out=given.out, **options)
    if given.weights and int(torch.distributed.is_initialized() and torch.distributed.get_rank()) == 0:
        np.savez(given.weights, **{name: value.numpy() for name, value in encoder.state_dict().items()})


def train_each_line() -> None:
    for module in ("torch._dynamo", "nirank.training.fitting"):  # the first step of any optimiser imports dynamo
        importlib.import_module(module)
    for name in ("softmax_cross_entropy", "in_batch", "uniform", "nce"):
        nirank.load(name)
    for line in sys.stdin:
        if not (child := os.fork()):
            _end(json.loads(line))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _end(arguments: list[str]) -> NoReturn:
    """Train, and leave without what the parent would do at its end."""
    try:
        train(arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _halves(text: str) -> list[str]:
    return text.split("=")


if __name__ == "__main__":
    train_each_line() if sys.argv[1:] == ["--each-line"] else train(sys.argv[1:])
