"""Train a linear ranker over several scores of words and measure it: pip install 'nirank[emoji,ltr,train]'."""

from __future__ import annotations

import tempfile

import nirank


def main() -> None:
    """Learn from one part of the queries, choose the weights on another, and measure on a third."""
    train, dev, test = (nirank.collection("emoji", split=split) for split in ("train", "dev", "test"))
    bm25, manual = nirank.load("bm25"), nirank.load("manual")
    ranker = nirank.features(manual) >> nirank.load("linear")
    with tempfile.TemporaryDirectory() as folder:
        nirank.fit(
            ranker,
            nirank.load("ranknet"),
            train,
            sampler=nirank.load("uniform", negatives=20),
            dev=dev,
            pipeline=bm25 % 100 >> ranker,
            out=f"{folder}/ranker",
            epochs=2,
            batch_size=64,
            learning_rate=0.05,
        )
    for name, system in {"bm25": bm25 % 100, "learned": bm25 % 100 >> ranker}.items():
        found = system.search(test.queries, test.corpus)
        print(f"{name:8} nDCG@10 {nirank.evaluate(found, test.judgments, ['nDCG@10'])['nDCG@10']:.4f}")


if __name__ == "__main__":
    main()
