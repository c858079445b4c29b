"""The most likely images by a search, and draws beside them where they are wanted. Knows problems and results.

A prior with a posterior in closed form has exact draws, whatever the restored image is: annealed ones of as many
numbers as pixels take minutes and do not mix.
"""

from dataclasses import replace

import torch
from torch import Tensor

from genprior.priors.contracts import ConditionalPrior
from genprior.restoration.closed_form import solve_in_closed_form
from genprior.restoration.estimates import judged_again, with_drawn_latents, with_draws
from genprior.restoration.problem import Problem
from genprior.restoration.result import Restoration
from genprior.restoration.search_settings import SearchSettings
from genprior.restoration.solve import solve


def searched(
    problem: Problem,
    start: Tensor | None,
    settings: SearchSettings,
    level: float | None,
    seed: int,
    is_shared: bool | None,
) -> Restoration:
    """Returns the restoration of all images by a search, with draws of their posterior where they are wanted.

    Arguments:
        problem: What is to be explained.
        start: Latents (B, k) that are a good first start, or None.
        settings: How to search, how many draws, which estimate.
        level: Standard deviation of the noise; None where it is not known.
        seed: Any integer; image i's starts and draws come from (seed, settings.first + i) alone.
        is_shared: Whether the operator is the same for all images; None: it is not linear.
    """
    found = solve(problem, start, settings, level, seed)
    if not settings.draws:
        return found
    conditional = problem.prior.conditional
    if conditional is None or is_shared is None:
        return with_drawn_latents(problem, found, settings, level, seed)
    return _with_exact_draws(problem, conditional, found, settings, level, is_shared, seed)


@torch.no_grad()
def _with_exact_draws(
    problem: Problem,
    conditional: ConditionalPrior,
    found: Restoration,
    settings: SearchSettings,
    level: float | None,
    is_shared: bool,
    seed: int,
) -> Restoration:
    plain = replace(settings, estimate=None, energy_weight=None, candidates=1)
    own = solve_in_closed_form(problem, conditional, plain, level, is_shared, seed)
    encode = problem.prior.encode
    assert encode is not None
    z = encode(own.draws.flatten(0, 1)).view(*own.draws.shape[:2], -1)
    return judged_again(problem, with_draws(found, own.draws, z, (own.r_hat, own.effective), settings), level)
