"""The promises of a loss that reads vectors: one that names `query_vectors` or `document_vectors`.

It is called as `nirank.fit` calls it for an encoder, for a collection whose queries and documents are of three classes,
all of a class relevant to all queries of it, and with a query and a document that belong to none. Where it has
`begin(collection, dim)`, that is called first. Its lists have all documents of the batch.
"""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.corpus import Documents
from nirank.data.queries import Queries
from nirank.testing.promises import Inapplicable, expect, expect_same
from nirank.testing.subject import Subject

if TYPE_CHECKING:
    import torch

_CLASSES, _DIM = 3, 6
#: Queries and documents by their class; the last of both has none.
_QUERIES, _DOCUMENTS = (0, 1, 2, 0, -1), (0, 1, 2, 2, 1, 0, 1, -1)
_STEPS = 300
#: By how much the mean cosine with the own class is to be above that with others when the loss was made small.
_APART = 0.1


def vectors_scalar(subject: Subject) -> None:
    """Of vectors, too, the value is one finite number."""
    value, _ = _run(subject)
    expect(value.ndim == 0, f"the loss has the shape {tuple(value.shape)}, not ().")
    expect(bool(value.isfinite()), f"the loss is {value.item()}.")


def vectors_differentiable(subject: Subject) -> None:
    """A finite gradient reaches the vectors, and what `begin` made to be learned."""
    _, gradients = _run(subject)
    reached = [bool(gradient.any()) for name, gradient in gradients.items() if name.endswith("_vectors")]
    expect(any(reached), "the gradient of all vectors is zero everywhere.")
    for name, gradient in gradients.items():
        expect(bool(gradient.isfinite().all()), f"the gradient of {name} is not finite.")
        expect(
            name.endswith("_vectors") or bool(gradient.any()), f"no gradient reaches {name}, which is to be learned."
        )


def vectors_gradient_is_the_derivative(subject: Subject) -> None:
    """The gradient is the derivative of the value by each number of a vector, as central differences have it."""
    value, gradients = _run(subject, exact=True)
    for side in ("query_vectors", "document_vectors"):
        found = [_difference(subject, side, row, column) for row in range(2) for column in range(_DIM)]
        expected = gradients[side][:2].flatten().numpy()
        expect_same(expected, found, f"the gradient of {side}, of the loss {value.item():.6g}")


def vectors_precision(subject: Subject) -> None:
    """Vectors of float64 give a value of float64, and nearly the one that float32 gives."""
    (value, _), (exact, slopes) = _run(subject), _run(subject, exact=True)
    slope = slopes["query_vectors"]
    expect(exact.dtype == slope.dtype, f"the loss of vectors of {slope.dtype} has the type {exact.dtype}.")
    expect_same(value.numpy(), exact.numpy(), "the loss of float32 vectors")


def vectors_padding(subject: Subject) -> None:
    """Padding behind the lists changes neither the value nor a gradient, whatever stands there."""
    value, gradients = _run(subject)
    for filler, label in ((0.0, 0.0), (1e4, 3.0), (float("nan"), 1.0)):
        padded, slopes = _run(subject, padding=(filler, label))
        what = f"padded with scores of {filler} and labels of {label}"
        expect_same(padded.numpy(), value.numpy(), f"the loss {what}")
        for name, slope in slopes.items():
            expect_same(slope.numpy(), gradients[name].numpy(), f"the gradient of {name} {what}")


def vectors_order_of_lists(subject: Subject) -> None:
    """The order of the lists does not matter."""
    value, _ = _run(subject)
    turned, _ = _run(subject, order=[3, 0, 4, 2, 1])
    expect_same(turned.numpy(), value.numpy(), "the loss of lists in another order")


def vectors_length(subject: Subject) -> None:
    """Vectors of no length and very long ones give a finite value and finite gradients."""
    for scale in (0.0, 1e4):
        value, gradients = _run(subject, scale=scale)
        expect(bool(value.isfinite()), f"with vectors {scale:g} times as long the loss is {value.item()}.")
        for name, gradient in gradients.items():
            expect(bool(gradient.isfinite().all()), f"with vectors {scale:g} times as long that of {name} is not.")


def vectors_nothing_relevant(subject: Subject) -> None:
    """Lists of a query and a document that belong to nothing have a loss and a gradient of 0, and do not count."""
    value, gradients = _run(subject, queries=[4], documents=[7])
    expect_same(value.numpy(), 0.0, "the loss of a query to which nothing is relevant")
    expect(not gradients["query_vectors"].any(), "a query to which nothing is relevant has a gradient.")


def vectors_reduction(subject: Subject) -> None:
    """With "sum" the value is the mean times the number of lists that count."""
    if getattr(subject.target, "reduction", None) not in ("mean", "sum", "none") or not _settable(subject.target):
        raise Inapplicable("it has no attribute `reduction` that is 'mean', 'sum' or 'none', and can be set.")
    values = {}
    for name in ("mean", "sum"):
        loss = _begun(subject)
        loss.reduction = name
        values[name] = _call(loss, _columns())[0]
        counted = len(_QUERIES) - int(getattr(loss, "skipped", 0))
    expect_same(values["sum"].numpy(), counted * values["mean"].numpy(), "the loss with reduction = 'sum'")


def vectors_begins_alike(subject: Subject) -> None:
    """Beginning anew with the same collection gives the same value."""
    if not callable(getattr(subject.target, "begin", None)):
        raise Inapplicable("it has no `begin`.")
    first, second = _run(subject), _run(subject)
    expect_same(second[0].numpy(), first[0].numpy(), "the loss that began once more")


def vectors_learns(subject: Subject) -> None:
    """Vectors that make it small are nearer to those of their class than to the others, on average."""
    import torch

    loss, columns = _begun(subject), _columns()
    learned = [columns["query_vectors"], columns["document_vectors"], *_parameters(loss).values()]
    optimiser = torch.optim.Adam(learned, lr=0.05)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        unit = {side: torch.nn.functional.normalize(columns[side], dim=1) for side in _SIDES}
        _valued(loss, columns | unit).sum().backward()
        optimiser.step()
    wanted, read = (torch.nn.functional.normalize(columns[side].detach(), dim=1) for side in _SIDES)
    cosines, own = (wanted @ read.T)[:4, :7], torch.tensor(_QUERIES)[:4, None] == torch.tensor(_DOCUMENTS)[:7]
    near, far = ((cosines * chosen).sum(1) / chosen.sum(1) for chosen in (own, ~own))
    expect(
        bool((near > far + _APART).all()),
        f"after {_STEPS} steps of Adam the mean cosines with documents of the own class are {near.tolist()}, those "
        f"with others {far.tolist()}; {_APART} more is expected.",
    )


_SIDES = ("query_vectors", "document_vectors")


def _of_vectors(loss: Any) -> bool:
    """True for a loss that reads vectors."""
    return bool(_named(loss) & {*_SIDES})


def _collection() -> Collection:
    """The queries and documents with their judgments; the contents do not matter."""
    names = [f"d{number}" for number in range(len(_DOCUMENTS))]
    classes = np.array(_DOCUMENTS)
    relevant = [np.flatnonzero((classes == number) & (number >= 0)) for number in _QUERIES]
    corpus = Documents(names, names)
    queries = Queries.of([f"q{number}" for number in range(len(_QUERIES))])
    return Collection(
        "classes", corpus, queries, Candidates.of(relevant, [[1] * len(each) for each in relevant], corpus)
    )


def _begun(subject: Subject) -> Any:
    """A loss to call, begun where it begins. Raises `Inapplicable` for one of scores."""
    if not _of_vectors(subject.target):
        raise Inapplicable("it does not name vectors.")
    loss = copy.deepcopy(subject.target)
    if callable(getattr(loss, "begin", None)):
        loss.begin(_collection(), _DIM)
    return loss


def _columns(exact: bool = False, scale: float = 1.0, queries: Any = None, documents: Any = None) -> dict[str, Any]:
    """Columns that a loss may be given for some queries and documents, all of them unless told."""
    import torch

    asked, shown = torch.arange(len(_QUERIES)), torch.arange(len(_DOCUMENTS))
    asked, shown = (
        asked if queries is None else torch.tensor(queries),
        shown if documents is None else torch.tensor(documents),
    )
    chance = torch.Generator().manual_seed(4)
    dtype = torch.float64 if exact else torch.float32
    every = [
        torch.randn(count, _DIM, generator=chance, dtype=torch.float64) for count in (len(_QUERIES), len(_DOCUMENTS))
    ]
    wanted, read = (
        (scale * one[rows]).to(dtype).requires_grad_() for one, rows in zip(every, (asked, shown), strict=True)
    )
    own = torch.tensor(_QUERIES)[asked][:, None] == torch.tensor(_DOCUMENTS)[shown]
    known = torch.tensor(_DOCUMENTS)[shown] >= 0
    return {
        "labels": (own & known).to(dtype),
        "mask": torch.ones(own.shape, dtype=torch.bool),
        "documents": shown.expand(own.shape),
        "queries": asked,
        "query_vectors": wanted,
        "distinct_documents": shown,
        "document_vectors": read,
    }


def _run(
    subject: Subject, padding: tuple[float, float] | None = None, order: Any = None, **given: Any
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The value of the loss, and its gradients in the vectors and in what it learns, by name."""
    columns = _columns(**given)
    for name in ("labels", "mask", "documents", "queries", "query_vectors") if order else ():
        columns[name] = columns[name].detach()[order]
    columns["query_vectors"].requires_grad_()
    return _call(_begun(subject), columns, padding)


def _call(
    loss: Any, columns: dict[str, Any], padding: tuple[float, float] | None = None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    import torch

    value = _valued(loss, columns, padding)
    expect(isinstance(value, torch.Tensor), f"the loss is a {type(value).__name__}, not a tensor.")
    expect(value.requires_grad, "the loss carries no gradient.")
    learned = {side: columns[side] for side in _SIDES} | _parameters(loss)
    found = torch.autograd.grad(value.sum(), list(learned.values()), allow_unused=True)
    gradients = zip(learned.items(), found, strict=True)
    return value.detach(), {name: torch.zeros_like(one) if slope is None else slope for (name, one), slope in gradients}


def _valued(loss: Any, columns: dict[str, Any], padding: tuple[float, float] | None = None) -> Any:
    """The loss with scores from the vectors, which may be padded."""
    import torch

    scores = columns["query_vectors"] @ columns["document_vectors"].T
    lists = {"scores": scores, **{name: columns[name] for name in ("labels", "mask", "documents")}}
    if padding:
        fillers = {"scores": padding[0], "labels": padding[1], "mask": False, "documents": 0}
        lists = {name: torch.nn.functional.pad(one, (0, 3), value=fillers[name]) for name, one in lists.items()}
    named = _named(loss)
    more = {name: value for name, value in (columns | lists).items() if name in named and name not in _FIRST}
    return loss(*(lists[name] for name in _FIRST), **more)


_FIRST = ("scores", "labels", "mask")


def _difference(subject: Subject, side: str, row: int, column: int, step: float = 1e-6) -> float:
    """The change of the loss with one number of a vector, by the value on either side of it."""
    ends = []
    for shift in (step, -step):
        columns = _columns(exact=True)
        columns[side].data[row, column] += shift
        ends.append(_valued(_begun(subject), columns).item())
    return (ends[0] - ends[1]) / (2 * step)


def _parameters(loss: Any) -> dict[str, Any]:
    """The parameters that a loss learns, by name."""
    named = dict(getattr(loss, "named_parameters", dict)())
    return {name: parameter for name, parameter in named.items() if parameter.requires_grad}


def _named(loss: Any) -> set[str]:
    """The names of the arguments of a loss, a function, an object or a module."""
    return set(inspect.signature(getattr(loss, "forward", loss)).parameters)


def _settable(loss: Any) -> bool:
    return not isinstance(getattr(type(loss), "reduction", None), property)
