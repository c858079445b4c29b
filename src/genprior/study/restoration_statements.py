"""Statements on restoration: the report's third part. Imports no torch."""

import math
from collections.abc import Sequence

from genprior.study.measured_models import RestoredImages, RestoredTask, TrainingCurves
from genprior.study.study_evidence import (
    OWN,
    IntervalsOf,
    StripsOf,
    StudyEvidence,
    StudyStatement,
    TheoryLine,
    ratio_of_sums,
)
from genprior.study.study_results import (
    CONFIRMED,
    DEPENDS,
    REFUTED,
    TOO_LITTLE,
    StudyFinding,
    StudyNumber,
    mean_of,
)

OF_MEAN_IMAGE = "the error of the mean image"
IMPRESSIVE = 3.0  # dB above the mean image
STROKES, LOOPS, NEITHER = (1, 7), (0, 6, 8, 9), (2, 3, 5)
SEARCHED = "The search is genprior's (eight starts, the energy of z weighed by the noise), not the report's."


def judge_denoising(evidence: StudyEvidence) -> StudyFinding:
    """Gain over total variation, and over the mean image, which looks at nothing."""
    restored = evidence.of(OWN, RestoredImages)
    found = [each.noise for each in restored]
    gain = _difference("gain over the noisy image", [(each.l2, each.seen) for each in found])
    beyond = _difference("gain over total variation", [(each.l2, each.classical) for each in found])
    blind = _difference("gain over the mean image", [(each.l2, each.mean_image) for each in found])
    numbers = (
        gain,
        beyond,
        blind,
        *_decibels("noise of 0.5", found),
        mean_of("noise of 0.5, total variation", [e.classical for e in found], [OWN], "dB"),
    )
    told = (
        f"Denoising gains {gain.text} over the noisy image, {beyond.text} over total "
        f"variation{_weight_told(restored)}, "
        f"and {blind.text} over the mean image, which looks at nothing."
    )
    on = "what it is compared with: of total variation and the mean image one is surely beaten so, the other not"
    return _of_both(told, ((beyond, 0.0), (blind, IMPRESSIVE)), on, numbers)


def judge_inpainting(evidence: StudyEvidence) -> StudyFinding:
    """Errors of hidden pixels against errors of noisy ones, image by image."""
    found = evidence.of(OWN, RestoredImages)
    harder = mean_of(
        "squared error of hidden pixels less that of denoised ones",
        [[a - b for a, b in zip(e.hole.hidden_error, e.noise.hidden_error, strict=True)] for e in found],
        [OWN],
    )
    hidden = mean_of("the hole, hidden: squared error", [e.hole.hidden_error for e in found], [OWN])
    noisy = mean_of("the same pixels, noisy: squared error", [e.noise.hidden_error for e in found], [OWN])
    blind = mean_of("the same pixels, mean image: squared error", [e.hole.hidden_fill for e in found], [OWN])
    nearer = mean_of(
        "squared error of the mean image less that of the hole, hidden",
        [[a - b for a, b in zip(e.hole.hidden_fill, e.hole.hidden_error, strict=True)] for e in found],
        [OWN],
    )
    numbers = (harder, hidden, noisy, blind, nearer, *_decibels("hole", [e.hole for e in found]))
    than_blind = "surely nearer than" if nearer.is_surely(above=0.0) else "not surely nearer than"
    than_blind = "surely farther than" if nearer.is_surely(below=0.0) else than_blind
    told = (
        f"Where they are hidden, the central pixels have a squared error of {hidden.text}; where they are noisy, "
        f"{noisy.text}. The mean image of all would have {blind.text} there: the filling is {than_blind} that by "
        "squared error, which punishes a sharp guess that is wrong."
    )
    if harder.is_surely(above=0.0):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if harder.is_surely(below=0.0):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    return StudyFinding(outcome=TOO_LITTLE, because=f"{told} That is within chance.", numbers=numbers)


def judge_strokes(evidence: StudyEvidence) -> StudyFinding:
    """Errors of hidden pixels by class, over those of the mean image: strokes against loops."""
    found = evidence.of(OWN, RestoredImages)
    if not evidence.has_digits or not found[0].labels:
        return StudyFinding(outcome=TOO_LITTLE, because="These data have no digits to tell strokes from loops.")
    kinds = {"loops": LOOPS, "strokes": STROKES, "neither": NEITHER}
    images = {name: [_of_classes(each, classes) for each in found] for name, classes in kinds.items()}
    if any(len(each) < 2 for seeds in images.values() for each in seeds):
        return StudyFinding(outcome=TOO_LITTLE, because="There are fewer than two images of a kind.")
    of = {name: _over_mean_image(f"digits with {name}", seeds) for name, seeds in images.items()}
    harder, than_others = (_less(of["loops"], of[other]) for other in ("strokes", "neither"))
    numbers = (harder, than_others, *of.values(), *_by_class(found))
    told = (
        f"Of the mean image's error loops (0, 6, 8, 9) have {of['loops'].text}, strokes (1, 7) {of['strokes'].text}, "
        f"and digits with neither (2, 3, 5) {of['neither'].text}. Loops less strokes: {harder.text}, loops less "
        f"neither: {than_others.text}."
    )
    if harder.is_surely(above=0.0) and than_others.is_surely(above=0.0):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if harder.is_surely(above=0.0):
        on = "what loops are compared with: strokes are surely easier, but other digits without a loop not surely"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    if harder.is_surely(below=0.0) or than_others.is_surely(below=0.0):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    return StudyFinding(outcome=TOO_LITTLE, because=f"{told} Not all of it is beyond chance.", numbers=numbers)


def judge_data_terms(evidence: StudyEvidence) -> StudyFinding:
    """L2 under Gaussian noise, L1 under outliers."""
    found = evidence.of(OWN, RestoredImages)
    gaussian = _difference("Gaussian noise: L2 less L1", [(each.noise.l2, each.noise.l1) for each in found])
    outliers = _difference("salt and pepper: L1 less L2", [(each.outliers.l1, each.outliers.l2) for each in found])
    hole = _difference("hole: L1 less L2", [(each.hole.l1, each.hole.l2) for each in found])
    numbers = (gaussian, outliers, hole)
    told = (
        f"L2 {_lost_or_won(gaussian)} under Gaussian noise, L1 {_lost_or_won(outliers)} under salt and pepper. In a "
        f"hole, which is no matter of noise, L1 {_lost_or_won(hole)}."
    )
    on = "the noise: one of the two data terms is surely better on its own noise, the other surely not"
    return _of_both(told, ((gaussian, 0.0), (outliers, 0.0)), on, numbers)


def _of_both(
    told: str, pairs: Sequence[tuple[StudyNumber, float]], on: str, numbers: tuple[StudyNumber, ...]
) -> StudyFinding:
    """Confirmed where both numbers are surely above their bounds, refuted where one is surely below and none above."""
    right = [number.is_surely(above=bound) for number, bound in pairs]
    wrong = [number.is_surely(below=bound) for number, bound in pairs]
    if all(right):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if any(right) and any(wrong):
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    if any(wrong):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    return StudyFinding(outcome=TOO_LITTLE, because=f"{told} Not all of it is beyond chance.", numbers=numbers)


def _difference(title: str, seeds: Sequence[tuple[Sequence[float], Sequence[float]]]) -> StudyNumber:
    return mean_of(title, [[a - b for a, b in zip(*each, strict=True)] for each in seeds], [OWN], "dB")


def _decibels(what: str, found: Sequence[RestoredTask]) -> tuple[StudyNumber, ...]:
    each = {"damaged": [e.seen for e in found], "L2": [e.l2 for e in found], "L1": [e.l1 for e in found]}
    return tuple(mean_of(f"{what}, {name}", values, [OWN], "dB") for name, values in each.items())


def _of_classes(found: RestoredImages, classes: Sequence[int]) -> list[tuple[float, float]]:
    """Errors of the hidden pixels of some classes, and those of the mean image, which grow with the ink."""
    each = zip(found.hole.hidden_error, found.hole.hidden_fill, found.labels, strict=True)
    return [(error, fill) for error, fill, label in each if label in classes]


def _by_class(found: Sequence[RestoredImages]) -> list[StudyNumber]:
    """Of each digit that two images have or more."""
    of = {digit: [_of_classes(each, (digit,)) for each in found] for digit in range(10)}
    return [
        _over_mean_image(f"digit {digit} ({len(seeds[0])} images)", seeds)
        for digit, seeds in of.items()
        if min(map(len, seeds)) > 1
    ]


def _over_mean_image(who: str, seeds: Sequence[Sequence[tuple[float, float]]]) -> StudyNumber:
    values, errors = zip(*(ratio_of_sums(each, OF_MEAN_IMAGE) for each in seeds), strict=True)
    title = f"{who}: error of hidden pixels over that of the mean image"
    return StudyNumber(title=title, cells=(OWN,), values=values, errors=errors)


def _less(one: StudyNumber, other: StudyNumber) -> StudyNumber:
    """The difference of two numbers of different images."""
    return StudyNumber(
        title=f"{one.title.partition(':')[0]} less {other.title.partition(':')[0]}",
        cells=(OWN,),
        values=tuple(a - b for a, b in zip(one.values, other.values, strict=True)),
        errors=tuple(math.hypot(a, b) for a, b in zip(one.errors, other.errors, strict=True)),
    )


def _weight_told(found: Sequence[RestoredImages]) -> str:
    """Which weight total variation got, and whether a better one may lie beyond those that were tried."""
    weights = [each.variation_weight for each in found if each.variation_weight is not None]
    if not weights:
        return ""
    ends = ", the last one that was tried" if any(is_last for _, is_last in weights) else ""
    each = ", ".join(dict.fromkeys(f"{weight:g}" for weight, _ in weights))
    return f" (its weight, {each}, is the best on learned images{ends})"


def _lost_or_won(number: StudyNumber) -> str:
    if number.mean >= 0:
        return f"gains {number.text}"
    turned = number.model_copy(update={"values": tuple(-each for each in number.values)})
    return f"loses {turned.text}"


DENOISING = StudyStatement(
    title="Denoising with L2",
    claim="Denoising by the generator with an L2 data term is impressive.",
    theory=(
        TheoryLine(
            "The most likely latent of a noisy image y:", "min_z frac{|| G(z) - y ||^2}{2 sigma^2} + frac{|| z ||^2}{2}"
        ),
        TheoryLine(
            "A fit of G can follow about this share of the noise's energy, 100 of 784 in the report:",
            "frac{k}{n}",
        ),
    ),
    experiment=(
        f"Gaussian noise of 0.5 on held-out images. {SEARCHED} Beside it total variation with the best weight on "
        "learned images. Confirmed if it is surely better than total variation, and surely 3 dB better than the mean "
        "of learned images, which looks at nothing; not confirmed if one of both is surely not so, and it depends if "
        "then the other surely is."
    ),
    needs=((OWN, RestoredImages), (OWN, TrainingCurves)),
    judge=judge_denoising,
    trained=(OWN,),
    advice={
        "": (
            "Compare families before choosing: an exact posterior (mixture, flow matching) may denoise better "
            "in less time."
        )
    },
    figures=(
        StripsOf(
            "Denoised",
            OWN,
            RestoredImages,
            {"image": "truth", "noisy": "noise/seen", "L2": "noise/l2", "total variation": "noise/classical"},
            "Noise of standard deviation 0.5.",
        ),
        IntervalsOf("Denoised by", "PSNR, dB", "noise of 0.5, (.*)", "More is better. Damaged: nothing is done."),
    ),
)


INPAINTING = StudyStatement(
    title="Inpainting with L1",
    claim="Inpainting with an L1 data term is harder than denoising.",
    theory=(
        TheoryLine("Hidden pixels say nothing: with the mask M", "min_z || M (G(z) - y) ||_1"),
        TheoryLine("so they are told by the prior alone."),
    ),
    experiment=(
        f"A central hole half as wide as the image, and noise of 0.02 on the rest. {SEARCHED} Confirmed if its pixels "
        'surely have larger errors where they are hidden than where they have noise of 0.5, as in "Denoising"; with '
        "more noise hidden pixels may be no harder."
    ),
    needs=((OWN, RestoredImages), (OWN, TrainingCurves)),
    judge=judge_inpainting,
    trained=(OWN,),
    advice={"": "Ask for draws (`--draws 64 --candidates 4`) where much is hidden: one image hides how unsure it is."},
    figures=(
        StripsOf(
            "Filled in",
            OWN,
            RestoredImages,
            {"image": "truth", "seen": "hole/seen", "L1": "hole/l1", "L2": "hole/l2"},
            "A hole half as wide as the image.",
        ),
        IntervalsOf(
            "Error of the central pixels",
            "squared error",
            "(.*): squared error",
            "The same pixels: hidden, under noise, and told by the mean of learned images.",
        ),
    ),
)


STROKES_AND_LOOPS = StudyStatement(
    title="Strokes and loops",
    claim='Inpainting is good for simple strokes ("1", the leg of a "9") and bad for fine ones (the loop of a "9").',
    theory=(
        TheoryLine("The error over hidden pixels H, class by class:", "frac{1}{|H|} sum_{i ∈ H} (G(z)_i - x_i)^2"),
    ),
    experiment=(
        "Errors of hidden pixels by class, over those of the mean image in their place: an error grows with the ink. "
        "Confirmed if those of loops (0, 6, 8 and 9) are surely larger than those of strokes (1 and 7), and surely "
        "larger than those of digits that have neither (2, 3 and 5). It depends if only the first holds: then simple "
        "digits are told from others, no matter of loops. Not confirmed if they are surely smaller than those "
        "of one of both. The leg of a 9 is not measured alone."
    ),
    needs=((OWN, RestoredImages), (OWN, TrainingCurves)),
    judge=judge_strokes,
    trained=(OWN,),
    advice={"": "Judge restoration by class, never by the mean alone: easy classes hide the hard ones."},
    figures=(
        IntervalsOf(
            "Error of hidden pixels by digit",
            "over that of the mean image",
            "(digit [0-9]|digits with [a-z]+).*: error of hidden pixels over that of the mean image",
            "Less is better; at 1 the mean image of all digits is as good.",
        ),
    ),
)


DATA_TERMS = StudyStatement(
    title="L1 against L2",
    claim="Each data term has its noise: L2 suits Gaussian noise, L1 suits outliers.",
    theory=(
        TheoryLine("A data term is minus the log-density of noise: Gaussian gives", "|| r ||^2"),
        TheoryLine("and Laplace, whose tails are long, gives", "|| r ||_1"),
    ),
    experiment=(
        f"The same images restored by both. {SEARCHED} Confirmed if each is surely better on its own noise (salt and "
        "pepper for L1); not confirmed if one is surely worse there, and it depends if then the other is surely better."
    ),
    needs=((OWN, RestoredImages), (OWN, TrainingCurves)),
    judge=judge_data_terms,
    trained=(OWN,),
    advice={"": "Let genprior choose: it takes the data term that fits the noise you name."},
    figures=(
        StripsOf(
            "Salt and pepper",
            OWN,
            RestoredImages,
            {"image": "truth", "seen": "outliers/seen", "L1": "outliers/l1", "L2": "outliers/l2"},
            "A tenth of the pixels is black or white.",
        ),
    ),
)
