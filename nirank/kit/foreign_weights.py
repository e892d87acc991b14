"""Weights of pretrained models: those that a file lacks are refused, and never random numbers without a word.

transformers fills in what a checkpoint lacks at random and reports it as a note, which nobody reads. Here the report is
taken, for a model that is loaded by any library on top of transformers, and what is missing is refused.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("nirank")

#: Weights that a model may lack: a transformer saved for another task has no pooler, and vectors of tokens need none.
UNUSED = ("pooler.",)
_SHOWN = 3  # missing names in a message
_PATCHING = threading.RLock()


@dataclass
class Report:
    """The weights that a checkpoint lacked of a model, had besides, and had in another shape, by name."""

    model: Any
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    @property
    def prefix(self) -> str | None:
        """The text before every name in the file, such as `module.`; None where they have nothing in common."""
        lacking = set(self.missing)
        parts = self.unexpected[0].split(".")[:-1] if self.unexpected else []
        beginnings = (".".join(parts[:count]) + "." for count in range(1, len(parts) + 1))
        return next((prefix for prefix in beginnings if self._explains(prefix, lacking)), None)

    def place(self, name: str, places: Collection[str]) -> str | None:
        """The one of `places` that a weight is meant for, with or without the name of the encoder in a larger model."""
        encoder = f"{self.model.base_model_prefix}."
        return next((each for each in (name, name.removeprefix(encoder), encoder + name) if each in places), None)

    def _explains(self, prefix: str, lacking: set[str]) -> bool:
        """True where every name begins so, and without it most are names that are missing."""
        bare = [name.removeprefix(prefix) for name in self.unexpected if name.startswith(prefix)]
        known = sum(self.place(name, lacking) is not None for name in bare)
        return len(bare) == len(self.unexpected) and 2 * known > len(bare)


@contextmanager
def reported() -> Iterator[list[Report]]:
    """Collect the report of every model of transformers that is loaded in the block, by whatever library.

    One block at a time in a process: others wait.
    """
    import transformers

    reports: list[Report] = []
    method = transformers.PreTrainedModel.__dict__["from_pretrained"]
    original = transformers.PreTrainedModel.from_pretrained.__func__

    def loading(cls: Any, *arguments: Any, **settings: Any) -> Any:
        wanted = settings.pop("output_loading_info", False)
        settings["ignore_mismatched_sizes"] = True  # so that they are in the report, which is not ignored
        model, info = original(cls, *arguments, output_loading_info=True, **settings)
        names = [_names(info.get(key, ())) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")]
        reports.append(Report(model, *names))
        return (model, info) if wanted else model

    with _PATCHING:
        transformers.PreTrainedModel.from_pretrained = classmethod(loading)
        try:
            yield reports
        finally:
            transformers.PreTrainedModel.from_pretrained = method


def new_weights(report: Report, model: str, heads: Sequence[str] = (), unused: Collection[str] = UNUSED) -> list[str]:
    """The weights of a head that a checkpoint lacks, so that they are new; any others that it lacks are refused.

    `heads` and `unused` are beginnings of names: of what training may begin anew, and of what nothing depends on. Names
    that all have one prefix, as those that are saved from inside `DistributedDataParallel` have `module.`, are read
    without it, and that is told. Raises `BadInput` with the first few names and their number.
    """
    missing = [name for name in report.missing if not _within(name, unused)]
    if missing and (prefix := report.prefix) is not None and _read_without(report, model, prefix):
        log.warning("%s: the names of all weights begin with %r; they are read without it.", model, prefix)
        return []
    lacking = [name for name in missing if not _within(name, heads)]
    if lacking:
        raise BadInput(
            f"{model!r} lacks {len(lacking)} weights of a {type(report.model).__name__}, such as {_some(lacking)}"
            f"{_instead(report)}. They would have random values. Is it another kind of model, or saved in part?"
        )
    if wrong := [name for name in report.mismatched if not _within(name, heads)]:
        raise BadInput(
            f"{model!r} has {len(wrong)} weights of another shape than its config says, such as {_some(wrong)}. "
            "Do the files belong together?"
        )
    return missing + [name for name in report.mismatched if _within(name, heads)]


class NewHead:
    """The weights of a head that a checkpoint lacked: random numbers, until a training changes them.

    `parameters` are those of the head, where they are now; none for a model that came with all of its weights.
    """

    def __init__(self, model: str, parameters: Mapping[str, Tensor]) -> None:
        self._model, self._parameters = model, dict(parameters)
        self._versions = {name: parameter._version for name, parameter in self._parameters.items()}

    @classmethod
    def of(cls, model: str, network: Any, names: Sequence[str]) -> NewHead:
        """The head of a network whose weights `names` are new."""
        parameters = dict(network.named_parameters())
        return cls(model, {name: parameters[name] for name in names if name in parameters})

    def refuse(self, training: bool) -> None:
        """Raise `BadInput` where an untrained head would be used outside of training."""
        untouched = [name for name, value in self._parameters.items() if value._version == self._versions[name]]
        if not training and untouched:
            raise BadInput(
                f"{self._model!r} comes without {_some(sorted(untouched))}, so its head has random weights. "
                "Train it first (`nirank.fit`), or name a model that was trained for this."
            )


def _within(name: str, beginnings: Collection[str]) -> bool:
    return any(name.startswith(start) or f".{start}" in name for start in beginnings)


def _names(entries: Any) -> list[str]:
    """Names alone; of weights of another shape there are triples of a name and two shapes."""
    return sorted(entry if isinstance(entry, str) else str(entry[0]) for entry in entries)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _instead(report: Report) -> str:
    return f"; it has {_some(report.unexpected)} instead" if report.unexpected else ""


def _read_without(report: Report, model: str, prefix: str) -> bool:
    """Give a model the weights of its folder, a prefix cut off their names; False where some would still be missing."""
    weights, read = report.model.state_dict(), []
    for name, value in weights_of(model):
        place = report.place(name.removeprefix(prefix), weights)
        if place is not None and weights[place].shape == value.shape:
            weights[place].copy_(value)
            read.append(place)
    report.model.tie_weights()
    weights = report.model.state_dict()
    shared = {weights[place].data_ptr() for place in read}
    return all(weights[name].data_ptr() in shared or _within(name, UNUSED) for name in report.missing)


def weights_of(model: str) -> Iterator[tuple[str, Tensor]]:
    """Names and values of all weights that lie as safetensors in the folder of a model; none of a hub name."""
    from safetensors.torch import load_file

    for file in sorted(Path(model).expanduser().glob("*.safetensors")):
        yield from load_file(file).items()
