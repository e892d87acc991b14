"""Numbers that describe pairs of a query and a document."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nirank.data.types import Floats, Ints
from nirank.errors import BadInput


@dataclass(frozen=True, eq=False)
class Features:
    """Numbers that describe pairs, each with a name: `values` are float32 `[pairs, names]`."""

    names: tuple[str, ...]
    values: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "values", np.ascontiguousarray(self.values, dtype=np.float32))
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names):
            raise BadInput(
                f"{len(self.names)} names for features of the shape {self.values.shape}; one name per column is needed."
            )
        if len(set(self.names)) != len(self.names):
            twice = next(name for place, name in enumerate(self.names) if name in self.names[:place])
            raise BadInput(f"two features have the name {twice!r}; names must be unique.")

    def __len__(self) -> int:
        return len(self.values)

    def take(self, pairs: Ints | slice | NDArray[np.bool_]) -> Features:
        """The features of some pairs."""
        return Features(self.names, self.values[pairs])
