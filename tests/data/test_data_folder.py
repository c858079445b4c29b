"""Folders of images of every kind, whole and broken."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from genprior.data import load_data
from genprior.data.image_files import folder_labels, image_files
from genprior.errors import GenpriorError

Array = NDArray[Any]
Draw = Callable[..., Array]
SIDE = 32


def save(path: Path, values: Array, options: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **(options or {}))
    return path


def truncated(path: Path, values: Array) -> Path:
    save(path, values)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    return path


def smooth(height: int, width: int) -> Array:
    """Returns RGB values (H, W, 3) that survive a lossy format."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, rows * 0 + 90], -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("suffix", "options", "error"),
    [
        (".png", {}, 0),
        (".PNG", {}, 0),
        (".bmp", {}, 0),
        (".tif", {}, 0),
        (".tiff", {"compression": "tiff_lzw"}, 0),
        (".webp", {"lossless": True}, 0),
        (".jpg", {"quality": 98, "subsampling": 0}, 4),
        (".Jpeg", {"quality": 98, "subsampling": 0}, 4),
    ],
)
def test_every_format_gives_its_pixels(suffix: str, options: dict[str, Any], error: int, tmp_path: Path) -> None:
    values = smooth(SIDE, SIDE)
    save(tmp_path / f"a{suffix}", values, options)
    images = load_data(tmp_path).images
    assert images.shape == (1, 3, SIDE, SIDE)
    assert np.abs(images[0].permute(1, 2, 0).numpy().astype(int) - values).max() <= error


def test_files_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = ["b.png", "a/z.png", "a/deep/er/c.png", "a.png", "B.png"]
    for i, name in enumerate(names):
        save(tmp_path / name, np.full((8, 8), 50 * i, np.uint8))
    assert image_files(tmp_path) == sorted(names)
    expected = [50 * names.index(name) for name in sorted(names)]
    assert load_data(tmp_path).images[:, 0, 0, 0].tolist() == expected


def test_what_is_hidden_or_no_image_is_passed_by(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    save(tmp_path / ".thumbnails" / "b.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "._a.png").write_bytes(b"\0")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "x.png").mkdir()
    assert image_files(tmp_path) == ["a.png"]
    assert len(load_data(tmp_path)) == 1


def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.warns(UserWarning, match=r"pipe\.png is no file, but a pipe or a device, and is left out"):
        assert image_files(tmp_path) == ["a.png"]


def test_a_folder_called_like_an_image_is_searched(tmp_path: Path) -> None:
    save(tmp_path / "x.png" / "a.png", np.zeros((8, 8), np.uint8))
    assert image_files(tmp_path) == ["x.png/a.png"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "a.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    for name in ("loop", "again"):  # followed without end, two loops double at every step
        (tmp_path / "elsewhere" / name).symlink_to(tmp_path / "data")
    assert image_files(tmp_path / "data") == ["linked/a.png"]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat/a", "cat/b", "dog/a", "eel/in/deep"], [0, 0, 1, 2]),
        (["cat/a", "cat/b"], None),
        (["a", "b"], None),
        (["a", "cat/a", "dog/a"], None),  # an image outside the classes has none
    ],
)
def test_sub_folders_are_classes(names: list[str], labels: list[int] | None) -> None:
    found = folder_labels(names)
    assert (None if found is None else found.tolist()) == labels


def test_labels_follow_slices_and_skips(tmp_path: Path, draw: Draw) -> None:
    for name in ("cat/a", "cat/b", "dog/a", "eel/a"):
        save(tmp_path / f"{name}.png", draw(8, 8))
    (tmp_path / "cat" / "b.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 of 3 images cannot be read .*: cat/b\.png$"):
        dataset = load_data(f"{tmp_path}[1:]")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 2]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    values, exif = smooth(SIDE, SIDE), Image.Exif()
    exif[0x0112] = 6  # stored turned by a quarter, anticlockwise
    save(tmp_path / "a.png", np.rot90(values), {"exif": exif})
    assert np.array_equal(load_data(tmp_path).images[0].permute(1, 2, 0).numpy(), values)


def grey_files(folder: Path) -> dict[str, Path]:
    """Saves the 256 greys in every way that holds them without colour."""
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pale = Image.fromarray(eight).convert("P")
    pale.putpalette([level for level in range(256) for _ in range(3)])
    pale.save(folder / "palette.png")
    Image.fromarray(np.stack([eight, eight * 0 + 255], -1)).save(folder / "alpha.png")
    return {
        "8 bit": save(folder / "8.png", eight),
        "16 bit": save(folder / "16.png", eight.astype(np.uint16) * 257),
        "16 bit tiff": save(folder / "16.tif", eight.astype(np.uint16) * 257),
        "16 bit big-endian": save_big_endian(folder / "big.tif", eight.astype(np.uint16) * 257),
        "32 bit": save(folder / "32.tif", eight.astype(np.int32) * 257),
        "float": save(folder / "f.tif", eight.astype(np.float32) / 255),
        "palette": folder / "palette.png",
        "alpha": folder / "alpha.png",
    }


def save_big_endian(path: Path, values: Array) -> Path:
    picture = Image.frombytes("I;16B", values.shape[::-1], values.astype(">u2").tobytes())
    picture.save(path)
    return path


def test_every_kind_of_grey_is_the_same_grey(tmp_path: Path) -> None:
    names = grey_files(tmp_path)
    images = load_data(tmp_path).images
    assert images.shape == (len(names), 1, 16, 16)
    assert (images.flatten(1) == torch.arange(256)).all()


def test_black_and_white_is_grey(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.eye(16, dtype=bool))
    assert torch.equal(load_data(tmp_path).images[0, 0], torch.eye(16).byte() * 255)


def test_one_colour_file_makes_all_rgb(tmp_path: Path, draw: Draw) -> None:
    save(tmp_path / "a.png", draw(16, 16))
    save(tmp_path / "b.png", draw(16, 16, 3))
    images = load_data(tmp_path).images
    assert images.shape == (2, 3, 16, 16)
    assert torch.equal(images[0, 0], images[0, 2])
    assert load_data(tmp_path, channels=1).images.shape == (2, 1, 16, 16)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "key"])
def test_transparency_is_laid_on_white(kind: str, tmp_path: Path) -> None:
    clear = Image.new("RGBA", (16, 16), (200, 0, 0, 0))
    clear.paste((10, 20, 30, 255), (0, 0, 8, 16))
    if kind == "RGBA":
        clear.save(tmp_path / "a.png")
    elif kind == "LA":
        clear.convert("LA").save(tmp_path / "a.png")
    elif kind == "palette":
        clear.quantize(4).save(tmp_path / "a.png")
    else:
        clear.convert("RGB").save(tmp_path / "a.png", transparency=(200, 0, 0))
    image = load_data(tmp_path, channels=3).images[0]
    left = (19, 19, 19) if kind == "LA" else (10, 20, 30)
    assert tuple(image[:, 0, 0].tolist()) == pytest.approx(left, abs=1)
    assert image[:, 0, 15].tolist() == [255, 255, 255]


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.full((16, 16, 4), (100, 0, 50, 128), np.uint8))
    expected = [255 - (255 - value) * 128 / 255 for value in (100, 0, 50)]
    assert load_data(tmp_path).images[0, :, 3, 3].tolist() == pytest.approx(expected, abs=1)


def test_opaque_palette_keeps_its_colours(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (250, 128, 4)).quantize(2).save(tmp_path / "a.png")
    assert load_data(tmp_path).images[0, :, 5, 5].tolist() == [250, 128, 4]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=98)
    red, green, blue = load_data(tmp_path).images[0, :, 5, 5].tolist()
    assert red > 240
    assert max(green, blue) < 20


@pytest.mark.parametrize(
    ("shapes", "size"),
    [
        ([(8, 8)] * 2, 8),
        ([(50, 50)] * 2, 50),
        ([(128, 128)], 128),
        ([(129, 129)], 64),
        ([(200, 64), (300, 300)], 64),
        ([(63, 80), (300, 300)], 32),
        ([(31, 90), (28, 90)], 28),
        ([(28, 200), (40, 200)], 28),
    ],
)
def test_the_default_size_follows_the_files(
    shapes: list[tuple[int, int]], size: int, tmp_path: Path, draw: Draw
) -> None:
    for i, shape in enumerate(shapes):
        save(tmp_path / f"{i}.png", draw(*shape))
    assert load_data(tmp_path).image_shape == (1, size, size)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((32, 48), (32, 48)), ((64, 40), (64, 40)), ((31, 90), (31, 90)), ((480, 640), (48, 64)), ((300, 200), (64, 40))],
)
def test_images_of_one_oblong_shape_stay_oblong(
    shape: tuple[int, int], expected: tuple[int, int], tmp_path: Path, draw: Draw
) -> None:
    save(tmp_path / "a.png", draw(*shape))
    save(tmp_path / "b.png", draw(*shape))
    assert load_data(tmp_path).image_shape == (1, *expected)
    assert load_data(tmp_path, size="auto").image_shape == (1, *expected)


@pytest.mark.parametrize(("size", "expected"), [("24x16", (24, 16)), ((16, 24), (16, 24)), ("16", (16, 16))])
def test_a_size_may_be_oblong(
    size: str | tuple[int, int], expected: tuple[int, int], tmp_path: Path, draw: Draw
) -> None:
    save(tmp_path / "a.png", draw(40, 30))
    save(tmp_path / "b.png", draw(30, 40))
    for fit in ("crop", "pad"):
        assert load_data(tmp_path, size=size, fit=fit).image_shape == (1, *expected)


def test_the_ratio_of_the_sides_may_be_kept(tmp_path: Path, draw: Draw) -> None:
    save(tmp_path / "a.png", draw(60, 40))
    assert load_data(tmp_path, size=30, fit="keep").image_shape == (1, 30, 20)
    save(tmp_path / "b.png", draw(40, 60))
    with pytest.raises(GenpriorError, match=r"^size: to keep the ratio, .* size 30 makes 2 shapes"):
        load_data(tmp_path, size=30, fit="keep")


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_files_and_arrays_of_the_same_pixels_agree(fit: str, tmp_path: Path, draw: Draw) -> None:
    values = draw(4, 41, 30, 3)
    for i, image in enumerate(values):
        save(tmp_path / "pictures" / f"{i}.png", image)
    np.save(tmp_path / "a.npy", values)
    for channels in (1, 3):
        one = load_data(tmp_path / "pictures", size=12, fit=fit, channels=channels).images
        other = load_data(tmp_path / "a.npy", size=12, fit=fit, channels=channels).images
        assert (one.int() - other.int()).abs().max() <= 1


def test_a_large_jpeg_looks_as_if_decoded_in_full(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", smooth(900, 700), {"quality": 95})
    full = Image.open(tmp_path / "a.jpg").resize((32, 32), Image.Resampling.BILINEAR, box=(0, 100, 700, 800))
    image = load_data(tmp_path, size=32).images[0].permute(1, 2, 0).numpy()
    assert np.abs(image.astype(int) - np.asarray(full)).max() <= 3


@pytest.mark.parametrize(
    ("fit", "size", "message"),
    [
        ("crop", 28, r"b\.png is 30 wide and 20 high, too small for 28, .*at most 19, or remove"),
        ("pad", 31, r"b\.png is 30 wide and 20 high, too small for 31, .*at most 19"),
        ("crop", None, r"b\.png is 30 wide and 20 high, too small for 28"),
    ],
)
def test_small_images_are_refused_and_not_enlarged(
    fit: str, size: int | None, message: str, tmp_path: Path, draw: Draw
) -> None:
    save(tmp_path / "a.png", draw(64, 64))
    save(tmp_path / "b.png", draw(20, 30))
    save(tmp_path / "c.png", draw(19, 19))
    with pytest.raises(GenpriorError, match=f"^size: {message}"):
        load_data(tmp_path, size=size, fit=fit)


def test_how_many_images_are_too_small_is_told_and_what_size_they_have(tmp_path: Path, draw: Draw) -> None:
    save(tmp_path / "a.png", draw(64, 64))
    for name in ("b", "c", "d"):
        save(tmp_path / f"{name}.png", draw(24, 40))
    told = (
        r"^size: b\.png is 40 wide and 24 high, too small for 28, as 2 others are, .* remove them; .*own size is 24x40$"
    )
    with pytest.raises(GenpriorError, match=told):
        load_data(tmp_path)


BROKEN: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("I am no image"),
    "truncated": lambda path: truncated(path, np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)),
    "dangling": lambda path: path.symlink_to(path.with_name("gone.png")),
    "header": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    "nan": lambda path: Image.fromarray(np.full((32, 32), np.nan, np.float32)).save(path, "TIFF"),
    "float": lambda path: Image.fromarray(np.full((32, 32), 7, np.float32)).save(path, "TIFF"),
    "negative": lambda path: Image.fromarray(np.full((32, 32), -1, np.float32)).save(path, "TIFF"),
    "deep": lambda path: Image.fromarray(np.full((32, 32), 70000, np.int32)).save(path, "TIFF"),
    "bomb": lambda path: path.write_bytes(bomb()),
}


def bomb() -> bytes:
    """Returns a BMP header that claims 60000 x 60000 pixels."""
    return (
        b"BM"
        + bytes(8)
        + (54).to_bytes(4, "little")
        + (40).to_bytes(4, "little")
        + (60000).to_bytes(4, "little") * 2
        + b"\1\0\x18\0"
        + bytes(24)
    )


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_left_out_by_name(kind: str, tmp_path: Path, draw: Draw) -> None:
    values = draw(3, 32, 32)
    for name, image in zip("ace", values, strict=True):
        save(tmp_path / f"{name}.png", image)
    BROKEN[kind](tmp_path / "b.png")
    with pytest.warns(UserWarning, match=r"^1 of 4 images cannot be read .*: b\.png$") as caught:
        dataset = load_data(tmp_path)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert dataset.skipped == ("b.png",)
    assert np.array_equal(dataset.images[:, 0].numpy(), values)
    with pytest.raises(GenpriorError, match=r"^data: cannot read b\.png \(.+\): mend or remove it"):
        load_data(tmp_path, strict=True)


def test_a_warning_names_the_first_few(tmp_path: Path, draw: Draw) -> None:
    save(tmp_path / "a.png", draw(32, 32))
    for i in range(9):
        (tmp_path / f"b{i}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"^9 of 10 .*: b0.png, b1.png, b2.png, b3.png, b4.png, \.\.\.$"):
        assert len(load_data(tmp_path).skipped) == 9


def test_a_broken_file_decides_nothing(tmp_path: Path, draw: Draw) -> None:
    for name in "ac":
        save(tmp_path / f"{name}.png", draw(40, 40))
    truncated(tmp_path / "b.png", draw(35, 90, 3))  # alone it would make all 32x32 and RGB
    with pytest.warns(UserWarning, match="1 of 3"):
        dataset = load_data(tmp_path)
    assert dataset.images.shape == (2, 1, 40, 40)


def test_a_broken_file_is_not_called_too_small(tmp_path: Path, draw: Draw) -> None:
    save(tmp_path / "a.png", draw(40, 40))
    truncated(tmp_path / "b.png", draw(16, 16))
    with pytest.warns(UserWarning, match="1 of 2"):
        assert load_data(tmp_path, size=30).images.shape == (1, 1, 30, 30)


@pytest.mark.parametrize("strict", [True, False])
def test_all_broken_is_an_error(strict: bool, tmp_path: Path) -> None:
    truncated(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8))
    (tmp_path / "b.png").write_bytes(b"")
    message = r"cannot read b\.png" if strict else r"none of 2 images can be read; cannot read a\.png"
    with pytest.raises(GenpriorError, match=f"^data: {message}"):
        load_data(tmp_path, strict=strict)


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_a_folder_without_images_is_an_error(content: str | None, tmp_path: Path) -> None:
    if content:
        (tmp_path / content).write_text("")
    with pytest.raises(GenpriorError, match=r"^data: expected images \(\.png .*found none"):
        load_data(tmp_path)


def test_strange_tags_are_no_news(tmp_path: Path, draw: Draw) -> None:
    path = save(tmp_path / "a.png", draw(16, 16), {"exif": b"Exif\0\0garbage"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_data(path.parent)) == 1


def test_no_damage_to_a_file_gets_through(tmp_path: Path, draw: Draw) -> None:
    """Flips bytes of files of every format: each is read or left out, and nothing else happens."""
    generator = np.random.default_rng(0)
    for suffix in ("png", "jpg", "webp", "bmp", "tif"):
        content = save(tmp_path / "whole" / f"a.{suffix}", draw(16, 16, 3)).read_bytes()
        for i in range(30):
            damaged = bytearray(content)
            for place in generator.integers(0, min(len(content), 120), 3):
                damaged[place] ^= int(generator.integers(1, 256))
            (tmp_path / f"{i}.{suffix}").write_bytes(damaged)
    with pytest.warns(UserWarning, match="cannot be read"):
        dataset = load_data(tmp_path, size=1)
    assert len(dataset) + len(dataset.skipped) == 155
