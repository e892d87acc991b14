"""Several machines beside one: whether the results are the same, what it costs, and what a death costs.

    python benchmarks/distributed.py encode            10,000 texts, encoded by Ray on two hosts
    python benchmarks/distributed.py encode --save     also write the table into benchmarks/results/

Hosts are network namespaces of this machine (which takes root, and `pip install 'nirank[distributed]'`): they share its
processors, so that costs are ratios of processor time, and never of time that has passed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from nirank.data import write_corpus  # noqa: E402
from tests.distributed import hosts, ray_hosts  # noqa: E402

RESULTS = Path(__file__).with_name("results")
TEXTS = ROOT / "../shared/data/vaswani/corpus.jsonl"
DOCUMENTS, CHUNK = 10_000, 1024
#: Texts that cost little to encode: what is left is starting, and opening the encoder in each process.
FEW = 2 * CHUNK
#: Seconds that a chunk takes where somebody is killed.
SLOW = 1.0
_HEAD = "| what | result |\n|---|---|"
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS])
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    parser.add_argument("--save", action="store_true")
    asked = parser.parse_args()
    rows = []
    print(_HEAD)
    for what, result in PARTS[asked.part](asked.documents):
        rows.append(f"| {what} | {result} |")
        print(rows[-1], flush=True)
    if asked.save:
        measured = f"{date.today()}, {os.cpu_count()} processors, {asked.documents:,} texts"
        head = f"# Several machines: {asked.part}\n\n{measured}.\n"
        path = RESULTS / f"distributed_{asked.part}.md"
        path.write_text("\n".join([head, _HEAD, *rows, ""]), encoding="utf-8")


def encode(documents: int) -> Iterator[tuple[str, str]]:
    """Encode on two hosts and on one; then kill a worker, a host, and the driver."""
    with _folder() as folder, hosts.two_hosts() as (first, second):
        corpus = _corpus(folder, documents)
        trial, meter = Trial(folder, first, second, corpus), Meter(first, second)
        small = trial.of(_corpus(folder / "few", min(FEW, documents)))
        with meter:
            alone, alone_cost = meter.of(lambda: trial.alone("minilm"))
            _, alone_opening = meter.of(lambda: small.alone("minilm"))
            trial.start()
            driver, cost = meter.of(lambda: trial.ended("two", "minilm"))
            _, opening = meter.of(lambda: small.ended("two", "minilm"))
        ranges = documents // CHUNK + (documents % CHUNK > 0)
        yield "ranges by worker", "; ".join(re.findall(r"\S+, process \d+: (\d+ ranges)", driver.says()))
        yield "files of the index equal to the bit", str(_files(folder / "two") == alone)
        yield "ranges that came, of those there are; twice", f"{_came(driver)} of {ranges}; {_twice(driver)}"
        yield "processor time, of one process alone", f"{cost / alone_cost:.2f} ({cost:.0f} s of {alone_cost:.0f} s)"
        more, alone_more = cost - opening, alone_cost - alone_opening
        yield (
            f"the same without what {FEW:,} texts take, opening and all",
            f"{more / alone_more:.2f} ({more:.0f} s of {alone_more:.0f} s)",
        )
        expected = trial.alone("slow_letters", "0.0")
        for who, kill in _KILLED.items():
            yield f"{who} killed with -9", _killed(trial, who.replace(" ", "-"), kill, expected, ranges)


PARTS: dict[str, Callable[[int], Iterator[tuple[str, str]]]] = {"encode": encode}


class Trial:
    """A cluster of two hosts with a worker each, and a corpus."""

    def __init__(self, folder: Path, first: hosts.Host, second: hosts.Host, corpus: Path) -> None:
        self.folder, self.first, self.second, self.corpus = folder, first, second, corpus

    def of(self, corpus: Path) -> Trial:
        """The same cluster with another corpus, and files beside it."""
        return Trial(corpus.parent, self.first, self.second, corpus)

    def start(self) -> None:
        ray_hosts.start_head(self.first, self.folder)
        self.join()

    def join(self) -> None:
        ray_hosts.join(self.second, self.first, self.folder)

    def driver(self, name: str, encoder: str, *more: str, index: str | None = None) -> ray_hosts.Driver:
        address = f"{self.first.address}:{ray_hosts.PORT}"
        arguments = (address, str(self.corpus), str(self.folder / (index or name)), encoder, *more)
        return ray_hosts.Driver(self.first, self.folder / f"{name}.log", *arguments)

    def ended(self, name: str, encoder: str) -> ray_hosts.Driver:
        """A driver that has made its index."""
        driver = self.driver(name, encoder)
        _end(driver)
        return driver

    def alone(self, encoder: str, *more: str) -> dict[str, bytes]:
        """The files that one process makes."""
        name = f"alone-{encoder}"
        arguments = ("alone", str(self.corpus), str(self.folder / name), encoder, *more)
        driver = ray_hosts.Driver(self.first, self.folder / f"{name}.log", *arguments)
        _end(driver)
        return _files(self.folder / name)


class Meter:
    """Counts the processor seconds of every process on some hosts, the ended ones up to the last look at them.

    A parent is not asked for those of its children: Ray's does not wait for its workers, whose time would be lost.
    """

    def __init__(self, *watched: hosts.Host) -> None:
        self.watched, self.spent, self.ended = watched, {}, threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def of(self, work: Callable[[], Any]) -> tuple[Any, float]:
        """What a work returns, and the seconds of all processes meanwhile."""
        before = self._seconds()
        return work(), self._seconds() - before

    def _seconds(self) -> float:
        return sum(self.spent.copy().values())

    def _watch(self) -> None:
        while not self.ended.wait(0.1):
            for pid in (pid for host in self.watched for pid in host.pids()):
                self.spent[pid] = max(self.spent.get(pid, 0.0), _seconds_of(pid))


def _kill_worker(trial: Trial, driver: ray_hosts.Driver) -> ray_hosts.Driver:
    os.kill(driver.ready()[trial.second.address][0], signal.SIGKILL)
    return driver


def _kill_host(trial: Trial, driver: ray_hosts.Driver) -> ray_hosts.Driver:
    trial.second.kill()
    return driver


def _kill_driver(trial: Trial, driver: ray_hosts.Driver) -> ray_hosts.Driver:
    os.kill(driver.process.pid, signal.SIGKILL)
    driver.process.wait()
    return trial.driver("a-driver-again", "slow_letters", str(SLOW), index="a-driver")


_KILLED = {"a worker": _kill_worker, "a driver": _kill_driver, "a host": _kill_host}


def _killed(trial: Trial, name: str, kill: Any, expected: dict[str, bytes], ranges: int) -> str:
    """What came of one death: whether files are equal, ranges that came twice, and the longest silence in seconds."""
    driver = trial.driver(name, "slow_letters", str(SLOW))
    driver.until(lambda: len(driver.ready()) == 2 and len(driver.came()) >= 3)
    after = kill(trial, driver)
    _end(after)
    came = [*driver.came(), *(after.came() if after is not driver else [])]
    silence = float(np.diff([when for when, _ in came][2:]).max())
    names = [one for _, one in came]
    equal = _files(trial.folder / name) == expected
    return (
        f"files equal: {equal}; {len(set(names))} of {ranges} ranges came, {len(names) - len(set(names))} twice; "
        f"longest silence {silence:.1f} s, where a range takes {SLOW:.0f} s"
    )


def _end(driver: ray_hosts.Driver) -> None:
    if driver.process.wait(1800):
        raise SystemExit(driver.says())


def _came(driver: ray_hosts.Driver) -> int:
    return len({one for _, one in driver.came()})


def _twice(driver: ray_hosts.Driver) -> int:
    return len(driver.came()) - _came(driver)


def _seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:13])) / _TICKS


def _files(folder: Path) -> dict[str, bytes]:
    described = ("manifest.json", "seal.json")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in described}


def _corpus(folder: Path, documents: int) -> Path:
    lines = TEXTS.read_text(encoding="utf-8").splitlines()[:documents]
    texts = [json.loads(line)["text"] for line in lines]
    folder.mkdir(exist_ok=True)
    ids = [str(number) for number in range(len(texts))]
    return write_corpus(folder / "corpus.arrow", [{"id": ids, "text": texts}], ["text"]).path


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="nr"))  # of a short path: sockets lie in it
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
