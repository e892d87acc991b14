"""One shard of an index, open in whatever process it is asked in: columns come in, and columns go out."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank import seals
from nirank.data.arrays import to_numpy
from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Floats, Ints
from nirank.data.vectors import on_host
from nirank.errors import ComponentError, NirankError, StaleIndex
from nirank.files import small_text
from nirank.plugins.assembly import assemble
from nirank.plugins.loading import active
from nirank.registry import STAGES

#: In the folder of each shard: what it is a shard of.
DESCRIPTION = "shard.json"

#: Offsets, documents and scores of candidates.
Found = tuple[NDArray[np.int64], Ints, Floats]


@dataclass(frozen=True)
class ShardOpening:
    """All that it takes to open a shard: the component that searches it, its folder, and what it has to be.

    `component` is the spec and the settings of a registered one, or the object itself. `expected` is what the file
    `shard.json` in the folder must hold.
    """

    component: tuple[str, Mapping[str, Any]] | Any
    folder: Path
    documents: int
    expected: Mapping[str, Any]

    def built(self) -> Any:
        """The object that searches, not open yet."""
        if not isinstance(self.component, tuple):
            return self.component
        spec, settings = self.component
        return assemble(active().registry.find(spec, STAGES), settings).target


@dataclass(frozen=True)
class ShardFailure:
    """An error on its way from a shard."""

    error: Exception

    @classmethod
    def of(cls, error: Exception) -> ShardFailure:
        """The error itself where it survives being sent, else one that says the same."""
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 (just made)
        except Exception:
            kind = StaleIndex if isinstance(error, StaleIndex) else ComponentError
            return cls(kind(f"{type(error).__name__}: {error}"))
        return cls(error)


class Unread:
    """Documents of which only the number is known: what a search of an index needs of its corpus."""

    def __init__(self, documents: int) -> None:
        self._documents = documents

    def __len__(self) -> int:
        return self._documents


class OpenShard:
    """An open shard. Documents are told by their ordinals in the shard."""

    def __init__(self, opening: ShardOpening) -> None:
        _check(opening)
        self._target, self._documents = opening.built(), opening.documents
        corpus: Any = Unread(opening.documents)
        try:
            self._target.open(corpus, opening.folder)
        except (NirankError, MemoryError):
            raise
        except Exception as error:  # of whatever library reads the files
            raise StaleIndex(f"{opening.folder} cannot be opened: {type(error).__name__}: {error}.") from error

    def answer(self, method: str, *given: Any) -> Any:
        """Call one of the methods below, by its name."""
        answers: dict[str, Callable[..., Any]] = {
            "ready": self.ready,
            "generate": self.generate,
            "score": self.score,
            "vectors_of": self.vectors_of,
        }
        return answers[method](*given)

    def ready(self) -> int:
        """The number of documents."""
        return self._documents

    def generate(self, queries: Queries, k: int, allowed: NDArray[np.bool_] | None) -> Found:
        """The best `k` documents of each query, among those that a mask `[documents]` allows."""
        target = self._target if allowed is None else self._target.within(allowed)
        found: Candidates = target.generate(queries, k)
        if not isinstance(found, Candidates) or len(found) != len(queries):
            raise ComponentError(f"returned {found!r:.80} for {len(queries)} queries; a list for each is expected.")
        return found.offsets, found.docs, found.scores

    def score(self, queries: Queries, offsets: NDArray[np.int64], docs: Ints) -> Floats:
        """The score of each pair, `[pairs]`."""
        candidates = Candidates(offsets, docs, np.zeros(len(docs), np.float32))
        return to_numpy(self._target.score(queries, candidates))

    def vectors_of(self, docs: Ints) -> Any:
        """The vectors of some documents."""
        return on_host(self._target.vectors_of(docs))


def _check(opening: ShardOpening) -> None:
    """Raise `StaleIndex` for a shard that is not as it was written, or is one of another index."""
    again = f"Remove the index {opening.folder.parent} to have it built again."
    found = _read(opening.folder / DESCRIPTION, again)
    if not seals.check(opening.folder, again):
        raise StaleIndex(f"{opening.folder} has no seal: it was never finished. {again}")
    if differs := [name for name, value in opening.expected.items() if found.get(name) != value]:
        raise StaleIndex(f"{opening.folder} is a shard of another index: {', '.join(differs)} differ. {again}")


def _read(path: Path, again: str) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(small_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise StaleIndex(f"{path} cannot be read ({error}). {again}") from error
    return read
