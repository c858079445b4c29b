"""What the probe of min and max found, in words and as it is saved."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from genprior.diagnosis.capacity import LATENTS, Opposed
from genprior.diagnosis.collapse import HALF, SAMPLES, Descended
from genprior.diagnosis.verdict import LEAST_DIVERSITY
from genprior.jobs.probed import strict
from genprior.jobs.sizes import Sizes

AGAIN = "again, other seed"  # name of the second strong discriminator
APART = 0.05  # nats: a strong D tells more than a small one where its estimate of the divergence is larger by this
OTHER_WAY = 0.5  # a gradient points another way where its cosine is below this share of that between two strong D's
CONFIRMED, REFUTED, DEPENDS, UNKNOWN = "confirmed", "not confirmed", "depends", "cannot be told"


def paragraphs(inner: Sequence[Descended], outer: Sequence[Opposed], sizes: Sizes) -> list[str]:
    """Returns a paragraph on each of the three experiments, of those ages that are done."""
    return [
        " ".join(["Inner problem.", *(_inner_told(each) for each in inner), inner_verdict(inner)]),
        " ".join(["Outer problem.", *(_outer_told(each, sizes) for each in outer[-1:]), outer_verdict(outer, sizes)]),
        " ".join(["Direction.", *(_angle_told(each, sizes) for each in outer), angle_verdict(outer, sizes)]),
    ]


def outcome(holds: Sequence[bool]) -> str:
    """Returns whether a statement holds: confirmed, not confirmed, depends, or cannot be told (of nothing)."""
    if not holds:
        return UNKNOWN
    return CONFIRMED if all(holds) else DEPENDS if any(holds) else REFUTED


def inner_outcome(inner: Sequence[Descended]) -> str:
    """Returns whether the inner optimum collapses, by the ages at which there was something to lose."""
    return outcome([each.is_collapsed for each in inner if each.can_tell])


def outer_outcome(outer: Sequence[Opposed], sizes: Sizes) -> str:
    """Returns whether a strong discriminator tells a good generator from the data better than a small one."""
    has_sizes = len(sizes.models) > 1
    good = [_divergence(each, sizes.strong) - _divergence(each, sizes.small) >= APART for each in outer[-1:]]
    return outcome(good if has_sizes else [])


def angle_outcome(outer: Sequence[Opposed], sizes: Sizes) -> str:
    """Returns whether the small discriminator's gradients point another way than the strong one's."""
    return outcome([_points_away(each, sizes) for each in outer] if len(sizes.models) > 1 else [])


def inner_verdict(inner: Sequence[Descended]) -> str:
    """Returns whether the inner optimum collapses, in a sentence."""
    found = inner_outcome(inner)
    told = f"The statement that the inner optimum collapses is {found}"
    hint = " Diversity was still falling at the last step: try more --steps." if _still_falling(inner) else ""
    if found == UNKNOWN:
        return "Whether the inner optimum collapses cannot be told: images were alike before the first step."
    if found != DEPENDS:
        return f"{told} on this run.{hint}"
    ages = {does: _ages([e for e in inner if e.can_tell and e.is_collapsed is does]) for does in (True, False)}
    return (
        f"Whether the inner optimum collapses depends on D's age: it does at {ages[True]} images, not at "
        f"{ages[False]}.{hint}"
    )


def outer_verdict(outer: Sequence[Opposed], sizes: Sizes) -> str:
    """Returns whether a good generator asks for a large discriminator, in a sentence."""
    found = outer_outcome(outer, sizes)
    if found == UNKNOWN:
        return "Whether a larger D tells more cannot be told: there is one size only."
    return (
        f"The statement that a good G asks for a large D ({sizes.strong} telling at least {APART:g} nats more than "
        f"{sizes.small}) is {found} on this run."
    )


def angle_verdict(outer: Sequence[Opposed], sizes: Sizes) -> str:
    """Returns whether a weak discriminator's gradients point another way, in a sentence."""
    found = angle_outcome(outer, sizes)
    if found == UNKNOWN:
        return "Whether a weak D points another way cannot be told: there is one size only."
    statement = f"a weak D points another way (cosine below {OTHER_WAY:g} of that between two strong D's)"
    if found != DEPENDS:
        return f"The statement that {statement} is {found} on this run."
    ages = {does: _ages([each for each in outer if _points_away(each, sizes) is does]) for does in (True, False)}
    return f"Whether {statement} depends on G's age: it does at {ages[True]} images, not at {ages[False]}."


def as_table(inner: Sequence[Descended], outer: Sequence[Opposed], sizes: Sizes) -> dict[str, Any]:
    """Returns what was found as it is saved."""
    rules = {"diversity_below": LEAST_DIVERSITY, "modes_left_at_most": HALF, "nats_more": APART}
    told = paragraphs(inner, outer, sizes)
    return {
        "samples": SAMPLES,
        "latents_of_gradients": LATENTS,
        "rules": rules | {"cosine_below_reference_times": OTHER_WAY},
        "inner": {"outcome": inner_outcome(inner), "told": told[0], "ages": [_inner_facts(each) for each in inner]},
        "outer": {"outcome": outer_outcome(outer, sizes), "told": told[1], "sizes": list(sizes.models)},
        "direction": {"outcome": angle_outcome(outer, sizes), "told": told[2]},
        "generators": [_outer_facts(each) for each in outer],
    }


def _still_falling(inner: Sequence[Descended]) -> bool:
    return any(each.can_tell and not each.is_collapsed and each.is_falling for each in inner)


def _ages(found: Sequence[Descended] | Sequence[Opposed]) -> str:
    return ", ".join(f"{each.images_seen:,}" for each in found)


def _divergence(each: Opposed, name: str) -> float:
    return each.best(name).divergence


def _points_away(each: Opposed, sizes: Sizes) -> bool:
    reference = each.settled(AGAIN).weights
    return each.settled(sizes.small).weights < OTHER_WAY * max(0.0, reference)


def _inner_told(each: Descended) -> str:
    first, last = each.moments[0], each.moments[-1]
    halved = f"half of them were gone at step {each.halved_at:,}" if each.halved_at is not None else ""
    kept = "half of them were never gone" if (first.modes or 0) > 1 else ""
    far = "" if each.beats_best_real else ": that one image for every z would be better, the optimum was not reached"
    modes = f"modes went from {first.modes} to {last.modes}" if first.modes is not None else "modes are not known"
    return (
        f"Against D at {each.images_seen:,} images, {', '.join(filter(None, [modes, halved or kept]))}, diversity went "
        f"from {first.diversity:.3f} to {last.diversity:.3f} in {last.step:,} steps; the mean logit of fakes rose from "
        f"{first.fake_logit:.2f} to {last.fake_logit:.2f}, that of real images is {each.real_logit:.2f}, the best "
        f"of them has {each.best_real_logit:.2f}{far}."
    )


def _outer_told(each: Opposed, sizes: Sizes) -> str:
    told = {name: each.best(name) for name in sizes.models}
    parts = [f"{name} {100 * t.accuracy:.1f} % right, {t.divergence:.3f} nats" for name, t in told.items()]
    return (
        f"Against the averaged G at {each.images_seen:,} images, at the best of {each.moments[-1].step:,} steps, on "
        f"held-out images and new fakes (divergence of at least, log 2 = {math.log(2):.3f} being most): "
        f"{'; '.join(parts)}; the run's own is {sizes.own}."
    )


def _angle_told(each: Opposed, sizes: Sizes) -> str:
    names = [name for name in sizes.models if name != sizes.strong]
    found = {name: each.settled(name) for name in [*names, AGAIN]}
    parts = [f"{name}: {found[name].weights:.2f} ({found[name].images:.2f})" for name in names]
    reference = f"{sizes.strong} of another seed: {found[AGAIN].weights:.2f} ({found[AGAIN].images:.2f})"
    return (
        f"At G of {each.images_seen:,} images, cosine with the gradient that {sizes.strong} gives G's weights (its "
        f"images), mean over the second half of the steps: {'; '.join([*parts, reference])}."
    )


def _inner_facts(each: Descended) -> dict[str, Any]:
    return {
        "images_seen": each.images_seen,
        "real_logit": strict(each.real_logit),
        "best_real_logit": strict(each.best_real_logit),
        "beats_best_real": each.beats_best_real,
        "can_tell": each.can_tell,
        "collapsed": each.is_collapsed,
        "half_of_modes_gone_at": each.halved_at,
        "moments": [strict(asdict(moment)) for moment in each.moments],
    }


def _outer_facts(each: Opposed) -> dict[str, Any]:
    return {
        "images_seen": each.images_seen,
        "strong": each.strong,
        "moments": [
            {
                "step": moment.step,
                "discriminators": {
                    name: strict(asdict(told) | {"divergence": told.divergence}) for name, told in moment.told.items()
                },
                "cosines_with_strong": {name: strict(asdict(a)) for name, a in moment.agreement.items()},
            }
            for moment in each.moments
        ],
    }
