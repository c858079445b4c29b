"""Draws of images from their posterior, by a denoiser that is guided by what was measured. Knows problems and seeds.

An image is drawn by taking noise off step by step, from so much that nothing is seen to none. Each step goes to the
guided mean and puts back less noise than there was (ancestral sampling, Ho et al. 2020,
https://arxiv.org/abs/2006.11239, in the second-order form of Lu et al. 2022, https://arxiv.org/abs/2211.01095). The
guidance is exact for Gaussians alone, and least so where noise is strong. So the draw is covered with noise and
uncovered again, some times over. Each time it forgets errors that were made above (Lugmayr et al. 2022,
https://arxiv.org/abs/2201.09865).

Where a coarser prior has a posterior in closed form, draws begin there, under less noise, and go one way. What the
guidance errs at where noise is strong, the closed form knows.

Where the level of the noise in a measurement is not known, it is drawn after each pass, given the image that was drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.memory import in_parts
from genprior.priors.contracts import DenoisingPrior
from genprior.priors.noise_steps import FINEST, own_noise, spaced, uncovered
from genprior.restoration.begun_draws import COVERED_TO, begun_draws, may_begin
from genprior.restoration.fidelity import UNKNOWN, noise_scale
from genprior.restoration.guided_denoising import guided_mean
from genprior.restoration.problem import Problem
from genprior.restoration.search_settings import SearchSettings
from genprior.seeding import derived_generator, derived_seed

AT_ONCE, NUMBERS_AT_ONCE = 64, 2**20  # draws, and their pixels: what the way back needs of each stays in memory
STRONGEST = 3.0  # standard deviation of noise on images in [0, 1], at first
TURN = 0.3  # at which all passes but the last end
TOPS = (1.2, 0.8)  # of the passes between the first and the last
LAST = 0.6  # where the last pass begins
LEAST_SCALE = 4e-6  # of the square of a residual: less is no noise
USUAL = 0.1  # level of an unknown noise, which counts for as much as one or two residuals


def passes(count: int) -> list[list[float]]:
    """Returns the levels of noise of each pass, `count` in all: a first one from the strongest, short ones, a last.

    Arguments:
        count: At least 8.

    Example:
        >>> [len(each) for each in passes(24)]
        [6, 4, 3, 11]
    """
    first, last = max(3, min(count // 4, 6)), max(3, min(11 * count // 24, 11))
    left = count - first - last
    many = max(1, (left + 1) // 4) if left > 1 else 0
    own = [left // many + (k < left % many) for k in range(many)] if many else []
    tops = spaced(*TOPS, many) if many > 1 else [math.sqrt(TOPS[0] * TOPS[1])]
    between = [spaced(top, TURN, length) for top, length in zip(tops, own, strict=False)]
    return [spaced(STRONGEST, TURN, count - last - sum(own)), *between, spaced(LAST, FINEST, last)]


def evaluations(count: int, rounds: int = SearchSettings.rounds) -> int:
    """Returns how often the network is evaluated for a draw with `count` levels, passes backwards included."""
    return count * (1 + rounds)


@dataclass(frozen=True)
class ImageSampler:
    """Draws images that explain measurements; a draw depends on the seed and on two numbers, its image's and its own.

    Attributes:
        problem: Measurements, and how images are compared with them.
        denoiser: E[x | x_noisy], differentiable.
        levels: Of noise, from the strongest to none, in all passes; at least 8.
        is_linear: Whether the operator is.
        seed: Any integer.
        first: Number of the first image, at least 0.
        rounds: Of conjugate gradients at each level, at least 1.
        is_shared: Whether the operator is the same for all images.
    """

    problem: Problem
    denoiser: DenoisingPrior
    levels: int
    is_linear: bool
    seed: int = 0
    first: int = 0
    rounds: int = SearchSettings.rounds
    is_shared: bool = False

    @torch.no_grad()
    def draw(self, count: int, scale: float | None) -> tuple[Tensor, Tensor]:
        """Returns draws (B, S, C, H, W), and the scale of the noise that each was made with (B, S).

        Arguments:
            count: S, at least 1.
            scale: Of the noise in all measurements, at least 0; None where it is not known.
        """
        begun = self._begun(count, scale)
        images = len(self.problem.y)
        who = torch.arange(images, device=self.problem.y.device).repeat_interleave(count)
        numbers = list(range(count)) * images
        most = max(1, min(AT_ONCE, NUMBERS_AT_ONCE // math.prod(self.denoiser.image_shape)))

        def walked(part: range) -> tuple[Tensor, Tensor]:
            own = [numbers[i] for i in part]
            rows = who[part.start : part.stop]
            return self._walked(rows, own, scale, None if begun is None else (begun[0][rows, own], begun[1][rows]))

        found = in_parts(len(who), most, walked)
        x, scales = (torch.cat(parts) for parts in zip(*found, strict=True))
        return x.view(images, count, *x.shape[1:]), scales.view(images, count)

    def _begun(self, count: int, scale: float | None) -> tuple[Tensor, Tensor] | None:
        """What noise covers at first (B, S, C, H, W), and its own level (B,); None: nothing is."""
        if scale is None or not may_begin(self.problem, scale, self.is_linear):
            return None
        return begun_draws(self.problem, self.denoiser, count, scale, self.is_shared, self.seed, self.first)

    def _walked(
        self, who: Tensor, numbers: Sequence[int], known: float | None, begun: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """One draw for each row (R, C, H, W), and its scale (R,)."""
        generators = [
            derived_generator(derived_seed(self.seed, "images drawn", self.first + image), "draw", number)
            for image, number in zip(who.tolist(), numbers, strict=True)
        ]
        scale = self._first_scale(who, known)
        if begun is not None:
            levels = spaced(COVERED_TO, FINEST, self.levels)
            more = (COVERED_TO**2 - begun[1].square()).sqrt().view(-1, 1, 1, 1)
            covered = begun[0] + more * own_noise(generators, begun[0])
            return self._pass(covered, levels, who, scale, generators), scale
        x = self.problem.y.new_zeros(len(who), *self.denoiser.image_shape)
        for levels in passes(self.levels):
            x = self._pass(x + levels[0] * own_noise(generators, x), levels, who, scale, generators)
            if known is None:
                scale = self._drawn_scale(x, who, generators)
        return x, scale

    def _pass(
        self, x: Tensor, levels: list[float], who: Tensor, scale: Tensor, generators: list[torch.Generator]
    ) -> Tensor:
        """From x (R, C, H, W) with noise of the first of the levels to an image without any."""

        def denoised(x: Tensor, level: float) -> Tensor:
            return guided_mean(self.problem, self.denoiser, x, level, who, scale, self.is_linear, self.rounds)

        return uncovered(denoised, x, levels, generators)

    def _first_scale(self, who: Tensor, known: float | None) -> Tensor:
        counts = self.problem.counts[who]
        if known is not None:
            return torch.full_like(counts, max(known, LEAST_SCALE))
        least = self.problem.fidelity.scale(torch.zeros_like(counts))  # above 0 where noise has a level of its own
        return torch.where(least > 0, least, noise_scale(self.problem.fidelity, torch.full_like(counts, UNKNOWN)))

    def _drawn_scale(self, x: Tensor, who: Tensor, generators: list[torch.Generator]) -> Tensor:
        """The scale (R,) given images: an inverse gamma, as the data term is -log p(y) up to n log s.

        n is half of the measurements for a squared residual and all of them for an absolute one. The prior of s is an
        inverse gamma of shape 1: with 1 / s in its place, images that explain all of y would have all of the density.
        A noise with a level of its own, as photon counts have, has a scale that is known.
        """
        from scipy.special import gammaincinv

        counts, fidelity = self.problem.counts[who], self.problem.fidelity
        misfit = self.problem.misfit_of(self.problem.measure(x, who), who).clamp_min(LEAST_SCALE)
        shown = fidelity.scale(misfit / counts)
        shape = (1 + misfit / shown).double().cpu().numpy()
        uniform = torch.cat([torch.rand(1, generator=each, dtype=torch.float64) for each in generators]).numpy()
        usual = noise_scale(fidelity, torch.full_like(counts, USUAL))
        drawn = (usual + misfit) / torch.from_numpy(gammaincinv(shape, uniform)).to(misfit)
        own = fidelity.scale(torch.zeros_like(counts))
        return torch.where(own > 0, own, torch.where(drawn.isfinite(), drawn, shown)).clamp_min(LEAST_SCALE)
