"""A server asked a thousand times at random, by schemathesis, what its OpenAPI allows and what it does not.

    python benchmarks/serving_fuzz.py                a thousand cases or more, in some minutes
    python benchmarks/serving_fuzz.py --cases 100    fewer

No answer may be one that OpenAPI does not describe, by status, by type of content, or by form; none may be a failure
of the server; nothing may be accepted that OpenAPI does not allow. The exit status is that of schemathesis.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from serving_server import Server

from nirank.experiments.workspace import create

ROWS = [
    {"id": "cat", "title": "Cats", "text": "A cat sleeps on the warm mat all day.", "year": 2019},
    {"id": "dog/1", "title": "Dogs", "text": "A dog runs after the cat in the garden.", "year": 2021},
    {"id": "<b>", "title": "Fish", "text": "Fish swim in the cold sea.", "year": None},
]
_CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "allow_header_conformance"),
    *("response_headers_conformance", "response_schema_conformance", "negative_data_rejection"),
)
#: Refusals of what is not allowed; 413 and 431 refuse what is too long to be looked at.
_REFUSALS = "[400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 422, 428, 431]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="how many requests at least (default: 1,000)")
    parser.add_argument("--seed", type=int, default=0, help="which requests (default: 0)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nirank-fuzz-") as folder:
        sys.exit(_fuzz(Path(folder), asked.cases, asked.seed))


def _fuzz(folder: Path, cases: int, seed: int) -> int:
    os.environ["NIRANK_CACHE"] = str(folder / "cache")
    (folder / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    create(folder / "shop", f"jsonl:{folder / 'documents.jsonl'}", "bm25 % 100 >> ql")
    log = folder / "server.log"
    (folder / "schemathesis.toml").write_text(
        f"[checks]\nnegative_data_rejection.expected-statuses = {_REFUSALS}\n", encoding="utf-8"
    )
    server = Server(["-m", "nirank", "serve", str(folder / "shop"), "--port", "PORT"], log)
    try:
        return _ask(folder, f"http://127.0.0.1:{server.port}", cases, seed)
    finally:
        server.stop()
        print(log.read_text(encoding="utf-8")[-2000:], file=sys.stderr)


def _ask(folder: Path, address: str, cases: int, seed: int) -> int:
    """Ask each path and method its share of the cases, after those that cover its rules one by one."""
    with urllib.request.urlopen(f"{address}/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    share = -(-cases // sum(map(len, paths.values())))
    options = ["--checks", ",".join(_CHECKS), "--max-examples", str(share), "--seed", str(seed), "--no-color"]
    phases = ["--phases", "coverage,fuzzing", "--continue-on-failure"]
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml"), "run"]
    return subprocess.run([*command, f"{address}/openapi.json", *options, *phases], check=False, cwd=folder).returncode


if __name__ == "__main__":
    main()
