"""What lies on disk is damaged at random: it is told, or it makes no difference; nothing else comes of it.

    NIRANK_FUZZ=2000 python -m pytest tests/fuzz      # so many cases of each kind; 60 unless said, for a minute

A case turns a bit, a byte or a run of bytes of one file, with its size kept, cuts it off, empties it or adds to it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from nirank import seals
from nirank.checkpoints import checkpoint
from nirank.data import ArrowCorpus, Queries, write_corpus
from nirank.errors import NirankError
from nirank.execution import indexes
from nirank.plugins import Component, active
from nirank.testing import samples
from nirank.testing.subject import Subject

CASES = int(os.environ.get("NIRANK_FUZZ", "60"))


def _mutate(content: bytes, random: np.random.Generator) -> bytes:
    """The content with something wrong, if there is any."""
    data = bytearray(content)
    place = int(random.integers(len(data))) if data else 0
    kind = random.choice(["bit", "byte", "run", "cut", "empty", "more"])
    if kind == "bit" and data:
        data[place] ^= 1 << int(random.integers(8))
    elif kind == "byte" and data:
        data[place] = int(random.integers(256))
    elif kind == "run" and data:
        run = random.bytes(min(16, len(data) - place))
        data[place : place + len(run)] = run
    elif kind == "cut":
        del data[place:]
    elif kind == "empty":
        data.clear()
    else:
        data += random.bytes(8)
    return bytes(data)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _attack(whole: Path, work: Path, outcome, number: int) -> str:
    """Damage one file of a copy and say what came of opening it: told, same, or what should not be."""
    random = np.random.default_rng(number)
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(whole, work)
    path = random.choice(_files(work))
    before = path.read_bytes()
    damaged = _mutate(before, random)
    path.write_bytes(damaged)
    try:
        found = outcome(work)
    except NirankError:
        return "told"
    except Exception as error:  # whatever else comes out is a fault of ours
        return f"{type(error).__name__}: {error} ({path.name})"
    if damaged == before or np.array_equal(found, outcome(whole)):
        return "same"
    return f"silently other ({path.name})"


def _run(whole: Path, work: Path, outcome, record_property) -> None:
    results = [_attack(whole, work, outcome, number) for number in range(CASES)]
    told, same = results.count("told"), results.count("same")
    record_property("damage", f"{CASES} cases: {told} told, {same} without effect")
    assert [result for result in results if result not in ("told", "same")] == []
    assert told > CASES // 2


INDEXED = [entry for entry in active().registry if entry.kind == "generator" and entry.plugin.name != "nirank_lucene"]


@pytest.mark.parametrize("entry", INDEXED, ids=lambda entry: entry.spec)
def test_a_damaged_index_is_told(entry, tmp_path, record_property):
    try:
        subject = Subject("generator", entry.resolve_tiny()(), entry)
    except ImportError as error:
        pytest.skip(str(error))
    if not subject.component.can("build"):
        pytest.skip("it has no index")
    corpus, encoder = samples.corpus(subject.reads), subject.encoder
    queries = Queries.of(["small cat", "zebra"])
    queries = queries.with_vectors(encoder.target.encode(queries)) if encoder else queries
    indexes.prepare(subject.component, corpus, encoder, tmp_path / "whole")

    def outcome(folder):
        component = Component(entry.name, entry.resolve_tiny()(), {}, entry)
        indexes.check(folder, indexes.index_key(component, encoder), corpus)
        component.target.open(corpus, folder)
        found = component.target.generate(queries, 5)
        return np.concatenate([found.docs, found.scores, found.offsets])

    _run(tmp_path / "whole", tmp_path / "work", outcome, record_property)


def test_a_damaged_corpus_is_told(tmp_path, record_property):
    documents = {"id": [f"d{n}" for n in range(50)], "title": ["t"] * 50, "text": [f"word{n} cat" for n in range(50)]}
    write_corpus(tmp_path / "whole" / "corpus.arrow", [documents])

    def outcome(folder):
        corpus = ArrowCorpus(folder / "corpus.arrow")
        return np.array([*corpus.ids, *corpus, corpus.fingerprint])

    _run(tmp_path / "whole", tmp_path / "work", outcome, record_property)


@pytest.mark.parametrize("spec", ["scorer/linear", "scorer/lightgbm", "scorer/crossencoder", "encoder/words"])
def test_a_damaged_checkpoint_is_told(spec, tmp_path, record_property):
    entry = active().registry.find(spec)
    try:
        target = entry.resolve_tiny()()
    except ImportError as error:
        pytest.skip(str(error))
    checkpoint.save(Component(entry.name, target, {}, entry), tmp_path / "whole")

    def outcome(folder):
        return np.array([checkpoint.load(folder).fingerprint])

    _run(tmp_path / "whole", tmp_path / "work", outcome, record_property)


def test_files_of_two_folders_that_were_exchanged_are_told(tmp_path):
    for name, text in (("one", "1"), ("two", "2")):
        with seals.sealed(tmp_path / name) as unfinished:
            unfinished.mkdir()
            (unfinished / "a").write_text(text)
    shutil.copy2(tmp_path / "two" / seals.SEAL, tmp_path / "one" / seals.SEAL)
    with pytest.raises(NirankError, match="is damaged"):
        seals.check(tmp_path / "one", "")
