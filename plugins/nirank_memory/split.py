"""Halve batches that do not fit in memory.

A batch is tried whole. Where memory runs out, what the failed pass still holds is let go, and the batch is cut in
two; later batches of that component are cut to the size that worked. A list that a listwise scorer has to see
whole is never cut.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from nirank import hookimpl
from nirank.data import Batch, Pairs, concatenate, cuts
from nirank.plugins import Component, active
from nirank_memory.shortage import is_shortage, release

log = logging.getLogger("nirank")


class Splitter:
    """Halves the batches of inference that do not fit in memory, instead of ending the run.

    `sizes` are the entries that each method of each component takes at once, where that had to be limited.
    Results are those of whole batches, as far as a component scores each entry alone.
    """

    def __init__(self) -> None:
        self.sizes: dict[tuple[Component, str], int] = {}

    @hookimpl(tryfirst=True)
    def nirank_forward(self, component: Component, method: str, batch: Batch) -> Any:
        """Answer for the whole batch, by having parts of it run where need be.

        Raises what the component raised where one entry, or one list that must stay whole, does not fit alone.
        """
        run, whole = _next_answer(self), component.traits.listwise
        results, waiting = [], [batch]
        while waiting:
            part = waiting.pop()
            pieces = list(cuts(part, self.sizes.get((component, method)), whole))
            if len(pieces) > 1:
                waiting += pieces[::-1]
                continue
            result, shortage = _attempt(functools.partial(run, component=component, method=method, batch=part))
            if shortage is None:
                results.append(result)
            else:
                self.sizes[component, method] = _smaller(part, whole, component, shortage)
                waiting.append(part)
        return concatenate(results)


def _next_answer(asking: Splitter) -> Callable[..., Any]:
    """The answer there would be without the splitter: the core's, or that of a plugin which runs batches elsewhere.

    Wrappers are left out, for they stand round the splitter already.
    """
    manager = active().manager
    wrappers = [one.plugin for one in manager.hook.nirank_forward.get_hookimpls() if one.wrapper or one.hookwrapper]
    return manager.subset_hook_caller("nirank_forward", [asking, *wrappers])


def _attempt(run: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """A result, or the exception that means a shortage, which holds nothing any more."""
    try:
        return run(), None
    except Exception as error:
        if not is_shortage(error):
            raise
        release(error)
        return None, error


def _smaller(part: Batch, whole: bool, component: Component, shortage: Exception) -> int:
    """Half the size of a part; raises the `shortage` where it cannot be cut."""
    lists = np.count_nonzero(part.candidates.lengths) if whole and isinstance(part, Pairs) else None
    if (len(part) if lists is None else lists) < 2:
        what = "one entry alone" if lists is None else "the list of one query, which it must score at once"
        shortage.add_note(f"{component.name} runs out of memory on {what}: give it shorter inputs or another device.")
        raise shortage
    size = (len(part) + 1) // 2
    message = "%s ran out of memory on %d entries; from here on it gets %d at once."
    log.warning(message, component.name, len(part), size)
    return size
