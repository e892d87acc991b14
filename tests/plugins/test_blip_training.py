"""BLIP in training: hard negatives, the three losses at once, what is learned from nothing, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as some  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

import nirank  # noqa: E402
from nirank.data import Candidates, Collection, Documents, Queries  # noqa: E402
from nirank.errors import BadInput  # noqa: E402
from nirank_blip import negatives, tiny  # noqa: E402

SHAPE = {"side": 16, "patch": 8, "image_width": 32, "image_layers": 1, "width": 32, "layers": 1, "dim": 16}
CONFIG = {**SHAPE, "vocabulary": 40, "least": 1, "longest": 10}
COLOURS = ("red", "blue", "green")


def _picture(left, right):
    picture = Image.new("RGB", (16, 16), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 4, 6, 11), fill=left)
    draw.rectangle((9, 4, 15, 11), fill=right)
    return picture


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Pictures of two colours side by side, and for each "red left of blue" or the like: order is all that matters."""
    folder, paths, texts = tmp_path_factory.mktemp("sides"), [], []
    for left in COLOURS:
        for right in COLOURS:
            if left != right:
                paths.append(folder / f"{left}{right}.png")
                _picture(left, right).save(paths[-1])
                texts.append(f"{left} left of {right}")
    corpus = Documents([path.stem for path in paths], paths)
    own = Candidates.of([[place] for place in range(len(paths))], [[1]] * len(paths), corpus)
    return Collection("sides", corpus, Queries.of(texts), own)


@pytest.fixture(scope="module")
def solids(tmp_path_factory):
    """Pictures of one colour each, and its name."""
    names = ["red", "blue", "green", "black", "yellow", "white"]
    folder = tmp_path_factory.mktemp("solids")
    paths = [folder / f"{name}.png" for name in names]
    for path in paths:
        Image.new("RGB", (16, 16), path.stem).save(path)
    corpus = Documents(names, paths)
    own = Candidates.of([[place] for place in range(6)], [[1]] * 6, corpus)
    return Collection("solids", corpus, Queries.of(names), own)


def _fit(stage, collection, loss="clip", steps=40, **options):
    rest = {"batch_size": 6, "learning_rate": 3e-3, "sampler": "in_batch", **options}
    return nirank.fit(stage, loss, collection, steps=steps, **rest)


def _right(ranking, collection):
    found = ranking.search(collection.queries, collection.corpus)
    return nirank.evaluate(found, collection.judgments, ["P@1"]).mean["P@1"]


# Hard negatives


@settings(max_examples=60, deadline=None)
@given(some.data())
def test_a_negative_is_never_relevant_nor_unknown(data):
    rows, columns = (data.draw(some.integers(1, 6)) for _ in range(2))
    cells = some.lists(some.sampled_from([-1, 0, 1]), min_size=rows * columns, max_size=rows * columns)
    relation = torch.tensor(data.draw(cells)).reshape(rows, columns)
    scores = torch.tensor(
        data.draw(some.lists(some.floats(-1e4, 1e4), min_size=rows * columns, max_size=rows * columns))
    )
    allowed = relation == negatives.NEGATIVE
    for uniform in (0.0, 0.25):
        drawn = negatives.drawn(scores.reshape(rows, columns), allowed, uniform)
        for row, column in enumerate(drawn.tolist()):
            assert allowed[row, column] if column >= 0 else not allowed[row].any()


def test_negatives_are_drawn_by_the_softmax_of_their_scores_and_a_share_evenly():
    torch.manual_seed(0)
    scores = torch.tensor([[2.0, 1.0, 9.0, 0.0]]).repeat(8000, 1)
    allowed = torch.tensor([[True, True, False, True]]).repeat(8000, 1)
    expected = torch.tensor([2.0, 1.0, -torch.inf, 0.0]).softmax(0)
    counts = negatives.drawn(scores, allowed, 0.0).bincount(minlength=4) / 8000
    assert torch.allclose(counts, expected, atol=0.02)
    counts = negatives.drawn(scores, allowed, 0.6).bincount(minlength=4) / 8000
    assert torch.allclose(counts, 0.4 * expected + 0.6 * torch.tensor([1, 1, 0, 1]) / 3, atol=0.02)


def test_what_is_masked_or_in_no_list_is_unknown():
    labels = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    places = torch.tensor([[2, 0, 1], [2, 0, 0]])
    assert negatives.relations(labels, mask, places, 4).tolist() == [[0, -1, 1, -1], [-1, -1, 0, -1]]


def _penalty(encoder, labels, mask=None):
    texts, pictures = ["red", "blue"], [_picture("red", "red"), _picture("blue", "blue")]
    labels = torch.tensor(labels)
    vectors = encoder.encode(Queries.of(texts)), encoder.encode_documents(pictures)
    mask = torch.ones_like(labels, dtype=torch.bool) if mask is None else torch.tensor(mask)
    places = torch.tensor([[0, 1], [0, 1]])
    return encoder.penalty(*vectors, labels, mask, places, texts, pictures)


@pytest.fixture
def trained_by_all():
    """A small network from nothing with all three losses, ready to be trained."""
    stage = nirank.load("encoder/blip", config=CONFIG, itm=1.0, lm=1.0, device="cpu")
    corpus = Documents(["a"], [_picture("red", "blue")])
    own = Candidates.of([[0], [0]], [[1], [1]], corpus)
    stage.component.target.begin(Collection("c", corpus, Queries.of(["red", "blue"]), own))
    return stage.component.target.train()


def test_a_batch_in_which_all_is_relevant_raises_nothing_and_still_teaches(trained_by_all):
    cost = _penalty(trained_by_all, [[1.0, 1.0], [1.0, 1.0]])
    cost.backward()
    assert torch.isfinite(cost)
    assert trained_by_all.network.itm_head.weight.grad.abs().sum() > 0  # by pairs that match, of which there are some
    assert _penalty(trained_by_all, [[0.0, 0.0], [0.0, 0.0]]).item() == 0
    assert _penalty(trained_by_all, [[1.0, 0.0], [0.0, 1.0]], [[False, False], [False, False]]).item() == 0


def test_the_gradient_of_the_losses_is_their_derivative(trained_by_all):
    encoder = trained_by_all
    encoder._weights["uniform"] = 0.0
    weight = encoder.network.encoder.encoder.layer[0].crossattention.self.value.weight

    def cost():
        torch.manual_seed(1)
        return _penalty(encoder, [[1.0, 0.0], [0.0, 1.0]])

    value = cost()
    gradient = torch.autograd.grad(value, weight)[0]
    at = gradient.abs().flatten().argmax().item()
    before = weight.data.flatten()[at].item()
    ends = []
    for step in (1e-2, -1e-2):
        weight.data.view(-1)[at] = before + step
        ends.append(cost().item())
    assert gradient.flatten()[at].item() == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=0.1, abs=1e-4)


# What is learned


def test_three_losses_at_once_teach_all_that_is_loaded_from_the_folder(solids, tmp_path):
    stage = nirank.load("encoder/blip", config=CONFIG, itm=1.0, lm=1.0, device="cpu")
    _fit(stage, solids, steps=70, learning_rate=5e-3, out=tmp_path / "blip")
    folder = f"trained:{tmp_path / 'blip'}"
    assert stage.component.target.accuracy > 0.8
    assert _right(stage >> nirank.load("exact"), solids) > 0.8
    for scorer in ("blip_itm", "blip_lm"):
        reranked = stage >> nirank.load("exact") >> nirank.load(scorer, model=folder, device="cpu")
        assert _right(reranked, solids) > 0.8
    captions = nirank.load("writer/blip", model=folder, length=8, device="cpu")
    written = [texts[0] for texts in captions.component.target.write(solids.corpus[:])]
    assert np.mean([text == right for text, right in zip(written, solids.queries.contents, strict=True)]) > 0.8
    again = nirank.load(folder, device="cpu")
    assert again.component.fingerprint == stage.component.fingerprint


def test_matching_as_a_second_stage_begins_with_the_first_and_tells_what_it_confuses(sides, tmp_path):
    """The first stage sees colours and no order: a picture and its mirror image have one vector there."""
    first = nirank.load(_Colours())
    found = first >> nirank.load("exact")
    assert _right(found, sides) <= 0.5
    stage = nirank.load("blip_itm", config=CONFIG, first=first, scale=5.0, by="odds", device="cpu")
    stage.component.target.begin(sides)
    pairs = Candidates.of([range(6)] * 6, corpus=sides.corpus)
    assert np.allclose(stage.score(sides.queries, pairs), 5 * first.score(sides.queries, pairs), atol=1e-5)
    sampler = nirank.load("confused", pipeline=found % 4, top=4)
    _fit(stage, sides, "softmax_cross_entropy", steps=100, sampler=sampler)
    assert _right(found % 4 >> stage, sides) == 1


def test_matching_from_nothing_tells_by_order_alone_what_no_space_of_one_dimension_can(sides):
    """In one dimension a unit vector is 1 or -1: at most two pictures are first, for six texts."""
    itc = nirank.load("encoder/blip", config={**CONFIG, "dim": 1}, device="cpu")
    _fit(itc, sides, steps=40)
    assert _right(itc >> nirank.load("exact"), sides) <= 1 / 3
    itm = nirank.load("blip_itm", config={**CONFIG, "dim": 1}, by="odds", device="cpu")
    _fit(itm, sides, "softmax_cross_entropy", steps=100)
    assert _right(nirank.load(_Alike()) >> nirank.load("exact") >> itm, sides) == 1


class _Alike:
    """Encodes all alike, so that a list is in no order."""

    vectors = "dense"

    def encode(self, queries):
        return np.ones((len(queries), 1), np.float32)

    def encode_documents(self, contents):
        return np.ones((len(contents), 1), np.float32)


class _Colours:
    """Encodes which colours there are."""

    vectors = "dense"

    def encode(self, queries):
        return np.array([[float(colour in text) for colour in COLOURS] for text in queries.contents], np.float32)

    def encode_documents(self, contents):
        return np.array([[float(colour in path.stem) for colour in COLOURS] for path in contents], np.float32)


def test_in_chunks_the_weights_are_those_of_a_whole_batch(sides):
    found = []
    for chunk in (None, 2):
        stage = nirank.load("encoder/blip", config=CONFIG, lm=1.0, device="cpu")
        _fit(stage, sides, steps=2, chunk=chunk)
        found.append(torch.cat([value.flatten() for value in stage.component.target.network.state_dict().values()]))
    away = (found[0] - found[1]).abs()  # Adam makes whole steps of rounding where a gradient is almost none
    assert (away > 2e-4).sum() < 20
    assert away.max() < 1e-3


def test_a_training_leaves_others_of_the_same_model_as_they_were(sides, tmp_path):
    tiny.save_retrieval(tmp_path, seed=1)
    stage, other = (nirank.load(name, model=str(tmp_path), device="cpu") for name in ("encoder/blip", "blip_itm"))
    queries = Queries.of(["cat", "dog"])
    pairs = Candidates.of([range(6)] * 2, corpus=sides.corpus)
    before, vectors = other.score(queries, pairs), stage.score(queries, pairs)
    nirank.fit(stage, "clip", _letters(sides), sampler="in_batch", steps=2, batch_size=2, learning_rate=1e-2)
    assert np.array_equal(other.score(queries, pairs), before)
    assert not np.allclose(stage.score(queries, pairs), vectors)


def _letters(sides):
    """The collection with texts that the letters of the small tokenizer can spell."""
    return Collection("letters", sides.corpus, Queries.of([*"abcdef"]), sides.judgments.with_scores(np.ones(6)))


def test_frozen_images_stay_and_only_what_is_used_is_trained(sides):
    stage = nirank.load("encoder/blip", config=CONFIG, freeze=["image"], device="cpu")
    stage.component.target.begin(sides)
    network = stage.component.target.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    _fit(stage, sides, steps=2)
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert not any("crossattention" in name or name.startswith(("pictures", "itm_head")) for name in moved)


def test_what_cannot_be_trained_or_used_is_told(sides):
    stage = nirank.load("encoder/blip", config=CONFIG, device="cpu")
    with pytest.raises(BadInput, match="has no vocabulary yet"):
        stage.component.target.encode(sides.queries)
    with pytest.raises(BadInput, match="itm = -1"):
        nirank.load("encoder/blip", config=CONFIG, itm=-1.0)
    with pytest.raises(BadInput, match="uniform = 2"):
        nirank.load("encoder/blip", config=CONFIG, uniform=2.0)
    both = nirank.load("encoder/blip", config=CONFIG, itm=1.0, device="cpu")
    texts = Documents(["1", "2"], ["red", "blue"])
    own = Candidates.of([[0], [1]], [[1], [1]], texts)
    with pytest.raises(BadInput, match="for pairs of a text and an image"):
        _fit(both, Collection("texts", texts, Queries.of(["red", "blue"]), own), steps=1)
    with pytest.raises(BadInput, match="is no encoder of dense vectors"):
        nirank.load("blip_itm", config=CONFIG, first=nirank.load("bm25"))
