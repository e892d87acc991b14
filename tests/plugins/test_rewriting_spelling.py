"""Spelling: corrections equal those of a slow search through all words by the textbook's distance."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rapidfuzz")
pytest.importorskip("regex")

import nirank
from nirank.data import Documents, Queries
from nirank.errors import BadInput, StaleIndex
from nirank_rewriting.spelling import Spelling

TEXTS = ["the committee received a separate letter", "a separate committee", "receive the letters", "letter of the law"]


def _osa(one, two):
    """Optimal string alignment, by the table of its definition."""
    table = np.zeros((len(one) + 1, len(two) + 1), int)
    table[:, 0], table[0] = range(len(one) + 1), range(len(two) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(two) + 1):
            same = one[i - 1] == two[j - 1]
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (not same))
            if i > 1 and j > 1 and one[i - 1] == two[j - 2] and one[i - 2] == two[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return int(table[-1, -1])


def _opened(texts, folder, **settings):
    spelling, corpus = Spelling(**settings), Documents([str(number) for number in range(len(texts))], texts)
    folder.mkdir()
    spelling.build(corpus, folder)
    spelling.open(corpus, folder)
    return spelling


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("comittee", "committee"),
        ("seperate lettr", "separate letter"),
        ("A Seperate, comittee!", "A separate, committee!"),
        ("receved", "received"),
        ("recieve", "receive"),  # two neighbours swapped
        ("law", "law"),
        ("lwa", "lwa"),  # too short
        ("lettr2 lettr_x o'lettr", "lettr2 lettr_x o'lettr"),
        ("xylophone", "xylophone"),
        ("", ""),
    ],
)
def test_words_that_no_document_has_become_the_nearest_that_some_have(tmp_path, asked, expected):
    spelling = _opened([*TEXTS, "receive"], tmp_path / "words", least=1)
    assert spelling.rewrite(Queries.of([asked])) == [expected]


def test_corrections_are_those_of_a_slow_search(tmp_path):
    drawn = np.random.default_rng(2)
    words = sorted({"".join(drawn.choice(list("abcd"), drawn.integers(4, 10))) for _ in range(400)})
    counts = dict(zip(words, drawn.integers(1, 5, len(words)).tolist(), strict=True))
    spelling = _opened([" ".join([word] * count) for word, count in counts.items()], tmp_path / "words")
    asked = ["".join(drawn.choice(list("abcd"), drawn.integers(3, 11))) for _ in range(150)]
    expected = []
    for word in asked:
        most = 2 if len(word) >= 8 else 1
        near = [(_osa(word, other), -count, other) for other, count in counts.items() if count >= 2]
        near = [each for each in near if each[0] <= most]
        stays = word in counts or len(word) < 4 or not near
        expected.append(word if stays else min(near)[2])
    assert spelling.rewrite(Queries.of(asked)) == expected
    assert len([1 for one, two in zip(asked, expected, strict=True) if one != two]) > 20


def test_a_list_of_words_takes_the_place_of_the_corpus(tmp_path):
    (tmp_path / "list.txt").write_text("colour\t10\ncooler\t3\nfavour\n")
    spelling = _opened(TEXTS, tmp_path / "words", words=str(tmp_path / "list.txt"))
    assert spelling.rewrite(Queries.of(["coluor favuor comittee"])) == ["colour favour comittee"]
    assert spelling.index_key != Spelling().index_key
    (tmp_path / "odd.txt").write_text("colour\tmany\n")
    for path in ("odd.txt", "none.txt"):
        with pytest.raises(BadInput, match="not a list of words"):
            Spelling(words=str(tmp_path / path))


def test_it_stands_before_a_search(tmp_path, monkeypatch):
    pytest.importorskip("Stemmer")
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    corpus = Documents(list("abcd"), TEXTS)
    bm25, spelling = nirank.load("bm25"), nirank.load(Spelling(), "spelling")
    found = (nirank.rewrite(spelling) >> bm25).search(["comittee"], corpus)
    assert found.docs.tolist() == bm25.search(["committee"], corpus).docs.tolist() != []
    assert bm25.search(["comittee"], corpus).pairs == 0


def test_numbers_out_of_range_and_words_that_are_not_there_are_told():
    with pytest.raises(BadInput, match="distance = 0"):
        Spelling(distance=0)
    with pytest.raises(StaleIndex, match="has no words"):
        Spelling().rewrite(Queries.of(["a"]))
