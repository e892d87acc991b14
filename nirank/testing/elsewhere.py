"""Another process, one for all checks, in which a pickled component has to answer as it does here.

    python -m nirank.testing.elsewhere

reads pickled questions from its input and writes pickled answers to its output. Python orders sets of texts there in
another way, so that what depends on such an order is seen.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from nirank.component import Component
from nirank.errors import NirankError
from nirank.execution import indexes
from nirank.testing import samples
from nirank.testing.promises import Broken, Inapplicable, expect
from nirank.testing.subject import Subject

#: From a subject to its answers: arrays, or what is compared by `==`.
Answer = Callable[[Subject], list[Any]]


def expect_same_answer(subject: Subject, answer: Answer) -> None:
    """Raise `Broken` unless the component, pickled with its index open, answers the same in another process.

    Raises `Inapplicable` for one that refuses to be pickled and says why, for one that is not deterministic, and for an
    object whose class no other process can import.
    """
    _refuse_unknown_class(subject)
    here = answer(subject)  # first, for what is computed on the way must not be in the way of a pickle
    if not all(map(_same, here, answer(subject))):
        raise Inapplicable("it does not answer twice the same in this process.")
    elsewhere = _asked(_pickled(subject, answer))
    expect(len(here) == len(elsewhere), f"it gave {len(elsewhere)} answers in another process, and {len(here)} here.")
    for own, other in zip(here, elsewhere, strict=True):
        expect(
            _same(own, other), f"in another process it answered {_short(other)}, and here {_short(own)}: not the same."
        )


def _refuse_unknown_class(subject: Subject) -> None:
    kind = type(subject.target)
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    if subject.entry is None and (found is not kind or kind.__module__ == "__main__"):
        raise Inapplicable(
            f"{kind.__qualname__} is not in a module that another process can import: write it into one."
        )


def _pickled(subject: Subject, answer: Answer) -> bytes:
    try:
        return pickle.dumps((answer, subject.kind, subject.component, subject.encoder))
    except NirankError as refusal:
        raise Inapplicable(f"it is not pickled: {refusal}") from refusal
    except Exception as error:  # of many types, as the object that cannot be pickled has it
        raise Broken(
            f"it cannot be pickled ({type(error).__name__}: {error}), so multiprocessing and joblib cannot send it: "
            "functions have to be those of a module, and `__getstate__` leaves out what is made anew."
        ) from error


def _asked(question: bytes) -> list[Any]:
    """The answers of the other process. Raises `Broken` where it cannot answer."""
    process = _process()
    try:
        pickle.dump((sys.path, question), process.stdin)  # type: ignore[arg-type]
        process.stdin.flush()  # type: ignore[union-attr]
        found, fault = pickle.load(process.stdout)  # type: ignore[arg-type] # noqa: S301 (of our own process)
    except (EOFError, OSError) as error:
        _process.cache_clear()
        raise Broken(f"another process ended over its pickle, with status {process.wait()}.") from error
    expect(not fault, f"in another process: {fault}")
    answers: list[Any] = found
    return answers


@functools.cache
def _process() -> subprocess.Popen[bytes]:
    """The process, which ends when its input does: with this one."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    environment.pop("PYTHONHASHSEED", None)
    command = [sys.executable, "-m", "nirank.testing.elsewhere"]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 (our own)
    atexit.register(process.communicate)  # which ends its input
    return process


def _same(own: Any, other: Any) -> bool:
    if isinstance(own, np.ndarray):
        kinds = (own.dtype, own.shape) == (other.dtype, other.shape)
        return kinds and (np.array_equal(own, other) if own.dtype == object else own.tobytes() == other.tobytes())
    return bool(own == other)


def _short(answer: Any) -> str:
    return " ".join(f"{answer!r}".split())[:200]


def main(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer questions until there are no more."""
    with contextlib.suppress(EOFError):
        while True:
            path, question = pickle.load(questions)  # noqa: S301 (of the process that started this one)
            sys.path[:] = path
            pickle.dump(_answered(question), answers)
            answers.flush()


def _answered(question: bytes) -> tuple[list[Any], str]:
    """The answers, or what went wrong."""
    try:
        answer, kind, component, encoder = pickle.loads(question)  # noqa: S301 (of the process that started this one)
        return answer(_arrived(kind, component, encoder)), ""
    except Exception as error:  # whatever a component raises
        return [], f"{type(error).__name__}: {error}"


def _arrived(kind: str, component: Component, encoder: Component | None) -> Subject:
    """The subject of a component that has arrived, its index open again."""
    subject = Subject(kind, component.target, component.entry)
    vars(subject).update(component=component, encoder=encoder)
    indexes.prepare(component, samples.corpus(subject.reads), encoder)
    return subject


if __name__ == "__main__":
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what components print is no answer
    main(sys.stdin.buffer, own)
