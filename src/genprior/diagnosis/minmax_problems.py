"""The two halves of the order of min and max, each alone: the inner problem and the outer one.

Inner problem: G learns against a D that stands still. For a fixed D the minimum of V(D, G) over G is reached where
every z goes to the image that D likes most: the value is a mean over z of a function of G(z) alone, so each z may be
given its best image apart from all others (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, section 3, warns of
it; Metz et al. 2016, https://arxiv.org/abs/1611.02163, section 2.4).

Outer problem: discriminators of several sizes learn against a G that stands still. For a fixed G the best D is
p_data / (p_data + p_G), and max over D of V(D, G) is -log 4 + 2 JSD(p_data, p_G) (Goodfellow et al. 2014, proposition 1
and theorem 1). What a trained D reaches on images that it has not seen is therefore an estimate of the divergence from
below. Where D looks at m images at once it is that of p_data^m and p_G^m, which is at most m times that of images:
images share one bit, real or fake, with their pack at most as much as with each of its images in sum.

Knows data, networks and losses.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.health_verdict import diversity
from genprior.diagnosis.one_player import Agreement, InnerMoment, Judgement, OuterMoment
from genprior.diagnosis.retraining import LoneTraining, draw_latents
from genprior.models.discriminator_parts import MinibatchDeviation, pack_of
from genprior.training.losses import AdversarialLoss, cross_entropy_discriminator
from genprior.training.optimisation import Descent

SAMPLES = 600  # images that are looked at
LATENTS = 120  # that gradients are taken over

CountModes = Callable[[Tensor], int]


def descend(
    generator: nn.Module,
    discriminator: nn.Module,
    loss: AdversarialLoss,
    real: Tensor,
    training: LoneTraining,
    count_modes: CountModes | None = None,
    samples: int = SAMPLES,
) -> Iterator[InnerMoment]:
    """Trains a copy of the generator against a discriminator that stays as it is, and yields what is measured.

    The generator is in training mode, as it is while training: its batches are normalised by their own statistics,
    which holds its hidden units apart and so slows collapse. The discriminator is in evaluation mode, where it is
    what theory speaks of, a fixed function of one image; in training mode its normalisation would make each logit
    depend on the whole batch.

    Arguments:
        generator: z (B, k) -> x (B, C, H, W), float32 or wider.
        discriminator: x -> logits, one for each image or for each few that follow one another.
        loss: Of the run.
        real: x (N, C, H, W), N at least 2.
        training: Of the generator.
        count_modes: How many modes images (N, C, H, W) hold; None: not known.
        samples: How many images, always of the same z, are looked at; whole packs, at least 2.
    """
    generator = copy.deepcopy(generator).train().requires_grad_(True)
    fixed = copy.deepcopy(discriminator).eval().requires_grad_(False)
    descent, size = Descent(generator, training.adam), training.batch_size
    z, real_logits = draw_latents(generator, samples, training.seed, "inner probe"), fixed(evenly(real, size))
    for step in range(training.steps + 1):
        if step in training.measured:
            with torch.no_grad():
                x = copy.deepcopy(generator)(z)
                yield _inner_moment(step, x, real, float(fixed(x).mean()), count_modes)
        if step < training.steps:
            fake_logits = fixed(generator(draw_latents(generator, size, training.seed, "inner latents", step)))
            descent.step(loss.generator(real_logits, fake_logits).mean())


def _inner_moment(step: int, x: Tensor, real: Tensor, fake_logit: float, count_modes: CountModes | None) -> InnerMoment:
    modes = None if count_modes is None or not bool(torch.isfinite(x).all()) else count_modes(x)
    return InnerMoment(step=step, modes=modes, diversity=diversity(x, real), fake_logit=fake_logit)


@torch.no_grad()
def logits_of_real(discriminator: nn.Module, real: Tensor) -> tuple[float, float]:
    """Returns the mean logit of real images (N, C, H, W), and that of the image that D likes most, in evaluation mode.

    Where a logit is of several images the latter is of copies of one.
    """
    looking, together = copy.deepcopy(discriminator).eval(), seen_together(discriminator)
    parts = torch.split(real, max(1, SAMPLES // together))
    best = max(float(looking(part.repeat_interleave(together, 0)).max()) for part in parts)
    return float(looking(real).mean()), best


def seen_together(discriminator: nn.Module) -> int:
    """Returns how many images a logit is of: those of a pack, and of a group whose deviation is one of its features."""
    pack = pack_of(discriminator)
    groups = [each.group for each in discriminator.modules() if isinstance(each, MinibatchDeviation)]
    return pack * max(groups, default=1)


def whole_packs(count: int, together: int) -> int:
    """Returns the largest multiple of `together` up to `count`, but at least one pack.

    Example:
        >>> whole_packs(600, 1), whole_packs(600, 7), whole_packs(5, 7)
        (600, 595, 7)
    """
    return max(1, count // together) * together


def evenly(x: Tensor, count: int) -> Tensor:
    """Returns `count` rows of x (N, ...), spread evenly; some of them more than once where there are fewer."""
    return x[torch.arange(count) * len(x) // count]


def oppose(
    generator: nn.Module,
    discriminators: Mapping[str, nn.Module],
    strong: str,
    data: Dataset,
    held_out: Tensor,
    loss: AdversarialLoss,
    training: LoneTraining,
    latents: int = LATENTS,
) -> Iterator[OuterMoment]:
    """Trains discriminators in place, side by side, against a generator that stays as it is; yields what is measured.

    They learn by cross entropy from the same batches, without penalties. Real images and fakes come in one batch, here
    and where they are measured, so that a discriminator with batch normalisation treats both alike: up to the noise of
    these statistics it is then a function of one image, as theory wants. (Apart, statistics would tell real from fake
    by themselves; running ones lag behind weights that move fast.)

    Arguments:
        generator: z (B, k) -> x (B, C, H, W), float32 or wider, in the mode in which it is to be met.
        discriminators: x -> logits, untrained, in the same arithmetic, by name.
        strong: Name of the one whose gradients the others' are compared with.
        data: Real images to learn from.
        held_out: Others, x (N, C, H, W), whole packs, at least two. With N new fakes, always the same, discriminators
            are judged on them.
        loss: Whose generator's gradients are compared.
        training: Of each discriminator.
        latents: How many z, always the same, gradients are taken over; whole packs, at least 2.
    """
    generator = copy.deepcopy(generator).requires_grad_(True)
    descents = [Descent(each.train(), training.adam) for each in discriminators.values()]
    z, real = draw_latents(generator, latents, training.seed, "outer probe"), evenly(held_out, latents)
    with torch.no_grad():
        fakes = generator(draw_latents(generator, len(held_out), training.seed, "outer samples"))
    for step in range(training.steps + 1):
        if step in training.measured:
            found = {name: gradients(generator, each, loss, z, real) for name, each in discriminators.items()}
            cosines = {name: agreement_of(each, found[strong]) for name, each in found.items() if name != strong}
            told = {name: judge(each, held_out, fakes) for name, each in discriminators.items()}
            yield OuterMoment(step=step, discriminators=told, cosines_with_strong=cosines)
        if step < training.steps:
            both = torch.cat(training.real_and_fake(generator, data, step, "outer"))
            for descent in descents:
                real_logits, fake_logits = descent.network(both).chunk(2)
                descent.step(cross_entropy_discriminator(real_logits, fake_logits).mean())


@torch.no_grad()
def judge(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Judgement:
    """Returns how well a discriminator tells real images (N, C, H, W) from as many fakes, without changing it.

    N is a multiple of the number of images that a logit is of, at least twice that. Both kinds come in one batch, or in
    a few where there are many.

    Example:
        >>> told = judge(nn.Sequential(nn.Flatten(0)), torch.full((2, 1), 9.0), torch.full((2, 1), -9.0))
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
    value = sum(float(each.mean()) for each in terms)
    return Judgement(accuracy=float(accuracy), value=value, error=error, together=together)


def _error(terms: Tensor, packs: int) -> float:
    """Standard error of the mean of terms (L,), those of a pack being taken together."""
    return float(terms.view(packs, -1).mean(1).std()) / math.sqrt(packs)


@dataclass(frozen=True)
class Gradients:
    """What a discriminator tells the generator to do.

    Attributes:
        weights: Gradient of the mean loss with respect to all weights of the generator, float64 (P,).
        images: With respect to its images, float64 (N, C * H * W).
    """

    weights: Tensor
    images: Tensor


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
    weights, images = _cosines(one.weights[None], other.weights[None]), _cosines(one.images, other.images)
    return Agreement(weights=float(weights), images=float(images.nanmean()))


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    """Cosines (N,) between rows (N, P); nan where a row is 0. Rows are brought to length 1 first: none is too small."""
    return (_directions(one) * _directions(other)).sum(1)


def _directions(rows: Tensor) -> Tensor:
    largest = rows.abs().amax(1, keepdim=True)
    scaled: Tensor = rows / largest
    length: Tensor = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return scaled / length
