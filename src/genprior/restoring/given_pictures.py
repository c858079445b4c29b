"""A picture as it was given: its own size, colour type, bit depth and exact values, for a result that has them too."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genprior.errors import GenpriorError

if TYPE_CHECKING:
    from PIL import Image

PNG_HEADER = b"\x89PNG\r\n\x1a\n"
DEPTH_OF_PNG, COLOUR_OF_PNG = 24, 25  # places of the bytes that tell the bits of a channel, and whether it is grey
SLIVER = 8  # values below this share of white, all of them, look as if white were another value
SHORT = {"L": 8, "LA": 8, "RGB": 8, "RGBA": 8}


@dataclass(frozen=True)
class GivenPicture:
    """A picture as it was given, upright.

    Attributes:
        values: (H, W, 1 or 3), uint8, uint16 or float32; what stands in transparent pixels is kept.
        alpha: (H, W) of the same type, or None.
        white: The value that stands for 1.0; also of an opaque pixel.
    """

    values: NDArray[Any]
    alpha: NDArray[Any] | None = None
    white: float = 255

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values.shape[0], self.values.shape[1]

    def doubt(self) -> str | None:
        """Returns words on values that use a sliver of 16 bits, as those of cameras with 10 or 12 bits do; or None."""
        top = int(self.values.max()) if self.values.dtype == np.uint16 else 0
        if not 0 < top < self.white / SLIVER:
            return None
        bits = max(8, top.bit_length())
        return (
            f"values use {bits} of 16 bits or fewer, and look nearly black: give --white {2**bits - 1} if that is white"
        )

    def image(self) -> Tensor:
        """Returns x (C, H, W) float32, in [0, 1] unless `white` is wrong, transparency laid on white."""
        x = torch.from_numpy((self.values / np.float64(self.white)).astype(np.float32)).permute(2, 0, 1)
        if self.alpha is None:
            return x.contiguous()
        opaque = torch.from_numpy((self.alpha / np.float64(self._opaque)).astype(np.float32))
        return (1 - opaque * (1 - x)).contiguous()

    def with_pixels(self, x: Tensor, known: Tensor | None = None) -> "GivenPicture":
        """Returns the picture with new pixels, opaque ones, and the known ones exactly as they are.

        Arguments:
            x: (C, H, W) in [0, 1], C 1 or 3; grey is expanded, colour averaged where the picture is grey.
            known: (H, W) bool; None: no pixel is kept.
        """
        channels = self.values.shape[2]
        if len(x) != channels:
            x = x.expand(3, -1, -1) if channels == 3 else x.mean(0, keepdim=True)
        new = x.clamp(0, 1).double().permute(1, 2, 0).numpy() * self.white
        new = new.astype(self.values.dtype) if self.values.dtype.kind == "f" else np.rint(new).astype(self.values.dtype)
        alpha = None if self.alpha is None else np.full_like(self.alpha, self._opaque)
        if known is None:
            return replace(self, values=new, alpha=alpha)
        kept = known.numpy()
        alpha = None if self.alpha is None else np.where(kept, self.alpha, self._opaque).astype(self.alpha.dtype)
        return replace(self, values=np.where(kept[..., None], self.values, new), alpha=alpha)

    @property
    def _opaque(self) -> float:
        kind = self.values.dtype
        return 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)


def read_given(path: Path, white: float | None = None) -> GivenPicture:
    """Returns the picture in a file, PNG with 16 bits a channel included.

    Palettes become grey or RGB, bilevel pictures 8-bit grey, CMYK becomes RGB; the first page of several is taken.

    Arguments:
        path: Whatever Pillow reads.
        white: The value that stands for 1.0; default: the largest of the type, 1.0 for floats.

    Raises:
        GenpriorError: It cannot be decoded.
    """
    try:
        with _told(path):
            data = path.read_bytes()
            values = _deep_png(data) if _is_deep_colour_png(data) else _by_pillow(data)
    except OSError as error:
        raise GenpriorError(f"cannot read the image {path}: {error}") from error
    return given_values(values, white)


def given_values(values: NDArray[Any], white: float | None = None) -> GivenPicture:
    """Returns a picture of values (H, W, 1 to 4): grey, grey and alpha, RGB, or RGB and alpha.

    Arguments:
        values: uint8, uint16, bool or floats.
        white: The value that stands for 1.0; default: the largest of the type, 1.0 for floats.
    """
    if values.dtype.kind == "b":
        values = values.astype(np.uint8) * np.uint8(255)
    elif values.dtype.kind == "f":
        values = values.astype(np.float32)
    top = white or (1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max))
    if values.shape[2] in (2, 4):
        return GivenPicture(np.ascontiguousarray(values[..., :-1]), np.ascontiguousarray(values[..., -1]), top)
    return GivenPicture(np.ascontiguousarray(values), None, top)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns whatever a damaged file makes a decoder raise into an OSError with a short reason."""
    from PIL import UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError as error:
        raise OSError("not an image that Pillow knows") from error
    except Exception as error:  # SyntaxError, struct.error, KeyError ...: decoders fail as they like
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise OSError(reason or type(error).__name__) from error


def _is_deep_colour_png(data: bytes) -> bool:
    """Whether Pillow would cut 16 bits a channel to 8: it does so in colour, and with transparency."""
    return (
        data.startswith(PNG_HEADER)
        and len(data) > COLOUR_OF_PNG
        and data[DEPTH_OF_PNG] == 16
        and data[COLOUR_OF_PNG] > 0
    )


def _deep_png(data: bytes) -> NDArray[Any]:
    from torchvision.io import ImageReadMode, decode_png

    packed = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is to move to another package, and still works
        pixels: NDArray[Any] = decode_png(packed, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    return pixels


def _by_pillow(data: bytes) -> NDArray[Any]:
    from PIL import Image, ImageOps

    # from memory: Pillow maps some files, and then takes the sides of a turned picture for each other
    with Image.open(BytesIO(data)) as stored:
        stored.load()
        try:
            picture = ImageOps.exif_transpose(stored)
        except Exception:  # tags that make no sense say nothing against the pixels
            picture = stored
        array = np.array(_plain(picture))
    return array[..., None] if array.ndim == 2 else array


def _plain(picture: "Image.Image") -> "Image.Image | NDArray[Any]":
    if picture.mode in SHORT and not picture.has_transparency_data:
        return picture
    if picture.mode == "F" or picture.mode.startswith("I"):
        return _deep(picture)
    grey = picture.mode in ("1", "L", "LA", "La") or (picture.mode in ("P", "PA") and _has_grey_palette(picture))
    return picture.convert(("LA" if grey else "RGBA") if picture.has_transparency_data else ("L" if grey else "RGB"))


def _has_grey_palette(picture: "Image.Image") -> bool:
    palette = picture.getpalette() or [0, 0, 1]
    return palette[0::3] == palette[1::3] == palette[2::3]


def _deep(picture: "Image.Image") -> NDArray[Any]:
    """Grey in floating point, or in 16 bits, with its transparent value if there is one."""
    values = np.asarray(picture)
    if picture.mode == "F":
        return values.astype(np.float32)
    if values.min() < 0 or values.max() > 65535:
        raise OSError("integer values outside [0, 65535]")
    values = values.astype(np.uint16)
    clear = picture.info.get("transparency")
    if not isinstance(clear, int):
        return values
    return np.stack([values, np.where(values == clear, 0, 65535).astype(np.uint16)], -1)
