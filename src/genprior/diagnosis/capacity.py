"""The outer problem of the adversarial game: discriminators of several sizes against a generator that stands still.

For a fixed G the best D is p_data / (p_data + p_G), and max over D of V(D, G) is -log 4 + 2 JSD(p_data, p_G)
(Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, proposition 1 and theorem 1). What a trained D reaches on
images that it has not seen is therefore an estimate of the divergence from below. Knows data, networks and losses.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.collapse import SAMPLES, evenly
from genprior.diagnosis.latents import draw_latents
from genprior.diagnosis.retraining import measured_steps
from genprior.seeding import derived_seed
from genprior.training.descent import Descent
from genprior.training.loop import shuffled_indices
from genprior.training.losses import AdversarialLoss, cross_entropy_discriminator
from genprior.training.optimiser import AdamSettings

LATENTS = 120  # that gradients are taken over


@dataclass(frozen=True)
class Told:
    """How well a discriminator tells real images from fakes.

    Attributes:
        accuracy: Share of its logits that have the right sign, real images and fakes counting alike, in [0, 1].
        value: V(D, G) = E log D(x) + E log(1 - D(G(z))), in nats.
    """

    accuracy: float
    value: float

    @property
    def divergence(self) -> float:
        """Estimate from below of the Jensen-Shannon divergence, (V + log 4) / 2, in nats: at most log 2.

        It is negative where D is worse than one that returns 1/2 everywhere.
        """
        return (self.value + math.log(4)) / 2


@dataclass(frozen=True)
class Gradients:
    """What a discriminator tells the generator to do.

    Attributes:
        weights: Gradient of the mean loss with respect to all weights of the generator, float64 (P,).
        images: With respect to its images, float64 (N, C * H * W).
    """

    weights: Tensor
    images: Tensor


@dataclass(frozen=True)
class Agreement:
    """Cosines between the gradients of two discriminators: 1: the same direction, 0: orthogonal; nan: one is 0.

    Attributes:
        weights: Of the gradients with respect to the generator's weights.
        images: Of those with respect to an image, mean over images.
    """

    weights: float
    images: float


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
        return max((moment.told[name] for moment in self.moments), key=lambda told: told.value)

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
    samples: int = SAMPLES,
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
        held_out: Others, x (N, C, H, W), N at least 1.
        loss: Whose generator's gradients are compared.
        adam: Of each discriminator.
        steps: Of each discriminator, at least 1.
        batch_size: Real images, and fakes, in a step; at least 2.
        samples: How many new fakes, always the same, discriminators are judged on; at least 2, best as many as N.
        latents: How many z, always the same, gradients are taken over; at least 2.
        seed: Of all draws.
    """
    generator = copy.deepcopy(generator).requires_grad_(True)
    descents, measured = (
        {name: Descent(d.train(), adam) for name, d in discriminators.items()},
        set(measured_steps(steps)),
    )
    z, real = draw_latents(generator, latents, seed, "outer probe"), evenly(held_out, latents)
    with torch.no_grad():
        fakes = generator(draw_latents(generator, samples, seed, "outer samples"))
    for step in range(steps + 1):
        if step in measured:
            found = {name: gradients(generator, d, loss, z, real) for name, d in discriminators.items()}
            agreement = {name: agreement_of(each, found[strong]) for name, each in found.items() if name != strong}
            yield OuterMoment(step, {name: tell(d, held_out, fakes) for name, d in discriminators.items()}, agreement)
        if step < steps:
            _train_all(generator, descents, data, batch_size, step, seed)


@torch.no_grad()
def tell(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Told:
    """Returns how well a discriminator tells real images (N, C, H, W) from fakes (M, C, H, W), without changing it.

    Example:
        >>> told = tell(nn.Sequential(nn.Flatten(0)), torch.full((3, 1), 9.0), torch.full((2, 1), -9.0))
        >>> f"{told.accuracy:.0%}, {told.divergence:.3f}"
        '100%, 0.693'
    """
    logits = copy.deepcopy(discriminator).train()(torch.cat([real, fake])).double()
    on_real, on_fakes = logits.tensor_split([len(logits) * len(real) // (len(real) + len(fake))])
    accuracy = ((on_real > 0).double().mean() + (on_fakes <= 0).double().mean()) / 2
    return Told(float(accuracy), -float(F.softplus(-on_real).mean() + F.softplus(on_fakes).mean()))


def gradients(
    generator: nn.Module, discriminator: nn.Module, loss: AdversarialLoss, z: Tensor, real: Tensor
) -> Gradients:
    """Returns the gradients of the generator's mean loss that a discriminator gives, without changing it.

    Arguments:
        generator: In the mode in which it is.
        discriminator: x -> logits.
        loss: Of the generator.
        z: Latents (N, k).
        real: Images (N, C, H, W), for the discriminator's batch and for losses that look at them.
    """
    frozen = copy.deepcopy(discriminator).train().requires_grad_(False)
    x = generator(z)
    real_logits, fake_logits = frozen(torch.cat([real, x])).chunk(2)
    value = loss.generator(real_logits.detach(), fake_logits).mean()
    *found, images = torch.autograd.grad(value, [*generator.parameters(), x])
    return Gradients(torch.cat([each.double().flatten() for each in found]), images.double().flatten(1))


def agreement_of(one: Gradients, other: Gradients) -> Agreement:
    """Returns the cosines between the gradients of two discriminators on the same latents."""
    return Agreement(
        float(_cosines(one.weights[None], other.weights[None])), float(_cosines(one.images, other.images).nanmean())
    )


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    """Cosines (N,) between rows (N, P); nan where a row is 0. Rows are brought to length 1 first: none is too small."""
    return (_directions(one) * _directions(other)).sum(1)


def _directions(rows: Tensor) -> Tensor:
    largest = rows.abs().amax(1, keepdim=True)
    scaled: Tensor = rows / largest
    length: Tensor = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return scaled / length


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
