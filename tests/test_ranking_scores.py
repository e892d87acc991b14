"""The scores of rankings as scorings: of any pair, from stored vectors, or with a value for what was not found."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, ComponentError, CompositionError
from nirank.execution import stages
from nirank.pipeline import parse

pytest.importorskip("torch")

CONTENTS = ["a cab", "bad dead", "cede", "", "beaded", "ebb a decade", "xyz", "abc bcd", "deed", "ace"]
CORPUS = Documents([f"d{number}" for number in range(len(CONTENTS))], CONTENTS)
QUERIES = Queries.of(["bad", "ace deed", "zzz", "cab", "e"])
ALL = Candidates.of([range(len(CONTENTS))] * len(QUERIES), corpus=CORPUS)


class Letters:
    """An encoder: how often each of five letters occurs, by odd weights. It counts the documents that it encodes."""

    vectors = "dense"

    def __init__(self, factor=1.0):
        self.fingerprint = f"letters {factor}"
        self.factor, self.documents, self.queries = factor, 0, 0

    def encode(self, queries):
        self.queries += len(queries)
        return self._vectors(queries.contents)

    def encode_documents(self, contents):
        self.documents += len(contents)
        return self._vectors(contents)

    def _vectors(self, contents):
        counts = np.array([[content.count(letter) for letter in "abcde"] for content in contents], np.float32)
        return self.factor * counts.reshape(-1, 5) * np.array([0.3, 1.7, 0.9, 1.1, 0.77], np.float32)


class Shares:
    """A scorer that looks at the whole list: the share of all letters."""

    listwise = True

    def score(self, queries, candidates):
        lengths = np.array([len(text) for text in candidates.corpus[candidates.docs]], np.float32)
        return lengths / max(1, lengths.sum())


class Length:
    """A scorer: how long a document is."""

    def score(self, queries, candidates):
        return np.array([len(text) for text in candidates.corpus[candidates.docs]], np.float32)


class Summed:
    """A ranker: the sum of all features."""

    reads = "features"

    def score(self, queries, candidates):
        return candidates.features.values.sum(axis=1)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))  # so that every test has its own indexes
    made = {"letters": Letters(), "length": Length(), "shares": Shares(), "summed": Summed()}
    loaded = {name: nirank.load(part, name) for name, part in made.items()}
    names = ("bm25", "tfidf", "rm3", "flat", "given")
    return loaded | {name: nirank.load(name) for name in names} | {"exact": nirank.load("exact", device="cpu")}


def _counted(encoder):
    return encoder.component.target.documents


def _slow_products(letters, queries, candidates):
    """The dot product of each pair, one by one, in float64."""
    target = letters.component.target
    asked = [target._vectors([text])[0].astype(np.float64) for text in queries.contents]
    rows = zip(candidates.rows.tolist(), candidates.docs.tolist(), strict=True)
    return np.array([asked[row] @ target._vectors([CONTENTS[doc]])[0] for row, doc in rows], np.float32)


# Any pair


@pytest.mark.parametrize("index", ["exact", "flat"])
def test_an_index_of_vectors_scores_any_pair_and_encodes_no_document_for_it(parts, index):
    if index == "flat":
        pytest.importorskip("faiss")
    scoring = nirank.scores(parts["letters"] >> parts[index])
    scoring.score(QUERIES, ALL)  # indexes the corpus
    before = _counted(parts["letters"])
    assert scoring.score(QUERIES, ALL).tolist() == _slow_products(parts["letters"], QUERIES, ALL).tolist()
    assert before == len(set(CONTENTS)) == _counted(parts["letters"])


@pytest.mark.parametrize("text", ["bm25", "letters >> exact", "(bm25 % 3) >> rm3 >> bm25", "tfidf"])
def test_what_is_found_has_the_score_that_it_is_found_with(parts, text):
    ranking = parse(text, parts)
    found = ranking.search(QUERIES, CORPUS)
    scores = nirank.scores(ranking).score(QUERIES, found)
    assert found.pairs
    assert scores.tolist() == found.scores.tolist()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bm25 % 3 >> (letters >> exact)", "(bm25 % 3) >> (letters >> exact)"),
        ("bm25 >> 0.3 * (letters >> exact) + bm25", "bm25 >> ((0.3 * (letters >> exact)) + bm25)"),
        (
            "bm25 >> 0.1 * (bm25 % 3 >> rm3 >> bm25) + letters",
            "bm25 >> ((0.1 * ((bm25 % 3) >> rm3 >> bm25)) + letters)",
        ),
        ("bm25 >> (letters >> exact) - bm25", "bm25 >> ((letters >> exact) - bm25)"),
        ("bm25 >> (tfidf % 2 >> length)", "bm25 >> length"),  # which scores what the other found by length
        (
            "bm25 >> scores(fuse(bm25, tfidf), missing='min') + length",
            "bm25 >> (scores(fuse(bm25, tfidf, method='rrf'), missing='min') + length)",
        ),
        ("bm25 >> scores(bm25 % 2, missing=-1)", "bm25 >> scores(bm25 % 2, missing=-1.0)"),
        ("bm25 >> scores(letters >> exact)", "bm25 >> (letters >> exact)"),
        (
            "bm25 >> features(scores(bm25 & tfidf, missing='min'), letters >> exact, tfidf) >> summed",
            "bm25 >> (features(scores(bm25 & tfidf, missing='min'), letters >> exact, tfidf) >> summed)",
        ),
    ],
)
def test_a_ranking_stands_where_a_scorer_may(parts, text, shown):
    pipeline = parse(text, parts)
    again = parse(repr(pipeline), parts)
    assert repr(pipeline) == repr(again) == shown
    one, two = (each.at_depth(4).search(QUERIES, CORPUS) for each in (pipeline, again))
    assert one.pairs
    assert (one.docs.tolist(), one.scores.tolist()) == (two.docs.tolist(), two.scores.tolist())
    assert len(pipeline.components()) == len(set(pipeline.components()))


def test_components_and_indexes_of_a_scoring_are_known(parts):
    pipeline = parse("bm25 % 3 >> 0.5 * (letters >> exact) + scores(tfidf % 2, missing=0.0)", parts)
    assert [component.name for component in pipeline.components()] == ["bm25", "letters", "exact", "tfidf"]
    pipeline.index(CORPUS)
    opened = parts["exact"].component.opened
    assert (opened.corpus, opened.encoder) == (CORPUS, parts["letters"].component)
    assert _counted(parts["letters"]) == len(set(CONTENTS))


def test_a_sum_of_rankings_is_the_sum_of_their_scores(parts):
    dense = parts["letters"] >> parts["exact"]
    total = (0.3 * parts["bm25"] + dense).score(QUERIES, ALL)
    expected = np.float32(0.3) * parts["bm25"].score(QUERIES, ALL) + _slow_products(parts["letters"], QUERIES, ALL)
    assert total.tolist() == expected.tolist()
    with pytest.raises(CompositionError, match="finds none"):
        (dense + dense).search(QUERIES, CORPUS)


@pytest.mark.parametrize(
    "text",
    [
        "bm25 >> fuse(bm25, tfidf)",
        "bm25 >> bm25 % 3",
        "bm25 >> (letters >> exact % 3)",
        "bm25 >> 0.3 * ((bm25 >> length) % 3)",
        "bm25 >> (bm25 & tfidf) + length",
        "bm25 >> bm25 - (bm25 ^ tfidf)",
        "bm25 >> others(bm25)",
        "bm25 >> (bm25 >> top(2, length))",
        "features(fuse(bm25, tfidf), length) >> summed",
        "bm25 >> (bm25 >> shares)",
    ],
)
def test_a_ranking_that_scores_only_what_it_finds_must_say_what_the_others_get(parts, text):
    with pytest.raises(CompositionError, match=r"scores none but the documents that it finds.*missing"):
        parse(text, parts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bm25 >> scores(bm25 | tfidf, missing=0.0)", "has no scores"),
        ("bm25 >> (bm25 | tfidf)", "has no scores"),
        ("bm25 >> scores(length, missing=0.0)", "finds none"),
        ("bm25 >> exact", r"scores dense vectors: write `encoder >> exact`"),
        ("bm25 >> scores(given)", "no method `score`"),
        ("bm25 >> scores(bm25, missing='max')", '"min" or a finite number'),
        ("bm25 >> scores(bm25, missing=True)", '"min" or a finite number'),
        ("bm25 >> scores(bm25, missing=1e999)", '"min" or a finite number'),
    ],
)
def test_what_has_no_scores_is_told(parts, text, message):
    with pytest.raises(CompositionError, match=message):
        parse(text, parts)


def test_pairs_need_a_corpus(parts):
    with pytest.raises(BadInput, match="no corpus"):
        nirank.scores(parts["letters"] >> parts["exact"]).score(QUERIES, Candidates.of([[0]] * 5))


# What was not found


@pytest.mark.parametrize("missing", ["min", 0.0, -2.5, np.float32(3), 7])
def test_pairs_that_were_not_found_have_the_value_that_is_named(parts, missing):
    ranking = nirank.fuse(parts["bm25"] % 2, parts["tfidf"] % 1)
    scores = nirank.scores(ranking, missing=missing).score(QUERIES, ALL)
    found = ranking.search(QUERIES, CORPUS)
    assert found.lengths.min() == 0  # "zzz" finds nothing
    for row in range(len(QUERIES)):
        own = dict(zip(*map(np.ndarray.tolist, found[row]), strict=True))
        least = min(own.values(), default=0.0)
        expected = [own.get(doc, least if missing == "min" else float(missing)) for doc in range(len(CONTENTS))]
        assert scores[row * len(CONTENTS) : (row + 1) * len(CONTENTS)].tolist() == expected


def test_the_lists_that_queries_bring_are_a_feature(parts):
    brought = QUERIES.with_found(Candidates.of([[1, 0], [], [2], [3], [9]], [[5, 4], [], [1], [2], [8]], CORPUS))
    scores = nirank.scores(parts["given"], missing="min").score(brought, ALL)
    assert scores.reshape(5, -1)[:, :3].tolist() == [[4, 5, 4], [0, 0, 0], [1, 1, 1], [2, 2, 2], [8, 8, 8]]


def test_a_score_does_not_depend_on_the_other_queries(parts):
    scoring = nirank.scores(nirank.fuse(parts["bm25"] % 2, parts["tfidf"]), missing="min")
    together = scoring.score(QUERIES, ALL).reshape(len(QUERIES), -1)
    for row in range(len(QUERIES)):
        one = np.array([row])
        assert scoring.score(QUERIES.take(one), ALL.take(one)).tolist() == together[row].tolist()


# Nothing is encoded twice


MIXED = "(bm25 % 3 | letters >> exact % 3) >> "


@pytest.mark.parametrize(
    "scoring",
    [
        "0.3 * bm25 + letters",
        "0.3 * bm25 + (letters >> exact)",
        "features(bm25, letters, 2 * letters) >> summed",
        "letters - scores(letters >> exact % 1, missing='min')",
    ],
)
def test_a_pipeline_with_an_index_of_the_encoder_encodes_no_document_again(parts, scoring):
    pipeline, target = parse(MIXED + scoring, parts), parts["letters"].component.target
    pipeline.index(CORPUS)
    assert target.documents == len(set(CONTENTS))
    found = [pipeline.search(QUERIES, CORPUS) for _ in range(2)]
    assert target.documents == len(set(CONTENTS))
    assert target.queries == 2 * len(QUERIES)  # once a search, however often they are needed
    assert found[0].scores.tolist() == found[1].scores.tolist()


def test_scores_from_stored_vectors_are_those_of_encoding_to_the_last_bit(parts):
    pipeline = parse(MIXED + "letters", parts)
    found = pipeline.search(QUERIES, CORPUS)
    assert found.scores.tolist() == parts["letters"].score(QUERIES, found).tolist()


def test_vectors_are_taken_from_an_index_of_the_same_pipeline_only(parts):
    (parts["letters"] >> parts["exact"]).search(QUERIES, CORPUS)
    before = _counted(parts["letters"])
    (parts["bm25"] >> parts["letters"]).search(QUERIES, CORPUS)
    assert _counted(parts["letters"]) > before


def test_vectors_are_those_of_the_encoder_and_not_of_another(parts):
    """Joined by fingerprint: a twin of the encoder finds its vectors, one of other weights does not."""
    parts["twin"], parts["other"] = nirank.load(Letters(), "twin"), nirank.load(Letters(2.0), "other")
    twin, other = (parse(MIXED + name, parts).search(QUERIES, CORPUS) for name in ("twin", "other"))
    assert _counted(parts["twin"]) == 0
    assert _counted(parts["other"]) > 0
    assert (4 * twin.scores).tolist() == other.scores.tolist()


def test_vectors_are_those_of_the_field_that_is_read(parts):
    corpus = Documents(CORPUS.ids, CONTENTS, fields={"title": [text[::-1] + " b" for text in CONTENTS]})
    titles = nirank.load(Letters(), "titles")
    titles.component.field = "title"
    parts["titles"] = titles
    found = parse(MIXED + "titles", parts).search(QUERIES, corpus)
    assert _counted(titles) > 0
    assert found.scores.tolist() == titles.score(QUERIES, found).tolist()


def test_vectors_that_have_changed_are_made_anew(parts):
    pipeline, target = parse(MIXED + "letters", parts), parts["letters"].component.target
    first = pipeline.search(QUERIES, CORPUS)
    parts["letters"].component.changed()  # as training does
    target.factor, target.fingerprint = 2.0, "letters anew"
    second = pipeline.search(QUERIES, CORPUS)
    assert (4 * first.scores).tolist() == second.scores.tolist()


def test_nothing_is_taken_from_an_index_in_training(parts):
    ranking = parts["letters"] >> parts["exact"]
    ranking.index(CORPUS)
    before = _counted(parts["letters"])
    with stages.searching([parts["exact"].component]), stages.training():
        parts["letters"].score(QUERIES, ALL)
    assert _counted(parts["letters"]) > before


# Rankers over features, and experiments


def test_a_ranker_learns_from_the_scores_of_rankings(parts):
    judged = Candidates.of([[0, 1, 4], [2, 8], [6, 3], [0, 9], [4]], [[0, 2, 1], [1, 2], [1, 0], [2, 1], [1]], CORPUS)
    collection = Collection("letters", CORPUS, QUERIES, judged)
    features = nirank.features(
        nirank.scores(nirank.fuse(parts["bm25"], parts["tfidf"]), missing="min"), parts["letters"] >> parts["exact"]
    )
    ranker = features >> nirank.load("linear")
    nirank.fit(ranker, "ranknet", collection, sampler="uniform", steps=3, batch_size=2)
    found = (parts["bm25"] >> ranker).search(QUERIES, CORPUS)
    assert found.pairs
    assert np.isfinite(found.scores).all()


def test_an_experiment_file_says_it_too(tmp_path, monkeypatch):
    from nirank.cli import main

    (tmp_path / "sums.toml").write_text(
        'collection = "emoji"\n[pipelines]\nfirst = "bm25 % 20"\n'
        "sums = \"bm25 % 20 >> 0.1 * (bm25 % 5 >> rm3 >> bm25) - scores(fuse(ql, bm25), missing='min')\"\n"
        'both = "(bm25 & ql) % 5 ^ ql"\n[evaluate]\nmeasures = ["nDCG@10"]\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["nirank", "run", "sums.toml", "--out", "out"])
    with pytest.raises(SystemExit) as done:
        raise SystemExit(main())
    assert not done.value.code
    written = (tmp_path / "out" / "experiment.toml").read_text()
    assert "missing='min'" in written
    assert "(bm25 & ql)" in written


def test_a_component_that_two_threads_give_two_corpora_is_told():
    """Threads with one corpus each and one component for both get the right answer, or are told."""
    from concurrent.futures import ThreadPoolExecutor

    bm25 = nirank.load("bm25")
    corpora = [
        nirank.Documents(
            [f"{name}{number}" for number in range(200)], [f"{name} word{number % 7}" for number in range(200)]
        )
        for name in ("cat", "dog")
    ]
    queries = nirank.Queries.of(["word3", "cat dog word5"])
    wanted = [(bm25 >> bm25).search(queries, corpus) for corpus in corpora]

    def search(number):
        try:
            found = (bm25 >> bm25).search(queries, corpora[number % 2])
        except ComponentError as error:
            return "load a component for each corpus" in str(error)
        right = wanted[number % 2]
        return bool((found.docs == right.docs).all() and (found.scores == right.scores).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(search, range(120)))
