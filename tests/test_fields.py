"""Stages that read a field of documents in the place of their content."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import nirank
from nirank.checkpoints import checkpoint
from nirank.data import Candidates, Collection, Documents, Field, Queries, field_of, write_corpus
from nirank.errors import BadInput, StaleIndex
from nirank.execution import indexes
from nirank.plugins import build
from nirank.plugins.assembly import for_encoder

NAMES = ["a small cat", "the dog", "a cat and a dog", ""]


@pytest.fixture
def named(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))  # where no other test has left an index
    return Documents(list("abcd"), ["one", "two", "three", "four"], {"name": NAMES, "other": ["cat"] * 4})


def test_a_field_is_a_corpus_of_texts_with_the_same_ids(named):
    field = named.field("name")
    assert (len(field), list(field), field[1], field[-2]) == (4, NAMES, NAMES[1], NAMES[2])
    assert field[np.array([2, 0])] == [NAMES[2], NAMES[0]]
    assert field[1:3] == NAMES[1:3]
    assert field.ids is named.ids
    assert field.fingerprint == Documents(list("abcd"), NAMES).fingerprint


def test_a_field_is_the_same_object_each_time_and_of_itself(named):
    field = named.field("name")
    assert named.field("name") is field
    assert field.field("name") is field
    assert field.field("other") is named.field("other")
    assert field_of(named, None) is named


def test_columns_of_a_file_are_fields_too(tmp_path):
    rows = [{"id": ["a", "b"], "title": ["cat", "dog"], "text": ["x", "y"]}]
    corpus = write_corpus(tmp_path / "c.arrow", rows)
    assert list(corpus.field("title")) == ["cat", "dog"]
    assert (nirank.load("bm25", field="title") % 5).search("cat", corpus)[0][0].tolist() == [0]
    assert (nirank.load("bm25", field="title") % 5).search("x", corpus).pairs == 0


def test_fields_that_are_not_there_are_told(named, tmp_path):
    with pytest.raises(BadInput, match="no field 'title' in <Documents: 4>: their fields are name, other"):
        named.field("title")
    with pytest.raises(BadInput, match="has no fields, and so no field 'name'"):
        field_of(object(), "name")
    with pytest.raises(BadInput, match="3 words"):
        Documents(["a"], ["x"], {"words": ["a", "b", "c"]})
    with pytest.raises(BadInput, match="3 is not the name of a field"):
        nirank.load("bm25", field=3)


def test_bm25_finds_and_scores_by_a_field_and_candidates_stay_of_the_corpus(named):
    bm25, of_names = nirank.load("bm25", field="name"), Documents(list("abcd"), NAMES)
    found = (bm25 % 3).search("cat", named)
    expected = (nirank.load("bm25") % 3).search("cat", of_names)
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)
    assert found.corpus is named
    rescored = (bm25 % 3 >> 2.0 * bm25).search("cat", named)
    assert np.allclose(rescored.scores, 2 * expected.scores)


class Letters:
    """A stand-in for a dense encoder: how often each of 26 letters occurs."""

    vectors = "dense"

    def __init__(self) -> None:
        self.read = []

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        self.read += contents
        return np.array([[text.count(chr(97 + place)) for place in range(26)] for text in contents], np.float32)


def test_an_encoder_with_a_field_has_it_indexed_and_scored(named):
    stage = nirank.load(Letters(), "letters")
    stage.component.field = "name"
    exact = nirank.load("exact")
    found = (stage >> exact % 4).search("dog", named)
    assert set(stage.component.target.read) == {*NAMES, "dog"}
    plain = nirank.load(Letters(), "letters")
    expected = (plain >> nirank.load("exact") % 4).search("dog", Documents(list("abcd"), NAMES))
    assert np.array_equal(found.docs, expected.docs)
    assert np.allclose(found.scores, expected.scores)
    pairs = Candidates.of([[2, 0]], corpus=named)
    assert stage.score(Queries.of("dog"), pairs).tolist() == [
        expected.scores[expected.docs == doc][0] for doc in (2, 0)
    ]


def test_an_index_of_vectors_of_a_field_is_not_that_of_the_content(named):
    one, two = nirank.load(Letters(), "one"), nirank.load(Letters(), "two")
    two.component.field = "name"
    exact = nirank.load("exact")
    both = nirank.fuse(one >> exact, two >> exact)
    both.search("dog", named)
    assert "two" in one.component.target.read
    assert "the dog" not in one.component.target.read
    assert "the dog" in two.component.target.read


def test_feedback_reads_what_was_found_in_its_field(named):
    bm25, rm3 = nirank.load("bm25", field="name"), nirank.load("rm3", field="name")
    found = (bm25 % 2 >> rm3 >> bm25).search("small", named)
    of_names = Documents(list("abcd"), NAMES)
    expected = (nirank.load("bm25") % 2 >> nirank.load("rm3") >> nirank.load("bm25")).search("small", of_names)
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)


def test_a_copy_for_another_encoder_keeps_the_field(named):
    component = build("exact", {"field": "name"})
    first, second = (nirank.load(Letters(), name).component for name in "ab")
    assert for_encoder(component, first) is component
    assert for_encoder(component, second).field == "name"


def test_training_reads_the_field_and_the_checkpoint_remembers_it(named, tmp_path):
    stage = nirank.load("dssm", dims=[8, 4], field="name")
    judged = Candidates.of([[0], [1]], [[1], [1]], named)
    train = Collection("named", named, Queries.of(["small cat", "dog"]), judged)
    nirank.fit(stage, nirank.load("softmax_cross_entropy"), train, sampler=nirank.load("in_batch"), steps=2)
    checkpoint.save(stage.component, tmp_path / "kept")
    again = nirank.load(f"trained:{tmp_path / 'kept'}")
    assert again.component.field == "name"
    pairs = Candidates.of([[0, 2]], corpus=named)
    expected = stage.score(Queries.of("cat"), pairs)
    assert np.array_equal(again.score(Queries.of("cat"), pairs), expected)
    assert (expected > 0).any()  # letters of names are known to it, not those of "one" and "three" alone


def test_a_field_survives_copying(named):
    assert list(copy.deepcopy(named.field("name"))) == NAMES
    assert isinstance(copy.copy(named).field("name"), Field)


# Several fields as one text


def test_several_fields_are_one_text_in_the_order_of_their_names(named):
    both = named.field(["other", "name"])
    assert list(both) == [f"cat {name}" if name else "cat" for name in NAMES]
    assert both is named.field(("other", "name"))
    assert both is both.field(["other", "name"])
    assert both.field("name") is named.field("name")
    assert both.fingerprint == Documents(list("abcd"), list(both)).fingerprint
    assert named.field(["name", "other"]).fingerprint != both.fingerprint
    assert repr(both) == "<other + name of <Documents: 4>>"


def test_all_fields_of_a_file_are_its_content(tmp_path):
    rows = [{"id": ["a", "b", "c"], "title": ["cat", "", "dog"], "text": ["x", "y", ""]}]
    corpus = write_corpus(tmp_path / "c.arrow", rows)
    assert list(corpus.field(["title", "text"])) == corpus[:]
    assert corpus.field(["title", "text"]).fingerprint == corpus.fingerprint
    assert corpus.field(["text", "title"])[0] == "x cat"


def test_bm25_searches_within_a_set_of_fields(named):
    bm25 = nirank.load("bm25", field=["name", "other"])
    expected = (nirank.load("bm25") % 4).search("cat", Documents(list("abcd"), [f"{name} cat" for name in NAMES]))
    found = (bm25 % 4).search("cat", named)
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)
    assert found.corpus is named


def test_a_set_of_fields_stands_in_a_checkpoint(named, tmp_path):
    stage = nirank.load("dssm", dims=[8, 4], field=["name", "other"])
    train = Collection("named", named, Queries.of(["small cat"]), Candidates.of([[0]], [[1]], named))
    nirank.fit(stage, "softmax_cross_entropy", train, sampler="uniform", steps=1)
    checkpoint.save(stage.component, tmp_path / "kept")
    assert nirank.load(f"trained:{tmp_path / 'kept'}").component.field == ("name", "other")


@pytest.mark.parametrize("wrong", [[], ["name", "name"], ["name", 3], {"name": 1}])
def test_what_is_no_set_of_fields_is_told(wrong):
    with pytest.raises(BadInput, match="is not the name of a field; a text is expected, or a list of texts, each once"):
        nirank.load("bm25", field=wrong)


def test_a_field_of_a_set_that_is_not_there_is_told(named):
    with pytest.raises(BadInput, match="no field 'title' in <Documents: 4>: their fields are name, other"):
        nirank.load("bm25", field=["name", "title"]).search("cat", named)
    with pytest.raises(BadInput, match="has no fields, and so no field 'name, title'"):
        field_of(object(), ["name", "title"])


def test_an_index_of_fields_is_not_that_of_others_beside_the_same_contents(named):
    """The fingerprint of a corpus is of contents: an index of fields must not be taken for one of other fields."""
    manual = nirank.load("manual", names=["name.tf_sum"], fields=["name"])
    other = Documents(named.ids, named[:], {"name": ["cat cat cat", "", "", ""], "other": ["cat"] * 4})
    pairs = [Candidates.of([[0]], corpus=corpus) for corpus in (named, other)]
    assert named.fingerprint == other.fingerprint
    found = [nirank.features(manual).of(Queries.of("cat"), each).values[0, 0] for each in pairs]
    assert found == [1, 3]
    folders = [manual.component.opened.folder]
    with pytest.raises(StaleIndex, match="is the index of other texts: the field name has changed"):
        indexes.prepare(manual.component, named, folder=folders[0])
