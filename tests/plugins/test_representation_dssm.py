"""DSSM: trigrams and layers against plain loops, what a collection and a file give, training on real questions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("regex")

import torch
from safetensors.torch import save_file

import nirank
from nirank.checkpoints import checkpoint
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank.kit.text import words
from nirank_representation.dssm import DSSM, tiny
from nirank_representation.trigrams import spelled, trigrams, vocabulary

TEXTS = [
    "a small cat",
    "",
    "The CAT, the cat",
    "ünïcödé 東京 🙂 zebra",
    "  ",
    "cat " * 3000,
    "qqq",
    "e\u0301 \ud800",
    "a",
]


def _collection(texts=("a small cat sat", "the dog ran", "", "東京 zebra"), queries=("small dog?", "cat")):
    ids = [str(number) for number in range(len(texts))]
    judged = Candidates.of([[0, 1], [0, 3]], [[1, 0], [1, 0]])
    return Collection("some", Documents(ids, list(texts)), Queries.of(list(queries)), judged)


def _letters(word):
    marked = f"#{word}#"
    return [marked[place : place + 3] for place in range(len(word))]


def test_trigrams_are_those_of_words_between_marks():
    found, starts = trigrams(["good Cats", "", "a 東京", "x-ray"])
    spelt = [spelled(number) for number in found.tolist()]
    assert [spelt[a:b] for a, b in itertools.pairwise(starts)] == [
        ["#go", "goo", "ood", "od#", "#ca", "cat", "ats", "ts#"],
        [],
        ["#a#", "#東#", "#京#"],
        ["#x#", "#ra", "ray", "ay#"],
    ]


def test_trigrams_of_no_texts_and_of_texts_without_words():
    assert [part.tolist() for part in trigrams([])] == [[], [0]]
    assert [part.tolist() for part in trigrams(["", "?!"])] == [[], [0, 0, 0]]


def test_every_letter_of_unicode_has_a_number_of_its_own():
    highest = "𐀀" + chr(0x10FFFD).lower()
    numbers = {ord(a) << 42 | ord(b) << 21 | ord(c) for a in "#a𐀀" for b in highest for c in "#z𐀀"}
    assert len(numbers) == 18
    assert all(0 <= number < 2**63 for number in numbers)
    assert {len(spelled(number)) for number in numbers} == {3}


def test_a_vocabulary_counts_over_batches():
    batches = [["cat cat", "car"], [], ["cab"]]
    spelt = {least: [spelled(number) for number in vocabulary(batches, least).tolist()] for least in (1, 2, 4, 5)}
    assert spelt[1] == sorted({"#ca", "cat", "at#", "car", "ar#", "cab", "ab#"})
    assert spelt[2] == ["#ca", "at#", "cat"]
    assert spelt[4] == ["#ca"]
    assert spelt[5] == []


def _slowly(encoder, text, tower):
    """One text, one unit at a time, in float64: the equations of the paper."""
    known = [spelled(number) for number in encoder.trigrams.tolist()]
    counts = [sum(_letters(word).count(trigram) for word in words(text)) for trigram in known]
    if not any(counts):
        return np.zeros(encoder.dims[-1])
    tower = encoder.towers[tower]
    matrices = [(tower.bags.weight.T, tower.bias), *((layer.weight, layer.bias) for layer in tower.layers)]
    values = counts
    for matrix, bias in matrices:
        rows = zip(matrix.tolist(), bias.tolist(), strict=True)
        values = [math.tanh(sum(w * x for w, x in zip(row, values, strict=True)) + b) for row, b in rows]
    return np.array(values) / math.sqrt(sum(value * value for value in values))


@pytest.mark.parametrize("towers", [1, 2])
def test_vectors_are_those_of_the_equations(towers):
    encoder = DSSM(dims=(7, 5, 4), towers=towers, device="cpu", seed=2)
    encoder.begin(_collection())
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += torch.linspace(-0.2, 0.3, parameter.numel()).view_as(parameter)  # biases too
    expected = [[_slowly(encoder, text, tower) for text in TEXTS] for tower in (0, -1)]
    np.testing.assert_allclose(encoder.encode(Queries.of(TEXTS)).detach(), expected[0], atol=1e-5)
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).detach(), expected[1], atol=1e-5)
    assert np.allclose(*expected) == (towers == 1)
    lengths = encoder.encode(Queries.of(TEXTS)).norm(dim=1).tolist()
    assert [round(length, 5) for length in lengths] == [1, 0, 1, 1, 0, 1, 0, 0, 1]


def test_gradients_are_the_finite_differences():
    encoder = DSSM(dims=(4, 3), device="cpu")
    encoder.begin(_collection())
    encoder.double()
    pull = torch.linspace(-1, 2, 3 * len(TEXTS), dtype=torch.float64).view(-1, 3)
    (encoder.encode_documents(TEXTS) * pull).sum().backward()
    for name, parameter in encoder.named_parameters():
        flat = parameter.data.view(-1)
        for place in range(0, len(flat), 7):
            around = []
            for step in (1e-6, -2e-6, 1e-6):
                flat[place] += step
                around.append((encoder.encode_documents(TEXTS) * pull).sum().item())
            assert parameter.grad.view(-1)[place].item() == pytest.approx((around[0] - around[1]) / 2e-6, abs=1e-5), (
                name
            )


def test_a_model_takes_the_trigrams_of_its_first_collection():
    encoder = DSSM(dims=(4, 3), device="cpu")
    encoder.begin(_collection())
    known, first = [spelled(number) for number in encoder.trigrams.tolist()], encoder.fingerprint
    assert {"#do", "#sm", "#東#"} <= set(known)  # of queries and of documents
    assert "#bu" not in known
    encoder.begin(_collection(["a bus"]))
    del vars(encoder)["fingerprint"]
    assert encoder.fingerprint == first


def test_the_seed_decides_the_weights():
    made = []
    for seed in (0, 0, 1):
        torch.rand(1)
        encoder = DSSM(dims=(4, 3), device="cpu", seed=seed)
        encoder.begin(_collection())
        made.append(encoder.fingerprint)
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize("towers", [1, 2])
def test_a_checkpoint_is_the_model_wherever_it_lies(tmp_path, towers):
    encoder = DSSM(dims=(5, 3), towers=towers, device="cpu")
    encoder.begin(_collection())
    stage = nirank.load(encoder, "dssm")
    checkpoint.save(stage.component, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    again = checkpoint.load(tmp_path / "two")
    assert torch.equal(again.target.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
    assert torch.equal(again.target.encode(Queries.of(TEXTS)), encoder.encode(Queries.of(TEXTS)))
    assert again.target.fingerprint == encoder.fingerprint


def test_files_and_settings_that_do_not_fit_are_refused(tmp_path):
    tiny().save(tmp_path)
    path = str(tmp_path / "dssm.safetensors")
    with pytest.raises(BadInput, match=r"dssm.safetensors: cannot be loaded as a DSSM with dims \[16, 9\]"):
        DSSM(dims=(16, 9), model=path)
    with pytest.raises(BadInput, match="and 2 towers"):
        DSSM(dims=(16, 8), towers=2, model=path)
    save_file({"vectors": torch.ones(2)}, tmp_path / "other")
    for name in ("other", "missing"):
        with pytest.raises(BadInput, match=f"{name}: cannot be loaded as a DSSM"):
            DSSM(model=str(tmp_path / name))
    for settings in ({"dims": ()}, {"dims": (4, 0)}, {"towers": 3}, {"min_count": 0}):
        with pytest.raises(BadInput, match=next(iter(settings))):
            DSSM(**settings)


def test_what_cannot_be_encoded_is_told(tmp_path):
    with pytest.raises(BadInput, match=r"is not trained: train it with nirank.fit"):
        DSSM().encode(Queries.of(["cat"]))
    with pytest.raises(BadInput, match=r"content \d+ is of type PosixPath"):
        tiny().encode_documents(["a", tmp_path])
    with pytest.raises(BadInput, match="no trigram occurs min_count = 9 times"):
        DSSM(min_count=9).begin(_collection())


def test_it_searches_and_reranks():
    pytest.importorskip("numba")
    dssm, corpus = nirank.load(tiny(), "dssm"), Documents(list("abc"), ["a fast car", "a small cat sat", "zebra"])
    search = dssm >> nirank.load("exact", device="cpu")
    found = search.search("a small cat sat", corpus)
    assert found[0][0][0] == 1
    assert found[0][1][0] == pytest.approx(1, abs=1e-5)
    again = (search >> dssm).search("a small cat sat", corpus)
    np.testing.assert_allclose(again.scores, found.scores, atol=1e-5)


def test_trained_on_real_questions_it_ranks_better_than_before(shared):
    pytest.importorskip("accelerate")
    train, dev = (nirank.collection(f"beir:{shared('wikiqa')}", split=split) for split in ("train", "dev"))
    measured = []
    for steps in (1, 56):
        fitted = nirank.fit(
            nirank.load("dssm", device="cpu"),
            nirank.load("softmax_cross_entropy", gamma=10.0),
            train,
            dev=dev,
            steps=steps,
            learning_rate=1e-3 if steps > 1 else 1e-9,
            measure="AP",
        )
        measured.append(fitted.best)
    assert measured[1] > measured[0] + 0.05
    assert measured[1] > 0.57  # .60 to .64 by seed; sentences in any order have .33
