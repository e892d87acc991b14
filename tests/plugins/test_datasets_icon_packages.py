"""Packages of icons: where they are found, what is read of each kind, and what is refused."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import types

import pytest

pytest.importorskip("PIL")

from PIL import Image

from nirank.build import collection
from nirank.errors import BadInput, MissingDependency
from nirank_datasets import icon_packages

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M0 0h4v8H0z" fill="currentColor"/></svg>'
TYPES = """
export declare const icons: readonly [{
    readonly name: "acorn";
    readonly pascal_name: "Acorn";
    readonly categories: readonly [IconCategory.FINANCE, IconCategory.NATURE];
    readonly figma_category: FigmaCategory.WEATHER;
    readonly tags: readonly ["*new*", "nut", "food"];
    readonly codepoint: 60314;
}, {
    readonly name: "address-book";
    readonly figma_category: FigmaCategory.COMMUNICATION;
    readonly tags: readonly ["contacts"];
}];
"""


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A folder and a cache of its own, without npm, and a renderer that draws black."""
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "below")
    monkeypatch.setattr(icon_packages.shutil, "which", lambda name: None)
    module = types.ModuleType("resvg_py")
    module.svg_to_bytes = _black
    monkeypatch.setitem(sys.modules, "resvg_py", module)
    return tmp_path / "work"


def _black(svg_string, width, height, background, skip_system_fonts):
    if "broken" in svg_string:
        raise ValueError("no SVG")
    file = io.BytesIO()
    Image.new("L", (width, height), 0).save(file, "PNG")
    return file.getvalue()


def _package(folder, name, files, version="1.0.0"):
    """A package that is unpacked in `node_modules`."""
    place = folder / "node_modules" / name
    for file, content in {"package.json": json.dumps({"name": name, "version": version}), **files}.items():
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def _told(found):
    return {
        name: (content.name, *(found.corpus.column(field, [row])[0] for field in ("name", "set", "category")))
        for row, (name, content) in enumerate(zip(found.corpus.ids[:], found.corpus[:], strict=True))
    }


def _tabler(folder, svg=SVG):
    icons = {
        "a-b": {
            "name": "a-b",
            "category": "Text",
            "tags": ["test", "letters"],
            "styles": {"outline": {}, "filled": {}},
        },
        "cat": {"name": "cat", "category": "Animals", "tags": ["pet", "test"], "styles": {"outline": {}}},
        "gone": {"name": "gone", "tags": [], "styles": {"outline": {}}},  # and is not drawn
    }
    drawings = {f"icons/{place}.svg": svg for place in ("outline/a-b", "filled/a-b", "outline/cat")}
    return _package(folder, "@tabler/icons", {"icons.json": json.dumps(icons), **drawings})


def test_names_tags_categories_and_styles_are_those_of_tabler(alone):
    _tabler(alone)
    found = collection("icons:npm:@tabler/icons", searched="tabler-outline")
    assert _told(found) == {
        "tabler-outline/a-b": ("a-b.png", "a b", "tabler-outline", "Text"),
        "tabler-outline/cat": ("cat.png", "cat", "tabler-outline", "Animals"),
    }
    asked = {}
    for split in ("dev", "test"):
        part = collection("icons:npm:@tabler/icons", searched="tabler-outline", split=split)
        for row, text in enumerate(part.queries.contents):
            asked[text] = {*part.corpus.ids.take(part.judgments[row][0])}
    assert asked == {"test": {"tabler-outline/a-b", "tabler-outline/cat"}}
    train = collection("icons:npm:@tabler/icons", searched="tabler-outline", split="train")
    assert {*train.queries.contents} == {"a b", "test", "letters"}


def test_phosphor_is_read_from_its_types_and_lucide_from_its_tags(alone):
    styles = {f"assets/bold/{name}-bold.svg": SVG for name in ("acorn", "address-book")}
    regular = {f"assets/regular/{name}.svg": SVG for name in ("acorn", "address-book")}
    _package(alone, "@phosphor-icons/core", {"dist/icons.d.ts": TYPES, **styles, **regular})
    _package(alone, "lucide-static", {"tags.json": json.dumps({"key": ["door", "lock"]}), "icons/key.svg": SVG})
    names = "icons:npm:@phosphor-icons/core,lucide-static"
    train = collection(names, searched="lucide-static", split="train")
    assert {*train.queries.contents} == {"acorn", "nut", "food", "address book", "contacts"}
    assert train.corpus.ids[:][:2] == ["phosphor-icons-bold/acorn", "phosphor-icons-regular/acorn"]
    assert train.corpus.column("category", [0]) == ["WEATHER"]
    assert _told(collection(names, searched="lucide-static")) == {
        "lucide-static/key": ("key.png", "key", "lucide-static", "")
    }
    assert len(collection("icons:npm:lucide-static").corpus) == 1  # the only set is searched


def test_pictures_of_a_package_are_taken_as_they_are_and_need_no_renderer(alone, monkeypatch):
    file = io.BytesIO()
    Image.new("RGB", (5, 5), "red").save(file, "PNG")
    _package(alone, "drawn", {"tags.json": '{"x": ["a"]}', "icons/x.png": file.getvalue(), "icons/x.svg": SVG})
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert collection("icons:npm:drawn").corpus[0].read_bytes() == file.getvalue()
    _tabler(alone)
    with pytest.raises(MissingDependency, match=r"pip install 'nirank\[icons\]'"):
        collection("icons:npm:@tabler/icons")


def test_a_package_is_drawn_once_for_each_version(alone, monkeypatch):
    place = _tabler(alone)
    first = collection("icons:npm:@tabler/icons", searched="tabler-outline").corpus[0]
    monkeypatch.setattr(icon_packages, "_write", None)
    assert collection("icons:npm:@tabler/icons", searched="tabler-outline").corpus[0] == first
    (place / "package.json").write_text('{"name": "@tabler/icons", "version": "2.0.0"}')
    with pytest.raises(TypeError):
        collection("icons:npm:@tabler/icons", searched="tabler-outline")


NPM = """#!{python}
import shutil, sys
print("a warning", file=sys.stderr)
if sys.argv[-1] != "lucide-static@1.2.0":
    sys.exit("npm error code E404\\nnpm error 404 Not Found - GET other\\nnpm error A complete log can be found in: x")
shutil.copy({archive!r}, sys.argv[sys.argv.index("--pack-destination") + 1])
"""


def test_npm_fetches_what_is_not_there_once_and_its_errors_are_told(alone, tmp_path, monkeypatch):
    place = _package(tmp_path, "lucide-static", {"tags.json": '{"key": ["door"]}', "icons/key.svg": SVG}, "1.2.0")
    archive, npm = tmp_path / "lucide-static-1.2.0.tgz", tmp_path / "npm"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(place, "package")
    for file in sorted(place.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    place.rmdir()
    with pytest.raises(BadInput, match="npm, which would fetch it, is not installed: unpack the package into"):
        collection("icons:npm:lucide-static@1.2.0")
    npm.write_text(NPM.format(python=sys.executable, archive=str(archive)))
    npm.chmod(0o755)
    monkeypatch.setattr(icon_packages.shutil, "which", lambda name: str(npm))
    assert _told(collection("icons:npm:lucide-static@1.2.0")).keys() == {"lucide-static/key"}
    npm.write_text("nothing")
    collection("icons:npm:lucide-static@1.2.0")
    npm.write_text(NPM.format(python=sys.executable, archive=str(archive)))
    with pytest.raises(BadInput, match=r"could not fetch the package other: Not Found - GET other$"):
        collection("icons:npm:other")


def test_an_archive_that_leads_elsewhere_leaves_nothing(alone, tmp_path, monkeypatch):
    archive = tmp_path / "bad.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        member = tarfile.TarInfo("package/../../../out.txt")
        packed.addfile(member, io.BytesIO())
    with pytest.raises(BadInput, match="cannot be unpacked"):
        icon_packages._unpack(archive, tmp_path / "here", "bad")
    assert not [*tmp_path.rglob("out.txt")]


@pytest.mark.parametrize(
    "svg",
    [
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg"><use xlink:href = "other.svg#x"/></svg>',
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg/>',
        '<svg><path fill="url(https://example.org/a)"/></svg>',
    ],
)
def test_a_drawing_that_refers_to_something_outside_is_refused(alone, svg):
    _tabler(alone, svg)
    with pytest.raises(BadInput, match="refers to something outside"):
        collection("icons:npm:@tabler/icons")


def test_what_is_no_package_of_icons_is_told(alone):
    for name in ("../up", "--help", "A B", "@x", "a/b/c", ""):
        with pytest.raises(BadInput, match="is no name of an npm package"):
            collection(f"icons:npm:{name}")
    _package(alone, "left-pad", {"index.js": ""})
    with pytest.raises(BadInput, match="is no package of icons that is understood"):
        collection("icons:npm:left-pad")
    _package(alone, "bad", {"tags.json": '{"x": "y"}', "icons/x.svg": SVG})
    with pytest.raises(BadInput, match="the tags of x are no list"):
        collection("icons:npm:bad")
    _package(alone, "empty", {"tags.json": '{"x": ["y"], "../../out": ["z"]}'})
    with pytest.raises(BadInput, match="names no icons that are drawn"):
        collection("icons:npm:empty")
    _tabler(alone, "broken")
    with pytest.raises(BadInput, match="is no drawing that can be rendered: no SVG"):
        collection("icons:npm:@tabler/icons")


def test_real_drawings_are_rendered_black_on_white(alone, monkeypatch):
    monkeypatch.delitem(sys.modules, "resvg_py")
    pytest.importorskip("resvg_py")
    _tabler(alone)
    found = collection("icons:npm:@tabler/icons", searched="tabler-outline")
    picture = Image.open(found.corpus[0]).convert("L")
    assert picture.size == (64, 64)
    assert (picture.getpixel((16, 32)), picture.getpixel((48, 32))) == (0, 255)
