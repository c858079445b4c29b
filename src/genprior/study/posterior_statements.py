"""Statements on images that several digits explain, and on the probabilities of these. Imports no torch."""

from collections.abc import Sequence

from genprior.study.measured_models import ClassProbabilities
from genprior.study.study_evidence import (
    PRIOR_NAMES,
    IntervalsOf,
    NotMeasuredError,
    StripsOf,
    StudyEvidence,
    StudyStatement,
    TheoryLine,
)
from genprior.study.study_results import (
    CONFIRMED,
    DEPENDS,
    REFUTED,
    TOO_LITTLE,
    StudyFinding,
    StudyNumber,
    mean_of,
    percent,
    share_of,
)

POSTERIORS = ("mixture", "flow")
TRUE = 0.1  # by which probabilities may be off and count as true
BINS = {"below 0.6": (0.0, 0.6), "from 0.6 to 0.9": (0.6, 0.9), "above 0.9": (0.9, 1.01)}
SURE = 0.9  # share of draws of one class, below which an image is ambiguous
SOME = 0.05  # of the images: fewer ambiguous ones are none worth the name


def judge_ambiguous(evidence: StudyEvidence) -> StudyFinding:
    """Shares of images whose draws are of several classes."""
    found = _posteriors(evidence)
    numbers = [
        share_of(
            f"{PRIOR_NAMES[cell]}: share of ambiguous images",
            [[float(max(p) < SURE) for p in each.probabilities] for each in seeds],
            [cell],
        )
        for cell, seeds in found.items()
    ]
    examples = [f"{each} by {PRIOR_NAMES[cell]}" for cell, seeds in found.items() for each in _pairs(seeds[0])[:2]]
    named = f" Such as, in the first seed: {'; '.join(examples)}." if examples else ""
    told = ", ".join(f"{PRIOR_NAMES[cell]} {number.text}" for cell, number in zip(found, numbers, strict=True))
    because = f"Share of images whose draws are of one class in less than 90 %: {told}.{named}"
    sure = [number.is_surely(above=SOME) for number in numbers]
    if all(sure):
        return StudyFinding(outcome=CONFIRMED, because=because, numbers=tuple(numbers))
    if all(number.is_surely(below=SOME) for number in numbers):
        return StudyFinding(outcome=REFUTED, because=because, numbers=tuple(numbers))
    if any(sure):
        who = " and ".join(PRIOR_NAMES[cell] for cell, is_sure in zip(found, sure, strict=True) if is_sure)
        on = (
            f"the prior: by {who} surely, by the other not. One of them is wrong: the truth has one share. A prior "
            "that is trained too briefly draws what is no digit, which counts as ambiguous"
        )
        return StudyFinding(outcome=DEPENDS, because=because, depends_on=on, numbers=tuple(numbers))
    because = f"{because} That is within chance of few or none."
    return StudyFinding(outcome=TOO_LITTLE, because=because, numbers=tuple(numbers))


def judge_probabilities(evidence: StudyEvidence) -> StudyFinding:
    """How often draws agree with each other, and with the truth: where it is one more draw, equally often."""
    found = _posteriors(evidence)
    gaps = [
        mean_of(
            f"{PRIOR_NAMES[cell]}: how often two draws agree less how often a draw and the truth do",
            [_gaps(each, evidence.draws) for each in seeds],
            [cell],
        )
        for cell, seeds in found.items()
    ]
    truth = [
        share_of(
            f"{PRIOR_NAMES[cell]}: probability of the true digit",
            [[p[t] for p, t in zip(each.probabilities, each.truth, strict=True)] for each in seeds],
            [cell],
        )
        for cell, seeds in found.items()
    ]
    numbers = (*gaps, *truth, *(each for cell, seeds in found.items() for each in _held(cell, seeds)))
    told = ", ".join(f"{PRIOR_NAMES[cell]} {gap.text}" for cell, gap in zip(found, gaps, strict=True))
    because = f"How often two draws name the same digit less how often a draw names the true one: {told}."
    if len(found[next(iter(found))][0].truth) < 20:
        return StudyFinding(
            outcome=TOO_LITTLE, because=f"{because} Fewer than 20 images can refute little.", numbers=numbers
        )
    true = [gap.is_surely(above=-TRUE, below=TRUE) for gap in gaps]
    off = [gap.is_surely(above=TRUE) or gap.is_surely(below=-TRUE) for gap in gaps]
    if all(true):
        return StudyFinding(outcome=CONFIRMED, because=because, numbers=numbers)
    if not any(off):
        because = f"{because} None is surely off by more than {TRUE:g}, and not all are surely off by less."
        return StudyFinding(outcome=TOO_LITTLE, because=because, numbers=numbers)
    if not any(true):
        return StudyFinding(outcome=REFUTED, because=because, numbers=numbers)
    who = " and ".join(PRIOR_NAMES[cell] for cell, is_off in zip(found, off, strict=True) if is_off)
    on = f"the prior: {who} is surely off"
    return StudyFinding(outcome=DEPENDS, because=because, depends_on=on, numbers=numbers)


def _held(cell: str, seeds: Sequence[ClassProbabilities]) -> list[StudyNumber]:
    """What the likeliest digit's probability promises, and how often it is right.

    By that probability, in bins that hold two images or more in each seed.
    """
    numbers = []
    for name, (low, high) in BINS.items():
        within = [[two for two in _likeliest(each) if low <= two[0] < high] for each in seeds]
        if min(map(len, within)) > 1:
            where = f"where the likeliest digit has {name} ({', '.join(str(len(each)) for each in within)} images)"
            for what, place in (("promised", 0), ("right", 1)):
                values = [[two[place] for two in each] for each in within]
                numbers.append(share_of(f"{PRIOR_NAMES[cell]}: {what}, {where}", values, [cell]))
    return numbers


def _posteriors(evidence: StudyEvidence) -> dict[str, list[ClassProbabilities]]:
    """Of those families whose draws could be named."""
    if not evidence.has_digits:
        raise NotMeasuredError("these data have no digits to be ambiguous about")
    found = {cell: [e for e in evidence.of(cell, ClassProbabilities) if e.probabilities] for cell in POSTERIORS}
    known = {cell: each for cell, each in found.items() if each}
    if not known:
        raise NotMeasuredError("no judge names the classes of draws")
    return known


def _pairs(found: ClassProbabilities) -> list[str]:
    """The two likeliest classes of ambiguous images, the most even ones first."""
    ranked = sorted(
        (sorted(((p, c) for c, p in enumerate(each)), reverse=True)[:2] for each in found.probabilities),
        key=lambda two: two[0][0],
    )
    return [f"{a[1]} ({percent(a[0])}) or {b[1]} ({percent(b[0])})" for a, b in ranked if a[0] < SURE]


def _gaps(found: ClassProbabilities, draws: int) -> list[float]:
    """Of each image the share of pairs of different draws that agree, less the share of draws that name the truth.

    Both are unbiased, however few draws there are; the share of the likeliest digit is too large, as the same draws
    choose it.
    """
    each = zip(found.probabilities, found.truth, strict=True)
    return [(draws * sum(share**2 for share in p) - 1) / (draws - 1) - p[truth] for p, truth in each]


def _likeliest(found: ClassProbabilities) -> list[tuple[float, float]]:
    """Of each image the probability of its likeliest digit, and whether that is right: 1 or 0."""
    each = zip(found.probabilities, found.truth, strict=True)
    return [(max(p), float(p.index(max(p)) == truth)) for p, truth in each]


AMBIGUOUS = StudyStatement(
    title="7, 9 or 1?",
    claim="Some damaged images are truly ambiguous: several digits explain them.",
    theory=(
        TheoryLine("A posterior says how probable each answer is:", "P(c | y) = ∫ P(c | x) p(x | y) dx"),
        TheoryLine("which draws estimate: the share of them that a classifier calls c."),
    ),
    experiment=(
        "The lower half is hidden; a mixture (exact posterior) and flow matching (guided draws) draw images, and a "
        "classifier names them. Confirmed if by each prior surely more than 5 % of images have no class with 90 % of "
        "the draws; it depends if by one; not confirmed if by each surely less. Of images "
        "whose likeliest class has 95 %, one in thirteen has less than 90 % of 32 draws by chance, and counts; "
        "with 8 draws one in three."
    ),
    needs=tuple((cell, ClassProbabilities) for cell in POSTERIORS),
    judge=judge_ambiguous,
    is_of_priors=True,
    advice={"": "Report probabilities, not one image: `genprior restore --draws 64 --candidates 4`."},
    figures=tuple(
        StripsOf(
            f"Draws of {PRIOR_NAMES[cell]}, the most ambiguous images first",
            cell,
            ClassProbabilities,
            {"image": "truth", "seen": "seen", **{f"draw {i + 1}": f"draws/{i}" for i in range(3)}},
            "Three draws of each posterior.",
        )
        for cell in POSTERIORS
    ),
)


PROBABILITIES = StudyStatement(
    title="True probabilities",
    claim="The probabilities of digits that posterior draws give are true: of answers given 80 %, 80 % hold.",
    theory=(
        TheoryLine("Calibrated:", "P(c = c_{true} | P(c | y) = q) = q"),
        TheoryLine(
            "Then the truth is one more draw, and a draw agrees with it as often as with another draw:",
            "E[P(c_{true} | y)] = E[sum_c P(c | y)^2]",
        ),
    ),
    experiment=(
        "How often two draws of an image are called the same digit, against how often a draw is called as the whole "
        "image is. Confirmed if for each prior the mean difference is surely within 0.1; not confirmed if it is surely "
        "beyond 0.1 for one and surely within for none; it depends if for one each. This tests the mean: too sure and "
        "too modest answers cancel, see the rows by level."
    ),
    needs=tuple((cell, ClassProbabilities) for cell in POSTERIORS),
    judge=judge_probabilities,
    is_of_priors=True,
    advice={"": "Check before you trust: `genprior calibrate` tests posteriors and widens what is too sure."},
    figures=(
        IntervalsOf(
            "Promised and right",
            "share of the images",
            r"(.*), where the likeliest digit has (.*) \(.*",
            "Two rows belong together: the probability that draws gave the likeliest digit; how often it was right. "
            "The draws choose it themselves, so what they promise is a little too high.",
        ),
    ),
    is_beyond=True,
)
