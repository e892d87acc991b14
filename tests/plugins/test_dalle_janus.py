"""Janus: the likelihood of codes one by one, codes as its authors find them, drawing, and files that are refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers", minversion="5.24")

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank.testing import violations
from nirank_dalle.drawing import Drawing
from nirank_dalle.janus import BEGIN, Janus
from nirank_dalle.tiny import janus, save_janus

PROMPT = "u {} a"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint as transformers saves it."""
    place = tmp_path_factory.mktemp("janus") / "model"
    save_janus(place)
    return place


@pytest.fixture(scope="module")
def scorer(folder):
    return _opened(folder)


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(3)
    return [Image.fromarray(random.integers(0, 255, (8, 8, 3)).astype(np.uint8)) for _ in range(4)]


def _opened(folder, **settings):
    return Janus(str(folder), prompt=PROMPT, batch_size=3, device="cpu", **settings)


def _pairs(pictures, texts):
    corpus = Documents([f"p{number}" for number in range(len(pictures))], pictures)
    every = np.arange(len(pictures))
    return Queries([f"q{n}" for n in range(len(texts))], texts), Candidates.of([every] * len(texts), corpus=corpus)


def _logits(scorer, tokens, codes):
    """Logits of the code behind a prompt and codes: all at once, by the model of transformers, without a cache."""
    network = scorer.model.network
    words = network.get_input_embeddings()(torch.tensor([tokens]))
    made = network.prepare_embeddings_for_image_generation(torch.tensor([codes], dtype=torch.int64))
    hidden = network.model.language_model(inputs_embeds=torch.cat([words, made], 1)).last_hidden_state
    return network.model.generation_head(hidden[:, -1])[0]


def _by_hand(scorer, text, codes):
    tokenizer = scorer.model.tokenizer
    tokens = [*tokenizer(PROMPT.replace("{}", text))["input_ids"], tokenizer.convert_tokens_to_ids(BEGIN)]
    if not text:
        tokens[1:-1] = [tokenizer.pad_token_id] * (len(tokens) - 2)
    steps = range(len(codes))
    return sum(float(_logits(scorer, tokens, codes[:n]).log_softmax(-1)[codes[n]]) for n in steps)


@torch.inference_mode()
def test_the_score_is_the_likelihood_code_by_code_less_that_without_a_text(scorer, folder, pictures):
    queries, pairs = _pairs(pictures, ["red", "a small cat", "b"])
    codes = scorer.pictures.codes(pictures).tolist()
    told = np.array([[_by_hand(scorer, text, each) for each in codes] for text in queries.contents])
    untold = np.array([_by_hand(scorer, "", each) for each in codes])
    found = scorer.score(queries, pairs).reshape(3, 4).numpy()
    assert found == pytest.approx((told - untold) / 16, abs=1e-4)
    raw = _opened(folder, weight=0.0).score(queries, pairs).reshape(3, 4).numpy()
    assert raw == pytest.approx(told / 16, abs=1e-4)
    assert np.ptp(told / 16) > 0.01  # the text and the picture matter
    nothing, pairs = _pairs(pictures, [""])
    assert scorer.score(nothing, pairs).numpy() == pytest.approx(0, abs=1e-6)


@torch.inference_mode()
def test_a_code_at_a_time_has_the_probability_of_all_at_once(scorer, pictures):
    codes = torch.tensor(scorer.pictures.codes(pictures[:2]), dtype=torch.int64)
    read, total = scorer.model.read(["red", "a small cat"]), torch.zeros(2)
    for position in range(16):
        logits, read = scorer.model.next(read, codes[:, :position])
        total += logits.log_softmax(-1).gather(1, codes[:, position : position + 1])[:, 0]
    expected = scorer.model.likelihoods(scorer.model.read(["red", "a small cat"]), codes)
    assert torch.allclose(total, expected, atol=1e-4)


@torch.inference_mode()
def test_codes_are_those_of_the_nearest_direction_as_they_are_decoded(scorer, pictures):
    model = scorer.model.network.model.vqmodel
    pixels = torch.stack([torch.tensor(np.asarray(each, np.float32) / 127.5 - 1).permute(2, 0, 1) for each in pictures])
    vectors = model.quant_conv(model.encoder(pixels)).permute(0, 2, 3, 1).reshape(len(pictures), 16, 4)
    cosines = F.cosine_similarity(vectors[:, :, None], model.quantize.embedding.weight[None, None], dim=-1)
    found = scorer.pictures.codes(pictures)
    assert found.dtype == np.uint8
    assert found.tolist() == cosines.argmax(-1).tolist()
    theirs = model.encode(pixels).image_tokens.reshape(len(pictures), 16)
    assert (theirs.numpy() != found).any()  # transformers compares vectors that are not of length 1
    drawn = scorer.pictures.decode(found)
    shades = model.decode(torch.tensor(found, dtype=torch.int64)).clamp(-1, 1)
    assert np.abs(np.asarray(drawn[0], float) - ((shades[0] + 1) * 127.5).permute(1, 2, 0).numpy()).max() <= 0.5


@torch.inference_mode()
def test_drawings_follow_from_seed_and_text_and_the_most_probable_one_is_greedy(scorer, folder):
    def drawn(texts, seed=0):
        return [[each.tobytes() for each in some] for some in scorer.draw(Queries(texts, texts), 2, seed)]

    both = drawn(["red", "a small cat"])
    assert drawn(["a small cat"]) == both[1:]
    assert drawn(["red"]) == both[:1]
    assert drawn(["red"], seed=1) != both[:1]
    greedy = _opened(folder, drawing=Drawing(guidance=1.0, most=1))
    tokenizer, codes = greedy.model.tokenizer, list[int]()
    tokens = [*tokenizer("u red a")["input_ids"], tokenizer.convert_tokens_to_ids(BEGIN)]
    for _ in range(16):
        codes.append(int(_logits(greedy, tokens, codes).argmax()))
    (pictures,) = greedy.draw(Queries(["1"], ["red"]))
    assert pictures[0].tobytes() == greedy.pictures.decode(np.array([codes]))[0].tobytes()


def test_it_keeps_what_scorers_promise_and_its_index_is_what_is_computed(pictures):
    assert violations("scorer", janus()) == {}
    stage, texts = nirank.load(janus()), ["red", "a small cat"]
    queries, pairs = _pairs(pictures, texts)
    everything = nirank.load(_Everything()) >> stage
    found = everything.search(queries, pairs.corpus)
    expected = stage.score(queries, found)
    assert found.scores == pytest.approx(expected, abs=1e-5)


class _Everything:
    def build(self, corpus, folder, encode=None):
        (folder / "size").write_text(str(len(corpus)))

    def open(self, corpus, folder):
        self.size = len(corpus)

    def generate(self, queries, k):
        docs = np.arange(min(k, self.size))
        return Candidates.of([docs] * len(queries), [np.zeros(len(docs))] * len(queries))


def test_a_saved_one_is_loaded_with_its_scores(scorer, pictures, tmp_path):
    table = scorer.save(tmp_path)
    again = Janus(str(tmp_path / table["model"]), device="cpu", prompt=table["prompt"], weight=table["weight"])
    assert again.fingerprint == scorer.fingerprint
    assert again.fingerprint != Janus(str(tmp_path / "model"), device="cpu").fingerprint  # another prompt
    queries, pairs = _pairs(pictures, ["red"])
    with torch.inference_mode():
        assert torch.allclose(again.score(queries, pairs), scorer.score(queries, pairs), atol=1e-6)


@pytest.mark.parametrize("lacking", ["model.generation_head.vision_head.weight", "model.vqmodel.quant_conv.weight"])
def test_a_checkpoint_that_lacks_weights_is_refused(folder, tmp_path, lacking):
    shutil.copytree(folder, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights[lacking]
    save_file(weights, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=lacking.rpartition(".")[0].rpartition(".")[2]):
        _opened(tmp_path / "model")


def test_what_does_not_fit_is_refused(folder, scorer, pictures, tmp_path):
    with pytest.raises(BadInput, match=r"'draw' has no \{\}"):
        Janus(str(folder), prompt="draw")
    with pytest.raises(BadInput, match="precision = 'int8'"):
        Janus(str(folder), precision="int8")
    with pytest.raises(BadInput, match="weight = inf"):
        _opened(folder, weight=float("inf"))
    shutil.copytree(folder, tmp_path / "model")
    from nirank.testing import letter_tokenizer

    letter_tokenizer(tmp_path / "letters").save_pretrained(tmp_path / "model")
    with pytest.raises(BadInput, match=f"no {BEGIN}, which begins a picture"):
        _opened(tmp_path / "model")
    queries, pairs = _pairs(["a text"], ["red"])
    with pytest.raises(BadInput, match="is a text, and a picture is expected"):
        scorer.score(queries, pairs)
