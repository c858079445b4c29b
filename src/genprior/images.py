"""The value range, in one place: uint8 <-> float in [0, 1]; grids of images; image files.

Knows tensors and pictures; of ours it imports the errors alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from PIL import Image


def to_float(images: Tensor) -> Tensor:
    """Returns x (..., C, H, W) float32 in [0, 1] from uint8; floats (2-D points) are passed on.

    Example:
        >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    return images if images.is_floating_point() else images.float().div_(255)


def to_uint8(x: Tensor) -> Tensor:
    """Returns uint8 from x float in [0, 1]; inverts `to_float` for all 256 values, clips outside.

    Example:
        >>> to_uint8(torch.tensor([-0.1, 0.2, 1.0]))
        tensor([  0,  51, 255], dtype=torch.uint8)
    """
    return x.float().mul(255).round_().clamp_(0, 255).to(torch.uint8)


def from_16_bit(values: Tensor) -> Tensor:
    """Returns uint8 from integers in [0, 65535], to the nearest: 257 steps of 16 bit are one of 8.

    Example:
        >>> from_16_bit(torch.tensor([0, 128, 129, 65535]))
        tensor([  0,   0,   1, 255], dtype=torch.uint8)
    """
    return ((values.int() + 128) // 257).to(torch.uint8)


def image_grid(x: Tensor, columns: int | None = None, padding: int = 2) -> Tensor:
    """Returns one picture (C, H', W') uint8 of x (B, C, H, W) in [0, 1], row by row, on grey.

    Arguments:
        x: Images, at least one.
        columns: Images in a row; default: the smallest square that holds them all.
        padding: Pixels between images.
    """
    from torchvision.utils import make_grid

    columns = columns or max(1, int(len(x) ** 0.5 + 0.999))
    grid: Tensor = make_grid(to_uint8(x), nrow=columns, padding=padding, pad_value=128)
    return grid[: x.shape[1]]  # make_grid repeats a single channel three times


def write_image(image: Tensor, path: Path) -> None:
    """Writes image (C, H, W) uint8, C 1 or 3; the suffix of `path` tells the kind of file."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    array = image.permute(1, 2, 0).numpy()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(path)


@dataclass(frozen=True)
class PictureHeader:
    """What an image file says of itself before a pixel is decoded; sides as stored, not upright."""

    width: int
    height: int
    is_grey: bool


def read_header(file: Path | BytesIO) -> PictureHeader:
    """Returns size and kind of an image file; it is grey if it stores no colour, whatever it shows.

    A palette of greys counts as grey. Raises OSError with a one-line reason for what is no image.
    """
    from PIL import Image

    with _decoding(), Image.open(file) as stored:
        return PictureHeader(stored.width, stored.height, _is_grey(stored))


def read_picture(file: Path | BytesIO, *, grey: bool, at_least: int | None = None) -> Image.Image:
    """Returns the picture in a file, 8 bit, mode L or RGB, upright, transparency laid on white.

    16-bit values are divided by 257; floating-point values must lie in [0, 1]; of several frames
    the first is taken. Raises OSError with a one-line reason for a file that cannot be decoded.

    Arguments:
        file: Path, or the bytes of a file.
        grey: True for mode L (ITU-R 601 luma), False for RGB.
        at_least: Pixels that both sides must keep: a JPEG may be decoded at 1/2, 1/4 or 1/8 as long
            as they do, which is several times faster.
    """
    from PIL import Image

    with _decoding(), Image.open(file) as stored:
        if at_least is not None:
            stored.draft(None, (at_least, at_least))
        stored.load()
        return _on_white(_eight_bit(_upright(stored))).convert("L" if grey else "RGB")


def read_image(path: Path, channels: int | None = None) -> Tensor:
    """Returns the image (C, H, W) uint8 in a file, at its own size.

    Arguments:
        path: PNG, JPEG, WebP, BMP, TIFF, or whatever else Pillow reads.
        channels: 1 or 3; default: 1 for a file that stores grey, else 3.
    """
    if channels not in (None, 1, 3):
        raise GenpriorError(f"expected 1 (grey) or 3 (RGB), got {channels!r}", argument="channels")
    try:
        grey = read_header(path).is_grey if channels is None else channels == 1
        return picture_to_tensor(read_picture(path, grey=grey))
    except OSError as error:
        raise GenpriorError(f"cannot read the image {path}: {error}") from error


def picture_to_tensor(picture: Image.Image) -> Tensor:
    """Returns (1, H, W) uint8 of a picture in mode L, (3, H, W) of one in RGB."""
    array = torch.from_numpy(np.array(picture))
    return array[None] if array.ndim == 2 else array.permute(2, 0, 1)


@contextmanager
def _decoding() -> Iterator[None]:
    """Turns whatever a damaged file makes a decoder raise into an OSError with a short reason."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError as error:
        raise OSError("not an image that Pillow knows") from error
    except Exception as error:  # SyntaxError, struct.error, KeyError ...: decoders fail as they like
        raise OSError(" ".join(str(error).split()) or type(error).__name__) from error


def _upright(picture: Image.Image) -> Image.Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # tags that make no sense, in as many ways, say nothing against the pixels
        return picture


def _is_grey(stored: Image.Image) -> bool:
    if stored.mode in ("P", "PA"):
        palette = stored.getpalette() or [0, 0, 1]
        return palette[0::3] == palette[1::3] == palette[2::3]
    return stored.mode in ("1", "L", "LA", "La", "F") or stored.mode.startswith("I")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Returns a picture of 8 bits per channel; Pillow's own conversion would clip at 255."""
    from PIL import Image

    if picture.mode == "F":
        return Image.fromarray(to_uint8(_within(picture, 1, "floating-point")).numpy())
    if picture.mode.startswith("I"):
        return Image.fromarray(from_16_bit(_within(picture, 65535, "integer")).numpy())
    return picture


def _within(picture: Image.Image, top: int, kind: str) -> Tensor:
    values = torch.from_numpy(np.asarray(picture).astype(np.float64))
    if not bool(((values >= 0) & (values <= top)).all()):  # false for NaN as well
        raise OSError(f"{kind} values outside [0, {top}]")
    return values


def _on_white(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    opaque = Image.new("RGBA", picture.size, "white")
    opaque.alpha_composite(picture.convert("RGBA"))
    return opaque


def write_array(x: Tensor, path: Path) -> None:
    """Writes x (B, C, H, W) as float32 numbers, readable with `numpy.load`."""
    import numpy

    path.parent.mkdir(parents=True, exist_ok=True)
    numpy.save(path, x.numpy())
