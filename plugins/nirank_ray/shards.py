"""Shards that are open in actors of a Ray cluster, one each. Who asks them begins them again, never Ray itself."""

from __future__ import annotations

import dataclasses
import logging
import os
import pickle
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nirank.errors import BadInput, ComponentError, NirankError
from nirank.kit import OpenShard, ShardFailure, ShardGone, ShardOpening, ShardSilent, bound_threads
from nirank.plugins import active, load_file
from nirank_ray.errand import refuse_versions, variables, versions
from nirank_ray.nodes import Nodes

log = logging.getLogger("nirank")

#: The times that an actor is started until one runs, and the seconds between them.
_TRIES, _PAUSE = 3, 1.0


@dataclass(frozen=True)
class Place:
    """Where an actor runs: the address of its node, and its process there."""

    node: str
    pid: int

    def __str__(self) -> str:
        return f"{self.node}, process {self.pid}"


@dataclass(frozen=True)
class ShardErrand:
    """What an actor is told: the shard to open, and what has to be the same where it runs."""

    opening: ShardOpening
    versions: Mapping[str, str]
    #: The Python file that registers the component, where that is no installed plugin.
    plugin: str | None

    @classmethod
    def of(cls, opening: ShardOpening) -> ShardErrand:
        """The errand for an opening, whose folder is told from the root on: an actor has another working folder."""
        opening = dataclasses.replace(opening, folder=opening.folder.resolve())
        plugin = ""
        if isinstance(opening.component, tuple):
            plugin = active().registry.find(opening.component[0], ("generator",)).plugin.name
        return cls(opening, versions(), plugin if plugin.endswith(".py") else None)

    def open(self) -> OpenShard:
        """The shard, open. Raises `BadInput` where its folder cannot be read, and for other versions of packages."""
        folder = self.opening.folder
        if not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
            raise BadInput(
                f"{folder} cannot be read there. Nodes of the Ray cluster open shards where this machine has them: "
                "put the index on a disk that all of them have at this path, or copy it to each."
            )
        if self.plugin:
            load_file(self.plugin)
        shard = OpenShard(self.opening)
        refuse_versions(self.versions)
        return shard


class Shard:
    """What an actor is: a shard, opened by the first question. Questions and answers are pickled here and there.

    So an answer that cannot be read is no lost actor, and arrays can be written to, as those of Ray cannot.
    """

    def __init__(self, errand: bytes, threads: int, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        bound_threads(threads)
        self._errand, self._open = errand, None  # type: bytes, OpenShard | None

    def place(self) -> Place:
        """Where this is."""
        import ray

        return Place(str(ray.util.get_node_ip_address()), os.getpid())

    def answer(self, question: bytes) -> bytes:
        """What the shard answers to a method and its arguments; a `ShardFailure` that names this node else."""
        try:
            if self._open is None:
                self._open = _opened(self._errand)
            method, given = pickle.loads(question)  # noqa: S301 (the same)
            return pickle.dumps(self._open.answer(method, *given), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            error.add_note(f"on the Ray node {self.place()}")
            return pickle.dumps(ShardFailure.of(error))


def _opened(errand: bytes) -> OpenShard:
    """The shard of an errand. What goes wrong beside the index is a `ComponentError`: to build it again is no help."""
    try:
        read: ShardErrand = pickle.loads(errand)  # noqa: S301 (of the driver, as all that Ray runs)
        return read.open()
    except (NirankError, MemoryError):
        raise
    except Exception as error:  # of modules that there are not, or other ones
        raise ComponentError(f"a shard cannot be opened there: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Room:
    """What an actor takes on its node, and the seconds in which it must have a place."""

    cpus: int
    gpus: int
    patience: float

    def __str__(self) -> str:
        return f"{self.cpus} processors and {self.gpus} GPUs"


class Hosted:
    """A shard in an actor, as a group of shards asks it (`nirank.execution.shards.hosts.Host`).

    The actor's processors are its threads too. One that ends before it ever ran, for its node has gone, is started
    again on another node.
    """

    def __init__(self, ray: Any, opening: ShardOpening, room: Room, threads: int, nodes: Nodes) -> None:
        self._ray, self._opening, self._room, self._threads, self._nodes = ray, opening, room, threads, nodes
        #: Where the actor is, when that is known.
        self.place: Place | None = None
        self._placing_one, self._counting = threading.Lock(), threading.Lock()
        self._answers, self._waiting = 0, list[Any]()
        self._closed, self._tries = False, 0
        self._errand = _pickled(ray, opening)
        self._hire()

    @property
    def answers(self) -> int:
        """The number of answers that have come."""
        waiting = [*self._waiting]
        if waiting and self._ray.is_initialized():
            for reference in self._ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]:
                self._count(reference)
        return self._answers

    def ask(self, method: str, *given: Any) -> Answer:
        """Send a question. Raises `ShardGone` where this was closed, or Ray is not connected any more."""
        return Answer(self, pickle.dumps((method, given), pickle.HIGHEST_PROTOCOL))

    def send(self, question: bytes) -> tuple[Any, Any]:
        """Send a pickled question: the actor, and the reference of its answer. Raises as `ask` does."""
        actor = self._actor
        if self._closed or not self._ray.is_initialized():
            raise ShardGone("its actor was ended")
        try:
            reference = actor.answer.remote(question)
        except self._ray.exceptions.RayError as error:
            raise self._gone(error) from error
        with self._counting:
            self._waiting.append(reference)
        return actor, reference

    def restart(self) -> Any:
        """Another actor. Raises `ComponentError` where the observer has been switched off meanwhile."""
        self._nodes.lost = True
        self.close()
        host = active().hook.nirank_open_shard(opening=self._opening, on="ray", threads=self._threads)
        if host is None:
            raise ComponentError(
                f"the shard {self._opening.folder} was opened on Ray, and the observer ray is switched off. Search "
                'where it is switched on, or have the shards opened on = "processes".'
            )
        return host

    def close(self) -> None:
        """End the actor."""
        closed, self._closed = self._closed, True
        if not closed and self._ray.is_initialized():  # else all actors of this process have ended
            self._ray.kill(self._actor)

    def placed(self, last: float) -> Any:
        """The actor, when it runs somewhere. Raises `ShardSilent` where it does not until `last`, on the clock.

        Raises `ComponentError` where it has no place within the patience; after a loss that is `ShardGone`.
        """
        if not self._placing_one.acquire(timeout=max(0.0, last - time.monotonic())):
            raise ShardSilent("its actor has no place yet")
        try:
            while self.place is None:
                self._place(last)
        finally:
            self._placing_one.release()
        return self._actor

    def ended(self, reference: Any, last: float) -> bool:
        """True where an answer has come, waiting for it until `last`."""
        return bool(self._ray.wait([reference], num_returns=1, timeout=max(0.0, last - time.monotonic()))[0])

    def got(self, reference: Any) -> Any:
        """What has come. Raises `ShardGone` where the actor ended before."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:  # not of the shard: those are answers
            raise ComponentError(f"{self} failed: {error}") from error
        except errors.RayError as error:
            raise self._gone(error) from error
        finally:
            self._count(reference)

    def _hire(self) -> None:
        """Start an actor, on no node that has gone."""
        cpus, gpus = self._room.cpus, self._room.gpus
        options = {"max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD", **self._nodes.options()}
        kind = self._ray.remote(num_cpus=cpus, num_gpus=gpus, **options)(Shard)
        self._actor = kind.remote(self._errand, cpus, variables())
        self._placing, self._hired = self._actor.place.remote(), time.monotonic()

    def _place(self, last: float) -> None:
        """Wait until the actor says where it is; start another where it never ran."""
        latest = self._hired + self._room.patience
        if not self.ended(self._placing, min(last, latest)):
            raise ShardSilent("its actor has no place yet") if last < latest else self._without_place()
        try:
            place: Place = self.got(self._placing)
        except ShardGone:
            self._tries += 1
            if self._closed or self._tries == _TRIES:
                raise
            self._nodes.lost = True
            time.sleep(_PAUSE)
            self._ray.kill(self._actor)
            self._hire()
        else:
            self.place = place
            log.info("Ray: %s is ready.", self)

    def _without_place(self) -> Exception:
        told = (
            f"{self} had no place within {self._room.patience:.0f} seconds: no node of the Ray cluster has "
            f"{self._room} free. Add nodes, set the observer's cpus or patience, or have fewer shards."
        )
        return ShardGone(told) if self._nodes.lost else ComponentError(told)

    def _count(self, reference: Any) -> None:
        """Count an answer, once."""
        with self._counting:
            if reference in self._waiting:
                self._waiting.remove(reference)
                self._answers += 1

    def _gone(self, error: Exception) -> ShardGone:
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("Ray: %s has gone (%s: %s).", self, type(error).__name__, reason)
        return ShardGone(reason)

    def __str__(self) -> str:
        return f"the actor of {self._opening.folder}" + (f" on {self.place}" if self.place else "")


class Answer:
    """An answer to come from an actor."""

    def __init__(self, host: Hosted, question: bytes) -> None:
        self._host, self._question = host, question
        self._actor, self._reference = host.send(question)

    def result(self, seconds: float) -> Any:
        """The answer, or a `ShardFailure`.

        Raises `ShardGone` where the actor, or its node, ended before, `ShardSilent` after so many seconds.
        """
        last = time.monotonic() + seconds
        if self._host.placed(last) is not self._actor:  # that one never ran
            self._actor, self._reference = self._host.send(self._question)
        if not self._host.ended(self._reference, last):
            raise ShardSilent(f"nothing came for {seconds:.0f} seconds")
        return pickle.loads(self._host.got(self._reference))  # noqa: S301 (of an actor that this process started)


def _pickled(ray: Any, opening: ShardOpening) -> bytes:
    """The errand for an actor; with Ray's own pickle, which takes classes of the program that runs here too."""
    try:
        made: bytes = ray.cloudpickle.dumps(ShardErrand.of(opening))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise BadInput(
            f"the component of the shard {opening.folder} cannot be sent to another process: {error}. Name its "
            "settings by texts and numbers."
        ) from error
    return made
