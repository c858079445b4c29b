"""How near samples come to real images: what statements on training share. Imports no torch.

Bounds were set by looking at samples, before the studies that are published: at 0.98 of the way hardly one in ten has a
broken stroke, at 0.95 most are digits. The distance over that of held-out images, which stands beside every verdict,
needs no bound.
"""

from collections.abc import Sequence

from genprior.study.measured_models import SampleQuality
from genprior.study.study_evidence import StudyEvidence, ratio
from genprior.study.study_results import CONFIRMED, DEPENDS, REFUTED, TOO_LITTLE, StudyFinding, StudyNumber, number_of

GOOD, DECENT, NOISE = 0.98, 0.95, 0.5  # shares of the way from an untrained generator to held-out images
VARIED, HALF = 0.2, 0.5  # of the variance of real images; of the classes
LOSS_PICTURES = {"samples": "samples", "real": "real"}
SAMPLES_READ = "Above samples of the averaged weights, below real images."


def way_covered(quality: SampleQuality) -> float:
    """Returns the share of the way from the untrained generator to held-out images, by Fréchet distance.

    Raises:
        NotMeasuredError: There is no way: the untrained generator is as near as held-out images, or not known.
    """
    way = "the way from the untrained generator to held-out images"
    return 1 - ratio(quality.distance - quality.floor, quality.untrained - quality.floor, way)


def quality_numbers(evidence: StudyEvidence, cell: str) -> tuple[StudyNumber, ...]:
    """Returns what stands beside every verdict on samples of a cell."""
    found = evidence.of(cell, SampleQuality)
    numbers = [
        number_of(f"{cell}: share of the way to real images", [way_covered(each) for each in found], [cell]),
        number_of(
            f"{cell}: Fréchet distance", [each.distance for each in found], [cell], "features²", is_positive=True
        ),
        number_of(
            f"{cell}: Fréchet distance of as many held-out images",
            [each.floor for each in found],
            [cell],
            "features²",
            is_positive=True,
        ),
        number_of(
            f"{cell}: distance over that of held-out images",
            [ratio(each.distance, each.floor, "the distance of held-out images") for each in found],
            [cell],
            is_positive=True,
        ),
        number_of(
            f"{cell}: variance over that of real images", [each.diversity for each in found], [cell], is_positive=True
        ),
    ]
    if found[0].of:
        title, classes = f"{cell}: classes of {found[0].of}", [each.modes for each in found]
        numbers.append(number_of(title, classes, [cell], is_positive=True))
    return tuple(numbers)


def has_collapsed(quality: SampleQuality) -> bool:
    """Returns whether samples are alike, or hold half of the classes or fewer."""
    return quality.diversity < VARIED or (quality.of > 0 and quality.modes <= HALF * quality.of)


def judged_samples(evidence: StudyEvidence, cell: str, least: float) -> StudyFinding:
    """Returns whether samples came so far, with all classes; never confirmed where there are no classes.

    Without labels the judge learned features that blurred blobs pass: of emoji they came 98.8 % of the way.
    """
    quality, numbers = evidence.of(cell, SampleQuality), quality_numbers(evidence, cell)
    covered = [way_covered(each) for each in quality]
    right = [share >= least and each.modes == each.of for share, each in zip(covered, quality, strict=True)]
    held = f", and hold {span_of([each.modes for each in quality])} of {quality[0].of} classes" if quality[0].of else ""
    told = f"{way_told(quality)}{held}; {100 * least:.0f} % and all classes are asked for."
    if any(right) and not quality[0].of:
        blind = f"{told} These images have no labels, and features learned without any let blurred samples pass: look."
        return StudyFinding(outcome=TOO_LITTLE, because=blind, numbers=numbers)
    if all(right):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if any(right):
        return StudyFinding(outcome=DEPENDS, because=told, depends_on="the seed", numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)


def way_told(found: Sequence[SampleQuality]) -> str:
    """Returns how far samples came, in words."""
    covered = [way_covered(each) for each in found]
    if max(covered) >= 0:
        return f"Samples came {percents([max(0.0, each) for each in covered])} of the way to real images"
    far, first = (span_of([getattr(each, name) for each in found]) for name in ("distance", "untrained"))
    return f"Samples are no nearer to real images than an untrained generator's (distance {far}, untrained {first})"


def percents(shares: list[float]) -> str:
    return f"{span_of([100 * share for share in shares])} %"


def span_of(values: list[float] | list[int]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"
