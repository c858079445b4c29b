"""Measures of how far two players are from an equilibrium: what each could gain alone, and where gradients lead.

The duality gap max_D' V(D', G) - min_G' V(D, G') is at least 0, and 0 exactly where neither player can gain: at an
equilibrium (Grnarova et al. 2019, https://arxiv.org/abs/1811.05512, equation 3). Both inner problems are solved by
Adam from copies of the players, so what is found is a lower bound of the gap: a better adversary only widens it.

Each player descends its own loss, so a step of training moves the weights w = (discriminator, generator) along -v(w)
with v = (dL_D/dw_D, dL_G/dw_G), which is no gradient of anything in general: it can turn. Measured are its angle along
a path, and its noise. Knows networks and optimisers; V may be any sum of two means, losses may be any.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from genprior.diagnosis.equilibrium_numbers import GameValue, GradientNorm, PathAngle, Response, ResponseMoment
from genprior.diagnosis.equilibrium_verdict import Equilibrium, gap_bound
from genprior.progress import Stage, Task
from genprior.training.optimisation import AdamSettings, Descent

Pair = tuple[nn.Module, nn.Module]  # discriminator, generator
Losses = Callable[[nn.Module, nn.Module], tuple[Tensor, Tensor]]  # of a pair, what each of them descends

MOMENTS = 20  # measurements of an adversary, evenly spread; the last fifth of the way holds four
ALPHAS = tuple((i - 2) / 20 for i in range(25))  # -0.1 to 1.1; 0, 0.9, 1 and 1.1 are among them


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
        fit, validation, judged = (terms.numbers for terms in (self.fit, self.validation, self.judged))
        return ResponseMoment(step=self.step, fit=fit, validation=validation, judged=judged)


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


def vector_field(losses: Losses, discriminator: nn.Module, generator: nn.Module) -> tuple[Tensor, Tensor]:
    """Returns v at the players: the gradient of each one's own loss by its own weights, flat (P_D,) and (P_G,)."""
    own = zip(losses(discriminator, generator), (discriminator, generator), strict=True)
    first, second = (
        _flat(torch.autograd.grad(loss, list(player.parameters()), retain_graph=True, materialize_grads=True))
        for loss, player in own
    )
    return first, second


def path_angle(losses: Losses, earlier: Pair, later: Pair) -> Task[PathAngle]:
    """Returns the path angle of both players together at `ALPHAS`; yields a stage after each place.

    Batch normalisation uses the statistics of the batch in `losses`; running statistics are those of the later players
    and play no part.

    Arguments:
        losses: The same at all places.
        earlier, later: Discriminator and generator, of the same shapes.

    Raises:
        ValueError: Earlier and later weights are the same.
    """
    start, end = _weights(earlier), _weights(later)
    direction, pair = end - start, (copy.deepcopy(later[0]).train(), copy.deepcopy(later[1]).train())
    length = float(direction.norm())
    if length == 0:
        raise ValueError("earlier and later players have the same weights; there is no path between them")
    cosines: list[float] = []
    norms: list[float] = []
    for alpha in ALPHAS:
        _set_weights(pair, start + alpha * direction)
        field = torch.cat(vector_field(losses, *pair)).double()
        norms.append(float(field.norm()))
        cosines.append(float(field @ direction) / (norms[-1] * length) if norms[-1] > 0 else math.nan)
        yield Stage(len(norms) / len(ALPHAS), f"path angle at {alpha:.2f} of the way")
    return PathAngle(alphas=ALPHAS, cosines=tuple(cosines), norms=tuple(norms), length=length)


def gradient_norms(batches: Iterable[Losses], discriminator: nn.Module, generator: nn.Module) -> list[GradientNorm]:
    """Returns the norms of the discriminator's and of the generator's gradient, each with its noise.

    Arguments:
        batches: Losses on independent batches, at least two.
        discriminator, generator: The players; neither is changed.
    """
    pair = copy.deepcopy(discriminator), copy.deepcopy(generator)
    sums, squares, count = [torch.zeros(1), torch.zeros(1)], [0.0, 0.0], 0
    for losses in batches:
        for i, gradient in enumerate(vector_field(losses, *pair)):
            sums[i], squares[i] = sums[i] + gradient.double(), squares[i] + float(gradient.double().square().sum())
        count += 1
    means = [float(total.square().sum()) / count**2 for total in sums]  # squared norms
    noises = [max(0.0, square / count - mean) / (count - 1) for mean, square in zip(means, squares, strict=True)]
    pairs = zip(means, noises, strict=True)
    return [GradientNorm(norm=math.sqrt(mean), noise=math.sqrt(noise)) for mean, noise in pairs]


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


@torch.no_grad()
def _weights(pair: Pair) -> Tensor:
    return _flat(weight.double() for player in pair for weight in player.parameters())


@torch.no_grad()
def _set_weights(pair: Pair, flat: Tensor) -> None:
    weights = [weight for player in pair for weight in player.parameters()]
    for weight, values in zip(weights, torch.split(flat, [weight.numel() for weight in weights]), strict=True):
        weight.copy_(values.view_as(weight))
