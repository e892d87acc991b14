"""How well rankers rank: trained here, judged on held-out queries, beside published and peer figures.

    python benchmarks/quality.py wikiqa           one work, or several
    python benchmarks/quality.py mq2008 --save    also write benchmarks/results/quality_mq2008.md and .json
    python benchmarks/quality.py expansion --quick  little of everything, to see that it runs; figures mean nothing
    python benchmarks/quality.py wikiqa --only knrm duet   some rows; the other tables that are saved stay
    python benchmarks/quality.py transformers     all works with transformers, and Lucene

The data lie in `--data`; all else comes with `pip install -e '.[bench]'`. What a training has come to is kept in
`--cells` under all its settings, so that an interrupted run goes on where it was. Where code of nirank has changed
since, it is measured anew; `--keep` takes it all the same, and the heading says so.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import shlex
import sys
from datetime import date
from pathlib import Path

from losses_code import OLDER
from quality_table import Measured, markdown, save
from speed_table import machine, versions

from nirank.kit import cache_folder

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
#: Each is a module `quality_NAME` with `tables(asked)`, a dash being an underscore there.
WORKS = (
    "wikiqa",
    "sizes",
    "mq2008",
    "clicks",
    "expansion",
    "lexical",
    "lucene",
    "dense",
    "late",
    "crossencoder",
    "seq2seq",
    "fusion",
    "emoji-images",
    "omniglot",
    "metric",
    "recipes",
    "recipes-splade",
    "adapter",
    "generative",
)
#: Several works by one name.
GROUPS = {"transformers": ("dense", "lucene", "late", "crossencoder", "seq2seq")}
_PACKAGES = ("nirank", "torch", "numpy", "gensim", "lightgbm", "pyserini")


def main(arguments: list[str] | None = None) -> None:
    asked = _arguments(arguments)
    OLDER.keep = asked.keep
    for work in [one for name in asked.works for one in GROUPS.get(name, (name,))]:
        OLDER.taken.clear()
        tables = importlib.import_module(f"quality_{work.replace('-', '_')}").tables(asked)
        measured = [Measured(_heading(arguments), table) for table in tables]
        print(markdown(work, measured))
        if asked.save:
            print(f"Written to {save(work, measured, RESULTS, asked.only)}", file=sys.stderr)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="+", choices=[*WORKS, *GROUPS], help="what is measured")
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="some rows")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each model, with seeds of their own")
    parser.add_argument("--quick", action="store_true", help="a few steps each")
    parser.add_argument("--save", action="store_true", help=f"also write into {RESULTS.name}/")
    parser.add_argument("--keep", action="store_true", help="take what is kept though nirank's code has changed since")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of data")
    parser.add_argument("--cells", type=Path, default=cache_folder() / "quality", help="where trainings are kept")
    return parser.parse_args(arguments)


def _heading(arguments: list[str] | None) -> list[str]:
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "benchmarks/quality.py", *given])
    return [
        f"`{command}`, {date.today()}",
        f"{machine()}, {platform.system()}, Python {platform.python_version()}; {versions(_PACKAGES)}.",
        *OLDER.lines(),
    ]


if __name__ == "__main__":
    main()
