"""Collections of images in files: a folder, a list of paths, or JSON lines that describe each image."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nirank.data import Candidates, Collection, Documents, Queries, RepeatedId
from nirank.data import images as pictures
from nirank.errors import BadInput
from nirank.formats import read_jsonl, read_qrels
from nirank_datasets.assemble import judged_collection
from nirank_datasets.categories import same_category, themselves
from nirank_datasets.file_names import below, clean, distinct, present, readable, words

log = logging.getLogger("nirank")

Ask = Literal["documents", "images", "classes", "zero_shot", "self"]

#: The fields of images in folders and lists.
NAME, CLASS = "name", "class"
#: Endings of images that need a package of its own, or are not read; other files are no images.
_UNREAD = {".heic", ".heif", ".avif", ".jxl", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
_HEIC = (".heic", ".heif")
#: Files of an ending of no image that are opened to see whether they are images all the same.
_LOOKED_INTO = 100


@dataclass(frozen=True)
class ImageList:
    """Images by id, with texts that describe each; every image has each of the fields, if only empty.

    `several` has those fields that hold lists of texts, which are several classes.
    """

    ids: list[str]
    paths: list[Path]
    fields: dict[str, list[str]]
    several: dict[str, list[list[str]]] = field(default_factory=dict)

    def take(self, places: Sequence[int]) -> ImageList:
        """The images at some places."""
        fields = {name: [column[place] for place in places] for name, column in self.fields.items()}
        several = {name: [column[place] for place in places] for name, column in self.several.items()}
        return ImageList(
            [self.ids[place] for place in places], [self.paths[place] for place in places], fields, several
        )

    def classes(self, name: str) -> list[list[str]]:
        """The classes of each image by a field."""
        return self.several.get(name) or [[told] if told else [] for told in self.fields[name]]


def images(
    source: str | Path,
    ask: Ask = "documents",
    classes: str = CLASS,
    queries: str | None = None,
    qrels: str | None = None,
    damaged: pictures.Damaged = "skip",
) -> Collection:
    """Images in files, as documents, with the texts that describe them as fields of the corpus.

    `source` is a folder, searched with its sub-folders (linked ones too) for files that have the ending of an image,
    or none and are one; a list of paths (`.txt`, one a line); or JSON lines (`.jsonl`), each with `id`, `path` (or
    `file_name`, which is the id as well where there is none) and what else is told: texts become fields,
    lists of texts too, joined by commas; where classes are told by lists these are several, and numbers may name them.
    Paths are relative to the file that lists them. The fields of a folder and of a list are `name`, the file's, and
    `class`, the path of the folder that it lies in, as it is spelt. Names are composed (NFC); two that differ in white
    space alone get a number, with a warning. HEIC needs the extra `heic`.

    `ask` says what the queries are: "classes" (the classes, for which their images are relevant), "images" (every image
    that has others of its class, for which these are relevant), "zero_shot" (the images, for which their classes are
    to be found: these are the documents) or "self" (every image, relevant to itself alone: what learns from images
    learns from this). `classes` is the field that names their classes. With "documents" there are
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
    try:
        corpus = Documents(listed.ids, listed.paths, listed.fields)
    except RepeatedId as fault:
        raise BadInput(str(fault), path) from None
    if ask == "self":
        return Collection(
            f"{path.stem}/self", corpus, Queries(listed.ids, listed.paths), themselves(len(corpus)).over(corpus)
        )
    if ask != "documents":
        return _by_class(path.stem, corpus, listed, ask, classes, path)
    return _judged(path.stem, corpus, path.parent if path.is_file() else path, queries, qrels)


def _listed(path: Path) -> ImageList:
    if path.is_dir():
        return _in_files(_images_below(path), path)
    if path.suffix.lower() == ".jsonl":
        return _in_lines(path)
    lines = _text(path).splitlines()
    return _in_files([present(path.parent / line.strip()) for line in lines if line.strip()], path.parent)


def _images_below(folder: Path) -> list[Path]:
    """The images in a folder by their path; a warning reports those of a kind that is not read."""
    files = list(below(folder))
    shown = [each for each in files if _looks_like_image(each)]
    others = sorted({*files} - {*shown})
    _tell_of_unread([each for each in others if each.suffix.lower() in _UNREAD])
    _tell_of_misnamed([each for each in others if each.suffix.lower() not in _UNREAD])
    return sorted(shown)


def _tell_of_unread(unread: Sequence[Path]) -> None:
    if unread:
        help_ = " Run: pip install 'nirank[heic]'" if any(each.suffix.lower() in _HEIC for each in unread) else ""
        log.warning("%d images are of a kind that is not read, such as %s.%s", len(unread), _first(unread), help_)


def _tell_of_misnamed(others: Sequence[Path]) -> None:
    """Warn of images whose names do not say so; an ending is given up when none of its first files is an image."""
    endings = defaultdict[str, list[Path]](list)
    for each in others:
        if each.suffix and not _is_numbered(each):  # the others were looked into already
            endings[each.suffix.lower()].append(each)
    suspect = [some for some in endings.values() if any(map(pictures.is_known, some[:_LOOKED_INTO]))]
    if misnamed := sorted(each for some in suspect for each in some if pictures.is_known(each)):
        names = _first(misnamed)
        log.warning("%d files are images, and their names do not say so, such as %s: left out.", len(misnamed), names)


def _first(files: Sequence[Path]) -> str:
    return ", ".join(readable(str(each)) for each in files[:3])


def _in_files(paths: Sequence[Path], folder: Path) -> ImageList:
    """Images with ids made of their paths; what would be white space in an id is an underscore."""
    relative = [each.relative_to(folder) if each.is_relative_to(folder) else each for each in paths]
    shown = [Path(readable(each.as_posix())) for each in relative]
    names = [words(each.name if _is_numbered(each) else each.stem) for each in shown]
    classes = ["" if each.parent == Path() else each.parent.as_posix() for each in shown]
    return ImageList(distinct([each.as_posix() for each in shown]), list(paths), {NAME: names, CLASS: classes})


def _in_lines(path: Path) -> ImageList:
    lines = enumerate(_text(path).split("\n"), 1)
    rows = [_line(line, path, number) for number, line in lines if line.strip()]
    names = dict.fromkeys(name for row in rows for name in row if name not in ("id", "path"))
    fields = {name: [_as_text(row.get(name)) for row in rows] for name in names}
    paths = [present(path.parent / row["path"]) for row in rows]
    several = {name: [_texts(row.get(name)) for row in rows] for name in names if _holds_more(rows, name)}
    fields = {name: column for name, column in fields.items() if any(column)}
    return ImageList([row["id"] for row in rows], paths, fields, several)


def _holds_more(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    """True where some values are no texts but name classes all the same: lists, and whole numbers."""
    return any(isinstance(row.get(name), list) or type(row.get(name)) is int for row in rows)


def _line(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"is not JSON: {error}", path, number) from None
    if isinstance(row, dict):
        row = _with_id(row)
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("id", "path")):
        raise BadInput('one {"id": ..., "path": ...} a line is expected.', path, number)
    if "\\u" in line and any("\ud800" <= character <= "\udfff" for character in json.dumps(row, ensure_ascii=False)):
        raise BadInput("there is half a surrogate pair, which is no text.", path, number)
    return row


def _with_id(row: dict[str, Any]) -> dict[str, Any]:
    """A line with its path and id where they belong: whole numbers are ids, and a `file_name` is both."""
    name = row.get("path", row.get("file_name"))
    number = row.get("id", clean(name) if isinstance(name, str) else None)
    others = {key: value for key, value in row.items() if key not in ("id", "path", "file_name")}
    return {"id": str(number) if type(number) is int else number, "path": name, **others}


def _as_text(value: Any) -> str:
    """The value of a field as a text: an empty one where it is no text."""
    texts = value if isinstance(value, list) else [value]
    return ", ".join(each for each in texts if isinstance(each, str))


def _texts(value: Any) -> list[str]:
    """The texts of a field, each once."""
    texts = map(_sole, value) if isinstance(value, list) else [_sole(value)]
    return list(dict.fromkeys(filter(None, texts)))


def _sole(value: Any) -> str:
    return str(value) if isinstance(value, str) or type(value) is int else ""


def _by_class(name: str, corpus: Documents, listed: ImageList, ask: Ask, field: str, path: Path) -> Collection:
    if field not in (known := {**listed.fields, **listed.several}):
        raise BadInput(f"no image has the field {field!r}; there are {', '.join(known) or 'none'}.", path)
    classes_of = listed.classes(field)
    names = sorted({name for some in classes_of for name in some})
    if not names:
        raise BadInput(f"no image has a class: {field!r} is empty everywhere. Of a folder it is the sub-folder.", path)
    number = {name: place for place, name in enumerate(names)}
    numbers = [sorted(number[name] for name in some) for some in classes_of]
    if ask == "images":
        return _alike(f"{name}/images", corpus, listed, numbers)
    classes = Documents(distinct(names), [words(each) for each in names])
    if ask == "zero_shot":
        return _zero_shot(f"{name}/zero_shot", classes, listed, numbers)
    rows: list[list[int]] = [[] for _ in names]
    for image, some in enumerate(numbers):
        for each in some:
            rows[each].append(image)
    judged = Candidates.of(rows, [np.ones(len(row)) for row in rows], corpus)
    return Collection(f"{name}/classes", corpus, Queries(classes.ids[:], classes[:]), judged)


def _zero_shot(name: str, classes: Documents, listed: ImageList, numbers: Sequence[Sequence[int]]) -> Collection:
    """Each image that has a class asks for its classes; the others are left out."""
    rows = [row for row, some in enumerate(numbers) if some]
    queries = Queries([listed.ids[row] for row in rows], [listed.paths[row] for row in rows])
    judged = Candidates.of([numbers[row] for row in rows], [np.ones(len(numbers[row])) for row in rows], classes)
    return Collection(name, classes, queries, judged)


def _alike(name: str, corpus: Documents, listed: ImageList, numbers: Sequence[Sequence[int]]) -> Collection:
    """Each image that has others of one of its classes: these are relevant to it."""
    judged = (_sharing(numbers) if any(len(some) > 1 for some in numbers) else _of_one_class(numbers)).over(corpus)
    rows = np.flatnonzero(judged.lengths)
    queries = Queries([listed.ids[row] for row in rows], [listed.paths[row] for row in rows])
    return Collection(name, corpus, queries, judged.take(rows))


def _of_one_class(numbers: Sequence[Sequence[int]]) -> Candidates:
    """The judgments where no image has several classes; one without has a class of its own."""
    return same_category([some[0] if some else -1 - image for image, some in enumerate(numbers)])


def _sharing(numbers: Sequence[Sequence[int]]) -> Candidates:
    members: dict[int, list[int]] = {}
    for image, some in enumerate(numbers):
        for each in some:
            members.setdefault(each, []).append(image)
    rows = [sorted({other for each in some for other in members[each]} - {image}) for image, some in enumerate(numbers)]
    return Candidates.of(rows, [np.ones(len(row)) for row in rows])


def _judged(name: str, corpus: Documents, folder: Path, queries: str | None, qrels: str | None) -> Collection:
    if (queries is None) != (qrels is None):
        raise BadInput(f"queries = {queries!r} and qrels = {qrels!r}: both are expected, or neither.", folder)
    if queries is None or qrels is None:
        return Collection(name, corpus, Queries([], []), Candidates.empty(0, corpus))
    texts = read_jsonl(folder / queries)
    return judged_collection(name, corpus, Queries(texts.ids, texts[:]), read_qrels(folder / qrels))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read as a folder or list of images: {error}.", path) from None


def _looks_like_image(path: Path) -> bool:
    """True for a file that has the ending of an image, or has none and Pillow knows what it is."""
    if path.suffix and not _is_numbered(path):
        return path.is_file() and path.suffix.lower() in pictures.endings()
    return path.is_file() and not path.name.startswith(".") and pictures.is_known(path)


def _is_numbered(path: Path) -> bool:
    """True for a name that ends in a number: the end of a date, or of a version, is no ending."""
    return path.suffix[1:].isdigit()


def tiny() -> Collection:
    """Four drawn pictures with names, and two queries."""
    names = ["a cat", "a dog", "a car", "a bus"]
    fields: Mapping[str, Sequence[str]] = {NAME: names}
    corpus = Documents(["cat", "dog", "car", "bus"], [pictures.drawn(number) for number in range(4)], fields)
    judgments = Candidates.of([[0], [2, 3]], [[1], [1, 2]], corpus)
    return Collection("pictures", corpus, Queries(["1", "2"], ["cat", "what has wheels"]), judgments)
