"""A trained generator as a prior: with a density of its latents, an encoder, or in a rougher number format."""

from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import Self

import torch
from torch import Tensor, nn

from genprior.models.autoencoder import Recognition
from genprior.models.latent_encoder import Encoder, check_shape
from genprior.models.range_residual import RangeResidual
from genprior.priors.contracts import SAMPLES_AT_ONCE, LatentPrior
from genprior.priors.densities import Density, StandardNormal
from genprior.seeding import derived_generator

ROWS_AT_ONCE = 256
FLOOR = 0.01  # share of the largest curvature below which directions are taken to be equal


class GeneratorPrior(LatentPrior):
    """A trained generator, frozen and in evaluation mode, with a density of its latents.

    Arguments:
        generator: z (B, k) -> x (B, C, H, W); it is frozen in place.
        latent_size: k.
        image_shape: (C, H, W).
        density: Of z; None: the standard normal.
    """

    _rough_dtype: torch.dtype | None = None
    _residual: RangeResidual | None = None

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
        """(k, k), the inverse curvature of `decode` on average; found on first use, in about a second."""
        count = min(10 * self.latent_size, 1000 + 2 * self.latent_size)  # of long latents fewer will do
        return inverse_curvature(self.decode, self.start(count, derived_generator(0, "preconditioner")))

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

    @property
    def rough(self) -> "RoughPrior | None":
        """The prior in the number format that `faster_in` named; None: it named none."""
        return None if self._rough_dtype is None else RoughPrior(self, self._rough_dtype)

    def faster_in(self, dtype: torch.dtype) -> "GeneratorPrior":
        """Returns the prior with a `rough` one; the generator takes the number format from its input."""
        other = copy(self)
        other._rough_dtype = dtype
        return other

    @property
    def residual(self) -> RangeResidual | None:
        """What `with_residual` gave."""
        return self._residual

    def with_residual(self, residual: RangeResidual | None) -> Self:
        """Returns the prior with what real images have beside its own."""
        other = copy(self)
        other._residual = residual
        return other

    def with_encoder(self, encoder: Encoder | Recognition) -> "EncodedPrior":
        """Returns the prior with a trained way back, which replaces one that it had."""
        other = EncodedPrior(self.generator, self.latent_size, self.image_shape, encoder, self.density)
        return other.with_residual(self._residual)


class RoughPrior(LatentPrior):
    """A prior that decodes in a rougher number format.

    Arguments:
        prior: Its generator takes the number format from its input.
        dtype: The rougher format.
    """

    def __init__(self, prior: GeneratorPrior, dtype: torch.dtype) -> None:
        self.prior, self.dtype = prior, dtype
        self.latent_size, self.image_shape = prior.latent_size, prior.image_shape

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Those of the prior."""
        return self.prior.networks

    @property
    def preconditioner(self) -> Tensor:
        """That of the prior."""
        return self.prior.preconditioner

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns starts of the prior z (count, k)."""
        return self.prior.start(count, generator)

    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) in the number format of z (B, k), rounded to the rougher one."""
        return self.prior.decode(z.to(self.dtype)).to(z.dtype)

    def energy(self, z: Tensor) -> Tensor:
        """Returns the energy of the prior (B,)."""
        return self.prior.energy(z)

    def sample(self, count: int, seed: int = 0, first: int = 0) -> Tensor:
        """Returns samples of the prior itself."""
        return self.prior.sample(count, seed, first)


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
        if not x.shape[0]:
            return torch.empty(0, self.latent_size, dtype=torch.float32)
        if known is None:
            known = x.new_ones(1, 1, *self.image_shape[1:])
        check_shape("x", x, self.image_shape, (x.shape[0],))
        check_shape("known", known, (1, *self.image_shape[1:]), (x.shape[0], 1))  # of all, before x is in parts
        parts = torch.split(x.to(torch.float32), SAMPLES_AT_ONCE)
        masks = [known] * len(parts) if known.shape[0] == 1 else torch.split(known, SAMPLES_AT_ONCE)
        return torch.cat([self.encoder.encode(*pair) for pair in zip(parts, masks, strict=True)])

    def encode_damaged(self, x: Tensor, known: Tensor | None) -> Tensor:
        """Returns z (B, k) float32, as `encode` does."""
        return self.encode(x, known)


def inverse_curvature(decode: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Returns the inverse of E[J^T J] (k, k), J the Jacobian of `decode`, scaled to trace k.

    Directions of z in which the image changes much are steep in every search, whatever its image: with this as its
    first guess of the inverse Hessian, a quasi-Newton method need not find that out again for each one. The mean is
    estimated by products J^T v with v standard normal, for E[J^T v v^T J] = E[J^T J].

    Arguments:
        decode: z (B, k) -> x (B, ...), differentiable.
        z: Typical latents (N, k); ten times as many as there are dimensions will do, of hundreds three times.
    """
    generator = derived_generator(0, "preconditioner")
    slopes = torch.cat([_random_slope(decode, part, generator) for part in torch.split(z, ROWS_AT_ONCE)])
    values, vectors = torch.linalg.eigh((slopes.T @ slopes / len(z)).double())
    inverse = 1 / (values + FLOOR * values[-1])
    inverse *= len(inverse) / inverse.sum()
    guess: Tensor = (vectors * inverse @ vectors.T).to(z)
    return guess


@torch.enable_grad()
def _random_slope(decode: Callable[[Tensor], Tensor], z: Tensor, generator: torch.Generator) -> Tensor:
    """J^T v (B, k)."""
    z = z.detach().requires_grad_()
    x = decode(z)
    v = torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x)
    slope: Tensor = torch.autograd.grad(x, z, v)[0]
    return slope
