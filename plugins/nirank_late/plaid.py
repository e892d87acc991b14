"""Late interaction over compressed vectors, in stages that read more of ever fewer documents (PLAID).

Santhanam et al., CIKM 2022: documents that have a token near one of the query's; of these the best by their centroids
alone, first by the centroids that are near to the query at all, then by all of them; and the best of these by vectors.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data import (
    Candidates,
    Content,
    Corpus,
    Explanation,
    Floats,
    Ints,
    Queries,
    Some,
    Vectors,
    offsets_of,
    sort_keys,
)
from nirank.errors import BadInput
from nirank.kit import Former, bounded, progress, ragged_files, write_header
from nirank_late.exact import explained, scored, token_vectors
from nirank_late.maxsim import Meetings, compare, tiled
from nirank_late.residual import GAINS, Codec
from nirank_late.store import TokenStore, picked, widened

#: Tokens that are compressed at once, and tokens a centroid in the sample that centroids are found in.
_BLOCK, _SAMPLE = 1 << 16, 16
#: Documents that came since centroids were found, and what share of all they may be.
_CAME, _FEW = "came.npy", 1 / 4
_NEW = "new-"
_BOUNDED = ("codes", "offsets", "starts", "docs", "centroids")
#: Documents whose vectors are copied at once.
_DOCUMENTS = 1 << 12
#: How many tokens some documents have, the centroid of each token, and what is left of it.
Compressed: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]]


class PlaidIndex:
    """The `k` documents of highest MaxSim, nearly always, over vectors compressed to about `bits` bits a dimension.

    For each token of the query the documents of the `probes` nearest centroids are looked at. The `candidates` best of
    them by centroids nearer than `threshold` go on, a quarter of these by all their centroids, and what is found are
    the best by the vectors; so at most a quarter of `candidates` is found. Settings do not depend on `k`: ten results
    are the first ten of a hundred.

    Of 128 dimensions, 4 bits take 69 bytes a token, and 2 bits 37; float16 takes 256. With fewer bits more documents of
    nearly equal MaxSim change places.

    There are `centroids`, drawn and moved by `seed`: as many as PLAID takes unless given, the power of two below 16
    times the root of the number of tokens. Documents are encoded `chunk` at a time, and an interrupted build goes on
    from the last whole chunk; until it is done the vectors lie on disk as float16. In memory are the centroids and a
    sample for each, one number for each document and centroid that belong together, and some tokens at a time. Raises
    `BadInput` for settings that cannot be.
    """

    searches = "tokens"
    resumes = True

    def __init__(
        self,
        bits: int = 4,
        centroids: int | None = None,
        probes: int = 4,
        threshold: float = 0.4,
        candidates: int = 4096,
        chunk: int = 1024,
        seed: int = 0,
    ) -> None:
        if bits not in (1, 2, 4, 8):
            raise BadInput(f"bits = {bits}; 1, 2, 4 or 8 are expected.")
        least = {"centroids": (centroids, 1), "probes": (probes, 1), "candidates": (candidates, 4), "chunk": (chunk, 1)}
        for name, (value, bound) in least.items():
            if value is not None and value < bound:
                raise BadInput(f"{name} = {value}; at least {bound} is expected.")
        self.bits, self.centroids, self.seed, self.chunk = bits, centroids, seed, chunk
        self.probes, self.threshold, self.candidates = probes, threshold, candidates
        self._searched: CompressedIndex | None = None

    @property
    def index_key(self) -> dict[str, Any]:
        """The settings that the files depend on; how they are searched is not among them."""
        return {"index": "plaid", "version": 2, "bits": self.bits, "centroids": self.centroids, "seed": self.seed}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[[Sequence[Content]], Vectors] | None = None) -> None:
        """Encode the corpus, going on where an interrupted build of the same index stopped, and compress it."""
        _clear(folder)
        TokenStore.write(corpus, folder, encode, self.chunk, "plaid")
        store = TokenStore.open(corpus, folder)
        count = min(self.centroids or _usual(len(store.tokens)), len(store.tokens))
        codec = Codec.fit(_sample(store, count, self.seed), count, self.bits, self.seed)
        codec.save(folder)
        _write(folder, _compressed(store, codec), store.offsets, codec)
        ragged_files.remove(folder)

    def update(
        self,
        corpus: Corpus,
        folder: Path,
        former: Former,
        encode: Callable[[Sequence[Content]], Vectors] | None = None,
    ) -> None:
        """The same from the index of an earlier state: only what is new is encoded, and compressed by its centroids.

        When a quarter of the documents has come since these were found, the index is built anew. Until then what is
        found may differ from that by the compression.
        """
        known, new = CompressedIndex.load(former.folder), former.new
        came = _came(former.folder) + len(new)
        if came > _FEW * len(corpus):
            self.build(corpus, folder, encode)
            return
        _clear(folder)
        with tempfile.TemporaryDirectory(prefix=_NEW, dir=folder) as apart:
            store = None
            if len(new):
                TokenStore.write(Some(corpus, new), Path(apart), encode, self.chunk, "plaid")
                store = TokenStore.open(Some(corpus, new), Path(apart))
            known.codec.save(folder)
            lengths = np.diff(known.offsets)[former.ordinals]
            lengths[new] = np.diff(store.offsets) if store else 0
            _write(folder, _with_new(known, former.ordinals, store), offsets_of(lengths), known.codec)
        np.save(folder / _CAME, came)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the index; raises `BadInput` where it is of another number of documents."""
        searched = CompressedIndex.load(folder)
        documents = len(searched.offsets) - 1
        if documents != len(corpus):
            raise BadInput(
                f"has vectors of {documents} documents, but the corpus has {len(corpus)}: build it again.", folder
            )
        self._searched = searched

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` best documents for each query; needs token vectors in `queries.vectors`.

        Raises `BadInput` for k below 0, and for vectors that are missing or of another dimension.
        """
        searched = self._opened()
        vectors = token_vectors(queries, k, searched.codec.centroids.shape[1], "plaid")
        found = [self._search(searched, query) for query in vectors]
        return Candidates.of([docs for docs, _ in found], [scores for _, scores in found]).top(k)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """MaxSim of each pair by the compressed vectors, `[pairs]`: the number that `generate` gives what it finds.

        Raises `BadInput` as `generate` does, and for documents that the index does not have.
        """
        searched = self._opened()
        vectors = token_vectors(queries, 0, searched.codec.centroids.shape[1], "plaid")
        return scored(vectors, candidates, searched.offsets, searched.vectors)

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by the tokens of the query, as the compressed vectors have it."""
        searched = self._opened()
        return explained(self, queries, candidates, searched.offsets, searched.vectors)

    def _opened(self) -> CompressedIndex:
        if self._searched is None:
            raise BadInput(f"{type(self).__name__} has no open index: search through a pipeline, or call open first.")
        return self._searched

    def _search(self, searched: CompressedIndex, query: Floats) -> tuple[Ints, Floats]:
        """The documents that came to the last stage for one query, `[tokens, dim]`, and their scores."""
        if not len(query):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        similarities = searched.codec.centroids @ query.T  # [centroids, query tokens]
        docs = searched.near(similarities, self.probes)
        near = similarities.max(axis=1) >= self.threshold
        docs = _best(docs, searched.by_centroids(similarities, near, docs, 0.0), self.candidates)
        every = np.ones(len(near), bool)
        docs = _best(docs, searched.by_centroids(similarities, every, docs, -np.inf), self.candidates // 4)
        return docs, searched.by_vectors(query, docs)


@dataclass(frozen=True, eq=False)
class CompressedIndex:
    """A compressed index, mapped.

    The tokens of document `d` are those from `offsets[d]` up to `offsets[d + 1]`; `codes` int32 `[tokens]` are their
    centroids, `residuals` uint8 `[tokens, bytes]` what is left. The documents of centroid `c` are
    `docs[starts[c]:starts[c + 1]]`.
    """

    codec: Codec
    codes: NDArray[np.int32]
    residuals: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    starts: NDArray[np.int64]
    docs: NDArray[np.int32]

    @classmethod
    def load(cls, folder: Path) -> CompressedIndex:
        """Map what was written. Raises `DamagedFile` where files are missing, cut short or do not fit each other."""
        codec = Codec.load(folder)
        codes = bounded.column(folder / "codes.npy", np.int32, None)
        index = cls(
            codec,
            codes,
            bounded.column(folder / "residuals.npy", np.uint8, len(codes), codec.width),
            bounded.column(folder / "offsets.npy", np.int64, None),
            bounded.column(folder / "starts.npy", np.int64, len(codec.centroids) + 1),
            bounded.column(folder / "docs.npy", np.int32, None),
        )
        bounded.once(folder, [f"{name}.npy" for name in _BOUNDED], lambda: index.check(folder))
        return index

    def check(self, folder: Path) -> None:
        """Raise `DamagedFile` where tokens, centroids or documents are named that there are not."""
        bounded.rising(folder / "offsets.npy", self.offsets, len(self.codes))
        bounded.rising(folder / "starts.npy", self.starts, len(self.docs))
        bounded.within(folder / "codes.npy", self.codes, len(self.codec.centroids))
        bounded.within(folder / "docs.npy", self.docs, len(self.offsets) - 1)

    def near(self, similarities: Floats, probes: int) -> NDArray[np.int64]:
        """The documents of the `probes` nearest centroids of each query token, rising."""
        probes = min(probes, len(similarities))
        centroids = np.unique(np.argpartition(-similarities, probes - 1, axis=0)[:probes])
        marked = np.zeros(len(self.offsets) - 1, bool)
        for centroid in centroids.tolist():
            marked[self.docs[self.starts[centroid] : self.starts[centroid + 1]]] = True
        return np.flatnonzero(marked)

    def by_centroids(
        self, similarities: Floats, kept: NDArray[np.bool_], docs: NDArray[np.int64], least: float
    ) -> Floats:
        """MaxSim of some documents by the `kept` centroids of their tokens; none counts below `least`."""
        from nirank_late.kernels import interact

        scores = np.empty(len(docs), np.float32)
        interact(np.ascontiguousarray(similarities), kept, self.codes, self.offsets, docs, least, scores)
        return scores

    def by_vectors(self, query: Floats, docs: NDArray[np.int64]) -> Floats:
        """MaxSim of some documents by their vectors, as far as these were kept."""
        (offsets, places), ends = picked(self.offsets, docs), np.array([0, len(query)])
        pairs = Meetings(ends, offsets, np.zeros(len(docs), np.int64), np.arange(len(docs)))
        return compare(tiled(query, ends), self.vectors(places), pairs, np.empty(0, np.int32))

    def vectors(self, places: NDArray[np.int64]) -> Floats:
        """The vectors of some tokens, as far as they were kept, float32 `[places, dim]`."""
        from nirank_late.kernels import Decoded, decompress

        codec = self.codec
        values = np.empty((len(places), codec.centroids.shape[1]), np.float32)
        decoded = Decoded(codec.centroids, codec.scales, codec.steps, GAINS)
        decompress(self.codes[places], self.residuals[places], decoded, values)
        return values


def tiny() -> PlaidIndex:
    """A small index that looks at everything, so that what it finds is only compressed."""
    return PlaidIndex(centroids=24, probes=24, chunk=4)


def _usual(tokens: int) -> int:
    """The number of centroids that PLAID takes: the power of two below 16 times the root of the number of tokens."""
    return int(2 ** np.floor(np.log2(16 * np.sqrt(tokens))))


def _sample(store: TokenStore, centroids: int, seed: int) -> Floats:
    """Some of all vectors, as they follow one another on disk."""
    size = min(len(store.tokens), _SAMPLE * centroids)
    chosen = np.random.default_rng([seed, 1]).choice(len(store.tokens), size, replace=False, shuffle=False)
    return widened(store.tokens[np.sort(chosen)])


def _clear(folder: Path) -> None:
    """Remove what an update left that was killed."""
    for left in folder.glob(f"{_NEW}*"):
        shutil.rmtree(left)


def _came(folder: Path) -> int:
    """How many documents came since the centroids of an index were found."""
    return int(bounded.column(folder / _CAME, np.int64)) if (folder / _CAME).exists() else 0


def _compressed(store: TokenStore, codec: Codec) -> Iterator[Compressed]:
    """The vectors in a store, some documents at a time."""
    for documents in store.blocks(_BLOCK):
        offsets, values = store.of(documents)
        yield (np.diff(offsets), *codec.compress(values))


def _with_new(known: CompressedIndex, ordinals: NDArray[np.int64], store: TokenStore | None) -> Iterator[Compressed]:
    """The vectors of documents that were known at some ordinals, -1 for each that is next in the store of new ones."""
    new = _of_each(_compressed(store, known.codec)) if store else iter(())
    for start in range(0, len(ordinals), _DOCUMENTS):
        here = ordinals[start : start + _DOCUMENTS]
        offsets, places = picked(known.offsets, np.maximum(here, 0))
        cuts = offsets[1:-1]
        codes, residuals = np.split(known.codes[places], cuts), np.split(known.residuals[places], cuts)
        pairs = zip(here.tolist(), zip(codes, residuals, strict=True), strict=True)
        found: list[Sequence[NDArray[Any]]] = [next(new) if ordinal < 0 else each for ordinal, each in pairs]
        lengths = np.array([len(codes) for codes, _ in found])
        yield lengths, np.concatenate([codes for codes, _ in found]), np.concatenate([left for _, left in found])


def _of_each(parts: Iterator[Compressed]) -> Iterator[Sequence[NDArray[Any]]]:
    """The codes and residuals of one document after the other."""
    for lengths, codes, residuals in parts:
        cuts = np.cumsum(lengths)[:-1]
        yield from zip(np.split(codes, cuts), np.split(residuals, cuts), strict=True)


def _write(folder: Path, parts: Iterator[Compressed], offsets: NDArray[np.int64], codec: Codec) -> None:
    """Write codes, residuals, and the documents of each centroid; the tokens of each document begin at `offsets`."""
    documents, tokens, done, pairs = len(offsets) - 1, int(offsets[-1]), 0, [np.empty(0, np.int64)]
    with (
        (folder / "codes.npy").open("wb") as codes_file,
        (folder / "residuals.npy").open("wb") as residuals_file,
        progress("Compressing vectors", documents) as advance,
    ):
        write_header(codes_file, (tokens,), np.int32)
        write_header(residuals_file, (tokens, codec.width), np.uint8)
        for lengths, codes, residuals in parts:
            codes_file.write(codes.tobytes())
            residuals_file.write(residuals.tobytes())
            owners = np.repeat(np.arange(done, done + len(lengths)), lengths)
            pairs.append(np.unique(codes.astype(np.int64) * documents + owners))
            done += len(lengths)
            advance(len(lengths))
    centroids, docs = np.divmod(np.sort(np.concatenate(pairs)), documents)
    np.save(folder / "offsets.npy", offsets)
    np.save(folder / "starts.npy", np.searchsorted(centroids, np.arange(len(codec.centroids) + 1)))
    np.save(folder / "docs.npy", docs.astype(np.int32))


def _best(docs: NDArray[np.int64], scores: Floats, count: int) -> NDArray[np.int64]:
    """The `count` documents of highest score, of equal ones those of lower ordinal; rising."""
    if len(docs) <= count:
        return docs
    return np.sort(docs[np.argpartition(sort_keys(docs, scores), count - 1)[:count]])
