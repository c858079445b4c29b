"""The inner problem of the adversarial game: a generator that learns against a discriminator that stands still.

For a fixed D the minimum of V(D, G) over G is reached where every z goes to the image that D likes most: the value is a
mean over z of a function of G(z) alone, so each z may be given its best image apart from all others (Goodfellow et al.
2014, https://arxiv.org/abs/1406.2661, section 3, warns of it; Metz et al. 2016, https://arxiv.org/abs/1611.02163,
section 2.4). Knows networks and losses.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genprior.diagnosis.health_verdict import LEAST_DIVERSITY, diversity
from genprior.diagnosis.latents import draw_latents
from genprior.diagnosis.retraining import measured_steps
from genprior.models.discriminator_parts import MinibatchDeviation, pack_of
from genprior.training.losses import AdversarialLoss
from genprior.training.optimisation import AdamSettings, Descent

SAMPLES = 600
HALF = 0.5  # of the modes, or of the first diversity: gone where no more is left
SOME = 0.02  # of the diversity of real images: below it the modes that are counted are no variety worth the name

CountModes = Callable[[Tensor], int]


@dataclass(frozen=True)
class InnerMoment:
    """The generator at an instant of its descent.

    Attributes:
        step: Of the generator; 0: before the first.
        modes: How many modes its images hold; None: not known.
        diversity: Total variance of its images over that of real ones.
        fake_logit: Mean.
    """

    step: int
    modes: int | None
    diversity: float
    fake_logit: float


@dataclass(frozen=True)
class Descended:
    """The generator of one age against the discriminator of that age, which stands still.

    Attributes:
        images_seen: Age of both.
        real_logit: Mean over real images.
        best_real_logit: Of the real image that D likes most, alone; where a logit is of several images, of as many
            copies of that image, which is what a generator that makes nothing else shows to D.
        moments: In the order of the generator's steps.
    """

    images_seen: int
    real_logit: float
    best_real_logit: float
    moments: Sequence[InnerMoment]

    @property
    def halved_at(self) -> int | None:
        """The first measured step with half of the first modes or fewer; None: none, or fewer than two to begin with.

        Some may have come back afterwards.
        """
        return next((each.step for each in self.moments if self._is_halved(each)), None)

    @property
    def can_tell(self) -> bool:
        """Whether there was anything to lose, and its loss could be seen.

        Images that were alike before the first step cannot collapse. A young generator's may hold modes, each counted
        by the nearest one, and yet vary much less than real images.
        """
        first = self.moments[0]
        varied = first.diversity >= LEAST_DIVERSITY or ((first.modes or 0) > 1 and first.diversity >= SOME)
        return varied and math.isfinite(self.moments[-1].diversity)

    @property
    def is_collapsed(self) -> bool:
        """Whether images are alike at the last step, and half of the modes gone where there were two or more.

        They are alike where they vary less than `LEAST_DIVERSITY` times as much as real ones, and no more than half as
        much as at first.
        """
        last, first = self.moments[-1], self.moments[0]
        is_alike = last.diversity < LEAST_DIVERSITY and last.diversity <= HALF * first.diversity
        return is_alike and (first.modes is None or first.modes < 2 or self._is_halved(last))

    @property
    def is_falling(self) -> bool:
        """Whether the diversity was lowest at the last step."""
        return self.moments[-1].diversity <= min(each.diversity for each in self.moments)

    @property
    def beats_best_real(self) -> bool:
        """Whether fakes ended with a higher mean logit than the best real image; if not, the optimum is far away.

        That image alone, for every z, would be better for the generator.
        """
        return self.moments[-1].fake_logit >= self.best_real_logit

    def _is_halved(self, moment: InnerMoment) -> bool:
        first = self.moments[0].modes
        return first is not None and moment.modes is not None and first >= 2 and moment.modes <= HALF * first


def descend(
    generator: nn.Module,
    discriminator: nn.Module,
    loss: AdversarialLoss,
    real: Tensor,
    *,
    adam: AdamSettings,
    steps: int,
    batch_size: int = 128,
    count_modes: CountModes | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Iterator[InnerMoment]:
    """Trains a copy of the generator against a discriminator that stays as it is, and yields what is measured.

    The generator is in training mode, as it is while training: its batches are normalised by their own statistics,
    which holds its hidden units apart and so slows collapse. The discriminator is in evaluation mode, where it is
    what theory speaks of, a fixed function of one image; in training mode its normalisation would make each logit
    depend on the whole batch. Learning rates are constant.

    Arguments:
        generator: z (B, k) -> x (B, C, H, W), float32 or wider.
        discriminator: x -> logits, one for each image or for each few that follow one another.
        loss: Of the run.
        real: x (N, C, H, W), N at least 2.
        adam: Of the generator.
        steps: Of the generator, at least 1.
        batch_size: Fakes in a step; at least 2.
        count_modes: How many modes images (N, C, H, W) hold; None: not known.
        samples: How many images, always of the same z, are looked at; whole packs, at least 2.
        seed: Of all draws.
    """
    generator = copy.deepcopy(generator).train().requires_grad_(True)
    fixed = copy.deepcopy(discriminator).eval().requires_grad_(False)
    descent, measured = Descent(generator, adam), set(measured_steps(steps))
    z, real_logits = draw_latents(generator, samples, seed, "inner probe"), fixed(evenly(real, batch_size))
    for step in range(steps + 1):
        if step in measured:
            yield _moment(step, copy.deepcopy(generator), fixed, z, real, count_modes)
        if step < steps:
            fake_logits = fixed(generator(draw_latents(generator, batch_size, seed, "inner latents", step)))
            descent.step(loss.generator(real_logits, fake_logits).mean())


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


@torch.no_grad()
def _moment(
    step: int,
    generator: nn.Module,
    discriminator: nn.Module,
    z: Tensor,
    real: Tensor,
    count_modes: CountModes | None,
) -> InnerMoment:
    x = generator(z)
    modes = None if count_modes is None or not bool(torch.isfinite(x).all()) else count_modes(x)
    return InnerMoment(step, modes, diversity(x, real), float(discriminator(x).mean()))
