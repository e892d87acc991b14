"""Priors: regression against numpy, diffusion's schedule and noise, what is learned, and diffusers' transformer."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

from PIL import Image  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import nirank  # noqa: E402
from nirank.data import Candidates, Collection, Documents, Queries  # noqa: E402
from nirank.errors import BadInput, MissingDependency  # noqa: E402
from nirank_unclip import diffusion, tiny  # noqa: E402
from nirank_unclip.diffusion import Diffusion, Drawing  # noqa: E402

WORDS = ["north", "east", "south", "west", "up", "down", "left", "right"]


def _picture(number):
    """Grey, with one of sixteen squares black."""
    pixels = np.full((16, 16), 128, np.uint8)
    row, column = divmod(number, 4)
    pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def pairs():
    """Eight words, each with a picture that has nothing to do with its letters."""
    corpus = Documents([f"p{number}" for number in range(8)], [_picture(number) for number in range(8)])
    own = Candidates.of([[number] for number in range(8)], [[1]] * 8, corpus)
    return Collection("pairs", corpus, Queries.of(WORDS), own)


def _prior(**settings):
    return nirank.load("prior", clip=tiny.stand_in(), hidden=64, **settings)


def _right(stage, pairs):
    found = (stage >> nirank.load("exact")).search(pairs.queries, pairs.corpus)
    return nirank.evaluate(found, pairs.judgments, ["P@1"]).mean["P@1"]


class Likelihood:
    """Minus the mean score of what is relevant."""

    def __call__(self, scores, labels, mask):
        return -(scores * (labels > 0) * mask).sum() / ((labels > 0) & mask).sum()


OPTIONS = {"steps": 80, "batch_size": 8, "learning_rate": 5e-3}


def test_a_network_learns_pictures_that_the_texts_own_vectors_do_not_find(pairs):
    assert _right(tiny.stand_in(), pairs) < 0.5
    stage = _prior()
    nirank.fit(stage, "clip", pairs, sampler="in_batch", **OPTIONS)
    assert _right(stage, pairs) == 1


def test_ridge_is_the_solution_of_its_equation(pairs):
    stage = _prior(how="ridge", penalty=0.1)
    with pytest.raises(BadInput, match="has learned nothing yet"):
        stage.component.target.encode(pairs.queries)
    nirank.fit(stage, None, pairs)
    stand_in = tiny.Letters()
    left = F.normalize(torch.tensor(stand_in.encode_documents(WORDS)), dim=1).double()
    right = F.normalize(torch.tensor(stand_in.encode_documents(pairs.corpus[:])), dim=1).double()
    centred = left - left.mean(0)
    solved = torch.linalg.inv(centred.T @ centred + 0.1 * torch.eye(16)) @ centred.T @ (right - right.mean(0))
    expected = F.normalize(centred @ solved + right.mean(0), dim=1)
    assert torch.allclose(stage.component.target.encode(pairs.queries), expected.float(), atol=1e-4)
    with pytest.raises(BadInput, match="objective of its own"):
        nirank.fit(_prior(how="ridge"), "ranknet", pairs)


def test_diffusion_is_learned_by_likelihood_of_what_is_relevant(pairs):
    stage = _prior(how="diffusion", guidance=1.0, samples=4, steps=10)
    nirank.fit(stage, Likelihood(), pairs, **OPTIONS | {"steps": 250})
    assert _right(stage, pairs) >= 0.75
    noisy = stage.component.target
    assert noisy.score(pairs.queries, pairs.judgments).shape == (8,)  # beyond training, the dot products
    expected = (noisy.encode(pairs.queries) * noisy.encode_documents(pairs.corpus[:])).sum(1)
    assert torch.allclose(noisy.score(pairs.queries, pairs.judgments), expected, atol=1e-5)


def test_a_query_alone_has_the_vector_that_it_has_in_a_batch_and_another_seed_another():
    encoder = tiny.prior()
    with torch.inference_mode():
        together = encoder.encode(Queries.of(["cat", "dog", "cat"]))
        alone = torch.cat([encoder.encode(Queries.of(text)) for text in ("cat", "dog", "cat")])
        assert torch.allclose(together, alone, atol=1e-6)
        encoder.drawing = Drawing(steps=3, samples=2, guidance=2.0, chance=1)
        assert not torch.allclose(encoder.encode(Queries.of(["cat"])), alone[:1], atol=1e-3)


def test_noise_is_normal_and_follows_from_the_text_and_the_seed():
    drawn = diffusion.noise("cat", 500, 40, 0)
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02
    assert torch.equal(drawn, diffusion.noise("cat", 500, 40, 0))
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, diffusion.noise("cats", 500, 40, 0))
    assert not torch.equal(drawn, diffusion.noise("cat", 500, 40, 1))


def test_the_schedule_is_a_cosine_from_all_signal_to_none():
    left = diffusion.signal(torch.arange(1001))
    assert left[0].item() == pytest.approx(1, abs=1e-6)
    assert left[1000] < 1e-4
    assert (left[1:] <= left[:-1]).all()
    expected = np.cos((0.5 + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert left[500].item() == pytest.approx(expected, abs=1e-5)


def test_steps_with_a_network_that_knows_the_answer_end_there():
    target = F.normalize(torch.tensor([[1.0, 2.0, -1.0, 0.5]]), dim=1)
    network = Diffusion(3, 4, 8, 1)
    network.forward = lambda noisy, times, texts: (2 * target).expand(len(noisy), -1)
    found = network.drawn(torch.ones(2, 3), ["a", "b"], Drawing(steps=7, samples=3, guidance=3.0))
    assert found.shape == (2, 3, 4)
    assert torch.allclose(found, target.expand(2, 3, -1), atol=1e-3)


def test_guidance_goes_beyond_what_the_text_says():
    network = Diffusion(3, 4, 8, 1)
    torch.nn.init.normal_(network.nothing)
    state, texts = torch.randn(2, 4), torch.randn(2, 3)
    with torch.inference_mode():
        with_text = network(state, torch.tensor([500, 500]), texts)
        without = network(state, torch.tensor([500, 500]), network.nothing.expand(2, -1))
        assert torch.allclose(network._guided(state, 500, texts, 4.0), without + 4 * (with_text - without), atol=1e-5)
        assert torch.equal(network._guided(state, 500, texts, 1.0), with_text)


def test_the_nearest_of_several_is_the_one_with_the_highest_cosine():
    encoder = tiny.prior()
    encoder.drawing = Drawing(steps=3, samples=5, pick="nearest")
    with torch.inference_mode():
        given = encoder.spaces.texts(["cat"])
        drawn = encoder.network.drawn(given, ["cat"], encoder.drawing)[0]
        assert torch.equal(encoder.made(["cat"])[0], drawn[(drawn @ given[0]).argmax()])


@pytest.mark.parametrize("how", ["mlp", "diffusion", "ridge"])
def test_what_was_written_makes_the_same_vectors(pairs, tmp_path, how):
    stage = _prior(how=how)
    if how == "ridge":
        nirank.fit(stage, None, pairs)
    table = stage.component.target.save(tmp_path)
    assert table.pop("use") == "encoder/prior"
    again = nirank.load("prior", **{**table, "model": str(tmp_path / table["model"])})
    with torch.inference_mode():
        assert torch.equal(again.component.target.encode(pairs.queries), stage.component.target.encode(pairs.queries))
    assert again.component.target.fingerprint == stage.component.target.fingerprint
    with pytest.raises(BadInput, match=r"prior\.safetensors|other dimensions"):
        nirank.load("prior", **{**table, "model": str(tmp_path / "nothing" / "prior.safetensors")})


def test_what_cannot_be_is_told():
    with pytest.raises(BadInput, match="clip = 'bm25' is no encoder"):
        nirank.load("prior", clip="bm25")
    with pytest.raises(BadInput, match="steps = 0"):
        _prior(how="diffusion", steps=0)
    with pytest.raises(BadInput, match="needs `model`"):
        _prior(how="transformer")
    with pytest.raises(BadInput, match="penalty = -1"):
        _prior(how="ridge", penalty=-1.0)


def test_an_encoder_that_cannot_be_written_is_told(pairs, tmp_path):
    with pytest.raises(BadInput, match="Letters cannot be written into a checkpoint"):
        nirank.fit(_prior(how="ridge"), None, pairs, out=tmp_path / "ridge")


# diffusers


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A small prior with random weights, its text encoder and tokenizer, as diffusers has them in folders."""
    library = pytest.importorskip("diffusers")
    transformers = pytest.importorskip("transformers")
    from nirank_clip import tiny as clips

    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "embedding_dim": 16}
    model = library.PriorTransformer(**sizes, num_embeddings=24, additional_embeddings=4)
    model.save_pretrained(folder / "new")
    model.clip_mean.data.normal_()
    model.clip_std.data.fill_(0.5)
    model.save_pretrained(folder / "prior")
    config = transformers.CLIPTextConfig(**clips._TEXT, projection_dim=16)
    transformers.CLIPTextModelWithProjection(config).save_pretrained(folder / "text_encoder")
    clips.tokenizer().save_pretrained(folder / "tokenizer")
    return folder


def test_a_transformer_of_diffusers_draws_for_each_text_by_itself(pipeline, tmp_path):
    stage = _prior(how="transformer", model=str(pipeline), steps=3, samples=2)
    encoder = stage.component.target
    together = encoder.encode(Queries.of(["cat", "dog", ""]))
    assert torch.allclose(together, torch.cat([encoder.encode(Queries.of(text)) for text in ("cat", "dog", "")]))
    assert torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)
    again = nirank.load("prior", **{name: value for name, value in encoder.save(tmp_path).items() if name != "use"})
    assert torch.equal(again.component.target.encode(Queries.of(["cat"])), together[:1])
    assert again.component.target.fingerprint == encoder.fingerprint


def test_a_new_prior_of_diffusers_is_refused_because_all_vectors_would_be_0(pipeline, tmp_path):
    for part in ("text_encoder", "tokenizer"):
        (tmp_path / part).symlink_to(pipeline / part)
    (tmp_path / "prior").symlink_to(pipeline / "new")
    with pytest.raises(BadInput, match="clip_std of this prior is 0"):
        _prior(how="transformer", model=str(tmp_path))
    with pytest.raises(BadInput, match="diffusers' PriorTransformer can load"):
        _prior(how="transformer", model=str(tmp_path / "nowhere"))


def test_without_diffusers_the_command_is_told(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingDependency, match=r"nirank\[unclip\]"):
        _prior(how="transformer", model="somewhere")
