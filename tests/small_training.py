"""A small training as a program of its own, for tests that interrupt it or run it in several processes."""

import argparse
import os
from pathlib import Path

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


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="where to leave the weights, as .npz")
    parser.add_argument("--own-start", action="store_true", help="each process starts from weights of its own")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--loss", default="softmax_cross_entropy")
    parser.add_argument("--sampler", default="in_batch")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE, VALUE a number")
    return parser.parse_args()


def main() -> None:
    given = parse()
    torch.set_num_threads(1)
    options = {name: float(value) if "." in value else int(value) for name, value in map(_halves, given.option)}
    seed = int(os.environ.get("RANK", 0)) if given.own_start else 0
    encoder = Letters(dropout=given.dropout, seed=seed)
    letters = collection()
    nirank.fit(encoder, given.loss, letters, sampler=given.sampler, out=given.out, **options)
    if given.weights and int(torch.distributed.is_initialized() and torch.distributed.get_rank()) == 0:
        np.savez(given.weights, **{name: value.numpy() for name, value in encoder.state_dict().items()})


def _halves(text: str) -> list[str]:
    return text.split("=")


if __name__ == "__main__":
    main()
