"""Indexes in shards: equal to one index to the bit, also after updates; shards that end are begun again, or named."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

import nirank
from nirank.data import Candidates, Documents, Queries, SparseVectors, TokenVectors
from nirank.errors import BadInput, ComponentError, CompositionError, StaleIndex
from nirank.execution import indexes
from nirank.execution.shards import hosts
from nirank.execution.shards.group import LostShard
from nirank.execution.shards.layout import Layout, place

#: Two pairs of words of one CRC-32 each, stop words, and others.
WORDS = ["buckeroo", "plumless", "codding", "gnu", "the", "of", *(f"word{number}" for number in range(50))]
CHANCE = random.Random(21)
TEXTS = [" ".join(CHANCE.choices(WORDS, k=CHANCE.choice([0, 1, 5, 20]))) for _ in range(300)]
CORPUS = Documents([f"d{number}" for number in range(300)], TEXTS)
QUERIES = Queries(
    [str(number) for number in range(60)],
    [" ".join(CHANCE.choices([*WORDS, "unseen"], k=CHANCE.choice([0, 1, 2, 6]))) for _ in range(60)],
)
#: Uneven, and one is empty.
UNEVEN = [100, 1, 0, 199]
LEXICAL = [
    ("bm25", {}),
    ("bm25", {"variant": "bm25+", "lengths": "byte"}),
    ("ql", {}),
    ("ql", {"smoothing": "jelinek-mercer", "lengths": "byte"}),
    ("ql", {"formula": "lucene"}),
    ("tfidf", {}),
    ("tfidf", {"formula": "lucene", "lengths": "byte"}),
]
DENSE = [("exact", {}, "dense"), ("exact", {"chunk": 64, "precision": "float32"}, "dense"), ("flat", {}, "dense")]
VECTORS = [*DENSE, ("maxsim", {}, "tokens"), ("maxsim", {"chunk": 32}, "tokens"), ("impact", {}, "sparse")]


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


class Numbers:
    """Vectors of texts by the hash of a text. They depend on the number of texts that are encoded together."""

    def __init__(self, vectors):
        self.vectors, self.fingerprint = vectors, vectors

    def encode(self, queries):
        return self._made(queries.contents, np.float32(1))

    def encode_documents(self, contents):
        return self._made(contents, np.float32(1 + len(contents) * 1e-3))

    def _made(self, contents, times):
        matrices = [np.random.default_rng([len(text), *text.encode()]).normal(size=(3, 12)) for text in contents]
        several = [
            (matrix[: 1 + len(text) % 3] * times).astype(np.float32)
            for matrix, text in zip(matrices, contents, strict=True)
        ]
        if self.vectors == "tokens":
            return TokenVectors.of(several)
        one = np.stack([matrix[0] for matrix in several])
        return one if self.vectors == "dense" else SparseVectors.of(np.maximum(one, 0))


def _pair(name, settings, vectors=None, **shards):
    """One index, and the same in shards."""
    one, parts = (nirank.load(name, **settings) for _ in range(2))
    parts = nirank.sharded(parts, **{"shards": UNEVEN, "on": "here", **shards})
    if vectors is None:
        return one, parts
    encoder = nirank.load(Numbers(vectors), "numbers")
    return encoder >> one, encoder >> parts


def _same(left, right):
    """True where documents, scores and their places are equal to the bit."""
    columns = ("offsets", "docs", "scores")
    return all(getattr(left, name).tobytes() == getattr(right, name).tobytes() for name in columns)


@pytest.fixture
def processes():
    """Shards in processes, and the processes of one."""
    made = []

    def of(ranking):
        target = next(each.target for each in ranking.components() if hasattr(each.target, "group"))
        made.append(target)
        return target.group.hosts

    yield of
    for target in made:
        target.close()


# Equal to one index


@pytest.mark.parametrize("k", [1, 10, 1000])
@pytest.mark.parametrize(("name", "settings"), LEXICAL)
def test_words_in_shards_are_found_and_scored_as_in_one_index(name, settings, k):
    one, shards = _pair(name, settings)
    found = (one % k).search(QUERIES, CORPUS)
    assert found.pairs
    assert _same(found, (shards % k).search(QUERIES, CORPUS))
    again = nirank.pipeline.as_scoring(shards).score(QUERIES, found)
    assert again.tobytes() == found.scores.tobytes()


@pytest.mark.parametrize(("name", "settings", "vectors"), VECTORS)
def test_vectors_in_shards_are_found_and_scored_as_in_one_index(name, settings, vectors):
    pytest.importorskip("torch")
    if name == "flat":
        pytest.importorskip("faiss")
    one, shards = _pair(name, settings, vectors)
    for k in (10, 1000):
        found = (one % k).search(QUERIES, CORPUS)
        assert found.pairs
        assert _same(found, (shards % k).search(QUERIES, CORPUS))
    again = nirank.pipeline.as_scoring(shards).score(QUERIES, found)
    assert again.tobytes() == found.scores.tobytes()


def test_processes_answer_as_one_index_does_with_one_query_and_with_many(processes):
    one, shards = _pair("ql", {}, on="processes")
    assert _same((one % 20).search(QUERIES, CORPUS), (shards % 20).search(QUERIES, CORPUS))
    single = QUERIES.take([3])
    assert _same((one % 20).search(single, CORPUS), (shards % 20).search(single, CORPUS))
    pids = [pid for host in processes(shards % 20).values() for pid in host.pids]
    assert len(set(pids)) == 3
    assert os.getpid() not in pids


@pytest.mark.parametrize("shards", [1, 7, 23, [0, 0, 1], [5, 0, 1, 0]])
def test_any_number_of_shards_is_equal(shards):
    one, parts = _pair("ql", {}, shards=shards)
    assert _same((one % 10).search(QUERIES, CORPUS), (parts % 10).search(QUERIES, CORPUS))


def test_equal_documents_go_by_their_place_among_all(processes):
    corpus = Documents([f"d{number}" for number in range(40)], ["a cat", "the cat"] * 20)
    one, shards = _pair("bm25", {}, shards=[3, 30, 7])
    for k in (1, 5, 33, 40):
        found = (shards % k).search("cat", corpus)
        assert found.docs.tolist() == list(range(k))
        assert _same((one % k).search("cat", corpus), found)


def test_shards_with_their_own_statistics_are_caught(monkeypatch):
    from nirank_lexical.rankers import LexicalRanker

    for method in ("share", "open_whole", "numbered"):
        monkeypatch.setattr(LexicalRanker, method, None)
    for name in ("bm25", "ql"):
        one, shards = _pair(name, {})
        assert not _same((one % 10).search(QUERIES, CORPUS), (shards % 10).search(QUERIES, CORPUS))


def test_a_query_counted_by_the_words_of_a_shard_is_caught(monkeypatch):
    from nirank.kit.text import QueryTerms
    from nirank_lexical.shards import ShardIndex

    parse = ShardIndex.parse

    def own(self, asked, first=0):
        found = parse(self, asked, first)
        tokens = np.bincount(found.rows, found.weights, len(found)).astype(np.float32)
        return QueryTerms(found.offsets, found.terms, found.weights, tokens)

    monkeypatch.setattr(ShardIndex, "parse", own)
    texts = [f"cat here word{number % 5}" for number in range(50)] + [f"cat there thing{number}" for number in range(9)]
    corpus, same = Documents([*map(str, range(59))], texts), {}
    for name in ("bm25", "ql"):
        one, shards = _pair(name, {}, shards=[50, 9])
        same[name] = _same((one % 59).search("cat here word1", corpus), (shards % 59).search("cat here word1", corpus))
    assert same == {"bm25": True, "ql": False}  # BM25 does not use the length of a query


def test_chunks_that_begin_anew_in_each_shard_are_caught(monkeypatch):
    from nirank.execution.shards import sharded

    monkeypatch.setattr(sharded, "WholeChunks", lambda encode, *_: encode)
    one, shards = _pair("exact", {"chunk": 64}, "dense")
    assert not _same((one % 10).search(QUERIES, CORPUS), (shards % 10).search(QUERIES, CORPUS))


def test_weighted_terms_and_filters_are_searched_as_in_one_index():
    from nirank.data import TermWeights

    corpus = Documents(list(CORPUS.ids), TEXTS, {"year": [number % 7 for number in range(300)]})
    one, shards = _pair("ql", {})
    for test in ("year > 4", "year == 3", "year > 100"):
        found = (one >> nirank.where(test)) % 10
        assert _same(found.search(QUERIES, corpus), ((shards >> nirank.where(test)) % 10).search(QUERIES, corpus))
    target = one.component.target
    weights = TermWeights.of([{"word1": 0.5, "gnu": 2.0, "unseen": 1.0}], target.analyzer.settings)
    asked = Queries(["1"], [""], weights)
    for ranking in (one, shards):
        ranking.search("word1", corpus)
    left, right = (ranking.component.target.generate(asked, 20) for ranking in (one, shards))
    assert left.pairs
    assert _same(left, right)


def test_vectors_that_shards_keep_score_other_candidates():
    pytest.importorskip("torch")
    one, shards = _pair("exact", {}, "dense")
    found = (nirank.load("bm25") % 30).search(QUERIES, CORPUS)
    scores = [nirank.pipeline.as_scoring(each).score(QUERIES, found) for each in (one, shards)]
    assert scores[0].tobytes() == scores[1].tobytes()
    docs = np.array([299, 0, 100, 100, 5])
    left, right = (each.generator.target.vectors_of(docs) for each in (one, shards))
    assert left.tobytes() == right.tobytes()


# After updates


def _edited(number):
    """The documents after some edits: some out, some new, some with another text, and some moved."""
    chance, rows = random.Random(number), list(zip(CORPUS.ids, TEXTS, strict=True))
    for place_ in sorted(chance.sample(range(300), 40), reverse=True):
        rows.pop(place_)
    rows[3] = (rows[3][0], "word1 plumless again")
    rows[50:50] = [(f"new{each}", " ".join(chance.choices([*WORDS, "newword"], k=5))) for each in range(60)]
    rows[10], rows[200] = rows[200], rows[10]
    return Documents(*map(list, zip(*rows, strict=True)))


@pytest.mark.parametrize(
    ("name", "vectors", "settings"),
    [("ql", None, {}), ("bm25", None, {}), ("exact", "dense", {"chunk": 16}), ("impact", "sparse", {"chunk": 16})],
)
def test_updated_shards_are_equal_to_an_updated_index(tmp_path, name, vectors, settings):
    one, shards = _pair(name, settings, vectors)
    after = _edited(1)
    for ranking, folder in ((one, tmp_path / "one"), (shards, tmp_path / "shards")):
        ranking.index(CORPUS, folder)
        ranking.index(after, folder, since=CORPUS)
    for k in (10, 1000):
        assert _same((one % k).search(QUERIES, after), (shards % k).search(QUERIES, after))


def test_documents_that_stayed_are_in_the_shard_where_they_were():
    before = Layout.cut(10, [5, 0, 5])
    after = before.moved(np.array([9, -1, 0, 1, -1, -1, 8]), [5, 0, 5])
    assert after.owners[[0, 2, 3, 6]].tolist() == [2, 0, 0, 2]
    assert np.bincount(after.owners, minlength=3)[1] == 0
    assert sorted(after.docs.tolist()) == list(range(7))
    assert all((np.diff(after.of(shard)) > 0).all() for shard in range(3))


# Shards that end


def _kill(host):
    (pid,) = host.pids
    os.kill(pid, signal.SIGKILL)
    while _is_alive(pid):
        time.sleep(0.01)


def test_a_shard_that_was_killed_is_begun_again_and_answers(processes):
    one, shards = _pair("ql", {}, on="processes", shards=2)
    expected = (one % 10).search(QUERIES, CORPUS)
    assert _same(expected, (shards % 10).search(QUERIES, CORPUS))
    for _ in range(2):
        _kill(processes(shards % 10)[1])
        found = (shards % 10).search(QUERIES, CORPUS)
        assert _same(expected, found)
        assert found.lost == ()


class Dying:
    """A generator that is killed in the middle of a search for "die", as many times as a file says."""

    separable = True

    def __init__(self, lives=""):
        self.lives = lives

    index_key = property(lambda self: {"index": "dying"})

    def build(self, corpus, folder, encode=None):
        (folder / "size.json").write_text(json.dumps([len(corpus), corpus[0]]))

    def open(self, corpus, folder):
        self.size, self.first = json.loads((folder / "size.json").read_text())

    def generate(self, queries, k):
        if self.first == "mortal" and "die" in queries.contents:
            with open(self.lives, "r+") as file:
                left = int(file.read())
                if left:
                    file.seek(0)
                    file.write(str(left - 1))
                    file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
        return Candidates.of([range(self.size)[:k]] * len(queries))


@pytest.fixture
def dying(tmp_path, monkeypatch):
    """Makes such a generator in two shards, of which the second one dies."""
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    from test_shards import Dying as Importable

    def made(lives, **settings):
        file = tmp_path / "lives"
        file.write_text(str(lives))
        return nirank.sharded(nirank.load(Importable(str(file)), "dying"), shards=2, **settings)

    return made


MORTAL = Documents(list("abcd"), ["immortal", "x", "mortal", "y"])


def test_a_shard_that_ends_in_a_search_is_begun_again_once(dying, processes):
    found = (dying(1) % 10).search(["die", "live"], MORTAL)
    assert [found[row][0].tolist() for row in range(2)] == [[0, 1, 2, 3]] * 2


def test_a_shard_that_ends_again_and_again_is_named_and_nothing_is_returned(dying):
    shards = dying(3)
    assert (shards % 10).search("live", MORTAL).pairs == 4
    with pytest.raises(LostShard, match=r"Shard 2 \(.*shard-0001\) ended before it had answered"):
        (shards % 10).search("die", MORTAL)
    found = (shards % 10).search("die", MORTAL)  # the third death, and a restart that lives
    assert found.pairs == 4


def test_partial_results_are_marked_wherever_they_go(dying, caplog):
    shards = dying(9, partial=True, restarts=0)
    found = (shards % 10).search("die", MORTAL)
    assert (found.docs.tolist(), found.lost) == ([0, 1], ("shard 2 of dying",))
    assert "marked as such" in caplog.text
    assert found.top(1).lost == found.take([0]).lost == found.where(np.array([True, False])).lost == found.lost
    fused = nirank.fuse(shards, nirank.load("bm25")).search("die", MORTAL)
    assert fused.lost == ("shard 2 of dying",)
    assert (shards % 10).search("live", MORTAL).lost == ()
    assert not shards.component.traits.cacheable


def test_when_no_shard_answers_there_is_no_partial_result(dying):
    shards = dying(9, partial=True, restarts=0)
    with pytest.raises(LostShard, match="No shard"):
        (shards % 10).search("die", Documents(["a", "b"], ["mortal", "mortal"]))


def test_processes_end_with_the_one_that_began_them(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import nirank, os, time\n"
        "from nirank.data import Documents\n"
        "shards = nirank.sharded(nirank.load('bm25'), shards=2)\n"
        "print((shards % 5).search('cat', Documents(['a', 'b'], ['a cat', 'the cat'])).docs.tolist(), flush=True)\n"
        "pids = [pid for host in shards.component.target.group.hosts.values() for pid in host.pids]\n"
        "print(*pids, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True, env=_environment())
    try:
        assert process.stdout.readline() == "[0, 1]\n"  # and the program had no guard
        pids = [int(pid) for pid in process.stdout.readline().split()]
    finally:
        process.kill()
        process.communicate()
    assert len(pids) == 2
    deadline = time.monotonic() + 30
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "shards outlived the process that began them"
        time.sleep(0.05)


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_threads_of_all_shards_are_no_more_than_processors(monkeypatch, processes):
    monkeypatch.setenv("NIRANK_PROCESSORS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    _, shards = _pair("bm25", {}, on="processes", shards=2)
    shards.search("word1", CORPUS)
    for host in processes(shards % 1).values():
        (pid,) = host.pids
        with open(f"/proc/{pid}/environ") as file:  # as it was started; it bounds itself then
            assert "OMP_NUM_THREADS=8" in file.read()
        bounds = (
            host._pool.submit(os.getenv, "OMP_NUM_THREADS").result(),
            host._pool.submit(os.getenv, "NIRANK_PROCESSORS").result(),
        )
        assert bounds == ("1", "1")


# What is refused


def _sharded_folder(tmp_path, name="bm25", corpus=CORPUS, **settings):
    shards = nirank.sharded(nirank.load(name, **settings), shards=2, on="here")
    shards.index(corpus, tmp_path)
    return shards, next(tmp_path.glob("*/shards.json")).parent


def test_a_damaged_shard_is_told(tmp_path):
    _shards, folder = _sharded_folder(tmp_path)
    path = place(folder, 1) / "whole_frequencies.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StaleIndex, match=r"whole_frequencies\.npy") as told:
        nirank.sharded(nirank.load("bm25"), shards=2, on="here").index(CORPUS, tmp_path)
    assert "Shard 2" in "".join(told.value.__notes__)


@pytest.mark.parametrize("texts", [TEXTS[::-1], TEXTS[:150] + ["other"] * 150])
def test_a_shard_of_another_corpus_or_of_other_statistics_is_told(tmp_path, texts):
    import shutil

    _, folder = _sharded_folder(tmp_path / "one")
    _, other = _sharded_folder(tmp_path / "two", corpus=Documents(list(CORPUS.ids), texts))
    shutil.rmtree(place(folder, 0))
    shutil.copytree(place(other, 0), place(folder, 0))
    with pytest.raises(StaleIndex, match="is a shard of another index: corpus, whole differ"):
        nirank.sharded(nirank.load("bm25"), shards=2, on="here").index(CORPUS, tmp_path / "one")


def test_what_cannot_be_in_shards_is_refused():
    with pytest.raises(CompositionError, match="one generator"):
        nirank.sharded(nirank.load("bm25") % 10)
    with pytest.raises(CompositionError, match="already"):
        nirank.sharded(nirank.sharded(nirank.load("bm25")))
    with pytest.raises(ComponentError, match="separable"):
        nirank.sharded(nirank.load("sdm"))
    for wrong in (0, True, [], [0, 0], [-1, 2], "4", [float("nan")]):
        with pytest.raises(BadInput, match="shards ="):
            nirank.sharded(nirank.load("bm25"), shards=wrong)
    with pytest.raises(BadInput, match="nobody opens shards"):
        nirank.sharded(nirank.load("bm25"), on="moon").search("word1", CORPUS)
    with pytest.raises(BadInput, match="restarts"):
        nirank.sharded(nirank.load("bm25"), restarts=-1)


def test_another_index_of_neighbours_is_let_in_where_that_is_said():
    pytest.importorskip("faiss")
    with pytest.raises(ComponentError, match="exact = False"):
        nirank.sharded(nirank.load("hnsw"))
    encoder = nirank.load(Numbers("dense"), "numbers")
    shards = encoder >> nirank.sharded(nirank.load("hnsw"), shards=2, on="here", exact=False)
    assert (shards % 5).search(QUERIES, CORPUS).lengths.tolist() == [5] * 60


def test_text_and_pipeline_are_each_others_inverse():
    text = "sharded(bm25, shards=[2, 1], on='here', partial=True) % 10"
    assert repr(nirank.parse(text)) == text
    assert [each.name for each in nirank.parse(text).components()] == [
        "bm25",
        "sharded(bm25, shards=[2, 1], on='here', partial=True)",
    ]


def test_an_interrupted_build_goes_on_with_the_shards_that_are_there(tmp_path, monkeypatch):
    from nirank_lexical.rankers import LexicalRanker

    built, build = [], LexicalRanker.build

    def failing(self, corpus, folder, encode=None):
        built.append(folder.name)
        if built == ["shard-0000", "shard-0001"]:
            raise OSError("disk full")
        build(self, corpus, folder, encode)

    monkeypatch.setattr(LexicalRanker, "build", failing)
    with pytest.raises(OSError, match="disk full"):
        _sharded_folder(tmp_path)
    shards, _ = _sharded_folder(tmp_path)
    assert built == ["shard-0000", "shard-0001", "shard-0001"]
    assert _same(nirank.load("bm25").search(QUERIES, CORPUS), shards.search(QUERIES, CORPUS))


def test_places_of_processes_are_checked_like_any(tmp_path):
    shards, folder = _sharded_folder(tmp_path)
    assert indexes.read_manifest(folder)["key"]["of"]["index"] == "postings"
    assert isinstance(shards.component.target.group.hosts[0], hosts.Here)
    with pytest.raises(BadInput, match="no document 300"):
        shards.component.target.score(QUERIES.take([0]), Candidates.of([[300]]))


class Astray:
    """Finds documents that there are not, or lists that are not in order."""

    separable = True

    def __init__(self, docs, scores):
        self.docs, self.scores, self.fingerprint = docs, scores, repr((docs, scores))

    def build(self, corpus, folder, encode=None):
        (folder / "size").write_text(str(len(corpus)), encoding="utf-8")

    def open(self, corpus, folder):
        pass

    def generate(self, queries, k):
        return Candidates.of([self.docs] * len(queries), [self.scores] * len(queries))


@pytest.mark.parametrize(
    ("docs", "scores", "told"),
    [
        ([-1], [1.0], "the document -1"),
        ([170], [1.0], "the document 170 of a shard of 150"),
        ([0, 1], [1.0, 2.0], "out of order"),
        ([0], [np.nan], "not a number|NaN"),
    ],
)
def test_what_a_shard_finds_is_checked_as_that_of_one_index(docs, scores, told):
    many = nirank.sharded(nirank.load(Astray(docs, scores)), shards=[150, 150], on="here")
    with pytest.raises(ComponentError, match=told):
        (many % 5).search(QUERIES, CORPUS)


def test_a_fork_searches_in_processes_of_its_own_and_ends_no_others(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, nirank\n"
        "documents = nirank.Documents([*'abcd'], ['cat', 'dog', 'cat cat', 'mat'])\n"
        "many = nirank.sharded(nirank.load('bm25'), shards=2, restarts=0) % 2\n"
        "expected = many.search(['cat'], documents).docs.tolist()\n"
        "if not (child := os.fork()):\n"
        "    sys.exit(0 if many.search(['cat'], documents).docs.tolist() == expected else 3)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "if not (child := os.fork()):\n"
        "    sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "assert many.search(['cat'], documents).docs.tolist() == expected\n"
        "print(expected)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "[2, 0]\n"), done.stderr


def test_a_class_of_the_program_itself_is_told_before_processes_start(monkeypatch):
    monkeypatch.setattr(Astray, "__module__", "__main__")
    with pytest.raises(BadInput, match="Astray is defined in the program that runs"):
        (nirank.sharded(nirank.load(Astray([0], [1.0])), shards=2) % 1).search(QUERIES, CORPUS)
