"""An experiment, read from TOML and checked.

    collection = "emoji"                      # a collection's name, or a table with its settings
    pipeline = "bm25 % 100 >> minilm"         # or a table [pipelines] of several, to be compared

    [stage.bm25]                              # a stage that is not named here has its defaults
    use = "generator/bm25"
    k1 = 0.9

    [evaluate]
    measures = ["nDCG@10", "RR@10", "AP", "R@100"]

    [train.minilm]                            # `nirank train` trains this stage first (`nirank.experiments.recipe`)
    loss = "softmax_cross_entropy"
    sampler = "in_batch"
    collection = { use = "emoji", split = "train" }

    [plugin.cache]                            # switches an observer on (`nirank.plugins.observers`), with its settings
    gigabytes = 2

Expressions are parsed, never executed. Every error names the file, the table and what is accepted.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from nirank.build import collection
from nirank.data.collection import Collection
from nirank.errors import BadInput, NirankError, UnknownName
from nirank.evaluation.evaluating import MEASURES, check_measures, check_ties
from nirank.files import as_path, small_text
from nirank.hints import fits
from nirank.pipeline.algebra import Ranking, Stage, load
from nirank.pipeline.expression import parse
from nirank.plugins import observers

if TYPE_CHECKING:
    from nirank.evaluation.evaluating import Ties
    from nirank.evaluation.significance import Test
    from nirank.experiments.recipe import Recipe


@dataclass(frozen=True)
class Evaluate:
    """The table [evaluate]: what is measured and how systems are compared.

    `baseline` is the pipeline that the others are compared with (the first unless given), `test` the
    significance test ("randomisation" or "t"), `latency` how many queries are asked one at a time (0: none), `ties`
    the order of equal scores by document id ("falling", as trec_eval has it, or "rising", as Anserini).
    """

    measures: list[str] = field(default_factory=lambda: list(MEASURES))
    baseline: str | None = None
    test: Test = "randomisation"
    latency: int = 0
    ties: Ties = "falling"


@dataclass(frozen=True)
class Experiment:
    """An experiment as it is written: collection, pipelines, stages, training, measures, observers.

    `commanded` are the settings of observers (`log.file`) that do not come from the file `path`, but from the user.
    """

    name: str
    collection: dict[str, Any]
    pipelines: dict[str, str]
    stage: dict[str, dict[str, Any]] = field(default_factory=dict)
    train: dict[str, dict[str, Any]] = field(default_factory=dict)
    evaluate: Evaluate = field(default_factory=Evaluate)
    plugin: dict[str, dict[str, Any]] = field(default_factory=dict)
    seed: int = 0
    path: Path | None = None
    commanded: frozenset[str] = frozenset()

    @classmethod
    def given(cls, experiment: Experiment | str | Path | Mapping[str, Any]) -> Experiment:
        """Itself, or from the path of a file, or from a dictionary. Raises as `read` and `of` do."""
        if isinstance(experiment, Experiment):
            return experiment
        return cls.of(experiment) if isinstance(experiment, Mapping) else cls.read(as_path(experiment, "an experiment"))

    @classmethod
    def read(cls, path: str | Path) -> Experiment:
        """Read a TOML file. Raises `BadInput` or `UnknownName` with the file, the table and what is accepted."""
        path = Path(path)
        try:
            table = tomllib.loads(small_text(path) if path.is_file() else path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadInput(f"this is not TOML: {error}", path) from None
        except OSError as error:
            raise BadInput(f"cannot be read: {error.strerror}.", path) from None
        return cls.of(table, path)

    @classmethod
    def of(cls, table: Mapping[str, Any], path: Path | None = None) -> Experiment:
        """From a table as TOML gives it."""
        where = str(path or "experiment")
        _check_keys(table, [*_KEYS, "pipeline"], where, "the top level")
        if ("pipeline" in table) == ("pipelines" in table):
            raise BadInput("either `pipeline` or a table [pipelines] is expected, and not both.", where)
        name = table.get("name", "-".join(path.stem.split()) if path else "experiment")
        _expect_name(name, where, "name")
        options = table.get("evaluate", {})
        _check_keys(options, [option.name for option in fields(Evaluate)], where, "[evaluate]")
        experiment = cls(
            name=name,
            collection=_collection_table(table, where),
            pipelines=_pipelines(table, name, where),
            stage=_tables(table, "stage", where),
            train=_tables(table, "train", where),
            evaluate=Evaluate(**options),
            plugin=_tables(table, "plugin", where),
            seed=table.get("seed", 0),
            path=path,
        )
        experiment._check(where)
        return experiment

    def _check(self, where: str) -> None:
        for name, text in self.pipelines.items():
            _expect_name(name, where, "a pipeline's name")
            _expect(text, str, where, f"pipelines.{name}")
        for name, settings in self.stage.items():
            _expect(settings.get("use", name), str, where, f"[stage.{name}] use")
        _expect_count(self.seed, where, "seed")
        _expect_count(self.evaluate.latency, where, "[evaluate] latency")
        self._check_comparison(where)
        measures = self.evaluate.measures
        if not isinstance(measures, list) or not measures or not all(isinstance(name, str) for name in measures):
            raise BadInput(f"[evaluate] measures = {measures!r} is not a list of names.", where)
        with naming(f"{where}: [evaluate] measures"):
            check_measures(measures)
        self.recipes()

    def recipes(self) -> list[Recipe]:
        """The recipes of training, one for each table [train.NAME]; raises for a wrong one."""
        if not self.train:
            return []
        from nirank.experiments.recipe import Recipe

        found = []
        for name, table in self.train.items():
            with naming(f"{self.where}: [train.{name}]"):
                if name not in _names_in(self.pipelines.values()):
                    raise UnknownName("stage", name, _names_in(self.pipelines.values()))
                found.append(Recipe.of(name, table, self.seed, self.evaluate.measures[0]))
        return found

    def _check_comparison(self, where: str) -> None:
        from nirank.evaluation.significance import Test

        _expect(self.evaluate.ties, str, where, "[evaluate] ties")
        with naming(f"{where}: [evaluate] ties"):
            check_ties(self.evaluate.ties)
        test, baseline = self.evaluate.test, self.evaluate.baseline
        _expect(test, str, where, "[evaluate] test")
        if test not in get_args(Test):
            raise UnknownName("test", test, get_args(Test), f"({where}: [evaluate] test)")
        if baseline is not None:
            _expect(baseline, str, where, "[evaluate] baseline")
            if baseline not in self.pipelines:
                raise UnknownName("pipeline", baseline, self.pipelines, f"({where}: [evaluate] baseline)")

    def build(self, stages: dict[str, Stage] | None = None) -> dict[str, Ranking]:
        """The pipelines, their components built; one stage is one component, however many pipelines use it.

        The stages that they are made of are added to `stages`, by name.
        """
        stages = {} if stages is None else stages
        stages |= {name: self._stage(name, settings) for name, settings in self.stage.items()}
        unused = stages.keys() - _names_in(self.pipelines.values())
        if unused:
            raise UnknownName("pipeline that uses stage", min(unused), _names_in(self.pipelines.values()), self.where)
        return {name: self._ranking(name, text, stages) for name, text in self.pipelines.items()}

    def _stage(self, name: str, settings: Mapping[str, Any]) -> Stage:
        given = {key: value for key, value in settings.items() if key != "use"}
        with naming(f"{self.where}: [stage.{name}]"):
            return load(settings.get("use", name), name, **given)

    def open(self) -> Collection:
        """The collection that is searched."""
        settings = dict(self.collection)
        with naming(f"{self.where}: collection"):
            return collection(settings.pop("use"), **settings)

    def observers(self) -> list[Any]:
        """The observers that the experiment switches on, built; see `nirank.plugins.observers`."""
        built = []
        for name, settings in self.plugin.items():
            with naming(f"{self.where}: [plugin.{name}]"):
                own = {setting for setting in settings if f"{name}.{setting}" not in self.commanded}
                built.append(observers.build(name, settings, confined=own if self.path else ()))
        return built

    def _ranking(self, name: str, text: str, stages: dict[str, Stage]) -> Ranking:
        with naming(f"{self.where}: pipelines.{name} = {text!r}"):
            for part in sorted(_names_in([text]) - stages.keys()):  # in an order that a seed can be relied on in
                stages[part] = load(part)
            pipeline = parse(text, stages)
            if not isinstance(pipeline, Ranking):
                raise BadInput(f"{text!r} scores documents but finds none: put a generator before it, `bm25 >> ...`.")
            return pipeline

    @property
    def where(self) -> str:
        """The name that messages give it: its file, or its name."""
        return str(self.path or self.name)

    @property
    def plugin_file(self) -> Path | None:
        """The `nirank_plugin.py` beside the experiment, if there is one."""
        beside = self.path.parent / "nirank_plugin.py" if self.path else None
        return beside if beside and beside.exists() else None

    def as_table(self) -> dict[str, Any]:
        """The experiment as TOML would hold it, every option written out."""
        table = asdict(self)
        del table["path"], table["commanded"]
        return table


_KEYS = ("name", "collection", "pipelines", "stage", "train", "evaluate", "plugin", "seed")


def _pipelines(table: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    pipelines = table.get("pipelines", {name: table.get("pipeline")})
    _expect_table(pipelines, where, "[pipelines]")
    if not pipelines:
        raise BadInput("[pipelines] is empty: at least one line `NAME = EXPRESSION` is expected.", where)
    return dict(pipelines)


def _tables(table: Mapping[str, Any], key: str, where: str) -> dict[str, dict[str, Any]]:
    """The tables [key.NAME], by name."""
    tables = table.get(key, {})
    _expect_table(tables, where, f"[{key}]")
    for name, settings in tables.items():
        _expect_table(settings, where, f"[{key}.{name}]")
    return {name: dict(settings) for name, settings in tables.items()}


def _collection_table(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    given = table.get("collection")
    if isinstance(given, str):
        return {"use": given}
    if not isinstance(given, dict) or not isinstance(given.get("use"), str):
        raise BadInput('`collection = "NAME"`, or a table [collection] with `use = "NAME"`, is expected.', where)
    return dict(given)


def _check_keys(table: Any, known: list[str], where: str, place: str) -> None:
    _expect_table(table, where, place)
    for key in table:
        if key not in known:
            raise UnknownName("key", key, known, f"({where}: {place})")


def _expect_table(value: Any, where: str, place: str) -> None:
    if not isinstance(value, Mapping):
        raise BadInput(f"{place} is {value!r}; a table is needed.", where)


def _expect(value: Any, kind: type, where: str, place: str) -> None:
    if not fits(value, kind):
        raise BadInput(f"{place} = {value!r} is not of the type {kind.__name__}.", where)


def _expect_count(value: Any, where: str, place: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadInput(f"{place} = {value!r} is not a whole number of 0 or more.", where)


#: Bytes; what nirank adds to a name fits into the 255 that a file's may have.
_LONGEST_NAME = 200


def _expect_name(value: Any, where: str, place: str) -> None:
    """Check a name: names become those of files, and the tags of TREC runs."""
    if not isinstance(value, str):
        fault = "is not a text"
    elif not value:
        fault = "is empty"
    elif len(value.encode()) > _LONGEST_NAME:
        fault = f"has {len(value.encode())} bytes, and may have {_LONGEST_NAME}"
    elif odd := re.search(r"[\s/\\\x00-\x20\x7f]|\.\.", value):
        fault = "contains a space" if odd[0] == " " else f"contains {odd[0]!r}"
    else:
        return
    raise BadInput(f"{place} = {value!r} {fault}; names become file names. Use letters, digits, - and _.", where)


def _names_in(expressions: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for text in expressions:
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except SyntaxError:
            continue  # reported by parse, with the text
        called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called}
    return names


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Add to errors raised inside the place in the experiment that they come from."""
    try:
        yield
    except NirankError as error:
        error.add_note(place)
        raise
