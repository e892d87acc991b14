"""Lucene's scores, RM3 and features against slow computations, one pair at a time, and against Anserini itself."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")
pytest.importorskip("jnius_config")
pytest.importorskip("pyserini")

import nirank
import nirank_lucene.features
import nirank_lucene.ranker
import nirank_lucene.rm3
from nirank.data import Candidates, Documents, Queries
from nirank.kit.text import Analyzer
from nirank.plugins import build
from nirank.testing import samples
from nirank_lucene.features import FEATURES
from nirank_lucene.java import java
from tests.flat import flat

pytestmark = pytest.mark.lucene

Lucene, LuceneRM3, LuceneFeatures = map(
    flat, (nirank_lucene.ranker.Lucene, nirank_lucene.rm3.LuceneRM3, nirank_lucene.features.LuceneFeatures)
)

WORDS = [f"{first}{second}" for first, second in itertools.product("bdfgklmnprt", ["ado", "eki", "ola", "umi"])]
ANALYZE = Analyzer()


@pytest.fixture(scope="module")
def corpus():
    generator = random.Random(3)
    texts = [" ".join(generator.choices(WORDS[: 8 + n % 30], k=generator.randint(1, 120))) for n in range(150)]
    texts += ["", texts[3], texts[3], *samples.DOCUMENTS]
    return Documents([f"d{number}" for number in range(len(texts))], texts)


@pytest.fixture(scope="module")
def queries():
    generator = random.Random(4)
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(1, 6))) for _ in range(12)]
    return Queries.of([*texts, "bado bado eki", "unknown words", "", "the small cat", "東京 🙂"])


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    Lucene().build(corpus, folder)
    return folder


@pytest.fixture(scope="module")
def facts(corpus):
    return Facts(list(corpus))


def _opened(component, corpus, folder):
    component.open(corpus, folder)
    return component


class Facts:
    """What an index knows, counted anew. Lengths are those that Lucene reads back from the byte that it keeps."""

    def __init__(self, texts):
        self.terms = [Counter(ANALYZE(text)) for text in texts]
        self.exact = [terms.total() for terms in self.terms]
        self.lengths = [_kept(length) for length in self.exact]
        self.size = sum(length > 0 for length in self.exact)  # documents that have the field at all
        self.tokens = sum(self.exact)
        self.df = Counter(term for terms in self.terms for term in terms)
        self.cf = sum(self.terms, Counter())

    def idf(self, term):
        return math.log(1 + (self.size - self.df[term] + 0.5) / (self.df[term] + 0.5))


def _kept(length):
    """SmallFloat.byte4ToInt(SmallFloat.intToByte4(length)): exact below 24, then four significant bits."""
    if length < 24:
        return length
    rest = length - 24
    shift = max(0, rest.bit_length() - 4)
    return 24 + (rest >> shift << shift)


def _bm25(facts, term, doc, k1=0.9, b=0.4):
    tf, average = facts.terms[doc][term], facts.tokens / facts.size
    return facts.idf(term) * tf / (tf + k1 * (1 - b + b * facts.lengths[doc] / average))


def _dirichlet(facts, term, doc, mu=1000.0):
    background = (facts.cf[term] + 1) / (facts.tokens + 1)
    tf, length = facts.terms[doc][term], facts.lengths[doc]
    return max(0.0, math.log(1 + tf / (mu * background)) + math.log(mu / (length + mu)))


def _jelinek_mercer(facts, term, doc, lambda_=0.1):
    background = (facts.cf[term] + 1) / (facts.tokens + 1)
    return math.log(1 + (1 - lambda_) * facts.terms[doc][term] / facts.lengths[doc] / (lambda_ * background))


def _tfidf(facts, term, doc):
    idf = 1 + math.log((facts.size + 1) / (facts.df[term] + 1))
    return math.sqrt(facts.terms[doc][term]) * idf / math.sqrt(facts.lengths[doc])


def _scores(facts, text, weigh, weights=None):
    """The score of every document that has a term of the query."""
    weights = Counter(ANALYZE(text)) if weights is None else weights
    matching = [doc for doc, terms in enumerate(facts.terms) if any(terms[term] and weights[term] for term in weights)]
    return {
        doc: sum(weights[term] * weigh(facts, term, doc) for term in weights if facts.terms[doc][term])
        for doc in matching
    }


@pytest.mark.parametrize(
    ("settings", "weigh"),
    [({}, _bm25), ({"similarity": "ql"}, _dirichlet)],
    ids=["bm25", "ql"],
)
def test_scores_are_those_of_the_formula(corpus, queries, folder, facts, settings, weigh):
    ranker = _opened(Lucene(**settings), corpus, folder)
    found = ranker.generate(queries, len(corpus))
    for row, text in enumerate(queries.contents):
        expected = _scores(facts, text, weigh)
        docs, scores = found[row]
        assert set(docs.tolist()) == set(expected)
        np.testing.assert_allclose(scores, [expected[doc] for doc in docs.tolist()], rtol=1e-5, atol=1e-6)
    assert found.pairs > 500


def test_other_settings_of_bm25_are_those_of_the_formula(corpus, folder, facts):
    ranker = _opened(Lucene(k1=2.0, b=0.0), corpus, folder)
    docs, scores = ranker.generate(Queries.of("bado fola"), 20)[0]
    expected = _scores(facts, "bado fola", lambda *at: _bm25(*at, k1=2.0, b=0.0))
    np.testing.assert_allclose(scores, [expected[doc] for doc in docs.tolist()], rtol=1e-5)


def test_rm3_weighs_terms_as_the_paper_says(corpus, queries, folder, facts):
    ranker = _opened(LuceneRM3(fb_terms=5, fb_docs=4, original_query_weight=0.3), corpus, folder)
    for text in queries.contents[:13]:
        expected = _relevance_model(facts, text, 5, 4, 0.3)
        weights = ranker.expanded(text)
        assert weights == pytest.approx(expected, rel=1e-4)
        docs, scores = ranker.generate(Queries.of([text]), 30)[0]
        slow = _scores(facts, text, _bm25, Counter(expected))
        np.testing.assert_allclose(scores, [slow[doc] for doc in docs.tolist()], rtol=1e-4)


def _relevance_model(facts, text, fb_terms, fb_docs, share):
    """Ties among terms are as Anserini has them: by the alphabet."""
    first = sorted(_scores(facts, text, _bm25).items(), key=lambda pair: (-np.float32(pair[1]), pair[0]))[:fb_docs]
    model = Counter()
    for doc, score in first:
        passed = {term: tf for term, tf in facts.terms[doc].items() if _may_expand(facts, term)}
        kept = dict(sorted(passed.items(), key=lambda pair: (-pair[1], pair[0]))[:fb_terms])
        for term, tf in kept.items():
            model[term] += score * tf / sum(kept.values())
    best = dict(sorted(model.items(), key=lambda pair: (-pair[1], pair[0]))[:fb_terms])
    asked = Counter(ANALYZE(text))
    return {
        term: share * asked[term] / asked.total() + (1 - share) * best.get(term, 0) / (sum(best.values()) or 1)
        for term in {*asked, *best}
    }


def _may_expand(facts, term):
    plain = 2 <= len(term) <= 20 and term.isascii() and term.isalnum() and term == term.lower()
    return plain and facts.df[term] / len(facts.terms) <= 0.1


def test_features_are_those_of_a_slow_count(corpus, queries, folder, facts):
    extractor = _opened(LuceneFeatures(), corpus, folder)
    generator = np.random.default_rng(5)
    lists = [generator.choice(len(corpus), 25, replace=False) for _ in queries.ids]
    lists[0] = np.array([3, 151, 3, len(corpus) + 4, 150])  # twice, a duplicate's text, beyond the corpus, empty
    pairs = Candidates.of(lists, corpus=corpus)
    values = extractor.extract(queries, pairs)
    assert values.dtype == np.float32
    expected = [
        [feature(facts, queries.contents[row], doc) for feature in map(SLOW.__getitem__, FEATURES)]
        for row, docs in enumerate(lists)
        for doc in docs.tolist()
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def _model(weigh):
    return lambda facts, text, doc: _scores(facts, text, weigh).get(doc, 0.0)


def _known(facts, text):
    return [term for term in dict.fromkeys(ANALYZE(text)) if facts.df[term]]


def _matches(facts, text, doc):
    return [term for term in _known(facts, text) if doc < len(facts.terms) and facts.terms[doc][term]]


def _spread(value, reduce):
    return lambda facts, text, doc: reduce([value(facts, term) for term in _known(facts, text)] or [0])


def _over_matches(value, reduce):
    return lambda facts, text, doc: reduce([value(facts, term, doc) for term in _matches(facts, text, doc)] or [0])


def _tf(facts, term, doc):
    return facts.terms[doc][term]


def _ictf(facts, term):
    return math.log(facts.tokens / facts.cf[term])


def _scq(facts, term):
    return (1 + math.log(facts.cf[term])) * math.log(1 + facts.size / facts.df[term])


SLOW = {
    "bm25": _model(_bm25),
    "ql_dirichlet": _model(_dirichlet),
    "ql_jelinek_mercer": _model(_jelinek_mercer),
    "tfidf": _model(_tfidf),
    "matched": lambda facts, text, doc: len(_matches(facts, text, doc)),
    "matched_share": lambda facts, text, doc: len(_matches(facts, text, doc)) / max(1, len(_known(facts, text))),
    "idf": _over_matches(lambda facts, term, doc: facts.idf(term), sum),
    "tf_sum": _over_matches(_tf, sum),
    "tf_max": _over_matches(_tf, max),
    "tf_idf_sum": _over_matches(lambda facts, term, doc: _tf(facts, term, doc) * facts.idf(term), sum),
    "query_length": lambda facts, text, doc: len(ANALYZE(text)),
    "terms": lambda facts, text, doc: len(_known(facts, text)),
    "idf_mean": _spread(Facts.idf, np.mean),
    "idf_max": _spread(Facts.idf, max),
    "ictf_mean": _spread(_ictf, np.mean),
    "ictf_max": _spread(_ictf, max),
    "scq_mean": _spread(_scq, np.mean),
    "scq_max": _spread(_scq, max),
}


# Anserini itself


@pytest.fixture(scope="module")
def nfcorpus(shared):
    return nirank.collection(f"beir:{shared('nfcorpus')}")


def _indexed(collection, folder, **settings):
    component = build("lucene", settings)
    folder.mkdir(exist_ok=True)
    if not any(folder.iterdir()):
        component.target.build(collection.corpus, folder)
    component.target.open(collection.corpus, folder)
    return component.target


def _by_rising_id(found, judgments):
    """The same with documents numbered by the order of their ids, by which Anserini orders equal scores."""
    ids = np.array(found.corpus.ids.take(np.arange(len(found.corpus))))
    place = np.append(np.argsort(np.argsort(ids)), range(len(ids), 1 + max(len(ids), judgments.docs.max(initial=0))))
    return [Candidates(each.offsets, place[each.docs], each.scores) for each in (found, judgments)]


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("nfcorpus", {"nDCG@10": 0.3218, "R@100": 0.2457, "R@1000": 0.3704}),
        ("scifact", {"nDCG@10": 0.6789, "R@100": 0.9253, "R@1000": 0.9767}),
    ],
)
def test_figures_are_those_that_anserini_publishes(shared, tmp_path_factory, name, published):
    collection = nirank.collection(f"beir:{shared(name)}")
    found = _indexed(collection, tmp_path_factory.getbasetemp() / name).generate(collection.queries, 1000)
    found, judgments = _by_rising_id(found.over(collection.corpus), collection.judgments)
    evaluation = nirank.evaluate(found.ranked(), judgments, list(published))
    assert {name: round(evaluation[name], 4) for name in published} == published


@pytest.mark.parametrize("model", ["bm25", "ql", "rm3"])
def test_what_pyserini_finds_is_found(nfcorpus, tmp_path_factory, model):
    folder = tmp_path_factory.getbasetemp() / "nfcorpus"
    ranker = _indexed(nfcorpus, folder, similarity="ql" if model == "ql" else "bm25")
    queries = _without_tied_feedback(ranker, nfcorpus.queries.take(slice(0, 60)))
    searcher = java("io.anserini.search.SimpleSearcher")(str(folder))  # what pyserini's LuceneSearcher asks
    searcher.set_bm25(0.9, 0.4) if model != "ql" else searcher.set_qld(1000.0)
    if model == "rm3":
        ranker = _opened(LuceneRM3(), nfcorpus.corpus, folder)
        searcher.set_rm3(10, 10, 0.5)
    found = ranker.generate(queries, 200)
    for row, text in enumerate(queries.contents):
        theirs = {hit.docid: hit.score for hit in searcher.search(text, 200)}
        docs, scores = found[row]
        ours = dict(zip(nfcorpus.corpus.ids.take(docs), scores.tolist(), strict=True))
        last = min(scores, default=0) + 1e-3  # the last of many equal ones are chosen by another rule
        assert {name for name in ours if ours[name] > last} <= theirs.keys()
        assert {name for name in theirs if theirs[name] > last} <= ours.keys()
        both = ours.keys() & theirs.keys()
        assert [ours[name] for name in both] == pytest.approx([theirs[name] for name in both], abs=3e-4)
        assert len(ours) == len(theirs)


def _without_tied_feedback(ranker, queries):
    """Only queries whose tenth document is not chosen among equal ones, which Anserini orders by their ids."""
    first = ranker.generate(queries, 11)
    tied = [len(scores) == 11 and scores[9] == scores[10] for _, scores in map(first.__getitem__, range(len(queries)))]
    assert sum(tied) < len(tied) / 2
    return queries.take(np.flatnonzero(~np.array(tied)))
