"""How samples are spread over classes or modes, how far that is from a reference, and from a perfect model's spread."""

from dataclasses import dataclass

import torch
from torch import Tensor

SHARE_OF_A_MODE = 0.1
REPEATS = 200  # simulated perfect models; the spread of their mean is a fourteenth of theirs


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


def modes_found(counts: Tensor, real: Tensor, least: float = SHARE_OF_A_MODE) -> tuple[int, int]:
    """Returns how many classes of the real images have samples, and how many of them there are.

    A class has samples if they are at least that share of what its share of the real images would give: the mistakes of
    a good classifier put less than a tenth there.
    """
    there = real > 0
    found = there & (counts > 0) & (counts >= least * expected_counts(counts, real))
    return int(found.sum()), int(there.sum())


def class_counts(classes: Tensor, count: int) -> Tensor:
    """Returns how often each of 0 ... count - 1 occurs, int64 (count,)."""
    return torch.bincount(classes, minlength=count)


@dataclass(frozen=True)
class Divergence:
    """Kullback-Leibler divergence of samples' modes to a reference, in nats.

    Attributes:
        raw: As published, of the observed frequencies.
        floor: What a perfect model gets at as many samples, on average.
        floor_spread: Standard deviation of that from one set of samples to the next.
        debiased: Without the part of the bias that comes from there being few samples; may be below 0.
    """

    raw: float
    floor: float
    floor_spread: float
    debiased: float


def divergence(counts: Tensor, reference: Tensor, truth: Tensor, generator: torch.Generator) -> Divergence | None:
    """Returns the divergence of samples' modes to a reference; None where there are no samples, or it is infinite.

    Arguments:
        counts: Samples on each mode (modes,), whole numbers.
        reference: Frequencies to compare with, up to a factor (modes,), at least 0.
        truth: Frequencies of the data, up to a factor (modes,), at least 0: those of a perfect model.
        generator: Of the floor's simulation.
    """
    samples = int(counts.sum())
    if samples == 0 or bool((counts[reference == 0] > 0).any()):
        return None
    raw = float(kl_divergence(counts, reference))
    floor, spread = kl_floor(samples, reference, truth, generator)
    return Divergence(raw, floor, spread, raw - miller_madow(counts))


def kl_divergence(counts: Tensor, reference: Tensor) -> Tensor:
    """Returns sum p log(p / q) in nats, float64 (...), for counts (..., modes) and a reference up to a factor (modes,).

    Infinite where samples lie on a mode that the reference lacks.

    Example:
        >>> float(kl_divergence(torch.tensor([2, 0]), torch.tensor([1, 1])))  # log 2
        0.6931471805599453
    """
    p = counts.double() / counts.sum(-1, keepdim=True)
    q = reference.double() / reference.sum()
    terms: Tensor = torch.special.xlogy(p, p) - torch.special.xlogy(p, q)
    return terms.sum(-1)


def miller_madow(counts: Tensor) -> float:
    """Returns by how much an entropy is underestimated, (observed modes - 1) / (2 n).

    A divergence is overestimated by as much. Miller 1955, Note on the bias of information estimates.

    Arguments:
        counts: (modes,), not all 0.
    """
    return float(((counts > 0).sum() - 1) / (2 * counts.sum()))


def kl_floor(
    samples: int, reference: Tensor, truth: Tensor, generator: torch.Generator, repeats: int = REPEATS
) -> tuple[float, float]:
    """Returns mean and standard deviation of the divergence of a perfect model's samples, by simulation.

    For many samples the mean is about (modes - 1) / (2 n) + KL(truth || reference).

    Arguments:
        samples: n, at least 1.
        reference, truth: As for `divergence`; no mode of the truth is missing from the reference.
        generator: Of the simulated samples.
        repeats: Simulated sets of samples, at least 2.
    """
    p = truth.double() / truth.sum()
    drawn = (torch.multinomial(p, samples, True, generator=generator) for _ in range(repeats))
    found = kl_divergence(torch.stack([class_counts(modes, len(p)) for modes in drawn]), reference)
    return float(found.mean()), float(found.std())
