"""What a solver may know of a model: small protocols that a prior declares itself to keep. Imports errors and seeding.

A prior of your own inherits `LatentPrior` and writes `image_shape`, `latent_size`, `start`, `decode` and `energy`. All
else has a default, which is None where it stands for something that the prior cannot do.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from genprior.errors import GenpriorError
from genprior.seeding import derived_generator

if TYPE_CHECKING:
    from genprior.models.autoencoder import Recognition
    from genprior.models.factor_analysers import FactorAnalysers
    from genprior.models.latent_encoder import Encoder
    from genprior.models.range_residual import RangeResidual

SAMPLES_AT_ONCE = 256
USUAL_STARTS = 8  # where no start is known to be good


class Prior(Protocol):
    """A distribution over images x (B, C, H, W). Samples never influence each other.

    Attributes:
        image_shape: (C, H, W).
    """

    image_shape: tuple[int, int, int]

    @abstractmethod
    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Returns x (count, C, H, W), count at least 0; image i depends on (seed, i) alone, whatever the count."""

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that was trained: their weights tell this prior from others."""
        return ()


class LatentPrior(Prior, Protocol):
    """A prior that is reached through flat latents z (B, k).

    Attributes:
        latent_size: k, at least 1.
    """

    latent_size: int

    @abstractmethod
    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, k) from which a search may start; their dtype is the one that everything is computed in."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Returns x (B, C, H, W) for z (B, k); differentiable."""

    @abstractmethod
    def energy(self, z: Tensor) -> Tensor:
        """Returns -log p(z) (B,) in nats, up to a constant; lower is more plausible."""

    def sample(self, count: int, seed: int = 0, first: int = 0) -> Tensor:
        """Returns decoded draws x (count, C, H, W), those with the numbers from `first` on."""
        return sampled(self, self.draw, count, seed, first)

    def fine_sample(self, count: int, seed: int = 0) -> Tensor:
        """Returns samples drawn as well as they can be, where `sample` gives up a little for speed."""
        return self.sample(count, seed)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Returns z (1, k) of one sample; of a prior whose starts are draws of its density, a start."""
        return self.start(1, generator)

    def local_factors(self, z: Tensor) -> Tensor | None:
        """Returns L (k, r), with images near z (k,) those of z + L n for standard normal n; None: L is the identity."""
        return None

    @property
    def usual_starts(self) -> int:
        """How many searches of an image are worth their time where the user names no number, at least 1."""
        return USUAL_STARTS

    @property
    def preconditioner(self) -> Tensor | None:
        """First guess of the objective's inverse Hessian in z, up to a factor (k, k); None: the identity."""
        return None

    @property
    def encode(self) -> Callable[[Tensor], Tensor] | None:
        """x (B, C, H, W) -> z (B, k) with decode(z) near x, from which the search for an image starts."""
        return None

    @property
    def encodes_exactly(self) -> bool:
        """Whether decode(encode(x)) is x, up to rounding, for every image: inverting it then takes no search."""
        return False

    @property
    def encode_damaged(self) -> Callable[[Tensor, Tensor | None], Tensor] | None:
        """The same for damaged images, from which the search for a measurement starts.

        Arguments are x (B, C, H, W), about [0, 1], and which pixels are known, (B, 1, H, W) or (1, 1, H, W) with 0 for
        unknown ones, or None where all are. What stands in unknown pixels has no influence.
        """
        return None

    @property
    def residual(self) -> "RangeResidual | None":
        """What real images have beside the prior's; draws of posteriors have it too. None: it is not known."""
        return None

    @property
    def rough(self) -> "LatentPrior | None":
        """The same prior in a number format in which it is faster."""
        return None

    @property
    def easier(self) -> "Sequence[tuple[LatentPrior, float]]":
        """Forms of the prior that are easier to search in, the easiest first, and the noise to be assumed in each.

        Searches that make draws go through them before its own form. The noise is a standard deviation in the units of
        the measurement; where there is more, that is assumed. Latents must be standard normal.
        """
        return ()

    @property
    def conditional(self) -> "ConditionalPrior | None":
        """The prior as one whose posterior has a closed form; None where images have to be searched for."""
        return None

    @property
    def denoiser(self) -> "DenoisingPrior | None":
        """The prior as one that takes Gaussian noise out at once; None where images have to be searched for."""
        return None

    @property
    def sides(self) -> range | None:
        """Which heights and widths of images `of_size` takes; None: only images of `image_shape` are known."""
        return None

    def of_size(self, height: int, width: int) -> "LatentPrior":
        """Returns the prior for images of another size.

        Raises:
            GenpriorError: A height or width that is not one of `sides`, where it is another than the prior's own.
        """
        check_sides(self, height, width)
        return self

    def faster_in(self, dtype: torch.dtype) -> "LatentPrior":
        """Returns the prior with a `rough` one of that number format; itself where it has no use for that."""
        return self

    def with_residual(self, residual: "RangeResidual | None") -> "LatentPrior":
        """Returns the prior with what real images have beside its own; itself where it has no use for that."""
        return self

    def with_base(self, base: "FactorAnalysers | None") -> "LatentPrior":
        """Returns the prior with a mixture that its samples begin at; itself where it has no use for that."""
        return self

    def with_encoder(self, encoder: "Encoder | Recognition") -> "LatentPrior":
        """Returns the prior with a trained way back; itself where its own is exact.

        Arguments:
            encoder: Trained for this prior; its method `encode` is what `encode_damaged` describes.
        """
        return self


class DenoisingPrior(Prior, Protocol):
    """A prior that takes Gaussian noise out of images; `genprior.PriorDenoiser` makes a denoiser of deepinv of it."""

    @abstractmethod
    def denoise(self, x_noisy: Tensor, sigma: Tensor | float) -> Tensor:
        """Returns E[x | x_noisy] (B, C, H, W), for noise of standard deviation sigma above 0, one or (B,).

        Draws of a posterior need it differentiable in x_noisy.
        """

    def under_noise(self, sigma: float) -> "ConditionalPrior | None":
        """Returns a coarser prior of images under noise of standard deviation sigma, for draws to begin at.

        None: there is none, and they begin at noise.
        """
        return None


class Posterior(Protocol):
    """The images x that explain measurements y (B, ...), and how likely they are.

    Attributes:
        mean: E[x | y] (B, C, H, W).
        log_evidence: log p(y) (B,) in nats.
        weights: Probabilities (B, K) of the kinds of images that are told apart.
        means: E[x | y] of each kind (K, B, C, H, W).
    """

    mean: Tensor
    log_evidence: Tensor
    weights: Tensor
    means: Tensor

    @abstractmethod
    def draws(self, count: int, seed: int = 0, numbers: Sequence[int] | None = None) -> Tensor:
        """Returns x (B, count, C, H, W); those of measurement i depend on (seed, numbers[i]) alone; None: (seed, i)."""


class ConditionalPrior(Prior, Protocol):
    """A prior whose posterior under Gaussian noise has a closed form."""

    @abstractmethod
    def posterior(self, y: Tensor, A: Callable[[Tensor], Tensor], sigma: Tensor | float) -> Posterior:
        """Returns the posterior for y = A x + sigma n (B, ...), n standard normal.

        Arguments:
            y: Measurements.
            A: A linear map of images (R, C, H, W) for any R, the same for all; such as `physics.A` of deepinv.
            sigma: Above 0: one number, or one for each number of a measurement (M,).
        """


class LikelihoodPrior(Prior, Protocol):
    """A prior that says how probable an image is.

    Attributes:
        is_bound: Whether `log_prob` is a lower bound; otherwise it is exact.
    """

    is_bound: bool

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Returns log p(x) (B,) in nats for x (B, C, H, W) in [0, 1], or a bound of it; a function of x alone."""


def takes_sides(prior: LatentPrior, sides: Sequence[int]) -> bool:
    """Returns whether all of a height and a width are among a prior's `sides`."""
    return prior.sides is not None and all(side in prior.sides for side in sides)


def check_sides(prior: LatentPrior, height: int, width: int) -> None:
    """Raises `GenpriorError` where a prior cannot be one of images of that height and width."""
    own, sides = prior.image_shape[1:], prior.sides
    if (height, width) == own or takes_sides(prior, (height, width)):
        return
    fitting = "" if sides is None else f", or from {sides[0]} to {sides[-1]:,} pixels a side"
    raise GenpriorError(
        f"the prior is for images of {own[0]} x {own[1]} pixels{fitting}, got {height} x {width}", argument="size"
    )


def dtype_of(prior: LatentPrior) -> torch.dtype:
    """Returns the precision of a prior's latents, in which all that is compared with its images is computed."""
    return prior.start(1, torch.Generator().manual_seed(0)).dtype


@torch.no_grad()
def sampled(
    prior: LatentPrior, draw: Callable[[torch.Generator], Tensor], count: int, seed: int, first: int = 0
) -> Tensor:
    """Returns x (count, C, H, W) of a prior, image i decoded from z (1, k) that is drawn from (seed, i) alone.

    Arguments:
        prior: Decodes.
        draw: One z.
        count: At least 0.
        seed: Any integer.
        first: Number i of the first image, at least 0.
    """
    z = latents_of(draw, count, seed, first)
    parts = [prior.decode(part) for part in torch.split(torch.cat(z), SAMPLES_AT_ONCE)] if z else []
    return torch.cat(parts) if parts else torch.empty(0, *prior.image_shape, dtype=torch.float32)


def latents_of(draw: Callable[[torch.Generator], Tensor], count: int, seed: int, first: int = 0) -> list[Tensor]:
    """Returns the latents (1, k) of `count` samples from the `first` on; those of image i depend on (seed, i) alone."""
    return [draw(derived_generator(seed, "sample", i)) for i in range(first, first + count)]
