"""How far the frequencies of modes are from others, and how far a perfect model's would be. Knows tensors only."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genprior.evaluation.histogram import class_counts

REPEATS = 200  # simulated perfect models; the spread of their mean is a fourteenth of theirs


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
