"""The code of a class as a hash: equal for equal code, other for whatever else could come out."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch

import nirank
from nirank.source import source_digest

ENCODER = """
import nirank, numpy as np
{before}
class Encoder:
    vectors = "dense"
    def encode(self, queries):
        return self.encode_documents(queries.contents)
    def encode_documents(self, contents):
        return np.array([{row} for text in contents], np.float32)
corpus = nirank.Documents(list("abc"), ["apple", "bee", "cat"])
found = (nirank.load(Encoder()) >> nirank.load("exact") % 1).search(["apple", "bee", "cat"], corpus)
print(corpus.ids.take(found.docs))
"""


def _run(path, text, tmp_path):
    path.write_text(text)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_two_scripts_with_a_class_of_one_name_share_no_index(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    wrong = ENCODER.format(before="", row="[1.0, 0.0]")
    right = ENCODER.format(before="", row="[float(text[0] == 'a'), float(text[0] == 'b'), float(text[0] == 'c')]")
    assert _run(tmp_path / "one.py", wrong, tmp_path) == "['a', 'a', 'a']"
    assert _run(tmp_path / "two.py", right, tmp_path) == "['a', 'b', 'c']"
    made = sorted((tmp_path / "cache" / "indexes").glob("*/manifest.json"))
    assert _run(tmp_path / "two.py", right, tmp_path) == "['a', 'b', 'c']"
    assert sorted((tmp_path / "cache" / "indexes").glob("*/manifest.json")) == made  # the same script, the same index


def _module(tmp_path, monkeypatch, name, text):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{name}.py").write_text(text)
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    return importlib.import_module(name)


def test_a_function_beside_the_class_counts(tmp_path, monkeypatch):
    text = "def helper(): return {}\nclass Scorer:\n    def score(self, q, c): return [helper()] * c.pairs\n"
    digests = {
        source_digest(_module(tmp_path, monkeypatch, f"beside_{number}", text.format(number)).Scorer)
        for number in "123"
    }
    assert len(digests) == 3


def _made(factor, offset=0):
    class Scorer:
        def score(self, queries, candidates):
            return candidates.scores * factor + offset

    return Scorer


def test_a_class_that_a_function_makes_depends_on_what_the_function_was_given():
    assert source_digest(_made(3)) == source_digest(_made(3))
    assert len({source_digest(_made(factor, offset)) for factor in (1, 2) for offset in (0, 1)}) == 4


def _typed(text, **more):
    own = {"__name__": "typed", **more}
    exec(text, own)
    return source_digest(own["Scorer"])


VALUES = {
    "set": ({"a"}, {"b"}),
    "bytes": (b"a", b"b"),
    "order in a tuple": ((b"a", b"b"), (b"b", b"a")),
    "list": ([b"a"], [b"b"]),
    "dict": ({"a": b"x"}, {"a": b"y"}),
    "array": (np.arange(2), np.arange(3)),
    "number of numpy's": (np.float32(1), np.float32(2)),
    "tensor": (torch.ones(2), torch.zeros(2)),
    "model": (torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)),
    "method of a model": (torch.nn.Linear(2, 2).forward, torch.nn.Linear(2, 2).forward),
    "partial": (functools.partial(max, 1), functools.partial(max, 2)),
    "corpus": (nirank.Documents(["1"], ["a"]), nirank.Documents(["1"], ["b"])),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_that_json_cannot_hold_count_by_their_contents(name):
    one, other = VALUES[name]
    assert source_digest(_made(one)) == source_digest(_made(one)) != source_digest(_made(other))
    text = "class Scorer:\n    def score(self, q, c): return known\n"
    assert _typed(text, known=one) == _typed(text, known=one) != _typed(text, known=other)


@pytest.mark.parametrize("head", ["@property", "@classmethod", "@staticmethod", "@functools.cached_property"])
def test_decorated_methods_count(head):
    text = "import functools\nclass Scorer:\n    " + head + "\n    def score(self): return {}\n"
    assert _typed(text.format(1)) == _typed(text.format(1)) != _typed(text.format(2))


STABLE = """
import dataclasses, typing, numpy as np
from nirank.source import source_digest
known, words = np.arange(3.0), {"a", "b", "c"}
@dataclasses.dataclass
class Scorer(typing.Generic[typing.TypeVar("T")]):
    depth: int | None = 3
    kinds: list[typing.Literal["x"]] = dataclasses.field(default_factory=list)
    def score(self, queries, candidates):
        return known, words, {"p", "q", "r"}, "p" in {"p", "q", "r"}
print(source_digest(Scorer))
"""


def test_another_process_finds_the_same_hash(tmp_path):
    assert _run(tmp_path / "own.py", STABLE, tmp_path) == _run(tmp_path / "own.py", STABLE, tmp_path)


def test_a_package_that_is_on_the_path_twice_is_the_same_package(tmp_path):
    (tmp_path / "spread").mkdir()  # without an __init__.py
    (tmp_path / "spread" / "made.py").write_text("class Encoder: ...")
    (tmp_path / "link").symlink_to(tmp_path)
    script = """
import sys
sys.path[:0] = {paths}
from spread.made import Encoder
from nirank.source import source_digest
print(source_digest(Encoder))
"""
    once, twice = [str(tmp_path)], [str(tmp_path), str(tmp_path / "link")]
    assert (
        len({_run(tmp_path / "a.py", script.format(paths=paths), tmp_path / "spread") for paths in (once, twice)}) == 1
    )


def test_encoders_that_close_over_two_matrices_share_no_index(tmp_path, monkeypatch):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    corpus = nirank.Documents(list("abc"), ["apple", "bee", "cat"])

    def first(matrix):
        class Encoder:
            vectors = "dense"

            def encode(self, queries):
                return self.encode_documents(queries.contents)

            def encode_documents(self, contents):
                return np.array([[float(text[0] == letter) for letter in "abc"] for text in contents]) @ matrix

        ranking = nirank.load(Encoder()) >> nirank.load("exact") % 1
        return corpus.ids.take(ranking.search(["apple", "bee", "cat"], corpus).docs)

    assert list(first(np.eye(3))) == ["a", "b", "c"]
    assert list(first(np.array([[1.0, 0, 0], [3, 1, 0], [0, 5, 1]]))) == ["b", "b", "c"]


def test_what_was_typed_in_is_told_apart_by_its_instructions_and_the_globals_it_names():
    text = "scale = {}\ndef more(x): return x + {}\nclass Scorer:\n    def score(self, q, c): return more(c) * scale\n"
    assert _typed(text.format(1, 2)) == _typed("\n\n# elsewhere\n" + text.format(1, 2))
    assert len({_typed(text.format(scale, more)) for scale in (1, 2) for more in (1, 2)}) == 4


def test_a_subclass_of_one_of_ours_is_another_component():
    from nirank_datasets.candidate_lists import Given

    class Own(Given):
        """The same, but for its name."""

    assert nirank.load(Own()).component.fingerprint != nirank.load(Given()).component.fingerprint
