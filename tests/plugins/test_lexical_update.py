"""Lexical indexes of what a corpus becomes: those made anew, byte for byte, at the cost of what has changed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from zlib import crc32

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

import nirank
from nirank.data import Documents, Queries, same_documents
from nirank.execution import indexes
from nirank.experiments import workspace
from nirank.kit.text import Vocabulary
from nirank_lexical import merging
from nirank_lexical.postings import InvertedIndex

RANKERS = {
    "bm25": {},
    "bm25f": {"fields": {"title": 2.0, "text": 1.0}},
    "sdm": {},
}
#: Two pairs of words of one CRC-32 each, stop words, and others.
WORDS = ["buckeroo", "plumless", "codding", "gnu", "the", "of", *(f"word{number}" for number in range(40))]


def _corpus(rows):
    """Documents of rows of an id, a title and a text."""
    ids, titles, texts = (list(column) for column in zip(*rows, strict=True))
    both = [f"{title} {text}".strip() for title, text in zip(titles, texts, strict=True)]
    return Documents(ids, both, {"title": titles, "text": texts})


def _text(chance):
    words = [chance.choice(WORDS) for _ in range(chance.choice([0, 1, 4, 20]))]
    return " ".join(words + ["often"] * chance.choice([0, 0, 0, 300]))


def _edited(chance, rows):
    """Some rows added, taken out, changed and moved."""
    rows = list(rows)
    for number in range(chance.choice([0, 1, 4, 12])):
        place = chance.randrange(len(rows))
        how = chance.randrange(4)
        if how == 0:
            rows.insert(place, (f"new{number}", _text(chance), _text(chance)))
        elif how == 1 and len(rows) > 1:
            rows.pop(place)
        elif how == 2:
            rows[place] = (rows[place][0], _text(chance), _text(chance))
        else:
            rows.insert(chance.randrange(len(rows)), rows.pop(place))
    return chance.sample(rows, len(rows)) if chance.random() < 0.1 else rows


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".npy"}


def _made(name, folder, corpus, since=None):
    """The index of a corpus in a folder, perhaps from that of an earlier state beside it."""
    component = nirank.load(name, **RANKERS[name]).component
    return component, indexes.prepare(component, corpus, folder=folder / indexes.place(component, corpus), since=since)


@pytest.mark.parametrize("name", RANKERS)
def test_after_any_edits_the_files_are_those_of_an_index_made_anew(tmp_path, monkeypatch, name):
    monkeypatch.setattr(merging, "_POSTINGS_AT_ONCE", 150)
    ranker, chance = nirank.load(name, **RANKERS[name]).component.target, random.Random(name)
    for case in range(16):
        before = [(f"d{number}", _text(chance), _text(chance)) for number in range(chance.choice([1, 3, 25]))]
        former, now = _corpus(before), _corpus(_edited(chance, before))
        folders = [tmp_path / f"{case}-{what}" for what in ("former", "updated", "fresh")]
        for folder in folders:
            folder.mkdir()
        ranker.build(former, folders[0])
        ranker.update(now, folders[1], indexes.Former(folders[0], same_documents(now, former)))
        ranker.build(now, folders[2])
        assert _files(folders[1]) == _files(folders[2])


@pytest.mark.parametrize("name", RANKERS)
def test_only_what_is_new_is_analysed(tmp_path, name):
    rows = [(f"d{number}", "a title", f"word{number}") for number in range(9)]
    former, now = _corpus(rows), _corpus([*rows[:4], ("d4", "a title", "other"), *rows[6:], ("new", "", "newest")])
    component, _ = _made(name, tmp_path, former)
    analyzer, read = component.target.analyzer, []
    words, analyzer.words = analyzer.words, lambda text: read.append(text) or words(text)
    indexes.prepare(component, now, folder=tmp_path / indexes.place(component, now), since=former)
    assert sorted(" ".join(read).split()) == ["a", "newest", "other", "title"]
    found = component.target.generate(Queries.of(["newest other word7"]), 9)
    assert sorted(now.ids.take(found.docs)) == ["d4", "d7", "new"]


def test_equal_scores_go_by_the_order_that_documents_have_now(tmp_path):
    rows = [(name, "", "small cat") for name in ("a", "b", "c", "d")]
    former, now = _corpus(rows), _corpus([rows[2], ("e", "", "small cat"), rows[0], rows[3]])
    _made("bm25", tmp_path, former)
    component, _ = _made("bm25", tmp_path, now, since=former)
    found = component.target.generate(Queries.of(["cat"]), 9)
    assert now.ids.take(found.docs) == ["c", "e", "a", "d"]


def test_words_that_move_from_one_field_to_another_are_a_change_though_the_whole_text_is_the_same(tmp_path):
    former, now = _corpus([("d", "small", "cat"), ("e", "x", "y")]), _corpus([("d", "small cat", ""), ("e", "x", "y")])
    assert former.fingerprint == now.fingerprint
    _made("bm25f", tmp_path, former)
    _, updated = _made("bm25f", tmp_path, now, since=former)
    _, fresh = _made("bm25f", tmp_path / "fresh", now)
    assert _files(updated) == _files(fresh)


def test_an_index_whose_terms_are_in_the_order_of_older_versions_is_made_anew(tmp_path, monkeypatch):
    former, now = _corpus([("d", "", "plumless buckeroo")]), _corpus([("d", "", "plumless buckeroo"), ("e", "", "cat")])
    with monkeypatch.context() as patch:
        patch.setattr(Vocabulary, "of", classmethod(lambda cls, terms: _as_they_came(cls, [*terms])))
        _, older = _made("bm25", tmp_path, former)
        assert InvertedIndex.load(older).vocabulary[0] == "plumless"
    _, updated = _made("bm25", tmp_path, now, since=former)
    _, fresh = _made("bm25", tmp_path / "fresh", now)
    assert _files(updated) == _files(fresh)


def _as_they_came(cls, terms):
    texts = [term.encode() for term in terms]
    assert len({*map(crc32, texts)}) == 1
    lengths = [0, *np.cumsum([*map(len, texts)])]
    columns = np.array([*map(crc32, texts)], np.uint32), np.array(lengths), np.frombuffer(b"".join(texts), np.uint8)
    return cls(*columns), np.arange(len(terms))


def test_merged_vocabularies_are_the_one_that_all_their_terms_would_have_had():
    one, two = Vocabulary.of(["plumless", "cat", "\ud800"])[0], Vocabulary.of(["dog", "buckeroo", "cat"])[0]
    merged, numbers = Vocabulary.merged([one, two])
    whole, _ = Vocabulary.of(["cat", "buckeroo", "dog", "plumless", "\ud800"])
    assert [merged[term] for term in range(len(merged))] == [whole[term] for term in range(len(whole))]
    assert [merged[term] for term in numbers[0]] == [one[term] for term in range(len(one))]
    assert [merged[term] for term in numbers[1]] == [two[term] for term in range(len(two))]


# Folders


@pytest.fixture
def lines(tmp_path):
    """A file of documents, which a folder of an index is made of."""
    path = tmp_path / "docs.jsonl"
    _write(path, [{"id": f"d{number}", "text": f"fox word{number}"} for number in range(20)])
    return path


def _write(path, documents):
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))


def _searched(opened, query="fox word3"):
    docs, scores = opened.search(query, 30)
    return opened.corpus.ids.take(docs), scores.tolist()


def test_who_has_the_folder_open_goes_on_with_what_it_was(tmp_path, lines):
    reader = workspace.create(tmp_path / "made", f"jsonl:{lines}", "bm25")
    before = _searched(reader)
    _write(lines, [{"id": "d3", "text": "no such word"}, {"id": "x", "text": "fox word3"}])
    made, count = workspace.update(tmp_path / "made", f"jsonl:{lines}")
    assert count == 2
    assert _searched(made)[0] == ["x"]
    assert _searched(reader) == before
    assert reader.snippets("fox", np.array([0]))[0].text == "fox word0"


_KILLED = """
import os, signal, sys
from pathlib import Path
from nirank.experiments import workspace
from nirank_lexical import merging
merged = merging.Merging.merged
def killed(*arguments):
    yield from merged(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
merging.Merging.merged = killed
workspace.update(Path(sys.argv[1]), sys.argv[2])
"""


def test_an_update_that_is_killed_while_postings_are_written_leaves_the_folder_whole(tmp_path, lines):
    folder, name = tmp_path / "made", f"jsonl:{lines}"
    before = _searched(workspace.create(folder, name, "bm25"))
    _write(lines, [{"id": "d3", "text": "fox word3"}, {"id": "x", "text": "another fox"}])
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{_KILLED}", str(folder), name]
    ended = subprocess.run(command, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert _searched(workspace.open_folder(folder)) == before
    assert _searched(workspace.update(folder, name)[0])[0] == ["d3", "x"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docs.jsonl", "made"]
