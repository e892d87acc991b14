"""Pipelines, and what is put into them and comes out, in a pickle: the same in another process, to the bit."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")
pytest.importorskip("numba")

import nirank
from nirank.component import Component
from nirank.data import Candidates, Collection, Corpus, Documents, Queries
from nirank.errors import BadInput, PluginError, StaleIndex
from nirank.execution import indexes
from nirank.plugins import Plugin, active, load_file
from nirank.testing.samples import LetterEncoder

CORPUS = Documents(
    [f"d{number}" for number in range(40)],
    ["a small cat", "cats and dogs", "a long bridge", "the cat on a bridge"] * 10,
    {"year": [1990 + number for number in range(40)]},
)
QUERIES = Queries(["one", "two", "three"], ["cat", "a bridge", "dogs of a bridge"])


def shared_letters(query, document):
    return float(len(set(query) & set(document)))


def both(query):
    return [query, f"{query} cat"]


def length(query):
    return "long" if len(query) > 4 else "short"


def letter(query, document):
    return [len(document), document.count("a")]


class Loud:
    """Writes a document once more."""

    def write(self, contents):
        return [str(content).upper() for content in contents]


class ByLength:
    """Ranks by the first feature."""

    reads = "features"

    def score(self, queries, candidates):
        return candidates.features.values[:, 0]


def old(queries, candidates):
    return candidates.where(candidates.docs % 2 == 0)


def _pipelines():
    bm25, ql, letters = nirank.load("bm25", b=0.3), nirank.load("ql"), nirank.load(LetterEncoder(), name="letters")
    spelling, exact = nirank.load("spelling"), nirank.load("exact")
    yield bm25
    yield bm25 % 7
    yield (bm25 % 20 | letters >> exact % 5) >> 0.3 * bm25 + letters
    yield nirank.fuse(bm25, letters >> exact, weights=[1.0, 2.0])
    yield nirank.rewrite(spelling) >> bm25
    yield bm25 >> nirank.where("year < 2010")
    yield bm25 >> nirank.apply(old) >> nirank.score_by(shared_letters)
    yield bm25 >> nirank.load("rm3") >> nirank.load("bm25")
    yield bm25 & ql ^ ql % 9
    yield nirank.passages(bm25, words=3)
    yield nirank.expanded(bm25, nirank.load(Loud()))
    yield bm25 >> nirank.features(ql, nirank.describe_by(letter, ["length", "a"])) >> nirank.load(ByLength())
    yield nirank.variants(both) >> bm25
    yield nirank.route(length, {"long": bm25, "short": ql})
    yield bm25 >> nirank.normalise(ql, "minmax") + nirank.scores(bm25 % 5, missing="min")
    yield bm25 % 20 >> nirank.top(5, ql)
    yield nirank.sharded(bm25, shards=2, on="here")
    yield nirank.sharded(nirank.load("bm25"), shards=2)


def _data():
    run = nirank.load("bm25").search(QUERIES, CORPUS).over(CORPUS)
    return {
        "Documents": CORPUS,
        "Queries": QUERIES,
        "Candidates": run,
        "Collection": Collection("small", CORPUS, QUERIES, run.top(3)),
        "Evaluation": nirank.evaluate(run, run.top(3), ["nDCG@10", "AP"]),
        "Vectors": QUERIES.with_vectors(LetterEncoder().encode(QUERIES)),
        "Found": QUERIES.with_found(run),
    }


PIPELINES = {repr(pipeline): pipeline for pipeline in _pipelines()}
NAMES = ["Documents", "Queries", "Candidates", "Collection", "Evaluation", "Vectors", "Found"]


@dataclass(frozen=True)
class Asked:
    """A pipeline with what it is asked."""

    pipeline: Any
    queries: Queries
    corpus: Corpus


def columns(value: Any) -> list[Any]:
    """What a value holds, as plain columns."""
    if isinstance(value, Asked):
        return columns(value.pipeline.search(value.queries, value.corpus))
    if isinstance(value, Candidates):
        return [value.offsets, value.docs, value.scores, value.query_ids and list(value.query_ids)]
    if isinstance(value, Queries):
        own = [list(value.ids), list(value.contents), value.vectors]
        return own + (columns(value.found) if value.found is not None else [])
    if isinstance(value, Collection):
        parts = value.corpus, value.queries, value.judgments
        return [value.name, *(column for part in parts for column in columns(part))]
    if isinstance(value, nirank.Evaluation):
        return [*value.values, *value.values.values(), *value.mean.items(), list(value.query_ids)]
    fields = [value.column(name, slice(None)) for name in value.fields]
    return [list(value.ids), list(value[:]), value.fingerprint, value.fields, fields]


def answer(folder: Path) -> None:
    """Read every pickle of a folder, and write what it holds."""
    for path in sorted(folder.glob("*.pickle")):
        path.with_suffix(".answer").write_bytes(pickle.dumps(columns(pickle.loads(path.read_bytes()))))


@pytest.fixture(scope="module")
def values():
    """All that is pickled, by name: of pipelines with what they are asked, and their indexes open."""
    for pipeline in PIPELINES.values():
        pipeline.index(CORPUS)
    return {name: Asked(pipeline, QUERIES, CORPUS) for name, pipeline in PIPELINES.items()} | _data()


@pytest.fixture(scope="module")
def elsewhere(values, tmp_path_factory):
    """What every value holds in another process, by its name."""
    folder = tmp_path_factory.mktemp("pickles")
    for number, value in enumerate(values.values()):
        (folder / f"{number}.pickle").write_bytes(pickle.dumps(value))
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import answer, Path; answer(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    return {name: pickle.loads((folder / f"{number}.answer").read_bytes()) for number, name in enumerate(values)}


def _same(here, there):
    assert len(here) == len(there)
    for own, other in zip(here, there, strict=True):
        if isinstance(own, np.ndarray):
            assert (own.dtype, own.shape, own.tobytes()) == (other.dtype, other.shape, other.tobytes())
        else:
            assert own == other


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_finds_the_same_in_another_process(values, elsewhere, name):
    here = columns(values[name])
    assert len(here[1])
    _same(here, elsewhere[name])


@pytest.mark.parametrize("name", NAMES)
def test_data_are_the_same_in_another_process(values, elsewhere, name):
    _same(columns(values[name]), elsewhere[name])


LEARNING = [each for each in active().registry if each.kind in ("loss", "sampler")]


@pytest.mark.parametrize("entry", LEARNING, ids=lambda entry: entry.spec)
def test_losses_and_samplers_can_be_pickled(entry):
    if entry.kind == "loss":
        pytest.importorskip("torch")
    made = Component(entry.name, entry.resolve_tiny()(), {}, entry)
    again = pickle.loads(pickle.dumps(made))
    assert (again.name, type(again.target), again.entry) == (made.name, type(made.target), made.entry)


def test_what_is_open_is_left_out_of_a_pickle_and_opened_where_it_was():
    bm25 = nirank.load("bm25")
    closed = len(pickle.dumps(bm25))
    found = bm25.search(QUERIES, CORPUS)
    assert len(pickle.dumps(bm25)) < closed + 200
    again = pickle.loads(pickle.dumps(bm25))
    assert again.component.opened is None
    assert again.component.target.corpus is None
    _same(columns(found), columns(again.search(QUERIES, CORPUS)))
    assert again.component.opened.folder == bm25.component.opened.folder


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_an_index_in_a_folder_of_its_own_is_found_there_again(duplicate, tmp_path, monkeypatch):
    bm25 = nirank.load("bm25")
    bm25.index(CORPUS, tmp_path / "named")
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    again = duplicate(bm25)
    _same(columns(bm25.search(QUERIES, CORPUS)), columns(again.search(QUERIES, CORPUS)))
    assert again.component.target is not bm25.component.target
    assert again.component.opened.folder.parent == tmp_path / "named"
    bm25.search(QUERIES, Documents(["x"], ["cat"]))
    bm25.search(QUERIES, CORPUS)
    assert bm25.component.opened.folder.parent == tmp_path / "named"
    assert not list((tmp_path / "cache").glob("indexes/*/manifest.json"))[1:]


def test_a_folder_that_held_another_index_is_not_remembered(tmp_path):
    bm25 = nirank.load("bm25")
    bm25.index(CORPUS, tmp_path / "named")
    other = bm25.component.opened.folder
    with pytest.raises(StaleIndex):
        indexes.prepare(bm25.component, Documents(["x"], ["cat"]), folder=other)
    assert bm25.search(["cat"], Documents(["x"], ["cat"])).pairs == 1


def test_an_index_that_is_gone_is_made_again(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    bm25 = nirank.load("bm25")
    bm25.index(CORPUS, tmp_path / "named")
    again, expected = pickle.dumps(bm25), columns(bm25.search(QUERIES, CORPUS))
    shutil.rmtree(tmp_path / "named")
    _same(expected, columns(pickle.loads(again).search(QUERIES, CORPUS)))


def test_one_component_in_two_places_stays_one():
    bm25 = nirank.load("bm25")
    again = pickle.loads(pickle.dumps(bm25 % 5 >> 0.5 * bm25))
    (component,) = set(again.components())
    assert component.entry == bm25.component.entry


def test_an_index_for_several_encoders_keeps_them_apart():
    exact, encoders = nirank.load("exact"), [nirank.load(LetterEncoder(), name=name) for name in ("one", "two")]
    both = nirank.fuse(*(encoder >> exact for encoder in encoders))
    again = pickle.loads(pickle.dumps(both))
    assert len({id(component) for component in again.components()}) == 4
    _same(columns(both.search(QUERIES, CORPUS)), columns(again.search(QUERIES, CORPUS)))


def test_middleware_is_that_of_the_plugins_that_are_there(monkeypatch):
    from types import SimpleNamespace

    from nirank.hooks import hookimpl

    bm25 = nirank.load("bm25")
    sent, calls = pickle.dumps(bm25), []

    def counting(call, method, *inputs):
        calls.append(method)
        return call(*inputs)

    counter = SimpleNamespace(nirank_wrap=hookimpl(lambda component: counting))
    active().listen(counter, "a test")
    try:
        again = pickle.loads(sent)
    finally:
        active().manager.unregister(counter)
    again.search(QUERIES, CORPUS)
    assert calls == ["generate"]
    back = pickle.loads(pickle.dumps(again))
    back.search(QUERIES, CORPUS)
    assert calls == ["generate"]


FILE = """
from nirank import hookimpl

class Shortest:
    def score(self, queries, candidates):
        return [-len(text) for text in candidates.corpus[candidates.docs]]

@hookimpl
def nirank_register(registry):
    registry.add("scorer", "shortest_here", f"{__name__}:Shortest")
"""


def test_a_component_of_a_file_brings_the_file(tmp_path):
    path = tmp_path / "nirank_plugin.py"
    path.write_text(FILE)
    plugin = load_file(path)
    ranking = nirank.load("bm25") % 9 >> nirank.load("shortest_here")
    expected, sent = columns(ranking.search(QUERIES, CORPUS)), pickle.dumps(ranking)
    plugins = active()
    plugins.manager.unregister(plugin.module)
    plugins.registry.remove(plugin)
    plugins.known.remove(plugin)
    del sys.modules[plugin.module.__name__]
    _same(expected, columns(pickle.loads(sent).search(QUERIES, CORPUS)))
    path.unlink()
    plugins.known.remove(next(each for each in plugins.known if each.name == str(path)))
    with pytest.raises(PluginError, match=r"nirank_plugin.py, which is not there in this process. Install it here"):
        pickle.loads(sent)


def test_a_plugin_that_is_not_there_is_told():
    sent = pickle.dumps(Plugin("elsewhere", "somebody-s", "1.0"))
    told = r"of the plugin elsewhere \(somebody-s 1.0\), which is not there in this process. .* NIRANK_PLUGINS"
    with pytest.raises(PluginError, match=told):
        pickle.loads(sent)


def test_a_function_without_a_name_is_refused_and_copied():
    ranking = nirank.load("bm25") >> nirank.where(lambda content: "cat" in content)
    with pytest.raises(BadInput, match="cannot be pickled, for another process finds it under no name"):
        pickle.dumps(ranking)
    _same(
        columns(ranking.search(QUERIES, CORPUS)),
        columns(copy.deepcopy(ranking).search(QUERIES, CORPUS)),
    )


class Opaque(LetterEncoder):
    """Of its vectors nothing can be known from its attributes."""

    def __init__(self):
        self.held = object


def test_an_index_of_an_object_of_which_nothing_is_known_is_found_again():
    ranking = nirank.load(Opaque(), name="opaque") >> nirank.load("exact")
    ranking.index(CORPUS)
    again = pickle.loads(pickle.dumps(ranking))
    again.index(CORPUS)
    folders = [next(each.opened.folder for each in one.components() if each.opened) for one in (ranking, again)]
    assert folders[0] == folders[1]


def test_ids_that_were_read_can_be_pickled():
    assert CORPUS.ids.take([3, 1]) == ["d3", "d1"]
    assert list(pickle.loads(pickle.dumps(CORPUS.ids))) == list(CORPUS.ids)
