"""By which rules the probe of min and max says that a statement holds on a run. Knows what was measured only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genprior.diagnosis.inner_problem import Descended
from genprior.diagnosis.outer_problem import Opposed
from genprior.probes.discriminator_sizes import Sizes

AGAIN = "again, other seed"  # name of the second strong discriminator
APART = 0.05  # nats: a strong D tells more than a small one where its estimate of the divergence is larger by this
GOOD = 0.3  # nats: a good G is one that the strong D tells from the data by no more
RISING = 0.01  # nats in the last fifth of the steps: a D whose best rises by more has not had steps enough
OTHER_WAY = 0.5  # a gradient points another way where its cosine is below this share of that between two strong D's
AGREE = 0.3  # a cosine: two strong D's that differ more have no way in common that a small one could miss
CONFIRMED, REFUTED, DEPENDS, UNKNOWN = "confirmed", "not confirmed", "depends", "cannot be told"


@dataclass(frozen=True)
class Found:
    """What was measured so far.

    Attributes:
        inner: Of the inner problem, age after age.
        outer: Of the outer problem and of the angles, age after age of the generator.
        sizes: Of the discriminators.
        inner_ages, outer_ages: What `inner` and `outer` hold once all is measured; the good generator is the last.
        is_relative: Whether only differences of logits count in the loss of the inner problem.
    """

    inner: Sequence[Descended]
    outer: Sequence[Opposed]
    sizes: Sizes
    inner_ages: Sequence[int]
    outer_ages: Sequence[int]
    is_relative: bool = False

    @property
    def good(self) -> Opposed | None:
        """What was found of the good generator; None: not yet measured."""
        return next((each for each in self.outer if each.images_seen == self.outer_ages[-1]), None)


def inner_outcome(found: Found) -> str | None:
    """Returns whether the inner optimum collapses, by the ages at which there was something to lose.

    None: not all ages are measured. So below.
    """
    if len(found.inner) < len(found.inner_ages):
        return None
    return _outcome([each.is_collapsed for each in found.inner if each.can_tell])


def outer_outcome(found: Found) -> str | None:
    """Returns whether a strong discriminator tells a good generator from the data better than a small one."""
    if found.good is None:
        return None
    if why_untold(found.good, found.sizes) is not None:
        return UNKNOWN
    return CONFIRMED if gain(found.good, found.sizes)[0] >= APART else REFUTED


def angle_outcome(found: Found) -> str | None:
    """Returns whether the small discriminator's gradients point another way than the strong one's."""
    if len(found.outer) < len(found.outer_ages):
        return None
    told = [points_away(each, found.sizes) for each in found.outer]
    return _outcome([away for away in told if away is not None])


def why_untold(good: Opposed, sizes: Sizes) -> str | None:
    """Returns why it cannot be told whether a good generator asks for a large discriminator; None: it can."""
    if len(sizes.models) == 1:
        return "there is one size only"
    strong, small = good.best(sizes.strong), good.best(sizes.small)
    if not math.isfinite(strong.value + small.value):
        return "values are not finite"
    if strong.of_images > GOOD:
        return f"this G is not good, {sizes.strong} tells it from the data by more than {GOOD:g} nats an image"
    rise, name = max((good.rise(name), name) for name in (sizes.small, sizes.strong))
    if rise > RISING:
        return f"{name} still rose by {rise:.3f} nats in the last fifth of the steps: try more --steps"
    if strong.divergence < APART:
        return f"even {sizes.strong} tells less than {APART:g} nats; either G is nearly perfect or --steps are too few"
    more, noise = gain(good, sizes)
    is_near = more - noise < APART <= more + noise
    return f"{APART:g} nats lie within what chance does to the difference" if is_near else None


def gain(good: Opposed, sizes: Sizes) -> tuple[float, float]:
    """Returns how much more a strong discriminator tells than a small one, and how much of that chance may do, in nats.

    That is two standard errors, or the difference between two strong ones of different seeds where it is larger.
    """
    strong, small, again = (good.best(name) for name in (sizes.strong, sizes.small, AGAIN))
    by_seed = abs(strong.divergence - again.divergence)
    noise = max(2 * math.hypot(strong.error, small.error), by_seed if math.isfinite(by_seed) else 0.0)
    return strong.divergence - small.divergence, noise


def points_away(each: Opposed, sizes: Sizes) -> bool | None:
    """Returns whether the small discriminator's gradient points another way than the strong one's.

    None: there is one size only, a gradient is 0 or not finite, or two strong discriminators do not agree themselves.
    """
    reference, cosine = each.settled(AGAIN).weights, math.nan
    if len(sizes.models) > 1:
        cosine = each.settled(sizes.small).weights
    if math.isnan(cosine) or not reference >= AGREE:
        return None
    return cosine < OTHER_WAY * reference


def _outcome(holds: Sequence[bool]) -> str:
    """Whether a statement holds: confirmed, not confirmed, depends, or cannot be told (of nothing)."""
    if not holds:
        return UNKNOWN
    return CONFIRMED if all(holds) else DEPENDS if any(holds) else REFUTED
