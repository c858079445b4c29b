"""Kinds of files for restored images. `FORMATS`, at the end, is the place to add one. Imports torch and Pillow late."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genprior.writing import write_bytes, write_numbers, write_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genprior.restoring.given_pictures import GivenPicture

PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # number of channels -> colour type
SHORT_TAG, LONG_TAG = 3, 4  # types of numbers in a TIFF


@dataclass(frozen=True)
class PictureFormat:
    """A kind of file.

    Attributes:
        suffix: Of its files, with the dot.
        write: Writes a picture to a path whose folder is there.
    """

    suffix: str
    write: Callable[["GivenPicture", Path], None]


def write_png(picture: "GivenPicture", path: Path) -> None:
    """Writes the colour type and the bits that the picture came with; floats get 8 bits."""
    values = _channels(picture, 65535 if picture.values.dtype.name == "uint16" else 255)
    if values.dtype.name == "uint16":  # Pillow writes 16 bits of grey alone
        write_bytes(path, _deep_png(values))
    else:
        write_picture(values, path)


def write_tiff16(picture: "GivenPicture", path: Path) -> None:
    """Writes 16 bits a channel: 8-bit values times 257, floats in [0, 1] times 65535; grey with alpha as colour."""
    values = _channels(picture, 65535)
    if values.shape[2] == 2:  # few programs, Pillow not among them, read two channels
        values = values[..., [0, 0, 0, 1]]
    write_bytes(path, _deep_tiff(values))


def write_npy(picture: "GivenPicture", path: Path) -> None:
    """Writes x (C, H, W) float32 in [0, 1], transparency laid on white."""
    values = picture.image().numpy()
    write_numbers(path, values.shape, [values])


def _channels(picture: "GivenPicture", top: int) -> "NDArray[Any]":
    """Values and alpha (H, W, 1 to 4), uint8 or uint16; values of the same type are passed on as they are."""
    import numpy as np

    kind = np.dtype(np.uint8 if top == 255 else np.uint16)

    def scaled(values: "NDArray[Any]", white: float) -> "NDArray[Any]":
        if values.dtype == kind:
            return values
        return np.rint(np.clip(values / np.float64(white), 0, 1) * top).astype(kind)

    values = scaled(picture.values, picture.white)
    if picture.alpha is None:
        return values
    opaque = 1.0 if picture.alpha.dtype.kind == "f" else float(np.iinfo(picture.alpha.dtype).max)
    return np.concatenate([values, scaled(picture.alpha, opaque)[..., None]], -1)


def _deep_png(values: "NDArray[Any]") -> bytes:
    """A PNG file of values (H, W, 1 to 4) uint16 (ISO/IEC 15948)."""
    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOURS[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _deep_tiff(values: "NDArray[Any]") -> bytes:
    """A baseline TIFF file of values (H, W, 1, 3 or 4) uint16, without compression (TIFF 6.0)."""
    height, width, channels = values.shape
    data = values.astype("<u2").tobytes()
    bits_at = 8 + len(data)
    bits = struct.pack(f"<{channels}H", *[16] * channels) if channels > 1 else b""
    tags = [
        (256, LONG_TAG, 1, width),
        (257, LONG_TAG, 1, height),
        (258, SHORT_TAG, channels, 16 if channels == 1 else bits_at),
        (259, SHORT_TAG, 1, 1),  # not compressed
        (262, SHORT_TAG, 1, 1 if channels < 3 else 2),  # grey from black up, or RGB
        (273, LONG_TAG, 1, 8),
        (277, SHORT_TAG, 1, channels),
        (278, LONG_TAG, 1, height),
        (279, LONG_TAG, 1, len(data)),
        (284, SHORT_TAG, 1, 1),  # channels of a pixel side by side
        *([(338, SHORT_TAG, 1, 2)] if channels == 4 else []),  # the last one is alpha, not multiplied in
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = struct.pack("<2sHI", b"II", 42, bits_at + len(bits))
    return head + data + bits + struct.pack("<H", len(tags)) + directory + struct.pack("<I", 0)


FORMATS: dict[str, PictureFormat] = {
    "png": PictureFormat(".png", write_png),
    "tiff16": PictureFormat(".tif", write_tiff16),
    "npy": PictureFormat(".npy", write_npy),
}
