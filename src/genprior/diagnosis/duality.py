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

from genprior.diagnosis.equilibrium_numbers import GameValue, Response, ResponseMoment
from genprior.diagnosis.equilibrium_verdict import Equilibrium, gap_bound
from genprior.training.descent import Descent
from genprior.training.optimiser import AdamSettings

MOMENTS = 20  # measurements on the way, evenly spread; the last fifth of the way holds four


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

    @property
    def numbers(self) -> GameValue:
        """The value and its standard error."""
        return GameValue(value=self.value, standard_error=self.standard_error)

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
class GameMoment:
    """An adversary on its way; attributes as those of `ResponseMoment`, sample by sample."""

    step: int
    fit: Terms
    validation: Terms
    judged: Terms

    @property
    def numbers(self) -> ResponseMoment:
        """Values and standard errors."""
        values = {name: terms.numbers for name, terms in vars(self).items() if name != "step"}
        return ResponseMoment(step=self.step, **values)


@dataclass(frozen=True)
class Adversary:
    """What an adversary found, and the values that a duality gap needs sample by sample.

    Attributes:
        response: Numbers of all its moments.
        first, best: Judged values of the player itself, and at the best step.
    """

    response: Response
    first: Terms
    best: Terms

    @classmethod
    def of(cls, rises: bool, moments: Sequence[GameMoment]) -> "Adversary":
        """Returns what the moments of an adversary amount to; arguments as the attributes of `Response`."""
        response = Response(rises=rises, moments=tuple(each.numbers for each in moments))
        best, early = (_at(moments, found.step) for found in (response.best, response.best_early))
        noise = (best.validation - early.validation).standard_error
        return cls(response.model_copy(update={"late_noise": noise}), moments[0].judged, best.judged)


def equilibrium_of(
    up: Adversary, down: Adversary, paying: Adversary | None = None, at_once: int = 1, is_unseen: bool = True
) -> Equilibrium:
    """Returns what adversaries say of an equilibrium, with duality gaps on judged samples, sample by sample.

    Arguments:
        up, down, paying, at_once, is_unseen: As the attributes of `Equilibrium`.
    """
    gap = gap_bound((up.best - down.best).numbers, up.response, down.response)
    played = gap
    if paying is not None:
        penalty = up.first - paying.first  # of the player itself
        terms = paying.best - down.best + penalty
        played = gap_bound(terms.numbers, paying.response, down.response)
    own = None if paying is None else paying.response
    return Equilibrium(up.response, down.response, gap, played, own, at_once, is_unseen)


def best_discriminator(
    game: ZeroSumGame, discriminator: nn.Module, generator: nn.Module, adam: AdamSettings, steps: int
) -> Iterator[GameMoment]:
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
) -> Iterator[GameMoment]:
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
    meter: Callable[[int], GameMoment],
    adam: AdamSettings,
    steps: int,
) -> Iterator[GameMoment]:
    descent, measured = Descent(adversary.requires_grad_(True), adam), set(measured_steps(steps))
    for step in range(steps + 1):
        if step in measured:
            yield meter(step)
        if step < steps:
            descent.step(objective(step))


def _meter(game: ZeroSumGame, discriminator: nn.Module, generator: nn.Module) -> Callable[[int], GameMoment]:
    def measure(step: int) -> GameMoment:
        # Copies, for batch normalisation keeps running statistics; frozen, so that only penalties need a graph.
        players = copy.deepcopy(discriminator).requires_grad_(False), copy.deepcopy(generator).requires_grad_(False)
        return GameMoment(step, game.fit(*players), game.validation(*players), game.judged(*players))

    return measure


def _at(moments: Sequence[GameMoment], step: int) -> GameMoment:
    return next(each for each in moments if each.step == step)


def _variance_of_mean(values: Tensor) -> float:
    return float(values.double().var()) / len(values) if len(values) > 1 else math.nan
