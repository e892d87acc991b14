"""Workers and the ranges that they are at: given out as they come free, and out again when a worker dies."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nirank.data import Content, Corpus, Vectors
from nirank.errors import ComponentError
from nirank.kit import tell
from nirank_ray.worker import Failure, Opened

log = logging.getLogger("nirank")

#: Ranges that a worker has at a time: the one it encodes, and the one after.
_AT_ONCE = 2
#: Nodes that are named beside a bar; more of them are summed up.
_NAMED = 4


@dataclass(eq=False)
class Member:
    """A worker: the actor, where it runs, whether rows are sent to it, and how many ranges it has."""

    actor: Any
    node: str = "a node that is still starting"
    sent_rows: bool = False
    has: int = 0


class Crew:
    """The workers of one encoding.

    `hire` starts one more, and returns the actor and the reference of its opening. A range whose worker died is
    given out again, `attempts` times in all.
    """

    def __init__(self, ray: Any, hire: Callable[[], tuple[Any, Any]], attempts: int, patience: float) -> None:
        self.ray, self.hire, self.attempts, self.patience = ray, hire, attempts, patience
        #: The ranges that each node encoded.
        self.done: Counter[str] = Counter()
        self._opening: dict[Any, Member] = {}
        self._ready: list[Member] = []
        self._under_way: dict[Any, tuple[Member, range]] = {}
        self._lost: Counter[range] = Counter()
        self._deaths = 0

    def encode(self, corpus: Corpus, ranges: Sequence[range], size: int) -> Iterator[tuple[range, Vectors]]:
        """Each range with its vectors, as they come, by at most `size` workers.

        Raises `ComponentError` for what a worker refuses or fails at, and for a range whose workers died too often.
        """
        waiting = deque(ranges)
        self._most_deaths = self.attempts * size
        try:
            for _ in range(size):
                self._hire()
            while waiting or self._under_way:
                self._give_out(corpus, waiting)
                found = self._next()
                if found in self._opening:
                    self._opened(found)
                elif found is not None and (came := self._came(found, waiting)):
                    yield came
        finally:
            self.dismiss()

    def dismiss(self) -> None:
        """Let all workers go."""
        held = (member for member, _ in self._under_way.values())
        members = dict.fromkeys([*self._ready, *self._opening.values(), *held])
        self._opening, self._ready, self._under_way = {}, [], {}
        for member in members:
            self.ray.kill(member.actor)

    def _hire(self) -> None:
        actor, opening = self.hire()
        self._opening[opening] = Member(actor)

    def _give_out(self, corpus: Corpus, waiting: deque[range]) -> None:
        for load in range(_AT_ONCE):  # one to each before anybody has two
            for member in self._ready:
                if waiting and member.has == load:
                    one = waiting.popleft()
                    rows: Sequence[Content] | None = corpus[one.start : one.stop] if member.sent_rows else None
                    self._under_way[member.actor.encode.remote(one.start, one.stop, rows)] = member, one
                    member.has += 1

    def _next(self) -> Any:
        """The reference of something that has ended; None where nothing did for a while."""
        ready, _ = self.ray.wait([*self._opening, *self._under_way], num_returns=1, timeout=self.patience)
        if ready:
            return ready[0]
        if not self._ready:
            raise ComponentError(
                f"no worker was ready within {self.patience:.0f} seconds: no node of the Ray cluster has the "
                "processors that one needs free, or the encoder takes longer to open. Set cpus or gpus lower, or "
                "patience higher."
            )
        log.warning("Ray: nothing came for %.0f seconds; %s.", self.patience, self._at_work())
        return None

    def _opened(self, reference: Any) -> None:
        member = self._opening.pop(reference)
        opened = self._result(reference, member)
        if isinstance(opened, Opened):
            member.node, member.sent_rows = f"{opened.node}, process {opened.pid}", not opened.reads
            self._ready.append(member)
            how = "rows are sent to it" if member.sent_rows else "it reads the documents itself"
            log.info("Ray: a worker is ready on %s; %s.", member.node, how)

    def _came(self, reference: Any, waiting: deque[range]) -> tuple[range, Vectors] | None:
        member, one = self._under_way.pop(reference)
        vectors = self._result(reference, member)
        if vectors is None:
            self._again(member, one, waiting)
            return None
        member.has -= 1
        self.done[member.node] += 1
        tell(by_node(self.done))
        return one, vectors

    def _result(self, reference: Any, member: Member) -> Any:
        """What a worker answered; None where it died. Raises `ComponentError` for its own failure."""
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError:  # not of nirank's: the worker could not even be imported there
            raise
        except self.ray.exceptions.RayError as error:
            self._died(member, error)
            return None
        if isinstance(answer, Failure):
            raise ComponentError(f"a worker of Ray on {member.node} failed: {answer.text}")
        return answer

    def _died(self, member: Member, error: Exception) -> None:
        if member in self._ready:
            self._ready.remove(member)
        elif member.has:
            return  # told already, for another range that it had
        self._deaths += 1
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        log.warning("Ray: the worker on %s died (%s).", member.node, reason)
        if self._deaths > self._most_deaths:
            raise ComponentError(f"{self._deaths} workers of Ray died, the last one on {member.node}: {reason}")
        self.ray.kill(member.actor)  # where it only seemed dead
        self._hire()

    def _again(self, member: Member, one: range, waiting: deque[range]) -> None:
        self._lost[one] += 1
        if self._lost[one] >= self.attempts:
            raise ComponentError(
                f"documents {one.start:,} up to {one.stop:,} were given to {self.attempts} workers of Ray, and each "
                f"died; the last one was on {member.node}. What was encoded before is kept."
            )
        log.warning("Ray: documents %s up to %s are given out again.", f"{one.start:,}", f"{one.stop:,}")
        waiting.appendleft(one)

    def _at_work(self) -> str:
        held = Counter(member.node for member, _ in self._under_way.values())
        return "; ".join(f"{node} has {count} ranges" for node, count in held.items())


def by_node(done: Mapping[str, int]) -> str:
    """The ranges that each node has encoded, of many nodes the fewest and the most; `done` is by node and process."""
    counts: Counter[str] = Counter()
    for worker, count in done.items():
        counts[worker.partition(",")[0]] += count
    if len(counts) > _NAMED:
        return f"{len(counts)} nodes: {min(counts.values()):,} to {max(counts.values()):,} chunks each"
    return "chunks: " + ", ".join(f"{count:,} by {node}" for node, count in sorted(counts.items()))
