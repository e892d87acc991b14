"""Searches indexes in shards on a Ray cluster, and says whether rankings are those of one index, to the bit.

    python shard_driver.py ADDRESS FOLDER [RESTARTS [TIMEOUT]]

Without RESTARTS `bm25` and `exact` are searched once each. With it `bm25` is searched again and again, until FOLDER has
a file `enough`: every time it says "same", "other" or the error, and before it where the shards are.
"""

from __future__ import annotations

import logging
import random
import sys
from itertools import count
from pathlib import Path

from documents import Hashed

import nirank
from nirank.data import Documents, Queries
from nirank.execution.shards.group import LostShard
from nirank.plugins import observers

#: Uneven, and one is empty.
SHARDS = [100, 1, 0, 199]
CHANCE = random.Random(5)
WORDS = ["the", "of", *(f"word{number}" for number in range(60))]
CORPUS = Documents(
    [f"d{number}" for number in range(300)],
    [" ".join(CHANCE.choices(WORDS, k=CHANCE.choice([0, 1, 5, 20]))) for _ in range(300)],
)
QUERIES = Queries.of([" ".join(CHANCE.choices([*WORDS, "unseen"], k=CHANCE.choice([1, 2, 6]))) for _ in range(40)])


def same(left, right):
    """True where documents, scores and their places are equal to the bit, and there are any."""
    columns = ("offsets", "docs", "scores")
    return bool(left.pairs) and all(getattr(left, one).tobytes() == getattr(right, one).tobytes() for one in columns)


def places(shards):
    """Where the shards are, by their numbers."""
    hosts = shards.component.target.group.hosts
    return " ".join(f"{number}:{host.place.node}:{host.place.pid}" for number, host in hosts.items() if host.place)


def once(folder):
    """Search both, at two depths; then one alone, so that the actors of the other have ended."""
    for name, encoder in (("bm25", None), ("exact", nirank.load(Hashed()))):
        one, shards = nirank.load(name), nirank.sharded(nirank.load(name), shards=SHARDS, on="ray")
        left, right = (encoder >> one, encoder >> shards) if encoder else (one, shards)
        right.index(CORPUS, folder / name)
        for k in (10, 1000):
            print("same" if same((left % k).search(QUERIES, CORPUS), (right % k).search(QUERIES, CORPUS)) else "other")
        scored = nirank.pipeline.as_scoring(right).score(QUERIES, found := (left % 10).search(QUERIES, CORPUS))
        print("same" if scored.tobytes() == found.scores.tobytes() else "other")
        print("places", name, places(shards), flush=True)
        shards.component.target.close()


def on_and_on(folder, restarts, timeout):
    """Search until it is enough."""
    shards = nirank.sharded(nirank.load("bm25"), shards=SHARDS, on="ray", restarts=restarts, timeout=timeout)
    expected = (nirank.load("bm25") % 10).search(QUERIES, CORPUS)
    shards.index(CORPUS, folder / "bm25")
    for number in count():
        try:
            found = (shards % 10).search(QUERIES, CORPUS)
            print(number, "same" if same(expected, found) else "other", places(shards), flush=True)
        except LostShard as lost:
            print(number, "lost", lost, flush=True)
        if (folder / "enough").exists():
            return


def main(address, folder, restarts="", timeout=""):
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with observers.switched_on([observers.build("ray", {"address": address})]):
        if restarts:
            on_and_on(Path(folder), int(restarts), float(timeout) if timeout else None)
        else:
            once(Path(folder))
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
