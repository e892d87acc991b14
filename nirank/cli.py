"""The command line; `nirank --help` lists the commands, one function each in this module."""

from __future__ import annotations

import functools
import inspect
import io
import itertools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from enum import StrEnum
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

from nirank.errors import BadInput, DamagedFile, NirankError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from nirank.data.explanation import Explanation
    from nirank.data.types import Floats, Ints
    from nirank.differences.found import Differences
    from nirank.experiments.experiment import Experiment
    from nirank.experiments.results import Results
    from nirank.experiments.tuned import Tuned
    from nirank.experiments.workspace import Workspace
    from nirank.pipeline.snippets import Snippet
    from nirank.plugins.inventory import Description
    from nirank.training.assignment import Fitted
    from nirank.training.fused import FittedFusion


class _Commands(TyperGroup):
    """The commands below, and those that observers bring (`nirank cache`); these are looked for only when asked for."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or _of_observer(cmd_name)


#: Of queries that were typed.
_LINES_OF_HISTORY = 1000

app = typer.Typer(
    cls=_Commands,
    help="Compose rankers, search, and measure the TREC way.",
    epilog="What is switched on by --with may have a command too, such as `nirank cache`: see `nirank plugins`.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _names(*kinds: str) -> Callable[[str], list[str]]:
    """Complete the name of a component of one of these kinds, or of any."""

    def complete(incomplete: str) -> list[str]:
        from nirank.plugins import inventory

        return [name for name in inventory.names(*kinds) if name.startswith(incomplete)]

    return complete


Measures = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        "-m",
        help="A measure, named as in ir_measures or trec_eval; repeatable. Default: nDCG@10, RR@10, AP, R@100.",
    ),
]
Folder = Annotated[Path, typer.Option("--in", help="A folder that `nirank index` made.")]
Pipeline = Annotated[
    str | None,
    typer.Option("--pipeline", "-p", help="A pipeline, such as 'bm25 % 100 >> minilm'; bm25 unless given."),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Set a setting of a stage, such as bm25.k1=0.9; repeatable.")
]
Name = Annotated[
    str | None,
    typer.Argument(
        help="A component, such as bm25 or scorer/ql, or a plugin: show its settings.", autocompletion=_names()
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        "-w",
        help="Switch on an observer (cache) or give it a setting (trace.file=x.json); repeatable.",
        autocompletion=_names("observer"),
    ),
]


Host = Annotated[str, typer.Option(help="The address to listen at; any but this machine's needs a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="A file with the token that clients have to show; or set NIRANK_TOKEN.")
]
JudgmentsFolder = Annotated[
    Path | None,
    typer.Option("--judgments", help="The folder that judgments are kept in; NAME-judgments unless given."),
]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Take no judgments and no documents.")]
Waiting = Annotated[int, typer.Option(min=1, help="How many searches may run or wait before one more is refused.")]
Deadline = Annotated[float, typer.Option(min=0.001, help="Seconds that a search may take.")]
Together = Annotated[
    int, typer.Option(min=1, help="How many queries that come at a time a pipeline searches together at most.")
]
McpStdio = Annotated[
    bool,
    typer.Option("--mcp-stdio", help="Be an MCP server on standard input and output, for one agent, and no other."),
]
GoOn = Annotated[Path | None, typer.Option(help="The folder to write, or to go on in; runs/NAME-DATE unless given.")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Run a nirank_plugin.py that came with results of others; its hash is remembered."),
]


class Ties(StrEnum):
    """The orders of equal scores, by document id."""

    falling = "falling"
    rising = "rising"


class Test(StrEnum):
    """The paired tests that one can ask for."""

    randomisation = "randomisation"
    t = "t"


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"nirank {version('nirank')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the application itself; the help text is its own."""


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option(help="Also write the results into this folder.")] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print the experiment instead of running it.")] = False,
) -> None:
    """Compare four systems on a real collection: find an emoji by a keyword that is not its name."""
    from nirank.experiments import report
    from nirank.experiments import run as experiment

    with as_file(files("nirank") / "demo.toml") as path:
        if toml:
            typer.echo(path.read_text(encoding="utf-8"), nl=False)
            return
        console = _console()
        results = experiment.run(path, out, show=functools.partial(_show, console))
    console.print(report.examples_table(results, report.telling_queries(results, "nDCG@10")))
    console.print(
        "\nThe words of a query are seldom in the name of the emoji, so exact match finds little, and a reranker cannot"
        "\nrank what was not found (vocabulary mismatch). A bi-encoder compares meanings, not words."
        "\n\nNext: [bold]nirank search -c emoji -p 'minilm >> exact'[/], or [bold]nirank demo --toml > mine.toml[/],"
        " change it, and [bold]nirank run mine.toml[/].",
        highlight=False,
    )


@app.command()
def run(
    experiment: Annotated[Path, typer.Argument(help="An experiment in TOML.")],
    out: Annotated[Path | None, typer.Option(help="The folder to write; runs/NAME-DATE unless given.")] = None,
    with_: With = None,
    trust: Trust = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Leave out report.html, a page to send.")] = False,
    as_json: Json = False,
) -> None:
    """Run an experiment: index, search, measure, compare; write runs, measures, a manifest and a report."""
    from nirank.experiments import run as experiments

    described = _described(experiment, with_, trust)
    console = _console()
    with _results_folder(out, described.name) as folder:
        show = None if as_json else functools.partial(_show, console)
        results = experiments.run(described, folder, show=show, report=not no_report)
    if as_json:
        _print_json({"folder": str(folder), **results.to_dict()})
    else:
        console.print(f"Written to {folder}", markup=False)
    raise typer.Exit(1 if results.failed else 0)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder that `nirank run` wrote.")], trust: Trust = False
) -> None:
    """Write report.html into a folder of results: one page with tables, plots and queries, which can be sent."""
    from nirank.experiments.reporting import folder as reports

    _described(folder / "experiment.toml", None, trust)
    typer.echo(f"Written to {reports.report(folder)}")


@app.command()
def train(
    experiment: Annotated[Path, typer.Argument(help=r"An experiment in TOML, with tables \[train.STAGE].")],
    out: GoOn = None,
    with_: With = None,
    trust: Trust = False,
) -> None:
    """Train stages of an experiment, then run it; with the same --out an interrupted training goes on."""
    from nirank.experiments.train import train as train_and_run

    described = _described(experiment, with_, trust)
    console = _console()
    with _results_folder(out, described.name) as folder:
        results = train_and_run(described, folder, functools.partial(_tell, console), functools.partial(_show, console))
    if results:
        console.print(f"Written to {folder}", markup=False)


@app.command()
def tune(
    experiment: Annotated[Path, typer.Argument(help=r"An experiment in TOML, with a table \[tune].")],
    out: GoOn = None,
    with_: With = None,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """Try settings of an experiment on dev queries; with the same --out an interrupted tuning goes on."""
    from nirank.experiments.tune import tune as try_settings

    described = _described(experiment, with_, trust)
    console = _console()
    with _results_folder(out, described.name) as folder:
        tuned = try_settings(described, folder, None if as_json else functools.partial(_show_tuned, console))
    if as_json:
        _print_json({"folder": str(folder), **tuned.to_dict()})
    else:
        console.print(f"Written to {folder}. Next: nirank run {folder / 'experiment.toml'}", markup=False)


@app.command()
def index(
    collection: Annotated[
        str,
        typer.Argument(
            help="A collection (`nirank datasets`), such as jsonl:FILE.", autocompletion=_names("collection")
        ),
    ],
    pipeline: Pipeline = None,
    to: Annotated[Path, typer.Option(help="The folder to write.")] = Path("nirank-index"),
    settings: Set = None,
    with_: With = None,
    update: Annotated[
        bool, typer.Option("--update", help="Bring the folder up to date: what has not changed is not encoded again.")
    ] = False,
) -> None:
    """Index a collection for `nirank search`."""
    from nirank.experiments import workspace

    changed = ""
    with _switched_on(with_):
        if update:
            made, count = workspace.update(to, collection, pipeline, _stages(settings))
            changed = f" New or changed: {count:,}."
        else:
            made = workspace.create(to, collection, pipeline or workspace.BM25, _stages(settings))
    _console().print(f"{len(made.corpus):,} documents indexed in {to} for {made.ranking!r}.{changed}", markup=False)
    if left_out := getattr(made.corpus, "left_out", ()):
        typer.echo(f"Not kept, for they hold lists or objects: {', '.join(left_out)}.", err=True)


@app.command()
def search(
    text: Annotated[
        str | None, typer.Argument(help="The query; without it queries are read from the keyboard.")
    ] = None,
    folder: Folder = Path("nirank-index"),
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection", "-c", help="Search this collection, and no folder.", autocompletion=_names("collection")
        ),
    ] = None,
    pipeline: Pipeline = None,
    settings: Set = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many documents to show.")] = 10,
    with_: With = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, a line for each query.")] = False,
    snippets: Annotated[
        bool, typer.Option("--snippets", help="Show the part of each document that has most words of the query.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show under each document what its score is made of.")
    ] = False,
) -> None:
    """Search an index or a collection. A query is text: it has no operators."""
    from nirank.experiments import workspace

    if not collection and (pipeline or settings):
        raise BadInput("--pipeline and --set go with --collection: a folder is searched as it was indexed.")
    with _switched_on(with_):
        if collection:
            opened = workspace.over(collection, pipeline or workspace.BM25, _stages(settings))
        else:
            opened = workspace.open_folder(folder)
        for query in [text] if text is not None else _typed_queries():
            _print_found(opened, query, k, as_json, snippets, explain)


@app.command()
def serve(
    what: Annotated[
        str,
        typer.Argument(
            help="An experiment in TOML, a folder that `nirank index` made, or a collection.",
            autocompletion=_names("collection"),
        ),
    ],
    pipeline: Pipeline = None,
    settings: Set = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    judgments: JudgmentsFolder = None,
    read_only: ReadOnly = False,
    waiting: Waiting = 256,
    deadline: Deadline = 30,
    together: Together = 32,
    mcp_stdio: McpStdio = False,
    with_: With = None,
    trust: Trust = False,
) -> None:
    """Serve a search page and a JSON API: pipelines side by side, why a document has its score, judgments."""
    from dataclasses import replace

    from nirank.serving import opening, running
    from nirank.serving.options import Options

    source = opening.source(what, pipeline, _stages(settings))
    source = replace(source, experiment=_observed(source.experiment, with_, trust))
    options = Options(
        host=host,
        port=port,
        token=running.token(token_file),
        waiting=waiting,
        deadline=deadline,
        together=together,
        judgments=judgments or source.judgments,
        annotate=not read_only,
        living=not read_only and source.folder is not None,
    )
    if mcp_stdio:
        running.serve_stdio(source, options)
    else:
        running.serve(source, options, tell=typer.echo)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A TREC run.")],
    qrels: Annotated[Path, typer.Argument(help="TREC judgments.")],
    measures: Measures = None,
    relevance_level: Annotated[int, typer.Option("--relevance-level", "-l", help="The lowest relevant grade.")] = 1,
    retrieved: Annotated[
        bool, typer.Option(help="Average over the queries that the run has, not over all judged ones.")
    ] = False,
    depth: Annotated[
        int | None, typer.Option(help="Measure only this many documents of each query, the best ones.")
    ] = None,
    version: Annotated[
        int,
        typer.Option("--trec-eval", min=9, max=10, help="The version of trec_eval whose figures are given, 9 or 10."),
    ] = 10,
    ties: Annotated[
        Ties, typer.Option(help="Order equal scores by falling id, as trec_eval does, or by rising id, as Anserini.")
    ] = Ties.falling,
    queries: Annotated[bool, typer.Option("--queries", "-q", help="Print the values of each query too.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a run. A judged query without results counts as 0, as in `trec_eval -c`."""
    from nirank.evaluation.evaluating import MEASURES, evaluate_files
    from nirank.evaluation.tables import trec_lines

    found = evaluate_files(
        *(run, qrels, measures or MEASURES),
        relevance_level=relevance_level,
        complete=not retrieved,
        depth=depth,
        trec_eval=9 if version == 9 else 10,
        ties="rising" if ties is Ties.rising else "falling",
    )
    if as_json:
        _print_json(found.to_dict(per_query=queries))
        return
    for line in trec_lines(found, queries):
        typer.echo(line)
    for note in found.notes():
        typer.echo(note, err=True)


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="Two or more TREC runs, then the judgments.")],
    measures: Measures = None,
    test: Annotated[Test, typer.Option(help="The paired test, randomisation or t.")] = Test.randomisation,
    baseline: Annotated[
        Path | None, typer.Option(help="Compare the others with this run; without it, compare all pairs.")
    ] = None,
    relevance_level: Annotated[int, typer.Option("--relevance-level", "-l", help="The lowest relevant grade.")] = 1,
    permutations: Annotated[
        int, typer.Option(min=1, help="How many random signs the randomisation test draws.")
    ] = 10_000,
    as_json: Json = False,
) -> None:
    """Compare runs by paired tests: differences, p-values (Holm), effect sizes, confidence intervals."""
    from nirank.evaluation.evaluating import MEASURES, evaluate_files
    from nirank.evaluation.significance import compare as compare_evaluations
    from nirank.experiments import report

    *runs, qrels = files
    if len(runs) < 2:
        raise BadInput("two or more runs and the judgments are expected: nirank compare RUN RUN... QRELS")
    if repeated := {run for run in runs if runs.count(run) > 1}:
        raise BadInput("is named twice; runs are compared with others.", min(repeated))
    wanted = measures or MEASURES
    names = dict(zip(runs, map(str, runs) if as_json else _short_names(runs), strict=True))
    if baseline is not None and baseline not in names:
        raise BadInput(f"the baseline {baseline} is not among the runs: {', '.join(map(str, runs))}.")
    evaluations = {names[path]: evaluate_files(path, qrels, wanted, relevance_level) for path in names}
    against = None if baseline is None else names[baseline]
    comparison = compare_evaluations(evaluations, against, test=test.value, permutations=permutations)
    if as_json:
        _print_json(comparison.to_dict())
    else:
        _console().print(report.means_table(comparison), report.comparison_table(comparison))
        for name, notes in comparison.notes.items():
            typer.echo(f"{name}: {' '.join(notes)}", err=True)


def _short_names(paths: list[Path]) -> list[str]:
    """The paths without the folders that all have in common, so that a table has room for what differs."""
    if len({path.is_absolute() for path in paths}) > 1:
        return [str(path) for path in paths]
    shared = os.path.commonpath([path.parent for path in paths])
    return [str(path.relative_to(shared)) if shared else str(path) for path in paths]


@app.command()
def why_different(
    a: Annotated[Path, typer.Argument(help="A run, or a folder that `nirank run` wrote.")],
    b: Annotated[Path, typer.Argument(help="The run, or folder, that is compared with it.")],
    qrels: Annotated[Path | None, typer.Argument(help="Judgments; without them nothing is measured.")] = None,
    system: Annotated[
        str | None, typer.Option(help="The system that is meant, of folders with several; or name the run in it.")
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Search again with the pipelines of both folders, stage by stage.")
    ] = False,
    measures: Measures = None,
    relevance_level: Annotated[int, typer.Option("--relevance-level", "-l", help="The lowest relevant grade.")] = 1,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Compare only this many documents of each query, the best ones.")
    ] = None,
    ties: Annotated[
        Ties, typer.Option(help="Order equal scores by falling id, as trec_eval does, or by rising id, as Anserini.")
    ] = Ties.falling,
    queries: Annotated[int, typer.Option(min=0, help="For how many queries to show what moved.")] = 5,
    as_json: Json = False,
) -> None:
    """Say why two runs differ: in settings, code and data, stage by stage, in their results, in what measures say."""
    from nirank.differences.why import why_different as find_differences
    from nirank.evaluation.evaluating import MEASURES

    found = find_differences(
        *(a, b, qrels, measures or MEASURES),
        system=system,
        recompute=recompute,
        relevance_level=relevance_level,
        depth=depth,
        ties="rising" if ties is Ties.rising else "falling",
        queries=queries,
    )
    if as_json:
        _print_json(found.to_dict())
    else:
        _show_differences(found)


def _show_differences(found: Differences) -> None:
    from nirank.experiments import report
    from nirank.showing.terminal import shown

    console = _console()
    for line in str(found).splitlines():
        console.print(shown(line), soft_wrap=True)
    for table in found.tables():
        console.print(report.text_table(table.title, table.columns, table.rows, table.numbers))


@app.command()
def plugins(name: Name = None, as_json: Json = False) -> None:
    """List the plugins, what they bring, what is missing or failed; or show the settings of one component."""
    from rich.table import Table
    from rich.text import Text

    from nirank.plugins import inventory

    if name is not None:
        _show_components(inventory.describe(name), as_json)
        return
    if as_json:
        _print_json([asdict(row) for row in inventory.plugins()])
        return
    table = Table("plugin", "distribution", "components", "state")
    for row in inventory.plugins():
        # As Text, because in a plain string rich takes the extra in 'nirank[text]' for markup and drops it.
        table.add_row(*map(Text, (row.plugin, row.distribution, row.components, row.state)))
    _console().print(table)


def _show_components(described: list[Description], as_json: bool) -> None:
    from nirank.experiments import report
    from nirank.showing.terminal import shown

    if as_json:
        _print_json([asdict(one) for one in described])
        return
    console = _console()
    for one in described:
        console.print(shown(f"{', '.join(one.components)}  from {one.plugin}", style="bold"))
        console.print(shown(one.missing or one.about), "")
        if one.settings:
            console.print(report.settings_table(one.settings), "")


@app.command()
def datasets(as_json: Json = False) -> None:
    """List the collections that can be opened by name."""
    from rich.table import Table
    from rich.text import Text

    from nirank.plugins import inventory

    if as_json:
        _print_json([{"collection": name, "about": usage} for name, usage in inventory.collections()])
        return
    table = Table("collection", "what it is")
    for name, usage in inventory.collections():
        table.add_row(Text(name), Text(usage))
    _console().print(table)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="What nirank wrote: an index, a checkpoint, results, the cache.")],
) -> None:
    """Compare every file of a folder with what was written, byte by byte; exit code 1 where one differs."""
    from nirank import seals

    sealed = seals.sealed_inside(folder)
    if not sealed:
        raise BadInput(
            "has no seals (hashes of the files that nirank wrote), so nothing can be verified; folders of nirank 0.1 "
            "have none.",
            folder,
        )
    damaged = 0
    for place in sealed:
        try:
            check = seals.check if place.is_dir() else seals.check_file
            check(place, "Make it again.", everything=True)
        except DamagedFile as fault:
            damaged += 1
            typer.echo(str(fault))
    typer.echo(f"{len(sealed) - damaged} of {len(sealed)} sealed folders and files are as they were written.")
    raise typer.Exit(1 if damaged else 0)


models = typer.Typer(help="Models from elsewhere.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(models, name="models")


@models.command()
def check(
    model: Annotated[str, typer.Argument(help="A folder, or a name on the model hub.")],
    as_: Annotated[
        str | None,
        typer.Option("--as", help="Read it as this component (crossencoder), not as its files say."),
    ] = None,
) -> None:
    """Say how a model would be read, score three pairs, and say what looks wrong; exit code 1 where something does."""
    from nirank.experiments import model_check

    checked = model_check.check_model(model, as_)
    for name, value in checked.facts.items():
        typer.echo(f"{name}: {value}")
    if checked.scores is not None:
        typer.echo(f"\nquery: {model_check.QUERY}")
        for score, document in zip(checked.scores.tolist(), model_check.DOCUMENTS, strict=True):
            typer.echo(f"{score:12.4f}  {document}")
    typer.echo("\n" + "\n".join([f"looks wrong: {fault}" for fault in checked.faults] or ["nothing looks wrong."]))
    raise typer.Exit(1 if checked.faults else 0)


@app.command()
def plan(
    documents: Annotated[float, typer.Option(help="How many documents there are, such as 1e9.")],
    dim: Annotated[int, typer.Option(help="The dimensions of their vectors.")] = 384,
    shard: Annotated[float, typer.Option(help="The documents of a shard at most.")] = 1e7,
    k: Annotated[int, typer.Option("-k", help="The results that each shard sends.")] = 1000,
    queries: Annotated[float, typer.Option(help="The queries of a second.")] = 100,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="Set a rate that you measured, such as encode=2.5; repeatable."),
    ] = None,
) -> None:
    """Say what a corpus costs to encode, keep and search in shards, with the arithmetic and the measured rates."""
    from nirank import planning

    made = planning.plan(documents, dim, shard, k, queries, planning.settings(settings or []))
    typer.echo("\n".join(planning.lines(made)))


@app.command()
def new_plugin(
    name: Annotated[
        str, typer.Argument(help="The name of its module: small letters, digits and _, such as demo_ranker.")
    ],
    to: Annotated[Path, typer.Option(help="The folder to put it in.")] = Path(),
) -> None:
    """Write the skeleton of a plugin: a distribution that passes its own checks at once."""
    from nirank.plugins import scaffold

    folder = scaffold.create(name, to)
    typer.echo(f"Written to {folder}. Next: pip install -e '{folder}[test]' && pytest {folder}")


def main() -> None:
    """Run the command line; an error is printed as a sentence, or with its traceback where NIRANK_DEBUG is set."""
    _write_any_text()
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        app()
    except (NirankError, OSError) as error:
        if os.environ.get("NIRANK_DEBUG"):
            raise
        from nirank.showing.terminal import harmless

        notes = [f"  ({note})" for note in getattr(error, "__notes__", [])]
        print(harmless("\n".join([f"nirank: {error}", *notes])), file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _console() -> Console:
    from rich.console import Console

    # A file or a pipe has no width: a table written there is not folded to that of a terminal.
    return Console(width=None if sys.stdout.isatty() else 160)


def _described(path: Path, with_: list[str] | None, trusted: bool) -> Experiment:
    """The experiment in a file, with what is switched on besides."""
    from nirank.experiments.experiment import Experiment

    return _observed(Experiment.read(path), with_, trusted)


def _observed(described: Experiment, with_: list[str] | None, trusted: bool) -> Experiment:
    """The experiment with what is switched on besides."""
    from dataclasses import replace

    from nirank.plugins import trust

    if trusted and described.plugin_file:
        trust.remember(described.plugin_file)
    commanded = frozenset(text.partition("=")[0] for text in with_ or [])
    return replace(described, plugin=_observers(with_, described.plugin), commanded=commanded)


@contextmanager
def _results_folder(out: Path | None, name: str) -> Iterator[Path]:
    """The folder that is named, or a new one of this run alone, which goes again if nothing was written into it."""
    if out is not None:
        yield out
        return
    folder = _new_folder(name)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it is not empty, as it should be
            folder.rmdir()


def _new_folder(name: str) -> Path:
    """A folder for this second; of several runs in one second the later ones get a number."""
    from datetime import datetime

    stamp = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    if os.environ.get("WORLD_SIZE", "1") != "1":  # several processes of one training share a folder
        return Path("runs") / stamp
    for number in itertools.count(1):
        folder = Path("runs") / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        break
    return folder


def _write_any_text() -> None:
    """Have output escape what its encoding lacks: a pipe on Windows has cp1252, a file's name may be no Unicode."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show(console: Console, results: Results) -> None:
    from nirank.experiments import report

    console.print(report.systems_table(results))
    for line in report.notes(results):
        console.print(line, style="dim", markup=False)


def _show_tuned(console: Console, tuned: Tuned) -> None:
    from nirank.experiments import report

    console.print(report.tuning_table(tuned))
    for line in tuned.notes():
        console.print(line, style="dim", markup=False)


def _tell(console: Console, fitted: Fitted | FittedFusion) -> None:
    from nirank.experiments import report

    console.print(report.training_line(fitted), markup=False)


def _typed_queries() -> Iterator[str]:
    """The queries that are typed, with a history that the next session has too; or the lines that are piped in."""
    if not sys.stdin.isatty():
        yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        return
    with _history() as remember, suppress(EOFError):
        while True:
            if (text := input("search> ")).strip():
                remember(text)
                yield text


@contextmanager
def _history() -> Iterator[Callable[[str], None]]:
    """Keep what is typed in a file of the cache folder; nothing where Python has no readline, as on Windows."""
    try:
        import readline
    except ImportError:
        yield lambda text: None
        return
    from nirank.files import cache_folder

    path = cache_folder() / "search-history"
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(_LINES_OF_HISTORY)
    readline.set_auto_history(False)  # which would keep empty lines, too
    try:
        yield readline.add_history
    finally:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)


def _stages(settings: list[str] | None) -> dict[str, dict[str, Any]]:
    """`bm25.k1=0.9` as tables of an experiment."""
    stages: dict[str, dict[str, Any]] = {}
    for setting in settings or []:
        stage, key, value = _setting(setting, "--set takes STAGE.SETTING=VALUE")
        stages.setdefault(stage, {})[key] = value
    return stages


def _observers(given: list[str] | None, described: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`trace` and `trace.file=x.json` as tables of an experiment, beside those that are `described` in it."""
    observers = {name: dict(settings) for name, settings in described.items()}
    for text in given or []:
        if text.isidentifier():
            observers.setdefault(text, {})
        else:
            name, key, value = _setting(text, "--with takes NAME or NAME.SETTING=VALUE")
            observers.setdefault(name, {})[key] = value
    return observers


def _switched_on(given: list[str] | None) -> AbstractContextManager[None]:
    from nirank.plugins import observers

    return observers.switched_on([observers.build(name, settings) for name, settings in _observers(given, {}).items()])


def _setting(text: str, expected: str) -> tuple[str, str, Any]:
    """`bm25.k1=0.9` in its three parts; values are those of TOML, and bare words are texts."""
    import tomllib

    place, equals, value = text.partition("=")
    owner, dot, key = place.partition(".")
    if not (equals and dot and owner and key):
        raise BadInput(f"{expected}; got {text!r}.")
    try:
        return owner, key, tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return owner, key, value


def _of_observer(name: str) -> Any:
    from nirank.plugins import observers

    function = observers.command(name)
    if function is None:
        return None
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(_with_help(function))
    return typer.main.get_command(alone)


def _with_help(function: Callable[..., None]) -> Callable[..., None]:
    """The command of an observer for typer, which the observer need not import: `Annotated[int, "what it says"]`."""

    @functools.wraps(function)
    def command(**values: Any) -> None:
        function(**values)

    hints = get_type_hints(function, include_extras=True)
    command.__annotations__ = {name: _as_option(hint) for name, hint in hints.items()}
    parameters = inspect.signature(function).parameters.values()
    own = [each.replace(annotation=command.__annotations__.get(each.name, Any)) for each in parameters]
    vars(command)["__signature__"] = inspect.Signature(own)
    return command


def _as_option(hint: Any) -> Any:
    if get_origin(hint) is not Annotated:
        return hint
    kind, *said = get_args(hint)
    return Annotated[kind, typer.Option(help=" ".join(map(str, said)))]


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def _print_found(opened: Workspace, query: str, k: int, as_json: bool, snippets: bool, explain: bool) -> None:
    candidates = opened.find(query, k)
    docs, scores = candidates[0]
    parts = opened.snippets(query, docs) if snippets else []
    reasons = opened.explanations(query, docs) if explain else []
    if not as_json:
        _console().print(_found_table(opened, query, docs, scores, parts))
        _print_lost(candidates.lost)
        _print_reasons(opened, docs, reasons)
        return
    from nirank.experiments import found

    lost = {"lost": list(candidates.lost)} if candidates.lost else {}
    _print_json({"query": query, "results": found.as_json(opened.corpus, docs, scores, parts, reasons), **lost})


def _print_lost(lost: Sequence[str]) -> None:
    """Say that documents are missing."""
    from nirank.showing.terminal import shown

    if lost:
        told = f"Not searched, for no answer came: {', '.join(lost)}. Documents may be missing."
        _console().print(shown(told, style="bold red"))


def _print_reasons(opened: Workspace, docs: Ints, reasons: Sequence[Explanation]) -> None:
    from nirank.experiments import explained
    from nirank.experiments.report import shown

    for place, (doc, reason) in enumerate(zip(docs.tolist(), reasons, strict=False), start=1):
        _console().print(shown(f"\n{place}  {opened.corpus.ids[doc]}", style="bold"))
        _console().print(explained.tree(reason))
        if reason.document_marks:
            _console().print(explained.marked(reason))


def _found_table(opened: Workspace, query: str, docs: Ints, scores: Floats, parts: Sequence[Snippet]) -> Table:
    from rich.table import Table

    from nirank.experiments import found
    from nirank.showing.terminal import shown

    table = Table(title=shown(query), title_justify="left", show_header=False, box=None)
    for place, (doc, score) in enumerate(zip(docs.tolist(), scores.tolist(), strict=True)):
        content = _marked(parts[place]) if parts else shown(" ".join(found.as_text(opened.corpus[doc]).split())[:200])
        table.add_row(str(place + 1), f"{score:.4f}", shown(opened.corpus.ids[doc], style="bold"), content)
    if not len(docs):
        table.add_row("nothing found")
    return table


def _marked(part: Snippet) -> Text:
    """A snippet with the words of the query in bold; its white space is blanks, each of as many characters."""
    from nirank.showing.terminal import shown

    text = shown("".join(" " if letter.isspace() else letter for letter in part.text))
    for start, stop in part.matches:
        text.stylize("bold", start - part.start, stop - part.start)
    return text
