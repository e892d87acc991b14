"""What a worker on another machine is told: which encoder to open, and which corpus."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nirank.data import ArrowCorpus, Corpus, Field, UrlRanges
from nirank.errors import BadInput, MissingDependency
from nirank.plugins import Component

log = logging.getLogger("nirank")

#: Variables that decide which components there are.
_VARIABLES = ("NIRANK_BLOCK", "NIRANK_PLUGINS")
#: Packages of which another version may make other vectors.
_PACKAGES = ("nirank", "numpy", "torch", "transformers")


@dataclass(frozen=True)
class Recipe:
    """How an encoder is built again: its registered name and settings, its weights where it has learned them here."""

    spec: str
    settings: Mapping[str, Any]
    fingerprint: str
    weights: Mapping[str, Any] | None
    threads: int | None
    versions: Mapping[str, str]
    environment: Mapping[str, str]
    #: The Python file that registers it, where that is no installed plugin.
    plugin: str | None

    @classmethod
    def of(cls, encoder: Component, threads: int | None) -> Recipe | None:
        """The recipe of an encoder; None for an object that is not registered: another process cannot build it."""
        if encoder.entry is None:
            return None
        state = encoder.method("state_dict") if getattr(encoder.target, "fingerprint", None) is None else None
        weights = {name: value.detach().cpu() for name, value in state().items()} if state else None
        plugin = encoder.entry.plugin.name
        own = plugin if plugin.endswith(".py") else None
        return cls(encoder.spec, encoder.settings, encoder.fingerprint, weights, threads, versions(), variables(), own)


@dataclass(frozen=True)
class Source:
    """Where a corpus can be read: an Arrow file and the fields of it, for machines that reach its path or its URL."""

    path: Path | None
    url: str | None
    fingerprint: str
    field: str | tuple[str, ...] | None

    @classmethod
    def of(cls, corpus: Corpus) -> Source:
        """The source of a corpus; without a path or URL for one that is in no file, whose rows are sent."""
        field = corpus.name if isinstance(corpus, Field) else None
        whole = corpus.corpus if isinstance(corpus, Field) else corpus
        if isinstance(whole, ArrowCorpus):
            return cls(None if whole.url else whole.path.resolve(), whole.url, whole.fingerprint, field)
        return cls(None, None, "", None)

    def open(self) -> Corpus | UrlRanges | None:
        """The corpus, or ranges of it; None where it cannot be read here. Raises `ValueError` for another corpus."""
        if self.url is not None:
            return self._ranges(self.url)
        if self.path is None or not os.access(self.path, os.R_OK):
            return None
        corpus = ArrowCorpus(self.path)
        if corpus.fingerprint != self.fingerprint:
            raise ValueError(
                f"{self.path} is another corpus here: its fingerprint is {corpus.fingerprint[:12]}, and that of the "
                f"one that is encoded {self.fingerprint[:12]}. Copy the file again, or remove it to have rows sent."
            )
        return corpus if self.field is None else corpus.field(self.field)

    def _ranges(self, url: str) -> UrlRanges | None:
        try:
            return UrlRanges(url, self.fingerprint, self.field)
        except (BadInput, MissingDependency) as error:
            log.warning("%s Rows are sent instead.", error)
            return None


def versions() -> dict[str, str]:
    """The versions of packages that are in memory and that vectors depend on."""
    return {name: version(name) for name in _PACKAGES if name in sys.modules}


def variables() -> dict[str, str]:
    """The variables of this environment that decide which components there are."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def refuse_versions(theirs: Mapping[str, str]) -> None:
    """Raise `BadInput` where a package that is in memory here has another version there."""
    here = versions()
    other = {name: one for name, one in theirs.items() if here.get(name, one) != one}
    if other:
        told = ", ".join(f"{name} {here[name]} (there {one})" for name, one in other.items())
        raise BadInput(f"the versions differ from the driver's, and vectors may: {told}. Install the same ones.")
