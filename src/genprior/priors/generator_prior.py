"""Priors: what a solver may know of a generative model. Knows networks and densities of latents."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor, nn

from genprior.models.autoencoder import Recognition
from genprior.models.latent_encoder import Encoder
from genprior.priors.densities import Density, StandardNormal
from genprior.priors.preconditioner import inverse_curvature
from genprior.seeding import derived_generator

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


def dtype_of(prior: Prior) -> torch.dtype:
    """Returns the precision of a prior's latents, in which all that is compared with its images is computed."""
    return prior.start(1, torch.Generator().manual_seed(0)).dtype


@torch.no_grad()
def sampled(prior: Prior, draw: Callable[[torch.Generator], Tensor], count: int, seed: int) -> Tensor:
    """Returns x (count, C, H, W) of a prior, image i decoded from z (1, k) that is drawn from (seed, i) alone."""
    z = [draw(derived_generator(seed, "sample", i)) for i in range(count)]
    parts = [prior.decode(part) for part in torch.split(torch.cat(z), SAMPLES_AT_ONCE)] if z else []
    return torch.cat(parts) if parts else torch.empty(0, *prior.image_shape)


class GeneratorPrior:
    """A trained generator, frozen and in evaluation mode, with a density of its latents.

    Arguments:
        generator: z (B, k) -> x (B, C, H, W); it is frozen in place.
        latent_size: k.
        image_shape: (C, H, W).
        density: Of z; None: the standard normal.

    Attributes:
        rough_dtype: A number format in which the generator is faster, and which it takes from its input; or None.
    """

    rough_dtype: torch.dtype | None = None

    def __init__(
        self,
        generator: nn.Module,
        latent_size: int,
        image_shape: tuple[int, int, int],
        density: Density | None = None,
    ) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.latent_size, self.image_shape = latent_size, image_shape
        self.density = density or StandardNormal(latent_size)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that was trained."""
        return (self.generator,)

    @cached_property
    def preconditioner(self) -> Tensor:
        """(k, k), the inverse curvature of `decode` on average; found when it is first asked for, in about a second."""
        return inverse_curvature(self.decode, self.start(10 * self.latent_size, derived_generator(0, "preconditioner")))

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, k), drawn from the density."""
        return self.density.draw(count, generator)

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) in [0, 1] for z (B, k); differentiable in z."""
        x: Tensor = self.generator(z)
        return x

    def energy(self, z: Tensor) -> Tensor:
        """Returns the negative log density of z (B,) up to a constant, |z|^2 / 2 under a standard normal."""
        return self.density.energy(z)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Returns x (count, C, H, W); image i depends on (seed, i) alone, whatever the count."""
        return sampled(self, partial(self.start, 1), count, seed)


class RoughPrior:
    """A prior that decodes in its rougher number format.

    Arguments:
        prior: With a `rough_dtype`.
    """

    def __init__(self, prior: GeneratorPrior) -> None:
        self.prior, self.latent_size, self.image_shape = prior, prior.latent_size, prior.image_shape
        self.start, self.energy, self.sample = prior.start, prior.energy, prior.sample

    @property
    def preconditioner(self) -> Tensor:
        """That of the prior."""
        return self.prior.preconditioner

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) in the number format of z (B, k), rounded to the rougher one."""
        return self.prior.decode(z.to(self.prior.rough_dtype)).to(z.dtype)


class EncodedPrior(GeneratorPrior):
    """A generator with a network that leads back: a search may start near its end.

    Arguments:
        generator, latent_size, image_shape, density: As for `GeneratorPrior`.
        encoder: Trained for this generator; it is frozen in place.
    """

    def __init__(
        self,
        generator: nn.Module,
        latent_size: int,
        image_shape: tuple[int, int, int],
        encoder: Encoder | Recognition,
        density: Density | None = None,
    ) -> None:
        super().__init__(generator, latent_size, image_shape, density)
        self.encoder = encoder.eval().requires_grad_(False)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that was trained."""
        return self.generator, self.encoder

    @torch.no_grad()
    def encode(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Returns z (B, k) float32 with G(z) near x, and without a graph.

        Arguments:
            x: (B, C, H, W), about [0, 1]; what stands in unknown pixels has no influence.
            known: (B, 1, H, W) or (1, 1, H, W), 0 where a pixel is unknown; None: all are known.

        Raises:
            GenpriorError: x or known has another shape.
        """
        shown = x.to(torch.float32)
        parts = [
            self.encoder.encode(shown[first : first + SAMPLES_AT_ONCE], _part(known, first))
            for first in range(0, len(x), SAMPLES_AT_ONCE)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.latent_size)


def _part(known: Tensor | None, first: int) -> Tensor | None:
    """The rows of a mask that belong to the images from `first` on; a single mask belongs to all."""
    return known if known is None or len(known) == 1 else known[first : first + SAMPLES_AT_ONCE]
