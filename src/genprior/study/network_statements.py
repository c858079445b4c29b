"""Statements on the networks and on regularisation: sizes, a larger discriminator, lambda. Imports no torch."""

from genprior.study.measured_models import NetworkSizes, SampleQuality, TrainingCurves
from genprior.study.sample_numbers import (
    DECENT,
    LOSS_PICTURES,
    NOISE,
    SAMPLES_READ,
    VARIED,
    has_collapsed,
    percents,
    quality_numbers,
    span_of,
    way_covered,
)
from genprior.study.study_evidence import StripsOf, StudyEvidence, StudyStatement, TheoryLine
from genprior.study.study_results import CONFIRMED, DEPENDS, REFUTED, TOO_LITTLE, StudyFinding, number_of

REPORTED_SIZES = {"generator": 600_513, "discriminator": 166_177}
REPORTED_SHAPE = (1, 28, 28)


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


def judge_larger_discriminator(evidence: StudyEvidence) -> StudyFinding:
    """Collapse with the larger D where the report's D holds."""
    larger, own = (evidence.of(cell, SampleQuality) for cell in ("larger-d", "non-saturating"))
    fell = [has_collapsed(each) for each in larger]
    numbers = (*quality_numbers(evidence, "larger-d"), *quality_numbers(evidence, "non-saturating"))
    seen = max(each.images[-1] for each in evidence.of("larger-d", TrainingCurves))
    told = (
        f"With four times the discriminator's weights {_runs(sum(fell), len(fell))} collapsed within {seen:,.0f} images"
    )
    if any(map(has_collapsed, own)):
        because = (
            f"{told}; with the report's own D {_runs(sum(map(has_collapsed, own)), len(own))} did: nothing to compare."
        )
        return StudyFinding(outcome=TOO_LITTLE, because=because, numbers=numbers)
    told = f"{told}; with the report's own D none did."
    if all(fell):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if any(fell):
        return StudyFinding(outcome=DEPENDS, because=told, depends_on="the seed", numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)


def _runs(count: int, of: int) -> str:
    return ("no run" if not count else "the run") if of == 1 else f"{count or 'none'} of {of} runs"


def judge_lambda(evidence: StudyEvidence) -> StudyFinding:
    """Weight decay of 0.5 ends in one image, beta1 of 0.5 trains."""
    decayed, own = (evidence.of(cell, SampleQuality) for cell in ("weight-decay", "non-saturating"))
    blank = [each.diversity < VARIED or way_covered(each) < NOISE for each in decayed]
    trains = [way_covered(each) >= DECENT for each in own]
    numbers = (*quality_numbers(evidence, "weight-decay"), *quality_numbers(evidence, "non-saturating"))
    spread = span_of([each.diversity for each in decayed])
    alike = "all samples are the same image" if spread == "0" else f"samples vary {spread} times as much as real images"
    told = (
        f"As weight decay, {alike}. As beta1, without decay, samples came "
        f"{percents([way_covered(each) for each in own])} of the way."
    )
    if all(blank) and all(trains):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if not any(blank):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    on = "the seed"
    if all(blank) and not any(trains):
        on = f"what is asked: weight decay ends as the report says, and beta1 does not reach {100 * DECENT:.0f} % here"
    return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)


NETWORKS = StudyStatement(
    title="The networks",
    claim="The generator has 600,513 parameters and the discriminator 166,177: it was made smaller on purpose.",
    theory=(
        TheoryLine("A transposed convolution from c to d channels with kernel k has this many weights:", "c d k^2"),
        TheoryLine("Normalisation adds two numbers a channel, and a bias one."),
    ),
    experiment=(
        "Both networks are built for these images and their weights counted. Confirmed if both numbers are the "
        "report's; what they were made smaller for is not tested."
    ),
    needs=(("non-saturating", NetworkSizes),),
    judge=judge_networks,
    advice={
        "": (
            "Another width or kernel shows in these two numbers: check them first. Strides, paddings and activations "
            "do not."
        )
    },
)


LARGER_DISCRIMINATOR = StudyStatement(
    title="A larger discriminator",
    claim="A larger discriminator leads to mode collapse after some epochs.",
    theory=(
        TheoryLine("For the best D the game with value V is", "max_D V(D, G) = -log 4 + 2 JSD(p, q)"),
        TheoryLine(
            "which p = q alone minimises. But against the best D the non-saturating G descends",
            "KL(q, p) - 2 JSD(p, q)",
        ),
        TheoryLine(
            "which forgives modes that are missing: theory leaves room for collapse, and does not say that a larger D "
            "brings it."
        ),
    ),
    experiment=(
        "The non-saturating game with twice as wide a discriminator, four times the weights. The report does not say "
        "how much larger its D was, nor after how many of its ten epochs it collapsed. Collapsed: half of the "
        "classes or fewer, or less than a fifth of the variance of real images. Confirmed if it collapses in each "
        "seed, and the report's own D in none."
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
    figures=(StripsOf("Samples", "larger-d", SampleQuality, LOSS_PICTURES, SAMPLES_READ),),
)


LAMBDA = StudyStatement(
    title='"lambda = 0.5" in both readings',
    claim='"L2 regularisation, lambda = 0.5" does not train as weight decay; read as Adam\'s beta1 it does.',
    theory=(
        TheoryLine("Weight decay adds this to each gradient, which outweighs the loss:", "lambda w, lambda = 0.5"),
        TheoryLine("Adam's first decay averages gradients:", "m ← beta_1 m + (1 - beta_1) g"),
    ),
    experiment=(
        "The non-saturating game with weight decay 0.5 and Adam's usual beta1 of 0.9, beside the one with beta1 of "
        "0.5 and no decay. Both change at once: that the decay is the cause is theory's word, as a run with neither is "
        "not made. Confirmed if in each seed the first is blank or noise, and the second comes 95 % of the way to real "
        "images; not confirmed if the first is neither blank nor noise in any."
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
    figures=(StripsOf("Samples with weight decay", "weight-decay", SampleQuality, LOSS_PICTURES, SAMPLES_READ),),
)
