"""Data terms: how far a predicted measurement is from the one that was made. Knows tensors only.

Predictions and measurements are flat and real, (B, M). Each term is -log p(y | prediction) up to constants, for noise
of scale 1; divided by its `scale` it is in nats. Weighted by that scale, the prior's energy -log p(z) and the data term
add up to the posterior. The scale is known, or it is what the residual shows.

`FIDELITIES`, at the end, is the place to add one.
"""

import math
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
LEAST_TAIL = 1e-12  # probability of noise that clips a number: less is a prediction that is wrong
FASTEST = 4.0  # factor by which a weight may change between two looks
QUADRATURE = 64  # points
LEAST_SCALE, MOST_SCALE = 1e-9, 1e6  # of options: squares of what lies beyond are 0 or infinite in float32
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
class Clipped:
    """Gaussian noise that was clipped at 0 and 1 afterwards, as pictures do it: r^2 / 2 of the residual r between.

    At a bound all values beyond it became the bound, so the term is -sigma^2 log of the tail's probability: a pixel of
    a prediction near black says little against noise that would have made it blacker (Tobin 1958). It is 0 for a
    prediction at the bound. Numbers beyond the bounds were not clipped, and get r^2 / 2.

    Arguments:
        sigma: Standard deviation of the noise before it was clipped, above 0. Default: that of the noise, where it is
            known.
    """

    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.sigma is None:
            raise GenpriorError("needs the noise level: give clipped:sigma=... (0.1, say)", argument="fidelity")
        _check_scale(self.sigma, "sigma", "clipped")

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        assert self.sigma is not None
        plain = 0.5 * (prediction - y).square()
        inwards = torch.where(y == 0, prediction, 1 - prediction)
        beyond = torch.where(inwards < 0, 0.0, inwards) / self.sigma  # clamping has no slope at the bound itself
        tail = self.sigma**2 * (math.log(0.5) - torch.special.log_ndtr(-beyond))
        return torch.where(at_bound(y), tail, plain)

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
        _check_scale(self.smooth, "smooth", "l1")

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
        _check_scale(self.delta, "delta", "huber")

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
        _check_scale(self.gain, "gain", "poisson")
        _check_scale(self.floor, "floor", "poisson")

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        assert self.gain is not None
        p, counts = prediction.clamp_min(0) + self.floor, y.clamp_min(0) + self.floor
        return (p - counts - counts * (p / counts).log()) / self.gain

    def scale(self, mean: Tensor) -> Tensor:
        return (2 * mean).clamp_min(1.0)  # counts cannot vary less than they do; what exceeds that is no noise


def _check_scale(value: float, option: str, name: str) -> None:
    if not LEAST_SCALE <= value <= MOST_SCALE:
        raise GenpriorError(
            f"option '{option}' of '{name}' must be from {LEAST_SCALE:g} to {MOST_SCALE:g}, got {value}",
            argument="fidelity",
        )


def at_bound(y: Tensor) -> Tensor:
    """Returns where noisy measurements were clipped to 0 or 1: without that, noise gives exactly these nowhere."""
    return (y == 0) | (y == 1)


def unclipped(y: Tensor, prediction: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Returns measurements as they may have been before clipping: numbers at a bound are drawn from beyond it.

    Arguments:
        y: The measurements, any shape.
        prediction: What they would be without noise, as far as is known; of the same shape.
        sigma: Standard deviation of the noise, above 0.
        generator: All that is random comes from it.
    """
    outwards = torch.where(y == 0, -1.0, 1.0).double()
    least = (y - prediction).double() * outwards / sigma  # deviations of the noise, outwards
    tail = torch.special.ndtr(-least).clamp_min(LEAST_TAIL)
    uniform = torch.rand(y.shape, generator=generator, dtype=torch.float64).to(y.device)
    beyond = -torch.special.ndtri((tail * uniform).clamp_min(LEAST_TAIL))
    return torch.where(at_bound(y), prediction + (sigma * outwards * beyond).to(y), y)


def level_after_clipping(y: Tensor, seen: Tensor, noise_level: float) -> Tensor:
    """Returns the standard deviation (B,) of noise in measurements (B, M) that may have been clipped to [0, 1].

    Where an image is black or white, half of the values lie at the bound, and half of the variance is lost. In between
    the share of values there is near the share of the variance that is lost: within a tenth up to a level of 0.2,
    within an eighth up to 0.3.

    Arguments:
        y: The measurements.
        seen: (B, M), 1 where a number of y says something about the image.
        noise_level: Standard deviation before clipping.
    """
    share = (at_bound(y) * seen).sum(1) / seen.sum(1).clamp_min(1)
    return noise_level * (1 - share).sqrt()


def level_around(prediction: Tensor, y: Tensor, seen: Tensor, noise_level: float) -> Tensor:
    """Returns the standard deviation (B,) that clipped noise has around predictions (B, M), exactly.

    The root of the mean of E[(min(max(p + n, 0), 1) - p)^2], n Gaussian; for measurements that show no clipping, that
    of the noise itself. Arguments as `level_after_clipping` has them.
    """
    plain = torch.full_like(y[:, 0], noise_level)
    if noise_level == 0:
        return plain
    p = prediction.clamp(0, 1)
    a, b = -p / noise_level, (1 - p) / noise_level
    density_a, density_b = (torch.exp(-each.square() / 2) / math.sqrt(2 * math.pi) for each in (a, b))
    below, above = torch.special.ndtr(a), torch.special.ndtr(-b)
    inside = 1 - below - above - b * density_b + a * density_a
    variance = p.square() * below + (1 - p).square() * above + noise_level**2 * inside
    mean = (variance * seen).sum(1) / seen.sum(1).clamp_min(1)
    return torch.where((at_bound(y) & (seen > 0)).any(1), mean.sqrt(), plain)


def weight_from_noise(fidelity: Fidelity, counts: Tensor, noise_level: Tensor | None) -> tuple[Tensor, Weigh]:
    """Returns the weights (B,) to begin with, and how they follow a search.

    With s the scale of the noise and e the one that the residual shows:

    - e < s: noise is being fitted. The weight grows by sqrt(s / e) until the misfit is that of the noise: the
      discrepancy principle (Morozov 1966).
    - e > s, or s is not known: what the prior cannot represent acts as noise too. The weight is e, under which the
      residual is most likely.

    Arguments:
        fidelity: The data term.
        counts: Number of measurements of each image (B,).
        noise_level: Standard deviation of the noise (B,), at least 0, or None where it is not known.
    """
    known = torch.zeros_like(counts) if noise_level is None else noise_scale(fidelity, noise_level)
    unknown = noise_scale(fidelity, torch.full_like(known, UNKNOWN))

    def weigh(who: Tensor, misfit: Tensor, weight: Tensor) -> Tensor:
        shown = fidelity.scale(misfit / counts[who]).clamp_min(SMALLEST)
        wanted = torch.where(known[who] > 0, torch.maximum(shown, weight * (known[who] / shown).sqrt()), shown)
        return torch.minimum(torch.maximum(wanted, weight / FASTEST), weight * FASTEST)

    return torch.where(known > 0, known, unknown).clamp_min(SMALLEST), weigh


def noise_scale(fidelity: Fidelity, noise_level: Tensor) -> Tensor:
    """Returns the scale (B,) of a data term whose residuals are Gaussian of standard deviations (B,), by quadrature."""
    points, shares = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(QUADRATURE))
    truth = torch.full((len(noise_level), QUADRATURE), 0.5, dtype=torch.float64, device=noise_level.device)
    terms = fidelity(truth, truth + noise_level.double()[:, None] * points.to(truth))
    mean = (terms * (shares / shares.sum()).to(truth)).sum(1)
    return fidelity.scale(mean).to(noise_level)


FIDELITIES: dict[str, Callable[..., Fidelity]] = {
    "l2": L2,
    "l1": L1,
    "huber": Huber,
    "poisson": Poisson,
    "clipped": Clipped,
}
