"""Statements on inversion: the report's second part. Imports no torch."""

import math
from collections.abc import Sequence

from genprior.study.measured_models import InversionErrors, ReportInversion, TrainingCurves
from genprior.study.study_evidence import OWN, StripsOf, StudyEvidence, StudyStatement, TheoryLine, ratio
from genprior.study.study_results import (
    CONFIRMED,
    DEPENDS,
    REFUTED,
    TOO_LITTLE,
    StudyFinding,
    StudyNumber,
    mean_of,
    number_of,
    standard_error,
)

RECOVERED = 0.8  # of the variance around the mean image
TIMES = 2.0  # by which errors at edges and corners, and of high frequencies, exceed the others


def judge_inversion(evidence: StudyEvidence) -> StudyFinding:
    """Shape recovered, edges and corners missed."""
    found = evidence.of(OWN, ReportInversion)
    recovered = number_of(
        "variance around the mean image that is recovered", [_recovered(each) for each in found], [OWN]
    )
    edges = _ratios(
        "error at edges over that in even places", [_pairs(each.at_edges, each.elsewhere) for each in found]
    )
    corners = _ratios(
        "error at corners over that in even places", [_pairs(each.at_corners, each.elsewhere) for each in found]
    )
    bands = _ratios(
        "share of high frequencies that is wrong, over that of low ones",
        [[(high, low) for low, high in each.bands_of] for each in found],
    )
    numbers = (recovered, edges, corners, bands, *_sharpness(found), *_band_numbers(found))
    misses = all(each.is_surely(above=TIMES) for each in (edges, corners, bands))
    told = (
        f"{100 * recovered.mean:.0f} % of the variance is recovered; errors at edges are {edges.mean:.1f} "
        "times, at corners "
        f"{corners.mean:.1f} times those in even places; of high frequencies {bands.mean:.1f} times the share is "
        "wrong, missed or made up."
    )
    if misses and recovered.mean >= RECOVERED:
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if misses:
        on = "the generator: edges are missed, but this one does not recover the shape either"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)


def judge_later(evidence: StudyEvidence) -> StudyFinding:
    """The same images inverted after each of two second halves, image by image."""
    same, larger = (evidence.of(cell, ReportInversion) for cell in ("later-same", "later-larger"))
    cells = ["later-same", "later-larger"]
    details = mean_of(
        "share of high frequencies that is wrong: larger D less same D",
        [[b[1] - a[1] for a, b in zip(x.bands_of, y.bands_of, strict=True)] for x, y in zip(same, larger, strict=True)],
        cells,
    )
    whole = mean_of(
        "squared error: larger D less same D",
        [[b - a for a, b in zip(x.error, y.error, strict=True)] for x, y in zip(same, larger, strict=True)],
        cells,
    )
    numbers = (
        details,
        whole,
        *(
            mean_of(f"{cell}: squared error", [each.error for each in found], [cell])
            for cell, found in zip(cells, (same, larger), strict=True)
        ),
    )
    told = (
        "With the larger discriminator the share of high frequencies that is wrong, missed or made up, changed by "
        f"{details.text}, the squared error by {whole.text}."
    )
    if details.is_surely(below=0.0) and whole.is_surely(above=0.0):
        on = "what counts: high frequencies got better, the whole image worse"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    if details.is_surely(below=0.0):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    worse = " It got worse." if details.is_surely(above=0.0) else " That is within chance."
    return StudyFinding(outcome=REFUTED, because=told + worse, numbers=numbers)


def _recovered(found: InversionErrors) -> float:
    return 1 - ratio(sum(found.error), sum(found.constant_error), "the error of the mean image")


def _pairs(first: Sequence[float], second: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(first, second, strict=True))


def _ratios(title: str, seeds: Sequence[Sequence[tuple[float, float]]]) -> StudyNumber:
    """Ratio of two sums over images, with the standard error of a ratio estimator in each seed."""
    values, errors = [], []
    for pairs in seeds:
        known = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
        first, second = (sum(each) / len(known) for each in zip(*known, strict=True))
        ratio = first / second if second else math.nan
        residuals = [a - ratio * b for a, b in known]
        values.append(ratio)
        errors.append(standard_error(residuals) / second if second else math.nan)
    return StudyNumber(title=title, cells=(OWN,), values=tuple(values), errors=tuple(errors))


def _sharpness(found: Sequence[InversionErrors]) -> tuple[StudyNumber, ...]:
    """The same blur on samples: if these lack high frequencies too, it is the generator's."""
    real = [sum(each.sharpness_real) / len(each.sharpness_real) for each in found]
    both = {"inverted images": [e.sharpness_made for e in found], "samples": [e.sharpness_samples for e in found]}
    return tuple(
        mean_of(
            f"high frequencies of {name}, over those of real images",
            [[ratio(v, r, "their share in real images") for v in each] for each, r in zip(seeds, real, strict=True)],
            [OWN],
        )
        for name, seeds in both.items()
    )


def _band_numbers(found: Sequence[InversionErrors]) -> tuple[StudyNumber, ...]:
    limits = found[0].band_limits
    return tuple(
        number_of(f"wrong up to {limit:g} cycles a pixel, share of power", [each.bands[i] for each in found], [OWN])
        for i, limit in enumerate(limits)
    )


INVERSION = StudyStatement(
    title="Inversion",
    claim="Inversion recovers the overall shape almost exactly, and misses edges, fine details and sharp corners.",
    theory=(
        TheoryLine("The closest image that G makes, by gradient descent from one random z:", "min_z || G(z) - x ||^2"),
        TheoryLine(
            "By Parseval the error is a sum over frequencies, of which low ones weigh most in images:",
            "|| r ||^2 = sum_f | r_f |^2",
        ),
    ),
    experiment=(
        "The non-saturating generator, frozen; held-out images; one start, Adam. Errors near edges (the "
        "strongest slopes), "
        "near corners (Harris's response) and elsewhere; power of the residual over that of the image by frequency. "
        "Confirmed if 80 % of the variance around the mean image is recovered and all three ratios are surely above 2."
    ),
    needs=((OWN, ReportInversion), (OWN, TrainingCurves)),
    judge=judge_inversion,
    trained=(OWN,),
    advice={
        "": (
            "If samples are sharper than inverted images, search better (`genprior invert`); if not, train a "
            "better generator."
        ),
        TOO_LITTLE: "Train longer: only `--size full` has so many updates.",
    },
    figures=(
        StripsOf(
            "Inverted",
            OWN,
            ReportInversion,
            {"image": "truth", "inverted": "inverted"},
            "Held-out images above, inverted below.",
        ),
    ),
)


LATER = StudyStatement(
    title="A stronger discriminator later",
    claim="A stronger discriminator later in training helps the details.",
    theory=(
        TheoryLine(
            "What D cannot see, G does not learn: the generator's gradient passes through", "frac{partial a}{partial x}"
        ),
    ),
    experiment=(
        "Two second halves for the same trained generator: a fresh discriminator of the same size, and "
        "one twice as wide. "
        "The same held-out images are inverted. Confirmed if with the larger one surely less of the high frequencies "
        "is wrong, and the squared error is not surely larger."
    ),
    needs=(
        ("later-same", ReportInversion),
        ("later-larger", ReportInversion),
        (OWN, TrainingCurves),
    ),
    judge=judge_later,
    trained=(OWN,),
    is_contest=True,
    advice={
        "": "Details come rather from a bounded slope of D and from averaged weights: the default recipe has both."
    },
    figures=(
        StripsOf(
            "Inverted, larger D later",
            "later-larger",
            ReportInversion,
            {"image": "truth", "inverted": "inverted"},
            "Held-out images above, inverted below.",
        ),
    ),
)
