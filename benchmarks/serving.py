"""How `nirank serve` bears load: answers a second, latency, refusals, memory; a crash and an exchange under load.

    python benchmarks/serving.py                      all of it, in about ten minutes
    python benchmarks/serving.py load --seconds 5     some of it, or shorter
    python benchmarks/serving.py --save               also write the tables into benchmarks/results/

It serves NFCorpus (3,633 documents; `--data` names the folder of collections) by BM25 and by MiniLM, each in a process
of its own on one processor, and asks the test queries from another. wrk (Debian's package of that name) makes the
load; its milliseconds are of all requests, refusals too. So a few clients ask beside it whose milliseconds are of
answers alone, and who hold each answer, ids and scores, against what the pipeline finds without a server.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from threading import Event
from typing import Any

import serving_exchange
import serving_wrk
from serving_clients import Clients, Tally, is_equal, is_right, path, truth
from serving_server import Server
from speed_table import machine, machine_kind, versions

from nirank.files import beside
from nirank.serving import searching
from nirank.serving.opening import source
from nirank.serving.state import State

RESULTS = Path(__file__).with_name("results")
DATA = Path(__file__).parents[1] / "../shared/data"
PIPELINES = {"BM25": "bm25", "MiniLM": "minilm >> exact"}
CONNECTIONS = (1, 16, 128, 1000)
Row = dict[str, Any]
#: Clients that check answers beside the load, and those that ask while a server is killed, or its state exchanged.
_BESIDE, _CROWD = 2, 16
#: A queue in which all connections have a place.
_LONG_QUEUE = ("--waiting", "2000", "--deadline", "60")
#: How often a server is killed, seconds between two exchanges of documents, and threads.
_CRASHES, _EXCHANGED_AFTER, _THREADS = 3, 0.5, 8
_PACKAGES = ("nirank", "fastapi", "uvicorn", "httptools", "uvloop", "numpy", "numba", "torch", "sentence-transformers")


@dataclass(frozen=True)
class Run:
    """How a run is made: where it writes, for how long it measures each load, and on which processors."""

    folder: Path
    data: Path
    seconds: float
    documents: int | None
    server_core: int | None
    client_core: int | None

    def experiment(self, label: str) -> Path:
        """An experiment of one pipeline."""
        written = self.folder / f"{label.lower()}.toml"
        collection = json.dumps(f"beir:{self._collection()}")
        lines = [
            f'name = "nfcorpus"\ncollection = {collection}',
            "[pipelines]",
            f'{label.lower()} = "{PIPELINES[label]}"',
        ]
        written.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return written

    def _collection(self) -> Path:
        """The folder of NFCorpus, or one with its first documents."""
        whole, cut = self.data.resolve() / "nfcorpus", self.folder / "nfcorpus"
        if self.documents is None:
            return whole
        if not cut.exists():
            cut.mkdir()
            lines = (whole / "corpus.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
            (cut / "corpus.jsonl").write_text("".join(lines[: self.documents]), encoding="utf-8")
            for name in ("queries.jsonl", "qrels.txt"):
                (cut / name).symlink_to(whole / name)
        return cut

    def server(self, label: str, *options: str) -> Server:
        """A server of it, ready."""
        command = ["-m", "nirank", "serve", str(self.experiment(label)), "--port", "PORT", "--read-only", *options]
        return Server(command, self.folder / f"{label.lower()}.log", self.server_core)

    def exchanging(self, label: str) -> Server:
        """A server of it whose documents are exchanged all the time."""
        program = str(Path(__file__).with_name("serving_exchange.py"))
        command = [program, str(self.experiment(label)), "PORT", str(_EXCHANGED_AFTER)]
        return Server(command, self.folder / "exchange.log", self.server_core)

    def opened(self, label: str) -> State:
        """What that server serves, in this process."""
        return source(str(self.experiment(label))).open()


def main() -> None:
    asked = _arguments()
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory(prefix="nirank-serving-") as folder:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        client, server = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
        os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        os.environ |= {"HF_HUB_OFFLINE": "1", "NIRANK_CACHE": str(asked.cache or Path(folder) / "cache")}
        run = Run(Path(folder), asked.data, asked.seconds, asked.documents, server, client)
        for label in asked.pipelines:
            state = run.opened(label)  # builds the index that all others open
            for work in asked.works:
                print(f"{label}, {work} ...", file=sys.stderr)
                found.setdefault(work, []).extend(WORKS[work](run, label, state))
    print(_report({"commands": [_command()], "rows": found}))
    if asked.save:
        _save(found)
    sys.exit(int(any(row["wrong"] or row.get("failed") for rows in found.values() for row in rows)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"some of: {', '.join(WORKS)} (default: all)")
    parser.add_argument("--pipelines", nargs="+", choices=list(PIPELINES), default=list(PIPELINES))
    parser.add_argument("--seconds", type=float, default=15, help="how long each load lasts (default: 15)")
    parser.add_argument("--documents", type=int, help="how many of NFCorpus' 3,633 documents (default: all)")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of collections")
    parser.add_argument("--cache", type=Path, help="a folder of indexes to keep; otherwise they are made anew")
    parser.add_argument("--save", action="store_true", help=f"also write {RESULTS.name}/serving-MACHINE.md and .json")
    asked = parser.parse_args()
    for work in asked.works:
        if work not in WORKS:
            parser.error(f"there is no work {work!r}; there are {', '.join(WORKS)}.")
    asked.works = asked.works or list(WORKS)
    if not (asked.data / "nfcorpus").exists():
        parser.error(f"there is no {asked.data / 'nfcorpus'}; --data names another folder.")
    if serving_wrk.version() is None:
        parser.error("wrk is not installed: on Debian, apt-get install wrk.")
    return asked


def _load(run: Run, label: str, state: State) -> Iterator[Row]:
    """Answers a second, milliseconds, refusals and memory by connections; then once more with a longer queue."""
    truths = {state.version: truth(state, _queries(state))}
    for options, sizes in (((), CONNECTIONS), (_LONG_QUEUE, CONNECTIONS[-1:])):
        server = run.server(label, *options)
        clients = Clients(server.port, truths)
        clients.ask(1, 1, list(state.pipelines))  # a first query imports and compiles
        for connections in sizes:
            yield {
                "pipeline": label,
                "documents": len(state.corpus),
                "queue": options[1] if options else "256",
            } | _loaded(run, server, clients, connections)
        server.stop()


def _loaded(run: Run, server: Server, clients: Clients, connections: int) -> Row:
    (right,) = clients.truths.values()
    paths = [path(query, list(right)) for query in next(iter(right.values()))]
    before = server.processor()
    with ThreadPoolExecutor(1) as beside:
        checking = beside.submit(clients.ask, _BESIDE, run.seconds, list(right)) if connections > 1 else None
        load = serving_wrk.load(run.folder, server.port, paths, connections, run.seconds, run.client_core)
        tally = checking.result() if checking else clients.ask(_BESIDE, 2, list(right))
    answers = max(1, load.answered + tally.right)
    costs = {"a second": load.answered / load.seconds, "processor": 1000 * (server.processor() - before) / answers}
    memory = dict(zip(("memory", "most"), server.memory(), strict=True))
    return {"connections": connections, **asdict(load), **costs, **memory, "busy": os.getloadavg()[0], **_told(tally)}


def _crash(run: Run, label: str, state: State) -> Iterator[Row]:
    """A server is killed and started again while clients ask it."""
    truths = {state.version: truth(state, _queries(state))}
    server, down = run.server(label), []
    with ThreadPoolExecutor(1) as crowd:
        asking = crowd.submit(Clients(server.port, truths).ask, _CROWD, 60, list(state.pipelines), stop := Event())
        for _ in range(_CRASHES):
            time.sleep(run.seconds / 3)
            server.kill()
            start = time.perf_counter()
            server.start()
            down.append(time.perf_counter() - start)
        time.sleep(run.seconds / 3)
        stop.set()
        tally = asking.result()
    told = {"pipeline": label, "documents": len(state.corpus)}
    yield {**told, "times": _CRASHES, "down": max(down), "ended in": server.stop(), **_told(tally)}


def _exchange(run: Run, label: str, state: State) -> Iterator[Row]:
    """Documents are exchanged all the time while clients ask."""
    both = serving_exchange.versions(source(str(run.experiment(label))))
    truths = {each.version: truth(each, _queries(state)) for each in both}
    server = run.exchanging(label)
    before = server.memory()[0]
    tally = Clients(server.port, truths).ask(_CROWD, 2 * run.seconds, list(state.pipelines))
    times, after = server.counted("exchanged"), server.memory()[0]
    server.stop()
    versions = len(tally.versions)
    yield {
        "pipeline": label,
        "documents": len(state.corpus),
        "times": times,
        "versions": versions,
        "before": before,
        "after": after,
        **_told(tally),
    }


def _threads(run: Run, label: str, state: State) -> Iterator[Row]:
    """Every query is asked from eight threads of one process, without a server, and held against one thread."""
    del run
    right, queries = truth(state, _queries(state)), _queries(state)
    with ThreadPoolExecutor(_THREADS) as threads:
        answers = list(threads.map(lambda query: searching.search(state, query), queries))
    pairs = list(zip(queries, answers, strict=True))
    wrong = [query for query, answer in pairs if not is_right(answer, right, query)]
    equal = sum(is_equal(answer, right, query) for query, answer in pairs)
    told = {"right": len(queries) - len(wrong), "to the bit": equal, "wrong": len(wrong), "first": wrong[:1]}
    yield {"pipeline": label, "documents": len(state.corpus), **told}


WORKS: dict[str, Callable[[Run, str, State], Iterator[Row]]] = {
    "load": _load,
    "crash": _crash,
    "exchange": _exchange,
    "threads": _threads,
}


def _queries(state: State) -> list[str]:
    """The test queries, each once."""
    return list(dict.fromkeys(map(str, state.topics.contents if state.topics else ())))


def _told(tally: Tally) -> Row:
    """What clients found, for a table."""
    return {
        "right": tally.right,
        "to the bit": tally.equal,
        "wrong": len(tally.wrong),
        "first": tally.wrong[:1],
        "p50 of answers": tally.quantile(0.5),
        "p99 of answers": tally.quantile(0.99),
        "refusals": tally.refused,
        "dropped": tally.broken,
    }


_TABLES = {
    "load": (
        "Load",
        "`refused` is 503 with Retry-After, which wrk does not heed: it asks again at once. `p50`, `p99` and `longest` "
        "are wrk's milliseconds, of refusals too; those of answers are of the two clients beside, which wait when "
        "they are refused. `processor` is the server's own milliseconds of processor time for each answer, refusals "
        "included: other programs disturb them less than the rest. `memory` is megabytes, `busy` the load average of "
        "the machine, with what other programs do on it.",
    ),
    "crash": ("A crash", f"The server is killed (signal 9) and started again while {_CROWD} clients ask it."),
    "exchange": (
        "An exchange",
        f"All documents are exchanged for a tenth of them and back while {_CROWD} clients ask. An answer says of which "
        "version it is, and is held against that one.",
    ),
    "threads": ("Threads", f"All test queries from {_THREADS} threads of one process, held against one thread."),
}


def _report(figures: dict[str, Any]) -> str:
    parts = ["# Serving", *_heading(figures["commands"])]
    for work, rows in figures["rows"].items():
        if rows:
            title, text = _TABLES[work]
            parts += [f"## {title}", text, _table(rows)]
    return "\n\n".join(parts) + "\n"


def _command() -> str:
    return f"`{shlex.join(['python', 'benchmarks/serving.py', *sys.argv[1:]])}`, {date.today()}"


def _heading(commands: Sequence[str]) -> list[str]:
    return [
        "; ".join(commands),
        f"{machine()}, {os.cpu_count()} cores: the server on one of them with one thread, clients on another; "
        f"{platform.system()}, Python {platform.python_version()}; {versions(_PACKAGES)}; {serving_wrk.version()}.",
        "NFCorpus: 323 test queries, chosen at random; ten documents an answer, each with its fields "
        "and a snippet. Every answer that a client checks has the documents and scores that the pipeline finds without "
        "a server, but for rounding of float32 (1e-5 of the score; `to the bit` counts those without), or is wrong.",
    ]


def _table(rows: Sequence[Row]) -> str:
    """The rows, without the columns that are 0 in all; those that must be 0 stay, to be seen."""
    empty = {column for column in rows[0] if not any(row[column] for row in rows)} - {"wrong", "dropped", "failed"}
    columns = [column for column in rows[0] if column not in {"first", *empty}]
    cells = [columns, ["---"] * len(columns), *([_shown(row[column]) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _save(found: dict[str, list[Row]]) -> None:
    """Write tables and figures; rows of pipelines that were not measured now stay, with the command that made them."""
    path = RESULTS / f"serving-{machine_kind()}.md"
    figures = path.with_suffix(".json")
    former = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else {"commands": [], "rows": {}}
    for work in WORKS:
        measured = found.get(work, [])
        names = {row["pipeline"] for row in measured}
        former["rows"][work] = [row for row in former["rows"].get(work, []) if row["pipeline"] not in names] + measured
    former["commands"] = list(dict.fromkeys([*former["commands"], _command()]))
    for place, written in ((path, _report(former)), (figures, json.dumps(former, indent=1) + "\n")):
        with beside(place) as unfinished:
            unfinished.write_text(written, encoding="utf-8")
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
