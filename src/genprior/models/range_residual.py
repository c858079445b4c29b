"""What a generator's images lack of real ones, as a Gaussian beside them. Imports errors only.

Real images are x = G(z) + d, where d ~ N(0, F F^T + diag(n)). F and n are learned from what inversions of images leave
that the generator has not learned. A posterior of z that knows of d is wide enough to hold real images, and d given z
and a measurement is Gaussian: its draws are exact (compare the sparse deviations of Dhar, Grover & Ermon 2018,
https://arxiv.org/abs/1807.01442, which have no density).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.errors import GenpriorError

LEAST_NOISE = 1e-6  # variance of a pixel, that of rounding to 8 bits
PSEUDO = 5  # images in which all pixels would vary alike: where some show nothing, others may
LEAST_IMAGES = 20  # fewer show neither variances nor directions


@dataclass(frozen=True)
class RangeResidual:
    """The Gaussian d of mean 0, over flat images of D numbers.

    Attributes:
        factors: F (D, r), r at least 0.
        noise: n (D,), above 0.
    """

    factors: Tensor
    noise: Tensor

    @classmethod
    def learned(cls, off: Tensor, rank: int) -> "RangeResidual":
        """Returns the Gaussian by principal axes, with what they leave in each pixel.

        The variance of a pixel counts as that of N images, and the mean over all pixels as that of `PSEUDO` more.
        Without these a pixel that a few hundred images left black would be sure to be black in all.

        Arguments:
            off: x - G(z) (N, C, H, W) of images that were not learned, at the z that comes nearest.
            rank: r, at least 0; at most a quarter of the images.

        Raises:
            GenpriorError: Fewer than 20 images, or numbers that are not finite.
        """
        if len(off) < LEAST_IMAGES or not bool(off.isfinite().all()):
            raise GenpriorError(
                f"a residual is learned from at least {LEAST_IMAGES} images without gaps, got {len(off)}",
                argument="images",
            )
        flat = off.flatten(1).double()
        kept = min(rank, len(flat) // 4)
        _, lengths, axes = torch.linalg.svd(flat, full_matrices=False)
        factors = axes[:kept].T * (lengths[:kept] / len(flat) ** 0.5)
        left = (flat.square().mean(0) - factors.square().sum(1)).clamp_min(0)
        noise = (len(flat) * left + PSEUDO * left.mean()) / (len(flat) + PSEUDO) + LEAST_NOISE
        return cls(factors.to(off), noise.to(off))

    @property
    def directions(self) -> "RangeResidual":
        """What pixels have in common, without the grain of each."""
        return RangeResidual(self.factors, torch.zeros_like(self.noise))

    @property
    def grain(self) -> "RangeResidual":
        """What each pixel has by itself."""
        return RangeResidual(self.factors[:, :0], self.noise)

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns d (count, D)."""
        f = torch.randn(count, self.factors.shape[1], generator=generator).to(self.factors)
        e = torch.randn(count, len(self.noise), generator=generator).to(self.noise)
        return f @ self.factors.T + self.noise.sqrt() * e

    def applied(self, v: Tensor) -> Tensor:
        """Returns (F F^T + diag(n)) v (B, D)."""
        return v @ self.factors @ self.factors.T + self.noise * v
