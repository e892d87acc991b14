"""CapFilt: what is kept, where the threshold lies, what is written, and that it is a collection again."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank_blip.capfilt import capfilt, filtered

KINDS = ("cat", "dog", "car", "bus")


def _collection(name, pairs, first=0):
    """Documents that say of which kind they are, and captions (kind, document) of them."""
    docs = sorted({doc for _, doc in pairs})
    corpus = Documents([f"d{doc}" for doc in docs], [f"{KINDS[doc % 4]} {doc}" for doc in docs])
    texts = sorted({text for text, _ in pairs})
    rows = [[docs.index(doc) for text, doc in pairs if text == wanted] for wanted in texts]
    queries = Queries([f"q{first + number}" for number in range(len(texts))], texts)
    return Collection(name, corpus, queries, Candidates.of(rows, [[1] * len(row) for row in rows], corpus))


class Sure:
    """Scores a pair by whether the kinds agree, a little apart for each document; of one clean pair it is not sure."""

    def score(self, queries, candidates):
        told = candidates.corpus[candidates.docs]
        kinds = [(queries.contents[row], *text.split()) for row, text in zip(candidates.rows, told, strict=True)]
        return np.array(
            [(asked == kind) * (0.2 if number == "3" else 1) + int(number) / 1e4 for asked, kind, number in kinds]
        )


@pytest.fixture
def both():
    """Ten clean pairs, and forty noisy ones of which every second is wrong."""
    clean = [(KINDS[doc % 4], doc) for doc in range(10)]
    noisy = [(KINDS[(doc + doc % 2) % 4], doc) for doc in range(10, 50)]
    return _collection("noisy", noisy, 100), _collection("clean", clean)


def _pairs(collection):
    ids, texts = collection.corpus.ids, collection.queries.contents
    return {(text, name) for row, text in enumerate(texts) for name in ids.take(collection.judgments[row][0])}


def test_planted_wrong_pairs_are_found_and_right_ones_kept(both):
    noisy, clean = both
    found = filtered(noisy, clean, nirank.load(Sure()))
    assert 0.2 < found.threshold <= 1.0
    right = {(KINDS[doc % 4], f"d{doc}") for doc in range(50) if doc < 10 or doc % 2 == 0}
    assert _pairs(found.collection) == right
    assert found.kept.sum() == 20


def test_the_clean_part_is_never_filtered(both):
    noisy, clean = both
    for passing in (0.1, 0.5, 1.0):
        found = filtered(noisy, clean, nirank.load(Sure()), passing=passing)
        assert _pairs(clean) <= _pairs(found.collection)
        scores = Sure().score(clean.queries, clean.judgments).astype(np.float32)
        assert (scores >= found.threshold).mean() >= passing


def test_what_is_kept_is_a_collection_that_can_be_asked_for_by_name(both, monkeypatch):
    noisy, clean = both
    found = nirank.collection("capfilt", noisy=noisy, clean=clean, filter=nirank.load(Sure()))
    assert found.name == "noisy/capfilt"
    assert len({*found.queries.ids}) == len(found.queries) == 4  # a text of both is one query
    assert isinstance(found, Collection)
    assert found.corpus.ids[:][:10] == [f"d{doc}" for doc in range(10)]
    assert found.take([0, 1]).judgments.pairs < found.judgments.pairs


def test_captions_are_added_where_the_filter_lets_them_pass(both):
    noisy, clean = both
    written = {"d13": ["dog"], "d14": ["bus", "car"]}  # of 13 the caption is right; of 14 the second, which is known

    class Writer:
        def write(self, contents):
            return [written.get(f"d{text.split()[1]}", ["nonsense"]) for text in contents]

    found = filtered(noisy, clean, nirank.load(Sure()), nirank.load(Writer()))
    assert found.written == 2
    plain = filtered(noisy, clean, nirank.load(Sure()))
    assert _pairs(found.collection) - _pairs(plain.collection) == {("dog", "d13")}


def test_what_makes_no_sense_is_refused(both):
    noisy, clean = both
    with pytest.raises(BadInput, match="passing = 0"):
        filtered(noisy, clean, nirank.load(Sure()), passing=0.0)
    nothing = Collection("nothing", clean.corpus, Queries.of("cat"), Candidates.of([[]], corpus=clean.corpus))
    with pytest.raises(BadInput, match=r"nothing: has no pairs"):
        capfilt(noisy, nothing, nirank.load(Sure()))
    with pytest.raises(BadInput, match="a table with `use"):
        capfilt({"folder": "x"}, clean, nirank.load(Sure()))
