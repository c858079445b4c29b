"""Restorations by draws of images, for priors that take Gaussian noise out at once. Knows problems and results.

Where no draws are wanted the restored image is one draw all the same.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from genprior.errors import GenpriorError
from genprior.priors.contracts import DenoisingPrior, LatentPrior
from genprior.restoration.estimates import judged_again, shown, with_draws
from genprior.restoration.fidelity import noise_scale
from genprior.restoration.image_sampler import ImageSampler, evaluations
from genprior.restoration.one_evaluation import found_without_search
from genprior.restoration.problem import Problem
from genprior.restoration.result import Restoration
from genprior.restoration.search_settings import SearchSettings

if TYPE_CHECKING:
    from deepinv.physics import Physics

DRAWN = "drawn"


def quick_denoiser(prior: LatentPrior) -> DenoisingPrior | None:
    """Returns the prior's denoiser in the number format in which it is fastest; None where it has none."""
    own = prior if prior.rough is None else prior.rough
    return own.denoiser


def is_drawn(prior: LatentPrior, settings: SearchSettings) -> bool:
    """Returns whether a prior's images are drawn by guided denoising.

    Raises:
        GenpriorError: Draws are wanted, and the most likely image beside them; or several answers without draws.
    """
    if prior.denoiser is None or prior.conditional is not None:
        return False
    if settings.draws and settings.estimate == "map":
        raise GenpriorError(
            "draws of this prior are made without a search; take mean or median, or map without draws",
            argument="estimate",
        )
    is_search = settings.estimate == "map" or settings.energy_weight is not None or settings.beyond
    if settings.candidates > 1 and not settings.draws and not is_search:
        raise GenpriorError(
            "several answers of this prior are kinds among its draws; add --draws 16, or take --estimate map",
            argument="candidates",
        )
    return bool(settings.draws) or not is_search


def sampler_of(
    problem: Problem, settings: SearchSettings, physics: "Physics | None", seed: int, is_shared: bool
) -> ImageSampler:
    """Returns what draws a problem's images.

    Arguments:
        problem: Its prior has a denoiser.
        settings: How many levels of noise, and rounds at each; number of the first image.
        physics: The operator; None: y are the images.
        seed: Any integer.
        is_shared: Whether the operator is the same for all images.
    """
    from deepinv.physics import LinearPhysics

    denoiser = quick_denoiser(problem.prior)
    assert denoiser is not None
    is_linear = physics is None or isinstance(physics, LinearPhysics)
    own = settings.levels, is_linear, seed, settings.first, settings.rounds
    return ImageSampler(problem, denoiser, *own, is_shared)


@torch.no_grad()
def solve_by_draws(
    problem: Problem,
    settings: SearchSettings,
    level: float | None,
    physics: "Physics | None",
    seed: int,
    is_shared: bool,
) -> Restoration:
    """Returns the restoration of all images: estimates of draws, or one draw where none are wanted.

    Arguments:
        problem: Its prior has a denoiser.
        settings: How many draws, levels of noise and candidates, and which estimate.
        level: Standard deviation of the noise; None where it is not known.
        physics: The operator; None: y are the images.
        seed: Any integer; draw s of image i comes from (seed, settings.first + i, s) alone.
        is_shared: Whether the operator is the same for all images.
    """
    scale = None if level is None else float(noise_scale(problem.fidelity, problem.y.new_tensor([level])))
    draws, scales = sampler_of(problem, settings, physics, seed, is_shared).draw(max(1, settings.draws), scale)
    images = shown(draws.mean(1))
    spent = evaluations(settings.levels, settings.rounds)
    found = found_without_search(problem, images, settings, level, (spent, DRAWN))
    found = replace(found, weight=scales.mean(1))
    if not settings.draws:
        return found
    one = torch.ones_like(found.error)  # nothing meets that could disagree: no R-hat
    none = found.latents[:, None].expand(-1, settings.draws, -1)
    drawn = with_draws(found, draws, none, (math.nan * one, settings.draws * one), settings)
    return judged_again(problem, drawn, level)
