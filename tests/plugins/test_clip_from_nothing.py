"""CLIP from nothing: a text tower with a vocabulary of its own, frozen towers, sets of templates, names of a class."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch.nn import functional as F  # noqa: E402

import nirank  # noqa: E402
from nirank.checkpoints import checkpoint  # noqa: E402
from nirank.data import Candidates, Collection, Documents, Queries, images  # noqa: E402
from nirank.errors import BadInput, MissingDependency, UnknownName  # noqa: E402
from nirank_clip import templates, tiny  # noqa: E402

CONFIG = {"width": 16, "layers": 1, "heads": 2, "vocabulary": 60, "least": 1, "longest": 12}
SMALL = {"image_size": 16, "vit_patch": 8, "vit_width": 16, "vit_layers": 1, "vit_heads": 2, "device": "cpu"}
WORDS = ["small cat", "small dog", "large cat", "large dog", "red bus", "blue bus", "red car", "blue car"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Eight pictures in files, each with a text of two words that others share."""
    folder, paths = tmp_path_factory.mktemp("pairs"), []
    for number in range(len(WORDS)):
        paths.append(folder / f"{number}.png")
        images.drawn(number, 16, 16).save(paths[-1])
    corpus = Documents([f"p{number}" for number in range(len(WORDS))], paths)
    own = Candidates.of([[number] for number in range(len(WORDS))], [[1]] * len(WORDS), corpus)
    return Collection("pairs", corpus, Queries.of(WORDS), own)


def _dual(**more):
    return nirank.load("dual", **{"config": CONFIG, **SMALL, **more})


def _fit(stage, pairs, steps):
    options = {"steps": steps, "batch_size": 8, "learning_rate": 5e-3}
    return nirank.fit(stage, "clip", pairs, sampler="in_batch", **options)


def _vectors(stage, contents):
    with torch.inference_mode():
        return stage.component.target.encode_documents(contents).numpy()


def test_both_towers_learn_from_nothing_what_belongs_together(pairs):
    stage = _dual()
    _fit(stage, pairs, 30)
    found = (stage >> nirank.load("exact")).search(pairs.queries, pairs.corpus)
    assert nirank.evaluate(found, pairs.judgments, ["P@1"]).mean["P@1"] == 1


def test_the_vocabulary_is_of_the_collection_and_is_learned_once(pairs):
    stage, again = _dual(), _dual()
    for each in (stage, again):
        each.component.target.begin(pairs)
    tower = stage.component.target.text
    vocabulary = tower.tokenizer.get_vocab()
    assert {"[CLS]", "[UNK]", "cat", "bus", "small"} <= vocabulary.keys()
    assert len(vocabulary) <= CONFIG["vocabulary"]
    assert vocabulary == again.component.target.text.tokenizer.get_vocab()
    assert torch.equal(*(each.component.target.text.model.embeddings.word_embeddings.weight for each in (stage, again)))
    model = tower.model
    stage.component.target.begin(
        Collection("x", Documents(["d"], ["other words"]), Queries.of("q"), pairs.judgments.take([0]))
    )
    assert stage.component.target.text.model is model


def test_texts_before_the_first_training_are_refused(pairs, tmp_path):
    stage = _dual()
    with pytest.raises(BadInput, match=r"has no vocabulary yet.*Train it first"):
        _vectors(stage, ["small cat"])
    with pytest.raises(BadInput, match="has no vocabulary yet"):
        checkpoint.save(stage.component, tmp_path / "kept")
    empty = Collection("pictures", pairs.corpus, Queries(["1"], [pairs.corpus[0]]), pairs.judgments.take([0]))
    with pytest.raises(BadInput, match="there are no texts to learn a vocabulary from"):
        _fit(stage, empty, 1)


@pytest.mark.parametrize("freeze", ["text", "image"])
def test_either_tower_may_be_frozen(pairs, freeze):
    stage = _dual(freeze=[freeze], dim=8)
    stage.component.target.begin(pairs)
    before = {name: value.clone() for name, value in stage.component.target.state_dict().items()}
    _fit(stage, pairs, 2)
    after = stage.component.target.state_dict()
    moved = {name.partition(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"text", "image", "text_projection", "image_projection"} - {freeze}


def test_a_trained_one_is_loaded_with_its_vocabulary(pairs, tmp_path):
    stage = _dual()
    _fit(stage, pairs, 2)
    checkpoint.save(stage.component, tmp_path / "kept")
    again = nirank.load(f"trained:{tmp_path / 'kept'}", device="cpu")
    contents = ["small cat", "never seen", "", pairs.corpus[0]]
    assert np.array_equal(_vectors(again, contents), _vectors(stage, contents))
    assert again.component.fingerprint == stage.component.fingerprint
    # `nirank train` gives the settings of the stage that the checkpoint does not keep: `config` is not among these
    assert checkpoint.settings_of(tmp_path / "kept")["config"] is None


def test_shapes_that_make_no_sense_are_refused():
    with pytest.raises(UnknownName, match="'depth'"):
        _dual(config={"depth": 2})
    with pytest.raises(BadInput, match="width = 10 is not a multiple of heads = 4"):
        _dual(config={"width": 10})
    with pytest.raises(BadInput, match="layers = 0; a whole number from 1"):
        _dual(config={"layers": 0})
    with pytest.raises(BadInput, match="longest = 2; a whole number from 8"):
        _dual(config={"longest": 2})
    with pytest.raises(BadInput, match="give one"):
        _dual(text="somewhere")


# Templates, and names of a class


def test_the_templates_of_clips_authors_come_from_open_clip(monkeypatch):
    library = types.ModuleType("open_clip")
    library.SIMPLE_IMAGENET_TEMPLATES = [lambda c: f"itap of a {c}.", lambda c: f"art of the {c}."]
    library.OPENAI_IMAGENET_TEMPLATES = [lambda c: f"a bad photo of a {c}."]
    monkeypatch.setitem(sys.modules, "open_clip", library)
    assert templates.chosen("openai_7") == ("itap of a {}.", "art of the {}.")
    assert templates.chosen("openai_80") == ("a bad photo of a {}.",)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingDependency, match="templates openai_80 need the package"):
        templates.chosen("openai_80")


def test_a_class_of_several_names_is_the_mean_of_as_many_classes():
    with_names, alone = tiny.dual(), tiny.dual()
    with_names.prompts = templates.Prompts(("a {}", "{}!"), separator="|")
    alone.prompts = templates.Prompts(("a {}", "{}!"))
    with torch.inference_mode():
        found = with_names.encode_documents(["cat | kitten|cat", "dog", " | "])
        each = alone.encode_documents(["cat", "kitten", "dog", " | "])
        plain = tiny.dual().encode_documents(["a cat", "cat!", "a kitten", "kitten!"])
    assert torch.allclose(found[0], F.normalize(each[:2].mean(0), dim=0), atol=1e-6)
    assert torch.allclose(found[1:], each[2:], atol=1e-6)
    of_each = F.normalize(plain.view(2, 2, -1).mean(1), dim=-1)
    assert torch.allclose(found[0], F.normalize(of_each.mean(0), dim=0), atol=1e-6)


def test_means_are_of_unit_vectors():
    """Where one template makes long vectors, the mean before normalising would be that template's alone."""
    raw = torch.tensor([[10.0, 0.0], [0.0, 1.0]])
    found = templates.Prompts(("a {}", "b {}")).vectors(["x"], lambda _: F.normalize(raw, dim=-1))
    assert torch.allclose(found, torch.full((1, 2), 0.5**0.5))
    assert not torch.allclose(F.normalize(raw.mean(0), dim=0), found[0], atol=0.1)


def test_a_separator_is_saved_and_told_apart(tmp_path):
    plain, separated = tiny.dual(), tiny.dual()
    before = separated.fingerprint
    separated.prompts = templates.Prompts((), "|")
    del separated.fingerprint
    assert before == plain.fingerprint != separated.fingerprint
    assert separated.save(tmp_path)["separator"] == "|"
    assert "separator" not in plain.save(tmp_path)
    with pytest.raises(BadInput, match="separator is empty"):
        templates.Prompts((), "")
