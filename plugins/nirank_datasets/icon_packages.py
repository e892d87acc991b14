"""Packages of icons from npm as folders of icons: what they call their icons, and their drawings as pictures.

A package is looked for in `node_modules` of this folder and of those above it, and fetched by `npm pack` where it is
not there and npm is. Nothing of a package is run. Three kinds are read:

    icons.json            Tabler's: names, tags, categories and styles; icons/STYLE/NAME.svg
    dist/icons.d.ts       Phosphor's: the same as types of TypeScript; assets/STYLE/NAME-STYLE.svg
    tags.json             Lucide's, and any package that has a list of tags for each name; icons/NAME.svg

A picture in the package (`.png` in the place of `.svg`) is taken as it is; drawings are rendered by resvg-py.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nirank.errors import BadInput, MissingDependency
from nirank.kit import beside, cache_folder, digest, progress

SIGN = "npm:"
#: Pixels of an edge of what is rendered.
SIDE = 64
_VERSION = 1  # of what is written here
_NAME = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*(@[A-Za-z0-9][A-Za-z0-9.+_-]*)?")
#: The beginning of a line that npm says of an error; of a request it repeats the status.
_ERROR = re.compile(r"^npm (error|ERR!)( \d{3}(?= ))?")
#: An icon in the types of Phosphor.
_TYPED = re.compile(
    r'readonly name: "(?P<name>[^"]+)";.*?figma_category: FigmaCategory\.(?P<category>\w+);'
    r"\s*readonly tags: readonly \[(?P<tags>[^\]]*)\]",
    re.DOTALL,
)
#: What a drawing may refer to is itself.
_ELSEWHERE = re.compile(r"""(?:href\s*=\s*["']\s*[^#"'\s])|(?:url\(\s*["']?[^#"')\s])|<!ENTITY""", re.IGNORECASE)
_LARGEST = 1 << 20  # bytes of a drawing; these have some hundred


@dataclass(frozen=True)
class Drawn:
    """An icon of a package: `set` names the package and the style, `file` is its drawing without the ending."""

    set: str
    name: str
    tags: Sequence[str]
    category: str
    file: Path


def folder_of(names: str) -> Path:
    """The folder of icons that is made of packages, `npm:NAME` or several names behind each other, with commas.

    It lies in the cache, and is made once for each version of the packages. Raises `BadInput` for a package that is
    neither there nor to be had, and for one that is not understood; `MissingDependency` where drawings cannot be
    rendered.
    """
    packages = [_package(name.strip()) for name in names.removeprefix(SIGN).split(",")]
    known = digest([[_known(package) for package in packages], SIDE, _VERSION])[:20]
    place = cache_folder() / "icons" / f"npm-{known}"
    if not place.is_dir():
        found = [icon for package in packages for icon in _icons(package)]
        with beside(place) as unfinished:
            _write(found, unfinished)
    return place


def _known(package: Path) -> list[str]:
    """Name and version of a package."""
    described = _json(package / "package.json")
    return [str(described.get("name")), str(described.get("version"))]


# Where a package is


def _package(name: str) -> Path:
    """The folder of a package: unpacked already, or fetched into the cache."""
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name of an npm package, such as @tabler/icons or lucide-static@1.62.0.")
    bare, _, version = name.rpartition("@") if "@" in name[1:] else (name, "", "")
    for parent in (Path.cwd(), *Path.cwd().parents):
        place = parent / "node_modules" / bare
        if (place / "package.json").is_file() and version in ("", _known(place)[1]):
            return place
    kept = cache_folder() / "icons" / "packages" / name.replace("/", "+")
    if not kept.is_dir():
        _fetch(name, kept)
    return kept


def _fetch(name: str, place: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise BadInput(
            f"the package {name} is in no folder node_modules here or above, and npm, which would fetch it, is not "
            f"installed: unpack the package into node_modules/{name.partition('@')[0] or name}."
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", folder, name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (the name was checked)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            raise BadInput(f"npm could not fetch the package {name}: {_reason(done.stderr)}")
        with beside(place) as unfinished:
            _unpack(archives[0], unfinished, name)


def _reason(said: str) -> str:
    """The first sentence of what npm said of an error, which stands behind its code."""
    lines = [_ERROR.sub("", line).strip() for line in said.splitlines() if _ERROR.match(line)]
    return next((line for line in lines if line and not line.startswith("code ")), "it did not say why")


def _unpack(archive: Path, place: Path, name: str) -> None:
    """The contents of the folder `package` of an archive of npm."""
    try:
        with tempfile.TemporaryDirectory(dir=place.parent) as folder, tarfile.open(archive, "r:gz") as packed:
            packed.extractall(folder, filter="data")
            shutil.move(Path(folder) / "package", place)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadInput(f"the archive of the package {name} cannot be unpacked: {error}") from error


# What is in it


def _icons(package: Path) -> list[Drawn]:
    """The icons of a package. Raises `BadInput` for one that says nowhere how its icons are called."""
    for file, read in (("icons.json", _tabler), ("dist/icons.d.ts", _phosphor), ("tags.json", _lucide)):
        if (package / file).is_file():
            found = list(read(package, package / file))
            if not found:
                raise BadInput("names no icons that are drawn in the package.", package / file)
            return found
    raise BadInput(
        "is no package of icons that is understood: icons.json, tags.json or dist/icons.d.ts, which say how icons are "
        "called, are not in it. Make a folder with index.jsonl and images of it, for icons:FOLDER.",
        package,
    )


def _tabler(package: Path, path: Path) -> Iterator[Drawn]:
    for name, told in _json(path).items():
        if isinstance(told, dict):
            for style in told.get("styles", {}):
                tags, category = _tags(told.get("tags"), path, name), str(told.get("category") or "")
                yield from _drawn(package, style, name, tags, category, package / "icons" / style / name)


def _phosphor(package: Path, path: Path) -> Iterator[Drawn]:
    styles = sorted(each.name for each in (package / "assets").iterdir() if each.is_dir())
    for found in _TYPED.finditer(path.read_text(encoding="utf-8")):
        name, tags = found["name"], [tag for tag in re.findall(r'"([^"]*)"', found["tags"]) if tag != "*new*"]
        for style in styles:
            file = f"{name}-{style}" if style != "regular" else name
            yield from _drawn(package, style, name, tags, found["category"], package / "assets" / style / file)


def _lucide(package: Path, path: Path) -> Iterator[Drawn]:
    for name, told in _json(path).items():
        yield from _drawn(package, "", name, _tags(told, path, name), "", package / "icons" / name)


def _drawn(package: Path, style: str, name: str, tags: Sequence[str], category: str, file: Path) -> Iterator[Drawn]:
    """The icon, where it lies in the package and is drawn there."""
    named = _known(package)[0]
    scope, _, bare = named.rpartition("/")
    short = scope.removeprefix("@") if bare in ("core", "icons") else bare
    inside = file.resolve().is_relative_to(package.resolve())
    if inside and any(file.with_name(f"{file.name}{ending}").is_file() for ending in (".png", ".svg")):
        yield Drawn("-".join(filter(None, (short, style))), name, tags, category, file)


def _tags(tags: Any, path: Path, name: str) -> list[str]:
    if not isinstance(tags, list):
        raise BadInput(f"the tags of {name} are no list.", path)
    return [str(tag) for tag in tags]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"cannot be read: {error}", path) from error
    if not isinstance(found, dict):
        raise BadInput("is no object of JSON.", path)
    return found


# Written as a folder of icons


def _write(icons: Sequence[Drawn], place: Path) -> None:
    lines = []
    with progress("Drawing icons", len(icons)) as advance:
        for icon in icons:
            file = Path(icon.set) / f"{icon.name}.png"
            (place / "images" / icon.set).mkdir(parents=True, exist_ok=True)
            (place / "images" / file).write_bytes(_picture(icon.file))
            line = {"id": f"{icon.set}/{icon.name}", "file": file.as_posix(), "set": icon.set, "tags": [*icon.tags]}
            category = {"category": icon.category} if icon.category else {}
            lines.append({**line, "name": icon.name.replace("-", " "), **category})
            advance(1)
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    (place / "index.jsonl").write_text(text, encoding="utf-8")


def _picture(file: Path) -> bytes:
    """The picture of an icon, as it lies there or rendered, black on white."""
    picture, drawing = (file.with_name(f"{file.name}{ending}") for ending in (".png", ".svg"))
    if picture.is_file():
        return picture.read_bytes()
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise MissingDependency(
            "the package has drawings (SVG) and no pictures, and resvg-py, which renders them, is not installed: "
            "pip install 'nirank[icons]'",
            name="resvg_py",
        ) from error
    text = drawing.read_text(encoding="utf-8") if drawing.stat().st_size <= _LARGEST else ""
    if not text or _ELSEWHERE.search(text):
        raise BadInput("is too large for an icon, or refers to something outside of itself.", drawing)
    try:
        return bytes(svg_to_bytes(svg_string=text, width=SIDE, height=SIDE, background="white", skip_system_fonts=True))
    except ValueError as error:
        raise BadInput(f"is no drawing that can be rendered: {error}", drawing) from error
