"""Small indexes of faiss for checks; no encoder is needed to build them."""

from __future__ import annotations

from nirank_dense.faiss import indexes


def flat() -> indexes.Flat:
    """An exact index of faiss."""
    return indexes.Flat(chunk=4)


def sq8() -> indexes.SQ8:
    """One that scores as many documents as the checks have."""
    return indexes.SQ8(depth=16, chunk=4)


def hnsw() -> indexes.HNSW:
    """A small graph."""
    return indexes.HNSW(m=4, construction=16, ef=16, chunk=4)


def ivf_flat() -> indexes.IVFFlat:
    """Three lists, all of which are read: the checks expect that a document which could be found is found."""
    return indexes.IVFFlat(lists=3, probes=3, chunk=4)


def ivf_pq() -> indexes.IVFPQ:
    """The same, with codes."""
    return indexes.IVFPQ(lists=3, probes=3, depth=16, chunk=4)
