"""What the probe of min and max found, in words and as it is saved."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from genprior.diagnosis.health_verdict import LEAST_DIVERSITY
from genprior.diagnosis.inner_problem import HALF, SOME, Descended
from genprior.diagnosis.outer_problem import Opposed, Told
from genprior.probes.collapse_rules import (
    AGAIN,
    AGREE,
    APART,
    DEPENDS,
    GOOD,
    OTHER_WAY,
    RISING,
    UNKNOWN,
    Found,
    angle_outcome,
    gain,
    inner_outcome,
    outer_outcome,
    points_away,
    why_untold,
)
from genprior.probes.discriminator_sizes import Sizes
from genprior.settings import strict


def paragraphs(found: Found) -> list[str]:
    """Returns a paragraph on each of the three experiments, of those ages that are done."""
    good, sizes = [] if found.good is None else [found.good], found.sizes
    only = ["Only differences of logits count in this loss."] if found.is_relative else []
    return [
        " ".join(["Inner problem.", *(_inner_told(each) for each in found.inner), *only, inner_verdict(found)]),
        " ".join(["Outer problem.", *(_outer_told(each, sizes) for each in good), outer_verdict(found)]),
        " ".join(["Direction.", *(_angle_told(each, sizes) for each in found.outer), angle_verdict(found)]),
    ]


def inner_verdict(found: Found) -> str:
    """Returns whether the inner optimum collapses, in a sentence."""
    outcome = inner_outcome(found)
    if outcome is None:
        return f"Not all is measured yet: {len(found.inner)} of {len(found.inner_ages)} ages."
    does, not_, unknown = (
        [e for e in found.inner if (e.is_collapsed if e.can_tell else None) is it] for it in (True, False, None)
    )
    left_out = f" Not counted, images being alike before the first step or not finite: D at {_ages(unknown)}."
    hint = " Diversity was still falling at the last step: try more --steps."
    after = (hint if any(each.is_falling for each in not_) else "") + (left_out if unknown else "")
    if outcome == UNKNOWN:
        return f"Whether the inner optimum collapses cannot be told.{after}"
    if outcome == DEPENDS:
        return (
            f"Whether the inner optimum collapses depends on D's age: it does at {_ages(does)} images, not at "
            f"{_ages(not_)}.{after}"
        )
    return (
        f"The statement that the inner optimum collapses is {outcome} on this run, D at {_ages(does or not_)}.{after}"
    )


def outer_verdict(found: Found) -> str:
    """Returns whether a good generator asks for a large discriminator, in a sentence."""
    outcome, sizes = outer_outcome(found), found.sizes
    if found.good is None or outcome is None:
        return "Not measured yet."
    why = why_untold(found.good, sizes)
    told = "" if len(sizes.models) == 1 else _gain_told(found.good, sizes)
    if why is not None:
        return f"{told}Whether a good G asks for a large D cannot be told: {why}."
    return (
        f"{told}The statement that a good G asks for a large D (telling {APART:g} nats more) is {outcome} on this run."
    )


def angle_verdict(found: Found) -> str:
    """Returns whether a weak discriminator's gradients point another way, in a sentence."""
    outcome, sizes = angle_outcome(found), found.sizes
    if outcome is None:
        return f"Not all is measured yet: {len(found.outer)} of {len(found.outer_ages)} ages."
    if len(sizes.models) == 1:
        return "Whether a weak D points another way cannot be told: there is one size only."
    does, not_, unknown = ([e for e in found.outer if points_away(e, sizes) is it] for it in (True, False, None))
    left_out = f" Not counted, two strong D's agreeing by less than {AGREE:g} or a gradient being 0: {_ages(unknown)}."
    after, statement = left_out if unknown else "", f"a weak D points another way (cosine below {OTHER_WAY:g} of that "
    statement += "between two strong D's)"
    if outcome == UNKNOWN:
        return f"Whether {statement} cannot be told.{after}"
    if outcome == DEPENDS:
        return f"Whether {statement} depends on G's age: it does at {_ages(does)} images, not at {_ages(not_)}.{after}"
    return f"The statement that {statement} is {outcome} on this run, G at {_ages(does or not_)}.{after}"


def as_table(found: Found) -> dict[str, Any]:
    """Returns what was found as it is saved; an outcome is null until all that it rests on is measured."""
    rules = {"diversity_below": LEAST_DIVERSITY, "of_the_first_at_most": HALF, "diversity_to_lose": SOME}
    rules |= {"nats_more": APART, "good_below_nats": GOOD, "rising_nats": RISING}
    told, inner, outer = paragraphs(found), found.inner, found.outer
    return {
        "rules": rules | {"cosine_below_reference_times": OTHER_WAY, "reference_at_least": AGREE},
        "inner": {"outcome": inner_outcome(found), "told": told[0], "ages": [_inner_facts(each) for each in inner]},
        "outer": {"outcome": outer_outcome(found), "told": told[1], "sizes": list(found.sizes.models)},
        "direction": {"outcome": angle_outcome(found), "told": told[2]},
        "generators": [_outer_facts(each) for each in outer],
    }


def _ages(found: Sequence[Descended] | Sequence[Opposed]) -> str:
    return ", ".join(f"{each.images_seen:,}" for each in found)


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
    told = {name: each.best(name) for name in [*sizes.models, AGAIN]}
    together = told[AGAIN].together
    what = "divergence" if together == 1 else f"divergence of packs of {together} images"
    found = "; ".join(_one_told(name, each, sizes) for name, each in told.items())
    return (
        f"Against the averaged G at {each.images_seen:,} images, at the best of {each.moments[-1].step:,} steps, on "
        f"held-out images and new fakes ({what} of at least, with its standard error; log 2 = {math.log(2):.3f} being "
        f"most): {found}; the run's own is {sizes.own}."
    )


def _one_told(name: str, told: Told, sizes: Sizes) -> str:
    title = f"{sizes.strong} {name}" if name == AGAIN else name
    of_images = "" if told.together == 1 else f" (of images at least {told.of_images:.3f})"
    return f"{title} {100 * told.accuracy:.1f} % right, {told.divergence:.3f} ± {told.error:.3f} nats{of_images}"


def _gain_told(good: Opposed, sizes: Sizes) -> str:
    more, noise = gain(good, sizes)
    return f"{sizes.strong} tells {more:.3f} nats more than {sizes.small}; chance makes up to {noise:.3f}. "


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
                    name: strict(asdict(told) | {"divergence": told.divergence, "of_images": told.of_images})
                    for name, told in moment.told.items()
                },
                "cosines_with_strong": {name: strict(asdict(a)) for name, a in moment.agreement.items()},
            }
            for moment in each.moments
        ],
    }
