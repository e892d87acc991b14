"""The promises of an observer: it watches or helps, changes no result, and does nothing once it is switched off."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.arrays import to_numpy
from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Floats
from nirank.execution import stages
from nirank.plugins.assembly import wrap
from nirank.plugins.loading import active
from nirank.plugins.observers import switched_on
from nirank.testing import samples
from nirank.testing.promises import expect
from nirank.testing.subject import Subject


def implements_hooks(subject: Subject) -> None:
    """It implements a hook, and none that nirank does not call."""
    observer, manager = _observer(subject), active().manager
    implemented = [name for name, _ in inspect.getmembers(observer) if manager.parse_hookimpl_opts(observer, name)]
    expect(bool(implemented), "it implements no hook: mark its methods with nirank.hookimpl.")
    with switched_on([observer]):
        pass
    expect(not manager.is_registered(observer), "its hooks are still called after it was switched off.")


def same_results(subject: Subject) -> None:
    """Vectors and scores are the same with it, the first time and the second, and after it was switched off."""
    expected = _results(*_components())
    with switched_on([_observer(subject)]):
        for turn in ("the first", "the second"):
            components = _components()
            _expect_equal(_results(*components), expected, f"when it is switched on, {turn} time")
    _expect_equal(_results(*components), expected, "after it was switched off")


def errors_pass(subject: Subject) -> None:
    """An error of a component reaches the caller as it was raised."""
    pairs = samples.pairs()
    with switched_on([_observer(subject)]):
        failing = wrap(Component("failing", _Failing()))
        _expect_failure("encode", lambda: stages.encode(failing, pairs.queries))
        _expect_failure("encode_documents", lambda: stages.encode_documents(failing, samples.DOCUMENTS))
        _expect_failure("score", lambda: stages.score(failing, pairs.queries, pairs.candidates))


class _Letters(samples.LetterEncoder):
    """Encodes in batches, and says what it is, so that what it makes may be kept."""

    batch_size = 2
    fingerprint = "letters"


class _Shared:
    """Scores pairs by how many letters they share, in batches."""

    batch_size = 3
    fingerprint = "shared letters"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        contents = candidates.corpus[candidates.docs] if candidates.corpus else []
        asked = [set(str(queries.contents[row])) for row in candidates.rows]
        shared = [len(letters & set(str(content))) for letters, content in zip(asked, contents, strict=True)]
        return np.array(shared, np.float32)


class _FailureError(Exception):
    """The error of the failing component."""


class _Failing:
    """Can do nothing."""

    vectors = "dense"
    fingerprint = "failing"

    def encode(self, *_inputs: Any) -> NoReturn:
        raise _FailureError

    encode_documents = score = encode


def _observer(subject: Subject) -> Any:
    """A new one for each check, where it is known how to build it."""
    factory = subject.entry.resolve_tiny() if subject.entry else None
    return factory() if factory else subject.target


def _components() -> tuple[Component, Component]:
    return wrap(Component("letters", _Letters())), wrap(Component("shared", _Shared()))


def _results(encoder: Component, scorer: Component) -> list[NDArray[Any]]:
    pairs = samples.pairs()
    scores = [stages.score(component, pairs.queries, pairs.candidates) for component in (encoder, scorer)]
    return [to_numpy(stages.encode(encoder, pairs.queries).vectors), *scores]


def _expect_equal(found: list[NDArray[Any]], expected: list[NDArray[Any]], when: str) -> None:
    for what, one, other in zip(("vectors", "similarities", "scores"), found, expected, strict=True):
        expect(np.array_equal(one, other), f"{what} differ from those without it {when}.")


def _expect_failure(method: str, run: Callable[[], Any]) -> None:
    came = "nothing"
    try:
        run()
    except _FailureError:
        return
    except Exception as error:  # whatever it is, it is not what the component raised
        came = type(error).__name__
    expect(False, f"an error that the component raised in {method} came to the caller as {came}.")
