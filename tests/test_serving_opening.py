"""What is served: an experiment, a folder of `nirank index`, a collection; states, and the command."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import nirank
from nirank.cli import app
from nirank.errors import BadInput, UnknownName
from nirank.experiments import workspace
from nirank.serving import opening, searching
from nirank.serving.state import Holder, State

DOCUMENTS = [
    {"id": "1", "title": "One", "text": "a small cat", "year": 2001},
    {"id": "2", "title": "Two", "text": "the dog", "year": 2002},
    {"id": "3", "title": "Three", "text": "a cat and a dog"},
]


@pytest.fixture
def docs(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text("\n".join(map(json.dumps, DOCUMENTS)))
    return path


@pytest.fixture
def experiment(docs, tmp_path):
    path = tmp_path / "words.toml"
    pipelines = '[pipelines]\nbm25 = "bm25"\nboth = "fuse(bm25, ql)"\n[stage.bm25]\nk1 = 0.5'
    path.write_text(f'collection = "jsonl:{docs}"\n{pipelines}\n')
    return path


def test_an_experiment_is_served_with_all_its_pipelines(experiment, tmp_path):
    source = opening.source(str(experiment))
    state = source.open()
    assert (state.name, [*state.pipelines]) == ("words", ["bm25", "both"])
    assert state.fields == ("title", "text", "year")
    assert source.judgments == tmp_path / "words-judgments"
    (hit, *_) = searching.search(state, "small cat", ["both"])["results"][0]["hits"]
    assert (hit["id"], hit["title"], hit["fields"]) == ("1", "One", {"title": "One", "year": 2001})
    wish = searching.Wish(fields=("text",))
    assert searching.search(state, "small", wish=wish)["results"][0]["hits"][0]["fields"] == {"text": "a small cat"}


def test_pipelines_of_an_experiment_share_components_and_their_indexes(experiment):
    state = opening.source(str(experiment)).open()
    (bm25,) = state.pipelines["bm25"].components()
    assert bm25 in [*state.pipelines["both"].components()]
    assert bm25.opened.corpus is state.corpus


def test_each_state_that_is_opened_has_components_of_its_own(experiment):
    source = opening.source(str(experiment))
    one, two = source.open(), source.open()
    assert one.version == two.version
    parts = [{*map(id, state.pipelines["both"].components())} for state in (one, two)]
    assert not parts[0] & parts[1]


def test_a_folder_is_served_as_it_was_indexed(docs, tmp_path):
    made = workspace.create(tmp_path / "index", f"jsonl:{docs}", "bm25 % 2")
    source = opening.source(str(tmp_path / "index"))
    state = source.open()
    assert (state.name, len(state.corpus), source.judgments.name) == ("index", 3, "index-judgments")
    hits = searching.search(state, "a cat")["results"][0]["hits"]
    docs, scores = made.search("a cat", 10)
    assert [(hit["id"], hit["score"]) for hit in hits] == [
        *zip(made.corpus.ids.take(docs), scores.tolist(), strict=True)
    ]
    assert len(hits) == 2


def test_a_collection_is_served_with_the_pipeline_that_is_named(docs):
    state = opening.source(f"jsonl:{docs}").open()
    assert (state.name, {name: repr(each) for name, each in state.pipelines.items()}) == ("jsonl", {"bm25": "bm25"})
    state = opening.source(f"jsonl:{docs}", "bm25 % 2 >> ql", {"bm25": {"k1": 0.1}}).open()
    assert {name: repr(each) for name, each in state.pipelines.items()} == {"pipeline": "(bm25 % 2) >> ql"}
    assert state.pipelines["pipeline"].components()[0].settings["k1"] == 0.1


@pytest.mark.parametrize("what", ["nothing.toml", "no-such-folder", ".", "jsonl:nothing.jsonl", "", "emojy"])
def test_what_cannot_be_served_is_told(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((BadInput, UnknownName)):
        opening.source(what).open()


def test_a_pipeline_that_orders_nothing_is_refused_before_anybody_asks():
    with pytest.raises(BadInput, match=r"neither = bm25 \| ql"):
        State("toy", nirank.Documents(["1"], ["cat"]), {"neither": nirank.parse("bm25 | ql")})


def test_versions_tell_documents_and_pipelines_apart():
    def version(text, pipeline, **settings):
        ranking = nirank.load(pipeline, **settings) % 10
        return State("toy", nirank.Documents(["1"], [text]), {"one": ranking}).version

    assert version("cat", "bm25") == version("cat", "bm25")
    others = {version("cat", "bm25"), version("dog", "bm25"), version("cat", "ql"), version("cat", "bm25", k1=0.3)}
    assert len(others) == 4


def test_a_swap_gives_the_old_state_back():
    states = [State(name, nirank.Documents(["1"], ["cat"]), {"bm25": nirank.parse("bm25")}) for name in "ab"]
    holder = Holder(states[0])
    assert holder.swap(states[1]) is states[0]
    assert holder.state is states[1]


def test_the_command_refuses_what_it_cannot_serve(experiment, tmp_path):
    def refused(*arguments):
        return str(CliRunner().invoke(app, ["serve", *arguments]).exception)

    assert "token" in refused(str(experiment), "--host", "0.0.0.0")
    assert "is empty" in refused(str(experiment), "--token-file", str(_empty(tmp_path)))
    assert "--pipeline" in refused(str(experiment), "--pipeline", "bm25")
    assert "--set" in refused(str(experiment), "--set", "bm25.k1=1")


def _empty(folder):
    (folder / "token").touch()
    return folder / "token"
