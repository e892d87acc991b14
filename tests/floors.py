"""The floors of the core: which room imports which, read from the code. `python tests/floors.py` prints the table.

Every import counts: those inside functions, and those for type checkers only. A room is a folder of `nirank`, or a
module beside them. A face (the `__init__.py` of a room, and of `nirank` itself) shows what lies in several rooms and is
imported by no room, so faces are left out here; `tests/test_architecture.py` holds them.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SKELETON = ROOT / "nirank" / "plugins" / "skeleton"

Graph = dict[str, set[str]]


def module_of(path):
    """The dotted name of a file of the core or of a plugin."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "plugins" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files(*folders):
    """The Python files of the given folders, without the skeleton of new plugins."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if SKELETON not in path.parents)


@functools.cache
def tree(path) -> ast.Module:
    """What a file says, parsed once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(*folders) -> Graph:
    """For each module those that it imports, among the same folders."""
    modules = {module_of(path): path for path in files(*folders)}
    return {module: set(_imported(path, modules)) - {module} for module, path in modules.items()}


def _imported(path, modules: Mapping[str, Path]) -> Iterable[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield from (found for found in [name if name in modules else node.module] if found in modules)


def circles(graph: Graph) -> list[set[str]]:
    """Nodes that reach one another."""
    reached = {node: _reachable(graph, node) for node in graph}
    found = [{other for other in reached[node] if node in reached[other]} | {node} for node in graph]
    return [circle for number, circle in enumerate(found) if len(circle) > 1 and circle not in found[:number]]


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def rooms() -> Graph:
    """For each room of the core the rooms that it imports, faces left out."""
    graph = imports("nirank")
    faces = {module_of(path) for path in files("nirank") if path.name == "__init__.py"}
    found: Graph = {}
    for module, others in graph.items():
        if module not in faces:
            found.setdefault(room(module), set()).update(room(other) for other in others - faces)
    return {name: others - {name} for name, others in found.items()}


def room(module: str) -> str:
    """The room of a module: `data` for `nirank.data.ids`."""
    return module.split(".")[1]


def floors(graph: Graph) -> dict[str, int]:
    """How many floors lie below each room; those of a graph without circles."""
    found: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in found:
            found[name] = 1 + max(map(floor, graph[name]), default=-1)
        return found[name]

    return {name: floor(name) for name in graph}


def documented() -> Graph:
    """The table of ARCHITECTURE.md: for each room those that it may import."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| *(\d+) *\| *`(\w+)` *\|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", may)) for _, name, may in rows}


def main() -> None:
    """Print the table as the code has it."""
    graph = rooms()
    for name, floor in sorted(floors(graph).items(), key=lambda row: (row[1], row[0])):
        print(f"{floor:>3}  {name:<12} {' '.join(sorted(graph[name]))}")  # noqa: T201 - a program


if __name__ == "__main__":
    main()
