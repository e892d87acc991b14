"""Features of pairs and rankers over them: what is composed, what is refused, what a ranker reads and learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nirank
from nirank.data import Candidates, Collection, Documents, Features, Queries
from nirank.errors import BadInput, ComponentError, CompositionError
from nirank.pipeline import parse
from nirank.pipeline.algebra import Rescored

NAMES = ("first", "second", "third")


class Sizes:
    """An extractor: letters and blanks of the document, and letters of the query."""

    names = NAMES
    batch_size = 3

    def extract(self, queries, candidates):
        texts = candidates.corpus[candidates.docs]
        asked = [len(queries.contents[row]) for row in candidates.rows]
        columns = [[len(text) for text in texts], [text.count(" ") for text in texts], asked]
        return np.array(columns, np.float32).T.reshape(-1, 3)


class Length:
    """A scorer: how long a document is."""

    def score(self, queries, candidates):
        return np.array([len(text) for text in candidates.corpus[candidates.docs]], np.float32)


class Summed:
    """A ranker: the sum of all features. It notes what it was given."""

    reads = "features"

    def score(self, queries, candidates):
        self.seen = candidates.features
        return candidates.features.values.sum(axis=1)


class Weighed(torch.nn.Module):
    """A ranker: a weighted sum of the features."""

    reads = "features"

    def __init__(self, features=3):
        super().__init__()
        self.weigh = torch.nn.Linear(features, 1, bias=False)
        torch.nn.init.zeros_(self.weigh.weight)

    def begin(self, collection):
        self.begun = collection

    def score(self, queries, candidates):
        return self.weigh(torch.from_numpy(candidates.features.values))[:, 0]


class Everything:
    """A generator: the first documents of the corpus. It counts how often it is asked."""

    asked = 0

    def generate(self, queries, k):
        self.asked += 1
        return Candidates.of([np.arange(k)] * len(queries), [np.arange(k, 0, -1)] * len(queries))


@pytest.fixture
def corpus():
    return Documents(["a", "b", "c", "d"], ["one", "one two", "", "one two three"])


@pytest.fixture
def parts():
    made = {"sizes": Sizes(), "length": Length(), "summed": Summed(), "everything": Everything()}
    return {name: nirank.load(part, name) for name, part in made.items()}


PAIRS = Candidates.of([[0, 3], [], [1]])
QUERIES = Queries.of(["q", "qu", "que"])


def test_features_are_columns_with_names_in_the_order_of_their_parts(parts, corpus):
    described = nirank.features(parts["length"], parts["sizes"], 0.5 * parts["length"])
    found = described.of(QUERIES, PAIRS.over(corpus))
    assert found.names == ("length", *NAMES, "0.5 * length")
    assert found.values.tolist() == [[3, 3, 0, 1, 1.5], [13, 13, 2, 1, 6.5], [7, 7, 1, 3, 3.5]]
    assert described.of(QUERIES, Candidates.empty(3, corpus)).values.shape == (0, 5)


def test_a_ranker_reads_the_features_before_it(parts, corpus):
    scoring = nirank.features(parts["sizes"], parts["length"]) >> parts["summed"]
    assert scoring.score(QUERIES, PAIRS.over(corpus)).tolist() == [7, 29, 18]
    assert parts["summed"].component.target.seen.names == (*NAMES, "length")
    doubled = (2 * scoring + parts["length"]).score(QUERIES, PAIRS.over(corpus))
    assert doubled.tolist() == [17, 71, 43]


@pytest.mark.parametrize(
    "text",
    [
        "everything >> features(sizes, length) >> summed",
        "everything % 3 >> features(sizes, 0.5 * length + length) >> summed",
        "everything >> 0.5 * (features(sizes) >> summed) + length",
        "(everything >> features(sizes) >> summed) % 2 >> length",
    ],
)
def test_text_and_objects_say_the_same(parts, corpus, text):
    pipeline = parse(text, parts)
    again = parse(repr(pipeline), parts)
    assert repr(again) == repr(pipeline)
    one, two = (each.search(["query"], corpus) for each in (pipeline, again))
    assert (one.docs.tolist(), one.scores.tolist()) == (two.docs.tolist(), two.scores.tolist())


def test_a_ranking_by_features_is_a_rescored_one(parts, corpus):
    pipeline = parts["everything"] >> nirank.features(parts["sizes"]) >> parts["summed"]
    assert isinstance(pipeline, Rescored)
    assert [component.name for component in pipeline.components()] == ["everything", "sizes", "summed"]
    assert pipeline.search("q", corpus).docs.tolist() == [3, 1, 0, 2]


@pytest.mark.parametrize(
    ("compose", "message"),
    [
        (lambda p: p["everything"] >> p["sizes"], "write `features"),
        (lambda p: p["everything"] >> p["summed"], "write `features"),
        (lambda p: p["everything"] >> nirank.features(p["sizes"]) >> p["length"], "does not read features"),
        (lambda p: nirank.features(p["sizes"]) >> p["everything"], "does not read features"),
        (lambda p: nirank.features(p["everything"]), "cannot score given documents"),
        (lambda p: nirank.features(p["summed"]), "write `features"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_written(parts, compose, message):
    with pytest.raises(CompositionError, match=message):
        compose(parts)


def test_features_alone_are_no_pipeline(parts):
    with pytest.raises(BadInput, match="is not a pipeline"):
        parse("features(sizes)", parts)
    with pytest.raises(BadInput, match="is not a pipeline"):
        parse("everything >> features(sizes)", parts)


def test_two_features_of_one_name_are_refused(parts, corpus):
    with pytest.raises(BadInput, match="two features have the name 'length'"):
        nirank.features(parts["length"], parts["length"]).of(QUERIES, PAIRS.over(corpus))


def test_an_extractor_that_returns_another_shape_is_told(corpus):
    class Narrow(Sizes):
        def extract(self, queries, candidates):
            return super().extract(queries, candidates)[:, :2]

    with pytest.raises(ComponentError, match=r"shape \(3, 2\); \(3, 3\) is expected"):
        nirank.features(Narrow()).of(QUERIES, PAIRS.over(corpus))


# What stays with the pairs


@pytest.fixture
def described():
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    return Candidates.of([[5, 3], [4], [9]], [[1, 2], [3], [4]]).with_features(Features(("a", "b"), values))


def test_features_go_where_their_pairs_go(described):
    assert described.take(np.array([2, 0])).features.values[:, 0].tolist() == [6, 0, 2]
    assert described.where(described.docs > 3).features.values[:, 0].tolist() == [0, 4, 6]
    rows, part = described.cut(1, 3)
    assert (rows, part.features.values[:, 0].tolist()) == (slice(0, 2), [2, 4])
    assert described.with_scores(np.zeros(4)).features is described.features


def test_features_are_one_row_a_pair():
    with pytest.raises(BadInput, match="features have 2 rows for 1 pairs"):
        Candidates.of([[1]]).with_features(Features(("a",), np.zeros((2, 1))))
    with pytest.raises(BadInput, match="2 names for features"):
        Features(("a", "b"), np.zeros((2, 1)))


def test_places_are_those_of_the_same_pairs_in_another_order():
    others = Candidates.of([[7, 2], [5]])
    assert Candidates.of([[2, 3, 7], [5, 2]]).places(others).tolist() == [1, -1, 0, 2, -1]
    assert Candidates.of([[2], []]).places(Candidates.empty(2)).tolist() == [-1]


# Training


def numbers(count=40, seed=0):
    """Texts of letters, of which more are more relevant; each query judges five of them."""
    random = np.random.default_rng(seed)
    texts = ["x" * size + " " * blanks for size, blanks in random.integers(1, 30, (count, 2)).tolist()]
    corpus = Documents([str(place) for place in range(count)], texts)
    docs = [random.choice(count, 5, replace=False) for _ in range(30)]
    grades = [[len(texts[doc].strip()) // 10 for doc in each] for each in docs]
    return Collection("numbers", corpus, Queries.of([f"query {row}" for row in range(30)]), Candidates.of(docs, grades))


OPTIONS = {"epochs": 20, "batch_size": 8, "learning_rate": 0.05, "weight_decay": 0.0, "schedule": "constant"}


def test_a_ranker_over_features_is_trained_with_what_it_reads(parts):
    ranker, train = nirank.load(Weighed(), "ranker"), numbers()
    scoring = nirank.features(parts["sizes"]) >> ranker
    fitted = nirank.fit(scoring, nirank.load("ranknet"), train, dev=numbers(seed=1), **OPTIONS)
    assert fitted.best > 0.99
    assert ranker.component.target.begun.judgments.features.names == NAMES
    weights = ranker.component.target.weigh.weight.detach().numpy()[0]
    assert weights[0] > 0
    assert weights[1] < weights[0] / 2


def test_the_features_are_found_in_the_pipeline(parts):
    ranker, train = nirank.load(Weighed(), "ranker"), numbers()
    pipeline = parts["everything"] % 20 >> nirank.features(parts["sizes"]) >> ranker
    fitted = nirank.fit(ranker, nirank.load("ranknet"), train, dev=train, pipeline=pipeline, **OPTIONS)
    assert fitted.best == max(line["dev nDCG@10"] for line in fitted.log if "dev nDCG@10" in line)
    assert parts["everything"].component.target.asked == 1, "what the ranker does not change is found once"
    with pytest.raises(BadInput, match="ranks by features: train"):
        nirank.fit(ranker, nirank.load("ranknet"), train)


def test_documents_that_nobody_judged_are_described_too(parts):
    ranker, train = nirank.load(Weighed(), "ranker"), numbers()
    sampler = nirank.load("uniform", negatives=4)
    fitted = nirank.fit(
        nirank.features(parts["sizes"]) >> ranker, nirank.load("ranknet"), train, sampler=sampler, **OPTIONS
    )
    assert fitted.log[-1]["loss"] < fitted.log[0]["loss"]


class Grown:
    """Learns in a way of its own: the feature that orders the lists best, found by trying."""

    reads = "features"

    def learn(self, train, dev, gradient, options):
        self.train, self.dev, self.gradient = train, dev, gradient
        agreement = [np.corrcoef(column, train.scores)[0, 1] for column in train.features.values[:, :2].T]
        self.column = int(np.argmax(agreement))
        return 7

    def score(self, queries, candidates):
        return candidates.features.values[:, self.column]

    def save(self, folder):
        (folder / "column.txt").write_text(str(self.column))
        return {"use": None}


def test_what_is_no_module_learns_in_a_way_of_its_own(parts, tmp_path):
    ranker, train = nirank.load(Grown(), "grown"), numbers()
    scoring = nirank.features(parts["sizes"]) >> ranker
    fitted = nirank.fit(scoring, None, train, dev=numbers(seed=1), out=tmp_path / "out")
    grown = ranker.component.target
    assert (fitted.steps, grown.column, grown.gradient) == (7, 0, None)
    assert fitted.best > 0.9
    assert grown.train.features.values.shape == (150, 3)
    assert grown.dev.scores.max() > 0
    assert (tmp_path / "out" / "checkpoint" / "column.txt").read_text() == "0"
    with pytest.raises(BadInput, match="is finished"):
        nirank.fit(scoring, None, train, out=tmp_path / "out")


def test_the_gradient_of_a_loss_is_by_the_score_of_each_pair(parts):
    ranker, train = nirank.load(Grown(), "grown"), numbers()
    nirank.fit(nirank.features(parts["sizes"]) >> ranker, nirank.load("ranknet"), train)
    gradient, lists = ranker.component.target.gradient, ranker.component.target.train
    scores = np.random.default_rng(0).normal(size=lists.pairs)
    expected, counted = np.zeros(lists.pairs), 0
    for start, stop in zip(lists.offsets[:-1], lists.offsets[1:], strict=True):
        pairs = [(i, j) for i in range(start, stop) for j in range(start, stop) if lists.scores[i] > lists.scores[j]]
        counted += bool(pairs)
        for better, worse in pairs:
            slope = 1 / (1 + np.exp(scores[better] - scores[worse])) / len(pairs)
            expected[better] -= slope
            expected[worse] += slope
    assert np.allclose(gradient(scores), expected / counted, atol=1e-6)


def test_a_loss_is_asked_for_where_one_is_needed(parts):
    with pytest.raises(BadInput, match="is trained with a loss"):
        nirank.fit(nirank.features(parts["sizes"]) >> nirank.load(Weighed(), "ranker"), None, numbers())
