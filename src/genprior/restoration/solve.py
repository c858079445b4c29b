"""Latents for measurements: starts, search, second try, candidates, verdict."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from genprior.memory import in_parts
from genprior.priors.contracts import USUAL_STARTS, LatentPrior
from genprior.restoration.beyond import LEAST_NOISE, beyond_range, needs_more, own_edges
from genprior.restoration.fidelity import Weigh, level_after_clipping, level_around, noise_scale, weight_from_noise
from genprior.restoration.minimise import REASONS, Searches, distinct, minimise
from genprior.restoration.problem import ROWS_AT_ONCE, Problem
from genprior.restoration.result import Restoration, is_poor, verdicts, without_draws
from genprior.restoration.search_settings import SearchSettings
from genprior.seeding import derived_generator

SEARCHES_AT_ONCE = 2048  # their state takes 25 kB each at k = 100
SECOND_STARTS = 8  # of an image that came out badly
FOR_EACH_CANDIDATE = 8  # starts for each candidate that is wanted: many end in the same solution


class NoiseLevels(NamedTuple):
    """What is known of the noise.

    Attributes:
        level: Standard deviation, at least 0.
        clipped: About that of each image's measurements (B,), some of which may have been clipped.
    """

    level: float
    clipped: Tensor


@torch.no_grad()
def solve(
    problem: Problem, start: Tensor | None, settings: SearchSettings, noise_level: float | None, seed: int
) -> Restoration:
    """Returns the restoration of all images, as many at a time as memory holds; results do not depend on how many.

    Arguments:
        problem: What is to be explained.
        start: Latents (B, k) that are a good first start, or None.
        settings: How to search.
        noise_level: Standard deviation of the noise, or None where it is not known.
        seed: Any integer; image i's starts are drawn from (seed, settings.first + i) alone.
    """
    noise: NoiseLevels | None = None
    if noise_level is not None:
        noise = NoiseLevels(noise_level, level_after_clipping(problem.y, problem.seen, noise_level))
    weights = _weight(problem, settings, noise)
    most = max(1, SEARCHES_AT_ONCE // max(USUAL_STARTS, _starts(problem.prior, settings, start)))
    work = partial(_solve, problem, start, settings, noise, weights, seed)
    return Restoration.joined(in_parts(len(problem.y), most, work))


def _starts(prior: LatentPrior, settings: SearchSettings, start: Tensor | None) -> int:
    usual = 1 if start is not None else prior.usual_starts
    several = FOR_EACH_CANDIDATE * settings.candidates if settings.candidates > 1 else 1
    return max(usual if settings.starts is None else settings.starts, several)


def _solve(
    problem: Problem,
    start: Tensor | None,
    settings: SearchSettings,
    noise: NoiseLevels | None,
    weights: tuple[Tensor, Weigh | None],
    seed: int,
    some: range,
) -> Restoration:
    who = torch.arange(some.start, some.stop, device=problem.y.device)
    count = _starts(problem.prior, settings, start)
    z = _random_starts(problem, who, count, settings.first, seed, "start")
    if start is not None:
        z[:, 0] = start[who]
    pool = _search(problem, who, z, weights, settings)
    error, level = judged(problem, problem.prior.decode(pool.z[:, 0]), who, noise)
    ratio = torch.full_like(error, torch.nan)
    tried = torch.full_like(who, count)
    again = torch.nonzero(is_poor(error, level))[:, 0] if settings.second_try else who[:0]
    if len(again):
        z = _random_starts(problem, who[again], SECOND_STARTS, settings.first, seed, "second start")
        other = _search(problem, who[again], z, weights, settings)
        found = _residual(problem, problem.prior.decode(other.z[:, 0]), who[again])
        ratio[again] = torch.maximum(error[again], found) / torch.minimum(error[again], found)
        tried[again] += SECOND_STARTS
        pool = pool.joined(other, again).best(pool.z.shape[1] + other.z.shape[1])
    return _result(problem, who, pool, (tried, ratio), settings, noise)


def _random_starts(problem: Problem, who: Tensor, count: int, first: int, seed: int, purpose: str) -> Tensor:
    """Starts (B, count, k), those of image i drawn from (seed, first + i) alone."""
    draws = [problem.prior.start(count, derived_generator(seed, purpose, first + i)) for i in who.tolist()]
    return torch.stack(draws).to(problem.y.device)


def _weight(problem: Problem, settings: SearchSettings, noise: NoiseLevels | None) -> tuple[Tensor, Weigh | None]:
    """Weights (B,) of all images, and how they follow a search."""
    if settings.energy_weight is not None:
        return torch.full_like(problem.counts, settings.energy_weight), None
    return weight_from_noise(problem.fidelity, problem.counts, noise and noise.clipped)


def _search(
    problem: Problem, who: Tensor, z: Tensor, weights: tuple[Tensor, Weigh | None], settings: SearchSettings
) -> Searches:
    """Searches from z (B, S, k); more starts than go at once are searched for in groups, whose best are compared."""
    weight, weigh = weights
    rough = problem.prior.rough if settings.rough else None
    if rough is not None:
        problem = replace(problem, prior=rough)
    keep = settings.survivors
    pool: Searches | None = None
    for group in torch.split(z, max(keep, SEARCHES_AT_ONCE // len(who)), 1):
        rows = who.repeat_interleave(group.shape[1])
        flat = group.flatten(0, 1)
        found = minimise(problem, flat, rows, weight[rows], weigh, settings)
        best = found.by_image(len(who), keep)
        pool = best if pool is None else pool.joined(best, torch.arange(len(who))).best(keep)
    assert pool is not None
    return pool


def _result(
    problem: Problem,
    who: Tensor,
    pool: Searches,
    tries: tuple[Tensor, Tensor],
    settings: SearchSettings,
    noise: NoiseLevels | None,
) -> Restoration:
    level = None if noise is None else noise.clipped[who]
    counts, (tried, ratio) = problem.counts[who], tries
    # Three standard deviations of the misfit at the true image; with next to no noise all good fits are equally good.
    least = torch.zeros_like(counts) if level is None else level
    slack = 3 * torch.sqrt(counts / 2) * noise_scale(problem.fidelity, least.clamp_min(LEAST_NOISE))
    chosen, numbers = distinct(pool, problem.prior, slack, settings.candidates)
    row = torch.arange(len(who), device=who.device)[:, None]
    z = pool.z[row, chosen]
    images, parameters = _images(problem, who, z, settings, noise)
    misfit = misfits(problem, images, who)
    best = _order(misfit, numbers)
    winner = pool.taken(chosen[row, best][:, :1])
    images, z = images[row, best], z[row, best]
    error, level = judged(problem, images[:, 0], who, noise)
    return Restoration(
        images=images[:, 0],
        latents=z[:, 0],
        misfit=misfit.amin(1),
        error=error,
        energy=winner.energy[:, 0],
        weight=winner.weight[:, 0],
        starts=tried,
        iterations=winner.iterations[:, 0],
        stopped=tuple(REASONS[place] for place in winner.reason[:, 0].tolist()),
        verdicts=verdicts(error, ratio, counts, parameters[row, best][:, 0], level),
        candidates=images,
        candidate_latents=z,
        candidate_counts=numbers,
        **without_draws(images),
    )


def _order(misfit: Tensor, numbers: Tensor) -> Tensor:
    """Places (B, K), the smallest misfit first: beyond the range the order may be another one than in the pool."""
    there = torch.arange(misfit.shape[1], device=misfit.device)[None] < numbers[:, None]
    best = torch.argsort(torch.where(there, misfit, torch.inf), dim=1, stable=True)
    return torch.where(there, best, best[:, :1])


def _images(
    problem: Problem, who: Tensor, z: Tensor, settings: SearchSettings, noise: NoiseLevels | None
) -> tuple[Tensor, Tensor]:
    """x (B, K, C, H, W) of latents (B, K, k), and how many numbers explain each (B, K).

    Where images leave more than noise and that is wanted, others beyond the range take their place.
    """
    x = torch.cat([problem.prior.decode(part) for part in torch.split(z.flatten(0, 1), ROWS_AT_ONCE)])
    parameters = torch.full_like(z[..., 0].flatten(), problem.prior.latent_size)
    if settings.beyond:
        rows = who.repeat_interleave(z.shape[1])
        error, level = judged(problem, x, rows, noise)
        allowed = torch.full_like(error, LEAST_NOISE) if level is None else level.clamp_min(LEAST_NOISE)
        far = needs_more(error, allowed, problem.counts[rows])
        levels = torch.zeros_like(problem.counts) if noise is None else noise.clipped
        if far.any():
            found = beyond_range(problem, rows[far], x[far], levels)
            parameters[far] += own_edges(x[far], found)
            x[far] = found
    return x.view(*z.shape[:2], *x.shape[1:]), parameters.view(z.shape[:2])


def misfits(problem: Problem, x: Tensor, who: Tensor) -> Tensor:
    """Returns data terms (B, K) of images (B, K, C, H, W)."""
    rows = who.repeat_interleave(x.shape[1])
    return problem.misfit_of(problem.measure(x.flatten(0, 1), rows), rows).view(x.shape[:2])


def _residual(problem: Problem, x: Tensor, who: Tensor) -> Tensor:
    """Root of the mean squared residual (B,) of images (B, C, H, W), over what the measurements see."""
    off = (problem.measure(x, who) - problem.y[who]).square() * problem.seen[who]
    return (off.sum(1) / problem.counts[who]).sqrt()


def judged(problem: Problem, x: Tensor, who: Tensor, noise: NoiseLevels | None) -> tuple[Tensor, Tensor | None]:
    """Returns the residual (B,) of images (B, C, H, W), and the level of the noise (B,) to compare it with."""
    error = _residual(problem, x, who)
    if noise is None:
        return error, None
    return error, level_around(problem.measure(x, who), problem.y[who], problem.seen[who], noise.level)
