"""Search by a vector store: it proposes documents, and what it proposes is scored in float64.

The vectors are in the store and nowhere else: they are written as they are encoded, and read back where they are
needed. The folder of the index holds how a document is found there: the name of the table, and the key of each
document, which it keeps for as long as it stays.

A store compares vectors in float32, in an order of its own. What it finds is therefore scored again from the vectors
themselves, as `exact` scores (`nirank_dense.exact.rounded`), with all documents that may tie with the last: `kind =
"exact"` finds what `exact` finds, to the bit.

Beside the rows is a manifest (`nirank_dense.stores.manifest`). A search is refused where it is not the one of the
folder: another process may have updated the rows, or begun to build others.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data import Candidates, Corpus, Floats, Ints, Queries, Some
from nirank.errors import BadInput, StaleIndex
from nirank.kit import Former, bounded, chunks, digest, progress
from nirank_dense import stored
from nirank_dense.exact import quantised, rounded
from nirank_dense.exact.blocks import blocks
from nirank_dense.proposals import FEW_DOCUMENTS, MORE_DOCUMENTS, as_mask, proposed, replaced, scan_rows
from nirank_dense.stored import Encode
from nirank_dense.stores.manifest import COMPLETE, UPDATING, Manifest, new_token
from nirank_dense.stores.store import Keys, Store, Structure, checked_name

log = logging.getLogger("nirank")

HELD, KEYS = "store.json", "keys.npy"
#: Names that are tried for a table where others are taken by another corpus.
_NAMES = 100
#: Queries searched at a time, and rows written at a time in an update.
_QUERIES, _ROWS = 1024, 4096


class StoreSearch:
    """The base of the generators of vector stores. `chunk` documents are encoded and written at a time.

    `table` is the name of the rows in the store; unless given it is made from corpus, encoder and settings.
    """

    searches = "dense"
    resumes = True
    #: The kind of index, and what messages call its server.
    kind = "store"

    def __init__(self, structure: Structure, chunk: int = 1024, table: str | None = None) -> None:
        self.structure, self.chunk = structure, chunk
        self.table = None if table is None else checked_name(table)
        self._held: Manifest | None = None
        self._store: Any = None
        self._keys: Keys = np.empty(0, np.int64)
        self._ordinals: Keys = self._keys
        self._allowed: NDArray[Any] | None = None
        self._told = False

    @property
    def index_key(self) -> dict[str, object]:
        """The settings that rows and index depend on; how they are searched does not matter to them."""
        named = {} if self.table is None else {"table": self.table}
        return {"index": self.kind, "version": 1, "made": self.structure.made, **named}

    def store_of(self, table: str) -> Store:
        """The rows of this name, in the store that the settings name."""
        raise NotImplementedError

    def build(self, corpus: Corpus, folder: Path, encode: Encode | None = None) -> None:
        """Encode the corpus into the store, going on where an interrupted build stopped.

        Rows of the same corpus, encoder and settings that are whole are taken as they are, whoever wrote them.
        """
        if encode is None:
            raise BadInput("an index of vectors is built with an encoder: write `encoder >> index`.")
        wanted = _wanted(self, corpus, encode)
        table, store, there = self._place(wanted)
        if there is not None and there.state == COMPLETE:
            _Held(table, there).write(folder, _keys_by_id(store, corpus))
        else:
            made = self._fill(store, there or wanted, corpus, encode)
            _Held(table, made).write(folder, np.arange(len(corpus)))

    def update(self, corpus: Corpus, folder: Path, former: Former, encode: Encode | None = None) -> None:
        """Change the rows of an earlier state of the corpus: new ones are written, old ones taken out.

        From then on the folder of the earlier state is refused. Where the store holds that state no more, all is built.
        """
        before, wanted = _Held.read(former.folder), _wanted(self, corpus, encode)
        store = self.store_of(before.table)
        there = store.manifest()
        if there is not None and there.identity == wanted.identity and there.state == COMPLETE:
            _Held(before.table, there).write(folder, _keys_by_id(store, corpus))  # of a process killed after the change
        elif there is not None and _goes_on(there, before.manifest, wanted):
            self._change(store, before, wanted, corpus, folder, former, encode)
        else:
            log.warning("%s does not hold the former index: all documents are encoded.", store.name)
            self.build(corpus, folder, encode)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Look that the store holds the rows of this folder, all of them; raises `StaleIndex` where it does not."""
        held, keys = _Held.read(folder), bounded.column(folder / KEYS, np.int64, len(corpus))
        bounded.within(folder / KEYS, keys, held.manifest.following)
        store = self.store_of(held.table)
        _refuse_others(store, held.manifest, folder)
        ordinals = np.full(held.manifest.following, -1)
        ordinals[keys] = np.arange(len(keys))
        self._held, self._store, self._keys, self._ordinals = held.manifest, store, np.array(keys), ordinals

    def within(self, allowed: ArrayLike) -> StoreSearch:
        """The same search among some documents: ordinals, or a mask `[documents]`; the store passes over the others.

        Of few documents the vectors are read and compared one by one.
        """
        self._opened()
        copied = copy.copy(self)
        mask = as_mask(allowed, len(self._keys))
        copied._allowed = mask if self._allowed is None or mask is None else self._allowed & mask
        return copied

    def generate(self, queries: Queries, k: int) -> Candidates:
        """At most `k` documents for each query, of the highest dot products among those that the store proposes.

        Raises `BadInput` for k below 0, for vectors that are missing, not finite or of another dimension, and for a
        store that does not answer; `StaleIndex` for one that holds something else meanwhile.
        """
        held, store = self._opened()
        if k < 0:
            raise BadInput(f"k = {k}; it must be 0 or more.")
        wanted = stored.query_vectors(queries, held.dim)
        k = min(k, len(self._keys) if self._allowed is None else int(self._allowed.sum()))
        if not k or not len(wanted):
            return Candidates.empty(len(wanted))
        if store.most is not None and k > store.most:
            raise BadInput(f"k = {k:,}; {store.name} returns at most {store.most:,} documents for a query.")
        if self._allowed is not None and self._allowed.sum() <= FEW_DOCUMENTS:
            docs = np.flatnonzero(self._allowed)
            return scan_rows(store.vectors(self._keys[docs]), docs, wanted, k)
        return Candidates.stack([self._nearest(part, k) for part in blocks(wanted, _QUERIES)])

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The dot product of each pair, `[pairs]`, from the vectors in the store. Raises as `generate` does."""
        held, _ = self._opened()
        wanted, rows, docs = stored.pairs(queries, candidates, len(self._keys), held.dim)
        return self._products(wanted, rows, docs)

    def vectors_of(self, docs: Ints) -> Floats:
        """The vectors of some documents as the encoder made them, float32 `[docs, dim]`."""
        _, store = self._opened()
        once, places = np.unique(docs, return_inverse=True)
        return store.vectors(self._keys[once])[places]

    # Building

    def _place(self, wanted: Manifest) -> tuple[str, Store, Manifest | None]:
        """The table for an index, and what it is known to hold. Raises `StaleIndex` where a named one is taken."""
        own = f"nirank_{digest([self.kind, *wanted.identity])[:16]}"
        for name in [self.table] if self.table else [own, *(f"{own}_{number}" for number in range(2, _NAMES))]:
            store = self.store_of(name)
            there = store.manifest()
            if there is None or (there.identity == wanted.identity and there.state != UPDATING):
                return name, store, there
            taken = f"{store.name} {wanted.difference(there)}"
        raise StaleIndex(f"{taken}. Nothing was changed there: name another `table`, or drop it if nobody needs it.")

    def _fill(self, store: Store, manifest: Manifest, corpus: Corpus, encode: Encode) -> Manifest:
        """Write all rows that are not there, and make the index."""
        there = np.zeros(len(corpus), bool)
        if manifest.dim:
            there[store.keys()] = True
            manifest = store.manifest() or manifest  # of all these rows, also of those that another process writes
        cut = [range(start, min(start + self.chunk, len(corpus))) for start in range(0, len(corpus), self.chunk)]
        left = [one for one in cut if not there[one.start : one.stop].all()]
        with progress("Encoding the corpus", len(corpus)) as advance:
            advance(len(corpus) - sum(map(len, left)))
            for one, made in chunks.as_made(corpus, encode, left):
                vectors, keys = stored.as_float32(made), np.array(one)
                stored.check_finite(vectors, "document", one.start)
                manifest = _begun(store, manifest, vectors)
                if (ended := store.manifest()) is not None and ended.state == COMPLETE:
                    return ended  # of another process, which wrote the same rows and was faster
                store.put(keys, corpus.ids.gather(keys), vectors, manifest)
                advance(len(one))
        if store.count() != manifest.rows:
            raise StaleIndex(f"{store.name} has {store.count():,} rows, and {manifest.rows:,} were written. {_AGAIN}")
        manifest = dataclasses.replace(manifest, state=COMPLETE)
        store.finish(manifest)
        return manifest

    def _change(
        self,
        store: Store,
        before: _Held,
        wanted: Manifest,
        corpus: Corpus,
        folder: Path,
        former: Former,
        encode: Encode | None,
    ) -> None:
        """Encode what is new into a file, and have the store change its rows."""
        keys = bounded.column(former.folder / KEYS, np.int64, None)
        now, new = np.where(former.ordinals >= 0, keys[former.ordinals], -1), former.new
        now[new] = before.manifest.following + np.arange(len(new))
        vectors = self._new_vectors(corpus, new, folder, encode, before.manifest.dim)
        after = dataclasses.replace(
            wanted,
            dim=before.manifest.dim,
            longest=max(before.manifest.longest, quantised.longest(vectors)),
            following=before.manifest.following + len(new),
            state=COMPLETE,
            since=before.manifest.token,
        )
        _refuse_dim(vectors, after)
        store.change(after, np.setdiff1d(keys, now), (now[new], corpus.ids.gather(new), vectors))
        (folder / stored.VECTORS).unlink(missing_ok=True)
        _Held(before.table, after).write(folder, now)

    def _new_vectors(self, corpus: Corpus, new: Keys, folder: Path, encode: Encode | None, dim: int) -> Floats:
        """The vectors of documents that are new, in a file; an update that was cut off may have left it."""
        if not len(new):
            return np.empty((0, dim), np.float32)
        with suppress(BadInput):
            return stored.mapped(folder, len(new))
        return stored.write(Some(corpus, new), folder, encode, self.chunk)

    # Searching

    def _opened(self) -> tuple[Manifest, Store]:
        if self._held is None:
            raise BadInput(f"{type(self).__name__} has no open index: search through a pipeline, or call open first.")
        return self._held, self._store

    def _nearest(self, queries: Floats, k: int) -> Candidates:
        """The best `k` of what the store proposes, with those that may tie with the last, scored anew."""
        most = len(self._keys) if self._allowed is None else int(self._allowed.sum())
        found = self._scored(queries, self._proposed(queries, k, most)).top(k)
        few = np.flatnonzero(found.lengths < k)
        if not len(few):
            return found
        if not self._told:
            log.warning(
                "%s finds fewer than %d documents for %d of %d queries; these are searched exactly. To avoid it, set a "
                "larger ef or probes.",
                *(self.kind, k, len(few), len(queries)),
            )
        self._told = True
        again = self._scored(queries[few], self._proposed(queries[few], k, most, exactly=True)).top(k)
        if (again.lengths < k).any():
            raise StaleIndex(f"{self._opened()[1].name} finds fewer than {k} documents for a query. {_AGAIN}")
        return replaced(found, few, again)

    def _proposed(self, queries: Floats, k: int, most: int, exactly: bool = False) -> Candidates:
        held, store = self._opened()
        slack = 2 * quantised.rounding(held.dim) * held.longest * quantised.lengths_of(queries)
        depth = max(k, self.structure.ef) if self.structure.kind == "hnsw" else k
        fetch = functools.partial(self._fetched, exactly=exactly)
        return proposed(fetch, queries, slack, k, depth + MORE_DOCUMENTS, min(most, store.most or most))

    def _fetched(self, queries: Floats, count: int, exactly: bool) -> tuple[NDArray[np.int64], Floats]:
        """The best `count` documents as the store sees it, `[queries, count]`, -1 for no more, and their scores."""
        held, store = self._opened()
        among = None
        if self._allowed is not None:
            among = np.zeros(held.following, bool)
            among[self._keys[self._allowed]] = True
        keys, scores = store.nearest(queries, count, held.token, among, exactly)
        known = (keys >= 0) & (keys < len(self._ordinals))
        docs = np.where(known, self._ordinals[np.where(known, keys, 0)], -1)
        if ((docs < 0) & (keys >= 0)).any():
            raise StaleIndex(f"{store.name} has rows that the index does not know: others have written to it. {_AGAIN}")
        return docs, scores

    def _scored(self, queries: Floats, found: Candidates) -> Candidates:
        return found.with_scores(self._products(queries, found.rows, found.docs))

    def _products(self, queries: Floats, rows: Ints, docs: Ints) -> Floats:
        """The dot product of each pair, rounded once, `[pairs]`; each vector is read once."""
        _, store = self._opened()
        once, places = np.unique(docs, return_inverse=True)
        return rounded.products(queries, store.vectors(self._keys[once]), rows, places)


_AGAIN = "Drop the table and remove the folder of the index to have it built again."


@dataclass(frozen=True)
class _Held:
    """What the folder of an index holds of the store: the table, and the manifest that it had."""

    table: str
    manifest: Manifest

    @classmethod
    def read(cls, folder: Path) -> _Held:
        path = folder / HELD
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            return cls(checked_name(read["table"]), Manifest(**read["manifest"]))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise bounded.fault(path, f"it cannot be read ({error})") from error

    def write(self, folder: Path, keys: Keys) -> None:
        np.save(folder / KEYS, keys)
        (folder / HELD).write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")


def _wanted(search: StoreSearch, corpus: Corpus, encode: Encode | None) -> Manifest:
    """The manifest of an index of which nothing is there yet."""
    made: dict[str, Any] = json.loads(json.dumps(search.structure.made))
    encoder = getattr(encode, "fingerprint", None)
    return Manifest(corpus.fingerprint, encoder, made, len(corpus), 0, 0.0, len(corpus), new_token())


def _begun(store: Store, manifest: Manifest, vectors: Floats) -> Manifest:
    """The manifest when these vectors are written; the first ones say of how many numbers each is, and make the table.

    Another process may have made it meanwhile.
    """
    if not manifest.dim:
        store.create(dataclasses.replace(manifest, dim=vectors.shape[1]))
        manifest = store.manifest() or manifest
    _refuse_dim(vectors, manifest)
    return dataclasses.replace(manifest, longest=max(manifest.longest, quantised.longest(vectors)))


def _refuse_dim(vectors: Floats, manifest: Manifest) -> None:
    if vectors.shape[1] != manifest.dim:
        raise StaleIndex(f"the encoder makes {vectors.shape[1]} numbers a document, the rows have {manifest.dim}.")


def _goes_on(there: Manifest, before: Manifest, wanted: Manifest) -> bool:
    """True where a store holds the state that an update begins with, or the same update in the middle."""
    if there.state == UPDATING:
        return there.since == before.token and there.identity == wanted.identity
    return there.token == before.token and there.state == COMPLETE


def _keys_by_id(store: Store, corpus: Corpus) -> Keys:
    """The key of each document, of rows that another process wrote."""
    named, ids = store.named()
    docs = corpus.ids.find(ids)
    keys = np.full(len(corpus), -1)
    keys[docs[docs >= 0]] = named[docs >= 0]
    if len(named) != len(corpus) or (keys < 0).any():
        raise StaleIndex(f"{store.name} has not one row for each of the {len(corpus):,} documents. {_AGAIN}")
    return keys


def _refuse_others(store: Store, wanted: Manifest, folder: Path) -> None:
    """Raise `StaleIndex` unless the store holds the rows of this manifest, all of them."""
    again = f"Remove {folder} to have it built again."
    there = store.manifest()
    if there is None:
        raise StaleIndex(f"{store.name} is not there: it was dropped, or this is another server. {again}")
    if there.token != wanted.token or there.state != COMPLETE:
        raise StaleIndex(f"{store.name} {wanted.difference(there)}. {again}")
    if (rows := store.count()) != wanted.rows:
        raise StaleIndex(f"{store.name} has {rows:,} rows, and {wanted.rows:,} were written: some are lost. {again}")
