"""Work that is spread over as many threads as torch may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch


@contextmanager
def mapping(shares: int) -> Iterator[Callable[..., Any]]:
    """A `map` that works on `shares` parts at once; one share costs no thread."""
    if shares <= 1:
        yield map
        return
    with ThreadPoolExecutor(shares) as pool:
        yield pool.map


def shared(length: int, least: int) -> list[slice]:
    """The entries from 0 up to `length` in shares of about one size, one for each thread, none below `least`."""
    count = min(torch.get_num_threads(), length // least)
    if count <= 1:
        return [slice(0, length)]
    return [slice(*ends) for ends in pairwise(np.linspace(0, length, count + 1).astype(int).tolist())]
