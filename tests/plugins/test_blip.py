"""BLIP's components against transformers' own models on the same weights, and what is shared, cached and refused."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch.nn import functional as F  # noqa: E402

import nirank  # noqa: E402
from nirank.checkpoints import checkpoint  # noqa: E402
from nirank.data import Candidates, Documents, Queries, images  # noqa: E402
from nirank.errors import BadInput, UnknownName  # noqa: E402
from nirank.kit.transformers import quiet  # noqa: E402
from nirank_blip import checkpoints, tiny  # noqa: E402
from nirank_blip.pictures import Pictures  # noqa: E402

TEXTS = ["a cat", "", "a long text about nothing " * 9, "dog"]
PICTURES = [images.drawn(number, 20 + number, 30) for number in range(4)]
CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model for retrieval, a captioner and a BLIP-2, as transformers writes them."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("retrieval", "captioner", "blip2")}
    tiny.save_retrieval(found["retrieval"], seed=3)
    tiny.save_captioner(found["captioner"], seed=4)
    tiny.save_blip2(found["blip2"], seed=5)
    return {name: str(folder) for name, folder in found.items()}


def _reference(kind, folder):
    with quiet():
        model = getattr(transformers, kind).from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = processor(images=[picture.convert("RGB") for picture in PICTURES], return_tensors="pt")["pixel_values"]
    return model, tokenizer, pixels


def _pairs(rows=None):
    """Every text with every picture, or the pictures `rows` alone."""
    corpus = Documents([f"p{number}" for number in range(4)], PICTURES)
    return Queries.of(TEXTS), Candidates.of([rows or [0, 1, 2, 3]] * len(TEXTS), corpus=corpus)


def _scores(name, **settings):
    queries, candidates = _pairs()
    return nirank.load(name, **CPU, **settings).score(queries, candidates).reshape(len(TEXTS), -1)


def _read(tokenizer, text):
    return tokenizer([text], return_tensors="pt", truncation=True, max_length=35)


def test_cosines_are_those_of_transformers(folders):
    model, tokenizer, pixels = _reference("BlipForImageTextRetrieval", folders["retrieval"])
    found = _scores("encoder/blip", model=folders["retrieval"])
    for row, text in enumerate(TEXTS):
        with torch.inference_mode():
            expected = model(pixel_values=pixels, **_read(tokenizer, text), use_itm_head=False).itm_score[:, 0]
        assert np.allclose(found[row], expected, atol=1e-5)


@pytest.mark.parametrize("lead", ["enc", "cls"])
def test_matching_is_that_of_transformers_with_enc_or_cls_in_the_first_place(folders, lead):
    model, tokenizer, pixels = _reference("BlipForImageTextRetrieval", folders["retrieval"])
    found = _scores("blip_itm", model=folders["retrieval"], lead=lead)
    for row, text in enumerate(TEXTS):
        read = _read(tokenizer, text)
        if lead == "enc":
            read["input_ids"][:, 0] = model.config.text_config.vocab_size - 1
        repeated = {name: value.expand(4, -1) for name, value in read.items() if name != "token_type_ids"}
        with torch.inference_mode():
            expected = model(pixel_values=pixels, **repeated).itm_score
        assert np.allclose(found[row], expected[:, 1], atol=1e-5)


def test_enc_and_cls_make_other_scores(folders):
    enc, cls = (_scores("blip_itm", model=folders["retrieval"], lead=lead) for lead in ("enc", "cls"))
    assert np.abs(enc - cls).max() > 0.01
    assert np.array_equal(enc, _scores("blip_itm", model=folders["retrieval"]))


def test_cosine_and_odds_are_parts_of_the_score(folders):
    plain = _scores("blip_itm", model=folders["retrieval"])
    cosines = _scores("encoder/blip", model=folders["retrieval"])
    assert np.allclose(_scores("blip_itm", model=folders["retrieval"], itc=2.0), plain + 2 * cosines, atol=1e-5)
    target = nirank.load("blip_itm", model=folders["retrieval"], by="odds", **CPU).component.target
    with torch.inference_mode():
        logits = target.network.matches(TEXTS[:1], target.network.pictures(PICTURES[:1]))
    odds = _scores("blip_itm", model=folders["retrieval"], by="odds")
    assert np.allclose(odds[0, 0], (logits[0, 1] - logits[0, 0]).item(), atol=1e-5)


def test_pairs_may_be_images_that_ask_for_texts_and_never_two_of_a_kind(folders):
    scorer = nirank.load("blip_itm", model=folders["retrieval"], **CPU)
    texts = Documents([f"t{number}" for number in range(len(TEXTS))], TEXTS)
    turned = scorer.score(Queries.of(PICTURES), Candidates.of([range(len(TEXTS))] * 4, corpus=texts)).reshape(4, -1)
    assert np.allclose(turned.T, _scores("blip_itm", model=folders["retrieval"]), atol=1e-5)
    with pytest.raises(BadInput, match="scores a text with an image"):
        scorer.score(Queries.of(TEXTS), Candidates.of([[0]] * len(TEXTS), corpus=texts))


def test_a_likelihood_is_that_of_the_text_behind_dec_with_its_end(folders):
    model, tokenizer, pixels = _reference("BlipForConditionalGeneration", folders["captioner"])
    found = _scores("blip_lm", model=folders["captioner"])
    for row, text in enumerate(TEXTS):
        ids = _read(tokenizer, text)["input_ids"]
        ids[:, 0] = model.config.text_config.bos_token_id
        for column in range(4):
            with torch.inference_mode():
                chances = model(pixel_values=pixels[column : column + 1], input_ids=ids).logits[0].log_softmax(-1)
            expected = sum(chances[place, token].item() for place, token in enumerate(ids[0, 1:].tolist()))
            assert found[row, column] == pytest.approx(expected, abs=1e-3)


def test_a_beam_writes_what_transformers_generates(folders):
    model, tokenizer, pixels = _reference("BlipForConditionalGeneration", folders["captioner"])
    writer = nirank.load("writer/blip", model=folders["captioner"], beams=3, length=6, **CPU).component.target
    with torch.inference_mode():
        made = model.generate(pixel_values=pixels, num_beams=3, max_new_tokens=6, min_new_tokens=1)
    expected = tokenizer.batch_decode(made, skip_special_tokens=True)
    assert writer.write(PICTURES) == [[line.strip()] for line in expected]


@pytest.mark.parametrize("search", ["beam", "nucleus"])
def test_a_picture_has_the_same_captions_alone_and_twice(folders, search):
    settings = {"search": search, "texts": 2, "length": 6, "passed": 3}
    writer = nirank.load("writer/blip", model=folders["captioner"], **settings, **CPU).component.target
    together = writer.write(PICTURES)
    assert [writer.write([picture])[0] for picture in PICTURES] == together == writer.write(PICTURES)
    assert all(len(texts) == 2 for texts in together)


def test_a_seed_draws_other_captions_and_a_small_nucleus_is_greedy(folders):
    def captions(**more):
        stage = nirank.load("writer/blip", model=folders["captioner"], search="nucleus", length=8, **more, **CPU)
        return stage.component.target.write(PICTURES)

    assert captions(seed=1) != captions(seed=2)
    greedy = nirank.load("writer/blip", model=folders["captioner"], beams=1, length=8, **CPU).component.target
    assert captions(top_p=1e-9, repetition=1.0) == greedy.write(PICTURES)


def test_captions_are_searched(folders):
    corpus = Documents(["0", "1", "2", "3"], PICTURES)
    writer = nirank.load("writer/blip", "captions", model=folders["captioner"], length=6, **CPU)
    written = nirank.write(corpus, writer)
    assert [[text] for text in written.column("written", slice(None))] == writer.component.target.write(PICTURES)


def test_the_score_of_blip2_is_that_of_the_vector_that_is_nearest(folders):
    model, tokenizer, pixels = _reference("Blip2ForImageTextRetrieval", folders["blip2"])
    encoder = nirank.load("blip2", model=folders["blip2"], **CPU)
    queries, candidates = _pairs()
    found = encoder.score(queries, candidates).reshape(len(TEXTS), -1)
    encoded = encoder.component.target.encode_documents([TEXTS[0], *PICTURES])  # what `blip2 >> maxsim` searches
    largest = [(encoded[0] @ encoded[place].T).max().item() for place in range(1, 5)]
    assert np.allclose(found[0], largest, atol=1e-6)
    for row, text in enumerate(TEXTS):
        read = {name: value for name, value in _read(tokenizer, text).items() if name != "token_type_ids"}
        with torch.inference_mode():
            expected = model(pixel_values=pixels, **read).logits_per_image[:, 0].numpy()
        assert np.allclose(found[row], expected, atol=1e-5)


# What is loaded, shared and remembered


def test_a_model_without_the_weights_of_a_part_is_refused(folders, tmp_path):
    with pytest.raises(BadInput, match=r"lacks .* weights of a BlipForConditionalGeneration, such as text_decoder"):
        nirank.load("writer/blip", model=folders["retrieval"])
    with pytest.raises(BadInput, match=r"lacks .* weights of a BlipForImageTextRetrieval"):
        nirank.load("encoder/blip", model=folders["captioner"])
    with pytest.raises(BadInput, match="this model has no decoder"):
        nirank.load("encoder/blip", model=folders["retrieval"], lm=1.0)
    with pytest.raises(BadInput, match="no folder or hub name that"):
        nirank.load("blip_itm", model=str(tmp_path / "nothing"))
    with pytest.raises(BadInput, match="either `model` is given"):
        nirank.load("blip_itm")
    with pytest.raises(UnknownName, match="'depth'"):
        nirank.load("blip_itm", config={"depth": 3})
    with pytest.raises(BadInput, match="heads have to divide"):
        nirank.load("blip_itm", config={"heads": 5})


def test_components_of_one_model_have_its_weights_once(folders):
    one, two = (nirank.load(name, model=folders["retrieval"], **CPU) for name in ("encoder/blip", "blip_itm"))
    first, second = (dict(each.component.target.network.named_parameters()) for each in (one, two))
    assert first.keys() == second.keys()
    assert all(first[name].data_ptr() == second[name].data_ptr() for name in first)
    assert first["itm_head.weight"].requires_grad != second["itm_head.weight"].requires_grad


def test_a_picture_is_encoded_once_for_all_its_texts_and_anew_when_weights_change(folders, tmp_path, monkeypatch):
    paths, seen = [], []
    for number, picture in enumerate(PICTURES):
        paths.append(tmp_path / f"{number}.png")
        picture.convert("RGB").save(paths[-1])
    original = Pictures._tokens
    monkeypatch.setattr(Pictures, "_tokens", lambda self, some: seen.append(len(some)) or original(self, some))
    scorer = nirank.load("blip_itm", model=folders["retrieval"], **CPU)
    corpus = Documents(["0", "1", "2", "3"], paths)
    queries = Queries.of(TEXTS)
    everything = Candidates.of([[0, 1, 2, 3]] * len(TEXTS), corpus=corpus)
    first = scorer.score(queries, everything)
    assert sum(seen) == 4
    assert np.array_equal(scorer.score(queries, everything), first)
    assert sum(seen) == 4
    network = scorer.component.target.network
    checkpoints.own(network)
    with torch.no_grad():
        network.pictures.network.embeddings.position_embedding *= 3.0
    assert not np.allclose(scorer.score(queries, everything), first)
    assert sum(seen) == 8


def test_matching_sees_the_picture_and_the_text(folders):
    scores = _scores("blip_itm", model=folders["retrieval"])
    assert all(len(np.unique(row.round(5))) > 1 for row in scores)
    assert all(len(np.unique(column.round(5))) > 1 for column in scores.T)
    lm = _scores("blip_lm", model=folders["captioner"])
    assert all(len(np.unique(row.round(5))) > 1 for row in lm)


@pytest.mark.parametrize(("name", "model"), [("blip_itm", "retrieval"), ("blip_lm", "captioner")])
def test_a_saved_scorer_is_loaded_with_its_scores_and_its_first_token(folders, tmp_path, name, model):
    more = {"lead": "cls", "itc": 0.5} if name == "blip_itm" else {}
    stage = nirank.load(name, model=folders[model], **more, **CPU)
    checkpoint.save(stage.component, tmp_path / "kept")
    again = nirank.load(f"trained:{tmp_path / 'kept'}", **CPU)
    queries, candidates = _pairs()
    assert np.allclose(again.score(queries, candidates), stage.score(queries, candidates), atol=1e-6)
    assert again.component.fingerprint == stage.component.fingerprint
    if name == "blip_itm":
        other = nirank.load("blip_itm", model=str(tmp_path / "kept"), itc=0.5, **CPU)
        assert np.allclose(other.score(queries, candidates), stage.score(queries, candidates), atol=1e-6)


def test_blip2_is_saved_and_loaded(folders, tmp_path):
    stage = nirank.load("blip2", model=folders["blip2"], **CPU)
    checkpoint.save(stage.component, tmp_path / "kept")
    again = nirank.load(f"trained:{tmp_path / 'kept'}", **CPU)
    assert again.component.fingerprint == stage.component.fingerprint
    mixed = [TEXTS[0], PICTURES[0], TEXTS[1]]
    one, two = (each.component.target.encode_documents(mixed) for each in (stage, again))
    assert one.lengths.tolist() == [1, 3, 1]
    assert torch.equal(one.values, two.values)
    assert torch.allclose(one.values.norm(dim=1), torch.ones(5), atol=1e-5)
    assert F.cosine_similarity(one.values[1], one.values[2], dim=0) < 0.999
