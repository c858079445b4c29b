"""What the report could not know: other recipes and families on the same questions. Imports no torch."""

from collections.abc import Sequence

from genprior.study.measured_models import DefaultInversion, PriorScores, ReportInversion, SampleQuality, TrainingCurves
from genprior.study.sample_numbers import way_covered
from genprior.study.study_evidence import (
    OWN,
    NotMeasuredError,
    StripsOf,
    StudyEvidence,
    StudyStatement,
    TheoryLine,
    ratio,
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
)

PRIORS = (OWN, "recipe", "glo", "vae", "mixture", "flow")
EXACT = ("mixture", "flow")  # codes with as many numbers as an image: they invert all images, real ones or not
QUESTIONS = {
    "inversion": ("squared error of inversion", ""),
    "denoising": ("PSNR of denoising", "dB"),
    "filling": ("PSNR of filling in", "dB"),
}
_FILLED = {"image": "truth", "seen": "seen", "filled in": "hole", "inverted": "inverted"}


def judge_recipe(evidence: StudyEvidence) -> StudyFinding:
    """Fréchet distances of the default recipe and of the report's game."""
    seeds = evidence.seeds_of(("recipe", SampleQuality), (OWN, SampleQuality))
    ours, theirs = (evidence.of(cell, SampleQuality, seeds) for cell in ("recipe", OWN))
    ratios = [ratio(a.distance, b.distance, "the report's distance") for a, b in zip(ours, theirs, strict=True)]
    numbers = (
        number_of("Fréchet distance: recipe over report", ratios, ["recipe", OWN]),
        number_of("recipe: Fréchet distance", [each.distance for each in ours], ["recipe"], "features²"),
        number_of("report: Fréchet distance", [each.distance for each in theirs], [OWN], "features²"),
        number_of("recipe: share of the way to real images", [way_covered(each) for each in ours], ["recipe"]),
    )
    told = f"Its distance is {numbers[0].text} times the report's. Budgets differ: see the table of runs."
    if all(ratio < 1 for ratio in ratios):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if all(ratio >= 1 for ratio in ratios):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    return StudyFinding(outcome=DEPENDS, because=told, depends_on="the seed", numbers=numbers)


def judge_priors(evidence: StudyEvidence) -> StudyFinding:
    """Whether the report's GAN is the best prior for any of three questions."""
    found = {cell: seeds for cell in PRIORS if (seeds := _known(evidence, cell))}
    if OWN not in found or len(found) < 2:
        raise NotMeasuredError("the report's GAN and another prior are needed")
    numbers: list[StudyNumber] = []
    winners, is_beaten = {}, []
    for name, (title, unit) in QUESTIONS.items():
        sign = -1 if name == "inversion" else 1
        scores = {cell: [_scores(one, name) for one in seeds] for cell, seeds in found.items()}
        each = {cell: mean_of(f"{title}, {cell}", values, [cell], unit) for cell, values in scores.items()}
        rivals = [cell for cell in each if name != "inversion" or cell not in EXACT]
        best = max(rivals, key=lambda cell: sign * each[cell].mean)
        both = evidence.seeds_of((best, PriorScores), (OWN, PriorScores))
        gain = _gain(*([_scores(one, name) for one in evidence.of(cell, PriorScores, both)] for cell in (best, OWN)))
        ahead = mean_of(f"{title}: {best} less the report's", gain, [best, OWN], unit)
        winners[name] = best
        is_beaten.append(ahead.is_surely(above=0.0) if sign > 0 else ahead.is_surely(below=0.0))
        numbers += [*each.values(), *([] if best == OWN else [ahead])]
    told = f"Best at {', at '.join(f'{name}: {cell}' for name, cell in winners.items())}."
    if set(winners.values()) == {OWN}:
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=tuple(numbers))
    if not any(is_beaten):
        told = f"{told} Its lead over the report's GAN is within chance."
        return StudyFinding(outcome=TOO_LITTLE, because=told, numbers=tuple(numbers))
    if all(is_beaten):
        return StudyFinding(outcome=REFUTED, because=told, numbers=tuple(numbers))
    return StudyFinding(outcome=DEPENDS, because=told, depends_on="the question", numbers=tuple(numbers))


def _gain(ours: list[Sequence[float]], theirs: list[Sequence[float]]) -> list[list[float]]:
    """Differences image by image, for each seed."""
    return [[a - b for a, b in zip(*both, strict=True)] for both in zip(ours, theirs, strict=True)]


def judge_limits(evidence: StudyEvidence) -> StudyFinding:
    """How much of the error of inversion another search takes away, another training, another family."""
    cells = (OWN, "recipe", "glo")
    seeds = evidence.seeds_of((OWN, ReportInversion), *((cell, DefaultInversion) for cell in cells))
    report = evidence.of(OWN, ReportInversion, seeds)
    searched, retrained, other = (evidence.of(cell, DefaultInversion, seeds) for cell in cells)
    whole = [_mean(each.error) for each in report]
    steps = {
        "the search": [a - _mean(b.error) for a, b in zip(whole, searched, strict=True)],
        "the training": [_mean(a.error) - _mean(b.error) for a, b in zip(searched, retrained, strict=True)],
        "the adversarial loss": [_mean(a.error) - _mean(b.error) for a, b in zip(retrained, other, strict=True)],
    }
    runs = {"the search": [OWN], "the training": [OWN, "recipe"], "the adversarial loss": ["recipe", "glo"]}
    numbers = tuple(
        number_of(
            f"share of the error that {name} explains",
            [ratio(value, all_, "the report's error") for value, all_ in zip(values, whole, strict=True)],
            runs[name],
        )
        for name, values in steps.items()
    )
    largest = max(numbers, key=lambda number: number.mean)
    who = largest.title.removeprefix("share of the error that ").removesuffix(" explains")
    shares = ", ".join(f"{name} {100 * number.mean:.0f} %" for name, number in zip(steps, numbers, strict=True))
    told = f"Of the report's error of inversion, replacing one after another takes away: {shares}."
    if largest.mean <= 0:
        return StudyFinding(outcome=TOO_LITTLE, because=f"{told} Nothing helped here.", numbers=numbers)
    if who == "the training":
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if numbers[1].mean > 0:
        on = f"what else is changed: {who} explains more than the training does"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)


def _known(evidence: StudyEvidence, cell: str) -> list[PriorScores]:
    try:
        return evidence.of(cell, PriorScores)
    except NotMeasuredError:
        return []


def _scores(found: PriorScores, question: str) -> Sequence[float]:
    return {"inversion": found.inversion, "denoising": found.denoising, "filling": found.filling}[question]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


RECIPE = StudyStatement(
    title="The default recipe",
    claim="A discriminator whose slope is penalised (R1), without batch normalisation, makes better digits.",
    theory=(TheoryLine("R1 adds to D's loss at real images", "frac{gamma}{2} E || nabla_x D(x) ||^2"),),
    experiment=(
        "The default preset of genprior beside the report's game, by Fréchet distance. Confirmed if it is "
        "lower in each seed."
    ),
    needs=(
        ("recipe", SampleQuality),
        (OWN, SampleQuality),
        (OWN, TrainingCurves),
        ("recipe", TrainingCurves),
    ),
    judge=judge_recipe,
    trained=(OWN, "recipe"),
    is_contest=True,
    advice={
        "": "Train with the default preset; it is what `genprior train gan` does when nothing is said.",
        REFUTED: (
            "A small budget favours the report's larger steps: give the recipe its own budget before you judge it."
        ),
    },
    figures=(
        StripsOf(
            "Samples",
            "recipe",
            SampleQuality,
            {"samples": "samples", "real": "real"},
            "Samples of the default recipe, real images.",
        ),
    ),
    is_beyond=True,
)


PRIORS_COMPARED = StudyStatement(
    title="Other priors",
    claim="The report's GAN is the best prior for inversion, denoising and filling in.",
    theory=(
        TheoryLine(
            "A latent prior searches z; a mixture has the posterior in closed form; flow matching "
            "denoises and guides draws."
        ),
        TheoryLine(
            "Codes of a mixture and of flow matching have as many numbers as the image: they invert noise, too, and "
            "are no rivals at inversion."
        ),
    ),
    experiment=(
        "The same held-out images and questions for six priors, each with its default solver. Confirmed if "
        "the report's GAN is best in all three, refuted if it is surely beaten in all three. Budgets differ: see the "
        "table of runs."
    ),
    needs=(*((cell, PriorScores) for cell in PRIORS), (OWN, TrainingCurves)),
    judge=judge_priors,
    trained=(OWN,),
    advice={
        "": (
            "Choose the prior by the question: `genprior compare` asks them of your own runs, `genprior train "
            "auto` tries families."
        )
    },
    figures=tuple(
        StripsOf(f"Restored by {cell}", cell, PriorScores, _FILLED, "A hole, filled in; and inversion.")
        for cell in PRIORS
    ),
    is_beyond=True,
)


LIMITS = StudyStatement(
    title="Whose limits were they?",
    claim="The missed details come from training, where D looked at coarse features only, as the report supposes.",
    theory=(
        TheoryLine(
            "The error of inversion is what the range of G leaves, and what the search leaves:",
            "|| G(z) - x ||^2 = min_z || G(z) - x ||^2 + epsilon",
        ),
    ),
    experiment=(
        "The same images inverted after replacing one thing after another: the search (default instead of "
        "the report's), "
        "the training (default recipe), the adversarial loss (GLO). Confirmed if the training explains most. "
        "Budgets differ: see the table of runs."
    ),
    needs=(
        (OWN, ReportInversion),
        (OWN, DefaultInversion),
        (OWN, TrainingCurves),
        ("recipe", DefaultInversion),
        ("glo", DefaultInversion),
    ),
    judge=judge_limits,
    trained=(OWN,),
    advice={"": "Change first what explains most. A search costs seconds, a training minutes."},
    is_beyond=True,
)
