"""Components on a device that is not the CPU: no tensor is left behind, and the values are the same."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

import nirank
from nirank.plugins.loading import active
from nirank.testing import encoder, loss, loss_of_vectors, samples, scorer
from nirank.testing.promises import Inapplicable
from nirank.testing.subject import Subject
from tests.pretended_device import DEVICE, modules, move, moved, pretended

ENTRIES = [entry for entry in active().registry if entry.tiny]


def _of(*kinds):
    return [pytest.param(entry, id=f"{entry.kind}/{entry.name}") for entry in ENTRIES if entry.kind in kinds]


def _subject(entry):
    target = entry.resolve_tiny()()
    if not modules(target):
        pytest.skip("it holds no module of torch")
    return Subject(entry.kind, target, entry)


def _values(subject):
    """What a component answers to the samples, as flat lists of arrays or texts."""
    reads = subject.reads
    if subject.kind == "encoder":
        return subject.encode(samples.queries(reads)) + subject.encode_documents(samples.documents(reads))
    if subject.kind == "writer":
        return [text for texts in subject.write(samples.documents(reads)) for text in texts]
    return [subject.score(samples.pairs(reads))]


@pytest.mark.parametrize("entry", _of("encoder", "scorer", "writer"))
def test_a_component_moved_to_a_device_answers_the_same(entry):
    subject = _subject(entry)
    expected = _values(subject)
    with pretended():
        move(subject.target)
        found = _values(subject)
    for here, there in zip(expected, found, strict=True):
        if isinstance(here, str):
            assert here == there
        else:
            np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("entry", _of("encoder", "scorer"))
def test_a_component_learns_on_a_device(entry):
    subject, check = _subject(entry), encoder if entry.kind == "encoder" else scorer
    with pretended():
        move(subject.target)
        try:
            check.gradients_reach_every_parameter(subject)
        except Inapplicable as why:
            pytest.skip(str(why))


@pytest.mark.parametrize("entry", _of("loss"))
def test_a_loss_of_scores_on_a_device_is_the_same(entry):
    target = entry.resolve_tiny()()
    if loss._parameters(target) & {"query_vectors", "document_vectors"}:
        pytest.skip("it reads vectors")
    scores = torch.tensor(loss._SCORES, requires_grad=True)
    columns = scores, torch.tensor(loss._LABELS), torch.ones(scores.shape, dtype=torch.bool)
    torch.manual_seed(0)
    expected = loss._call(target, *columns, None)
    with pretended():
        move(target)
        columns = moved(columns)
        torch.manual_seed(0)
        found = loss._call(target, *columns, None)
        assert found.device == DEVICE
        found.sum().backward()
        assert columns[0].grad.isfinite().all()
        np.testing.assert_allclose(found.tolist(), expected.tolist(), rtol=1e-5)


@pytest.mark.parametrize("entry", _of("loss"))
def test_a_loss_of_vectors_on_a_device_is_the_same(entry):
    subject = Subject("loss", entry.resolve_tiny()(), entry)
    try:
        expected, _ = loss_of_vectors._run(subject)
        begun = loss_of_vectors._begun(subject)
    except Inapplicable as why:
        pytest.skip(str(why))
    with pretended():
        move(begun)
        found, gradients = loss_of_vectors._call(begun, moved(loss_of_vectors._columns()))
        assert all(one.device == DEVICE for one in (found, *gradients.values()))
        np.testing.assert_allclose(found.tolist(), expected.tolist(), rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("scorer", "knrm", {"loss": "ranknet"}),
        ("encoder", "words", {"loss": "softmax_cross_entropy", "sampler": "in_batch"}),
    ],
)
def test_a_training_on_a_device_comes_to_the_same_weights(kind, name, options):
    def trained(around):
        target = active().registry.find(name, (kind,)).resolve_tiny()()
        with around:
            move(target) if around is there else None
            nirank.fit(nirank.load(target), collection=samples.collection(), steps=3, batch_size=2, seed=1, **options)
            return [weights.detach().cpu().numpy() for weights in target.parameters()]

    there = pretended()
    for here, away in zip(trained(contextlib.nullcontext()), trained(there), strict=True):
        np.testing.assert_allclose(away, here, atol=1e-7)


def test_tensors_that_stay_behind_are_found():
    layer, values = torch.nn.Linear(3, 2), torch.ones(4, 3)
    expected = layer(values)
    with pretended():
        layer.to(DEVICE)
        with pytest.raises(RuntimeError, match=r"some of the CPU, of \(4, 3\)"):
            layer(values)
        with pytest.raises(RuntimeError, match="some of the CPU"):
            layer(values.to(DEVICE)) + torch.zeros(4, 2)
        with pytest.raises(RuntimeError, match="numpy"):
            layer(values.to(DEVICE)).numpy()
        found = layer(values.to(DEVICE)) + torch.zeros(4, 2, device=DEVICE) + torch.tensor(0.0)
        np.testing.assert_array_equal(found.detach().cpu(), expected.detach())
        assert found[torch.tensor([0])].device == DEVICE
