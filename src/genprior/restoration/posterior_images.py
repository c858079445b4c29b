"""Draws of images from a latent prior's posterior: latents, and beside them what the prior's range lacks.

Knows problems, samplers and residuals.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from genprior.models.range_residual import RangeResidual
from genprior.priors.gaussian_posterior import LinearMap
from genprior.priors.measured_residual import MeasuredResidual
from genprior.restoration.fidelity import L2, Clipped, Fidelity, Poisson, noise_scale, unclipped
from genprior.restoration.latent_sampler import LEAST_PARTICLES, LatentDraws, draw_latents
from genprior.restoration.problem import ROWS_AT_ONCE, Problem
from genprior.restoration.randomised_search import randomised_latents
from genprior.seeding import derived_generator

LINEAR = 1e-3  # share by which an operator may miss the sum of two images
LEAST_LEVEL = 1e-3  # standard deviation of noise beside a residual: that of rounding to 8 bits
REWEIGHTED = 2  # times that photon counts become a Gaussian, each time at what the last one expects


class DrawnImages(NamedTuple):
    """Draws of one image.

    Attributes:
        x: (S, C, H, W).
        expected: What each would be on average over what lies beside the range (S, C, H, W); their mean is that of
            the posterior, and less noisy than the mean of x.
        latents: Theirs.
        parameters: How many numbers explain an image.
    """

    x: Tensor
    expected: Tensor
    latents: LatentDraws
    parameters: float


def takes_residual(fidelity: Fidelity, level: float | None) -> bool:
    """Returns whether draws have a prior's residual: under Gaussian noise of a known level, none, or photon counts."""
    if level is None:
        return isinstance(fidelity, Poisson)
    return level == 0 or isinstance(fidelity, L2 | Clipped)


@torch.no_grad()
def draw_images(
    problem: Problem,
    image: int,
    level: float | None,
    count: int,
    generator: torch.Generator,
    likely: Tensor | None = None,
) -> DrawnImages:
    """Returns draws of one image, and their latents.

    A prior with easier forms is searched many times. A prior's residual is drawn, too, where the operator is linear and
    `takes_residual`. Elsewhere draws stay in the prior's range.

    Arguments:
        problem: What is to be explained.
        image: Place of the image in the problem.
        level: Standard deviation of the noise; None where it is not known.
        count: At least 1.
        generator: All that is random comes from it.
        likely: An image (1, C, H, W) that explains the measurement. Beside a residual, numbers that were clipped are
            drawn around what it predicts.
    """
    if problem.prior.easier and level:
        return _within_range(problem, randomised_latents(problem, image, level, count, generator))
    alone, seen = _seen_residual(problem, image, level, generator)
    if seen is None:
        return _within_range(problem, draw_latents(problem, image, _scale(problem, level), count, generator))
    y, shown = alone.y[image : image + 1], alone.seen[image : image + 1]
    if level and likely is not None and isinstance(problem.fidelity, Clipped):
        y = unclipped(y, problem.measure(likely, torch.tensor([image], device=y.device)), level, generator)
    return _beside_residual(replace(alone, y=y * shown, seen=shown), seen, count, generator)


def _seen_residual(
    problem: Problem, image: int, level: float | None, generator: torch.Generator
) -> tuple[Problem, MeasuredResidual | None]:
    """The problem with Gaussian noise, and what one image's measurement sees of the residual; None: draws have none.

    Photon counts get a Gaussian in their place, and the problem their deviations as units. The image that predicts
    these is first the mean of draws of the range, on which no other image has an influence, and then what the residual
    makes of it.
    """
    if problem.prior.residual is None or not takes_residual(problem.fidelity, level):
        return problem, None
    if level is not None:
        return problem, _measured_residual(problem, image, level)
    weighed = _in_deviations(problem, image, problem.y[image : image + 1])
    seen = _measured_residual(weighed, image, 1.0)
    if seen is None:
        return problem, None
    who = torch.tensor([image], device=problem.y.device)
    z = draw_latents(problem, image, _scale(problem, None), LEAST_PARTICLES, generator).z
    x = within = _decoded(problem, z).mean(0, keepdim=True)
    for _ in range(REWEIGHTED):
        weighed = _in_deviations(problem, image, problem.measure(x, who))
        seen = _measured_residual(weighed, image, 1.0)
        assert seen is not None, "it was there with other variances"
        x = seen.expected(within, weighed.y[image] * weighed.seen[image])
    return weighed, seen


def _in_deviations(problem: Problem, image: int, prediction: Tensor) -> Problem:
    """The problem of one image's photon counts in units of their deviations, which a prediction (1, M) tells.

    Their variance is gain times the mean, and at least that of one count: no count tells only that the mean is small.
    """
    assert isinstance(problem.fidelity, Poisson)
    assert problem.fidelity.gain is not None
    gain, counts = problem.fidelity.gain, problem.y[image : image + 1]
    root = (gain * prediction.clamp_min(gain)).rsqrt()

    def measure(x: Tensor, who: Tensor) -> Tensor:
        return root * problem.measure(x, who)

    return replace(problem, measure=measure, y=(root * counts).expand_as(problem.y), fidelity=L2())


def _measured_residual(problem: Problem, image: int, level: float) -> MeasuredResidual | None:
    """What the measurement of an image sees of the prior's residual; None where draws have to do without it.

    Without noise every data term says A x = y, and what is left of it is the residual. In a hole there pixels get no
    grain of their own: whoever puts the known ones back smooths the seam, which is a better guess.
    """
    residual = problem.prior.residual
    if residual is None or not _is_linear(problem, image):
        return None
    who = torch.tensor([image], device=problem.y.device)

    def measure(x: Tensor) -> Tensor:
        return problem.measure(x, who.expand(len(x))) * problem.seen[who]

    A = LinearMap(measure, problem.prior.image_shape, problem.y)
    if not MeasuredResidual.has_room(A):
        return None
    own = RangeResidual(residual.factors.to(problem.y), residual.noise.to(problem.y))
    is_mask = level == 0 and A.diagonal is not None
    return MeasuredResidual(own, A, max(level, LEAST_LEVEL), with_grain=not is_mask)


def _beside_residual(alone: Problem, seen: MeasuredResidual, count: int, generator: torch.Generator) -> DrawnImages:
    """z of one image under the likelihood N(y; A G(z), A D A^T + level^2), then d given z."""

    def measure(x: Tensor, _: Tensor) -> Tensor:
        return seen.whitened(seen.A.forward(x.flatten(1)))

    white = replace(alone, measure=measure, y=seen.whitened(alone.y), fidelity=L2())
    drawn = draw_latents(white, 0, 1.0, count, generator)
    x = _decoded(alone, drawn.z)
    y, parameters = alone.y[0], alone.prior.latent_size + seen.parameters
    return DrawnImages(seen.added(x, y, drawn.scale.clamp_min(1.0), generator), seen.expected(x, y), drawn, parameters)


def _within_range(problem: Problem, latents: LatentDraws) -> DrawnImages:
    x = _decoded(problem, latents.z)
    return DrawnImages(x, x, latents, problem.prior.latent_size)


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
