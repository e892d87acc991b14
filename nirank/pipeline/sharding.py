"""An index in shards, each opened by a process of its own: the same results, to the bit.

sharded(bm25, shards=4)                           four shards of as many documents each
minilm >> sharded(exact, shards=[2, 1, 1])        three; the first has half of the documents
sharded(bm25, shards=4, partial=True)             a shard that is lost does not stop the search; results say so
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nirank.component import Component
from nirank.errors import BadInput, CompositionError
from nirank.execution.shards.group import Recovery
from nirank.execution.shards.sharded import Sharded, check_separable
from nirank.hints import is_finite
from nirank.pipeline.algebra import Stage, as_stage
from nirank.plugins.assembly import wrap

_MOST = 10_000
_DEFAULTS = {"on": "processes", "restarts": 1, "partial": False, "timeout": None, "exact": True}


def sharded(
    generator: Any,
    shards: int | Sequence[float] = 2,
    *,
    on: str = "processes",
    restarts: int = 1,
    partial: bool = False,
    timeout: float | None = None,
    exact: bool = True,
) -> Stage:
    """A generator whose index is in shards.

    `shards` is how many, or a list with the share of each: numbers of documents, or parts of any sum. `on` says where
    they are open: "processes", "here" (in this process, one after the other), or a place of a plugin, such as "ray". A
    shard that ends is begun again `restarts` times; then the search is an error that names it, unless `partial` results
    are wanted. So it is with one that is silent for more than `timeout` seconds; by default it is waited for.
    `exact=False` lets in generators that would find other documents in shards than in one index, such as graphs.
    Raises `CompositionError` for what is no generator with an index, `BadInput` for other values.
    """
    stage = as_stage(generator)
    if not isinstance(stage, Stage) or not stage.component.can("generate"):
        raise CompositionError(f"sharded takes one generator with an index, such as bm25, and not {stage!r}.")
    component = stage.component
    if isinstance(component.target, Sharded):
        raise CompositionError(f"{stage!r} is in shards already: say there how many.")
    shares = _shares(shards)
    _check(on, restarts, {"partial": partial, "exact": exact})
    _check_timeout(timeout, on)
    check_separable(component, exact)
    given = {"on": on, "restarts": restarts, "partial": partial, "timeout": timeout, "exact": exact}
    written: dict[str, Any] = {"shards": shards if isinstance(shards, int) else list(shards)}
    written |= {name: value for name, value in given.items() if value != _DEFAULTS[name]}
    settings = ", ".join(f"{name}={value!r}" for name, value in written.items())
    target = Sharded(component, shares, on, Recovery(restarts, partial, timeout))
    made = Component(f"sharded({component.name}, {settings})", target)
    made.field, made.parts = component.field, (component,)
    return Stage(wrap(made))


def _shares(shards: Any) -> list[float]:
    """The share of each shard. Raises `BadInput` for none, and for what are no numbers from 0."""
    if isinstance(shards, int) and not isinstance(shards, bool) and 1 <= shards <= _MOST:
        return [1.0] * shards
    if isinstance(shards, Sequence) and not isinstance(shards, str) and all(map(is_finite, shards)):
        shares = [float(share) for share in shards]
        if shares and min(shares) >= 0 and sum(shares) > 0:
            return shares
    raise BadInput(
        f"shards = {shards!r}: a number from 1 to {_MOST:,} is expected, or a list of shares from 0, not all of them 0."
    )


def _check(on: Any, restarts: Any, truths: Mapping[str, Any]) -> None:
    """Raise `BadInput` for values that mean nothing."""
    if not isinstance(on, str):
        raise BadInput(f'on = {on!r}: "processes", "here" or the place of a plugin is expected.')
    if not isinstance(restarts, int) or isinstance(restarts, bool) or restarts < 0:
        raise BadInput(f"restarts = {restarts!r}: a whole number from 0 is expected.")
    for name, value in truths.items():
        if not isinstance(value, bool):
            raise BadInput(f"{name} = {value!r}: True or False is expected.")


def _check_timeout(timeout: Any, on: str) -> None:
    """Raise `BadInput` for what are no seconds, and where a shard that hangs could not be ended."""
    if timeout is None:
        return
    if not (is_finite(timeout) and timeout > 0):
        raise BadInput(f"timeout = {timeout!r}: seconds above 0 are expected, or None.")
    if on == "here":
        raise BadInput(
            f'timeout = {timeout!r} with on = "here": a shard that hangs in this process cannot be ended. Write '
            'on = "processes", or no timeout.'
        )
