"""What lies on disk is damaged at random: it is told, or it makes no difference; nothing else comes of it.

    NIRANK_FUZZ=2000 python -m pytest tests/fuzz      # so many cases of each kind; 60 unless said, for a minute

What is damaged, and how, is in `tests.fuzz.damage`, which by itself prints a table and outlives a process that ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections import Counter

import numpy as np
import pytest

from nirank import seals
from nirank.errors import BadInput, NirankError
from nirank_cache import store, vectors
from tests.fuzz import damage

CASES = int(os.environ.get("NIRANK_FUZZ", "60"))
_SPECS = ("scorer/linear", "scorer/lightgbm", "scorer/crossencoder", "encoder/words")
CHECKPOINTS = [f"checkpoint:{spec}" for spec in _SPECS]
KINDS = [kind for kind in damage.kinds() if not kind.startswith("checkpoint:")] + CHECKPOINTS
#: Of so many cases one is tried: they take longer.
SLOW = {"cache": 4, "training": 4}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_told_or_makes_no_difference(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "nirank"))
    try:
        attack = damage.Attack(kind, tmp_path)
    except (LookupError, ImportError) as error:
        pytest.skip(str(error))
    results = [attack.case(number) for number in range(CASES // SLOW.get(kind, 1))]
    assert [result for result in results if result[0] not in ("told", "same")] == []
    assert Counter(outcome for outcome, _ in results)["told"] > (0 if kind == "cache" else len(results) // 2)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_under_a_seal_that_fits_it_never_leads_anywhere(kind, tmp_path, monkeypatch):
    """Other results are what the files say then; but for a fault of ours this process would end."""
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "nirank"))
    try:
        attack = damage.Attack(kind, tmp_path, resealed=True)
    except (LookupError, ImportError) as error:
        pytest.skip(str(error))
    results = [attack.case(number) for number in range(CASES // 3 // SLOW.get(kind, 1))]
    assert [result for result in results if result[0] == "traceback"] == []


#: Of caches: a value, and what cannot have been written of one encoder.
ODD_VALUES = [
    b"",
    b"\x00",
    b"|O8 " + bytes(8),
    b"<f4 " + bytes(12),
    b"<f4 " + bytes(4),
    b"<U1 " + bytes(16),
    b"<f9 " + bytes(16),
]


@pytest.mark.parametrize("odd", ODD_VALUES)
def test_a_value_of_a_cache_that_nobody_wrote_is_told_or_computed_again(odd, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "nirank"))
    expected = damage.cache_outcome(tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for entry, component, key in database.execute("SELECT id, component, key FROM entries").fetchall():
            database.execute("UPDATE entries SET value = ? WHERE id = ?", (store._sealed(component, key, odd), entry))
    found = None
    with contextlib.suppress(BadInput):  # vectors of queries that agree with one another: the index tells
        found = damage.cache_outcome(tmp_path / "cache")
    assert found is None or (damage._is_same(found, expected) and "damaged entries" in caplog.text)


def test_sparse_vectors_of_a_cache_that_lead_out_of_their_space_are_not_taken():
    whole = np.int64(9).tobytes() + np.array([2, 8], "<i4").tobytes() + np.array([1, 2], "<f4").tobytes()
    for terms in ([2, 9], [-1, 2], [8, 2], [2, 2]):
        odd = np.int64(9).tobytes() + np.array(terms, "<i4").tobytes() + np.array([1, 2], "<f4").tobytes()
        assert vectors._made(vectors.KINDS["sparse"], [whole, odd]) is None
    assert len(vectors._made(vectors.KINDS["sparse"], [whole, whole, np.int64(9).tobytes()])) == 3


def test_files_of_two_folders_that_were_exchanged_are_told(tmp_path):
    for name, text in (("one", "1"), ("two", "2")):
        with seals.sealed(tmp_path / name) as unfinished:
            unfinished.mkdir()
            (unfinished / "a").write_text(text)
    shutil.copy2(tmp_path / "two" / seals.SEAL, tmp_path / "one" / seals.SEAL)
    with pytest.raises(NirankError, match="is damaged"):
        seals.check(tmp_path / "one", "")
