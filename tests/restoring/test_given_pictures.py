"""Pictures as they are given, and files of restored ones: nothing of what was known is lost on the way."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genprior.errors import GenpriorError
from genprior.images import read_image, to_float
from genprior.restoring.given_pictures import GivenPicture, given_values, read_given
from genprior.restoring.picture_formats import FORMATS, write_png

SIZES = [(28, 28), (32, 48), (64, 40)]
KINDS = [(kind, channels) for kind in ("uint8", "uint16", "float32") for channels in (1, 2, 3, 4)]


def drawn(size: tuple[int, int], channels: int, kind: str) -> np.ndarray:
    values = np.random.default_rng(0).random((*size, channels))
    if kind == "float32":
        return values[..., : channels - (channels in (2, 4))].astype(np.float32)
    return np.rint(values * np.iinfo(kind).max).astype(kind)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "channels"), KINDS)
def test_a_png_keeps_every_value(tmp_path: Path, size: tuple[int, int], kind: str, channels: int) -> None:
    given = given_values(drawn(size, channels, kind))
    write_png(given, tmp_path / "a.png")
    found = read_given(tmp_path / "a.png")
    if kind == "float32":
        np.testing.assert_array_equal(found.values, np.rint(given.values * 255))
        return
    np.testing.assert_array_equal(found.values, given.values)
    assert (found.alpha is None) == (given.alpha is None)
    if given.alpha is not None:
        np.testing.assert_array_equal(found.alpha, given.alpha)
    assert found.white == given.white


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("kind", "channels"), KINDS)
def test_every_format_holds_the_image(tmp_path: Path, name: str, kind: str, channels: int) -> None:
    given = given_values(drawn((32, 48), channels, kind))
    path = tmp_path / f"a{FORMATS[name].suffix}"
    FORMATS[name].write(given, path)
    x = torch.from_numpy(np.load(path)) if path.suffix == ".npy" else read_given(path).image()
    assert x.shape[1:] == given.image().shape[1:]
    torch.testing.assert_close(
        x, given.image().expand_as(x), rtol=0, atol={".npy": 0, ".tif": 0.01}.get(path.suffix, 0.003)
    )


def test_a_grey_tiff_has_16_bits(tmp_path: Path) -> None:
    given = given_values(drawn((32, 48), 1, "uint16"))
    FORMATS["tiff16"].write(given, tmp_path / "a.tif")
    np.testing.assert_array_equal(read_given(tmp_path / "a.tif").values, given.values)
    FORMATS["tiff16"].write(given_values(drawn((32, 48), 1, "uint8")), tmp_path / "b.tif")
    np.testing.assert_array_equal(read_given(tmp_path / "b.tif").values, 257 * drawn((32, 48), 1, "uint8").astype(int))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_what_is_seen_is_what_training_sees(tmp_path: Path, mode: str) -> None:
    values = np.random.default_rng(1).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(values).convert("RGB" if mode in ("P", "CMYK") else "RGBA").convert(mode).save(path)
    torch.testing.assert_close(read_given(path).image(), to_float(read_image(path)), rtol=0, atol=1.01 / 255)


@pytest.mark.parametrize("turn", range(1, 9))
def test_turned_pictures_are_upright(tmp_path: Path, turn: int) -> None:
    values = np.random.default_rng(2).integers(0, 256, (6, 9), dtype=np.uint8)
    tags = Image.Exif()
    tags[274] = turn
    upright = {1: values, 2: values[:, ::-1], 3: values[::-1, ::-1], 4: values[::-1], 5: values.T}
    upright |= {6: values[::-1].T, 7: values[::-1, ::-1].T, 8: values[:, ::-1].T}
    Image.fromarray(values).save(tmp_path / "a.tif", exif=tags)
    np.testing.assert_array_equal(read_given(tmp_path / "a.tif").values[..., 0], upright[turn])


def test_known_pixels_stay_and_new_ones_are_opaque() -> None:
    given, known = given_values(drawn((8, 8), 4, "uint8")), torch.rand(8, 8) > 0.5
    assert given.alpha is not None
    found = given.with_pixels(torch.full((3, 8, 8), 0.5), known)
    np.testing.assert_array_equal(found.values[known.numpy()], given.values[known.numpy()])
    assert found.alpha is not None
    np.testing.assert_array_equal(found.alpha[known.numpy()], given.alpha[known.numpy()])
    assert set(np.unique(found.values[~known.numpy()])) == {128}
    assert set(np.unique(found.alpha[~known.numpy()])) == {255}


def test_white_is_what_the_user_says() -> None:
    values = np.array([[[0], [4095]]], np.uint16)
    given = given_values(values, 4095)
    assert given.image().flatten().tolist() == [0, 1]
    np.testing.assert_array_equal(given.with_pixels(torch.tensor([[[1.0, 0.5]]])).values.flatten(), [4095, 2048])


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"II*\0"])
def test_what_is_no_picture_is_told_in_a_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(GenpriorError, match=r"cannot read the image .*a\.png: ") as raised:
        read_given(tmp_path / "a.png")
    assert "\n" not in raised.value.message


def test_a_transparent_value_of_16_bit_grey_is_read(tmp_path: Path) -> None:
    values = np.array([[7, 60000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=7)
    found = read_given(tmp_path / "a.png")
    assert isinstance(found, GivenPicture)
    assert found.image()[0, 0, 0] == 1  # on white
