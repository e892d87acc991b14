"""Build what names one extra, in the environment where only that is installed; prints a line of JSON.

Run by `benchmarks/extras.py`: `python extras_probe.py EXTRA [--checks]`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import extras_minimal

#: What stands for nirank without any extra.
NONE = "none"
#: What is imported for an extra that no component names: it adds to what others bring.
ADDS = {
    "beir": "nirank_adapters.beir",
    "hub": "nirank_adapters.hub",
    "ir_metadata": "nirank_adapters.ir_metadata",
    "langchain": "nirank_adapters.langchain",
    "llamaindex": "nirank_adapters.llamaindex",
    "log": "tensorboard.summary",
    "lora": "peft",
    "mteb": "nirank_adapters.mteb",
    "openvino": "openvino",
    "pyterrier": "nirank_adapters.pyterrier",
    "ranx": "nirank_adapters.ranx",
    "train": "nirank.training.fitting",
}
#: Those that want a torchvision which fits the torch that is there; where it does not, that is told.
_VISION = ("open_clip", "timm")


def main() -> None:
    extra, *options = sys.argv[1:]
    works, fails = [], {}
    for name, attempt in _attempts(extra, "--checks" in options):
        try:
            attempt()
        except Exception as error:  # whatever it is, it is told, and the others are tried
            fails[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            works.append(name)
    if not (works or fails):
        fails["nothing"] = "no component names this extra, and nothing else is known of it"
    packages = len(list(importlib.metadata.distributions()))
    print(json.dumps({"packages": packages, "works": works, "fails": fails}))


def _attempts(extra: str, checks: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    if extra == NONE:
        yield from extras_minimal.promises()
        return
    from nirank.plugins import active

    entries = [entry for entry in active().registry if entry.extra == extra]
    for entry in entries:
        yield entry.spec, lambda entry=entry: _build(entry, checks)
    if extra in ADDS:
        yield f"import {ADDS[extra]}", lambda: importlib.import_module(ADDS[extra])
    if extra in _VISION:
        yield f"import {extra}", lambda: _vision(extra)
    if extra == "demo":
        yield (
            "nirank demo",
            lambda: subprocess.run([sys.executable, "-m", "nirank", "demo"], check=True, capture_output=True),
        )


def _vision(library: str) -> None:
    from nirank.kit.vision import imported

    imported(library, f"models of {library}")


def _build(entry: Any, checks: bool) -> None:
    from nirank.testing import violations

    entry.resolve()
    built = entry.resolve_tiny()()
    if not checks:
        return
    expected = getattr(entry.plugin.module, "contract_exceptions", {})
    found = violations(entry.kind, built)
    broken = {name: fault for name, fault in found.items() if f"{entry.name}::{name}" not in expected}
    if broken:
        raise RuntimeError("; ".join(f"{name}: {fault}" for name, fault in broken.items()))


if __name__ == "__main__":
    main()
