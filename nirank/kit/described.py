"""Models that sentence-transformers saved: what is written down of their modules, prompts, lengths and similarity.

A description is read without that library, so that a plugin can follow a simple one by itself. One of several modules
is run as the library runs it: `peer_model` loads it, with the same checks as for other models.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nirank.errors import BadInput, MissingDependency
from nirank.files import small_text
from nirank.kit.foreign_weights import new_weights, reported
from nirank.kit.transformers import (
    Computing,
    check_tokens,
    file_of,
    learned_positions,
    load,
    naming_model,
    quiet,
    refuse_unreadable,
    rows_of,
    tokenizer_text,
)

log = logging.getLogger("nirank")

Side = Literal["query", "document"]
Kind = Literal["SentenceTransformer", "CrossEncoder", "SparseEncoder", "MultiVectorEncoder"]

_MODULES, _TABLE, _TRANSFORMER = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
#: Whose modules are known; those of anybody else are code that comes with a model.
_KNOWN = ("sentence_transformers.", "pylate.")
#: The names under which prompts of a side are kept; the first that a model has counts.
_PROMPTS: dict[Side, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}
#: What may stand in the description of a transformer that is read as transformers reads it.
_PLAIN = ("transformer_task", "module_output_name", "max_seq_length", "architecture")
#: The settings of a module that count tokens.
_LENGTHS = ("max_seq_length", "query_length", "document_length")
#: Found out by a module of the library when it is first run, and no part of what it does.
_FOUND_OUT = ("embedding_dimension", "word_embedding_dimension")


@dataclass(frozen=True)
class Described:
    """A description: `modules` as names of classes with folders, `table` of the model, `transformer` of its first one.

    All of them are empty for a model that sentence-transformers did not save.
    """

    model: str
    modules: tuple[tuple[str, str], ...]
    table: Mapping[str, Any]
    transformer: Mapping[str, Any]

    @classmethod
    def of(cls, model: str) -> Described:
        """Read the description of a folder or hub name. Raises `BadInput` for files that hold something else."""
        entries = _read(model, _MODULES, list)
        try:
            modules = tuple((str(entry["type"]), str(entry["path"])) for entry in entries)
        except (KeyError, TypeError) as error:
            raise BadInput(f"is damaged: {error!r}.", file_of(model, _MODULES)) from error
        table = _read(model, _TABLE, dict)
        prompts = table.get("prompts") or {}
        if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
            raise BadInput(f"is damaged: its prompts are {prompts!r}, and no table of texts.", file_of(model, _TABLE))
        return cls(model, modules, table, _read(model, _TRANSFORMER, dict))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the modules' classes, in the order in which they are run."""
        return tuple(name.rpartition(".")[2] for name, _ in self.modules)

    @property
    def saved_as(self) -> str:
        """The class of the whole model, such as `SparseEncoder`; nothing where it is not written down."""
        return str(self.table.get("model_type") or "")

    @property
    def plain(self) -> bool:
        """True where the transformer lies in the model's own folder and reads a text as its tokenizer does."""
        reads = self.transformer.get("modality_config")
        rest = {name for name, value in self.transformer.items() if value and name not in (*_PLAIN, "modality_config")}
        at_root = not self.modules or self.modules[0][1] == ""
        return at_root and not rest and (not reads or _forward_of_text(reads))

    def length(self, tokenizer: Any) -> int | None:
        """The most tokens that are read of a text; None for a model that sentence-transformers did not save."""
        if not self.modules:
            return None
        return int(self.transformer.get("max_seq_length") or tokenizer.model_max_length)

    def prompt(self, side: Side) -> str:
        """The text that is put before those of a side."""
        prompts = self.table.get("prompts") or {}
        return next((str(prompts[name] or "") for name in _PROMPTS[side] if name in prompts), "")

    @property
    def default_prompt(self) -> str:
        """The text that is put before all that has no side of its own. Raises `BadInput` where its name is unknown."""
        name, prompts = self.table.get("default_prompt_name"), self.table.get("prompts") or {}
        if name is not None and name not in prompts:
            raise BadInput(
                f"names the default prompt {name!r}, but its prompts are {sorted(prompts)}.",
                file_of(self.model, _TABLE),
            )
        return str(prompts.get(name) or "")

    def marks(self, prompt: str) -> bool:
        """True where a prompt has special tokens of the model's tokenizer in it."""
        return bool(prompt) and any(mark in prompt for mark in load("AutoTokenizer", self.model).all_special_tokens)

    def settings(self, kind: str) -> dict[str, Any]:
        """The settings of the module of a class, as written down; nothing where there is no such module."""
        folder = next((path for name, path in self.modules if name.endswith(f".{kind}")), None)
        return {} if folder is None else _read(self.model, f"{folder}/config.json".lstrip("/"), dict)

    def refuse_foreign_code(self) -> None:
        """Raise `BadInput` for a model with a module of somebody else's, which is code that comes with it."""
        if odd := [name for name, _ in self.modules if not name.startswith(_KNOWN)]:
            raise BadInput(
                f"{self.model!r} needs the code of {odd[0]}, and nirank never runs code that comes with a model: "
                "choose another model."
            )


def peer_model(kind: Kind, described: Described, computing: Computing, extra: str) -> Any:
    """A whole model as sentence-transformers loads it, in evaluation mode, on the device.

    A length beyond the positions of a transformer is shortened, and that is told. Raises `BadInput` for what cannot be
    loaded, lacks weights, or comes with code of its own, and `MissingDependency` without sentence-transformers; its
    message names the `extra` of the plugin.
    """
    model = described.model
    described.refuse_foreign_code()
    folder = Path(model).expanduser()
    refuse_unreadable(folder)
    library, place = _library(kind, extra), str(folder) if folder.is_dir() else model
    settings = {"dtype": computing.dtype, "use_safetensors": True if any(folder.rglob("*.safetensors")) else None}
    with quiet(), reported() as reports, naming_model(model, f"{kind} of sentence-transformers"):
        loaded = library(
            place,
            device=computing.place,
            local_files_only=folder.is_dir(),
            model_kwargs=settings,
            trust_remote_code=False,
        )
    for report in reports:
        new_weights(report, model)
    for module in _own_modules(loaded):
        _check_reading(module, model)
    return loaded.eval()


def _check_reading(module: Any, model: str) -> None:
    """Compare what a module reads with what its transformer, or its table of words, has vectors of."""
    network, words = getattr(module, "model", None), getattr(module, "embedding", None)
    rows = rows_of(network) if hasattr(network, "config") else getattr(words, "num_embeddings", 0)
    tokenizer = getattr(module, "tokenizer", None)
    if any(hasattr(tokenizer, name) for name in ("convert_tokens_to_ids", "to_str")):
        check_tokens(tokenizer, rows, model)
    room = learned_positions(network) if hasattr(network, "config") else None
    for name in _LENGTHS:
        if room and (stated := getattr(module, name, None)) and stated > room:
            log.warning("%s: %s = %d; the model has %d positions, and reads as many.", model, name, stated, room)
            setattr(module, name, room)


def run_peer(model: Any, inputs: Sequence[Any], prompt: str, **settings: Any) -> dict[str, Any]:
    """Run the modules of a model of sentence-transformers on some inputs, with gradients where enabled."""
    from sentence_transformers.util import batch_to_device

    task = {name: value for name, value in settings.items() if name == "task"}
    features = model.preprocess(list(inputs), prompt=prompt or None, **task)
    made: dict[str, Any] = model(batch_to_device(features, model.device), **settings)
    return made


def peer_text(model: Any) -> str:
    """All that a model of sentence-transformers does but for its weights, as text to be hashed."""
    modules, tokenizers = [], []
    for module in _own_modules(model):
        settings = {name: value for name, value in module.get_config_dict().items() if name not in _FOUND_OUT}
        modules.append(f"{type(module).__name__} {sorted(settings.items(), key=str)}")
        if (tokenizer := getattr(module, "tokenizer", None)) is not None:
            tokenizers.append(f"{tokenizer_text(tokenizer)} {tokenizer.model_max_length} {tokenizer.chat_template}")
    whole = (sorted(model.prompts.items()), model.default_prompt_name, getattr(model, "similarity_fn_name", None))
    return repr((whole, modules, tokenizers))


def save_peer(model: Any, folder: Path) -> None:
    """Write a model as sentence-transformers does, with safetensors."""
    with quiet():
        model.save_pretrained(str(folder), create_model_card=False)


def _own_modules(model: Any) -> list[Any]:
    """The modules of a model that are of sentence-transformers, those inside of others with them."""
    return [module for module in model.modules() if hasattr(module, "get_config_dict")]


def _library(kind: str, extra: str) -> Any:
    try:
        import sentence_transformers
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "This model is made of modules of sentence-transformers, which is not installed. Run: "
            f"pip install 'nirank[{extra},dense]'",
            name=error.name,
        ) from error
    if not hasattr(sentence_transformers, kind):
        raise MissingDependency(
            f"{kind} needs sentence-transformers 6. Run: pip install -U sentence-transformers", name=kind
        )
    return getattr(sentence_transformers, kind)


def _forward_of_text(reads: Any) -> bool:
    """True where a transformer is run on texts as it is, and they are not put into messages of a conversation."""
    if not isinstance(reads, Mapping) or set(reads) != {"text"}:
        return False
    return isinstance(reads["text"], Mapping) and reads["text"].get("method") == "forward"


def _read(model: str, name: str, kind: type) -> Any:
    """A JSON file of a model; an empty table or list where it has none of this name."""
    if not (path := file_of(model, name)):
        return kind()
    try:
        held = json.loads(small_text(path))
    except ValueError as error:
        raise BadInput(f"is damaged: {error}.", path) from error
    if not isinstance(held, kind):
        raise BadInput(f"is damaged: it holds a {type(held).__name__}, and a {kind.__name__} is expected.", path)
    return held
