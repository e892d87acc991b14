"""Why nirank's BM25 has another figure than Anserini's on NFCorpus: ties, and the lengths of documents."""

from __future__ import annotations

from pathlib import Path

import pytest

import nirank
from nirank.formats import write_run

pytest.importorskip("jnius_config")
pytest.importorskip("pyserini")

pytestmark = pytest.mark.lucene
DEPTH = 1000


def _anserini(collection):
    """The lines of a run, as Anserini's own searcher finds and writes it."""
    from nirank_lucene.java import java

    stage = nirank.load("lucene", threads=1)
    (stage % 1).search(collection.queries, collection.corpus)
    searcher = java("io.anserini.search.SimpleSearcher")(str(Path(stage.component.opened.folder)))
    searcher.set_bm25(0.9, 0.4)
    for query, text in zip(collection.queries.ids, collection.queries.contents, strict=True):
        for rank, hit in enumerate(searcher.search(text, DEPTH), start=1):
            yield f"{query} Q0 {hit.docid} {rank} {hit.score:.6f} Anserini\n"


@pytest.fixture(scope="module")
def runs(shared, tmp_path_factory):
    """Anserini's run, those of two kinds of BM25, and the judgments."""
    collection = nirank.collection(f"beir:{shared('nfcorpus')}")
    place = tmp_path_factory.mktemp("runs")
    (place / "anserini.run").write_text("".join(_anserini(collection)))
    for lengths in ("exact", "byte"):
        found = nirank.load("bm25", k1=0.9, b=0.4, lengths=lengths).search(collection.queries, collection.corpus)
        write_run(place / f"{lengths}.run", collection.queries, found)
    return place, collection.judgments


def _row(runs, lengths, ties):
    place, judgments = runs
    (row,) = nirank.why_different(
        place / "anserini.run", place / f"{lengths}.run", judgments, "nDCG@10", ties=ties, queries=0
    ).measures
    return row


def _rounded(row):
    return [round(value, 4) for value in (row.a, row.b, row.parts.ties, row.parts.ranks, row.parts.documents)]


def test_the_difference_is_one_of_ties_and_of_the_lengths_of_documents(runs):
    assert _rounded(_row(runs, "exact", "falling")) == [0.3218, 0.3201, -0.0004, -0.0012, 0.0]
    assert _rounded(_row(runs, "exact", "rising"))[2:] == [0.0, -0.0012, 0.0]
    assert _row(runs, "byte", "rising").difference == pytest.approx(0, abs=1e-12)
