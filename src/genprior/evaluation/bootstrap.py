"""How far a number would move if other images had been drawn. Knows tensors only.

Two ways, as a statistic is of one of two kinds. A mean over images, or a ratio of such means, is taken again over
images drawn with replacement (Efron 1979, https://doi.org/10.1214/aos/1176344552). A distance of two sets is not: an
image drawn twice is nearer to itself than any two images are, which moves every such distance upwards. It is taken
again over random halves of both sets instead, without replacement.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LEVEL = 0.95
RESAMPLES, HALVES = 1000, 100


@dataclass(frozen=True)
class Estimate:
    """A number and its interval of 95 %.

    Attributes:
        value: From all images.
        low: At most `value`.
        high: At least `value`.
    """

    value: float
    low: float
    high: float


def resampled(
    statistic: Callable[..., Tensor], *parts: Tensor, generator: torch.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """Returns a statistic with its percentile interval over resamples of each part.

    Arguments:
        statistic: Parts -> scalar; a mean, or what is made of means and quantiles.
        parts: (N, ...) each, drawn from independently, as many as there are.
        generator: Source of all randomness.
        resamples: Number of resamples.
    """
    drawn = [statistic(*(_drawn(part, generator) for part in parts)) for _ in range(resamples)]
    low, high = _quantiles(torch.stack(drawn))
    value = float(statistic(*parts))
    return Estimate(value, min(low, value), max(high, value))


def half_sampled(
    statistic: Callable[[Tensor, Tensor], Tensor],
    counts: tuple[int, int],
    generator: torch.Generator,
    halves: int = HALVES,
    least: float | None = None,
) -> Estimate:
    """Returns a distance of two sets with an interval for its mean at these numbers of images.

    The deviations of the halves' distances from their mean have, to first order, the spread of the whole distance:
    a mean of n / 2 of n values, drawn without replacement, varies about the mean of all by sigma^2 / n (the delete-d
    jackknife with d = n / 2, Shao & Wu 1989, https://doi.org/10.1214/aos/1176347263). What halves add to a distance
    because they are small is in their mean, and so drops out. Between two sets of one distribution, where the first
    order vanishes, the interval is too wide, for a Fréchet distance by about 1.7.

    Arguments:
        statistic: Which images of either set are kept, bool (R, N) and (R, M) -> R distances.
        counts: N and M, at least 2.
        generator: Source of all randomness.
        halves: Number of pairs of halves.
        least: The least value that the distance can have, if there is one.
    """
    kept = [torch.cat([torch.ones(1, n, dtype=torch.bool), _halves(n, halves, generator)]) for n in counts]
    values = statistic(kept[0], kept[1]).double()
    value, others = float(values[0]), values[1:]
    below, above = _quantiles(others - others.mean())
    low = min(value, value - above)
    return Estimate(value, low if least is None else max(low, least), max(value, value - below))


def _drawn(part: Tensor, generator: torch.Generator) -> Tensor:
    return part[torch.randint(len(part), (len(part),), generator=generator)]


def _halves(count: int, halves: int, generator: torch.Generator) -> Tensor:
    """bool (halves, count), of which each row keeps count // 2."""
    order = [torch.randperm(count, generator=generator) for _ in range(halves)]
    return torch.stack(order) < count // 2


def _quantiles(values: Tensor) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(values.double(), torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return float(low), float(high)
