"""The kinds of faiss indexes: what each keeps of a vector, and which documents it looks at for a query.

flat        all of it; all documents                                              exact
sq8         a byte a dimension; all documents
ivf_flat    all of it; the documents near some of the centroids of k-means
ivf_pq      some bytes, by product quantisation; the same
hnsw        all of it; those met on a walk through a graph of neighbours
"""

from __future__ import annotations

from typing import Any, Literal

from nirank.errors import BadInput
from nirank_dense.faiss.search import FaissSearch, faiss

#: Fewer documents are not scanned in registers, where a score that is rounded to the least there is would be lost.
_MANY_DOCUMENTS = 256
#: Points that k-means wants for each centroid.
_POINTS_PER_CENTROID = 39


class Flat(FaissSearch):
    """Every document is compared with every query: what is found is exact. On the CPU `exact` is faster."""

    known_as = "nirank_dense.kinds:Flat"  # where it was when indexes were first made with it

    separable = True

    def __init__(self, chunk: int = 1024, device: str = "cpu") -> None:
        super().__init__(0, chunk, device)

    def empty(self, dim: int, documents: int) -> Any:  # noqa: ARG002 (as the others have it)
        """IndexFlat."""
        return faiss().IndexIDMap2(faiss().IndexFlatIP(dim))


class SQ8(FaissSearch):
    """Every document is compared by one byte a dimension, and the best `depth` (or k) in float32."""

    known_as = "nirank_dense.kinds:SQ8"  # where it was when indexes were first made with it

    def __init__(self, depth: int = 200, chunk: int = 1024, device: str = "cpu") -> None:
        super().__init__(depth, chunk, device)

    def dials(self, k: int) -> list[dict[str, int]]:
        """Settings of how many documents are scored in float32, from k on."""
        return [{"depth": depth} for depth in _doubling(k, 1024)]

    def empty(self, dim: int, documents: int) -> Any:  # noqa: ARG002 (as the others have it)
        """IndexScalarQuantizer."""
        kind, metric = faiss().ScalarQuantizer.QT_8bit, faiss().METRIC_INNER_PRODUCT
        return faiss().IndexIDMap2(faiss().IndexScalarQuantizer(dim, kind, metric))


class HNSW(FaissSearch):
    """A walk through a graph in which each document knows some near it.

    Malkov and Yashunin, Efficient and Robust Approximate Nearest Neighbor Search Using Hierarchical Navigable Small
    World Graphs, IEEE TPAMI 42(4), 2020. `m` is how many neighbours a document has (M), `construction` how many are
    considered for it while the graph is built (efConstruction), `ef` how many are kept in sight on the walk: the
    dial between recall and speed. With `threads` above 1 the graph is built faster, and is another one each time.
    """

    known_as = "nirank_dense.kinds:HNSW"  # where it was when indexes were first made with it

    removes = False

    def __init__(
        self, m: int = 16, construction: int = 100, ef: int = 128, chunk: int = 1024, threads: int = 1
    ) -> None:
        super().__init__(ef, chunk, threads=threads)
        self.m, self.construction = m, construction

    @property
    def ef(self) -> int:
        """The number of documents kept in sight; all of them are scored."""
        return self.depth

    @ef.setter
    def ef(self, value: int) -> None:
        """Keep `value` documents in sight."""
        self.depth = value

    def dials(self, k: int) -> list[dict[str, int]]:
        """Settings of how many documents are kept in sight, from k on."""
        return [{"ef": ef} for ef in _doubling(k, 4096)]

    @property
    def made(self) -> dict[str, object]:
        """The settings of the graph."""
        return {"m": self.m, "construction": self.construction}

    def empty(self, dim: int, documents: int) -> Any:  # noqa: ARG002 (as the others have it)
        """IndexHNSWFlat."""
        index = faiss().IndexHNSWFlat(dim, self.m, faiss().METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.construction
        return faiss().IndexIDMap2(index)

    def parameters(self, wanted: int) -> Any:
        """As many in sight as are wanted."""
        return faiss().SearchParametersHNSW(efSearch=wanted)


class IVFFlat(FaissSearch):
    """The documents in the lists of the centroids next to the query, compared in float32.

    `lists` is the number of centroids, unless given 4 times the root of the number of documents, and at most one for 39
    of them. `probes` is how many lists are read: the dial between recall and speed.
    """

    known_as = "nirank_dense.kinds:IVFFlat"  # where it was when indexes were first made with it

    advice = "read more lists with a larger `probes`"

    def __init__(self, lists: int | None = None, probes: int = 32, chunk: int = 1024, device: str = "cpu") -> None:
        super().__init__(0, chunk, device)
        self.lists, self.probes = lists, probes

    @property
    def made(self) -> dict[str, object]:
        """The settings of the lists."""
        return {"lists": self.lists}

    def dials(self, k: int) -> list[dict[str, int]]:  # noqa: ARG002
        """Settings of how many lists are read, up to all of them."""
        return [{"probes": probes} for probes in _doubling(1, self.opened.nlist)]

    def empty(self, dim: int, documents: int) -> Any:
        """IndexIVFFlat."""
        lists = _lists(self.lists, documents)
        index = faiss().IndexIVFFlat(faiss().IndexFlatIP(dim), dim, lists, faiss().METRIC_INNER_PRODUCT)
        return _silent(index)

    def parameters(self, wanted: int) -> Any:  # noqa: ARG002
        """As many lists as `probes` says."""
        return faiss().IVFSearchParameters(nprobe=self.probes)


class IVFPQ(FaissSearch):
    """As `IVFFlat`, compared by product quantisation, and the best `depth` (or k) of them in float32.

    Jégou et al., Product Quantization for Nearest Neighbor Search, IEEE TPAMI 33(1), 2011: a vector is cut into `m`
    parts, and of each the nearest of 2**`bits` centroids is kept. With 4 bits the tables of products stay in the
    registers of the processor (André et al., Cache Locality Is Not Enough, VLDB 2015). `m` divides the dimension;
    unless given it is such that a vector has a byte for four dimensions: 96 instead of 1,536 where there are 384.
    """

    known_as = "nirank_dense.kinds:IVFPQ"  # where it was when indexes were first made with it

    advice = "read more lists with a larger `probes`"

    def __init__(
        self,
        lists: int | None = None,
        probes: int = 32,
        m: int | None = None,
        bits: Literal[4, 8] = 4,
        depth: int = 400,
        chunk: int = 1024,
        device: str = "cpu",
    ) -> None:
        super().__init__(depth, chunk, device)
        self.lists, self.probes, self.m, self.bits = lists, probes, m, bits

    @property
    def made(self) -> dict[str, object]:
        """The settings of lists and codes."""
        return {"lists": self.lists, "m": self.m, "bits": self.bits}

    def dials(self, k: int) -> list[dict[str, int]]:
        """Settings of how many lists are read, and of how many documents are scored in float32."""
        probes, depths = _doubling(1, self.opened.nlist), _doubling(k, 1024)
        return [{"probes": some, "depth": depth} for some in probes for depth in depths[::2]]

    @property
    def points(self) -> int:
        """One for each centroid of a part."""
        return 2**self.bits

    def empty(self, dim: int, documents: int) -> Any:
        """IndexIVFPQ, or for 4 bits IndexIVFPQFastScan."""
        most = max(1, 2 * dim // self.bits)
        m = self.m or max(parts for parts in range(1, most + 1) if dim % parts == 0)
        if dim % m:
            raise BadInput(
                f"m = {m} does not divide the {dim} dimensions of the vectors; a divisor of {dim} is expected."
            )
        fast = self.bits == 4 and documents >= _MANY_DOCUMENTS
        made = faiss().IndexIVFPQFastScan if fast else faiss().IndexIVFPQ
        lists, metric = _lists(self.lists, documents), faiss().METRIC_INNER_PRODUCT
        index = made(faiss().IndexFlatIP(dim), dim, lists, m, self.bits, metric)
        index.pq.cp.min_points_per_centroid = 1
        return _silent(index)

    def parameters(self, wanted: int) -> Any:  # noqa: ARG002
        """As many lists as `probes` says."""
        return faiss().IVFSearchParameters(nprobe=self.probes)


def _lists(wanted: int | None, documents: int) -> int:
    """The number of lists: no more than there are documents to be their centroids."""
    return max(1, min(wanted or int(4 * documents**0.5), documents if wanted else documents // _POINTS_PER_CENTROID))


def _doubling(first: int, last: int) -> list[int]:
    """The first number, twice it, and so on, and the last."""
    found = [max(1, first)]
    while found[-1] < last:
        found.append(min(2 * found[-1], last))
    return found


def _silent(index: Any) -> Any:
    """The index, which does not write to the terminal that there are few documents."""
    index.cp.min_points_per_centroid = 1
    return index
