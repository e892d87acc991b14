"""Adapters: what they start from, what is trained and what stays, that nothing is encoded twice, that they are kept."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch

import nirank
from nirank.data import Queries, to_numpy
from nirank.errors import BadInput
from nirank.execution import stages as execute
from nirank.plugins import Component
from nirank.testing import samples
from nirank_dense import tiny
from nirank_dense.encoders.adapter import Adapter
from tests.built import built

TEXTS = ["a cat", "", "the dog ran over a long bridge", "ünïcödé ∑ 🙂", "b"]


class Counting(torch.nn.Module):
    """An encoder of letters that notes what it encodes."""

    vectors = "dense"
    reads = "text"

    def __init__(self):
        super().__init__()
        self.table, self.seen = torch.nn.Parameter(torch.randn(128, 6)), []

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        self.seen += contents
        return torch.stack([1 + self.table[[ord(letter) % 128 for letter in text]].sum(0) for text in contents])


@pytest.fixture
def folder(tmp_path):
    tiny.save(tmp_path / "model")
    return str(tmp_path / "model")


def _both(encoder):
    component = Component("encoder", encoder)
    asked = to_numpy(execute.encode(component, Queries.of(TEXTS)).vectors)
    return asked, to_numpy(execute.encode_documents(component, TEXTS))


def _fit(adapter, **options):
    given = {"steps": 3, "batch_size": 4, "learning_rate": 1e-2, "warmup": 0.0, "schedule": "constant"}
    return nirank.fit(adapter, nirank.load("softmax_cross_entropy"), samples.collection(), **given | options)


def test_an_adapter_starts_as_its_encoder(folder):
    table = {"use": "sentence", "model": folder, "device": "cpu"}
    for mine, its in zip(_both(Adapter(table)), _both(built("sentence", folder)), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)


def test_vectors_are_mapped_and_made_of_unit_length():
    encoder = Counting()
    adapter = Adapter(encoder)
    with torch.no_grad():
        for place, matrix in enumerate(adapter.maps.values()):
            matrix.copy_(torch.randn(6, 6, generator=torch.Generator().manual_seed(place)))
    plain = encoder.encode_documents(TEXTS).detach().numpy().astype(float)
    for side, found in zip(("query", "document"), _both(adapter), strict=True):
        expected = plain @ (np.eye(6) + adapter.maps[side].detach().numpy().astype(float))
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_maps_are_trained_the_encoder_stays_and_no_text_is_encoded_twice():
    encoder = Counting()
    adapter, before = Adapter(encoder), encoder.table.detach().clone()
    _fit(nirank.load(adapter, "adapter"), steps=12)
    assert torch.equal(encoder.table, before)
    assert all(matrix.abs().max() > 1e-3 for matrix in adapter.maps.values())
    collection = samples.collection()
    asked, told = set(collection.queries.contents), set(collection.corpus[: len(collection.corpus)])
    assert len(encoder.seen) <= len(asked) + len(told) + 1  # and one to learn the dimension


def test_one_side_alone_is_trained():
    adapter = Adapter(Counting(), sides=["query"])
    asked, told = _both(adapter)
    _fit(nirank.load(adapter, "adapter"))
    after = _both(adapter)
    np.testing.assert_array_equal(after[1], told)
    assert np.abs(after[0] - asked).max() > 1e-3


def test_a_trained_adapter_is_kept_with_its_encoder_by_name(folder, tmp_path):
    adapter = nirank.load("adapter", encoder={"use": "sentence", "model": folder, "device": "cpu"}, sides=["document"])
    before = adapter.component.target.fingerprint
    _fit(adapter, out=tmp_path / "run")
    again = nirank.load(f"trained:{tmp_path / 'run'}").component.target
    for mine, its in zip(_both(again), _both(adapter.component.target), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)
    assert again.fingerprint == adapter.component.target.fingerprint != before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: Adapter(Counting(), sides=["image"]), "sides = ..image..; some of query and document"),
        (lambda _: Adapter(Counting(), sides=[]), "sides = "),
        (lambda _: Adapter({"model": "x"}), "a table with `use = "),
        (lambda folder: Adapter(Counting()).save(folder), "given as an object cannot be saved: give a name"),
        (lambda folder: Adapter(Counting(), model=str(folder / "none")), "cannot be loaded as the maps"),
    ],
)
def test_what_an_adapter_cannot_be_made_of_is_told(make, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        make(tmp_path)
