"""Collections of LETOR's files: judged documents that are described by features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from nirank.data import Collection
from nirank.errors import BadInput, UnknownName
from nirank_ltr.letor_files import collection_of, read_letor

_SPLITS = {"train": ("train",), "vali": ("vali", "valid", "dev"), "test": ("test",)}
_PARTS = 5  # of LETOR 4.0: S1 to S5


def letor(
    path: str | Path,
    split: str | None = None,
    fold: int | None = None,
    features: int | None = None,
    absent: Literal["zero", "missing"] = "zero",
) -> Collection:
    """Queries with judged documents that are described by features: `given >> features(letor) >> linear` ranks them.

    `path` is a file as `nirank_ltr.letor_files` describes it, or a folder with a `split` "train", "vali" (or "dev") or
    "test". It has files `train.txt`, `vali.txt` and `test.txt`, in folders `Fold1` to `Fold5` where it has folds; or it
    has LETOR 4.0's parts `S1.txt` to `S5.txt`, of which fold f trains on Sf and the next two, and the two after these
    validate and test, in turns. Without a split and a fold these parts are read all, or the test files of all folds.
    `features` and `absent` (those that a line leaves out are 0, or missing) are as for `read_letor`. Each file may be
    gzipped.

    Raises `BadInput` where a file is missing or malformed, `UnknownName` for another split.
    """
    place, missing = Path(path), float("nan" if absent == "missing" else 0.0)
    files = [place] if place.is_file() else _files(place, split, fold)
    if place.is_file() and (split or fold):
        raise BadInput(
            f"is a file, which has no splits and folds: leave split = {split!r} and fold = {fold} out, or open its "
            "folder.",
            place,
        )
    name = "/".join(str(part) for part in (place.resolve().name, fold, split) if part)
    return collection_of([read_letor(file, features, missing) for file in files], name)


def _files(folder: Path, split: str | None, fold: int | None) -> list[Path]:
    """The files of a split."""
    if not folder.is_dir():
        raise BadInput("there is no such file or folder; one in the format of LETOR is expected.", folder)
    parts = [_present(folder, (f"S{number}",)) for number in range(1, _PARTS + 1)]
    if split is None and fold is None:
        whole = [part for part in parts if part] if all(parts) else _measured(folder)
        if whole:
            return whole
    names = next((names for names in _SPLITS.values() if split in names), None)
    if names is None:
        raise UnknownName("split", str(split), _SPLITS)
    if all(parts):
        return [part for part in _turned(parts, names[0], fold, folder) if part]
    inside = folder if fold is None else folder / f"Fold{fold}"
    found = _present(inside, names)
    if found is None:
        folds = sorted(place.name for place in folder.iterdir() if re.fullmatch(r"Fold\d+", place.name))
        advice = f" There are {', '.join(folds)}: set `fold`." if folds else ""
        raise BadInput(f"has no {names[0]}.txt.{advice}", inside)
    return [found]


def _turned(parts: list[Path | None], split: str, fold: int | None, folder: Path) -> list[Path | None]:
    if fold is None or not 1 <= fold <= _PARTS:
        raise BadInput(f"fold = {fold}; a number from 1 to {_PARTS} is expected.", folder)
    turned = parts[fold - 1 :] + parts[: fold - 1]
    return turned[{"train": slice(0, 3), "vali": slice(3, 4), "test": slice(4, 5)}[split]]


def _measured(folder: Path) -> list[Path]:
    """The test files of all folds, which together have each query once; none where there are none."""
    found = {place: _present(place, _SPLITS["test"]) for place in sorted(folder.glob("Fold*"))}
    files = [file for file in found.values() if file]
    if files and (missing := [place for place, file in found.items() if file is None]):
        raise BadInput("has no test.txt, which the other folds have.", missing[0])
    return files


def _present(folder: Path, names: Sequence[str]) -> Path | None:
    places = (folder / f"{name}{suffix}" for name in names for suffix in (".txt", ".txt.gz", ""))
    return next((place for place in places if place.is_file()), None)


def tiny() -> Collection:
    """A few lists with three features."""
    from nirank_ltr.sample import collection

    made = collection()
    found = made.judgments.with_scores(np.zeros(made.judgments.pairs))
    judged = made.judgments.with_features(None).over(made.corpus)
    return Collection("letor", made.corpus, made.queries.with_found(found.over(made.corpus)), judged)
