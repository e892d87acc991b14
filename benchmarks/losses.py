"""Every loss trains every scorer, on real data: a grid of what comes of it, with confidence intervals.

    python benchmarks/losses.py                           all of it but MiniLM
    python benchmarks/losses.py --only mq2008             some columns: those whose name begins so
    python benchmarks/losses.py --loss ranknet lambdarank some lines
    python benchmarks/losses.py --minilm                  also MiniLM, minutes a loss
    python benchmarks/losses.py --save                    also write benchmarks/results/losses.md, .json and .png
    python benchmarks/losses.py --quick                   a few steps each, to see that it runs; figures mean nothing
    python benchmarks/losses.py --rates 0.01 0.03 0.1     the measure on dev of each learning rate, and no test

The data (LETOR 4.0 MQ2008, WordLlama's vectors) lie in `--data`; all else comes with `pip install -e '.[bench]'`.
What a cell has come to is kept in `--cells` under all its settings, so that an interrupted run goes on where it was.
Where code of nirank has changed since, it is measured anew; `--keep` takes it all the same, and the heading says so.
"""

from __future__ import annotations

import argparse
import functools
import platform
import shlex
import sys
from datetime import date
from pathlib import Path

import torch
from losses_cells import Cells, Outcome
from losses_code import OLDER
from losses_columns import Column
from losses_emoji import EmojiColumn, FewWords
from losses_mq2008 import LetorColumn
from losses_recipes import EMOJI_MINILM, loss_of
from losses_table import Grid, Measured, markdown, save
from speed_table import machine, versions

import nirank
from nirank.kit import cache_folder
from nirank.pipeline import Stage

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
QUICK = {"steps": 2}
_PACKAGES = ("nirank", "torch", "numpy", "lightgbm")


def main(arguments: list[str] | None = None) -> None:
    asked = _arguments(arguments)
    OLDER.keep = asked.keep
    OLDER.taken.clear()
    cells = Cells(asked.cells)
    columns = [column for column in _columns(asked) if column.name.lower().startswith(tuple(asked.only))]
    if asked.rates:
        for column in columns:
            _tell_rates(column, asked)
        return
    measured = [_measured(column, cells, asked) for column in columns]
    grid = Grid(_heading(arguments), measured)
    print(markdown(grid))
    if asked.save:
        print(f"Written to {save(grid, RESULTS)}", file=sys.stderr)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], metavar="COLUMN", help="such as mq2008, or emoji")
    parser.add_argument("--loss", nargs="+", default=[], metavar="NAME", help="some losses, with all their variants")
    parser.add_argument("--minilm", action="store_true", help="also train MiniLM, with a few losses")
    parser.add_argument("--quick", action="store_true", help="a few steps each, on one fold")
    parser.add_argument("--save", action="store_true", help=f"also write into {RESULTS.name}/")
    parser.add_argument("--rates", nargs="+", type=float, default=[], help="tell the measure on dev of these rates")
    parser.add_argument("--folds", type=int, default=5, help="how many folds of MQ2008 (default: 5, all)")
    parser.add_argument("--keep", action="store_true", help="take what is kept though nirank's code has changed since")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of data")
    parser.add_argument("--cells", type=Path, default=cache_folder() / "losses", help="where cells are kept")
    asked = parser.parse_args(arguments)
    asked.only = [name.lower() for name in asked.only]
    return asked


def _columns(asked: argparse.Namespace) -> list[Column]:
    limits = QUICK if asked.quick else {}
    words = functools.partial(_words, asked.data / "weights" / "wordllama-256")
    minilm = functools.partial(nirank.load, "encoder/minilm", device="cpu")
    folds = 1 if asked.quick else asked.folds
    letor = [LetorColumn(scorer, asked.data / "ltr_mq2008", limits, folds) for scorer in ("linear", "mlp")]
    emoji = [EmojiColumn("words", words, minilm, limits)]
    if asked.minilm:
        emoji.append(EmojiColumn("minilm", minilm, minilm, limits, EMOJI_MINILM))
    return [*letor, *emoji]


def _words(folder: Path) -> Stage:
    parts = [nirank.collection("emoji", split=split) for split in ("train", "dev", "test")]
    texts = [text for part in parts for text in part.queries.contents]
    return nirank.load(FewWords(str(folder), [*texts, *parts[0].corpus[:]]), name="words")


def _lines(column: Column, asked: argparse.Namespace) -> list[str]:
    return [line for line in column.lines if not asked.loss or loss_of(line) in asked.loss]


def _measured(column: Column, cells: Cells, asked: argparse.Namespace) -> Measured:
    told = column.told()
    references = {
        name: cells.get(column.name, name, {"column": told}, make) for name, make in column.references().items()
    }
    for name, outcome in references.items():
        _tell(column, name, outcome)
    found = {}
    for line in _lines(column, asked):
        recipe = column.lines[line].at(column.scorer)
        make = functools.partial(column.learn, line, recipe)
        found[line] = cells.get(column.name, line, {"column": told, "recipe": recipe.described()}, make)
        _tell(column, line, found[line])
    settings = {line: column.lines[line].at(column.scorer).summary() for line in found}
    return Measured(column.name, column.about, column.reference, references, found, settings)


def _heading(arguments: list[str] | None) -> list[str]:
    command = shlex.join(["python", "benchmarks/losses.py", *(sys.argv[1:] if arguments is None else arguments)])
    return [
        f"`{command}`, {date.today()}",
        f"{machine()}, {torch.get_num_threads()} threads; Python {platform.python_version()}; {versions(_PACKAGES)}.",
        "Means over test queries with 95 % bootstrap confidence intervals (10,000 resamples of the queries); "
        "differences are paired. Settings and epochs were chosen on dev. Seconds are those of all folds, on a machine "
        "that did other work beside.",
        *OLDER.lines(),
    ]


def _tell(column: Column, line: str, outcome: Outcome) -> None:
    means = ", ".join(f"{measure} {outcome.mean(measure):.4f}" for measure in column.measures)
    dev = "" if outcome.dev is None else f"; dev {outcome.dev:.4f}"
    print(f"{column.name}, {line}: {means}{dev} ({outcome.seconds:.1f} s)", file=sys.stderr, flush=True)


def _tell_rates(column: Column, asked: argparse.Namespace) -> None:
    for line in _lines(column, asked):
        for rate in asked.rates:
            outcome = column.learn(line, column.lines[line].at(column.scorer, rate))
            told = f"{outcome.dev:.4f}; best steps {outcome.steps} ({outcome.seconds:.1f} s)"
            print(f"{column.name}, {line}, learning rate {rate:g}: dev {told}", flush=True)


if __name__ == "__main__":
    main()
