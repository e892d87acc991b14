"""Samplers: what is drawn, how often, what is never drawn, and where losses go that rely on the expected counts."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, CompositionError, UnknownName
from nirank.formats import write_run
from nirank.pipeline import load
from nirank.plugins import build
from nirank.training import Sampler
from nirank_samplers import ranked
from nirank_samplers.drawn import Frequency, Uniform
from nirank_samplers.hard import FromRun, Mined
from nirank_samplers.in_batch import InBatch
from nirank_samplers.noise import Counted
from nirank_samplers.positives import Positives


def collection(judged, grades=None, documents=8):
    """A collection of which only ordinals matter; grades are 1 unless given."""
    corpus = Documents([f"é{doc}" for doc in range(documents)], ["text"] * documents)
    queries = Queries([f"q{row}" for row in range(len(judged))], ["text"] * len(judged))
    grades = [[1] * len(docs) for docs in judged] if grades is None else grades
    return Collection("toy", corpus, queries, Candidates.of(judged, grades, corpus))


def begun(sampler, data, stages=None):
    sampler.begin(data, stages or {})
    return sampler


def one_each(data):
    """A list for every positive: the rows and the positives."""
    relevant = data.judgments.where(data.judgments.scores > 0)
    return relevant.rows, Candidates(np.arange(relevant.pairs + 1), relevant.docs, relevant.scores)


def entries(sample):
    """The lists as lists of (document, label, expected count, does it count)."""
    lists = sample.candidates
    mask = np.ones(lists.pairs, bool) if sample.mask is None else sample.mask
    counts = np.exp(sample.log_expected_count.astype(float))
    rows = [[] for _ in range(len(lists))]
    columns = (column.tolist() for column in (lists.rows, lists.docs, lists.scores, counts, mask))
    for row, *entry in zip(*columns, strict=True):
        rows[row].append(tuple(entry))
    return rows


def rng(seed=0):
    return np.random.default_rng(seed)


def draws(sampler, data, times=2000, seed=0):
    """How often each document came without a label, by list of `one_each`, and the counts that were expected."""
    rows, positives = one_each(data)
    found, random = np.zeros((len(rows), len(data.corpus))), rng(seed)
    expected = np.full(found.shape, np.nan)
    for _ in range(times):
        for place, entry in enumerate(entries(sampler.sample(rows, positives, random))):
            for doc, label, count, _ in entry:
                found[place, doc] += label == 0
                expected[place, doc] = count
    return found / times, expected


# From the whole corpus


@pytest.mark.parametrize("unique", [False, True])
def test_uniform_draws_any_document_as_often_as_it_says(unique):
    data = collection([[0, 1], [1]], documents=5)
    sampler = begun(Uniform(negatives=3, hits="keep", unique=unique), data)
    found, expected = draws(sampler, data)
    count = 1 - 0.8**3 if unique else 3 / 5
    np.testing.assert_allclose(expected, count, rtol=1e-5)
    np.testing.assert_allclose(found, count, atol=0.05)


@pytest.mark.parametrize("unique", [False, True])
def test_frequency_draws_by_the_power_of_how_often_documents_are_relevant(unique):
    data = collection([[0, 1, 2], [2, 0], [2], [2, 1]], [[1, 2, 1], [3, 0], [1], [1, 1]], documents=5)
    sampler = begun(Frequency(negatives=4, hits="keep", unique=unique, power=0.5, smoothing=0.5), data)
    weights = [math.sqrt(count + 0.5) for count in (1, 2, 4, 0, 0)]
    shares = [weight / sum(weights) for weight in weights]
    counts = [1 - (1 - share) ** 4 if unique else 4 * share for share in shares]
    found, expected = draws(sampler, data)
    np.testing.assert_allclose(expected, [counts] * 7, rtol=1e-5)
    np.testing.assert_allclose(found, [counts] * 7, atol=0.08)


def test_a_power_of_0_is_uniform_and_no_judgments_are_too():
    for data, power in ((collection([[0, 1], [1]]), 0.0), (collection([[], []]), 0.75)):
        sampler = begun(Frequency(negatives=2, power=power, hits="keep"), data)
        sample = sampler.sample(np.array([0, 1]), Candidates.empty(2), rng())
        np.testing.assert_allclose(np.exp(sample.log_expected_count), 2 / 8, rtol=1e-6)
        assert sample.candidates.lengths.tolist() == [2, 2]


def test_positives_stand_first_and_the_counts_are_of_all_pairs():
    data = collection([[3, 5], [7]], [[2, 1], [1]])
    sample = begun(Uniform(negatives=4, each="query", hits="keep"), data).sample(
        np.array([1, 0, 0]), data.judgments.take(np.array([1, 0, 0])), rng()
    )
    assert [[entry[:2] for entry in entry if entry[1]] for entry in entries(sample)] == [
        [(7, 1)], [(3, 2), (5, 1)], [(3, 2), (5, 1)]
    ]  # fmt: skip
    assert [entry[0][0] for entry in entries(sample)] == [7, 3, 3]
    assert sample.candidates.lengths.tolist() == [5, 6, 6]
    assert sample.candidates.corpus is data.corpus
    np.testing.assert_allclose(np.exp(sample.log_expected_count), 4 / 8, rtol=1e-6)


def test_hits_of_any_relevant_document_are_dropped_or_kept_and_counted():
    data = collection([[0, 1, 2], [3]], [[1, 2, 0], [1]], documents=4)
    rows, positives = one_each(data)
    kept = begun(Uniform(negatives=50, hits="keep"), data)
    dropped = begun(Uniform(negatives=50), data)
    whole, left = kept.sample(rows, positives, rng(3)), dropped.sample(rows, positives, rng(3))
    relevant = [{0, 1}, {0, 1}, {3}]
    hits = [
        [doc in judged for doc, label, *_ in entry if not label]
        for entry, judged in zip(entries(whole), relevant, strict=True)
    ]
    assert kept.collisions == dropped.collisions == sum(map(sum, hits)) > 0
    assert left.candidates.pairs == whole.candidates.pairs - kept.collisions
    for entry, judged in zip(entries(left), relevant, strict=True):
        assert not judged & {doc for doc, label, *_ in entry if not label}
        np.testing.assert_allclose([count for _, _, count, _ in entry], 50 / 4, rtol=1e-5)
    assert 2 in {doc for doc, *_ in entries(left)[0]}  # judged, and not relevant


def test_distinct_draws_are_distinct():
    data = collection([[0]] * 20, documents=6)
    sample = begun(Uniform(negatives=5, unique=True, hits="keep"), data).sample(*one_each(data), rng())
    lengths = set()
    for entry in entries(sample):
        docs = [doc for doc, label, *_ in entry if not label]
        assert len(docs) == len(set(docs)) <= 5
        lengths.add(len(docs))
    assert len(lengths) > 1  # five draws, not five documents


@pytest.mark.parametrize("sampler", [Uniform(unique=True), Frequency(unique=True), Uniform(), InBatch(negatives=3)])
def test_a_corpus_of_one_document_has_lists_of_its_positive_alone(sampler):
    data = collection([[0], [0]], documents=1)
    sample = begun(sampler, data).sample(*one_each(data), rng())
    count = 8 if sampler.__class__ is Uniform and not sampler.unique else 1
    assert entries(sample) == [[(0, 1, pytest.approx(count), True)]] * 2


def test_a_query_with_every_document_relevant_has_its_positive_alone():
    data = collection([range(8), [1]])
    for sampler in (Uniform(), Frequency()):
        lists = begun(sampler, data).sample(*one_each(data), rng()).candidates
        assert lists.lengths[:8].tolist() == [1] * 8
        assert lists.lengths[8] > 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.floats(0, 2), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_counted_shares_are_those_of_the_definition(counts, power, seed):
    noise = Counted(np.array(counts) + 0.25, power)
    weights = [(count + 0.25) ** power for count in counts]
    shares = noise.shares(np.arange(len(counts)))
    np.testing.assert_allclose(shares, np.array(weights) / sum(weights))
    found = np.bincount(noise.draw((40, 100), rng(seed)).ravel(), minlength=len(counts)) / 4000
    np.testing.assert_allclose(found, shares, atol=0.06)


# In the batch


def naive_in_batch(data, rows, positives, more):
    """Each list written out: labels, and whether an entry counts."""
    columns = sorted({*positives.docs.tolist(), *more})
    relevant = data.judgments.where(data.judgments.scores > 0)
    lists = []
    for place, row in enumerate(rows):
        own = dict(zip(*map(np.ndarray.tolist, positives[place]), strict=True))
        others = set(relevant[int(row)][0].tolist()) - own.keys()
        lists.append([(doc, own.get(doc, 0), doc not in others) for doc in columns])
    return lists


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_in_batch_lists_are_those_written_out(seed):
    random = rng(seed)
    judged = [random.permutation(8)[: random.integers(0, 4)] for _ in range(5)]
    data = collection(judged, [random.integers(0, 3, len(docs)) for docs in judged])
    rows, positives = one_each(data)
    chosen = random.integers(0, max(len(rows), 1), 6 if len(rows) else 0)
    sampler = begun(InBatch(negatives=2), data)
    sample = sampler.sample(rows[chosen], positives.take(chosen), rng(1))
    more = rng(1).integers(0, 8, 2).tolist()
    naive = naive_in_batch(data, rows[chosen], positives.take(chosen), more)
    assert [[(doc, label, counts) for doc, label, _, counts in entry] for entry in entries(sample)] == naive
    assert sampler.collisions == sum(not counts for entry in naive for *_, counts in entry)
    assert sample.shared


def test_two_lists_of_one_query_mask_each_others_positive():
    data = collection([[2, 5, 6], [4]], [[1, 3, 1], [1]])
    positives = Candidates.of([[5], [2], [4]], [[3], [1], [1]])
    sample = begun(InBatch(), data).sample(np.array([0, 0, 1]), positives, rng())
    assert [[entry[:2] + entry[3:] for entry in entries] for entries in entries(sample)] == [
        [(2, 0, False), (4, 0, True), (5, 3, True)],
        [(2, 1, True), (4, 0, True), (5, 0, False)],
        [(2, 0, True), (4, 1, True), (5, 0, True)],
    ]


def test_a_list_of_a_query_has_all_its_positives_unmasked():
    data = collection([[2, 5], [4], [0]], [[1, 3], [1], [0]])
    sample = begun(InBatch(each="query"), data).sample(
        np.arange(3), data.judgments.where(data.judgments.scores > 0), rng()
    )
    assert sample.mask.all()
    assert sample.candidates.scores.reshape(3, 3).tolist() == [[1, 0, 3], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("most", [1, 2])
def test_a_list_of_a_query_has_so_many_of_its_positives_drawn_anew(most):
    data = collection([[2, 5, 6], [4], [1, 5]], [[1, 3, 1], [1], [2, 1]])
    sampler, random = begun(InBatch(each="query", relevant=most), data), rng()
    judged, found, expected = data.judgments, np.zeros(8), np.full(8, np.nan)
    for _ in range(2000):
        batch = random.integers(0, 3, 2)
        sample = sampler.sample(batch, judged.take(batch), random)
        for row, entry in zip(batch, entries(sample), strict=True):
            grades = dict(zip(*map(np.ndarray.tolist, judged[int(row)]), strict=True))
            own = {doc: label for doc, label, *_ in entry if label}
            assert len(own) == min(most, len(grades))
            assert own.items() <= grades.items()
            assert {doc for doc, *_, counts in entry if not counts} == {
                doc for doc, *_ in entry if doc in grades and doc not in own
            }
        for doc, _, count, _ in entries(sample)[0]:
            found[doc] += 1 / 2000
            expected[doc] = count
    if most == 1:  # as many positives in each batch, so that the formula of independent draws is exact
        np.testing.assert_allclose(expected[[1, 2, 4, 5, 6]], found[[1, 2, 4, 5, 6]], atol=0.04)


@pytest.mark.parametrize("negatives", [0, 2])
def test_the_counts_of_a_batch_are_those_of_either_way_into_it(negatives):
    data = collection([[0, 1], [0], [0, 2], [3]], documents=6)
    sampler = begun(InBatch(negatives=negatives), data)
    rows, positives = one_each(data)
    found, random, expected = np.zeros(6), rng(), {}
    for _ in range(2000):
        chosen = random.integers(0, len(rows), 3)
        sample = sampler.sample(rows[chosen], positives.take(chosen), random)
        for doc, _, count, _ in entries(sample)[2]:
            found[doc] += 1 / 2000
            expected[doc] = count
    shares = [3 / 6, 1 / 6, 1 / 6, 1 / 6, 0, 0]
    counts = [1 - (1 - share) ** 3 * (5 / 6) ** negatives for share in shares]
    np.testing.assert_allclose(found, counts, atol=0.05)
    assert expected == {doc: pytest.approx(counts[doc]) for doc in range(6 if negatives else 4)}


def test_a_batch_without_positives_has_what_was_drawn():
    data = collection([[], []])
    for negatives, length in ((0, 0), (1, 1)):
        sampler = begun(InBatch(negatives=negatives, each="query"), data)
        sample = sampler.sample(np.arange(2), Candidates.empty(2), rng())
        assert sample.candidates.lengths.tolist() == [length] * 2
        assert np.isfinite(sample.log_expected_count).all()


# From a ranking


def naive_pool(run, relevant, skip, top, below):
    pools = []
    for row in range(len(run)):
        found = sorted(zip(*map(np.ndarray.tolist, run[row]), strict=True), key=lambda pair: (-pair[1], pair[0]))
        judged = set(relevant[row][0].tolist())
        best = max((score for doc, score in found if doc in judged), default=None)
        limit = math.inf
        if below is not None and best is not None:
            limit = best - (1 - below) * abs(best)
        allowed = found[skip:top]
        pools.append([doc for doc, score in allowed if doc not in judged and score <= limit + 1e-9])
    return pools


@given(st.integers(0, 10**6), st.integers(0, 3), st.integers(1, 6), st.sampled_from([None, 0.5, 1.0]))
@settings(max_examples=80, deadline=None)
def test_the_pool_is_that_written_out(seed, skip, depth, below):
    random = rng(seed)
    found = [random.permutation(9)[: random.integers(0, 10)] for _ in range(4)]
    run = Candidates.of(found, [random.integers(-4, 5, len(docs)) for docs in found])  # many ties
    judged = [random.permutation(9)[: random.integers(0, 3)] for _ in range(4)]
    relevant = Candidates.of([sorted(docs) for docs in judged])
    relevant = relevant.with_scores(np.ones(relevant.pairs))
    pool = ranked.pool(run, relevant, skip, skip + depth, below)
    assert [pool[row][0].tolist() for row in range(4)] == naive_pool(run, relevant, skip, skip + depth, below)


def test_every_set_of_a_pool_is_as_likely():
    sizes = np.array([5, 0, 2, 3, 5])
    counts = [{}, {}, {}, {}, {}]
    random = rng()
    for _ in range(4000):
        for row, places in enumerate(ranked.choose(sizes, 3, random)):
            chosen = frozenset(places[places >= 0].tolist())
            assert len(chosen) == min(sizes[row], 3) == (places >= 0).sum()
            counts[row][chosen] = counts[row].get(chosen, 0) + 1
    for row, size in enumerate(sizes):
        sets = [frozenset(some) for some in combinations(range(size), min(size, 3))]
        assert counts[row].keys() == set(sets)
        assert min(counts[row].values()) > 0.8 * 4000 / len(sets)


def run_file(path, data, docs, scores):
    write_run(path, data.queries, Candidates.of(docs, scores, data.corpus))
    return str(path)


def test_negatives_come_from_the_ranks_of_a_file(tmp_path):
    data = collection([[0, 7], [1], [2]], [[1, 1], [1], [1]])
    docs = [[3, 0, 4, 5, 6], [], [2, 1]]
    path = run_file(tmp_path / "run.gz", data, docs, [[9, 8, 7, 6, 5], [], [2, 1]])
    sampler = begun(FromRun(path, negatives=2, skip=1, top=4), data)
    rows, positives = one_each(data)
    assert entries(sampler.sample(rows, positives, rng()))[2:] == [
        [(1, 1, 1, True)],  # nothing was found
        [(2, 1, 1, True), (1, 0, 1, True)],
    ]
    found, expected = draws(sampler, data, 500)
    assert np.flatnonzero(found[0]).tolist() == np.flatnonzero(found[1]).tolist() == [4, 5]  # not of rank 1, 2 or 5
    assert expected[0][[0, 4, 5]].tolist() == expected[1][[7, 4, 5]].tolist() == [1, 1, 1]
    fewer, counts = draws(begun(FromRun(path, negatives=1, skip=1, top=4), data), data, 1000)
    np.testing.assert_allclose(fewer[0][[4, 5]], 0.5, atol=0.08)
    assert counts[0][[0, 4, 5]].tolist() == pytest.approx([1, 0.5, 0.5])


def test_the_limit_is_as_far_below_a_negative_score():
    data = collection([[0], [0], [0]])
    found = [[0, 1, 2, 3]] * 3
    scores = [[10, 9.5, 9, 8], [-10, -10.5, -11, -12], [-1, 3, 2, 1]]
    run = Candidates.of(found, scores)
    pool = ranked.pool(run, data.judgments, 0, 9, 0.9)
    assert [pool[row][0].tolist() for row in range(3)] == [[2, 3], [2, 3], []]
    assert ranked.pool(run, Candidates.of([[7]] * 3, [[1]] * 3), 0, 9, 0.9).lengths.tolist() == [4, 4, 4]


def test_a_run_over_another_collection_is_told_with_its_file(tmp_path):
    data = collection([[0], [1]])
    path = tmp_path / "a.run"
    path.write_text("q0 Q0 é3 1 2.0 t\nq7 Q0 é3 1 2.0 t\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"a\.run: 1 of 2 queries of the run are not in toy, such as 'q7'"):
        begun(FromRun(path), data)
    path.write_text("q0 Q0 é3 1 2.0 t\nq0 Q0 zebra 2 1.0 t\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"a\.run: 1 of 2 documents of the run are not in the corpus of toy"):
        begun(FromRun(path), data)


# Mined


def negatives_of(sampler, data):
    rows, positives = one_each(data)
    return {doc for entry in entries(sampler.sample(rows, positives, rng())) for doc, label, *_ in entry if not label}


class Moving:
    """Finds two documents, others at every search."""

    def __init__(self):
        self.times, self.depths = 0, []

    def generate(self, queries, k):
        self.times += 1
        self.depths.append(k)
        docs = [self.times % 8, (self.times + 1) % 8][:k]
        return Candidates.of([docs] * len(queries), [[2, 1][:k]] * len(queries))


def test_a_pipeline_is_searched_at_its_depth_when_it_is_time():
    data, finder = collection([[0], [0]]), Moving()
    sampler = begun(Mined("finder", top=5, every=2), data, {"finder": load(finder, "finder")})
    assert finder.times == 0
    assert negatives_of(sampler, data) == {1, 2}
    found = []
    for step in range(1, 6):
        sampler.refresh(step)
        found.append(negatives_of(sampler, data))
    assert found == [{1, 2}, {2, 3}, {2, 3}, {3, 4}, {3, 4}]
    assert finder.depths == [5, 5, 5]


def test_without_every_a_ranking_is_searched_once():
    data, finder = collection([[0], [0]]), Moving()
    sampler = begun(Mined(load(finder) % 1, top=5), data)
    for step in range(4):
        sampler.refresh(step)
    assert negatives_of(sampler, data) == {1}
    assert finder.depths == [1]


def test_what_was_mined_is_restored_without_a_search():
    data, finder = collection([[0], [3]]), Moving()
    sampler = begun(Mined(load(finder), every=3), data)
    assert sampler.state() == {}
    sampler.refresh(0)
    resumed = begun(Mined(load(finder), every=3), data)
    resumed.restore(sampler.state())
    resumed.refresh(1)
    assert finder.times == 1
    assert negatives_of(resumed, data) == negatives_of(sampler, data) == {1, 2}
    resumed.restore({})
    assert negatives_of(resumed, data) == {2, 3}
    assert finder.times == 2
    with pytest.raises(BadInput, match="the saved negatives are of 2 queries, but the collection has 1"):
        begun(Mined(load(finder)), collection([[0]])).restore(sampler.state())


def test_a_pipeline_that_finds_nothing_is_refused_at_once():
    data, stages = collection([[0]]), {"finder": load(Moving(), "finder")}
    with pytest.raises(CompositionError, match="no order before it is scored"):
        begun(Mined("finder | finder"), data, stages)
    with pytest.raises(UnknownName, match="'fynder'"):
        begun(Mined("fynder"), data, stages)


# What is refused, and what all share


def test_samplers_are_built_by_name():
    for name in ("judged", "uniform", "frequency", "in_batch"):
        assert isinstance(build(name, kinds=("sampler",)).target, Sampler)
    assert isinstance(build("mined", {"pipeline": "bm25"}, kinds=("sampler",)).target, Sampler)
    with pytest.raises(BadInput, match=r"hits = 'mask' is not of the type 'drop' \| 'keep'"):
        build("frequency", {"hits": "mask"}, kinds=("sampler",))
    with pytest.raises(BadInput, match="needs the setting 'run'"):
        build("from_run", {}, kinds=("sampler",))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(negatives=0), "negatives = 0; at least 1"),
        (lambda: Frequency(smoothing=0.0), "smoothing = 0.0; a number above 0"),
        (lambda: Frequency(power=math.nan), "power = nan"),
        (lambda: InBatch(negatives=-1), "negatives = -1; at least 0"),
        (lambda: InBatch(relevant=0, each="query"), "relevant = 0; at least 1"),
        (lambda: InBatch(relevant=1), 'relevant = 1 are drawn for a query: set each = "query"'),
        (lambda: FromRun("x", skip=5, top=5), "top = 5; at least 6"),
        (lambda: FromRun("x", skip=-1), "skip = -1"),
        (lambda: FromRun("x", below=1.5), "below = 1.5"),
        (lambda: Mined("x", every=-1), "every = -1"),
    ],
)
def test_settings_that_make_no_sense_are_told(make, message):
    with pytest.raises(BadInput, match=message):
        make()


SAMPLERS = [Uniform(), Frequency(), InBatch(), InBatch(each="query"), Mined(load(Moving()))]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_an_empty_corpus_and_a_strange_positive_are_told(sampler):
    with pytest.raises(BadInput, match="toy: the corpus has no documents to draw from"):
        begun(sampler, collection([[]], documents=0))
    begun(sampler, collection([[0, 3], [1]], [[1, 0], [1]]))
    for doc in (3, 6):
        with pytest.raises(BadInput, match=f"ordinal {doc} is a positive of query 'q0', but is not judged relevant"):
            sampler.sample(np.array([1, 0]), Candidates.of([[1], [doc]], [[1], [1]]), rng())


@pytest.mark.parametrize("sampler", SAMPLERS[:-1], ids=repr)
def test_judgments_of_documents_that_the_corpus_lacks_do_not_matter(sampler):
    data, more = collection([[0], [1]]), collection([[0, 8], [1, 11]])
    positives = Candidates.of([[0], [1]], [[1], [1]])
    plain = begun(sampler, data).sample(np.arange(2), positives, rng(5))
    strange = begun(sampler, more).sample(np.arange(2), positives, rng(5))
    assert entries(plain) == entries(strange)


# Where losses go


P = (0.42, 0.26, 0.17, 0.1, 0.05)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def optimum(torch, loss, sampler, size=6000):
    """The free scores of five documents that cost least over batches of `size`; documents are relevant as P says."""
    data = collection([[doc] for doc, share in enumerate(P) for _ in range(round(100 * share))], documents=5)
    rows, positives = one_each(data)
    random = rng(11)
    batches = [random.permutation(np.tile(np.arange(100), 60))[:size] for _ in range(6000 // size)]
    begun(sampler, data)
    samples = [sampler.sample(rows[batch], positives.take(batch), random) for batch in batches]
    lists = Candidates.stack([sample.candidates for sample in samples])
    docs, labels, mask = map(torch.from_numpy, lists.padded(0))
    counts = torch.zeros(mask.shape, dtype=torch.float64)
    counts[mask] = torch.from_numpy(np.concatenate([sample.log_expected_count for sample in samples]).astype(float))
    docs = docs.where(mask, 0)
    free = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    steps = torch.optim.LBFGS([free], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        steps.zero_grad()
        value = loss(free[docs], labels.double(), mask, documents=docs, log_expected_count=counts)
        value.backward()
        return value

    steps.step(closure)
    return free.detach()


def variation(torch, scores):
    return 0.5 * (torch.softmax(scores, 0) - torch.tensor(P)).abs().sum().item()


@pytest.mark.parametrize("sampler", [Uniform(negatives=3, hits="keep"), Frequency(negatives=3, hits="keep")], ids=repr)
def test_sampled_softmax_and_nce_over_draws_with_hits_find_p(torch, sampler):
    from nirank_losses.sampled import NCE, SampledSoftmax

    assert variation(torch, optimum(torch, SampledSoftmax(), sampler)) < 0.02
    np.testing.assert_allclose(optimum(torch, NCE(), sampler).exp(), P, atol=0.02)


@pytest.mark.parametrize(
    ("sampler", "size"),
    [(Frequency(negatives=3, unique=True), 6000), (InBatch(), 4), (InBatch(negatives=2), 4)],
    ids=repr,
)
def test_sampled_softmax_over_distinct_documents_finds_p_nearly_and_without_counts_does_not(torch, sampler, size):
    from nirank_losses.sampled import SampledSoftmax

    assert variation(torch, optimum(torch, SampledSoftmax(logq_mode="inclusion"), sampler, size)) < 0.03
    assert variation(torch, optimum(torch, SampledSoftmax(logq_mode="none"), sampler, size)) > 0.05


def test_a_list_of_positives_is_one_relevant_document_and_nothing_else():
    data = collection([[0, 3], [5], []], [[2, 1], [3], []])
    rows, positives = one_each(data)
    sample = begun(Positives(), data).sample(rows, positives, rng())
    assert [sample.candidates[row][0].tolist() for row in range(len(sample.candidates))] == [[0], [3], [5]]
    assert sample.candidates.scores.tolist() == [2, 1, 3]
    with pytest.raises(BadInput, match="not judged relevant"):
        begun(Positives(), data).sample(np.array([1]), Candidates.of([[0]], [[1]]), rng())
