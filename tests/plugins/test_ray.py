"""The observer `ray` without Ray: what travels, what a worker refuses, and who gets a range when workers die.

tests/distributed has it with Ray, on two hosts.
"""

from __future__ import annotations

import pickle
import types

import numpy as np
import pytest

from nirank.data import Documents, Some, write_corpus
from nirank.errors import BadInput, ComponentError
from nirank.execution import stages
from nirank.plugins import Component, observers
from nirank.testing.samples import LetterEncoder
from nirank_ray import worker
from nirank_ray.cluster import Cluster, _room
from nirank_ray.crew import Crew, by_node
from nirank_ray.errand import Recipe, Source
from nirank_ray.worker import Failure, Opened, Worker


@pytest.fixture
def corpus(tmp_path):
    batch = {"id": ["a", "b", "c"], "title": ["x", "", "z"], "text": ["one", "two", "three"]}
    return write_corpus(tmp_path / "corpus.arrow", [batch])


# What travels


def test_a_file_travels_as_its_path_and_field_and_anything_else_as_rows(corpus):
    for given in (corpus, corpus.field("title"), corpus.field(["title", "text"])):
        opened = pickle.loads(pickle.dumps(Source.of(given))).open()
        assert list(opened) == list(given)
    for given in (Documents(["a"], ["one"]), Some(corpus, np.array([1]))):
        assert Source.of(given).open() is None


def test_a_worker_that_does_not_reach_the_file_has_rows_sent_and_another_file_is_refused(corpus, tmp_path):
    source = Source.of(corpus)
    corpus.path.rename(tmp_path / "elsewhere.arrow")
    assert source.open() is None
    write_corpus(corpus.path, [{"id": ["a", "b", "c"], "title": ["x", "", "z"], "text": ["one", "two", "four"]}])
    with pytest.raises(ValueError, match="is another corpus here: its fingerprint is"):
        source.open()


def test_an_object_that_is_not_registered_stays_here_and_that_is_told(caplog):
    component = Component("letters", LetterEncoder())
    assert Recipe.of(component, 1) is None
    assert Cluster().nirank_encode_corpus(component, Documents(["a"], ["b"]), [range(1)]) is None
    assert "LetterEncoder is an object that is not registered" in caplog.text


# What a worker does


def _recipe(**more):
    usual = {"settings": {}, "weights": None, "threads": None, "versions": {}, "environment": {}, "plugin": None}
    return Recipe(**{"spec": "encoder/none", "fingerprint": "f", **usual, **more})


class _Weighted:
    """Stands for a module: a state, and what it encodes by it."""

    vectors = "dense"

    def __init__(self):
        self.weight = np.zeros(2, np.float32)

    def state_dict(self):
        return {"weight": self.weight}

    def load_state_dict(self, state):
        self.weight = state["weight"]

    def encode_documents(self, contents):
        return np.array([self.weight * len(content) for content in contents])


@pytest.fixture
def weighted(monkeypatch):
    monkeypatch.setattr(worker, "_node", lambda: "10.0.0.1")
    monkeypatch.setattr(worker, "build", lambda spec, settings: Component("weighted", _Weighted()))
    monkeypatch.setattr(Component, "fingerprint", property(lambda self: str(self.target.weight)))


def test_a_worker_takes_the_weights_and_encodes_ranges_of_file_and_rows(weighted, corpus):
    weights = {"weight": np.ones(2, np.float32)}
    for given in (corpus, Documents(["a", "b", "c"], list(corpus))):
        made = Worker()
        opened = made.open(_recipe(fingerprint="[1. 1.]", weights=weights), Source.of(given))
        assert isinstance(opened, Opened)
        assert opened.reads == (given is corpus)
        found = made.encode(1, 3, None if opened.reads else given[1:3])
        assert np.array_equal(found, stages.encode_documents(made.encoder, corpus[1:3]))
        assert found.tolist() == [[3, 3], [7, 7]]


def test_a_worker_refuses_another_encoder_and_other_versions(weighted, corpus):
    other = Worker().open(_recipe(fingerprint="[1. 1.]"), Source.of(corpus))
    assert isinstance(other, Failure)
    assert "encoder/none is another encoder here" in other.text
    versions = Worker().open(_recipe(versions={"numpy": "0.1"}), Source.of(corpus))
    assert isinstance(versions, Failure)
    assert "versions differ from the driver's" in versions.text


def test_an_error_of_an_encoder_is_told_as_text(weighted, corpus):
    made = Worker()
    made.open(_recipe(fingerprint="[0. 0.]"), Source.of(corpus))
    failure = made.encode(0, 1, [None])
    assert isinstance(failure, Failure)
    assert "NoneType" in failure.text


# Who gets a range


class _Ray:
    """Stands for Ray: what is asked of actors is done in turn, and an actor dies where its script says so."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            pass

    def __init__(self, scripts):
        self.scripts, self.hired, self.killed, self.given = list(scripts), [], [], []

    def hire(self):
        script = self.scripts.pop(0) if self.scripts else iter(())
        actor = types.SimpleNamespace(script=iter(script), dead=False)
        actor.encode = types.SimpleNamespace(remote=lambda *given: _Reference(actor, given))
        self.hired.append(actor)
        return actor, _Reference(actor, None)

    def wait(self, references, num_returns, timeout):
        able = [one for one in references if one.given is not None or not getattr(one.actor, "never", False)]
        return able[:1], able[1:]

    def get(self, reference):
        actor = reference.actor
        step = next(actor.script, "works") if not actor.dead else "dies"
        if step == "dies":
            actor.dead = True
            raise self.exceptions.RayError("the actor died")
        if step == "fails":
            return Failure("ValueError: no")
        if reference.given is None:
            return Opened("10.0.0.1", len(self.hired), True)
        start, stop, _ = reference.given
        self.given.append(range(start, stop))
        return np.arange(start, stop)

    def kill(self, actor):
        self.killed.append(actor)


class _Reference:
    def __init__(self, actor, given):
        self.actor, self.given = actor, given


_RANGES = [range(start, start + 2) for start in range(0, 12, 2)]


def _encoded(*scripts, size=2, attempts=3):
    ray = _Ray(scripts)
    crew = Crew(ray, ray.hire, attempts, 1.0)
    return ray, crew, crew.encode(Documents([], []), _RANGES, size)


def test_every_range_comes_once_and_all_workers_go():
    ray, crew, made = _encoded()
    found = dict(made)
    assert sorted(found, key=lambda one: one.start) == _RANGES
    assert all(np.array_equal(vectors, np.array(one)) for one, vectors in found.items())
    assert {id(actor) for actor in ray.killed} == {id(actor) for actor in ray.hired}
    assert len(ray.killed) == len(ray.hired)
    assert sum(crew.done.values()) == len(_RANGES)


@pytest.mark.parametrize(
    "scripts",
    [[["works", "dies"]], [["works", "works", "dies"], ["works", "dies"]], [["dies"]], [["dies"], ["dies"], ["dies"]]],
    ids=["at its first range", "both", "while it opens", "three while they open"],
)
def test_what_a_worker_had_when_it_died_is_given_to_another_and_comes_once(scripts, caplog):
    ray, _, made = _encoded(*scripts)
    assert sorted((one for one, _ in made), key=lambda one: one.start) == _RANGES
    assert sorted(ray.given, key=lambda one: one.start) == _RANGES
    assert len(ray.hired) == 2 + sum("dies" in script for script in scripts)
    assert "died (the actor died)" in caplog.text


def test_a_range_whose_workers_die_each_time_is_told_and_workers_that_never_open_too():
    _, _, made = _encoded(*[["works", "dies"]] * 20)
    with pytest.raises(ComponentError, match="were given to 3 workers of Ray, and each died"):
        list(made)
    ray, _, made = _encoded(*[["dies"]] * 20)
    with pytest.raises(ComponentError, match="7 workers of Ray died"):
        list(made)
    assert len(ray.hired) < 10


def test_what_a_worker_fails_at_ends_the_encoding_and_lets_the_others_go():
    ray, _, made = _encoded(["works", "works", "fails"])
    with pytest.raises(ComponentError, match=r"10\.0\.0\.1, process \d failed: ValueError: no"):
        list(made)
    assert set(map(id, ray.hired)) <= set(map(id, ray.killed))


def test_a_cluster_without_room_is_told(monkeypatch):
    monkeypatch.setattr(_Ray, "wait", lambda *_, **__: ([], []))
    _, _, made = _encoded()
    with pytest.raises(ComponentError, match="no worker was ready within 1 seconds"):
        list(made)


def test_room_is_counted_by_node():
    nodes = [
        {"Alive": True, "Resources": {"CPU": 5.0}},
        {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0}},
    ]
    assert _room(nodes, {"CPU": 2, "GPU": 0}) == 3
    assert _room(nodes, {"CPU": 2, "GPU": 1}) == 1


# Settings


@pytest.mark.parametrize("given", [{"workers": 0}, {"cpus": 0}, {"gpus": -1}, {"attempts": 0}, {"patience": 0.0}])
def test_settings_that_make_no_sense_are_refused(given):
    with pytest.raises(BadInput, match=next(iter(given))):
        observers.build("ray", given)


def test_an_experiment_file_names_no_other_machine():
    assert observers.build("ray", {"address": "auto"}, confined=["address"]).address == "auto"
    assert observers.build("ray", {"address": "10.0.0.1:6379"}).address == "10.0.0.1:6379"
    with pytest.raises(BadInput, match=r"--with ray\.address=10\.0\.0\.1:6379"):
        observers.build("ray", {"address": "10.0.0.1:6379"}, confined=["address"])


def test_progress_is_told_by_node():
    done = {"10.0.0.1, process 5": 2, "10.0.0.1, process 6": 1, "10.0.0.2, process 5": 4}
    assert by_node(done) == "chunks: 3 by 10.0.0.1, 4 by 10.0.0.2"
    assert by_node({f"10.0.0.{number}, process 1": number for number in range(1, 8)}) == "7 nodes: 1 to 7 chunks each"


def test_who_encodes_how_much_is_told_beside_a_bar(monkeypatch):
    told = []
    monkeypatch.setattr("nirank_ray.crew.tell", told.append)
    list(_encoded()[2])
    assert told == [f"chunks: {number} by 10.0.0.1" for number in range(1, 7)]
