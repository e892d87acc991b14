"""Impacts: the worth of every posting under a weighting, computed once.

For an index on disk it is written beside the index, and mapped: processes that search one index share the memory, and
those that come later do not work it out again. Where nothing can be written it is kept in memory.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nirank.data import Floats
from nirank.kit import beside, bounded, write_header

if TYPE_CHECKING:
    from nirank_lexical.weighted import WeightedPostings

log = logging.getLogger("nirank")

IMPACTS, MOST = "impacts.npy", "most.npy"
_VERSION = 1  # of the files, and of how impacts are rounded
_POSTINGS_AT_ONCE = 1 << 18
#: Weightings whose impacts stay beside an index; those that were written the longest ago go.
_MOST_KEPT = 16


class Impacts(NamedTuple):
    """Impacts of all postings, float32 `[postings]`, and the `most` of each term's, float32 `[terms]`."""

    each: Floats
    most: Floats


def impacts(searched: WeightedPostings) -> Impacts:
    """The impacts of an index under its weighting: mapped where it is on disk, written first where missing."""
    folder = _folder(searched)
    if folder is None or not len(searched.index.docs):
        return _in_memory(searched)
    try:
        if not folder.exists():
            _keep(searched, folder)
        return _mapped(searched, folder)
    except (OSError, ValueError, EOFError) as error:
        log.debug("Impacts cannot be written to %s and stay in memory: %s", folder, error)
        return _in_memory(searched)


def _folder(searched: WeightedPostings) -> Path | None:
    """The folder of the impacts: in that of an index that still exists, with a name of the weighting's own.

    Those of a shard depend on the numbers of the whole, and so does the name.
    """
    index, weighting = searched.index.folder, searched.weighting
    if index is None or not index.is_dir() or not is_dataclass(weighting):  # which tells all its settings
        return None
    own = f" {searched.index.statistics}" if searched.index.statistics else ""
    settings = f"{_VERSION} {type(weighting).__module__}.{type(weighting).__qualname__} {_described(weighting)}{own}"
    return index / f"impacts-{hashlib.blake2b(settings.encode(), digest_size=8).hexdigest()}"


def _described(weighting: Any) -> str:
    """The weighting's `repr`, without fields that came later and have their default: as older indexes know it."""
    known = {field.name: (getattr(weighting, field.name), field) for field in fields(weighting)}
    told = {
        name: value
        for name, (value, field) in known.items()
        if not (field.metadata.get("later") and value == field.default)
    }
    return f"{type(weighting).__qualname__}({', '.join(f'{name}={value!r}' for name, value in told.items())})"


def _keep(searched: WeightedPostings, folder: Path) -> None:
    try:
        with beside(folder) as unfinished:
            unfinished.mkdir()
            _write(searched, unfinished)
    except OSError:
        if not folder.exists():  # else another process was faster
            raise
    _drop_oldest(folder)


def _drop_oldest(kept: Path) -> None:
    """Remove impacts of earlier weightings, of which a tuning would leave hundreds; what is mapped stays readable."""
    others = [path for path in kept.parent.glob("impacts-*") if path != kept]
    written = sorted(others, key=lambda path: (path.stat().st_mtime_ns, path.name))
    for path in written[: max(0, len(written) - (_MOST_KEPT - 1))]:
        shutil.rmtree(path, ignore_errors=True)


def _write(searched: WeightedPostings, folder: Path) -> None:
    most = _nothing(searched)
    with (folder / IMPACTS).open("wb") as file:
        write_header(file, searched.index.docs.shape, np.float32)
        for part in _parts(searched, most):
            file.write(part.data)
    np.save(folder / MOST, most)


def _mapped(searched: WeightedPostings, folder: Path) -> Impacts:
    """Raises `DamagedFile` where the files are not those of this index."""
    each = bounded.column(folder / IMPACTS, np.float32, len(searched.index.docs))
    return Impacts(each, bounded.column(folder / MOST, np.float32, len(searched.index.starts) - 1))


def _in_memory(searched: WeightedPostings) -> Impacts:
    most = _nothing(searched)
    return Impacts(np.concatenate([np.empty(0, np.float32), *_parts(searched, most)]), most)


def _nothing(searched: WeightedPostings) -> Floats:
    return np.full(len(searched.index.starts) - 1, -np.inf, np.float32)


def _parts(searched: WeightedPostings, most: Floats) -> Iterator[Floats]:
    """The impacts some at a time; `most` is raised to what comes up."""
    starts, postings = searched.index.starts, len(searched.index.docs)
    for start in range(0, postings, _POSTINGS_AT_ONCE):
        stop = min(start + _POSTINGS_AT_ONCE, postings)
        first, last = np.searchsorted(starts, [start, stop - 1], "right") - 1
        edges = starts[first : last + 2].clip(start, stop)
        part = searched.impacts(slice(start, stop), np.repeat(np.arange(first, last + 1), np.diff(edges)))
        here = most[first : last + 1]
        np.maximum(here, np.maximum.reduceat(part, edges[:-1] - start), out=here)
        yield part
