"""A small server for the time of a test, on a port of its own; and a collection that it serves."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from nirank.experiments.workspace import create
from nirank.serving.app import application
from nirank.serving.connections import Impatient
from nirank.serving.opening import source
from nirank.serving.options import Options
from nirank.serving.state import Holder

ROWS = [
    {"id": "cat", "title": "Cats", "text": "A cat sleeps on the warm mat all day.", "year": 2019},
    {"id": "dog", "title": "Dogs", "text": "A dog runs after the cat in the garden.", "year": 2021},
    {"id": "fish/1", "title": "Fish", "text": "Fish swim in the cold sea.", "year": 2022},
    {"id": "<b>&", "title": "<script>alert(1)</script>", "text": "Markup <i>in</i> a text about a cat.", "year": 2023},
]


def experiment(folder: Path, rows: list[dict] = ROWS, **pipelines: str) -> Path:
    """An experiment over a few documents, of two pipelines unless others are given."""
    documents = folder / "documents.jsonl"
    documents.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipelines = pipelines or {"bm25": "bm25", "again": "bm25 % 100 >> ql"}
    lines = [f'{name} = "{text}"' for name, text in pipelines.items()]
    path = folder / "small.toml"
    path.write_text("\n".join([f'name = "small"\ncollection = "jsonl:{documents}"', "[pipelines]", *lines]) + "\n")
    return path


@contextlib.contextmanager
def running(app) -> Iterator[str]:
    """The address at which an application is served in another thread, as `nirank serve` serves it."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=Impatient, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    (socket,) = server.servers[0].sockets
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def small(folder: Path, **options):
    """An application over the small collection."""
    return application(Holder(source(str(experiment(folder))).open()), Options(**options))


def living(folder: Path, **options):
    """An application over a folder of an index of the small collection, whose documents may be changed."""
    documents = folder / "documents.jsonl"
    documents.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    create(folder / "shop", f"jsonl:{documents}", "bm25")
    origin = source(str(folder / "shop"))
    options = {"annotate": True, "living": True, "judgments": folder / "judgments", **options}
    return application(Holder(origin.open()), Options(**options), origin)
