"""What lies on disk is damaged at random: it is told, or it makes no difference; nothing else comes of it.

    NIRANK_FUZZ=2000 python -m pytest tests/fuzz      # so many cases of each kind; 60 unless said, for a minute

What is damaged, and how, is in `tests.fuzz.damage`, which by itself prints a table and outlives a process that ends.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter

import pytest

from nirank import seals
from nirank.errors import NirankError
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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("index:")])
def test_damage_to_an_index_under_a_seal_that_fits_it_never_leads_anywhere(kind, tmp_path, monkeypatch):
    """Other results are what the files say then; but for a fault of ours this process would end."""
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "nirank"))
    try:
        attack = damage.Attack(kind, tmp_path, resealed=True)
    except (LookupError, ImportError) as error:
        pytest.skip(str(error))
    results = [attack.case(number) for number in range(CASES // 3)]
    assert [result for result in results if result[0] == "traceback"] == []


def test_files_of_two_folders_that_were_exchanged_are_told(tmp_path):
    for name, text in (("one", "1"), ("two", "2")):
        with seals.sealed(tmp_path / name) as unfinished:
            unfinished.mkdir()
            (unfinished / "a").write_text(text)
    shutil.copy2(tmp_path / "two" / seals.SEAL, tmp_path / "one" / seals.SEAL)
    with pytest.raises(NirankError, match="is damaged"):
        seals.check(tmp_path / "one", "")
