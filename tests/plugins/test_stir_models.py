"""The siamese encoder and STIR: against the equations one image at a time, and what is saved of them."""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTModel

import nirank
from nirank.checkpoints import checkpoint as weights
from nirank.data import Candidates, Collection, Documents, Queries, images
from nirank.errors import BadInput, MissingDependency, UnknownName
from nirank.pipeline import load
from nirank_stir.backbones import pixels
from nirank_stir.siamese import Siamese
from nirank_stir.stacked import StackedStir, stretched
from nirank_stir.stir import Stir
from tests.flat import built
from tests.vit_reference import gelu, linear, parameters, scattered, transformed, weights_of

SMALL = {"dim": 8, "depth": 2, "heads": 2, "patch": 4}
PICTURES = [images.drawn(number) for number in range(6)]


@pytest.fixture
def siamese():
    return built(Siamese, side=8, channels=3, config=SMALL, dim=5, device="cpu")


@pytest.fixture
def stir():
    return built(Stir, side=8, channels=3, config=SMALL, hidden=4, device="cpu")


def _pixels(picture, side=8):
    """An image from 0 to 1, `[channels, side, side]`."""
    return np.asarray(picture.resize((side, side)), float).transpose(2, 0, 1) / 255


def _tensor(pictures, side=8):
    return pixels(pictures, side, 3, torch.device("cpu"))


def test_vectors_are_those_of_the_equations(siamese):
    weight = weights_of(scattered(siamese), "backbone.model.")
    with torch.no_grad():
        found = siamese.encode_documents(PICTURES[:3]).numpy()
    for picture, vector in zip(PICTURES[:3], found, strict=True):
        (expected,) = transformed([_pixels(picture)], weight)
        expected = parameters(siamese)["map.weight"] @ expected
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=2e-5)


def test_distances_are_those_of_the_equations(stir):
    weight, head = weights_of(scattered(stir), "backbone.model."), weights_of(stir, "head.")
    corpus = Documents(list("abc"), PICTURES[:3])
    lists = Candidates.of([[2, 0], [], [1]], corpus=corpus)
    with torch.no_grad():
        found = stir.score(Queries.of(PICTURES[3:]), lists).numpy()
    for row, doc, score in zip(lists.rows, lists.docs, found, strict=True):
        seen = transformed([_pixels(PICTURES[3 + row]), _pixels(PICTURES[doc])], weight)
        left, right = (vector / np.linalg.norm(vector) for vector in seen)
        features = np.concatenate([math.sqrt(8) * abs(left - right), 8 * left * right])
        told = linear(gelu(linear(features, head, "0")), head, "2")[0]
        alone = [transformed([_pixels(one)], weight)[0] for one in (PICTURES[3 + row], PICTURES[doc])]
        cosine = alone[0] @ alone[1] / np.linalg.norm(alone[0]) / np.linalg.norm(alone[1])
        distance = stir.scale.item() * (1 - cosine) + told
        np.testing.assert_allclose(score, -distance, atol=5e-5)


def test_an_image_sees_the_other_one(stir):
    scattered(stir)
    with torch.no_grad():
        left, right, other = (stir.backbone.look(_tensor(PICTURES[at : at + 1])) for at in range(3))
        one, two = stir.backbone(left, right), stir.backbone(left, other)
    assert one.shape == (1, 2, 8)
    assert not torch.allclose(one[0, 0], two[0, 0], atol=1e-4)


def test_images_are_moved_in_training_only(siamese):
    siamese.vision = dataclasses.replace(siamese.vision, jitter=0.3)
    assert torch.equal(siamese.encode_documents(PICTURES), siamese.encode_documents(PICTURES))
    siamese.train()
    assert not torch.equal(siamese.encode_documents(PICTURES), siamese.encode_documents(PICTURES))


# STIR as the paper has it


@pytest.fixture
def stacked():
    return built(StackedStir, side=8, channels=3, config=SMALL, hidden=4, device="cpu")


def _logit(stacked, upper, lower):
    """The logit of two images, as one through the transformer, by the equations."""
    weight, head = weights_of(stacked, "backbone.model."), weights_of(stacked, "head.")
    (vector,) = transformed([np.concatenate([_pixels(upper), _pixels(lower)], 1)], weight)
    hidden = 1 / (1 + np.exp(-linear(vector, head, "0")))
    return (head["3.weight"] @ hidden)[0]


@pytest.mark.parametrize("symmetric", [True, False])
def test_distances_of_stacked_images_are_those_of_the_equations(stacked, symmetric):
    scattered(stacked)
    stacked.symmetric = symmetric
    corpus, lists = Documents(list("abc"), PICTURES[:3]), [[2, 0], [], [1]]
    pairs = Candidates.of(lists, corpus=corpus)
    with torch.no_grad():
        found = stacked.score(Queries.of(PICTURES[3:]), pairs).numpy()
        stacked.train()
        stacked.head[2].p = 0.0
        logits = -stacked.score(Queries.of(PICTURES[3:]), pairs).numpy()
    for row, doc, score, logit in zip(pairs.rows, pairs.docs, found, logits, strict=True):
        one, other = PICTURES[3 + row], PICTURES[doc]
        expected = [_logit(stacked, one, other), _logit(stacked, other, one)]
        distances = 1 / (1 + np.exp(-np.array(expected)))
        np.testing.assert_allclose(score, -(distances.mean() if symmetric else distances[0]), atol=2e-5)
        np.testing.assert_allclose(logit, expected[0], atol=5e-5)


def test_a_stacked_pair_is_as_far_in_both_orders(stacked):
    scattered(stacked)
    left, right = (stacked.backbone.look(_tensor(PICTURES[at : at + 1])) for at in range(2))
    with torch.no_grad():
        assert torch.equal(stacked.distances(left, right), stacked.distances(right, left))
        assert not torch.allclose(stacked.logits(left, right), stacked.logits(right, left), atol=1e-4)


def test_half_of_the_head_is_dropped_in_training(stacked):
    scattered(stacked)
    pairs = _pairs()
    assert torch.equal(stacked.score(*pairs), stacked.score(*pairs))
    stacked.train()
    assert not torch.equal(stacked.score(*pairs), stacked.score(*pairs))


def test_stacked_stir_begins_with_the_weights_of_a_siamese_encoder_and_its_positions_stretched(siamese, tmp_path):
    weights.save(nirank.load(siamese, "siamese").component, tmp_path)
    stacked = built(StackedStir, start=str(tmp_path), device="cpu")
    own, known = stacked.backbone.state_dict(), siamese.backbone.state_dict()
    for name in known.keys() - {"model.positions"}:
        assert torch.equal(own[name], known[name]), name
    assert torch.equal(own["model.positions"], stretched(known["model.positions"], 2))
    even = torch.arange(4.0)[:, None].expand(4, 2)  # rows of a square of 2 x 2: 0 and 1, 2 and 3
    high = stretched(even, 2)[:, 0].reshape(4, 2)
    assert (high.diff(dim=0) > 0).all()
    torch.testing.assert_close(high[:, 1] - high[:, 0], torch.ones(4))


def test_stacked_stir_learns_and_is_what_it_was_when_loaded_again(stripes, tmp_path):
    first = nirank.others(nirank.load("siamese", side=8, config=SMALL, device="cpu") >> nirank.load("exact"))
    settings = {"side": 8, "config": SMALL, "device": "cpu"}
    stacked, before = (nirank.load("stacked_stir", name, **settings) for name in ("stacked", "before"))
    mined = nirank.load("mined", pipeline=first, negatives=3, top=40)
    _fit(stacked, "binary_cross_entropy", stripes, mined, tmp_path / "stacked", 200)
    loaded = nirank.load(f"trained:{tmp_path / 'stacked'}", "stacked")
    ranked = [
        (first >> nirank.top(47, each)).search(stripes.queries, stripes.corpus) for each in (stacked, loaded, before)
    ]
    assert np.array_equal(ranked[0].docs, ranked[1].docs)
    trained, _, untrained = (nirank.evaluate(each, stripes.judgments, ["mAP@R"])["mAP@R"] for each in ranked)
    assert trained > untrained + 0.1


def test_a_start_that_does_not_fit_stacked_images_is_refused(siamese, stacked, tmp_path):
    weights.save(nirank.load(stacked, "stacked").component, tmp_path)
    with pytest.raises(BadInput, match="holds a StackedStir"):
        built(StackedStir, start=str(tmp_path))
    with pytest.raises(BadInput, match="have no corpus"):
        stacked.score(Queries.of(PICTURES[:1]), Candidates.of([[0]]))
    with pytest.raises(UnknownName, match="setting of vit"):
        built(StackedStir, config={"tall": 3})


# Backbones from elsewhere


@pytest.fixture
def timm():
    """The package, where it and a torchvision that fits are installed."""
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm cannot be loaded: {error}")


def test_any_model_of_timm_is_a_backbone(timm):
    settings = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 4}
    siamese = built(
        Siamese, backbone="timm:vit_tiny_patch16_224", side=8, channels=3, config=settings, seed=3, device="cpu"
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=8, **settings).eval()
    with torch.no_grad():
        expected = model(_tensor(PICTURES) * 2 - 1)
        found = siamese.encode_documents(PICTURES)
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=1))


@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224", "timm:test_efficientnet"])
def test_stir_sees_images_one_above_the_other_with_backbones_from_elsewhere(timm, name):
    settings = {"embed_dim": 16, "depth": 1, "num_heads": 2} if "vit" in name else {}
    stir = built(Stir, backbone=name, side=32, channels=3, config=settings, hidden=4, device="cpu")
    left, right = (_tensor(PICTURES[at : at + 2], 32) for at in (0, 2))
    with torch.no_grad():
        together = torch.cat([left, right], 2)
        expected = stir.backbone.model((together - stir.backbone.mean) / stir.backbone.std)
        found = stir.distances(stir.backbone.look(left), stir.backbone.look(right))
        torch.testing.assert_close(found, stir.head(expected)[:, 0])


def test_a_model_that_timm_has_not_is_refused(timm):
    with pytest.raises(UnknownName, match="model of timm"):
        built(Siamese, backbone="timm:vit_tiny_patch17")


@pytest.mark.parametrize("fault", [ModuleNotFoundError("timm", name="timm"), RuntimeError("no torchvision::nms")])
def test_without_timm_one_is_told_what_it_needs(fault, monkeypatch):
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name == "timm":
                raise fault

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(MissingDependency, match="timm"):
        built(Siamese, backbone="timm:resnet18")


@pytest.fixture
def vit(tmp_path):
    """A small ViT of transformers, in a folder."""
    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4
    )
    torch.manual_seed(4)
    model = ViTModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit", model


def test_a_model_of_transformers_is_a_backbone_with_its_weights(vit, tmp_path):
    folder, model = vit
    siamese = built(Siamese, backbone=str(folder), side=8, channels=3, weights=True, device="cpu")
    with torch.no_grad():
        hidden = model(pixel_values=_tensor(PICTURES) * 2 - 1).last_hidden_state
        found = siamese.encode_documents(PICTURES)
    torch.testing.assert_close(found, torch.nn.functional.normalize(hidden[:, 0], dim=1))
    saved = tmp_path / "saved"
    weights.save(load(siamese, "siamese").component, saved)
    for path in folder.iterdir():
        path.unlink()  # what was saved needs nothing of it
    again = weights.load(saved).target
    with torch.no_grad():
        torch.testing.assert_close(again.encode_documents(PICTURES), found)
    assert torch.isfinite(
        built(Stir, backbone=str(saved / "backbone"), side=8, channels=3, device="cpu").score(*_pairs())
    ).all()


def _pairs():
    return Queries.of(PICTURES[3:]), Candidates.of([[0], [1], [2]], corpus=Documents(list("abc"), PICTURES[:3]))


# Training, saving, loading


@pytest.fixture
def stripes():
    """Categories of stripes in one direction each, moved a little."""
    random, contents = np.random.default_rng(0), []
    for number in range(48):
        field = np.zeros((8, 8), np.uint8)
        place = random.integers(0, 6)
        field[(slice(place, place + 2), slice(None)) if number % 2 else (slice(None), slice(place, place + 2))] = 255
        contents.append(Image.fromarray(field + random.integers(0, 20, (8, 8)).astype(np.uint8) // 2 * (field == 0)))
    ids = [f"s{number}" for number in range(48)]
    judged = [[other for other in range(row % 2, 48, 2) if other != row] for row in range(48)]
    corpus = Documents(ids, contents)
    judgments = Candidates.of(judged, [[1] * len(docs) for docs in judged], corpus)
    return Collection("stripes", corpus, Queries(ids, contents), judgments)


def _fit(stage, loss, stripes, sampler, out, steps):
    nirank.fit(stage, loss, stripes, sampler=sampler, steps=steps, batch_size=8, learning_rate=1e-2, out=out)


def test_both_are_trained_one_after_the_other_and_are_what_they_were_when_loaded_again(stripes, tmp_path):
    siamese = nirank.load("siamese", side=8, config=SMALL, device="cpu", jitter=0.05)
    before = _map(siamese, stripes)
    _fit(siamese, nirank.load("triplet"), stripes, nirank.load("categories", images=4), tmp_path / "siamese", 30)
    after = _map(siamese, stripes)
    assert after > max(0.9, before)
    again = nirank.load(f"trained:{tmp_path / 'siamese'}", "siamese")
    assert _map(again, stripes) == after
    first = nirank.others(again >> nirank.load("exact"))
    stir = nirank.load("stir", start=str(tmp_path / "siamese"), device="cpu")
    mined = nirank.load("mined", pipeline=first, negatives=3, top=40)
    _fit(stir, nirank.load("softmax_cross_entropy"), stripes, mined, tmp_path / "stir", 4)
    found = (first >> nirank.top(5, stir)).search(stripes.queries, stripes.corpus)
    loaded = nirank.load(f"trained:{tmp_path / 'stir'}", "stir")
    same = (first >> nirank.top(5, loaded)).search(stripes.queries, stripes.corpus)
    assert np.array_equal(found.docs, same.docs)
    np.testing.assert_allclose(found.scores, same.scores, atol=1e-5)


def _map(siamese, collection):
    found = nirank.others(siamese >> nirank.load("exact")).search(collection.queries, collection.corpus)
    return nirank.evaluate(found, collection.judgments, ["mAP@R"])["mAP@R"]


def test_stir_begins_with_the_weights_of_a_siamese_encoder(siamese, tmp_path):
    weights.save(nirank.load(siamese, "siamese").component, tmp_path)
    stir = built(Stir, start=str(tmp_path), device="cpu")
    own = stir.backbone.state_dict()
    for name, tensor in siamese.backbone.state_dict().items():
        assert torch.equal(own[name], tensor), name
    queries, pairs = _pairs()
    with torch.no_grad():
        left, right = (
            siamese.backbone(siamese.backbone.look(_tensor(some)))[:, 0] for some in (PICTURES[3:], PICTURES[:3])
        )
        expected = torch.cosine_similarity(left, right)
        torch.testing.assert_close(stir.score(queries, pairs), stir.scale * (expected - 1), atol=1e-5, rtol=1e-5)


def test_a_start_that_is_no_siamese_encoder_is_refused(stir, tmp_path):
    weights.save(nirank.load(stir, "stir").component, tmp_path)
    with pytest.raises(BadInput, match="holds a Stir"):
        built(Stir, start=str(tmp_path))
    with pytest.raises(BadInput, match="not a checkpoint"):
        built(Stir, start=str(tmp_path / "nothing"))


def test_the_same_seed_gives_the_same_weights_and_leaves_chance_as_it_was():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, two, other = (built(Stir, side=8, config=SMALL, seed=seed, device="cpu") for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_settings_that_make_no_sense_are_refused(tmp_path):
    for settings in ({"channels": 2}, {"side": 30, "config": SMALL}, {"config": {"heads": 5}}, {"jitter": -1.0}):
        with pytest.raises(BadInput, match="expected"):
            built(Siamese, **settings)
    with pytest.raises(UnknownName, match="setting of vit"):
        built(Siamese, config={"layers": 3})
    with pytest.raises(BadInput, match="no folder or hub name"):
        built(Siamese, backbone=str(tmp_path / "nothing"), weights=True)
    (tmp_path / "weights").write_text("none")
    with pytest.raises(BadInput, match="does not hold the weights"):
        built(Siamese, model=str(tmp_path / "weights"))
