"""Inverted indexes for tests: of texts, or of postings that are given, and what is in them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nirank_lexical.inversion import write_index
from nirank_lexical.postings import InvertedIndex, SideColumns


def invert(corpus, analyzer):
    """The index of a corpus; its files are mapped, and their folder is gone."""
    with tempfile.TemporaryDirectory() as folder:
        write_index(corpus, analyzer, Path(folder))
        return InvertedIndex.load(Path(folder))


def of_postings(docs, counts, **rest):
    """The index of some postings, which are in the order of an index; `rest` are its other columns."""
    with tempfile.TemporaryDirectory() as folder:
        InvertedIndex.write(Path(folder), [(docs, counts)], SideColumns(**rest))
        fields = rest["lengths"].shape[1:]
        return InvertedIndex.load(Path(folder), *fields)


def postings(index):
    """The documents and the counts of all postings."""
    return index.of(slice(None))
