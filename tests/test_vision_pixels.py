"""Images as pixels for models: beside transformers' own processors, of any mode and size, and moved in training."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from PIL import Image  # noqa: E402

from nirank.data import images  # noqa: E402
from nirank.errors import BadInput  # noqa: E402
from nirank.kit.vision import Pixels, jittered  # noqa: E402

GREY, COLOUR = Pixels((5, 5), mean=(0.0,), std=(1.0,)), Pixels((5, 5), mean=(0.0,) * 3, std=(1.0,) * 3)


def _from_0_to_1(pixels, given):
    return pixels.normalised(pixels.bytes(given))


def test_images_of_any_mode_and_size_become_squares():
    given = [Image.new("L", (3, 9), 255), Image.new("1", (1, 1)), images.drawn(4, 30, 10)]
    grey, colour = (_from_0_to_1(pixels, given) for pixels in (GREY, COLOUR))
    assert grey.shape == (3, 1, 5, 5)
    assert colour.shape == (3, 3, 5, 5)
    assert grey[0].min() == 1
    assert colour[1].max() == 0
    expected = np.asarray(given[2].resize((5, 5)), float).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(colour[2].numpy(), expected, atol=1e-6)
    shades = expected.transpose(1, 2, 0) @ [0.299, 0.587, 0.114]  # ITU-R 601
    np.testing.assert_allclose(grey[2, 0].numpy(), shades, atol=1 / 255)


def test_without_images_there_is_a_shape():
    assert _from_0_to_1(COLOUR, []).shape == (0, 3, 5, 5)
    assert Pixels(7, (3, 4)).bytes([]).shape == (0, 3, 4, 3)


def test_a_crop_larger_than_the_image_has_black_around_it():
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size={"height": 17, "width": 20})
    pixels = Pixels.of(processor)
    for size in ((12, 12), (30, 12), (13, 29)):
        picture = images.drawn(3, *size)
        (found,) = pixels.batches([picture], 1)
        assert torch.allclose(found, processor(images=picture, return_tensors="pt")["pixel_values"], atol=1e-6), size


def test_an_image_of_any_shape_needs_little_memory():
    assert Pixels(224, (224, 224)).cut(images.drawn(1, 20_000, 1)).shape == (224, 224, 3)
    assert Pixels(224, (224, 224)).cut(images.drawn(1, 1, 20_000)).shape == (224, 224, 3)


def test_sizes_that_are_not_understood_are_refused():
    processor = transformers.CLIPImageProcessorPil(size={"longest_edge": 12})
    with pytest.raises(BadInput, match="longest_edge"):
        Pixels.of(processor)


def test_jitter_moves_each_image_by_itself_and_no_more_than_it_may():
    given = _from_0_to_1(Pixels((16, 16)), [images.drawn(0)] * 3)
    torch.testing.assert_close(jittered(given, 0.0), given, atol=1e-5, rtol=0)
    moved = jittered(given, 0.2)
    assert not torch.allclose(moved[0], moved[1], atol=1e-2)
    assert given.min() - 1e-6 <= moved.min() <= moved.max() <= given.max() + 1e-6


def test_a_shift_is_a_share_of_the_image(monkeypatch):
    given = torch.arange(64.0).reshape(1, 1, 8, 8)
    drawn = torch.tensor([[0.5], [0.5], [0.5], [1.0], [0.5]])  # turn, shear, scale, across, down: .5 is none
    monkeypatch.setattr(torch, "rand", lambda *_: drawn)
    moved = jittered(given, 0.25)
    torch.testing.assert_close(moved[..., :7], given[..., 1:])  # a quarter of half the width
    torch.testing.assert_close(moved[..., 7], given[..., 7])  # the edge again


@pytest.mark.parametrize(
    ("kind", "settings", "same"),
    [
        ("CLIPImageProcessor", {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}, True),
        ("ViTImageProcessor", {"size": {"height": 16, "width": 16}}, True),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 16}, "crop_pct": 0.875}, True),
        ("MobileViTImageProcessor", {"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}}, False),
        ("LevitImageProcessor", {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}, False),
        ("DonutImageProcessor", {"size": {"height": 16, "width": 16}}, False),
        ("Siglip2ImageProcessor", {"patch_size": 8, "max_num_patches": 4}, False),
    ],
)
def test_pixels_are_those_of_the_processor_or_there_are_none(tmp_path, kind, settings, same):
    transformers = pytest.importorskip("transformers")
    getattr(transformers, f"{kind}Pil")(**settings).save_pretrained(tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    if not same:
        with pytest.raises(BadInput, match=r"does more with an image than|is not understood"):
            Pixels.of(processor)
        return
    picture = images.drawn(3, 50, 31)
    expected = processor(images=picture)["pixel_values"][0]
    np.testing.assert_allclose(next(Pixels.of(processor).batches([picture], 1))[0], expected, atol=1e-5)
