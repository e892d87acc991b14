"""Shards that are open in actors of a Ray cluster, one each. Who asks them begins them again, never Ray itself."""

from __future__ import annotations

import dataclasses
import logging
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nirank.errors import BadInput, ComponentError, NirankError
from nirank.kit import OpenShard, ShardFailure, ShardGone, ShardOpening, bound_threads
from nirank.plugins import active, load_file
from nirank_ray.errand import refuse_versions, variables, versions

log = logging.getLogger("nirank")


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


class Hosted:
    """A shard in an actor, as a group of shards asks it (`nirank.execution.shards.hosts.Host`).

    The actor takes `cpus` processors, which are its threads too, and `gpus`. `patience`, in seconds, is how long it may
    have no place.
    """

    def __init__(self, ray: Any, opening: ShardOpening, cpus: int, gpus: int, patience: float, threads: int) -> None:
        self._ray, self._opening, self._patience, self._threads = ray, opening, patience, threads
        self._needs = f"{cpus} processors and {gpus} GPUs"
        #: Where the actor is, when that is known.
        self.place: Place | None = None
        kind = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )(Shard)
        self._actor = kind.remote(_pickled(ray, opening), cpus, variables())
        self._placing = self._actor.place.remote()

    def ask(self, method: str, *given: Any) -> Answer:
        """Send a question. Raises `ShardGone` where this was closed, or Ray is not connected any more."""
        question, actor = pickle.dumps((method, given), pickle.HIGHEST_PROTOCOL), self._actor
        if actor is None or not self._ray.is_initialized():
            raise ShardGone("its actor was ended")
        try:
            return Answer(self, actor.answer.remote(question))
        except self._ray.exceptions.RayError as error:
            raise self._gone(error) from error

    def restart(self) -> Any:
        """Another actor. Raises `ComponentError` where the observer has been switched off meanwhile."""
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
        actor, self._actor = self._actor, None
        if actor is not None and self._ray.is_initialized():  # else all actors of this process have ended
            self._ray.kill(actor)

    def came(self, reference: Any) -> Any:
        """An answer, when it has come. Raises `ShardGone` where the actor ended before."""
        self._placed()
        while not self._ended(reference):
            log.warning("Ray: nothing came for %.0f seconds from %s.", self._patience, self)
        return pickle.loads(self._got(reference))  # noqa: S301 (of an actor that this process started)

    def _placed(self) -> None:
        """Wait until the actor runs somewhere. Raises `ComponentError` where that takes longer than `patience`."""
        if self.place is not None:
            return
        if not self._ended(self._placing):
            raise ComponentError(
                f"{self} had no place within {self._patience:.0f} seconds: no node of the Ray cluster has "
                f"{self._needs} free. Add nodes, set the observer's cpus or patience, or have fewer shards."
            )
        place: Place = self._got(self._placing)
        self.place = place
        log.info("Ray: %s is ready.", self)

    def _ended(self, reference: Any) -> bool:
        return bool(self._ray.wait([reference], num_returns=1, timeout=self._patience)[0])

    def _got(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:  # not of the shard: those are answers
            raise ComponentError(f"{self} failed: {error}") from error
        except errors.RayError as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> ShardGone:
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("Ray: %s has gone (%s: %s).", self, type(error).__name__, reason)
        return ShardGone(reason)

    def __str__(self) -> str:
        return f"the actor of {self._opening.folder}" + (f" on {self.place}" if self.place else "")


@dataclass(frozen=True)
class Answer:
    """An answer to come from an actor."""

    host: Hosted
    reference: Any

    def result(self) -> Any:
        """The answer, or a `ShardFailure`. Raises `ShardGone` where the actor, or its node, ended before."""
        return self.host.came(self.reference)


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
