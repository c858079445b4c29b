"""The velocity of a flow from noise to images, and the denoiser and the score that are the same thing.

A straight path leads from noise e ~ N(0, I) at t = 0 to an image at t = 1: x_t = (1 - t) e + t u, with u the image
moved and scaled to mean 0 and variance 1. The flow that carries the density of x_0 to that of x_1 has the velocity
v(x, t) = E[u - e | x_t = x] (Lipman et al. 2023, https://arxiv.org/abs/2210.02747, theorem 2; Albergo &
Vanden-Eijnden 2023, https://arxiv.org/abs/2209.15571).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.models.local_wiener import LocalWiener

SMALLEST_SPREAD = 1e-3
LEVELS = 256  # of an 8-bit value


def spread_at(t: Tensor) -> Tensor:
    """Returns the standard deviation (B, 1, 1, 1) of x_t at times t (B,), for u of variance 1."""
    return torch.hypot(t, 1 - t)[:, None, None, None]


def moved(noise: Tensor, u: Tensor, t: Tensor) -> Tensor:
    """Returns x_t = (1 - t) noise + t u (B, C, H, W) for times t (B,): `noise` at 0 and u at 1.

    Example:
        >>> moved(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.tensor([0.25])).item()
        0.25
    """
    return torch.lerp(noise, u, t[:, None, None, None])


def level_shares(x: Tensor) -> Tensor:
    """Returns the shares (256,) of the levels among the values of images x in [0, 1], each level counted once more.

    Example:
        >>> level_shares(torch.zeros(744))[0].item()
        0.7450000047683716
    """
    counts = torch.bincount((x.clamp(0, 1) * (LEVELS - 1)).round().long().flatten(), minlength=LEVELS) + 1
    return counts / counts.sum()


class VelocityField(nn.Module):
    """v(x, t) (B, C, H, W) of x_t (B, C, H, W) and t (B,) in [0, 1], both in the units of the path.

    Were u Gaussian of variance 1, v would be c x with c = (2t - 1) / s^2 and s^2 = t^2 + (1 - t)^2, and 1 / s^2 would
    be the variance that is left. So v = c x + F(x / s, t) / s, and the network F has inputs and outputs of variance 1
    at all times (as in Karras et al. 2022, https://arxiv.org/abs/2206.00364, section 5, for noise that grows).

    Images whose neighbouring pixels are alike are far from that. A network may ask for a `LocalWiener` filter: then v
    begins with the filter's velocity in place of c x, and the network sees the filter's estimate of the noise beside x,
    where weak noise would be hard to see.

    Arguments:
        network: F, of (B, C, H, W) and (B,).
        mean: Of the pixels of images.
        spread: Their standard deviation, above 0.
        shares: Of the 256 levels among the values of images (256,), for `quantised_log_prob`; None: all alike.

    Attributes:
        dtype: Arithmetic of the network; None: that of its input.
        wiener: The filter, that of white images until it learns; None: the network asks for none.
    """

    mean: Tensor
    spread: Tensor
    shares: Tensor

    def __init__(
        self, network: nn.Module, mean: float = 0.0, spread: float = 1.0, shares: Tensor | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.dtype: torch.dtype | None = None
        side, channels = int(getattr(network, "wiener", 0)), int(getattr(network, "channels", 0))
        self.wiener: LocalWiener | None = LocalWiener(channels, side) if side else None
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("spread", torch.tensor(max(spread, SMALLEST_SPREAD)))
        self.register_buffer("shares", torch.full((LEVELS,), 1 / LEVELS) if shares is None else shares)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        """As torch does it; runs of older versions hold no shares."""
        with_shares = {f"{prefix}shares": self.shares, **state_dict}
        super()._load_from_state_dict(with_shares, prefix, *rest)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        spread = spread_at(t)
        c = (2 * t - 1)[:, None, None, None] / spread.square()
        return c * x + self.residual(x, t) / spread

    def residual(self, x: Tensor, t: Tensor) -> Tensor:
        """Returns F(x / s, t) (B, C, H, W), that part of v which a Gaussian of variance 1 would not have."""
        spread = spread_at(t)
        if self.wiener is None:
            return self._learned(x / spread, t, x.dtype)
        velocity, noise = self.wiener.estimates(x, t)
        known = spread * velocity - (2 * t - 1)[:, None, None, None] / spread * x
        return (known + self._learned(torch.cat([x / spread, noise], 1), t, x.dtype)).to(x.dtype)

    def _learned(self, seen: Tensor, t: Tensor, dtype: torch.dtype) -> Tensor:
        found: Tensor = self.network(seen.to(self.dtype or dtype), t)
        return found.to(dtype)

    def in_path(self, x: Tensor) -> Tensor:
        """Returns u (B, C, H, W), an image in the units of the path."""
        return (x - self.mean.to(x)) / self.spread.to(x)

    def as_image(self, u: Tensor) -> Tensor:
        """Returns x (B, C, H, W); undoes `in_path`."""
        return self.mean.to(u) + self.spread.to(u) * u

    def image_at(self, x: Tensor, t: Tensor) -> Tensor:
        """Returns E[u | x_t] (B, C, H, W): x_t = (1 - t) e + t u gives u = x_t + (1 - t) (u - e)."""
        end: Tensor = x + (1 - t)[:, None, None, None] * self(x, t)
        return end

    def score(self, x: Tensor, t: Tensor) -> Tensor:
        """Returns the gradient of log p_t(x) (B, C, H, W), for t in [0, 1).

        By Tweedie's formula it is -E[e | x_t] / (1 - t), and x_t = (1 - t) e + t u gives e = x_t - t (u - e).
        """
        found: Tensor = (t[:, None, None, None] * self(x, t) - x) / (1 - t)[:, None, None, None]
        return found

    def denoised(self, x_noisy: Tensor, sigma: Tensor) -> Tensor:
        """Returns E[x | x_noisy] (B, C, H, W) for images with noise of standard deviations sigma (B,) above 0.

        Divided by 1 + sigma / spread, the noisy image is one of the path, at the time 1 / (1 + sigma / spread).
        """
        t = 1 / (1 + sigma / self.spread.to(sigma))
        return self.as_image(self.image_at(t[:, None, None, None] * self.in_path(x_noisy), t))
