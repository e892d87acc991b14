"""A generator over an index in shards: built, updated and searched like one index, with the results of one, to the bit.

Each shard is an index of some documents, made by the component itself and opened by a process of its own. Every shard
finds its best k with the scores that one index would give; the k best of all these are the result, equal scores by
rising ordinal among all documents. What a score depends on beside its document the component writes into the shards
when all are there (`share`), and queries are made ready by what it knows of them all (`open_whole` and `numbered`).

Three methods that a component may have for that, beside its trait `separable`:

share(folders, whole)      Write into the folder of each shard what its scores depend on, and into `whole` the rest.
open_whole(whole)          Open what is in that folder, to make queries ready.
numbered(queries)          The queries as shards read them, with `vectors` that can be sent and cut.
"""

from __future__ import annotations

import copy
import functools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank import seals
from nirank.component import Component
from nirank.data.batches import concatenate
from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Corpus, Floats, Ints
from nirank.data.vectors import on_host
from nirank.errors import BadInput, ComponentError
from nirank.execution import stages
from nirank.execution.indexes import Former
from nirank.execution.shards import losses
from nirank.execution.shards.encoding import Part, WholeChunks
from nirank.execution.shards.group import Group, Recovery
from nirank.execution.shards.layout import WHOLE, Layout, place
from nirank.execution.shards.served import DESCRIPTION, ShardOpening

#: The version of the files beside the shards.
_VERSION = 1
#: Methods that it has where the component has them.
_OPTIONAL = ("score", "vectors_of", "within")
Encode = Callable[[Any], Any]


class Sharded:
    """A generator whose index is in as many shards as there are `shares`, each a part of their sum.

    `on` says where shards are open: "processes", "here", or a place that a plugin knows. A shard that has gone, or
    hangs, is begun again as `recovery` says; then it is a `LostShard`, or its documents are missing from what is found,
    which says so (`Candidates.lost`).
    """

    resumes = True

    def __init__(self, component: Component, shares: Sequence[float], on: str, recovery: Recovery) -> None:
        self.component, self.shares, self.on, self.recovery = component, tuple(shares), on, recovery
        traits = component.traits
        self.searches, self.accepts, self.prefixes = traits.searches, traits.accepts, traits.prefixes
        self.log_likelihoods, self.index_fields, self.reads = traits.log_likelihoods, traits.index_fields, traits.reads
        self.cacheable = traits.cacheable and not recovery.partial
        self._layout: Layout | None = None
        self._group: Group | None = None
        self._allowed: NDArray[np.bool_] | None = None

    def __getattr__(self, name: str) -> Any:
        if name in _OPTIONAL and self.component.can(name):
            return getattr(self, f"_{name}")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def index_key(self) -> dict[str, Any]:
        """The key of the component's index, and the shares of the shards."""
        own = self._key
        name = f"{own.get('index', self.component.name)} in shards"
        return {"index": name, "version": _VERSION, "shares": list(self.shares), "of": own}

    @property
    def fingerprint(self) -> str:
        """The component's, for what is found is the same."""
        return self.component.fingerprint

    def build(self, corpus: Corpus, folder: Path, encode: Encode | None = None) -> None:
        """Build every shard, going on where an interrupted build stopped, and write into each what it must know."""
        layout, target = Layout.cut(len(corpus), self.shares), self.component.target
        made = encode and self._encode(encode, corpus)
        for shard in layout.filled:
            self._make(folder, shard, functools.partial(_called, target.build, Part(corpus, layout.of(shard)), made))
        self._finish(corpus, folder, layout)

    def update(self, corpus: Corpus, folder: Path, former: Former, encode: Encode | None = None) -> None:
        """The same from the shards of an earlier state of the corpus: documents that stayed are where they were."""
        before, _ = Layout.read(former.folder)
        layout, target = before.moved(former.ordinals, self.shares), self.component.target
        updates = self.component.can("update")
        made = encode and self._encode(encode, corpus, former.ordinals >= 0 if updates else None)
        for shard in layout.filled:
            part = Part(corpus, layout.of(shard))
            make = functools.partial(_called, target.build, part, made)
            if updates and len(before.of(shard)):
                ordinals = _ordinals_in(before, shard, former.ordinals[part.docs])
                make = functools.partial(_updated, target, part, Former(place(former.folder, shard), ordinals), made)
            self._make(folder, shard, make)
        self._finish(corpus, folder, layout)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Open all shards. Raises `StaleIndex` for one that is damaged, or is not of this index."""
        layout, described = Layout.read(folder)
        if len(layout.docs) != len(corpus) or len(layout) != len(self.shares):
            raise BadInput(
                f"has {len(layout.docs)} documents, and the corpus has {len(corpus)}: build it again.", folder
            )
        self._whole = copy.copy(self.component.target)
        if self.component.can("open_whole"):
            self._whole.open_whole(folder / WHOLE)
        openings = {
            shard: ShardOpening(self._sendable(), place(folder, shard), len(layout.of(shard)), described[shard])
            for shard in layout.filled
        }
        self._layout, self._group = layout, Group(openings, self.on, self.recovery)
        self._group.ask("ready", dict.fromkeys(openings, ()))

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` best documents of each query; raises `LostShard` where a shard is, unless `partial` results do."""
        layout, group = self._opened()
        if k < 0:
            raise BadInput(f"k = {k}; it must be 0 or more.")
        asked = self._sent(queries)
        given = {shard: (asked, min(k, len(layout.of(shard))), mask) for shard, mask in self._masks(layout).items()}
        answers = group.ask("generate", given)
        for shard, found in answers.items():
            few, documents = given[shard][1], len(layout.of(shard))
            stages.check_ranking(self.component, Candidates(*found), len(queries), few, documents, "a shard")
        lost = [f"shard {shard + 1} of {self.component.name}" for shard in sorted(given.keys() - answers.keys())]
        losses.note_lost(lost)
        return layout.merged(answers, len(queries), k).without(lost)

    def close(self) -> None:
        """End the processes; the index may be opened again."""
        self._group = None

    @property
    def group(self) -> Group:
        """The open shards."""
        return self._opened()[1]

    def _score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The score of each pair, `[pairs]`: the number that `generate` gives it."""
        (layout, group), asked = self._opened(), self._sent(queries)
        parted = {shard: (mask, docs) for shard, mask, docs in layout.parted(candidates.docs)}
        given = {
            shard: (asked, candidates.where(mask).offsets, docs.astype(candidates.docs.dtype))
            for shard, (mask, docs) in parted.items()
        }
        scores = np.empty(candidates.pairs, np.float32)
        for shard, found in group.ask("score", given, partial=False).items():
            scores[parted[shard][0]] = found
        return scores

    def _vectors_of(self, docs: Ints) -> Any:
        """The vectors of some documents, as the encoder made them."""
        layout, group = self._opened()
        parted = {shard: (mask, own) for shard, mask, own in layout.parted(docs)}
        if not parted:
            parted = {layout.filled[0]: (np.ones(0, bool), np.empty(0, np.int64))}
        answers = group.ask("vectors_of", {shard: (own,) for shard, (_, own) in parted.items()}, partial=False)
        order = np.concatenate([np.flatnonzero(mask) for mask, _ in parted.values()])
        return concatenate([answers[shard] for shard in parted])[np.argsort(order)]

    def _within(self, allowed: NDArray[np.bool_]) -> Sharded:
        """The same search, among the documents that a mask `[documents]` allows."""
        documents = len(self._opened()[0].docs)
        if allowed.dtype != bool or allowed.shape != (documents,):
            raise BadInput(f"the mask has the shape {allowed.shape}; {documents}, one entry a document, is expected.")
        copied = copy.copy(self)
        copied._allowed = allowed if self._allowed is None else allowed & self._allowed
        return copied

    def _masks(self, layout: Layout) -> dict[int, NDArray[np.bool_] | None]:
        """The shards to ask, and of each the documents that may be found; None for all."""
        if self._allowed is None:
            return dict.fromkeys(layout.filled)
        masks = {shard: self._allowed[layout.of(shard)] for shard in layout.filled}
        return {shard: mask for shard, mask in masks.items() if mask.any()}

    def _sent(self, queries: Queries) -> Queries:
        """The queries as shards read them: of vectors no more than these is sent."""
        if self.component.can("numbered"):
            queries = self._whole.numbered(queries)
        nothing = [""] * len(queries)
        contents = queries.contents if queries.vectors is None else nothing
        return Queries(nothing, contents, on_host(queries.vectors))

    def _opened(self) -> tuple[Layout, Group]:
        if self._layout is None or self._group is None:
            raise BadInput("no shards are open: search through a pipeline, or call open first.")
        return self._layout, self._group

    @property
    def _key(self) -> dict[str, Any]:
        own = getattr(self.component.target, "index_key", None)
        key = dict(own) if own is not None else {"component": self.component.fingerprint}
        as_read: dict[str, Any] = json.loads(json.dumps(key))
        return as_read

    def _encode(self, encode: Encode, corpus: Corpus, known: NDArray[np.bool_] | None = None) -> Encode:
        """The encoding of documents as one index has them encoded."""
        chunk = getattr(self.component.target, "chunk", None)
        return WholeChunks(encode, corpus, chunk, known) if chunk else encode

    def _sendable(self) -> Any:
        """The component as another process can make it: by its name and settings, or an object of the user's own."""
        entry, target = self.component.entry, self.component.target
        if entry is None and self.on != "here" and type(target).__module__ == "__main__":
            raise BadInput(
                f"{type(target).__name__} is defined in the program that runs, which the processes of shards do not "
                'import: put the class into a module, or write on = "here".'
            )
        return (entry.spec, self.component.settings) if entry else copy.copy(target)

    def _make(self, folder: Path, shard: int, make: Callable[[Path], None]) -> None:
        """Make one shard in its folder, unless an interrupted build has."""
        own = place(folder, shard)
        done = own / DESCRIPTION
        if done.exists():
            return
        if not self.component.traits.resumes:
            shutil.rmtree(own, ignore_errors=True)
        own.mkdir(exist_ok=True)
        make(own)
        done.write_text("{}", encoding="utf-8")

    def _finish(self, corpus: Corpus, folder: Path, layout: Layout) -> None:
        """Write into each shard what it must know of the others, what it is, and its seal."""
        (folder / WHOLE).mkdir(exist_ok=True)
        folders = [place(folder, shard) for shard in layout.filled]
        if self.component.can("share"):
            self.component.target.share(folders, folder / WHOLE)
        key = self._key
        described = {shard: layout.describe(shard, corpus.fingerprint, key) for shard in layout.filled}
        for shard, own in zip(layout.filled, folders, strict=True):
            (own / DESCRIPTION).write_text(json.dumps(described[shard], indent=1), encoding="utf-8")
            seals.seal(own)
        layout.write(folder, described)


def _called(build: Callable[..., None], part: Corpus, encode: Encode | None, folder: Path) -> None:
    build(part, folder, encode)


def _updated(target: Any, part: Corpus, former: Former, encode: Encode | None, folder: Path) -> None:
    target.update(part, folder, former, encode)


def _ordinals_in(before: Layout, shard: int, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ordinals among all documents of before as those in a shard, where all of them were; -1 stays."""
    return np.where(ordinals >= 0, np.searchsorted(before.of(shard), ordinals), -1)


def check_separable(component: Component, exact: bool) -> None:
    """Raise `ComponentError` for a generator whose shards would not answer as one index does."""
    if component.traits.separable or (not exact and component.can("build")):
        return
    if not component.can("build"):
        raise ComponentError(f"{component.name} has no index, so there is nothing to be put into shards.")
    raise ComponentError(
        f"{component.name} does not say that its scores are the same in shards (`separable`): what it finds may be "
        "other documents than one index finds. Write exact = False to have that."
    )
