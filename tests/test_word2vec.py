"""Word vectors: the same in every process, both matrices what they are said to be, and every word of a text read."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("gensim")

from nirank.data import Documents
from nirank.errors import BadInput
from nirank.kit.text import Analyzer, ForwardIndex, SkipGram, Word2Vec
from nirank.kit.text.word2vec import _Read

CITIES = ["seattle", "denver", "boston", "miami"]
TEAMS = ["seahawks", "broncos", "patriots", "dolphins"]


def _sentences(number=6000):
    """A city stands between a word of cities and its own team, a team between its city and a word of teams."""
    random = np.random.default_rng(0)
    for _ in range(number):
        place = random.integers(len(CITIES))
        before, after = random.integers(3, size=2)
        yield [f"road{before}", CITIES[place], TEAMS[place], f"game{after}"]


SENTENCES = list(_sentences())
SMALL = SkipGram(dim=16, window=1, epochs=4, sample=0, min_count=1)


@pytest.fixture(scope="module")
def trained():
    return Word2Vec.of_texts(SENTENCES, SMALL)


def _cosines(left, right):
    """Cosines of all pairs, one at a time."""
    return np.array([[a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for b in right] for a in left])


def test_in_and_in_finds_words_of_a_type_and_in_and_out_words_that_occur_together(trained):
    cities, teams = trained.find(CITIES), trained.find(TEAMS)
    alike = _cosines(trained.inputs[cities], trained.inputs[np.append(cities, teams)])
    beside = _cosines(trained.inputs[cities], trained.outputs[np.append(cities, teams)])
    for place in range(len(CITIES)):
        others = [other for other in range(len(CITIES)) if other != place]
        assert alike[place, others].mean() > alike[place, len(CITIES) + place]  # Boston is like Denver
        assert beside[place].argmax() == len(CITIES) + place  # Boston stands beside the Patriots


_SCRIPT = """
import hashlib
from nirank.kit.text import SkipGram, Word2Vec
texts = [["a", "b", "c"], ["b", "c", "d", "é"]] * 200
made = Word2Vec.of_texts(texts, SkipGram(dim=8, min_count=1, seed=3))
print(hashlib.sha256(made.inputs.tobytes() + made.outputs.tobytes() + repr(made.words).encode()).hexdigest())
"""


def test_vectors_are_the_same_in_every_process():
    found = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert len(found.pop()) == len(hashlib.sha256().hexdigest()) + 1


def test_another_seed_gives_other_vectors(trained):
    again = Word2Vec.of_texts(SENTENCES, SMALL)
    assert np.array_equal(again.inputs, trained.inputs)
    assert np.array_equal(again.outputs, trained.outputs)
    other = Word2Vec.of_texts(SENTENCES, SkipGram(dim=16, window=1, epochs=4, sample=0, min_count=1, seed=1))
    assert not np.allclose(other.inputs, trained.inputs)


def test_words_stand_by_frequency_and_rare_ones_are_left_out():
    texts = [["b", "a", "c", "b"], ["c", "d", "a", "b"], [], ["e"]]
    made = Word2Vec.of_texts(texts, SkipGram(dim=4, min_count=2, sample=0))
    assert made.words == ["b", "a", "c"]
    assert made.inputs.shape == made.outputs.shape == (3, 4)
    assert made.find(["c", "d", "", "b", "b"]).tolist() == [2, -1, -1, 0, 0]


def test_an_index_has_the_vectors_of_its_terms_in_order(tmp_path):
    texts = ["the cat sat on a mat", "", "cats and dogs, dogs and cats", "東京 cat 🙂"] * 30
    analyzer = Analyzer()
    ForwardIndex.write(Documents([str(number) for number in range(len(texts))], texts), analyzer, tmp_path)
    index = ForwardIndex.load(tmp_path)
    settings = SkipGram(dim=6, min_count=1, sample=0, epochs=2)
    made = Word2Vec.of_index(index, settings, analysis=analyzer.settings)
    assert set(made.words) == {term for text in texts for term in analyzer(text)}
    assert made.about == {"analysis": analyzer.settings}
    numbers = {term: number for number, term in enumerate(made.words)}  # in the same order, so that draws are the same
    offsets = np.cumsum([0, *(len(analyzer(text)) for text in texts)])
    column = np.array([numbers[term] for text in texts for term in analyzer(text)])
    same = settings.train([(offsets, column)], np.bincount(column))
    np.testing.assert_array_equal(same.inputs, made.inputs)
    np.testing.assert_array_equal(same.outputs, made.outputs)


def test_a_long_text_is_read_to_its_end():
    column = np.tile([0, 1, 2], 9000)
    advanced = []
    read = _Read([(np.array([0, 2, 27_000]), column)], np.array([0, 1, -1]), advanced.append)
    pieces = list(read)
    assert list(map(len, pieces)) == [2, 10_000, 7_998]
    assert list(itertools.chain(*pieces)) == [0, 1] * 9000
    assert advanced == [18_000]


class _Failing:
    def __iter__(self):
        yield np.array([0, 2]), np.array([0, 1])
        raise OSError("the disk is gone")


def test_texts_that_cannot_be_read_end_the_training_with_their_error():
    with pytest.raises(OSError, match="the disk is gone"):
        SkipGram(dim=4, min_count=1).train(_Failing(), np.array([1, 1]))


def test_words_of_any_kind_are_saved_and_read_again(tmp_path):
    words = ["cat", "東京", "👩‍👩‍👧", "a\ud800b", "", "\x00"]
    random = np.random.default_rng(0)
    inputs, outputs = random.normal(size=(2, len(words), 3)).astype(np.float32)
    Word2Vec(words, inputs, outputs, {"analysis": {"stemmer": None}}).save(tmp_path / "some" / "words.safetensors")
    again = Word2Vec.load(tmp_path / "some" / "words.safetensors")
    assert again.words == words
    assert np.array_equal(again.inputs, inputs)
    assert np.array_equal(again.outputs, outputs)
    assert again.about == {"analysis": {"stemmer": None}}


def test_a_file_of_something_else_is_refused(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(BadInput, match=r"nothing\.safetensors: cannot be read as word vectors"):
        Word2Vec.load(tmp_path / "nothing.safetensors")
    (tmp_path / "text").write_text("cat 0.1 0.2")
    with pytest.raises(BadInput, match="cannot be read as word vectors"):
        Word2Vec.load(tmp_path / "text")
    save_file({"vectors": np.ones((2, 2))}, tmp_path / "other")
    with pytest.raises(BadInput, match="cannot be read as word vectors"):
        Word2Vec.load(tmp_path / "other")
    parts = {"inputs": np.ones((2, 2)), "outputs": np.ones((1, 2)), "text": np.zeros(2, np.uint8)}
    save_file(parts | {"ends": np.array([1, 2])}, tmp_path / "uneven")
    with pytest.raises(BadInput, match="2 words, 2 input and 1 output vectors"):
        Word2Vec.load(tmp_path / "uneven")


@pytest.mark.parametrize(
    "settings",
    [{"dim": 0}, {"window": 0}, {"negatives": 0}, {"epochs": 0}, {"min_count": 0}, {"sample": 1.5}, {"seed": -1}],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(BadInput, match=next(iter(settings))):
        SkipGram(**settings)


def test_nothing_to_learn_from_is_told():
    with pytest.raises(BadInput, match="no word occurs min_count = 5 times"):
        Word2Vec.of_texts([["a", "b"], []], SkipGram())
    nothing = SkipGram(dim=4).train([], np.array([1, 2]))
    assert nothing.inputs.shape == nothing.outputs.shape == (0, 4)
    assert len(nothing.numbers) == 0


def test_one_word_alone_has_a_finite_vector():
    made = Word2Vec.of_texts([["a"] * 50], SkipGram(dim=4))
    assert np.isfinite(made.inputs).all()
    assert np.isfinite(made.outputs).all()
