"""A density of 8-bit images: noise below the last bit, a logit, and an invertible network. Imports errors and Glow.

With levels x in 0 ... 255 and noise u in [0, 1), log P(x) >= E_q[log p((x + u) / 256) - log q(u | x)] - D log 256
(Theis et al. 2016, https://arxiv.org/abs/1511.01844; Ho et al. 2019, https://arxiv.org/abs/1902.00275, equation 12).
`DEQUANTISATIONS`, at the end, is the place to add a kind of noise.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.models.flow_layers import Coupling, Transformed, convolved, listed, squeezed, unsqueezed
from genprior.models.glow_flow import Glow

LEVELS = 256
LIMIT = 3.0  # of the logarithm of the noise's deviation


class Noise(NamedTuple):
    """Noise below the last bit.

    Attributes:
        u: (B, C, H, W) in [0, 1].
        log_q: log q(u | x) (B,) in nats.
    """

    u: Tensor
    log_q: Tensor


class UniformNoise(nn.Module):
    """u ~ U(0, 1), whatever the image.

    Arguments:
        image_shape: (C, H, W).
        margin: Share of the unit interval that is left free at both ends before the logit, in (0, 0.5).
    """

    def __init__(self, image_shape: tuple[int, int, int], margin: float = 0.05) -> None:
        super().__init__()
        self.margin = _checked_margin(margin)

    def draw(self, count: int, image_shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """Returns what `forward` makes noise of, (count, C, H, W)."""
        return torch.rand(count, *image_shape, generator=generator)

    def forward(self, levels: Tensor, raw: Tensor, dtype: torch.dtype) -> Noise:
        return Noise(raw, raw.new_zeros(len(raw)))


class VariationalNoise(nn.Module):
    """u = sigmoid(m(x) + s(x) e) with e ~ N(0, I), m and s from a small network that sees the image, then couplings.

    Where a pixel is 0 the logit of u / 256 is then all but Gaussian, which a flow models at no cost; a uniform u costs
    it a quarter of a bit for each such pixel, and most pixels of a digit are 0.

    Arguments:
        image_shape: (C, H, W), H and W even.
        margin: As for `UniformNoise`.
        width: Channels of the network's hidden layers.
        steps: Couplings of the noise with itself, at least 0.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], margin: float = 1e-6, width: int = 32, steps: int = 2
    ) -> None:
        super().__init__()
        self.margin = _checked_margin(margin)
        _check_whole("width", width, 1, 4096)
        _check_whole("steps", steps, 0, 256)
        channels = 4 * image_shape[0]
        self.first = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 2 * channels, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        self.couplings = nn.ModuleList(Coupling(channels, width, given=width) for _ in range(steps))

    def draw(self, count: int, image_shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """Returns what `forward` makes noise of, (count, C, H, W)."""
        return torch.randn(count, *image_shape, generator=generator)

    def forward(self, levels: Tensor, raw: Tensor, dtype: torch.dtype) -> Noise:
        rows, e = squeezed(levels.permute(0, 2, 3, 1)), squeezed(raw.permute(0, 2, 3, 1))
        shown = torch.cat([rows / 255 - 0.5, (rows == 0).to(rows.dtype)], -1)
        hidden = F.relu_(convolved(self.first, shown.permute(0, 3, 1, 2).to(dtype, memory_format=torch.channels_last)))
        hidden = F.relu_(convolved(self.second, hidden))
        shift, log_scale = convolved(self.last, hidden).permute(0, 2, 3, 1).to(e.dtype).chunk(2, -1)
        log_scale = LIMIT * torch.tanh(log_scale / LIMIT)
        log_q = -(0.5 * e.square() + 0.5 * math.log(2 * math.pi) + log_scale).flatten(1).sum(1)
        e = shift + torch.exp(log_scale) * e
        for coupling in listed(self.couplings):
            e, log_det = coupling.encode(e.flip(-1), dtype, hidden)  # turned about, so that each half has its turn
            log_q = log_q - log_det
        # du/de = sigmoid(e) sigmoid(-e)
        log_q = log_q - (F.logsigmoid(e) + F.logsigmoid(-e)).flatten(1).sum(1)
        return Noise(unsqueezed(torch.sigmoid(e)).permute(0, 3, 1, 2), log_q)


def _check_whole(name: str, value: float, least: int, most: int) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise GenpriorError(
            f"option '{name}' must be an integer from {least} to {most}, got {value}", argument="dequantisation"
        )


def _checked_margin(margin: float) -> float:
    if not 0 < margin < 0.5:
        raise GenpriorError(f"option 'margin' must lie between 0 and 0.5, got {margin}", argument="dequantisation")
    return margin


Dequantisation = UniformNoise | VariationalNoise


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

    def _stretched(self, y: Tensor) -> Transformed:
        """v of y (B, C, H, W) in [0, 1], and log |det dv/dy| (B,)."""
        scale = 1 - 2 * self.margin
        inside = self.margin + scale * y
        low, high = inside.log(), (1 - inside).log()
        return Transformed(low - high, (math.log(scale) - low - high).flatten(1).sum(1))


def bits_per_dim(nats: Tensor, size: int) -> Tensor:
    """Returns -nats / (D log 2), for log-probabilities in nats of images of D numbers.

    Example:
        >>> bits_per_dim(torch.tensor(-784 * math.log(2)), 784)
        tensor(1.)
    """
    return -nats / (size * math.log(2))


DEQUANTISATIONS: dict[str, Callable[..., Dequantisation]] = {
    "uniform": UniformNoise,
    "variational": VariationalNoise,
}
