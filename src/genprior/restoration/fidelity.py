"""Data terms: how far a predicted measurement is from the one that was made. Knows tensors only.

Predictions and measurements are flat and real, (B, M). Each term is -log p(y | prediction) up to constants, for noise
of scale 1; divided by its `scale` it is in nats. Weighted by that scale, the prior's energy -log p(z) and the data term
add up to the posterior. The scale is known, or it is what the residual shows.

`FIDELITIES`, at the end, is the place to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from genprior.errors import GenpriorError

Weigh = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(who, misfit, weight) of R searches -> new weight (R,)."""

SMALLEST = 1e-6  # for residuals of a thousandth of the range: no noise to speak of
FASTEST = 4.0  # factor by which a weight may change between two looks
QUADRATURE = 64  # points
UNKNOWN = 0.3  # standard deviation that is assumed before the residual shows one


class Fidelity(Protocol):
    """A data term; a class that a user can write in ten lines."""

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Returns the terms (B, M), each at least 0 and 0 for a perfect prediction; differentiable."""

    def scale(self, mean: Tensor) -> Tensor:
        """Returns the scale of the noise, in which terms are in nats, under which this mean term is most likely."""


@dataclass(frozen=True)
class L2:
    """r^2 / 2 of the residual r: Gaussian noise."""

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (prediction - y).square()

    def scale(self, mean: Tensor) -> Tensor:
        return 2 * mean


@dataclass(frozen=True)
class L1:
    """|r| of the residual r, rounded off within `smooth` of 0: Laplace noise, outliers.

    sqrt(r^2 + smooth^2) - smooth (Charbonnier et al. 1997).

    Arguments:
        smooth: In the units of y, above 0; below it the term is a parabola.
    """

    smooth: float = 0.01

    def __post_init__(self) -> None:
        _check_above_0(self.smooth, "smooth", "l1")

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        return ((prediction - y).square() + self.smooth**2).sqrt() - self.smooth

    def scale(self, mean: Tensor) -> Tensor:
        return mean


@dataclass(frozen=True)
class Huber:
    """r^2 / 2 of the residual r within `delta`, linear beyond (Huber 1964).

    Arguments:
        delta: In the units of y, above 0.
    """

    delta: float = 0.1

    def __post_init__(self) -> None:
        _check_above_0(self.delta, "delta", "huber")

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.huber_loss(prediction, y, reduction="none", delta=self.delta)

    def scale(self, mean: Tensor) -> Tensor:
        return 2 * mean


@dataclass(frozen=True)
class Poisson:
    """(p - y - y log(p / y)) / gain: photon counts y / gain with mean p / gain, in nats.

    Arguments:
        gain: Of the Poisson noise, above 0: y is gain times a count. Default: that of the noise, where it is known.
        floor: Added to both, above 0, in the units of y: a count where none can be is unlikely, not impossible.
    """

    gain: float | None = None
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if self.gain is None:
            raise GenpriorError("needs the gain of the noise: give poisson:gain=... (0.05, say)", argument="fidelity")
        _check_above_0(self.gain, "gain", "poisson")
        _check_above_0(self.floor, "floor", "poisson")

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        assert self.gain is not None
        p, counts = prediction.clamp_min(0) + self.floor, y.clamp_min(0) + self.floor
        return (p - counts - counts * (p / counts).log()) / self.gain

    def scale(self, mean: Tensor) -> Tensor:
        return (2 * mean).clamp_min(1.0)  # counts cannot vary less than they do; what exceeds that is no noise


def _check_above_0(value: float, option: str, name: str) -> None:
    if not 0 < value < float("inf"):
        raise GenpriorError(
            f"option '{option}' of '{name}' must be a finite number above 0, got {value}", argument="fidelity"
        )


def weight_from_noise(fidelity: Fidelity, counts: Tensor, noise_level: float | None) -> tuple[float, Weigh]:
    """Returns the weight to begin with, and how it follows a search.

    With s the scale of the noise and e the one that the residual shows:

    - e < s: noise is being fitted. The weight grows by sqrt(s / e) until the misfit is that of the noise: the
      discrepancy principle (Morozov 1966).
    - e > s, or s is not known: what the prior cannot represent acts as noise too. The weight is e, under which the
      residual is most likely.

    Arguments:
        fidelity: The data term.
        counts: Number of measurements of each image (B,).
        noise_level: Standard deviation of the noise, at least 0, or None where it is not known.
    """
    known = noise_scale(fidelity, noise_level or 0.0)

    def weigh(who: Tensor, misfit: Tensor, weight: Tensor) -> Tensor:
        shown = fidelity.scale(misfit / counts[who]).clamp_min(SMALLEST)
        wanted = torch.maximum(shown, weight * (known / shown).sqrt()) if known > 0 else shown
        return torch.minimum(torch.maximum(wanted, weight / FASTEST), weight * FASTEST)

    return max(SMALLEST, known or noise_scale(fidelity, UNKNOWN)), weigh


def noise_scale(fidelity: Fidelity, noise_level: float) -> float:
    """Returns the scale of a data term whose residuals are Gaussian of this standard deviation, by quadrature."""
    points, shares = np.polynomial.hermite_e.hermegauss(QUADRATURE)
    truth = torch.full((1, QUADRATURE), 0.5, dtype=torch.float64)
    terms = fidelity(truth, truth + noise_level * torch.from_numpy(points))
    mean = (terms * torch.from_numpy(shares / shares.sum())).sum()
    return float(fidelity.scale(mean))


FIDELITIES: dict[str, Callable[..., Fidelity]] = {"l2": L2, "l1": L1, "huber": Huber, "poisson": Poisson}
