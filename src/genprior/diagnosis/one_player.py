"""What is measured while one player is trained and the other stands still: numbers, and what follows from them.

Three experiments: a fresh D against a fixed G (Arjovsky & Bottou 2017, https://arxiv.org/abs/1701.04862); G against a
fixed D, the inner problem of min and max; discriminators of several sizes against a fixed G, the outer one. Imports no
torch.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

from pydantic import computed_field

from genprior.settings import Model, Number

VANISHES, STAYS = 3.0, 1.0  # decades: the saturating norm falls by at least, the other by less than
HALF = 0.5  # of the modes, or of the first diversity: gone where no more is left
SOME = 0.02  # of the diversity of real images: below it the modes that are counted are no variety worth the name
LEAST_DIVERSITY = 0.2  # of that of real images: samples that vary less are alike


class RetrainingMoment(Model):
    """The discriminator at an instant, and the gradients that the generator would get from it.

    Attributes:
        step: Of the discriminator; 0: before the first.
        gradient_norm: Of E L with respect to all weights of the generator, by the name of the loss L.
        loss_factor: Root mean square of dL/da over fakes, by the name of the loss.
        real_logit, fake_logit: Means.
        accuracy: Share of real images and fakes that are told apart, in [0, 1].
    """

    step: int
    gradient_norm: dict[str, Number]
    loss_factor: dict[str, Number]
    real_logit: Number
    fake_logit: Number
    accuracy: Number


class Retrained(Model):
    """A fresh discriminator against a generator that stands still.

    Attributes:
        seed: Of the discriminator.
        moments: In the order of its steps.
    """

    seed: int
    moments: tuple[RetrainingMoment, ...]

    def norms(self, loss: str) -> list[float]:
        """Returns the gradient norm of a loss at each moment."""
        return [moment.gradient_norm[loss] for moment in self.moments]

    @computed_field
    @property
    def decades_fallen(self) -> dict[str, float | None]:
        """By how much the gradient of each loss fell; None: it was 0 or not finite somewhere."""
        return {loss: decades_fallen(self.norms(loss)) for loss in self.moments[0].gradient_norm}

    @computed_field
    @property
    def last_over_first(self) -> dict[str, float | None]:
        """The gradient's norm at the last step over that at step 0; None: one of them is 0 or not finite.

        A fall from a peak to a dip may be over at the end; this number tells.
        """
        ends = {loss: (self.norms(loss)[0], self.norms(loss)[-1]) for loss in self.moments[0].gradient_norm}
        return {loss: last / first if _are_known(first, last) else None for loss, (first, last) in ends.items()}

    @computed_field
    @property
    def confirmed(self) -> bool:
        """Whether the saturating loss's gradient vanished and that of the other stayed."""
        vanished, stayed = self.decades_fallen["saturating"], self.decades_fallen["non-saturating"]
        return vanished is not None and stayed is not None and vanished >= VANISHES and stayed < STAYS


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


class InnerMoment(Model):
    """The generator at an instant of its descent.

    Attributes:
        step: Of the generator; 0: before the first.
        modes: How many modes its images hold; None: not known.
        diversity: Total variance of its images over that of real ones.
        fake_logit: Mean.
    """

    step: int
    modes: int | None
    diversity: Number
    fake_logit: Number


class Descended(Model):
    """The generator of one age against the discriminator of that age, which stands still.

    Attributes:
        images_seen: Age of both.
        real_logit: Mean over real images.
        best_real_logit: Of the real image that D likes most, alone; where a logit is of several images, of as many
            copies of that image, which is what a generator that makes nothing else shows to D.
        moments: In the order of the generator's steps.
    """

    images_seen: int
    real_logit: Number
    best_real_logit: Number
    moments: tuple[InnerMoment, ...]

    @computed_field
    @property
    def half_of_modes_gone_at(self) -> int | None:
        """The first measured step with half of the first modes or fewer; None: none, or fewer than two to begin with.

        Some may have come back afterwards.
        """
        return next((each.step for each in self.moments if self._is_halved(each)), None)

    @computed_field
    @property
    def can_tell(self) -> bool:
        """Whether there was anything to lose, and its loss could be seen.

        Images that were alike before the first step cannot collapse. A young generator's may hold modes, each counted
        by the nearest one, and yet vary much less than real images.
        """
        first = self.moments[0]
        varied = first.diversity >= LEAST_DIVERSITY or ((first.modes or 0) > 1 and first.diversity >= SOME)
        return varied and math.isfinite(self.moments[-1].diversity)

    @computed_field
    @property
    def collapsed(self) -> bool:
        """Whether images are alike at the last step, and half of the modes gone where there were two or more.

        They are alike where they vary less than `LEAST_DIVERSITY` times as much as real ones, and no more than half as
        much as at first.
        """
        last, first = self.moments[-1], self.moments[0]
        is_alike = last.diversity < LEAST_DIVERSITY and last.diversity <= HALF * first.diversity
        return is_alike and (first.modes is None or first.modes < 2 or self._is_halved(last))

    @computed_field
    @property
    def beats_best_real(self) -> bool:
        """Whether fakes ended with a higher mean logit than the best real image; if not, the optimum is far away.

        That image alone, for every z, would be better for the generator.
        """
        return self.moments[-1].fake_logit >= self.best_real_logit

    @property
    def is_falling(self) -> bool:
        """Whether the diversity was lowest at the last step."""
        return self.moments[-1].diversity <= min(each.diversity for each in self.moments)

    def _is_halved(self, moment: InnerMoment) -> bool:
        first = self.moments[0].modes
        return first is not None and moment.modes is not None and first >= 2 and moment.modes <= HALF * first


class Judgement(Model):
    """How well a discriminator tells real images from fakes.

    Attributes:
        accuracy: Share of its logits that have the right sign, real images and fakes counting alike, in [0, 1].
        value: V(D, G) = E log D(x) + E log(1 - D(G(z))), in nats.
        error: Standard error of `divergence`, over packs of images.
        together: How many images a logit is of, m.
    """

    accuracy: Number
    value: Number
    error: Number
    together: int = 1

    @computed_field
    @property
    def divergence(self) -> Number:
        """Estimate from below of the Jensen-Shannon divergence of packs of m images, (V + log 4) / 2, in nats.

        It is at most log 2, and negative where D is worse than one that returns 1/2 everywhere.
        """
        return (self.value + math.log(4)) / 2

    @computed_field
    @property
    def of_images(self) -> Number:
        """Estimate from below of the divergence of images, in nats."""
        return self.divergence / self.together

    @property
    def finite_value(self) -> float:
        """The value; that of a discriminator that is lost where it is not finite."""
        return self.value if math.isfinite(self.value) else -math.inf


class Agreement(Model):
    """Cosines between the gradients of two discriminators: 1: the same direction, 0: orthogonal; nan: one is 0.

    Attributes:
        weights: Of the gradients with respect to the generator's weights.
        images: Of those with respect to an image, mean over images.
    """

    weights: Number
    images: Number


class OuterMoment(Model):
    """All discriminators at an instant.

    Attributes:
        step: Of each of them; 0: before the first.
        discriminators: How well each one tells, by its name.
        cosines_with_strong: Of the gradients of each other with those of the strong one.
    """

    step: int
    discriminators: dict[str, Judgement]
    cosines_with_strong: dict[str, Agreement]


class Opposed(Model):
    """Fresh discriminators against the generator of one age.

    Attributes:
        images_seen: Age of the generator.
        strong: Name of the discriminator that the others are compared with.
        moments: In the order of the discriminators' steps.
    """

    images_seen: int
    strong: str
    moments: tuple[OuterMoment, ...]

    def best(self, name: str) -> Judgement:
        """Returns how well a discriminator told at the step at which its value was largest."""
        return max((moment.discriminators[name] for moment in self.moments), key=lambda each: each.finite_value)

    def rise(self, name: str) -> float:
        """Returns by how much a discriminator's best of the last fifth of the steps exceeds that before, in nats."""
        parts: tuple[list[float], list[float]] = ([], [])
        for moment in self.moments:
            is_late = 5 * moment.step > 4 * self.moments[-1].step
            parts[is_late].append(moment.discriminators[name].finite_value)
        before, late = (max(part, default=-math.inf) for part in parts)
        return max(0.0, late - before) / 2

    def settled(self, name: str) -> Agreement:
        """Returns the mean agreement of a discriminator with the strong one over the second half of the steps."""
        last = self.moments[-1].step
        half = [each.cosines_with_strong[name] for each in self.moments if 2 * each.step >= last]
        weights, images = ([each.weights for each in half], [each.images for each in half])
        return Agreement(weights=sum(weights) / len(half), images=sum(images) / len(half))
