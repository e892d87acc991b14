"""Several processes that train one component: how the work is divided, and what is exchanged.

Each step is planned alike in every process, from the seed; what differs is the part that a process computes. Weights
are the same everywhere because they start as those of the first process, and gradients are added up over processes
before each update.
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from nirank.training import needs  # noqa: F401 - says what is missing, where the next lines would fail

# isort: split

import accelerate
import torch
import torch.distributed as dist
from torch import Tensor, nn


def join() -> None:
    """Join the other processes, where a launcher (torchrun, accelerate launch) has started several."""
    accelerate.PartialState(cpu=not torch.cuda.is_available())
    leave_at_the_end()


@functools.cache
def leave_at_the_end() -> None:
    """Leave the other processes when this one ends, unless that was done before.

    The threads of a group that is there still can abort a process that ends.
    """
    atexit.register(_leave)


def _leave() -> None:
    if count() > 1:
        dist.destroy_process_group()


def count() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if count() > 1 else 0


def is_first() -> bool:
    """True for the process that writes files and messages."""
    return number() == 0


def wait() -> None:
    """Go on when all processes have come here."""
    if count() > 1:
        dist.barrier()


def parts(entries: int) -> list[slice]:
    """Nearly equal parts of a number of entries, one for each process, in their order."""
    edges = [entries * process // count() for process in range(count() + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def gather_rows(rows: Tensor, shares: Sequence[slice]) -> Tensor:
    """The rows of all processes, of which this one has those of its share, with gradients to every process."""
    if count() == 1:
        return rows
    if torch.is_grad_enabled() and not rows.requires_grad:  # all processes take part in the way back
        rows = rows.detach().requires_grad_()
    gathered: Tensor = _GatherRows.apply(rows, [share.stop - share.start for share in shares])  # type: ignore[no-untyped-call]
    return gathered


def share(modules: Iterable[nn.Module]) -> None:
    """Give the modules the parameters and buffers that they have in the first process."""
    if count() > 1:
        for module in modules:
            for tensor in [*module.parameters(), *module.buffers()]:
                dist.broadcast(tensor.data, 0)


def add_up(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in one exchange a type."""
    if count() == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for group in by_type.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        dist.all_reduce(flat)
        for tensor, total in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
            tensor.copy_(total.view_as(tensor))


def from_first(value: Any) -> Any:
    """The first process's value, in every process."""
    if count() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


class _GatherRows(torch.autograd.Function):
    """All rows from the parts of the processes; the gradient of a row is the sum of what all processes give it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])  # every process sends as many
        padded[: len(rows)] = rows
        received = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(received, padded)
        return torch.cat([part[:size] for part, size in zip(received, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total.split(ctx.sizes)[number()], None
