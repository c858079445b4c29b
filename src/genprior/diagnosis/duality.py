"""What each player could still gain while the other stands still: the duality gap of a zero-sum game.

The gap max_D' V(D', G) - min_G' V(D, G') is at least 0, and 0 exactly where neither player can gain: at an
equilibrium (Grnarova et al. 2019, https://arxiv.org/abs/1811.05512, equation 3). Both inner problems are solved by
Adam from copies of the players, so what is found is a lower bound of the gap: a better adversary only widens it.
Knows networks and optimisers; V may be any sum of two means.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from genprior.training.optimisation import AdamSettings, Descent

MOMENTS = 20  # measurements on the way, evenly spread; the last fifth of the way holds four
NOISE = 2.0  # standard errors; a gain below them is none
LITTLE = 1e-3  # nats; nor is one below this
SLIPPED = 0.05  # nats; what has become worse by more than this has become worse


@dataclass(frozen=True)
class Terms:
    """A value of the game as a mean over real samples and a mean over fakes, or a difference of two such values.

    Attributes:
        real: (n,).
        fake: (m,).
    """

    real: Tensor
    fake: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean of the one plus mean of the other, a scalar with its graph."""
        return self.real.mean() + self.fake.mean()

    @property
    def value(self) -> float:
        """The same as a number."""
        return float(self.mean.detach())

    @property
    def standard_error(self) -> float:
        """Of the value, from the spread of either term; nan where one of them has a single sample."""
        return math.sqrt(sum(_variance_of_mean(values) for values in (self.real, self.fake)))

    def __add__(self, other: "Terms") -> "Terms":
        """Returns the sum sample by sample."""
        return Terms(self.real + other.real, self.fake + other.fake)

    def __sub__(self, other: "Terms") -> "Terms":
        """Returns the difference sample by sample, which is less noisy where both were taken over the same ones."""
        return Terms(self.real - other.real, self.fake - other.fake)


def cross_entropy_terms(real_logits: Tensor, fake_logits: Tensor) -> Terms:
    """Returns log s(real) and log(1 - s(fake)), whose means add up to V. Goodfellow et al. 2014, equation 1.

    Example:
        >>> import torch
        >>> "%.4f" % cross_entropy_terms(torch.zeros(2), torch.zeros(3)).value
        '-1.3863'
    """
    return Terms(-F.softplus(-real_logits), -F.softplus(fake_logits))


def divergence(best_value: float) -> float:
    """Returns the Jensen-Shannon divergence (V + log 4) / 2 in nats that max_D V implies; at most log 2.

    Goodfellow et al. 2014, theorem 1. An estimate of max_D V from below is one of the divergence from below.

    Example:
        >>> "%.4f" % divergence(0.0)  # nothing in common: log 2
        '0.6931'
    """
    return (best_value + math.log(4)) / 2


class ZeroSumGame(Protocol):
    """A game in which the discriminator raises what the generator lowers; four samples of its value."""

    def drawn(self, discriminator: nn.Module, generator: nn.Module, step: int) -> Terms:
        """Returns the value on what is drawn to learn from in a step, with its graph."""

    def fit(self, discriminator: nn.Module, generator: nn.Module) -> Terms:
        """Returns the value on some of the samples that are learned from."""

    def validation(self, discriminator: nn.Module, generator: nn.Module) -> Terms:
        """Returns the value on the samples by which the best step is chosen."""

    def judged(self, discriminator: nn.Module, generator: nn.Module) -> Terms:
        """Returns the value on samples that decide nothing and are only reported."""


@dataclass(frozen=True)
class Moment:
    """An adversary on its way.

    Attributes:
        step: Of the adversary; 0: the player itself.
        fit: Value on what it learns from.
        validation: Value by which the best step is chosen.
        judged: Value that is reported.
    """

    step: int
    fit: Terms
    validation: Terms
    judged: Terms


@dataclass(frozen=True)
class Response:
    """An adversary trained against the player that stands still.

    Attributes:
        rises: Whether it raises the value (a discriminator) or lowers it (a generator).
        moments: In the order of steps, the first of step 0.
    """

    rises: bool
    moments: Sequence[Moment]

    @property
    def best(self) -> Moment:
        """The moment with the best value on the samples for validation; the judged ones have no say."""
        return max(self.moments, key=self._merit)

    @property
    def gain(self) -> float:
        """By how much the best step betters the player itself on the samples for validation, at least 0."""
        return self._merit(self.best) - self._merit(self.moments[0])

    @property
    def late_gain(self) -> float:
        """What the last fifth of the steps added to it."""
        return self._merit(self.best) - self._merit(self._best_early)

    @property
    def has_converged(self) -> bool:
        """Whether the late gain is no more than noise or `LITTLE`; never if it failed."""
        noise = NOISE * (self.best.validation - self._best_early.validation).standard_error
        return not self.has_failed and self.late_gain <= max(LITTLE, noise if math.isfinite(noise) else 0.0)

    @property
    def has_failed(self) -> bool:
        """Whether it ends worse than the player itself on what it learns from, by `SLIPPED`: the optimiser lost it."""
        return self._fit_merit(self.moments[-1]) < self._fit_merit(self.moments[0]) - SLIPPED

    @property
    def has_overfitted(self) -> bool:
        """Whether it ends worse than its best step by more than `SLIPPED`, and on what it learns from better."""
        last, best = self.moments[-1], self.best
        is_worse = self._merit(last) < self._merit(best) - SLIPPED
        return is_worse and self._fit_merit(last) > self._fit_merit(best)

    @property
    def _best_early(self) -> Moment:
        early = [moment for moment in self.moments if 5 * moment.step <= 4 * self.moments[-1].step]
        return max(early, key=self._merit)

    def _merit(self, moment: Moment) -> float:
        return self._good(moment.validation.value)

    def _fit_merit(self, moment: Moment) -> float:
        return self._good(moment.fit.value)

    def _good(self, value: float) -> float:
        return (value if self.rises else -value) if math.isfinite(value) else -math.inf


def duality_gap(up: Response, down: Response) -> Terms:
    """Returns max_D' V - min_G' V on the judged samples, sample by sample; its value is below 0 only by failure.

    Arguments:
        up: Of the discriminator.
        down: Of the generator.
    """
    return up.best.judged - down.best.judged


def best_discriminator(
    game: ZeroSumGame, discriminator: nn.Module, generator: nn.Module, adam: AdamSettings, steps: int
) -> Iterator[Moment]:
    """Trains a copy of the discriminator to raise the value, and yields what is measured.

    Arguments:
        game: Whose value.
        discriminator, generator: The players; neither is changed.
        adam: Of the copy.
        steps: At least 1.
    """
    mine, other = copy.deepcopy(discriminator), copy.deepcopy(generator).requires_grad_(False)
    return _respond(mine, lambda step: -game.drawn(mine, other, step).mean, _meter(game, mine, other), adam, steps)


def best_generator(
    game: ZeroSumGame, discriminator: nn.Module, generator: nn.Module, adam: AdamSettings, steps: int
) -> Iterator[Moment]:
    """Trains a copy of the generator to lower the value; arguments as for `best_discriminator`."""
    other, mine = copy.deepcopy(discriminator).requires_grad_(False), copy.deepcopy(generator)
    return _respond(mine, lambda step: game.drawn(other, mine, step).mean, _meter(game, other, mine), adam, steps)


def measured_steps(steps: int) -> list[int]:
    """Returns the steps at which an adversary is measured.

    Example:
        >>> measured_steps(1000)[:3], measured_steps(2)
        ([0, 50, 100], [0, 1, 2])
    """
    return sorted({round(steps * i / MOMENTS) for i in range(MOMENTS + 1)})


def _respond(
    adversary: nn.Module,
    objective: Callable[[int], Tensor],
    meter: Callable[[int], Moment],
    adam: AdamSettings,
    steps: int,
) -> Iterator[Moment]:
    descent, measured = Descent(adversary.requires_grad_(True), adam), set(measured_steps(steps))
    for step in range(steps + 1):
        if step in measured:
            yield meter(step)
        if step < steps:
            descent.step(objective(step))


def _meter(game: ZeroSumGame, discriminator: nn.Module, generator: nn.Module) -> Callable[[int], Moment]:
    def measure(step: int) -> Moment:
        # Copies, for batch normalisation keeps running statistics; frozen, so that only penalties need a graph.
        players = copy.deepcopy(discriminator).requires_grad_(False), copy.deepcopy(generator).requires_grad_(False)
        return Moment(step, game.fit(*players), game.validation(*players), game.judged(*players))

    return measure


def _variance_of_mean(values: Tensor) -> float:
    return float(values.double().var()) / len(values) if len(values) > 1 else math.nan
