"""A worker: it opens the encoder and the corpus where it runs, and encodes ranges as they come."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nirank.data import Content, Corpus, TokenVectors, UrlRanges, to_numpy
from nirank.kit import encode_documents
from nirank.plugins import Component, build, load_file
from nirank_ray.errand import Recipe, Source, refuse_versions


@dataclass(frozen=True)
class Failure:
    """An error of a worker, as text: exceptions of its packages may not exist where it is told."""

    text: str


@dataclass(frozen=True)
class Opened:
    """A worker that is ready: the address of its node, its process, and whether it reads the corpus itself."""

    node: str
    pid: int
    reads: bool


class Worker:
    """Encodes ranges of a corpus with an encoder that is the driver's by its fingerprint."""

    def open(self, recipe: Recipe, source: Source) -> Opened | Failure:
        """Open encoder and corpus. What differs from the driver's is refused."""
        try:
            self.encoder = _encoder(recipe)
            self.corpus: Corpus | UrlRanges | None = source.open()
        except Exception as error:
            return _failure(error)
        return Opened(_node(), os.getpid(), self.corpus is not None)

    def encode(self, start: int, stop: int, rows: Sequence[Content] | None) -> Any:
        """The vectors of documents `start` up to `stop`, of which `rows` are the contents where these were sent."""
        try:
            contents = self.corpus[start:stop] if rows is None and self.corpus is not None else rows
            return _portable(encode_documents(self.encoder, contents or []))
        except Exception as error:
            return _failure(error)


def _node() -> str:
    import ray

    return str(ray.util.get_node_ip_address())


def _encoder(recipe: Recipe) -> Component:
    os.environ.update(recipe.environment)
    if recipe.plugin:
        load_file(recipe.plugin)
    encoder = build(recipe.spec, recipe.settings)
    if recipe.weights is not None:
        encoder.target.load_state_dict(recipe.weights)
        encoder.changed()
    _set_threads(recipe.threads)
    _refuse_differences(encoder, recipe)
    return encoder


def _refuse_differences(encoder: Component, recipe: Recipe) -> None:
    refuse_versions(recipe.versions)
    if encoder.fingerprint != recipe.fingerprint:
        raise ValueError(
            f"{recipe.spec} is another encoder here: its fingerprint is {encoder.fingerprint[:12]}, and the driver's "
            f"{recipe.fingerprint[:12]}. Its model, or its plugin, is another one on this machine."
        )


def _set_threads(threads: int | None) -> None:
    """Use as many threads as the driver: sums are cut by them, and their last bits depend on that."""
    torch = sys.modules.get("torch")
    if torch is not None and threads:
        torch.set_num_threads(threads)


def _portable(vectors: Any) -> Any:
    """The same vectors as numpy has them, for the driver may have no such device."""
    if isinstance(vectors, TokenVectors):
        return TokenVectors(vectors.offsets, to_numpy(vectors.values))
    return to_numpy(vectors) if hasattr(vectors, "detach") else vectors


def _failure(error: Exception) -> Failure:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(f"{type(error).__name__}: {error}{notes} [{frame.filename}:{frame.lineno}]")
