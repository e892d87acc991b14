"""Rerank the documents of BM25 by a bi-encoder, and search with the bi-encoder alone: pip install 'nirank[demo]'."""

from __future__ import annotations

import nirank

MEASURES = ["nDCG@10", "R@100"]


def main() -> None:
    """Compare three systems on a collection that comes with the extra: emoji, found by keywords."""
    emoji = nirank.collection("emoji", split="dev")
    bm25, minilm, exact = nirank.load("bm25"), nirank.load("minilm"), nirank.load("exact")
    systems = {
        "bm25": bm25 % 100,
        "reranked": bm25 % 100 >> minilm,  # the same documents in another order
        "dense": minilm >> exact % 100,  # all documents, by their vectors
    }
    for name, system in systems.items():
        found = system.search(emoji.queries, emoji.corpus)
        figures = nirank.evaluate(found, emoji.judgments, MEASURES)
        print(f"{name:9}", "  ".join(f"{measure} {figures[measure]:.4f}" for measure in MEASURES))


if __name__ == "__main__":
    main()
