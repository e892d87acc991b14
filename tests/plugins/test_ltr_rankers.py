"""Rankers over features: their formulas and normalisations against plain loops, what they remember, what they learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("lightgbm")

import torch

import nirank
from nirank import hashing
from nirank.checkpoints import checkpoint
from nirank.data import Candidates, Features
from nirank.errors import BadInput, UnknownName
from nirank_ltr import attention, sample
from nirank_ltr.attention import Attention
from nirank_ltr.letor_features import GivenFeatures
from nirank_ltr.linear import Linear
from nirank_ltr.mlp import MLP
from nirank_ltr.normalising import Normaliser
from nirank_ltr.trees import LightGBM
from tests.flat import built

NETWORKS = {"linear": Linear, "mlp": MLP, "attention": Attention}
METHODS = ["none", "z-score", "log", "min-max", "quantile", "query"]


def _given(queries=30, seed=0):
    """A collection whose queries come with lists and features; the first feature tells the label."""
    made = sample.collection(queries, documents=10, seed=seed)
    found = made.judgments.over(made.corpus)
    judged = found.with_features(None)
    return nirank.Collection("given", made.corpus, made.queries.with_found(found.with_scores(found.scores * 0)), judged)


def _scored(ranker, collection=None):
    collection = collection or sample.collection()
    with torch.inference_mode():
        return np.asarray(ranker.score(collection.queries, collection.judgments))


def _drawn(ranker, seed=1):
    """The ranker, begun and with weights that are not 0."""
    ranker.begin(sample.collection())
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=random)
    return ranker.eval()


# Normalisation


def _slowly_normalised(method, values, train, lists):
    known = [[x for x in column if math.isfinite(x)] for column in train.T.tolist()]
    means = [sum(column) / len(column) if column else 0.0 for column in known]
    filled = np.array([[x if math.isfinite(x) else mean for x, mean in zip(row, means, strict=True)] for row in values])
    whole = np.array([[x if math.isfinite(x) else mean for x, mean in zip(row, means, strict=True)] for row in train])
    found = np.empty(filled.shape)
    for place, mean in enumerate(means):
        column, learned = filled[:, place], whole[:, place]
        if method == "log":
            column, learned = (np.sign(x) * np.log1p(np.abs(x)) for x in (column, learned))
        if method == "none":
            found[:, place] = column
        elif method == "z-score":
            spread = math.sqrt(sum((x - mean) ** 2 for x in known[place]) / max(1, len(known[place])))
            found[:, place] = (column - mean) / spread if spread else 0
        elif method == "log":
            spread = learned.std()
            found[:, place] = (column - learned.mean()) / spread if spread > 1e-9 else 0
        elif method == "min-max":
            spread = learned.max() - learned.min()
            found[:, place] = (column - learned.min()) / spread if spread else 0
        elif method == "quantile":
            shares = [((learned < x).mean() + (learned <= x).mean()) / 2 for x in column]
            found[:, place] = shares
        else:
            for one in lists:
                low, high = column[one].min(), column[one].max()
                found[one, place] = (column[one] - low) / (high - low) if high > low else 0
    return found


@pytest.mark.parametrize("method", METHODS)
def test_normalisations_are_their_formulas(method):
    chance = np.random.default_rng(0)
    train = np.column_stack(
        [
            chance.normal(5, 2, 256),
            np.full(256, 0.1),
            chance.exponential(9, 256),
            np.full(256, np.nan),
            chance.random(256),
        ]
    ).astype(np.float32)
    train[::7, 2], train[3, 4] = np.nan, np.inf
    values = np.concatenate([train[:5], [[5, 0.2, 700, 1, np.nan], [-9, 0.1, 0, np.nan, -np.inf]]]).astype(np.float32)
    normaliser = Normaliser(5, method)
    normaliser.learn(train)
    rows = torch.tensor([0, 0, 2, 2, 2, 3, 4])
    found = normaliser(torch.from_numpy(values), rows).numpy()
    lists = [[0, 1], [2, 3, 4], [5], [6]]
    expected = _slowly_normalised(method, values, train, lists)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=3e-3 if method == "quantile" else 1e-4)
    assert np.isfinite(found).all()


def test_a_normalisation_does_not_see_what_is_not_its_list():
    for method in METHODS:
        values = torch.from_numpy(np.random.default_rng(1).random((6, 3), np.float32))
        normaliser = Normaliser(3, method)
        normaliser.learn(values.numpy())
        rows = torch.tensor([0, 0, 1, 1, 1, 4])
        together = normaliser(values, rows)
        torch.testing.assert_close(normaliser(values[2:5], rows[2:5] - 1), together[2:5])
        if method != "query":
            torch.testing.assert_close(normaliser(values[3:4], rows[:1]), together[3:4])


def test_constant_and_rounded_features_do_not_blow_up():
    values = np.full((1000, 2), 16_777_216.0, np.float32)
    values[0, 1] += 2
    normaliser = Normaliser(2, "z-score")
    normaliser.learn(values)
    found = normaliser(torch.from_numpy(values), torch.zeros(1000, dtype=torch.int64))
    assert found.abs().max() < 40
    assert (found[:, 0] == 0).all()


def test_no_pairs_are_normalised():
    for method in METHODS:
        normaliser = Normaliser(2, method)
        normaliser.learn(np.empty((0, 2), np.float32))
        assert normaliser(torch.empty(0, 2), torch.empty(0, dtype=torch.int64)).shape == (0, 2)


# Formulas


def _slowly_linear(ranker, lists):
    weights, bias = (part.tolist() for part in ranker.layers.weights.parameters())
    return [sum(w * x for w, x in zip(weights[0], row, strict=True)) + bias[0] for one in lists for row in one]


def _slowly_mlp(ranker, lists):
    scores = []
    for row in (row for one in lists for row in one):
        values = row.tolist()
        for place, layer in enumerate(ranker.layers.layers):
            matrix, bias = layer.weight.tolist(), layer.bias.tolist()
            values = [
                sum(w * x for w, x in zip(line, values, strict=True)) + b for line, b in zip(matrix, bias, strict=True)
            ]
            if place < len(ranker.layers.layers) - 1:
                values = [max(value, 0) for value in values]
        scores.append(values[0])
    return scores


def _slowly_attention(ranker, lists):
    """One list, one head, one document at a time, in float64."""
    return [score for one in lists for score in _one_list(ranker, one)]


def _one_list(ranker, rows):
    def full(layer, x):
        return layer.weight.double().numpy() @ x + layer.bias.double().numpy()

    def norm(layer, x):
        scaled = (x - x.mean()) / np.sqrt(x.var() + layer.eps)
        return scaled * layer.weight.double().numpy() + layer.bias.double().numpy()

    vectors = [full(ranker.layers.first, row) for row in rows]
    for block in ranker.layers.blocks:
        dim, size = len(vectors[0]), len(vectors[0]) // block.heads
        parts = [full(block.project, vector).reshape(3, block.heads, size) for vector in vectors]
        attended = []
        for query in parts:
            heads = []
            for head in range(block.heads):
                scores = np.array([query[0, head] @ key[1, head] for key in parts]) / math.sqrt(size)
                shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
                heads.append(sum(share * value[2, head] for share, value in zip(shares, parts, strict=True)))
            attended.append(full(block.join, np.concatenate(heads).reshape(dim)))
        joined = [norm(block.attended, x + z) for x, z in zip(vectors, attended, strict=True)]
        wide = [full(block.narrow, np.maximum(full(block.widen, z), 0)) for z in joined]
        vectors = [norm(block.done, z + y) for z, y in zip(joined, wide, strict=True)]
    return [full(ranker.layers.last, vector)[0] for vector in vectors]


SLOW = {"linear": _slowly_linear, "mlp": _slowly_mlp, "attention": _slowly_attention}


def _uneven():
    """Lists of many lengths, none and one among them."""
    lengths = [3, 0, 1, 9, 2, 8, 0, 17]
    chance = np.random.default_rng(3)
    values = chance.normal(0.5, 1, (sum(lengths), 3))
    docs = np.concatenate([np.arange(length) for length in lengths])
    features = Features(sample.NAMES, values)
    return Candidates(np.cumsum([0, *lengths]), docs, np.zeros(len(docs)), None, features)


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_those_of_the_equations(name):
    small = {"mlp": {"hidden": (5, 4)}, "attention": {"dim": 6, "heads": 3, "hidden": 7}}
    ranker = _drawn(built(NETWORKS[name], normalise="none", device="cpu", **small.get(name, {})))
    pairs = _uneven()
    lists = np.split(pairs.features.values.astype(np.float64), pairs.offsets[1:-1])
    with torch.no_grad():
        found = ranker.score(sample.collection(8).queries, pairs)
        expected = SLOW[name](ranker, [one for one in lists if len(one)])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_attention_of_long_lists_in_pieces_is_that_of_the_whole(monkeypatch):
    ranker, pairs = _drawn(built(Attention, dim=8, device="cpu")), _uneven()
    with torch.no_grad():
        whole = ranker.score(sample.collection(8).queries, pairs)
        monkeypatch.setattr(attention, "_SCORES", 40)
        torch.testing.assert_close(ranker.score(sample.collection(8).queries, pairs), whole)


def test_lists_of_about_one_length_are_together():
    lengths = np.array([0, 1, 2, 3, 4, 7, 8, 0, 500, 1000])
    groups = [group.tolist() for group in attention._of_a_length(lengths)]
    assert groups == [[1], [2, 3], [4, 5], [6], [8], [9]]
    assert all(max(lengths[group]) < 2 * min(lengths[group]) for group in groups)


def test_a_document_is_scored_among_others_by_attention_alone():
    pairs, one = sample.collection().judgments, sample.collection().judgments.where(np.arange(32) == 5)
    for name, alone in (("linear", True), ("mlp", True), ("attention", False)):
        ranker = _drawn(built(NETWORKS[name], device="cpu"))
        with torch.no_grad():
            among = ranker.score(sample.collection().queries, pairs)[5]
            by_itself = ranker.score(sample.collection().queries, one)[0]
        assert torch.allclose(among, by_itself, atol=1e-5) == alone == (not ranker.listwise)
    assert built(Linear, normalise="query").listwise


def test_several_classes_are_logits_to_train_and_the_expected_grade_afterwards():
    for ranker in (
        _drawn(built(Linear, classes=3, device="cpu")),
        _drawn(built(Attention, classes=3, dropout=0.0, device="cpu")),
    ):
        made = sample.collection()
        logits = ranker.train().score(made.queries, made.judgments).detach().numpy()
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert logits.shape == (32, 3)
        np.testing.assert_allclose(_scored(ranker.eval()), shares[:, 1] + 2 * shares[:, 2], rtol=1e-4)


def test_a_masked_document_gets_no_gradient_and_breaks_none():
    ranker = _drawn(built(Attention, dim=8, device="cpu", normalise="none")).train()
    pairs = _uneven()
    ranker.score(sample.collection(8).queries, pairs).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in ranker.parameters())


# What is remembered


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_decides_the_weights_and_no_other_chance(name):
    made = []
    for seed in (0, 0, 1):
        torch.rand(1)
        state = torch.get_rng_state()
        ranker = built(NETWORKS[name], seed=seed, device="cpu")
        ranker.begin(sample.collection())
        assert torch.equal(state, torch.get_rng_state())
        made.append(hashing.weights_digest(ranker.state_dict()))
    assert made[0] == made[1]
    assert (made[1] == made[2]) == (name == "linear")  # whose weights are 0 at first


def _rankers():
    grown = built(LightGBM, trees=7, leaves=4, least=2, threads=1)
    grown.learn(sample.collection().judgments, None, None, None)
    networks = [_drawn(built(kind, normalise=method, device="cpu")) for kind in NETWORKS.values() for method in METHODS]
    return [*networks, grown]


@pytest.mark.parametrize("ranker", _rankers(), ids=repr)
def test_a_checkpoint_is_the_ranker_wherever_it_lies(tmp_path, ranker):
    checkpoint.save(nirank.load(ranker, "mine").component, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    again = checkpoint.load(tmp_path / "two").target
    assert type(again) is type(ranker)
    assert again.names == sample.NAMES
    assert again.fingerprint == ranker.fingerprint
    other = sample.collection(seed=5)
    np.testing.assert_array_equal(_scored(again, other), _scored(ranker, other))


@pytest.mark.parametrize("ranker", [_rankers()[0], _rankers()[-1]], ids=repr)
def test_features_are_found_by_name_and_missing_ones_are_told(ranker):
    made = sample.collection()
    values = made.judgments.features.values
    turned = Features(("third", "more", "first", "second"), values[:, [2, 0, 0, 1]])
    moved = made.judgments.with_features(turned)
    with torch.no_grad():
        np.testing.assert_array_equal(np.asarray(ranker.score(made.queries, moved)), _scored(ranker))
    with pytest.raises(BadInput, match=r"was trained with features that are missing here: second, third\."):
        ranker.score(made.queries, made.judgments.with_features(Features(("first",), values[:, :1])))
    with pytest.raises(BadInput, match=r"these pairs have none: write `features\(...\) >> "):
        ranker.score(made.queries, made.judgments.with_features(None))


def test_a_ranker_that_knows_features_keeps_what_it_has():
    ranker = _drawn(built(MLP, device="cpu"))
    before = hashing.weights_digest(ranker.state_dict())
    ranker.begin(sample.collection(seed=9))
    assert hashing.weights_digest(ranker.state_dict()) == before
    other = sample.collection().judgments.with_features(Features(("first", "else"), np.zeros((32, 2))))
    with pytest.raises(BadInput, match="missing here: second, third"):
        ranker.begin(nirank.Collection("other", sample.collection().corpus, sample.collection().queries, other))


def test_what_cannot_be_made_or_ranked_is_told(tmp_path):
    made = sample.collection()
    for ranker in (Linear(), LightGBM()):
        with pytest.raises(BadInput, match=r"(is not trained|no trees yet): train it"):
            ranker.score(made.queries, made.judgments)
    bare = nirank.Collection("bare", made.corpus, made.queries, made.judgments.with_features(None))
    with pytest.raises(BadInput, match=r"judged documents .* have none"):
        Linear().begin(bare)
    _drawn(built(Linear, device="cpu")).save(tmp_path)
    for name in ("missing", "linear.safetensors"):
        with pytest.raises(BadInput, match=f"{name}: cannot be loaded as a mlp ranker"):
            built(MLP, model=str(tmp_path / name))
    with pytest.raises(BadInput, match="cannot be loaded as a linear ranker with these settings"):
        built(Linear, classes=2, model=str(tmp_path / "linear.safetensors"))
    (tmp_path / "tree").write_text("no tree")
    with pytest.raises(BadInput, match="tree: cannot be read as a text model of LightGBM"):
        built(LightGBM, model=str(tmp_path / "tree"))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Linear, {"normalise": "z"}),
        (Linear, {"classes": 0}),
        (MLP, {"hidden": 4}),
        (MLP, {"hidden": (4, 0)}),
        (MLP, {"dropout": 1.0}),
        (Attention, {"dim": 5}),
        (Attention, {"blocks": 0}),
        (LightGBM, {"leaves": 1}),
        (LightGBM, {"objective": "regression"}),
        (LightGBM, {"features": 0.0}),
        (LightGBM, {"learning_rate": 0.0}),
    ],
)
def test_senseless_settings_are_refused(kind, settings):
    with pytest.raises((BadInput, UnknownName), match=f"{next(iter(settings)).replace('normalise', 'normalisation')}"):
        built(kind, **settings)
    with pytest.raises(UnknownName, match=r"no activation 'rleu'. Did you mean 'relu'"):
        built(MLP, activation="rleu").begin(sample.collection())


# Training


@pytest.mark.parametrize("loss", ["ranknet", "softmax_cross_entropy"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_learn_with_any_loss(name, loss, tmp_path):
    small = {"mlp": {"hidden": [8]}, "attention": {"dim": 8, "hidden": 8, "blocks": 1}}
    features = nirank.features(nirank.load("extractor/letor", name="letor"))
    ranker = nirank.load(name, **small.get(name, {}))
    fitted = nirank.fit(
        features >> ranker,
        loss,
        _given(),
        dev=_given(seed=1),
        out=tmp_path / "out",
        epochs=20,
        learning_rate=0.03,
        schedule="constant",
        batch_size=8,
    )
    assert fitted.best > 0.97
    again, test = nirank.load(f"trained:{tmp_path / 'out'}"), _given(seed=2)
    pipeline = nirank.load("given") >> features >> again
    found = pipeline.search(test.queries, test.corpus)
    assert nirank.evaluate(found, test.judgments, ["nDCG@10"])["nDCG@10"] > 0.96


@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg"])
@pytest.mark.parametrize("loss", [None, "ranknet", "mse"])
def test_trees_learn_by_their_own_objectives_and_by_losses(objective, loss, tmp_path):
    features = nirank.features(GivenFeatures())
    ranker = nirank.load("lightgbm", objective=objective, least=5, threads=1, trees=40, patience=10)
    fitted = nirank.fit(features >> ranker, loss, _given(), dev=_given(seed=1), out=tmp_path / "out")
    assert 1 <= fitted.steps <= 40
    assert fitted.best > 0.96
    again, test = nirank.load(f"trained:{tmp_path / 'out'}"), _given(seed=2)
    found = test.judgments.with_scores((features >> again).score(test.queries, test.judgments)).ranked()
    assert nirank.evaluate(found, test.judgments, ["nDCG@10"])["nDCG@10"] > 0.95


def test_threads_change_no_tree():
    grown = [built(LightGBM, trees=4, least=5, threads=threads, queries=0.5, seed=3) for threads in (1, 2, 1)]
    for ranker in grown:
        ranker.learn(sample.collection(30).judgments, None, None, None)
    assert grown[0].fingerprint == grown[1].fingerprint == grown[2].fingerprint


def test_trees_without_dev_are_as_many_as_asked_for():
    ranker = nirank.load("lightgbm", trees=9, least=5, threads=1)
    assert nirank.fit(nirank.features(GivenFeatures()) >> ranker, None, _given()).steps == 9
    assert ranker.component.target.booster.num_trees() == 9
    gains = ranker.component.target.gains()
    assert gains["first"] > 10 * max(gains["second"], gains["third"])


def test_labels_that_lightgbm_does_not_take_are_told():
    made = _given()
    for labels, message in (
        (made.judgments.scores / 3, "whole labels up to 30"),
        (made.judgments.scores * 40, "to 80"),
    ):
        odd = nirank.Collection("odd", made.corpus, made.queries, made.judgments.with_scores(labels))
        with pytest.raises(BadInput, match=message):
            nirank.fit(nirank.features(GivenFeatures()) >> nirank.load("lightgbm"), None, odd)


def test_a_model_of_lightgbms_own_ranks_by_the_names_it_is_given(tmp_path):
    ranker = _rankers()[-1]
    ranker.booster.save_model(tmp_path / "model.txt")
    own = built(LightGBM, model=str(tmp_path / "model.txt"), names=sample.NAMES)
    np.testing.assert_array_equal(_scored(own), _scored(ranker))
    assert built(LightGBM, model=str(tmp_path / "model.txt")).names == ("Column_0", "Column_1", "Column_2")
    with pytest.raises(BadInput, match="has 3 features, but `names` has 2"):
        built(LightGBM, model=str(tmp_path / "model.txt"), names=["a", "b"])


def test_missing_values_are_no_harm():
    made = sample.collection(30)
    values = made.judgments.features.values.copy()
    values[::5] = np.nan
    holes = made.judgments.with_features(Features(sample.NAMES, values))
    grown = built(LightGBM, trees=20, least=5, threads=1)
    grown.learn(holes, None, None, None)
    network = built(Linear, device="cpu")
    network.begin(nirank.Collection("holes", made.corpus, made.queries, holes))
    for ranker in (grown, network):
        with torch.no_grad():
            assert np.isfinite(np.asarray(ranker.score(made.queries, holes))).all()
