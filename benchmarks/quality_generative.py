"""Generative models of pictures as rankers: each part is a table, in a module with `tables(asked)` of its own.

    python benchmarks/quality.py generative --only dvae dalle --seeds 3

`--only` names parts. What each seed came to is kept when it is known, so that what was interrupted is run again alone.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from quality_table import Table

#: The module of each part, in the order of the tables.
PARTS = {
    "dvae": "codes",
    "dalle": "codes",
    "dalle-emoji": "emoji",
    "icons": "blip",
    "captions": "blip",
    "capfilt": "blip",
    "prior": "blip",
    "prior-joint": "emoji",
    "templates": "templates",
}


def tables(asked: argparse.Namespace) -> list[Table]:
    """The tables of all parts, or of those that `only` names."""
    if unknown := [name for name in asked.only if name not in PARTS]:
        sys.exit(f"{', '.join(unknown)}: no part of `generative`; its parts are {', '.join(PARTS)}.")
    found = []
    for name in PARTS:
        if not asked.only or name in asked.only:
            alone = argparse.Namespace(**{**vars(asked), "only": [name]})
            found += importlib.import_module(f"quality_generative_{PARTS[name]}").tables(alone)
    return found
