"""The best linear denoiser that looks at a pixel's neighbours only: what a network of velocities need not learn.

Imports torch only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST_VARIANCE = 1e-6  # of a direction; that of images is 1
PATCHES = 64  # along the shorter side of an image, of which the filter is learned


class LocalWiener(nn.Module):
    """A filter of x_t = (1 - t) e + t u, with u an image of mean 0 and variance 1 and e white noise.

    Were all patches of k x k pixels Gaussian with the covariance V diag(l) V^T, then along each column of V E[u | x_t]
    would be l t / (l t^2 + (1 - t)^2) times x_t, and E[e | x_t] (1 - t) / (l t^2 + (1 - t)^2) times x_t. The filter
    answers for the pixel in the middle of a patch. Patches at the border are filled up with copies of the edge.

    Arguments:
        channels: C.
        side: k, odd, at least 1.
    """

    variances: Tensor
    directions: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.channels, self.side = channels, side
        size = channels * side**2
        self.register_buffer("variances", torch.ones(size))
        self.register_buffer("directions", torch.eye(size))

    def learn(self, u: Tensor, grain: float = 0.0) -> None:
        """Takes second moments of patches from images u (N, C, H, W) of mean 0 and variance 1, none smaller than k.

        Arguments:
            u: 200 are enough. Of large images some 4,096 patches each are taken.
            grain: Variance of white noise that is added to images when a network learns: below it the filter must not
                take noise for an image, or it would make it many times as large.
        """
        size, step = self.variances.numel(), max(1, min(u.shape[2:]) // PATCHES)
        total, count = torch.zeros(size, size, dtype=torch.float64), 0
        for image in u.double().cpu():
            rows = F.unfold(image[None], self.side, stride=step)[0].T
            total, count = total + rows.T @ rows, count + len(rows)
        variances, directions = torch.linalg.eigh(total / count)
        self.variances.copy_(variances.clamp_min(SMALLEST_VARIANCE) + grain)
        self.directions.copy_(directions)

    def estimates(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns those of u - e and of e (B, C, H, W), at least float32, for x_t (B, C, H, W) and t (B,)."""
        (batch, channels, height, width), side = x.shape, self.side
        numbers = torch.promote_types(x.dtype, torch.float32)  # it divides by small ones
        x, t = x.to(numbers), t.to(numbers)[:, None]
        variances, directions = self.variances.to(numbers), self.directions.to(numbers)
        left = variances * t.square() + (1 - t).square()
        noise = (1 - t) / left
        gains = torch.stack([variances * t / left - noise, noise], 1)  # (B, 2, P)
        middle = directions[side**2 // 2 :: side**2]  # (C, P): a patch lists its pixels channel by channel
        kernels = torch.einsum("cp,bgp,qp->bgcq", middle, gains, directions)
        kernels = kernels.reshape(batch, 2 * channels, channels, side, side)
        padded = F.pad(x, (side // 2,) * 4, mode="replicate")
        found = x.new_zeros(batch, 2 * channels, height * width)
        # Not as a convolution with a group for each image, whose number would be fixed where a network is exported.
        for i in range(side):
            for j in range(side):
                pixels = padded[:, :, i : i + height, j : j + width].flatten(2)
                found = torch.baddbmm(found, kernels[..., i, j], pixels)
        velocity, noise = found.view(batch, 2, *x.shape[1:]).unbind(1)
        return velocity, noise
