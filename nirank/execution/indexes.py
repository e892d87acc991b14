"""Indexes on disk: built beside and moved into place, opened only for the corpus they were made from.

A component that needs an index has three members: `index_key` (a mapping: what its files depend on; its entry
"index" names the kind, and components with equal keys share one index), `build(corpus, folder, encode)` and
`open(corpus, folder)`. It writes its files; this module decides where, and keeps beside them a manifest with
the versions, the key and the fingerprint of the corpus. A component with `resumes = True` finds in the folder
what an interrupted build left there; for any other, building starts from an empty folder.

A corpus that has changed is another corpus, with an index of its own; that of the earlier one stays as it is. A
component with `update(corpus, folder, former, encode)` makes the new one from it (`Former`), so that only what is new
costs anything.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from nirank import seals
from nirank.component import ABSENT, Component, Opened
from nirank.data.corpus import field_of
from nirank.data.ids import Ids
from nirank.data.types import Corpus, Floats
from nirank.data.unchanged import same_documents
from nirank.errors import BadInput, ComponentError, DamagedFile, NirankError, StaleIndex
from nirank.execution import sharing, stages
from nirank.files import cache_folder, keep, small_text
from nirank.hashing import digest

#: The version of the folder's layout and manifest; a component has its own, in its `index_key`.
LAYOUT = 1
MANIFEST = "manifest.json"

Result = TypeVar("Result")

_APART: ContextVar[_Apart | None] = ContextVar("apart", default=None)


class NoIndex(BadInput, FileExistsError):
    """A folder that an index cannot be built in, for it holds something else."""


@dataclass(frozen=True)
class Former:
    """The index of an earlier state of a corpus.

    `ordinals`, int64 `[documents now]`, say where each document stood then; -1 for one that is new or has another
    content.
    """

    folder: Path
    ordinals: NDArray[np.int64]

    @property
    def new(self) -> NDArray[np.int64]:
        """The documents that are new or have another content, rising."""
        return np.flatnonzero(self.ordinals < 0)


@dataclass(frozen=True)
class _Numbered:
    """A corpus whose contents are the numbers of its documents."""

    corpus: Corpus

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, which: Any) -> NDArray[np.int64]:
        return np.arange(len(self.corpus))[which]

    @property
    def ids(self) -> Ids:
        """The ids of the documents."""
        return self.corpus.ids

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the documents themselves."""
        return self.corpus.fingerprint


def prepare(
    component: Component,
    corpus: Corpus,
    encoder: Component | None = None,
    folder: Path | None = None,
    since: Corpus | None = None,
    vectors: Floats | None = None,
) -> Path | None:
    """Make `component` ready to work on `corpus`: open its index, building it first where there is none.

    `encoder` encodes the documents for an index of vectors. `folder` holds the index; by default it is the one that was
    named for this very index before, or `place` in the cache. Where there is an index of `since`, an earlier state of
    the corpus, beside the new one's place, a component that can makes the new one from it. `vectors`, `[documents,
    dim]`, are what the encoder made of the documents, where that is known. Returns the folder, or None where no index
    is needed.
    Raises `StaleIndex` where `folder` holds an index of something else.
    """
    field = (encoder or component).field
    corpus, since = field_of(corpus, field), since and field_of(since, field)
    opened, encoded = component.opened, encoder.fingerprint if encoder else None
    same = opened and opened.corpus is corpus and (opened.encoder, opened.encoded) == (encoder, encoded)
    if opened and same and folder in (None, opened.folder):
        return opened.folder
    if not component.can("build"):
        return None
    if not len(corpus):
        raise BadInput(f"{component.spec} cannot index an empty corpus; at least one document is needed.")
    key = index_key(component, encoder)
    named, folder = folder, folder or _kept_in(component, corpus, encoder)
    if not (folder / MANIFEST).exists():
        former = None if since is None else _former(component, corpus, encoder, since, folder.parent)
        build(component, corpus, encoder, folder, former, vectors)
    elif _marker(folder).exists():  # of a process that was killed when all was done
        with suppress(OSError):
            _marker(folder).unlink()
    component.opened = None  # for what fails to open may have let go of what was open before
    open_index(component, key, corpus, folder)
    component.opened = Opened(corpus, encoder, folder, encoded)
    if named:
        component.folders[place(component, corpus, encoder)] = named.absolute()
    return folder


def undisturbed(component: Component, corpus: Corpus, work: Callable[..., Result], *inputs: Any) -> Result:
    """The result of `work(component, *inputs)`, for which `component` has the index of `corpus` open.

    Raises `ComponentError` where another thread has opened that of another corpus meanwhile: the result may be of both.
    """
    try:
        result = work(component, *inputs)
    except Exception:
        _refuse_disturbed(component, corpus)
        raise
    if not is_open(component, corpus):
        _refuse_disturbed(component, corpus)
    return result


def is_open(component: Component, corpus: Corpus) -> bool:
    """True where `component` has the index of this very corpus open."""
    opened = component.opened
    if opened is None:
        return False
    field = (opened.encoder or component).field
    return opened.corpus is (corpus if field is None else field_of(corpus, field))


def _refuse_disturbed(component: Component, corpus: Corpus) -> None:
    if not is_open(component, corpus) and component.can("build"):
        raise ComponentError(
            f"{component.name} was working on one corpus when another thread gave it another: load a component for "
            "each corpus that is searched at a time."
        )


@contextmanager
def apart(changing: Component) -> Iterator[None]:
    """Keep indexes made with `changing`, whose weights change, out of the cache in the block; they are removed then."""
    with ExitStack() as stack:
        meanwhile = _Apart(changing, stack)
        stack.callback(meanwhile.close)
        stack.callback(_APART.reset, _APART.set(meanwhile))
        stack.enter_context(sharing.nothing())  # for what was found with the weights of before is not found again
        yield


@dataclass
class _Apart:
    """A component whose weights change, the folder of indexes made with it, and the components that have one open."""

    changing: Component
    stack: ExitStack
    opened: list[Component] = field(default_factory=list)

    @functools.cached_property
    def folder(self) -> Path:
        """The folder, made when it is first needed."""
        return Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="nirank-indexes-")))

    def close(self) -> None:
        """Nobody has an index open that is gone."""
        for component in self.opened:
            component.opened = None


def _kept_in(component: Component, corpus: Corpus, encoder: Component | None) -> Path:
    """The folder of an index: the one that was named for it before, if it is there, or one in the cache."""
    name = place(component, corpus, encoder)
    known = component.folders.get(name)
    return known if known and (known / MANIFEST).exists() else _home(component, encoder) / name


def _home(component: Component, encoder: Component | None) -> Path:
    apart = _APART.get()
    if apart and apart.changing in (component, encoder):
        apart.opened.append(component)
        return apart.folder
    return cache_folder() / "indexes"


def place(component: Component, corpus: Corpus, encoder: Component | None = None) -> str:
    """The name of an index's folder: the same for whatever would write the same files."""
    key, corpus = index_key(component, encoder), field_of(corpus, (encoder or component).field)
    kind, fields = str(key.get("index", component.name)).replace(" ", "-"), _fields(component, corpus)
    return f"{kind}-{digest([key, corpus.fingerprint, fields] if fields else [key, corpus.fingerprint])[:16]}"


def _fields(component: Component, corpus: Corpus) -> dict[str, str]:
    """The fingerprints of the fields that an index has, by name: that of a corpus is of contents alone."""
    return {name: field_of(corpus, name).fingerprint for name in component.traits.index_fields}


def index_key(component: Component, encoder: Component | None = None) -> dict[str, Any]:
    """The values that the files of an index depend on, besides the corpus."""
    own = getattr(component.target, "index_key", None)
    key: dict[str, Any] = dict(own) if own is not None else {"component": component.fingerprint}
    if encoder:
        key["encoder"] = encoder.fingerprint
    as_read: dict[str, Any] = json.loads(json.dumps(key))  # as it will come back from the manifest
    return as_read


def build(
    component: Component,
    corpus: Corpus,
    encoder: Component | None,
    folder: Path,
    former: Former | None = None,
    vectors: Floats | None = None,
) -> None:
    """Build an index into `folder`: written beside it and moved into place when whole.

    It may be made from a former one, or from vectors that are known. Raises `NoIndex` where `folder` holds anything
    that is not an index.
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / MANIFEST).exists():  # another process was faster
            return
        if folder.exists() and any(folder.iterdir()):
            raise NoIndex("is not empty and is not an index; name another folder or remove it.", folder)
        manifest = _manifest(component, corpus, encoder)
        partial = _partial_folder(component, folder, manifest)
        encode = stages.Encoding(encoder, vectors) if encoder else None
        contents = corpus if vectors is None else cast("Corpus", _Numbered(corpus))
        target, given = component.target, (former,) if former else ()
        make = target.update if former else target.build
        _write(lambda: make(contents, partial, *given, encode), partial)
        _write_json(partial / MANIFEST, manifest | {"files": _sizes(partial), "sealed": True})
        seals.seal(partial)
        keep(partial)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
        _marker(folder).unlink()
        seals.remember(folder)


def _former(
    component: Component, corpus: Corpus, encoder: Component | None, since: Corpus, home: Path
) -> Former | None:
    """The index of an earlier state of a corpus in the folder `home`; None where the component has no use for it."""
    folder = home / place(component, since, encoder)
    if not component.can("update") or not (folder / MANIFEST).exists():
        return None
    check(folder, index_key(component, encoder), since, _fields(component, since))
    ordinals = same_documents(corpus, since).copy()
    for name in component.traits.index_fields:  # a content is of all texts together, or of none of these
        ordinals[same_documents(field_of(corpus, name), field_of(since, name)) < 0] = -1
    return Former(folder, ordinals)


def open_index(component: Component, key: Mapping[str, Any], corpus: Corpus, folder: Path) -> None:
    """Have a component open the index in a folder. Raises `StaleIndex` where that is not its own, or cannot be read."""
    check(folder, key, corpus, _fields(component, corpus))
    attributes: Mapping[str, Any] = getattr(component.target, "__dict__", {})
    before = dict(attributes)
    try:
        component.target.open(corpus, folder)
    except (NirankError, MemoryError):
        raise
    except Exception as error:  # of whatever library reads the files
        raise StaleIndex(
            f"{folder} cannot be opened by {component.spec}: {type(error).__name__}: {error}. "
            f"Remove {folder} to have it built again."
        ) from error
    finally:
        opening = {name: before.get(name, ABSENT) for name in before.keys() | attributes.keys()}
        opening = {name: value for name, value in opening.items() if attributes.get(name, ABSENT) is not value}
        component.unopened = opening | component.unopened  # of what was open before, what was before that


def check(folder: Path, key: Mapping[str, Any], corpus: Corpus, fields: Mapping[str, str]) -> None:
    """Raise `StaleIndex` unless `folder` holds a whole index of this key and corpus, as it was written.

    `fields` are the fingerprints of the fields that it has; an index from before these were noted passes without.
    """
    again = f"Remove {folder} to have it built again, or name another folder."
    manifest = read_manifest(folder)
    if not seals.check(folder, again) and manifest.get("sealed"):
        raise DamagedFile(
            f"is missing: the files cannot be compared with what was written. {again}", folder / seals.SEAL
        )
    if manifest["layout"] != LAYOUT or manifest["key"] != dict(key):
        made, wanted = manifest["key"], dict(key)
        differs = [name for name in made | wanted if made.get(name) != wanted.get(name)] or ["layout"]
        raise StaleIndex(f"{folder} is of another version or other settings: {', '.join(differs)} differ. {again}")
    if manifest["corpus"] != corpus.fingerprint:
        indexed = f"{manifest['documents']:,} documents, fingerprint {manifest['corpus'][:12]}"
        given = f"{len(corpus):,} documents, fingerprint {corpus.fingerprint[:12]}"
        raise StaleIndex(
            f"{folder} is the index of another corpus: it has {indexed}; the corpus searched has {given}. {again}"
        )
    if (known := manifest.get("fields", fields)) != fields:
        others = [name for name in fields if known.get(name) != fields[name]]
        raise StaleIndex(f"{folder} is the index of other texts: the field {', '.join(others)} has changed. {again}")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the description of an index. Raises `StaleIndex` where it is missing, damaged or never finished."""
    path = folder / MANIFEST
    if not path.exists():
        raise StaleIndex(
            f"{folder} is not an index, or was never finished: it has no {MANIFEST}. Remove it to have it built again."
        )
    try:
        manifest: dict[str, Any] = json.loads(small_text(path))
        missing = [name for name, size in manifest["files"].items() if _size(folder / name) != size]
        f"{manifest['documents']:,} {manifest['corpus']:.12}", manifest["key"].items()  # as they are told below
        complete = {"layout", "key", "corpus", "documents"} <= manifest.keys()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StaleIndex(f"{path} is damaged: {error}. Remove {folder} to have it built again.") from error
    if missing or not complete:
        raise StaleIndex(
            f"{folder} is damaged: {', '.join(missing) or MANIFEST} is missing or has another size. "
            "Remove the folder to have it built again."
        )
    return manifest


def _manifest(component: Component, corpus: Corpus, encoder: Component | None) -> dict[str, Any]:
    return {
        "layout": LAYOUT,
        "component": component.spec,
        "origin": component.origin,
        "encoder": repr(encoder) if encoder else None,
        "key": index_key(component, encoder),
        "corpus": corpus.fingerprint,
        "documents": len(corpus),
        **({"fields": fields} if (fields := _fields(component, corpus)) else {}),
    }


def _partial_folder(component: Component, folder: Path, manifest: Mapping[str, Any]) -> Path:
    """The place where the index grows; what an interrupted build of the very same index left is kept."""
    partial = folder.with_name(f"{folder.name}.partial")
    marker = _marker(folder)
    resumable = component.traits.resumes and _read_json(marker) == manifest
    if not resumable:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(exist_ok=True)
    _write_json(marker, manifest)
    return partial


def _write(write: Any, partial: Path) -> None:
    try:
        write()
    except OSError as error:
        error.add_note(f"while writing an index; nothing was replaced, the unfinished part is in {partial}")
        raise


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(small_text(path))
    except (OSError, ValueError, RecursionError, DamagedFile):
        return None


def _marker(folder: Path) -> Path:
    """Says beside a growing index what it is to become, so that only its own build goes on with it."""
    return folder.with_name(f"{folder.name}.building.json")


def _sizes(folder: Path) -> dict[str, int]:
    """The size of each file but the manifest: an interrupted build may have left one, and it is written anew."""
    return {path.name: _size(path) for path in sorted(folder.iterdir()) if path.name not in (MANIFEST, seals.SEAL)}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
