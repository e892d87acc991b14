"""The objective of training: a loss, and the columns that it names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Floats, Ints
from nirank.errors import BadInput, ComponentError
from nirank.execution import stages
from nirank.pipeline.algebra import Scoring
from nirank.training.batch import Forward, VectorForward, unlabelled
from nirank.training.padding import Padding
from nirank.training.sampling import Sample
from nirank.training.summed_losses import arguments, skipped

Penalty = Callable[..., Tensor]

#: What a penalty is given besides vectors, if it has parameters of these names.
_OF_PENALTIES = ("labels", "mask", "places", "query_contents", "document_contents")


class Objective:
    """A loss over samples, and the teacher that it may learn from.

    Besides scores, labels and mask a loss is given what it has parameters for: `documents` (ordinals) and
    `log_expected_count`, `[lists, length]`, `queries` (their rows in the collection, `[lists]`), `teacher`, the scores
    of another scoring; of an encoder `query_vectors` `[lists, dim]`, `document_vectors` `[distinct, dim]` and
    `distinct_documents` `[distinct]`, their ordinals, which rise. A loss over classes (it has an attribute `classes`)
    also takes a component with one score a pair: the score of a class is that many times the score.

    `penalty` is a further term to minimise, from the encoder's method of that name, which is given the vectors of the
    queries and of the distinct documents of a batch, `[n, dim]` each, and returns a scalar. Beyond these it is given
    what it has parameters for: `labels`, `mask` and `places`, `[lists, length]`, where a place is that of a document
    among the distinct ones, and `query_contents` and `document_contents`. `weights` are those of
    judgments, one row a query of the collection; a loss that names `weights` is given them, `[lists, length]`.
    """

    def __init__(
        self,
        loss: Component,
        teacher: Scoring | None = None,
        penalty: Penalty | None = None,
        weights: Candidates | None = None,
    ) -> None:
        self.loss, self.teacher, self.penalty, self.weights = loss, teacher, penalty, weights
        self.named = arguments(loss.target)
        self.penalised = {*_OF_PENALTIES} & arguments(penalty) if penalty else set[str]()
        self.adds_up = loss.traits.reduction == "sum"
        if loss.traits.reduction == "none":
            raise BadInput(f"{loss.spec}: reduction = 'none' leaves one number per list; train with 'mean' or 'sum'.")
        if teacher and "teacher" not in self.named:
            raise BadInput(
                f"{loss.spec} has no argument `teacher`: leave `teacher` out, or choose a loss that learns from one."
            )
        refuse_unweighed(loss, weights)

    @property
    def learned(self) -> dict[float, list[Tensor]]:
        """The parameters of the loss itself, by the `rate_factor` of the module that it is part of."""
        found: dict[float, list[Tensor]] = defaultdict(list)
        for module in self.loss.target.modules() if isinstance(self.loss.target, torch.nn.Module) else []:
            wanted = [parameter for parameter in module.parameters(recurse=False) if parameter.requires_grad]
            found[float(getattr(module, "rate_factor", 1.0))] += wanted
        return found

    def columns(self, sample: Sample, padding: Padding, queries: Queries, rows: Ints) -> dict[str, Any]:
        """The arguments of the loss, but for the scores."""
        candidates = sample.candidates
        mask = padding.mask if sample.mask is None else padding.matrix(sample.mask)
        columns: dict[str, Any] = {"labels": padding.matrix(candidates.scores), "mask": mask}
        if "documents" in self.named:
            columns["documents"] = padding.matrix(candidates.docs.astype("int64"))
        if "queries" in self.named:
            columns["queries"] = torch.from_numpy(rows).to(padding.device)
        if "log_expected_count" in self.named and sample.log_expected_count is not None:
            columns["log_expected_count"] = padding.matrix(sample.log_expected_count)
        if self.weights is not None:
            columns["weights"] = padding.matrix(weights_of(candidates, rows, self.weights))
        if self.teacher:
            columns["teacher"] = padding.matrix(self.teacher.score(queries, unlabelled(candidates)))
        return columns

    def __call__(self, forward: Forward, outputs: Sequence[Tensor], columns: dict[str, Any]) -> tuple[Tensor, int]:
        """The loss of the lists, times the number of lists that count; and that number.

        So it can be added up over passes and processes: the sum, divided by how many lists count in all, is the
        loss of one large batch. A loss that adds up by itself is taken as it is.
        """
        scores = self._classes(forward.scores(outputs))
        value = stages.loss(self.loss, scores, **columns, **forward.extras(outputs, self.named))
        if not isinstance(value, Tensor) or value.ndim:
            raise ComponentError(f"{self.loss.spec} returned {value!r}; a scalar tensor is expected.")
        if scores.requires_grad and not value.requires_grad:
            raise ComponentError(
                f"{self.loss.spec} returned a value without gradient: compute it from the scores, by torch."
            )
        if self.penalty and isinstance(forward, VectorForward):
            value = value + self.penalty(*forward.vectors(outputs), **self._told(forward, columns))
        counted = max(len(scores) - skipped(self.loss), 0)
        return (value, counted) if self.adds_up else (value * counted, counted)

    def _told(self, forward: VectorForward, columns: dict[str, Any]) -> dict[str, Any]:
        """The values that the penalty has parameters for, by name."""
        told = {**columns, **forward.contents, **({"places": forward.places} if "places" in self.penalised else {})}
        return {name: told[name] for name in self.penalised}

    def _classes(self, scores: Tensor) -> Tensor:
        classes = self.loss.traits.classes
        if classes is None:
            raise BadInput(f"{self.loss.spec} needs the number of grades of relevance: set `classes`.")
        if not classes or scores.ndim == 3:
            return scores
        return scores[..., None] * torch.arange(classes, device=scores.device)


def weights_of(candidates: Candidates, rows: Ints, weights: Candidates) -> Floats:
    """The weights of pairs, `[pairs]`, of queries that are the given `rows` of `weights`; 1 where it has none."""
    return candidates.lookup(weights.take(rows), 1)


def refuse_unweighed(loss: Component, weights: Candidates | None) -> None:
    """Raise `BadInput` where judgments have weights that the loss would not heed."""
    if weights is not None and "weights" not in arguments(loss.target):
        raise BadInput(
            f"the judgments of this collection have weights, which {loss.spec} does not heed: train with "
            f'"weighted({loss.spec.removeprefix("loss/")})", or with a collection without weights.'
        )
