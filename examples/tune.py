"""Find the weight of a sum, and those of a fusion, on dev queries; measure on others: pip install 'nirank[demo]'."""

from __future__ import annotations

import nirank

EXPERIMENT = {
    "collection": {"use": "emoji", "split": "test"},
    "pipelines": {
        "dense": "minilm >> exact % 100",
        "mixed": "(bm25 % 100 | minilm >> exact % 100) >> weight * bm25 + minilm",
    },
    "numbers": {"weight": 0.1},
    "tune": {"collection": {"use": "emoji", "split": "dev"}, "numbers.weight": [0.03, 0.1, 0.3, 1.0]},
    "evaluate": {"measures": ["nDCG@10"]},
}


def main() -> None:
    """Try the weights, run the experiment with the best one, and beside it a fusion of the same two systems."""
    tuned = nirank.tune(EXPERIMENT)
    for trial in tuned.trials:
        print(trial.settings, f"dev {trial.mean('nDCG@10'):.4f}")
    for name, system in nirank.run(tuned.resolved).systems.items():
        print(f"{name}: nDCG@10 {system.evaluation['nDCG@10']:.4f}")

    dev, test = (nirank.collection("emoji", split=split) for split in ("dev", "test"))
    bm25, dense = nirank.load("bm25"), nirank.load("minilm") >> nirank.load("exact")
    fitted = nirank.fit_fusion(nirank.fuse(bm25 % 100, dense % 100, method="combsum"), dev, measure="nDCG@10")
    print(fitted.pipeline)
    found = fitted.pipeline.search(test.queries, test.corpus)
    print(f"fused: nDCG@10 {nirank.evaluate(found, test.judgments, ['nDCG@10'])['nDCG@10']:.4f}")


if __name__ == "__main__":
    main()
