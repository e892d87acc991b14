"""Fuse two TREC runs, and test whether the fusion is better than each: python fuse_runs.py RUN RUN QRELS."""

from __future__ import annotations

import sys

import nirank


class FromRun:
    """Finds for each query what a TREC run says was found."""

    def __init__(self, run: nirank.Candidates) -> None:
        self.run = run

    def generate(self, queries: nirank.Queries, k: int) -> nirank.Candidates:
        """Return the best `k` documents of each query, whose rows the run has by their ids."""
        known = list(self.run.query_ids)
        return self.run.take([known.index(query) for query in queries.ids]).ranked().top(k)


def main(first: str, second: str, qrels: str) -> None:
    """Print mean measures of both runs and of their fusion, and how sure the differences are."""
    judged, runs = nirank.read_qrels(qrels), {path: nirank.read_run(path) for path in (first, second)}
    names = sorted({name for run in runs.values() for name in run.ids})
    corpus = nirank.Documents(names, names)  # nobody reads the documents themselves
    rows = [run.align(judged.query_ids, corpus.ids) for run in runs.values()]
    queries = nirank.Queries(judged.query_ids, judged.query_ids)
    fused = nirank.fuse(*(nirank.load(FromRun(each)) for each in rows)).search(queries, corpus)
    relevant = judged.align(judged.query_ids, corpus.ids)
    systems = {**dict(zip(runs, rows, strict=True)), "fused": fused}
    measured = {name: nirank.evaluate(found, relevant, ["AP"], corpus.ids) for name, found in systems.items()}
    for name, figures in measured.items():
        print(f"{name}: AP {figures['AP']:.4f}")
    for row in nirank.compare(measured).differences:
        print(f"{row.system} - {row.other}: {row.difference:+.4f}, p = {row.corrected:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
