"""Noise that is taken off an image step by step: the levels, a step, and what is put back. Knows tensors only.

Ancestral sampling (Ho et al. 2020, https://arxiv.org/abs/2006.11239) goes at each step to what a denoiser expects and
puts back less noise than there was. So an error of the denoiser is covered again, where a differential equation
carries it along. The second order is that of Lu et al. 2022 (https://arxiv.org/abs/2211.01095).
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

FINEST = 0.002  # standard deviation of noise on images in [0, 1] at which samples and posterior draws end
CHANGE = 0.8  # share of the second order: with all of it draws of a Gaussian have 1.2 times its variance in few steps
CURVED = 5  # levels are evenly spaced in the root of this degree (Karras et al. 2022, equation 5)


def spaced(high: float, low: float, count: int) -> list[float]:
    """Returns `count` standard deviations of noise from `high` to `low`, at least 2, denser towards `low`."""
    ends = high ** (1 / CURVED), low ** (1 / CURVED)
    return [(ends[0] + k / (count - 1) * (ends[1] - ends[0])) ** CURVED for k in range(count)]


def less_noisy(x: Tensor, mean: Tensor, levels: tuple[float, float], before: tuple[Tensor, float] | None) -> Tensor:
    """Returns the mean (R, C, H, W) of images with less noise, given those with more.

    Along a step the guided mean is taken to change as it did along the last one, in the logarithm of the level (Lu et
    al. 2022, "SDE-DPM-Solver++(2M)"); `CHANGE` of that is believed, as much of the last change was noise. In 11 steps
    and more draws of a Gaussian then have its variance within 7 %; with all of the change up to 1.2 times, with none
    of it as little as half.

    Arguments:
        x: With noise of the first level.
        mean: What is expected of it without noise.
        levels: Standard deviations of the noise, now and then.
        before: That mean at the step before, and its level; None at the first step.
    """
    now, then = levels
    left = (then / now) ** 2
    found = mean + left * (x - mean)
    if before is None:
        return found
    other, level = before
    return found + CHANGE * 0.5 * (1 - left) * math.log(now / then) / math.log(level / now) * (mean - other)


def lost_noise(now: float, then: float) -> float:
    """Returns the standard deviation of the noise that is put back between two levels, the second the smaller."""
    return then * math.sqrt(1 - (then / now) ** 2)


def own_noise(generators: list[torch.Generator], like: Tensor) -> Tensor:
    """Returns standard normal numbers (R, C, H, W), those of each row from a generator of its own."""
    return torch.stack([torch.randn(like.shape[1:], generator=each) for each in generators]).to(like)


def uncovered(
    denoised: Callable[[Tensor, float], Tensor], x: Tensor, levels: list[float], generators: list[torch.Generator]
) -> Tensor:
    """Returns images (R, C, H, W) from x, which noise of the first of the levels covers; a denoising for each level.

    Arguments:
        denoised: x_noisy (R, C, H, W), standard deviation of its noise -> E[x | x_noisy].
        x: (R, C, H, W).
        levels: Standard deviations of noise, falling, above 0; at least 1.
        generators: Of the noise that is put back, one for each row.
    """
    before: tuple[Tensor, float] | None = None
    for now, then in pairwise(levels):
        mean = denoised(x, now)
        x = less_noisy(x, mean, (now, then), before) + lost_noise(now, then) * own_noise(generators, x)
        before = mean, now
    return denoised(x, levels[-1])
