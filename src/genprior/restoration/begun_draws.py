"""Where draws of images may begin: at draws of a coarser prior, whose posterior has a closed form. Knows problems."""

import math

import torch
from torch import Tensor

from genprior.priors.contracts import DenoisingPrior
from genprior.priors.gaussian_posterior import LinearMap
from genprior.priors.noise_steps import own_noise
from genprior.restoration.closed_form import LEAST_NOISE, images_at_once
from genprior.restoration.fidelity import L2
from genprior.restoration.problem import Problem
from genprior.seeding import derived_generator, derived_seed

COVERED_TO = 1.2  # level of the noise, all in all, that covers a draw of the coarser prior
GRAIN = 0.3  # of it the most that the coarser prior takes for its own: what it does not know of images
FEW = 100  # numbers of a measurement
PROBES = 16  # images of white noise


def may_begin(problem: Problem, scale: float | None, is_linear: bool) -> bool:
    """Returns whether a closed form knows a problem, and is quick.

    That is so for Gaussian noise of a known level and a mask, or few numbers. Of many passes make as much, sooner.
    """
    if not is_linear or scale is None or not isinstance(problem.fidelity, L2):
        return False
    count = problem.y.shape[1]
    if count <= FEW:
        return True
    zero = torch.zeros(1, dtype=torch.long, device=problem.y.device)
    own = LinearMap(lambda x: problem.measure(x, zero.expand(len(x))), problem.prior.image_shape, problem.y)
    return own.diagonal is not None


def grain_of(problem: Problem, one: Tensor) -> float:
    """Returns the level of the noise that the coarser prior takes for its own: at most `GRAIN` in a measurement, too.

    An operator that adds up many pixels would make much of it, and would hide what was measured.

    Arguments:
        problem: What is to be explained.
        one: Number (1,) of the image whose operator it is.
    """
    like = problem.y.new_zeros(PROBES, *problem.prior.image_shape)
    noise = own_noise([derived_generator(0, "grain", i) for i in range(PROBES)], like)
    seen = problem.seen[one]
    measured = (problem.measure(noise, one.expand(PROBES)).square() * seen).sum() / (PROBES * seen.sum().clamp_min(1))
    return GRAIN / max(1.0, math.sqrt(float(measured)))


def begun_draws(
    problem: Problem, denoiser: DenoisingPrior, count: int, scale: float, is_shared: bool, seed: int, first: int
) -> tuple[Tensor, Tensor] | None:
    """Returns draws (B, S, C, H, W) of images under noise, and its levels (B,); None: there is no coarser prior.

    Draw s of image i depends on (seed, first + i, s) alone.

    Arguments:
        problem: What is to be explained; see `may_begin`.
        denoiser: The prior of images.
        count: S, at least 1.
        scale: Of the noise in all measurements, at least 0.
        is_shared: Whether the operator is the same for all images.
        seed: Any integer.
        first: Number of the first image, at least 0.
    """
    usual = denoiser.under_noise(GRAIN)
    if usual is None:
        return None
    sigma, parts, grains = max(math.sqrt(scale), LEAST_NOISE), [], []
    at_once = images_at_once(problem, usual) if is_shared else 1
    for who in torch.split(torch.arange(len(problem.y), device=problem.y.device), at_once):

        def measure(x: Tensor, one: Tensor = who[:1]) -> Tensor:
            return problem.measure(x, one.expand(len(x)))

        grain = grain_of(problem, who[:1])
        coarse = denoiser.under_noise(grain)
        assert coarse is not None, "a prior that has one of a level has one of all"
        posterior = coarse.posterior(problem.y[who], measure, sigma)
        numbers = [first + i for i in who.tolist()]
        each = [posterior.draws(1, derived_seed(seed, "images begun", s), numbers) for s in range(count)]
        parts.append(torch.cat(each, 1))
        grains.append(torch.full_like(problem.y[who, 0], grain))
    return torch.cat(parts), torch.cat(grains)
