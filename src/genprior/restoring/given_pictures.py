"""A picture as it was given: its own size, colour type, bit depth and exact values, for a result that has them too."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.images import read_header, read_numbers
from genprior.value_range import likely_white, white_of

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
SLIVER = 8  # values below this share of white, all of them, look as if white were another value


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
        return f"values use a sliver of 16 bits, nearly black: give --white {likely_white(top):g} if that is white"

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
            x: (C, H, W) in [0, 1], C 1 or 3; grey or colour as `with_channels` has it.
            known: (H, W) bool; None: no pixel is kept.
        """
        new = with_channels(x, self.values.shape[2]).clamp(0, 1).double().permute(1, 2, 0).numpy() * self.white
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

    Palettes become grey or RGB, bilevel pictures 8-bit grey, CMYK becomes RGB.

    Arguments:
        path: Whatever Pillow reads.
        white: The value that stands for 1.0; default: the largest of the type, 1.0 for floats.

    Raises:
        GenpriorError: It cannot be decoded, or has several pages.
    """
    try:
        pages = read_header(path).pages
        if pages > 1:
            raise GenpriorError(f"{path} has {pages} pages: save the one that is meant as a file of its own")
        values = read_numbers(path)
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
    top = white_of(values.dtype.name, white)
    if values.shape[2] in (2, 4):
        return GivenPicture(np.ascontiguousarray(values[..., :-1]), np.ascontiguousarray(values[..., -1]), top)
    return GivenPicture(np.ascontiguousarray(values), None, top)


def with_channels(image: Tensor, channels: int) -> Tensor:
    """Returns an image (C, H, W) with 1 or 3 channels: grey three times, or the ITU-R 601 luma of colour."""
    if len(image) == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1)
    return (image * image.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
