"""Models trained elsewhere, from the model hub or a folder: loaded safely and quietly, and run in even passes."""

from __future__ import annotations

import copy
import copyreg
import functools
import json
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nirank.errors import BadInput, MissingDependency, NirankError
from nirank.kit.foreign_weights import UNUSED, NewHead, new_weights, reported, weights_of

__all__ = [
    "Computing",
    "NewHead",
    "Precision",
    "best_device",
    "check_tokens",
    "file_of",
    "learned_positions",
    "load",
    "longest",
    "naming_model",
    "new_head",
    "new_weights",
    "padding_of",
    "passes",
    "picklable",
    "quiet",
    "refuse_unreadable",
    "reported",
    "rows_of",
    "token_places",
    "tokenizer_of",
    "tokenizer_text",
    "weights_of",
    "word_tokenizer",
]

log = logging.getLogger("nirank")

Precision = Literal["float32", "bfloat16", "float16", "int8"]

#: How Git LFS begins what it leaves in the place of a file, which has at most so many bytes.
_POINTER, _POINTER_BYTES = b"version https://git-lfs", 1024
_LARGE = (".safetensors", ".bin", ".json", ".model", ".txt")
#: How models call their vectors of positions.
_TABLES = ("position_embeddings", "position_embedding", "embed_positions", "wpe")
#: The attribute of a model to which transformers has added functions that record what layers make.
_RECORDING = "_output_capturing_hooks_installed"
_KNOWN: set[Any] = set()
#: The length of texts for a model without a limit, for which tokenizers have a larger number than counters hold.
_UNLIMITED = 1 << 20
#: The least share of a model's rows that its tokenizer knows tokens for.
_TOKENS_OF_ROWS = 0.9


@dataclass(frozen=True)
class Computing:
    """Settings that every model has, whatever it computes.

    device       where: unless given CUDA, Apple's GPU or the CPU, the first that there is
    precision    of the weights; "int8" is only for models that say so, where OpenVINO computes them
    batch_size   how many texts or pairs are given at once; unless given it depends on the model and the device
    """

    device: str | None = None
    precision: Precision = "float32"
    batch_size: int | None = None

    @property
    def place(self) -> str:
        """The device, chosen where none is given."""
        return self.device or best_device()

    @property
    def dtype(self) -> Any:
        """The precision as torch has it. Raises `BadInput` for int8, which torch does not compute here."""
        import torch

        if self.precision == "int8":
            raise BadInput(
                "precision = 'int8' is for bi-encoders whose transformer OpenVINO computes on the CPU, as `minilm` on "
                "device = 'cpu': set another precision here."
            )
        if self.place == "cpu":
            tell_of_slow(self.precision)
        return getattr(torch, self.precision)


@functools.cache
def tell_of_slow(precision: str) -> None:
    """Tell, once in a process, of a precision for which torch finds no instructions on this processor."""
    import torch

    known = {"bfloat16": "_is_mkldnn_bf16_supported", "float16": "_is_mkldnn_fp16_supported"}
    if precision in known and not getattr(torch.ops.mkldnn, known[precision])():
        log.warning(
            "This processor has no instructions for %s: torch takes several times as long as with precision = "
            "'float32'.", precision,
        )  # fmt: skip


def load(kind: str, model: str, *, heads: Sequence[str] = (), unused: Collection[str] = UNUSED, **settings: Any) -> Any:
    """A model or tokenizer of transformers: `kind` is one of its Auto classes, `model` a name on the hub or a folder.

    Weights of a folder are read as safetensors, and of the hub never by unpickling objects; no code that comes with a
    model is run. Raises `BadInput` where there is no such model, where it is damaged, and where it lacks weights other
    than those whose names begin as `heads` or `unused` say (`new_head` loads a model whose head may be new).
    """
    return new_head(kind, model, heads, unused, **settings)[0]


def new_head(
    kind: str, model: str, heads: Sequence[str], unused: Collection[str] = UNUSED, **settings: Any
) -> tuple[Any, list[str]]:
    """A model as `load` gives it, and the names of those weights of its head that are new, with random numbers."""
    import transformers

    folder = Path(model).expanduser()
    refuse_unreadable(folder)
    if kind.startswith("AutoModel"):
        settings = {"use_safetensors": True if folder.is_dir() else None, **settings}
    with quiet(), reported() as reports, naming_model(model, kind):
        place = str(folder) if folder.is_dir() else model
        loaded = getattr(transformers, kind).from_pretrained(
            place, local_files_only=folder.is_dir(), trust_remote_code=False, **settings
        )
    return loaded, [name for report in reports for name in new_weights(report, model, heads, unused)]


@contextmanager
def naming_model(model: str, kind: str) -> Iterator[None]:
    """Whatever libraries raise of a model that cannot be loaded becomes a `BadInput` that names it.

    Of a library that is not installed it is a `MissingDependency`.
    """
    try:
        yield
    except (NirankError, MemoryError):
        raise
    except ModuleNotFoundError as error:
        raise MissingDependency(f"{model!r} needs a package that is not installed: {error}", name=error.name) from error
    except Exception as error:  # a damaged file makes libraries raise whatever they stumble over in it
        told = str(error) or type(error).__name__
        raise BadInput(f"{model!r} is no folder or hub name that {kind} can load: {told}") from error


def refuse_unreadable(folder: Path) -> None:
    """Raise `BadInput` for the folder of a model whose files are not there, or were not fetched by Git LFS."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        if path.suffix in _LARGE and path.is_file() and path.stat().st_size < _POINTER_BYTES:
            with path.open("rb") as file:
                if file.read(len(_POINTER)) == _POINTER:
                    raise BadInput("is a Git LFS pointer and not the file itself: run `git lfs pull` there.", path)


def file_of(model: str, name: str) -> Path | None:
    """A file of a model, in its folder or on the hub; None where it has none of this name."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder / name if (folder / name).exists() else None
    from transformers.utils import cached_file

    try:
        found = cached_file(
            model,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
    except OSError:  # no name on the hub can be like that, which is told when the model is loaded
        return None
    return Path(found) if found else None


def tokenizer_of(model: str, network: Any) -> Any:
    """The tokenizer of a folder or hub name, checked against the network that was loaded from it.

    Raises `BadInput` where there is none, or that of another model.
    """
    tokenizer = load("AutoTokenizer", model)
    check_tokens(tokenizer, rows_of(network), model)
    return tokenizer


def rows_of(network: Any) -> int:
    """The number of tokens that a network has vectors of; 0 where it does not say."""
    config = getattr(network.config, "text_config", None) or network.config
    return int(getattr(config, "vocab_size", 0) or 0)


def padding_of(tokenizer: Any, network: Any) -> int:
    """The token that padding is made of, behind a mask: that of the tokenizer, where the network has a vector of it."""
    number, rows = tokenizer.pad_token_id or 0, rows_of(network)
    return number if not rows or number < rows else 0


def check_tokens(tokenizer: Any, rows: int, model: str) -> None:
    """Raise `BadInput` for a tokenizer that is not the model's, which has vectors of `rows` tokens; 0 is unknown.

    One that knows far fewer tokens: without its files transformers makes one of a few special tokens, to which all
    words are unknown; a matrix may have some more rows than there are tokens, up to a tenth. And one with a token
    beyond the rows, which was added to it and not to the model: a text with it in could not be read. Special tokens,
    of which transformers may make some by itself, stand in no text.
    """
    known = len(tokenizer) if hasattr(tokenizer, "__len__") else tokenizer.get_vocab_size()  # of `tokenizers` itself
    if known < rows * _TOKENS_OF_ROWS:
        raise BadInput(
            f"{model!r}: its tokenizer knows {known:,} tokens, but the model has vectors of {rows:,}. "
            "Copy the model's own tokenizer (tokenizer.json, or vocab.txt and the like) into the folder."
        )
    vocabulary, special = tokenizer.get_vocab() if rows else {}, {*getattr(tokenizer, "all_special_ids", ())}
    if beyond := sorted((at, token) for token, at in vocabulary.items() if at >= rows and at not in special):
        raise BadInput(
            f"{model!r}: its tokenizer has {len(beyond):,} tokens, such as {beyond[0][1]!r}, beyond the {rows:,} that "
            "the model has vectors of. Is it another model's, or were tokens added without `resize_token_embeddings`?"
        )


def word_tokenizer(path: Path, rows: int) -> Any:
    """The tokenizer in a file of the library `tokenizers`, for a matrix of so many vectors.

    It neither cuts texts off nor pads them. Raises `BadInput` for a file that holds something else, or more words.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise BadInput(f"is not a tokenizer: {error}", path) from error
    if tokenizer.get_vocab_size() > rows:
        raise BadInput(
            f"knows {tokenizer.get_vocab_size()} words, but there are vectors of {rows}: is it another model's?", path
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def tokenizer_text(tokenizer: Any) -> str:
    """All that a tokenizer does, as text to be hashed, but for the truncation and padding of its last call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return repr(sorted(tokenizer.get_vocab().items()))
    described = json.loads(backend.to_str())
    return json.dumps({name: value for name, value in described.items() if name not in ("truncation", "padding")})


def token_places(tokenizer: Any, text: str, prompt: str = "", most: int | None = None) -> list[tuple[int, int, int]]:
    """The tokens of a text behind a prompt, of which `most` are read: the number of each, its begin and its end.

    Places are characters of the text; those of special tokens, and of the prompt, are empty. Tokenizers that are no
    program in Rust do not know places, and there are no tokens here.
    """
    if not getattr(tokenizer, "is_fast", False):
        return []
    readable = (prompt + text).encode("utf-8", "replace").decode()
    cut = {"truncation": True, "max_length": most} if most else {}
    read = tokenizer(readable, return_offsets_mapping=True, split_special_tokens=True, **cut)
    skip = len(prompt)
    return [
        (number, max(start - skip, 0), max(end - skip, 0))
        for number, (start, end) in zip(read["input_ids"], read["offset_mapping"], strict=True)
    ]


def longest(model: Any, wanted: int | None, usual: int, name: str = "max_length") -> int:
    """The number of tokens read of a text: `wanted`, or else `usual`, where the model has room for these.

    Raises `BadInput`, with the `name` of the setting, where more are asked for than the model has positions.
    """
    room = _positions(model)
    if wanted and room and wanted > room:
        raise BadInput(f"{name} = {wanted}; the model has {room} positions. Give {room} or less.")
    return wanted or min(usual, room or usual, _UNLIMITED)


def _positions(model: Any) -> int | None:
    """The number of positions of a transformer; None where it is not limited (T5, XLNet)."""
    found: int | None = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        if found and name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            found -= module.padding_idx + 1  # RoBERTa counts from there
    return found if found and found > 0 else None


def learned_positions(model: Any) -> int | None:
    """The number of positions that a transformer has a learned vector of; None for any other, which may read on."""
    tables = [module for name, module in model.named_modules() if name.rpartition(".")[2] in _TABLES]
    return _positions(model) if any(hasattr(table, "weight") for table in tables) else None


def best_device() -> str:
    """CUDA, Apple's GPU, or else the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def passes(lengths: NDArray[np.int64], size: int, budget: int | None = None) -> list[NDArray[np.int64]]:
    """The places of the texts of each forward pass: of similar length, longest first.

    A pass has at most `size` texts and, the padding counted, at most `budget` of what `lengths` counts (tokens,
    letters), or one text that is longer. Without a budget only `size` counts.
    """
    order, found, start = np.argsort(-lengths, kind="stable"), [], 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        stop = start + (size if budget is None else max(1, min(size, budget // longest)))
        found.append(order[start:stop])
        start = stop
    return found


def picklable(model: Any) -> None:
    """Let a model that is asked for what each of its layers makes be pickled, and all of its classes.

    The functions that transformers adds then to record it cannot be; they stay behind, and are added again elsewhere.
    """
    for kind in {type(module) for module in model.modules()}:
        if kind.__module__.startswith("transformers."):
            copyreg.pickle(kind, _without_recorders)


def _without_recorders(module: Any) -> Any:
    from transformers import PreTrainedModel

    kind, state = type(module), vars(module)
    hooks = {key: hook for key, hook in state["_forward_hooks"].items() if not _records(hook)}
    kept = {name: value for name, value in state.items() if name != _RECORDING}
    config = module.config if isinstance(module, PreTrainedModel) else None
    return _unpickled, (kind, config), {**kept, "_forward_hooks": type(module._forward_hooks)(hooks)}


def _unpickled(kind: Any, config: Any) -> Any:
    if config is not None:
        _make_known(kind, config)
    return kind.__new__(kind)


def _make_known(kind: Any, config: Any) -> None:
    """Make one without weights: transformers notes of a class what its layers can record when the first is made."""
    import torch

    if kind not in _KNOWN:
        with torch.device("meta"):
            kind(copy.deepcopy(config))
        _KNOWN.add(kind)


def _records(hook: Any) -> bool:
    return getattr(hook, "__module__", "") == "transformers.utils.output_capturing"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and notes that transformers writes while it loads or saves weights."""
    from transformers.utils import logging as messages

    bars, level = messages.is_progress_bar_enabled(), messages.get_verbosity()
    messages.disable_progress_bar()
    messages.set_verbosity_error()
    try:
        yield
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()
