"""Zero-shot classification as retrieval: the names of classes, put into sentences, are the documents (or the queries).

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, section 3.1.4: a name
is encoded in each of the templates, each vector is made of length 1, and so is their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nirank.errors import BadInput
from nirank.kit.vision import imported

#: Where the text goes.
PLACE = "{}"

#: Templates by name.
SETS: dict[str, tuple[str, ...]] = {
    "photos": ("a photo of a {}.", "a close-up photo of a {}.", "a photo of one {}, cut out.", "this is a {}."),
    "pictograms": ("{}", "an emoji of {}", "a pictogram of {}", "a small coloured drawing of {}", "the sign for {}"),
}


#: Those of CLIP's authors for ImageNet, which open_clip has, by their names there.
OPEN_CLIP = {"openai_80": "OPENAI_IMAGENET_TEMPLATES", "openai_7": "SIMPLE_IMAGENET_TEMPLATES"}


@dataclass(frozen=True)
class Prompts:
    """The sentences that texts are put into, and what separates the names of one class in a text, if anything does."""

    templates: tuple[str, ...] = ()
    separator: str | None = None

    def __post_init__(self) -> None:
        if self.separator == "":
            raise BadInput("separator is empty: give what stands between the names of a class, such as '|'.")

    @property
    def known(self) -> Any:
        """All that vectors depend on, for a hash."""
        return self.templates if self.separator is None else (self.templates, self.separator)

    def saved(self) -> dict[str, Any]:
        """The settings that make these prompts again."""
        separator = {} if self.separator is None else {"separator": self.separator}
        return {"templates": list(self.templates), **separator}

    def vectors(self, texts: Sequence[str], sentences: Callable[[Sequence[str]], Tensor]) -> Tensor:
        """Unit vectors of texts, `[texts, dim]`; `sentences` makes those of sentences."""
        if self.separator is None:
            return self._of_names(texts, sentences)
        names = [_names(text, self.separator) for text in texts]
        vectors = self._of_names([name for some in names for name in some], sentences)
        return torch.stack([F.normalize(some.mean(0), dim=-1) for some in vectors.split([len(some) for some in names])])

    def _of_names(self, names: Sequence[str], sentences: Callable[[Sequence[str]], Tensor]) -> Tensor:
        if not self.templates:
            return sentences(names)
        return averaged(sentences(filled(names, self.templates)), len(self.templates))


def chosen(templates: str | Sequence[str]) -> tuple[str, ...]:
    """The templates of a set by its name, or `templates` themselves.

    Raises `BadInput` for one without a place for the text; `MissingDependency` for a set of open_clip without it.
    """
    if isinstance(templates, str) and templates in OPEN_CLIP:
        found = getattr(imported("open_clip", f"the templates {templates}"), OPEN_CLIP[templates])
        return chosen([template(PLACE) for template in found])
    if isinstance(templates, str):
        if templates not in SETS:
            raise BadInput(
                f"templates = {templates!r} is not a set of templates; a list or one of "
                f"{', '.join([*SETS, *OPEN_CLIP])} is expected."
            )
        return SETS[templates]
    for template in templates:
        if not isinstance(template, str) or PLACE not in template:
            raise BadInput(f"the template {template!r} has no {PLACE}: put one where the text is to go.")
    return tuple(templates)


def filled(texts: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every text in every template: those of a text stand together."""
    return [template.replace(PLACE, text) for text in texts for template in templates]


def _names(text: str, separator: str) -> list[str]:
    """The names of a class: what stands between separators, each once; the text itself where that is nothing."""
    return list(dict.fromkeys(name.strip() for name in text.split(separator) if name.strip())) or [text]


def averaged(vectors: Tensor, templates: int) -> Tensor:
    """Unit vectors `[texts, dim]` from the unit vectors of all templates, `[texts * templates, dim]`."""
    return F.normalize(vectors.unflatten(0, (-1, templates)).mean(1), dim=-1)
