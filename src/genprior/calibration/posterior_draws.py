"""Draws of a posterior: the one place of this room that knows where they come from. Knows priors and operators."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import LatentPrior
from genprior.restoration.estimates import LEAST_EFFECTIVE
from genprior.restoration.fidelity import L2
from genprior.restoration.guided_restoration import is_drawn, sampler_of
from genprior.restoration.latent_sampler import MIXED
from genprior.restoration.noise import stacked
from genprior.restoration.operators import Operator
from genprior.restoration.posterior_images import draw_images
from genprior.restoration.problem import make_problem
from genprior.restoration.search_settings import SEARCHES, SearchSettings
from genprior.seeding import derived_generator


class PosteriorDraws(NamedTuple):
    """Draws of B posteriors.

    Attributes:
        x: (B, S, C, H, W).
        is_mixed: Whether populations of draws agree (B,). None: each draw is made by itself, and nothing has to mix.
    """

    x: Tensor
    is_mixed: Tensor | None


Sampler = Callable[[LatentPrior, Tensor, Operator, float, int, int, int], PosteriorDraws]
"""(prior, y, operator, sigma, count, seed, first) -> draws, as `draws_of` has them."""


@torch.no_grad()
def draws_of(
    prior: LatentPrior,
    y: Tensor,
    operator: Operator,
    sigma: float,
    count: int,
    seed: int,
    first: int = 0,
    preset: str = "default",
) -> PosteriorDraws:
    """Returns draws (B, count, C, H, W) of images that explain measurements; those of i depend on (seed, first + i).

    Arguments:
        prior: One whose posterior can be drawn from.
        y: Measurements (B, ...).
        operator: What they were measured by, as far as is known.
        sigma: Standard deviation of their noise, as far as is known; above 0.
        count: Of draws of each.
        seed: Any integer.
        first: Number of the first measurement.
        preset: An entry of `SEARCHES`; errors as `check_preset` has them.
    """
    check_preset(prior, preset)
    if is_drawn(prior, SearchSettings(draws=count)):
        settings = replace(SEARCHES[preset], draws=count, first=first)
        return _drawn_images(prior, y, operator, sigma, settings, seed)
    if prior.conditional is None:
        return _drawn_latents(prior, y, operator, sigma, count, seed, first)
    is_shared = not operator.parameters(first)
    groups = [range(len(y))] if is_shared else [range(i, i + 1) for i in range(len(y))]
    each = []
    for group in groups:
        own = operator.parameters(first + group.start)
        posterior = prior.conditional.posterior(y[group.start : group.stop], partial(operator.physics.A, **own), sigma)
        each.append(posterior.draws(count, seed, [first + i for i in group]))
    return PosteriorDraws(torch.cat(each), None)


def check_preset(prior: LatentPrior, preset: str) -> None:
    """Raises `GenpriorError` for a preset that does not say how draws of a prior are made: they have one way.

    Only draws of images by guided denoising have presets, and only those of other levels than the default.
    """
    if preset == "default":
        return
    if not is_drawn(prior, SearchSettings(draws=2)):
        raise GenpriorError(
            "draws of this run are made in one way; presets are for flow matching, leave --preset out",
            argument="preset",
        )
    own, usual = SEARCHES[preset], SEARCHES["default"]
    if (own.levels, own.rounds) == (usual.levels, usual.rounds):
        raise GenpriorError(f"'{preset}' is about searches, and draws as the default does", argument="preset")


def _drawn_latents(
    prior: LatentPrior, y: Tensor, operator: Operator, sigma: float, count: int, seed: int, first: int
) -> PosteriorDraws:
    """Draws of measurements (B, ...) by annealed latents."""
    parameters = stacked(operator, range(first, first + len(y)))
    problem = make_problem(prior, y, operator.physics, L2(), parameters)
    generators = [derived_generator(seed, "posterior", first + i) for i in range(len(y))]
    found = [draw_images(problem, i, sigma, count, each) for i, each in enumerate(generators)]
    latents = [each.latents for each in found]
    mixed = [own.r_hat <= MIXED and own.effective >= min(LEAST_EFFECTIVE, count) for own in latents if own.r_hat]
    return PosteriorDraws(torch.stack([each.x for each in found]), torch.tensor(mixed) if mixed else None)


def _drawn_images(
    prior: LatentPrior, y: Tensor, operator: Operator, sigma: float, settings: SearchSettings, seed: int
) -> PosteriorDraws:
    """Draws of measurements (B, ...) by guided denoising."""
    parameters = stacked(operator, range(settings.first, settings.first + len(y)))
    problem = make_problem(prior, y, operator.physics, L2(), parameters)
    x, _ = sampler_of(problem, settings, operator.physics, seed, not parameters).draw(settings.draws, sigma**2)
    return PosteriorDraws(x, None)
