"""A device that is only pretended, so that tensors on the wrong device are found without a card.

Tensors there say that they are on the device "meta", and keep their values in the memory of the CPU. As on a card,
what mixes them with a tensor of the CPU raises, except numbers without axes and ordinals that choose entries, and so
does `.numpy()`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
_MAKERS = {"tensor", "as_tensor", "new_tensor"}
_READERS = {"tolist", "item", "__bool__", "__float__", "__int__", "__index__"}
#: They may have tensors of either device, as on a card.
_OF_BOTH = ("aten._to_copy", "aten.copy_", "aten.index.", "aten.index_put", "aten._index_put_impl_")


@contextlib.contextmanager
def pretended() -> Iterator[None]:
    """Inside there is the device."""
    with pytest.MonkeyPatch.context() as patch, _Functions(), _Operations():
        patch.setattr(torch, "inference_mode", lambda mode=True: torch.no_grad())  # in which subclasses cannot be made
        patch.setattr(torch.__future__, "get_swap_module_params_on_conversion", lambda: True)  # tied weights stay tied
        yield


def modules(target: Any) -> list[nn.Module]:
    """The modules of torch that an object is, or holds."""
    return list(_modules(target, set()))


def move(target: Any) -> None:
    """Move the modules of an object to the device."""
    for module in modules(target):
        module.to(DEVICE)


def moved(values: Any) -> Any:
    """Values with their tensors on the device; those that have gradients have them there."""
    return tree_map(lambda value: value.detach().to(DEVICE).requires_grad_(value.requires_grad), values)


class _There(Tensor):
    """A tensor on the device, with the values of `held`."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _There:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made: Any = Tensor._make_wrapper_subclass(
            cls, held.shape, device=DEVICE, requires_grad=held.requires_grad, **layout
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"There({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


class _Operations(TorchDispatchMode):
    """Operations on tensors, of which some may be there, and those that make tensors there."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What makes tensors of numbers, and numbers of tensors, and is no operation."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(function, "__name__", ""), dict(kwargs or {})
        if name in _READERS and isinstance(args[0], _There):
            return getattr(args[0].held.detach(), name)(*args[1:])
        if name in ("__getitem__", "__setitem__"):
            args = (args[0], _ordinals(args[1]), *args[2:])
        if name in _MAKERS:
            like = [args[0]] if name == "new_tensor" else []
            device = kwargs.pop("device", like[0].device if like else None)
            kwargs |= {"dtype": kwargs.get("dtype", like[0].dtype)} if like else {}
            made = torch.tensor(*args[1:], **kwargs) if like else function(*args, **kwargs)
            return made if device is None else made.to(device)
        return function(*args, **kwargs)


def _computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The result of an operation, computed by the CPU."""
    given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    there, device = any(isinstance(value, _There) for value in given), kwargs.get("device")
    strangers = [value for value in given if there and value.ndim and not isinstance(value, _There)]
    if strangers and not str(function).startswith(_OF_BOTH):
        shapes = ", ".join(str(tuple(value.shape)) for value in strangers)
        raise RuntimeError(
            f"{function}: expected all tensors on the device, and here are some of the CPU, of {shapes}."
        )
    if device is not None:
        there, kwargs = torch.device(device).type == DEVICE.type, {**kwargs, "device": torch.device("cpu")}
    made = function(*tree_map(_bare, args), **tree_map(_bare, kwargs))
    themselves = {id(_bare(value)): value for value in given}  # an operation in place returns what it was given

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor) or not there:
            return value
        return themselves[id(value)] if id(value) in themselves else _There(value)

    return tree_map(wrapped, made)


def _ordinals(index: Any) -> Any:
    """An index in which lists are tensors: torch would make them on the device itself, where nothing is."""
    if isinstance(index, tuple):
        return tuple(_ordinals(each) for each in index)
    return torch.tensor(index) if isinstance(index, list) else index


def _bare(value: Any) -> Any:
    return value.held if isinstance(value, _There) else value


def _modules(target: Any, seen: set[int]) -> Iterator[nn.Module]:
    """The modules among an object's attributes, and theirs where they are objects of nirank."""
    if id(target) in seen:
        return
    seen.add(id(target))
    if isinstance(target, nn.Module):
        yield target
    elif not type(target).__module__.startswith("nirank"):
        return
    for value in [*getattr(target, "__dict__", {}).values()]:
        for one in value if isinstance(value, (list, tuple)) else [value]:
            yield from _modules(one, seen)
