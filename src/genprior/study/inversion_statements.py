"""Statements on inversion: the report's second part. Imports no torch."""

import math
from collections.abc import Sequence
from itertools import pairwise

from genprior.study.measured_models import InversionErrors, ReportInversion, TrainingCurves
from genprior.study.study_evidence import (
    LITTLE,
    OWN,
    IntervalsOf,
    NotMeasuredError,
    StripsOf,
    StudyEvidence,
    StudyStatement,
    TheoryLine,
    ratio,
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
    number_of,
    percent,
    shown,
)

SAME_OR_LARGER = "later-same", "later-larger"
RECOVERED = 0.8  # of the variance around the mean image
TIMES = 2.0  # by which the wrong share of high frequencies exceeds that of low ones


def judge_inversion(evidence: StudyEvidence) -> StudyFinding:
    """Shape recovered, edges and corners missed."""
    found = evidence.of(OWN, ReportInversion)
    recovered = _recovered(found)
    edges, corners, plain = _by_place(found)
    bands = _ratios(
        "share of high frequencies that is wrong, over that of low ones",
        [[(high, low) for low, high in each.bands_of] for each in found],
    )
    numbers = (recovered, edges, corners, *plain, bands, *_sharpness(found), *_band_numbers(found))
    misses = bands.is_surely(above=TIMES) and all(
        each.is_surely(above=control.mean) for each, control in zip((edges, corners), plain, strict=True)
    )
    told = (
        f"{percent(recovered.mean)} of the variance is recovered. Errors at edges are "
        f"{edges.mean:.1f} times, at corners "
        f"{corners.mean:.1f} times those in even places; the mean image, which knows no edges, has {plain[0].mean:.1f} "
        f"and {plain[1].mean:.1f} there. The mean wrong share of high frequencies (above {found[0].band_limits[1]:g} "
        f"cycles a pixel) is {bands.mean:.1f} times that of low ones."
    )
    if misses and recovered.mean >= RECOVERED:
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if misses:
        on = "the generator: edges are missed, but this one does not recover the shape either"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    asked = {
        "high frequencies against low ones": (bands, TIMES),
        "edges": (edges, plain[0].mean),
        "corners": (corners, plain[1].mean),
    }
    if any(each.is_surely(below=bound) for each, bound in asked.values()):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    unsure = ", ".join(name for name, (each, bound) in asked.items() if not each.is_surely(above=bound))
    told = f"{told} Not sure: {unsure}. The interval reaches below what is asked for."
    return StudyFinding(outcome=TOO_LITTLE, because=told, numbers=numbers)


def judge_later(evidence: StudyEvidence) -> StudyFinding:
    """The same images inverted after each of two second halves, image by image."""
    seeds = evidence.seeds_of(*((cell, ReportInversion) for cell in SAME_OR_LARGER))
    same, larger = (evidence.of(cell, ReportInversion, seeds) for cell in SAME_OR_LARGER)
    details, whole, wrong, *_ = numbers = _later_numbers(same, larger)
    told = (
        f"With the larger discriminator the mean wrong share of high frequencies changed by {details.text}, the "
        f"squared error by {whole.text}."
    )
    pair = " This is one pair of runs: another seed may say otherwise." if len(same) == 1 else ""
    if details.is_surely(below=0.0) and whole.is_surely(above=0.0):
        on = "what counts: high frequencies got better, the whole image worse"
        return StudyFinding(outcome=DEPENDS, because=told + pair, depends_on=on, numbers=numbers)
    if details.is_surely(below=0.0):
        return StudyFinding(outcome=CONFIRMED, because=told + pair, numbers=numbers)
    if details.is_surely(above=0.0):
        return StudyFinding(outcome=REFUTED, because=f"{told} It got worse.{pair}", numbers=numbers)
    margin = LITTLE * wrong.mean
    if details.is_surely(above=-margin, below=margin):
        because = f"{told} That is less than a tenth of what is wrong, whichever way.{pair}"
        return StudyFinding(outcome=REFUTED, because=because, numbers=numbers)
    return StudyFinding(
        outcome=TOO_LITTLE,
        because=(
            f"{told} That is within chance of none, and not surely less than {shown(margin)}, a tenth of what is "
            f"wrong.{pair}"
        ),
        numbers=numbers,
    )


def _later_numbers(same: Sequence[ReportInversion], larger: Sequence[ReportInversion]) -> tuple[StudyNumber, ...]:
    """By how much details and the whole changed, what is wrong with details, and both errors."""
    pairs = list(zip(same, larger, strict=True))
    high = [[[pair[1] for pair in one.bands_of] for one in both] for both in pairs]
    return (
        mean_of(
            "share of high frequencies that is wrong: larger D less same D",
            [[b - a for a, b in zip(*both, strict=True)] for both in high],
            SAME_OR_LARGER,
        ),
        mean_of(
            "squared error: larger D less same D",
            [[b - a for a, b in zip(x.error, y.error, strict=True)] for x, y in pairs],
            SAME_OR_LARGER,
        ),
        mean_of(
            "later-same: share of high frequencies that is wrong", [first for first, _ in high], SAME_OR_LARGER[:1]
        ),
        *(
            mean_of(f"{cell}: squared error", [each.error for each in found], [cell])
            for cell, found in zip(SAME_OR_LARGER, (same, larger), strict=True)
        ),
    )


def _by_place(found: Sequence[InversionErrors]) -> tuple[StudyNumber, StudyNumber, tuple[StudyNumber, StudyNumber]]:
    """Errors at edges and at corners over those in even places, and the same of the mean image.

    Images may be black in even places, where no answer is far off: only more than the mean image's ratios says that
    edges were missed.
    """

    def over(title: str, names: tuple[str, str]) -> StudyNumber:
        seeds = [_pairs(*(getattr(each, name) for name in names)) for each in found]
        return _ratios(f"{title} over that in even places", seeds)

    return (
        over("error at edges", ("at_edges", "elsewhere")),
        over("error at corners", ("at_corners", "elsewhere")),
        (
            over("the mean image: error at edges", ("constant_at_edges", "constant_elsewhere")),
            over("the mean image: error at corners", ("constant_at_corners", "constant_elsewhere")),
        ),
    )


def _recovered(found: Sequence[InversionErrors]) -> StudyNumber:
    lost = [ratio_of_sums(_pairs(e.error, e.constant_error), "the error of the mean image") for e in found]
    return StudyNumber(
        title="variance around the mean image that is recovered",
        cells=(OWN,),
        values=tuple(1 - share for share, _ in lost),
        errors=tuple(error for _, error in lost),
    )


def _pairs(first: Sequence[float], second: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(first, second, strict=True))


def _ratios(title: str, seeds: Sequence[Sequence[tuple[float, float]]]) -> StudyNumber:
    """Ratio of two sums over images, with the standard error of a ratio estimator in each seed."""
    found = []
    for pairs in seeds:
        known = [(a, b) for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
        if not known:
            raise NotMeasuredError("no image has edges, corners and even places")
        found.append(ratio_of_sums(known, "what errors are compared with"))
    values, errors = zip(*found, strict=True)
    return StudyNumber(title=title, cells=(OWN,), values=values, errors=errors)


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
        number_of(
            f"wrong share of the power from {low:g} to {high:g} cycles a pixel",
            [each.bands[i] for each in found],
            [OWN],
            is_positive=True,
        )
        for i, (low, high) in enumerate(pairwise((0.0, *limits)))
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
        'Confirmed if 80 % of the variance around the mean image is recovered (our bound for "almost exactly"), the '
        "ratios of errors at edges and at corners to those in even places are each surely above the mean image's own "
        "ratio, and the ratio of wrong shares, high over low frequencies, is surely above 2."
    ),
    needs=((OWN, ReportInversion), (OWN, TrainingCurves)),
    judge=judge_inversion,
    trained=(OWN,),
    advice={
        "": (
            'Search better first (`genprior invert`): "Whose limits were they?" below tells what that is worth, and '
            "what training is."
        ),
        TOO_LITTLE: (
            "Only more held-out images decide it: more seeds invert the same ones. After a demo train longer first: "
            "`--size lesson`."
        ),
    },
    figures=(
        StripsOf(
            "Inverted",
            OWN,
            ReportInversion,
            {"image": "truth", "inverted": "inverted"},
            "Held-out images above, inverted below.",
        ),
        IntervalsOf(
            "What is wrong, by frequency",
            "power of the residual over that of the image",
            "wrong share of the power from (.*) cycles a pixel",
            "Cycles a pixel, from coarse to fine. At 1 nothing of these frequencies is recovered.",
        ),
        IntervalsOf(
            "What is wrong, by place",
            "error over that in even places",
            "(the mean image: error at edges|the mean image: error at corners|error at edges|error at corners)"
            " over that in even places",
            "Edges and corners are missed where inversion exceeds the mean image, which knows neither.",
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
        "is wrong, and the squared error is not surely larger; not confirmed if surely more is, or if the change is "
        "surely less than a tenth."
    ),
    needs=(
        ("later-same", ReportInversion),
        ("later-larger", ReportInversion),
        (OWN, TrainingCurves),
    ),
    judge=judge_later,
    trained=(OWN,),
    is_contest=True,
    advice={"": '"Whose limits were they?" below tells what details depend on.'},
    figures=(
        *(
            StripsOf(
                f"Inverted, {which} later",
                cell,
                ReportInversion,
                {"image": "truth", "inverted": "inverted"},
                "Held-out images above, inverted below.",
            )
            for cell, which in (("later-same", "a D of the same size"), ("later-larger", "a larger D"))
        ),
    ),
)
