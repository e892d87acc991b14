"""An experiment, read from TOML and checked.

    collection = "emoji"                      # a collection's name, or a table with its settings
    pipeline = "bm25 % 100 >> minilm"         # or a table [pipelines] of several, to be compared

    [stage.bm25]                              # a stage that is not named here has its defaults
    use = "generator/bm25"
    k1 = 0.9

    [stage.dalle]
    vae = "@dvae"                             # a setting may name a stage (`nirank.experiments.named_stages`)

    [evaluate]
    measures = ["nDCG@10", "RR@10", "AP", "R@100"]

    [train.minilm]                            # `nirank train` trains this stage first (`nirank.experiments.recipe`)
    loss = "softmax_cross_entropy"
    sampler = "in_batch"
    collection = { use = "emoji", split = "train" }

    [numbers]                                 # numbers that pipelines name: "bm25 % depth >> minilm"
    depth = 100

    [tune]                                    # `nirank tune` looks for the best values (`nirank.experiments.space`)
    collection = { use = "emoji", split = "dev" }
    bm25.k1 = [0.6, 0.9, 1.2]

    [write.queries]                           # a field of documents, written before they are indexed
    use = "doc2query"
    append = false                            # and not put behind the content: a stage says `field = "queries"`

    [folds]                                   # everything is trained and tuned in each fold (`.folding`)
    count = 5

    [plugin.cache]                            # switches an observer on (`nirank.plugins.observers`), with its settings
    gigabytes = 2

Expressions are parsed, never executed. Every error names the file, the table and what is accepted.
"""

from __future__ import annotations

import ast
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from nirank.build import opened_of
from nirank.data.collection import Collection
from nirank.errors import BadInput, NirankError, UnknownName
from nirank.evaluation.evaluating import MEASURES, check_measures, check_ties
from nirank.experiments import named_stages
from nirank.files import as_path, small_text
from nirank.hints import fits
from nirank.pipeline.algebra import Ranking, Stage, as_scoring, load
from nirank.pipeline.expanded import Writing, writer_of
from nirank.pipeline.expression import parse
from nirank.pipeline.named_numbers import NUMBERS, with_numbers
from nirank.plugins import observers
from nirank.plugins.assembly import seeded

if TYPE_CHECKING:
    from nirank.evaluation.evaluating import Ties
    from nirank.evaluation.significance import Test
    from nirank.experiments.folding import Folding
    from nirank.experiments.fusion_recipe import FusionRecipe
    from nirank.experiments.recipe import Recipe
    from nirank.experiments.space import Tuning


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
    numbers: dict[str, float] = field(default_factory=dict)
    train: dict[str, dict[str, Any]] = field(default_factory=dict)
    tune: dict[str, Any] = field(default_factory=dict)
    write: dict[str, dict[str, Any]] = field(default_factory=dict)
    folds: dict[str, Any] = field(default_factory=dict)
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
            numbers=_numbers(table, where),
            train=_tables(table, "train", where),
            tune=_table(table, "tune", where),
            write=_tables(table, "write", where),
            folds=_table(table, "folds", where),
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
        for kind, tables in {"stage": self.stage, "write": self.write}.items():
            for name, settings in tables.items():
                _expect(settings.get("use", name), str, where, f"[{kind}.{name}] use")
        with naming(f"{where}: [stage]"):
            named_stages.in_order(self.stage, self.stage)
        _expect_count(self.seed, where, "seed")
        _expect_count(self.evaluate.latency, where, "[evaluate] latency")
        self._check_comparison(where)
        measures = self.evaluate.measures
        if not isinstance(measures, list) or not measures or not all(isinstance(name, str) for name in measures):
            raise BadInput(f"[evaluate] measures = {measures!r} is not a list of names.", where)
        with naming(f"{where}: [evaluate] measures"):
            check_measures(measures)
        self._check_numbers(where)
        self.recipes()
        self.fusions()
        self.tuning()
        self.folding()

    def _check_numbers(self, where: str) -> None:
        named = _names_in(self.pipelines.values())
        for name in self.numbers:
            if name in self.stage:
                raise BadInput(f"{name} is both a stage and one of [numbers]: rename one.", where)
            if name not in named:
                raise UnknownName("name in the pipelines", name, named, f"({where}: [numbers])")

    @property
    def expressions(self) -> dict[str, str]:
        """The pipelines by name, with numbers in the place of their names."""
        return {name: with_numbers(text, self.numbers) for name, text in self.pipelines.items()}

    @property
    def stage_names(self) -> set[str]:
        """The names of the stages that pipelines are made of."""
        return _names_in(self.expressions.values())

    @property
    def names_learned_from(self) -> set[str]:
        """The names of the stages that teachers, samplers and pipelines of trainings are made of."""
        return _names_in(text for table in self.train.values() for key in _LEARNED for text in _texts(table.get(key)))

    @property
    def names_in_settings(self) -> set[str]:
        """The names of the stages that settings of others name (`vae = "@dvae"`), or collections of trainings."""
        return {name for table in self._needs.values() for name in named_stages.named_by(table)}

    @property
    def _needs(self) -> dict[str, dict[str, Any]]:
        """The settings of each stage, and those of the collection that it is trained on."""
        found = {name: dict(table) for name, table in self.stage.items()}
        for name, table in self.train.items():
            collection = table.get("collection")
            if isinstance(collection, Mapping):
                learned = {f"collection.{key}": value for key, value in collection.items()}
                found[name] = {**found.get(name, {}), **learned}
        return found

    def learned(self) -> Experiment:
        """The experiment with nothing to train, and without the stages that only training needed."""
        needed = named_stages.in_order(self.stage_names, self.stage)
        stage = {name: table for name, table in self.stage.items() if name in needed}
        return replace(self, stage=stage, train={})

    def tuning(self) -> Tuning | None:
        """The settings that are tuned, and how; None without a table [tune]. Raises for a wrong one."""
        if not self.tune:
            return None
        from nirank.experiments.space import Tunable, Tuning

        names = {name: _ordered_names([text]) for name, text in self.pipelines.items()}
        with naming(f"{self.where}: [tune]"):
            return Tuning.of(self.tune, Tunable(names, self.stage, self.numbers), self.evaluate.measures[0])

    def folding(self) -> Folding | None:
        """The way that queries are dealt into folds; None without a table [folds]. Raises for a wrong one."""
        if not self.folds:
            return None
        from nirank.experiments.folding import Folding

        with naming(f"{self.where}: [folds]"):
            if not self.train and not self.tune:
                raise BadInput("nothing is trained or tuned, so there is nothing to do in folds: leave the table out.")
            return Folding.of(self.folds, self.seed)

    def at(self, values: Mapping[str, Any]) -> Experiment:
        """The experiment with other settings (`bm25.k1`) and numbers (`numbers.weight`), and nothing to tune."""
        stage, numbers = {name: dict(table) for name, table in self.stage.items()}, dict(self.numbers)
        for name, value in values.items():
            owner, _, setting = name.partition(".")
            (numbers if owner == NUMBERS else stage.setdefault(owner, {}))[setting] = value
        return replace(self, stage=stage, numbers=numbers, tune={})

    def with_pipeline(self, name: str, text: str) -> Experiment:
        """The experiment with another expression for a pipeline, and without numbers that none names any more."""
        pipelines = {**self.pipelines, name: text}
        named = _names_in(pipelines.values())
        numbers = {number: value for number, value in self.numbers.items() if number in named}
        return replace(self, pipelines=pipelines, numbers=numbers)

    def fusions(self) -> list[FusionRecipe]:
        """The recipes of fusions, one for each table [train.NAME] of a pipeline; raises for a wrong one."""
        if not any(map(self._is_fusion, self.train)):
            return []
        from nirank.experiments.fusion_recipe import FusionRecipe

        found = []
        for name in filter(self._is_fusion, self.train):
            with naming(f"{self.where}: [train.{name}]"):
                recipe = FusionRecipe.of(name, self.train[name], self.seed, self.evaluate.measures[0], bool(self.folds))
                found.append(replace(recipe, open=self.opened))
        return found

    def _is_fusion(self, name: str) -> bool:
        """True for a table [train.NAME] that is no stage's: it is that of a pipeline."""
        return name in self.pipelines and name not in self.stage_names

    def recipes(self) -> list[Recipe]:
        """The recipes of training, one for each table [train.NAME] of a stage; raises for a wrong one."""
        if not self.train:
            return []
        from nirank.experiments.recipe import Recipe

        found = []
        for name in named_stages.in_order(self.train, self._needs):
            table = self.train.get(name)
            if table is None or self._is_fusion(name):
                continue
            with naming(f"{self.where}: [train.{name}]"):
                known = self.stage_names | (self.names_learned_from & self.stage.keys()) | self.names_in_settings
                if name not in known:
                    raise UnknownName("stage", name, known)
                table = {key: self._numbered(key, value) for key, value in table.items()}
                recipe = Recipe.of(name, table, self.seed, self.evaluate.measures[0], bool(self.folds))
                found.append(replace(recipe, open=self.opened))
        return found

    def _numbered(self, key: str, value: Any) -> Any:
        return with_numbers(value, self.numbers) if key in ("pipeline", "teacher") else value

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

        `seed` of the experiment is that of every stage which has such a setting and does not say it. The stages that
        they are made of are added to `stages`, by name.
        """
        stages = {} if stages is None else stages
        stages |= self.loaded(self.stage)
        unused = stages.keys() - self.stage_names - self.names_learned_from - self.names_in_settings
        if unused:
            raise UnknownName("pipeline that uses stage", min(unused), self.stage_names, self.where)
        return {name: self.ranking(name, stages) for name in self.pipelines}

    def loaded(self, names: Iterable[str]) -> dict[str, Stage]:
        """The stages of these names, and those that their settings name, their components built."""
        stages: dict[str, Stage] = {}
        for name in named_stages.in_order(names, self.stage):
            settings = named_stages.given(self.stage.get(name, {}), stages.__getitem__)
            own = {key: value for key, value in settings.items() if key != "use"}
            with naming(f"{self.where}: [stage.{name}]"), seeded(self.seed):
                stages[name] = load(settings.get("use", name), name, **own)
        return stages

    def open(self) -> Collection:
        """The collection that is searched."""
        with naming(f"{self.where}: collection"):
            opened = opened_of(self.collection)
        return self.written(opened)

    def opened(self, table: Mapping[str, Any]) -> Collection:
        """Another collection, such as that of dev; what is written for documents is written for its documents too."""
        return self.written(opened_of(table))

    def written(self, opened: Collection) -> Collection:
        """A collection with the fields of the tables [write.FIELD]."""
        for name, table in self.write.items():
            with naming(f"{self.where}: [write.{name}]"):
                opened = replace(opened, corpus=_writing(name, table).of(opened.corpus))
        return opened

    def observers(self) -> list[Any]:
        """The observers that the experiment switches on, built; see `nirank.plugins.observers`."""
        built = []
        for name, settings in self.plugin.items():
            with naming(f"{self.where}: [plugin.{name}]"):
                own = {setting for setting in settings if f"{name}.{setting}" not in self.commanded}
                built.append(observers.build(name, settings, confined=own if self.path else ()))
        return built

    def ranking(self, name: str, stages: dict[str, Stage]) -> Ranking:
        """The pipeline of this name, made of these stages; those that are not among them are loaded, and added."""
        text = self.expressions[name]
        with naming(f"{self.where}: pipelines.{name} = {text!r}"), seeded(self.seed):
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


def _writing(field: str, table: Mapping[str, Any]) -> Writing:
    """Read a table [write.FIELD]: the writer by `use`, `append`, `by` and `keep`; the rest are its settings."""
    own = {name: value for name, value in table.items() if name not in ("use", "append", "by", "keep")}
    by = as_scoring(parse(table["by"])) if "by" in table else None
    writer = writer_of(load(table.get("use", field), **own))
    return Writing(writer, field, table.get("append", True), by, table.get("keep"))


#: What of a table [train.NAME] names stages.
_LEARNED = ("teacher", "sampler", "pipeline")
_KEYS = (
    *("name", "collection", "write", "pipelines", "stage", "numbers"),
    *("train", "tune", "folds", "evaluate", "plugin", "seed"),
)


def _pipelines(table: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    pipelines = table.get("pipelines", {name: table.get("pipeline")})
    _expect_table(pipelines, where, "[pipelines]")
    if not pipelines:
        raise BadInput("[pipelines] is empty: at least one line `NAME = EXPRESSION` is expected.", where)
    return dict(pipelines)


def _table(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    """The table [key]; an empty one where it is not there."""
    found = table.get(key, {})
    _expect_table(found, where, f"[{key}]")
    return dict(found)


def _numbers(table: Mapping[str, Any], where: str) -> dict[str, float]:
    numbers = _table(table, NUMBERS, where)
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise BadInput(f"[numbers] {name} = {value!r} is not a finite number.", where)
    return numbers


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
    return set(_ordered_names(expressions))


def _ordered_names(expressions: Iterable[str]) -> list[str]:
    """The names in expressions, those of functions apart, in the order in which they stand there."""
    names: list[ast.Name] = []
    for text in expressions:
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except SyntaxError:
            continue  # reported by parse, with the text
        called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called]
        names += sorted(found, key=lambda node: (node.lineno, node.col_offset))
    return list(dict.fromkeys(node.id for node in names))


def _texts(given: Any) -> Iterator[str]:
    """All texts in a value of a table: itself, or those in it."""
    if isinstance(given, str):
        yield given
    elif isinstance(given, (list, Mapping)):
        for part in given.values() if isinstance(given, Mapping) else given:
            yield from _texts(part)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Add to errors raised inside the place in the experiment that they come from."""
    try:
        yield
    except NirankError as error:
        error.add_note(place)
        raise
