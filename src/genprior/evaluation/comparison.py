"""What a prior is good for, in numbers that every family has. Knows priors, operators and restoration.

`TASKS`, at the end, is the place to add a kind of damage.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.evaluation.image_quality import psnr
from genprior.evaluation.interval_widening import intervals_of
from genprior.priors.contracts import LatentPrior
from genprior.restoration.fidelity import L2
from genprior.restoration.latent_sampler import MIXED
from genprior.restoration.noise import measure, stacked
from genprior.restoration.operators import Operator
from genprior.restoration.restore import DEFAULT, invert, restore
from genprior.restoration.search_settings import SearchSettings
from genprior.specs import Spec

Shape = tuple[int, int, int]
BEST_PSNR = 99.0  # of an image that is exact, so that means stay finite
BALL_LEVEL, LEAST_COMPARED_DRAWS = 0.9, 9  # fewer draws know no such ball


@dataclass(frozen=True)
class Task:
    """A kind of damage.

    Attributes:
        title: For people.
        operator: Name and options of an entry of `OPERATORS`, for images (C, H, W).
        sigma: Standard deviation of the noise, for images (C, H, W).
    """

    title: str
    operator: Callable[[Shape], Spec]
    sigma: Callable[[Shape], float]


@dataclass(frozen=True)
class Reconstructions:
    """What was made of images by a prior.

    Attributes:
        images: (B, C, H, W).
        shown: What it was made of: the images themselves, or the least-squares image of what was measured.
        error: Mean squared error of each (B,), per value.
        psnr: Of each (B,), in dB.
        seconds: For each image, on average.
    """

    images: Tensor
    shown: Tensor
    error: Tensor
    psnr: Tensor
    seconds: float


@dataclass(frozen=True)
class DrawnReconstructions:
    """Means of draws of the posterior, and whether the draws are as wide as the errors.

    Attributes:
        images: Means (B, C, H, W).
        psnr: Of each mean (B,), in dB.
        held: Whether the ball around the mean that holds a share `promised` of the draws holds the truth (B,).
        promised: In (0, 1); near 0.9, as near as the number of draws allows.
        disagree: Draws of how many images did not agree with one another.
        seconds: For each image, on average.
    """

    images: Tensor
    psnr: Tensor
    held: Tensor
    promised: float
    disagree: int
    seconds: float


def inverted(prior: LatentPrior, x: Tensor) -> Reconstructions:
    """Returns how close the prior comes to images x (B, C, H, W) that it has never seen."""
    began = time.perf_counter()
    images = invert(prior, x).images
    return _found(images, x, x, began)


def restored(
    prior: LatentPrior,
    x: Tensor,
    operator: Operator,
    sigma: float,
    seed: int = 0,
    settings: SearchSettings = DEFAULT,
) -> Reconstructions:
    """Returns what the prior makes of damaged images x (B, C, H, W); the level of the noise is known.

    Arguments:
        prior: Any.
        x: (B, C, H, W) in [0, 1].
        operator: A.
        sigma: Standard deviation of the noise, above 0.
        seed: Of the noise.
        settings: How to search.
    """
    y, parameters = _damaged(x, operator, sigma, seed)
    began = time.perf_counter()
    images = restore(prior, y, operator.physics, settings, parameters=parameters, noise_level=sigma).images
    return _found(images, x, _shown(y, x, operator, parameters), began)


def drawn(
    prior: LatentPrior, x: Tensor, operator: Operator, sigma: float, draws: int, seed: int = 0
) -> DrawnReconstructions:
    """Returns means of draws for the same damaged images as `restored`.

    Arguments:
        prior, x, operator, sigma, seed: As there.
        draws: Of each posterior, at least `LEAST_COMPARED_DRAWS`.
    """
    y, parameters = _damaged(x, operator, sigma, seed)
    settings = SearchSettings(draws=draws)
    began = time.perf_counter()
    found = restore(
        prior, y, operator.physics, settings, parameters=parameters, fidelity=L2(), noise_level=sigma, seed=seed
    )
    seconds = (time.perf_counter() - began) / len(x)
    balls = intervals_of(x, found.draws, BALL_LEVEL)
    return DrawnReconstructions(
        images=found.images,
        psnr=psnr(found.images, x).clamp_max(BEST_PSNR),
        held=balls.needed_by_balls <= 1,
        promised=balls.nominal,
        disagree=int((found.r_hat > MIXED).sum()),
        seconds=seconds,
    )


def _damaged(x: Tensor, operator: Operator, sigma: float, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Measurements of x (B, C, H, W) with Gaussian noise, and the operator's parameters of each."""
    from deepinv.physics import GaussianNoise

    return measure(x, operator, GaussianNoise(sigma), seed=seed), stacked(operator, range(len(x)))


def _found(images: Tensor, x: Tensor, shown: Tensor, began: float) -> Reconstructions:
    seconds = (time.perf_counter() - began) / len(x)
    error = (images - x).square().flatten(1).mean(1)
    return Reconstructions(images, shown, error, psnr(images, x).clamp_max(BEST_PSNR), seconds)


def _shown(y: Tensor, x: Tensor, operator: Operator, parameters: dict[str, Tensor]) -> Tensor:
    """y where it is an image, else A^T (A A^T)^-1 y one by one, as an operator without a mask has no parameters."""
    if y.shape == x.shape:
        return y.clamp(0, 1)
    each = [
        operator.physics.A_dagger(y[i : i + 1], **{name: value[i : i + 1] for name, value in parameters.items()})
        for i in range(len(y))
    ]
    return torch.cat(each).clamp(0, 1)


def _eighth(shape: Shape) -> int:
    return max(1, math.prod(shape) // 8)


TASKS: dict[str, Task] = {
    "denoise": Task("noise of 0.3", lambda _: Spec("denoise", {}), lambda _: 0.3),
    "hole": Task(
        "hole, half as wide",
        lambda shape: Spec("inpaint", {"box": max(1, shape[1] // 2)}),
        lambda _: 0.02,
    ),
    # As many measurements as an eighth of the values, with noise of norm 0.1 (Bora et al. 2017, section 6).
    "few": Task(
        "measurements, an eighth",
        lambda shape: Spec("compressed-sensing", {"m": _eighth(shape)}),
        lambda shape: 0.1 / _eighth(shape) ** 0.5,
    ),
}
