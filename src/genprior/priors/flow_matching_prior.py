"""A trained velocity as a prior: samples, a denoiser in one evaluation, and a density by a differential equation."""

import math
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genprior.errors import GenpriorError
from genprior.models.factor_analysers import FactorAnalysers
from genprior.models.velocity_field import LEVELS, VelocityField
from genprior.priors.contracts import DenoisingPrior, LatentPrior, LikelihoodPrior, check_sides
from genprior.priors.densities import StandardNormal
from genprior.priors.flow_ode import flowed, log_densities, path_times, random_signs, unit_directions
from genprior.priors.mixture_prior import MixturePrior
from genprior.priors.noise_steps import FINEST, own_noise, spaced, uncovered
from genprior.seeding import derived_generator

SAMPLE_LEVELS = 50  # of noise, one evaluation each
BASE_LEVELS = 6  # the same where samples begin at a base; with 4 draws of a Gaussian have 0.91 of its deviation
BASE_LEVEL = 1.3  # of the noise that covers a draw of a base, in deviations of images
LEAST_COMPONENTS = 500  # of a base at which posterior draws begin: 56 lost 1.7 dB on images in colour
WIDEST = 2.7  # a level over the next one from a base on, on average
STRONGEST = 40.0  # first level of noise, in deviations of images
ENCODE_STEPS = 25  # of two evaluations each
DECODE_STEPS = 4  # of a search, which goes through all of them backwards many times
DENSITY_STEPS = 50
BOUND_LEVELS = 32  # of noise, one evaluation each, for `quantised_log_prob`
MOST_EXACT = 16  # values of an image up to which its divergence is exact
PROBES = 4
SOFTENED = 2.0  # levels: where `quantised_log_prob` ends; 1 is as good, 0.5 and 4 lose 0.04 and 0.01 bits a value
FEWEST_LEVELS = 2
AT_ONCE = 128  # images
NUMBERS_AT_ONCE = 2**21  # of images that are evaluated together
SIDES = range(16, 1025)  # of images that a network of convolutions takes
KEPT = 2**14  # numbers of a batch up to which a pass backwards finds all evaluations in memory


class MeasuredDensity(NamedTuple):
    """A log-density that was measured.

    Attributes:
        nats: (B,).
        deviation: Standard error (B,) that random directions leave, in nats; 0 where the divergence is exact.
    """

    nats: Tensor
    deviation: Tensor


class FlowMatchingPrior(LatentPrior, LikelihoodPrior, DenoisingPrior):
    """A trained velocity field, frozen and in evaluation mode. Latents are the noise that the flow begins with.

    A search goes backwards through `decode`, the solution of the differential equation from a latent. Samples have no
    latent: they take another way, see `sample`.

    Arguments:
        field: Frozen in place.
        image_shape: (C, H, W).
        sides: Heights and widths of images that its network takes beside these; None: no others.

    Attributes:
        is_bound: The density is estimated without bias; see `measured_log_prob`.
        base: Where samples begin, see `sample`; None: at white noise.
    """

    is_bound = False
    base: FactorAnalysers | None = None

    def __init__(self, field: VelocityField, image_shape: tuple[int, int, int], sides: range | None = None) -> None:
        self._sides = sides
        self.field = field.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._set_shape(image_shape)
        self._rough_dtype: torch.dtype | None = None
        self._encode_steps = ENCODE_STEPS

    def _set_shape(self, image_shape: tuple[int, int, int]) -> None:
        self.image_shape, self.latent_size = image_shape, math.prod(image_shape)
        self._normal = StandardNormal(self.latent_size)
        self._at_once = max(1, min(AT_ONCE, NUMBERS_AT_ONCE // self.latent_size))

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """All that was trained: the velocity, and the base where there is one."""
        return (self.field,) if self.base is None else (self.field, self.base)

    @property
    def sides(self) -> range | None:
        """Heights and widths of images that `of_size` takes."""
        return self._sides

    def of_size(self, height: int, width: int) -> "FlowMatchingPrior":
        """Returns the prior with the same network for images of another size; errors as the contract has them."""
        check_sides(self, height, width)
        other = copy(self)
        other._set_shape((self.image_shape[0], height, width))
        other.base = self.base if other.image_shape == self.image_shape else None
        return other

    def with_base(self, base: FactorAnalysers | None) -> "FlowMatchingPrior":
        """Returns the prior whose samples begin at draws of a mixture of images of this shape; None: at white noise.

        Draws of posteriors begin at it, too, see `under_noise`. Densities and latents are those of the flow from white
        noise.
        """
        other = copy(self)
        other.base = base
        return other

    @property
    def usual_starts(self) -> int:
        """A search starts at z = 0: others cost much, and end at images that are hardly better."""
        return 1

    @property
    def denoiser(self) -> "FlowMatchingPrior":
        """Itself."""
        return self

    @property
    def rough(self) -> "FlowMatchingPrior | None":
        """The same prior with a network in the number format that `faster_in` named; None: it named none.

        It encodes in half of the steps.
        """
        if self._rough_dtype is None:
            return None
        other = copy(self)
        other.field = copy(self.field)
        other.field.dtype, other._rough_dtype = self._rough_dtype, None
        other._encode_steps = ENCODE_STEPS // 2
        return other

    def faster_in(self, dtype: torch.dtype) -> "FlowMatchingPrior":
        """Returns the prior with a `rough` one of that number format."""
        other = copy(self)
        other._rough_dtype = dtype
        return other

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Returns z (count, D): 0 first, then draws of the standard normal."""
        z = self._normal.draw(count, generator)
        z[:1] = 0
        return z

    def draw(self, generator: torch.Generator) -> Tensor:
        """Returns z (1, D) of one sample, standard normal: the first start is none."""
        return self._normal.draw(1, generator)

    def decode(self, z: Tensor, steps: int = DECODE_STEPS) -> Tensor:
        """Returns x (B, C, H, W) for noise z (B, D); differentiable, and about in [0, 1].

        For large batches what a pass backwards needs is computed anew, so that memory holds one evaluation at a time.
        """
        if not z.shape[0]:
            return z.view(-1, *self.image_shape)
        parts = [self._solved(part, path_times(steps)) for part in torch.split(z, self._at_once)]
        return self.field.as_image(torch.cat(parts))

    def _solved(self, z: Tensor, times: Tensor) -> Tensor:
        def velocity(x: Tensor, t: Tensor) -> Tensor:
            is_large = torch.is_grad_enabled() and x.requires_grad and x.numel() > KEPT
            if not is_large:
                v: Tensor = self.field(x, t)
                return v
            v = checkpoint(self.field, x, t, use_reentrant=False, preserve_rng_state=False)
            return v

        return flowed(velocity, z.view(-1, *self.image_shape), times)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Returns z (B, D) from which the flow comes to x (B, C, H, W), up to the errors of its steps; no graph."""
        back = path_times(self._encode_steps).flip(0)
        parts = [flowed(self.field, self.field.in_path(part), back) for part in torch.split(x, self._at_once)]
        return torch.cat(parts).flatten(1)

    def energy(self, z: Tensor) -> Tensor:
        """Returns |z|^2 / 2 (B,), the negative log density of z up to a constant."""
        return self._normal.energy(z)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, first: int = 0, levels: int | None = None) -> Tensor:
        """Returns images (count, C, H, W) by ancestral sampling; image i depends on (seed, i) alone.

        Values are real numbers, as those of posterior draws are: a black pixel may be a little below 0.

        An error of the network at strong noise is covered again by the noise that each step puts back. The solution of
        the differential equation, `decode`, carries it on to the image.

        With a base, an image begins as a draw of it under noise of 1.3 deviations of images. Such noise hides what a
        mixture does not know of images, and shows what a short training has not learned: where the strokes are. So
        nothing but the finer half is left to the network, and a few evaluations do.

        Arguments:
            count: At least 0.
            seed: Any integer.
            first: Number of the first image, at least 0.
            levels: Of noise, one evaluation each; at least 2, from a base on 1. None: 50, from a base on 6.

        Raises:
            GenpriorError: Too few levels.
        """
        least, usual = (FEWEST_LEVELS, SAMPLE_LEVELS) if self.base is None else (1, BASE_LEVELS)
        levels = usual if levels is None else levels
        if levels < least:
            raise GenpriorError(f"samples need {least} or more levels of noise, got {levels}", argument="levels")
        generators = [derived_generator(seed, "sample", i) for i in range(first, first + count)]
        most = self._at_once
        parts = [self._drawn(generators[i : i + most], levels) for i in range(0, count, most)]
        return torch.cat(parts) if parts else torch.empty(0, *self.image_shape)

    def fine_sample(self, count: int, seed: int = 0) -> Tensor:
        """Returns samples by 50 evaluations, begun where draws begin; few leave images too smooth."""
        own = self.with_base(None) if self.under_noise(1.0) is None else self
        return own.sample(count, seed, levels=SAMPLE_LEVELS)

    def _drawn(self, generators: list[torch.Generator], count: int) -> Tensor:
        """One sample (R, C, H, W) for each generator."""
        clean, levels = self._begun(generators, count)
        return uncovered(self.denoise, clean + levels[0] * own_noise(generators, clean), levels, generators)

    def _begun(self, generators: list[torch.Generator], count: int) -> tuple[Tensor, list[float]]:
        """What noise covers at first (R, C, H, W), and `count` levels of the noise."""
        spread, mean = float(self.field.spread), self.field.mean
        if self.base is None:
            return mean.expand(len(generators), *self.image_shape), spaced(STRONGEST * spread, FINEST, count)
        drawn = torch.stack([self.base.draw(each) for each in generators]).view(-1, *self.image_shape).to(mean)
        top = BASE_LEVEL * spread
        least = min(FINEST, top / WIDEST)  # of images that are nearly alike the first level is below the finest
        return drawn, spaced(top, max(least, top / WIDEST ** (count - 1)), count) if count > 1 else [top]

    def denoise(self, x_noisy: Tensor, sigma: Tensor | float) -> Tensor:
        """Returns E[x | x_noisy] (B, C, H, W), for noise of standard deviation sigma above 0, one or (B,).

        Differentiable in x_noisy.

        Raises:
            GenpriorError: One sigma that is not above 0, or images of another number of channels.
        """
        if isinstance(sigma, float | int) and not 0 < sigma < math.inf:
            raise GenpriorError(f"the noise must be above 0 and finite, got {sigma}", argument="sigma")
        if x_noisy.ndim != 4 or x_noisy.shape[1] != self.image_shape[0]:
            raise GenpriorError(
                f"expected images (B, {self.image_shape[0]}, H, W), got {tuple(x_noisy.shape)}", argument="x_noisy"
            )
        levels = torch.as_tensor(sigma).to(x_noisy).expand(x_noisy.shape[0])
        pairs = zip(torch.split(x_noisy, self._at_once), torch.split(levels, self._at_once), strict=True)
        return torch.cat([self.field.denoised(*pair) for pair in pairs])

    def under_noise(self, sigma: float) -> MixturePrior | None:
        """Returns the base as a prior of images under noise of deviation sigma; None: it has too few components."""
        if self.base is None or self.base.count < LEAST_COMPONENTS:
            return None
        own = self.base
        noisy = FactorAnalysers(own.weights, own.means, own.factors, own.noise + sigma**2)
        return MixturePrior(noisy.to(self.field.mean.device), self.image_shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Returns the log-density (B,) in nats of images x (B, C, H, W) as real numbers; see `measured_log_prob`."""
        return self.measured_log_prob(x).nats

    @torch.no_grad()
    def measured_log_prob(
        self, x: Tensor, probes: int = PROBES, steps: int = DENSITY_STEPS, sigma: float = 0.0
    ) -> MeasuredDensity:
        """Returns the log-density of images x (B, C, H, W) as real numbers, and how sure it is.

        The divergence is exact for images of up to `MOST_EXACT` values. Else random signs estimate it, the same ones
        for all images at all times.

        Arguments:
            x: About in [0, 1].
            probes: Random directions, at least 2, or there is no error to state.
            steps: From the image back to noise, of two evaluations each.
            sigma: Standard deviation of Gaussian noise in x, at least 0: the density is that of noisy images.
        """
        is_exact = self.latent_size <= MOST_EXACT
        generator = derived_generator(0, "divergence")
        directions = (
            unit_directions(self.image_shape) if is_exact else random_signs(probes, self.image_shape, generator)
        )
        first = 1 / (1 + sigma / float(self.field.spread))  # where an image with that noise is on the path
        back, found = path_times(steps, first).flip(0), []
        for part in torch.split(first * self.field.in_path(x), self._at_once):
            base, changes = log_densities(self.field, part, back, directions)
            each = base - (changes.sum(0)[None] if is_exact else changes)
            spread = each.std(0) / len(each) ** 0.5 if len(each) > 1 else torch.zeros_like(base)
            found.append((each.mean(0), spread))
        nats, deviation = (torch.cat(values) for values in zip(*found, strict=True))
        return MeasuredDensity(nats + self.latent_size * (first / self.field.spread.to(x)).log(), deviation)

    @torch.no_grad()
    def quantised_log_prob(self, x: Tensor, generator: torch.Generator, levels: int = BOUND_LEVELS) -> MeasuredDensity:
        """Returns a lower bound of the log-probability (B,) of 8-bit images, as one draw that has it for its mean.

        It is that of samples, which go from white noise down to noise of two levels; by Bayes' rule the shares of the
        levels then say which image it was, each value for itself. With D(x_s) for E[x | x_s],

            log P(x) >= E[log P(x | x_a)] - int_a^b E|x - D(x_s)|^2 / s^3 ds - KL(q(x_b | x) | p(x_b))

        (Kingma et al. 2021, https://arxiv.org/abs/2107.00630, in continuous time). Each of the levels s is drawn in
        its own share of log s. Uniform noise below the last bit would have edges that no smooth density has: they cost
        a quarter of a bit for each value that is surely 0.

        Arguments:
            x: Numbers of the 256 levels / 255 (B, C, H, W).
            generator: Of the noise and of its levels.
            levels: Evaluations for each image, even, at least 2. Half of them make an estimate of their own: the
                deviation is that of the mean of both.

        Raises:
            GenpriorError: No even number of levels above 0.
        """
        if levels < 2 or levels % 2:
            raise GenpriorError(f"must be an even number of at least 2, got {levels}", argument="levels")
        least, most = SOFTENED / (LEVELS - 1), STRONGEST * float(self.field.spread)
        farthest = 0.5 * ((x - self.field.mean) / most).square().flatten(1).sum(1)
        one, other = (
            self._told_levels(x, least, generator) - self._lost_under_noise(x, least, most, levels // 2, generator)
            for _ in range(2)
        )
        return MeasuredDensity((one + other) / 2 - farthest, (one - other).abs() / 2)

    def _lost_under_noise(
        self, x: Tensor, least: float, most: float, levels: int, generator: torch.Generator
    ) -> Tensor:
        """The integral of the squared error over s^3 (B,) from one deviation of the noise to another, estimated."""
        width, lost = math.log(most / least) / levels, x.new_zeros(len(x))
        for place in range(levels):
            shares = (place + torch.rand(len(x), generator=generator)) * width
            sigmas = (least * shares.exp()).to(x)
            noise = torch.randn(x.shape, generator=generator).to(x)
            clean = self.denoise(x + sigmas.view(-1, 1, 1, 1) * noise, sigmas)
            lost += width * (clean - x).square().flatten(1).sum(1) / sigmas.square()
        return lost

    def _told_levels(self, x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
        """The log-probability (B,) that images with noise drawn onto them are taken for themselves."""
        z = x + sigma * torch.randn(x.shape, generator=generator).to(x)
        levels = torch.arange(LEVELS, device=x.device) / (LEVELS - 1)
        shares, told = self.field.shares.to(x).log(), []
        for noisy, clean in zip(z, x, strict=True):
            own = -0.5 * ((noisy - clean) / sigma).square()
            each = shares - 0.5 * ((noisy[..., None] - levels) / sigma).square()
            named = shares[(clean * (LEVELS - 1)).round().long()] + own - each.logsumexp(-1)
            told.append(named.sum())
        return torch.stack(told)
