"""What rankers say of their scores, against sums and matrices written out here, and planted answers."""

import importlib

import numpy as np
import pytest

import nirank
from nirank import Documents, features, load
from nirank.data import Queries

torch = pytest.importorskip("torch")

TEXTS = [
    "a small cat sat on the warm mat",
    "the dog ran over a long bridge",
    "a fast red car behind a slow bus",
    "cats and dogs, cars and buses",
    "small small small cat",
    "mat bridge zebra",
]
CORPUS = Documents(list("abcdef"), TEXTS)


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIRANK_CACHE", str(tmp_path_factory.mktemp("explanations")))
        yield


def _explained(ranking, query, name):
    explanation = ranking.explain(query, name, CORPUS)
    docs, scores = ranking.search(query, CORPUS)[0]
    found = dict(zip(CORPUS.ids.take(docs), scores.tolist(), strict=True))
    assert explanation.score == pytest.approx(found[name], rel=1e-5, abs=1e-6)
    assert explanation.adds_up()
    return explanation


def _marked(explanation):
    return [explanation.document[mark.start : mark.end] for mark in explanation.document_marks]


# Terms


def test_expansion_terms_are_told_from_those_of_the_query():
    bm25, ids = load("bm25"), [f"d{number}" for number in range(60)]
    corpus = Documents(ids, [TEXTS[0], *(f"filler number {number}" for number in range(59))])  # rm3 takes rare terms
    explanation = (bm25 % 2 >> load("rm3") >> bm25).explain("small cat", "d0", corpus)
    assert explanation.adds_up()
    notes = {part.label: part.note for part in explanation.parts}
    added = {label for label, note in notes.items() if "added by the expansion" in note}
    assert added
    assert not added & {"small", "cat"}
    assert "weight" in notes["small"]


def test_fields_are_counted_together():
    corpus = Documents(["a", "b"], ["cat", "dog"], {"title": ["small cat", "dog"], "text": ["cat cat", "cat"]})
    explanation = load("bm25f", fields={"title": 2.0, "text": 1.0}).explain("small cats", "a", corpus)
    assert {part.label: part.note for part in explanation.parts}["cat"] == "3 in the document"
    assert explanation.adds_up()


def test_neighbours_have_parts_of_their_own():
    explanation = _explained(load("sdm", mu=10.0), "small cat mat", "a")
    labels = [part.label for part in explanation.parts]
    assert "small cat in a row" in labels
    assert "small cat within 8 words" in labels
    assert labels[-1] == "length of the document"
    worth = {part.label: part.score for part in explanation.parts}
    assert worth["small cat in a row"] > 0 > worth["length of the document"]


def test_a_document_without_a_phrase_that_it_must_have_has_its_prior_alone():
    sdm = load("sdm", phrases=True)
    explanation = sdm.explain('"small cat"', "d", CORPUS)
    assert [part.label for part in explanation.parts] == ["length of the document"]
    assert explanation.adds_up()


# Vectors


def test_sparse_terms_by_name_with_their_places():
    from nirank_sparse import tiny

    splade, impact = load(tiny.encoder(), "splade"), load("impact")
    corpus = Documents(["a", "b"], ["abba", "Éa c"])
    for ranking in (splade >> impact, splade):
        explanation = ranking.explain("a c", "b", corpus)
        assert explanation.adds_up()
        query, document = (splade.component.target.encode_documents([text]) for text in ("a c", "Éa c"))
        wanted = query.toarray()[0] * document.toarray()[0]
        parts = {part.label: part.score for part in explanation.parts}
        names = splade.component.target.tokenizer.convert_ids_to_tokens(np.flatnonzero(wanted).tolist())
        assert parts == pytest.approx(dict(zip(names, wanted[wanted != 0].tolist(), strict=True)), rel=1e-5)
        assert all(mark.end <= 4 for mark in explanation.document_marks)


@pytest.mark.parametrize("names", [("nirank_sparse", "splade", "impact"), ("nirank_late", "colbert", "maxsim")])
def test_vectors_of_a_field_are_named_by_its_words_and_mark_none_of_the_text(names):
    plugin, encoder, index = names
    model = importlib.import_module(f"{plugin}.tiny").encoder()
    of_title, of_text = load(model, encoder), load(model, encoder)
    of_title.component.field = "title"
    titles = ["cat", "dog"]
    corpus, alone = Documents(["a", "b"], ["a dog sat there", "x"], {"title": titles}), Documents(["a", "b"], titles)
    one = (of_title >> load(index)).explain("cat", "a", corpus)
    other = (of_text >> load(index)).explain("cat", "a", alone)
    assert [(part.label, part.score) for part in one.parts] == [(part.label, part.score) for part in other.parts]
    assert [part.note for part in one.parts] == [part.note for part in other.parts]
    assert not any(each.document_marks for each in (one, *one.leaves()))
    assert other.document_marks


def test_maxsim_is_a_part_for_each_query_token_and_a_matrix():
    from nirank_late import tiny

    model = tiny.encoder()
    colbert = load(model, "colbert")
    for ranking in (colbert >> load("maxsim"), load("bm25") >> colbert):
        explanation = _explained(ranking, "cat", "a")
        query = model.encode(Queries.of("cat"))[0].detach().numpy()
        document = model.encode_documents([TEXTS[0]])[0].detach().numpy()
        similarities = query @ document.T
        np.testing.assert_allclose(explanation.matches.values, similarities, atol=2e-3)  # kept as float16
        best = [part.score for part in explanation.parts]
        np.testing.assert_allclose(best, similarities.max(axis=1), atol=2e-3)
        assert explanation.matches.values.shape == (len(explanation.matches.rows), len(explanation.matches.columns))
        assert set(_marked(explanation)) <= set(TEXTS[0])  # its tokens are letters
        assert [part.label for part in explanation.parts][2:5] == ["c", "##a", "##t"]


def test_desm_is_a_cosine_for_each_word():
    from nirank_representation import desm

    encoder = desm.tiny()
    explanation = _explained(load(encoder, "desm") >> load("exact", device="cpu"), "cat bridge", "b")
    centroid = encoder.encode_documents([TEXTS[1]])[0]
    for part in explanation.parts[:2]:
        assert part.score == pytest.approx(float(encoder.encode(Queries.of(part.label))[0] @ centroid) / 2, abs=1e-6)


def test_a_bi_encoder_is_explained_by_what_it_loses():
    class Letters:
        """Counts the letters a and z."""

        vectors, reads = "dense", "text"

        def encode(self, queries):
            return self.encode_documents(queries.contents)

        def encode_documents(self, contents):
            return np.array([[text.count("a"), text.count("z")] for text in contents], np.float32)

    explanation = _explained(load(Letters(), "letters") >> load("exact", device="cpu"), "zzz", "f")
    lost = {part.label: part.score for part in explanation.parts}
    assert lost == {"mat": 0, "bridge": 0, "zebra": 3, "rest": 0}
    assert [mark.weight for mark in explanation.query_marks] == [3]


# Features


def _ranker(name):
    from nirank_ltr import linear, trees

    made = {"linear": linear, "lightgbm": trees}[name].tiny()
    if name == "linear":
        with torch.no_grad():
            made.layers.weights.weight[:] = torch.tensor([[0.5, -1.0, 2.0]])
            made.layers.weights.bias[:] = 0.25
    return made


@pytest.mark.parametrize("name", ["linear", "lightgbm"])
def test_features_have_a_part_each(name):
    ranker = _ranker(name)

    def described(query, text):
        return [len(text) / 50, text.count("a") / 5, text.count("s") / 5]

    describing = nirank.describe_by(described, names=["first", "second", "third"])
    explanation = _explained(load("bm25") >> features(describing) >> load(ranker, name), "small cat", "a")
    assert [part.label for part in explanation.parts] == ["first", "second", "third", "bias"]
    values = np.array([described("", TEXTS[0])], np.float32)
    if name == "linear":
        normal = ranker.normaliser(torch.from_numpy(values), torch.zeros(1, dtype=torch.int64)).numpy()[0]
        expected = [*(normal * [0.5, -1.0, 2.0]), 0.25]
    else:
        expected = ranker.booster.predict(values, pred_contrib=True)[0]
    assert [part.score for part in explanation.parts] == pytest.approx(list(expected), rel=1e-5)
    assert explanation.parts[0].note == f"value {values[0, 0]:.6g}"


# Matrices of words


@pytest.mark.parametrize("name", ["knrm", "conv_knrm", "drmm", "matchpyramid", "pacrr", "duet_local"])
def test_models_of_word_pairs_show_their_matrix(name):
    import importlib

    model = importlib.import_module(f"nirank_interaction.{name}").tiny()
    explanation = _explained(load("bm25") >> load(model, name), "small CATS", "e")
    assert explanation.matches.rows == ("small", "cats")
    assert explanation.matches.columns == ("small", "small", "small", "cat")
    exact = [[1, 1, 1, 0], [0, 0, 0, 1]]
    assert (explanation.matches.values[np.array(exact, bool)] == pytest.approx(1, abs=1e-6)) is True
    assert bool(explanation.parts) == (name in ("knrm", "conv_knrm", "drmm"))
    if name == "drmm":
        assert [part.label for part in explanation.parts] == ["small", "cats"]


# Planted answers


def _planted_crossencoder():
    """A cross-encoder that has learned one thing: whether the document has a z."""
    from nirank_crossencoder.tiny import crossencoder

    model, chance = crossencoder(), np.random.default_rng(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        texts = [" ".join(chance.choice(["cat", "dog", "mat", "z"], 5, p=[0.3, 0.3, 0.3, 0.1])) for _ in range(32)]
        pairs = nirank.Candidates.of([np.arange(32)], corpus=Documents(list(map(str, range(32))), texts))
        wanted = torch.tensor([float("z" in text) for text in texts])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model.score(Queries.of("cat"), pairs), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1
    return model


def test_a_cross_encoder_misses_the_word_that_matters():
    model = load(_planted_crossencoder(), "planted")
    corpus = Documents(["a"], ["cat dog mat z dog"])
    explanation = (load("bm25") >> model).explain("cat", "a", corpus)
    lost = [part.score for part in explanation.parts[:-1]]
    assert explanation.parts[int(np.argmax(lost))].label == "z"
    assert max(lost) > 3 * sorted(map(abs, lost))[-2]
    assert explanation.parts[-1].label == "rest"
    assert explanation.adds_up()


def _picture(chance, size, row, column, share=0.5):
    """Grey noise with a red block, `share` of a side long, that begins at a row and column."""
    from PIL import Image

    pixels = chance.integers(90, 160, (size, size, 1)).repeat(3, axis=2).astype(np.uint8)
    long = round(share * size)
    pixels[row : row + long, column : column + long] = (255, 0, 0)
    return Image.fromarray(pixels)


def _planted_clip(chance):
    """CLIP that has learned one thing: how much of a picture is red."""
    from nirank_clip import tiny

    model = tiny.clip()
    optimiser = torch.optim.Adam(model.model.parameters(), lr=3e-3)
    for _ in range(120):
        shares = chance.random(16) * 0.8
        places = [chance.integers(0, 1 + 16 - round(share * 16), 2).tolist() for share in shares]
        pictures = [_picture(chance, 16, *place, share) for place, share in zip(places, shares, strict=True)]
        cosines = model.encode_documents(pictures) @ model.encode(Queries.of("red"))[0]
        loss = torch.nn.functional.mse_loss(cosines, torch.from_numpy(shares**2).float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.02
    return model


def test_clip_misses_the_patches_that_matter():
    chance = np.random.default_rng(1)
    clip = load(_planted_clip(chance), "planted")
    corpus = Documents(["a", "b"], [_picture(chance, 48, 0, 24), _picture(chance, 48, 0, 0, 0.1)])
    for ranking in (clip >> load("exact", device="cpu"), clip):
        explanation = ranking.explain("red", "a", corpus)
        assert explanation.adds_up()
        lost = explanation.matches.values  # six rows of six patches
        quarter = lost[:3, 3:]
        most = np.unravel_index(int(lost.argmax()), lost.shape)
        assert most[0] < 3 <= most[1]
        outside = np.abs(lost).sum() - np.abs(quarter).sum()
        assert quarter.mean() > 3 * outside / 27
        assert explanation.parts[-1].label == "rest"
