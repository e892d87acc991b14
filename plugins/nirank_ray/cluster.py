"""The observer that has corpora encoded, and shards opened, by the machines of a Ray cluster."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from nirank import hookimpl
from nirank.data import Corpus, Vectors
from nirank.errors import BadInput, MissingDependency
from nirank.plugins import Component
from nirank_ray.crew import Crew
from nirank_ray.errand import Recipe, Source
from nirank_ray.nodes import Nodes
from nirank_ray.shards import Hosted, Room
from nirank_ray.worker import Worker

log = logging.getLogger("nirank")

_MODE = "RAY_AUTH_MODE"


class Cluster:
    """Has ranges of a corpus encoded by workers on a Ray cluster, to the bit as here, while an index is built.

    `address` is that of the cluster: "auto" for the one that this machine belongs to, "local" for one of this machine
    alone, or HOST:PORT. Ray asks for a token, unless $RAY_AUTH_MODE is "disabled" on every machine: whoever reaches
    such a cluster can run any code on it.

    Each of the `workers` (by default as many as the cluster has room for) takes `cpus` processors, by default as many
    as this process has threads, because sums and their last bits depend on these, and `gpus`, by default one where
    torch sees one here. A range whose worker dies is given out again, `attempts` times in all; `patience`, in seconds,
    is how long no worker may be ready.

    Shards of indexes that are opened `on = "ray"` have an actor each, with `cpus` and `gpus`, by default none.
    """

    addresses = ("address",)  # settings that name another machine

    def __init__(
        self,
        address: str = "auto",
        workers: int | None = None,
        cpus: int | None = None,
        gpus: int | None = None,
        attempts: int = 3,
        patience: float = 120.0,
    ) -> None:
        least = {"workers": (workers, 1), "cpus": (cpus, 1), "gpus": (gpus, 0), "attempts": (attempts, 1)}
        for name, (value, bound) in least.items():
            if value is not None and value < bound:
                raise BadInput(f"{name} = {value}; at least {bound} is expected.")
        if not patience > 0:
            raise BadInput(f"patience = {patience}; seconds above 0 are expected.")
        self.address, self.workers, self.attempts, self.patience = address, workers, attempts, patience
        self.cpus, self.gpus = cpus, gpus
        #: The ranges that each worker encoded, by node and process.
        self.done: dict[str, int] = {}
        self._ray: Any = None
        self._nodes: Nodes | None = None
        self._shards: weakref.WeakSet[Hosted] = weakref.WeakSet()

    @hookimpl(tryfirst=True)
    def nirank_encode_corpus(
        self, encoder: Component, corpus: Corpus, ranges: Sequence[range]
    ) -> Iterator[tuple[range, Vectors]] | None:
        """Answer with the ranges as workers end them; None for an encoder that another process cannot open."""
        threads = _threads()
        recipe = Recipe.of(encoder, threads)
        if recipe is None:
            log.warning(
                "Ray: %s is an object that is not registered, which no other process can open; it encodes here.",
                encoder.spec,
            )
            return None
        return self._encoded(recipe, corpus, ranges, self.cpus or threads or 1)

    @hookimpl
    def nirank_open_shard(self, opening: Any, on: str, threads: int) -> Hosted | None:
        """Open a shard in an actor for `on = "ray"`; it has `cpus` processors, or as many as `threads`."""
        if on != "ray":
            return None
        ray = self._joined()
        self._nodes = self._nodes or Nodes(ray)
        host = Hosted(
            ray, opening, Room(self.cpus or threads or 1, self.gpus or 0, self.patience), threads, self._nodes
        )
        self._shards.add(host)
        return host

    def close(self) -> None:
        """End the actors of shards, and leave the cluster, if this observer joined it."""
        for host in list(self._shards):
            host.close()
        if self._ray is not None:
            self._ray.shutdown()
            self._ray = None

    def _encoded(
        self, recipe: Recipe, corpus: Corpus, ranges: Sequence[range], cpus: int
    ) -> Iterator[tuple[range, Vectors]]:
        ray = self._joined()
        needs = {"CPU": cpus, "GPU": _sees_gpu() if self.gpus is None else self.gpus}
        kind = ray.remote(num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_restarts=0, max_task_retries=0)(Worker)
        given, source = _sent(ray, recipe), Source.of(corpus)

        def hire() -> tuple[Any, Any]:
            actor = kind.remote()
            return actor, actor.open.remote(given, source)

        crew = Crew(ray, hire, self.attempts, self.patience)
        size = min(self.workers or max(1, _room(ray.nodes(), needs)), len(ranges))
        try:
            yield from crew.encode(corpus, ranges, size)
        finally:
            self.done = dict(crew.done)
            told = "; ".join(f"{node}: {count} ranges" for node, count in sorted(crew.done.items()))
            log.info("Ray: %s.", told or "nothing was encoded")

    def _joined(self) -> Any:
        """Ray, connected. Raises `MissingDependency` without the package, `BadInput` where there is no cluster."""
        os.environ.setdefault(_MODE, "token")  # else Ray decides by what it finds, and nodes that join later differ
        try:
            import ray
        except ImportError as error:
            raise MissingDependency("observer/ray needs the package ray: pip install 'nirank[ray]'.") from error
        if not ray.is_initialized():
            self._join(ray)
        return ray

    def _join(self, ray: Any) -> None:
        try:
            ray.init(address=self.address, namespace="nirank", log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise BadInput(
                f"the Ray cluster at {self.address!r} cannot be joined with {_MODE}={os.environ[_MODE]}: {error} Start "
                "one with `ray start --head` and `ray start --address=HOST:6379` on each other machine, all with the "
                'same $RAY_AUTH_MODE, or set address = "local".'
            ) from error
        self._ray = ray


def _sent(ray: Any, recipe: Recipe) -> Any:
    """The reference of a recipe on the cluster. Raises `BadInput` for settings that are objects of this process."""
    try:
        return ray.put(recipe)
    except (TypeError, pickle.PicklingError) as error:
        raise BadInput(
            f"the settings of {recipe.spec} cannot be sent to another process: {error}. Name them by texts and numbers."
        ) from error


def _threads() -> int | None:
    """The threads that torch has here; None where nothing has imported it."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _sees_gpu() -> int:
    torch = sys.modules.get("torch")
    return int(torch is not None and torch.cuda.is_available())


def _room(nodes: Sequence[dict[str, Any]], needs: dict[str, int]) -> int:
    """The number of workers that fit into all nodes together."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(min(int(has.get(name, 0) // need) for name, need in needs.items() if need) for has in alive)
