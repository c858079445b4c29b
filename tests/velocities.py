"""Velocities for tests: of Gaussian data, whose flow is known in closed form, and of networks with random weights."""

import torch
from torch import Tensor, nn

from genprior.models.velocity_field import VelocityField, spread_at
from genprior.models.velocity_networks import VelocityMLP
from genprior.seeding import initialised


class GaussianNetwork(nn.Module):
    """What a network would say that has learned u ~ N(mean, variance), each value for itself.

    Arguments:
        mean, variance: (C, H, W).
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """E[u - e | x_t = x], of two Gaussian variables."""
        t = t[:, None, None, None]
        slope = (t * self.variance - (1 - t)) / (t.square() * self.variance + (1 - t).square())
        return self.mean + slope * (x - t * self.mean)

    def forward(self, scaled: Tensor, t: Tensor) -> Tensor:
        spread = spread_at(t)
        x = scaled * spread
        return spread * self.velocity(x, t) - (2 * t - 1)[:, None, None, None] / spread * x


def gaussian_field(shape: tuple[int, int, int], mean: float = 0.3, spread: float = 0.25) -> VelocityField:
    """A field in float64, whose images are x ~ N(mean + spread m, spread^2 s^2) with m and s^2 of `made_gaussian`."""
    return VelocityField(GaussianNetwork(*made_gaussian(shape)), mean, spread).double()


def made_gaussian(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Means and variances (C, H, W) that differ from value to value, float64."""
    generator = torch.Generator().manual_seed(3)
    mean = 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return mean, 0.2 + torch.rand(shape, generator=generator, dtype=torch.float64)


def random_field(shape: tuple[int, int, int] = (2, 1, 1), size: float = 1.0) -> VelocityField:
    """A field of a perceptron with random weights, float64; its last layer is not 0, so its flow is not a Gaussian."""

    def made() -> VelocityMLP:
        network = VelocityMLP(shape, width=16, depth=2)
        nn.init.normal_(network.last.weight, std=size)
        return network

    return VelocityField(initialised(made, 0), 0.2, 0.5).double()
