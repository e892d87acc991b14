"""Models of others that are damaged, or not what they say, in every plugin that reads one: told at once."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from nirank.data import Candidates, Documents, Queries, to_numpy  # noqa: E402
from nirank.errors import BadInput, NirankError  # noqa: E402
from nirank.kit import tried  # noqa: E402
from nirank.testing import save_bert  # noqa: E402
from nirank_clip import tiny as clip  # noqa: E402
from nirank_dense import tiny as dense  # noqa: E402
from nirank_seq2seq import tiny as seq2seq  # noqa: E402
from tests.built import built  # noqa: E402

TEXTS = ["a small cat sat on the mat", "the dog ran over a long bridge " * 9, "wow", "x"]
WEIGHTS = "model.safetensors"


def _colbert(folder):
    save_bert(folder, initializer_range=0.3)
    _rewrite(folder, lambda state: state | {"linear.weight": torch.ones(4, 16).cumsum(1)})
    (folder / "artifact.metadata").write_text('{"query_token_id": "[CLS]", "doc_token_id": "[SEP]"}')


KINDS = {
    "sentence": dense.save,
    "crossencoder": lambda folder: save_bert(folder, "BertForSequenceClassification", num_labels=1),
    "splade": lambda folder: save_bert(folder, "BertForMaskedLM"),
    "colbert": _colbert,
    "monot5": seq2seq.save_t5,
    "duot5": seq2seq.save_t5,
    "llm_judge": seq2seq.save_llama,
    "upr": seq2seq.save_llama,
    "setwise": seq2seq.save_t5,
    "clip": clip.save,
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, tmp_path):
    KINDS[kind](tmp_path / "model")
    return tmp_path / "model"


def _rewrite(folder, change, name=WEIGHTS):
    state = change(load_file(folder / name))
    (folder / name).unlink()
    save_file(state, folder / name, {"format": "pt"})


def _edit(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def _scores(target):
    """Scores of each text with each, `[texts, texts]`."""
    with torch.inference_mode():
        if hasattr(target, "score"):
            corpus = Documents([str(number) for number in range(len(TEXTS))], TEXTS)
            candidates = Candidates.of([np.arange(len(TEXTS))] * len(TEXTS), corpus=corpus)
            return to_numpy(target.score(Queries.of(TEXTS), candidates)).reshape(len(TEXTS), -1)
        queries, documents = target.encode(Queries.of(TEXTS)), target.encode_documents(TEXTS)
        if isinstance(queries, torch.Tensor):
            return to_numpy(queries @ documents.T)
        dense = [np.stack([np.bincount(row.terms, row.weights, 200) for row in side]) for side in (queries, documents)]
        return dense[0] @ dense[1].T


def test_weights_of_another_shape_are_named(kind, folder):
    state = load_file(folder / WEIGHTS)
    name = max((name for name in state if state[name].ndim == 2 and "mbed" not in name), key=lambda n: state[n].numel())
    if kind == "colbert":
        name = "encoder.layer.0.intermediate.dense.weight"
    _rewrite(folder, lambda state: state | {name: torch.zeros(5, 7)})
    with pytest.raises(BadInput, match=r"1 weights of another shape than its config says, such as .*(weight|kernel)"):
        built(kind, folder)


def test_a_model_in_shards_is_the_model(kind, folder):
    expected = _scores(built(kind, folder))
    state = load_file(folder / WEIGHTS)
    names, files = sorted(state), ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    where = {name: files[2 * at >= len(names)] for at, name in enumerate(names)}
    (folder / WEIGHTS).unlink()
    for file in files:
        save_file({name: state[name] for name in names if where[name] == file}, folder / file, {"format": "pt"})
    index = json.dumps({"metadata": {"total_size": 1}, "weight_map": where})
    (folder / "model.safetensors.index.json").write_text(index)
    np.testing.assert_allclose(_scores(built(kind, folder)), expected, rtol=1e-6, atol=1e-6)
    (folder / files[1]).unlink()
    with pytest.raises(BadInput, match=files[1]):
        built(kind, folder)


def test_names_of_ddp_and_of_compiled_models_are_read_without_their_prefix(kind, folder, caplog):
    expected = _scores(built(kind, folder))
    _rewrite(folder, lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()})
    np.testing.assert_allclose(_scores(built(kind, folder)), expected, rtol=1e-6, atol=1e-6)
    assert "'module._orig_mod.'" in caplog.text


def test_weights_that_are_no_numbers_are_told(kind, folder):
    _rewrite(
        folder, lambda state: {name: value * np.nan if value.ndim == 1 else value for name, value in state.items()}
    )
    with pytest.raises(BadInput, match="makes what is not a number of the text 'a'"):
        built(kind, folder)


def test_tokens_that_the_model_has_no_vectors_of_are_told(kind, folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["mat"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(BadInput, match=r"its tokenizer has 1 tokens, such as 'mat', beyond the \d+ that"):
        built(kind, folder)


def test_files_that_hold_something_else_are_told_and_never_a_traceback(kind, folder):
    for name, text in (("tokenizer_config.json", "[]"), ("config.json", "[]"), ("config.json", '{"model_type": 3}')):
        shutil.copy(folder / name, folder / "kept")
        (folder / name).write_text(text)
        with pytest.raises(NirankError, match=str(folder)):
            built(kind, folder)
        shutil.move(folder / "kept", folder / name)
    size = {"crossencoder": "hidden_size", "splade": "hidden_size", "sentence": "hidden_size", "colbert": "hidden_size"}
    size |= {"monot5": "d_model", "duot5": "d_model", "llm_judge": "hidden_size", "clip": "text_config"}
    size |= {"upr": "hidden_size", "setwise": "d_model"}
    _edit(folder / "config.json", **{size[kind]: "wide"})
    with pytest.raises(BadInput, match="can load: Validation error"):
        built(kind, folder)


def test_nothing_is_unpickled(kind, folder, tmp_path):
    class Touch:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    (folder / WEIGHTS).unlink()
    torch.save({"weight": Touch()}, folder / "pytorch_model.bin")
    with pytest.raises(BadInput, match="can load"):
        built(kind, folder)
    assert not (tmp_path / "touched").exists()


def test_a_model_whose_scores_depend_on_the_batch_is_told():
    def padded(texts):
        return torch.full((len(texts), 2), float(max(map(len, texts))))

    with pytest.raises(BadInput, match="'odd' makes something else of a text when a longer one is read beside it"):
        tried("odd", padded)
    tried("odd", padded, "bfloat16")
    with pytest.raises(BadInput, match="'odd' was loaded, and cannot read a text: no room"):
        tried("odd", lambda texts: (_ for _ in ()).throw(IndexError("no room")))


def test_a_bi_encoder_that_pads_in_front_reads_each_text_as_if_it_were_alone(tmp_path):
    from sentence_transformers import SentenceTransformer

    dense.save(tmp_path)
    _edit(tmp_path / "tokenizer_config.json", padding_side="left")
    peer = SentenceTransformer(str(tmp_path), device="cpu")
    alone = np.concatenate([peer.encode([text]) for text in TEXTS])
    encoder = built("sentence", tmp_path)
    with torch.inference_mode():
        np.testing.assert_allclose(
            encoder.encode_documents(TEXTS), alone / np.linalg.norm(alone, axis=1)[:, None], atol=1e-5
        )


def test_lengths_that_are_stated_beyond_the_positions_are_cut_and_told(tmp_path, caplog):
    dense.save(tmp_path)
    expected = _scores(built("sentence", tmp_path))
    _edit(tmp_path / "sentence_bert_config.json", max_seq_length=512)
    np.testing.assert_allclose(_scores(built("sentence", tmp_path)), expected, atol=1e-6)
    assert "max_seq_length = 512; the model has 64 positions" in caplog.text


def test_a_model_of_another_kind_is_told(tmp_path, caplog):
    from sentence_transformers import CrossEncoder

    save_bert(tmp_path / "bert", "BertForSequenceClassification", num_labels=1)
    CrossEncoder(str(tmp_path / "bert"), device="cpu").save_pretrained(str(tmp_path / "saved"))
    built("sentence", tmp_path / "saved")
    assert "is a CrossEncoder: as a bi-encoder" in caplog.text


def test_a_trial_wakes_no_gpu_of_the_machine(monkeypatch):
    woken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: woken.append(device) or torch.ByteTensor(16))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
    tried("any", lambda texts: torch.ones(len(texts), 2))
    assert woken == []
