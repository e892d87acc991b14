"""Search in an index of faiss: it proposes documents, and what it proposes is scored in float32.

An index of faiss rounds scores, breaks ties as it happens to, and knows documents by numbers of its own. Here it
returns some more than are wanted, and all that score like the last of them; these are scored from the vectors
themselves, each pair by itself, and ranked by that. So every kind of index gives the scores of exact search, and ties
go by rising ordinal.

Documents are entered under keys that they keep for as long as they stay: when others come or go, an index is updated,
not built anew. What has gone is taken out; of a graph (HNSW), which cannot lose a node, it is passed over, until a
quarter has gone and the graph is built again.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data import Candidates, Corpus, Floats, Ints, Queries
from nirank.errors import BadInput, MissingDependency, StaleIndex
from nirank.kit import Former, bounded, progress
from nirank_dense import stored
from nirank_dense.exact import quantised, rounded
from nirank_dense.exact.blocks import blocks
from nirank_dense.faiss import sound
from nirank_dense.proposals import FEW_DOCUMENTS, MORE_DOCUMENTS, as_mask, proposed, replaced, scan
from nirank_dense.stored import Encode

log = logging.getLogger("nirank")

INDEX, KEYS, STATE = "index.faiss", "keys.npy", "state.json"
#: Vectors entered at a time.
_ROWS = 16384
#: A graph is built anew when more than this share has gone, an index when it has this many times the documents.
_GONE_SHARE, _GROWN_TIMES = 0.25, 4


class FaissSearch:
    """The base of the kinds of indexes in `nirank_dense.faiss.indexes`.

    `depth` is how many documents are scored at least, for however few are wanted: so far fewer are a prefix of more.
    `chunk` documents are encoded between two writes while the index is built, and an interrupted build goes on from
    there. `device` is "cpu", or "cuda" where faiss was compiled for it. `threads` make the index, all unless said.
    Raises `MissingDependency` without faiss.
    """

    searches = "dense"
    resumes = True
    #: Whether documents can be taken out.
    removes = True
    #: What to do where too few are found.
    advice = "ask for fewer, or use `exact`"

    def __init__(self, depth: int, chunk: int, device: str = "cpu", threads: int | None = None) -> None:
        faiss()  # now, not when the corpus has been encoded
        self.depth, self.chunk, self.device, self.threads = depth, chunk, device, threads
        #: The index of faiss, once it is open.
        self.opened: Any = None
        self._vectors: Floats | None = None
        self._allowed: NDArray[Any] | None = None
        self._told = False

    @property
    def index_key(self) -> dict[str, object]:
        """The settings that the files depend on; how they are searched does not matter to them."""
        return {"index": f"faiss {type(self).__name__.lower()}", "version": 1, "made": self.made}

    @property
    def made(self) -> dict[str, object]:
        """The settings by which an index is made."""
        return {}

    @property
    def points(self) -> int:
        """The number of documents it is trained on at least; fewer are repeated."""
        return 2

    def empty(self, dim: int, documents: int) -> Any:
        """An index of faiss, by inner product, for a number of documents; not trained."""
        raise NotImplementedError

    def parameters(self, wanted: int) -> Any:  # noqa: ARG002
        """Parameters with which faiss searches for `wanted` documents; None for kinds that search in one way."""
        return None

    def dials(self, k: int) -> list[dict[str, int]]:  # noqa: ARG002
        """Settings of what decides between recall and speed when `k` are wanted, the cheap ones first."""
        return [{}]

    def turned(self, setting: Mapping[str, int]) -> FaissSearch:
        """The same index with other settings of its dials."""
        copied = copy.copy(self)
        for name, value in setting.items():
            setattr(copied, name, value)
        return copied

    def build(self, corpus: Corpus, folder: Path, encode: Encode | None = None) -> None:
        """Encode the corpus, going on where an interrupted build stopped, and make the index."""
        vectors = stored.write(corpus, folder, encode, self.chunk)
        self._write_anew(vectors, folder)

    def update(self, corpus: Corpus, folder: Path, former: Former, encode: Encode | None = None) -> None:
        """The same from the index of an earlier state of the corpus: new documents are entered, old ones taken out."""
        vectors = stored.write(corpus, folder, encode, self.chunk, stored.known(former))
        before, state = np.array(bounded.column(former.folder / KEYS, np.int64, None)), _State.read(former.folder)
        keys = np.where(former.ordinals >= 0, before[former.ordinals], -1)
        new = np.flatnonzero(keys < 0)
        keys[new] = state.following + np.arange(len(new))
        state = dataclasses.replace(state, following=state.following + len(new), longest=quantised.longest(vectors))
        if self._is_outdated(state, len(keys)):
            self._write_anew(vectors, folder)
            return
        index = _read(former.folder / INDEX, vectors.shape[1])
        if self.removes:
            index.remove_ids(np.setdiff1d(before, keys))
        with _threads(self.threads):
            _enter(index, vectors, new, keys[new])
        self._write(index, keys, state, folder)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the index and the vectors; raises `BadInput` where they are not of the corpus."""
        self._vectors = stored.mapped(folder, len(corpus))
        self._keys, state = np.array(bounded.column(folder / KEYS, np.int64, len(corpus))), _State.read(folder)
        self._longest, self._ordinals = state.longest, sound.ordinals(self._keys, state.following, folder)
        self._path = folder / INDEX
        index = _read(self._path, self._vectors.shape[1], faiss().IO_FLAG_MMAP_IFC)
        self.opened = _on(self.device, index)

    def within(self, allowed: ArrayLike) -> FaissSearch:
        """The same search among some documents: ordinals, or a mask `[documents]`.

        What is returned is an index too, and goes where this one goes: `minilm >> index.within(years > 2020)`, with
        `index = nirank.load("hnsw").component.target`. Few documents are compared one by one.
        """
        copied = copy.copy(self)
        copied._allowed = np.asarray(allowed)
        if self._allowed is not None and self._vectors is not None:  # of those that it was among already
            copied._allowed = np.flatnonzero(_both(self._mask(), copied._mask()))
        return copied

    def exactly(self, queries: Queries, k: int) -> Candidates:
        """The documents that exact search among the same ones finds."""
        vectors = self._stored()
        allowed, wanted = self._mask(), stored.query_vectors(queries, vectors.shape[1])
        return scan(vectors, None if allowed is None else np.flatnonzero(allowed), wanted, k)

    def generate(self, queries: Queries, k: int) -> Candidates:
        """At most `k` documents for each query, of the highest dot products among those that the index proposes.

        Raises `BadInput` for k below 0, and for vectors that are missing, not finite or of another dimension.
        """
        vectors = self._stored()
        if k < 0:
            raise BadInput(f"k = {k}; it must be 0 or more.")
        wanted = stored.query_vectors(queries, vectors.shape[1])
        allowed = self._mask()
        if allowed is not None and allowed.sum() <= FEW_DOCUMENTS:
            return scan(vectors, np.flatnonzero(allowed), wanted, k)
        most = len(self._keys) if allowed is None else int(allowed.sum())
        need = min(max(k, self.depth), most)
        selector = self._selector(allowed)
        fetch = functools.partial(self._fetched, selector=selector)
        found = [
            proposed(fetch, part, self._slack(part), need, need + MORE_DOCUMENTS, most) for part in blocks(wanted, 1024)
        ]
        return self._completed(self._scored(wanted, Candidates.stack(found)).top(k), wanted, min(k, most), allowed)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The dot product of each pair, `[pairs]`: by the vectors that are kept. Raises as `generate` does."""
        vectors = self._stored()
        wanted, rows, docs = stored.pairs(queries, candidates, *vectors.shape)
        return rounded.products(wanted, vectors, rows, docs)

    def vectors_of(self, docs: Ints) -> Floats:
        """The vectors of some documents as the encoder made them, float32 `[docs, dim]`."""
        return self._stored()[docs]

    def _stored(self) -> Floats:
        if self._vectors is None:
            raise BadInput(f"{type(self).__name__} has no open index: search through a pipeline, or call open first.")
        return self._vectors

    def _completed(
        self, found: Candidates, queries: Floats, wanted: int, allowed: NDArray[np.bool_] | None
    ) -> Candidates:
        """The same, but queries for which the index proposes fewer documents than there are are searched exactly.

        It happens where vectors are equal, zero or one-hot, so that a graph falls apart or all codes are alike.
        """
        few = np.flatnonzero(found.lengths < wanted)
        if self._vectors is None or not len(few):
            return found
        self._tell_of_few(f"{len(few):,} of {len(queries):,} queries", wanted)
        docs = None if allowed is None else np.flatnonzero(allowed)
        return replaced(found, few, scan(self._vectors, docs, queries[few], wanted))

    def _tell_of_few(self, which: str, wanted: int) -> None:
        if not self._told:
            log.warning(
                "%s finds fewer than %d documents for %s; these are searched exactly. To avoid it, %s.",
                *(type(self).__name__.lower(), wanted, which, self.advice),
            )
        self._told = True

    def _write_anew(self, vectors: Floats, folder: Path) -> None:
        """An index of all vectors, each under its ordinal."""
        index, every = self.empty(vectors.shape[1], len(vectors)), np.arange(len(vectors))
        with _threads(self.threads):
            few = len(vectors) < self.points
            index.train(np.resize(vectors, (self.points, vectors.shape[1])) if few else vectors)
            _enter(index, vectors, every, every)
        self._write(index, every, _State(len(every), len(every), quantised.longest(vectors)), folder)

    def _write(self, index: Any, keys: NDArray[np.int64], state: _State, folder: Path) -> None:
        faiss().write_index(index, str(folder / INDEX))
        np.save(folder / KEYS, keys)
        state.write(folder)

    def _is_outdated(self, state: _State, documents: int) -> bool:
        """True if too much has gone that cannot be taken out, or come since the index was trained."""
        gone = 0 if self.removes else 1 - documents / state.following
        return gone > _GONE_SHARE or documents > _GROWN_TIMES * state.trained

    def _mask(self) -> NDArray[np.bool_] | None:
        """The allowed documents, `[documents]`; None for all."""
        return as_mask(self._allowed, len(self._keys))

    def _selector(self, allowed: NDArray[np.bool_] | None) -> Any:
        """A selector of the documents that faiss may find; None for all."""
        if allowed is None and (self.removes or len(self._keys) == len(self._ordinals)):
            return None
        if self.device != "cpu":
            raise BadInput("on CUDA faiss cannot search among some of the documents only: set device = 'cpu'.")
        keys = np.zeros(len(self._ordinals), bool)
        keys[self._keys if allowed is None else self._keys[allowed]] = True
        return faiss().IDSelectorBitmap(np.packbits(keys, bitorder="little"))

    def _fetched(self, queries: Floats, count: int, selector: Any) -> tuple[NDArray[np.int64], Floats]:
        """The best `count` documents as faiss sees it, `[queries, count]`, -1 where there are no more, and scores."""
        parameters = self.parameters(count)
        if selector is not None:
            parameters = parameters or faiss().SearchParameters()
            parameters.sel = selector
        try:
            scores, keys = self.opened.search(queries, count, params=parameters)
        except RuntimeError as error:
            raise sound.unreadable(self._path, error) from error
        if keys.min() < -1 or keys.max() >= len(self._ordinals):
            raise StaleIndex(f"{INDEX} names documents that are not in the index: it is damaged. Build it again.")
        return np.where(keys >= 0, self._ordinals[keys], -1), scores

    def _slack(self, queries: Floats) -> NDArray[np.float64]:
        """Twice the distance that two float32 sums of one product may lie apart, `[queries]`."""
        return 2 * quantised.rounding(queries.shape[1]) * self._longest * quantised.lengths_of(queries)

    def _scored(self, queries: Floats, found: Candidates) -> Candidates:
        vectors: Any = self._vectors
        return found.with_scores(rounded.products(queries, vectors, found.rows, found.docs))


@dataclass(frozen=True)
class _State:
    """State of an index: the next free key, the number of documents it was trained on, the longest vector's length."""

    following: int
    trained: int
    longest: float

    @classmethod
    def read(cls, folder: Path) -> _State:
        path = folder / STATE
        try:
            state = cls(**json.loads(path.read_text(encoding="utf-8")))
            return dataclasses.replace(state, longest=float(state.longest))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise bounded.fault(path, f"it cannot be read ({error})") from error

    def write(self, folder: Path) -> None:
        (folder / STATE).write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")


@functools.cache
def faiss() -> Any:
    """The package. Raises `MissingDependency` where it is not installed."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise MissingDependency("this index needs the package faiss. Run: pip install 'nirank[faiss]'") from error
    return faiss


def _read(path: Path, dim: int, flags: int = 0) -> Any:
    """An index of faiss from its file. Raises `DamagedFile` where that is no index, or one that leads nowhere.

    A file in a state that is new here is read as a whole first: faiss ends the process when it maps one that is cut
    short.
    """
    names = [path.name, stored.VECTORS]
    bounded.once(path.parent, names, lambda: sound.check(faiss(), _from_file(path), dim, path))
    return _from_file(path, flags)


def _from_file(path: Path, flags: int = 0) -> Any:
    try:
        return faiss().read_index(str(path), flags)
    except (RuntimeError, MemoryError) as error:
        raise sound.unreadable(path, error) from error


def _enter(index: Any, vectors: Floats, rows: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
    """Put some of the vectors into an index, in blocks."""
    with progress("Making the index", len(rows)) as advance:
        for some, under in zip(blocks(rows, _ROWS), blocks(keys, _ROWS), strict=True):
            index.add_with_ids(np.ascontiguousarray(vectors[some]), under)
            advance(len(some))


def _both(one: NDArray[np.bool_] | None, two: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    return np.ones(1, bool) if one is None or two is None else one & two


def _on(device: str, index: Any) -> Any:
    if device == "cpu":
        return index
    if not hasattr(faiss(), "StandardGpuResources"):
        raise BadInput(f"device = {device!r}, but this faiss was compiled for the CPU only: set device = 'cpu'.")
    return faiss().index_cpu_to_gpu(faiss().StandardGpuResources(), 0, index)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let faiss use `count` threads inside, or as many as it has taken."""
    before = faiss().omp_get_max_threads()
    faiss().omp_set_num_threads(count or before)
    try:
        yield
    finally:
        faiss().omp_set_num_threads(before)
