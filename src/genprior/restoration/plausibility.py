"""Whether measurements can be what they are said to be, by their values alone. Knows tensors and noise models.

Images lie in [0, 1]. So do weighted means of their pixels, but for the noise. What lies far outside has another scale:
its restoration would be nonsense that fits well.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genprior.restoration.noise import noise_level

if TYPE_CHECKING:
    from deepinv.physics import NoiseModel, Physics

SLACK = 0.05  # by which somebody's resampling may leave [0, 1]
SIGMAS = 6.0  # no image has so many pixels that Gaussian noise goes further
BRIGHTEST = 3.0  # where the noise is not known: photon counts may go as far, 255 does not
FEWEST = 30  # differences from which a noise level may be estimated
TO_SIGMA = 1 / (0.6745 * math.sqrt(6))  # from the median of |y[i - 1] - 2 y[i] + y[i + 1]|, for Gaussian noise


def implausible(y: Tensor, noise: "NoiseModel | None", level: float | None, known: Tensor | None = None) -> str | None:
    """Returns what is wrong with the values of a measurement that consists of means of pixels, or None.

    Arguments:
        y: Of one image, (C, H, W) or flat, finite where it is known.
        noise: Its model; None: not known.
        level: Standard deviation of the noise; None: that of the model, and where that tells none, it is estimated.
        known: Where y says something about the image, of its shape; None: everywhere.
    """
    seen = y if known is None else y[known > 0]
    if not seen.numel():
        return None
    low, high = (float(bound) for bound in torch.aminmax(seen))
    least, most = _bounds(y, noise, level, known)
    if least <= low and high <= most:
        return None
    return (
        f"values from {low:.4g} to {high:.4g}, expected {least:.3g} to {most:.3g} from images in [0, 1] with this "
        "noise: rescale them to [0, 1], or tell the noise"
    )


def is_average(physics: "Physics", parameters: dict[str, Tensor]) -> bool:
    """Returns whether an operator is known to measure weighted means of pixels, with nothing else but blanks."""
    from deepinv.physics import Blur, Denoising, Downsampling, Inpainting

    kernel = parameters.get("filter", getattr(physics, "filter", None))
    if isinstance(physics, Blur | Downsampling):
        return (
            isinstance(kernel, Tensor) and bool((kernel >= 0).all()) and float(kernel.sum((-1, -2)).amax()) < 1 + 1e-3
        )
    mask = parameters.get("mask", getattr(physics, "mask", None))
    is_blank = isinstance(mask, Tensor) and bool(((mask == 0) | (mask == 1)).all())
    return isinstance(physics, Denoising) or (isinstance(physics, Inpainting) and is_blank)


def _bounds(y: Tensor, noise: "NoiseModel | None", level: float | None, known: Tensor | None) -> tuple[float, float]:
    from deepinv.physics import PoissonNoise, SaltPepperNoise

    if level is None and isinstance(noise, PoissonNoise) and noise.gain.numel() == 1:
        gain = float(noise.gain)
        return -SLACK, 1 + SLACK + SIGMAS * math.sqrt(gain) + SIGMAS * gain
    if level is None and isinstance(noise, SaltPepperNoise):
        return -SLACK, 1 + SLACK
    sigma = noise_level(noise) if level is None and noise is not None else level
    if sigma is not None:
        return -SLACK - SIGMAS * sigma, 1 + SLACK + SIGMAS * sigma
    sigma = estimated_level(y, known)
    return -SLACK - SIGMAS * sigma, max(BRIGHTEST, 1 + SLACK + SIGMAS * sigma)


def estimated_level(y: Tensor, known: Tensor | None = None) -> float:
    """Returns about how strong the noise in an image (C, H, W) is, or more: edges count as noise where there are many.

    From the median of second differences, which is 0 where most of an image is flat (Donoho & Johnstone 1994). Where
    too little is known for that, and for what is no image, it is the standard deviation of the values.
    """
    seen = y if known is None else y[known > 0]
    spread = float(seen.std()) if seen.numel() > 1 else 0.0
    if y.ndim != 3 or min(y.shape[1:]) < 3:
        return spread
    there = torch.ones_like(y) if known is None else known.expand_as(y)
    parts = []
    for axis in (1, 2):
        a, b, c = (y.narrow(axis, k, y.shape[axis] - 2) for k in range(3))
        all_known = torch.stack([there.narrow(axis, k, y.shape[axis] - 2) for k in range(3)]).amin(0) > 0
        parts.append((a - 2 * b + c)[all_known].abs())
    differences = torch.cat(parts)
    return float(differences.median()) * TO_SIGMA if len(differences) >= FEWEST else spread
