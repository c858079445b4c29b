"""The zero-sum game of a GAN, whatever its loss: V(D, G) = E log s(D(x)) + E log(1 - s(D(G(z)))), on split data.

Goodfellow et al. 2014, equation 1. A run may play with penalties on D's slope; then its own game has the value
V(D, G) - R(D). Knows data, networks, losses and penalties.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genprior.data import Dataset
from genprior.diagnosis.equilibrium_measures import Losses, Terms
from genprior.diagnosis.equilibrium_numbers import Opinion
from genprior.diagnosis.retraining import draw_latents
from genprior.errors import GenpriorError
from genprior.models.discriminator_parts import pack_of
from genprior.seeding import derived_generator, derived_seed
from genprior.training.loop import shuffled_indices
from genprior.training.losses import AdversarialLoss
from genprior.training.penalties import SlopePenalty, at_fake, uniform_mix

BATCH = 120  # of all that is measured
FEW = 3  # logits whose slopes tell what they depend on
BISECTIONS = 60  # more than a double has bits


@dataclass(frozen=True)
class Sample:
    """Real images and latents that a value is a mean over.

    Attributes:
        real: x (n, C, H, W).
        z: (n, k).
        batch: Images in a batch.
    """

    real: Tensor
    z: Tensor
    batch: int = BATCH

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields x and z of one batch after another."""
        yield from zip(torch.split(self.real, self.batch), torch.split(self.z, self.batch), strict=True)


def batch_size(pack: int = 1) -> int:
    """Returns the images in a batch: about `BATCH` of them, in whole packs.

    Example:
        >>> batch_size(), batch_size(7), batch_size(200)
        (120, 119, 200)
    """
    return max(BATCH // pack, 1) * pack


def whole_batches(count: int, pack: int = 1) -> int:
    """Returns the largest number up to `count` of whole batches; of dozens, or of packs, where it is less; or 0.

    Example:
        >>> whole_batches(250), whole_batches(50), whole_batches(7), whole_batches(7, pack=2)
        (240, 48, 7, 6)
    """
    sizes = (batch_size(pack), math.lcm(12, pack), pack)
    return next((count // size * size for size in sizes if count >= size), 0)


def seen_at_once(discriminator: nn.Module, real: Tensor) -> int:
    """Returns how many images of a batch one logit depends on: a pack, or all that are normalised or compared together.

    Found by the gradients of the first logits; 1 where there are none.

    Arguments:
        discriminator: In its mode; it is not changed.
        real: x (B, C, H, W).
    """
    x = real.clone().requires_grad_(True)
    logits = copy.deepcopy(discriminator)(x)[:FEW]
    slopes = [torch.autograd.grad(logit, x, retain_graph=True)[0] for logit in logits]
    return max(1, *(int(slope.flatten(1).any(1).sum()) for slope in slopes))


class Offset(nn.Module):
    """A discriminator with a number added to all its logits, so that 0 stands for "real or fake alike".

    Arguments:
        discriminator: x (B, C, H, W) -> logits (L,).
        offset: The number.
    """

    def __init__(self, discriminator: nn.Module, offset: float) -> None:
        super().__init__()
        self.discriminator, self.offset, self.pack = discriminator, offset, pack_of(discriminator)

    def forward(self, x: Tensor, parts: int = 1) -> Tensor:
        logits: Tensor = self.discriminator(x, parts=parts)
        return logits + self.offset


@torch.no_grad()
def opinion(discriminator: nn.Module, batches: Iterable[Tensor], are_real: bool) -> Opinion:
    """Returns what a discriminator says of images, in the mode in which it is; it is not changed.

    Arguments:
        discriminator: x -> logits; an image with one above 0 is taken for real.
        batches: x (B, C, H, W), at least one.
        are_real: Which side is the right one.
    """
    frozen = copy.deepcopy(discriminator)  # batch normalisation keeps running statistics
    logits = torch.cat([frozen(x).double() for x in batches])
    right = (logits > 0) == are_real
    spread = float(logits.std()) if len(logits) > 1 else math.nan
    return Opinion(
        logits=len(logits),
        accuracy=float(right.double().mean()),
        mean_logit=float(logits.mean()),
        standard_error=spread / math.sqrt(len(logits)),
    )


@torch.no_grad()
def best_offset(discriminator: nn.Module, generator: nn.Module, sample: Sample) -> float:
    """Returns the number that, added to all logits, makes V highest: V is concave in it, so its slope is bisected.

    Losses of differences of logits leave it open. There sum s(-a - b) over real images is sum s(a + b) over fakes.
    """
    discriminator, generator = copy.deepcopy((discriminator, generator))
    pairs = [discriminator(torch.cat([real, generator(z)]), parts=2).double().chunk(2) for real, z in sample.batches()]
    real, fake = (torch.cat(each) for each in zip(*pairs, strict=True))
    low, high = -float(torch.cat([real, fake]).max()), -float(torch.cat([real, fake]).min())
    for _ in range(BISECTIONS):
        middle = (low + high) / 2  # logarithms of both sums: the sums themselves are 0 for logits far apart
        rises = F.logsigmoid(-real - middle).logsumexp(0) > F.logsigmoid(fake + middle).logsumexp(0)
        low, high = (middle, high) if rises else (low, middle)
    return (low + high) / 2


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


def cross_entropy_terms(real_logits: Tensor, fake_logits: Tensor) -> Terms:
    """Returns log s(real) and log(1 - s(fake)), whose means add up to V. Goodfellow et al. 2014, equation 1.

    Example:
        >>> import torch
        >>> "%.4f" % cross_entropy_terms(torch.zeros(2), torch.zeros(3)).value
        '-1.3863'
    """
    return Terms(-F.softplus(-real_logits), -F.softplus(fake_logits))


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


def drawn_terms(
    discriminator: nn.Module, generator: nn.Module, real: Tensor, z: Tensor, penalties: Sequence[SlopePenalty] = ()
) -> Terms:
    """Returns the terms of V - R on one batch, with their graph; arguments as for `measured`."""
    fake = generator(z)
    terms = cross_entropy_terms(*discriminator(torch.cat([real, fake]), parts=2).chunk(2))
    for penalty in penalties:
        with torch.enable_grad():  # it is made of gradients
            cost = mean_penalty(penalty, discriminator, real, fake)
        terms = _less(terms, penalty, cost)
    return terms


def _less(terms: Terms, penalty: SlopePenalty, cost: Tensor) -> Terms:
    """Each cost (L,) is taken from the term of the images that it is about, so that their spreads add up."""
    if penalty.points is at_fake:
        return Terms(terms.real, terms.fake - cost)
    return Terms(terms.real - cost, terms.fake)


def sample_of(data: Dataset, generator: nn.Module, count: int, seed: int, purpose: str, pack: int = 1) -> Sample:
    """Returns images in random order, about `count` at most, and as many latents, in whole batches where they suffice.

    Arguments:
        data: Real images.
        generator: Whose latents.
        count: At least 1.
        seed: Of order and latents.
        purpose: What the sample is for; other purposes get other latents.
        pack: Images that one logit is about; there is one pack at least.

    Raises:
        GenpriorError: Fewer images than a pack has.
    """
    size = whole_batches(min(max(count, pack), len(data)), pack)
    if size == 0:
        raise GenpriorError(f"expected {pack} images or more of {data.name}, got {len(data)}", argument="run")
    order = torch.randperm(len(data), generator=derived_generator(seed, f"{purpose} order"))
    z = draw_latents(generator, size, seed, f"{purpose} latents")
    return Sample(data.take(order[:size]), z, batch_size(pack))


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
        pack = pack_of(discriminator)
        size = whole_batches(min(batch_size(pack), len(self.data)), pack)
        order = derived_seed(self.seed, "adversary order")
        real = self.data.take(shuffled_indices(size * step, size, len(self.data), order))
        z = draw_latents(generator, size, self.seed, "adversary latents", step)
        terms = drawn_terms(discriminator, generator, real, z)
        for penalty in self.penalties:
            if penalty.is_due(step):  # as in training: seldom, and as much stronger
                cost = penalty.every * mean_penalty(penalty, discriminator, real, generator(z))
                terms = _less(terms, penalty, cost)
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
