"""Settings chosen on dev beside the defaults on test, and what pipelines have in common computed once or each time.

python benchmarks/tuning.py            both, in minutes; needs ../shared/data/nfcorpus and the extra demo
python benchmarks/tuning.py --save     also write them into benchmarks/results/
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import nirank
from nirank.execution.sharing import sharing

RESULTS = Path(__file__).with_name("results")
NFCORPUS = "beir:../shared/data/nfcorpus"
MEASURES = ["nDCG@10", "R@100", "AP"]
GRID = {"k1": {"low": 0.4, "high": 2.4, "step": 0.2}, "b": {"low": 0.1, "high": 1.0, "step": 0.1}}
#: Six pipelines that begin alike: without a neural model, and with one that encodes queries and documents.
_AFTER = ("ql", "tfidf", "ql + tfidf", "0.5 * ql + bm25", "top(10, ql)", "top(50, tfidf)")
_FOUND = "(bm25 % 100 | minilm >> exact % 100)"
PIPELINES = {
    "words": (NFCORPUS, [f"bm25 % 1000 >> {after}" for after in _AFTER]),
    "weights": ("emoji", [f"{_FOUND} >> {weight} * bm25 + minilm" for weight in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)]),
}
ROUNDS = 3
#: Queries of a collection with a neural model, which takes long.
FEW = 40


def main() -> None:
    tuned, times = tuned_beside_defaults(), {name: shared(*what) for name, what in PIPELINES.items()}
    text = "\n".join([*_tuned_lines(tuned), "", *_time_lines(times), ""])
    print(text)
    if "--save" in sys.argv:
        (RESULTS / "tuning.json").write_text(json.dumps({"tuned": tuned, "shared": times}, indent=1) + "\n")
        (RESULTS / "tuning.md").write_text(text)


def tuned_beside_defaults() -> dict:
    """BM25 with the defaults and with the best settings on dev, both on test."""
    start = time.perf_counter()
    dev = {"use": NFCORPUS, "split": "dev"}
    found = nirank.tune({"collection": NFCORPUS, "pipeline": "bm25", "tune": {"collection": dev, "bm25": GRID}})
    seconds = time.perf_counter() - start
    best = {name.removeprefix("bm25."): value for name, value in found.best.settings.items()}
    stages = {"defaults": {"use": "bm25"}, "tuned": {"use": "bm25", **best}}
    results = nirank.run(
        {
            "collection": NFCORPUS, "pipelines": {name: name for name in stages}, "stage": stages,
            "evaluate": {"measures": MEASURES, "baseline": "defaults"},
        }
    )  # fmt: skip
    rows = {name: system.evaluation.mean for name, system in results.systems.items()}
    differences = {name: results.comparison.of("tuned", "defaults", name) for name in MEASURES}
    told = {name: [row.difference, row.low, row.high, row.corrected] for name, row in differences.items()}
    return {
        "best": best, "dev": found.best.mean("nDCG@10"), "trials": len(found.trials), "seconds": round(seconds, 1),
        "notes": found.notes(), "test": rows, "differences": told, "queries": results.comparison.queries,
    }  # fmt: skip


def shared(collection: str, texts: list[str]) -> dict:
    """Medians of the seconds of all pipelines: each for itself, and with what they have in common computed once."""
    opened, parts = nirank.collection(collection), {}
    opened = opened.take(slice(0, FEW)) if "minilm" in texts[0] else opened
    pipelines = [nirank.parse(text, parts) for text in texts]
    for pipeline in pipelines:
        pipeline.index(opened.corpus)
        pipeline.search(opened.queries, opened.corpus)
    seconds = {"apart": [], "once": []}
    for _ in range(ROUNDS):
        for name, block in (("apart", nullcontext), ("once", sharing)):
            start = time.process_time()
            with block():
                for pipeline in pipelines:
                    pipeline.search(opened.queries, opened.corpus)
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {"pipelines": texts, "queries": len(opened.queries), **medians, "ratio": medians["apart"] / medians["once"]}


def _tuned_lines(tuned: dict) -> list[str]:
    best = ", ".join(f"{name} {value}" for name, value in tuned["best"].items())
    lines = [
        f"BM25 on nfcorpus: {tuned['trials']} settings tried on dev ({tuned['seconds']} s), measured on "
        f"{tuned['queries']} test queries.",
        "",
        f"| measure | defaults (k1 0.9, b 0.4) | tuned ({best}) | difference | 95 % interval | p |",
        "|---|---|---|---|---|---|",
    ]
    for name, (difference, low, high, p) in tuned["differences"].items():
        one, other = (f"{tuned['test'][system][name]:.4f}" for system in ("defaults", "tuned"))
        lines.append(f"| {name} | {one} | {other} | {difference:+.4f} | {low:+.4f} .. {high:+.4f} | {p:.3f} |")
    return lines


def _time_lines(times: dict) -> list[str]:
    lines = [
        "Six pipelines with a common first stage: seconds of the processor for all queries, the median of "
        f"{ROUNDS} rounds, {platform.machine()}.",
        "",
        "| pipelines | queries | each for itself | what is common once | ratio |",
        "|---|---|---|---|---|",
    ]
    for name, row in times.items():
        first = row["pipelines"][0].replace("|", "\\|")
        figures = f"{row['apart']:.2f} | {row['once']:.2f} | {row['ratio']:.1f}"
        lines.append(f"| {name}: `{first}`, ... | {row['queries']} | {figures} |")
    return lines


if __name__ == "__main__":
    main()
