"""CLIP and SigLIP from checkpoints of transformers: numbers equal to those of its own models and processors."""

from __future__ import annotations

import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import nirank  # noqa: E402
from nirank.checkpoints import checkpoint  # noqa: E402
from nirank.data import (  # noqa: E402
    Candidates,
    Collection,
    Documents,
    Queries,
    images,
)
from nirank.errors import BadInput  # noqa: E402
from nirank.kit.transformers import quiet  # noqa: E402
from nirank_clip import templates, tiny  # noqa: E402
from nirank_clip.clip import CLIP  # noqa: E402
from tests.flat import built  # noqa: E402

TEXTS = ["a small cat", "", "12.5 dogs, or so", "a very long text about nothing in particular " * 9, "東京 🙂", "b"]
PICTURES = [images.drawn(number, *size) for number, size in enumerate([(24, 24), (90, 17), (16, 40), (1, 1), (16, 16)])]
KINDS = {"clip": (tiny.save, "CLIPModel"), "siglip": (tiny.save_siglip, "SiglipModel")}


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    KINDS[request.param][0](folder, seed=3)
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return built(CLIP, model=str(folder), device="cpu", passed=2)


@pytest.fixture(scope="module")
def reference(folder):
    """The logits and the vectors of transformers' own model, one pair of a text and an image at a time."""
    kind = folder.name.rstrip("0123456789")
    with quiet():
        model = getattr(transformers, KINDS[kind][1]).from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    padding = {"padding": "max_length" if kind == "siglip" else True, "max_length": 24, "truncation": True}

    def compute(text, picture):
        given = tokenizer([text], return_tensors="pt", **padding)
        given = {"input_ids": given["input_ids"]} if kind == "siglip" else given
        pixels = processor(images=picture.convert("RGB"), return_tensors="pt")
        with torch.inference_mode():
            return model(**given, pixel_values=pixels["pixel_values"])

    return compute


def _vectors(encoder, contents):
    with torch.inference_mode():
        return encoder.encode_documents(contents).numpy()


def test_vectors_and_similarities_are_those_of_transformers(encoder, reference):
    texts, pictures = _vectors(encoder, TEXTS), _vectors(encoder, PICTURES)
    for text, left in zip(TEXTS, texts, strict=True):
        for picture, right in zip(PICTURES, pictures, strict=True):
            expected = reference(text, picture)
            assert np.allclose(left, expected.text_embeds[0], atol=1e-6)
            assert np.allclose(right, expected.image_embeds[0], atol=1e-6)


@pytest.mark.parametrize(
    ("graph", "contents", "passed"),
    [
        ("fast_images", PICTURES, 2),
        ("fast_texts", [*TEXTS, "a", "three small black cats that sleep", *TEXTS[:2]], 3),
    ],
)
def test_a_compiled_graph_gives_the_vectors_of_torch_also_alone(folder, encoder, graph, contents, passed):
    pytest.importorskip("openvino")
    fast = built(CLIP, model=str(folder), device="cpu", passed=passed, runtime="openvino")
    vectors = _vectors(fast, contents)
    assert getattr(fast.checkpoint, graph).compiled is not None
    assert getattr(encoder.checkpoint, graph).compiled is None
    assert np.allclose(vectors, _vectors(encoder, contents), atol=1e-6)
    for content, vector in zip(contents, vectors, strict=True):
        assert np.allclose(_vectors(fast, [content])[0], vector, atol=1e-6)
    assert fast.fingerprint == encoder.fingerprint
    with pytest.raises(BadInput, match="float32 on the CPU"):
        built(CLIP, model=str(folder), device="cpu", precision="bfloat16", runtime="openvino")


def test_probabilities_of_classes_are_those_of_transformers(encoder, reference):
    cosines = torch.from_numpy(_vectors(encoder, PICTURES) @ _vectors(encoder, TEXTS).T)
    found = encoder.probabilities(cosines).detach().numpy()
    for row, picture in enumerate(PICTURES):
        logits = torch.stack([reference(text, picture).logits_per_image[0, 0] for text in TEXTS])
        softmax = "siglip" not in encoder.model.config.model_type
        expected = logits.softmax(0) if softmax else torch.sigmoid(logits)
        assert np.allclose(found[row], expected, atol=1e-5)


def test_a_text_in_templates_is_the_mean_of_unit_vectors(folder, reference):
    given = ["a {}", "{} and {}.", "no"]
    with pytest.raises(BadInput, match=r"'no' has no \{\}"):
        built(CLIP, model=str(folder), device="cpu", templates=given)
    encoder = built(CLIP, model=str(folder), device="cpu", templates=given[:2], passed=3)
    found = _vectors(encoder, ["cat", "a{0}b"])
    for text, vector in zip(["cat", "a{0}b"], found, strict=True):
        filled = [f"a {text}", f"{text} and {text}."]
        each = np.stack([reference(sentence, PICTURES[0]).text_embeds[0].numpy() for sentence in filled])
        mean = (each / np.linalg.norm(each, axis=1, keepdims=True)).mean(0)
        assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_templates_do_nothing_to_images(folder, encoder):
    with_templates = built(CLIP, model=str(folder), device="cpu", templates="pictograms")
    assert np.allclose(_vectors(with_templates, PICTURES), _vectors(encoder, PICTURES), atol=1e-6)
    assert with_templates.templates == templates.SETS["pictograms"]
    with pytest.raises(BadInput, match="'photoes'"):
        built(CLIP, model=str(folder), templates="photoes")


def test_pixels_are_those_of_the_processor(folder, encoder):
    with quiet():
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    for number in range(40):
        picture = images.drawn(number, 3 + number * 7 % 60, 5 + number * 11 % 50)
        expected = processor(images=picture, return_tensors="pt")["pixel_values"]
        (found,) = encoder.checkpoint.pixels.batches([picture], 4)
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, atol=1e-6), picture.size


def test_a_vector_does_not_depend_on_the_batch_or_on_the_passes(folder, encoder):
    mixed = [item for pair in zip(TEXTS, [*PICTURES, PICTURES[0]], strict=True) for item in pair]
    together = _vectors(encoder, mixed)
    alone = np.concatenate([_vectors(encoder, [content]) for content in mixed])
    one_pass = _vectors(built(CLIP, model=str(folder), device="cpu", passed=100), mixed)
    assert np.allclose(together, alone, atol=1e-6)
    assert np.allclose(together, one_pass, atol=1e-6)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_queries_and_documents_are_encoded_alike(encoder):
    with torch.inference_mode():
        queries = encoder.encode(Queries.of([TEXTS[0], PICTURES[1]])).numpy()
    assert np.allclose(queries, _vectors(encoder, [TEXTS[0], PICTURES[1]]), atol=1e-6)


def test_a_path_and_its_bytes_have_the_vector_of_the_picture(encoder, tmp_path):
    path = tmp_path / "a.png"
    PICTURES[1].save(path)
    found = _vectors(encoder, [path, path.read_bytes(), PICTURES[1]])
    assert np.allclose(found, found[:1], atol=1e-6)


def test_damaged_images_and_other_things_are_refused(encoder, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(BadInput, match=r"text\.png: cannot be read as an image"):
        encoder.encode_documents(["fine", tmp_path / "text.png"])
    with pytest.raises(BadInput, match="of the type int"):
        encoder.encode_documents([3])


def test_a_saved_encoder_has_the_same_vectors_and_fingerprint(folder, tmp_path):
    stage = nirank.load("clip", model=str(folder), device="cpu", templates=["a {}"], freeze=["text"])
    checkpoint.save(stage.component, tmp_path / "kept")
    again = nirank.load(f"trained:{tmp_path / 'kept'}", device="cpu").component
    assert again.target.fingerprint == stage.component.target.fingerprint
    contents = [*TEXTS, *PICTURES]
    assert np.array_equal(_vectors(again.target, contents), _vectors(stage.component.target, contents))
    assert again.target.freeze == ("text",)


def test_a_fingerprint_tells_weights_and_templates_apart(folder, encoder, tmp_path):
    assert built(CLIP, model=str(folder), device="cpu").fingerprint == encoder.fingerprint
    assert built(CLIP, model=str(folder), device="cpu", templates=["{}!"]).fingerprint != encoder.fingerprint
    save = tiny.save_siglip if "siglip" in encoder.model.config.model_type else tiny.save
    save(tmp_path, seed=4)
    assert built(CLIP, model=str(tmp_path), device="cpu").fingerprint != encoder.fingerprint


def test_models_that_are_none_are_told(tmp_path):
    with pytest.raises(BadInput, match="no folder or hub name"):
        built(CLIP, model=str(tmp_path / "nowhere"))
    from nirank.testing.models import save_bert

    save_bert(tmp_path)
    with pytest.raises(BadInput, match="a model of texts and images is expected"):
        built(CLIP, model=str(tmp_path))


def _judged():
    corpus = Documents([f"p{number}" for number in range(6)], [images.drawn(number) for number in range(6)])
    return Collection(
        "p", corpus, Queries.of(list("abcdef")), Candidates.of([[n] for n in range(6)], [[1]] * 6, corpus)
    )


@pytest.mark.parametrize("loss", ["clip", "siglip", "softmax_cross_entropy"])
def test_training_moves_what_is_not_frozen_and_nothing_else(folder, loss):
    stage = nirank.load("clip", model=str(folder), device="cpu", freeze=["image"])
    before = {name: value.clone() for name, value in stage.component.target.model.state_dict().items()}
    sampler = nirank.load("in_batch", negatives=4)
    collection, rate = _judged(), 1e-3
    nirank.fit(stage, nirank.load(f"loss/{loss}"), collection, sampler=sampler, steps=3, learning_rate=rate)
    after = stage.component.target.model.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any(name.startswith("text_model") for name in moved)
    assert not any(name.startswith(("vision_model", "visual_projection", "logit")) for name in moved)


def test_unknown_towers_are_refused(folder):
    with pytest.raises(BadInput, match="the towers are text and image"):
        built(CLIP, model=str(folder), freeze=["vision"])


def test_half_precision_gives_float32_vectors_near_by(folder, encoder):
    half = built(CLIP, model=str(folder), device="cpu", precision="bfloat16")
    found = _vectors(half, [*TEXTS, *PICTURES])
    assert found.dtype == np.float32
    assert (found * _vectors(encoder, [*TEXTS, *PICTURES])).sum(1).min() > 0.99


def test_text_finds_images_and_images_find_texts_and_images(folder):
    clip, exact = nirank.load("clip", model=str(folder), device="cpu"), nirank.load("exact")
    contents = [*TEXTS, *PICTURES]
    corpus = Documents([f"d{number}" for number in range(len(contents))], contents)
    found = (clip >> exact).search([TEXTS[0], PICTURES[2]], corpus)
    vectors = _vectors(clip.component.target, contents)
    for row, place in enumerate([0, len(TEXTS) + 2]):
        docs, scores = found[row]
        assert docs[0] == place
        assert np.allclose(scores, vectors[docs] @ vectors[place], atol=1e-5)


def test_classes_are_found_for_images_as_documents(folder, reference):
    clip = nirank.load("clip", model=str(folder), device="cpu", templates=["a {}.", "the {}"])
    classes = Documents(["c", "d", "z"], ["cat", "dog", "zebra"])
    found = (clip >> nirank.load("exact")).search(PICTURES[:2], classes)
    for row in range(2):
        image = reference("a", PICTURES[row]).image_embeds[0].numpy()
        means = [
            np.mean(
                [reference(filled, PICTURES[0]).text_embeds[0].numpy() for filled in (f"a {name}.", f"the {name}")], 0
            )
            for name in ("cat", "dog", "zebra")
        ]
        expected = np.array([image @ mean / np.linalg.norm(mean) for mean in means])
        docs, scores = found[row]
        assert np.allclose(scores, expected[docs], atol=1e-5)
        assert docs.tolist() == np.argsort(-expected, kind="stable").tolist()


def test_one_line_mixes_names_and_pictures(folder):
    bm25, clip = nirank.load("bm25", field="name"), nirank.load("clip", model=str(folder), device="cpu")
    names = ["a cat", "a dog", "cat and dog", "bus", "car"]
    corpus = Documents(list("abcde"), PICTURES, {"name": names})
    exact = nirank.load("exact")
    mixed = (bm25 % 2 | clip >> exact % 2) >> clip + 0.1 * bm25
    found = mixed.search(["cat", "dog"], corpus)
    by_name, by_picture = (bm25 % 2).search(["cat", "dog"], corpus), (clip >> exact).search(["cat", "dog"], corpus)
    texts = Documents(list("abcde"), names)
    for row, query in enumerate(["cat", "dog"]):
        docs, scores = found[row]
        assert set(docs.tolist()) == set(by_name[row][0].tolist()) | set(by_picture[row][0][:2].tolist())
        cosine = dict(zip(*(column.tolist() for column in by_picture[row]), strict=True))
        pairs = Candidates.of([docs], corpus=texts)
        plain = nirank.load("bm25")
        plain.search(query, texts)
        lexical = plain.score(Queries.of(query), pairs)
        assert np.allclose(scores, [cosine[doc] for doc in docs.tolist()] + 0.1 * lexical, atol=1e-5)


def test_every_odd_image_in_a_folder_is_indexed_or_told(folder, tmp_path, caplog):
    picture = images.drawn(5, 40, 30)
    for name, image in {
        "cmyk.jpg": picture.convert("CMYK"),
        "one.png": picture.resize((1, 1)),
        "a.png": picture,
    }.items():
        image.save(tmp_path / name)
    picture.save(tmp_path / "moving.gif", save_all=True, append_images=[images.drawn(6, 40, 30)])
    deep = (np.arange(1200).reshape(30, 40) * 50).astype(np.uint16)
    pytest.importorskip("PIL.Image").fromarray(deep).save(tmp_path / "deep.png")
    stream = io.BytesIO()
    picture.save(stream, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(stream.getvalue()[:-300])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image either, and not called one")
    collection = nirank.collection(f"images:{tmp_path}")
    assert sorted(collection.corpus.ids) == ["a.png", "cmyk.jpg", "deep.png", "moving.gif", "one.png"]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [name for name in ("cut.jpg", "text.png") if any(name in text for text in told)] == ["cut.jpg", "text.png"]
    clip = nirank.load("clip", model=str(folder), device="cpu")
    found = (clip >> nirank.load("exact")).search([picture], collection.corpus)
    assert found.pairs == 5
    assert collection.corpus.ids[int(found.docs[0])] == "a.png"
    assert found.scores[0] == pytest.approx(1, abs=1e-5)
