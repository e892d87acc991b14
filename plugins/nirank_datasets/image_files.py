"""Collections of images in files: a folder, a list of paths, or JSON lines that describe each image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nirank.data import Candidates, Collection, Documents, Queries
from nirank.data import images as pictures
from nirank.errors import BadInput
from nirank.formats import read_jsonl, read_qrels
from nirank_datasets.assemble import judged_collection
from nirank_datasets.categories import same_category

Ask = Literal["documents", "images", "classes", "zero_shot"]

#: The fields of images in folders and lists.
NAME, CLASS = "name", "class"


@dataclass(frozen=True)
class ImageList:
    """Images by id, with texts that describe each; every image has each of the fields, if only empty."""

    ids: list[str]
    paths: list[Path]
    fields: dict[str, list[str]]

    def take(self, places: Sequence[int]) -> ImageList:
        """The images at some places."""
        fields = {name: [column[place] for place in places] for name, column in self.fields.items()}
        return ImageList([self.ids[place] for place in places], [self.paths[place] for place in places], fields)


def images(
    source: str | Path,
    ask: Ask = "documents",
    classes: str = CLASS,
    queries: str | None = None,
    qrels: str | None = None,
    damaged: pictures.Damaged = "skip",
) -> Collection:
    """Images in files, as documents, with the texts that describe them as fields of the corpus.

    `source` is a folder, searched with its sub-folders for files that have the ending of an image; a list of paths
    (`.txt`, one a line); or JSON lines (`.jsonl`), each with `id`, `path` and whatever else: texts become fields, lists
    of texts too, joined by commas. Paths are relative to the file that lists them. The fields of a folder and of a
    list are `name`, the file's, and `class`, the folder's that it lies in.

    `ask` says what the queries are: "classes" (the classes, for which their images are relevant), "images" (every image
    that has others of its class, for which these are relevant) or "zero_shot" (the images, for which their classes are
    to be found: these are the documents). `classes` is the field that names their classes. With "documents" there are
    no queries, unless they come with judgments from files beside the source: `queries` (JSON lines) and `qrels` (TREC).

    Each image is decoded once. With `damaged = "skip"` those that cannot be are left out, with warnings of the logger
    `nirank`; with "error" the first of them raises `BadInput`, which is also raised where no image is left, for
    files that are missing or malformed, and for a field that no image has.
    """
    path = Path(source).expanduser()
    listed = _listed(path)
    listed = listed.take(pictures.readable(listed.paths, damaged))
    if not listed.ids:
        raise BadInput("there is no image in it that can be read: images, or a list of them, are expected.", path)
    corpus = Documents(listed.ids, listed.paths, listed.fields)
    if ask != "documents":
        return _by_class(path.stem, corpus, listed, ask, classes, path)
    return _judged(path.stem, corpus, path.parent if path.is_file() else path, queries, qrels)


def _listed(path: Path) -> ImageList:
    if path.is_dir():
        return _in_files(sorted(each for each in path.rglob("*") if _looks_like_image(each)), path)
    if path.suffix == ".jsonl":
        return _in_lines(path)
    lines = _text(path).splitlines()
    return _in_files([path.parent / line.strip() for line in lines if line.strip()], path.parent)


def _in_files(paths: Sequence[Path], folder: Path) -> ImageList:
    """Images with ids made of their paths; what would be white space in an id is an underscore."""
    short = [each.relative_to(folder) if each.is_relative_to(folder) else each for each in paths]
    names = [_words(each.stem) for each in short]
    classes = [_words(each.parent.name) for each in short]
    return ImageList([_id(each.as_posix()) for each in short], list(paths), {NAME: names, CLASS: classes})


def _in_lines(path: Path) -> ImageList:
    lines = enumerate(_text(path).splitlines(), 1)
    rows = [_line(line, path, number) for number, line in lines if line.strip()]
    names = dict.fromkeys(name for row in rows for name in row if name not in ("id", "path"))
    fields = {name: [_as_text(row.get(name)) for row in rows] for name in names}
    paths = [path.parent / row["path"] for row in rows]
    return ImageList(
        [row["id"] for row in rows], paths, {name: column for name, column in fields.items() if any(column)}
    )


def _line(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadInput(f"is not JSON: {error}", path, number) from None
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("id", "path")):
        raise BadInput('one {"id": ..., "path": ...} a line is expected.', path, number)
    return row


def _as_text(value: Any) -> str:
    """The value of a field as a text: an empty one where it is no text."""
    if isinstance(value, list):
        return ", ".join(each for each in value if isinstance(each, str))
    return value if isinstance(value, str) else ""


def _by_class(name: str, corpus: Documents, listed: ImageList, ask: Ask, field: str, path: Path) -> Collection:
    if field not in listed.fields:
        raise BadInput(f"no image has the field {field!r}; there are {', '.join(listed.fields)}.", path)
    named = np.array(listed.fields[field], dtype=np.str_)
    names = [str(each) for each in np.unique(named[named != ""])]
    numbers = np.searchsorted(names, named) if names else np.zeros(len(named), np.int64)
    classed = np.flatnonzero(named != "")  # the others are relevant to no query
    if ask == "images":
        return _alike(f"{name}/images", corpus, listed, numbers, classed)
    classes = Documents([_id(each) for each in names], [_words(each) for each in names])
    if ask == "zero_shot":
        queries = Queries([listed.ids[row] for row in classed], [listed.paths[row] for row in classed])
        judged = Candidates(np.arange(len(classed) + 1), numbers[classed], np.ones(len(classed), np.float32), classes)
        return Collection(f"{name}/zero_shot", classes, queries, judged)
    rows = [classed[numbers[classed] == number] for number in range(len(names))]
    judged = Candidates.of(rows, [np.ones(len(row)) for row in rows], corpus)
    return Collection(f"{name}/classes", corpus, Queries(classes.ids[:], classes[:]), judged)


def _alike(name: str, corpus: Documents, listed: ImageList, classes: Any, classed: Any) -> Collection:
    """Each image that has others of its class: these are relevant to it."""
    own = np.arange(len(classes)) + len(classes)  # a class of its own for what has none
    own[classed] = classes[classed]
    judged = same_category(own).over(corpus)
    rows = np.flatnonzero(judged.lengths)
    queries = Queries([listed.ids[row] for row in rows], [listed.paths[row] for row in rows])
    return Collection(name, corpus, queries, judged.take(rows))


def _judged(name: str, corpus: Documents, folder: Path, queries: str | None, qrels: str | None) -> Collection:
    if (queries is None) != (qrels is None):
        raise BadInput(f"queries = {queries!r} and qrels = {qrels!r}: both are expected, or neither.", folder)
    if queries is None or qrels is None:
        return Collection(name, corpus, Queries([], []), Candidates.empty(0, corpus))
    texts = read_jsonl(folder / queries)
    return judged_collection(name, corpus, Queries(texts.ids, texts[:]), read_qrels(folder / qrels))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read as a folder or list of images: {error}.", path) from None


def _looks_like_image(path: Path) -> bool:
    from PIL import Image

    return path.is_file() and path.suffix.lower() in Image.registered_extensions()


def _words(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").split())


def _id(name: str) -> str:
    return "_".join(name.split())


def tiny() -> Collection:
    """Four drawn pictures with names, and two queries."""
    names = ["a cat", "a dog", "a car", "a bus"]
    fields: Mapping[str, Sequence[str]] = {NAME: names}
    corpus = Documents(["cat", "dog", "car", "bus"], [pictures.drawn(number) for number in range(4)], fields)
    judgments = Candidates.of([[0], [2, 3]], [[1], [1, 2]], corpus)
    return Collection("pictures", corpus, Queries(["1", "2"], ["cat", "what has wheels"]), judgments)
