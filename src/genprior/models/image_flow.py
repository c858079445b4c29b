"""A density of 8-bit images: dequantisation, logit, and an invertible network. Imports errors, Glow, dequantisation."""

import math

import torch
from torch import Tensor, nn

from genprior.models.dequantisation import Dequantisation
from genprior.models.glow_flow import Encoded, Glow

LEVELS = 256


class ImageFlow(nn.Module):
    """x (B, C, H, W) in [0, 1] <-> z (B, D), and a lower bound of the log-probability of 8-bit images.

    An image is placed in the middle of its levels, y = (255 x + 1/2) / 256, and stretched over all real numbers,
    v = logit(a + (1 - 2a) y) with margin a (Dinh et al. 2017, section 4.1), before the network sees it.

    Arguments:
        flow: v <-> z.
        dequantisation: Noise below the last bit, and the margin.
    """

    def __init__(self, flow: Glow, dequantisation: Dequantisation) -> None:
        super().__init__()
        self.flow, self.dequantisation = flow, dequantisation
        self.image_shape, self.latent_size = flow.image_shape, flow.latent_size
        self.margin = dequantisation.margin

    def encode(self, x: Tensor) -> Tensor:
        """Returns z (B, D) of x (B, C, H, W); `decode` leads back. Values beyond [0, 1] are brought to its edge."""
        y = ((LEVELS - 1) * x + 0.5) / LEVELS
        return self.flow.encode(self._stretched(y.clamp(0, 1)).z).z

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) of z (B, D), within half a level of [0, 1]."""
        inside = (torch.sigmoid(self.flow.decode(z)) - self.margin) / (1 - 2 * self.margin)
        return (LEVELS * inside - 0.5) / (LEVELS - 1)

    def draw_noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns noise (count, C, H, W) for `log_prob`."""
        return self.dequantisation.draw(count, self.image_shape, generator)

    def log_prob(self, x: Tensor, noise: Tensor) -> Tensor:
        """Returns one draw (B,), in nats, of the lower bound of log P of the 8-bit images x.

        log p_z(z) + log |det dz/dv| + log |dv/dy| - D log 256 - log q(u | x)   (change of variables)

        Arguments:
            x: (B, C, H, W), multiples of 1/255 in [0, 1].
            noise: As `draw_noise` gives it.
        """
        levels = ((LEVELS - 1) * x).round()
        u, log_q = self.dequantisation(levels, noise, self.flow.dtype or x.dtype)
        v, log_stretch = self._stretched((levels + u) / LEVELS)
        z, log_det = self.flow.encode(v)
        log_base = -0.5 * z.square().sum(1) - 0.5 * self.latent_size * math.log(2 * math.pi)
        total: Tensor = log_base + log_det + log_stretch - self.latent_size * math.log(LEVELS) - log_q
        return total

    def initialise(self, x: Tensor, noise: Tensor) -> None:
        """Gives every normalisation the mean and deviation that it meets in images x (B, C, H, W), B at least 2."""
        levels = ((LEVELS - 1) * x).round()
        with torch.no_grad():
            u, _ = self.dequantisation(levels, noise, self.flow.dtype or x.dtype)
            self.flow.initialise(self._stretched((levels + u) / LEVELS).z)

    def _stretched(self, y: Tensor) -> Encoded:
        """v of y (B, C, H, W) in [0, 1], and log |det dv/dy| (B,)."""
        scale = 1 - 2 * self.margin
        inside = self.margin + scale * y
        low, high = inside.log(), (1 - inside).log()
        return Encoded(low - high, (math.log(scale) - low - high).flatten(1).sum(1))


def bits_per_dim(nats: Tensor, size: int) -> Tensor:
    """Returns -nats / (D log 2), for log-probabilities in nats of images of D numbers.

    Example:
        >>> bits_per_dim(torch.tensor(-784 * math.log(2)), 784)
        tensor(1.)
    """
    return -nats / (size * math.log(2))
