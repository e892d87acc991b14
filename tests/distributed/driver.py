"""Builds an index on a Ray cluster, says when each range comes, and which were asked for.

    python driver.py ADDRESS CORPUS FOLDER ENCODER [SECONDS [rows]]

ADDRESS is that of the cluster, or "alone"; CORPUS a path or URL. ENCODER may name an index in small chunks, as in
"small_colbert:plaid"; without one it is `exact`. With `rows` the corpus is in memory.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from nirank import hookimpl
from nirank.data import ArrowCorpus, Documents
from nirank.execution import indexes
from nirank.plugins import build, observers


class Clock:
    """Says what is asked of the hook, and when it answers."""

    @hookimpl(wrapper=True)
    def nirank_encode_corpus(self, ranges):
        print("asked", *(f"{one.start}-{one.stop}" for one in ranges), flush=True)
        return self._timed((yield))

    def _timed(self, made):
        for one, vectors in made:
            print("came", time.time(), f"{one.start}-{one.stop}", flush=True)
            yield one, vectors


def main(address, corpus, folder, encoder, seconds="", rows=""):
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    encoder, _, index = encoder.partition(":")
    encoder = build(encoder, {"seconds": float(seconds)} if seconds else {})
    corpus = ArrowCorpus(corpus)
    if rows:
        corpus = Documents([str(number) for number in range(len(corpus))], list(corpus))
    switched = [] if address == "alone" else [observers.build("ray", {"address": address})]
    with observers.switched_on([Clock(), *switched]):
        indexes.prepare(build(index, {"chunk": 64}) if index else build("exact"), corpus, encoder, Path(folder))
    print("processor seconds", time.process_time(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
