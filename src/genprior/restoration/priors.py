"""Priors: what a solver may know of a generative model. Imports seeding only."""

from typing import Protocol

import torch
from torch import Tensor, nn

from genprior.seeding import normal_per_sample

SAMPLES_AT_ONCE = 256


class Prior(Protocol):
    """A distribution over images x, reached through flat latents z (B, k). Samples never influence each other."""

    latent_size: int
    image_shape: tuple[int, int, int]

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, k) from which a search may start."""

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) for z (B, k); differentiable."""

    def energy(self, z: Tensor) -> Tensor:
        """Returns (B,) in nats, up to a constant; lower is more plausible."""

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Returns x (count, C, H, W)."""


class GeneratorPrior:
    """A trained generator with standard normal latents, frozen and in evaluation mode.

    Arguments:
        generator: z (B, k) -> x (B, C, H, W); it is frozen in place.
        latent_size: k.
        image_shape: (C, H, W).
    """

    def __init__(self, generator: nn.Module, latent_size: int, image_shape: tuple[int, int, int]) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.latent_size, self.image_shape = latent_size, image_shape

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, k), standard normal."""
        return torch.randn(count, self.latent_size, generator=generator)

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) in [0, 1] for z (B, k); differentiable in z."""
        x: Tensor = self.generator(z)
        return x

    def energy(self, z: Tensor) -> Tensor:
        """Returns |z|^2 / 2 (B,), the negative log density of z up to a constant."""
        return 0.5 * z.square().sum(1)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Returns x (count, C, H, W); image i depends on (seed, i) alone, whatever the count."""
        z = normal_per_sample(seed, "sample", 0, count, self.latent_size)
        parts = [self.decode(part) for part in torch.split(z, SAMPLES_AT_ONCE) if len(part)]
        return torch.cat(parts) if parts else torch.empty(0, *self.image_shape)
