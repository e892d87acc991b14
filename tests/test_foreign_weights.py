"""Models whose weights or tokens are not those that they should have: read as meant and told, or refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from nirank.errors import BadInput  # noqa: E402
from nirank.kit import transformers as models  # noqa: E402
from nirank.testing import save_bert  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    save_bert(tmp_path / "model")
    return tmp_path / "model"


def _rewrite(folder, change):
    path = folder / "model.safetensors"
    state = change(load_file(path))
    path.unlink()
    save_file(state, path, {"format": "pt"})


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.encoder."])
@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("AutoModel", "BertModel"),
        ("AutoModelForMaskedLM", "BertForMaskedLM"),  # whose last layer shares its weights with the first
        ("AutoModelForSequenceClassification", "BertForSequenceClassification"),
    ],
)
def test_a_prefix_before_every_name_is_cut_off_and_told(tmp_path, caplog, kind, architecture, prefix):
    save_bert(tmp_path, architecture)
    expected = models.load(kind, str(tmp_path)).state_dict()
    _rewrite(tmp_path, lambda state: {f"{prefix}{name}": value for name, value in state.items()})
    found = models.load(kind, str(tmp_path)).state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert f"the names of all weights begin with {prefix!r}" in caplog.text


def test_weights_that_are_missing_are_named(folder):
    _rewrite(folder, lambda state: {name: value for name, value in state.items() if "layer.1." not in name})
    with pytest.raises(BadInput, match=r"lacks 16 weights of a BertModel, such as encoder\.layer\.1\.[^,]+, .*13 more"):
        models.load("AutoModel", str(folder))


def test_weights_of_other_names_are_named_beside_those_that_are_missing(folder):
    _rewrite(folder, lambda state: {f"layer{number}": value for number, value in enumerate(state.values())})
    with pytest.raises(BadInput, match=r"lacks 37 weights .* it has layer0, layer1, layer10 and \d+ more instead"):
        models.load("AutoModel", str(folder))


def test_a_pooler_that_nobody_asks_may_be_missing(tmp_path):
    save_bert(tmp_path, "BertForMaskedLM")
    assert models.load("AutoModel", str(tmp_path)).config.hidden_size == 16


def test_a_head_that_a_model_lacks_is_refused_or_said_to_be_new(folder):
    with pytest.raises(BadInput, match=r"lacks 6 weights of a BertForMaskedLM, such as cls\.predictions\.bias"):
        models.load("AutoModelForMaskedLM", str(folder))
    _, new = models.new_head("AutoModelForSequenceClassification", str(folder), ["classifier."], num_labels=1)
    assert new == ["classifier.bias", "classifier.weight"]


def test_the_report_of_any_library_is_taken_and_transformers_is_left_as_it_was(folder):
    import transformers

    before = transformers.PreTrainedModel.__dict__["from_pretrained"]
    with models.reported() as reports, models.quiet():
        transformers.BertForMaskedLM.from_pretrained(folder)
        model, info = transformers.BertModel.from_pretrained(folder, output_loading_info=True)
    assert [bool(report.missing) for report in reports] == [True, False]
    assert model.config.hidden_size == 16
    assert not info["missing_keys"]
    assert transformers.PreTrainedModel.__dict__["from_pretrained"] is before


def test_a_tokenizer_of_other_tokens_is_refused(folder):
    model, tokenizer = models.load("AutoModel", str(folder)), models.load("AutoTokenizer", str(folder))
    models.check_tokens(tokenizer, model.config.vocab_size, str(folder))
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(BadInput, match=r"its tokenizer knows \d+ tokens, but the model has vectors of 77"):
        models.check_tokens(models.load("AutoTokenizer", str(folder)), model.config.vocab_size, str(folder))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_told(folder, name):
    (folder / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90\n")
    with pytest.raises(BadInput, match=rf"{name}: is a Git LFS pointer and not the file itself: run `git lfs pull`"):
        models.load("AutoModel", str(folder))
