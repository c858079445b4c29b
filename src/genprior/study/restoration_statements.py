"""Statements on restoration: the report's third part. Imports no torch."""

import math
from collections.abc import Sequence

from genprior.study.measured_models import RestoredImages, RestoredTask, TrainingCurves
from genprior.study.study_evidence import OWN, StripsOf, StudyEvidence, StudyStatement, TheoryLine
from genprior.study.study_results import (
    CONFIRMED,
    DEPENDS,
    REFUTED,
    TOO_LITTLE,
    StudyFinding,
    StudyNumber,
    mean_of,
    standard_error,
)

IMPRESSIVE = 3.0  # dB above the noisy image
STROKES, LOOPS = (1, 7), (0, 6, 8, 9)


def judge_denoising(evidence: StudyEvidence) -> StudyFinding:
    """Gain over the noisy image, and over total variation."""
    found = [each.noise for each in evidence.of(OWN, RestoredImages)]
    gain = _difference("gain over the noisy image", [(each.l2, each.seen) for each in found])
    beyond = _difference("gain over total variation", [(each.l2, each.classical) for each in found])
    numbers = (
        gain,
        beyond,
        *_decibels("noise of 0.5", found),
        mean_of("noise of 0.5, total variation", [e.classical for e in found], [OWN], "dB"),
    )
    told = (
        f"Denoising gains {gain.text} over the noisy image and {beyond.text} over total variation, tuned on "
        "learned images."
    )
    if gain.is_surely(above=IMPRESSIVE) and beyond.is_surely(above=0.0):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if gain.is_surely(above=IMPRESSIVE):
        on = "what it is compared with: the noisy image is beaten, total variation is not surely"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)


def judge_inpainting(evidence: StudyEvidence) -> StudyFinding:
    """Errors of hidden pixels against errors of noisy ones, image by image."""
    found = evidence.of(OWN, RestoredImages)
    harder = mean_of(
        "squared error of hidden pixels less that of denoised ones",
        [
            [hidden - 10 ** (-decibels / 10) for hidden, decibels in zip(e.hole.hidden_error, e.noise.l2, strict=True)]
            for e in found
        ],
        [OWN],
    )
    numbers = (
        harder,
        mean_of("hidden pixels: squared error", [e.hole.hidden_error for e in found], [OWN]),
        mean_of("hidden pixels: that of the mean image", [e.hole.hidden_fill for e in found], [OWN]),
        *_decibels("hole", [e.hole for e in found]),
    )
    told = f"Hidden pixels have a squared error that is {harder.text} larger than that of denoised images."
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
    strokes, loops = ([_of_classes(each, classes) for each in found] for classes in (STROKES, LOOPS))
    if any(len(each) < 2 for each in (*strokes, *loops)):
        return StudyFinding(outcome=TOO_LITTLE, because="There are fewer than two images of either kind.")
    values = [sum(loop) / len(loop) - sum(stroke) / len(stroke) for stroke, loop in zip(strokes, loops, strict=True)]
    errors = [
        math.hypot(standard_error(stroke), standard_error(loop)) for stroke, loop in zip(strokes, loops, strict=True)
    ]
    harder = StudyNumber(
        title="squared error of hidden pixels: loops less strokes",
        cells=(OWN,),
        values=tuple(values),
        errors=tuple(errors),
    )
    by_class = [
        mean_of(
            f"digit {digit}: squared error of hidden pixels",
            [_of_classes(e, (digit,)) or [math.nan] for e in found],
            [OWN],
        )
        for digit in range(10)
    ]
    numbers = (harder, *(each for each in by_class if math.isfinite(each.mean)))
    told = f"Loops (0, 6, 8, 9) exceed strokes (1, 7) by {harder.text}."
    if harder.is_surely(above=0.0):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if harder.is_surely(below=0.0):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    return StudyFinding(outcome=TOO_LITTLE, because=f"{told} That is within chance.", numbers=numbers)


def judge_data_terms(evidence: StudyEvidence) -> StudyFinding:
    """L2 under Gaussian noise, L1 under outliers."""
    found = evidence.of(OWN, RestoredImages)
    gaussian = _difference("Gaussian noise: L2 less L1", [(each.noise.l2, each.noise.l1) for each in found])
    outliers = _difference("salt and pepper: L1 less L2", [(each.outliers.l1, each.outliers.l2) for each in found])
    hole = _difference("hole: L1 less L2", [(each.hole.l1, each.hole.l2) for each in found])
    numbers = (gaussian, outliers, hole)
    told = (
        f"L2 gains {gaussian.text} under Gaussian noise, L1 {outliers.text} under salt and pepper. In a hole, which "
        f"is no matter of noise, L1 gains {hole.text}."
    )
    right = [gaussian.is_surely(above=0.0), outliers.is_surely(above=0.0)]
    if all(right):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if any(right):
        on = "the noise: one of the two data terms is surely better on its own noise, the other not"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)


def _difference(title: str, seeds: Sequence[tuple[Sequence[float], Sequence[float]]]) -> StudyNumber:
    return mean_of(title, [[a - b for a, b in zip(*each, strict=True)] for each in seeds], [OWN], "dB")


def _decibels(what: str, found: Sequence[RestoredTask]) -> tuple[StudyNumber, ...]:
    each = {"damaged": [e.seen for e in found], "L2": [e.l2 for e in found], "L1": [e.l1 for e in found]}
    return tuple(mean_of(f"{what}, {name}", values, [OWN], "dB") for name, values in each.items())


def _of_classes(found: RestoredImages, classes: Sequence[int]) -> list[float]:
    return [error for error, label in zip(found.hole.hidden_error, found.labels, strict=True) if label in classes]


DENOISING = StudyStatement(
    title="Denoising with L2",
    claim="Denoising by the generator with an L2 data term is impressive.",
    theory=(
        TheoryLine(
            "The most likely latent of a noisy image y:", "min_z frac{|| G(z) - y ||^2}{2 sigma^2} + frac{|| z ||^2}{2}"
        ),
        TheoryLine(
            "Of noise in D dimensions this share can hide among k latents, 100 of 784 in the report:", "frac{k}{D}"
        ),
    ),
    experiment=(
        "Gaussian noise of 0.5 on held-out images. Beside it total variation with the best weight on learned images. "
        "Confirmed if the gain is surely above 3 dB over the noisy image, and above total variation."
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
    ),
)


INPAINTING = StudyStatement(
    title="Inpainting with L1",
    claim="Inpainting with an L1 data term is harder than denoising.",
    theory=(
        TheoryLine("Hidden pixels say nothing: with the mask M", "min_z | M (G(z) - y) |_1"),
        TheoryLine("so they are told by the prior alone."),
    ),
    experiment=(
        "A central hole half as wide as the image. Confirmed if hidden pixels surely have larger errors than "
        "denoised ones."
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
    ),
)


STROKES_AND_LOOPS = StudyStatement(
    title="Strokes and loops",
    claim='Inpainting is good for simple strokes ("1", the leg of a "9") and bad for fine ones (the loop of a "9").',
    theory=(
        TheoryLine("The error over hidden pixels H, class by class:", "frac{1}{|H|} sum_{i ∈ H} (G(z)_i - x_i)^2"),
    ),
    experiment=(
        "Errors of hidden pixels by class. Confirmed if those of 0, 6, 8 and 9 are surely larger than those of 1 and 7."
    ),
    needs=((OWN, RestoredImages), (OWN, TrainingCurves)),
    judge=judge_strokes,
    trained=(OWN,),
    advice={"": "Judge restoration by class, never by the mean alone: easy classes hide the hard ones."},
)


DATA_TERMS = StudyStatement(
    title="L1 against L2",
    claim="Each data term has its noise: L2 suits Gaussian noise, L1 suits outliers.",
    theory=(
        TheoryLine("A data term is minus the log-density of noise: Gaussian gives", "|| r ||^2"),
        TheoryLine("and Laplace, whose tails are long, gives", "| r |_1"),
    ),
    experiment=(
        "The same images restored by both. Confirmed if each is surely better on its own noise (salt and "
        "pepper for L1)."
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
