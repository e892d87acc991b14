"""Names for objects of a test, which are found as if a plugin had registered them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from nirank.plugins import Entry, Plugin, active


@contextmanager
def named(targets: Mapping[str, Any]) -> Iterator[None]:
    """Inside, each object has its name: `{"generator/shifts": Shifts}`."""
    plugin, registry, resolve = Plugin("toys"), active().registry, Entry.resolve
    for spec in targets:
        kind, name = spec.split("/")
        registry.add(Entry(kind, name, f"toys:{name}", plugin))

    def found(entry: Entry) -> Any:
        return targets[entry.spec] if entry.plugin is plugin else resolve(entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entry, "resolve", found)
        yield
    registry.remove(plugin)
