"""What computes vectors: parts of a token budget, and a graph compiled by OpenVINO beside torch."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from nirank.errors import BadInput, MissingDependency
from nirank.execution import stages
from nirank.kit import import_openvino, openvino_installed, quantised
from nirank.kit.transformers import Computing
from nirank.plugins import Component
from nirank.testing.models import letter_tokenizer
from nirank_dense import tiny
from nirank_dense.encoders import sentence
from nirank_dense.encoders.tokenised import Width, parts
from tests.built import built

TEXTS = [
    "a cat",
    "",
    "the dog ran over a long bridge " * 20,
    "ünïcödé ∑ 🙂",
    "cat",
    "b" * 5000,
    "a cat",
    "dog",
    "x y z",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny.save(folder)
    return str(folder)


def _vectors(encoder, texts):
    return stages.encode_documents(Component("encoder", encoder), texts).numpy()


def _features(lengths, before=False):
    """Tokens that count up, 1, 2, ..., and padding on one side."""
    longest = max(lengths)
    rows = [[0] * (longest - n) * before + list(range(1, n + 1)) + [0] * (longest - n) * (not before) for n in lengths]
    ids = torch.tensor(rows)
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "prompt_length": 2, "weights": torch.arange(4.0)}


@pytest.mark.parametrize("before", [False, True], ids=["padded after", "padded before"])
def test_parts_keep_to_the_budget_and_have_no_more_padding_than_they_need(before):
    found = list(parts(_features([2, 9, 3, 4], before), 4, 10))
    assert [places.tolist() for places, _ in found] == [[1], [3, 2], [0]]
    for places, features in found:
        assert (
            features["input_ids"].tolist()
            == _features([[2, 9, 3, 4][place] for place in places], before)["input_ids"].tolist()
        )
        assert features["prompt_length"] == 2
        assert features["weights"].tolist() == places.tolist()


def test_a_width_depends_on_the_text_alone_and_keeps_to_the_positions_of_the_model():
    found = [
        (places.tolist(), part["input_ids"]) for places, part in parts(_features([2, 9, 3, 10]), 4, 24, Width(10, 7))
    ]
    assert [(places, tuple(ids.shape)) for places, ids in found] == [([1, 3], (2, 10)), ([0, 2], (2, 8))]
    assert found[0][1][0].tolist() == [*range(1, 10), 0]
    ((_, alone),) = parts(_features([3]), 1, 24, Width(10, 7))
    assert alone["input_ids"].tolist() == [[1, 2, 3, 7, 7, 7, 7, 7]]
    assert alone["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]


def test_a_text_without_tokens_and_features_that_are_no_matrix_are_fine():
    mask = torch.tensor([[0, 0, 0], [1, 1, 0]])
    found = list(parts({"attention_mask": mask}, 2, 100))
    assert [part["attention_mask"].tolist() for _, part in found] == [[[1, 1], [0, 0]]]
    bags = {"input_ids": torch.arange(5), "offsets": torch.tensor([0, 2])}
    ((places, features),) = parts(bags, 2, 1)
    assert places.tolist() == [0, 1]
    assert features is bags


@pytest.mark.parametrize("tokens", [1, 16, 100_000])
def test_the_budget_changes_nothing_but_the_order_of_additions(folder, tokens):
    expected = SentenceTransformer(folder, device="cpu").encode(TEXTS, normalize_embeddings=True)
    encoder = built("sentence", folder, tokens=tokens, runtime="torch")
    np.testing.assert_allclose(_vectors(encoder, TEXTS), expected, atol=1e-6)


def test_a_model_of_bags_of_words_is_one_part(tmp_path):
    static = StaticEmbedding(letter_tokenizer(tmp_path).backend_tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu", similarity_fn_name="cosine").save(str(tmp_path / "static"))
    encoder = built("sentence", tmp_path / "static", tokens=1)
    texts = ["a cat", "dog", "the long bridge"]
    expected = encoder.model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(_vectors(encoder, texts), expected, atol=1e-6)
    assert encoder.runtime == "torch"
    with pytest.raises(BadInput, match="cannot be compiled"):
        built("sentence", tmp_path / "static", runtime="openvino")


@pytest.fixture(scope="module")
def fast(folder):
    pytest.importorskip("openvino")
    return built("sentence", folder, tokens=64, runtime="openvino")


def test_a_compiled_graph_gives_the_vectors_of_torch(folder, fast):
    slow = built("sentence", folder, runtime="torch")
    np.testing.assert_allclose(_vectors(fast, TEXTS), _vectors(slow, TEXTS), atol=1e-6)
    assert fast._fast.compiled is not None
    assert slow.runtime == "torch"
    assert fast.fingerprint == slow.fingerprint  # vectors of either go into one index


def test_a_compiled_graph_gives_a_text_the_vector_it_has_alone_and_in_any_order(fast):
    together, backwards = _vectors(fast, TEXTS), _vectors(fast, TEXTS[::-1])[::-1]
    np.testing.assert_allclose(backwards, together, atol=1e-6)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(_vectors(fast, [text])[0], vector, atol=1e-6)


def test_with_gradients_torch_computes_and_changed_weights_are_compiled_anew(folder):
    pytest.importorskip("openvino")
    encoder = built("sentence", folder, runtime="openvino")
    before = _vectors(encoder, ["a cat"])
    vectors = encoder.train().encode_documents(["a cat", "dog"])
    vectors.pow(3).sum().backward()
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    encoder.eval()
    after, graph = _vectors(encoder, ["a cat"]), encoder._fast.compiled
    assert np.abs(after - before).max() > 1e-3
    encoder._fast.runtime = "torch"
    np.testing.assert_allclose(after, _vectors(encoder, ["a cat"]), atol=1e-6)
    assert copy.deepcopy(encoder)._fast.compiled is None
    assert graph is not None


def test_bfloat16_of_a_graph_is_close_pooled_in_float32_and_told_in_the_fingerprint(folder, fast):
    pytest.importorskip("openvino")
    half = built("sentence", folder, precision="bfloat16")
    assert half.runtime == "openvino"
    vectors = _vectors(half, TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors * _vectors(fast, TEXTS)).sum(1).min() > 0.999
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(_vectors(half, [text])[0], vector, atol=0.02)
    assert len({half.fingerprint, fast.fingerprint, _half_in_torch(folder).fingerprint}) == 3


def _half_in_torch(folder):
    return built("sentence", folder, precision="bfloat16", runtime="torch")


@pytest.fixture(scope="module")
def rounded(folder):
    pytest.importorskip("openvino")
    return built("sentence", folder, tokens=64, precision="int8")


def test_int8_gives_a_text_the_same_bits_alone_in_any_order_and_in_any_batch(rounded):
    texts = [*TEXTS, "a dog", "dog and cat", "x y zz"]
    together = _vectors(rounded, texts)
    assert rounded._fast.compiled is not None
    np.testing.assert_array_equal(_vectors(rounded, texts[::-1])[::-1], together)
    np.testing.assert_array_equal(_vectors(rounded, texts[::2]), together[::2])
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(_vectors(rounded, [text])[0], vector)


def test_int8_is_rounded_is_near_float32_and_is_told_in_the_fingerprint(folder, fast, rounded):
    vectors, exact = _vectors(rounded, TEXTS), _vectors(fast, TEXTS)
    assert np.abs(vectors - exact).max() > 1e-5
    assert (vectors * exact).sum(1).min() > 0.98
    kinds = [node["primitiveType"].astype(str).lower() for node in _products(rounded)]
    expected = "i8" if quantised.adds_up_exactly() else "f32"
    assert sum(kind.endswith(expected) for kind in kinds) >= 8, kinds  # of two layers, six products each
    assert rounded.fingerprint not in (fast.fingerprint, built("sentence", folder, precision="bfloat16").fingerprint)
    assert rounded.fingerprint == built("sentence", folder, precision="int8").fingerprint


def _products(encoder):
    executed = [node.get_rt_info() for node in encoder._fast.compiled._model.get_runtime_model().get_ordered_ops()]
    return [node for node in executed if node["layerType"].astype(str) == "FullyConnected"]


def test_ranges_of_int8_are_found_once_and_another_process_reads_them(folder, rounded, monkeypatch):
    vectors = _vectors(rounded, TEXTS)
    monkeypatch.setattr(quantised, "_found", lambda *inputs: pytest.fail("ranges were found again"))
    np.testing.assert_array_equal(_vectors(built("sentence", folder, precision="int8"), TEXTS), vectors)
    with torch.no_grad():
        other = built("sentence", folder, precision="int8")
        next(other.model[0].model.encoder.parameters()).mul_(2)
        with pytest.raises(pytest.fail.Exception, match="ranges were found again"):
            _vectors(other, TEXTS)


def test_a_network_that_8_bits_do_not_hold_is_refused(folder, monkeypatch):
    pytest.importorskip("openvino")
    encoder = built("sentence", folder, precision="int8")
    monkeypatch.setattr(quantised, "_integers", lambda weights: _signs(weights))
    with pytest.raises(BadInput, match=r"in 8 bits results differ by \d+%"):
        _vectors(encoder, TEXTS)


def _signs(weights):
    """Weights of one bit, as a fault."""
    return np.sign(weights).astype(np.int8), np.ones((len(weights), 1), np.float32)


def test_int8_is_refused_where_openvino_does_not_compute_it(folder, tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="computed by OpenVINO: leave runtime out"):
        built("sentence", folder, precision="int8", runtime="torch")
    with pytest.raises(BadInput, match="'int8' is for bi-encoders"):
        Computing("cpu", "int8").dtype  # noqa: B018
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependency, match=r"nirank\[openvino\]"):
        built("sentence", folder, precision="int8")


def test_half_precision_in_torch_is_batch_invariant_too(folder):
    encoder = _half_in_torch(folder)
    together = _vectors(encoder, TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(_vectors(encoder, [text])[0], vector, atol=0.02)


def test_unless_it_is_said_much_text_is_compiled_and_little_is_not(folder, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(sentence, "_WORTH_COMPILING", 1000)
    encoder = built("sentence", folder)
    few = _vectors(encoder, ["a cat"])
    assert encoder._fast.compiled is None
    many = _vectors(encoder, [*TEXTS, "a cat"])
    assert encoder._fast.compiled is not None
    np.testing.assert_allclose(many[-1], few[0], atol=1e-6)


def test_without_openvino_torch_computes_and_who_asks_for_it_is_told_how_to_get_it(folder, monkeypatch):
    monkeypatch.setattr(sentence, "openvino_installed", lambda: False)
    assert built("sentence", folder).runtime == "torch"
    monkeypatch.setitem(sys.modules, "openvino", None)
    encoder = built("sentence", folder, runtime="openvino")
    with pytest.raises(MissingDependency, match=r"nirank\[openvino\]"):
        _vectors(encoder, ["a cat"])


def test_an_exported_graph_is_the_transformer_under_the_names_of_the_tokenizer(folder, tmp_path):
    openvino = import_openvino("openvino") if openvino_installed() else pytest.skip("no OpenVINO")
    encoder = built("sentence", folder)
    encoder.export(tmp_path)
    graph = openvino.Core().compile_model(str(tmp_path / "model" / "openvino" / "openvino_model.xml"), "CPU",
                                          {"INFERENCE_PRECISION_HINT": "f32"})  # fmt: skip
    features = encoder.model.preprocess(TEXTS)
    inputs = {name: features[name].numpy() for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.inference_mode():
        expected = encoder.model[0](dict(features))["token_embeddings"]
    kept = features["attention_mask"].bool()
    found = torch.from_numpy(graph(inputs)["last_hidden_state"])
    np.testing.assert_allclose(found[kept], expected[kept], atol=1e-5)
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(theirs, _vectors(encoder, TEXTS), atol=1e-6)


def test_openvino_is_imported_without_what_it_would_send_and_opens_no_connection():
    pytest.importorskip("openvino")
    script = (
        "import sys\n"
        "sent = []\n"
        "sys.addaudithook(lambda event, arguments: sent.append(event) if event.startswith('socket.') else None)\n"
        "from nirank.kit.openvino import import_openvino\n"
        "import_openvino('openvino'), import_openvino('openvino.frontend.pytorch')\n"
        "print(sent, [name for name in sys.modules if name.startswith('openvino_telemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[] []", "")


def test_telemetry_that_somebody_else_has_loaded_is_left_alone(monkeypatch):
    pytest.importorskip("openvino")
    theirs = type(sys)("openvino_telemetry")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", theirs)
    import_openvino("openvino")
    assert sys.modules["openvino_telemetry"] is theirs
