"""Languages other than English: the terms of Lucene's analysers for a page of text each, stored and asked for anew."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

import nirank
from nirank.data import Documents, Queries
from nirank.errors import UnknownName
from nirank.kit.text import Analyzer
from nirank_lexical import rankers
from tests.flat import flat
from tests.plugins.test_lexical_lucene import lucene  # noqa: F401 (a fixture)

BM25 = flat(rankers.BM25)
#: Own texts, with the terms that Lucene's analysers (the jar of pyserini 1.6) made of them.
PAGES = json.loads((Path(__file__).parents[1] / "fixtures" / "languages.json").read_text(encoding="utf-8"))
ELIDED = {"french": ("l{}avion", "avion"), "italian": ("dell{}arte", "arte"), "catalan": ("l{}illa", "illa")}


def _terms(language, text):
    return Analyzer(language, rules="lucene")(text)


@pytest.mark.parametrize("language", PAGES)
def test_a_page_has_lucenes_terms(language):
    assert _terms(language, PAGES[language]["text"]) == PAGES[language]["terms"].split()


@pytest.mark.lucene
def test_the_stored_terms_are_those_of_lucene_itself(lucene):  # noqa: F811
    for language, page in PAGES.items():
        assert lucene([page["text"]], page["analyzer"]) == [page["terms"].split()], language


@pytest.mark.lucene
@pytest.mark.parametrize("language", PAGES)
def test_words_in_other_forms_have_lucenes_terms(lucene, language):  # noqa: F811
    """Every pair of neighbouring words grown together, capitals, and the endings of some at the stems of others."""
    words = PAGES[language]["text"].split()
    endings = [word[-4:] for word in words if len(word) > 6]
    texts = [a + b for a, b in pairwise(words)] + [word.upper() for word in words]
    texts += [word[:6] + ending for word in words for ending in endings[:60]]
    assert len(texts) > 10
    analyzer = Analyzer(language, rules="lucene")
    theirs = lucene(texts, PAGES[language]["analyzer"])
    assert [(text, a, b) for text, a, b in zip(texts, map(analyzer, texts), theirs, strict=True) if a != b] == []


@pytest.mark.parametrize("language", PAGES)
def test_decomposed_letters_are_the_composed_ones(language):
    text = PAGES[language]["text"]
    assert _terms(language, unicodedata.normalize("NFD", text)) == _terms(language, text)


@pytest.mark.parametrize("language", ELIDED)
def test_elisions_are_cut_off_with_either_apostrophe(language):
    pattern, term = ELIDED[language]
    stem = _terms(language, term)
    assert stem == _terms(language, pattern.format("'")) == _terms(language, pattern.format("\u2019"))
    assert stem == _terms(language, pattern.format("\u2019").upper())


def test_turkish_capitals_are_those_of_its_own_letters():
    dotless = "\N{LATIN SMALL LETTER DOTLESS I}"
    assert _terms("turkish", "ISPARTA") == _terms("turkish", f"{dotless}sparta") != _terms("turkish", "isparta")
    assert _terms("turkish", "\u0130zmir\u2019den") == _terms("turkish", "izmir") == _terms("turkish", "I\u0307zmir")


@pytest.mark.parametrize("language", ["french", "turkish", "korean", "danish"])
def test_other_rules_are_what_indexes_had_before(language):
    old = {"language": language, "stemmer": None, "stopwords": []}
    assert Analyzer(language, None, ()).settings == old == Analyzer(**old).settings
    assert BM25(language=language, stemmer=None, stopwords=[], rules="snowball").analyzer.settings == old


def test_settings_make_the_same_analyzer_again():
    for language, page in PAGES.items():
        settings = Analyzer(language, rules="lucene").settings
        assert settings["rules"] == "lucene"
        assert Analyzer(**json.loads(json.dumps(settings)))(page["text"]) == page["terms"].split()
    assert "rules" not in Analyzer(rules="lucene").settings  # English has the same terms by either


def test_unknown_rules_are_refused():
    with pytest.raises(UnknownName, match="rules of languages 'luzene'"):
        Analyzer("french", rules="luzene")


def test_bm25_finds_across_apostrophes_capitals_and_forms_of_letters():
    corpus = Documents(["a", "b"], ["Il prend l\u2019été comme il vient.", "Une autre page."])
    bm25 = nirank.load("bm25", language="french")
    for text in ("ETE", "l'été", "L\u2019E\u0301TE\u0301"):
        found = bm25.search(Queries.of([text]), corpus)
        assert found[0][0].tolist() == ([] if text == "ETE" else [0])


@pytest.mark.lucene
@pytest.mark.parametrize("language", ["french", "german", "turkish", "chinese", "finnish", "hungarian"])
def test_bm25_of_a_language_scores_as_lucene(language):
    pytest.importorskip("jnius_config")
    pytest.importorskip("pyserini")
    sentences = PAGES[language]["text"].replace("。", ".\n").replace(". ", ".\n").splitlines()
    corpus = Documents([str(number) for number in range(len(sentences))], sentences)
    ours = nirank.load("bm25", language=language, lengths="byte").search(Queries.of(sentences), corpus)
    theirs = nirank.load("lucene", language=language).search(Queries.of(sentences), corpus)
    assert ours.docs.tolist() == theirs.docs.tolist()
    assert ours.scores.tolist() == pytest.approx(theirs.scores.tolist(), rel=1e-6)
