"""Statements on networks, losses and their training: the report's first part. Imports no torch."""

import math

from genprior.study.measured_models import NetworkSizes, SampleQuality, TrainingCurves
from genprior.study.study_evidence import (
    CurvesOf,
    StripsOf,
    StudyEvidence,
    StudyStatement,
    TheoryLine,
)
from genprior.study.study_results import CONFIRMED, DEPENDS, REFUTED, TOO_LITTLE, StudyFinding, StudyNumber, number_of

REPORTED_SIZES = {"generator": 600_513, "discriminator": 166_177}
REPORTED_SHAPE = (1, 28, 28)
GOOD, DECENT, NOISE = 0.95, 0.9, 0.5  # shares of the way from an untrained generator to held-out images
SATURATED = 0.02
AT_ONCE = 0.1  # of the budget
LEVEL, NEAR = 0.5, 0.05  # accuracy of a discriminator that cannot tell, and how near counts
BOUND = 1.0  # of the discriminator's squared errors, two halves
VARIED, HALF = 0.2, 0.5


def way_covered(quality: SampleQuality) -> float:
    """Returns the share of the way from the untrained generator to held-out images, by Fréchet distance."""
    return 1 - (quality.distance - quality.floor) / (quality.untrained - quality.floor)


def quality_numbers(evidence: StudyEvidence, cell: str) -> tuple[StudyNumber, ...]:
    """Returns what stands beside every verdict on samples of a cell."""
    found = evidence.of(cell, SampleQuality)
    numbers = [
        number_of(f"{cell}: share of the way to real images", [way_covered(each) for each in found], [cell]),
        number_of(f"{cell}: Fréchet distance", [each.distance for each in found], [cell], "features²"),
        number_of(f"{cell}: the same of held-out images", [each.floor for each in found], [cell], "features²"),
        number_of(f"{cell}: variance over that of real images", [each.diversity for each in found], [cell]),
    ]
    if found[0].of:
        numbers.append(number_of(f"{cell}: classes of {found[0].of}", [each.modes for each in found], [cell]))
    return tuple(numbers)


def has_collapsed(quality: SampleQuality) -> bool:
    """Returns whether samples are alike, or hold half of the classes or fewer."""
    return quality.diversity < VARIED or (quality.of > 0 and quality.modes <= HALF * quality.of)


def judge_networks(evidence: StudyEvidence) -> StudyFinding:
    """The sizes that the report gives."""
    found = evidence.of("non-saturating", NetworkSizes)[0]
    shape = "x".join(map(str, found.image_shape))
    numbers = tuple(
        number_of(f"parameters of the {who}", [count], ["non-saturating"]) for who, count in found.parameters.items()
    )
    told = ", ".join(f"{who} {count:,}" for who, count in found.parameters.items())
    if found.parameters == REPORTED_SIZES:
        return StudyFinding(outcome=CONFIRMED, because=f"Counted: {told}.", numbers=numbers)
    if found.image_shape != REPORTED_SHAPE:
        because = f"Images of {shape} need other first and last layers: {told}."
        on = "the shape of the images; the report's are 1x28x28"
        return StudyFinding(outcome=DEPENDS, because=because, depends_on=on, numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=f"Counted: {told}.", numbers=numbers)


def judge_saturating(evidence: StudyEvidence) -> StudyFinding:
    """At once, to the end, and noise: all three in every seed."""
    curves, quality = evidence.of("saturating", TrainingCurves), evidence.of("saturating", SampleQuality)
    at_once = [
        each.factor_first_below is not None and each.factor_first_below <= AT_ONCE * each.images[-1] for each in curves
    ]
    ends = [_last(each.loss_factor) for each in curves]
    covered = [way_covered(each) for each in quality]
    noise = [end < SATURATED and share < NOISE for end, share in zip(ends, covered, strict=True)]
    numbers = (
        number_of(
            "images seen at the first loss factor below 0.02",
            [each.factor_first_below or math.nan for each in curves],
            ["saturating"],
        ),
        number_of("loss factor, last tenth", ends, ["saturating"]),
        *quality_numbers(evidence, "saturating"),
    )
    if not any(at_once):
        because = "The loss factor did not fall below 0.02 in the first tenth of training."
        return StudyFinding(outcome=REFUTED, because=because, numbers=numbers)
    fell = f"The loss factor fell below 0.02 within the first tenth in {sum(at_once)} of {len(at_once)} runs"
    if all(at_once) and all(noise):
        because = f"{fell}, was there at the end, and samples are noise."
        return StudyFinding(outcome=CONFIRMED, because=because, numbers=numbers)
    because = f"{fell}; {sum(noise)} of {len(noise)} end in noise, the others recover."
    on = "whether the generator recovers: on the balance of the players and, near the edge, on luck"
    return StudyFinding(outcome=DEPENDS, because=because, depends_on=on, numbers=numbers)


def judge_good_digits(evidence: StudyEvidence) -> StudyFinding:
    """Near real images, and with all classes."""
    return _judged_samples(evidence, "non-saturating", GOOD)


def _judged_samples(evidence: StudyEvidence, cell: str, least: float) -> StudyFinding:
    quality, numbers = evidence.of(cell, SampleQuality), quality_numbers(evidence, cell)
    covered = [way_covered(each) for each in quality]
    right = [share >= least and each.modes == each.of for share, each in zip(covered, quality, strict=True)]
    told = f"Samples came {_percents(covered)} of the way from an untrained generator to real images"
    held = f", and hold {_range([each.modes for each in quality])} of {quality[0].of} classes" if quality[0].of else ""
    told = f"{told}{held}; {100 * least:.0f} % and all classes are asked for."
    if all(right):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if any(right):
        return StudyFinding(outcome=DEPENDS, because=told, depends_on="the seed", numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)


def judge_equilibrium(evidence: StudyEvidence) -> StudyFinding:
    """The accuracy of D in the last tenth, and whether it still falls."""
    curves = evidence.of("non-saturating", TrainingCurves)
    ends, middles = [_last(each.accuracy) for each in curves], [_middle(each.accuracy) for each in curves]
    numbers = (
        number_of("accuracy of D, last tenth", ends, ["non-saturating"]),
        number_of("accuracy of D, around the middle", middles, ["non-saturating"]),
    )
    told = f"At the end D is right on {_percents(ends)} of all images; an equilibrium has 50 %."
    if all(abs(end - LEVEL) <= NEAR for end in ends):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    falls = [end < middle - NEAR / 2 for end, middle in zip(ends, middles, strict=True)]
    if all(falls):
        on = "how long training goes on: the accuracy was still falling"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=f"{told} It does not fall from the middle on.", numbers=numbers)


def judge_least_squares(evidence: StudyEvidence) -> StudyFinding:
    """Bounded losses, decent samples."""
    curves = evidence.of("least-squares", TrainingCurves)
    largest = [max(each.largest_losses) for each in curves]
    other = [max(each.largest_losses) for each in evidence.of("non-saturating", TrainingCurves)]
    bounds = (
        number_of("largest loss of either player", largest, ["least-squares"]),
        number_of("the same of the non-saturating loss", other, ["non-saturating"]),
    )
    if max(largest) > BOUND:
        because = f"A loss reached {max(largest):.3g}; squared errors of probabilities stay below {BOUND:g}."
        return StudyFinding(outcome=REFUTED, because=because, numbers=bounds)
    samples = _judged_samples(evidence, "least-squares", DECENT)
    because = f"No loss exceeded {max(largest):.3g} of at most {BOUND:g}. {samples.because}"
    return samples.model_copy(update={"because": because, "numbers": (*bounds, *samples.numbers)})


def judge_larger_discriminator(evidence: StudyEvidence) -> StudyFinding:
    """Collapse with the larger D where the report's D holds."""
    larger, own = (evidence.of(cell, SampleQuality) for cell in ("larger-d", "non-saturating"))
    fell = [has_collapsed(each) for each in larger]
    numbers = (*quality_numbers(evidence, "larger-d"), *quality_numbers(evidence, "non-saturating"))
    told = f"With four times the discriminator's weights {sum(fell)} of {len(fell)} runs collapsed"
    if any(map(has_collapsed, own)):
        because = (
            f"{told}, and with the report's own one {sum(map(has_collapsed, own))} of {len(own)} did: nothing "
            "to compare."
        )
        return StudyFinding(outcome=TOO_LITTLE, because=because, numbers=numbers)
    told = f"{told}, with the report's own one none."
    if all(fell):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if any(fell):
        return StudyFinding(outcome=DEPENDS, because=told, depends_on="the seed", numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)


def judge_lambda(evidence: StudyEvidence) -> StudyFinding:
    """Weight decay of 0.5 ends in one image, beta1 of 0.5 trains."""
    decayed, own = (evidence.of(cell, SampleQuality) for cell in ("weight-decay", "non-saturating"))
    blank = [each.diversity < VARIED or way_covered(each) < NOISE for each in decayed]
    trains = [way_covered(each) >= DECENT for each in own]
    numbers = (*quality_numbers(evidence, "weight-decay"), *quality_numbers(evidence, "non-saturating"))
    told = (
        f"As weight decay, samples have {_range([each.diversity for each in decayed])} times the variance "
        "of real images "
        f"and came {_percents([way_covered(each) for each in decayed])} of the way; as beta1, "
        f"{_percents([way_covered(each) for each in own])}."
    )
    if all(blank) and all(trains):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if not any(blank):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    return StudyFinding(
        outcome=DEPENDS, because=told, depends_on="the seed and the length of training", numbers=numbers
    )


def _last(values: tuple[float, ...]) -> float:
    part = values[-max(1, len(values) // 10) :]
    return sum(part) / len(part)


def _middle(values: tuple[float, ...]) -> float:
    around = max(1, len(values) // 10)
    first = max(0, (len(values) - around) // 2)
    part = values[first : first + around]
    return sum(part) / len(part)


def _percents(shares: list[float]) -> str:
    return f"{_range([round(100 * share) for share in shares])} %"


def _range(values: list[float] | list[int]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


_LOSS_PICTURES = {"samples": "samples", "real": "real"}

NETWORKS = StudyStatement(
    title="The networks",
    claim="The generator has 600,513 parameters and the discriminator 166,177: it was made smaller on purpose.",
    theory=(
        TheoryLine("A transposed convolution from c to d channels with kernel k has this many weights:", "c d k^2"),
        TheoryLine("Normalisation adds two numbers a channel, and a bias one."),
    ),
    experiment="Both networks are built for these images and their weights counted.",
    needs=(("non-saturating", NetworkSizes),),
    judge=judge_networks,
    advice={"": "Any layer that differs from the report's shows in these two numbers: check them first."},
)
SATURATING = StudyStatement(
    title="The saturating loss",
    claim="With the original cross entropy the generator's gradient saturates at once, and samples are noise.",
    theory=(
        TheoryLine("The generator minimises", "E log(1 - s), s = sigmoid(a), a = D(G(z))"),
        TheoryLine("Its gradient at a logit vanishes while D rejects fakes:", "frac{dL}{da} = -s → 0, a → -∞"),
    ),
    experiment=(
        "The report's game with this loss. Confirmed if in each seed the loss factor (root mean square of dL/da) falls "
        "below 0.02 in the first tenth, is there in the last tenth, and samples stay less than half way to real images."
    ),
    needs=(("saturating", TrainingCurves), ("saturating", SampleQuality)),
    judge=judge_saturating,
    trained=("saturating",),
    advice={
        "": "Use the non-saturating loss: it costs nothing. `genprior diagnose` names saturation while a run trains.",
        DEPENDS: "Do not rely on luck: use the non-saturating loss, or slow the discriminator down.",
    },
    figures=(
        CurvesOf(
            "Loss factor",
            "root mean square of dL/da",
            "loss_factor",
            ("saturating", "non-saturating", "least-squares"),
            "Below the line the generator learns next to nothing.",
            level=(SATURATED, "0.02"),
            is_log=True,
        ),
        StripsOf(
            "Samples", "saturating", SampleQuality, _LOSS_PICTURES, "Samples of the last averaged weights, real images."
        ),
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
        "The report's game with this loss. Confirmed if in each seed samples come 95 % of the way from an untrained "
        "generator to held-out images, by Fréchet distance in a judge's features, and hold all classes."
    ),
    needs=(("non-saturating", SampleQuality), ("non-saturating", TrainingCurves)),
    judge=judge_good_digits,
    trained=("non-saturating",),
    advice={
        "": "Take it as the default. The regularised recipe of genprior makes better digits still: see below.",
        TOO_LITTLE: "Train longer: `--size lesson` takes half an hour.",
    },
    figures=(StripsOf("Samples", "non-saturating", SampleQuality, _LOSS_PICTURES, "Samples, real images."),),
)
EQUILIBRIUM = StudyStatement(
    title="The drift to an equilibrium",
    claim="The non-saturating game drifts to an equilibrium where the discriminator's accuracy is 0.5.",
    theory=(
        TheoryLine("For a fixed G the best discriminator is", "s = frac{p}{p + q}"),
        TheoryLine("with p the density of data and q that of fakes; only p = q gives", "s = frac{1}{2}"),
    ),
    experiment=(
        "The discriminator's accuracy on both kinds of images. Confirmed within 0.05 of 0.5 over the last tenth."
    ),
    needs=(("non-saturating", TrainingCurves),),
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
            "0.5 is a discriminator that cannot tell.",
            level=(LEVEL, "0.5"),
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
        "The report's game with this loss. Confirmed if no loss exceeds 1 and samples come 90 % of the way to "
        "real ones."
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
            "Each loss on its own scale; the squared error stays below one half.",
        ),
        StripsOf("Samples", "least-squares", SampleQuality, _LOSS_PICTURES, "Samples, real images."),
    ),
)
LARGER_DISCRIMINATOR = StudyStatement(
    title="A larger discriminator",
    claim="A larger discriminator leads to mode collapse after some epochs.",
    theory=(
        TheoryLine("For the best D the game is", "min_G C(G) = -log 4 + 2 JSD(p, q)"),
        TheoryLine("which nothing but the data solves: theory gives no reason for a collapse by a larger D."),
    ),
    experiment=(
        "The non-saturating game with twice as wide a discriminator, four times the weights. Collapsed: half of the "
        "classes or fewer, or less than a fifth of the variance of real images."
    ),
    needs=(
        ("larger-d", SampleQuality),
        ("larger-d", TrainingCurves),
        ("non-saturating", SampleQuality),
    ),
    judge=judge_larger_discriminator,
    trained=("larger-d",),
    advice={
        "": (
            "Choose the discriminator's size by held-out scores, not by fear. If it wins, bound its slope by a penalty."
        ),
        CONFIRMED: "Bound the slope of D by a penalty (`--penalty r1`), or show it several images at once (`--pack`).",
    },
    figures=(
        StripsOf("Samples", "larger-d", SampleQuality, _LOSS_PICTURES, "Samples with the larger D, real images."),
    ),
)
LAMBDA = StudyStatement(
    title='"lambda = 0.5" in both readings',
    claim='"L2 regularisation, lambda = 0.5" does not train as weight decay; read as Adam\'s beta1 it does.',
    theory=(
        TheoryLine("Weight decay adds this to each gradient, which outweighs the loss:", "lambda w, lambda = 0.5"),
        TheoryLine("Adam's first decay averages gradients:", "m ← beta_1 m + (1 - beta_1) g"),
    ),
    experiment=(
        "The non-saturating game with weight decay 0.5 and Adam's usual beta1 of 0.9, beside the one with "
        "beta1 of 0.5. "
        "Confirmed if the first is blank or noise, and the second comes 90 % of the way to real images."
    ),
    needs=(
        ("weight-decay", SampleQuality),
        ("non-saturating", SampleQuality),
        ("non-saturating", TrainingCurves),
    ),
    judge=judge_lambda,
    trained=("non-saturating",),
    advice={
        "": "Read it as beta1 = 0.5, the default of `--preset dcgan-28`. `--preset study-literal` is the other reading."
    },
    figures=(
        StripsOf("Samples", "weight-decay", SampleQuality, _LOSS_PICTURES, "Samples with weight decay, real images."),
    ),
)
