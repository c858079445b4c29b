"""Draws of images from a latent prior's posterior: latents, and beside them what the prior's range lacks.

Knows problems, samplers and residuals.
"""

from dataclasses import replace

import torch
from torch import Tensor

from genprior.models.range_residual import RangeResidual
from genprior.priors.gaussian_posterior import LinearMap
from genprior.priors.measured_residual import MeasuredResidual
from genprior.restoration.fidelity import L2, noise_scale
from genprior.restoration.latent_sampler import LatentDraws, draw_latents
from genprior.restoration.problem import ROWS_AT_ONCE, Problem
from genprior.restoration.randomised_search import randomised_latents
from genprior.seeding import derived_generator

LINEAR = 1e-3  # share by which an operator may miss the sum of two images


@torch.no_grad()
def draw_images(
    problem: Problem, image: int, level: float | None, count: int, generator: torch.Generator
) -> tuple[Tensor, LatentDraws]:
    """Returns draws x (count, C, H, W) of one image, and their latents.

    A prior with easier forms is searched many times. A prior's residual is drawn, too, where the noise is Gaussian of a
    known level and the operator linear. Elsewhere draws stay in the prior's range.

    Arguments:
        problem: What is to be explained.
        image: Place of the image in the problem.
        level: Standard deviation of the noise; None where it is not known.
        count: At least 1.
        generator: All that is random comes from it.
    """
    if problem.prior.easier and level:
        found = randomised_latents(problem, image, level, count, generator)
        return _decoded(problem, found.z), found
    residual = problem.prior.residual
    if residual is None or not level or problem.fidelity != L2() or not _is_linear(problem, image):
        own = draw_latents(problem, image, _scale(problem, level), count, generator)
        return _decoded(problem, own.z), own
    return _beside_residual(problem, image, residual, level, count, generator)


def _beside_residual(
    problem: Problem, image: int, residual: RangeResidual, level: float, count: int, generator: torch.Generator
) -> tuple[Tensor, LatentDraws]:
    """z under the likelihood N(y; A G(z), A D A^T + level^2), then d given z."""
    who = torch.tensor([image], device=problem.y.device)

    def measure(x: Tensor, _: Tensor | None = None) -> Tensor:
        return problem.measure(x, who.expand(len(x))) * problem.seen[who]

    own = RangeResidual(residual.factors.to(problem.y), residual.noise.to(problem.y))
    seen = MeasuredResidual(own, LinearMap(measure, problem.prior.image_shape, problem.y), level)
    y = problem.y[who] * problem.seen[who]
    white = replace(
        problem,
        measure=lambda x, row: seen.whitened(measure(x)),
        y=seen.whitened(y),
        seen=problem.seen[who],
    )
    drawn = draw_latents(white, 0, 1.0, count, generator)
    return seen.added(_decoded(problem, drawn.z), y[0], drawn.scale.clamp_min(1.0), generator), drawn


def _scale(problem: Problem, level: float | None) -> float | None:
    """Returns the scale of the data term; None: to be drawn. Photon counts have one of their own, which is known."""
    if level is None:
        return float(problem.fidelity.scale(problem.y.new_zeros(1))) or None
    return float(noise_scale(problem.fidelity, problem.y.new_tensor([level])))


def _decoded(problem: Problem, z: Tensor) -> Tensor:
    return torch.cat([problem.prior.decode(part) for part in torch.split(z, ROWS_AT_ONCE)])


def _is_linear(problem: Problem, image: int) -> bool:
    """Whether A(a + b) = A(a) + A(b) of two images of noise."""
    generator = derived_generator(0, "is linear")
    a, b = torch.rand(2, 1, *problem.prior.image_shape, generator=generator).to(problem.y)
    who = torch.tensor([image], device=problem.y.device)
    whole, parts = problem.measure(a + b, who), problem.measure(a, who) + problem.measure(b, who)
    return bool((whole - parts).norm() <= LINEAR * whole.norm())
