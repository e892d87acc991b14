"""From a run and judgments in files to four figures: nirank, pytrec_eval with its own parser, ir_measures, ranx."""

# ruff: noqa: D102 (what the methods of engines do is said once, in the class they share)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from speed_run import Run
from speed_table import OURS, Report, agreement
from speed_worker import Engine, contest, each, working

DOCUMENTS = 181_325
WANTED = {"pytrec_eval": 5.0, "ranx": 8.0}


def engines(folder: Path) -> list[Engine]:
    """Who evaluates the files in `folder`."""
    settings = {"run": str(folder / "run.txt"), "qrels": str(folder / "qrels.txt")}
    return [
        Engine(OURS, "speed_evaluation:Nirank", settings=settings),
        Engine("pytrec_eval", "speed_evaluation:PytrecEval", ["pytrec_eval"], settings),
        Engine("ir_measures", "speed_evaluation:IrMeasures", ["ir_measures"], settings),
        Engine("ranx", "speed_evaluation:Ranx", ["ranx"], settings),
    ]


def compare(run: Run, report: Report) -> None:
    """Time all engines on a run of 1,000 x 1,000, and see that they find the same."""
    size = run.size(1000, 50)
    folder = run.folder / "evaluation"
    write_files(folder, size, size)
    with working(engines(folder), report.note) as workers:
        laps = contest(workers, report.note, run.rounds, "evaluate")
        figures = each(workers, report.note, lambda worker: worker.call("evaluate"))
        peaks = each(workers, report.note, lambda worker: [worker.peak()])
    work = f"evaluation of a run of {size:,} x {size:,}"
    report.times(f"{work}, from file", laps, WANTED, dict.fromkeys(laps, size * size), "lines")
    report.sizes(f"{work}, peak memory", peaks)
    for name, difference in agreement(figures).items():
        report.note(f"{name}'s nDCG@10, AP, RR and R@1000 differ from nirank's by at most {difference:.1g}.")


def write_files(folder: Path, queries: int, depth: int, judged: int = 20, seed: int = 0) -> None:
    """A run and judgments, of which every second is on a document that was found."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "run.txt").open("w") as run, (folder / "qrels.txt").open("w") as qrels:
        for query in range(queries):
            docs = random.choice(DOCUMENTS, depth + judged // 2, replace=False).tolist()
            scores = np.sort(random.gamma(2, 4, depth))[::-1].tolist()
            lines = zip(docs, scores, range(1, depth + 1), strict=False)
            run.writelines(f"q{query:04} Q0 {_name(doc)} {rank} {score:.6f} speed\n" for doc, score, rank in lines)
            chosen = random.choice(docs[:depth], judged // 2, replace=False).tolist() + docs[depth:]
            grades = random.integers(0, 4, len(chosen)).tolist()
            pairs = zip(chosen, grades, strict=True)
            qrels.writelines(f"q{query:04} 0 {_name(doc)} {grade}\n" for doc, grade in pairs)


def _name(doc: int) -> str:
    return f"wn:n{doc * 83 % 16_000_000:08}"


@dataclass
class Files:
    """What all engines are given; `evaluate` returns the means of nDCG@10, AP, RR and R@1000."""

    run: str
    qrels: str


class Nirank(Files):
    """nirank."""

    def evaluate(self) -> list[float]:
        from nirank.evaluation.evaluating import evaluate_files

        measures = ["nDCG@10", "AP", "RR", "R@1000"]
        return list(evaluate_files(self.run, self.qrels, measures).mean.values())


class PytrecEval(Files):
    """pytrec_eval, reading with its own parser."""

    def evaluate(self) -> list[float]:
        import pytrec_eval

        with open(self.run) as run, open(self.qrels) as qrels:
            found, judgments = pytrec_eval.parse_run(run), pytrec_eval.parse_qrel(qrels)
        names = ["ndcg_cut_10", "map", "recip_rank", "recall_1000"]
        asked = {"ndcg_cut.10", "map", "recip_rank", "recall.1000"}
        rows = pytrec_eval.RelevanceEvaluator(judgments, asked).evaluate(found).values()
        return [fmean(row[name] for row in rows) for name in names]


class IrMeasures(Files):
    """ir_measures, reading with its own parsers."""

    def evaluate(self) -> list[float]:
        import ir_measures
        from ir_measures import AP, RR, R, nDCG

        measures = [nDCG @ 10, AP, RR, R @ 1000]
        qrels, run = ir_measures.read_trec_qrels(self.qrels), ir_measures.read_trec_run(self.run)
        means = ir_measures.calc_aggregate(measures, qrels, run)
        return [means[measure] for measure in measures]


class Ranx(Files):
    """ranx, reading with its own parsers."""

    def evaluate(self) -> list[float]:
        import ranx

        qrels, run = ranx.Qrels.from_file(self.qrels, kind="trec"), ranx.Run.from_file(self.run, kind="trec")
        names = ["ndcg@10", "map", "mrr", "recall@1000"]
        means = ranx.evaluate(qrels, run, names)
        return [float(means[name]) for name in names]
