"""A generator of codes as a generator of standard normal latents. Imports nothing of ours."""

from typing import Any

import torch
from torch import Tensor, nn


class Whitening(nn.Module):
    """w (B, k) of mean 0 and covariance I -> codes (B, k) of the mean and covariance that it is given.

    Arguments:
        mean: m (k,).
        factor: L (k, k), lower triangular, so that the covariance is L L^T.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("factor", factor)

    def forward(self, w: Tensor) -> Tensor:
        """Returns m + L w in the dtype of w, computed in that of m and L where that is the finer one."""
        wide = w.to(torch.promote_types(w.dtype, self.mean.dtype))
        code = self.mean.to(wide) + wide @ self.factor.to(wide).T
        return code.to(w.dtype)

    @torch.no_grad()
    def inverse(self, code: Tensor) -> Tensor:
        """Returns w (B, k) = L^-1 (code - m)."""
        off = (code - self.mean.to(code)).T
        w: Tensor = torch.linalg.solve_triangular(self.factor.to(code), off, upper=False).T
        return w


class WhitenedGenerator(nn.Module):
    """w (B, k) -> x (B, C, H, W): whitened latents become codes, codes become images.

    Arguments:
        whitening: What makes codes.
        generator: With `latent_size`, `image_shape` and `output_range`.
    """

    def __init__(self, whitening: Whitening, generator: nn.Module) -> None:
        super().__init__()
        self.whitening, self.generator = whitening, generator
        known: Any = generator
        self.latent_size: int = known.latent_size
        self.image_shape: tuple[int, int, int] = known.image_shape
        self.output_range: tuple[float, float] = known.output_range

    def forward(self, w: Tensor) -> Tensor:
        x: Tensor = self.generator(self.whitening(w))
        return x
