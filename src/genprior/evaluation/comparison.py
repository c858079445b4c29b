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
from genprior.priors.contracts import LatentPrior
from genprior.restoration.noise import measure, stacked
from genprior.restoration.operators import Operator
from genprior.restoration.restore import DEFAULT, invert, restore
from genprior.restoration.search_settings import SearchSettings
from genprior.specs import Spec

Shape = tuple[int, int, int]


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
    from deepinv.physics import GaussianNoise

    noise = GaussianNoise(sigma)
    y, parameters = measure(x, operator, noise, seed=seed), stacked(operator, range(len(x)))
    began = time.perf_counter()
    images = restore(prior, y, operator.physics, settings, parameters=parameters, noise_level=sigma).images
    return _found(images, x, _shown(y, x, operator, parameters), began)


def _found(images: Tensor, x: Tensor, shown: Tensor, began: float) -> Reconstructions:
    seconds = (time.perf_counter() - began) / len(x)
    error = (images - x).square().flatten(1).mean(1)
    return Reconstructions(images, shown, error, psnr(images, x).clamp_max(99.0), seconds)


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
