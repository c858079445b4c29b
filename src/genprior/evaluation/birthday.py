"""How many different images a generator makes: the birthday paradox, without a human eye. Knows tensors only.

Among n draws from N equally likely images there are about n (n - 1) / (2 N) pairs of equal ones, so counting near
duplicates tells N (Arora & Zhang 2017, https://arxiv.org/abs/1706.08224). They looked for duplicates by eye among the
nearest pairs; here two images are duplicates where their features are as near as hardly any two real ones.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.seeding import derived_generator

QUANTILE = 0.001
ROWS = 500  # of a table of distances at a time
SLACK = 1e-6  # of the longest feature: distances are known no better, and equal ones count
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Support:
    """Size of what samples are drawn from.

    Attributes:
        samples: Number n of samples.
        collisions: Pairs of near duplicates c.
        size: n (n - 1) / (2 c), which is 1 / sum p^2: the number of equally likely images that would collide as often
            (of images that are not equally likely there are more). None without collisions.
        low, high: It lies between them with a confidence of 95 %; `high` is None without collisions, where `low` is a
            one-sided bound.
    """

    samples: int
    collisions: int
    size: float | None
    low: float
    high: float | None


@dataclass(frozen=True)
class Birthday:
    """The size of a generator's support beside that of real images, by the same measure.

    Attributes:
        generated: Of samples.
        real: Of real images. Near duplicates are defined by how near real images are to each other, so this number
            depends on how many there are: only the two sizes side by side say something.
        threshold: Distance up to which two images are near duplicates.
    """

    generated: Support
    real: Support
    threshold: float


def birthday(generated: Tensor, real: Tensor, seed: int = 0, quantile: float = QUANTILE) -> Birthday:
    """Returns how many different images a generator makes, beside how many different real ones there are.

    Arguments:
        generated: Features of samples (N, F), at least two.
        real: Features of real images (M, F), at least four.
        seed: Of how the real ones are cut in halves.
        quantile: Share of real images that have a near duplicate in the other half, above 0 and below 1.
    """
    if len(real) < 4:
        raise GenpriorError(f"expected at least 4 real images, got {len(real)}")
    order = torch.randperm(len(real), generator=derived_generator(seed, "halves of real images"))
    first, second = real[order].tensor_split(2)
    threshold = duplicate_threshold(first, second, quantile)
    return Birthday(support(generated, threshold), support(real, threshold), threshold)


def duplicate_threshold(first: Tensor, second: Tensor, quantile: float = QUANTILE) -> float:
    """Returns the distance within which only that share of `first` (N, F) has a neighbour in `second` (M, F)."""
    if not 0 < quantile < 1:
        raise GenpriorError(f"expected above 0 and below 1, got {quantile}", argument="quantile")
    x, others = first.double(), second.double()
    nearest = torch.cat([torch.cdist(rows, others).min(1).values for rows in torch.split(x, ROWS)])
    return float(nearest.quantile(quantile))


def support(features: Tensor, threshold: float) -> Support:
    """Returns the size of what features are drawn from, by the pairs of them that are near duplicates.

    Arguments:
        features: (N, F), at least two.
        threshold: Distance up to which two of them are near duplicates, at least 0.
    """
    samples = len(features)
    if samples < 2:
        raise GenpriorError(f"expected at least 2 samples, got {samples}")
    pairs, found = samples * (samples - 1) / 2, collisions(features, threshold)
    fewest, most = poisson_interval(found)
    if found == 0:
        return Support(samples, 0, None, pairs / most, None)
    return Support(samples, found, pairs / found, pairs / most, pairs / fewest)


def collisions(features: Tensor, threshold: float) -> int:
    """Returns how many pairs of features (N, F) are no farther apart than the threshold."""
    x = features.double()
    reach = threshold + SLACK * float(x.norm(dim=1).max())
    near = sum(int((torch.cdist(rows, x) <= reach).sum()) for rows in torch.split(x, ROWS))
    return (near - len(x)) // 2  # each is near itself, and each pair was seen twice


def poisson_interval(count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Returns bounds of the mean of a Poisson variable that was seen once; for 0 a one-sided upper one.

    Garwood 1936, Fiducial limits for the Poisson distribution.

    Example:
        >>> ["%.2f" % bound for bound in poisson_interval(0)]  # the rule of three
        ['0.00', '3.00']
    """
    from scipy.stats import chi2

    if count == 0:
        return 0.0, float(chi2.ppf(confidence, 2) / 2)
    tail = (1 - confidence) / 2
    return float(chi2.ppf(tail, 2 * count) / 2), float(chi2.ppf(1 - tail, 2 * count + 2) / 2)
