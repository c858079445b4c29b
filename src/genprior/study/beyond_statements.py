"""What the report could not know: other recipes and families on the same questions. Imports no torch."""

from collections.abc import Sequence

from genprior.study.measured_models import (
    DefaultInversion,
    InversionErrors,
    PriorScores,
    ReportInversion,
    SampleQuality,
    TrainingCurves,
)
from genprior.study.sample_numbers import SAMPLES_READ, way_covered
from genprior.study.study_evidence import (
    LITTLE,
    OWN,
    PRIOR_NAMES,
    FigureOf,
    IntervalsOf,
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

SHORT_CODES = "At inversion only priors whose codes are shorter than images are compared."
EXACT = ("mixture", "flow")  # codes with as many numbers as an image: they invert all images, real ones or not
QUESTIONS = {
    "inversion": ("squared error of inversion by the default search", ""),
    "denoising": ("PSNR of denoising, noise of 0.3", "dB"),
    "filling": ("PSNR of filling in", "dB"),
}
_FILLED = {"image": "truth", "seen": "seen", "filled in": "hole", "inverted": "inverted"}


def judge_recipe(evidence: StudyEvidence) -> StudyFinding:
    """Fréchet distances of the default recipe and of the report's game."""
    cells = "recipe", OWN
    seeds = evidence.seeds_of(*((cell, kind) for cell in cells for kind in (SampleQuality, TrainingCurves)))
    ours, theirs = (evidence.of(cell, SampleQuality, seeds) for cell in cells)
    curves = [evidence.of(cell, TrainingCurves, seeds) for cell in cells]
    ratios = [ratio(a.distance, b.distance, "the report's distance") for a, b in zip(ours, theirs, strict=True)]
    updates = [a.steps / b.steps for a, b in zip(*curves, strict=True)]
    images = [sum(one.images[-1] for one in each) for each in curves]
    seen = images[0] / images[1]
    numbers = (
        number_of("Fréchet distance: recipe over report", ratios, ["recipe", OWN]),
        number_of("updates of the generator: recipe over report", updates, ["recipe", OWN]),
        *(
            number_of(f"{who}: Fréchet distance", [one.distance for one in of], [cell], "features²", is_positive=True)
            for who, of, cell in (("recipe", ours, "recipe"), ("report", theirs, OWN))
        ),
        number_of("recipe: share of the way to real images", [way_covered(each) for each in ours], ["recipe"]),
    )
    told = (
        f"Its distance is {numbers[0].text} times the report's, after {numbers[1].text} times as many updates and "
        f"{seen:.1f} times as many images, with other step sizes and batches: this compares whole recipes, not the "
        "penalty alone."
    )
    if all(ratio < 1 for ratio in ratios):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if all(ratio >= 1 for ratio in ratios):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    return StudyFinding(outcome=DEPENDS, because=told, depends_on="the seed", numbers=numbers)


def judge_priors(evidence: StudyEvidence) -> StudyFinding:
    """Whether the report's GAN is the best prior for any of three questions."""
    found = {cell: seeds for cell in PRIOR_NAMES if (seeds := _known(evidence, cell))}
    if OWN not in found or len(found) < 2:
        raise NotMeasuredError("the report's GAN and another prior are needed")
    numbers: list[StudyNumber] = []
    winners, is_beaten = {}, []
    for name, (title, unit) in QUESTIONS.items():
        sign = -1 if name == "inversion" else 1
        scores = {cell: [_scores(one, name) for one in seeds] for cell, seeds in found.items()}
        each = {cell: mean_of(f"{title}, {PRIOR_NAMES[cell]}", values, [cell], unit) for cell, values in scores.items()}
        rivals = [cell for cell in each if name != "inversion" or cell not in EXACT]
        best = max(rivals, key=lambda cell: sign * each[cell].mean)
        both = evidence.seeds_of((best, PriorScores), (OWN, PriorScores))
        gain = _gain(*([_scores(one, name) for one in evidence.of(cell, PriorScores, both)] for cell in (best, OWN)))
        ahead = mean_of(f"{title}: {PRIOR_NAMES[best]} less the report's GAN", gain, [best, OWN], unit)
        winners[name] = best
        is_beaten.append(ahead.is_surely(above=0.0) if sign > 0 else ahead.is_surely(below=0.0))
        numbers += [*each.values(), *([] if best == OWN else [ahead])]
    told = f"Best {', '.join(f'at {name}: {PRIOR_NAMES[cell]}' for name, cell in winners.items())}. {SHORT_CODES}"
    if set(winners.values()) == {OWN}:
        return _report_best(evidence, list(found), numbers, told)
    if not any(is_beaten):
        told = f"{told} Its lead over the report's GAN is within chance."
        return StudyFinding(outcome=TOO_LITTLE, because=told, numbers=tuple(numbers))
    if all(is_beaten):
        return StudyFinding(outcome=REFUTED, because=told, numbers=tuple(numbers))
    return StudyFinding(outcome=DEPENDS, because=told, depends_on="the question", numbers=tuple(numbers))


def _report_best(evidence: StudyEvidence, cells: list[str], numbers: list[StudyNumber], told: str) -> StudyFinding:
    """Confirmed where its lead over each other prior is sure."""
    is_ahead = []
    for name in QUESTIONS:
        for cell in cells:
            if cell == OWN or (name == "inversion" and cell in EXACT):
                continue
            both = evidence.seeds_of((cell, PriorScores), (OWN, PriorScores))
            pair = ([_scores(one, name) for one in evidence.of(each, PriorScores, both)] for each in (cell, OWN))
            lead = mean_of("", _gain(*pair), [cell])
            is_ahead.append(lead.is_surely(above=0.0) if name == "inversion" else lead.is_surely(below=0.0))
    outcome = CONFIRMED if all(is_ahead) else TOO_LITTLE
    more = "" if all(is_ahead) else " Its lead over the others is within chance."
    return StudyFinding(outcome=outcome, because=told + more, numbers=tuple(numbers))


def _gain(ours: list[Sequence[float]], theirs: list[Sequence[float]]) -> list[list[float]]:
    """Differences image by image, for each seed."""
    return [[a - b for a, b in zip(*both, strict=True)] for both in zip(ours, theirs, strict=True)]


def judge_limits(evidence: StudyEvidence) -> StudyFinding:
    """How much of what is wrong with details another search takes away, another training, another family."""
    cells = (OWN, "recipe", "glo")
    seeds = evidence.seeds_of((OWN, ReportInversion), *((cell, DefaultInversion) for cell in cells))
    report = evidence.of(OWN, ReportInversion, seeds)
    searched, retrained, other = (evidence.of(cell, DefaultInversion, seeds) for cell in cells)
    steps: dict[str, tuple[Sequence[InversionErrors], Sequence[InversionErrors], list[str]]] = {
        "the search": (report, searched, [OWN]),
        "the training": (searched, retrained, [OWN, "recipe"]),
        "the adversarial loss": (retrained, other, ["recipe", "glo"]),
    }
    first = mean_of("wrong share of high frequencies, as the report inverts", [_details(one) for one in report], [OWN])
    taken = {
        name: mean_of(f"taken away from it by replacing {name}", _gain(_all_details(a), _all_details(b)), runs)
        for name, (a, b, runs) in steps.items()
    }
    last = mean_of("what is left of it", [_details(one) for one in other], ["glo"])
    numbers = (first, *taken.values(), last)
    told = (
        f"The mean wrong share of high frequencies is {first.text}. Replacing one after another takes away: "
        f"{', '.join(f'{name} {number.text}' for name, number in taken.items())}. The order matters: what is replaced "
        "first may take what a later one would have taken."
    )
    training, others = taken["the training"], [number for name, number in taken.items() if name != "the training"]
    if training.is_surely(below=LITTLE * first.mean):
        return StudyFinding(outcome=REFUTED, because=told, numbers=numbers)
    if training.mean > max(number.mean for number in others) and training.is_surely(above=0.0):
        return StudyFinding(outcome=CONFIRMED, because=told, numbers=numbers)
    if training.is_surely(above=0.0):
        on = "what else is changed: the training helps surely, and another change helps more"
        return StudyFinding(outcome=DEPENDS, because=told, depends_on=on, numbers=numbers)
    if not any(number.is_surely(above=0.0) for number in taken.values()):
        return StudyFinding(outcome=TOO_LITTLE, because=f"{told} Nothing surely helped.", numbers=numbers)
    return StudyFinding(outcome=TOO_LITTLE, because=f"{told} The training's part is within chance.", numbers=numbers)


def _details(found: InversionErrors) -> list[float]:
    """The wrong share of the power at high frequencies, of each image."""
    return [high for _, high in found.bands_of]


def _all_details(found: Sequence[InversionErrors]) -> list[Sequence[float]]:
    return [_details(one) for one in found]


def _known(evidence: StudyEvidence, cell: str) -> list[PriorScores]:
    try:
        return evidence.of(cell, PriorScores)
    except NotMeasuredError:
        return []


def _scores(found: PriorScores, question: str) -> Sequence[float]:
    return {"inversion": found.inversion, "denoising": found.denoising, "filling": found.filling}[question]


RECIPE = StudyStatement(
    title="The default recipe",
    claim="genprior's default recipe, whose discriminator has a penalised slope (R1), makes better digits.",
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
            SAMPLES_READ,
        ),
    ),
    is_beyond=True,
)


_PRIOR_FIGURES: tuple[FigureOf, ...] = (
    IntervalsOf(
        "Denoising, noise of 0.3", "PSNR, dB", "PSNR of denoising, noise of 0.3, (.*)", "Further right is better."
    ),
    IntervalsOf("Filling in", "PSNR, dB", "PSNR of filling in, (.*)", "Further right is better."),
    IntervalsOf(
        "Inversion",
        "squared error",
        "squared error of inversion by the default search, (.*)",
        "Further left is better. A mixture and flow matching invert noise, too.",
    ),
    *(
        StripsOf(f"Restored by {name}", cell, PriorScores, _FILLED, "A hole, filled in; and inversion.")
        for cell, name in PRIOR_NAMES.items()
    ),
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
        "The same held-out images and questions for six priors, each with its default solver: GAN, GLO and VAE "
        "answer with one likely image, a mixture with the mean of all, which PSNR rewards and which looks blurred, "
        "flow matching fills with one draw. Confirmed if the report's GAN is surely best in all three, not confirmed "
        "if it is surely beaten in all three, and it depends if in one or two, by the prior that is best on these "
        "images: being chosen on them favours that one a little. Budgets differ: see the table of runs."
    ),
    needs=(*((cell, PriorScores) for cell in PRIOR_NAMES), (OWN, TrainingCurves)),
    judge=judge_priors,
    trained=(OWN,),
    advice={
        "": (
            "Choose the prior by the question: `genprior compare` asks them of your own runs, `genprior train "
            "auto` tries families."
        )
    },
    figures=_PRIOR_FIGURES,
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
        "The same images inverted after replacing one thing after another: the search (default instead of the "
        "report's), the training (default recipe), the adversarial loss (GLO). Confirmed if of all three the "
        "training takes most away from what is wrong at high frequencies, image by image, and surely some; not "
        "confirmed if it takes surely less than a tenth of what is wrong in the beginning; it depends if it surely "
        "takes some and another takes more. The training stands for all that the "
        "two recipes differ in: what D looks at is not measured. GLO is trained on reconstruction, "
        "which helps it here. Budgets differ: see the table of runs."
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
    figures=(
        IntervalsOf(
            "What is wrong at high frequencies, and what takes it away",
            "share of their power",
            "(wrong share) of high frequencies, as .*|taken away from it by (replacing .*)|(what is left) of it",
            "From above: the report's inversion, what each change takes away from it, and what is left of it.",
        ),
    ),
    is_beyond=True,
)
