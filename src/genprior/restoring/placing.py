"""Images that are smaller than a prior's: enlarged onto its canvas, and brought back to their own size."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

FULLY = 0.99  # of an enlarged or reduced pixel must be known; half known is not known


@dataclass(frozen=True)
class Frame:
    """Where an image of (height, width) stands on a larger canvas, in its own proportions.

    Attributes:
        height, width: Of the image.
        rows, columns: Of the canvas.
    """

    height: int
    width: int
    rows: int
    columns: int

    @property
    def inner(self) -> tuple[int, int]:
        """Height and width of the image on the canvas."""
        scale = min(self.rows / self.height, self.columns / self.width)
        return min(self.rows, round(scale * self.height)), min(self.columns, round(scale * self.width))

    @property
    def _margins(self) -> tuple[int, int]:
        return (self.rows - self.inner[0]) // 2, (self.columns - self.inner[1]) // 2

    def into(self, x: Tensor, *, smooth: bool) -> Tensor:
        """Returns an image (C, height, width) on the canvas (C, rows, columns).

        The margins get the median of its edge in each channel, which is the background where there is one.

        Arguments:
            x: The image.
            smooth: Interpolate; else pixels are repeated, which keeps the standard deviation of noise.
        """
        mode = {"mode": "bilinear", "align_corners": False} if smooth else {"mode": "nearest-exact"}
        large = interpolate(x[None], self.inner, **mode)[0]
        edge = torch.cat([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]], 1)
        return self._with_margins(large, edge.median(1).values)

    def _with_margins(self, inner: Tensor, value: Tensor) -> Tensor:
        canvas = value[:, None, None].expand(-1, self.rows, self.columns).clone()
        (top, left), (rows, columns) = self._margins, self.inner
        canvas[:, top : top + rows, left : left + columns] = inner
        return canvas

    def mask_into(self, known: Tensor) -> Tensor:
        """Returns a mask (1, height, width) of 0 and 1 on the canvas: 1 where only known pixels contribute.

        What fills the margins is not known.
        """
        large = interpolate(known[None], self.inner, mode="bilinear", align_corners=False)[0]
        return (self._with_margins(large, large.new_zeros(1)) >= FULLY).float()

    def back(self, x: Tensor) -> Tensor:
        """Returns an image on the canvas (C, rows, columns) in its own size (C, height, width)."""
        (top, left), (rows, columns) = self._margins, self.inner
        inner = x[:, top : top + rows, left : left + columns]
        if inner.shape[1:] == (self.height, self.width):
            return inner
        return interpolate(inner[None], (self.height, self.width), mode="bilinear", antialias=True)[0]


def frame_of(shape: tuple[int, ...], canvas: tuple[int, ...]) -> Frame | None:
    """Returns the frame of an image (C, h, w) on a canvas (C, H, W) that holds all of it; None where it does not.

    Grey images stand on colour canvases, and not the other way.
    """
    fits = len(shape) == len(canvas) == 3 and all(a <= b for a, b in zip(shape, canvas, strict=True))
    return Frame(shape[1], shape[2], canvas[1], canvas[2]) if fits else None
