"""What can be damaged on disk, and what comes of it: in a process that may die of it, and as a table.

    python -m tests.fuzz.damage --cases 590 --jobs 1            # every kind, as it was sealed
    python -m tests.fuzz.damage --cases 590 --resealed corpus   # damage under a seal that fits it, of one kind

A case turns a bit, a byte or a run of bytes of one file, with its size kept, cuts it off, empties it, adds to it or
takes it away. What comes of it: told (an error of nirank's), same (no effect), other (another result, and nobody told),
traceback (any other exception), ended (the process died), hang (no answer for a minute).

Under a seal that fits it damage stands for what an older version, another program or somebody hostile wrote: other
results are what the files say then, and only the last three are faults.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

import nirank
from nirank import seals
from nirank.checkpoints import checkpoint, pinned_scores
from nirank.data import ArrowCorpus, Queries, write_corpus
from nirank.errors import BadInput, NirankError
from nirank.execution import indexes
from nirank.experiments.experiment import Experiment
from nirank.formats.trec import write_qrels
from nirank.plugins import Component, active, observers
from nirank.testing import samples
from nirank.testing.subject import Subject
from tests.training_toys import Interrupt, Weighed, numbers, registered

OUTCOMES = ("told", "same", "other", "traceback", "ended", "hang")
#: What is wrong with a file whose size is kept, and otherwise.
_KEPT, _MORE = ("bit", "byte", "run"), ("cut", "empty", "more", "gone")
_SECONDS = 60

Outcome = Callable[[Path], Any]


def indexed() -> list[Any]:
    """The generators whose index is written by Python."""
    return [entry for entry in active().registry if entry.kind == "generator" and entry.plugin.name != "nirank_lucene"]


def kinds() -> list[str]:
    """Every kind of thing on disk, by the name that `made` knows it by."""
    scorers = [entry.spec for entry in active().registry if entry.kind in ("scorer", "encoder")]
    names = [f"index:{entry.spec}" for entry in indexed()] + [f"checkpoint:{spec}" for spec in scorers]
    return [*names, "corpus", "folder", "results", "cache", "training"]


def made(kind: str, whole: Path) -> Outcome:
    """Make something of a kind in the folder `whole`; returns what opens a copy of it and says what is in it.

    Raises `LookupError` for what leaves nothing on disk.
    """
    what, _, spec = kind.partition(":")
    return _MAKERS[what](whole, spec)


def _index(whole: Path, spec: str) -> Outcome:
    entry = active().registry.find(spec)
    subject = Subject("generator", entry.resolve_tiny()(), entry)
    if not subject.component.can("build"):
        raise LookupError("it has no index")
    corpus, encoder = samples.corpus(subject.reads), subject.encoder
    queries = Queries.of(["small cat", "zebra"])
    queries = queries.with_vectors(encoder.target.encode(queries)) if encoder else queries
    indexes.prepare(subject.component, corpus, encoder, whole)

    def outcome(folder: Path) -> Any:
        component = Component(entry.name, entry.resolve_tiny()(), {}, entry)
        indexes.open_index(component, indexes.index_key(component, encoder), corpus, folder)
        found = component.target.generate(queries, 5)
        return np.concatenate([found.docs, found.scores, found.offsets])

    return outcome


def _corpus(whole: Path, _: str) -> Outcome:
    documents = {"id": [f"d{n}" for n in range(50)], "title": ["t"] * 50, "text": [f"word{n} cat" for n in range(50)]}
    write_corpus(whole / "corpus.arrow", [documents])

    def outcome(folder: Path) -> Any:
        corpus = ArrowCorpus(folder / "corpus.arrow")
        return np.array([*corpus.ids, *corpus, corpus.fingerprint])

    return outcome


def _checkpoint(whole: Path, spec: str) -> Outcome:
    entry = active().registry.find(spec)
    component = Component(entry.name, entry.resolve_tiny()(), {}, entry)
    try:
        checkpoint.save(component, whole)
    except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
        raise LookupError("it has no weights") from error

    def outcome(folder: Path) -> Any:
        loaded = checkpoint.load(folder)
        scores = pinned_scores.record(loaded)
        return np.array([loaded.fingerprint, json.dumps(scores and scores["scores"])])

    return outcome


def _folder(whole: Path, _: str) -> Outcome:
    from nirank.experiments import workspace

    source = whole.with_name("source.jsonl")
    source.write_text("".join(json.dumps({"id": f"d{n}", "text": f"cat word{n}"}) + "\n" for n in range(30)))
    workspace.create(whole, f"jsonl:{source}", "bm25")

    def outcome(folder: Path) -> Any:
        opened = workspace.open_folder(folder)
        docs, scores = opened.search("cat word7", 5)
        return np.concatenate([docs, scores])

    return outcome


def _results(whole: Path, _: str) -> Outcome:
    qrels, described = _qrels(whole.with_name("qrels.txt")), {"collection": "numbers", "name": "whole"}
    with registered():
        nirank.run({**described, "pipeline": "everything >> weighed", "evaluate": {"measures": ["nDCG@3"]}}, whole)

    def outcome(folder: Path) -> Any:
        if not seals.check(folder, ""):
            raise BadInput("is not vouched for", folder)
        values = nirank.evaluate(folder / "whole.run", qrels, ["nDCG@3", "P@5"])
        described = Experiment.read(folder / "experiment.toml").as_table()
        return np.array([str(values), json.dumps(described), nirank.__version__])

    return outcome


def _qrels(path: Path) -> Path:
    collection = numbers()
    write_qrels(path, collection.queries, collection.judgments)
    return path


def _cache(whole: Path, _: str) -> Outcome:
    cache_outcome(whole)
    return cache_outcome


def cache_outcome(folder: Path) -> Any:
    """What a pipeline finds whose vectors and scores are in a cache in `folder`."""
    from nirank_cache.cache import Cache

    corpus, queries = samples.corpus(""), Queries.of(samples.QUERIES)

    def tiny(spec: str) -> Any:
        entry = active().registry.find(spec)
        return nirank.load(entry.resolve_tiny()(), entry.name)

    cache = Cache(str(folder))
    with observers.switched_on([cache]):
        found = ((tiny("encoder/words") >> nirank.load("exact")) >> tiny("scorer/crossencoder")).search(queries, corpus)
    cache.close()
    return np.concatenate([found.docs, found.scores])


def _training(whole: Path, _: str) -> Outcome:
    def fit(folder: Path) -> Any:
        options = {"steps": 8, "batch_size": 4, "log_every": 1, "save_every": 3, "evaluate_every": 2}
        return nirank.fit(Weighed(), "ranknet", numbers(), dev=numbers(8, seed=1), out=folder, **options)

    with observers.switched_on([Interrupt(7)]), suppress(KeyboardInterrupt):
        fit(whole)

    def outcome(folder: Path) -> Any:
        learned = fit(folder).stage.component.target.state_dict()
        return np.concatenate([value.numpy().ravel() for value in learned.values()])

    return outcome


_MAKERS: dict[str, Callable[[Path, str], Outcome]] = {
    "index": _index,
    "corpus": _corpus,
    "checkpoint": _checkpoint,
    "folder": _folder,
    "results": _results,
    "cache": _cache,
    "training": _training,
}


class Attack:
    """Damages copies of one thing on disk, and says what came of each: an outcome, and what it was of."""

    def __init__(self, kind: str, home: Path, resealed: bool = False, size_kept: bool = False) -> None:
        self.whole, self.work, self.resealed = home / "whole", home / "work", resealed
        self.mutations = _KEPT if size_kept else _KEPT + _MORE
        self.outcome = made(kind, self.whole)
        fresh = shutil.copytree(self.whole, self.work)
        self.expected = self.outcome(fresh)

    def case(self, number: int) -> tuple[str, str]:
        """Damage one file of a copy, chosen by `number`, and say what came of opening it."""
        random = np.random.default_rng(number)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.whole, self.work)
        path = random.choice(_files(self.work))
        mutation = str(random.choice(self.mutations))
        damage = _mutate_value if self.resealed and path.suffix == ".sqlite" else _mutate
        damaged = damage(path, mutation, random)
        if self.resealed:
            _reseal(self.work, damaged)
        where = f"{mutation} of {path.relative_to(self.work)}"
        try:
            found = self.outcome(self.work)
        except NirankError:
            return "told", where
        except Exception as error:  # whatever else comes out is a fault of ours
            return "traceback", f"{where}: {type(error).__name__}: {error!s:.200}"
        return "same" if _is_same(found, self.expected) else "other", where


def _is_same(found: Any, expected: Any) -> bool:
    """Equal to the bit; of numbers, but for what is computed anew in another batch (of a damaged cache)."""
    if found.dtype.kind == "f":
        return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=1e-6, atol=1e-7))
    return bool(np.array_equal(found, expected))


def _mutate(path: Path, mutation: str, random: np.random.Generator) -> Path:
    """Have something wrong with a file, if there is anything in it."""
    if mutation == "gone":
        path.unlink()
    else:
        path.write_bytes(_changed(bytearray(path.read_bytes()), mutation, random))
    return path


def _mutate_value(path: Path, mutation: str, random: np.random.Generator) -> Path:
    """Have something wrong with a value of a cache, under a hash that fits it."""
    from nirank_cache.store import _sealed, _unsealed

    with closing(sqlite3.connect(path)) as database, database:
        rows = database.execute("SELECT id, component, key, value FROM entries ORDER BY id").fetchall()
        entry, component, key, value = rows[int(random.integers(len(rows)))]
        if mutation == "gone":
            database.execute("DELETE FROM entries WHERE id = ?", (entry,))
            return path
        changed = _changed(bytearray(_unsealed(component, key, value)), mutation, random)
        statement = "UPDATE entries SET value = ? WHERE id = ?"
        database.execute(statement, (_sealed(component, key, bytes(changed)), entry))
    return path


def _changed(data: bytearray, mutation: str, random: np.random.Generator) -> bytearray:
    place = int(random.integers(len(data))) if data else 0
    if mutation == "bit" and data:
        data[place] ^= 1 << int(random.integers(8))
    elif mutation == "byte" and data:
        data[place] ^= int(random.integers(1, 256))
    elif mutation == "run" and data:
        run = random.bytes(min(16, len(data) - place))
        data[place : place + len(run)] = run
    elif mutation == "cut":
        del data[place:]
    elif mutation == "empty":
        data.clear()
    elif mutation == "more":
        data += random.bytes(8)
    return data


def _reseal(folder: Path, damaged: Path) -> None:
    """Write the seals, and the sizes of a manifest, that fit what is there; no seal that was damaged itself."""
    for seal in sorted(folder.rglob(f"*{seals.SEAL}"), reverse=True):
        if seal == damaged:
            continue
        if seal.name != seals.SEAL:
            alone = seal.with_name(seal.name.removesuffix(f".{seals.SEAL}"))
            if alone.exists():
                seals.seal_file(alone)
            continue
        _resize(seal.parent, damaged)
        names = [name for name in seals._read(seal, "") if (seal.parent / name).exists()]
        seals.seal(seal.parent, names)


def _resize(folder: Path, damaged: Path) -> None:
    path = folder / indexes.MANIFEST
    if path.exists() and path != damaged:
        manifest = json.loads(path.read_text())
        if "files" not in manifest:  # that of results
            return
        present = {name for name in manifest["files"] if (folder / name).exists()}
        manifest["files"] = {name: indexes._size(folder / name) for name in present}
        path.write_text(json.dumps(manifest))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _work(kind: str, first: int, cases: int, log: Path, options: dict[str, bool]) -> None:
    """Try cases in this process, and note each before it is tried and after."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="nirank-fuzz-") as home, log.open("a") as file:
        try:
            attack = Attack(kind, Path(home), **options)
        except (LookupError, ImportError) as error:
            file.write(json.dumps(["skipped", str(error)]) + "\n")
            return
        for number in range(first, cases):
            file.write(json.dumps(["begun", number]) + "\n")
            file.flush()
            file.write(json.dumps([*attack.case(number), number]) + "\n")


def _lines(log: Path) -> list[list[Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def _tried(kind: str, cases: int, options: dict[str, bool], log: Path) -> Iterator[tuple[str, str]]:
    """The outcome of every case, each in a process that another follows where it ends."""
    first = 0
    while first < cases:
        log.write_text("")
        arguments = ["--worker", kind, "--first", str(first), "--cases", str(cases), "--log", str(log)]
        flags = [f"--{name.replace('_', '-')}" for name, given in options.items() if given]
        process = subprocess.Popen([sys.executable, "-m", "tests.fuzz.damage", *arguments, *flags])
        ended = _wait(process, log)
        lines = _lines(log)
        if lines and lines[0][0] == "skipped":
            return
        begun = [line[1] for line in lines if line[0] == "begun"]
        done = [(line[0], f"{kind} {line[2]}: {line[1]}") for line in lines if line[0] != "begun"]
        yield from done
        if len(begun) == len(done):
            if not process.returncode:
                return
            if not done:
                raise RuntimeError(f"{kind} could not be tried.")
        yield ended, f"{kind} {begun[-1]}: code {process.returncode}"
        first = begun[-1] + 1


def _wait(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for a process that notes what it does; one that does not for a minute is ended."""
    size = -1
    while True:
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            if log.stat().st_size != size:
                size = log.stat().st_size
                continue
            process.kill()
            process.wait()
            return "hang"
        return "ended"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="such as index:generator/bm25; the beginning of a name is enough")
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--resealed", action="store_true", help="under a seal that fits the damage")
    parser.add_argument("--size-kept", action="store_true", help="only damage that keeps the size")
    for name in ("worker", "first", "log"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    given = parser.parse_args()
    options = {"resealed": given.resealed, "size_kept": given.size_kept}
    if given.worker:
        _work(given.worker, int(given.first), given.cases, Path(given.log), options)
        return
    chosen = [kind for kind in kinds() if not given.kinds or kind.startswith(tuple(given.kinds))]
    totals: Counter[str] = Counter()
    print(f"{'kind':40}" + "".join(f"{name:>10}" for name in OUTCOMES), flush=True)
    with tempfile.TemporaryDirectory(prefix="nirank-fuzz-") as home:
        os.environ["NIRANK_CACHE"] = f"{home}/cache"
        for kind in chosen:
            results = list(_tried(kind, given.cases, options, Path(home) / "log.jsonl"))
            counts = Counter(outcome for outcome, _ in results)
            totals += counts
            if results:
                print(f"{kind:40}" + "".join(f"{counts[name]:10,}" for name in OUTCOMES), flush=True)
            for outcome, where in results:
                if outcome in OUTCOMES[3:] or (outcome == "other" and not given.resealed):
                    print(f"    {outcome}: {where}", flush=True)
    print(f"{'all':40}" + "".join(f"{totals[name]:10,}" for name in OUTCOMES))


if __name__ == "__main__":
    main()
