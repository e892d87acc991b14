"""Shards in actors of the observer `ray` without Ray: who answers, what becomes of actors that have gone, what is told.

tests/distributed has it with Ray, on two hosts.
"""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import sys
import time
import types

import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

import nirank
from nirank.data import Documents, Queries
from nirank.errors import BadInput, ComponentError, StaleIndex
from nirank.execution.shards.group import LostShard
from nirank.execution.shards.layout import place
from nirank.plugins import observers
from nirank_ray import shards as of_ray
from nirank_ray.cluster import Cluster

TEXTS = ["a black cat", "", "the cat and the bridge", "dogs", "cats and dogs", "a cat", "the bridge"] * 6
CORPUS = Documents([f"d{number}" for number in range(42)], TEXTS)
QUERIES = Queries.of(["cat", "black bridge", "unseen", "dog cat"])
UNEVEN = [10, 1, 0, 31]


class _Ray(types.ModuleType):
    """Stands for Ray: actors are objects here. `dies` says of each of them at which of its answers it ends.

    What is waited for in vain takes no time; `waited` says how many seconds it would have taken.
    """

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            pass

        class RayActorError(RayError):
            pass

    def __init__(self, dies=()):
        super().__init__("ray")
        self.dies, self.actors, self.options, self.ended, self.room = list(dies), [], [], [], True
        self.started, self.waited = 0, 0.0
        self.cloudpickle = types.SimpleNamespace(dumps=pickle.dumps)
        self.util = types.SimpleNamespace(get_node_ip_address=lambda: "10.0.0.7")

    def is_initialized(self):
        return bool(self.started)

    def init(self, **_):
        self.started += 1

    def shutdown(self):
        self.started = 0

    def remote(self, **options):
        self.options.append(options)

        def start(*given):
            actor = _Actor(self, self.dies.pop(0) if self.dies else None, of_ray.Shard(*given))
            self.actors.append(actor)
            return actor

        return lambda kind: types.SimpleNamespace(remote=start)

    def wait(self, references, num_returns, timeout):
        ended = [one for one in references if self.room and not one[0].stopped]
        self.waited += 0 if ended else timeout
        return (ended, [one for one in references if one not in ended])

    def nodes(self):
        return []

    def get(self, reference):
        actor, ask, given = reference
        if ask == "answer" and actor.dies is not None:
            actor.dead = actor.dead or actor.dies == 0
            actor.dies -= 1
        if actor.dead:
            raise self.exceptions.RayActorError("the actor died unexpectedly")
        return getattr(actor.shard, ask)(*given)

    def kill(self, actor):
        self.ended.append(actor)
        actor.dead = True


class _Actor:
    def __init__(self, ray, dies, shard):
        self.dies, self.shard, self.dead, self.stopped = dies, shard, False, False
        self.place, self.answer = (
            types.SimpleNamespace(remote=lambda *given, ask=ask: (self, ask, given)) for ask in ("place", "answer")
        )


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", dict(os.environ, NIRANK_CACHE=str(tmp_path / "cache")))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ray(monkeypatch):
    """Ray's stand-in, and the observer switched on."""
    made = _Ray()
    monkeypatch.setitem(sys.modules, "ray", made)
    clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + made.waited, sleep=time.sleep)
    monkeypatch.setattr(of_ray, "time", clock)
    with observers.switched_on([Cluster()]):
        yield made


def _sharded(name="bm25", **more):
    return nirank.sharded(nirank.load(name), **{"shards": UNEVEN, "on": "ray", **more})


def _same(left, right):
    columns = ("offsets", "docs", "scores")
    return bool(left.pairs) and all(getattr(left, one).tobytes() == getattr(right, one).tobytes() for one in columns)


def _alive(ray):
    return [actor for actor in ray.actors if not actor.dead]


@pytest.mark.parametrize("name", ["bm25", "ql"])
def test_actors_answer_as_one_index_does(ray, name):
    one, shards = nirank.load(name), _sharded(name)
    for k in (3, 1000):
        found = (one % k).search(QUERIES, CORPUS)
        assert _same(found, (shards % k).search(QUERIES, CORPUS))
    again = nirank.pipeline.as_scoring(shards).score(QUERIES, found)
    assert again.tobytes() == found.scores.tobytes()
    assert len(ray.actors) == 3  # none for the empty one
    assert not ray.ended


def test_an_actor_is_begun_again_by_nirank_and_never_by_ray(ray, monkeypatch):
    monkeypatch.setattr("nirank.execution.shards.group.processors", lambda: 6)
    _sharded().search(QUERIES, CORPUS)
    usual = {"num_cpus": 2, "num_gpus": 0, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
    assert ray.options == [usual] * 3
    assert os.environ["NIRANK_PROCESSORS"] == "2"  # what the stand-in's actors bound is this process


@pytest.mark.parametrize("dies", [[None, None, 0], [None, 1], [0, 1, 2], [1, 1, 1]])
def test_an_actor_that_has_gone_is_begun_again_and_nothing_is_missing(ray, dies, caplog):
    ray.dies = list(dies)
    expected, shards = (nirank.load("bm25") % 10).search(QUERIES, CORPUS), _sharded()
    for _ in range(3):
        assert _same(expected, (shards % 10).search(QUERIES, CORPUS))
    gone = 3 - dies.count(None) - (3 - len(dies))
    assert len(ray.actors) == 3 + gone
    assert len(_alive(ray)) == 3
    assert caplog.text.count("has gone (RayActorError: the actor died unexpectedly)") == gone
    assert "on 10.0.0.7, process " in caplog.text


def test_an_actor_that_goes_again_is_a_shard_that_is_named_and_the_next_search_is_whole(ray):
    shards = _sharded()
    expected = (shards % 10).search(QUERIES, CORPUS)
    _alive(ray)[2].dead = True
    ray.dies = [0]
    with pytest.raises(LostShard, match=r"Shard 4 \(.*shard-0003\) ended before it had answered"):
        (shards % 10).search(QUERIES, CORPUS)
    assert _same(expected, (shards % 10).search(QUERIES, CORPUS))


def test_lost_shards_are_marked_where_partial_results_are_allowed(ray):
    shards = _sharded(partial=True, restarts=0)
    whole = (shards % 42).search(QUERIES, CORPUS)
    _alive(ray)[0].dead = True
    found = (shards % 42).search(QUERIES, CORPUS)
    assert found.lost == ("shard 1 of bm25",)
    assert 0 < found.pairs < whole.pairs


def test_actors_end_when_the_group_is_closed_or_nobody_has_it_any_more(ray):
    shards = _sharded()
    shards.search(QUERIES, CORPUS)
    shards.component.target.close()
    gc.collect()
    assert (len(ray.ended), _alive(ray)) == (3, [])
    other = _sharded()
    other.search(QUERIES, CORPUS)
    assert len(_alive(ray)) == 3
    del other
    gc.collect()
    assert (len(ray.ended), _alive(ray)) == (6, [])


def test_actors_end_with_the_observer_and_another_one_opens_them_anew(monkeypatch):
    ray = _Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    shards = _sharded()
    with observers.switched_on([Cluster()]):
        expected = (shards % 10).search(QUERIES, CORPUS)
    assert (len(ray.ended), _alive(ray), ray.is_initialized()) == (3, [], False)
    with pytest.raises(ComponentError, match=r"shard-0000 was opened on Ray, and the observer ray is switched off"):
        (shards % 10).search(QUERIES, CORPUS)
    with observers.switched_on([Cluster()]):
        assert _same(expected, (shards % 10).search(QUERIES, CORPUS))
        assert len(_alive(ray)) == 3


def test_actors_end_with_an_observer_that_did_not_join_the_cluster_too(monkeypatch):
    ray = _Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    ray.init()  # by the program that runs here
    shards = _sharded()
    with observers.switched_on([Cluster()]):
        shards.search(QUERIES, CORPUS)
    assert (len(ray.ended), _alive(ray), ray.is_initialized()) == (3, [], True)
    with pytest.raises(ComponentError, match="the observer ray is switched off"):
        shards.search(QUERIES, CORPUS)


def test_an_actor_that_cannot_be_asked_any_more_has_gone_too(ray):
    def failing(question):
        raise ray.exceptions.RayActorError("its node is not there")

    shards = _sharded()
    expected = (shards % 10).search(QUERIES, CORPUS)
    ray.actors[1].answer.remote = failing
    assert _same(expected, (shards % 10).search(QUERIES, CORPUS))
    assert ray.ended == [ray.actors[1]]


def test_a_place_of_others_and_ray_without_the_observer_are_told(ray):
    assert Cluster().nirank_open_shard(None, "moon", 1) is None
    with pytest.raises(BadInput, match="on = 'moon': nobody opens shards there"):
        _sharded(on="moon").search(QUERIES, CORPUS)


def test_shards_on_ray_without_the_observer_are_told():
    with pytest.raises(BadInput, match=r"on = 'ray': nobody opens shards there.*switch on the plugin"):
        _sharded().search(QUERIES, CORPUS)


def test_a_folder_that_the_node_cannot_read_is_told_with_its_name(ray, tmp_path, monkeypatch):
    shards = _sharded()
    shards.index(CORPUS, "index")  # told from here on; actors have another working folder
    (folder,) = [path.parent for path in (tmp_path / "index").rglob("shards.json")]
    shutil.rmtree(place(folder, 1))
    with pytest.raises(BadInput, match=r"shard-0001 cannot be read there") as told:
        _sharded().index(CORPUS, "index")
    notes = "; ".join(told.value.__notes__)
    assert f"on the Ray node 10.0.0.7, process {os.getpid()}" in notes
    assert "in Shard 2" in notes
    assert str(folder) in str(told.value)


def test_what_is_damaged_or_of_another_index_is_refused_where_it_is_opened(ray, tmp_path):
    _sharded().index(CORPUS, "index")
    (folder,) = [path.parent for path in (tmp_path / "index").rglob("shards.json")]
    file = place(folder, 0) / "whole_frequencies.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(StaleIndex, match=r"whole_frequencies\.npy") as told:
        _sharded().index(CORPUS, "index")
    assert "10.0.0.7" in "".join(told.value.__notes__)


def test_other_versions_on_the_node_are_refused(ray, monkeypatch):
    monkeypatch.setattr(of_ray, "versions", lambda: {"numpy": "0.1"})
    with pytest.raises(BadInput, match=r"versions differ from the driver's.*\(there 0\.1\)"):
        _sharded().search(QUERIES, CORPUS)


def test_a_component_that_the_node_has_not_is_told_and_no_damaged_index(ray, monkeypatch):
    monkeypatch.setattr(ray.cloudpickle, "dumps", lambda errand: b"cno_such_module\nThing\n.")
    with pytest.raises(ComponentError, match="cannot be opened there: ModuleNotFoundError: No module named 'no_such"):
        _sharded().search(QUERIES, CORPUS)


def test_a_cluster_without_room_for_an_actor_is_told(ray):
    ray.room = False
    with pytest.raises(ComponentError, match=r"shard-0000 had no place within 120 seconds.*1 processors and 0 GPUs"):
        _sharded().search(QUERIES, CORPUS)


def test_an_actor_that_cannot_even_be_made_is_an_error_and_not_begun_again(ray, monkeypatch):
    def failing(reference):
        raise ray.exceptions.RayTaskError("No module named 'nirank_ray'")

    monkeypatch.setattr(ray, "get", failing)
    with pytest.raises(ComponentError, match=r"shard-0000 failed: No module named 'nirank_ray'"):
        _sharded().search(QUERIES, CORPUS)
    assert len(ray.actors) == 3


def test_a_component_that_cannot_be_sent_is_told(ray):
    class Local:
        separable = True

        def __init__(self):
            self.unsendable = (each for each in ())

        index_key = property(lambda self: {"index": "local"})

        def build(self, corpus, folder, encode=None):
            (folder / "file").touch()

        def open(self, corpus, folder):
            pass

        def generate(self, queries, k):
            pass

    with pytest.raises(BadInput, match="cannot be sent to another process"):
        nirank.sharded(nirank.load(Local(), "local"), shards=2, on="ray").search(QUERIES, CORPUS)
