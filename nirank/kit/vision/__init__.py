"""Images for models: pixels, and a small vision transformer. They need torch and Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.kit.vision.both import of_both as of_both
    from nirank.kit.vision.efficientnet import EfficientNet as EfficientNet
    from nirank.kit.vision.libraries import imported as imported
    from nirank.kit.vision.pixels import Pixels as Pixels
    from nirank.kit.vision.pixels import jittered as jittered
    from nirank.kit.vision.vit import ViT as ViT

_HOMES = {
    "nirank.kit.vision.both": ["of_both"],
    "nirank.kit.vision.efficientnet": ["EfficientNet"],
    "nirank.kit.vision.libraries": ["imported"],
    "nirank.kit.vision.pixels": ["Pixels", "jittered"],
    "nirank.kit.vision.vit": ["ViT"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)
