"""Models of open_clip: against the library itself on the same weights, what is saved, and what is said without it."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import nirank  # noqa: E402
from nirank.checkpoints import checkpoint  # noqa: E402
from nirank.data import images  # noqa: E402
from nirank.errors import BadInput, MissingDependency  # noqa: E402
from nirank_clip.clip import CLIP  # noqa: E402
from tests.flat import built  # noqa: E402

TEXTS = ["a small cat", "", "a long text about nothing in particular " * 30]
PICTURES = [images.drawn(number, *size) for number, size in enumerate([(24, 24), (90, 17), (16, 41), (1, 1)])]
LAYERS = {"width": 16, "layers": 1}
MODEL = {
    "embed_dim": 12,
    "vision_cfg": {**LAYERS, "image_size": 16, "patch_size": 8, "head_width": 8},
    "text_cfg": {**LAYERS, "heads": 2, "context_length": 77, "vocab_size": 49408},
}


@pytest.fixture(scope="module")
def library():
    """The package, where it and a torchvision that fits are installed."""
    try:
        return importlib.import_module("open_clip")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"open_clip cannot be loaded: {error}")


@pytest.fixture(scope="module", params=["CLIP", "CustomTextCLIP"])
def folder(request, library, tmp_path_factory):
    """A small model with random weights, as open_clip has it in a folder."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp(request.param)
    config = {**MODEL, "custom_text": True} if request.param == "CustomTextCLIP" else MODEL
    torch.manual_seed(0)
    model = getattr(library, request.param)(**MODEL)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    told = {"model_cfg": config, "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}}
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return built(CLIP, model=f"open_clip:local-dir:{folder}", device="cpu", passed=2)


def _vectors(encoder, contents):
    with torch.inference_mode():
        return encoder.encode_documents(contents).numpy()


def test_vectors_are_those_of_the_library(library, folder, encoder):
    model, _, preprocess = library.create_model_and_transforms(f"local-dir:{folder}")
    tokens = library.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.inference_mode():
        texts = model.eval().encode_text(tokens, normalize=True)
        pictures = model.encode_image(torch.stack([preprocess(each) for each in PICTURES]), normalize=True)
        _, logits, *_ = model.get_logits(torch.stack([preprocess(each) for each in PICTURES]), tokens)
    contents = [TEXTS[0], *PICTURES, *TEXTS[1:]]
    found = _vectors(encoder, contents)
    np.testing.assert_allclose(found[[0, 5, 6]], texts, atol=1e-5)
    np.testing.assert_allclose(found[1:5], pictures, atol=1e-5)
    cosines = torch.from_numpy(found[1:5] @ found[[0, 5, 6]].T)
    with torch.inference_mode():
        np.testing.assert_allclose(encoder.probabilities(cosines), logits.T.softmax(-1), atol=1e-4)


def test_a_saved_encoder_has_the_same_vectors_and_fingerprint(folder, encoder, tmp_path):
    stage = nirank.load("clip", model=str(folder), device="cpu")  # a folder tells what it is
    assert stage.component.target.fingerprint == encoder.fingerprint
    checkpoint.save(stage.component, tmp_path / "kept")
    again = nirank.load(f"trained:{tmp_path / 'kept'}", device="cpu").component.target
    assert again.fingerprint == encoder.fingerprint
    assert np.array_equal(_vectors(again, [*TEXTS, *PICTURES]), _vectors(stage.component.target, [*TEXTS, *PICTURES]))


@pytest.mark.parametrize("side", ["text", "image"])
def test_a_frozen_tower_is_all_that_does_not_learn(folder, side):
    encoder = built(CLIP, model=str(folder), device="cpu", freeze=[side])
    learns = {name for name, value in encoder.model.named_parameters() if value.requires_grad}
    names = {name for name, _ in encoder.model.named_parameters() if not name.startswith("logit_")}
    assert {name for name in names if name.startswith("visual.")} == (names - learns if side == "image" else learns)


def test_names_without_weights_and_without_a_model_are_told(library):
    with pytest.raises(BadInput, match="its tags: openai, laion400m_e31"):
        built(CLIP, model="open_clip:ViT-B-32")
    with pytest.raises(BadInput, match="there is no such model"):
        built(CLIP, model="open_clip:ViT-B-31")
    with pytest.raises(BadInput, match="is not a model that open_clip can load"):
        built(CLIP, model="open_clip:local-dir:/nowhere")


@pytest.mark.parametrize("fault", [ModuleNotFoundError("no", name="open_clip"), RuntimeError("no torchvision::nms")])
def test_without_open_clip_one_is_told_what_it_needs(fault, monkeypatch):
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name == "open_clip":
                raise fault

    monkeypatch.delitem(sys.modules, "open_clip", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(MissingDependency, match="open_clip"):
        built(CLIP, model="open_clip:ViT-B-32/openai")
