"""Dual encoders: their towers against direct computation, what is frozen, what is kept, and a training that learns."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch.nn import functional as F  # noqa: E402

import nirank  # noqa: E402
from nirank.checkpoints import checkpoint  # noqa: E402
from nirank.data import (  # noqa: E402
    Candidates,
    Collection,
    Documents,
    Queries,
    images,
)
from nirank.errors import BadInput  # noqa: E402
from nirank.kit import Memory  # noqa: E402
from nirank.kit.transformers import quiet  # noqa: E402
from nirank.kit.vision import EfficientNet, Pixels  # noqa: E402
from nirank.testing.models import save_bert  # noqa: E402
from nirank_clip import tiny  # noqa: E402
from nirank_clip.dual import DualEncoder  # noqa: E402
from nirank_clip.towers import TextTower  # noqa: E402
from tests.flat import built  # noqa: E402

TEXTS = ["a cat", "", "a long text " * 40, "東京"]
PICTURES = [images.drawn(number, 20 + number, 30) for number in range(5)]
SMALL = {"image_size": 16, "vit_patch": 8, "vit_width": 16, "vit_layers": 2, "vit_heads": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    save_bert(folder, seed=2)
    return str(folder)


def _vectors(encoder, contents):
    with torch.inference_mode():
        return encoder.encode_documents(contents).numpy()


def test_texts_are_means_over_tokens_without_padding(bert):
    with quiet():
        model, tokenizer = (
            getattr(transformers, kind).from_pretrained(bert).eval()
            if kind == "AutoModel"
            else getattr(transformers, kind).from_pretrained(bert)
            for kind in ("AutoModel", "AutoTokenizer")
        )
    found = TextTower(bert, passed=2).eval()(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        given = tokenizer([text], return_tensors="pt", truncation=True, max_length=64)
        expected = F.normalize(model(**given).last_hidden_state[0].mean(0), dim=0)
        assert torch.allclose(vector, expected, atol=1e-5)


def test_first_weights_come_from_the_seed_and_leave_chance_as_it_was(bert):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, two, other = (built(DualEncoder, text=bert, seed=seed, **SMALL) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_images_are_moved_in_training_only(bert):
    encoder = built(DualEncoder, text=bert, jitter=0.3, freeze=["text"], **SMALL)
    assert torch.equal(encoder.encode_documents(PICTURES), encoder.encode_documents(PICTURES))
    encoder.train()
    assert not torch.equal(encoder.encode_documents(PICTURES), encoder.encode_documents(PICTURES))


def test_efficientnet_knows_a_palace_and_a_daisy(shared):
    sklearn = pytest.importorskip("sklearn")
    path = shared("weights") / "efficientnet-lite0" / "efficientnet-lite0-57934424.pth"
    network = EfficientNet().eval()
    network.load(path)
    state = torch.load(path, weights_only=True)
    photos = Path(sklearn.__file__).parent / "datasets" / "images"
    pixels = Pixels(224, (224, 224), mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    (batch,) = pixels.batches([photos / "china.jpg", photos / "flower.jpg"], 2)
    with torch.inference_mode():
        classes = network(batch) @ state["_fc.weight"].T + state["_fc.bias"]
    assert classes.argmax(1).tolist() == [698, 985]  # of ImageNet


def test_efficientnet_ignores_the_batch_in_training_too():
    network = EfficientNet().train()
    pixels = torch.randn(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network(pixels)[:1], network(pixels[:1]), atol=1e-5)


def test_files_that_are_no_weights_are_told(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"w\.pth: cannot be loaded as weights of EfficientNet"):
        EfficientNet().load(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match="cannot be loaded as weights"):
        EfficientNet().load(path)


class _Command:
    def __reduce__(self):
        return os.mkdir, ("/tmp/nirank-was-executed",)


def test_nothing_in_a_file_of_weights_is_executed(tmp_path):
    torch.save({"a": _Command()}, tmp_path / "w.pth")
    with pytest.raises(BadInput, match="cannot be loaded as weights"):
        EfficientNet().load(tmp_path / "w.pth")
    assert not Path("/tmp/nirank-was-executed").exists()


def test_vectors_are_projected_features_of_length_1(bert):
    encoder = built(DualEncoder, text=bert, dim=10, hidden=7, **SMALL)
    found = _vectors(encoder, [TEXTS[0], PICTURES[0]])
    with torch.inference_mode():
        (pixels,) = encoder.image.pixels.batches(PICTURES[:1], 1)
        features = {"text": encoder.text(TEXTS[:1])[0], "image": encoder.image.network(pixels)[0]}
        for row, side in enumerate(features):
            first, _, second = getattr(encoder, f"{side}_projection")
            inner = F.gelu(first.weight @ features[side] + first.bias)
            assert np.allclose(found[row], F.normalize(second.weight @ inner + second.bias, dim=0), atol=1e-5)


def test_without_dimensions_texts_stay_in_the_space_of_their_tower(bert):
    encoder = built(DualEncoder, text=bert, **SMALL)
    assert np.allclose(_vectors(encoder, TEXTS), encoder.text(TEXTS).detach(), atol=1e-6)
    assert _vectors(encoder, PICTURES).shape == (5, 16)


def test_templates_are_averaged(bert):
    plain, filled = (
        built(DualEncoder, text=bert, **SMALL),
        built(DualEncoder, text=bert, templates=["a {}", "{}!"], **SMALL),
    )
    each = _vectors(plain, ["a cat", "cat!"])
    assert np.allclose(_vectors(filled, ["cat"])[0], each.mean(0) / np.linalg.norm(each.mean(0)), atol=1e-6)


@pytest.mark.parametrize("freeze", [[], ["text"], ["text", "image"]])
def test_a_vector_does_not_depend_on_the_batch_or_on_what_was_kept(bert, freeze):
    encoder = built(DualEncoder, text=bert, dim=6, freeze=freeze, passed=2, **SMALL)
    contents = [TEXTS[0], PICTURES[0], TEXTS[1], PICTURES[1], TEXTS[0], PICTURES[0], TEXTS[2]]
    together = _vectors(encoder, contents)
    assert np.allclose(together, np.concatenate([_vectors(encoder, [each]) for each in contents]), atol=1e-6)
    assert np.array_equal(together, _vectors(encoder, contents))
    anew = built(DualEncoder, text=bert, dim=6, passed=100, **SMALL)
    assert np.allclose(together, _vectors(anew, contents), atol=1e-6)


def test_a_memory_computes_once_and_knows_a_file_that_changed(tmp_path):
    asked = []

    def tower(contents):
        asked.append(list(contents))
        return torch.tensor([[float(len(str(content)))] for content in contents])

    memory, path = Memory(limit=16), tmp_path / "a.png"
    images.drawn(1).save(path)
    found = memory.get(tower, ["ab", path, "ab", "abc"])
    assert found[:, 0].tolist() == [2, len(str(path)), 2, 3]
    assert asked == [["ab", path, "abc"]]
    assert not found.requires_grad
    memory.get(tower, ["abc", path])
    assert len(asked) == 1
    images.drawn(2, 9, 9).save(path)
    memory.get(tower, [path])
    assert asked[-1] == [path]
    picture = images.drawn(1)
    memory.get(tower, [picture, picture])
    memory.get(tower, [picture])
    assert [len(each) for each in asked[-2:]] == [2, 1]  # of what is in no file nothing is known
    for number in range(20):
        memory.get(tower, [f"text {number}"])
    assert len(memory._kept) == 4  # of four bytes each: the newest
    before = len(asked)
    memory.get(tower, [f"text {number}" for number in range(16, 20)])
    assert len(asked) == before


def test_what_inference_left_in_the_memory_can_be_trained_with(bert):
    encoder = built(DualEncoder, text=bert, dim=6, freeze=["text"], **SMALL)
    _vectors(encoder, TEXTS)
    encoder.train()
    encoder.encode_documents(TEXTS).sum().backward()
    assert encoder.text_projection[0].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.text.parameters())
    assert not encoder.text.training


def _pairs(folder, count=8):
    """Pictures in files, each with a word of its own."""
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.png")
        images.drawn(number, 16, 16).save(paths[-1])
    corpus = Documents([f"p{number}" for number in range(count)], paths)
    words = [f"{'abcdefgh'[number]}{number}" for number in range(count)]
    return Collection("p", corpus, Queries.of(words), Candidates.of([[n] for n in range(count)], [[1]] * count, corpus))


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_pictures_are_learned_from_nothing(bert, tmp_path, loss):
    collection = _pairs(tmp_path)
    stage = nirank.load("dual", text=bert, freeze=["text"], dim=16, **SMALL)
    ranking = stage >> nirank.load("exact")
    before = nirank.evaluate(ranking.search(collection.queries, collection.corpus), collection.judgments, ["RR"]).mean
    options = {"steps": 60, "batch_size": 8, "learning_rate": 3e-3}
    sampler = nirank.load("in_batch", negatives=7)
    nirank.fit(stage, nirank.load(f"loss/{loss}"), collection, sampler=sampler, **options)
    after = nirank.evaluate(ranking.search(collection.queries, collection.corpus), collection.judgments, ["RR"]).mean
    assert before["RR"] < 0.75
    assert after["RR"] > 0.95


def test_the_same_seed_trains_to_the_same_weights(bert, tmp_path):
    collection, states = _pairs(tmp_path), []
    for _ in range(2):
        stage = nirank.load("dual", text=bert, freeze=["text"], seed=3, **SMALL)
        nirank.fit(stage, "clip", collection, sampler="in_batch", steps=3, batch_size=4, learning_rate=1e-3)
        states.append(stage.component.target.state_dict())
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_frozen_towers_stay_and_the_others_move(bert, tmp_path):
    stage = nirank.load("dual", text=bert, freeze=["image"], **SMALL)
    before = {name: value.clone() for name, value in stage.component.target.state_dict().items()}
    nirank.fit(stage, "clip", _pairs(tmp_path), sampler="in_batch", steps=2, batch_size=4, learning_rate=1e-3)
    after = stage.component.target.state_dict()
    moved = {name.partition(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"text", "image_projection"}


@pytest.mark.parametrize("image", ["vit", "efficientnet_lite0", "transformers"])
def test_a_saved_encoder_has_the_same_vectors_and_fingerprint(bert, tmp_path, image):
    settings = {**SMALL, "image": image, "dim": 6, "hidden": 5, "templates": ["a {}"], "freeze": ["text"]}
    if image == "efficientnet_lite0":
        settings |= {"image_size": 32}
    if image == "transformers":
        with quiet():
            model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(image_size=16, patch_size=8, **_SIZES))
            model.save_pretrained(tmp_path / "vision")
            transformers.CLIPImageProcessorPil(
                size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
            ).save_pretrained(tmp_path / "vision")
        settings = {name: value for name, value in settings.items() if name != "image_size"}
        settings["image"] = str(tmp_path / "vision")
    stage = nirank.load("dual", text=bert, **settings)
    checkpoint.save(stage.component, tmp_path / "kept")
    again = nirank.load(f"trained:{tmp_path / 'kept'}", device="cpu").component.target
    contents = [*TEXTS, *PICTURES]
    assert np.array_equal(_vectors(again, contents), _vectors(stage.component.target, contents))
    assert again.fingerprint == stage.component.target.fingerprint
    assert not any(path.suffix in (".bin", ".pt", ".pth", ".pkl") for path in (tmp_path / "kept").rglob("*"))


_SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def test_fingerprints_tell_seeds_and_sizes_apart(bert):
    prints = {
        built(DualEncoder, text=bert, **{**SMALL, **more}).fingerprint for more in ({}, {"seed": 1}, {"image_size": 24})
    }
    assert len(prints) == 3
    assert built(DualEncoder, text=bert, **SMALL).fingerprint in prints


def test_settings_that_do_not_fit_are_refused(bert, tmp_path):
    with pytest.raises(BadInput, match="freeze names vision"):
        built(DualEncoder, text=bert, freeze=["vision"])
    with pytest.raises(BadInput, match="image_weights is a setting of efficientnet_lite0"):
        built(DualEncoder, text=bert, image_weights="x.pth")
    with pytest.raises(BadInput, match="image_size, a setting of vit and efficientnet_lite0"):
        built(DualEncoder, text=bert, image=str(tmp_path), image_size=32)
    with pytest.raises(BadInput, match="cannot be loaded as a dual encoder with these settings"):
        built(DualEncoder, text=bert, model=str(tmp_path / "none.safetensors"), **SMALL)
    small = built(DualEncoder, text=bert, dim=6, **SMALL)
    small.save(tmp_path)
    with pytest.raises(BadInput, match="cannot be loaded as a dual encoder with these settings"):
        built(DualEncoder, text=bert, dim=7, model=str(tmp_path / "dual.safetensors"), **SMALL)


def test_the_tiny_ones_are_small():
    for encoder in (tiny.clip(), tiny.dual()):
        assert sum(parameter.numel() for parameter in encoder.parameters()) < 50_000
