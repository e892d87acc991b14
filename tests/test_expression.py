"""Expressions that Python itself would choke on are refused with their place."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.errors import BadInput, CompositionError, NirankError
from nirank.pipeline import parse


@pytest.fixture
def parts(overlap):
    return {"overlap": nirank.load(overlap, "overlap")}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0.3 + overlap", "column 1: '0.3 + overlap'"),
        ("2 >> overlap", "column 1: '2 >> overlap'"),
        ("overlap >> (2 | overlap)", "column 13: '2 | overlap'"),
        ("fuse(overlap)", "column 1: 'fuse(overlap)'"),
        ("fuse()", "column 1: 'fuse()'"),
        ("overlap >> (9 % 0) * overlap", "column 13: '9 % 0'"),
        ("2 >> -1", "column 1: '2 >> -1'"),
        (f"1.5 * {10**400}", "column 1: '1.5"),
    ],
)
def test_what_python_cannot_compute_is_refused_with_its_place(parts, text, place):
    with pytest.raises(CompositionError) as caught:
        parse(text, parts)
    assert place in str(caught.value)
    assert "is refused" in str(caught.value)


@pytest.mark.parametrize(
    "settings", ["weights=3", "method=3", "method=[1]", "weights=['x', 1]", "weights=[1, True]", "k={[]: 1}", "k='3'"]
)
def test_settings_of_fuse_are_checked(parts, settings):
    with pytest.raises(BadInput):
        parse(f"fuse(overlap, overlap, {settings})", parts)


@pytest.mark.parametrize("name", ["self", "node", "function", "first"])
def test_a_setting_that_fuse_lacks_is_refused_whatever_its_name(parts, name):
    with pytest.raises(NirankError, match=name):
        parse(f"fuse(overlap, overlap, {name}=1)", parts)


def test_an_error_of_composition_names_the_part_it_is_in(parts):
    with pytest.raises(NirankError) as caught:
        parse("overlap >> overlap % 0", parts)
    assert "in the expression 'overlap % 0'" in caught.value.__notes__


def test_weights_may_be_a_column(parts):
    fused = nirank.fuse(parts["overlap"], parts["overlap"], weights=np.array([2.0, 1.0]))
    assert repr(fused) == "fuse(overlap, overlap, method='rrf', weights=[2.0, 1.0])"
    assert repr(parse(repr(fused), parts)) == repr(fused)
