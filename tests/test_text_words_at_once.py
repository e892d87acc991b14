"""Terms that many texts are read for at once: those that each text has by itself."""

from __future__ import annotations

import itertools
import random
import string

import pytest

from nirank.kit.text import Analyzer, TermNumbers, corpus_terms, word_breaks, words_at_once

_CHARACTERS = [*string.ascii_letters, *string.digits, *"__.:',;.:',;..  \t\n\x00\x1c-/()!?\"#*\x7f"]
_BEYOND_ASCII = ["é", "ß", "İ", "Σ", "中", "猫", "ア", "\u2019", "🎉", "\u200d", "ส"]
_PLAIN = Analyzer(stemmer=None, stopwords=())


@pytest.fixture(autouse=True, params=[0, 10**9], ids=["at once", "one by one"])
def _worth_it(request, monkeypatch):
    """Few texts are read at once too."""
    monkeypatch.setattr(corpus_terms, "_CHARACTERS_WORTH_IT", request.param)


def _terms(analyzer, *batches):
    """The terms of each text of each batch, by one that numbers them."""
    numbers, found = TermNumbers(analyzer), []
    for texts in batches:
        terms, rows = numbers.of(texts)
        assert (rows[1:] >= rows[:-1]).all()
        named = [*numbers.terms]
        found.append([[named[term] for term in terms[rows == row]] for row in range(len(texts))])
    return found


@pytest.mark.parametrize("analyzer", [Analyzer(), _PLAIN, Analyzer("french", rules="lucene"), Analyzer("german")])
@pytest.mark.parametrize("beyond", [[], _BEYOND_ASCII], ids=["ascii", "unicode"])
def test_terms_of_many_texts_are_those_of_each(analyzer, beyond):
    made = random.Random(0)
    texts = ["".join(made.choices([*_CHARACTERS, *beyond], k=made.randrange(60))) for _ in range(600)]
    batches = texts[:1], texts[1:200], texts[200:], texts[:50]
    assert _terms(analyzer, *batches) == [[analyzer(text) for text in batch] for batch in batches]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("U.S.A. can't 3.14, 1,000; a:b", ["u.s.a", "can't", "3.14", "1,000", "a:b"]),
        ("one.2 a,b x_y __ _z", ["one", "2", "a", "b", "x_y", "_z"]),
        ("'quoted' end.", ["quoted", "end"]),
        (".", []),
        ("", []),
        (" \t ", []),
        ("a" * 300, ["a" * 255, "a" * 45]),
    ],
)
def test_words_are_cut_by_what_stands_beside_a_mark(text, expected):
    assert _PLAIN(text) == expected
    assert _terms(_PLAIN, [text], [text, "", text]) == [[expected], [expected, [], expected]]


def test_words_of_every_short_text_are_those_of_the_pattern():
    texts = ["".join(each) for length in range(1, 6) for each in itertools.product("aZ0_.:',; ", repeat=length)]
    found = words_at_once.words_of(texts)
    words = iter([found.distinct[place] for place in found.places.tolist()])
    cut = [list(itertools.islice(words, length)) for length in found.lengths.tolist()]
    assert [[word for word in each if word] for each in cut] == [word_breaks.words(text) for text in texts]


def test_no_texts_have_no_terms():
    numbers, rows = TermNumbers(_PLAIN).of([])
    assert len(numbers) == len(rows) == 0
