"""Training: what samplers and losses are given. `nirank.fit` trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import faces

if TYPE_CHECKING:
    from nirank.training.padding import Padding as Padding
    from nirank.training.sampling import Each as Each
    from nirank.training.sampling import Sample as Sample
    from nirank.training.sampling import Sampler as Sampler

_HOMES = {
    "nirank.training.padding": ["Padding"],
    "nirank.training.sampling": ["Each", "Sample", "Sampler"],
}
__getattr__, __dir__, __all__ = faces.lazily(__name__, _HOMES)
