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


Shape = tuple[int, int]
"""Height and width."""
OPAQUE = 255


@dataclass(frozen=True)
class Fit:
    """How an image takes another shape.

    Attributes:
        shape: (size, (height, width) of an image) -> the shape that a size of one number means.
        room: ((height, width) of an image, shape) -> by how much it may be made smaller; below 1 it is too small.
        picture: (picture, shape) -> picture of that shape.
        batch: (images (B, C, H, W) uint8, shape) -> images (B, C, *shape) uint8.
        keeps_whole: Whether pictures are kept as they are, and images are cut from them.
    """

    shape: Callable[[int, Shape], Shape]
    room: Callable[[Shape, Shape], float]
    picture: Callable[[Image.Image, Shape], Image.Image]
    batch: Callable[[Tensor, Shape], Tensor]
    keeps_whole: bool = False

    def largest(self, image: Shape, shape: Shape) -> str:
        """Returns the largest size of the proportions of `shape` that an image has, as it is typed.

        Example:
            >>> FITS["crop"].largest((20, 30), (28, 28)), FITS["pad"].largest((20, 30), (64, 48))
            ('20', '40x30')
        """
        room = self.room(image, shape)
        height, width = (max(1, int(side * room + 1e-9)) for side in shape)
        return str(height) if height == width else f"{height}x{width}"


def centre_box(image: Shape, shape: Shape) -> tuple[int, int, int, int]:
    """Returns (top, left, height, width) of the largest box in the middle of an image with the proportions of `shape`.

    Example:
        >>> centre_box((30, 21), (8, 8)), centre_box((30, 20), (24, 32))
        ((4, 0, 21, 21), (7, 0, 15, 20))
    """
    (height, width), (high, wide) = image, shape
    if height * wide > width * high:
        high, wide = max(1, round(width * high / wide)), width
    else:
        high, wide = height, max(1, round(height * wide / high))
    return (height - high) // 2, (width - wide) // 2, high, wide


def scaled_sides(height: int, width: int, longer: int) -> tuple[int, int]:
    """Returns (height, width) with the longer side scaled to `longer`, and at least one pixel each.

    Example:
        >>> scaled_sides(60, 20, 28), scaled_sides(1000, 2, 28)
        ((28, 9), (28, 1))
    """
    scale = longer / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def reshape_images(images: Tensor, fit: Fit, shape: Shape | None = None, channels: int | None = None) -> Tensor:
    """Returns images uint8 (N, channels, *shape) of (N, C, H, W); None keeps what is."""
    if shape in (None, tuple(images.shape[2:])) and channels in (None, images.shape[1]):
        return images
    return torch.cat([_reshape(chunk, fit, shape, channels) for chunk in torch.split(images, CHUNK)])


def to_channels(images: Tensor, channels: int | None) -> Tensor:
    """Returns images uint8 (N, channels, H, W): the ITU-R 601 luma of RGB, or grey three times.

    A fourth channel is transparency. What gets none is opaque; what loses it is laid on white.

    Example:
        >>> to_channels(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1), 1).item()
        76
    """
    if channels is None or channels == images.shape[1]:
        return images
    if channels == 4:
        colours = to_channels(images, 3)
        return torch.cat([colours, torch.full_like(colours[:, :1], OPAQUE)], 1)
    if images.shape[1] == 4:
        return to_channels(_on_white(images), channels)
    if channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    red, green, blue = images.int().unbind(1)
    # 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point, the very integers of Pillow's convert("L"),
    # so that files and arrays of the same pixels agree
    luma = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16
    return luma.to(torch.uint8)[:, None]


def channels_first(array: NDArray[Any]) -> NDArray[Any]:
    """Returns a view (N, C, H, W) of images (N, H, W), (N, C, H, W) or (N, H, W, C), C 1, 3 or 4.

    Where both of the last two would fit, channels come first. Raises ValueError for other shapes.

    Example:
        >>> channels_first(np.zeros((5, 28, 28, 3))).shape
        (5, 3, 28, 28)
    """
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in (1, 3, 4):
        return array
    if array.ndim == 4 and array.shape[3] in (1, 3, 4):
        return np.moveaxis(array, 3, 1)
    raise ValueError(f"expected shape (N, H, W), (N, C, H, W) or (N, H, W, C) with C 1, 3 or 4, got {array.shape}")


def _reshape(images: Tensor, fit: Fit, shape: Shape | None, channels: int | None) -> Tensor:
    converted = to_channels(images, channels)
    return converted if shape in (None, tuple(images.shape[2:])) else fit.batch(converted, shape)


def _on_white(images: Tensor) -> Tensor:
    """RGB of images (N, 4, H, W), rounded to the nearest."""
    alpha = images[:, 3:].int()
    return ((images[:, :3].int() * alpha + 255 * (255 - alpha) + 127) // 255).to(torch.uint8)


def _resize(images: Tensor, shape: Shape) -> Tensor:
    # What torchvision's resize does, value for value, without the seconds that its import takes.
    # Bilinear overshoots nowhere: black and white stay black and white without clipping.
    if images.shape[1] != 4:
        return interpolate(images, shape, mode="bilinear", antialias=True)
    # The colour of what is transparent must not bleed into what is not: colours are weighted by opacity.
    alpha = images[:, 3:].float() / 255
    weighted = interpolate(torch.cat([images[:, :3] * alpha, alpha], 1), shape, mode="bilinear", antialias=True)
    opacity = weighted[:, 3:]
    colours = weighted[:, :3] / opacity.clamp_min(1e-6)
    return torch.cat([colours, 255 * opacity], 1).round_().clamp_(0, 255).to(torch.uint8)


def _square(size: int, image: Shape) -> Shape:
    return size, size


def _keep_ratio(size: int, image: Shape) -> Shape:
    return scaled_sides(*image, size)


def _crop_room(image: Shape, shape: Shape) -> float:
    return min(image[0] / shape[0], image[1] / shape[1])


def _pad_room(image: Shape, shape: Shape) -> float:
    return max(image[0] / shape[0], image[1] / shape[1])


def _crop_batch(images: Tensor, shape: Shape) -> Tensor:
    top, left, height, width = centre_box((images.shape[2], images.shape[3]), shape)
    return _resize(images[:, :, top : top + height, left : left + width], shape)


def _padded_box(image: Shape, shape: Shape) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a whole image within `shape`."""
    scale = min(shape[0] / image[0], shape[1] / image[1])
    height, width = (max(1, round(side * scale)) for side in image)
    return (shape[0] - height) // 2, (shape[1] - width) // 2, height, width


def _pad_batch(images: Tensor, shape: Shape) -> Tensor:
    top, left, height, width = _padded_box((images.shape[2], images.shape[3]), shape)
    padded = images.new_zeros(*images.shape[:2], *shape)
    padded[:, :, top : top + height, left : left + width] = _resize(images, (height, width))
    return padded


def _window(image: Shape, shape: Shape) -> tuple[int, int]:
    """(top, left) of the middle `shape` pixels."""
    return (image[0] - shape[0]) // 2, (image[1] - shape[1]) // 2


def _window_batch(images: Tensor, shape: Shape) -> Tensor:
    top, left = _window((images.shape[2], images.shape[3]), shape)
    return images[:, :, top : top + shape[0], left : left + shape[1]]


def _window_picture(picture: Image.Image, shape: Shape) -> Image.Image:
    top, left = _window((picture.height, picture.width), shape)
    return picture.crop((left, top, left + shape[1], top + shape[0]))


def _crop_picture(picture: Image.Image, shape: Shape) -> Image.Image:
    from PIL import Image

    top, left, height, width = centre_box((picture.height, picture.width), shape)
    # the box= of Pillow's own resize would let pixels outside the box into its border
    inside = picture.crop((left, top, left + width, top + height))
    return inside.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)


def _pad_picture(picture: Image.Image, shape: Shape) -> Image.Image:
    from PIL import Image

    top, left, height, width = _padded_box((picture.height, picture.width), shape)
    ground = Image.new(picture.mode, (shape[1], shape[0]))
    ground.paste(picture.resize((width, height), Image.Resampling.BILINEAR), (left, top))
    return ground


FITS: dict[str, Fit] = {
    "crop": Fit(_square, _crop_room, _crop_picture, _crop_batch),
    "pad": Fit(_square, _pad_room, _pad_picture, _pad_batch),
    "keep": Fit(_keep_ratio, _crop_room, _crop_picture, _crop_batch),
    # The middle stands for a picture where one image of it is asked for; data sets hold many, and training draws more.
    "crops": Fit(_square, _crop_room, _window_picture, _window_batch, keeps_whole=True),
}
