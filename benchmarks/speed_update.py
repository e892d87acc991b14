"""What it costs to bring an index up to date when few documents have changed, beside making it anew."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from speed_run import Run
from speed_table import OURS, Report
from speed_worker import Engine, Lap, Worker

#: Documents that change, and by how many times an update is to be cheaper than an index made anew.
CHANGED, WANTED = 300, 20.0
#: Fewer laps than of searches: making an index takes ten seconds.
_MOST_LAPS = 3
_ANEW = "nirank, made anew"
_COMMAND = str(Path(sys.executable).with_name("nirank"))


def compare(run: Run, report: Report) -> None:
    """Time an update and an index made anew in turns: of the index alone, of a folder, as whole commands."""
    documents, changed = run.texts().json_lines, run.folder / "changed.jsonl"
    count = _change(documents, changed, run.size(CHANGED, 3))
    settings = {"folder": str(run.folder / "update"), "documents": str(documents), "changed": str(changed)}
    laps = min(run.rounds, _MOST_LAPS)
    worker = Worker(Engine(OURS, "speed_update:States", settings=settings))
    try:
        for what, (update, anew) in {
            "the postings of BM25": ("update", "build"),
            "a folder": ("renew", "create"),
        }.items():
            found = {OURS: [worker.time_once(update) for _ in range(laps + 1)][1:]}
            found[_ANEW] = [worker.time_once(anew) for _ in range(laps)]
            _report(report, f"{what}, {count} documents changed", found)
        if not worker.call("same"):
            raise RuntimeError("an index that was updated differs from one that was made anew")
    finally:
        worker.close()
    _report(report, f"nirank index, {count} documents changed, fresh process", _commands(run, documents, changed, laps))


def _report(report: Report, work: str, laps: Mapping[str, list[Lap]]) -> None:
    wanted = {_ANEW: WANTED} if "postings" in work else None  # to copy, check and read documents takes as long as ever
    report.times(f"update of {work}", laps, wanted)
    shares = [sum(lap.cpu for lap in found) / len(found) for found in laps.values()]
    report.note(f"Update of {work}: {100 * shares[0] / shares[1]:.1f} % of the processor time of {_ANEW}.")


def _change(documents: Path, changed: Path, count: int) -> int:
    """Write the documents with some of them changed: words of another, and one that is new."""
    lines, chance = documents.read_text(encoding="utf-8").splitlines(), random.Random(0)
    for place in chance.sample(range(len(lines)), count):
        document = json.loads(lines[place])
        other = json.loads(chance.choice(lines))["text"]
        lines[place] = json.dumps({**document, "text": f"{other} novel{place}"})
    changed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return count


def _commands(run: Run, documents: Path, changed: Path, laps: int) -> dict[str, list[Lap]]:
    """`nirank index` of one state and of the other, in turns."""
    folder, found = run.folder / "update-command", dict[str, list[Lap]]()
    _timed(run, ["--to", str(folder)], documents)
    for lap in range(laps):
        found.setdefault(OURS, []).append(_timed(run, ["--to", str(folder), "--update"], (changed, documents)[lap % 2]))
        fresh = run.folder / f"update-anew-{lap}"
        found.setdefault(_ANEW, []).append(_timed(run, ["--to", str(fresh)], (changed, documents)[lap % 2]))
        shutil.rmtree(fresh)
    return found


def _timed(run: Run, options: list[str], documents: Path) -> Lap:
    """One command; it reads the file of documents, of which there is no copy in the cache."""
    cache = run.folder / "update-cache"
    shutil.rmtree(cache / "corpora", ignore_errors=True)
    before, begun = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [_COMMAND, "index", f"jsonl:{documents}", *options],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"NIRANK_CACHE": str(cache)},
    )
    wall, after = time.perf_counter() - begun, getrusage(RUSAGE_CHILDREN)
    return Lap(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


# In the engine's process


class States:
    """Two states of the same documents, and what is made of them in a folder."""

    def __init__(self, folder: str, documents: str, changed: str) -> None:
        import nirank
        from nirank.data import same_documents

        self.folder, self.names = Path(folder), [f"jsonl:{documents}", f"jsonl:{changed}"]
        self.corpora = [nirank.collection(name).corpus for name in self.names]
        self.ranker, self.turn = nirank.load("bm25").component.target, 0
        self.ordinals = same_documents(self.corpora[1], self.corpora[0])
        (self.folder / "former").mkdir(parents=True)
        self.ranker.build(self.corpora[0], self.folder / "former")

    def build(self) -> None:
        """Make the postings of the second state."""
        self.ranker.build(self.corpora[1], self._empty("anew"))

    def update(self) -> None:
        """The same from those of the first."""
        from nirank.kit import Former

        self.ranker.update(self.corpora[1], self._empty("updated"), Former(self.folder / "former", self.ordinals))

    def same(self) -> bool:
        """Whether both are the same files."""
        made = [
            {path.name: path.read_bytes() for path in (self.folder / name).iterdir()} for name in ("anew", "updated")
        ]
        return made[0] == made[1]

    def create(self) -> None:
        """Make a folder that is searched."""
        from nirank.experiments import workspace

        shutil.rmtree(self.folder / "created", ignore_errors=True)
        workspace.create(self.folder / "created", self.names[1], "bm25")

    def renew(self) -> None:
        """Bring one to the other state; it is made the first time."""
        from nirank.experiments import workspace

        workspace.update(self.folder / "renewed", self.names[self.turn % 2])
        self.turn += 1

    def _empty(self, name: str) -> Path:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir()
        return self.folder / name
