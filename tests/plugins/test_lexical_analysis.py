"""What text becomes: golden cases observed from Lucene 9.9.1's EnglishAnalyzer, and the rules that have no Lucene."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

from nirank.errors import BadInput, UnknownName
from nirank.kit.text import ENGLISH_STOPWORDS, Analyzer, lower, stemmer, words
from nirank.kit.text.word_breaks import _ascii_words, _unicode_words, spans

GOLDEN = [
    ("The possibly analogies of O\u2019Neil's U.S.A.", ["possibl", "analog", "o\u2019neil", "u.s.a"]),
    ("can't cats' dog's CATS'S it's", ["can't", "cat", "dog", "cat"]),
    ("3.14 1,000.50 1;2 1:2 a1.b 1a.b", ["3.14", "1,000.50", "1;2", "1", "2", "a1", "b", "1a.b"]),
    ("foo_bar __ _x_ a:b a;b a..b", ["foo_bar", "_x_", "a:b", "b", "b"]),
    (
        "e-mail bob@example.com http://www.example.org/a_b?c=d#e",
        ["e", "mail", "bob", "example.com", "http", "www.example.org", "a_b", "c", "d", "e"],
    ),
    ("\u0130stanbul ΣΑΣ ΟΔΟΣ Straße \ufb01ne", ["istanbul", "σασ", "οδοσ", "straße", "\ufb01ne"]),  # noqa: RUF001
    ("日本語 カタカナ語 ひらがな", ["日", "本", "語", "カタカナ", "語", "ひ", "ら", "が", "な"]),
    ("한국어 검색 엔진", ["한국어", "검색", "엔진"]),
    ("ไทยภาษา ລາວ ភាសា", ["ไทยภาษา", "ລາວ", "ភាសា"]),
    (
        "👍🏽 👩\u200d👩\u200d👧 🇩🇪🇫🇷 1\ufe0f\u20e3 #\ufe0f\u20e3 ❤\ufe0f a😀b ♪ ♔",
        ["👍🏽", "👩\u200d👩\u200d👧", "🇩🇪", "🇫🇷", "1\ufe0f\u20e3", "#\ufe0f\u20e3", "❤\ufe0f", "😀", "b", "♪", "♔"],
    ),
    ("e\u0301a x\u200dy so\u00adft a\u0301s", ["e\u0301a", "x\u200dy", "so\u00adft", "a\u0301"]),
    ("אב\"ג צ'ק", ['אב"ג', "צ'ק"]),
    ("٣٫١٤ \uff10\uff11\uff12 ½ x² Ⅷ", ["٣٫١٤", "\uff10\uff11\uff12", "x", "ⅷ"]),  # noqa: RUF001
    (
        "analogy analogically apologize geology logi bly ably",
        ["analog", "analog", "apolog", "geologi", "logi", "bly", "abli"],
    ),
    (
        "relational conditional rationally digitizer conformably radically",
        ["relat", "condit", "ration", "digit", "conform", "radic"],
    ),
    (
        "hopping hoping skies dies ties caresses ponies as us is 's x's",
        ["hop", "hope", "ski", "di", "ti", "caress", "poni", "us", "s", "x"],
    ),
    ("sky syzygy yes flying agreed feed bled", ["sky", "syzygi", "ye", "fly", "agre", "feed", "bled"]),
    ("C++ C# .NET node.js v1.2.3 x86_64 10th", ["c", "c", "net", "node.j", "v1.2.3", "x86_64", "10th"]),
    ('AND OR "title:x"~3^2 -(y) [a TO z] \\ a*b?', ["title:x", "3", "2", "y", "z", "b"]),
    ("\u2028a\x00b\x85c\ufeffd", ["b", "c\ufeffd"]),
    ("", []),
    ("the and of", []),
]


@pytest.mark.parametrize(("text", "terms"), GOLDEN)
def test_english_terms_are_those_of_lucene(text, terms):
    assert Analyzer()(text) == terms


@pytest.mark.parametrize(
    ("length", "text", "pieces"),
    [
        (255, "a" * 255, [255]),
        (256, "a" * 256, [255, 1]),
        (600, "a" * 600, [255, 255, 90]),
        (600, "é" * 600, [255, 255, 90]),
        (300, "ab." * 300, [254, 254, 254, 134]),
    ],
)
def test_a_long_word_is_cut_as_lucene_cuts_it(length, text, pieces):
    assert [len(word) for word in words(text)] == pieces


def test_a_very_long_word_is_cut_in_linear_time():
    start = time.process_time()
    assert sum(map(len, words("é" * 1_000_000))) == 1_000_000
    assert time.process_time() - start < 10


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(max_codepoint=127)) | st.text("aZ09_.:',;s \t", max_size=30))
def test_the_short_rules_for_ascii_agree_with_the_full_ones(text):
    text = lower(text)
    found = [word for word in _ascii_words().findall(text) if word.strip("_")]
    assert found == _unicode_words().findall(text)


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(max_codepoint=127)) | st.text("aZ09_.:',;s \t\n", max_size=30) | st.text("aZ09_- +"))
def test_words_of_ascii_are_those_that_the_rules_find_with_marks_among_them_or_without(text):
    assert words(text) == _ascii_words().findall(text.lower())


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_any_text_has_terms_and_none_of_them_is_empty(text):
    assert all(Analyzer()(text))
    assert Analyzer()(text) == Analyzer()(text.swapcase().swapcase()) or not text.isascii()


def test_lone_surrogates_are_no_words():
    assert words("a \ud800 b\udfffc") == ["a", "b", "c"]


def test_there_are_33_english_stop_words_and_none_in_other_languages():
    assert len(ENGLISH_STOPWORDS) == 33
    assert Analyzer()("the cat") == ["cat"]
    assert Analyzer("german")("der Hund") == ["der", "hund"]


def test_other_languages_get_their_snowball_stemmer():
    assert Analyzer("german")("Häuser Dörfer") == ["haus", "dorf"]
    assert Analyzer("french")("continuellement majestés") == ["continuel", "majest"]


def test_stemmer_and_stop_words_can_be_chosen():
    assert Analyzer(stemmer=None, stopwords=())("The Running dog's") == ["the", "running", "dog"]
    assert Analyzer(stopwords=["dog"])("The dog") == ["the"]
    assert Analyzer(stemmer="english")("possibly") == ["possibl"]
    assert Analyzer("thai", stemmer=None)("Cats") == ["cats"]


@pytest.mark.parametrize("given", ["english", b"the", 5, True, {"the": 1}, ["the", 5], [["the"]]])
def test_stop_words_that_are_no_list_of_words_are_refused(given):
    with pytest.raises(BadInput, match=r'stopwords .*; a list of words is accepted, such as \["the", "of"\]'):
        Analyzer(stopwords=given)


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_stop_words_may_be_any_list_or_set(kind):
    assert Analyzer(stopwords=kind(["dog", "cat"]))("the dog") == ["the"]


def test_unknown_languages_and_stemmers_are_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="german"):
        Analyzer("germann")
    with pytest.raises(UnknownName, match="stemmer=None"):
        Analyzer("klingon")


def test_porters_own_departures_from_his_paper_are_kept():
    stem = stemmer("porter")
    assert stem("possibly") == stem("possible")
    assert stem("apologies") == stem("apologied") == stem("apologying") == "apolog"
    assert [stem(word) for word in ("trekking", "revved", "skyjjacked", "buzzing")] == [
        "trek",
        "rev",
        "skyjjack",
        "buzz",
    ]
    assert [stem(word) for word in ("as", "ys", "logy", "bli")] == ["as", "ys", "logi", "bli"]


def test_settings_tell_analyzers_apart():
    assert Analyzer().settings == Analyzer("english", "porter", sorted(ENGLISH_STOPWORDS)).settings
    assert Analyzer().settings != Analyzer(stopwords=()).settings
    assert "english" in repr(Analyzer())


@given(st.text(st.characters(max_codepoint=127), max_size=60), st.integers(0, 300))
def test_words_have_their_places_and_those_of_ascii_are_found_by_the_rules_for_all_scripts(text, longer):
    text = lower(text + "x" * longer)
    found = list(spans(text))
    assert [word for _, _, word in found] == [word for word in words(text) if word.strip("_")]
    assert all(text[start:stop] == word for start, stop, word in found)
    beyond = f"{text} \N{GREEK SMALL LETTER ALPHA}"  # which has the other rules read it
    assert list(spans(beyond))[:-1] == found
