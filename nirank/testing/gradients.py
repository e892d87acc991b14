"""Checks of gradients: they arrive at the parameters that would be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nirank.testing.promises import Inapplicable, expect


def trainable(target: Any) -> dict[str, Any]:
    """The parameters of an object that are not frozen. Raises `Inapplicable` where there is none."""
    named: dict[str, Any] = dict(getattr(target, "named_parameters", dict)())
    parameters = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    if not parameters:
        raise Inapplicable("it has no parameters to train.")
    return parameters


@contextmanager
def training(target: Any) -> Iterator[None]:
    """Inside, an object is in training mode."""
    before = target.training
    target.train()
    try:
        yield
    finally:
        target.train(before)


def expect_gradients(what: str, outputs: Sequence[Any], parameters: Mapping[str, Any]) -> None:
    """Raise `Broken` unless every parameter has a finite gradient from one at least of the tensors `outputs`."""
    import torch

    carrying = [output for output in outputs if getattr(output, "requires_grad", False)]
    expect(bool(carrying), f"the {what} carry no gradients: are they detached from the parameters?")
    column = torch.cat(
        [(output if output.layout == torch.strided else output.to_dense()).flatten() for output in carrying]
    )
    weights = torch.linspace(1, 2, len(column), dtype=column.dtype, device=column.device)
    gradients = torch.autograd.grad((column * weights).sum(), list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        expect(gradient is not None, f"no gradient reaches {name}.")
        expect(bool(torch.isfinite(gradient).all()), f"the gradient of {name} is not finite.")
