"""A fresh discriminator against a generator that stands still, and what it leaves of the generator's gradient.

The experiment of Arjovsky & Bottou 2017 (https://arxiv.org/abs/1701.04862), figures 2 and 3: the closer the
discriminator comes to the best one, the smaller the gradient of E log(1 - D(G(z))) (theorem 2.4), while that of
-E log D(G(z)) grows. Knows data, networks and losses.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.latents import arithmetic, draw_latents
from genprior.models.discriminator_parts import pack_of
from genprior.seeding import derived_seed
from genprior.training.loop import shuffled_indices
from genprior.training.losses import (
    AdversarialLoss,
    cross_entropy_discriminator,
    loss_factors,
    non_saturating,
    saturating,
)
from genprior.training.optimisation import AdamSettings, Descent

LATENTS = 512
VANISHES, STAYS = 3.0, 1.0  # decades: the saturating norm falls by at least, the other by less than
EVENLY = 8  # measurements that are spread evenly, besides those at powers of two
COMPARED: Mapping[str, AdversarialLoss] = {"saturating": saturating(), "non-saturating": non_saturating()}


@dataclass(frozen=True)
class Moment:
    """The discriminator at an instant, and the gradients that the generator would get from it.

    Attributes:
        step: Of the discriminator; 0: before the first.
        gradient_norm: Of E L with respect to all weights of the generator, by the name of the loss L.
        loss_factor: Root mean square of dL/da over fakes, by the name of the loss.
        real_logit, fake_logit: Means.
        accuracy: Share of real images and fakes that are told apart, in [0, 1].
    """

    step: int
    gradient_norm: dict[str, float]
    loss_factor: dict[str, float]
    real_logit: float
    fake_logit: float
    accuracy: float


@dataclass(frozen=True)
class Retrained:
    """A fresh discriminator against the generator of one age.

    Attributes:
        images_seen: Age of the generator.
        seed: Of the discriminator.
        moments: In the order of the discriminator's steps.
    """

    images_seen: int
    seed: int
    moments: Sequence[Moment]

    def norms(self, loss: str) -> list[float]:
        """Returns the gradient norm of a loss at each moment."""
        return [moment.gradient_norm[loss] for moment in self.moments]

    @property
    def decades(self) -> dict[str, float | None]:
        """By how much the gradient of each loss fell; None: it was 0 or not finite somewhere."""
        return {loss: decades_fallen(self.norms(loss)) for loss in COMPARED}

    @property
    def last_over_first(self) -> dict[str, float | None]:
        """The gradient's norm at the last step over that at step 0; None: one of them is 0 or not finite.

        A fall from a peak to a dip may be over at the end; this number tells.
        """
        ends = {loss: (self.norms(loss)[0], self.norms(loss)[-1]) for loss in COMPARED}
        return {loss: last / first if _are_known(first, last) else None for loss, (first, last) in ends.items()}

    @property
    def is_confirmed(self) -> bool:
        """Whether the saturating loss's gradient vanished and that of the other stayed."""
        vanished, stayed = self.decades["saturating"], self.decades["non-saturating"]
        return vanished is not None and stayed is not None and vanished >= VANISHES and stayed < STAYS


def measured_steps(steps: int) -> list[int]:
    """Returns the steps at which gradients are measured: 0, powers of two, each eighth of the way, the last.

    Example:
        >>> measured_steps(40)
        [0, 1, 2, 4, 5, 8, 10, 15, 16, 20, 25, 30, 32, 35, 40]
    """
    powers = {1 << i for i in range(steps.bit_length())}
    return sorted({0, *powers, *(steps * i // EVENLY for i in range(EVENLY + 1))})


def retrain(
    generator: nn.Module,
    discriminator: nn.Module,
    data: Dataset,
    *,
    adam: AdamSettings,
    steps: int,
    batch_size: int = 128,
    latents: int = LATENTS,
    seed: int = 0,
) -> Iterator[Moment]:
    """Trains a discriminator in place against a generator that stays as it is, and yields what is measured.

    The discriminator learns by cross entropy, without penalties and at a constant learning rate. Both players stay in
    training mode, so that gradients are those of training: batches are normalised by their own statistics. (The
    running statistics of a generator lag behind its weights, and in a young one they are still those of its
    first weights: in evaluation mode it would be another function than the one that was trained.) Measuring works on
    copies, and so changes neither weights nor running statistics.

    Arguments:
        generator: z (B, k) -> x (B, C, H, W), float32 or wider.
        discriminator: x -> logits (B,), untrained, in the same arithmetic.
        data: Real images.
        adam: Of the discriminator.
        steps: Of the discriminator, at least 1.
        batch_size: Real images, and fakes, in a step; at least 2.
        latents: How many fakes, always of the same z, the gradients are taken over; at least 2.
        seed: Of all draws.
    """
    generator = copy.deepcopy(generator).train().requires_grad_(True)
    descent, measured = Descent(discriminator.train(), adam), set(measured_steps(steps))
    z = draw_latents(generator, latents, seed, "probe latents")
    shown = min(latents, len(data))
    real = data.some(shown - shown % pack_of(discriminator)).to(arithmetic(generator))
    for step in range(steps + 1):
        if step in measured:
            yield moment(step, generator, discriminator, z, real)
        if step < steps:
            _train_once(generator, discriminator, descent, data, batch_size, step, seed)


def moment(step: int, generator: nn.Module, discriminator: nn.Module, z: Tensor, real: Tensor) -> Moment:
    """Returns what is to be known of a discriminator, without changing it.

    Arguments:
        step: Of the discriminator.
        generator, discriminator: The players, in the mode in which they train.
        z: Latents (B, k).
        real: Images (N, C, H, W).
    """
    frozen = copy.deepcopy(discriminator).requires_grad_(False)
    with torch.no_grad():
        real_logits = frozen(real)
    with torch.enable_grad():
        fake_logits = frozen(generator(z))
    factors = {name: loss_factors(loss, fake_logits, fake_logits) for name, loss in COMPARED.items()}
    weights, fakes = list(generator.parameters()), fake_logits.detach()
    return Moment(
        step,
        {name: gradient_norm(fake_logits, factor / len(factor), weights) for name, factor in factors.items()},
        {name: float(factor.square().mean().sqrt()) for name, factor in factors.items()},
        float(real_logits.mean()),
        float(fakes.mean()),
        float((real_logits > 0).float().mean() + (fakes <= 0).float().mean()) / 2,
    )


def gradient_norm(logits: Tensor, factors: Tensor, weights: Sequence[nn.Parameter]) -> float:
    """Returns the norm of sum_i factors_i da_i/dtheta over all weights theta.

    Backward is linear in the factors, so it starts from factors whose largest is 1, and the norm is scaled back in
    float64: it has float32's seven digits at any size down to 1e-300, where plain float32 loses digits of the squares
    from 1e-19 on. Each logit's own rounding, 6e-8 of it, is the same share of an error in exp(a).

    Arguments:
        logits: a (B,), with their graph, which is kept.
        factors: dL/da_i (B,), float64.
        weights: Of the generator.
    """
    largest = float(factors.abs().max())
    if not 0 < largest < math.inf:
        return largest
    start = (factors / largest).to(logits.dtype)
    gradients = torch.autograd.grad(logits, list(weights), start, retain_graph=True)
    return largest * float(torch.stack([gradient.double().norm() for gradient in gradients]).norm())


def decades_fallen(norms: Sequence[float]) -> float | None:
    """Returns the largest fall from any value to a later one, max over i <= j of log10(norms_i / norms_j).

    It is counted from the peak and not from the first value: a discriminator that knows nothing has next to no slope,
    so that both gradients grow at first, whatever the loss. None where a value is 0 or not finite.

    Example:
        >>> decades_fallen([1.0, 100.0, 0.1, 10.0])
        3.0
    """
    if not norms or not _are_known(*norms):
        return None
    return max(math.log10(peak) - math.log10(norm) for peak, norm in zip(accumulate(norms, max), norms, strict=True))


def _are_known(*norms: float) -> bool:
    return all(0 < norm < math.inf for norm in norms)


def _train_once(
    generator: nn.Module,
    discriminator: nn.Module,
    descent: Descent,
    data: Dataset,
    batch_size: int,
    step: int,
    seed: int,
) -> None:
    indices = shuffled_indices(batch_size * step, batch_size, len(data), derived_seed(seed, "retraining order"))
    real = data.take(indices).to(arithmetic(generator))
    with torch.no_grad():
        fake = generator(draw_latents(generator, batch_size, seed, "retraining latents", step))
    real_logits, fake_logits = discriminator(torch.cat([real, fake]), parts=2).chunk(2)
    descent.step(cross_entropy_discriminator(real_logits, fake_logits).mean())
