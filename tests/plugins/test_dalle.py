"""DALL-E as a ranker: its probabilities against a toy that can be counted, its document's part, and its drawings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries, images
from nirank.errors import BadInput
from nirank.testing import violations

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

from PIL import Image  # noqa: E402

from nirank_dalle.dalle import DALLE, Shape  # noqa: E402
from nirank_dalle.drawing import Drawing, drawn  # noqa: E402
from nirank_dalle.marginals import Marginals  # noqa: E402
from nirank_dalle.tiny import Patches, dalle, marginals  # noqa: E402
from nirank_dalle.transformer import Transformer  # noqa: E402

WORDS = ("left", "right", "top", "bottom")


def picture(word, seed=0):
    """White on one half, with some noise."""
    chance = np.random.default_rng([seed, WORDS.index(word)])
    pixels = chance.integers(0, 50, (8, 8)).astype(np.uint8)
    half = {"left": np.s_[:, :4], "right": np.s_[:, 4:], "top": np.s_[:4], "bottom": np.s_[4:]}[word]
    pixels[half] += 200
    return Image.fromarray(pixels)


def halves(count=6):
    """Four words as queries; pictures of each as documents."""
    words = [word for word in WORDS for _ in range(count)]
    pictures = [picture(word, number % count) for number, word in enumerate(words)]
    corpus = Documents([f"p{number}" for number in range(len(words))], pictures)
    judged = Candidates.of(np.arange(len(words)).reshape(4, count), np.ones((4, count)), corpus)
    return Collection("halves", corpus, Queries(WORDS, WORDS), judged)


@pytest.fixture(scope="module")
def fitted():
    """Scorer and first stage, trained a little."""
    found = []
    for model in (
        DALLE(nirank.load(Patches()), device="cpu", shape=Shape(dim=32, depth=1, heads=2, longest=12)),
        Marginals(nirank.load(Patches()), dim=8, buckets=64, device="cpu"),
    ):
        options = {"steps": 50, "batch_size": 12, "learning_rate": 3e-2}
        nirank.fit(model, "likelihood", halves(), sampler="positives", **options)
        found.append(nirank.load(model, "m"))
    return found


def toy(positions=2, kinds=3):
    torch.manual_seed(4)
    made = Transformer(kinds, (1, positions), dim=8, depth=2, heads=2, longest=6, dropout=0.0).eval()
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(0.5 * torch.randn_like(weights))
    return made


# Probabilities


@pytest.mark.parametrize("text", ["", "ab", "a much longer text than is read"])
def test_the_probabilities_of_all_codes_add_up_to_one(text):
    model = toy()
    every = torch.tensor(list(itertools.product(range(3), repeat=2)))
    read = model.read([text]).take(torch.zeros(len(every), dtype=torch.int64))
    total = model.likelihoods(read, every).exp().sum()
    assert float(total.detach()) == pytest.approx(1, abs=1e-5)


def test_a_later_code_changes_no_earlier_probability():
    model, read = toy(positions=5), toy(positions=5).read(["ab"])
    codes = torch.tensor([[0, 1, 2, 0, 1]])
    before = model(read, codes)
    for place in range(5):
        changed = codes.clone()
        changed[0, place] = (codes[0, place] + 1) % 3
        after = model(read, changed)
        assert torch.allclose(before[:, : place + 1], after[:, : place + 1], atol=1e-6)
        assert place == 4 or not torch.allclose(before[:, place + 1 :], after[:, place + 1 :], atol=1e-4)


def test_a_code_at_a_time_has_the_probabilities_of_all_at_once():
    model, codes = toy(positions=4), torch.tensor([[0, 1, 2, 1], [2, 2, 0, 0]])
    whole, read = model(model.read(["ab", "a"]), codes), model.read(["ab", "a"])
    for place in range(4):
        logits, read = model.next(read, codes[:, :place])
        assert torch.allclose(logits, whole[:, place], atol=1e-5)


def test_a_text_is_read_alike_beside_a_longer_one_and_only_so_far():
    model, codes = toy(), torch.tensor([[0, 1]])
    alone = model.likelihoods(model.read(["ab"]), codes)
    beside = model.likelihoods(model.read(["abcdef", "ab"]).take(torch.tensor([1])), codes)
    assert torch.allclose(alone, beside, atol=1e-5)
    assert not torch.allclose(alone, model.likelihoods(model.read(["ba"]), codes), atol=1e-3)
    long, cut = model.read(["abcdefgh"]), model.read(["abcdef"])
    assert torch.allclose(model.likelihoods(long, codes), model.likelihoods(cut, codes))


# The score


def test_the_score_is_the_likelihood_less_that_without_a_text():
    model, collection = dalle(), halves(2)
    pairs = Candidates.of([[0, 5], [3]], corpus=collection.corpus)
    codes = torch.from_numpy(Patches().encode_documents(collection.corpus[pairs.docs])).long()
    with torch.no_grad():
        found = model.score(Queries.of(["left", "top"]), pairs)
        for score, text, row in zip(found, ["left", "left", "top"], codes, strict=True):
            told, untold = (model.model.likelihoods(model.model.read([each]), row[None]) for each in (text, ""))
            assert float(score) == pytest.approx(float(told - untold) / 4, abs=1e-5)


def test_without_a_text_the_score_is_zero_and_half_the_weight_takes_off_half():
    collection = halves(2)
    pairs = Candidates.of([np.arange(8)], corpus=collection.corpus)
    with torch.no_grad():
        assert dalle().score(Queries.of([""]), pairs).tolist() == pytest.approx([0] * 8, abs=1e-5)
        raw, half, full = (
            DALLE(nirank.load(Patches()), weight=weight, device="cpu").score(Queries.of(["top"]), pairs)
            for weight in (0.0, 0.5, 1.0)
        )
    assert torch.allclose(half, (raw + full) / 2, atol=1e-5)


def test_the_part_of_a_document_from_the_index_is_the_one_computed(tmp_path, monkeypatch):
    model, collection = dalle(), halves(2)
    pairs = Candidates.of([[1, 6], [0]], corpus=collection.corpus)
    queries = Queries.of(["left", "top"])
    with torch.inference_mode():
        computed = model.score(queries, pairs)
        model.build(collection.corpus, tmp_path)
        model.open(collection.corpus, tmp_path)
        monkeypatch.setattr(model.pictures, "codes", None)  # nothing is encoded any more
        monkeypatch.setattr(model, "_null", None)
        assert torch.allclose(model.score(queries, pairs), computed, atol=1e-6)


def test_an_index_of_another_corpus_is_not_read(tmp_path):
    model, collection, other = dalle(), halves(2), halves(2)
    model.build(collection.corpus, tmp_path)
    model.open(collection.corpus, tmp_path)
    model._index.null[:] if not model._index.null.flags.writeable else None
    pairs = Candidates.of([[2]], corpus=Documents(["x"] + list("abc"), other.corpus[np.array([7, 6, 5, 4])]))
    with torch.inference_mode():
        fresh = dalle().score(Queries.of(["top"]), pairs)
        assert torch.allclose(model.score(Queries.of(["top"]), pairs), fresh, atol=1e-6)


@pytest.mark.parametrize("pair", ["texts", "pictures"])
def test_two_texts_or_two_pictures_are_no_pair(pair):
    content = "left" if pair == "texts" else picture("left")
    pairs = Candidates.of([[0]], corpus=Documents(["a"], [content]))
    with pytest.raises(BadInput, match="text"):
        dalle().score(Queries.of([content]), pairs)


def test_of_a_share_of_the_queries_the_text_is_left_out_in_training():
    model, read = dalle().train(), []
    original = model.model.read
    model.model.read = lambda texts: read.extend(texts) or original(texts)
    collection = halves(2)
    pairs = Candidates.of([[0]] * 400, corpus=collection.corpus)
    torch.manual_seed(0)
    model.score(Queries.of([f"word {number}" for number in range(400)]), pairs)
    assert 20 <= read.count("") <= 65  # of 400 with a share of .1: within four deviations


def test_both_keep_what_scorers_promise():
    assert violations("scorer", marginals()) == {}
    assert violations("scorer", dalle()) == {}


# What is learned


def test_training_finds_the_pictures_of_a_word(fitted):
    collection, test = halves(), halves(4)
    scorer, first = fitted
    ranking = first >> nirank.load("codes") % 10 >> scorer
    for system in (ranking, first >> nirank.load("codes")):
        found = system.search(test.queries, test.corpus)
        assert nirank.evaluate(found, test.judgments, ["AP"])["AP"] > 0.95
    assert len(collection.queries) == 4


def test_pictures_find_their_words(fitted):
    words = Documents(WORDS, WORDS)
    asked = Queries(WORDS, [picture(word, 9) for word in WORDS])
    pairs = Candidates.of([np.arange(4)] * 4, corpus=words)
    with torch.no_grad():
        scores = fitted[0].component.target.score(asked, pairs).reshape(4, 4)
    assert scores.argmax(1).tolist() == [0, 1, 2, 3]


def test_what_was_trained_is_loaded_with_its_encoder_of_pictures(tmp_path):
    vae = nirank.load("dvae", "small", codes=6, dim=8, side=8, device="cpu")
    model = nirank.load("dalle", vae=vae, dim=16, depth=1, heads=2, device="cpu")
    nirank.fit(model, "likelihood", halves(2), sampler="positives", steps=2, batch_size=4, out=tmp_path / "out")
    again = nirank.load(f"trained:{tmp_path / 'out'}")
    pairs = Candidates.of([np.arange(4)], corpus=halves(2).corpus)
    scores = [each.component.target.score(Queries.of(["left"]), pairs).tolist() for each in (model, again)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert again.component.fingerprint == model.component.fingerprint


def test_an_encoder_that_makes_no_codes_is_refused():
    with pytest.raises(BadInput, match="makes no codes"):
        nirank.load("dalle", vae=nirank.load("dssm"))


# Tables


def test_tables_are_logarithms_of_probabilities_less_those_without_a_text():
    model = marginals()
    with torch.no_grad():
        tables, raw = model.encode(Queries.of(["a cat", ""])), model._logs(["a cat", ""])
    assert torch.allclose(raw.exp().sum(2), torch.ones(2, 4), atol=1e-5)
    assert torch.allclose(tables[0], raw[0] - raw[1], atol=1e-6)
    assert torch.allclose(tables[1], torch.zeros(4, 8), atol=1e-6)


# Drawing


def test_drawings_follow_from_the_seed_and_the_text_alone():
    model = dalle()
    texts = ["left", "top", "left"]

    def codes(asked, count=3, seed=0):
        with torch.inference_mode():
            return drawn(model.model, asked, count, seed, Drawing(most=8))

    first = codes(texts)
    assert torch.equal(first, codes(texts))
    assert torch.equal(first[0], first[2])
    assert torch.equal(first[1], codes(["top"])[0])
    assert not torch.equal(first, codes(texts, seed=1))
    assert torch.equal(first[:, :2].shape and codes(["left"], 3)[0], first[0])


def test_codes_are_drawn_as_often_as_they_are_probable():
    model, count = toy(), 6000
    with torch.inference_mode():
        found = drawn(model, ["ab"], count, 0, Drawing(guidance=1.0, most=3))[0]
        every = torch.tensor(list(itertools.product(range(3), repeat=2)))
        expected = model.likelihoods(model.read(["ab"]).take(torch.zeros(9, dtype=torch.int64)), every).exp() * count
    counts = np.bincount((found[:, 0] * 3 + found[:, 1]).numpy(), minlength=9)
    deviations = (counts - expected.numpy()) / np.sqrt(expected.numpy() + 1)
    assert np.abs(deviations).max() < 5


def test_only_the_most_probable_codes_are_drawn_and_guidance_sharpens(fitted):
    model = fitted[0].component.target.model
    with torch.inference_mode():
        best = drawn(model, ["left"], 8, 0, Drawing(guidance=1.0, most=1))[0]
        assert (best == best[0]).all()
        read = model.read(["left"]).take(torch.zeros(64, dtype=torch.int64))
        nothing = model.read([""]).take(torch.zeros(64, dtype=torch.int64))
        means = []
        for guidance in (0.0, 0.3, 1.0):
            codes = drawn(model, ["left"], 64, 0, Drawing(guidance=guidance, most=8))[0]
            means.append(float((model.likelihoods(read, codes) - model.likelihoods(nothing, codes)).mean()))
    assert means == sorted(means)


def test_drawings_of_a_word_are_pictures_that_it_finds(fitted):
    drawings = fitted[0].component.target.draw(Queries.of(WORDS), 5, seed=2)
    assert [len(each) for each in drawings] == [5] * 4
    bright = {"left": np.s_[:, :4], "right": np.s_[:, 4:], "top": np.s_[:4], "bottom": np.s_[4:]}
    for word, pictures in zip(WORDS, drawings, strict=True):
        means = [np.asarray(each)[bright[word]].mean() - np.asarray(each).mean() for each in pictures]
        assert np.mean(means) > 40


@pytest.mark.parametrize("query", ["pictures", "count"])
def test_what_cannot_be_drawn_is_refused(query):
    with pytest.raises(BadInput):
        dalle().draw(Queries.of([images.drawn(1)] if query == "pictures" else ["a"]), 1 if query == "pictures" else 0)
