"""The outer problem of the adversarial game: discriminators of several sizes against a generator that stands still.

For a fixed G the best D is p_data / (p_data + p_G), and max over D of V(D, G) is -log 4 + 2 JSD(p_data, p_G)
(Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, proposition 1 and theorem 1). What a trained D reaches on
images that it has not seen is therefore an estimate of the divergence from below. Where D looks at m images at once it
is that of p_data^m and p_G^m, which is at most m times that of images: images share one bit, real or fake, with
their pack at most as much as with each of its images in sum. Knows data, networks and losses.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.angles import Agreement, agreement_of, gradients
from genprior.diagnosis.inner_problem import SAMPLES, evenly, seen_together, whole_packs
from genprior.diagnosis.latents import draw_latents
from genprior.diagnosis.retraining import measured_steps
from genprior.seeding import derived_seed
from genprior.training.loop import shuffled_indices
from genprior.training.losses import AdversarialLoss, cross_entropy_discriminator
from genprior.training.optimisation import AdamSettings, Descent

LATENTS = 120  # that gradients are taken over


@dataclass(frozen=True)
class Told:
    """How well a discriminator tells real images from fakes.

    Attributes:
        accuracy: Share of its logits that have the right sign, real images and fakes counting alike, in [0, 1].
        value: V(D, G) = E log D(x) + E log(1 - D(G(z))), in nats.
        error: Standard error of `divergence`, over packs of images.
        together: How many images a logit is of, m.
    """

    accuracy: float
    value: float
    error: float
    together: int = 1

    @property
    def divergence(self) -> float:
        """Estimate from below of the Jensen-Shannon divergence of packs of m images, (V + log 4) / 2, in nats.

        It is at most log 2, and negative where D is worse than one that returns 1/2 everywhere.
        """
        return (self.value + math.log(4)) / 2

    @property
    def of_images(self) -> float:
        """Estimate from below of the divergence of images, in nats."""
        return self.divergence / self.together


@dataclass(frozen=True)
class OuterMoment:
    """All discriminators at an instant.

    Attributes:
        step: Of each of them; 0: before the first.
        told: By the discriminator's name.
        agreement: With the strong one, by the name of each other.
    """

    step: int
    told: Mapping[str, Told]
    agreement: Mapping[str, Agreement]


@dataclass(frozen=True)
class Opposed:
    """Fresh discriminators against the generator of one age.

    Attributes:
        images_seen: Age of the generator.
        strong: Name of the discriminator that the others are compared with.
        moments: In the order of the discriminators' steps.
    """

    images_seen: int
    strong: str
    moments: Sequence[OuterMoment]

    def best(self, name: str) -> Told:
        """Returns what a discriminator told at the step at which its value was largest."""
        return max((moment.told[name] for moment in self.moments), key=_finite_value)

    def rise(self, name: str) -> float:
        """Returns by how much a discriminator's best of the last fifth of the steps exceeds that before, in nats."""
        parts: tuple[list[Told], list[Told]] = ([], [])
        for moment in self.moments:
            parts[5 * moment.step > 4 * self.moments[-1].step].append(moment.told[name])
        before, late = (max((_finite_value(told) for told in part), default=-math.inf) for part in parts)
        return max(0.0, late - before) / 2

    def settled(self, name: str) -> Agreement:
        """Returns the mean agreement of a discriminator with the strong one over the second half of the steps."""
        half = [each.agreement[name] for each in self.moments if 2 * each.step >= self.moments[-1].step]
        means = [sum(values) / len(half) for values in zip(*((a.weights, a.images) for a in half), strict=True)]
        return Agreement(*means)


def oppose(
    generator: nn.Module,
    discriminators: Mapping[str, nn.Module],
    strong: str,
    data: Dataset,
    held_out: Tensor,
    loss: AdversarialLoss,
    *,
    adam: AdamSettings,
    steps: int,
    batch_size: int = 128,
    latents: int = LATENTS,
    seed: int = 0,
) -> Iterator[OuterMoment]:
    """Trains discriminators in place, side by side, against a generator that stays as it is; yields what is measured.

    They learn by cross entropy from the same batches, without penalties and at a constant learning rate. Real images
    and fakes come in one batch, here and where they are measured, so that a discriminator with batch normalisation
    treats both alike: up to the noise of these statistics it is then a function of one image, as theory wants. (Apart,
    statistics would tell real from fake by themselves; running ones lag behind weights that move fast.)

    Arguments:
        generator: z (B, k) -> x (B, C, H, W), float32 or wider, in the mode in which it is to be met.
        discriminators: x -> logits, untrained, in the same arithmetic, by name.
        strong: Name of the one whose gradients the others' are compared with.
        data: Real images to learn from.
        held_out: Others, x (N, C, H, W), whole packs, at least two. With N new fakes, always the same, discriminators
            are judged on them.
        loss: Whose generator's gradients are compared.
        adam: Of each discriminator.
        steps: Of each discriminator, at least 1.
        batch_size: Real images, and fakes, in a step; at least 2.
        latents: How many z, always the same, gradients are taken over; whole packs, at least 2.
        seed: Of all draws.
    """
    generator = copy.deepcopy(generator).requires_grad_(True)
    descents, measured = (
        {name: Descent(d.train(), adam) for name, d in discriminators.items()},
        set(measured_steps(steps)),
    )
    z, real = draw_latents(generator, latents, seed, "outer probe"), evenly(held_out, latents)
    with torch.no_grad():
        fakes = generator(draw_latents(generator, len(held_out), seed, "outer samples"))
    for step in range(steps + 1):
        if step in measured:
            found = {name: gradients(generator, d, loss, z, real) for name, d in discriminators.items()}
            agreement = {name: agreement_of(each, found[strong]) for name, each in found.items() if name != strong}
            yield OuterMoment(step, {name: tell(d, held_out, fakes) for name, d in discriminators.items()}, agreement)
        if step < steps:
            _train_all(generator, descents, data, batch_size, step, seed)


@torch.no_grad()
def tell(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Told:
    """Returns how well a discriminator tells real images (N, C, H, W) from as many fakes, without changing it.

    N is a multiple of the number of images that a logit is of, at least twice that. Both kinds come in one batch, or in
    a few where there are many.

    Example:
        >>> told = tell(nn.Sequential(nn.Flatten(0)), torch.full((2, 1), 9.0), torch.full((2, 1), -9.0))
        >>> f"{told.accuracy:.0%}, {told.divergence:.3f}"
        '100%, 0.693'
    """
    looking, together = copy.deepcopy(discriminator).train(), seen_together(discriminator)
    most = whole_packs(SAMPLES, together)
    pairs = zip(torch.split(real, most), torch.split(fake, most), strict=True)
    found = [looking(torch.cat(pair)).double().chunk(2) for pair in pairs]
    on_real, on_fakes = (torch.cat(logits) for logits in zip(*found, strict=True))
    accuracy = ((on_real > 0).double().mean() + (on_fakes <= 0).double().mean()) / 2
    terms = [-F.softplus(-on_real), -F.softplus(on_fakes)]
    error = math.hypot(*(_error(each, len(real) // together) for each in terms)) / 2
    return Told(float(accuracy), sum(float(each.mean()) for each in terms), error, together)


def _error(terms: Tensor, packs: int) -> float:
    """Standard error of the mean of terms (L,), those of a pack being taken together."""
    return float(terms.view(packs, -1).mean(1).std()) / math.sqrt(packs)


def _finite_value(told: Told) -> float:
    return told.value if math.isfinite(told.value) else -math.inf


def _train_all(
    generator: nn.Module, descents: Mapping[str, Descent], data: Dataset, batch_size: int, step: int, seed: int
) -> None:
    indices = shuffled_indices(batch_size * step, batch_size, len(data), derived_seed(seed, "outer order"))
    with torch.no_grad():
        fake = generator(draw_latents(generator, batch_size, seed, "outer latents", step))
    both = torch.cat([data.take(indices).to(fake.dtype), fake])
    for descent in descents.values():
        real_logits, fake_logits = descent.network(both).chunk(2)
        descent.step(cross_entropy_discriminator(real_logits, fake_logits).mean())
