"""The small transformer: against its equations one image at a time, its chance, and the sizes that it refuses."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nirank.errors import BadInput  # noqa: E402
from nirank.kit.vision import ViT  # noqa: E402
from tests.vit_reference import scattered, transformed, weights_of  # noqa: E402

SMALL = {"side": 8, "channels": 3, "dim": 8, "depth": 2, "heads": 2, "patch": 4}


def _made(seed, **settings):
    torch.manual_seed(seed)
    return ViT(**{**SMALL, **settings}).eval()


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_images_alone_have_the_vectors_of_the_equations(pictures):
    vit = scattered(_made(0))
    with torch.no_grad():
        found = vit(pictures * 2 - 1).numpy()
    for picture, vector in zip(pictures.double().numpy(), found, strict=True):
        np.testing.assert_allclose(vector, transformed([picture], weights_of(vit, ""))[0], atol=2e-5)


def test_images_together_have_the_vectors_of_the_equations(pictures):
    vit = scattered(_made(0, together=3))
    with torch.no_grad():
        found = vit.vectors(*(vit.tokens(picture[None] * 2 - 1) for picture in pictures))[0].numpy()
    expected = transformed(list(pictures.double().numpy()), weights_of(vit, ""))
    np.testing.assert_allclose(found, np.stack(expected), atol=2e-5)


def test_images_together_begin_with_the_vectors_of_images_alone(pictures):
    vit = _made(0, together=3)
    with torch.no_grad():
        together = vit.vectors(*(vit.tokens(picture[None]) for picture in pictures))[0]
        torch.testing.assert_close(together, vit(pictures))


def test_chance_comes_from_the_generator():
    states = [_made(seed).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
    assert not torch.equal(states[0]["positions"], states[2]["positions"])


@pytest.mark.parametrize("settings", [{"side": 10}, {"patch": 6, "side": 12}, {"patch": 1}, {"heads": 3}])
def test_sizes_that_do_not_divide_are_refused(settings):
    with pytest.raises(BadInput, match="are expected"):
        ViT(**{**SMALL, **settings})
