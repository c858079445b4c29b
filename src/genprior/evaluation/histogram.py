"""How samples are spread over classes. Knows tensors only."""

from dataclasses import dataclass

import torch
from torch import Tensor

SHARE_OF_A_MODE = 0.1


@dataclass(frozen=True)
class ChiSquare:
    """A test of two histograms.

    Attributes:
        statistic: Chi-square, at least 0.
        degrees: Of freedom.
        p_value: Probability of such a statistic, or a larger one, if both come from one distribution.
    """

    statistic: float
    degrees: int
    p_value: float


def homogeneity(counts: Tensor, others: Tensor) -> ChiSquare:
    """Returns Pearson's chi-square test of whether two histograms come from one distribution.

    Both are samples, so both have an error: where one is much larger, this is the test against known frequencies.

    Arguments:
        counts: (classes,) whole numbers, at least one above 0.
        others: (classes,) whole numbers, at least one above 0.

    Example:
        >>> homogeneity(torch.tensor([10, 20]), torch.tensor([20, 10])).statistic
        6.666666666666667
    """
    from scipy.stats import chi2_contingency

    table = torch.stack([counts, others])
    found = chi2_contingency(table[:, table.sum(0) > 0].numpy(), correction=False)
    return ChiSquare(float(found.statistic), int(found.dof), float(found.pvalue))


def expected_counts(counts: Tensor, real: Tensor) -> Tensor:
    """Returns as many as `counts` are in all, spread over the classes as the real ones are (classes,)."""
    return real.double() / real.sum() * counts.sum()


def modes_found(counts: Tensor, real: Tensor) -> tuple[int, int]:
    """Returns how many classes of the real images have samples, and how many of them there are.

    A class has samples if they are at least a tenth of what its share of the real images would give: the mistakes of a
    good classifier put fewer there.
    """
    there = real > 0
    found = there & (counts >= SHARE_OF_A_MODE * expected_counts(counts, real)) & (counts > 0)
    return int(found.sum()), int(there.sum())


def class_counts(classes: Tensor, count: int) -> Tensor:
    """Returns how often each of 0 ... count - 1 occurs, int64 (count,)."""
    return torch.bincount(classes, minlength=count)
