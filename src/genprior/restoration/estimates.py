"""What is made of draws of a posterior: the restored image, kinds of images with their probabilities, the verdict."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.hardware import refuse_beyond_memory
from genprior.priors.contracts import LatentPrior
from genprior.restoration.latent_sampler import MIXED, draw_latents
from genprior.restoration.minimise import DISTINCT
from genprior.restoration.problem import ROWS_AT_ONCE, Problem
from genprior.restoration.result import NOT_MIXED, RANGE, STUCK, Restoration
from genprior.restoration.search_settings import SearchSettings
from genprior.restoration.solve import judged, misfits
from genprior.seeding import derived_generator

FLOAT = 4  # bytes
LOOKS = 10  # times that draws are divided anew among kinds


def check_memory(images: int, settings: SearchSettings, pixels: int) -> None:
    """Raises `GenpriorError` where the draws of `images` images of so many pixels need more memory than there is."""
    need = 2 * FLOAT * images * settings.draws * pixels  # once more where parts are joined
    what = f"{settings.draws} draws of {images} images"
    refuse_beyond_memory(need, what, "draws", "ask for fewer, or restore fewer images at a time")


def refuse_without_draws(prior: LatentPrior) -> None:
    """Raises `GenpriorError` where a prior's posterior cannot be drawn from in any time that one would wait."""
    if prior.denoiser is not None and prior.conditional is None:
        raise GenpriorError(
            "there are no draws yet of a prior whose images are ends of paths; take a mixture, VAE, GLO or GAN",
            argument="draws",
        )


@torch.no_grad()
def with_drawn_latents(
    problem: Problem, found: Restoration, settings: SearchSettings, scale: float | None, seed: int
) -> Restoration:
    """Returns a restoration with draws of the latents' posterior.

    Arguments:
        problem: What is to be explained.
        found: What a search gave.
        settings: How many draws, which estimate, how many candidates.
        scale: Of the noise; None where it is not known.
        seed: Any integer; image i's draws come from (seed, settings.first + i) alone.
    """
    parts = []
    for i in range(len(found)):
        generator = derived_generator(seed, "posterior", settings.first + i)
        own = draw_latents(problem, i, scale, settings.draws, generator)
        x = torch.cat([problem.prior.decode(part) for part in torch.split(own.z, ROWS_AT_ONCE)])
        r_hat, effective = (found.error.new_tensor([each]) for each in (own.r_hat, min(own.effective, settings.draws)))
        parts.append(with_draws(found.taken([i]), x[None], own.z[None], (r_hat, effective), settings))
    drawn, who = Restoration.joined(parts), torch.arange(len(found), device=problem.y.device)
    misfit = misfits(problem, drawn.images[:, None], who)[:, 0]
    return replace(drawn, misfit=misfit, error=judged(problem, drawn.images, who, None)[0])


def with_draws(
    found: Restoration,
    draws: Tensor,
    latents: Tensor,
    mixing: tuple[Tensor, Tensor],
    settings: SearchSettings,
    is_mean: bool = False,
) -> Restoration:
    """Returns a restoration with the estimate and the kinds of images that draws tell.

    Arguments:
        found: What is known without them.
        draws: x (B, S, C, H, W).
        latents: Theirs (B, S, k).
        mixing: R-hat and effective number (B,).
        settings: Which estimate, how many candidates.
        is_mean: Whether the images that are known are the mean already, and better than one of draws.
    """
    r_hat, effective = mixing
    images = found.images if is_mean and settings.estimate != "median" else _estimate(found, draws, settings)
    told: dict[str, Any] = {"draws": draws, "r_hat": r_hat, "effective": effective, "images": images}
    told["verdicts"] = tuple(map(_verdict, found.verdicts, (r_hat <= MIXED).tolist()))
    if settings.candidates == 1:
        told["candidates"] = images[:, None]
        told["probabilities"] = torch.ones_like(effective)[:, None]
    else:
        told |= _kinds_of_all(draws, latents, settings.candidates)
    return replace(found, **told)


def _verdict(before: str, is_mixed: bool) -> str:
    """That of an image with draws: where they agree, it does not matter whether starts of the search did."""
    if before in (RANGE, STUCK):
        return RANGE if is_mixed else before
    return before if is_mixed else NOT_MIXED


def _estimate(found: Restoration, draws: Tensor, settings: SearchSettings) -> Tensor:
    """x (B, C, H, W) in [0, 1]."""
    if settings.estimate == "map":
        return found.images
    middle = draws.median(1).values if settings.estimate == "median" else draws.mean(1)
    return middle.clamp(0, 1)


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
        "candidates": draws[row, chosen].clamp(0, 1),
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
    apart = torch.cdist(flat, flat) / flat.shape[1] ** 0.5
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
