"""Generative models of pictures as rankers, each part a module with `tables(asked)` of its own."""

from __future__ import annotations

import argparse
import importlib

from quality_table import Table

PARTS = ("quality_generative_codes", "quality_generative_blip")


def tables(asked: argparse.Namespace) -> list[Table]:
    """The tables of all parts."""
    return [table for part in PARTS for table in importlib.import_module(part).tables(asked)]
