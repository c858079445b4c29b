"""What the probe of min and max is asked, what it finds, by which rules a statement holds, and all that in words.

Imports no torch.
"""

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, computed_field

from genprior.diagnosis.one_player import HALF, LEAST_DIVERSITY, SOME, Descended, Judgement, Opposed
from genprior.settings import DataRoot, Model, Result, RunFolder, Seed, Settings, Threads
from genprior.specs import Spec, Table

AGAIN = "again, other seed"  # name of the second strong discriminator
APART = 0.05  # nats: a strong D tells more than a small one where its estimate of the divergence is larger by this
GOOD = 0.3  # nats: a good G is one that the strong D tells from the data by no more
RISING = 0.01  # nats in the last fifth of the steps: a D whose best rises by more has not had steps enough
OTHER_WAY = 0.5  # a gradient points another way where its cosine is below this share of that between two strong D's
AGREE = 0.3  # a cosine: two strong D's that differ more have no way in common that a small one could miss
CONFIRMED, REFUTED, DEPENDS, UNKNOWN = "confirmed", "not confirmed", "depends", "cannot be told"
RULES = {
    "diversity_below": LEAST_DIVERSITY,
    "of_the_first_at_most": HALF,
    "diversity_to_lose": SOME,
    "nats_more": APART,
    "good_below_nats": GOOD,
    "rising_nats": RISING,
    "cosine_below_reference_times": OTHER_WAY,
    "reference_at_least": AGREE,
}


class CollapseSettings(Settings):
    """Settings of the probe of min and max."""

    run: RunFolder
    ages: Annotated[int, Field(ge=1, description="Ages of D to probe, the last included; spread evenly.")] = 3
    steps: Annotated[int, Field(ge=1, description="Training steps of each G and each D.")] = 150
    seed: Seed = 0
    judge: Annotated[str | None, Field(description="Labelled images whose classifier counts modes.")] = None
    loss: Annotated[
        Spec | None,
        Field(description="Loss of G, by default that of the run; saturating is V itself."),
        Table("genprior.training.losses", "LOSSES"),
    ] = None
    threads: Threads = None
    data_root: DataRoot = None


class InnerProblem(Model):
    """What G did alone against D of several ages.

    Attributes:
        planned: Images seen at these ages.
        is_relative: Whether only differences of logits count in the loss.
        ages: What was found, as far as it is measured.
    """

    planned: tuple[int, ...]
    is_relative: bool = False
    ages: tuple[Descended, ...] = ()

    @computed_field
    @property
    def outcome(self) -> str | None:
        """Whether the inner optimum collapses, by the ages at which there was something to lose.

        None: not all ages are measured. So below.
        """
        return _outcome([each.collapsed for each in self.ages if each.can_tell], len(self.ages) == len(self.planned))

    @computed_field
    @property
    def told(self) -> str:
        """The same in words."""
        only = ["Only differences of logits count in this loss."] if self.is_relative else []
        return " ".join(["Inner problem.", *(_inner_told(each) for each in self.ages), *only, _inner_verdict(self)])


class Statement(Model):
    """Whether something holds (None: not all is measured), and why, in words."""

    outcome: str | None
    told: str


class CollapseResult(Result):
    """What the probe of min and max found.

    Attributes:
        batch_size, loss: Of the run, or as the settings have it.
        held_out: Name of the images on which discriminators are judged.
        notes: What could not be done.
        samples, judged_on, latents_of_gradients: How many images or latents a number is a mean over.
        images_of_a_logit: How many images a logit is of.
        sizes: Names of the discriminators, the narrowest first.
        own_size: Name of the run's own one.
        inner: Of the inner problem.
        generators_planned: Images seen by the generators of the outer problem; the last one is the good one.
        generators: What was found of them, as far as it is measured.
    """

    settings: CollapseSettings
    batch_size: int
    loss: str
    held_out: str
    notes: tuple[str, ...] = ()
    samples: int
    judged_on: int
    latents_of_gradients: int
    images_of_a_logit: int
    sizes: tuple[str, ...]
    own_size: str
    inner: InnerProblem
    generators_planned: tuple[int, ...]
    generators: tuple[Opposed, ...] = ()

    @computed_field
    @property
    def rules(self) -> dict[str, float]:
        """The bounds behind all outcomes."""
        return RULES

    @computed_field
    @property
    def outer(self) -> Statement:
        """Whether a strong discriminator tells a good generator from the data better than a small one."""
        good = next((each for each in self.generators if each.images_seen == self.generators_planned[-1]), None)
        if good is None:
            return Statement(outcome=None, told="Outer problem. Not measured yet.")
        outcome = UNKNOWN
        if why_untold(good, self.sizes) is None:
            outcome = CONFIRMED if gain(good, self.sizes)[0] >= APART else REFUTED
        found = _outer_told(good, self.sizes, self.own_size)
        return Statement(outcome=outcome, told=f"Outer problem. {found} {_outer_verdict(good, self.sizes, outcome)}")

    @computed_field
    @property
    def direction(self) -> Statement:
        """Whether the small discriminator's gradients point another way than the strong one's."""
        away = [points_away(each, self.sizes) for each in self.generators]
        is_whole = len(self.generators) == len(self.generators_planned)
        outcome = _outcome([each for each in away if each is not None], is_whole)
        told = [*(_angle_told(each, self.sizes) for each in self.generators), _angle_verdict(self, outcome)]
        return Statement(outcome=outcome, told=" ".join(["Direction.", *told]))


def lines(found: CollapseResult) -> list[str]:
    """Returns a paragraph on each of the three experiments, of those ages that are done."""
    return [found.inner.told, found.outer.told, found.direction.told]


def why_untold(good: Opposed, sizes: Sequence[str]) -> str | None:
    """Returns why it cannot be told whether a good generator asks for a large discriminator; None: it can."""
    if len(sizes) == 1:
        return "there is one size only"
    strong, small = good.best(sizes[-1]), good.best(sizes[0])
    if not math.isfinite(strong.value + small.value):
        return "values are not finite"
    if strong.of_images > GOOD:
        return f"this G is not good, {sizes[-1]} tells it from the data by more than {GOOD:g} nats an image"
    rise, name = max((good.rise(name), name) for name in (sizes[0], sizes[-1]))
    if rise > RISING:
        return f"{name} still rose by {rise:.3f} nats in the last fifth of the steps: try more --steps"
    if strong.divergence < APART:
        return f"even {sizes[-1]} tells less than {APART:g} nats; either G is nearly perfect or --steps are too few"
    more, noise = gain(good, sizes)
    is_near = more - noise < APART <= more + noise
    return f"{APART:g} nats lie within what chance does to the difference" if is_near else None


def gain(good: Opposed, sizes: Sequence[str]) -> tuple[float, float]:
    """Returns how much more a strong discriminator tells than a small one, and how much of that chance may do, in nats.

    That is two standard errors, or the difference between two strong ones of different seeds where it is larger.
    """
    strong, small, again = (good.best(name) for name in (sizes[-1], sizes[0], AGAIN))
    by_seed = abs(strong.divergence - again.divergence)
    noise = max(2 * math.hypot(strong.error, small.error), by_seed if math.isfinite(by_seed) else 0.0)
    return strong.divergence - small.divergence, noise


def points_away(each: Opposed, sizes: Sequence[str]) -> bool | None:
    """Returns whether the small discriminator's gradient points another way than the strong one's.

    None: there is one size only, a gradient is 0 or not finite, or two strong discriminators do not agree themselves.
    """
    reference, cosine = each.settled(AGAIN).weights, math.nan
    if len(sizes) > 1:
        cosine = each.settled(sizes[0]).weights
    if math.isnan(cosine) or not reference >= AGREE:
        return None
    return cosine < OTHER_WAY * reference


def _outcome(holds: Sequence[bool], is_whole: bool) -> str | None:
    """Whether a statement holds: confirmed, not confirmed, depends, or cannot be told (of nothing)."""
    if not is_whole:
        return None
    if not holds:
        return UNKNOWN
    return CONFIRMED if all(holds) else DEPENDS if any(holds) else REFUTED


def _inner_verdict(found: InnerProblem) -> str:
    outcome = found.outcome
    if outcome is None:
        return f"Not all is measured yet: {len(found.ages)} of {len(found.planned)} ages."
    does, not_, unknown = (
        [e for e in found.ages if (e.collapsed if e.can_tell else None) is it] for it in (True, False, None)
    )
    left_out = f" Not counted, images being alike before the first step or not finite: D at {_ages(unknown)}."
    hint = " Diversity was still falling at the last step: try more --steps."
    after = (hint if any(each.is_falling for each in not_) else "") + (left_out if unknown else "")
    if outcome == UNKNOWN:
        return f"Whether the inner optimum collapses cannot be told.{after}"
    if outcome == DEPENDS:
        ages = f"it does at {_ages(does)} images, not at {_ages(not_)}"
        return f"Whether the inner optimum collapses depends on D's age: {ages}.{after}"
    ages = _ages(does or not_)
    return f"The statement that the inner optimum collapses is {outcome} on this run, D at {ages}.{after}"


def _outer_verdict(good: Opposed, sizes: Sequence[str], outcome: str) -> str:
    why, found = why_untold(good, sizes), ""
    if len(sizes) > 1:
        more, noise = gain(good, sizes)
        found = f"{sizes[-1]} tells {more:.3f} nats more than {sizes[0]}; chance makes up to {noise:.3f}. "
    if why is not None:
        return f"{found}Whether a good G asks for a large D cannot be told: {why}."
    return (
        f"{found}The statement that a good G asks for a large D (telling {APART:g} nats more) is {outcome} on this run."
    )


def _angle_verdict(found: CollapseResult, outcome: str | None) -> str:
    sizes = found.sizes
    if outcome is None:
        return f"Not all is measured yet: {len(found.generators)} of {len(found.generators_planned)} ages."
    if len(sizes) == 1:
        return "Whether a weak D points another way cannot be told: there is one size only."
    does, not_, unknown = ([e for e in found.generators if points_away(e, sizes) is it] for it in (True, False, None))
    left_out = f" Not counted, two strong D's agreeing by less than {AGREE:g} or a gradient being 0: {_ages(unknown)}."
    after = left_out if unknown else ""
    statement = f"a weak D points another way (cosine below {OTHER_WAY:g} of that between two strong D's)"
    if outcome == UNKNOWN:
        return f"Whether {statement} cannot be told.{after}"
    if outcome == DEPENDS:
        return f"Whether {statement} depends on G's age: it does at {_ages(does)} images, not at {_ages(not_)}.{after}"
    return f"The statement that {statement} is {outcome} on this run, G at {_ages(does or not_)}.{after}"


def _ages(found: Sequence[Descended] | Sequence[Opposed]) -> str:
    return ", ".join(f"{each.images_seen:,}" for each in found)


def _inner_told(each: Descended) -> str:
    first, last, gone = each.moments[0], each.moments[-1], each.half_of_modes_gone_at
    halved = f"half of them were gone at step {gone:,}" if gone is not None else ""
    kept = "half of them were never gone" if (first.modes or 0) > 1 else ""
    far = "" if each.beats_best_real else ": that one image for every z would be better, the optimum was not reached"
    modes = f"modes went from {first.modes} to {last.modes}" if first.modes is not None else "modes are not known"
    return (
        f"Against D at {each.images_seen:,} images, {', '.join(filter(None, [modes, halved or kept]))}, diversity went "
        f"from {first.diversity:.3f} to {last.diversity:.3f} in {last.step:,} steps; the mean logit of fakes rose from "
        f"{first.fake_logit:.2f} to {last.fake_logit:.2f}, that of real images is {each.real_logit:.2f}, the best "
        f"of them has {each.best_real_logit:.2f}{far}."
    )


def _outer_told(each: Opposed, sizes: Sequence[str], own: str) -> str:
    told = {name: each.best(name) for name in [*sizes, AGAIN]}
    together = told[AGAIN].together
    what = "divergence" if together == 1 else f"divergence of packs of {together} images"
    found = "; ".join(_one_told(name, each, sizes) for name, each in told.items())
    return (
        f"Against the averaged G at {each.images_seen:,} images, at the best of {each.moments[-1].step:,} steps, on "
        f"held-out images and new fakes ({what} of at least, with its standard error; log 2 = {math.log(2):.3f} being "
        f"most): {found}; the run's own is {own}."
    )


def _one_told(name: str, told: Judgement, sizes: Sequence[str]) -> str:
    title = f"{sizes[-1]} {name}" if name == AGAIN else name
    of_images = "" if told.together == 1 else f" (of images at least {told.of_images:.3f})"
    return f"{title} {100 * told.accuracy:.1f} % right, {told.divergence:.3f} ± {told.error:.3f} nats{of_images}"


def _angle_told(each: Opposed, sizes: Sequence[str]) -> str:
    names = [name for name in sizes if name != sizes[-1]]
    found = {name: each.settled(name) for name in [*names, AGAIN]}
    parts = [f"{name}: {found[name].weights:.2f} ({found[name].images:.2f})" for name in names]
    reference = f"{sizes[-1]} of another seed: {found[AGAIN].weights:.2f} ({found[AGAIN].images:.2f})"
    return (
        f"At G of {each.images_seen:,} images, cosine with the gradient that {sizes[-1]} gives G's weights (its "
        f"images), mean over the second half of the steps: {'; '.join([*parts, reference])}."
    )
