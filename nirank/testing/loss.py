"""The promises of a loss: a finite number to minimise, computed from each list alone.

A loss is called as `loss(scores, labels, mask)`, all three `[lists, length]`; entries that are False in `mask`
are padding. That its value is the right one is for a test of its own, against the formula written out.

What a loss needs beyond that it says by attributes, all of them optional:

    largest_label    labels are cut off there: 1 for a loss that takes no grades
    classes          scores are `[lists, length, classes]`; those of a class are the class times one score
    example_extras   a function from labels `[lists, length]` to the named arguments that the loss cannot be called
                     without, each made entry by entry: `{"teacher": 2 * labels}`
    gamma            the inverse temperature, which multiplies scores
    reduction        "mean", "sum" or "none"

A loss that can tell documents apart takes their ids, whole numbers `[lists, length]`, as `documents`. What reads
vectors has checks of its own (`nirank.testing.loss_of_vectors`).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nirank.testing.promises import Inapplicable, expect, expect_same
from nirank.testing.subject import Subject

if TYPE_CHECKING:
    import torch

_SCORES = ((0.5, -1.0, 2.0, 0.1), (1.5, 0.3, -0.7, 0.2), (-0.4, 0.9, 0.0, 1.1))
_LABELS = ((1.0, 0.0, 2.0, 0.0), (0.0, 1.0, 0.0, 0.0), (3.0, 1.0, 0.0, 2.0))


def scalar(subject: Subject) -> None:
    """The value is one finite number."""
    value, _ = _run(subject, _SCORES, _LABELS)
    expect(value.ndim == 0, f"the loss has the shape {tuple(value.shape)}, not ().")
    expect(bool(value.isfinite()), f"the loss is {value.item()}.")


def differentiable(subject: Subject) -> None:
    """A finite gradient reaches the scores."""
    _, gradient = _run(subject, _SCORES, _LABELS)
    expect(bool(gradient.isfinite().all()), "the gradient is not finite.")
    expect(bool(gradient.any()), "the gradient is zero everywhere.")


def gradient_is_the_derivative(subject: Subject) -> None:
    """The gradient is the derivative of the value by each score, as central differences in float64 have it."""
    scores = [[1.03 * score for score in row] for row in _SCORES]  # no two of them 1 apart, where a hinge has its kink
    value, gradient = _run(subject, scores, _LABELS, exact=True)
    found = [_difference(subject, scores, row, column) for row in range(3) for column in range(4)]
    expect_same(gradient.flatten().numpy(), found, f"the gradient of the loss {value.item():.6g}")


def precision(subject: Subject) -> None:
    """Scores of float64 give a value of float64, and nearly the one that float32 gives."""
    value, gradient = _run(subject, _SCORES, _LABELS)
    exact, slope = _run(subject, _SCORES, _LABELS, exact=True)
    expect(exact.dtype == slope.dtype, f"the loss of {slope.dtype} scores has the type {exact.dtype}.")
    expect_same(value.numpy(), exact.numpy(), "the loss of float32 scores")
    expect_same(gradient.numpy(), slope.numpy(), "the gradient of float32 scores")


def padding(subject: Subject) -> None:
    """Padding changes neither the value nor the gradient, however much there is and whatever stands there."""
    value, gradient = _run(subject, _SCORES, _LABELS)
    fillers = ((0.0, 0.0, 1), (1e4, 3.0, 2), (float("-inf"), -1.0, 7), (float("nan"), 1.0, 7))
    for filler, label, more in fillers:
        scores = [(*row, *[filler] * more) for row in _SCORES]
        labels = [(*row, *[label] * more) for row in _LABELS]
        padded, slope = _run(subject, scores, labels, [[True] * 4 + [False] * more] * 3)
        what = f"padded with {more} scores of {filler} and labels of {label}"
        expect_same(padded.numpy(), value.numpy(), f"the loss {what}")
        expect_same(slope[:, :4].numpy(), gradient.numpy(), f"the gradient {what}")
        expect(not slope[:, 4:].any(), f"{what}: the padding has a gradient.")


def empty_lists(subject: Subject) -> None:
    """A list of padding alone has a loss and a gradient of 0, beside others or not."""
    nothing, _ = _run(subject, _SCORES, _LABELS, [[False] * 4] * 3)
    expect_same(nothing.numpy(), 0.0, "the loss of lists that are all padding")
    value, gradient = _run(subject, _SCORES, _LABELS, [[True] * 4, [True] * 4, [False] * 4])
    expect(bool(value.isfinite() & gradient.isfinite().all()), "beside an empty list the loss is not finite.")
    expect(not gradient[2].any(), "an empty list has a gradient.")


def order_of_documents(subject: Subject) -> None:
    """The order of the documents in a list does not matter."""
    value, gradient = _run(subject, _SCORES, _LABELS)
    turned, slope = _run(subject, [row[::-1] for row in _SCORES], [row[::-1] for row in _LABELS])
    expect_same(turned.numpy(), value.numpy(), "the loss of lists in reverse order")
    expect_same(slope.flip(1).numpy(), gradient.numpy(), "the gradient of lists in reverse order")


def order_of_ties(subject: Subject) -> None:
    """Documents of equal scores or labels may come in any order."""
    scores, labels = [[0.5, 0.5, 0.5, 0.2], [0.1, 0.1, 0.7, 0.7]], [[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 1.0, 0.0]]
    value, _ = _run(subject, scores, labels)
    for order in ([1, 0, 3, 2], [3, 1, 2, 0], [2, 3, 0, 1]):
        turned, grades = ([[row[place] for place in order] for row in rows] for rows in (scores, labels))
        found, _ = _run(subject, turned, grades)
        expect_same(found.numpy(), value.numpy(), f"the loss of tied lists in the order {order}")


def repeated_documents(subject: Subject) -> None:
    """A document that is in a list twice, by its id, counts once."""
    if "documents" not in _parameters(subject.target):
        raise Inapplicable("it has no argument `documents`, so it cannot see that two entries are one document.")
    ids = [[4, 2, 9, 7]] * 3
    value, gradient = _run(subject, _SCORES, _LABELS, documents=ids)
    scores, labels, again = ([(*row, row[2]) for row in rows] for rows in (_SCORES, _LABELS, ids))
    repeated, slope = _run(subject, scores, labels, documents=again)
    slope[:, 2] += slope[:, 4]
    expect_same(repeated.numpy(), value.numpy(), "the loss with the third document twice")
    expect_same(slope[:, :4].numpy(), gradient.numpy(), "the gradient with the third document twice")


def temperature(subject: Subject) -> None:
    """`gamma` multiplies scores and nothing else."""
    if not isinstance(subject.traits.gamma, float):
        raise Inapplicable("it has no attribute `gamma` that is a number.")
    sharp = copy.deepcopy(subject.target)
    sharp.gamma = 3 * subject.target.gamma
    value, _ = _run(subject, [[3 * score for score in row] for row in _SCORES], _LABELS)
    found, _ = _run(Subject(subject.kind, sharp), _SCORES, _LABELS)
    expect_same(found.numpy(), value.numpy(), "the loss with three times gamma, against that of three times the scores")


def reduction(subject: Subject) -> None:
    """With "sum" the value is the sum of the losses of the lists, with "mean" their mean over the lists that count."""
    if getattr(subject.target, "reduction", None) not in ("mean", "sum", "none"):
        raise Inapplicable("it has no attribute `reduction` that is 'mean', 'sum' or 'none'.")
    values = {}
    for name in ("mean", "sum", "none"):
        loss = copy.deepcopy(subject.target)
        loss.reduction = name
        values[name] = _run(Subject(subject.kind, loss), _SCORES, _LABELS)[0]
    expect(
        values["none"].ndim == 1,
        f"with reduction = 'none' the loss has the shape {tuple(values['none'].shape)}; (lists,) is expected.",
    )
    expect_same(values["sum"].numpy(), values["none"].sum().numpy(), "the loss with reduction = 'sum'")
    apart = 1e-5 * values["none"].abs().amax()
    inside = values["none"].amin() - apart <= values["mean"] <= values["none"].amax() + apart
    expect(bool(inside), "with reduction = 'mean' the loss is not a mean of the losses of lists.")


def lists_are_independent(subject: Subject) -> None:
    """The scores of one list do not change the gradient of another."""
    _, gradient = _run(subject, _SCORES, _LABELS)
    _, other = _run(subject, (_SCORES[0], (-3.0, 2.0, 5.0, 0.0), (9.0, -9.0, 1.0, 0.5)), _LABELS)
    expect_same(other[0].numpy(), gradient[0].numpy(), "the gradient of a list beside others")


def one_document(subject: Subject) -> None:
    """A list of one document gives no NaN."""
    for label in (0.0, 1.0):
        _expect_finite(subject, [[0.7]], [[label]], f"a list of one document of label {label}")
    _expect_finite(
        subject, [*_SCORES[:2]], [*_LABELS[:2]], "a list of one beside a longer", [[True] + [False] * 3, [True] * 4]
    )


def equal_labels(subject: Subject) -> None:
    """Lists whose labels are all equal, and lists whose scores are, give no NaN."""
    for label in (0.0, 1.0, 2.0):
        _expect_finite(subject, _SCORES, [[label] * 4] * 3, f"lists of equal labels {label}")
    _expect_finite(subject, [[0.5] * 4] * 3, _LABELS, "lists of equal scores")


def large_scores(subject: Subject) -> None:
    """Scores of 10,000 give a finite value and a finite gradient."""
    large = [[1e4 * score for score in row] for row in _SCORES]
    _expect_finite(subject, large, _LABELS, "scores of 10,000")


def badly_wrong_pair(subject: Subject) -> None:
    """A relevant document far below an irrelevant one still has a gradient."""
    for distance in (10.0, 1e4):
        _, gradient = _run(subject, [[-distance, distance]], [[1.0, 0.0]])
        expect(bool(gradient.any()), f"the gradient vanishes where the wrong document leads by {2 * distance:g}.")


def perfect_is_not_worse(subject: Subject) -> None:
    """A perfect ranking has no larger loss than its reverse."""
    labels = [[3.0, 2.0, 1.0, 0.0]]
    perfect, reverse = (_run(subject, scores, labels)[0].item() for scores in (labels, [labels[0][::-1]]))
    expect(perfect <= reverse, f"the perfect ranking costs {perfect:.6g}, its reverse {reverse:.6g}.")


def _run(
    subject: Subject,
    scores: Sequence[Sequence[float]],
    labels: Any,
    mask: Any = None,
    documents: Any = None,
    exact: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The value of the loss and its gradient in `scores`, `[lists, length]`, in float64 if `exact`."""
    import torch

    if _parameters(subject.target) & {"query_vectors", "document_vectors"}:
        raise Inapplicable("it reads vectors, and is checked with these.")
    dtype = torch.float64 if exact else torch.float32
    values = torch.tensor(scores, dtype=dtype, requires_grad=True)
    present = torch.ones(values.shape, dtype=torch.bool) if mask is None else torch.tensor(mask)
    value = _call(subject.target, values, torch.tensor(labels, dtype=dtype), present, documents)
    expect(isinstance(value, torch.Tensor), f"the loss is a {type(value).__name__}, not a tensor.")
    expect(value.requires_grad, "the loss carries no gradient.")
    (gradient,) = torch.autograd.grad(value.sum(), values, allow_unused=True)
    return value.detach(), torch.zeros_like(values) if gradient is None else gradient


def _call(loss: Any, scores: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor, documents: Any) -> Any:
    """Call the loss with what it says that it needs."""
    import torch

    most, classes = getattr(loss, "largest_label", None), getattr(loss, "classes", None)
    if most is not None:
        labels = torch.where(mask, labels.clamp(max=most), labels)
    extras = loss.example_extras(labels) if hasattr(loss, "example_extras") else {}
    if documents is not None:
        extras["documents"] = torch.tensor(documents)
    if classes is not None:
        scores = scores[..., None] * torch.arange(1, classes + 1, dtype=scores.dtype, device=scores.device)
    return loss(scores, labels, mask, **extras)


def _parameters(loss: Any) -> set[str]:
    """The names of the arguments of a loss, a function, an object or a module."""
    function = getattr(loss, "forward", loss)
    return set(inspect.signature(function).parameters)


def _difference(
    subject: Subject, scores: Sequence[Sequence[float]], row: int, column: int, step: float = 1e-6
) -> float:
    """The change of the loss with one score, by the value on either side of it."""
    ends = []
    for shift in (step, -step):
        moved = [list(some) for some in scores]
        moved[row][column] += shift
        ends.append(_run(subject, moved, _LABELS, exact=True)[0].item())
    return (ends[0] - ends[1]) / (2 * step)


def _expect_finite(subject: Subject, scores: Any, labels: Any, what: str, mask: Any = None) -> None:
    value, gradient = _run(subject, scores, labels, mask)
    expect(bool(value.isfinite().all()), f"{what}: the loss is {value.tolist()}.")
    expect(bool(gradient.isfinite().all()), f"{what}: the gradient is not finite.")
