"""The score and vector cache: what is scored again, what is not, and what the file survives."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from nirank import load
from nirank.cli import app
from nirank.data import Candidates, Documents, Queries, SparseVectors, TokenVectors
from nirank.errors import BadInput, ComponentError
from nirank.execution import stages
from nirank.experiments import run as experiment
from nirank.experiments.experiment import Experiment
from nirank.hooks import hookimpl
from nirank.plugins import Plugin, active
from nirank.plugins.observers import switched_on
from nirank_cache import cache as module
from nirank_cache import keys, pairs, vectors
from nirank_cache.cache import Cache
from nirank_cache.store import FILE, Store


def _value(query: str, document: str) -> np.float32:
    """A score without a pattern, with all its bits in use."""
    return np.float32(int.from_bytes(keys.of_contents([f"{query}\n{document}"])[0][:4], "little")) / np.float32(3e7)


class Scorer:
    """Scores by texts alone, and remembers what it was asked."""

    fingerprint = "scorer"
    batch_size = 4

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def score(self, queries, candidates):
        contents = candidates.corpus[candidates.docs]
        asked = [(queries.contents[row], text) for row, text in zip(candidates.rows, contents, strict=True)]
        self.asked += asked
        return np.array([_value(*pair) for pair in asked], np.float32)


class Encoder:
    """Encodes texts as three numbers of the given type, and remembers what it was asked."""

    vectors = "dense"
    fingerprint = "encoder"
    batch_size = 3

    def __init__(self, kind: str = "<f4") -> None:
        self.kind, self.asked = kind, []

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        self.asked += contents
        return np.array([[_value(text, str(place)) for place in range(3)] for text in contents]).astype(self.kind)


TEXTS = ["red", "green", "", "blue", "red", "ünï 🙂", "\ud800 alone"]
QUERIES = Queries.of(["a", "", "🙂"])


@pytest.fixture
def corpus():
    return Documents([str(number) for number in range(len(TEXTS))], TEXTS)


@pytest.fixture
def candidates(corpus):
    return Candidates.of([[0, 1, 2, 3], [6, 5], []], corpus=corpus)


@pytest.fixture
def cache(tmp_path):
    """Switches a cache on for the duration of the test."""
    cache = Cache(str(tmp_path / "cache"))
    with switched_on([cache]):
        yield cache


def _scores(target, queries, candidates):
    return stages.score(load(target, "scorer").component, queries, candidates)


def _expected(queries, candidates):
    contents = candidates.corpus[candidates.docs]
    return np.array([_value(queries.contents[row], text) for row, text in zip(candidates.rows, contents, strict=True)])


def test_what_was_scored_before_is_not_scored_again_and_comes_back_bit_for_bit(cache, candidates):
    first = _scores(Scorer(), QUERIES, candidates)
    idle = Scorer()
    second = _scores(idle, QUERIES, candidates)
    assert idle.asked == []
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_array_equal(first.view(np.uint32), second.view(np.uint32))
    np.testing.assert_array_equal(first, _expected(QUERIES, candidates))
    assert cache.counts() == (6, 6)


def test_only_what_is_missing_is_scored(cache, corpus, candidates):
    _scores(Scorer(), QUERIES, candidates)
    more = Candidates.of([[1, 5, 0], [6], [3]], corpus=corpus)
    scorer = Scorer()
    np.testing.assert_array_equal(_scores(scorer, QUERIES, more), _expected(QUERIES, more))
    assert scorer.asked == [("a", TEXTS[5]), ("🙂", TEXTS[3])]


def test_the_text_decides_and_not_the_id(cache, candidates):
    _scores(Scorer(), QUERIES, candidates)
    other = Documents(["x", "y"], ["blue", "green"])
    scorer = Scorer()
    again = Queries(["other"], ["a"])
    wanted = Candidates.of([[1, 0]], corpus=other)
    np.testing.assert_array_equal(_scores(scorer, again, wanted), _expected(again, wanted))
    assert scorer.asked == []


def test_a_text_that_comes_twice_is_scored_once(cache, corpus):
    scorer = Scorer()
    doubled = Queries(["1", "2"], ["a", "a"])
    found = _scores(scorer, doubled, Candidates.of([[0, 4, 1], [1, 4]], corpus=corpus))
    assert scorer.asked == [("a", "red"), ("a", "green")]
    assert found[0] == found[1] == found[4]
    assert found[2] == found[3]


_lists = st.lists(st.lists(st.integers(0, len(TEXTS) - 1), max_size=6), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(requests=st.lists(_lists, min_size=1, max_size=4))
def test_any_requests_are_answered_as_without_a_cache_and_no_pair_is_scored_twice(requests, tmp_path_factory):
    corpus = Documents([str(number) for number in range(len(TEXTS))], TEXTS)
    scorer = Scorer()
    with switched_on([Cache(str(tmp_path_factory.mktemp("cache")))]):
        component = load(scorer, "scorer").component
        for rows in requests:
            queries = Queries.of([f"q{number % 3}" for number in range(len(rows))])
            wanted = Candidates.of(rows, corpus=corpus)
            np.testing.assert_array_equal(stages.score(component, queries, wanted), _expected(queries, wanted))
    assert len(scorer.asked) == len(set(scorer.asked))


def test_vectors_come_back_as_they_were_and_each_text_is_encoded_once(cache):
    for kind in ("<f4", "<f2", "<f8"):
        encoder = Encoder(kind)
        encoder.fingerprint = kind
        component = load(encoder, "encoder").component
        first = stages.encode_documents(component, TEXTS)
        assert sorted(encoder.asked) == sorted(set(TEXTS))
        assert first.dtype == np.dtype(kind)
        np.testing.assert_array_equal(first, Encoder(kind).encode_documents(TEXTS), strict=True)
        encoder.asked.clear()
        np.testing.assert_array_equal(stages.encode_documents(component, TEXTS[::-1]), first[::-1], strict=True)
        assert encoder.asked == []


def test_vectors_of_queries_are_kept_apart_from_those_of_documents(cache):
    class Sided(Encoder):
        def encode(self, queries):
            return -super().encode(queries)

    component = load(Sided(), "encoder").component
    documents = stages.encode_documents(component, ["a", "b"])
    for _ in range(2):
        vectors = stages.encode(component, Queries.of(["a", "b"])).vectors
        np.testing.assert_array_equal(vectors, -documents)
    assert sorted(component.target.asked) == ["a", "a", "b", "b"]


def test_a_bi_encoder_that_scores_is_asked_for_new_texts_only(cache, corpus, candidates):
    encoder = Encoder()
    first = _scores(encoder, QUERIES, candidates)
    encoder.asked.clear()
    np.testing.assert_array_equal(_scores(encoder, QUERIES, candidates), first)
    assert encoder.asked == []
    _scores(encoder, Queries.of(["new"]), Candidates.of([[0]], corpus=corpus))
    assert encoder.asked == ["new"]


def test_tensors_are_kept_without_loss(cache):
    torch = pytest.importorskip("torch")

    class Half(Encoder):
        def encode_documents(self, contents):
            return torch.from_numpy(super().encode_documents(contents)).bfloat16()

    component = load(Half(), "half").component
    first = stages.encode_documents(component, TEXTS)
    second = stages.encode_documents(component, TEXTS)
    np.testing.assert_array_equal(first, second, strict=True)
    np.testing.assert_array_equal(first, Half().encode_documents(TEXTS).float().numpy())


def _members(**members):
    return lambda: type("Changed", (Scorer,), members)()


@pytest.mark.parametrize(
    "factory",
    [
        _members(listwise=True),
        _members(cacheable=False),
        _members(fingerprint=None),
        _members(build=lambda self, corpus, folder, encode=None: None),
    ],
    ids=["listwise", "says so", "unknown", "over an index"],
)
def test_what_depends_on_more_is_scored_every_time(cache, candidates, factory):
    for _ in range(2):
        scorer = factory()
        _scores(scorer, QUERIES, candidates)
        assert len(scorer.asked) == 6
    assert cache.counts() == (0, 0)


def test_what_is_not_known_by_its_text_is_scored_every_time(cache, candidates):
    for _ in range(2):
        scorer = Scorer()
        _scores(scorer, QUERIES.with_vectors(np.ones((3, 2))), candidates)
        assert len(scorer.asked) == 6

    class Blind(Scorer):
        def score(self, queries, candidates):
            self.asked += candidates.docs.tolist()
            return -candidates.docs

    blind = Blind()
    for _ in range(2):
        assert _scores(blind, Queries.of("a"), Candidates.of([[3, 1]])).tolist() == [-3, -1]
    assert blind.asked == [3, 1, 3, 1]


class Ragged(Encoder):
    """Encodes texts as vectors of tokens or as weights of terms; an empty text has none."""

    size = 50

    def __init__(self, vectors, kind="<f4"):
        super().__init__(kind)
        self.vectors, self.fingerprint = vectors, f"{vectors} {kind}"

    def encode_documents(self, contents):
        self.asked += contents
        lengths = [len(text) % 5 for text in contents]
        numbers = [_value(text, str(place)) for text, length in zip(contents, lengths, strict=True)
                   for place in range(length * (3 if self.vectors == "tokens" else 1))]  # fmt: skip
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        if self.vectors == "tokens":
            return TokenVectors(offsets, np.array(numbers, self.kind).reshape(-1, 3))
        terms = [9 * place + len(text) % 9 for text, length in zip(contents, lengths, strict=True)
                 for place in range(length)]  # fmt: skip
        return SparseVectors(offsets, np.array(terms, np.int32), np.array(numbers, np.float32), self.size)


def _parts(vectors):
    """The columns of vectors of tokens, or of weights of terms."""
    names = ("offsets", "values") if isinstance(vectors, TokenVectors) else ("offsets", "terms", "weights", "size")
    return [np.asarray(getattr(vectors, name)) for name in names]


@pytest.mark.parametrize(("vectors", "kind"), [("tokens", "<f4"), ("tokens", "<f2"), ("sparse", "<f4")])
def test_vectors_of_tokens_and_of_terms_come_back_as_they_were(cache, vectors, kind):
    encoder = Ragged(vectors, kind)
    component = load(encoder, "encoder").component
    first = stages.encode_documents(component, TEXTS)
    assert sorted(encoder.asked) == sorted(set(TEXTS))
    for left, right in zip(_parts(first), _parts(Ragged(vectors, kind).encode_documents(TEXTS)), strict=True):
        np.testing.assert_array_equal(left, right, strict=True)
    encoder.asked.clear()
    backwards = stages.encode_documents(component, TEXTS[::-1])
    for left, right in zip(_parts(backwards), _parts(first[np.arange(len(TEXTS))[::-1]]), strict=True):
        np.testing.assert_array_equal(left, right, strict=True)
    for texts in (["", "five5"], [""]):  # without a vector at all
        for left, right in zip(
            _parts(stages.encode_documents(component, texts)), _parts(encoder.encode_documents(texts)), strict=True
        ):
            np.testing.assert_array_equal(left, right, strict=True)
    encoder.asked.clear()
    assert len(stages.encode(component, Queries.of(["red", "new"])).vectors) == 2
    stages.encode(component, Queries.of(["new", "red"]))
    assert sorted(encoder.asked) == ["new", "red"]  # apart from those of documents


@pytest.mark.parametrize("vectors", ["tokens", "sparse"])
def test_tensors_of_tokens_are_kept_and_wrong_results_refused(cache, vectors):
    class Broken(Ragged):
        def encode_documents(self, contents):
            return np.zeros((len(contents), 3))

    expected = "TokenVectors" if vectors == "tokens" else "SparseVectors"
    with pytest.raises(ComponentError, match=f"a ndarray, and no {expected} for 1 contents"):
        stages.encode_documents(load(Broken(vectors), "broken").component, ["a"])

    class Short(Ragged):
        batch_size = None

        def encode(self, queries):
            return self.encode_documents(queries.contents[1:])

    with pytest.raises(ComponentError, match="returned 1 "):
        stages.encode(load(Short(vectors), "short").component, Queries.of(["a", "b"]))
    torch = pytest.importorskip("torch")

    class Tensors(Ragged):
        def encode_documents(self, contents):
            made = super().encode_documents(contents)
            return TokenVectors(made.offsets, torch.from_numpy(made.values)) if vectors == "tokens" else made

    component = load(Tensors(vectors), "tensors").component
    for _ in range(2):
        found = stages.encode_documents(component, TEXTS)
        for left, right in zip(_parts(found), _parts(Ragged(vectors).encode_documents(TEXTS)), strict=True):
            np.testing.assert_array_equal(left, right, strict=True)


def test_encoders_that_read_what_was_found_and_kinds_without_a_form_are_left_alone(cache):
    for changed in ({"feedback": True}, {"vectors": "terms"}):
        encoder = Encoder()
        vars(encoder).update(changed)
        for _ in range(2):
            stages.encode_documents(load(encoder, "encoder").component, ["a"])
        assert encoder.asked == ["a", "a"]
    assert cache.counts() == (0, 0)


@pytest.mark.parametrize("vectors", ["dense", "tokens", "sparse"])
def test_a_damaged_entry_is_dropped_and_computed_again(cache, caplog, vectors):
    encoder = Encoder() if vectors == "dense" else Ragged(vectors)
    component = load(encoder, "encoder").component
    texts = ["red", "green", "blue", "four"]
    first = stages.encode_documents(component, texts)
    database = cache._store._database
    stored = dict(database.execute("SELECT key, value FROM entries").fetchall())
    (bad,) = keys.of_contents(["blue"])
    flipped = stored[bad][:-1] + bytes([stored[bad][-1] ^ 1])
    database.execute("UPDATE entries SET value = ? WHERE key = ?", (flipped, bad))
    encoder.asked.clear()
    again = stages.encode_documents(component, texts)
    assert encoder.asked == ["blue"]
    same = [(first, again)] if vectors == "dense" else zip(_parts(first), _parts(again), strict=True)
    for left, right in same:
        np.testing.assert_array_equal(left, right, strict=True)
    assert caplog.text.count("are computed again") == 1


@pytest.mark.parametrize(
    ("encoder", "index"), [("splade", "impact"), ("colbert", "maxsim"), ("colbert", "plaid"), ("sentence", "exact")]
)
def test_a_second_index_encodes_no_document(cache, tmp_path, encoder, index):
    stage = load(active().registry.find(encoder, ("encoder",)).resolve_tiny()(), encoder)
    texts = [f"{word} {other}" for word in ("red", "green", "blue") for other in ("fox", "dog", "tree", "house")]
    corpus = Documents([str(number) for number in range(len(texts))], texts)
    encoded, results = [], []
    original = type(stage.component.target).encode_documents

    def counted(self, contents):
        encoded.extend(contents)
        return original(self, contents)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(stage.component.target), "encode_documents", counted)
        for folder in ("first", "second"):
            ranking = stage >> load(f"generator/{index}")
            ranking.index(corpus, tmp_path / folder)
            results.append(ranking.search(Queries.of(["green dog", "house"]), corpus))
            assert sorted(encoded) == sorted(texts), folder
    np.testing.assert_array_equal(results[0].docs, results[1].docs)
    np.testing.assert_array_equal(results[0].scores, results[1].scores)
    first, second = (sorted((tmp_path / folder).rglob("*.npy")) for folder in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_another_setting_model_or_code_is_another_component(cache, candidates, monkeypatch):
    _scores(Scorer(), QUERIES, candidates)
    other = Scorer()
    other.fingerprint = "another model"
    _scores(other, QUERIES, candidates)
    assert len(other.asked) == 6
    monkeypatch.setattr(keys, "_of_code", lambda kind: "edited")
    edited = Scorer()
    _scores(edited, QUERIES, candidates)
    assert len(edited.asked) == 6


def test_a_trained_model_is_another_one(cache, candidates):
    scorer = Scorer()
    component = load(scorer, "scorer").component
    stages.score(component, QUERIES, candidates)
    scorer.fingerprint = "trained"
    del component.fingerprint  # as training does with what it changes
    stages.score(component, QUERIES, candidates)
    assert len(scorer.asked) == 12


def test_code_is_known_by_the_file_of_its_class(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "edited.py").write_text("class T: pass\n")
    before = keys._of_code(__import__("edited").T)
    assert before
    (tmp_path / "edited.py").write_text("class T: x = 1\n")
    assert keys._of_code(sys.modules.pop("edited").T) != before
    assert keys._of_code(int) == ""


def test_a_text_is_not_taken_for_a_picture_with_its_bytes(tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "picture").write_bytes(b"text")
    contents = ["text", tmp_path / "picture", image.new("L", (2, 2)), image.new("L", (4, 1)), image.new("RGB", (2, 2))]
    assert len(set(keys.of_contents(contents))) == len(contents)
    assert keys.of_contents([image.new("L", (2, 2))]) == keys.of_contents(contents[2:3])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda scores: np.where(np.arange(len(scores)) == 1, np.nan, scores), "that are not a number"),
        (lambda scores: scores[:, None], "scores of shape"),
    ],
)
def test_what_is_no_score_is_refused_and_never_kept(cache, candidates, scores, message):
    class Broken(Scorer):
        batch_size = None

        def score(self, queries, candidates):
            return scores(super().score(queries, candidates))

    for _ in range(2):
        broken = Broken()
        with pytest.raises(ComponentError, match=message):
            _scores(broken, QUERIES, candidates)
        assert len(broken.asked) == 6


def test_vectors_of_a_wrong_shape_are_refused(cache):
    class Broken(Encoder):
        def encode_documents(self, contents):
            return super().encode_documents(contents)[:, 0]

    with pytest.raises(ComponentError, match=r"vectors of shape \(1,\) for 1 contents"):
        stages.encode_documents(load(Broken(), "broken").component, ["a"])


def test_nothing_is_asked_for_nothing(cache, corpus):
    assert _scores(Scorer(), Queries.of([]), Candidates.empty(0, corpus)).shape == (0,)
    encoder = load(Encoder(), "encoder").component
    assert len(stages.encode(encoder, Queries.of([])).vectors) == 0
    assert len(stages.encode_documents(encoder, [])) == 0


def test_an_interruption_costs_only_the_block_that_was_under_way(cache, candidates, monkeypatch):
    monkeypatch.setattr(pairs, "BLOCK", 2)
    monkeypatch.setattr(vectors, "BLOCK", 2)

    scorer, calls = Scorer(), []

    def dying(queries, candidates):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(candidates)
        return Scorer.score(scorer, queries, candidates)

    scorer.score = dying
    with pytest.raises(KeyboardInterrupt):
        _scores(scorer, QUERIES, candidates)
    scorer = Scorer()
    np.testing.assert_array_equal(_scores(scorer, QUERIES, candidates), _expected(QUERIES, candidates))
    assert len(scorer.asked) == 2
    documents = stages.encode_documents(load(Encoder(), "encoder").component, TEXTS)
    np.testing.assert_array_equal(documents, Encoder().encode_documents(TEXTS))


def test_components_go_on_without_the_cache_when_it_is_switched_off(tmp_path, candidates):
    scorer = Scorer()
    with switched_on([Cache(str(tmp_path))]):
        component = load(scorer, "scorer").component
        first = stages.score(component, QUERIES, candidates)
    np.testing.assert_array_equal(stages.score(component, QUERIES, candidates), first)
    assert len(scorer.asked) == 12


# In an experiment


MODULE = '''
import numpy as np
from nirank import Candidates, Collection, Documents, Queries, hookimpl

@hookimpl
def nirank_register(registry):
    registry.add("collection", "numbers", "cached_numbers:numbers")
    registry.add("generator", "near", "cached_numbers:Near")
    registry.add("scorer", "apart", "cached_numbers:Apart")

TEXTS = [f"document {number}" for number in range(50)]

def numbers(queries: int = 5):
    """Numbered documents and queries."""
    rows = [[3 * number % 50] for number in range(queries)]
    asked = [f"query {number}" for number in range(queries)]
    corpus = Documents([f"d{number}" for number in range(50)], TEXTS)
    return Collection("numbers", corpus, Queries(asked, asked), Candidates.of(rows, [[1]] * queries))

class Near:
    """Finds the document of the query's number and those after it."""
    def generate(self, queries, k):
        docs = [(np.arange(k) + int(text.split()[1])) % 50 for text in queries.contents]
        return Candidates.of(docs, [np.arange(k, 0, -1)] * len(queries)).ranked()

class Apart:
    """Scores by how far the numbers are apart."""
    batch_size = 7
    def __init__(self, weight: float = 1.0):
        self.weight = weight
    def score(self, queries, candidates):
        asked = np.array([int(text.split()[1]) for text in queries.contents])[candidates.rows]
        found = np.array([int(text.split()[1]) for text in candidates.corpus[candidates.docs]])
        return self.weight / (1 + np.abs(asked - found))
'''


class Counting:
    """Counts what is run."""

    def __init__(self):
        self.entries = 0

    @hookimpl(wrapper=True)
    def nirank_forward(self, batch):
        self.entries += len(batch)
        return (yield)


@pytest.fixture
def numbers(tmp_path, monkeypatch):
    (tmp_path / "cached_numbers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(active(), "known", list(active().known))
    plugin = active().load(Plugin("cached_numbers"), lambda: __import__("cached_numbers"))
    assert plugin.error is None
    yield tmp_path
    active().registry.remove(plugin)
    active().manager.unregister(plugin.module)
    del sys.modules["cached_numbers"]


def _run(queries: int, folder: Path | None, weight: float = 1.0):
    """The results of an experiment, and how many pairs were scored for it."""
    described = Experiment.of(
        {
            "collection": {"use": "numbers", "queries": queries},
            "pipeline": "near % 10 >> apart",
            "stage": {"apart": {"weight": weight}},
            "evaluate": {"measures": ["nDCG@10"]},
            "plugin": {"cache": {"folder": str(folder)}} if folder else {},
        }
    )
    counting = Counting()
    with switched_on([counting]):
        results = experiment.run(described)
    return results.systems["experiment"], counting.entries


def test_a_rerun_scores_nothing_and_ten_more_queries_only_theirs(numbers):
    plain, scored = _run(15, None)
    assert scored == 150
    assert _run(5, numbers / "c")[1] == 50
    assert _run(5, numbers / "c")[1] == 0
    system, scored = _run(15, numbers / "c")
    assert scored == 100
    assert _run(15, numbers / "c", weight=2.0)[1] == 150
    np.testing.assert_array_equal(system.run.docs, plain.run.docs)
    np.testing.assert_array_equal(system.run.scores, plain.run.scores)
    assert system.evaluation.mean == plain.evaluation.mean


# On disk


RUN = """
    import sys
    import numpy as np
    from nirank import Candidates, Documents, Queries, load
    from nirank.execution import stages
    from nirank.plugins.observers import switched_on
    from nirank_cache.cache import Cache

    class Product:
        fingerprint, batch_size = "product", 16
        asked = 0
        def score(self, queries, candidates):
            Product.asked += candidates.pairs
            texts = candidates.corpus[candidates.docs]
            rows = [queries.contents[row] for row in candidates.rows]
            return np.array([np.float32(int(a)) / np.float32(1 + int(b)) for a, b in zip(rows, texts)], np.float32)

    folder, first = sys.argv[1], int(sys.argv[2])
    corpus = Documents([f"d{n}" for n in range(40)], [str(n) for n in range(40)])
    with switched_on([Cache(folder)] if folder else []):
        component = load(Product(), "product").component
        print("ready", flush=True)
        sys.stdin.readline()
        for start in range(first, first + 60, 2):  # many small requests, so that the two take turns
            queries = Queries.of([str(start), str(start + 1)])
            scores = stages.score(component, queries, Candidates.of([np.arange(40)] * 2, corpus=corpus))
            print(start, scores.tobytes().hex())
    print("asked", Product.asked)
"""


def _start(folder, first):
    command = [sys.executable, "-c", textwrap.dedent(RUN), str(folder), str(first)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _finish(process):
    lines = process.communicate("go\n", timeout=60)[0].splitlines()
    assert process.returncode == 0
    return {line.split()[0]: line.split()[1] for line in lines if " " in line}


def test_two_processes_at_once_lose_nothing_and_score_as_without_a_cache(tmp_path):
    together = [_start(tmp_path, 0), _start(tmp_path, 30)]
    alone = [_start("", 0), _start("", 30)]
    for process in (*together, *alone):
        assert process.stdout.readline() == "ready\n"
    for process in together:
        process.stdin.write("go\n")
        process.stdin.flush()
    for cached, plain in zip(map(_finish, together), map(_finish, alone), strict=True):
        assert 0 < int(cached.pop("asked")) <= int(plain.pop("asked")) == 2400
        assert cached == plain
    afterwards = [_start(tmp_path, 0), _start(tmp_path, 30)]
    assert [_finish(process)["asked"] for process in afterwards] == ["0", "0"]


def _entries(names, size=1000):
    return [(name.encode() * 8, bytes(size), 1) for name in names]


def _stored(store, names):
    found = {key for key, _ in store.get(b"c", [name.encode() * 8 for name in names])}
    return [name for name in names if name.encode() * 8 in found]


def test_past_the_limit_what_was_not_used_for_longest_is_dropped(tmp_path, monkeypatch):
    clock = [1_000_000]
    monkeypatch.setattr("nirank_cache.store.time.time", lambda: clock[0])
    store = Store(tmp_path / FILE, limit=150_000)
    names = [f"{number:02}" for number in range(60)]
    for name in names:
        clock[0] += 10
        store.put(b"c", ("c", "score"), _entries([name]))
    assert _stored(store, names) == names
    clock[0] += 10_000
    _stored(store, names[:20])  # used again, an age later
    new = [f"n{number}" for number in range(40)]
    store.put(b"c", ("c", "score"), _entries(new))
    store.put(b"c", ("c", "score"), _entries(f"m{number}" for number in range(10)))
    kept = _stored(store, names)
    assert store.size() <= 150_000
    assert set(names[:20]) <= set(kept)
    assert not set(names[20:40]) & set(kept)
    assert _stored(store, new) == new
    store.close()


def test_an_entry_that_is_larger_than_the_limit_is_not_kept(tmp_path):
    store = Store(tmp_path / FILE, limit=50_000)
    store.put(b"c", ("c", "score"), _entries(["large"], 10**6))
    assert _stored(store, ["large"]) == []
    store.put(b"c", ("c", "score"), _entries(["small"]))
    assert _stored(store, ["small"]) == ["small"]
    store.close()


def test_of_what_was_stored_twice_the_first_counts(tmp_path):
    store = Store(tmp_path / FILE)
    for value in (b"first", b"second"):
        store.put(b"c", ("c", "encode"), [(b"k", value, 1)])
    assert [value for _, value in store.get(b"c", [b"k"])] == [b"first", b"second"]
    assert list(store.get(b"other", [b"k"])) == []
    store.close()


def test_many_keys_are_looked_up(tmp_path):
    store = Store(tmp_path / FILE)
    store.put(b"c", ("c", "encode"), ((str(number).encode(), b"v", 1) for number in range(5000)))
    assert len(list(store.get(b"c", [str(number).encode() for number in range(3000, 7000)]))) == 2000
    store.close()


def test_an_entry_that_was_damaged_or_moved_is_left_out_and_told_once(tmp_path, caplog):
    store = Store(tmp_path / FILE)
    store.put(b"c", ("name", "score"), [(b"k1", b"one", 1), (b"k2", b"two", 1), (b"k3", b"three", 1)])
    ((value,),) = store._database.execute("SELECT value FROM entries WHERE key = ?", (b"k1",)).fetchall()
    store._database.execute("UPDATE entries SET value = ? WHERE key = ?", (value, b"k2"))
    store._database.execute("UPDATE entries SET value = ? WHERE key = ?", (value[:-1] + b"f", b"k1"))
    assert list(store.get(b"c", [b"k1", b"k2", b"k3"])) == [(b"k3", b"three")]
    assert list(store.get(b"c", [b"k1"])) == []
    assert caplog.text.count("are computed again") == 1


def test_a_file_that_is_no_cache_is_told(tmp_path):
    (tmp_path / FILE).write_bytes(b"something else entirely, of some length, and no database" * 10)
    with pytest.raises(BadInput, match="not a cache, or is damaged") as caught:
        Store(tmp_path / FILE)
    assert FILE in str(caught.value)


def test_a_cache_that_cannot_be_written_is_told_once_and_stops_nobody(cache, candidates, monkeypatch, caplog):
    def full(self, database):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "_drop_oldest", full)
    for _ in range(2):
        scorer = Scorer()
        np.testing.assert_array_equal(_scores(scorer, QUERIES, candidates), _expected(QUERIES, candidates))
        assert len(scorer.asked) == 6
    assert caplog.text.count("disk is full") == 1


def test_no_room_at_all_is_refused():
    with pytest.raises(BadInput, match="leaves no room"):
        Cache(gigabytes=0)


def test_the_command_shows_and_clears(tmp_path, candidates):
    def called(*arguments):
        result = CliRunner().invoke(app, ["cache", "--folder", str(tmp_path), *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    assert "Scorer" not in called()
    with switched_on([Cache(str(tmp_path))]):
        _scores(Scorer(), QUERIES, candidates)
        stages.encode_documents(load(Encoder(), "encoder").component, TEXTS)
    shown = called()
    assert [line.split("│")[1:4] for line in shown.splitlines() if "score " in line] == [
        [" Scorer()  ", " score            ", "       6 "]
    ]
    assert "Encoder()" in shown
    assert "Scorer" not in called("--clear")
    idle = Scorer()
    with switched_on([Cache(str(tmp_path))]):
        _scores(idle, QUERIES, candidates)
    assert len(idle.asked) == 6


def test_it_lies_in_niranks_cache_folder_unless_told(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    assert Cache().path == tmp_path / "computed" / FILE
    assert Cache("~/x").path == Path("~/x").expanduser() / FILE
    assert module.tiny().path.parent.exists()
