"""Losses with a proxy of each class: their values against loops over the equations, their classes, their training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank.plugins import observers
from nirank.training.schedules import Schedules
from nirank_losses.classes import Classes
from nirank_losses.proxies import ArcFace, CosFace, ProxyAnchor, ProxyNCA
from tests.small_training import Letters
from tests.small_training import collection as letters
from tests.training_toys import Interrupt

LOSSES = ["arc_face", "cos_face", "proxy_nca", "proxy_anchor"]
CLASSES = [0, 2, 1, 0, 2]


def words(classes=4, members=5, documents_are_queries=True):
    """Words of one first letter are a class; each is a query and a document, or there are other queries."""
    named = [f"{'abcdefgh'[number]}{'xyzuvw'[member]}" for number in range(classes) for member in range(members)]
    corpus = Documents(named, named)
    letter = np.array([ord(name[0]) for name in named])
    asked = named if documents_are_queries else [f"{'abcdefgh'[number]}q" for number in range(classes)]
    judged = [np.array([d for d in np.flatnonzero(letter == ord(q[0])) if named[d] != q]) for q in asked]
    judgments = Candidates.of(judged, [np.ones(len(docs)) for docs in judged], corpus)
    return Collection("words", corpus, Queries(asked, asked), judgments)


# Values


def _value(loss, proxies, examples):
    """The loss of examples of the classes `CLASSES`, by the way that training takes."""
    loss._draw(*proxies.shape)
    loss.double().proxies.data.copy_(torch.from_numpy(proxies))
    loss.query_classes, loss.document_classes = torch.tensor(CLASSES[:3]), torch.tensor(CLASSES[3:])
    vectors = torch.from_numpy(examples)
    given = torch.arange(3), vectors[:3], torch.arange(2), vectors[3:]
    return loss(torch.zeros(3, 2), torch.zeros(3, 2), torch.ones(3, 2), *given).item()


def _arc(c, margin):
    angle = math.acos(c)
    return math.cos(angle + margin) if angle <= math.pi - margin else c - margin * math.sin(margin)


def _softmax(c, y, scale, less):
    own = math.exp(scale * less(c[y]))
    return -math.log(own / (own + sum(math.exp(scale * c[z]) for z in range(len(c)) if z != y)))


def _nca(c, y, scale, others):
    near = [math.exp(-scale * (2 - 2 * one)) for one in c]
    return -math.log(near[y] / (sum(near) - (near[y] if others else 0)))


def _anchor(cosines, alpha, margin):
    near = far = 0.0
    for proxy in range(4):
        positive = [c[proxy] for c, y in zip(cosines, CLASSES, strict=True) if y == proxy]
        other = [c[proxy] for c, y in zip(cosines, CLASSES, strict=True) if y != proxy]
        near += math.log(1 + sum(math.exp(-alpha * (c - margin)) for c in positive))
        far += math.log(1 + sum(math.exp(alpha * (c + margin)) for c in other))
    return near / len(set(CLASSES)) + far / 4


@pytest.mark.parametrize(
    ("loss", "slow"),
    [
        (ArcFace(scale=8), lambda c, y: _softmax(c, y, 8, lambda one: _arc(one, 0.5))),
        (ArcFace(scale=3, margin=1.5), lambda c, y: _softmax(c, y, 3, lambda one: _arc(one, 1.5))),
        (CosFace(scale=8), lambda c, y: _softmax(c, y, 8, lambda one: one - 0.35)),
        (ProxyNCA(), lambda c, y: _nca(c, y, 9, others=False)),
        (ProxyNCA(scale=1, among="others"), lambda c, y: _nca(c, y, 1, others=True)),
        (ProxyAnchor(), None),
    ],
)
def test_the_value_is_that_of_the_equation(loss, slow):
    chance = np.random.default_rng(3)
    proxies, examples = chance.standard_normal((4, 3)), chance.standard_normal((5, 3))
    lengths = np.linalg.norm(examples, axis=1)[:, None] * np.linalg.norm(proxies, axis=1)
    cosines = (examples @ proxies.T / lengths).tolist()
    each = [slow(c, y) for c, y in zip(cosines, CLASSES, strict=True)] if slow else [_anchor(cosines, 32, 0.1)]
    assert _value(loss, proxies, examples) == pytest.approx(np.mean(each), rel=1e-6)


#: By pytorch-metric-learning 2.9.0, for the examples and proxies of the test.
PEER = {
    "arc_face": 80.14439127695212,
    "cos_face": 78.70005904785485,
    "proxy_nca": 2.493595634647522,
    "proxy_anchor": 50.10870117261308,
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_value_is_that_of_pytorch_metric_learning(name):
    proxies, examples = np.sin(np.arange(12.0)).reshape(4, 3), np.cos(1.7 * np.arange(15.0)).reshape(5, 3)
    given = {"scale": 1.0} if name == "proxy_nca" else {}
    found = _value(nirank.load(name, **given).component.target, proxies, examples)
    assert found == pytest.approx(PEER[name], rel=1e-9)


def test_a_larger_angle_never_costs_less_in_arc_face():
    loss, cosines = ArcFace(margin=1.0), torch.linspace(-1, 1, 400, dtype=torch.float64)
    assert (loss.less(cosines).diff() > 0).all()


# Classes


def test_what_belongs_together_has_one_class():
    found = Classes.of(words())
    assert found.count == 4
    assert found.queries.tolist() == found.documents.tolist() == np.repeat(range(4), 5).tolist()
    apart = Classes.of(words(documents_are_queries=False))
    assert apart.queries.tolist() == [0, 1, 2, 3]
    assert apart.documents.tolist() == np.repeat(range(4), 5).tolist()


def test_what_nothing_is_known_of_has_no_class():
    whole = words(documents_are_queries=False)
    corpus = Documents([*whole.corpus.ids, "z"], [*whole.corpus.ids, "z"])
    judged = Candidates.of([whole.judgments[row][0] for row in range(3)] + [[]], [[1] * 5] * 3 + [[]], corpus)
    found = Classes.of(Collection("more", corpus, whole.queries, judged))
    assert found.queries.tolist() == [0, 1, 2, -1]
    assert found.documents.tolist() == [*np.repeat(range(3), 5).tolist(), *[-1] * 6]


def test_judgments_that_make_no_classes_are_refused_with_an_example():
    with pytest.raises(BadInput, match=r"the query '1' and the document 'd2' are connected") as told:
        Classes.of(letters())
    assert "other losses take these judgments" in str(told.value)
    nothing = words(documents_are_queries=False)
    with pytest.raises(BadInput, match="no judgments with a grade above 0"):
        Classes.of(Collection("none", nothing.corpus, nothing.queries, nothing.judgments.with_scores(np.zeros(20))))


@pytest.mark.parametrize("name", LOSSES)
def test_a_scorer_and_a_single_class_are_refused(name):
    loss = nirank.load(name).component.target
    with pytest.raises(BadInput, match="train an encoder"):
        loss.begin(words(), None)
    with pytest.raises(BadInput, match="one class only"):
        loss.begin(words(classes=1), 4)
    with pytest.raises(BadInput, match="no proxies yet"):
        loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: ArcFace(margin=2.0), "below pi / 2"),
        (lambda: CosFace(scale=0), "scale = 0.0; a number above 0"),
        (lambda: ProxyNCA(among="some"), "'all' or 'others'"),
        (lambda: ProxyAnchor(alpha=-1), "alpha = -1.0"),
        (lambda: ProxyAnchor(rate_factor=0), "rate_factor = 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(build, match):
    with pytest.raises(BadInput, match=match):
        build()


# Training


def _fit(name, collection=None, **more):
    loss = nirank.load(name, rate_factor=3.0)
    encoder = Letters()
    options = {"sampler": "categories", "batch_size": 8, "steps": 60, "learning_rate": 0.05, **more}
    return nirank.fit(encoder, loss, collection or words(), **options), encoder, loss.component.target


@pytest.mark.parametrize("name", LOSSES)
def test_an_encoder_learns_classes(name):
    _, encoder, loss = _fit(name)
    collection = words()
    vectors = torch.nn.functional.normalize(encoder.encode_documents(collection.corpus[:]).detach(), dim=1)
    own = torch.nn.functional.normalize(loss.proxies.detach(), dim=1)
    assert (vectors @ own.T).argmax(1).tolist() == np.repeat(range(4), 5).tolist()


def test_proxies_learn_faster_by_their_factor():
    def moved(factor):
        loss = nirank.load("proxy_anchor", rate_factor=factor).component.target
        nirank.fit(Letters(), loss, words(), sampler="categories", steps=1, learning_rate=0.01, warmup=0.0)
        first = nirank.load("proxy_anchor").component.target
        first.begin(words(), 8)
        return (loss.proxies - first.proxies).abs().max().item()

    assert moved(5.0) == pytest.approx(5 * moved(1.0), rel=0.01)


def test_proxies_go_on_and_are_no_part_of_a_checkpoint(tmp_path):
    whole, expected, proxies = _fit("arc_face", out=tmp_path / "whole", save_every=5)
    with pytest.raises(KeyboardInterrupt), observers.switched_on([Interrupt(17)]):
        _fit("arc_face", out=tmp_path / "cut", save_every=5, log_every=1)
    _, found, resumed = _fit("arc_face", out=tmp_path / "cut", save_every=5, log_every=1)
    torch.testing.assert_close(resumed.proxies, proxies.proxies, rtol=0, atol=0)
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not (whole.folder / "checkpoint" / "loss.safetensors").exists()


def test_in_a_sum_proxies_are_learned_and_the_rest_is_kept(tmp_path):
    options = {"sampler": "categories", "steps": 3, "learning_rate": 0.1, "out": tmp_path / "out"}
    nirank.fit(Letters(), "arc_face + 0.5 * clip", words(), **options)
    kept = load_file(tmp_path / "out" / "checkpoint" / "loss.safetensors")
    assert [name.rpartition(".")[2] for name in kept] == ["log_scale"]


def test_beginnings_of_vectors_meet_those_of_proxies():
    loss = ProxyAnchor()
    loss.begin(words(documents_are_queries=False), 6)
    whole = torch.randn(4, 6)
    none = torch.zeros(0, dtype=torch.int64)
    shorter = loss(torch.zeros(4, 1), *[torch.ones(4, 1)] * 2, torch.arange(4), whole[:, :3], none, whole[:0, :3])
    loss.proxies.data[:, 3:] = 0
    padded = torch.cat([whole[:, :3], torch.zeros(4, 3)], 1)
    torch.testing.assert_close(
        loss(torch.zeros(4, 1), *[torch.ones(4, 1)] * 2, torch.arange(4), padded, none, whole[:0]), shorter
    )


@pytest.mark.parametrize(("loss", "setting"), [("arc_face", "rate_factor"), ("cos_face", "seed"), ("xbm", "skipped")])
def test_what_is_read_once_does_not_change_while_training_runs(loss, setting):
    with pytest.raises(BadInput, match=f"{setting} of .*cannot change"):
        Schedules({f"loss.{setting}": [1.0, 2.0]}, {"loss": nirank.load(loss).component})
