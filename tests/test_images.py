"""Images as contents: whatever is in a file becomes 8-bit RGB, or is told."""

from __future__ import annotations

import io
import logging
import threading

import numpy as np
import pytest

from nirank.data import Documents, Queries, content_bytes, images
from nirank.errors import BadInput, UnknownName

Image = pytest.importorskip("PIL.Image")


def _pixels(content):
    return np.asarray(images.read(content))


def _saved(image, folder, name, **options):
    path = folder / name
    image.save(path, **options)
    return path


@pytest.fixture
def picture():
    return images.drawn(3, 40, 30)


def test_paths_bytes_and_pictures_are_images_and_texts_are_none(picture, tmp_path):
    assert images.is_image(tmp_path)
    assert images.is_image(b"")
    assert images.is_image(picture)
    assert not images.is_image("a.png")
    assert not images.is_image(np.zeros((2, 2)))


def test_a_path_its_bytes_and_the_picture_are_read_alike(picture, tmp_path):
    path = _saved(picture, tmp_path, "a.png")
    for content in (path, path.read_bytes(), picture):
        assert np.array_equal(_pixels(content), np.asarray(picture))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_mode_becomes_rgb_of_the_same_size(picture, mode):
    found = images.read(picture.convert("RGB").convert(mode) if mode != "LAB" else Image.new("LAB", (40, 30)))
    assert (found.mode, found.size) == ("RGB", (40, 30))


def test_a_cmyk_file_is_read_in_its_colours(picture, tmp_path):
    red = Image.new("RGB", (8, 8), (250, 10, 20))
    found = _pixels(_saved(red.convert("CMYK"), tmp_path, "red.jpg", quality=95))
    assert np.abs(found.astype(int) - [250, 10, 20]).max() < 8


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_rounded_to_eight(tmp_path, ending):
    values = np.array([[0, 257, 128 * 257, 65535, 300]], np.uint16)
    found = _pixels(_saved(Image.fromarray(values), tmp_path, f"deep.{ending}"))
    assert found[0, :, 0].tolist() == [0, 1, 128, 255, 1]
    assert (found == found[..., :1]).all()


def test_floats_go_from_0_to_1_or_to_255():
    assert _pixels(Image.fromarray(np.array([[0, 0.5, 1]], np.float32)))[0, :, 0].tolist() == [0, 128, 255]
    assert _pixels(Image.fromarray(np.array([[-3, 20, 300]], np.float32)))[0, :, 0].tolist() == [0, 20, 255]


def test_what_is_transparent_lies_on_white(tmp_path):
    half = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    assert _pixels(_saved(half, tmp_path, "a.png")).tolist() == [[[200, 0, 0], [255, 255, 255]]]
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    assert _pixels(_saved(palette, tmp_path, "b.png", transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_the_first_frame_of_an_animation_is_read(picture, tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("blue", "red")]
    path = _saved(frames[0], tmp_path, "a.gif", save_all=True, append_images=frames[1:])
    assert _pixels(path)[0, 0].tolist() == [0, 0, 255]


def test_a_picture_stands_upright(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    found = _pixels(_saved(picture, tmp_path, "a.png", exif=exif))
    assert np.array_equal(found, np.rot90(np.asarray(picture), -1))


def test_a_single_pixel_is_an_image(tmp_path):
    assert _pixels(_saved(Image.new("RGB", (1, 1), (1, 2, 3)), tmp_path, "a.png")).tolist() == [[[1, 2, 3]]]


def _truncated(picture, tmp_path):
    stream = io.BytesIO()
    picture.save(stream, "JPEG")
    return stream.getvalue()[:-200]


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "missing", "folder"])
def test_what_cannot_be_read_is_told_with_its_path(picture, tmp_path, kind):
    path = tmp_path / f"{kind}.png"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        contents = {"truncated": _truncated(picture, tmp_path), "text": b"not an image", "empty": b""}
        path.write_bytes(contents[kind])
    with pytest.raises(BadInput, match=rf"{kind}\.png: (cannot be read as an image|is not an image file): "):
        images.read(path)


def test_what_is_no_image_at_all_is_refused():
    with pytest.raises(BadInput, match="not a str"):
        images.read("a.png")


def test_images_are_made_in_order_whatever_the_threads(picture):
    pictures = [images.drawn(number, 5 + number % 7, 5) for number in range(200)]
    widths = list(images.each(pictures, lambda image: image.width, threads=4))
    assert widths == [image.width for image in pictures]


def test_a_damaged_image_is_told_when_it_comes_and_the_threads_end(picture, tmp_path):
    before = threading.active_count()
    made = images.each([picture, tmp_path / "missing.png", *[picture] * 100], lambda image: image.size)
    assert next(made) == (40, 30)
    with pytest.raises(BadInput, match=r"missing\.png"):
        next(made)
    assert threading.active_count() == before


def test_damaged_files_are_skipped_and_each_is_told(picture, tmp_path, caplog):
    good, bad = _saved(picture, tmp_path, "good.png"), tmp_path / "bad.png"
    bad.write_bytes(_truncated(picture, tmp_path))
    moving = _saved(picture, tmp_path, "a.gif", save_all=True, append_images=[images.drawn(4, 40, 30)])
    with caplog.at_level(logging.INFO, "nirank"):
        assert images.readable([good, bad, tmp_path / "none.png", moving]) == [0, 3]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    told = [("bad.png" in text, "none.png" in text, "a.gif" in text) for text in warnings]
    assert told == [(True, False, False), (False, True, False), (False, False, True)]


def test_what_is_odd_about_images_is_told_once_with_the_first_and_the_number(picture, tmp_path, caplog):
    several = {"save_all": True, "append_images": [images.drawn(4, 40, 30)]}
    paths = [_saved(picture, tmp_path, f"{name}.gif", **several) for name in "abc"]
    paths.append(_saved(picture.convert("CMYK"), tmp_path, "d.jpg"))
    with caplog.at_level(logging.INFO, "nirank"):
        assert images.readable([*paths, Image.new("RGB", (1, 1))]) == [0, 1, 2, 3, 4]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"{paths[0]} and 2 more: the first of several frames is read.",
        f"{paths[3]}: CMYK is read as RGB.",
        "an image: a single pixel.",
    ]
    notes = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert [any(str(path) in note for note in notes) for path in paths] == [True] * 4


def test_damaged_files_are_an_error_where_that_is_asked_for(picture, tmp_path):
    with pytest.raises(BadInput, match=r"none\.png"):
        images.readable([picture, tmp_path / "none.png"], damaged="error")
    with pytest.raises(UnknownName, match="ignore"):
        images.readable([], damaged="ignore")


def test_bytes_are_one_content_with_a_fingerprint(picture, tmp_path):
    path = _saved(picture, tmp_path, "a.png")
    assert len(Queries.of(path.read_bytes())) == 1
    assert content_bytes(path.read_bytes()) == content_bytes(path)
    assert Documents(["a"], [path]).fingerprint == Documents(["a"], [path.read_bytes()]).fingerprint


def test_drawn_pictures_differ_by_their_number_only():
    assert images.drawn(5) == images.drawn(5)
    assert len({images.drawn(number).tobytes() for number in range(200)}) == 200
    assert images.drawn(1, 7, 3).size == (7, 3)


def test_an_image_of_more_pixels_than_may_be_is_refused_before_it_is_decoded(picture, tmp_path):
    path = _saved(picture, tmp_path, "a.png")
    assert images.read(path, 1200).size == (40, 30)
    whole = path.read_bytes()
    for content in (path, whole, whole[: len(whole) // 2]):
        with pytest.raises(BadInput, match="has 40 x 30 pixels, and 1,199 are read at most"):
            images.read(content, 1199)
