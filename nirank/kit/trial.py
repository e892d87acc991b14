"""A trial of a model from elsewhere when it is loaded, so that no fault of it shows hours later, or never.

What a model is said to be may be right in every file, and its vectors still no numbers, or others in each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nirank.errors import BadInput, NirankError

if TYPE_CHECKING:
    from torch import Tensor

    from nirank.kit.transformers import Precision

#: Two texts of different lengths: one of them is padded where both are read at once.
TEXTS = ("a", "a small cat sat on the warm mat and slept until the evening")
#: What a text may be apart when it is read alone, of the largest number; in half precision it is not compared.
_APART = 1e-3


def tried(model: str, run: Callable[[Sequence[str]], Tensor], precision: Precision = "float32") -> None:
    """Try what `run` makes of texts, a row for each, `[texts, ...]`.

    Raises `BadInput` where it fails, makes what is not a number, or makes more of a text in float32 than depends on
    that text alone.
    """
    import torch

    # Without `devices` every GPU of the machine would be woken, with its memory, also for a model on the CPU.
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        together, alone = _made(model, run, TEXTS), _made(model, run, TEXTS[:1])
    if not (together.isfinite().all() and alone.isfinite().all()):
        raise BadInput(
            f"{model!r} makes what is not a number of the text {TEXTS[0]!r}: its weights are damaged, or the precision "
            "is too low for them."
        )
    apart, most = float((together[0] - alone[0]).abs().max()), float(together.abs().max())
    if precision == "float32" and apart > _APART * max(1.0, most):
        raise BadInput(
            f"{model!r} makes something else of a text when a longer one is read beside it: its padding is read, and "
            "no score could be trusted."
        )


def _made(model: str, run: Callable[[Sequence[str]], Tensor], texts: Sequence[str]) -> Tensor:
    try:
        return run(texts)
    except (NirankError, MemoryError):
        raise
    except Exception as error:  # whatever the layers of a model raise
        told = str(error) or type(error).__name__
        raise BadInput(f"{model!r} was loaded, and cannot read a text: {told}") from error
