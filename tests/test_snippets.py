"""The best passage of each document found, as text with its place."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, CompositionError, UnknownName
from nirank.kit.text.matching import Matcher

LONG = "The mouse hid. " * 20 + "Small cats and dogs cross the bridge, as cats do. " + "The mouse hid. " * 20
CORPUS = Documents(["long", "short", "none", ""], [LONG, "İ a cat", "nothing at all", ""])
QUERIES = Queries(["1", "2"], ["cat bridge", "the"])
FOUND = Candidates.of([[0, 1, 2, 3], [1]], corpus=CORPUS)


def test_the_passage_with_most_of_the_words_is_taken():
    first, second = nirank.snippets(QUERIES, FOUND, words=8, stride=1)
    best = first[0]
    assert "cross the bridge" in best.text
    assert "cats" in best.text
    assert LONG[best.start : best.stop] == best.text
    assert {LONG[start:stop] for start, stop in best.matches} == {"cats", "bridge"}
    assert [part.doc for part in first] == [0, 1, 2, 3]
    assert [len(part.matches) for part in first[1:]] == [1, 0, 0]
    assert (first[2].text, first[3].text) == ("nothing at all", "")
    assert second[0].matches == ()  # a stop word


def test_all_windows_are_compared_as_a_loop_compares_them():
    words = LONG.split()
    stems = {"cats": "cat", "cats,": "cat", "bridge,": "bridge"}

    def rank(start):
        found = [stems[word] for word in words[start : start + 5] if word in stems]
        return len(set(found)), len(found), -start

    best = max(range(len(words) - 4), key=rank)
    (first,) = nirank.snippets(QUERIES.take([0]), FOUND.take([0]), words=5, stride=1)
    assert first[0].text.split() == words[best : best + 5]


PIECES = (
    *(
        "cat",
        "cats",
        "Dog",
        "dog's",
        "don't",
        "straße",
        "ΟΔΟΣ",
        "İstanbul",
        "3.14",
        "a_b",
        "_",
        "u.s.a",
        "東京",
        "\u200d👍",
    ),
    *("👍🏽", "e\u0301t\u00e9", "the", "ไทย", "🇫🇷", "\u0301", "7️⃣", "l\u2019eau", "a\u200bb", "co-op", "x" * 300),
)


@pytest.mark.parametrize("seed", range(40))
def test_any_text_is_read_as_each_of_its_passages_alone(seed):
    chance, matcher = random.Random(seed), Matcher()
    gaps = (" ", "  ", ", ", ". ", "", "\n", "\u00a0", "\u2028")
    text = "".join(chance.choice(PIECES) + chance.choice(gaps) for _ in range(chance.randint(1, 40)))
    query = " ".join(chance.choices(PIECES, k=3))
    size, words = chance.choice([1, 3, 8]), [(found.start(), found.end()) for found in re.finditer(r"\S+", text)]
    extents = [
        (part[0][0], part[-1][1]) for at in range(max(1, len(words) - size + 1)) if (part := words[at : at + size])
    ]
    alone = {extent: matcher.found(query, text[slice(*extent)]) for extent in extents}
    best = max(extents, key=lambda each: (len({term for *_, term in alone[each]}), len(alone[each])))
    found = nirank.snippets(
        Queries.of(query), Candidates.of([[0]], corpus=Documents(["a"], [text])), words=size, stride=1
    )
    part = found[0][0]
    assert (part.text, part.start, part.stop) == (text[slice(*best)], *best)
    assert part.matches == tuple((best[0] + start, best[0] + stop) for start, stop, _ in alone[best])


def test_matches_are_marked():
    part = nirank.snippets(QUERIES, FOUND)[0][1]
    assert part.marked() == "İ a **cat**"
    assert part.marked("<b>", "</b>") == "İ a <b>cat</b>"


def test_a_scoring_may_choose():
    class Last:
        def score(self, queries, candidates):
            return np.array([text.count("mouse") for text in candidates.corpus[candidates.docs]], np.float32)

    part = nirank.snippets(QUERIES, FOUND, by=nirank.load(Last()), sentences=1)[0][0]
    assert (part.text, part.start, part.score, part.matches) == ("The mouse hid.", 0, 1.0, ())
    bm25 = nirank.snippets(QUERIES, FOUND, by=nirank.load("bm25"), sentences=1)[0][0]
    assert bm25.text.startswith("Small cats")
    assert bm25.matches


def test_nothing_found_has_no_snippets():
    assert nirank.snippets(QUERIES, Candidates.empty(2, CORPUS)) == [[], []]


def test_what_cannot_be_is_told():
    with pytest.raises(UnknownName, match="klingon"):
        nirank.snippets(QUERIES, FOUND, language="klingon")
    with pytest.raises(CompositionError, match="scores no passages"):
        nirank.snippets(QUERIES, FOUND, by=nirank.load("bm25") % 10)
    with pytest.raises(BadInput, match="no corpus"):
        nirank.snippets(QUERIES, Candidates.of([[0], []]))
    with pytest.raises(BadInput, match="only texts"):
        nirank.snippets(Queries.of("cat"), Candidates.of([[0]], corpus=Documents(["a"], [b"\x89PNG"])))
