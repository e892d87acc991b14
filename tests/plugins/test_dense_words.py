"""Weighted word vectors, against sums in plain Python, and what is read from and written to a folder."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import nirank
from nirank.data import Queries
from nirank.errors import BadInput
from nirank_dense import tiny
from nirank_dense.encoders.words import WeightedWordVectors

TEXTS = ["a cat", "", "the dog ran " * 50, "ünïcödé ∑ 🙂 東京", "cat", "  ", "a cat", "\x00\n", "aaaa a"]


@pytest.fixture
def encoder():
    return tiny.words()


def _slowly(encoder, texts):
    """One text, one word at a time, in float64."""
    vectors, weights = encoder.bags.weight.detach().numpy(), encoder.weights.detach().numpy()
    rows = []
    for text in texts:
        total = np.zeros(vectors.shape[1])
        for word in encoder._tokenizer.encode(text, add_special_tokens=False).ids:
            total += float(weights[word]) * vectors[word].astype(np.float64)
        rows.append(total / (np.linalg.norm(total) or 1))
    return np.array(rows)


def test_vectors_are_weighted_sums_of_length_one(encoder):
    expected = _slowly(encoder, TEXTS)
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).detach(), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(Queries.of(TEXTS)).detach(), expected, atol=1e-6)
    lengths = np.linalg.norm(expected, axis=1)
    assert set(lengths.round(6)) == {0, 1}
    assert encoder.encode_documents([]).shape == (0, 16)


def test_special_tokens_are_no_words(encoder):
    one = encoder._tokenizer.encode("cat")
    assert len(one.ids) == 5  # the tokenizer itself would add two
    np.testing.assert_allclose(encoder.encode_documents(["cat"])[0].detach(), _slowly(encoder, ["cat"])[0], atol=1e-6)


def test_gradients_of_the_weights_are_the_finite_differences(encoder):
    encoder.double()
    pull = torch.linspace(-1, 2, len(TEXTS) * 16, dtype=torch.float64).view(-1, 16)
    (gradient,) = torch.autograd.grad((encoder.encode_documents(TEXTS) * pull).sum(), encoder.weights)
    words = {word for text in TEXTS for word in encoder._tokenizer.encode(text, add_special_tokens=False).ids}
    for word in range(len(gradient)):
        around = []
        for step in (1e-6, -2e-6, 1e-6):
            with torch.no_grad():
                encoder.weights[word] += step
                around.append((encoder.encode_documents(TEXTS) * pull).sum().item())
        assert gradient[word].item() == pytest.approx((around[0] - around[1]) / 2e-6, abs=1e-6)
        assert word in words or gradient[word] == 0


def test_a_text_without_length_has_a_finite_gradient(encoder):
    with torch.no_grad():
        encoder.weights.zero_()
    (gradient,) = torch.autograd.grad(encoder.encode_documents(["a cat", ""]).sum(), encoder.weights)
    assert gradient.isfinite().all()


def test_vectors_are_trained_only_where_that_is_asked_for(tmp_path):
    tiny.save_words(tmp_path)
    for train_vectors in (False, True):
        encoder = WeightedWordVectors(str(tmp_path), device="cpu", train_vectors=train_vectors)
        names = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
        assert names == {"weights", "bags.weight"} if train_vectors else {"weights"}
        encoder.encode_documents(TEXTS).sum().backward()
        assert (encoder.bags.weight.grad is not None) == train_vectors


def test_what_is_saved_is_built_again_with_the_same_vectors(tmp_path):
    encoder = tiny.words()
    before = encoder.fingerprint
    with torch.no_grad():
        encoder.weights *= torch.linspace(0, 3, len(encoder.weights))
    del vars(encoder)["fingerprint"]
    assert encoder.fingerprint != before
    table = encoder.save(tmp_path)
    assert table.pop("use") == "encoder/words"
    again = WeightedWordVectors(str(tmp_path / table.pop("model")), device="cpu", **table)
    assert torch.equal(again.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
    assert again.fingerprint == encoder.fingerprint
    assert tiny.words().fingerprint == before
    assert tiny.words(seed=1).fingerprint != before


def test_a_tokenizer_that_cuts_texts_off_or_pads_them_does_neither_here(tmp_path):
    tiny.save_words(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = WeightedWordVectors(str(tmp_path), device="cpu").encode_documents(TEXTS)
    assert torch.equal(found, tiny.words().encode_documents(TEXTS))


def test_weights_are_one_where_the_file_has_none_and_half_precision_is_read(tmp_path):
    tiny.save_words(tmp_path)
    matrix = torch.randn(77, 8, generator=torch.Generator().manual_seed(0)).half()
    save_file({"embedding.weight": matrix}, tmp_path / "words.safetensors")
    encoder = WeightedWordVectors(str(tmp_path), device="cpu")
    assert encoder.weights.tolist() == [1.0] * 77
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).detach(), _slowly(encoder, TEXTS), atol=1e-6)
    assert encoder.encode_documents(TEXTS).dtype == torch.float32


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": torch.ones(77, 4), "b": torch.ones(77, 4)}, r"one matrix of vectors, and"),
        ({"a": torch.ones(77, 4), "b": torch.ones(76)}, r"\(76,\).*at most one weight a row"),
        ({"a": torch.ones(77)}, "one matrix"),
        ({"a": torch.ones(77, 4), "b": torch.ones(77), "c": torch.ones(77)}, "one matrix"),
        ({"a": torch.ones(76, 4)}, "knows 77 words, but there are vectors of 76"),
    ],
)
def test_a_file_of_other_tensors_is_refused(tmp_path, tensors, message):
    tiny.save_words(tmp_path)
    save_file(tensors, tmp_path / "words.safetensors")
    with pytest.raises(BadInput, match=message):
        WeightedWordVectors(str(tmp_path), device="cpu")


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"0 files \*.safetensors"):
        WeightedWordVectors(str(tmp_path))
    tiny.save_words(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="not a tokenizer"):
        WeightedWordVectors(str(tmp_path))
    (tmp_path / "words.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BadInput, match="not a file of safetensors"):
        WeightedWordVectors(str(tmp_path))


def test_what_is_no_text_is_refused(encoder, tmp_path):
    with pytest.raises(BadInput, match="content 1 is of type PosixPath; only texts"):
        encoder.encode_documents(["a", tmp_path])


def test_untrained_wordllama_finds_emoji_as_measured(shared):
    collections = pytest.importorskip("nirank_datasets.emoji")
    folder = shared("weights/wordllama-256")
    emoji = collections.emoji("train")
    search = nirank.load("words", model=str(folder), device="cpu") >> nirank.load("exact", device="cpu") % 10
    found = search.search(emoji.queries, emoji.corpus)
    assert nirank.evaluate(found, emoji.judgments, ["nDCG@10"])["nDCG@10"] == pytest.approx(0.2970, abs=5e-4)
