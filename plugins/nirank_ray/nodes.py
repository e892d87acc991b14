"""The nodes of a cluster, and those of them that have gone: Ray counts one that was killed for half a minute more."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

#: Seconds in which a node must answer, and how many are asked at once.
_PATIENCE, _AT_ONCE = 2.0, 64


class Nodes:
    """The nodes of a cluster. `lost` is set where something on them has gone: then dead ones are avoided."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self.lost = False

    def options(self) -> dict[str, Any]:
        """The options of an actor that is to run on no node that has gone."""
        gone = sorted(self._gone()) if self.lost else []
        return {"label_selector": {"ray.io/node-id": f"!in({','.join(gone)})"}} if gone else {}

    def _gone(self) -> set[str]:
        """The ids of nodes that are alive for Ray, and do not answer; none where no node answers this machine."""
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = [*pool.map(_answers, alive)]
        gone = {str(node["NodeID"]) for node, reached in zip(alive, answers, strict=True) if not reached}
        return gone if any(answers) else set()


def _answers(node: Mapping[str, Any]) -> bool:
    """True where something listens at the port of a node."""
    try:
        socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), _PATIENCE).close()
    except OSError:
        return False
    return True
