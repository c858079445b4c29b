"""What is made of draws of a posterior: the restored image, kinds of images with their probabilities, the verdict."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genprior.memory import refuse_beyond_memory
from genprior.restoration.latent_sampler import MIXED
from genprior.restoration.minimise import DISTINCT
from genprior.restoration.posterior_images import draw_images
from genprior.restoration.problem import Problem
from genprior.restoration.result import NOT_MIXED, Restoration, verdicts
from genprior.restoration.search_settings import SearchSettings
from genprior.restoration.solve import NoiseLevels, judged, misfits
from genprior.seeding import derived_generator

FLOAT = 4  # bytes
LEAST_EFFECTIVE = 8  # draws: fewer show neither a mean nor a deviation
LOOKS = 10  # times that draws are divided anew among kinds


def check_memory(images: int, settings: SearchSettings, pixels: int, times: int = 1) -> None:
    """Raises `GenpriorError` where draws need more memory than there is.

    Arguments:
        images: How many.
        settings: How many draws of each.
        pixels: Numbers of an image.
        times: How many draws are made for each that is kept.
    """
    rows = images * settings.draws * (2 * times * pixels) + settings.draws**2  # once more where parts are joined
    need = FLOAT * rows
    what = f"{settings.draws} draws of {images} images"
    refuse_beyond_memory(need, what, "draws", "ask for fewer, or restore fewer images at a time, as --batch-size does")


@torch.no_grad()
def with_drawn_latents(
    problem: Problem, found: Restoration, settings: SearchSettings, level: float | None, seed: int
) -> Restoration:
    """Returns a restoration with draws of the latents' posterior.

    Arguments:
        problem: What is to be explained.
        found: What a search gave.
        settings: How many draws, which estimate, how many candidates.
        level: Standard deviation of the noise; None where it is not known.
        seed: Any integer; image i's draws come from (seed, settings.first + i) alone.
    """
    parts, parameters = [], []
    for i in range(len(found)):
        generator = derived_generator(seed, "posterior", settings.first + i)
        drawn = draw_images(problem, i, level, settings.draws, generator, found.images[i : i + 1])
        own = drawn.latents
        told = math.nan if own.r_hat is None else math.inf if math.isnan(own.r_hat) else own.r_hat
        r_hat, effective = (found.error.new_tensor([each]) for each in (told, min(own.effective, settings.draws)))
        expected = drawn.expected[None]
        mean, mixing = shown(expected.mean(1)), (r_hat, effective)
        parts.append(with_draws(found.taken([i]), drawn.x[None], own.z[None], mixing, settings, mean, expected))
        parameters.append(drawn.parameters)
    return judged_again(problem, Restoration.joined(parts), level, found.error.new_tensor(parameters))


def judged_again(
    problem: Problem, drawn: Restoration, level: float | None, parameters: Tensor | None = None
) -> Restoration:
    """Returns a restoration whose misfit, error and verdict are those of its images, which draws gave.

    Arguments:
        problem: What is to be explained.
        drawn: With draws of all images of the problem.
        level: Standard deviation of the noise; None where it is not known.
        parameters: How many numbers explain each image (B,); None: its latents.
    """
    who = torch.arange(len(drawn), device=problem.y.device)
    noise = None if level is None else NoiseLevels(level, torch.full_like(drawn.error, level))
    misfit = misfits(problem, drawn.images[:, None], who)[:, 0]
    error, seen = judged(problem, drawn.images, who, noise)
    parameters = torch.full_like(error, problem.prior.latent_size) if parameters is None else parameters
    told = verdicts(error, torch.ones_like(error), problem.counts, parameters, seen)
    trusted = ~(drawn.r_hat > MIXED) & (drawn.effective >= min(LEAST_EFFECTIVE, drawn.draws.shape[1]))
    verdict = tuple(word if good else NOT_MIXED for word, good in zip(told, trusted.tolist(), strict=True))
    return replace(drawn, misfit=misfit, error=error, verdicts=verdict)


def with_draws(
    found: Restoration,
    draws: Tensor,
    latents: Tensor,
    mixing: tuple[Tensor, Tensor],
    settings: SearchSettings,
    mean: Tensor | None = None,
    typical: Tensor | None = None,
) -> Restoration:
    """Returns a restoration with the estimate and the kinds of images that draws tell.

    Arguments:
        found: What is known without them.
        draws: x (B, S, C, H, W).
        latents: Theirs (B, S, k).
        mixing: R-hat, NaN where draws are independent by the way they are made, and effective number (B,).
        settings: Which estimate, how many candidates.
        mean: Of the posterior (B, C, H, W), where it is known better than draws tell it.
        typical: Images that tell kinds of draws apart (B, S, C, H, W); None: the draws.
    """
    r_hat, effective = mixing
    known = mean if settings.estimate in (None, "mean") else None
    images = _estimate(found, draws, settings) if known is None else known
    told: dict[str, Any] = {"draws": draws, "r_hat": r_hat, "effective": effective, "images": images}
    if settings.candidates == 1:
        told["candidates"] = images[:, None]
        told["probabilities"] = torch.ones_like(effective)[:, None]
    else:
        told |= _kinds_of_all(draws if typical is None else typical, latents, settings.candidates)
    return replace(found, **told)


def _estimate(found: Restoration, draws: Tensor, settings: SearchSettings) -> Tensor:
    """x (B, C, H, W)."""
    if settings.estimate == "map":
        return found.images
    return shown(torch.quantile(draws, 0.5, dim=1) if settings.estimate == "median" else draws.mean(1))


def shown(x: Tensor) -> Tensor:
    """Returns images (..., C, H, W) in [0, 1]; points, of one pixel, as they are."""
    return x.clamp(0, 1) if x.shape[-2] > 1 else x


def _kinds_of_all(draws: Tensor, latents: Tensor, count: int) -> dict[str, Tensor]:
    chosen = torch.zeros(len(draws), count, dtype=torch.int64, device=draws.device)
    shares, counts = torch.zeros(chosen.shape, device=draws.device), torch.ones_like(chosen[:, 0])
    for i, x in enumerate(draws):
        places, share = kinds(x, count)
        counts[i] = len(places)
        chosen[i] = torch.tensor([*places, *[places[0]] * (count - len(places))], device=draws.device)
        shares[i] = torch.tensor([*share, *[share[0]] * (count - len(places))], device=draws.device)
    row = torch.arange(len(draws), device=draws.device)[:, None]
    return {
        "candidates": shown(draws[row, chosen]),
        "candidate_latents": latents[row, chosen],
        "candidate_counts": counts,
        "probabilities": shares,
    }


def kinds(x: Tensor, count: int) -> tuple[list[int], list[float]]:
    """Returns draws that stand for others, the one of the most first, and the share of the draws that each stands for.

    Each new one is the draw that is farthest from those before it, as long as that is `DISTINCT`. Then draws go to the
    nearest, and the one nearest to its draws stands for them, over and over (k-medoids, Kaufman & Rousseeuw 1990).

    Arguments:
        x: Draws (S, C, H, W).
        count: Of kinds at most, at least 1.
    """
    flat = x.flatten(1)
    # By matrix products a draw would lie away from itself, and of its kind there might be none.
    apart = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist") / flat.shape[1] ** 0.5
    places = [int(apart.sum(1).argmin())]
    while len(places) < count:
        nearest = apart[:, places].amin(1)
        if float(nearest.max()) < DISTINCT:
            break
        places.append(int(nearest.argmax()))
    for _ in range(LOOKS):
        own = apart[:, places].argmin(1)
        members = [torch.nonzero(own == k)[:, 0] for k in range(len(places))]
        better = [int(who[apart[who][:, who].sum(1).argmin()]) for who in members]
        if better == places:
            break
        places = better
    own = apart[:, places].argmin(1)
    shares = [float((own == k).float().mean()) for k in range(len(places))]
    order = sorted(range(len(places)), key=lambda k: -shares[k])
    return [places[k] for k in order], [shares[k] for k in order]
