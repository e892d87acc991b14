"""The settings that `clip` and `dual` share, declared once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nirank_clip.templates import Prompts, chosen


@dataclass(frozen=True)
class Encoding:
    """Settings of an encoder of texts and images, whatever its towers are.

    `templates` are sentences with a place, `{}`, for a text, or the name of a set of them (`nirank_clip.templates`): a
    text is then the mean of what it is in each. So classes are found for images, as documents. A class may have several
    names, with `separator` between them, such as "|": its vector is the mean of theirs. `freeze` names towers
    ("text", "image") that training leaves as they are. `batch_size` entries come at once, of which `passed` go through
    the model together; they are computed on `device`, by default a GPU if there is one.
    """

    templates: str | Sequence[str] = ()
    freeze: Sequence[str] = ()
    batch_size: int = 512
    passed: int = 32
    device: str | None = None
    separator: str | None = None

    @property
    def prompts(self) -> Prompts:
        """What texts are put into. Raises `BadInput` for a template without a place."""
        return Prompts(chosen(self.templates), self.separator)
