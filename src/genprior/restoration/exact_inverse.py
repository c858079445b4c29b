"""Latents of images in one pass, for priors whose own way back is exact: no search. Knows problems and results."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from genprior.priors.contracts import LatentPrior
from genprior.restoration.fidelity import Fidelity
from genprior.restoration.one_evaluation import found_without_search
from genprior.restoration.problem import ROWS_AT_ONCE, Problem
from genprior.restoration.result import Restoration
from genprior.restoration.search_settings import SearchSettings

ENCODED = "exact"
FLAT = 1e-6  # slope of a data term at the image itself up to which no other image is closer


def exact_encoder(
    prior: LatentPrior, x: Tensor, fidelity: Fidelity, settings: SearchSettings
) -> Callable[[Tensor], Tensor] | None:
    """Returns the way from images to the latents that a search would end at; None where that takes a search.

    There is none where the likelihood of latents counts too, where draws are wanted, where the settings leave encoders
    aside, and where a data term finds other images closer than x itself.

    Arguments:
        prior: Any.
        x: Images (B, C, H, W).
        fidelity: The data term.
        settings: Of the search.
    """
    if not (prior.encodes_exactly and settings.encoder and settings.energy_weight == 0 and not settings.draws):
        return None
    return prior.encode if _is_least_at(fidelity, x.flatten(1)) else None


@torch.no_grad()
def invert_exactly(
    problem: Problem,
    x: Tensor,
    encode: Callable[[Tensor], Tensor],
    settings: SearchSettings,
    noise_level: float | None,
) -> Restoration:
    """Returns the latents of images, and their decodings, judged; there is one candidate.

    Arguments:
        problem: With the images as measurements.
        x: The images (B, C, H, W), in the precision of the prior.
        encode: The prior's exact way back.
        settings: How many candidates there is room for.
        noise_level: Standard deviation of noise in x; None where it is not known.
    """
    prior = problem.prior
    z = torch.cat([encode(part) for part in torch.split(x, ROWS_AT_ONCE)])
    made = torch.cat([prior.decode(part) for part in torch.split(z, ROWS_AT_ONCE)])
    found = found_without_search(problem, made, settings, noise_level, (1, ENCODED))
    candidates = z[:, None].expand(-1, settings.candidates, -1).clone()
    energy = torch.cat([prior.energy(part) for part in torch.split(z, ROWS_AT_ONCE)])
    return replace(found, latents=z, energy=energy, weight=torch.zeros_like(found.weight), candidate_latents=candidates)


@torch.enable_grad()
def _is_least_at(fidelity: Fidelity, y: Tensor) -> bool:
    """Whether a data term is flat at predictions that are the measurements (B, M) themselves."""
    p = y.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(fidelity(p, y).sum(), p)
    return bool(slope.abs().amax() <= FLAT)
