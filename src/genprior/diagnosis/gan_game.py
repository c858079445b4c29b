"""The zero-sum game of a GAN, whatever its loss: V(D, G) = E log s(D(x)) + E log(1 - s(D(G(z)))), on split data.

Goodfellow et al. 2014, equation 1. A run may play with penalties on D's slope; then its own game has the value
V(D, G) - R(D). Knows data, networks, losses and penalties.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.duality import Terms, cross_entropy_terms
from genprior.diagnosis.game_field import mean_penalty
from genprior.diagnosis.latents import draw_latents
from genprior.seeding import derived_generator, derived_seed
from genprior.training.loop import shuffled_indices
from genprior.training.penalties import SlopePenalty

BATCH = 120  # of all that is measured; discriminators that see several images at once divide it


@dataclass(frozen=True)
class Sample:
    """Real images and latents that a value is a mean over.

    Attributes:
        real: x (n, C, H, W).
        z: (n, k).
    """

    real: Tensor
    z: Tensor

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields x and z of one batch after another."""
        yield from zip(torch.split(self.real, BATCH), torch.split(self.z, BATCH), strict=True)


def whole_batches(count: int) -> int:
    """Returns the largest number up to `count` that is one of whole batches; of dozens, or itself, where it is less.

    Example:
        >>> whole_batches(250), whole_batches(50), whole_batches(7)
        (240, 48, 7)
    """
    return next((count // size * size for size in (BATCH, 12) if count >= size), count)


def measured(
    discriminator: nn.Module, generator: nn.Module, sample: Sample, penalties: Sequence[SlopePenalty] = ()
) -> Terms:
    """Returns the terms of V - R on a sample, float64, batch by batch, as the players are: their mode decides.

    Running statistics of players in training mode move.

    Arguments:
        discriminator, generator: The players.
        sample: What the means are taken over.
        penalties: R, by their mean over turns.
    """
    found = []
    for real, z in sample.batches():
        terms = drawn_terms(discriminator, generator, real, z, penalties)
        found.append((terms.real.detach().double(), terms.fake.detach().double()))
    real_terms, fake_terms = zip(*found, strict=True)
    return Terms(torch.cat(real_terms), torch.cat(fake_terms))


def drawn_terms(
    discriminator: nn.Module, generator: nn.Module, real: Tensor, z: Tensor, penalties: Sequence[SlopePenalty] = ()
) -> Terms:
    """Returns the terms of V - R on one batch, with their graph; arguments as for `measured`."""
    fake = generator(z)
    terms = cross_entropy_terms(*discriminator(torch.cat([real, fake]), parts=2).chunk(2))
    for penalty in penalties:
        with torch.enable_grad():  # it is made of gradients
            cost = mean_penalty(penalty, discriminator, real, fake)
        terms = Terms(terms.real - cost, terms.fake)
    return terms


def sample_of(data: Dataset, generator: nn.Module, count: int, seed: int, purpose: str) -> Sample:
    """Returns at most `count` images in random order, and as many latents, in whole batches where there are enough.

    Arguments:
        data: Real images.
        generator: Whose latents.
        count: At least 1.
        seed: Of order and latents.
        purpose: What the sample is for; other purposes get other latents.
    """
    size = whole_batches(min(count, len(data)))
    order = torch.randperm(len(data), generator=derived_generator(seed, f"{purpose} order"))
    return Sample(data.take(order[:size]), draw_latents(generator, size, seed, f"{purpose} latents"))


@dataclass(frozen=True)
class GANGame:
    """A `ZeroSumGame` on real images. A batch that has its own normalisation is normalised as in training.

    Attributes:
        data: Images that adversaries learn from.
        known: Some of them.
        withheld: Others, by which the best step is chosen.
        reported: Yet others.
        seed: Of all draws.
        penalties: On the discriminator's slope, which are taken from the value.
    """

    data: Dataset
    known: Sample
    withheld: Sample
    reported: Sample
    seed: int
    penalties: Sequence[SlopePenalty] = ()

    def drawn(self, discriminator: nn.Module, generator: nn.Module, step: int) -> Terms:
        """Returns the value on a batch of its own for each step."""
        size = whole_batches(min(BATCH, len(self.data)))
        order = derived_seed(self.seed, "adversary order")
        real = self.data.take(shuffled_indices(size * step, size, len(self.data), order))
        z = draw_latents(generator, size, self.seed, "adversary latents", step)
        terms = drawn_terms(discriminator, generator, real, z)
        for penalty in self.penalties:
            if penalty.is_due(step):  # as in training: seldom, and as much stronger
                cost = penalty.every * mean_penalty(penalty, discriminator, real, generator(z))
                terms = Terms(terms.real - cost, terms.fake)
        return terms

    def fit(self, discriminator: nn.Module, generator: nn.Module) -> Terms:
        """Returns the value on images that are learned from."""
        return measured(discriminator, generator, self.known, self.penalties)

    def validation(self, discriminator: nn.Module, generator: nn.Module) -> Terms:
        """Returns the value on the withheld images."""
        return measured(discriminator, generator, self.withheld, self.penalties)

    def judged(self, discriminator: nn.Module, generator: nn.Module) -> Terms:
        """Returns the value on the images that are reported."""
        return measured(discriminator, generator, self.reported, self.penalties)
