"""Passages of documents, searched and scored: equal to a slow loop over passages that are documents themselves."""

from __future__ import annotations

import random

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Documents, PassageCorpus, Queries, write_corpus
from nirank.errors import BadInput, CompositionError, UnknownName
from nirank.kit.text import Cutting
from nirank.testing import samples, save_bert

WORDS = ["cat", "dog", "bridge", "river", "small", "old", "house", "garden", "tree", "bird"]
RANDOM = random.Random(7)
TEXTS = [" ".join(RANDOM.choices(WORDS, k=RANDOM.randrange(60))) for _ in range(40)] + ["", "cat", "  cat \n\n dog\t"]
CORPUS = Documents([f"d{number}" for number in range(len(TEXTS))], TEXTS)
QUERIES = Queries(["1", "2", "3", "4"], ["cat river", "old", "small tree bird", "nothing of the kind"])


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def encoder():
    return nirank.load(samples.LetterEncoder(), "letters")


def _windows(text, size, stride):
    """The passages of a text, word by word."""
    words, found, start = text.split(), [], 0
    while True:
        found.append(" ".join(words[start : start + size]))
        if start + size >= len(words):
            return found
        start += stride


def _as_documents(size, stride, texts=TEXTS):
    """Every passage as a document, and the document that each is of."""
    cut = [
        (owner, number, part)
        for owner, text in enumerate(texts)
        for number, part in enumerate(_windows(text, size, stride))
    ]
    corpus = Documents([f"d{owner}#{number}" for owner, number, _ in cut], [part for _, _, part in cut])
    return corpus, [owner for owner, _, _ in cut]


def _folded(values, fold, best=None):
    if fold == "mean":
        return float(np.mean(sorted(values, reverse=True)[: best or len(values)]))
    return values[0] if fold == "first" else max(values)


def _slowly_found(ranking, size, stride, k, fold="max"):
    """All passages found, then for each query a dictionary of documents, sorted by Python."""
    corpus, owners = _as_documents(size, stride)
    found = (ranking % len(corpus)).search(QUERIES, corpus)
    lists = []
    for row in range(len(found)):
        scores = {}
        for passage, score in zip(*map(np.ndarray.tolist, found[row]), strict=True):
            if fold == "max" or corpus.ids[passage].endswith("#0"):
                scores[owners[passage]] = max(score, scores.get(owners[passage], -np.inf))
        lists.append(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:k])
    return lists


def _lists(found):
    return [list(zip(*map(np.ndarray.tolist, found[row]), strict=True)) for row in range(len(found))]


# How documents are cut


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 3), (5, 2), (7, 4), (100, 50)])
def test_words_are_cut_as_a_loop_cuts_them(size, stride):
    corpus, owners = _as_documents(size, stride)
    passages = PassageCorpus(CORPUS, Cutting(words=size, stride=stride))
    assert [" ".join(text.split()) for text in passages] == list(corpus)
    assert list(passages.ids) == list(corpus.ids)
    assert passages.owners(np.arange(len(passages))).tolist() == owners
    starts, stops = passages.extents(np.arange(len(passages)))
    assert [TEXTS[owner][start:stop] for owner, start, stop in zip(owners, starts, stops, strict=True)] == list(
        passages
    )


def test_a_passage_is_a_slice_of_its_document_with_all_white_space():
    passages = PassageCorpus(Documents(["a"], ["  one \n two\u3000three\x1cfour  "]), Cutting(words=2, stride=2))
    assert list(passages) == ["one \n two", "three\x1cfour"]
    assert passages[1] == "three\x1cfour"
    assert passages[np.array([1, 0, 1])] == ["three\x1cfour", "one \n two", "three\x1cfour"]


def test_documents_without_words_are_one_passage():
    passages = PassageCorpus(Documents(["a", "b", "c"], ["", " \n ", "x"]), Cutting(words=2))
    assert (list(passages), list(passages.ids)) == (["", "", "x"], ["a#0", "b#0", "c#0"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you?  Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("Pi is 3.14. It is e.g. this, i.e. that.", ["Pi is 3.14.", "It is e.g. this, i.e. that."]),
        ('He said "Go." Then (he left.) So?!', ['He said "Go."', "Then (he left.)", "So?!"]),
        ("a line\ngoes on. Here\n\na new part", ["a line\ngoes on.", "Here", "a new part"]),
        ("東京。大阪。", ["東京。", "大阪。"]),
        ("no end", ["no end"]),
        ("U.S.A. is it", ["U.S.A. is it"]),
    ],
)
def test_sentences_end_as_the_annex_says(text, expected):
    assert list(PassageCorpus(Documents(["a"], [text]), Cutting(sentences=1, stride=1))) == expected


def test_sentences_may_overlap():
    text = Documents(["a"], ["One. Two. Three. Four."])
    assert list(PassageCorpus(text, Cutting(sentences=2, stride=1))) == ["One. Two.", "Two. Three.", "Three. Four."]


def test_tokens_are_those_of_a_tokenizer(tmp_path):
    pytest.importorskip("transformers")
    save_bert(tmp_path / "model")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    passages = PassageCorpus(CORPUS, Cutting(tokens=8, stride=5, tokenizer=str(tmp_path / "model")))
    for owner, text in enumerate(TEXTS):
        places = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        starts = range(0, max(1, len(places) - 3), 5)
        expected = [text[places[start][0] : places[start : start + 8][-1][1]] if places else "" for start in starts]
        assert passages[passages.offsets[owner] : passages.offsets[owner + 1]] == expected


def test_what_is_cut_may_be_a_field_with_another_before_it(tmp_path):
    rows = [{"id": ["a", "b"], "title": ["T", ""], "text": ["one two three", "four"]}]
    corpus = write_corpus(tmp_path / "c.arrow", rows)
    assert list(PassageCorpus(corpus, Cutting(words=2, stride=2))) == ["T one", "two three", "four"]
    assert list(PassageCorpus(corpus, Cutting(words=2, stride=2, field="text"))) == ["one two", "three", "four"]
    titled = PassageCorpus(corpus, Cutting(words=2, stride=2, field="text", title="title"))
    assert list(titled) == ["T one two", "T three", "four"]
    with pytest.raises(BadInput, match="no field 'body'"):
        PassageCorpus(corpus, Cutting(field="body"))


def test_fingerprints_tell_corpora_settings_and_titles_apart(tmp_path):
    rows = [{"id": ["a", "b"], "title": ["T", "U"], "text": ["one two three", "four"]}]
    corpus = write_corpus(tmp_path / "c.arrow", rows)
    cuts = [
        Cutting(words=2),
        Cutting(words=2, stride=2),
        Cutting(sentences=2),
        Cutting(words=2, field="text"),
        Cutting(words=2, field="title"),
        Cutting(words=2, field="text", title="title"),
    ]
    prints = [
        PassageCorpus(one, cut).fingerprint for one in (corpus, CORPUS) for cut in cuts[: 3 if one is CORPUS else 9]
    ]
    assert len({*prints, corpus.fingerprint}) == len(prints) + 1
    assert PassageCorpus(corpus, cuts[0]).fingerprint == prints[0]


# Rankings


@pytest.mark.parametrize("fold", ["max", "first"])
@pytest.mark.parametrize(("size", "stride", "k"), [(3, 1, 5), (1, 1, 7), (5, 5, 1000), (4, 2, 43)])
def test_a_ranking_finds_what_a_loop_over_all_passages_finds(size, stride, k, fold):
    bm25 = nirank.load("bm25")
    found = (nirank.passages(bm25, words=size, stride=stride, fold=fold) % k).search(QUERIES, CORPUS)
    assert found.is_ranked()
    assert found.corpus is CORPUS
    assert list(found.query_ids) == list(QUERIES.ids)
    for mine, slow in zip(_lists(found), _slowly_found(bm25, size, stride, k, fold), strict=True):
        assert mine == slow


def test_a_ranking_asks_until_there_are_documents_enough():
    long = Documents(["long", *"abcde"], ["cat " * 500, *["dog cat"] * 5])
    asked = []

    class Counting:
        def __init__(self, inner):
            self.inner, self.index_key = inner, inner.index_key
            self.build, self.open = inner.build, inner.open

        def generate(self, queries, k):
            asked.append((len(queries), k))
            return self.inner.generate(queries, k)

    counting = nirank.load(Counting(nirank.load("bm25").component.target), "counting")
    found = (nirank.passages(counting, words=1, stride=1) % 3).search(["cat", "dog"], long)
    assert found.lengths.tolist() == [3, 3]
    assert found[0][0].tolist() == [0, 1, 2]
    assert asked[:2] == [(2, 6), (1, 24)], "only the query that lacks documents is asked again, deeper"
    assert asked[-1][1] >= 500


def test_a_cut_inside_is_what_was_asked_for():
    found = nirank.passages(nirank.load("bm25") % 4, words=3).search(QUERIES, CORPUS)
    assert found.longest <= 4


def test_dense_vectors_of_passages_are_searched(encoder):
    exact = nirank.load("exact")
    found = (nirank.passages(encoder >> exact, words=3, stride=1) % 10).search(QUERIES, CORPUS)
    corpus, owners = _as_documents(3, 1)
    vectors = encoder.component.target
    scores = np.array(vectors.encode(QUERIES)) @ np.array(vectors.encode_documents(list(corpus))).T
    for row, own in enumerate(_lists(found)):
        best = {}
        for owner, score in zip(owners, scores[row].tolist(), strict=True):
            best[owner] = max(score, best.get(owner, -np.inf))
        slow = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
        np.testing.assert_allclose([score for _, score in own], [score for _, score in slow], rtol=1e-5)


def test_one_component_searches_passages_and_documents_in_one_pipeline():
    bm25 = nirank.load("bm25")
    whole, cut = (bm25 % 10).search(QUERIES, CORPUS), (nirank.passages(bm25, words=3) % 10).search(QUERIES, CORPUS)
    passaged = nirank.passages(bm25, words=3) % 10
    both = (passaged | bm25 % 10) >> bm25 + nirank.passages(bm25, words=3)
    twice = [both.search(QUERIES, CORPUS) for _ in range(2)]
    assert _lists(twice[0]) == _lists(twice[1])
    assert {(row, doc) for row, own in enumerate(_lists(twice[0])) for doc, _ in own} == {
        (row, doc) for some in (whole, cut) for row, own in enumerate(_lists(some)) for doc, _ in own
    }
    assert _lists((bm25 % 10).search(QUERIES, CORPUS)) == _lists(whole)
    fused = nirank.fuse(passaged, bm25 % 10)
    others = nirank.fuse(nirank.passages(nirank.load("bm25"), words=3) % 10, nirank.load("bm25") % 10)
    assert _lists(fused.search(QUERIES, CORPUS)) == _lists(others.search(QUERIES, CORPUS))


def test_feedback_inside_is_that_of_passages():
    bm25, rm3 = nirank.load("bm25"), nirank.load("rm3")
    found = (nirank.passages(bm25 % 5 >> rm3 >> bm25, words=3, stride=3) % 8).search(QUERIES, CORPUS)
    slow = _slowly_found(bm25 % 5 >> rm3 >> bm25, 3, 3, 8)
    for mine, own in zip(_lists(found), slow, strict=True):
        assert [doc for doc, _ in mine] == [doc for doc, _ in own]


def test_lists_that_come_with_queries_are_all_passages_of_their_documents():
    given = Candidates.of([[3, 5], [7], [], [1]], corpus=CORPUS)
    scored = nirank.passages(nirank.load("given") >> nirank.load("bm25"), words=3, stride=1)
    found = scored.search(QUERIES.with_found(given), CORPUS)
    assert [sorted(doc for doc, _ in own) for own in _lists(found)] == [[3, 5], [7], [], [1]]
    expected = (nirank.load("given") >> nirank.passages(nirank.load("bm25"), words=3, stride=1)).search(
        QUERIES.with_found(given), CORPUS
    )
    assert _lists(found) == _lists(expected)


def test_an_index_of_passages_is_kept_and_updated(tmp_path):
    ranking = nirank.passages(nirank.load("bm25"), words=3)
    ranking.index(CORPUS, tmp_path / "indexes")
    folders = sorted((tmp_path / "indexes").glob("*/manifest.json"))
    assert len(folders) == 1
    again = nirank.passages(nirank.load("bm25"), words=3)
    again.index(CORPUS, str(tmp_path / "indexes"))
    assert [path.stat().st_mtime_ns for path in folders] == [
        path.stat().st_mtime_ns for path in sorted((tmp_path / "indexes").glob("*/manifest.json"))
    ]
    grown = Documents([*CORPUS.ids, "new"], [*TEXTS, "a bird in a new tree"])
    again.index(grown, tmp_path / "indexes", since=CORPUS)
    new = nirank.passages(nirank.load("bm25"), words=3).search("new", grown)
    assert new.docs.tolist() == [len(TEXTS)]


# Scorings


@pytest.mark.parametrize(("fold", "best"), [("max", None), ("first", None), ("mean", None), ("mean", 2), ("mean", 100)])
def test_a_scoring_is_the_fold_of_the_scores_of_all_passages(overlap, fold, best):
    scorer = nirank.load(overlap, "overlap")
    candidates = Candidates.of([[41, 3, 0, 40], [], [5, 6], np.arange(len(TEXTS))], corpus=CORPUS)
    scores = nirank.passages(scorer, words=4, stride=2, fold=fold, best=best).score(QUERIES, candidates)
    expected = []
    for row, doc in zip(candidates.rows.tolist(), candidates.docs.tolist(), strict=True):
        parts = _windows(TEXTS[doc], 4, 2)
        pairs = Candidates.of([np.arange(len(parts))], corpus=Documents([*map(str, range(len(parts)))], parts))
        expected.append(_folded(overlap.score(QUERIES.take([row]), pairs).tolist(), fold, best))
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert scores.dtype == np.float32


def test_a_scorer_with_an_index_has_the_statistics_of_all_passages():
    bm25 = nirank.load("bm25")
    candidates = Candidates.of([[0, 3], [1], [2], []], corpus=CORPUS)
    scores = nirank.passages(bm25, words=3, stride=1).score(QUERIES, candidates)
    corpus, owners = _as_documents(3, 1)
    pairs = Candidates.of(
        [[at for at, owner in enumerate(owners) if owner in docs] for docs in ([0, 3], [1], [2], [])], corpus=corpus
    )
    slow = {}
    for row, passage, score in zip(pairs.rows, pairs.docs, bm25.score(QUERIES, pairs), strict=True):
        slow[row, owners[passage]] = max(float(score), slow.get((row, owners[passage]), -np.inf))
    expected = [slow[row, doc] for row, doc in zip(candidates.rows, candidates.docs, strict=True)]
    assert scores.tolist() == expected


def test_sums_and_features_of_passages(overlap):
    bm25, scorer = nirank.load("bm25"), nirank.load(overlap, "overlap")
    first = bm25 % 10
    both = first >> nirank.passages(0.5 * bm25 + scorer, words=3)
    assert both.search(QUERIES, CORPUS).is_ranked()
    described = nirank.features(nirank.passages(scorer, words=3), scorer).of(QUERIES, first.search(QUERIES, CORPUS))
    assert described.names[0] == "passages(overlap, words=3, fold='max')"


def test_documents_beyond_the_corpus_are_refused(overlap):
    scoring = nirank.passages(nirank.load(overlap, "overlap"))
    with pytest.raises(BadInput, match="not in the corpus"):
        scoring.score(QUERIES, Candidates.of([[len(TEXTS)], [], [], []], corpus=CORPUS))
    assert scoring.score(QUERIES, Candidates.empty(4, CORPUS)).shape == (0,)


# Expressions, and what is refused


@pytest.mark.parametrize(
    "text",
    [
        "passages(bm25, words=100, stride=50, fold='max')",
        "passages(bm25, sentences=3, fold='first') % 10",
        "(bm25 % 100) >> (passages(ql, words=150, fold='mean', best=3))",
        "passages(fuse(bm25, ql, method='rrf'), words=20, field='text', title='title', fold='max')",
    ],
)
def test_expressions_are_their_own_repr(text):
    assert repr(nirank.parse(text)) == text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": 3, "sentences": 2}, "one unit"),
        ({"words": 0}, "whole number"),
        ({"words": True}, "whole number"),
        ({"words": 3, "stride": 4}, "leave out"),
        ({"tokens": 3}, "tokenizer"),
        ({"tokenizer": "x"}, "tokenizer"),
        ({"field": 3}, "not a text"),
    ],
)
def test_settings_that_cannot_be_are_told(settings, message):
    with pytest.raises(BadInput, match=message):
        nirank.passages(nirank.load("bm25"), **settings)


def test_unknown_settings_and_folds_are_told():
    with pytest.raises(UnknownName, match="word"):
        nirank.passages(nirank.load("bm25"), word=3)
    with pytest.raises(UnknownName, match="maximum"):
        nirank.passages(nirank.load("bm25"), fold="maximum")
    with pytest.raises(CompositionError, match="best"):
        nirank.passages(nirank.load("bm25"), best=3)


def test_what_cannot_stand_over_passages_is_refused(encoder, overlap):
    bm25, exact = nirank.load("bm25"), nirank.load("exact")
    with pytest.raises(CompositionError, match=r"their mean needs all.*passages\(SCORER"):
        nirank.passages(bm25 % 10, fold="mean")
    with pytest.raises(CompositionError, match=r"others\(passages"):
        nirank.passages(nirank.others(bm25))
    with pytest.raises(CompositionError, match="encoder >> exact"):
        nirank.passages(exact)
    with pytest.raises(CompositionError, match="does not order"):
        nirank.passages(bm25 | encoder >> exact)
    with pytest.raises(CompositionError, match="field='title'"):
        nirank.passages(nirank.load("bm25", field="title"))
    with pytest.raises(CompositionError, match="finds none"):
        nirank.passages(encoder).search("cat", CORPUS)
    with pytest.raises(BadInput, match="only texts"):
        nirank.passages(bm25).search("cat", Documents(["a"], [b"\x89PNG"]))


# What PyTerrier's own tests of passages say (tests/test_text.py)


def test_a_title_stands_before_each_passage_as_in_sliding(tmp_path):
    corpus = write_corpus(tmp_path / "c.arrow", [{"id": ["doc1"], "title": ["title"], "text": ["body sentence"]}])
    cut = PassageCorpus(corpus, Cutting(words=1, stride=1, field="text", title="title"))
    assert (list(cut), list(cut.ids)) == (["title body", "title sentence"], ["doc1#0", "doc1#1"])


@pytest.mark.parametrize(
    ("fold", "best", "score"), [("max", None, 1), ("first", None, 1), ("mean", None, 0.5), ("mean", 2, 0.5)]
)
def test_folds_are_those_of_depassaging(fold, best, score):
    class Fixed:
        def score(self, queries, candidates):
            return [{"body": 1.0, "sentence": 0.0}[text] for text in candidates.corpus[candidates.docs]]

    corpus = Documents(["doc1"], ["body sentence"])
    scoring = nirank.passages(nirank.load(Fixed()), words=1, stride=1, fold=fold, best=best)
    assert scoring.score(Queries.of("a query"), Candidates.of([[0]], corpus=corpus)).tolist() == [score]


# Experiments


def test_an_experiment_runs_over_passages(tmp_path):
    (tmp_path / "e.toml").write_text(
        'collection = "emoji"\n[pipelines]\nwhole = "bm25 % 20"\n'
        "cut = \"passages(bm25, words=2, stride=1) % 20 >> passages(ql, words=2, fold='mean')\"\n"
        "[stage.bm25]\nk1 = 0.5\n"
    )
    results = nirank.run(tmp_path / "e.toml", tmp_path / "out")
    assert {*results.systems} == {"whole", "cut"}
    assert not results.failed
