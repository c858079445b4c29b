"""A fresh discriminator against a generator that stands still, and what it leaves of the generator's gradient.

The experiment of Arjovsky & Bottou 2017 (https://arxiv.org/abs/1701.04862), figures 2 and 3: the closer the
discriminator comes to the best one, the smaller the gradient of E log(1 - D(G(z))) (theorem 2.4), while that of
-E log D(G(z)) grows. Knows data, networks and losses.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.one_player import RetrainingMoment
from genprior.models.discriminator_parts import pack_of
from genprior.models.players import latent_size_of
from genprior.seeding import derived_generator, derived_seed
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
EVENLY = 8  # measurements that are spread evenly, besides those at powers of two
COMPARED: Mapping[str, AdversarialLoss] = {"saturating": saturating(), "non-saturating": non_saturating()}


@dataclass(frozen=True)
class LoneTraining:
    """How one player is trained while the other stands still; learning rates are constant.

    Attributes:
        adam: Of the player.
        steps: At least 1.
        batch_size: Fakes, and real images where it learns from them, in a step; at least 2.
        seed: Of all draws.
    """

    adam: AdamSettings
    steps: int
    batch_size: int = 128
    seed: int = 0

    @property
    def measured(self) -> set[int]:
        """The steps before which the player is measured, and the last."""
        return set(measured_steps(self.steps))

    def real_and_fake(self, generator: nn.Module, data: Dataset, step: int, purpose: str) -> tuple[Tensor, Tensor]:
        """Returns the images of a step (B, C, H, W) and as many fakes, without a graph.

        Arguments:
            generator: That stands still.
            data: Real images.
            step: From 0 on.
            purpose: Of the draws; other purposes get other ones.
        """
        size, seed = self.batch_size, derived_seed(self.seed, f"{purpose} order")
        with torch.no_grad():
            fake: Tensor = generator(draw_latents(generator, size, self.seed, f"{purpose} latents", step))
        return data.take(shuffled_indices(size * step, size, len(data), seed)).to(fake.dtype), fake


def draw_latents(generator: nn.Module, count: int, seed: int, purpose: str, index: int = 0) -> Tensor:
    """Returns standard normal z (count, k) for a generator, in its arithmetic; other purposes get other ones."""
    draws = derived_generator(seed, purpose, index)
    return torch.randn(count, latent_size_of(generator), generator=draws, dtype=_arithmetic(generator))


def measured_steps(steps: int) -> list[int]:
    """Returns the steps at which gradients are measured: 0, powers of two, each eighth of the way, the last.

    Example:
        >>> measured_steps(40)
        [0, 1, 2, 4, 5, 8, 10, 15, 16, 20, 25, 30, 32, 35, 40]
    """
    powers = {1 << i for i in range(steps.bit_length())}
    return sorted({0, *powers, *(steps * i // EVENLY for i in range(EVENLY + 1))})


def retrain(
    generator: nn.Module, discriminator: nn.Module, data: Dataset, training: LoneTraining, latents: int = LATENTS
) -> Iterator[RetrainingMoment]:
    """Trains a discriminator in place against a generator that stays as it is, and yields what is measured.

    The discriminator learns by cross entropy, without penalties. Both players stay in training mode, so that gradients
    are those of training: batches are normalised by their own statistics. (The running statistics of a generator lag
    behind its weights, and in a young one they are still those of its first weights: in evaluation mode it would be
    another function than the one that was trained.) Measuring works on copies, and so changes neither weights nor
    running statistics.

    Arguments:
        generator: z (B, k) -> x (B, C, H, W), float32 or wider.
        discriminator: x -> logits (B,), untrained, in the same arithmetic.
        data: Real images.
        training: Of the discriminator.
        latents: How many fakes, always of the same z, the gradients are taken over; at least 2.
    """
    generator = copy.deepcopy(generator).train().requires_grad_(True)
    descent = Descent(discriminator.train(), training.adam)
    z = draw_latents(generator, latents, training.seed, "probe latents")
    shown = min(latents, len(data))
    real = data.some(shown - shown % pack_of(discriminator)).to(_arithmetic(generator))
    for step in range(training.steps + 1):
        if step in training.measured:
            yield moment(step, generator, discriminator, z, real)
        if step < training.steps:
            batch = training.real_and_fake(generator, data, step, "retraining")
            real_logits, fake_logits = discriminator(torch.cat(batch), parts=2).chunk(2)
            descent.step(cross_entropy_discriminator(real_logits, fake_logits).mean())


def moment(step: int, generator: nn.Module, discriminator: nn.Module, z: Tensor, real: Tensor) -> RetrainingMoment:
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
    return RetrainingMoment(
        step=step,
        gradient_norm={n: gradient_norm(fake_logits, factor / len(factor), weights) for n, factor in factors.items()},
        loss_factor={name: float(factor.square().mean().sqrt()) for name, factor in factors.items()},
        real_logit=float(real_logits.mean()),
        fake_logit=float(fakes.mean()),
        accuracy=float((real_logits > 0).float().mean() + (fakes <= 0).float().mean()) / 2,
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


def _arithmetic(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
