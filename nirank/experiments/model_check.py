"""A check of a model before it is used: how it would be read, the scores of three pairs, and what looks wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np

from nirank.build import build
from nirank.checkpoints.pinned_scores import scores_of
from nirank.component import Component
from nirank.data.types import Floats
from nirank.errors import BadInput
from nirank.files import small_text
from nirank.kit.described import Described
from nirank.kit.transformers import file_of

QUERY = "how long is the bridge over the river"
#: The answer, a text of the same subject, and one of another.
DOCUMENTS = (
    "The bridge over the river is 1,280 metres long; it was opened in 1937.",
    "Boats pass below the bridge on the river every morning.",
    "A small cat sat on the warm mat, and slept.",
)

#: How models are read that sentence-transformers or PyLate saved, by the class of the whole or of a module.
_SAVED_AS = {
    "CrossEncoder": "crossencoder",
    "SparseEncoder": "splade",
    "MultiVectorEncoder": "colbert",
    "ColBERT": "colbert",
    "SentenceTransformer": "sentence",
}
_MODULES = {"SpladePooling": "splade", "SparseStaticEmbedding": "splade", "Pooling": "sentence"}
#: How others are read, by a file that they have, and by the architecture in their config.
_FILES = {"artifact.metadata": "colbert", "late_interaction.json": "colbert"}
_ARCHITECTURES = {
    "ForSequenceClassification": "crossencoder",
    "HF_ColBERT": "colbert",
    "T5ForConditionalGeneration": "monot5",
    "ForCausalLM": "llm_judge",
    "CLIPModel": "clip",
    "SiglipModel": "clip",
}
#: The settings of components that take a model under other names.
_MODEL_SETTINGS = {"two_towers": ("query", "document"), "dual": ("text",)}
#: What components keep of how a model is read.
_SETTINGS = (
    "max_length",
    "max_seq_length",
    "prompt",
    "activation",
    "pooling",
    "reading",
    "template",
    "contract",
    "precision",
)
_MOST_UNKNOWN = 0.2  # of the tokens of plain English


@dataclass(frozen=True)
class ModelCheck:
    """The findings: `facts` by name, the `scores` of the three pairs, and `faults` in sentences."""

    facts: Mapping[str, str]
    scores: Floats | None
    faults: tuple[str, ...]


def check_model(model: str, name: str | None = None) -> ModelCheck:
    """Read a folder or hub name as the component `name`, or as the one that its files suggest.

    Raises `BadInput` for a model that is refused, or that may be read as several things.
    """
    described = Described.of(model)
    name = name or _component_for(described)
    component = build(name, dict.fromkeys(_MODEL_SETTINGS.get(name, ("model",)), model))
    facts = {"read as": name, **dict(_facts(described, component))}
    faults = list(_faults_of_tokens(component.target))
    try:
        scores = scores_of(component, (QUERY,), DOCUMENTS)
    except BadInput as refusal:  # such as a head that nobody has trained
        return ModelCheck(facts, None, (*faults, str(refusal)))
    return ModelCheck(facts, scores, (*faults, *_faults_of_scores(scores)))


def _component_for(described: Described) -> str:
    by_kind = (_MODULES[kind] for kind in described.kinds if kind in _MODULES)
    by_file = (name for file, name in _FILES.items() if file_of(described.model, file))
    architecture = _architecture(described.model)
    by_end = (name for end, name in _ARCHITECTURES.items() if architecture.endswith(end))
    guesses = (*filter(None, [_SAVED_AS.get(described.saved_as)]), *by_kind, *by_file, *by_end)
    if not guesses:
        what = f"is a {architecture}" if architecture else "has no config.json that names its architecture"
        raise BadInput(f"{described.model!r} {what}: say which component is to read it, such as --as sentence.")
    return guesses[0]


def _architecture(model: str) -> str:
    """The class of transformers that a model was saved as; nothing where it does not say."""
    if not (path := file_of(model, "config.json")):
        return ""
    try:
        return str((json.loads(small_text(path)).get("architectures") or [""])[0])
    except (ValueError, AttributeError) as error:
        raise BadInput(f"is damaged: {error}. Copy the model again.", path) from error


def _facts(described: Described, component: Component) -> Iterator[tuple[str, str]]:
    yield "architecture", _architecture(described.model) or "not stated"
    for kind in described.kinds:
        settings = described.settings(kind) if kind != "Transformer" else described.transformer
        yield f"module {kind}", ", ".join(f"{name} = {value!r}" for name, value in settings.items())
    for name in ("prompts", "default_prompt_name", "similarity_fn_name", "activation_fn"):
        if described.table.get(name):
            yield name, repr(described.table[name])
    owners = _owners(component.target)
    if (tokenizer := _tokenizer(component.target)) is not None:
        yield "tokens", f"{len(tokenizer.get_vocab()):,}"
    for name in _SETTINGS:
        if (value := _first(owners, name)) is not None:
            yield name, repr(value)


def _owners(target: Any) -> list[Any]:
    """The objects of a component that know how a model is read, the component first."""
    inner = (getattr(target, name, None) for name in ("model", "reader", "query", "text", "checkpoint"))
    return [target, *filter(None, inner)]


def _first(owners: Sequence[Any], name: str) -> Any:
    values = (getattr(owner, name, None) for owner in owners)
    return next((value for value in values if isinstance(value, str | int | float) or is_dataclass(value)), None)


def _tokenizer(target: Any) -> Any:
    """The tokenizer of transformers of a component; None for what splits words by itself."""
    found = _first_tokenizer(_owners(target))
    return found if hasattr(found, "convert_tokens_to_ids") else None


def _first_tokenizer(owners: Sequence[Any]) -> Any:
    return next((found for owner in owners if (found := getattr(owner, "tokenizer", None)) is not None), None)


def _faults_of_tokens(target: Any) -> Iterator[str]:
    """Report plain English that is turned into unknown tokens."""
    tokenizer = _tokenizer(target)
    if getattr(tokenizer, "unk_token_id", None) is None:
        return
    tokens = [token for ids in tokenizer([QUERY, *DOCUMENTS])["input_ids"] for token in ids]
    unknown = tokens.count(tokenizer.unk_token_id) / max(1, len(tokens))
    if unknown > _MOST_UNKNOWN:
        yield f"{unknown:.0%} of the tokens of English sentences are unknown: is the tokenizer that of this model?"


def _faults_of_scores(scores: Floats | None) -> Iterator[str]:
    """Report scores that are not finite, are all equal, or put an unrelated text before the answer."""
    if scores is None:
        yield "it computes no scores for texts: is it read as the right component (--as)?"
    elif not np.isfinite(scores).all():
        yield "some scores are NaN or infinite: is the precision too low for its weights?"
    elif np.ptp(scores) <= 1e-6 * max(1.0, float(np.abs(scores).max())):
        yield "all three pairs have the same score: are its weights those of a trained model?"
    elif scores[0] <= scores[2]:
        yield "an unrelated text scores as high as the answer: is it read as the right component (--as)?"
