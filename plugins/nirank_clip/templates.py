"""Zero-shot classification as retrieval: the names of classes, put into sentences, are the documents (or the queries).

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, section 3.1.4: a name
is encoded in each of the templates, each vector is made of length 1, and so is their mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from nirank.errors import BadInput

#: Where the text goes.
PLACE = "{}"

#: Templates by name.
SETS: dict[str, tuple[str, ...]] = {
    "photos": ("a photo of a {}.", "a close-up photo of a {}.", "a photo of one {}, cut out.", "this is a {}."),
    "pictograms": ("{}", "an emoji of {}", "a pictogram of {}", "a small coloured drawing of {}", "the sign for {}"),
}


def chosen(templates: str | Sequence[str]) -> tuple[str, ...]:
    """The templates of a set by its name, or `templates` themselves.

    Raises `BadInput` for one without a place for the text.
    """
    if isinstance(templates, str):
        if templates not in SETS:
            raise BadInput(
                f"templates = {templates!r} is not a set of templates; a list or one of {', '.join(SETS)} is expected."
            )
        return SETS[templates]
    for template in templates:
        if not isinstance(template, str) or PLACE not in template:
            raise BadInput(f"the template {template!r} has no {PLACE}: put one where the text is to go.")
    return tuple(templates)


def filled(texts: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every text in every template: those of a text stand together."""
    return [template.replace(PLACE, text) for text in texts for template in templates]


def averaged(vectors: Tensor, templates: int) -> Tensor:
    """Unit vectors `[texts, dim]` from the unit vectors of all templates, `[texts * templates, dim]`."""
    return F.normalize(vectors.unflatten(0, (-1, templates)).mean(1), dim=-1)
