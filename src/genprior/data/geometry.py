"""Size and channels of images: antialiased, whole batches at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

CHUNK = 4096  # images converted at a time: bounds the memory for what is neither input nor result


@dataclass(frozen=True)
class Fit:
    """How an oblong image becomes a square one.

    Attributes:
        side: Of height and width, the side that is scaled to the size, so it must not be smaller.
        picture: (picture, size) -> square picture of that size.
        batch: (images (B, C, H, W) uint8, size) -> images (B, C, size, size) uint8.
    """

    side: Callable[[int, int], int]
    picture: Callable[[Image.Image, int], Image.Image]
    batch: Callable[[Tensor, int], Tensor]


def centre_square(height: int, width: int) -> tuple[int, int, int]:
    """Returns (top, left, side) of the largest square in the middle of an image.

    Example:
        >>> centre_square(30, 21)
        (4, 0, 21)
    """
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def scaled_sides(height: int, width: int, longer: int) -> tuple[int, int]:
    """Returns (height, width) with the longer side scaled to `longer`, and at least one pixel each.

    Example:
        >>> scaled_sides(60, 20, 28), scaled_sides(1000, 2, 28)
        ((28, 9), (28, 1))
    """
    scale = longer / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def reshape_images(images: Tensor, fit: Fit, size: int | None = None, channels: int | None = None) -> Tensor:
    """Returns images uint8 (N, channels, size, size) of (N, C, H, W); None keeps what is."""
    kept, height, width = images.shape[1:]
    if size in (None, height) and size in (None, width) and channels in (None, kept):
        return images
    return torch.cat([_reshape(chunk, fit, size, channels) for chunk in torch.split(images, CHUNK)])


def to_channels(images: Tensor, channels: int | None) -> Tensor:
    """Returns images uint8 (N, channels, H, W): the ITU-R 601 luma of RGB, or grey three times.

    Example:
        >>> to_channels(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1), 1).item()
        76
    """
    if channels is None or channels == images.shape[1]:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    red, green, blue = images.int().unbind(1)
    # 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point, the very integers of Pillow's convert("L"),
    # so that files and arrays of the same pixels agree
    luma = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16
    return luma.to(torch.uint8)[:, None]


def channels_first(array: NDArray[Any]) -> NDArray[Any]:
    """Returns a view (N, C, H, W) of images (N, H, W), (N, C, H, W) or (N, H, W, C), C 1 or 3.

    Where both of the last two would fit, channels come first. Raises ValueError for other shapes.

    Example:
        >>> channels_first(np.zeros((5, 28, 28, 3))).shape
        (5, 3, 28, 28)
    """
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return np.moveaxis(array, 3, 1)
    raise ValueError(f"expected shape (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1 or 3, got {array.shape}")


def _reshape(images: Tensor, fit: Fit, size: int | None, channels: int | None) -> Tensor:
    converted = to_channels(images, channels)
    return converted if size is None else fit.batch(converted, size)


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    # What torchvision's resize does, value for value, without the seconds that its import takes.
    # Bilinear overshoots nowhere: black and white stay black and white without clipping.
    return interpolate(images, (height, width), mode="bilinear", antialias=True)


def _crop_batch(images: Tensor, size: int) -> Tensor:
    top, left, side = centre_square(images.shape[2], images.shape[3])
    return _resize(images[:, :, top : top + side, left : left + side], size, size)


def _pad_batch(images: Tensor, size: int) -> Tensor:
    height, width = scaled_sides(images.shape[2], images.shape[3], size)
    top, left = (size - height) // 2, (size - width) // 2
    padded = images.new_zeros(*images.shape[:2], size, size)
    padded[:, :, top : top + height, left : left + width] = _resize(images, height, width)
    return padded


def _crop_picture(picture: Image.Image, size: int) -> Image.Image:
    from PIL import Image

    top, left, side = centre_square(picture.height, picture.width)
    # the box= of Pillow's own resize would let pixels outside the square into its border
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.BILINEAR)


def _pad_picture(picture: Image.Image, size: int) -> Image.Image:
    from PIL import Image

    height, width = scaled_sides(picture.height, picture.width, size)
    ground = Image.new(picture.mode, (size, size))
    scaled = picture.resize((width, height), Image.Resampling.BILINEAR)
    ground.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return ground


FITS: dict[str, Fit] = {
    "crop": Fit(side=min, picture=_crop_picture, batch=_crop_batch),
    "pad": Fit(side=max, picture=_pad_picture, batch=_pad_batch),
}
