"""The image of `Dockerfile` step by step: wheels are gathered, installed without a network, and the server is asked.

    python benchmarks/container.py                  some minutes: it downloads what the extras serve and lexical need
    python benchmarks/container.py --wheels FOLDER  with wheels that are there already, and no network

The wheels go into an environment of their own as the image installs them, with `--no-index --find-links`. There a
folder is indexed and served to other machines, with a token. Where a Docker daemon runs and has the base image, the
image itself is built with `--network=none`; elsewhere that is said, and not tried.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

from serving_server import Server

ROOT = Path(__file__).parents[1]
_TOKEN = "a-token-for-this-run"
_ROWS = [{"id": "cat", "text": "A cat sleeps on the mat."}, {"id": "dog", "text": "A dog runs."}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="a folder of wheels that is there already")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nirank-container-") as folder:
        wheels = asked.wheels or _gathered(Path(folder) / "wheels")
        python = _installed(Path(folder), wheels)
        _ask(Path(folder), python)
        _build(Path(folder), wheels)


def _wanted() -> str:
    """What the image installs, by its own file."""
    return re.findall(r"'(nirank\[[\w,]+\])'", (ROOT / "Dockerfile").read_text(encoding="utf-8"))[-1]


def _gathered(wheels: Path) -> Path:
    start = time.perf_counter()
    _run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels), _wanted().replace("nirank", ".", 1)
    )
    files = list(wheels.glob("*.whl"))
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{len(files)} wheels, {size:.0f} MB, gathered in {time.perf_counter() - start:.0f} s")
    return wheels


def _installed(folder: Path, wheels: Path) -> str:
    """The Python of a fresh environment with the wheels alone."""
    start = time.perf_counter()
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    _run(python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels.resolve()), _wanted())
    print(f"{_wanted()} installed without a network in {time.perf_counter() - start:.0f} s")
    return python


def _ask(folder: Path, python: str) -> None:
    """Index a folder, serve it to other machines, and ask: with the token, and without."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _ROWS), encoding="utf-8")
    shop = folder / "shop"
    _run(python, "-m", "nirank", "index", f"jsonl:{folder / 'rows.jsonl'}", "--to", str(shop))
    os.environ["NIRANK_TOKEN"] = _TOKEN
    command = ["-m", "nirank", "serve", "--host", "0.0.0.0", str(shop), "--read-only", "--port", "PORT"]
    server = Server(command, folder / "server.log", python=python)
    try:
        address = f"http://127.0.0.1:{server.port}"
        page = _answer(f"{address}/")
        hits = json.loads(_answer(f"{address}/search?q=cats", _TOKEN))["results"][0]["hits"]
        assert "<html" in page
        assert [hit["id"] for hit in hits] == ["cat"]
        assert _status(f"{address}/search?q=cats") == 401
        print(f"served: the page, a search, 401 without the token; {server.memory()[0]:.0f} MB resident")
        print(f"ended by SIGTERM in {server.stop():.1f} s")
    finally:
        server.kill()


def _answer(address: str, token: str = "") -> str:
    asked = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def _status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _build(folder: Path, wheels: Path) -> None:
    """Build the image without a network, where a daemon can."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        print("no Docker daemon is here: the image itself was not built")
        return
    context = folder / "context"
    context.mkdir()
    shutil.copytree(wheels, context / "wheels")
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, context / name)
    _run("docker", "build", "--network=none", "--tag", "nirank:checked", str(context))
    print(_run("docker", "run", "--rm", "nirank:checked", "--help").splitlines()[1])


def _run(*command: str) -> str:
    """What a program prints; nothing of this environment is seen by it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
