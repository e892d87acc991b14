"""The discrete autoencoder: its sampling, its bound and its codes against slow references, and how it is trained."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries, images
from nirank.errors import BadInput
from nirank.testing import violations

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

from scipy.stats import chisquare, norm  # noqa: E402

from nirank_datasets.categories import each_itself  # noqa: E402
from nirank_dvae import elbo  # noqa: E402
from nirank_dvae.codes import CodesIndex  # noqa: E402
from nirank_dvae.densities import MARGIN, LogitLaplace, Normal  # noqa: E402
from nirank_dvae.dvae import DVAE, Relaxation, tiny  # noqa: E402


def pictures(count=12, side=8):
    """Bars: bright columns or rows on a dark ground, with some noise."""
    chance = np.random.default_rng(3)
    pixels = chance.integers(0, 40, (count, side, side)).astype(np.uint8)
    for number in range(count):
        place = number // 2 % side
        pixels[(number, slice(None), place) if number % 2 else (number, place)] += 200
    return pixels


def bars(count=12, side=8):
    return each_itself("bars", [f"b{number}" for number in range(count)], pictures(count, side))


# Sampling


def test_hard_samples_come_as_often_as_their_probabilities_say():
    torch.manual_seed(0)
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0])
    drawn = elbo.relaxed(logits.repeat(20000, 1, 1), 0.05).argmax(2)
    found = np.bincount(drawn.ravel().numpy(), minlength=4)
    assert chisquare(found, logits.double().softmax(0).numpy() * len(drawn)).pvalue > 1e-3
    assert chisquare(found, np.full(4, len(drawn) / 4)).pvalue < 1e-9  # which the test would see


def test_a_relaxed_sample_becomes_one_hot_as_the_temperature_falls():
    logits = torch.randn(50, 4, 6, generator=torch.Generator().manual_seed(1))
    peaks = []
    for tau in (5.0, 1.0, 0.2, 0.01):
        torch.manual_seed(2)  # the same noise at every temperature
        sample = elbo.relaxed(logits, tau)
        assert torch.allclose(sample.sum(2), torch.ones(50, 4))
        peaks.append(float(sample.amax(2).mean()))
    assert peaks == sorted(peaks)
    assert peaks[-1] > 0.99


def test_the_gradient_of_a_relaxed_sample_is_its_derivative():
    logits = torch.randn(1, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def sample(values):
        torch.manual_seed(7)
        return elbo.relaxed(values, 0.7)

    assert torch.autograd.gradcheck(sample, logits.requires_grad_())


# The bound


def kl_by_loops(logits):
    total = 0.0
    for position in logits.tolist():
        values = [math.exp(value) for value in position]
        shares = [value / sum(values) for value in values]
        total += sum(share * math.log(share * len(shares)) for share in shares)
    return total


def density_by_loops(pixels, made):
    channels, least, total = len(pixels), math.log(0.035), 0.0
    for place in np.ndindex(*pixels.shape):
        inside = 0.1 + 0.8 * float(pixels[place])
        mean, raw = float(made[place]), float(made[(place[0] + channels, *place[1:])])
        scale = math.exp(least + math.log1p(math.exp(raw - least)))
        away = abs(math.log(inside / (1 - inside)) - mean) / scale
        total += -away - math.log(2 * scale * inside * (1 - inside))
    return total


def test_the_bound_of_a_pair_is_that_of_a_double_loop():
    model, corpus = tiny(), Documents(["a", "b", "c"], [images.drawn(number) for number in range(3)])
    queries = Queries.of([images.drawn(number) for number in (4, 5)])
    pairs = Candidates.of([[2, 0], [1]], corpus=corpus)
    found = model.score(queries, pairs).detach()
    asked, told = model.read(queries.contents), model.read(corpus[np.arange(3)])
    logits = model.logits(asked).detach()
    made = model.decoder(elbo.hard(logits)).detach()
    for score, row, doc in zip(found.tolist(), pairs.rows, pairs.docs, strict=True):
        bound = density_by_loops(told[doc], made[row]) - kl_by_loops(logits[row])
        assert score == pytest.approx(bound / (3 * 8 * 8), rel=1e-4)


def test_the_density_of_a_pixel_adds_up_to_one():
    made = torch.tensor([0.4, -1.0]).reshape(1, 2, 1, 1).repeat(200_000, 1, 1, 1).double()
    inside = torch.linspace(0, 1, 200_002, dtype=torch.float64)[1:-1]
    pixels = ((inside - MARGIN) / (1 - 2 * MARGIN)).reshape(-1, 1, 1, 1)
    total = LogitLaplace().log_density(pixels, made).exp().sum() / 200_001
    assert float(total) == pytest.approx(1, abs=1e-3)


def test_the_normal_density_is_that_of_a_loop_and_adds_up_to_one():
    chance = torch.Generator().manual_seed(5)
    pixels, made = (torch.rand(2, 3, 4, 4, generator=chance).double() for _ in range(2))
    means = ((made + 1) / 2).numpy()
    for number in range(2):
        places = np.ndindex(3, 4, 4)
        total = sum(norm.logpdf(float(pixels[(number, *at)]), means[(number, *at)], 0.1) for at in places)
        assert float(Normal().log_density(pixels, made)[number]) == pytest.approx(total, rel=1e-9)
    line = torch.linspace(-1, 2, 30_001, dtype=torch.float64).reshape(-1, 1, 1, 1)
    density = Normal().log_density(line, torch.zeros_like(line)).exp()
    assert float(density.sum() * 3 / 30_000) == pytest.approx(1, abs=1e-4)


def test_the_kl_is_zero_where_codes_are_equally_probable_and_above_it_elsewhere():
    assert elbo.kl_to_uniform(torch.full((2, 9, 5), 0.7)).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert (elbo.kl_to_uniform(torch.randn(4, 9, 5)) > 0).all()
    certain = torch.zeros(1, 4, 5)
    certain[..., 3] = 100
    assert float(elbo.kl_to_uniform(certain)) == pytest.approx(4 * math.log(5), rel=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_neither_part_of_the_bound_depends_on_how_many_pictures_are_in_the_batch(training):
    model = tiny().train(training)
    contents = [images.drawn(number) for number in range(6)]
    kl = elbo.kl_to_uniform(model.logits(model.read(contents)))
    alone = torch.cat([elbo.kl_to_uniform(model.logits(model.read([each]))) for each in contents])
    assert torch.allclose(kl, alone, rtol=1e-4)
    # The loss of training is the mean over pictures: that of a batch twice is that of the batch.
    slopes = []
    for times in (1, 2):
        model.zero_grad()
        elbo.kl_to_uniform(model.logits(model.read(contents * times))).mean().backward()
        slopes.append(model.encoder.features[0].weight.grad.clone())
    assert torch.allclose(*slopes, rtol=1e-3, atol=1e-5)


def test_the_bound_of_public_code_would_fail_the_test_of_the_batch():
    logits = torch.randn(4, 4, 8)

    def of_public_code(logits):
        logs, even = logits.log_softmax(2), torch.full((1,), -math.log(8))
        return torch.nn.functional.kl_div(even, logs, None, None, "batchmean", log_target=True)

    assert float(of_public_code(logits)) == pytest.approx(float(elbo.kl_to_uniform(logits).sum()), rel=1e-4)
    assert float(of_public_code(torch.cat([logits, logits]))) == pytest.approx(2 * float(of_public_code(logits)))


# The component


def test_the_encoder_keeps_what_scorers_promise():
    assert violations("scorer", tiny()) == {}


def test_temperature_and_weight_follow_the_share_of_training():
    relaxation = Relaxation(beta=2.0, warming=0.5, tau=0.1, cooling=0.8)
    assert relaxation.at(0) == (1.0, 0.0)
    assert relaxation.at(0.25) == (pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 0.25 / 0.8)) / 2), 1.0)
    assert relaxation.at(0.4) == (pytest.approx(0.55), 1.6)
    assert relaxation.at(1) == (pytest.approx(0.1), 2.0)


def test_training_makes_pictures_more_probable_and_codes_that_rebuild_them():
    collection = bars()
    model = DVAE(codes=16, dim=16, side=8, patch=2, batch_size=12, device="cpu", relaxation=Relaxation(beta=0.01))
    contents = collection.corpus[np.arange(len(collection.corpus))]
    itself = collection.judgments

    def judged():
        with torch.no_grad():
            bound = float(model.score(collection.queries, itself).mean())
        rebuilt = np.stack([np.asarray(each, float) for each in model.decode(model.encode_documents(contents))])
        return bound, float(np.square(rebuilt - pictures()).mean())

    before = judged()
    fitted = nirank.fit(
        model, "likelihood", collection, sampler="positives", steps=100, batch_size=12, learning_rate=2e-2
    )
    after = judged()
    assert after[0] > before[0] + 1
    assert after[1] < before[1] / 2
    assert model._tau == pytest.approx(1 / 16)
    assert fitted.log[-1]["loss"] < fitted.log[0]["loss"]


def coloured(count=48, side=16):
    """Squares of four colours on a white ground, which is most of each picture."""
    chance, colours = np.random.default_rng(4), np.array([[220, 30, 30], [30, 160, 60], [40, 60, 210], [240, 190, 20]])
    pixels = np.full((count, side, side, 3), 255, np.uint8)
    for number in range(count):
        top, left = chance.integers(0, side - 6, 2)
        pixels[number, top : top + 6, left : left + 6] = colours[number % 4]
    return each_itself("coloured", [f"c{number}" for number in range(count)], pixels)


def test_the_normal_density_keeps_the_colours_of_drawings_on_a_plain_ground():
    errors = {}
    for density in ("logit_laplace", "normal"):
        model = DVAE(codes=16, dim=32, side=16, channels=3, device="cpu", density=density, normed=density == "normal")
        options = {"steps": 150, "batch_size": 16, "learning_rate": 3e-3, "weight_decay": 0.0}
        nirank.fit(model, "likelihood", coloured(), sampler="positives", **options)
        contents = coloured().corpus[:]
        with torch.inference_mode():
            rebuilt = model.read(model.decode(model.encode_documents(contents)))
        errors[density] = float((rebuilt - model.read(contents)).square().mean())
    assert errors["normal"] < errors["logit_laplace"] / 2


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    from tests.training_toys import Interrupt

    def trained(folder, **extra):
        model = nirank.load("dvae", codes=8, dim=8, side=8, device="cpu", seed=3)
        options = {"steps": 6, "batch_size": 4, "learning_rate": 1e-2, "save_every": 1, "log_every": 1, "seed": 3}
        nirank.fit(model, "likelihood", bars(), sampler="positives", out=folder, **options)
        return model.component.target.state_dict()

    from nirank.plugins import observers

    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt), observers.switched_on([Interrupt(3)]):
        trained(tmp_path / "cut")
    for name, value in trained(tmp_path / "cut").items():
        assert torch.equal(value, whole[name])


def test_a_trained_one_is_loaded_from_its_folder_with_the_same_codes(tmp_path):
    model = nirank.load("dvae", codes=8, dim=8, side=8, device="cpu")
    nirank.fit(model, "likelihood", bars(), sampler="positives", steps=2, batch_size=4, out=tmp_path / "out")
    again = nirank.load(f"trained:{tmp_path / 'out'}").component
    contents = bars().corpus[np.arange(12)]
    assert (again.target.encode_documents(contents) == model.component.target.encode_documents(contents)).all()
    assert again.target.fingerprint == model.component.target.fingerprint


@pytest.mark.parametrize(
    "settings", [{"codes": 1}, {"side": 10}, {"patch": 3, "side": 9}, {"channels": 2}, {"beta": -1.0}, {"tau": 0.0}]
)
def test_settings_that_do_not_fit_are_refused(settings):
    with pytest.raises(BadInput):
        nirank.load("dvae", **settings)


# The index


def codes_of(documents=40, positions=5, kinds=300, seed=0):
    """An index over random codes, tables of three queries, and both."""
    chance = np.random.default_rng(seed)
    codes = chance.integers(0, kinds, (documents, positions)).astype(np.uint8 if kinds <= 256 else np.uint16)
    codes[7] = codes[3]
    tables = chance.normal(size=(3, positions, kinds)).astype(np.float32)
    index = CodesIndex()
    index.search_in(codes)
    return index, codes, Queries.of(["a", "b", "c"]).with_vectors(tables)


def brute_force(codes, tables):
    exact = [
        [np.float32(sum(float(table[i, code]) for i, code in enumerate(row))) for row in codes.tolist()]
        for table in tables
    ]
    return np.array(exact)


@pytest.mark.parametrize("kinds", [9, 256, 300])
def test_what_is_found_is_what_brute_force_finds(kinds, monkeypatch):
    monkeypatch.setattr("nirank_dvae.codes._DOCUMENTS", 16)  # several blocks
    monkeypatch.setattr("nirank_dvae.codes._QUERIES", 2)
    index, codes, queries = codes_of(kinds=kinds)
    exact = brute_force(codes, queries.vectors)
    for k in (0, 1, 6, 40, 99):
        found = index.generate(queries, k)
        for row in range(3):
            order = np.lexsort((np.arange(40), -exact[row]))[:k]
            assert found[row][0].tolist() == order.tolist()
            assert (found[row][1] == exact[row][order]).all()
    some = Candidates.of([[3, 7, 39], [], [0]])
    expected = [exact[0, 3], exact[0, 7], exact[0, 39], exact[2, 0]]
    assert index.score(queries, some).tolist() == expected
    assert expected[0] == expected[1]  # equal codes


def test_only_new_pictures_are_encoded_when_the_corpus_has_changed(tmp_path):
    model, asked = tiny(), []
    whole = [images.drawn(number) for number in range(9)]

    def encode(contents):
        asked.append(len(contents))
        return model.encode_documents(contents)

    from nirank.kit import Former

    before, after = Documents([*"abcdef"], whole[:6]), Documents([*"cdxyza"], [*whole[2:4], *whole[6:9], whole[0]])
    for name in ("before", "after", "anew"):
        (tmp_path / name).mkdir()
    CodesIndex(chunk=2).build(before, tmp_path / "before", encode)
    del asked[:]
    former = Former(tmp_path / "before", np.array([2, 3, -1, -1, -1, 0]))
    CodesIndex(chunk=2).update(after, tmp_path / "after", former, encode)
    assert sum(asked) == 3
    CodesIndex(chunk=2).build(after, tmp_path / "anew", model.encode_documents)
    opened = CodesIndex()
    opened.open(after, tmp_path / "after")
    assert (opened.vectors_of(np.arange(6)) == model.encode_documents(after[np.arange(6)])).all()
    for file in (tmp_path / "anew").iterdir():
        assert file.read_bytes() == (tmp_path / "after" / file.name).read_bytes()


def test_an_index_has_a_byte_a_position_and_four_a_document(tmp_path):
    corpus = Documents([f"{number}" for number in range(50)], [images.drawn(number) for number in range(50)])
    CodesIndex().build(corpus, tmp_path, tiny().encode_documents)
    assert sum(file.stat().st_size for file in tmp_path.iterdir() if file.suffix != ".json") == 50 * (4 + 4)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (None, "no tables"),
        (np.zeros((1, 5, 4), np.float32), "more than"),
        (np.zeros((1, 4, 300), np.float32), "5 positions"),
        (np.zeros((1, 300), np.float32), "5 positions"),
        (np.full((1, 5, 300), np.nan, np.float32), "NaN"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tables, message):
    index, _, _ = codes_of()
    queries = Queries.of(["a"])
    with pytest.raises(BadInput, match=message):
        index.generate(queries if tables is None else queries.with_vectors(tables), 3)


def test_an_index_of_another_corpus_is_refused(tmp_path):
    corpus = Documents(["a", "b"], [images.drawn(1), images.drawn(2)])
    CodesIndex().build(corpus, tmp_path, tiny().encode_documents)
    with pytest.raises(BadInput, match="2 documents"):
        CodesIndex().open(corpus, tmp_path) or CodesIndex().open(Documents(["a"], [images.drawn(1)]), tmp_path)


def test_a_query_that_keeps_its_distribution_ranks_a_document_by_its_probability():
    model, contents = tiny(), [images.drawn(number) for number in range(6)]
    corpus, queries = Documents([*"abcdef"], contents), Queries.of([images.drawn(9)])
    found = (nirank.load(model) >> nirank.load("codes")).search(queries, corpus)
    logs = model.encode(queries)[0].detach()
    codes = model.encode_documents(contents).astype(int)
    wanted = [sum(float(logs[i, code]) for i, code in enumerate(row)) for row in codes]
    assert found.scores.tolist() == pytest.approx(sorted(wanted, reverse=True), rel=1e-5)


def test_each_picture_is_relevant_to_itself_and_to_nothing_else(tmp_path):
    for number in range(3):
        images.drawn(number).save(tmp_path / f"{number}.png")
    collection = nirank.collection(f"images:{tmp_path}", ask="self")
    assert isinstance(collection, Collection)
    assert collection.judgments.docs.tolist() == [0, 1, 2]
    assert collection.judgments.lengths.tolist() == [1, 1, 1]


# DALL-E's own encoder


def test_codes_are_those_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    from nirank_dvae import flava

    flava.save(tmp_path)
    model, contents = flava.FlavaCodebook(str(tmp_path), side=16, device="cpu"), [images.drawn(n) for n in range(3)]
    size = {"height": 16, "width": 16}
    processor = transformers.FlavaImageProcessorPil(codebook_size=size, codebook_crop_size=size)
    inputs = processor(contents, return_codebook_pixels=True, return_tensors="pt")["codebook_pixel_values"]
    peer = transformers.FlavaImageCodebook.from_pretrained(tmp_path)
    with torch.inference_mode():
        assert (model.encode_documents(contents) == peer.get_codebook_indices(inputs).flatten(1).numpy()).all()
        tables = model.encode(Queries.of(contents))
        assert torch.allclose(
            tables.exp().flatten(0, 1), peer.get_codebook_probs(inputs).permute(0, 2, 3, 1).reshape(-1, 300), atol=1e-5
        )
    assert len(np.unique(model.encode_documents(contents))) > 1


def test_a_codebook_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    from nirank_dvae import flava

    flava.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("blocks.output.conv.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="lacks 1 weights"):
        flava.FlavaCodebook(str(tmp_path), side=16, device="cpu")
