"""Draws of a posterior: the one place of this room that knows where they come from. Knows priors and operators."""

from collections.abc import Callable

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import LatentPrior
from genprior.restoration.operators import Operator
from genprior.seeding import derived_seed

Sampler = Callable[[LatentPrior, Tensor, Operator, float, int, int, int], Tensor]
"""(prior, y, operator, sigma, count, seed, first) -> draws, as `draws_of` has them."""


@torch.no_grad()
def draws_of(
    prior: LatentPrior, y: Tensor, operator: Operator, sigma: float, count: int, seed: int, first: int = 0
) -> Tensor:
    """Returns draws (B, count, C, H, W) of images that explain measurements; those of i depend on (seed, first, i).

    Arguments:
        prior: One with a posterior in closed form.
        y: Measurements (B, ...).
        operator: What they were measured by, as far as is known.
        sigma: Standard deviation of their noise, as far as is known; above 0.
        count: Of draws of each.
        seed: Any integer.
        first: Number of the first measurement.

    Raises:
        GenpriorError: The prior has no such posterior.
    """
    refuse_without_draws(prior)
    if not operator.parameters(first):
        return _drawn(prior, y, operator, sigma, count, derived_seed(seed, "draws", first), first)
    each = [
        _drawn(prior, y[i : i + 1], operator, sigma, count, derived_seed(seed, "draws", first + i), first + i)
        for i in range(len(y))
    ]
    return torch.cat(each)


def refuse_without_draws(prior: LatentPrior) -> None:
    """Raises `GenpriorError` where a prior's posterior cannot be drawn from."""
    if prior.conditional is None:
        raise GenpriorError(
            "draws are not there for this family yet; train a mixture: genprior train mixture", argument="run"
        )


def _drawn(
    prior: LatentPrior, y: Tensor, operator: Operator, sigma: float, count: int, seed: int, first: int
) -> Tensor:
    """Draws of measurements (B, ...) that share an operator."""
    assert prior.conditional is not None, "it was refused otherwise"
    own = operator.parameters(first)
    posterior = prior.conditional.posterior(y, lambda x: operator.physics.A(x, **own), sigma)
    return posterior.draws(count, seed)
