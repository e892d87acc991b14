"""The components of Lucene: indexes, ties, odd queries, indexes made elsewhere, settings."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

pytest.importorskip("jnius_config")
pytest.importorskip("pyserini")

import nirank
import nirank_lucene.features
import nirank_lucene.ranker
import nirank_lucene.rm3
from nirank.data import Candidates, Documents, Queries, TermWeights
from nirank.errors import BadInput, CompositionError, StaleIndex, UnknownName
from nirank.execution import indexes
from nirank.pipeline.algebra import as_stage
from nirank.plugins import build
from nirank.testing import samples
from nirank_lucene.index import Index, made
from nirank_lucene.java import cast, java
from tests.flat import flat

pytestmark = pytest.mark.lucene

Lucene, LuceneRM3, LuceneFeatures = map(
    flat, (nirank_lucene.ranker.Lucene, nirank_lucene.rm3.LuceneRM3, nirank_lucene.features.LuceneFeatures)
)

ODD = (
    "aZ1_.:',;-\u2019\"\u00b7 \t\ufb01é\u0130\u0131ß\u0301\u00ad\u200d😀👍🏽🇩🇪#*\u20e3かなカー日本語한국אבกไ"
    "\x00\x85\u2028AND NOT(){}[]^~?\\/&|!+\ud83d"
)


def _ready(component, corpus, folder):
    folder.mkdir(exist_ok=True)
    component.build(corpus, folder)
    component.open(corpus, folder)
    return component


@pytest.fixture(scope="module")
def ranker(tmp_path_factory):
    return _ready(Lucene(), samples.corpus(), tmp_path_factory.mktemp("samples"))


# Ties


@pytest.fixture(scope="module")
def equal():
    """Three kinds of texts that are as good as one another, in enough segments that they are merged."""
    texts = [text for number in range(300) for text in (f"one cat {_filler(number)}", "a cat", "cat dog " * 20)]
    return Documents([f"d{number:05}" for number in range(len(texts))][::-1], texts)


def _filler(number):
    return " ".join(f"w{number}x{place}" for place in range(120))


def test_documents_stand_in_the_order_of_the_corpus_however_many_segments_were_merged(equal, tmp_path):
    ranker = _ready(Lucene(memory=1), equal, tmp_path / "index")
    reader = ranker.opened.reader
    stored = java("io.anserini.search.ScoredDocs")
    searcher = java("org.apache.lucene.search.IndexSearcher")(reader)
    everything = java("org.apache.lucene.search.MatchAllDocsQuery")()
    names = stored.fromTopDocs(searcher.search(everything, len(equal)), searcher).docids
    assert list(names) == list(equal.ids)
    assert list(tmp_path.glob("index/_[1-9a-z]*.si"))  # there was more than one


def test_equal_scores_are_ordered_by_ordinal_and_fewer_are_the_first_of_more(equal, tmp_path):
    ranker = _ready(Lucene(), equal, tmp_path / "index")
    many = ranker.generate(Queries.of("cat"), 600)
    assert many.is_ranked()
    assert len(set(many.scores.tolist())) == 2
    for k in (1, 10, 299, 300, 301):
        fewer = ranker.generate(Queries.of("cat"), k)
        np.testing.assert_array_equal(fewer.docs, many.docs[:k])
        np.testing.assert_array_equal(fewer.scores, many.scores[:k])


def test_equal_scores_are_ordered_by_ordinal_in_an_index_of_another_order(equal, tmp_path):
    elsewhere = _elsewhere(tmp_path / "elsewhere", [(equal.ids[doc], equal[doc]) for doc in _shuffled(len(equal))])
    ranker = _ready(Lucene(index=str(elsewhere)), equal, tmp_path / "ordinals")
    own = _ready(Lucene(), equal, tmp_path / "own")
    assert not ranker.opened.in_order
    for k in (0, 1, 10, 299, 300, 301, 10_000):
        found, expected = (each.generate(Queries.of(["cat", "dog", "none"]), k) for each in (ranker, own))
        np.testing.assert_array_equal(found.docs, expected.docs)
        np.testing.assert_array_equal(found.scores, expected.scores)


def _shuffled(size):
    return random.Random(1).sample(range(size), size)


# Queries


def test_any_text_finds_the_documents_that_share_a_term_and_no_others(ranker, tmp_path):
    bm25 = _ready(pytest.importorskip("nirank_lexical.rankers").BM25(), samples.corpus(), tmp_path)
    generator = random.Random(7)
    words = [word for text in samples.DOCUMENTS[:9] for word in text.split()]
    texts = ["".join(generator.choices(ODD, k=12)) + " " + generator.choice(words) for _ in range(1500)]
    found, expected = (each.generate(Queries.of(texts), 100) for each in (ranker, bm25))
    for row, text in enumerate(texts):
        assert sorted(found[row][0].tolist()) == sorted(expected[row][0].tolist()), text


def test_a_query_longer_than_lucene_allows_is_fine(ranker):
    text = " ".join(f"word{number}" for number in range(5000)) + " zebra"
    assert ranker.generate(Queries.of(text), 5).docs.tolist() == [8, 11]


def test_weighted_terms_are_searched_as_they_are(ranker):
    pytest.importorskip("Stemmer")
    from nirank.kit.text import Analyzer

    weights = TermWeights.of([{"cat": 1.0, "small": 2.0}, {"car": 0.0}, {}], Analyzer().settings)
    found = ranker.generate(Queries.of(["", "", ""]).with_vectors(weights), 9)
    same = ranker.generate(Queries.of(["small cat small", "", ""]), 9)
    np.testing.assert_array_equal(found.docs, same.docs)
    np.testing.assert_array_equal(found.scores, same.scores)
    other = TermWeights.of([{"cat": 1.0}], Analyzer(stemmer=None).settings)
    below = TermWeights.of([{"cat": -1.0}], Analyzer().settings)
    with pytest.raises(BadInput, match=r"the weight -1\.0"):
        ranker.generate(Queries.of([""]).with_vectors(below), 9)
    with pytest.raises(BadInput, match="same settings"):
        ranker.generate(Queries.of([""]).with_vectors(other), 9)


def test_what_is_no_text_is_refused(ranker):
    with pytest.raises(BadInput, match="query '1' is of the type int"):
        ranker.generate(Queries.of([3]), 5)


def test_threads_find_the_same(tmp_path):
    texts = [f"{a} {b}" for a in samples.DOCUMENTS[:5] for b in samples.QUERIES]
    one, four = (_ready(Lucene(threads=n), samples.corpus(), tmp_path / str(n)) for n in (1, 4))
    found, expected = (each.generate(Queries.of(texts), 7) for each in (four, one))
    np.testing.assert_array_equal(found.docs, expected.docs)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(four.score(Queries.of(texts), found), found.scores)


# Scores


@pytest.mark.parametrize("component", [Lucene(), Lucene(similarity="ql", mu=10.0), LuceneRM3(fb_docs=3)])
def test_a_pair_has_the_score_that_searching_gives_it(component, tmp_path):
    _ready(component, samples.corpus(), tmp_path / "index")
    queries = Queries.of([*samples.QUERIES, ""])
    found = component.generate(queries, 12)
    everything = Candidates.of([range(11, -1, -1)] * len(queries), corpus=samples.corpus())
    scores = component.score(queries, everything)
    np.testing.assert_allclose(scores, everything.lookup(found, default=0.0), rtol=1e-6)
    np.testing.assert_allclose(component.score(queries, found), found.scores, rtol=1e-6)


def test_a_document_given_twice_or_beyond_the_corpus_has_a_score(ranker):
    pairs = Candidates.of([[8, 8, 40, 0, 8]], corpus=samples.corpus())
    scores = ranker.score(Queries.of("zebra"), pairs)
    assert scores[0] == scores[1] == scores[4] > 0 == scores[2] == scores[3]


def test_rm3_does_not_read_more_documents_where_more_are_asked_for(tmp_path):
    component = _ready(LuceneRM3(fb_docs=2), samples.corpus(), tmp_path / "index")
    many = component.generate(Queries.of("cat"), 12)
    few = component.generate(Queries.of("cat"), 1)
    assert few.docs.tolist() == many.docs[:1].tolist()
    assert component.expanded("") == component.expanded("nothing") == {}


def test_queries_without_candidates_have_no_scores_however_many_there_are(ranker):
    lists = [[] if row % 3 == 0 else [8, row % 12] for row in range(60)]
    pairs = Candidates.of(lists, corpus=samples.corpus())
    scores = ranker.score(Queries.of(["zebra"] * 60), pairs)
    expected = ranker.score(Queries.of("zebra"), Candidates.of([range(12)], corpus=samples.corpus()))
    np.testing.assert_array_equal(scores, expected[pairs.docs])


def test_whole_numbers_are_settings_too(tmp_path):
    components = [
        build(name, {"k1": 1, "b": 0, "mu": 10, **more}).target
        for name, more in (
            ("lucene", {}),
            ("lucene", {"similarity": "ql"}),
            ("lucene_rm3", {"original_query_weight": 1}),
            ("lucene_features", {"lambda_": 1}),
        )
    ]
    pairs = samples.pairs()
    for number, component in enumerate(components):
        _ready(component, samples.corpus(), tmp_path / str(number))
        call = getattr(component, "score", None) or component.extract
        assert np.isfinite(call(pairs.queries, pairs.candidates)).all()


# In pipelines


def test_rankers_and_features_share_one_index(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    names = ("lucene", "lucene_rm3", "lucene_features")
    lucene, rm3, features = (nirank.load(name) for name in names)
    found = (lucene % 5 | rm3 % 5) >> 0.5 * lucene + rm3
    ranked = found.search(samples.QUERIES, samples.corpus())
    described = nirank.features(features, lucene).of(Queries.of(samples.QUERIES), ranked)
    np.testing.assert_array_equal(described.values[:, 0], described.values[:, -1])  # bm25, twice
    assert len([path for path in (tmp_path / "indexes").iterdir() if path.is_dir()]) == 1


class Terms:
    """Makes a query's words its weighted terms."""

    vectors = "terms"

    def encode(self, queries):
        from nirank.kit.text import Analyzer

        return TermWeights.of([dict.fromkeys(text.split(), 1.0) for text in queries.contents], Analyzer().settings)


def test_an_encoder_of_terms_may_come_first(tmp_path, monkeypatch):
    pytest.importorskip("Stemmer")
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    lucene = nirank.load("lucene")
    found = (as_stage(Terms()) >> lucene % 3).search("cat", samples.corpus())
    assert found.docs.tolist() == (lucene % 3).search("cat", samples.corpus()).docs.tolist()
    with pytest.raises(CompositionError, match="takes queries as they are"):
        as_stage(Terms()) >> nirank.load("lucene_rm3")


# Indexes


def test_an_index_of_another_corpus_is_refused(tmp_path):
    _ready(Lucene(), samples.corpus(), tmp_path / "index")
    with pytest.raises(StaleIndex, match="of 12 documents, but the corpus has 1"):
        Lucene().open(Documents(["a"], ["b"]), tmp_path / "index")
    with pytest.raises(StaleIndex, match="has no index"):
        Lucene().generate(Queries.of("cat"), 1)


def test_a_document_that_is_no_text_is_refused_and_nothing_is_committed(tmp_path):
    with pytest.raises(BadInput, match="'b' is of the type int"):
        Lucene().build(Documents(["a", "b"], ["text", 3]), tmp_path)
    assert not list(tmp_path.glob("segments_*"))


def test_other_languages_have_their_analysers(tmp_path):
    corpus = Documents(["a", "b"], ["Die Häuser stehen", "pre##token ##ized Häuser"])
    german = _ready(Lucene(language="german"), corpus, tmp_path / "german")
    assert german.generate(Queries.of("haus"), 5).docs.tolist() == [0, 1]
    parted = _ready(Lucene(language="whitespace"), corpus, tmp_path / "whitespace")
    assert parted.generate(Queries.of("##ized"), 5).docs.tolist() == [1]
    stopped = _ready(Lucene(stemmer=None, stopwords=False), Documents(["a"], ["the cats"]), tmp_path / "words")
    assert [stopped.generate(Queries.of(text), 5).pairs for text in ("the", "cats", "cat")] == [1, 1, 0]


# Indexes made elsewhere


def _elsewhere(folder, rows, vectors=False):
    """An index as another program may make it: several segments, which are never merged."""
    analyzer = java("org.apache.lucene.analysis.en.EnglishAnalyzer")()
    config = java("org.apache.lucene.index.IndexWriterConfig")(analyzer)
    config.setMergePolicy(java("org.apache.lucene.index.NoMergePolicy").INSTANCE)
    directory = java("org.apache.lucene.store.FSDirectory").open(java("java.nio.file.Paths").get(str(folder)))
    writer = java("org.apache.lucene.index.IndexWriter")(directory, config)
    store = java("org.apache.lucene.document.Field$Store")
    for number, (name, text) in enumerate(rows):
        document = java("org.apache.lucene.document.Document")()
        document.add(java("org.apache.lucene.document.StringField")("id", name, store.YES))
        document.add(java("org.apache.lucene.document.TextField")("body", text, store.NO))
        document.add(java("org.apache.lucene.document.TextField")("contents", text, store.NO))
        writer.addDocument(document)
        if number % 200 == 199:
            writer.commit()
    writer.close()
    return folder


@pytest.fixture(scope="module")
def anserini(tmp_path_factory):
    """The samples as Anserini indexes them, in an order of its own; it leaves out the empty one."""
    folder = tmp_path_factory.mktemp("anserini")
    for part in range(3):
        rows = [{"id": name, "contents": text} for name, text in list(_samples())[part::3]]
        path = folder / "documents" / f"part{part}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(rows), encoding="utf-8")
    options = {"collection": "JsonCollection", "input": folder / "documents", "index": folder / "index", "threads": 2}
    words = [word for name, value in options.items() for word in (f"-{name}", str(value))]
    java("io.anserini.index.IndexCollection").main([*words, "-storeDocvectors"])
    return folder / "index"


def _samples():
    return zip(samples.corpus().ids, samples.DOCUMENTS, strict=True)


@pytest.mark.parametrize("name", ["lucene", "lucene_rm3"])
def test_an_index_of_anserini_finds_what_ours_finds(anserini, tmp_path, name):
    elsewhere, own = build(name, {"index": str(anserini)}).target, build(name).target
    _ready(elsewhere, samples.corpus(), tmp_path / "ordinals")
    _ready(own, samples.corpus(), tmp_path / "own")
    assert elsewhere.opened.reader.maxDoc() == 11
    found, expected = (each.generate(Queries.of(samples.QUERIES), 12) for each in (elsewhere, own))
    np.testing.assert_array_equal(found.docs, expected.docs)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
    np.testing.assert_allclose(elsewhere.score(Queries.of(samples.QUERIES), found), found.scores, rtol=1e-6)


def test_features_come_from_an_index_made_elsewhere(anserini, tmp_path):
    elsewhere, own = LuceneFeatures(index=str(anserini)), LuceneFeatures()
    _ready(elsewhere, samples.corpus(), tmp_path / "ordinals")
    _ready(own, samples.corpus(), tmp_path / "own")
    pairs = samples.pairs()
    np.testing.assert_allclose(*(each.extract(pairs.queries, pairs.candidates) for each in (elsewhere, own)), rtol=1e-6)


def test_another_field_is_searched_where_it_is_named(tmp_path):
    folder = _elsewhere(tmp_path / "elsewhere", _samples())
    ranker = _ready(Lucene(index=str(folder), field="body"), samples.corpus(), tmp_path / "ordinals")
    assert ranker.generate(Queries.of("zebra"), 5).docs.tolist() == [8, 11]
    with pytest.raises(BadInput, match="made elsewhere"):
        Lucene(field="body")


def test_an_index_without_vectors_of_terms_cannot_expand(tmp_path):
    folder = _elsewhere(tmp_path / "elsewhere", _samples())
    rm3 = _ready(LuceneRM3(index=str(folder)), samples.corpus(), tmp_path / "ordinals")
    with pytest.raises(BadInput, match="no term vectors of the field 'contents'"):
        rm3.generate(Queries.of("cat"), 3)


def test_deleted_documents_are_not_found(tmp_path):
    folder = _elsewhere(tmp_path / "elsewhere", [*_samples(), ("gone", "zebra zebra")])
    _delete(folder, "gone")
    ranker = _ready(Lucene(index=str(folder)), samples.corpus(), tmp_path / "ordinals")
    assert ranker.opened.ordinals.tolist() == [*range(12), -1]
    assert sorted(ranker.generate(Queries.of("zebra"), 20).docs.tolist()) == [8, 11]


def _delete(folder, name):
    directory = java("org.apache.lucene.store.FSDirectory").open(java("java.nio.file.Paths").get(str(folder)))
    config = java("org.apache.lucene.index.IndexWriterConfig")()
    config.setMergePolicy(java("org.apache.lucene.index.NoMergePolicy").INSTANCE)
    writer = java("org.apache.lucene.index.IndexWriter")(directory, config)
    term = java("org.apache.lucene.index.Term")("id", name)
    writer.deleteDocuments(cast("org.apache.lucene.search.Query", java("org.apache.lucene.search.TermQuery")(term)))
    writer.close()


def test_an_index_of_other_documents_is_refused(tmp_path):
    folder = _elsewhere(tmp_path / "elsewhere", [("d0", "cat"), ("d99", "dog")])
    with pytest.raises(BadInput, match="'d99', which is not in the corpus"):
        _ready(Lucene(index=str(folder)), samples.corpus(), tmp_path / "ordinals")
    folder = _elsewhere(tmp_path / "twice", [("d0", "cat"), ("d0", "dog")])
    with pytest.raises(BadInput, match="several documents with the id 'd0'"):
        _ready(Lucene(index=str(folder)), samples.corpus(), tmp_path / "ordinals2")


def test_where_there_is_no_index_it_is_told_and_nothing_is_made(tmp_path):
    with pytest.raises(BadInput, match="no Lucene index in"):
        indexes.prepare(build("lucene", {"index": str(tmp_path / "none")}), samples.corpus())
    assert not (tmp_path / "none").exists()


def test_an_index_made_elsewhere_that_changes_is_matched_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    folder = _elsewhere(tmp_path / "elsewhere", _samples())
    before, key = made(folder), build("lucene", {"index": str(folder)}).fingerprint
    assert (nirank.load("lucene", index=str(folder)) % 3).search("zebra", samples.corpus()).pairs == 2
    _delete(folder, "d8")
    assert made(folder) != before
    assert build("lucene", {"index": str(folder)}).fingerprint != key
    assert (nirank.load("lucene", index=str(folder)) % 3).search("zebra", samples.corpus()).docs.tolist() == [11]


def test_a_folder_that_has_lost_its_ordinals_is_told(tmp_path):
    folder = _elsewhere(tmp_path / "elsewhere", _samples())
    with pytest.raises(StaleIndex, match=r"ordinals\.npy is missing"):
        Lucene(index=str(folder)).open(samples.corpus(), tmp_path)


def test_a_damaged_index_is_told(tmp_path):
    _ready(Lucene(), samples.corpus(), tmp_path / "index")
    for path in (tmp_path / "index").glob("segments_*"):
        path.write_bytes(b"nothing of the kind")
    with pytest.raises(StaleIndex, match="Lucene cannot open the index"):
        Index.of(tmp_path / "index", samples.corpus())


# Settings


@pytest.mark.parametrize(
    ("name", "settings", "error"),
    [
        ("lucene", {"similarity": "cosine"}, UnknownName),
        ("lucene", {"b": 1.5}, BadInput),
        ("lucene", {"k1": float("nan")}, BadInput),
        ("lucene", {"mu": 0.0}, BadInput),
        ("lucene", {"threads": 0}, BadInput),
        ("lucene", {"memory": 0}, BadInput),
        ("lucene", {"language": "klingon"}, UnknownName),
        ("lucene", {"stemmer": "lovins"}, UnknownName),
        ("lucene", {"language": "german", "stopwords": False}, BadInput),
        ("lucene_rm3", {"fb_docs": 0}, BadInput),
        ("lucene_rm3", {"original_query_weight": 1.1}, BadInput),
        ("lucene_features", {"names": ["bm52"]}, UnknownName),
        ("lucene_features", {"names": ["idf", "idf"]}, BadInput),
        ("lucene_features", {"lambda_": 0.0}, BadInput),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, settings, error):
    with pytest.raises(error):
        build(name, settings)


def test_a_component_shows_its_settings():
    assert repr(Lucene(k1=1.2)) == (
        "Lucene(k1=1.2, b=0.4, similarity='bm25', mu=1000.0, language='english', stemmer='default', stopwords=True, "
        "field='contents', memory=256)"
    )


def test_threads_and_places_do_not_change_a_fingerprint_and_settings_do():
    one = build("lucene").fingerprint
    assert build("lucene", {"threads": 3, "memory": 5}).fingerprint == one
    assert build("lucene", {"k1": 1.0}).fingerprint != one
    assert build("lucene_rm3", {"fb_docs": 9}).fingerprint != build("lucene_rm3").fingerprint
