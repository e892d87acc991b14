"""Run in a fresh interpreter: import a plugin, let it register, and write down what that imported and touched.

    python -m nirank.testing.probe MODULE[:OBJECT]

prints one JSON object: `imported`, the names of all modules after the import; `touched`, the audit events of
files and sockets while `nirank_register` ran.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from typing import Any

_WATCHED = ("open", "os.", "socket.", "subprocess.", "shutil.", "tempfile.", "urllib.")


class _Names:
    """A registry that keeps nothing."""

    def add(self, *entry: Any, **named: Any) -> None:
        """Take in one component."""


def main(target: str) -> None:
    """Print what importing and registering `target` does, which is written as in an entry point."""
    plugin = EntryPoint("plugin", target, "nirank").load()
    imported = sorted(sys.modules)
    touched: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event.startswith(_WATCHED):
            touched.append(f"{event} {arguments[0] if arguments else ''}".strip())

    sys.addaudithook(watch)  # a hook cannot be removed: it is told to stop
    if hasattr(plugin, "nirank_register"):
        plugin.nirank_register(_Names())
    watching = False
    sys.stdout.write(json.dumps({"imported": imported, "touched": touched}))


if __name__ == "__main__":
    main(sys.argv[1])
