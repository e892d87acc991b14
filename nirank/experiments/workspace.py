"""A folder that can be searched: documents, a pipeline and its indexes; and the same over a collection."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from nirank import seals
from nirank.build import collection
from nirank.data import attributes
from nirank.data.candidates import Candidates
from nirank.data.changing import Document, write_changed
from nirank.data.corpus import ArrowCorpus, values_of
from nirank.data.corpus_files import write_corpus
from nirank.data.explanation import Explanation
from nirank.data.image_file import ImageFile, write_images
from nirank.data.images import is_image
from nirank.data.queries import Queries
from nirank.data.types import Corpus, Floats, Ints
from nirank.data.unchanged import same_documents
from nirank.errors import BadInput, NirankError
from nirank.execution import sharing
from nirank.experiments.experiment import Experiment
from nirank.files import alone, refuse_existing
from nirank.formats.toml import to_toml
from nirank.pipeline.algebra import Ranking
from nirank.pipeline.snippets import Snippet, snippets

DOCUMENTS, IMAGES, DESCRIPTION = "documents.arrow", "images.arrow", "search.toml"
#: The pipeline that searches unless one says otherwise.
BM25 = "bm25"
#: How many documents are copied at a time.
_COPIED = 4096
#: So often a folder is opened that others exchange meanwhile, with some seconds between.
_TRIES, _PAUSE = 5, 0.05


#: The documents of a folder.
Kept: TypeAlias = ArrowCorpus | ImageFile


@dataclass(frozen=True)
class Workspace:
    """Documents and the pipeline that searches them."""

    corpus: Corpus
    ranking: Ranking

    def search(self, text: str, k: int) -> tuple[Ints, Floats]:
        """Ordinals and scores of the best `k` documents."""
        return self.find(text, k)[0]

    def find(self, text: str, k: int) -> Candidates:
        """The best `k` documents for one query; `lost` names shards that did not answer."""
        return (self.ranking % k).search(Queries.of(text), self.corpus)

    def snippets(self, text: str, docs: Ints) -> list[Snippet]:
        """The part of each document that has most words of the query. Raises `BadInput` for what is no text."""
        return snippets(Queries.of(text), Candidates.of([docs], corpus=self.corpus))[0]

    def explanations(self, text: str, docs: Ints) -> list[Explanation]:
        """Why each document has its score."""
        queries = Queries.of([text])
        with sharing.sharing():  # the search itself is the same for each
            return [self.ranking.explain(queries, name, self.corpus) for name in self.corpus.ids.take(docs)]


def over(name: str, pipeline: str, stages: Mapping[str, dict[str, Any]] | None = None) -> Workspace:
    """Search a collection in place, with indexes in the cache."""
    (ranking,) = _described(name, pipeline, stages).build().values()
    return Workspace(collection(name).corpus, ranking)


def create(folder: Path, name: str, pipeline: str, stages: Mapping[str, dict[str, Any]] | None = None) -> Workspace:
    """Copy the documents of a collection into `folder` and index them there.

    The folder is written beside and moved into place, and needs nothing outside it afterwards but the models
    of its pipeline. Raises `BadInput` where it exists, also where it was filled meanwhile (what was indexed is kept
    beside it then), and for documents that are not texts.
    """
    folder = folder.resolve()
    refuse_existing(folder)
    if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise BadInput(f"{name!r} is no text in UTF-8, and cannot be written down in {DESCRIPTION}: rename the file.")
    if folder == Path.cwd():
        raise BadInput("is the current folder; name one that does not exist yet, such as nirank-index.", folder)
    described = _described(name, pipeline, stages)
    with alone(folder, "nirank index"):
        refuse_existing(folder)
        return _create(folder, described, lambda partial: _copy(collection(name).corpus, partial))[0]


def _create(
    folder: Path, described: Experiment, write: Callable[[Path], Kept], former: Kept | None = None
) -> tuple[Workspace, int]:
    """Make the folder, perhaps from what it was; how many documents are new or have changed, too."""
    (ranking,) = described.build().values()
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)  # what an interrupted run left there is gone on with
    corpus = write(partial)
    documents = corpus.path.name
    if former is not None:
        _link_indexes(folder, partial)
    ranking.index(corpus, partial, former)
    (partial / DESCRIPTION).write_text(to_toml(described.as_table()), encoding="utf-8")
    beside = [path.name for path in partial.glob(f"{attributes.path_beside(corpus.path).name}*")]
    _keep_only(partial, {documents, DESCRIPTION, *beside, *_index_folders(ranking)})
    seals.seal(partial, [documents, DESCRIPTION, *sorted(beside)])
    new = len(corpus) if former is None else int(np.count_nonzero(same_documents(corpus, former) < 0))
    if former is None:
        _move(partial, folder)
    else:
        _exchange(partial, folder)
    return _opened(folder, ranking), new


def update(
    folder: Path, name: str, pipeline: str | None = None, stages: Mapping[str, dict[str, Any]] | None = None
) -> tuple[Workspace, int]:
    """Bring a folder to the present state of a collection; the number of documents that are new or have changed, too.

    Indexes that can be are made from those of the former state, at the cost of what has changed; the folder is then
    exchanged as a whole. It is made where it does not exist. Raises `BadInput` for another pipeline or other settings
    than it was made with.
    """
    folder = folder.resolve()
    _bring_back(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        made = create(folder, name, pipeline or BM25, stages)
        return made, len(made.corpus)
    with alone(folder, "nirank index"):
        return _update(folder, name, pipeline, stages)


def _update(
    folder: Path, name: str, pipeline: str | None, stages: Mapping[str, dict[str, Any]] | None
) -> tuple[Workspace, int]:
    former, recorded = _documents(folder), Experiment.read(folder / DESCRIPTION)
    if pipeline or stages:
        wanted = _described(name, pipeline or BM25, stages)
        if ([*wanted.pipelines.values()], wanted.stage) != ([*recorded.pipelines.values()], recorded.stage):
            raise BadInput(f"was indexed for {_said(recorded)}; an update keeps that. Name another folder.", folder)
    described = Experiment.of({**recorded.as_table(), "collection": name})
    return _create(folder, described, lambda partial: _copy(collection(name).corpus, partial), former)


def change(folder: Path, changes: Mapping[str, Document | None]) -> tuple[Workspace, int]:
    """Put documents into a folder, each by its id, and take out those that are None; what comes of it, as of `update`.

    Documents keep their places, and new ones come last. Raises `InUse` where another process writes to the folder.
    """
    folder = folder.resolve()
    _bring_back(folder)
    with alone(folder, "nirank index"):
        former = _documents(folder)
        if not isinstance(former, ArrowCorpus):
            raise BadInput("its documents are images: change their files, and run nirank index --update.", folder)
        described = Experiment.read(folder / DESCRIPTION)
        return _create(folder, described, lambda partial: write_changed(partial / DOCUMENTS, former, changes), former)


def _said(described: Experiment) -> str:
    """The pipeline of a folder, and its settings, as they are written."""
    (pipeline,) = described.pipelines.values()
    return f"{pipeline!r}" + (f" with {described.stage}" if described.stage else "")


def open_folder(folder: Path) -> Workspace:
    """Open what `create` made. Raises `BadInput` where there is no such folder.

    One that is exchanged for its update meanwhile is opened again.
    """
    _bring_back(folder)
    for _ in range(_TRIES):
        found = _state(folder)
        try:
            return _open(folder)
        except (NirankError, OSError):
            if found is not None and _state(folder) == found:
                raise
            time.sleep(_PAUSE)
    return _open(folder)


def _state(folder: Path) -> int | None:
    """The number by which a folder differs from the one that it is exchanged for; None between the two."""
    try:
        return folder.stat().st_ino
    except FileNotFoundError:
        return None if _former(folder).exists() else 0


def _open(folder: Path) -> Workspace:
    _documents(folder)  # so that a folder that is none is told before components are loaded
    (ranking,) = Experiment.read(folder / DESCRIPTION).build().values()
    return _opened(folder, ranking)


def _opened(folder: Path, ranking: Ranking) -> Workspace:
    corpus = _documents(folder)
    ranking.index(corpus, folder)
    return Workspace(corpus, ranking)


def _documents(folder: Path) -> Kept:
    """The documents of a folder. Raises `BadInput` where there is no such folder."""
    if not (folder / DESCRIPTION).exists():
        raise BadInput(
            "holds no index. Make one: nirank index COLLECTION --to FOLDER (or search with --collection).", folder
        )
    seals.check(folder, f"Remove {folder}, and index again.")
    return ImageFile(folder / IMAGES) if (folder / IMAGES).exists() else ArrowCorpus(folder / DOCUMENTS)


def _described(name: str, pipeline: str, stages: Mapping[str, dict[str, Any]] | None) -> Experiment:
    return Experiment.of({"collection": name, "pipeline": pipeline, "stage": dict(stages or {})})


def _index_folders(ranking: Ranking) -> set[str]:
    return {component.opened.folder.name for component in ranking.components() if component.opened}


def _keep_only(folder: Path, names: set[str]) -> None:
    """Remove locks, markers and what an interrupted run with another pipeline left."""
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _link_indexes(folder: Path, partial: Path) -> None:
    """Have the indexes of `folder` beside the new ones, which are made from them; copies where links cannot be."""
    for path in folder.iterdir():
        if path.is_dir() and not (partial / path.name).exists():
            sealed = seals.check(path, f"Remove {folder}, and index again.")
            unfinished = partial / f"{path.name}.linking"
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(path, unfinished, copy_function=_link)
            os.replace(unfinished, partial / path.name)
            if sealed:
                seals.remember(partial / path.name)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _former(folder: Path) -> Path:
    """The place of a folder while it is exchanged for its update."""
    return folder.with_name(f".{folder.name}.former")


def _bring_back(folder: Path) -> None:
    """Put a folder back whose update was killed just between the two moves; remove what one left that was killed after.

    Nothing is done while another process is at work, or where nothing can be written.
    """
    if not _former(folder).exists():
        return
    with suppress(BadInput), alone(folder, "nirank index"):
        if folder.exists():
            shutil.rmtree(_former(folder), ignore_errors=True)
        elif (_former(folder) / DESCRIPTION).exists():
            os.replace(_former(folder), folder)


def _exchange(partial: Path, folder: Path) -> None:
    shutil.rmtree(_former(folder), ignore_errors=True)
    os.replace(folder, _former(folder))
    try:
        os.replace(partial, folder)
    except OSError:
        os.replace(_former(folder), folder)
        raise
    shutil.rmtree(_former(folder), ignore_errors=True)


def _move(partial: Path, folder: Path) -> None:
    try:
        os.replace(partial, folder)  # onto nothing or an empty folder; a filled one is an error
    except OSError as error:
        raise BadInput(
            f"cannot be created ({error.strerror}); the finished index is in {partial}: move it yourself.", folder
        ) from error


def _copy(corpus: Corpus, folder: Path) -> Kept:
    """Write the documents of a collection into a folder: texts, or the bytes of images."""
    if len(corpus) and is_image(corpus[[0]][0]):
        return write_images(folder / IMAGES, corpus)
    path = folder / DOCUMENTS
    if isinstance(corpus, ArrowCorpus):
        with seals.sealed(path) as unfinished:
            shutil.copyfile(corpus.path, unfinished)
        attributes.copy(corpus.path, path)
        return ArrowCorpus(path)
    return write_corpus(path, (_texts(corpus, start) for start in range(0, len(corpus), _COPIED)), fields=["text"])


def _texts(corpus: Corpus, start: int) -> dict[str, Any]:
    here = slice(start, start + _COPIED)
    contents = corpus[here]
    texts = [text for text in contents if isinstance(text, str)]
    if len(texts) < len(contents):
        raise BadInput("documents are all texts or all images, and here some are not texts.")
    fields = [name for name in getattr(corpus, "fields", ()) if name not in ("id", "text")]
    beside = {name: values_of(corpus, name)[here] for name in fields}
    return {**beside, "id": corpus.ids[here], "text": texts}
