"""Clicks: logs, users, propensities, and what is learned from them, against sums over all that may be clicked."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import nirank
from nirank.clicks import (
    ClickLog,
    UserModel,
    by_expectation_maximisation,
    collection_of,
    from_shuffled,
    read_clicks,
    simulate,
    write_clicks,
)
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank.training.parts import built_loss

CORPUS = Documents(list("abcde"), list("abcde"))


def _collection(grades, corpus=CORPUS):
    docs = [np.arange(len(row)) for row in grades]
    ids = [f"q{row}" for row in range(len(grades))]
    return Collection("clicks", corpus, Queries(ids, ids), Candidates.of(docs, grades, corpus))


def _all_logs(attraction, looked, cascade=False):
    """Every set of clicks on one list of documents with its probability, as the models define them."""
    for clicks in itertools.product((0, 1), repeat=len(attraction)):
        chance, stopped = 1.0, False
        for click, attracts, looks in zip(clicks, attraction, looked, strict=True):
            if cascade:
                chance *= float(not click) if stopped else attracts if click else 1 - attracts
                stopped = stopped or bool(click)
            else:
                chance *= looks * attracts if click else 1 - looks * attracts
        yield np.array(clicks), chance


@pytest.mark.parametrize("kind", ["position", "cascade"])
@pytest.mark.parametrize("loss", ["ranknet", "softmax_cross_entropy", "hinge", "lambdarank", "approx_ndcg"])
def test_weighted_clicks_are_without_bias_whatever_the_loss_and_naive_ones_are_not(kind, loss):
    users = UserModel(kind, eta=1.5, lowest=0.1, highest=0.9)
    collection, shown = _collection([[2.0, 0.0, 1.0, 0.0]]), np.array([1, 0, 3, 2])
    attraction = users.attraction(collection.judgments.scores[shown], 2.0)
    looked = users.examination(attraction, np.array([0, 4]))
    weighted = built_loss(f"weighted({loss})").target
    mask = torch.ones(1, 4, dtype=torch.bool)

    def gradient(labels, weights):
        scores = torch.tensor([[0.3, -0.4, 0.9, 0.1]], dtype=torch.float64, requires_grad=True)
        weighted(scores, torch.tensor(labels[None]), mask, torch.tensor(weights[None])).backward()
        return scores.grad

    wanted = np.empty(4)
    wanted[shown] = attraction
    truth = gradient(wanted, np.ones(4))
    expected = {True: torch.zeros(1, 4), False: torch.zeros(1, 4)}
    total = 0.0
    for clicks, chance in _all_logs(attraction, looked, kind == "cascade"):
        lists = Candidates.of([shown], [clicks], CORPUS).for_queries(["q0"])
        for weighed in (True, False):
            made = collection_of(ClickLog(lists, looked), collection, weighed=weighed)
            assert made.judgments.docs.tolist() == [0, 1, 2, 3]
            step = gradient(made.judgments.scores.astype(np.float64), made.weights.scores.astype(np.float64))
            expected[weighed] = expected[weighed] + chance * step
        total += chance
    assert total == pytest.approx(1)
    torch.testing.assert_close(expected[True], truth, rtol=1e-5, atol=1e-6)
    assert (expected[False] - truth).abs().max() > 0.005


@pytest.mark.parametrize("kind", ["position", "cascade"])
def test_users_click_as_often_as_the_model_says(kind):
    users = UserModel(kind, eta=1.0, lowest=0.1, highest=0.8)
    collection = _collection([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    shown = Candidates.of([[2, 1, 0], [0, 2]], corpus=CORPUS).for_queries(["q0", "q1"])
    log = simulate(collection, shown, users, sessions=40_000, seed=3)
    assert len(log.shown) == 80_000
    for query, grades in enumerate([[1, 2, 0], [1, 0]]):
        attracts = [0.1 + 0.7 * (2**grade - 1) / 3 for grade in grades]
        looks = [1 / rank for rank in (1, 2, 3)] if kind == "position" else np.cumprod([1, *(1 - np.array(attracts))])
        part = log.shown.take(slice(40_000 * query, 40_000 * (query + 1)))
        share = part.scores.reshape(40_000, -1).mean(0)
        np.testing.assert_allclose(share, np.array(attracts) * looks[: len(grades)], atol=0.01)
        known = log.propensities[log.shown.offsets[40_000 * query] :][: len(grades)]
        np.testing.assert_allclose(known, looks[: len(grades)], rtol=1e-5)
    if kind == "cascade":
        assert np.add.reduceat(log.clicked, log.shown.offsets[:-1]).max() == 1


def test_equal_seeds_give_equal_logs():
    collection = _collection([[0.0, 2.0, 1.0]] * 3)
    shown = Candidates.of([[2, 1, 0]] * 3, corpus=CORPUS)
    logs = [simulate(collection, shown, UserModel(), sessions=50, shuffled=0.5, seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(logs[0].shown.scores, logs[1].shown.scores)
    assert np.array_equal(logs[0].shown.docs, logs[1].shown.docs)
    assert not np.array_equal(logs[0].shown.scores, logs[2].shown.scores)
    moved = (logs[0].shown.docs.reshape(-1, 3) != [2, 1, 0]).any(1)
    assert 40 < moved.sum() < 90  # half of 150, less those that chance leaves as they were


@pytest.mark.parametrize("estimate", [from_shuffled, by_expectation_maximisation])
def test_estimated_propensities_are_those_of_the_users(estimate):
    chance = np.random.default_rng(0)
    grades = [chance.integers(0, 3, length).astype(float) for length in [5] * 40 + [3] * 40]
    collection = _collection(grades)
    shown = Candidates.of([np.argsort(-row, kind="stable") for row in grades], corpus=CORPUS)  # the best come first
    log = simulate(collection, shown, UserModel(eta=1.0), sessions=1500, shuffled=1.0, seed=1)
    np.testing.assert_allclose(estimate(log), 1 / np.arange(1, 6), atol=0.02)


def test_expectation_maximisation_needs_documents_that_move():
    collection, shown = _collection([[0.0, 2.0, 1.0]]), Candidates.of([[2, 1, 0]], corpus=CORPUS)
    with pytest.raises(BadInput, match="at one rank only"):
        by_expectation_maximisation(simulate(collection, shown, UserModel(), sessions=500))
    log = simulate(collection, shown, UserModel(), sessions=3000, shuffled=0.3)
    np.testing.assert_allclose(by_expectation_maximisation(log), [1, 1 / 2, 1 / 3], atol=0.05)


def test_ranks_of_few_clicks_share_a_propensity():
    orders = [np.roll([0, 1, 2, 3], row) for row in range(40)]
    shown = Candidates.of(orders, [[1, 1, row < 3, row < 1] for row in range(40)], CORPUS)
    log = ClickLog(shown.for_queries(["q"] * 40))
    assert from_shuffled(log).tolist() == pytest.approx([1, 44 / 120, 44 / 120, 44 / 120])
    with pytest.raises(BadInput, match="too few"):
        from_shuffled(ClickLog(shown.take(slice(3)).with_scores(np.zeros(12)).for_queries(["q"] * 3)))


def test_labels_are_shares_of_clicks_and_weights_means_joined_by_id():
    collection = _collection([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    log = ClickLog.of(["q1", "q0", "q1"], [[2, 0], [1, 0], [0, 2]], [[2], [0, 1], [2]], CORPUS)
    made = collection_of(log.with_propensities([1.0, 0.25]), collection)
    assert made.judgments[0][0].tolist() == [0, 1]
    assert made.judgments[0][1].tolist() == [1, 1]
    assert made.weights[0][1].tolist() == [4, 1]
    assert made.judgments[1][0].tolist() == [0, 2]
    assert made.judgments[1][1].tolist() == [0, 1]
    assert made.weights[1][1].tolist() == [1, (1 + 4) / 2]
    clipped = collection_of(log.with_propensities([1.0, 0.25]), collection, largest_weight=2)
    assert clipped.weights[0][1].tolist() == [2, 1]
    naive = collection_of(log, collection, weighed=False)
    assert set(naive.weights.scores.tolist()) == {1}
    taken = made.take(np.array([1]))
    assert taken.weights[0][1].tolist() == made.weights[1][1].tolist()


def test_a_log_is_written_and_read(tmp_path):
    log = ClickLog.of(["q1", "q0"], [[2, 0], [1]], [[0], []], CORPUS)
    for each in (log, log.with_propensities([1, 0.5])):
        write_clicks(tmp_path / "log.jsonl", each)
        again = read_clicks(tmp_path / "log.jsonl", CORPUS)
        assert [*again.shown.query_ids] == ["q1", "q0"]
        assert again.shown.docs.tolist() == [2, 0, 1]
        assert again.clicked.tolist() == [False, True, False]
        assert (again.propensities is None) == (each.propensities is None)
    assert again.propensities.tolist() == [1, 0.5, 1]


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"query": "q", "shown": ["a"], "clicked": ["b"]}', "was not shown"),
        ('{"query": "q", "shown": ["a", "a"], "clicked": []}', "twice"),
        ('{"query": "q", "shown": ["z"], "clicked": []}', "lacks the document 'z'"),
        ('{"query": "q", "shown": "a", "clicked": []}', "no session"),
        ('{"query": 3, "shown": ["a"], "clicked": []}', "no session"),
        ('{"query": "q", "shown": ["a"]}', "no session"),
        ("[]", "no session"),
        ('{"query": "q", "shown": ["a"], "clicked": [], "propensities": [0]}', "above 0"),
        ('{"query": "q", "shown": ["a"], "clicked": [], "propensities": [1, 1]}', "2 propensities for 1"),
        ('{"query": "q", "shown": ["a"], "clicked": [], "propensities": "x"}', "are numbers"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, line, match):
    (tmp_path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(BadInput, match=match):
        read_clicks(tmp_path / "log.jsonl", CORPUS)


def test_what_makes_no_sense_is_refused():
    collection = _collection([[1.0, 0.0]])
    shown = Candidates.of([[0, 1]], [[1, 0]], CORPUS)
    log = ClickLog(shown.for_queries(["q0"]))
    with pytest.raises(BadInput, match="query_ids"):
        ClickLog(shown)
    with pytest.raises(BadInput, match=r"has the score 0\.5"):
        ClickLog(shown.with_scores([0.5, 0]).for_queries(["q0"]))
    with pytest.raises(BadInput, match="1 propensities for 2 ranks"):
        log.with_propensities([1.0])
    for wrong in ([1.0, 0.0], [1.0, -1.0], [1.0, 2.0], [1.0, float("nan")]):
        with pytest.raises(BadInput, match="at rank 2"):
            log.with_propensities(wrong)
    with pytest.raises(BadInput, match="no propensities"):
        collection_of(log, collection)
    with pytest.raises(BadInput, match="largest_weight"):
        collection_of(log, collection, weighed=False, largest_weight=0.5)
    with pytest.raises(BadInput, match="lacks: 'q9'"):
        collection_of(ClickLog(shown.for_queries(["q9"])), collection, weighed=False)
    with pytest.raises(BadInput, match="another corpus"):
        collection_of(log, _collection([[1.0, 0.0]], Documents(["x", "y"], ["x", "y"])), weighed=False)
    with pytest.raises(BadInput, match="another corpus"):  # whose first documents are not these
        simulate(collection, shown.over(Documents(["x", "y"], ["x", "y"])), UserModel())
    with pytest.raises(BadInput, match="whole number"):
        simulate(collection, shown, UserModel(), sessions=1.5)
    with pytest.raises(BadInput, match="shows no document"):
        collection_of(ClickLog.of([], [], [], CORPUS), collection, weighed=False)
    with pytest.raises(BadInput, match="at one rank only"):
        from_shuffled(ClickLog(shown.take(np.zeros(20, np.int64)).for_queries(["q0"] * 20)))
    for wrong in ([[1.0, 0.5]], "ab"):
        with pytest.raises(BadInput, match="propensit"):
            log.with_propensities(wrong)
    with pytest.raises(BadInput, match="probabilities"):
        UserModel(lowest=1.0)
    with pytest.raises(BadInput, match="not of the queries"):
        simulate(collection, shown.for_queries(["q9"]), UserModel())
    with pytest.raises(BadInput, match="at rank 2"):  # who sees the best first clicks it for certain, and looks no more
        simulate(collection, shown, UserModel("cascade"))


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_not_above_0_is_refused(weight):
    judged = Candidates.of([[0, 1]], [[1, 0]], CORPUS)
    with pytest.raises(BadInput, match="has the weight"):
        Collection("one", CORPUS, Queries(["q"], ["q"]), judged, judged.with_scores([weight, 1]))


def test_weights_of_other_queries_are_refused():
    judged = Candidates.of([[0, 1]], [[1, 1]], CORPUS)
    for weights in (judged.for_queries(["p"]), Candidates.stack([judged, judged])):
        with pytest.raises(BadInput, match="of other queries"):
            Collection("one", CORPUS, Queries(["q"], ["q"]), judged, weights)
    with pytest.raises(BadInput, match="Candidates"):
        Collection("one", CORPUS, Queries(["q"], ["q"]), judged, [1.0, 1.0])


# The loss


def _slow(inner, scores, labels, mask, weights):
    total = 0.0
    for row in range(len(scores)):
        for place in range(scores.shape[1]):
            if mask[row, place] and labels[row, place] > 0:
                alone = torch.zeros(1, scores.shape[1])
                alone[0, place] = 1
                cost = inner(scores[row : row + 1], alone, mask[row : row + 1])
                total = total + weights[row, place] * labels[row, place] * cost
    return total / int(mask.any(1).sum())


@pytest.mark.parametrize("loss", ["ranknet", "softmax_cross_entropy", "lambdarank", "listmle", "mse"])
def test_the_weighted_loss_holds_each_relevant_document_against_its_list(loss):
    scores, weights = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)), torch.rand(4, 5) + 0.5
    labels = torch.tensor([[1.0, 0, 2, 0, 0], [0, 0, 0, 0, 0], [0.5, 1, 0, 3, 0], [1, 1, 1, 1, 1]])
    mask = torch.tensor([[True] * 5, [True] * 5, [True] * 4 + [False], [False] * 5])
    weighted = built_loss(f"weighted({loss})").target
    found = weighted(scores, labels, mask, weights)
    torch.testing.assert_close(
        found, _slow(nirank.load(f"loss/{loss}").component.target, scores, labels, mask, weights)
    )
    assert weighted.skipped == 1


def test_a_weighted_loss_of_vectors_gets_those_of_all_documents():
    generator = torch.Generator().manual_seed(0)
    wanted, read = torch.randn(3, 6, generator=generator), torch.randn(5, 6, generator=generator)
    documents, shown = torch.tensor([[3, 9, 4], [9, 1, 4], [1, 3, 7]]), torch.tensor([1, 3, 4, 7, 9])
    labels, weights = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 0]]), torch.rand(3, 3, generator=generator) + 0.5
    scores, mask = torch.zeros(3, 3), torch.ones(3, 3, dtype=torch.bool)
    columns = {"query_vectors": wanted, "distinct_documents": shown, "document_vectors": read}
    found = built_loss("weighted(angle)").target(scores, labels, mask, weights, documents, **columns)
    angle, total = nirank.load("angle").component.target, 0.0
    for row, place in labels.nonzero().tolist():
        alone = torch.zeros(1, 3).index_fill(1, torch.tensor([place]), 1.0)
        one = columns | {"query_vectors": wanted[row : row + 1]}
        cost = angle(scores[:1], alone, mask[:1], documents[row : row + 1], **one)
        total = total + weights[row, place] * cost / 3
    torch.testing.assert_close(found, total)


def test_equal_weights_in_a_list_are_the_weight_of_the_list():
    scores, labels, mask = torch.randn(2, 3), torch.tensor([[1.0, 0, 0], [0, 1, 1]]), torch.ones(2, 3).bool()
    weighted = built_loss("weighted(ranknet)").target
    one, other = (weighted(scores[row : row + 1], labels[row : row + 1], mask[:1], mask[:1].float()) for row in (0, 1))
    both = weighted(scores, labels, mask, torch.tensor([[3.0] * 3, [0.5] * 3]))
    torch.testing.assert_close(both, (3 * one + 0.5 * other) / 2)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        ("weighted(cross_entropy(classes=3))", "score for each class"),
        ("weighted(arc_face)", "and not from their weights"),
        ("weighted(xbm)", "and not from their weights"),
        ("weighted(weighted(ranknet))", "by itself|no `reduction`"),
        ("weighted(ranknet(reduction='sum'))", "'mean' is expected"),
        ("weighted(ranknet + hinge)", "parts of a sum"),
    ],
)
def test_what_cannot_be_weighted_is_refused(loss, match):
    with pytest.raises(BadInput, match=match):
        built_loss(loss)


def test_weights_are_needed():
    with pytest.raises(BadInput, match="needs the weights"):
        built_loss("weighted(ranknet)").target(torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2).bool())


# Training


def _shown(collection):
    """All documents of each query, the best last: users seldom see it."""
    judged = collection.judgments
    return judged.with_scores(-judged.scores).ranked()


@pytest.mark.parametrize("name", ["linear", "lightgbm"])
def test_rankers_learn_from_weighted_clicks_what_they_learn_from_labels(name):
    pytest.importorskip("lightgbm" if name == "lightgbm" else "accelerate")
    from nirank_ltr.sample import collection as sample

    collection = sample(queries=60, documents=8)
    found = collection.judgments.over(collection.corpus)
    collection = Collection("sample", collection.corpus, collection.queries.with_found(found), found)
    bare = found.with_features(None).for_queries(collection.queries.ids)
    log = simulate(collection, _shown(collection).with_features(None), UserModel(eta=2.0), sessions=400, seed=1)
    values = {}
    for which in ("labels", "weighed", "naive"):
        learned = collection_of(log, collection, weighed=which == "weighed")
        if which == "labels":
            learned = Collection(
                "l", collection.corpus, collection.queries, found, bare.with_scores(np.ones(bare.pairs))
            )
        own = {"trees": 30, "threads": 1} if name == "lightgbm" else {"device": "cpu"}
        ranker = nirank.features(nirank.load("extractor/letor")) >> nirank.load(f"scorer/{name}", **own)
        nirank.fit(ranker, "weighted(softmax_cross_entropy)", learned, epochs=30, batch_size=20, learning_rate=0.05)
        scored = bare.with_scores(ranker.score(collection.queries, bare)).ranked()
        values[which] = nirank.evaluate(scored, collection.judgments, ["nDCG"])["nDCG"]
    assert values["weighed"] > values["labels"] - 0.02
    assert values["naive"] < values["weighed"] - 0.05


def test_weights_that_a_loss_would_not_heed_are_refused():
    from nirank_ltr.sample import collection as sample

    pytest.importorskip("lightgbm")
    whole = sample()
    weights = whole.judgments.with_features(None).with_scores(np.ones(whole.judgments.pairs))
    found = whole.judgments.over(whole.corpus)
    weighed = Collection("w", whole.corpus, whole.queries.with_found(found), found, weights)
    linear = nirank.features(nirank.load("extractor/letor")) >> nirank.load("scorer/linear", device="cpu")
    trees = nirank.features(nirank.load("extractor/letor")) >> nirank.load("scorer/lightgbm", threads=1)
    for ranker in (linear, trees):
        with pytest.raises(BadInput, match=r'does not heed: train with "weighted\(ranknet\)"'):
            nirank.fit(ranker, "ranknet", weighed)
    with pytest.raises(BadInput, match="own objective does not heed"):
        nirank.fit(trees, None, weighed)


def test_weights_are_joined_by_document_whatever_a_sampler_draws():
    from nirank.training.objective import weights_of

    weights = Candidates.of([[3, 1], [2]], [[0.5, 2.0], [4.0]], CORPUS)
    drawn = Candidates.of([[2, 0], [1, 4, 3]], corpus=CORPUS)
    assert weights_of(drawn, np.array([1, 0]), weights).tolist() == [4, 1, 2, 1, 0.5]


def test_a_clicked_collection_opens_from_a_table(tmp_path):
    emoji = nirank.collection("emoji", split="train")
    found = (nirank.load("bm25") % 10).search(emoji.queries, emoji.corpus)
    nirank.write_run(tmp_path / "shown.run", emoji.queries, found)
    of = {"use": "emoji", "split": "train"}
    run = tmp_path / "shown.run"
    known = nirank.collection("clicked", of=of, run=str(run), sessions=20, eta=1.0, seed=1)
    assert known.judgments.pairs == found.pairs
    naive = nirank.collection("clicked", of=of, run=str(run), sessions=20, eta=1.0, seed=1, propensities="none")
    assert np.array_equal(known.judgments.scores, naive.judgments.scores)
    assert set(naive.weights.scores.tolist()) == {1.0}
    assert known.weights.scores.max() > 1
    moved = nirank.collection("clicked", of=of, run=str(run), sessions=40, shuffled=1.0, propensities="shuffled")
    assert moved.weights.scores.max() > 1
    log = ClickLog(found.with_scores(np.zeros(found.pairs)).for_queries(emoji.queries.ids))
    write_clicks(tmp_path / "log.jsonl", log)
    read = nirank.collection("clicked", of=of, log=tmp_path / "log.jsonl", propensities="none")
    assert not read.judgments.scores.any()
    for shuffled in (0.0, 0.5):  # the sessions that are not would make the propensities of low ranks too small
        with pytest.raises(BadInput, match="all shuffled"):
            nirank.collection("clicked", of=of, run=str(run), shuffled=shuffled, propensities="shuffled")
    for both in ({}, {"run": str(run), "log": str(run)}):
        with pytest.raises(BadInput, match="one of both"):
            nirank.collection("clicked", of="emoji", **both)
