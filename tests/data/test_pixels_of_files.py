"""The right pixels of image files, over all orientations, bit depths, ways of compressing and kinds of transparency."""

import struct
import zlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.images import read_header, read_image, read_numbers

Array = NDArray[Any]
ORIENTATION = 0x0112
HEIGHT, WIDTH = 9, 14
# What a viewer does to stored pixels (H, W, ...) to set them upright, by orientation.
UPRIGHT: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
LEVELS = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
STORED = {
    "8 grey": (2 * LEVELS).astype(np.uint8),
    "8 colour": np.stack([LEVELS, 2 * LEVELS, 255 - LEVELS], -1).astype(np.uint8),
    "16 grey": (257 * 2 * LEVELS).astype(np.uint16),
    "float": (LEVELS / 255).astype(np.float32),
}


def eight_bit(values: Array) -> Array:
    return np.round(values / {"uint8": 1, "uint16": 257, "float32": 1 / 255}[values.dtype.name]).astype(np.uint8)


def upright_tensor(values: Array, orientation: int) -> torch.Tensor:
    pixels = np.ascontiguousarray(UPRIGHT[orientation](eight_bit(values)))
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0).copy())


def assert_numbers(path: Path, expected: Array) -> None:
    """`read_numbers` gives what is stored, bit for bit; expected (H, W) or (H, W, C)."""
    found = read_numbers(path)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, np.atleast_3d(expected))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("kind", STORED)
def test_every_tiff_is_upright(kind: str, compression: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(STORED[kind]).save(path, compression=compression, tiffinfo={ORIENTATION: orientation})
    expected = upright_tensor(STORED[kind], orientation)
    assert torch.equal(read_image(path), expected)
    assert_numbers(path, UPRIGHT[orientation](STORED[kind]))
    header = read_header(path)
    assert (header.height, header.width) == expected.shape[1:]


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["8 grey", "8 colour", "16 grey"])
def test_every_png_is_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(STORED[kind]).save(tmp_path / "a.png", exif=exif)
    expected = upright_tensor(STORED[kind], orientation)
    assert torch.equal(read_image(tmp_path / "a.png"), expected)
    assert_numbers(tmp_path / "a.png", UPRIGHT[orientation](STORED[kind]))
    header = read_header(tmp_path / "a.png")
    assert (header.height, header.width) == expected.shape[1:]
    assert torch.equal(load_data(tmp_path, size=tuple(expected.shape[1:])).images[0], expected)


def write_png(path: Path, values: Array, bits: int, key: tuple[int, ...] | None = None) -> None:
    """Writes values (H, W, C), C 1 to 4, as a PNG of 8 or 16 bits; `key` is the colour that is transparent."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, bits, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    transparent = b"" if key is None else chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + transparent
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("channels", "bits"), list(product((1, 2, 3, 4), (8, 16))))
def test_a_png_of_any_depth_is_laid_on_white(channels: int, bits: int, tmp_path: Path) -> None:
    """A ramp; where there is a channel of transparency, the right half is clear."""
    ramp = np.arange(64).reshape(4, 16, 1)
    step = 257 if bits == 16 else 1
    values = np.repeat(ramp * step, channels, axis=2)
    expected = np.repeat(ramp, 1 if channels < 3 else 3, axis=2)
    if channels in (2, 4):
        values[..., -1] = 255 * step
        values[:, 8:, -1] = 0
        expected[:, 8:] = 255
    write_png(tmp_path / "a.png", values, bits)
    image = read_image(tmp_path / "a.png")
    assert np.array_equal(np.moveaxis(image.numpy(), 0, 2), expected)
    assert_numbers(tmp_path / "a.png", values.astype(f"uint{bits}"))


@pytest.mark.parametrize(("channels", "bits"), list(product((1, 3), (8, 16))))
def test_one_transparent_colour_is_white(channels: int, bits: int, tmp_path: Path) -> None:
    values = np.repeat(np.array([[0, 60, 60, 200]]), 8, 0)[..., None].repeat(channels, 2) * (257 if bits == 16 else 1)
    key = tuple(int(level) for level in values[0, 1])
    write_png(tmp_path / "a.png", values, bits, key)
    assert read_image(tmp_path / "a.png")[:, 0].tolist() == [[0, 255, 255, 200]] * channels
    assert read_image(tmp_path / "a.png", channels=4)[3, 0].tolist() == [255, 0, 0, 255]
    alpha = np.repeat(np.array([[1, 0, 0, 1]]), 8, 0)[..., None] * (2**bits - 1)
    assert_numbers(tmp_path / "a.png", np.concatenate([values, alpha], -1).astype(f"uint{bits}"))


def test_a_neighbour_of_the_transparent_colour_stays(tmp_path: Path) -> None:
    """Two colours of 16 bits that are one in 8."""
    values = np.array([[[1000] * 3, [1001] * 3]])
    write_png(tmp_path / "a.png", values, 16, (1000,) * 3)
    assert read_image(tmp_path / "a.png")[0, 0].tolist() == [255, 4]


@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_is_kept_where_four_channels_are_asked_for(bits: int, tmp_path: Path) -> None:
    values = np.zeros((8, 8, 4), int)
    values[..., 0], values[..., 3] = 10, 128
    write_png(tmp_path / "a.png", values * (257 if bits == 16 else 1), bits)
    assert load_data(tmp_path, channels=4).images[0, :, 3, 3].tolist() == [10, 0, 0, 128]
    assert load_data(tmp_path).images[0, :, 3, 3].tolist() == pytest.approx([132, 127, 127], abs=1)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("compression", [1, 8], ids=["raw", "deflate"])
def test_16_bit_colour_of_a_tiff_is_read_in_full(compression: int, orientation: int, tmp_path: Path) -> None:
    levels = 400 * np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    values = np.stack([levels, levels + 100, 65535 - levels], -1).astype(np.uint16)
    write_tiff(tmp_path / "a.tif", values, orientation, compression)
    expected = torch.from_numpy(np.moveaxis(UPRIGHT[orientation](eight_bit(values)), 2, 0).copy())
    assert torch.equal(read_image(tmp_path / "a.tif"), expected)
    assert_numbers(tmp_path / "a.tif", UPRIGHT[orientation](values))


def write_tiff(path: Path, values: Array, orientation: int, compression: int) -> None:
    """Writes a TIFF of 16-bit colours (H, W, 3), which Pillow does not write; compression 1 is none, 8 is deflate."""
    height, width, channels = values.shape
    pixels = values.astype("<u2").tobytes()
    pixels = zlib.compress(pixels) if compression == 8 else pixels
    entries = [  # tag, type (3: 16 bits, 4: 32 bits), count, value
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, 8 + 12 * 10 + 6),
        (259, 3, 1, compression),
        (262, 3, 1, 2),
        (273, 4, 1, 8 + 12 * 10 + 6 + 6),
        (ORIENTATION, 3, 1, orientation),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(pixels)),
    ]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    path.write_bytes(head + directory + struct.pack("<3H", 16, 16, 16) + pixels)


# Which number is white.


def twelve_bits() -> Array:
    return (np.arange(64 * 64).reshape(64, 64)).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_12_bits_in_16_are_told_and_mended(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(twelve_bits()).save(tmp_path / f"a{suffix}")
    with pytest.warns(UserWarning, match="the largest number is 4095 where 65535 is white.*--white 4095"):
        assert len(load_data(tmp_path).images.unique()) == 17
    mended = load_data(tmp_path, white=4095).images
    assert len(mended.unique()) == 256
    assert torch.equal(mended[0, 0], torch.from_numpy(np.round(twelve_bits() / 4095 * 255)).byte())


def test_12_bits_of_colour_are_mended(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.stack([twelve_bits()] * 3, -1), 16)
    with pytest.warns(UserWarning, match="--white 4095"):
        load_data(tmp_path)
    assert len(load_data(tmp_path, white=4095).images.unique()) == 256


def test_masks_of_0_and_1_are_told_and_mended(tmp_path: Path) -> None:
    Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="the largest number is 1 where 255 is white.*--white 1"):
        load_data(tmp_path)
    assert torch.equal(load_data(tmp_path, white=1).images[0, 0], torch.eye(16).byte() * 255)


def test_files_brighter_than_the_white_that_is_named_are_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(twelve_bits()).save(tmp_path / "a.png")
    with pytest.raises(GenpriorError, match=r"^white: a\.png: expected numbers from 0 to 1023, got 0 to 4095"):
        load_data(tmp_path, white=1023)


def test_one_dark_file_among_bright_ones_is_no_news(tmp_path: Path) -> None:
    for name, level in (("a", 3), ("b", 255)):
        Image.fromarray(np.full((16, 16), level, np.uint8)).save(tmp_path / f"{name}.png")
    assert load_data(tmp_path).notes == ()


def test_a_float_file_may_be_off_by_rounding(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 1 + 1e-6, np.float32)).save(tmp_path / "a.tif")
    assert (load_data(tmp_path).images == 255).all()


# Pages.


def test_each_page_of_a_tiff_is_an_image(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((16, 16), 40 * i + 60, np.uint8)) for i in range(4)]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(np.full((16, 16), 7, np.uint8)).save(tmp_path / "c.png")
    with pytest.warns(UserWarning, match="^1 file holds several pages, 4 in all; each page is an image$"):
        dataset = load_data(tmp_path)
    assert dataset.images[:, 0, 0, 0].tolist() == [60, 100, 140, 180, 7]


def test_one_of_several_pages_must_be_named(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((16, 16), level, np.uint8)) for level in (60, 100)]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(GenpriorError, match=r"b\.tif has 2 pages"):
        read_image(tmp_path / "b.tif")
    assert read_image(tmp_path / "b.tif", page=1)[0, 0, 0] == 100
