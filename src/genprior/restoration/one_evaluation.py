"""Images without Gaussian noise in one evaluation, for priors that were trained to say E[x | y]: no search.

Noise that was clipped at 0 and 1 is Gaussian noise of which some values are not known. They are replaced by their
expectation given the restored image so far, some times over (Dempster et al. 1977). Such a result is approximate.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.priors.contracts import DenoisingPrior
from genprior.restoration.fidelity import L2, Clipped, Fidelity
from genprior.restoration.problem import Problem
from genprior.restoration.result import Restoration, verdicts, without_draws
from genprior.restoration.search_settings import SearchSettings
from genprior.restoration.solve import NoiseLevels, judged, misfits

if TYPE_CHECKING:
    from deepinv.physics import Physics

ROUNDS = 6  # of replacing clipped values
ONCE, APPROXIMATELY = "one evaluation", "approximated"


def is_gaussian_denoising(problem: Problem, physics: "Physics", settings: SearchSettings) -> bool:
    """Returns whether a measurement is the image itself with Gaussian noise, clipped or not, and a mean is wanted."""
    from deepinv.physics import Denoising

    is_gaussian = isinstance(problem.fidelity, L2 | Clipped)
    return isinstance(physics, Denoising) and is_gaussian and settings.energy_weight is None


@torch.no_grad()
def solve_by_denoising(
    problem: Problem, denoiser: DenoisingPrior, settings: SearchSettings, noise_level: float
) -> Restoration:
    """Returns E[x | y] for all images.

    Arguments:
        problem: Images with noise.
        denoiser: Its prior, as one that takes noise out.
        settings: How many candidates there is room for; there is one.
        noise_level: Standard deviation of the noise, above 0.

    Raises:
        GenpriorError: The result is to leave the prior's range, which has no bounds.
    """
    if settings.beyond:
        raise GenpriorError(
            "goes with priors that make some images only; this one has a density of all", argument="beyond"
        )
    found, rounds = without_noise(problem, denoiser, noise_level)
    told = rounds, ONCE if rounds == 1 else APPROXIMATELY
    return found_without_search(problem, found.clamp(0, 1), settings, noise_level, told)


def found_without_search(
    problem: Problem, x: Tensor, settings: SearchSettings, noise_level: float | None, told: tuple[int, str]
) -> Restoration:
    """Returns the restoration with images that were found without their latents, judged.

    Arguments:
        problem: What they explain.
        x: The images (B, C, H, W).
        settings: How many candidates there is room for; there is one.
        noise_level: Standard deviation of the noise; None where it is not known.
        told: Evaluations of each image, and how it was found.
    """
    who, one = torch.arange(len(x), device=x.device), torch.ones(len(x), dtype=torch.long, device=x.device)
    counts = problem.counts
    z = x.new_empty(len(x), 0)  # latents would cost as many evaluations as a draw of the image
    levels = None if noise_level is None else NoiseLevels(noise_level, torch.full_like(counts, noise_level))
    error, seen_level = judged(problem, x, who, levels)
    candidates = x[:, None].expand(-1, settings.candidates, -1, -1, -1)
    parameters = torch.full_like(error, problem.prior.latent_size)
    return Restoration(
        images=x,
        latents=z,
        misfit=misfits(problem, x[:, None], who)[:, 0],
        error=error,
        energy=torch.full_like(error, torch.nan),
        weight=torch.full_like(counts, (noise_level or 0.0) ** 2),
        starts=one,
        iterations=told[0] * one,
        stopped=(told[1],) * len(x),
        verdicts=verdicts(error, torch.ones_like(error), counts, parameters, seen_level),
        candidates=candidates.clone(),
        candidate_latents=z[:, None].expand(-1, settings.candidates, -1).clone(),
        candidate_counts=one,
        **without_draws(candidates),
    )


def without_noise(problem: Problem, denoiser: DenoisingPrior, noise_level: float) -> tuple[Tensor, int]:
    """Returns E[x | y] (B, C, H, W), and how many evaluations it took: several where values of y were clipped.

    Arguments:
        problem: Images with noise.
        denoiser: What takes it out.
        noise_level: Standard deviation of the noise, above 0.
    """
    shape = (-1, *denoiser.image_shape)
    found = denoiser.denoise(problem.y.view(shape), noise_level)
    for done in range(1, ROUNDS):
        believed = unclipped(problem.fidelity, found.flatten(1), problem.y)
        if torch.equal(believed, problem.y):
            return found, done
        found = denoiser.denoise(believed.view(shape), noise_level)
    return found, ROUNDS


@torch.enable_grad()
def unclipped(fidelity: Fidelity, prediction: Tensor, y: Tensor) -> Tensor:
    """Returns y (B, M), with clipped values replaced by E[y before it was clipped | prediction].

    Of a data term of noise that is Gaussian before something hides a part of it, the slope at p is p minus that
    expectation, which is y itself where nothing is hidden.
    """
    p = prediction.detach().requires_grad_()
    (slope,) = torch.autograd.grad(fidelity(p, y).sum(), p)
    expected = prediction - slope
    return torch.where((expected - y).abs() > 1e-6, expected, y)
