"""Icons with tags: pictures that are found by the words that people tag them with."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from nirank.data import Candidates, Collection, Content, Documents, Queries
from nirank.errors import BadInput, UnknownName
from nirank.formats import opened, read_qrels
from nirank.kit import beside, cache_folder, progress
from nirank_datasets.icon_packages import SIGN, folder_of

Split = Literal["train", "dev", "test"]
Kind = Literal["image", "text"]

FEWEST, MOST = 2, 40  # relevant icons of a query
INDEX, PICTURES = "index.jsonl", "images"
#: Bytes of a picture; these drawings have some hundred.
_LARGEST = 1 << 24
_WORDS = re.compile(r"(?:[^\W_]|\+)+")
_EXPECTED = '{"id": ..., "file": ..., "set": ..., "name": ..., "tags": [...]}'
_TEXTS = ("id", "file", "set", "name")
#: Of ten parts of all tags the hash puts so many into dev.
_DEV = 3


@dataclass(frozen=True)
class Icon:
    """One line of the index; `tags` are as they are searched."""

    id: str
    file: str
    set: str
    name: str
    category: str
    tags: tuple[str, ...]


def icons(
    folder: str | Path, split: Split = "test", content: Kind = "image", searched: str | None = None
) -> Collection:
    """Icons and the tags that people gave them: a tag is a query, and the icons that carry it are relevant.

    `folder` has `index.jsonl`, a line an icon with `id`, `file`, `set`, `name`, `tags` and perhaps `category`, and the
    pictures in `images.zip` or in a folder `images`. A document is the picture of an icon, or with `content="text"` its
    name, which is in the field `name` too, beside `set` and `category`. Names and tags are searched in lower case, as
    words of letters, digits and `+`. In the place of a folder `npm:NAME` is a package of npm, or several with commas
    between them (`icon_packages`), each style of which is a set.

    `searched` is the set whose icons are found: `dev` and `test` have these as documents, and as queries those of their
    tags that 2 to 40 of them carry and that are no icon's own name there. `train` has all other sets, and every name
    and tag as a query. So designers and taggers are others than in training. The queries and judgments in
    `queries.SPLIT.jsonl` and `qrels.SPLIT.txt` are taken where both lie in the folder; where they do not, a hash of the
    tag puts three tenths into `dev` and the others into `test`. Unless `searched` is said, it is the set that the
    judgments in the folder name, or the only one; else it has to be said.

    Raises `BadInput` for files that are missing or damaged, and for `train` where all icons are searched;
    `UnknownName` for another split, content or set.
    """
    for what, value, known in (("split", split, get_args(Split)), ("content", content, get_args(Kind))):
        if value not in known:
            raise UnknownName(f"{what} of icons", value, known)
    folder = folder_of(str(folder)) if str(folder).startswith(SIGN) else Path(folder).expanduser()
    every = _read(folder / INDEX)
    found = _searched(folder, every, searched)
    chosen = [icon for icon in every if (icon.set == found) == (split != "train")]
    if not chosen:
        raise BadInput(f"all icons are of the set {found!r}, which is searched: there is none to train with.", folder)
    corpus = _corpus(folder, every, chosen, content)
    name = f"icons/{split}"
    if split == "train":
        return _asked(name, corpus, chosen, {text for icon in chosen for text in _texts(icon)}, _texts)
    if _judged(folder, split) and _set_judged(folder, every) == found:
        return _stored(name, folder, split, corpus)
    return _asked(name, corpus, chosen, _queries(chosen, split), _tags)


def _asked(name: str, corpus: Documents, chosen: Sequence[Icon], texts: Iterable[str], of: Any) -> Collection:
    """The collection that asks for icons by texts; `of` says which texts an icon is relevant to."""
    wanted = sorted(texts)
    row, rows = {text: number for number, text in enumerate(wanted)}, [list[int]() for _ in wanted]
    for ordinal, icon in enumerate(chosen):
        for text in of(icon) & row.keys():
            rows[row[text]].append(ordinal)
    judged = Candidates.of(rows, [np.ones(len(each)) for each in rows], corpus)
    return Collection(name, corpus, Queries([text.replace(" ", "_") for text in wanted], wanted), judged)


def _stored(name: str, folder: Path, split: str, corpus: Documents) -> Collection:
    """The collection with the queries and judgments that lie in the folder."""
    path = folder / f"queries.{split}.jsonl"
    rows = [_row(line, path, number, ("id", "text")) for number, line in _lines(path)]
    queries = Queries([row["id"] for row in rows], [row["text"] for row in rows])
    judged = read_qrels(folder / f"qrels.{split}.txt").align(queries.ids, corpus.ids).over(corpus)
    return Collection(name, corpus, queries, judged)


def _queries(chosen: Sequence[Icon], split: str) -> set[str]:
    """The tags of a split, that 2 to 40 icons carry."""
    carriers: dict[str, int] = defaultdict(int)
    for icon in chosen:
        for tag in _tags(icon):
            carriers[tag] += 1
    return {tag for tag, count in carriers.items() if FEWEST <= count <= MOST and _is_dev(tag) == (split == "dev")}


def _is_dev(tag: str) -> bool:
    digest = hashlib.blake2b(tag.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 10 < _DEV


def _tags(icon: Icon) -> set[str]:
    return {*icon.tags} - {icon.name, ""}


def _texts(icon: Icon) -> set[str]:
    return {icon.name, *icon.tags} - {""}


# The folder


def _searched(folder: Path, every: Sequence[Icon], searched: str | None) -> str:
    """The set that is searched: as it is said, or that of the first icon that the judgments name."""
    sets = sorted({icon.set for icon in every})
    if searched is not None:
        if searched not in sets:
            raise UnknownName("set of icons", searched, sets)
        return searched
    if found := _set_judged(folder, every) or (sets[0] if len(sets) == 1 else None):
        return found
    raise BadInput(f"say which set is searched: searched = one of {', '.join(sets)}.", folder)


def _set_judged(folder: Path, every: Sequence[Icon]) -> str | None:
    """The set of the first icon that the judgments in the folder name; None without any."""
    set_of = {icon.id: icon.set for icon in every}
    for split in ("test", "dev"):
        if _judged(folder, split):
            judged = read_qrels(folder / f"qrels.{split}.txt")
            if found := next((set_of[id_] for id_ in judged.ids if id_ in set_of), None):
                return found
    return None


def _judged(folder: Path, split: str) -> bool:
    return (folder / f"queries.{split}.jsonl").is_file() and (folder / f"qrels.{split}.txt").is_file()


def _read(path: Path) -> list[Icon]:
    """The icons of an index. Raises `BadInput` for a line that is none, an id that comes twice, and no icons."""
    found: dict[str, Icon] = {}
    for number, line in _lines(path):
        row = _row(line, path, number, _TEXTS)
        tags, category = row.get("tags", []), row.get("category")
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise BadInput(f"tags is not a list of texts; {_EXPECTED} is expected.", path, number)
        if row["id"] in found:
            raise BadInput(f"the id {row['id']!r} comes a second time.", path, number)
        category = category if isinstance(category, str) else ""
        words = tuple(map(_plain, tags))
        found[row["id"]] = Icon(row["id"], row["file"], row["set"], _plain(row["name"]), category, words)
    if not found:
        raise BadInput(f"has no icons; lines of {_EXPECTED} are expected.", path)
    return list(found.values())


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with opened(path) as file:
            text = file.read().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read: {getattr(error, 'strerror', None) or error}.", path) from error
    yield from ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _row(line: str, path: Path, number: int, texts: Sequence[str]) -> dict[str, Any]:
    """The object of a line; those keys are texts. Raises `BadInput` for any other."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"is not JSON: {error}", path, number) from None
    wrong = [key for key in texts if not isinstance(row, dict) or not isinstance(row.get(key), str)]
    if wrong:
        raise BadInput(f"a text is expected under each of {', '.join(texts)}; {wrong[0]!r} has none.", path, number)
    return dict(row)


def _plain(text: str) -> str:
    return " ".join(_WORDS.findall(text.lower()))


# Pictures


def _corpus(folder: Path, every: Sequence[Icon], chosen: Sequence[Icon], content: Kind) -> Documents:
    names = [icon.name for icon in chosen]
    contents: Sequence[Content] = names if content == "text" else _pictures(folder, every, chosen)
    fields = {"name": names, "set": [icon.set for icon in chosen], "category": [icon.category for icon in chosen]}
    return Documents([icon.id for icon in chosen], contents, fields)


def _pictures(folder: Path, every: Sequence[Icon], chosen: Sequence[Icon]) -> list[Path]:
    """The picture of each icon: in the folder, or unpacked once into the cache."""
    place, archive = folder / PICTURES, folder / f"{PICTURES}.zip"
    if not place.is_dir():
        place = _unpacked(archive, [icon.file for icon in every])
    paths = [place / icon.file for icon in chosen]
    if missing := [path for path in paths if not path.is_file()]:
        raise BadInput(f"{len(missing)} pictures that {INDEX} names are not there, such as this.", missing[0])
    return paths


def _unpacked(archive: Path, files: Sequence[str]) -> Path:
    """The folder of the cache with those files of an archive, by what both are."""
    try:
        hashed = hashlib.blake2b(archive.read_bytes() + "\n".join(files).encode(), digest_size=16).hexdigest()
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}. Pictures are expected in it.", archive) from error
    place = cache_folder() / "icons" / hashed
    if not place.is_dir():
        with beside(place) as unfinished:
            _unpack(archive, files, unfinished)
    return place


def _unpack(archive: Path, files: Sequence[str], place: Path) -> None:
    faults = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError)
    try:
        with zipfile.ZipFile(archive) as packed, progress("Unpacking icons", len(files)) as advance:
            known: Mapping[str, zipfile.ZipInfo] = {info.filename: info for info in packed.infolist()}
            for name in dict.fromkeys(files):
                _write(packed, known.get(name), name, place, archive)
                advance(1)
    except BadInput:
        raise
    except faults as error:
        raise BadInput(f"is not a complete zip file: {error}.", archive) from error


def _write(packed: zipfile.ZipFile, info: zipfile.ZipInfo | None, name: str, place: Path, archive: Path) -> None:
    """Write one picture. Raises `BadInput` for one that is missing, is huge, or would lie elsewhere."""
    if info is None or info.file_size > _LARGEST:
        size = "" if info is None else f" with at most {_LARGEST:,} bytes"
        raise BadInput(f"{name!r}, which {INDEX} names, is not in it{size}.", archive)
    path = place / name
    if not path.resolve().is_relative_to(place.resolve()) or path.resolve() == place.resolve():
        raise BadInput(f"{name!r} leads out of the archive.", archive)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.read(info))
