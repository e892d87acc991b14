"""The multi-vector encoder: against transformers called by hand, its template, what is saved, what it learns."""

from __future__ import annotations

import json
import string

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("numba")

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

import nirank
from nirank.checkpoints import checkpoint
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank.execution import stages
from nirank.kit.transformers import quiet
from nirank.testing import violations
from nirank_late import colbert, tiny
from nirank_late.template import Template
from tests import batch_invariance
from tests.built import built

TEXTS = [
    "a cat",
    "",
    "the dog ran over a long bridge " * 20,
    "ünïcödé ∑ 🙂 東京",
    "cat, dog! - .",
    "b" * 500,
    "a cat",
    "\ud800 e\u0301",
    "[MASK] [SEP] cat",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bert")
    tiny.save(path)
    return path


@pytest.fixture
def encoder():
    return tiny.encoder()


def _build(folder, **settings):
    return built("colbert", folder, **{"dim": 8, "query_length": 12, "document_length": 40, **settings})


def _by_hand(encoder, text, side, length, attend=False, augment=True):
    """One text through the transformer alone, as the paper has it."""
    tokenizer = encoder.tokenizer
    text = text.encode("utf-8", "replace").decode()
    pieces = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"][: length - 3]
    marker = tokenizer.convert_tokens_to_ids("[Q]" if side == "query" else "[D]")
    ids = [tokenizer.cls_token_id, marker, *pieces, tokenizer.sep_token_id]
    seen = [1] * len(ids)
    if side == "query" and augment:
        masks = length - len(ids)
        ids, seen = ids + [tokenizer.mask_token_id] * masks, seen + [int(attend)] * masks
    hidden = encoder.model(input_ids=torch.tensor([ids]), attention_mask=torch.tensor([seen])).last_hidden_state[0]
    vectors = hidden if encoder.linear is None else hidden @ encoder.linear.weight.T
    marks = {tokenizer.convert_tokens_to_ids(mark) for mark in string.punctuation if mark in tokenizer.get_vocab()}
    kept = [side == "query" or number not in marks for number in ids]
    vectors = vectors[torch.tensor(kept)]
    return (vectors / vectors.norm(dim=1, keepdim=True)).detach().numpy()


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_a_score_is_a_pairs_own_alone_in_mixed_lengths_and_in_any_order(folder, precision, tolerance):
    batch_invariance.check(nirank.load(_build(folder, precision=precision)), TEXTS, tolerance)


@pytest.mark.parametrize(
    "settings", [{}, {"attend": True}, {"augment": False}, {"dim": 0}, {"query_length": 5}], ids=str
)
def test_vectors_are_those_of_transformers_called_by_hand(folder, settings):
    encoder = _build(folder, **settings)
    told = {name: settings[name] for name in ("attend", "augment") if name in settings}
    with torch.inference_mode():
        queries, documents = encoder.encode(Queries.of(TEXTS)), encoder.encode_documents(TEXTS)
        for text, asked, read in zip(TEXTS, queries, documents, strict=True):
            expected = _by_hand(encoder, text, "query", settings.get("query_length", 12), **told)
            np.testing.assert_allclose(asked, expected, atol=1e-5)
            np.testing.assert_allclose(read, _by_hand(encoder, text, "document", 40), atol=1e-5)


def test_queries_are_augmented_and_punctuation_has_no_vectors(folder):
    encoder = _build(folder)
    assert set(encoder.encode(Queries.of(TEXTS)).lengths.tolist()) == {12}
    lengths = encoder.encode_documents(["cat", "cat, dog!", "cat dog", "", "!!!"]).lengths.tolist()
    assert lengths == [6, 9, 9, 3, 3]
    whole = _build(folder, skip_punctuation=False).encode_documents(["cat, dog!"]).lengths.tolist()
    assert whole == [11]


def test_scores_are_maxsim_of_the_vectors(encoder):
    corpus = Documents([*map(str, range(len(TEXTS)))], TEXTS)
    queries = Queries.of(["cat", "the dog!", ""])
    pairs = Candidates.of([[3, 0, 8, 6], [], [2, 1, 5]], corpus=corpus)
    found = stages.score(nirank.load(encoder).component, queries, pairs)
    asked, told = encoder.encode(queries), encoder.encode_documents(TEXTS)
    expected = [
        sum(max(float((a @ b).detach()) for b in told[int(doc)]) for a in asked[int(row)])
        for row, doc in zip(pairs.rows, pairs.docs, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found[1] == found[3]  # the same text, at another place


def test_outside_training_some_documents_are_in_memory_at_a_time(encoder, monkeypatch):
    corpus = Documents([*map(str, range(len(TEXTS)))], TEXTS)
    pairs = Candidates.of([[3, 0, 8, 6], [], [2, 1, 5]], corpus=corpus)
    queries, component = Queries.of(["cat", "the dog!", ""]), nirank.load(encoder).component
    whole, sizes, encode = stages.score(component, queries, pairs), [], encoder.encode_documents
    monkeypatch.setattr(colbert, "_DOCUMENTS", 2)
    monkeypatch.setattr(encoder, "encode_documents", lambda contents: sizes.append(len(contents)) or encode(contents))
    np.testing.assert_allclose(stages.score(component, queries, pairs), whole, atol=1e-5)
    assert sizes == [2, 2, 2]  # the first and the last of the first query have one text, and one score
    encoder.score(queries, pairs)
    assert sizes[3:] == [7]  # with gradients: each distinct document once, all at once


def test_it_keeps_the_promises_of_a_scorer_too(encoder):
    assert violations("scorer", encoder) == {}


def test_dropout_is_active_in_training_only(encoder):
    assert not encoder.training
    first, second = (encoder.train().encode_documents(["a cat"]).values for _ in range(2))
    assert not torch.allclose(first, second)
    first, second = (encoder.eval().encode_documents(["a cat"]).values for _ in range(2))
    assert torch.equal(first, second)


def test_a_new_projection_is_orthogonal_and_drawn_from_the_seed(folder):
    first, again, other = (_build(folder, seed=seed).linear.weight for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    torch.testing.assert_close(first @ first.T, torch.eye(8), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dim", [8, 0])
def test_a_checkpoint_scores_as_it_did_wherever_it_lies(folder, tmp_path, dim):
    settings = {"dim": dim, "query_length": 9, "document_length": 20, "attend": True, "skip_punctuation": False}
    stage = nirank.load("colbert", model=str(folder), device="cpu", **settings)
    target = stage.component.target
    with torch.no_grad():
        for parameter in target.parameters():
            parameter += torch.linspace(-0.1, 0.1, parameter.numel()).view_as(parameter)
    stage.component.changed()
    checkpoint.save(stage.component, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    again = checkpoint.load(tmp_path / "two")
    assert again.target.template == target.template
    assert again.fingerprint == stage.component.fingerprint
    for ours, theirs in zip(again.target.encode_documents(TEXTS), target.encode_documents(TEXTS), strict=True):
        torch.testing.assert_close(ours, theirs)
    described = json.loads((tmp_path / "two" / "component.json").read_text())
    assert described["fixture"]["scores"]


def test_the_fingerprint_is_of_weights_and_template_and_not_of_the_folder(folder, tmp_path):
    tiny.save(tmp_path / "copy")
    first = _build(folder).fingerprint
    assert _build(tmp_path / "copy").fingerprint == first
    assert len({first, *(_build(folder, **{name: 7}).fingerprint for name in ("query_length", "seed"))}) == 3


def test_colbert_checkpoints_are_read(folder, tmp_path):
    """BERT below `bert.`, the projection as `linear.weight`, and the settings in a file of its own."""
    tensors = {f"bert.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    projection = torch.arange(6 * 16, dtype=torch.float32).view(6, 16) / 100
    save_file(tensors | {"linear.weight": projection}, tmp_path / "model.safetensors", {"format": "pt"})
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    told = {"query_token_id": "x", "doc_token_id": "y", "query_maxlen": 9, "doc_maxlen": 30, "mask_punctuation": False}
    (tmp_path / "artifact.metadata").write_text(json.dumps(told))
    encoder = built("colbert", tmp_path)
    assert encoder.template == Template("x", "y", 9, 30, skip_punctuation=False)
    assert torch.equal(encoder.linear.weight, projection)
    assert encoder.markers == {
        side: encoder.tokenizer.convert_tokens_to_ids(marker) for side, marker in (("query", "x"), ("document", "y"))
    }
    plain = AutoModel.from_pretrained(folder)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(encoder.model.state_dict()[name][: len(tensor)], tensor), name
    assert built("colbert", tmp_path, query_length=7).template.query_length == 7
    with pytest.raises(BadInput, match=r"projection of the shape \[6, 16\], but dim = 5 .* need \[5, 16\]: .* set 6"):
        built("colbert", tmp_path, dim=5)


def test_settings_of_pylate_are_read(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    told = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 11, "document_length": 25}
    told |= {"attend_to_expansion_tokens": True, "skiplist_words": ["!"], "similarity_fn_name": "MaxSim"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(told))
    (tmp_path / "1_Dense").mkdir()
    save_file({"linear.weight": torch.ones(3, 16)}, tmp_path / "1_Dense" / "model.safetensors")
    encoder = built("colbert", tmp_path)
    assert encoder.template == Template("[Q] ", "[D] ", 11, 25, attend=True)
    assert encoder.dim == 3


def test_markers_are_added_once_and_begin_as_the_mean(folder):
    encoder, plain = _build(folder), AutoModel.from_pretrained(folder)
    before = plain.get_input_embeddings().weight
    after = encoder.model.get_input_embeddings().weight
    assert len(after) == len(before) + 2
    torch.testing.assert_close(after[-2:], before.mean(0).expand(2, -1))
    assert len(AutoTokenizer.from_pretrained(folder)) == len(before)


def test_what_cannot_be_is_refused(folder, tmp_path):
    with pytest.raises(BadInput, match="special tokens, marker and text need 4 at least"):
        _build(folder, query_length=3)
    with pytest.raises(BadInput, match="no folder or hub name"):
        built("colbert", tmp_path)
    with pytest.raises(BadInput, match="content 1 is of type int"):
        _build(folder).encode_documents(["a", 3])
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "late_interaction.json").write_text("{")
    with pytest.raises(BadInput, match="is damaged"):
        built("colbert", tmp_path)
    (tmp_path / "late_interaction.json").unlink()
    (tmp_path / "projection.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(BadInput, match="is damaged"):
        built("colbert", tmp_path)


def test_a_model_without_a_mask_token_is_asked_for_queries_as_they_are(folder, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.mask_token = None
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with quiet():
        tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="augment = false"):
        _build(tmp_path)
    assert _build(tmp_path, augment=False).encode(Queries.of(["cat"])).lengths.tolist() == [6]


def test_candidates_without_a_corpus_are_refused(encoder):
    with pytest.raises(BadInput, match="have no corpus"):
        encoder.score(Queries.of(["a"]), Candidates.of([[0]]))


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "ranknet", "lambdarank"])
def test_it_learns_by_any_loss(loss):
    encoder = tiny.encoder()
    words = ["cat", "dog", "bus", "car", "mat", "zoo"]
    corpus = Documents(words, [f"{word} {word[::-1]}" for word in words])
    judged = Candidates.of([[place] for place in range(6)], [[1]] * 6)
    collection = Collection("words", corpus, Queries.of([word[0] + word[2] for word in words]), judged)
    everything = Candidates.of([np.arange(6)] * 6, corpus=corpus)

    def precision():
        scores = stages.score(nirank.load(encoder).component, collection.queries, everything)
        return nirank.evaluate(everything.with_scores(scores).ranked(), judged, ["RR@10"]).mean["RR@10"]

    sampler = nirank.load("in_batch", negatives=0)
    before = precision()
    options = {"steps": 12, "batch_size": 6, "learning_rate": 1e-2, "chunk": None}
    nirank.fit(encoder, nirank.load(f"loss/{loss}"), collection, sampler=sampler, **options)
    assert precision() > max(before, 0.8)
