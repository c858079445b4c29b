"""The game's vector field: both players' gradients side by side; its angle along a path, and its noise.

Each player descends its own loss, so a step of training moves the weights w = (discriminator, generator) along -v(w)
with v = (dL_D/dw_D, dL_G/dw_G), which is no gradient of anything in general: it can turn. Knows networks, losses and
penalties.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from genprior.diagnosis.equilibrium_numbers import GradientNorm, PathAngle
from genprior.progress import Stage, Task
from genprior.seeding import derived_generator
from genprior.training.losses import AdversarialLoss
from genprior.training.penalties import SlopePenalty, uniform_mix

Pair = tuple[nn.Module, nn.Module]  # discriminator, generator
Losses = Callable[[nn.Module, nn.Module], tuple[Tensor, Tensor]]  # of a pair, what each of them descends

ALPHAS = tuple((i - 2) / 20 for i in range(25))  # -0.1 to 1.1; 0, 0.9, 1 and 1.1 are among them


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
