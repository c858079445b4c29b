"""The game's vector field: both players' gradients side by side; its angle along a path, its noise, its Jacobian.

Each player descends its own loss, so a step of training moves the weights w = (discriminator, generator) along -v(w)
with v = (dL_D/dw_D, dL_G/dw_G), which is no gradient of anything in general: it can turn. Knows networks, losses and
penalties.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genprior.seeding import derived_generator
from genprior.training.losses import AdversarialLoss
from genprior.training.penalties import SlopePenalty, uniform_mix

Pair = tuple[nn.Module, nn.Module]  # discriminator, generator
Losses = Callable[[nn.Module, nn.Module], tuple[Tensor, Tensor]]  # of a pair, what each of them descends

ALPHAS = tuple((i - 2) / 20 for i in range(25))  # -0.1 to 1.1; 0, 0.9, 1 and 1.1 are among them
NEAR = 0.1  # distance from 1 at which both sides are compared


def mean_penalty(penalty: SlopePenalty, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Returns a penalty of each logit (L,) by its mean over turns; between real and fake always at the same places."""
    mix = uniform_mix(discriminator, len(real), derived_generator(0, "penalty mix"))
    return penalty(discriminator, real, fake, mix.to(real)) / penalty.every


def adversarial_losses(
    loss: AdversarialLoss, real: Tensor, z: Tensor, penalties: Sequence[SlopePenalty] = ()
) -> Losses:
    """Returns both players' losses on one batch, as they are in training, as functions of the players.

    A penalty that acts in every k-th turn, k times as strong, counts by its mean over turns.

    Arguments:
        loss: On logits.
        real: x (B, C, H, W).
        z: Latents (B, k).
        penalties: Added to the discriminator's loss.
    """

    def losses(discriminator: nn.Module, generator: nn.Module) -> tuple[Tensor, Tensor]:
        fake = generator(z)
        real_logits, fake_logits = discriminator(torch.cat([real, fake]), parts=2).chunk(2)
        own = loss.discriminator(real_logits, fake_logits).mean()
        for penalty in penalties:
            own = own + mean_penalty(penalty, discriminator, real, fake).mean()
        return own, loss.generator(real_logits, discriminator(fake)).mean()

    return losses


def vector_field(losses: Losses, discriminator: nn.Module, generator: nn.Module) -> tuple[Tensor, Tensor]:
    """Returns v at the players: the gradient of each one's own loss by its own weights, flat (P_D,) and (P_G,)."""
    return _field(losses, discriminator, generator, create_graph=False)


@dataclass(frozen=True)
class PathAngle:
    """The field along the straight line from earlier weights w to later ones w', and beyond them.

    Berard et al. 2019 (https://arxiv.org/abs/1906.04848), section 4. Where w' attracts, the cosine changes sign from
    below 0 to above it at alpha = 1; where the field turns around a point beside the line, it has a bump there.

    Attributes:
        alphas: Places w_alpha = alpha w' + (1 - alpha) w.
        cosines: Between v(w_alpha) and w' - w; nan where v is 0.
        norms: Of v(w_alpha).
        length: |w' - w|.
    """

    alphas: Sequence[float]
    cosines: Sequence[float]
    norms: Sequence[float]
    length: float

    @property
    def is_whole(self) -> bool:
        """Whether the places on both sides of the end are measured."""
        return self.alphas[-1] >= 1 + NEAR

    @property
    def before(self) -> float:
        """The cosine at alpha = 0.9."""
        return self._at(1 - NEAR)

    @property
    def end(self) -> float:
        """The cosine at alpha = 1."""
        return self._at(1)

    @property
    def beyond(self) -> float:
        """The cosine at alpha = 1.1."""
        return self._at(1 + NEAR)

    @property
    def attraction(self) -> float:
        """Half the rise of the cosine from alpha = 0.9 to 1.1, in [-1, 1]; 1: a pure potential, lowest at w'."""
        return (self.beyond - self.before) / 2

    @property
    def bump(self) -> float:
        """The cosine at the end less its mean at alpha = 0.9 and 1.1; 0: nothing turns around a point near by."""
        return self.end - (self.beyond + self.before) / 2

    @property
    def switches(self) -> bool:
        """Whether the cosine is below 0 just before the end of the path, and above it just beyond."""
        return self.before < 0 < self.beyond

    def _at(self, alpha: float) -> float:
        return next(c for a, c in zip(self.alphas, self.cosines, strict=True) if math.isclose(a, alpha))


def path_angle(losses: Losses, earlier: Pair, later: Pair, alphas: Sequence[float] = ALPHAS) -> Iterator[PathAngle]:
    """Yields the path angle of both players together as far as it is known: one more place each time.

    Batch normalisation uses the statistics of the batch in `losses`; running statistics are those of the later players
    and play no part.

    Arguments:
        losses: The same at all places.
        earlier, later: Discriminator and generator, of the same shapes.
        alphas: Places.

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
    for i, alpha in enumerate(alphas):
        _set_weights(pair, start + alpha * direction)
        field = torch.cat(vector_field(losses, *pair)).double()
        norms.append(float(field.norm()))
        cosines.append(float(field @ direction) / (norms[-1] * length) if norms[-1] > 0 else math.nan)
        yield PathAngle(alphas[: i + 1], tuple(cosines), tuple(norms), length)


@dataclass(frozen=True)
class GradientNorm:
    """A gradient that is known from batches.

    Attributes:
        norm: Of its mean over the batches.
        noise: Norm that this mean would have if the true gradient were 0: root of the summed variances of the mean.
    """

    norm: float
    noise: float

    @property
    def ratio(self) -> float:
        """Norm over noise; about 1: there is nothing but noise."""
        return self.norm / self.noise if self.noise > 0 else math.inf


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
    return [GradientNorm(math.sqrt(mean), math.sqrt(noise)) for mean, noise in zip(means, noises, strict=True)]


def flow_eigenvalues(losses: Losses, discriminator: nn.Module, generator: nn.Module) -> Tensor:
    """Returns the eigenvalues (P,), complex128, of the Jacobian of -v, those of the largest real part first.

    Training by small steps is drawn to a point where v = 0 if all real parts are below 0, and turns around it where
    there are imaginary parts (Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, section 2). It costs as many
    backward passes as there are weights. Penalties over fakes are taken with the fakes as they are.
    """
    pair = copy.deepcopy(discriminator).requires_grad_(True), copy.deepcopy(generator).requires_grad_(True)
    field = torch.cat(_field(losses, *pair, create_graph=True))
    weights = [*pair[0].parameters(), *pair[1].parameters()]
    rows = [_flat(torch.autograd.grad(-each, weights, retain_graph=True, materialize_grads=True)) for each in field]
    values: Tensor = torch.linalg.eigvals(torch.stack(rows).double())
    return values[values.real.argsort(descending=True)]


def _field(losses: Losses, discriminator: nn.Module, generator: nn.Module, create_graph: bool) -> tuple[Tensor, Tensor]:
    own = losses(discriminator, generator)
    gradients = [
        torch.autograd.grad(
            loss, list(player.parameters()), retain_graph=True, create_graph=create_graph, materialize_grads=True
        )
        for loss, player in zip(own, (discriminator, generator), strict=True)
    ]
    return _flat(gradients[0]), _flat(gradients[1])


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
