"""Statements on the three losses, and on the drift to an equilibrium: the report's first part. Imports no torch."""

import math

from genprior.study.measured_models import SATURATED, SampleQuality, TrainingCurves
from genprior.study.sample_numbers import (
    DECENT,
    GOOD,
    LOSS_PICTURES,
    NOISE,
    SAMPLES_READ,
    has_collapsed,
    judged_samples,
    percents,
    quality_numbers,
    way_covered,
)
from genprior.study.study_evidence import CurvesOf, StripsOf, StudyEvidence, StudyStatement, TheoryLine
from genprior.study.study_results import (
    CONFIRMED,
    DEPENDS,
    REFUTED,
    TOO_LITTLE,
    StudyFinding,
    StudyNumber,
    number_of,
)

AT_ONCE = 0.1  # of the budget
LEVEL, NEAR = 0.5, 0.05  # accuracy of a discriminator that cannot tell, and how near counts
SIDED = 0.25  # from one half, on one kind of images: it answers nearly always the same
FALL = 2.5  # points of accuracy, from the middle of training to its end
LOG_4 = math.log(4)  # of the discriminator's loss where fakes equal the data
BOUND = 1.0  # of the discriminator's squared errors, two halves


def judge_saturating(evidence: StudyEvidence) -> StudyFinding:
    """At once, to the end, and noise: all three in every seed, where the other loss gives more than noise."""
    curves, quality = evidence.of("saturating", TrainingCurves), evidence.of("saturating", SampleQuality)
    other = [way_covered(each) for each in evidence.of("non-saturating", SampleQuality)]
    at_once = [
        each.factor_first_below is not None and each.factor_first_below <= AT_ONCE * each.images[-1] for each in curves
    ]
    ends = [_last(each.loss_factor) for each in curves]
    covered = [way_covered(each) for each in quality]
    still, noise = [end < SATURATED for end in ends], [share < NOISE for share in covered]
    numbers = (
        number_of(
            "images seen at the first loss factor below 0.02",
            [each.factor_first_below or math.nan for each in curves],
            ["saturating"],
        ),
        number_of("loss factor, last tenth", ends, ["saturating"], is_positive=True),
        *quality_numbers(evidence, "saturating"),
    )
    if not any(at_once):
        because = "The loss factor did not fall below 0.02 in the first tenth of training."
        return StudyFinding(outcome=REFUTED, because=because, numbers=numbers)
    fell = f"The loss factor fell below 0.02 within the first tenth in {sum(at_once)} of {len(at_once)} runs"
    because = (
        f"{fell}, and was there at the end in {sum(still)}. Samples came {percents(covered)} of the way from an "
        f"untrained generator to real images; below {100 * NOISE:.0f} % they count as noise."
    )
    if min(other) < NOISE:
        because = f"{because} The non-saturating loss gives noise after as much training, too."
        return StudyFinding(outcome=TOO_LITTLE, because=because, numbers=numbers)
    if all([*at_once, *still, *noise]):
        return StudyFinding(outcome=CONFIRMED, because=because, numbers=numbers)
    agree = len(set(still)) == len(set(noise)) == len(set(at_once)) == 1
    on = "the seed: some runs recover" if len(set(still)) + len(set(noise)) > 2 else "the seed: some saturate later"
    if agree:
        on = (
            "what counts: the gradient vanishes and stays so, and samples are still more than noise"
            if all(still)
            else "when one looks: it saturates at once, and does not stay so"
        )
    return StudyFinding(outcome=DEPENDS, because=because, depends_on=on, numbers=numbers)


def judge_good_digits(evidence: StudyEvidence) -> StudyFinding:
    """Near real images, and with all classes."""
    return judged_samples(evidence, "non-saturating", GOOD)


def judge_equilibrium(evidence: StudyEvidence) -> StudyFinding:
    """The accuracy of D in the last tenth, on each kind of images, and whether it still falls."""
    seeds = evidence.seeds_of(("non-saturating", TrainingCurves), ("non-saturating", SampleQuality))
    curves = evidence.of("non-saturating", TrainingCurves, seeds)
    dead = [has_collapsed(each) for each in evidence.of("non-saturating", SampleQuality, seeds)]
    ends, middles = [_last(each.accuracy) for each in curves], [_middle(each.accuracy) for each in curves]
    kinds = {
        "real images": [_last(each.accuracy_real) for each in curves],
        "fakes": [_last(each.accuracy_fake) for each in curves],
    }
    numbers = (
        number_of("accuracy of D, last tenth", ends, ["non-saturating"]),
        number_of("accuracy of D, around the middle", middles, ["non-saturating"]),
        *(number_of(f"accuracy of D on {kind}, last tenth", each, ["non-saturating"]) for kind, each in kinds.items()),
    )
    seen = max(each.images[-1] for each in curves)
    told = f"At the end, after {seen:,.0f} images, D is right on {percents(ends)} of all; an equilibrium has 50 %."
    near = [abs(end - LEVEL) <= NEAR for end in ends]
    sided = [max(abs(value - LEVEL) for value in both) > SIDED for both in zip(*kinds.values(), strict=True)]
    even = [a and not (b or c) for a, b, c in zip(near, dead, sided, strict=True)]
    if all(even):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if any(even):
        on = f"the seed: {sum(even)} of {len(even)} runs end in an equilibrium"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    if all(near):
        why = "samples have collapsed" if any(dead) else "D gives nearly all images the same answer"
        because = f"{told} That is no equilibrium here: {why}."
        return StudyFinding(outcome=REFUTED, because=because, numbers=numbers)
    return _not_even(told, ends, middles, numbers)


def _not_even(told: str, ends: list[float], middles: list[float], numbers: tuple[StudyNumber, ...]) -> StudyFinding:
    """Whether an accuracy that is not near one half still falls."""
    told = f"{told} Around the middle of training it was {percents(middles)}; a fall counts from {FALL:.1f} points on."
    falls = [end < middle - FALL / 100 for end, middle in zip(ends, middles, strict=True)]
    if all(falls):
        on = "how long training goes on: the accuracy was still falling"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)


def judge_least_squares(evidence: StudyEvidence) -> StudyFinding:
    """Bounded losses, decent samples."""
    curves = evidence.of("least-squares", TrainingCurves)
    largest = [max(each.largest_losses) for each in curves]
    other = [max(each.largest_losses) for each in evidence.of("non-saturating", TrainingCurves)]
    bounds = (
        number_of("largest loss of either player", largest, ["least-squares"]),
        number_of("the same of the non-saturating loss", other, ["non-saturating"]),
    )
    samples = judged_samples(evidence, "least-squares", DECENT)
    because = (
        f"Losses are bounded by construction, at {BOUND:g} for D and 0.5 for G; the largest here was "
        f"{max(largest):.3g}. Those of the non-saturating loss, which are not, reached {max(other):.3g}. "
        f"{samples.because}"
    )
    return samples.model_copy(update={"because": because, "numbers": (*bounds, *samples.numbers)})


def _last(values: tuple[float, ...]) -> float:
    if not values:
        return LEVEL  # a record that does not tell
    part = values[-max(1, len(values) // 10) :]
    return sum(part) / len(part)


def _middle(values: tuple[float, ...]) -> float:
    around = max(1, len(values) // 10)
    first = max(0, (len(values) - around) // 2)
    part = values[first : first + around]
    return sum(part) / len(part)


SATURATING = StudyStatement(
    title="The saturating loss",
    claim="With the original cross entropy the generator's gradient saturates at once, and samples are noise.",
    theory=(
        TheoryLine("With s = sigmoid(a), a = D(G(z)), the generator minimises", "E log(1 - s)"),
        TheoryLine("Its gradient at a logit vanishes while D rejects fakes:", "frac{dL}{da} = -s → 0, a → -∞"),
    ),
    experiment=(
        "The report's game with this loss. Confirmed if in each seed the loss factor (root mean square of dL/da) falls "
        "below 0.02 in the first tenth of training, is below it on average in the last tenth, and samples stay less "
        "than half way to real images, while those of the non-saturating loss come at least half way. The first update "
        "has seen three batches."
    ),
    needs=(("saturating", TrainingCurves), ("saturating", SampleQuality), ("non-saturating", SampleQuality)),
    judge=judge_saturating,
    trained=("saturating",),
    advice={
        "": "Use the non-saturating loss: it costs nothing. `genprior diagnose` names saturation while a run trains.",
        DEPENDS: "Do not rely on a recovery: use the non-saturating loss, or slow the discriminator down.",
    },
    figures=(
        CurvesOf(
            "Loss factor",
            "root mean square of dL/da",
            "loss_factor",
            ("saturating", "non-saturating", "least-squares"),
            "The factor by which the loss scales every gradient of G. Adam divides a gradient by its "
            "own size, so that a "
            "small factor alone stops nothing; near its epsilon of 1e-8 nothing is left.",
            level=(SATURATED, "0.02"),
            is_log=True,
        ),
        StripsOf("Samples", "saturating", SampleQuality, LOSS_PICTURES, SAMPLES_READ),
    ),
)


NON_SATURATING = StudyStatement(
    title="The non-saturating loss",
    claim="With the non-saturating loss the generator makes good digits.",
    theory=(
        TheoryLine("The generator maximises", "E log s"),
        TheoryLine("and its gradient stays where D rejects fakes:", "frac{dL}{da} = s - 1 → -1, a → -∞"),
    ),
    experiment=(
        "The report's game with this loss. Confirmed if in each seed samples come 98 % of the way from an untrained "
        "generator to held-out images, by Fréchet distance in a judge's features, and hold all classes. Without "
        "labels it cannot be confirmed: features that are learned without any let blurred samples pass."
    ),
    needs=(("non-saturating", SampleQuality), ("non-saturating", TrainingCurves)),
    judge=judge_good_digits,
    trained=("non-saturating",),
    advice={
        "": "Take it as the default. The regularised recipe of genprior comes nearer still: see below.",
        REFUTED: "Train longer, or take the regularised recipe: see below.",
        TOO_LITTLE: "Train longer: `--size lesson` and `--size full` have so many updates.",
    },
    figures=(StripsOf("Samples", "non-saturating", SampleQuality, LOSS_PICTURES, SAMPLES_READ),),
)


EQUILIBRIUM = StudyStatement(
    title="The drift to an equilibrium",
    claim="The non-saturating game drifts to an equilibrium where the discriminator's accuracy is 0.5.",
    theory=(
        TheoryLine("For a fixed G the best discriminator is", "s = frac{p}{p + q}"),
        TheoryLine("with p the density of images and q that of fakes; it is everywhere 1/2 for p = q alone."),
    ),
    experiment=(
        "The discriminator's accuracy on the batches that it trains on, before each update, real images and fakes "
        "counting alike; mean of the last tenth. Confirmed if in each seed it is within 0.05 of 0.5, while on either "
        "kind it is within 0.25 of it (else D gives nearly all images the same answer) and samples have not collapsed. "
        "It depends if that holds in some seeds alone, or if none is so near, but each 2.5 points lower than around "
        "the middle of training: then it still falls."
    ),
    needs=(("non-saturating", TrainingCurves), ("non-saturating", SampleQuality)),
    judge=judge_equilibrium,
    trained=("non-saturating",),
    advice={
        "": (
            "Curves of losses show no equilibrium. `genprior probe equilibrium` asks whether either player "
            "can still gain."
        ),
    },
    figures=(
        CurvesOf(
            "Accuracy of the discriminator",
            "share of images told right",
            "accuracy",
            ("saturating", "non-saturating", "least-squares"),
            "At 0.5 D cannot tell, or it gives all images the same answer.",
            level=(LEVEL, "0.5"),
        ),
        CurvesOf(
            "Loss of the discriminator",
            "loss",
            "discriminator_loss",
            ("saturating", "non-saturating", "least-squares"),
            "The first two have one formula, whose value at equilibrium is log 4; the squared error has another scale.",
            level=(LOG_4, "log 4"),
        ),
    ),
)


LEAST_SQUARES = StudyStatement(
    title="The L2 loss",
    claim="The squared error of D's probability has bounded losses, and its digits are decent.",
    theory=(
        TheoryLine("Half the squared errors are at most one together:", "frac{(s(a_r) - 1)^2 + s(a_f)^2}{2} ≤ 1"),
        TheoryLine("The generator's gradient vanishes on both sides:", "frac{dL}{da} = (s - 1) s (1 - s)"),
    ),
    experiment=(
        "The report's game with this loss. That losses are bounded is so by construction; confirmed if in each seed "
        "samples come 95 % of the way to real ones, with all classes, which takes labels."
    ),
    needs=(("least-squares", TrainingCurves), ("least-squares", SampleQuality), ("non-saturating", TrainingCurves)),
    judge=judge_least_squares,
    trained=("least-squares",),
    advice={"": "Bounded losses are no sign of health: this gradient can vanish, too. Watch the loss factor."},
    figures=(
        CurvesOf(
            "Loss of the generator",
            "loss",
            "generator_loss",
            ("saturating", "non-saturating", "least-squares"),
            "Three quantities on one axis: compare shapes, not heights. The squared error is one half at most.",
        ),
        StripsOf("Samples", "least-squares", SampleQuality, LOSS_PICTURES, SAMPLES_READ),
    ),
)
