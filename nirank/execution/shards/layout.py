"""Which documents are in which shard, and the files that say so.

The folder of an index in shards has `shards.json`, `docs.npy`, a folder `whole` for what the component keeps of all of
them together, and a folder for each shard that has documents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.offsets import offsets_of
from nirank.data.types import Ints
from nirank.errors import BadInput, DamagedFile
from nirank.execution.shards.served import Found
from nirank.files import small_text
from nirank.hashing import digest

SHARDS, DOCS, WHOLE = "shards.json", "docs.npy", "whole"


@dataclass(frozen=True, eq=False)
class Layout:
    """The documents of shard `i` are `docs[offsets[i]:offsets[i + 1]]`, int64, rising; each document is in one.

    `offsets` int64 `[shards + 1]`. A shard may have none.
    """

    offsets: NDArray[np.int64]
    docs: NDArray[np.int64]

    @classmethod
    def cut(cls, documents: int, shares: Sequence[float]) -> Layout:
        """Documents one after the other, as many to each shard as its share of the sum says."""
        ends = np.cumsum(np.asarray(shares, np.float64))
        offsets = np.concatenate([[0], np.rint(documents * (ends / ends[-1]))]).astype(np.int64)
        return cls(offsets, np.arange(documents))

    @classmethod
    def of_owners(cls, owners: NDArray[np.int64], shards: int) -> Layout:
        """From the shard of each document."""
        return cls(offsets_of(np.bincount(owners, minlength=shards)), np.argsort(owners, kind="stable"))

    def moved(self, ordinals: NDArray[np.int64], shares: Sequence[float]) -> Layout:
        """The layout of what the documents have become: those that stayed are where they were.

        `ordinals`, `[documents now]`, say where each stood then, -1 for new ones. These go to the shards that have the
        fewest for their shares, in runs.
        """
        new, shards = np.flatnonzero(ordinals < 0), len(shares)
        owners = np.where(ordinals >= 0, self.owners[ordinals], 0)
        stayed = np.bincount(owners[ordinals >= 0], minlength=shards)
        wanted: NDArray[np.int64] = np.diff(Layout.cut(len(ordinals), shares).offsets)
        missing = np.maximum(wanted - stayed, 0)
        if len(new):
            runs = Layout.cut(len(new), missing.tolist())
            owners[new] = np.repeat(np.arange(shards), np.diff(runs.offsets))
        return Layout.of_owners(owners, shards)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def filled(self) -> list[int]:
        """The shards that have documents."""
        return np.flatnonzero(np.diff(self.offsets)).tolist()

    def of(self, shard: int) -> NDArray[np.int64]:
        """The documents of a shard, rising."""
        return self.docs[self.offsets[shard] : self.offsets[shard + 1]]

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """The shard of each document, `[documents]`."""
        owners = np.empty(len(self.docs), np.int64)
        owners[self.docs] = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        return owners

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """The ordinal of each document in its shard, `[documents]`."""
        places = np.empty(len(self.docs), np.int64)
        places[self.docs] = np.arange(len(self.docs))
        return places - self.offsets[self.owners]

    def parted(self, docs: Ints) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.int64]]]:
        """Of some documents those of each shard: which they are, as a mask, and their ordinals there.

        Raises `BadInput` for documents that there are not.
        """
        if len(docs) and (docs.min() < 0 or docs.max() >= len(self.docs)):
            stranger = docs.min() if docs.min() < 0 else docs.max()
            raise BadInput(f"there is no document {stranger} in an index of {len(self.docs)} documents.")
        owners = self.owners[docs]
        for shard in np.unique(owners).tolist():
            mask = owners == shard
            yield shard, mask, self._places[docs[mask]]

    def merged(self, answers: Mapping[int, Found], queries: int, k: int) -> Candidates:
        """The best `k` of what shards have found: falling score, then rising ordinal among all documents."""
        if not answers:
            return Candidates.empty(queries)
        rows, docs, scores = zip(*(self._global(shard, found) for shard, found in answers.items()), strict=True)
        row = np.concatenate(rows)
        order = np.argsort(row, kind="stable")
        offsets = offsets_of(np.bincount(row, minlength=queries))
        return Candidates(offsets, np.concatenate(docs)[order], np.concatenate(scores)[order]).top(k)

    def _global(self, shard: int, found: Found) -> tuple[NDArray[np.int64], Ints, NDArray[Any]]:
        """The query, the document and the score of each pair that a shard has found."""
        offsets, docs, scores = found
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        return rows, self.of(shard)[docs].astype(docs.dtype), scores

    def describe(self, shard: int, corpus: str, key: Mapping[str, Any]) -> dict[str, Any]:
        """Say what a shard has to be: which documents of which corpus, under which settings, a part of which whole."""
        whole = digest([corpus, dict(key), self.offsets.tolist(), _hash(self.docs)])
        own = digest([corpus, _hash(self.of(shard))])
        documents = int(self.offsets[shard + 1] - self.offsets[shard])
        return {"shard": shard, "documents": documents, "corpus": own, "settings": dict(key), "whole": whole}

    def write(self, folder: Path, described: Mapping[int, Mapping[str, Any]]) -> None:
        """Write where documents are, and what each shard has to be."""
        np.save(folder / DOCS, self.docs)
        written = {
            "offsets": self.offsets.tolist(),
            "shards": {str(shard): dict(own) for shard, own in described.items()},
        }
        (folder / SHARDS).write_text(json.dumps(written, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> tuple[Layout, dict[int, dict[str, Any]]]:
        """The layout, and what each shard has to be. Raises `DamagedFile` where the files do not fit each other."""
        path = folder / SHARDS
        try:
            written = json.loads(small_text(path))
            layout = cls(np.array(written["offsets"], np.int64), np.load(folder / DOCS, mmap_mode="r").view(np.ndarray))
            described = {int(shard): dict(own) for shard, own in written["shards"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedFile(f"cannot be read ({error}); remove the index to have it built again.", path) from error
        layout._check(path)
        return layout, described

    def _check(self, path: Path) -> None:
        """Raise `DamagedFile` unless each document is in one shard."""
        seen = np.zeros(len(self.docs), bool)
        inside = self.docs.dtype == np.int64 and not ((self.docs < 0) | (self.docs >= len(seen))).any()
        if inside:
            seen[self.docs] = True
        if not (inside and seen.all() and self.offsets[0] == 0 and self.offsets[-1] == len(seen)):
            raise DamagedFile("does not say of each document in which shard it is; build the index again.", path)


def place(folder: Path, shard: int) -> Path:
    """The folder of a shard."""
    return folder / f"shard-{shard:04d}"


def _hash(docs: NDArray[np.int64]) -> str:
    import xxhash

    return xxhash.xxh3_128(np.ascontiguousarray(docs).data).hexdigest()
