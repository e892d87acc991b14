"""Two towers, low-rank adaptation, nested dimensions, layers: what is trained, what is kept, that it is what it was."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
from sentence_transformers import SentenceTransformer

import nirank
from nirank.data import Queries, to_numpy
from nirank.errors import BadInput
from nirank.execution import stages as execute
from nirank.plugins import Component
from nirank.testing import samples
from nirank.training.step import _forms
from nirank_dense import tiny
from nirank_dense.encoders import layers, lora
from tests.built import built

TEXTS = ["a cat", "", "the dog ran over a long bridge", "ünïcödé ∑ 🙂", "b"]


@pytest.fixture
def folders(tmp_path):
    for seed, name in enumerate(("one", "two")):
        tiny.save(tmp_path / name, seed)
    return str(tmp_path / "one"), str(tmp_path / "two")


def _towers(query, document, **settings):
    return nirank.load("two_towers", query=query, document=document, device="cpu", **settings).component.target


def _vectors(encoder, texts=TEXTS):
    return to_numpy(execute.encode_documents(Component("encoder", encoder), texts))


def _asked(encoder, texts=TEXTS):
    return to_numpy(execute.encode(Component("encoder", encoder), Queries.of(texts)).vectors)


def _fit(encoder, **options):
    """A few steps on the samples."""
    collection = samples.collection()
    given = {"steps": 3, "batch_size": 4, "learning_rate": 1e-2, "warmup": 0.0, "schedule": "constant", "seed": 1}
    return nirank.fit(encoder, nirank.load("softmax_cross_entropy"), collection, **given | options)


# Two towers


def test_each_tower_encodes_its_side(folders):
    towers = _towers(*folders)
    np.testing.assert_array_equal(_asked(towers), _asked(built("sentence", folders[0])))
    np.testing.assert_array_equal(_vectors(towers), _vectors(built("sentence", folders[1])))


def test_towers_that_start_from_one_model_are_trained_apart(folders, tmp_path):
    towers = nirank.load(_towers(folders[0], folders[0]), "towers")
    target = towers.component.target
    before = target.fingerprint
    np.testing.assert_array_equal(_asked(target), _vectors(target))
    _fit(towers, out=tmp_path / "run")
    assert np.abs(_asked(target) - _vectors(target)).max() > 1e-3
    assert towers.component.target.fingerprint != before
    again = nirank.load(f"trained:{tmp_path / 'run'}").component.target
    np.testing.assert_allclose(_asked(again), _asked(target), atol=1e-6)
    np.testing.assert_allclose(_vectors(again), _vectors(target), atol=1e-6)


def test_a_tower_of_documents_that_is_not_trained_stays_and_has_no_dropout(folders):
    towers = _towers(*folders, train_documents=False)
    queries, documents = _asked(towers), _vectors(towers)
    assert not any(module.training for module in towers.train().document.modules())
    towers.eval()
    _fit(nirank.load(towers, "towers"))
    np.testing.assert_array_equal(_vectors(towers), documents)
    assert np.abs(_asked(towers) - queries).max() > 1e-3


def test_towers_that_cannot_be_compared_are_refused(folders, tmp_path):
    model = SentenceTransformer(folders[1], device="cpu", similarity_fn_name="dot")
    model.save(str(tmp_path / "dot"))
    with pytest.raises(BadInput, match="compared by cosine, document vectors have 16 and are compared by dot"):
        _towers(folders[0], str(tmp_path / "dot"))


# Low-rank adaptation


@pytest.fixture
def adapted(folders):
    pytest.importorskip("peft")
    return built("sentence", folders[0], lora_rank=2)


def test_adaptation_starts_from_the_model_itself_and_trains_little(folders, adapted):
    plain = built("sentence", folders[0])
    np.testing.assert_allclose(_vectors(adapted), _vectors(plain), atol=1e-6)
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name and "pooler" not in name for name in trained)
    again = built("sentence", folders[0], lora_rank=2)
    assert again.fingerprint == adapted.fingerprint  # what is drawn is drawn alike


def test_a_merged_matrix_is_the_sum_of_equation_3():
    pytest.importorskip("peft")
    torch.manual_seed(0)
    transformer = tiny.encoder().model[0].model
    weight = transformer.encoder.layer[0].attention.self.query.weight.detach().clone()
    lora.adapt(transformer, rank=2)
    layer = transformer.encoder.layer[0].attention.self.query
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        b.normal_()
    merged = lora.merged(transformer).encoder.layer[0].attention.self.query.weight
    expected = weight.numpy() + 4 / 2 * (b.detach().numpy() @ a.detach().numpy())
    np.testing.assert_allclose(merged.detach(), expected, atol=1e-6)
    np.testing.assert_array_equal(layer.base_layer.weight.detach(), weight)


def test_what_was_adapted_is_saved_as_a_plain_model_that_sentence_transformers_loads(adapted, tmp_path):
    before, frozen = _vectors(adapted), adapted.model[0].model.embeddings.word_embeddings.weight.detach().clone()
    _fit(nirank.load(adapted, "adapted"), out=tmp_path / "run")
    after = _vectors(adapted)
    assert np.abs(after - before).max() > 1e-4
    torch.testing.assert_close(adapted.model[0].model.embeddings.word_embeddings.weight, frozen, rtol=0, atol=0)
    again = nirank.load(f"trained:{tmp_path / 'run'}").component.target
    np.testing.assert_allclose(_vectors(again), after, atol=1e-5)
    assert not any("lora" in name for name in again.state_dict())
    theirs = SentenceTransformer(str(tmp_path / "run" / "checkpoint" / "model"), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS, normalize_embeddings=True), after, atol=1e-5)


def test_a_rank_that_is_none_is_refused(folders):
    with pytest.raises(BadInput, match="lora_rank = 0"):
        built("sentence", folders[0], lora_rank=0)


# Nested dimensions


def test_dim_cuts_vectors_and_makes_them_of_length_one_again(folders):
    whole, short = built("sentence", folders[0]), built("sentence", folders[0], dim=5)
    expected = _vectors(whole)[:, :5]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(_vectors(short), expected, atol=1e-6)
    assert short.encode_documents([]).shape == (0, 5)
    assert short.fingerprint != whole.fingerprint


def test_the_loss_of_nested_dimensions_is_the_mean_of_the_losses_of_each(folders):
    encoder = built("sentence", folders[0], nested=[3, 8])
    queries, documents = _asked(encoder, ["cat", "dog"]), _vectors(encoder)
    forms = _forms(Component("encoder", encoder), [torch.from_numpy(queries), torch.from_numpy(documents)])
    assert [[len(part[0]) for part in form] for form in forms] == [[16, 16], [3, 3], [8, 8]]
    for form, length in zip(forms, (16, 3, 8), strict=True):
        for part, vectors in zip(form, (queries, documents), strict=True):
            for one, vector in zip(part.tolist(), vectors, strict=True):
                np.testing.assert_allclose(one, vector[:length] / np.linalg.norm(vector[:length]), atol=1e-6)


def _gradient(encoder, monkeypatch, chunk):
    """The gradient of one step on the samples, of all weights in one row; weights stay as they are."""
    found = []

    def apply(self, tally, share):
        found.append(torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None]))
        return tally, 0.0

    monkeypatch.setattr("nirank.training.optimiser.Updates.apply", apply)
    encoder.eval()
    monkeypatch.setattr(encoder, "train", lambda mode=True: encoder)  # without dropout
    _fit(nirank.load(encoder, "encoder"), steps=1, chunk=chunk)
    return found[0]


@pytest.mark.parametrize("chunk", [None, 2])
def test_the_gradient_of_nested_dimensions_is_the_mean_of_those_of_models_that_are_cut(folders, monkeypatch, chunk):
    both = _gradient(built("sentence", folders[0], nested=[4]), monkeypatch, chunk)
    whole = _gradient(built("sentence", folders[0]), monkeypatch, chunk)
    short = _gradient(built("sentence", folders[0], dim=4), monkeypatch, chunk)
    np.testing.assert_allclose(both, (whole + short) / 2, atol=1e-6)
    assert not np.allclose(whole, short, atol=1e-4)


def test_dimensions_that_the_model_lacks_are_refused(folders):
    for wrong in ({"dim": 17}, {"nested": [0]}, {"nested": [4, 20]}):
        with pytest.raises(BadInput, match="16 dimensions: choose 1 to 16"):
            built("sentence", folders[0], **wrong)


def test_nested_dimensions_and_their_length_are_saved(folders, tmp_path):
    encoder = nirank.load("sentence", model=folders[0], device="cpu", nested=[4, 8], dim=12)
    nirank.checkpoints.checkpoint.save(encoder.component, tmp_path / "saved")
    again = nirank.load(f"trained:{tmp_path / 'saved'}").component.target
    assert (again.nested, again.dim) == ((4, 8), 12)
    assert _vectors(again).shape == (5, 12)


# Adaptive layers


def _cut_by_hand(folder, depth):
    """The vectors that a model ends with behind fewer layers, by transformers alone."""
    encoder = built("sentence", folder)
    features = encoder.model.preprocess(list(samples.DOCUMENTS[:5]))
    with torch.no_grad():
        hidden = (
            encoder.model[0]
            .model(
                input_ids=features["input_ids"], attention_mask=features["attention_mask"], output_hidden_states=True
            )
            .hidden_states[depth]
        )
        for module in list(encoder.model)[1:]:
            features = module({**features, "token_embeddings": hidden})
    vectors = features["sentence_embedding"].numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_model_that_is_cut_ends_with_the_vectors_of_its_first_layers(folders, tmp_path):
    encoder = nirank.load("sentence", model=folders[0], device="cpu", depth=1)
    found = encoder.component.target.encode_documents(samples.DOCUMENTS[:5]).detach().numpy()
    np.testing.assert_allclose(found, _cut_by_hand(folders[0], 1), atol=1e-6)
    nirank.checkpoints.checkpoint.save(encoder.component, tmp_path / "saved")
    again = nirank.load(f"trained:{tmp_path / 'saved'}").component.target
    assert len(again.model[0].model.encoder.layer) == 1
    np.testing.assert_allclose(again.encode_documents(samples.DOCUMENTS[:5]).detach().numpy(), found, atol=1e-6)


def test_in_training_the_vectors_of_fewer_layers_are_forms_of_their_own(folders, monkeypatch):
    encoder = built("sentence", folders[0], depths=[1], nested=[4])
    assert _vectors(encoder).shape[1] == 16  # in search it is one model
    expected = [_vectors(encoder, samples.DOCUMENTS[:5]), _cut_by_hand(folders[0], 1)]
    for module in encoder.modules():
        module.training = isinstance(module, type(encoder))  # without dropout
    with torch.no_grad():
        forms = encoder.shortened(encoder.encode_documents(samples.DOCUMENTS[:5]))
    assert [form.shape[1] for form in forms] == [16, 4, 16, 4]
    for form, whole in zip(forms, (expected[0], expected[0], expected[1], expected[1]), strict=True):
        short = whole[:5, : form.shape[1]]
        np.testing.assert_allclose(form, short / np.linalg.norm(short, axis=1, keepdims=True), atol=1e-6)


def test_training_at_several_depths_makes_each_of_them_better(folders):
    def cost(depth, trained):
        encoder = nirank.load("sentence", model=folders[0], device="cpu", depths=[1])
        if trained:
            options = {"sampler": "in_batch", "batch_size": 4, "steps": 40, "learning_rate": 3e-3}
            nirank.fit(encoder, "softmax_cross_entropy", samples.collection(), **options)
        if depth:
            layers.cut(encoder.component.target.model, depth)
        collection = samples.collection()
        found = (encoder >> nirank.load("exact")).search(collection.queries, collection.corpus)
        return nirank.evaluate(found, collection.judgments, ["AP"])["AP"]

    for depth in (None, 1):
        assert cost(depth, trained=True) > cost(depth, trained=False)


def test_a_frozen_tower_has_the_same_vectors_for_all_depths(folders):
    towers = _towers(*folders, train_documents=False)
    towers.query.depths = (1,)
    towers.train()
    forms = towers.shortened(towers.encode_documents(samples.DOCUMENTS[:3]))
    assert len(forms) == 2
    assert torch.equal(forms[0], forms[1])


def test_depths_that_the_model_lacks_are_refused(folders):
    with pytest.raises(BadInput, match=r"this model has 2 layers: choose 1 to 2"):
        built("sentence", folders[0], depth=3)
    for wrong in ({"depths": [2]}, {"depths": [0]}, {"depth": 1, "depths": [1]}):
        with pytest.raises(BadInput, match="is none below the"):
            built("sentence", folders[0], **wrong)


# Hard negatives


def test_negatives_are_mined_from_an_index_of_the_encoder_that_is_trained(folders, monkeypatch, tmp_path):
    pytest.importorskip("faiss")
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    collection, encoder = samples.collection(), nirank.load(built("sentence", folders[0]), "letters")
    index = nirank.load("hnsw", m=4)
    sampler = nirank.load("mined", pipeline="letters >> hnsw", top=6, negatives=2, every=2)
    searched = []
    search = type(index.component.target).generate

    def generate(self, queries, k):
        found = search(self, queries, k)
        searched.append(found)
        return found

    monkeypatch.setattr(type(index.component.target), "generate", generate)
    _fit(encoder, steps=4, sampler=sampler, stages={"hnsw": index})
    assert len(searched) == 2  # before steps 0 and 2
    vectors, asked = _vectors(encoder.component.target, collection.corpus[:]), searched[1]
    assert len(asked) == len(collection.queries)
    assert not np.allclose(searched[0].scores, searched[1].scores)  # by what was learned meanwhile
    assert vectors.shape == (len(collection.corpus), 16)
