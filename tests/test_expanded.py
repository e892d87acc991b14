"""Documents with texts written for them: as a corpus, in pipelines, in experiments; kept and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

import nirank
from nirank import hookimpl
from nirank.data import Candidates, Documents, Queries, Written, write_corpus
from nirank.errors import BadInput, ComponentError, CompositionError, DamagedFile, UnknownName
from nirank.execution import writing
from nirank.plugins import active

TEXTS = ["a small cat", "the dog ran", "", "a house", "a small cat"]
CORPUS = Documents(["a", "b", "c", "d", "e"], TEXTS, {"title": ["A", "B", "C", "D", "E"]})


class Synonyms:
    """Writes two texts for a document: its first word backwards, and how many words there are."""

    batch_size = 2

    def __init__(self, note: str = "") -> None:
        self.note = note

    def write(self, contents):
        CALLS.append(list(contents))
        return [[text[:5][::-1], f"{len(text.split())} words"] for text in contents]


CALLS: list[list[str]] = []


@pytest.fixture(autouse=True)
def _nothing_written_yet(monkeypatch, tmp_path):
    CALLS.clear()
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def writer():
    return nirank.load(Synonyms(), "synonyms")


def _called():
    return [content for call in CALLS for content in call]


def _sizes(contents):
    return [f"{len(each)} bytes" for each in contents]


def _lines(text):
    return "\n".join(filter(None, (" ".join(text[:5][::-1].split()), f"{len(text.split())} words")))


def _slowly(texts):
    """The documents with what is written behind their content."""
    return [f"{text} {_lines(text)}".strip() for text in texts]


# The corpus


def test_what_is_written_is_a_field_and_stands_behind_the_content(writer):
    corpus = nirank.write(CORPUS, writer, field="queries")
    assert list(corpus) == _slowly(TEXTS)
    assert list(corpus.field("queries")) == list(map(_lines, TEXTS))
    assert list(corpus.field("title")) == ["A", "B", "C", "D", "E"]
    assert corpus.fields == ("title", "queries")
    assert (corpus[1], corpus[-1]) == (_slowly(TEXTS)[1], _slowly(TEXTS)[4])
    assert corpus[np.array([3, 0])] == [_slowly(TEXTS)[3], _slowly(TEXTS)[0]]
    assert corpus[1:3] == _slowly(TEXTS)[1:3]
    assert corpus.ids is CORPUS.ids
    assert corpus.fingerprint == Documents(list("abcde"), _slowly(TEXTS)).fingerprint
    assert corpus.field("queries") is corpus.field("queries")


def test_without_append_the_content_and_its_indexes_are_what_they_were(writer):
    corpus = nirank.write(CORPUS, writer, append=False)
    assert list(corpus) == TEXTS
    assert corpus.fingerprint == CORPUS.fingerprint
    assert list(corpus.field("written")) == list(map(_lines, TEXTS))


def test_a_corpus_in_a_file_and_one_written_twice(writer, tmp_path):
    rows = [{"id": ["a", "b"], "title": ["T", ""], "text": ["one two", "three"]}]
    corpus = write_corpus(tmp_path / "c.arrow", rows)
    once = nirank.write(corpus, writer, field="first")
    twice = nirank.write(once, nirank.load(Synonyms(note="other"), "other"), field="second", append=False)
    assert list(once) == _slowly(["T one two", "three"])
    assert list(twice) == list(once)
    assert twice.fields == ("title", "text", "first", "second")
    assert list(twice.field("second")) == list(map(_lines, _slowly(["T one two", "three"])))


def test_equal_documents_are_written_for_once_and_in_batches(writer):
    nirank.write(CORPUS, writer)
    assert [len(call) for call in CALLS] == [2, 2]
    assert sorted(_called()) == sorted(set(TEXTS))


def test_a_writer_may_read_a_field():
    component = nirank.load(Synonyms(), "synonyms").component
    component.field = "title"
    assert list(nirank.write(CORPUS, nirank.Stage(component)).field("written")) == list(map(_lines, "ABCDE"))


def test_images_have_captions_beside_them_and_not_behind(tmp_path):
    corpus = Documents(["a"], [b"\x89PNG"])
    captioned = nirank.write(
        corpus, lambda contents: [f"{len(each)} bytes" for each in contents], "caption", append=False
    )
    assert nirank.load("bm25", field="caption").search("bytes", captioned).docs.tolist() == [0]
    with pytest.raises(BadInput, match="append=False"):
        list(nirank.write(corpus, lambda contents: ["x"], "caption"))


# What is kept


def test_texts_are_kept_and_only_new_documents_are_written_for(writer):
    nirank.write(CORPUS, writer)
    CALLS.clear()
    grown = Documents(["x", "y", "z"], ["the dog ran", "new", "a house"])
    assert list(nirank.write(grown, nirank.load(Synonyms(), "synonyms"))) == _slowly(grown)
    assert _called() == ["new"]


def test_another_writer_writes_anew(writer):
    nirank.write(CORPUS, writer)
    CALLS.clear()
    nirank.write(CORPUS, nirank.load(Synonyms(note="changed"), "synonyms"))
    assert CALLS


def test_a_writer_of_which_nothing_is_known_or_kept_writes_each_time():
    for one in (lambda contents: CALLS.append(1) or ["x"] * len(contents), nirank.load(_Uncached(), "uncached")):
        CALLS.clear()
        assert list(nirank.write(CORPUS, one).field("written")) == ["x"] * 5
        nirank.write(CORPUS, one)
        assert len(CALLS) == 2


class _Uncached:
    cacheable = False

    def write(self, contents):
        CALLS.append(1)
        return ["x"] * len(contents)


def test_a_damaged_file_of_texts_is_told(writer, tmp_path):
    nirank.write(CORPUS, writer)
    (path,) = (tmp_path / "cache" / "written").glob("*/*.arrow")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFile):
        nirank.write(CORPUS, writer)


def test_a_killed_writing_loses_a_chunk_at_most(tmp_path):
    program = """
        import os, signal
        import nirank
        from nirank.data import Documents
        from nirank.execution import writing

        writing.CHUNK = 4

        class Dying:
            name = "dying"
            fingerprint = "dying"

            def write(self, contents):
                with open("calls", "a") as calls:
                    calls.write("".join(f"{content}\\n" for content in contents))
                if os.environ.get("DIE") and "text 9" in contents:
                    os.kill(os.getpid(), signal.SIGKILL)
                return [content.upper() for content in contents]

        corpus = nirank.write(Documents([str(n) for n in range(12)], [f"text {n}" for n in range(12)]), Dying())
        print(list(corpus.field("written")) == [f"TEXT {n}" for n in range(12)])
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    command = [sys.executable, "program.py"]
    died = subprocess.run(command, cwd=tmp_path, env={**os.environ, "DIE": "1"}, check=False)
    assert died.returncode == -signal.SIGKILL
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    called = (tmp_path / "calls").read_text().splitlines()
    assert [called.count(f"text {n}") for n in range(12)] == [1] * 8 + [2] * 4


# Through hooks, and what writers return


def test_a_plugin_may_write_elsewhere_or_watch(writer):
    class Elsewhere:
        @hookimpl
        def nirank_write(self, writer, contents):
            return [f"{writer.name} wrote for {len(contents)}"] * len(contents)

    elsewhere = Elsewhere()
    active().manager.register(elsewhere)
    try:
        assert {*nirank.write(CORPUS, writer).field("written")} == {"synonyms wrote for 4"}
    finally:
        active().manager.unregister(elsewhere)
    assert not CALLS


def test_white_space_within_a_text_is_a_blank():
    written = nirank.write(Documents(["a", "b"], ["x", "y"]), lambda contents: ["one\n two ", ["a\tb", "", " ", "c"]])
    assert list(written.field("written")) == ["one two", "a b\nc"]


@pytest.mark.parametrize("wrong", [["x"], None, [1] * 5, [["x", 1]] * 5, [None] * 5])
def test_what_is_no_text_for_each_document_is_told(wrong):
    with pytest.raises(ComponentError, match=r"write returned"):
        nirank.write(CORPUS, lambda contents: wrong)


# Pipelines


def test_a_ranking_finds_what_is_written(writer):
    slow = Documents(list("abcde"), _slowly(TEXTS))
    for query in ("words", "small", "dog", "3", "llams"):
        found = (nirank.expanded(nirank.load("bm25"), writer) % 3).search(query, CORPUS)
        expected = (nirank.load("bm25") % 3).search(query, slow)
        assert found.corpus is CORPUS
        assert (found.docs.tolist(), found.scores.tolist()) == (expected.docs.tolist(), expected.scores.tolist())


def test_a_stage_reads_what_is_written_alone(writer):
    only = nirank.expanded(nirank.load("bm25", field="queries"), writer, field="queries")
    assert only.search("small", CORPUS).pairs == 0
    assert only.search("words", CORPUS).pairs == 5


def test_a_scoring_has_texts_written_for_what_was_found_alone(writer, overlap):
    scorer = nirank.load(overlap, "overlap")
    candidates = Candidates.of([[1], [3, 1]], corpus=CORPUS)
    queries = Queries.of(["god", "3 x"])
    scores = nirank.expanded(scorer, writer).score(queries, candidates)
    assert sorted(_called()) == ["a house", "the dog ran"]
    slow = Documents(list("abcde"), _slowly(TEXTS))
    assert scores.tolist() == scorer.score(queries, candidates.over(slow)).tolist()


def test_it_composes(writer):
    bm25 = nirank.load("bm25")
    slow = Documents(list("abcde"), _slowly(TEXTS))
    both = nirank.fuse(nirank.expanded(bm25, writer) % 5, bm25 % 5).search("words cat", CORPUS)
    assert 1 in both.docs.tolist()
    passages = nirank.passages(nirank.load("bm25"), words=2)
    outside = nirank.expanded(passages, writer).search("words", CORPUS)
    assert outside.scores.tolist() == passages.search("words", slow).scores.tolist()
    inside = nirank.passages(nirank.expanded(bm25, writer), words=2).search("words", CORPUS)
    assert inside.pairs == 5
    described = nirank.features(nirank.expanded(bm25, writer), bm25).of(
        Queries.of("cat"), Candidates.of([[0]], corpus=CORPUS)
    )
    assert described.names == ("expanded(bm25, synonyms)", "bm25")
    assert writer.component in nirank.expanded(bm25, writer).components()


def test_the_best_lines_are_kept(writer, overlap):
    kept = nirank.write(CORPUS, writer, by=nirank.load(overlap, "overlap"), keep=0.3)
    lines = [(doc, line) for doc, text in enumerate(TEXTS) for line in _lines(text).split("\n")]
    scores = [len(set(line) & set(TEXTS[doc])) for doc, line in lines]
    worst = sorted(scores, reverse=True)[round(0.3 * len(lines)) - 1]
    expected = [
        "\n".join(line for (doc, line), score in zip(lines, scores, strict=True) if doc == own and score >= worst)
        for own in range(len(TEXTS))
    ]
    assert list(kept.field("written")) == expected
    assert 0 < sum(map(bool, expected)) < 5


@pytest.mark.parametrize(
    "text",
    [
        "expanded(bm25, W)",
        "expanded(bm25 % 10, W, field='q', append=False)",
        "expanded(ql, W, bm25, keep=0.5)",
    ],
)
def test_expressions_are_their_own_repr(writer, text):
    named = nirank.load(Synonyms(), "W")
    assert repr(nirank.parse(text, {"W": named})) == text


def test_what_cannot_be_is_told(writer):
    bm25 = nirank.load("bm25")
    with pytest.raises(CompositionError, match="writes nothing"):
        nirank.expanded(bm25, bm25)
    with pytest.raises(CompositionError, match=r"expanded\(bm25, synonyms\)"):
        writer.search("cat", CORPUS)
    with pytest.raises(CompositionError, match=r"expanded\(bm25, synonyms\)"):
        writer >> bm25
    with pytest.raises(CompositionError, match="does not order"):
        nirank.expanded(bm25 | bm25, writer)
    with pytest.raises(BadInput, match="already"):
        nirank.write(CORPUS, writer, field="title")
    with pytest.raises(BadInput, match="name"):
        nirank.write(CORPUS, writer, field="a b")
    for settings in ({"keep": 0.5}, {"by": bm25}, {"by": bm25, "keep": 0}, {"by": bm25, "keep": 1.5}):
        with pytest.raises(BadInput, match="both are needed"):
            nirank.write(CORPUS, writer, **settings)


# Experiments


PLUGIN = """
from nirank import hookimpl


class Letters:
    "The letters of a document, one by one."

    def __init__(self, most: int = 3) -> None:
        self.most = most

    def write(self, contents):
        return [" ".join(text[: self.most]) for text in contents]


@hookimpl
def nirank_register(registry):
    registry.add("writer", "letters", f"{__name__}:Letters", tiny=f"{__name__}:Letters")
"""


def test_an_experiment_writes_a_field(tmp_path):
    (tmp_path / "nirank_plugin.py").write_text(PLUGIN)
    (tmp_path / "e.toml").write_text(
        'collection = "emoji"\n[pipelines]\nplain = "bm25 % 20"\nletters = "by_letters % 20"\n'
        'inline = "expanded(bm25, letters) % 20"\n[stage.by_letters]\nuse = "bm25"\nfield = "first"\n'
        '[write.first]\nuse = "letters"\nmost = 2\nappend = false\n'
    )
    results = nirank.run(tmp_path / "e.toml", tmp_path / "out")
    assert not results.failed
    assert isinstance(results.collection.corpus, Written)
    assert results.experiment.as_table()["write"] == {"first": {"use": "letters", "most": 2, "append": False}}
    again = nirank.run(tmp_path / "out" / "experiment.toml")
    assert {name: one.evaluation.mean for name, one in again.systems.items()} == {
        name: one.evaluation.mean for name, one in results.systems.items()
    }


@pytest.mark.parametrize("append", ["true", "false"])
def test_it_is_written_for_documents_that_choose_and_that_are_learned_from_too(tmp_path, append):
    """A setting is not chosen on other documents than those that are searched at last."""
    (tmp_path / "nirank_plugin.py").write_text(PLUGIN)
    (tmp_path / "tune.toml").write_text(
        'collection = "emoji"\npipeline = "by_letters"\n[stage.by_letters]\nuse = "bm25"\nfield = "first"\n'
        f'[write.first]\nuse = "letters"\nmost = 2\nappend = {append}\n'
        '[tune]\ncollection = { use = "emoji", split = "dev" }\nby_letters.k1 = [0.5, 0.9]\n'
    )
    tuned = nirank.tune(tmp_path / "tune.toml")
    assert isinstance(tuned.collection.corpus, Written)
    assert not any(trial.error for trial in tuned.trials)
    train = {"by_letters": {"loss": "ranknet", "collection": {"use": "emoji", "split": "train"}}}
    (recipe,) = replace(tuned.resolved, train=train).recipes()
    assert isinstance(recipe.open(recipe.collection).corpus, Written)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ('use = "nothing"', UnknownName, "nothing"),
        ('use = "bm25"', CompositionError, "writes nothing"),
        ("use = 3", BadInput, "use"),
        ('use = "doc2query"\nmodel = "x"\ntextz = 2', UnknownName, "textz"),
    ],
)
def test_a_wrong_table_is_told_with_its_place(table, error, message):
    import tomllib

    given = {"collection": "emoji", "pipeline": "bm25", "write": {"first": tomllib.loads(table)}}
    with pytest.raises(error, match=message) as told:
        nirank.run(given)
    assert "write.first" in str(told.value) + "".join(getattr(told.value, "__notes__", []))


def test_chunks_are_read_in_any_number(writer, monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", 1)
    assert list(nirank.write(CORPUS, writer)) == _slowly(TEXTS)
    CALLS.clear()
    assert list(nirank.write(CORPUS, writer)) == _slowly(TEXTS)
    assert not CALLS
