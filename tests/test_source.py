"""The code of a class as a hash: equal for equal code, other for whatever else could come out."""

from __future__ import annotations

import importlib
import subprocess
import sys

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


def test_what_was_typed_in_is_told_apart_by_its_instructions_and_the_globals_it_names():
    def typed(text):
        own = {"__name__": "typed"}
        exec(text, own)
        return source_digest(own["Scorer"])

    text = "scale = {}\ndef more(x): return x + {}\nclass Scorer:\n    def score(self, q, c): return more(c) * scale\n"
    assert typed(text.format(1, 2)) == typed("\n\n# elsewhere\n" + text.format(1, 2))
    assert len({typed(text.format(scale, more)) for scale in (1, 2) for more in (1, 2)}) == 4


def test_a_subclass_of_one_of_ours_is_another_component():
    from nirank_datasets.candidate_lists import Given

    class Own(Given):
        """The same, but for its name."""

    assert nirank.load(Own()).component.fingerprint != nirank.load(Given()).component.fingerprint
