"""Features by name: against lexical search, against plain loops over one pair at a time, by field and by name."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("regex")

import nirank
from nirank.data import Candidates, Documents, Queries, write_corpus
from nirank.errors import BadInput, StaleIndex, UnknownName
from nirank.execution import indexes
from nirank.kit.text import Analyzer
from nirank_ltr.manual import Manual, _cuts
from nirank_ltr.matches import FEATURES
from tests.flat import built

DOCUMENTS = [
    "a small cat sat on the warm mat",
    "the dog ran over a long bridge and the dog ran back",
    "cat cat cat dog",
    "",
    "small dog small cat cat small",
    "the of and",
    "ünïcödé 東京 zebra 東京 🙂",
    "dog cat mat bridge zebra " * 40,
    "red cat green small blue yellow white black mat",
]
QUERIES = [
    "small cat",
    "cat cat",
    "the dog ran",
    "",
    "the",
    "cat",
    "unknown cat",
    "東京 zebra",
    "unheard of",
    "dog cat mat bridge dog cat",
    "small cat mat",
]


@pytest.fixture
def corpus():
    return Documents([f"d{number}" for number in range(len(DOCUMENTS))], DOCUMENTS)


def _every_pair(queries, corpus):
    return Candidates.of([range(len(corpus))] * len(queries), corpus=corpus)


def _features(queries, corpus, candidates=None, **settings):
    extractor = nirank.load("manual", **settings)
    candidates = candidates or _every_pair(queries, corpus)
    return nirank.features(extractor).of(Queries.of(queries), candidates)


class Slow:
    """The definitions of `nirank_ltr.matches`, one pair at a time."""

    def __init__(self, documents, window=8):
        self.analyzer, self.window = Analyzer(), window
        self.texts = [self.analyzer(text) for text in documents]
        self.total = sum(map(len, self.texts))

    def df(self, term):
        return sum(term in text for text in self.texts)

    def cf(self, term):
        return sum(text.count(term) for text in self.texts)

    def idf(self, term):
        return math.log(1 + (len(self.texts) - self.df(term) + 0.5) / (self.df(term) + 0.5))

    def features(self, query, text):
        tokens = self.analyzer(query)
        in_order = [token for token in tokens if self.df(token)]
        known = sorted(set(in_order))
        tf = {term: text.count(term) for term in known}
        met = [term for term in known if tf[term]]
        told = self.models(in_order, tf, text)
        told |= {"matched": len(met), "matched_share": len(met) / max(1, len(known))}
        told |= {"idf": sum(map(self.idf, met))}
        told |= {"idf_share": told["idf"] / (sum(map(self.idf, known)) or 1)}
        values = {
            "tf": tf,
            "norm_tf": {term: tf[term] / max(1, len(text)) for term in known},
            "tf_idf": {term: tf[term] * self.idf(term) for term in known},
        }
        for name, column in values.items():
            numbers = list(column.values()) or [0]
            told |= {f"{name}_sum": sum(numbers), f"{name}_min": min(numbers), f"{name}_max": max(numbers)}
            told |= {f"{name}_mean": sum(numbers) / len(numbers)}
        return told | {"length": len(text), "query_length": len(tokens)} | self.near(tokens, met, text)

    def models(self, tokens, tf, text):
        n, length, average = len(self.texts), len(text), self.total / len(self.texts)
        bm25 = dirichlet = mercer = tfidf = 0.0
        for token in tokens:
            share = self.cf(token) / self.total
            dirichlet += math.log((tf[token] + 1000 * share) / (length + 1000)) - math.log(share)
            if tf[token]:
                bm25 += self.idf(token) * tf[token] / (tf[token] + 0.9 * (0.6 + 0.4 * length / average))
                mercer += math.log(1 + 0.9 * tf[token] / (0.1 * length * share))
                tfidf += math.sqrt(tf[token]) * (1 + math.log((n + 1) / (self.df(token) + 1))) ** 2 / math.sqrt(length)
        return {"bm25": bm25, "ql_dirichlet": dirichlet, "ql_jelinek_mercer": mercer, "tfidf": tfidf}

    def near(self, tokens, met, text):
        places = range(len(text))
        whole = [place for place in places if tokens and text[place : place + len(tokens)] == tokens]
        pairs = list(itertools.combinations(places, 2))
        ordered = unordered = 0
        for one, other in itertools.pairwise(tokens):
            ordered += sum(text[place : place + 2] == [one, other] for place in places)
            unordered += sum({text[a], text[b]} == {one, other} and b - a < self.window for a, b in pairs)
        apart = [b - a for a, b in pairs if text[a] != text[b] and {text[a], text[b]} <= set(met)]
        pieces = [b - a for a in places for b in range(a + 1, len(text) + 1) if set(met) <= set(text[a:b])]
        told = {"phrase": len(whole), "ordered": ordered, "unordered": unordered}
        told |= {"min_distance": min(apart, default=len(text)), "min_cover": min(pieces) if met else 0}
        return told | {"proximity": math.log(0.3 + math.exp(-told["min_distance"]))}


@pytest.mark.parametrize("window", [2, 4, 8])
def test_every_feature_is_that_of_its_definition(corpus, window):
    slow = Slow(DOCUMENTS, window)
    found = _features(QUERIES, corpus, window=window)
    assert found.names == tuple(FEATURES)
    pairs = [slow.features(query, text) for query in QUERIES for text in slow.texts]
    for column, name in enumerate(found.names):
        expected = [pair[name] for pair in pairs]
        np.testing.assert_allclose(found.values[:, column], expected, rtol=2e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("name", "ranker", "settings"),
    [
        ("bm25", "bm25", {}),
        ("ql_dirichlet", "ql", {}),
        ("ql_jelinek_mercer", "ql", {"smoothing": "jelinek-mercer"}),
        ("tfidf", "tfidf", {}),
    ],
)
def test_models_are_those_of_lexical_search_to_the_bit(shared, name, ranker, settings):
    vaswani = nirank.collection(f"beir:{shared('wikiqa')}", split="dev")
    ranking = nirank.load(f"generator/{ranker}", **settings) % 50
    found = ranking.search(vaswani.queries, vaswani.corpus)
    values = _features(vaswani.queries, vaswani.corpus, found, names=[name]).values
    assert found.pairs > 1000
    np.testing.assert_array_equal(values[:, 0], found.scores)


def test_settings_of_models_are_theirs(corpus):
    candidates, queries = _every_pair(QUERIES, corpus), Queries.of(QUERIES)
    ours = _features(QUERIES, corpus, k1=1.6, b=0.7, mu=20.0, lambda_=0.6, names=["bm25", "ql_dirichlet"]).values
    bm25, ql = nirank.load("scorer/bm25", k1=1.6, b=0.7), nirank.load("scorer/ql", mu=20.0)
    np.testing.assert_array_equal(ours[:, 0], bm25.score(queries, candidates))
    np.testing.assert_array_equal(ours[:, 1], ql.score(queries, candidates))


def test_names_choose_features_and_their_order(corpus):
    every = _features(QUERIES, corpus)
    some = _features(QUERIES, corpus, names=["length", "phrase", "bm25"])
    assert some.names == ("length", "phrase", "bm25")
    columns = [every.names.index(name) for name in some.names]
    np.testing.assert_array_equal(some.values, every.values[:, columns])


@pytest.fixture
def fields(tmp_path):
    titles = ["cats", "", "the dog", "of", "zebra dog"]
    texts = ["a small cat", "dog and cat", "", "small small cat", "zebra"]
    batch = {"id": list("abcde"), "title": titles, "text": texts}
    return write_corpus(tmp_path / "corpus.arrow", [batch], ["title", "text"]), titles, texts


def test_features_of_a_field_are_those_of_a_corpus_of_that_field_alone(fields):
    corpus, titles, texts = fields
    found = _features(QUERIES, corpus, fields=["title", "text"])
    own = [name for name in FEATURES if name != "query_length"]
    assert found.names == (*FEATURES, *(f"title.{name}" for name in own), *(f"text.{name}" for name in own))
    for field, contents in (("title", titles), ("text", texts)):
        alone = _features(QUERIES, Documents(list("abcde"), contents), names=own)
        columns = [found.names.index(f"{field}.{name}") for name in own]
        np.testing.assert_array_equal(found.values[:, columns], alone.values)
    whole = _features(QUERIES, Documents(list("abcde"), corpus[:]))
    np.testing.assert_array_equal(found.values[:, : len(FEATURES)], whole.values)


def test_only_fields_that_are_asked_for_are_read(fields):
    found = _features(QUERIES, fields[0], fields=["title", "text"], names=["text.length"])
    assert found.values[:5, 0].tolist() == [2, 2, 0, 3, 1]


def test_a_field_that_the_corpus_lacks_is_told(fields, corpus):
    with pytest.raises(BadInput, match="no field 'abstract'"):
        _features(QUERIES, fields[0], fields=["abstract"])
    with pytest.raises(BadInput, match="has no fields"):
        _features(QUERIES, corpus, fields=["title"])


def test_unknown_names_and_senseless_settings_are_refused():
    with pytest.raises(UnknownName, match=r"no feature 'bm52'. Did you mean 'bm25'"):
        Manual(names=["bm52"])
    with pytest.raises(UnknownName, match=r"no feature 'title.bm25'.*List its field in `fields`"):
        Manual(names=["title.bm25"])
    for settings in ({"names": []}, {"names": "bm25"}, {"names": ["idf", "idf"]}, {"window": 1}, {"threads": 0}):
        with pytest.raises(BadInput, match=next(iter(settings))):
            built(Manual, **settings)
    with pytest.raises(StaleIndex, match="has no index"):
        Manual().extract(Queries.of(["a"]), Candidates.of([[0]]))


def test_documents_beyond_the_corpus_are_empty_ones(corpus):
    beyond = Candidates.of([[0, len(corpus) + 3]] * len(QUERIES), corpus=corpus)
    found = _features(QUERIES, corpus, beyond)
    empty = _features(QUERIES, corpus, Candidates.of([[0, DOCUMENTS.index("")]] * len(QUERIES), corpus=corpus))
    models = [found.names.index("ql_dirichlet")]  # its prior is that of a document of the corpus
    kept = np.setdiff1d(np.arange(len(found.names)), models)
    np.testing.assert_array_equal(found.values[:, kept], empty.values[:, kept])


def test_threads_and_pieces_change_nothing(corpus, monkeypatch):
    from nirank_ltr import manual

    one = _features(QUERIES, corpus, threads=1)
    monkeypatch.setattr(manual, "_TERMS_AT_ONCE", 40)
    assert len(list(_cuts(np.full(99, 3)))) > 20
    several = _features(QUERIES, corpus, threads=3)
    np.testing.assert_array_equal(one.values, several.values)


def test_pieces_are_all_pairs_in_order(monkeypatch):
    from nirank_ltr import manual

    monkeypatch.setattr(manual, "_TERMS_AT_ONCE", 30)
    sizes = np.array([0, 0, 90, 1, 2, 3, 200, 0])
    pieces = list(_cuts(sizes))
    assert [*np.concatenate([np.arange(8)[piece] for piece in pieces])] == list(range(8))
    assert list(_cuts(np.zeros(0, np.int64))) == []


def test_a_corpus_without_a_single_term_has_features(tmp_path):
    found = _features(["cat", ""], Documents(["a", "b"], ["", "the"]))
    assert np.isfinite(found.values).all()


def test_long_queries_and_documents_are_counted_right():
    words = [f"w{number}" for number in range(600)]
    texts = [" ".join(words), " ".join(reversed(words)), "w3 " * 2000]
    slow = Slow([])
    slow.texts, slow.total = [slow.analyzer(text) for text in texts], 3200
    corpus = Documents(list("abc"), texts)
    found = _features([" ".join(words), "w3 " * 50], corpus, names=["matched", "phrase", "ordered", "tf_max"])
    assert found.values.tolist() == [
        [600, 1, 599, 1],
        [600, 0, 0, 1],
        [1, 0, 0, 2000],
        [1, 0, 0, 1],
        [1, 0, 0, 1],
        [1, 1951, 49 * 1999, 2000],
    ]


def test_one_index_serves_all_that_read_whole_documents(corpus):
    a, b = nirank.load("manual", names=["bm25"]), nirank.load("manual", k1=2.0)
    places = {indexes.prepare(each.component, corpus) for each in (a, b)}
    assert len(places) == 1


def test_features_of_a_real_collection_train_a_ranker(shared):
    pytest.importorskip("accelerate")
    train, dev = (nirank.collection(f"beir:{shared('wikiqa')}", split=split) for split in ("train", "dev"))
    manual, ranker = nirank.load("manual"), nirank.load("linear", normalise="quantile")
    fitted = nirank.fit(
        nirank.features(manual) >> ranker,
        "softmax_cross_entropy",
        train.take(slice(0, 800)),
        dev=dev,
        epochs=3,
        learning_rate=0.03,
        measure="AP",
    )
    judged = dev.judgments.with_scores(nirank.load("scorer/bm25").score(dev.queries, dev.judgments)).ranked()
    assert fitted.best > nirank.evaluate(judged, dev.judgments, ["AP"])["AP"] + 0.01
