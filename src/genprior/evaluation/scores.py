"""The scores of a set of images beside real ones, and how far each would move if other images had been drawn.

Intervals come in two ways, as a statistic is of one of two kinds. A mean over images, or a ratio of such means, is
taken again over images drawn with replacement (Efron 1979, https://doi.org/10.1214/aos/1176344552). A distance of two
sets is not: an image drawn twice is nearer to itself than any two images are, which moves every such distance upwards.
It is taken again over random halves of both sets instead, without replacement.

`SCORES`, at the end, is the place to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from genprior.evaluation.distances import (
    K,
    Neighbours,
    copied_share,
    frechet_distances,
    kernel_distances,
    neighbours,
)
from genprior.evaluation.features import Classifier

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.95
RESAMPLES, HALVES = 1000, 100
VALUES_AT_ONCE = 4_000_000  # of resamples: bounds their memory
# Mean squared error of a value in [0, 1] stored in 8 bits: smaller errors say nothing of an image.
ROUNDING = 1 / (12 * 255**2)


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
    """Returns a statistic with its percentile interval over resamples of each part, by `scipy.stats.bootstrap`.

    Arguments:
        statistic: Parts (..., N) each -> (...); a mean, or what is made of means and quantiles.
        parts: (N,) each, N at least 2, drawn from independently.
        generator: Source of all randomness.
        resamples: Number of resamples.
    """
    import numpy as np
    from scipy.stats import bootstrap

    def over_last(*arrays: "np.ndarray", axis: int) -> "np.ndarray":
        return statistic(*(torch.from_numpy(array) for array in arrays)).numpy()

    found = bootstrap(
        [part.numpy() for part in parts],
        over_last,
        n_resamples=resamples,
        batch=max(1, VALUES_AT_ONCE // max(map(len, parts))),
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator))),
    ).confidence_interval
    value = float(statistic(*parts))
    return Estimate(value, min(float(found.low), value), max(float(found.high), value))


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
    order vanishes, the interval is too wide, for a Fréchet distance by about 1.7. scipy has no interval of this kind.

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


def _halves(count: int, halves: int, generator: torch.Generator) -> Tensor:
    """bool (halves, count), of which each row keeps count // 2."""
    order = [torch.randperm(count, generator=generator) for _ in range(halves)]
    return torch.stack(order) < count // 2


def _quantiles(values: Tensor) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(values.double(), torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return float(low), float(high)


@dataclass(frozen=True)
class Evidence:
    """What scores are computed from: a set of images that is judged, and real images for reference.

    Attributes:
        reference: Features of held-out images (N, F).
        judged: Features of what is judged (M, F).
        reference_closeness: `closeness` of held-out images to the training images (N,).
        judged_closeness: The same of what is judged (M,).
        reference_errors: Errors of inverting training images (I,).
        judged_errors: Errors of inverting held-out images (I,).
    """

    reference: Tensor
    judged: Tensor
    reference_closeness: Tensor
    judged_closeness: Tensor
    reference_errors: Tensor
    judged_errors: Tensor

    @cached_property
    def neighbours(self) -> Neighbours:
        """Which features lie among which."""
        return neighbours(self.reference, self.judged)


@dataclass(frozen=True)
class Score:
    """A score.

    Attributes:
        title: For people.
        estimate: Evidence and the source of all randomness -> the score.
        better: In which direction; "near floor": like real images, neither above nor below.
        minimum: The least number of images of either kind with which it is defined.
        unit: Of the value.
        of_inversions: Whether these are images that are inverted, which takes long and is done to fewer.
    """

    title: str
    estimate: Callable[[Evidence, torch.Generator], Estimate]
    better: Literal["lower", "higher", "near floor"]
    minimum: int
    unit: str
    of_inversions: bool = False


def _frechet(evidence: Evidence, generator: torch.Generator) -> Estimate:
    statistic = partial(frechet_distances, evidence.reference, evidence.judged)
    return half_sampled(statistic, (len(evidence.reference), len(evidence.judged)), generator, least=0.0)


def _kernel(evidence: Evidence, generator: torch.Generator) -> Estimate:
    statistic = partial(kernel_distances, evidence.reference, evidence.judged)
    return half_sampled(statistic, (len(evidence.reference), len(evidence.judged)), generator)


def _mean_of(values: Tensor) -> Tensor:
    return values.mean(-1)


def _mean(values: Callable[[Evidence], Tensor], evidence: Evidence, generator: torch.Generator) -> Estimate:
    return resampled(_mean_of, values(evidence), generator=generator)


def _copied(evidence: Evidence, generator: torch.Generator) -> Estimate:
    return resampled(copied_share, evidence.reference_closeness, evidence.judged_closeness, generator=generator)


def _ratio(evidence: Evidence, generator: torch.Generator) -> Estimate:
    def ratio(reference: Tensor, judged: Tensor) -> Tensor:
        return (judged.mean(-1) + ROUNDING) / (reference.mean(-1) + ROUNDING)

    return resampled(ratio, evidence.reference_errors, evidence.judged_errors, generator=generator)


SCORES: dict[str, Score] = {
    "frechet": Score("Fréchet distance", _frechet, "lower", Classifier.num_features + 1, "features squared"),
    "kernel": Score("kernel distance", _kernel, "lower", 4, "kernel"),
    "precision": Score("precision", partial(_mean, lambda e: e.neighbours.precise), "higher", K + 1, "share"),
    "recall": Score("recall", partial(_mean, lambda e: e.neighbours.recalled), "higher", K + 1, "share"),
    "density": Score("density", partial(_mean, lambda e: e.neighbours.density), "near floor", K + 1, "relative to k"),
    "coverage": Score("coverage", partial(_mean, lambda e: e.neighbours.covered), "higher", K + 1, "share"),
    "memorisation": Score("near copies of training images", _copied, "near floor", 100, "share"),
    "inversion": Score(
        "error of inverting held-out images",
        partial(_mean, lambda e: e.judged_errors),
        "lower",
        2,
        "squared error per value",
        of_inversions=True,
    ),
    "inversion_ratio": Score(
        "that error by the one of training images", _ratio, "near floor", 2, "ratio", of_inversions=True
    ),
}
